//! Auditing: spans of a stream are read from the source again and compared with what the destination holds, row by row
//! and value by value.
//!
//! Days are compared in chunks of so many rows that a chunk fits in memory: for each row of the source's the digest of its
//! key and one for each of its values, over which the destination's rows then pass. A day that is too large is read several
//! times, each time for another part of the keys. So memory doesn't grow with the table.
//!
//! Values are compared in one canonical form (the module `marks`), in which what a source sends and what a destination
//! gives back are alike exactly if nothing was altered.
//!
//! Nobody is kept from changing the account, or from running, meanwhile. What changed since the bookmark is due with the
//! next run and no difference: such rows are left out, and counted.

mod chunks;
mod comparison;
mod marks;
mod report;
mod side;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use chunks::DayChoice;
pub use report::{DayAudit, Difference, DifferenceKind, Excluded, Side, TableAudit};

use crate::{
    destination::{Destination, DestinationError},
    progress::ProgressBoard,
    source::{FAR, Source, SourceError, Span},
    stream::{StreamName, StreamSchema, WinnerRule},
};
use chunks::Chunk;
use comparison::Comparison;
use side::Wanted;

/// A row that was changed a moment before a page was read is on no page of its old or new place. After this pause it is.
const MOMENT: Duration = Duration::from_secs(2);

/// An account of which spans can be read again.
pub trait Rereadable: Send + Sync {
    /// A source that reads these spans of the stream and nothing else, and moves no bookmark. A stream without
    /// replication key is read whole.
    ///
    /// # Errors
    /// When no such source can be made.
    fn again(&self, stream: &StreamName, spans: &[Span]) -> Result<Box<dyn Source>, SourceError>;

    /// The same from an instant to now, also what hasn't settled.
    ///
    /// # Errors
    /// When no such source can be made.
    fn since(
        &self,
        stream: &StreamName,
        from: DateTime<Utc>,
    ) -> Result<Box<dyn Source>, SourceError>;
}

/// What of a stream is audited.
#[derive(Debug, Clone)]
pub struct StreamPlan {
    /// The stream, with its key and replication key at least.
    pub schema: Arc<StreamSchema>,
    /// Columns whose values move though the replication key doesn't.
    pub drifting: BTreeSet<String>,
    /// From where to where; ends at the bookmark, up to which the destination should have everything.
    pub span: Span,
    /// Which days of it.
    pub days: DayChoice,
    /// The source gives nothing that is older.
    pub readable_since: Option<DateTime<Utc>>,
}

/// Why an audit could not be done.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The destination failed.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// It was asked to stop.
    #[error("The audit was interrupted")]
    Interrupted,
}

/// Compares streams of an account with a destination.
pub struct Auditor<'a> {
    source: &'a dyn Rereadable,
    destination: Arc<dyn Destination>,
    states: BTreeMap<StreamName, Value>,
    limit: usize,
    rows: usize,
    stop: CancellationToken,
    progress: Arc<ProgressBoard>,
}

impl<'a> Auditor<'a> {
    /// The most rows of a chunk, unless a single day has more.
    pub const CHUNK_ROWS: usize = 50_000;

    /// An auditor that knows the streams' states, and lists at most so many differences of each table.
    pub fn new(
        source: &'a dyn Rereadable,
        destination: Arc<dyn Destination>,
        states: BTreeMap<StreamName, Value>,
        limit: usize,
        stop: CancellationToken,
    ) -> Self {
        let (rows, progress) = (Self::CHUNK_ROWS, Arc::default());
        Self { source, destination, states, limit, rows, stop, progress }
    }

    /// The same, shown on a board: rows that are read again, and stored rows that are gone through.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<ProgressBoard>) -> Self {
        self.progress = progress;
        self
    }

    /// Shows that so many stored rows were gone through.
    fn passed(&self, stream: &StreamName, batch: &RecordBatch, passed: &mut usize) {
        *passed += batch.num_rows();
        self.progress.update(stream, |progress| {
            progress.activity = format!("{passed} stored rows gone through");
        });
    }

    /// The same with chunks of another size, which decides how much memory it takes.
    #[must_use]
    pub fn with_chunks_of(mut self, rows: usize) -> Self {
        self.rows = rows.max(1);
        self
    }

    /// Compares a stream.
    ///
    /// # Errors
    /// When the source or the destination can't be read, or somebody asked to stop.
    pub async fn audit(&self, plan: &StreamPlan) -> Result<TableAudit, AuditError> {
        let before = self.destination.memory().await?.last_batch;
        let mut comparison = Comparison::new(plan, self.limit);
        let chunks = self.chunks(plan, &mut comparison).await?;
        for chunk in &chunks {
            self.compare(plan, chunk, &mut comparison).await?;
        }
        comparison.join();
        if plan.schema.winner == WinnerRule::ReplicationKey {
            if comparison.has_extra() {
                tokio::time::sleep(MOMENT).await;
                let source = self.source.since(&plan.schema.stream, plan.span.before)?;
                let wanted = Wanted::Keys(comparison.extra());
                let moved = self.read(source, plan, wanted, usize::MAX).await?;
                if let Some(side) = moved {
                    comparison.leave_out_moved_in_source(&side);
                }
            }
            // Where nobody has committed anything, no row has moved on.
            if comparison.has_missing() && self.destination.memory().await?.last_batch != before {
                self.leave_out_moved_in_destination(plan, &mut comparison).await?;
            }
        }
        Ok(comparison.finish())
    }

    /// Compares one chunk, in as many parts as it takes.
    async fn compare(
        &self,
        plan: &StreamPlan,
        chunk: &Chunk,
        comparison: &mut Comparison<'_>,
    ) -> Result<(), AuditError> {
        let most = self.rows.saturating_mul(2);
        let mut parts = 1;
        let mut part = 0;
        while part < parts {
            let source = self.source.again(&plan.schema.stream, &chunk.spans)?;
            // Only the first part can tell that there must be more: keys spread evenly.
            let most = if part == 0 { most } else { usize::MAX };
            let Some(mut side) =
                self.read(source, plan, Wanted::Part { part, of: parts }, most).await?
            else {
                parts *= 4;
                tracing::debug!(parts, "A chunk of `{}` is too large", plan.schema.table());
                continue;
            };
            self.pass_stored_rows(plan, chunk, &mut side, comparison).await?;
            let marks = side.marks();
            let table = plan.schema.table();
            let rejected = self.destination.rejected_among(table, &marks).await?;
            comparison.take(side, &rejected);
            part += 1;
        }
        Ok(())
    }

    /// Rows that are missing where they were may stand in the destination under a later replication key by now.
    async fn leave_out_moved_in_destination(
        &self,
        plan: &StreamPlan,
        comparison: &mut Comparison<'_>,
    ) -> Result<(), AuditError> {
        let columns = plan.schema.columns.iter();
        let is_key = |name: &String| {
            plan.schema.key.contains(name) || plan.schema.replication_key.as_ref() == Some(name)
        };
        let schema = Arc::new(StreamSchema {
            columns: columns.filter(|column| is_key(&column.name)).cloned().collect(),
            ..(*plan.schema).clone()
        });
        let later = Span { from: plan.span.before, before: FAR };
        let mut scan = self.destination.scan(&schema, Some(later)).await?;
        let mut passed = 0;
        while let Some(batch) = scan.next().await? {
            self.passed(&plan.schema.stream, &batch, &mut passed);
            for row in 0..batch.num_rows() {
                comparison.leave_out_moved(marks::key(&schema, &batch, row));
            }
        }
        Ok(())
    }
}
