//! Runs, as the ledger has them.
//!
//! A run is made **due** by the scheduler or by hand, **running** by the worker that claims it, and ended by that worker.
//! A worker's claim is its name and the attempt: whatever it writes is written only where both still stand, so a worker
//! whose lease has lapsed and whose run was given to another changes nothing here. What it may write into the destination
//! is not decided here but by the destination's token, which the ledger only records.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{name::closed_names, task::Task};

/// How often the worker that has a run may disappear until the run is given up.
pub const MOST_LAPSES: i64 = 3;

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its id; later runs have greater ones.
    pub id: String,
    /// The integration.
    pub integration_id: String,
    /// The slot, or the instant of a manual start.
    pub slot: DateTime<Utc>,
    /// What it was started by.
    pub started_by: StartedBy,
    /// What it is for, if for more than replicating what is new.
    pub task: Option<Task>,
    /// How far it is.
    pub state: RunState,
    /// When it was made due.
    pub begun_at: DateTime<Utc>,
    /// How many workers have claimed it.
    pub attempt: i64,
    /// How many of them have disappeared.
    pub lapses: i64,
    /// The worker that claimed it last.
    pub worker: Option<String>,
    /// Until when that worker is believed to be alive.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// When its last attempt was claimed.
    pub claimed_at: Option<DateTime<Utc>>,
    /// Why it is to stop, if it is.
    pub stop: Option<StopReason>,
    /// The token that the destination gave it.
    pub destination_token: Option<i64>,
    /// How far it is, by table.
    pub progress: Option<Progress>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// What went wrong.
    pub error: Option<RunError>,
    /// What is kept of its log.
    pub log: LogSize,
    /// Whether it has a report; see [`crate::Store::report`].
    pub has_report: bool,
}

/// What is kept of a run's log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogSize {
    /// Lines that are stored.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lines that were not stored, because the run had too many.
    pub dropped: u64,
}

/// What went wrong with a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunError {
    /// The kind, in one word.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is doing.
    pub phase: String,
    /// Requests that were made.
    pub requests: u64,
    /// Rows that were loaded, by table.
    pub rows: BTreeMap<String, u64>,
    /// What the source is at, by table.
    #[serde(default)]
    pub tables: BTreeMap<String, TableProgress>,
    /// Rows read per second, where that is measured.
    #[serde(default)]
    pub rows_per_second: Option<u64>,
    /// How much of all that is to be read has been, where that is known.
    #[serde(default)]
    pub percent: Option<u8>,
    /// When it is expected to end, where that can be estimated.
    #[serde(default)]
    pub estimated_end: Option<DateTime<Utc>>,
}

/// How far a run is with one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableProgress {
    /// What the source is at, in words.
    pub activity: String,
    /// Rows that were read.
    pub extracted: u64,
    /// Rows that could not be loaded.
    pub rejected: u64,
    /// Requests that were made.
    pub requests: u64,
    /// Requests that were repeated after a failure.
    pub retries: u64,
    /// How much has been read, where that is known.
    pub percent: Option<u8>,
    /// Whether all has been read.
    pub is_done: bool,
}

closed_names! {
    /// What a run was started by.
    StartedBy {
        /// Its schedule.
        Schedule = "schedule",
        /// Somebody.
        Hand = "hand",
    }
}

closed_names! {
    /// How far a run is.
    RunState {
        /// It waits for a worker.
        Due = "due",
        /// A worker has it.
        Running = "running",
        /// All was replicated.
        Succeeded = "succeeded",
        /// It ended with an error.
        Failed = "failed",
        /// It was stopped; what was extracted is loaded.
        Stopped = "stopped",
        /// It took longer than is allowed.
        TimedOut = "timed out",
        /// Its workers disappeared, too many of them.
        Lost = "lost",
    }
}

impl RunState {
    /// Whether it is over.
    #[must_use]
    pub const fn is_end(self) -> bool {
        !matches!(self, Self::Due | Self::Running)
    }
}

closed_names! {
    /// Why a run is to stop.
    StopReason {
        /// Somebody stopped it.
        Hand = "hand",
        /// It takes longer than is allowed.
        TimeLimit = "time limit",
    }
}

/// A worker's hold on a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The run.
    pub run_id: String,
    /// The worker.
    pub worker: String,
    /// The attempt.
    pub attempt: i64,
}

/// What a worker hears when it renews its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The run is still its own.
    Held,
    /// The run is still its own, and is to stop at the next point where nothing is lost.
    Stop(StopReason),
    /// Another has the run, or it has ended: whatever it still does counts for nothing.
    Lost,
}

/// A slot that was decided about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRecord {
    /// The slot; the last of them where the record is about several.
    pub slot: DateTime<Utc>,
    /// The first of them.
    pub first_slot: DateTime<Utc>,
    /// How many.
    pub count: u64,
    /// What became of it.
    pub outcome: SlotOutcome,
    /// The run that was started.
    pub run_id: Option<String>,
}

closed_names! {
    /// What became of a slot.
    SlotOutcome {
        /// A run was started.
        Started = "started",
        /// A run was alive.
        Skipped = "skipped",
        /// Nobody was there to start it.
        Missed = "missed",
    }
}
