//! The commit unit: all rows since the last bookmark that covers them, ready to be merged in one transaction.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::{
    event::Reading,
    reject::{RejectedRow, StoredReject},
    stream::StreamSchema,
};

/// The rows of one table in a unit.
#[derive(Debug, Clone)]
pub struct TableLoad {
    /// The stream's schema.
    pub schema: Arc<StreamSchema>,
    /// The full-table version that the rows wait in; none for the live table.
    pub version: Option<i64>,
    /// Winning rows: the user columns in the schema's order, then the system columns of
    /// [`crate::system::row_columns`]. Keys are unique across all batches.
    pub rows: Vec<RecordBatch>,
    /// Rows kept out.
    pub rejects: Vec<RejectedRow>,
    /// Rows that lost against a newer version within the unit.
    pub superseded: u64,
    /// Rows and rejects received.
    pub received: u64,
    /// The source's account.
    pub reading: Reading,
    /// The greatest replication key among the rows received, as text.
    pub max_replication_key: Option<String>,
    /// The stored rejects that its rows were, if they are replayed ones.
    pub replayed: Arc<[StoredReject]>,
}

impl TableLoad {
    /// The number of winning rows.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.rows.iter().map(RecordBatch::num_rows).sum()
    }
}
