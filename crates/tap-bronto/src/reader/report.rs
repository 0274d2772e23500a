//! How far a stream is: on the board that others show, and as a line in the log now and then.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use replication::{
    progress::{ProgressBoard, StreamProgress},
    stream::StreamName,
};

use crate::window::Planner;

/// How often a line is written at most.
const INTERVAL: Duration = Duration::from_secs(5);
/// So much of the range must be done before the rest is estimated.
const LEAST_FRACTION: f64 = 0.02;

/// The progress of one stream.
#[derive(Debug)]
pub(super) struct Report {
    started: Instant,
    /// When the last line was written.
    written: Mutex<Instant>,
}

impl Report {
    pub(super) fn start() -> Self {
        let started = Instant::now();
        Self { started, written: Mutex::new(started) }
    }

    /// Changes what is shown of the stream; writes a line if it is time for one.
    pub(super) fn update(
        &self,
        board: &ProgressBoard,
        stream: &StreamName,
        change: impl FnOnce(&mut StreamProgress),
    ) {
        let elapsed = self.started.elapsed();
        let is_due = self.is_due();
        let mut shown = None;
        board.update(stream, |progress| {
            change(progress);
            progress.rows_per_second = per_second(progress.extracted, elapsed);
            progress.remaining =
                progress.fraction.and_then(|fraction| remaining(fraction, elapsed));
            shown = (is_due || progress.done).then(|| progress.clone());
        });
        if let Some(progress) = shown {
            write(stream, &progress);
        }
    }

    fn is_due(&self) -> bool {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = written.elapsed() >= INTERVAL;
        if is_due {
            *written = Instant::now();
        }
        is_due
    }
}

/// The windows that are being read, in words.
pub(super) fn open_windows(planner: &Planner) -> String {
    let mut open = planner.open();
    let Some(first) = open.next() else { return String::new() };
    match open.count() {
        0 => first.to_string(),
        more => format!("{first} and {more} more"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate is only looked at")]
fn per_second(rows: u64, elapsed: Duration) -> Option<f64> {
    let seconds = elapsed.as_secs_f64();
    (seconds > 0.0).then(|| rows as f64 / seconds)
}

/// How long the rest takes if it goes on as it went.
fn remaining(fraction: f64, elapsed: Duration) -> Option<Duration> {
    if fraction < LEAST_FRACTION {
        return None;
    }
    let rest = elapsed.as_secs_f64() * (1.0 - fraction).max(0.0) / fraction;
    Duration::try_from_secs_f64(rest).ok()
}

fn write(stream: &StreamName, progress: &StreamProgress) {
    tracing::info!(
        window = progress.activity,
        rows = progress.extracted,
        rows_per_second = progress.rows_per_second.unwrap_or_default().round(),
        requests = progress.requests,
        retries = progress.retries,
        percent = (progress.fraction.unwrap_or_default() * 100.0).round(),
        remaining_seconds = progress.remaining.unwrap_or_default().as_secs(),
        "Progress of {stream}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_estimated_from_what_is_done() {
        let elapsed = Duration::from_secs(10);
        assert_eq!(remaining(0.25, elapsed), Some(Duration::from_secs(30)));
        assert_eq!(remaining(1.0, elapsed), Some(Duration::ZERO));
        assert_eq!(remaining(0.0, elapsed), None);
        assert_eq!(per_second(500, elapsed), Some(50.0));
        assert_eq!(per_second(500, Duration::ZERO), None);
    }
}
