//! The ledger: one record per batch and table, written in the same transaction as the rows it counts.

use chrono::{DateTime, Utc};

use crate::event::Gap;

/// A row of `_sdc_loads`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadRecord {
    /// The batch (commit unit).
    pub batch_id: String,
    /// The table.
    pub table: String,
    /// The run.
    pub run_id: String,
    /// The stream.
    pub stream: String,
    /// The version of the table.
    pub table_version: i64,
    /// What was counted.
    pub counts: LoadCounts,
    /// The stream's bookmark after this batch, where it has one; [`NO_BOOKMARK`](crate::edit::NO_BOOKMARK) where it was
    /// removed.
    pub bookmark: Option<String>,
    /// The greatest replication key among the rows, where the stream has one.
    pub max_replication_key: Option<String>,
    /// A span that the source could not give.
    pub gap: Option<Gap>,
    /// When the unit received its first event.
    pub started_at: DateTime<Utc>,
    /// When the unit was closed and its staging began.
    pub staged_at: DateTime<Utc>,
    /// When its commit was sent.
    pub committed_at: DateTime<Utc>,
}

/// The figures of a ledger row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadCounts {
    /// Objects read from the source.
    pub read: u64,
    /// Of those, outside the window asked for.
    pub out_of_window: u64,
    /// Of those, emitted before by the same run.
    pub repeated: u64,
    /// Rows and rejects received by the loader.
    pub received: u64,
    /// Rows inserted.
    pub inserted: u64,
    /// Rows updated.
    pub updated: u64,
    /// Rows that changed nothing.
    pub unchanged: u64,
    /// Rows that lost against a newer version.
    pub superseded: u64,
    /// Rows rejected.
    pub rejected: u64,
    /// Rows deleted.
    pub deleted: u64,
    /// Bytes received from the source.
    pub bytes: u64,
    /// Requests made to the source.
    pub requests: u64,
}

impl LoadCounts {
    /// Adds other figures to these.
    pub fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.out_of_window += other.out_of_window;
        self.repeated += other.repeated;
        self.received += other.received;
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.superseded += other.superseded;
        self.rejected += other.rejected;
        self.deleted += other.deleted;
        self.bytes += other.bytes;
        self.requests += other.requests;
    }
}
