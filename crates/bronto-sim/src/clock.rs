//! The account's clock. Nothing in the simulation looks at the machine's.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use chrono::{DateTime, Utc};

use crate::instant::UtcInstant;

/// Whether the simulated clock moves by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ClockMode {
    /// Starts at `now` and runs at the speed of the machine's clock.
    #[default]
    Running,
    /// Stands at `now` until someone advances it.
    Frozen,
}

/// A clock that starts at a chosen instant and can be moved by hand.
#[derive(Debug)]
pub(crate) struct Clock {
    start: UtcInstant,
    started: Instant,
    mode: ClockMode,
    shift_nanos: AtomicI64,
}

impl Clock {
    pub(crate) fn new(start: DateTime<Utc>, mode: ClockMode) -> Self {
        Self { start: start.into(), started: Instant::now(), mode, shift_nanos: AtomicI64::new(0) }
    }

    pub(crate) fn now(&self) -> UtcInstant {
        let elapsed = match self.mode {
            ClockMode::Running => {
                i64::try_from(self.started.elapsed().as_nanos()).unwrap_or(i64::MAX)
            }
            ClockMode::Frozen => 0,
        };
        self.start.plus_nanos(elapsed).plus_nanos(self.shift_nanos.load(Ordering::Relaxed))
    }

    /// Moves the clock by this many seconds, backwards if negative.
    pub(crate) fn advance_seconds(&self, seconds: i64) {
        let nanos = seconds.saturating_mul(1_000_000_000);
        self.shift_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_clock_moves_only_by_hand() {
        let start: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::new(start, ClockMode::Frozen);
        assert_eq!(clock.now(), start.into());
        clock.advance_seconds(90);
        clock.advance_seconds(-30);
        assert_eq!(clock.now(), UtcInstant::from(start).plus_seconds(60));
    }

    #[test]
    fn a_running_clock_never_stands_before_its_start() {
        let start: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::new(start, ClockMode::Running);
        let first = clock.now();
        assert!(first >= start.into());
        assert!(clock.now() >= first);
    }
}
