//! An integration's state in Stitch's words: *Pending*, *In Progress* and *Not Syncing*, with the reason and the time.

use chrono::{DateTime, Utc};
use schedule::History;

use crate::{
    integration::{Integration, PausedBy},
    run::{Run, RunState},
};

/// An integration's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// A run is to start.
    Pending {
        /// What it waits for.
        reason: PendingReason,
        /// When it is expected to start, if that is known.
        expected_start: Option<DateTime<Utc>>,
    },
    /// A run is being worked on.
    InProgress {
        /// Since when.
        since: DateTime<Utc>,
    },
    /// No run starts by itself.
    NotSyncing(Paused),
}

/// What a run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingReason {
    /// The integration is new, and its first run is to start.
    FirstRun,
    /// The next start of the schedule.
    NextStart,
    /// The run is due, and no worker has taken it yet.
    Worker,
    /// The worker disappeared; the run is begun again.
    AnotherAttempt,
    /// There is no schedule: runs are started by hand.
    Hand,
    /// The schedule has no start any more.
    NoFurtherStart,
}

/// Why no run starts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paused {
    /// It is paused.
    By(PausedBy),
    /// It is deleted.
    Deleted,
}

impl Status {
    /// Stitch's word for it.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "Pending",
            Self::InProgress { .. } => "In Progress",
            Self::NotSyncing(_) => "Not Syncing",
        }
    }
}

/// The state of an integration, whose last run is `last_run`. A run that was started by hand is in progress also while
/// the integration is paused.
#[must_use]
pub fn status(integration: &Integration, last_run: Option<&Run>, now: DateTime<Utc>) -> Status {
    let pending = |reason, expected_start| Status::Pending { reason, expected_start };
    if let Some(run) = last_run.filter(|run| run.ended_at.is_none()) {
        return match (run.state, run.attempt) {
            (RunState::Due, 0) => pending(PendingReason::Worker, Some(now)),
            (RunState::Due, _) => pending(PendingReason::AnotherAttempt, Some(now)),
            _ => Status::InProgress { since: run.claimed_at.unwrap_or(run.begun_at) },
        };
    }
    if integration.deleted_at.is_some() {
        return Status::NotSyncing(Paused::Deleted);
    }
    if let Some((_, by)) = integration.paused {
        return Status::NotSyncing(Paused::By(by));
    }
    if integration.schedule_fault.is_some() {
        return pending(PendingReason::NoFurtherStart, None);
    }
    let Some(schedule) = &integration.schedule else { return pending(PendingReason::Hand, None) };
    let created_at = integration.created_at;
    let history = History { created_at, last_start: last_run.map(|run| run.slot) };
    let is_first = last_run.is_none();
    // The first run of a frequency is due until it is begun.
    let next = if is_first && schedule.counts_from_last_start() {
        Some(created_at.max(now))
    } else {
        schedule.next_after(now, &history)
    };
    match next {
        None => pending(PendingReason::NoFurtherStart, None),
        Some(_) if is_first => pending(PendingReason::FirstRun, next),
        Some(_) => pending(PendingReason::NextStart, next),
    }
}
