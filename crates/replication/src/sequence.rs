//! The sequence: the order of versions of a row, which must never run backwards.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

/// Gives each page of rows its first `_sdc_sequence`.
///
/// A page's sequence is the time at which its request was sent, in nanoseconds since 1970, so a later read outranks an
/// earlier one whichever worker made it. It is never at or below what the destination already holds: a clock that was
/// set back between two runs can't make new rows look old. Pages never overlap.
#[derive(Debug)]
pub struct SequenceClock {
    next: AtomicI64,
}

impl SequenceClock {
    /// A clock that stays above `greatest_committed`, the greatest sequence in the destination.
    #[must_use]
    pub fn new(greatest_committed: i64) -> Self {
        Self { next: AtomicI64::new(greatest_committed.saturating_add(1)) }
    }

    /// Reserves `count` consecutive sequences for a page whose request is about to be sent, and returns the first.
    pub fn reserve(&self, sent_at: DateTime<Utc>, count: usize) -> i64 {
        let wanted = sent_at.timestamp_nanos_opt().unwrap_or(0);
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let previous = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                Some(next.max(wanted).saturating_add(count))
            })
            .expect("the update always gives a value");
        previous.max(wanted)
    }

    /// The last sequence that is taken: reserved, or committed by an earlier run.
    pub fn last(&self) -> i64 {
        self.next.load(Ordering::Relaxed).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(nanos)
    }

    #[test]
    fn follows_the_time_of_the_request() {
        let clock = SequenceClock::new(0);
        assert_eq!(clock.reserve(at(1_000), 5), 1_000);
        assert_eq!(clock.reserve(at(9_000), 5), 9_000);
    }

    #[test]
    fn pages_do_not_overlap_when_requests_are_sent_at_once() {
        let clock = SequenceClock::new(0);
        assert_eq!(clock.reserve(at(1_000), 5), 1_000);
        assert_eq!(clock.reserve(at(1_000), 5), 1_005);
    }

    #[test]
    fn a_clock_set_back_stays_above_what_is_committed() {
        let clock = SequenceClock::new(5_000);
        assert_eq!(clock.reserve(at(1_000), 5), 5_001);
        assert_eq!(clock.reserve(at(1_000), 5), 5_006);
    }
}
