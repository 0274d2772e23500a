//! How far a run is, in the ledger's terms.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use replication::progress::{ProgressBoard, StreamProgress};
use service::{
    run::{Progress, TableProgress},
    worker::Reports,
};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

/// For how long a run that shows no progress is believed to be at work: longer than any single wait of a source or a
/// destination, each of which has a deadline and tries again.
const PATIENCE: Duration = Duration::from_secs(45 * 60);

/// How often a run that waits says that it lives; the lease is renewed as often as it needs.
const BEAT: Duration = Duration::from_millis(500);

/// Shows that a run lives while it waits for others: for its destination, a lock, a control store, each of which has a
/// deadline. It ends with what is answered, and by itself when the run must be taken for stuck.
#[must_use = "it ends when it is dropped"]
pub(crate) fn keep_alive(reports: &Arc<Reports>) -> AbortOnDropHandle<()> {
    let reports = Arc::clone(reports);
    // A task of its own: what is waited for may hold up the task that waits.
    AbortOnDropHandle::new(tokio::spawn(async move {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            reports.progress(|_| ());
            sleep(BEAT).await;
        }
    }))
}

/// Watches a run's board.
pub(crate) struct Watch {
    board: Arc<ProgressBoard>,
    last: Option<Progress>,
    changed_at: Instant,
}

impl Watch {
    /// Watches a board from now on.
    pub(crate) fn new(board: Arc<ProgressBoard>) -> Self {
        Self { board, last: None, changed_at: Instant::now() }
    }

    /// What is to be reported now; none if nothing has moved for so long that the run must be taken for stuck.
    pub(crate) fn look(&mut self, phase: &str, now: DateTime<Utc>) -> Option<Progress> {
        let progress = self.progress(phase, now);
        // An estimate moves by itself.
        let is_alike = self.last.as_ref().is_some_and(|last| {
            Progress { estimated_end: None, ..last.clone() }
                == Progress { estimated_end: None, ..progress.clone() }
        });
        if !is_alike {
            self.changed_at = Instant::now();
            self.last = Some(progress.clone());
        }
        (self.changed_at.elapsed() < PATIENCE).then_some(progress)
    }

    fn progress(&self, phase: &str, now: DateTime<Utc>) -> Progress {
        let board = self.board.snapshot();
        let streams: Vec<&StreamProgress> = board.values().collect();
        let remaining = streams.iter().filter(|stream| !stream.done).map(|stream| stream.remaining);
        let remaining: Option<Vec<Duration>> = remaining.collect();
        let longest = remaining.and_then(|remaining| remaining.into_iter().max());
        let rates: Vec<f64> = streams
            .iter()
            .filter(|stream| !stream.done)
            .filter_map(|stream| stream.rows_per_second)
            .collect();
        Progress {
            phase: phase.to_owned(),
            requests: streams.iter().map(|stream| stream.requests).sum(),
            rows: board.iter().map(|(name, stream)| (name.to_string(), stream.loaded)).collect(),
            tables: board.iter().map(|(name, stream)| (name.to_string(), table(stream))).collect(),
            rows_per_second: (!rates.is_empty()).then(|| whole(rates.iter().sum())),
            percent: percent_of_all(&streams),
            estimated_end: longest
                .and_then(|longest| TimeDelta::from_std(longest).ok())
                .and_then(|longest| now.checked_add_signed(longest)),
        }
    }
}

fn table(stream: &StreamProgress) -> TableProgress {
    TableProgress {
        activity: stream.activity.clone(),
        extracted: stream.extracted,
        rejected: stream.rejected,
        requests: stream.requests,
        retries: stream.retries,
        percent: fraction(stream).map(percent),
        is_done: stream.done,
    }
}

fn fraction(stream: &StreamProgress) -> Option<f64> {
    if stream.done { Some(1.0) } else { stream.fraction }
}

/// The streams weigh alike: how many rows each will have, nobody knows.
fn percent_of_all(streams: &[&StreamProgress]) -> Option<u8> {
    let fractions: Option<Vec<f64>> = streams.iter().map(|stream| fraction(stream)).collect();
    let fractions = fractions.filter(|fractions| !fractions.is_empty())?;
    let count = u32::try_from(fractions.len()).ok()?;
    Some(percent(fractions.iter().sum::<f64>() / f64::from(count)))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is between 0 and 100"
)]
fn percent(fraction: f64) -> u8 {
    (fraction.clamp(0.0, 1.0) * 100.0) as u8
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is only looked at, and never negative"
)]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

#[cfg(test)]
mod tests {
    use replication::stream::StreamName;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_run_that_shows_nothing_for_long_is_not_reported_any_more() {
        let board = Arc::new(ProgressBoard::default());
        let mut watch = Watch::new(Arc::clone(&board));
        let now = DateTime::UNIX_EPOCH;
        assert!(watch.look("claiming", now).is_some());
        tokio::time::advance(PATIENCE - Duration::from_secs(1)).await;
        board.update(&StreamName::new("contact"), |stream| stream.retries += 1);
        assert!(watch.look("claiming", now).is_some());
        tokio::time::advance(PATIENCE - Duration::from_secs(1)).await;
        assert!(watch.look("claiming", now).is_some());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(watch.look("claiming", now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn figures_of_all_tables_are_those_of_each_together() {
        let board = Arc::new(ProgressBoard::default());
        board.update(&StreamName::new("contact"), |stream| {
            stream.fraction = Some(0.5);
            stream.requests = 3;
            stream.loaded = 70;
            stream.rows_per_second = Some(10.4);
            stream.remaining = Some(Duration::from_secs(60));
        });
        board.update(&StreamName::new("list"), |stream| {
            stream.done = true;
            stream.requests = 1;
        });
        let progress = Watch::new(Arc::clone(&board)).look("replicating", DateTime::UNIX_EPOCH);
        let progress = progress.unwrap_or_default();
        assert_eq!((progress.requests, progress.rows["contact"]), (4, 70));
        assert_eq!((progress.percent, progress.rows_per_second), (Some(75), Some(10)));
        assert_eq!(progress.estimated_end.map(|end| end.timestamp()), Some(60));
        assert_eq!(progress.tables["list"].percent, Some(100));
        // What one table doesn't tell, nobody knows of all.
        board.update(&StreamName::new("unsubscribe"), |stream| stream.extracted = 1);
        let progress = Watch::new(board).look("replicating", DateTime::UNIX_EPOCH);
        let progress = progress.unwrap_or_default();
        assert_eq!((progress.percent, progress.estimated_end), (None, None));
    }
}
