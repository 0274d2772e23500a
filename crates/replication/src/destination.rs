//! Destinations: where rows end up. A destination offers the primitives of one transaction; the order in which they are
//! used, and every check between them, is the commit protocol in the module `commit`, written once for all destinations.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    sync::Arc,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::{
    claim::{Claim, ClaimMemory, ClaimRequest, Refusal},
    gather::UnitLimits,
    ledger::LoadRecord,
    placement::{Dialect, Rename, StoredTable},
    reject::{ReasonCode, RejectFilter, RejectStanding, RejectedRow, StoredReject},
    replay::RejectPage,
    scan::RowScan,
    source::{CheckStep, Span},
    stream::{StreamName, StreamSchema},
    unit::TableLoad,
};

/// One schema of one database.
#[async_trait]
pub trait Destination: Send + Sync {
    /// The address as people know it, without secrets, for example `duckdb:warehouse.duckdb`, schema `stitch_bronto`.
    fn describe(&self) -> String;

    /// Tries whether the destination can be written, step by step, without leaving anything behind.
    async fn check(&self) -> Vec<CheckStep>;

    /// Creates the schema and the system tables if they are missing, and claims the schema, in one transaction:
    /// [`crate::claim::decide`] on the claim row, locked; then token + 1, holder, and the lease from the destination's
    /// own clock (ours, where it has none). Reads the bookmarks after that. Drops the tables of full-table versions
    /// that an earlier run left unfinished.
    ///
    /// # Errors
    /// [`DestinationErrorKind::Claim`] when it is refused; whatever else keeps it from being made.
    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, DestinationError>;

    /// Renews the lease.
    ///
    /// # Errors
    /// [`DestinationErrorKind::Fenced`] when the claim was taken over.
    async fn renew(&self, claim: &Claim) -> Result<(), DestinationError>;

    /// Lets the claim go, so that the next run need not wait. Does nothing if it was taken over.
    ///
    /// # Errors
    /// When the destination can't be reached.
    async fn release(&self, claim: &Claim) -> Result<(), DestinationError>;

    /// How it names and holds columns.
    fn dialect(&self) -> Dialect;

    /// The table that has this name, or one that the destination can't tell from it; none if there is none.
    ///
    /// # Errors
    /// When the destination can't be reached.
    async fn stored_table(&self, table: &str) -> Result<Option<StoredTable>, DestinationError>;

    /// How large a commit unit may become. Larger ones than it needs to be fast only cost memory.
    fn unit_limits(&self) -> UnitLimits {
        UnitLimits::default()
    }

    /// Opens the transaction of one commit unit.
    ///
    /// # Errors
    /// When the destination can't be reached.
    async fn begin(&self, claim: &Claim) -> Result<Box<dyn UnitTransaction>, DestinationError>;

    /// The rows of a load that the destination is known to be unable to hold, by their position, each with its reason.
    /// Asked before the transaction, so that they cost nothing but themselves.
    fn unsupported(&self, load: &TableLoad) -> Vec<UnsupportedRow> {
        let _ = load;
        Vec::new()
    }

    /// What the claim row remembers, read without a claim: tells whether a commit whose reply was lost took place.
    ///
    /// # Errors
    /// When the destination can't be reached.
    async fn memory(&self) -> Result<ClaimMemory, DestinationError>;

    /// The number of rows of a table, by the stream's table name; none if it doesn't exist.
    ///
    /// # Errors
    /// When the destination can't be reached.
    async fn count(&self, table: &str) -> Result<Option<u64>, DestinationError>;

    /// The state rows, for people.
    ///
    /// # Errors
    /// When the destination can't be reached.
    async fn states(&self) -> Result<Vec<StateRow>, DestinationError>;

    /// The ledger, newest batch first, at most `limit` rows.
    ///
    /// # Errors
    /// When the destination can't be reached.
    async fn loads(&self, limit: usize) -> Result<Vec<LoadRecord>, DestinationError>;

    /// The sums of the ledger, per table.
    ///
    /// # Errors
    /// When the destination can't be reached.
    async fn totals(&self) -> Result<BTreeMap<String, LedgerTotals>, DestinationError>;

    /// Why rows are rejected that were not replayed, the commonest reason first, of one table if it is named.
    ///
    /// # Errors
    /// When the destination can't be reached.
    async fn reject_reasons(
        &self,
        table: Option<&str>,
    ) -> Result<Vec<RejectReason>, DestinationError>;

    /// The rejected rows that were not replayed, newest first, at most `limit`, of one table if it is named.
    ///
    /// # Errors
    /// When the destination can't be reached.
    async fn rejects(
        &self,
        table: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RejectRecord>, DestinationError>;

    /// Reads the live table of a stream: the columns of `schema`, which the table must have, in its order and Arrow
    /// types; all rows, or those whose replication key, an instant or its canonical text, lies in a span between two
    /// whole seconds. In no order, all of one moment. Arrays of plain values come as lists wherever they lie; those of
    /// objects in subtables come as null. A number or instant that a column type can't hold, which somebody else wrote,
    /// comes as one that no source sends.
    ///
    /// # Errors
    /// When the destination can't be reached, or a column is missing.
    async fn scan(
        &self,
        schema: &Arc<StreamSchema>,
        span: Option<Span>,
    ) -> Result<Box<dyn RowScan>, DestinationError>;

    /// Those of the marks that are the id of a rejected row of the table, or the digest of the key of one that was not
    /// replayed.
    ///
    /// # Errors
    /// When the destination can't be reached.
    async fn rejected_among(
        &self,
        table: &str,
        marks: &[String],
    ) -> Result<BTreeSet<String>, DestinationError>;

    /// Rejects, of one standing if it is named, in the order of their sequence and id, from behind `after` on, one page
    /// of them.
    ///
    /// # Errors
    /// When the destination can't be reached.
    async fn stored_rejects(
        &self,
        filter: &RejectFilter,
        standing: Option<RejectStanding>,
        after: Option<&(i64, String)>,
        page: RejectPage,
    ) -> Result<Vec<StoredReject>, DestinationError>;
}

/// The transaction of one commit unit. Dropped without [`UnitTransaction::commit`], it leaves nothing behind.
#[async_trait]
pub trait UnitTransaction: Send {
    /// Gives columns of the stream's table other names, and of the table in which a version waits, where that has them.
    /// Comes before [`UnitTransaction::prepare`].
    ///
    /// # Errors
    /// When the destination refuses.
    async fn rename(
        &mut self,
        schema: &StreamSchema,
        renames: &[Rename],
    ) -> Result<(), DestinationError>;

    /// Makes the stream's table hold every column of its schema: creates it (even if no row comes), or adds the missing
    /// columns. With a version, prepares the table in which that version waits beside the live one as well.
    ///
    /// # Errors
    /// When the table can't be made to fit.
    async fn prepare(
        &mut self,
        schema: &Arc<StreamSchema>,
        version: Option<i64>,
    ) -> Result<(), DestinationError>;

    /// The rows of the table that share a key with a row of the load and differ from it in a user column, as JSON
    /// objects by column name. Only asked for streams whose rule is [`crate::stream::WinnerRule::Greatest`].
    ///
    /// # Errors
    /// As [`UnitTransaction::merge`].
    async fn rivals(
        &mut self,
        load: &TableLoad,
    ) -> Result<Vec<Map<String, Value>>, DestinationError>;

    /// Merges the load's rows, whose keys are unique, into the table (or the waiting version): a row whose key is new is
    /// inserted; one that differs in a user column and wins by the stream's rule is updated, system columns with it; one
    /// that doesn't differ is left as it is; a loser is left out. Without a key, every row is inserted.
    ///
    /// # Errors
    /// [`DestinationErrorKind::Row`] when the destination refuses a row.
    async fn merge(&mut self, load: &TableLoad) -> Result<MergeOutcome, DestinationError>;

    /// Deletes the live rows of a stream without a key whose `_sdc_sequence` is greater than `after_sequence`, with what
    /// is nested in them.
    ///
    /// # Errors
    /// When the destination refuses.
    async fn retract(
        &mut self,
        schema: &StreamSchema,
        after_sequence: i64,
    ) -> Result<RetractionOutcome, DestinationError>;

    /// The number of rows that wait in a version, and in the live table, of that only from this second of the replication
    /// key on if there is one.
    ///
    /// # Errors
    /// When the destination can't be reached.
    async fn version_counts(
        &mut self,
        schema: &StreamSchema,
        version: i64,
        since: Option<DateTime<Utc>>,
    ) -> Result<VersionCounts, DestinationError>;

    /// Replaces the rows of the live table by those of the version: deletes and inserts, so that views, grants and
    /// indexes stay, and drops the waiting table. Rows whose replication key lies before `since` stay as they are, unless
    /// the version has their keys.
    ///
    /// # Errors
    /// When the destination refuses.
    async fn activate(
        &mut self,
        schema: &StreamSchema,
        version: i64,
        since: Option<DateTime<Utc>>,
    ) -> Result<ActivationOutcome, DestinationError>;

    /// Adds rejected rows whose [`RejectedRow::id`] is not there yet. A reject that is there, and was replayed, is of another
    /// table version, has another reason or is more than a day old, stands for the new read from now on: it is not replayed,
    /// and has the run, the reason and the stamps of that read. Any other one stays as it is. Returns how many were added
    /// or changed.
    ///
    /// # Errors
    /// When the destination refuses.
    async fn reject(
        &mut self,
        run_id: &str,
        rejects: &[RejectedRow],
    ) -> Result<u64, DestinationError>;

    /// How many of the rejects with these ids are there now, counted independently of [`UnitTransaction::reject`].
    ///
    /// # Errors
    /// When the destination can't be reached.
    async fn count_rejects(&mut self, ids: &[String]) -> Result<u64, DestinationError>;

    /// Marks rejects as replayed that are not. Returns how many those were.
    ///
    /// # Errors
    /// When the destination can't be reached.
    async fn mark_replayed(&mut self, ids: &[String]) -> Result<u64, DestinationError>;

    /// Removes rejects. Returns how many those were.
    ///
    /// # Errors
    /// When the destination can't be reached.
    async fn remove_rejects(&mut self, ids: &[String]) -> Result<u64, DestinationError>;

    /// Removes the oldest rejects that were rejected before `rejected_before`, or replayed before `replayed_before`, at
    /// most so many. Returns how many those were.
    ///
    /// # Errors
    /// When the destination can't be reached.
    async fn expire_rejects(
        &mut self,
        rejected_before: DateTime<Utc>,
        replayed_before: DateTime<Utc>,
        most: u32,
    ) -> Result<u64, DestinationError>;

    /// Adds rows to the ledger.
    ///
    /// # Errors
    /// When the destination refuses, for example because a batch id is there already.
    async fn record(&mut self, loads: &[LoadRecord]) -> Result<(), DestinationError>;

    /// Stores bookmarks.
    ///
    /// # Errors
    /// When the destination refuses.
    async fn bookmark(
        &mut self,
        states: &BTreeMap<StreamName, Value>,
    ) -> Result<(), DestinationError>;

    /// Renews the claim and stores what its row remembers, where the token is still the claim's.
    ///
    /// # Errors
    /// [`DestinationErrorKind::Fenced`] when it isn't.
    async fn fence(&mut self, claim: &Claim, memory: &ClaimMemory) -> Result<(), DestinationError>;

    /// Commits.
    ///
    /// # Errors
    /// [`DestinationErrorKind::CommitUnknown`] when the reply was lost, so that nobody knows.
    async fn commit(self: Box<Self>) -> Result<(), DestinationError>;

    /// Rolls back and waits until that is done.
    ///
    /// # Errors
    /// When the destination can't be reached; the transaction is gone all the same.
    async fn rollback(self: Box<Self>) -> Result<(), DestinationError>;
}

/// What merging one table did, by the database's own row counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MergeOutcome {
    /// Rows inserted.
    pub inserted: u64,
    /// Rows updated.
    pub updated: u64,
    /// Rows that were there already, alike in every user column.
    pub unchanged: u64,
    /// Rows that lost against the stored one.
    pub superseded: u64,
    /// How much the number of the table's rows changed, counted independently of the figures above.
    pub growth: i64,
    /// Tables of nested rows that changed with it.
    pub children: Vec<ChildOutcome>,
}

/// What happened to a table of nested rows (a subtable such as `contact__listIds`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChildOutcome {
    /// The subtable.
    pub table: String,
    /// Rows inserted.
    pub inserted: u64,
    /// Rows deleted, because their parent's array changed.
    pub deleted: u64,
    /// How much the number of its rows changed, counted independently.
    pub growth: i64,
}

/// What taking rows back did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetractionOutcome {
    /// Rows deleted.
    pub deleted: u64,
    /// How much the number of the table's rows changed, counted independently.
    pub growth: i64,
    /// Tables of nested rows that changed with it.
    pub children: Vec<ChildOutcome>,
}

/// How many rows a full-table version and the live table have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VersionCounts {
    /// Rows that wait.
    pub waiting: u64,
    /// Rows of the live table.
    pub live: u64,
}

/// What activating a version did. `inserted + updated + unchanged` are the version's rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActivationOutcome {
    /// Rows whose key the live table did not have.
    pub inserted: u64,
    /// Rows whose key it had, with other values.
    pub updated: u64,
    /// Rows that it had, alike in every user column.
    pub unchanged: u64,
    /// Rows of the live table whose key the version doesn't have, and that did not stay.
    pub deleted: u64,
    /// How much the number of the table's rows changed, counted independently.
    pub growth: i64,
    /// Tables of nested rows that changed with it.
    pub children: Vec<ChildOutcome>,
}

/// A row that the destination can't hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedRow {
    /// Which of the load's batches.
    pub batch: usize,
    /// Which row of the batch.
    pub row: usize,
    /// Why, as a code.
    pub code: ReasonCode,
    /// Why, naming the column.
    pub reason: String,
}

/// A row of `_sdc_state`.
#[derive(Debug, Clone, PartialEq)]
pub struct StateRow {
    /// The stream; empty for the claim.
    pub stream: String,
    /// The state.
    pub state: Option<Value>,
    /// The fencing token, on the claim row.
    pub token: Option<i64>,
    /// The holder, on the claim row.
    pub holder: Option<String>,
    /// The end of its lease.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// The integration, on the claim row.
    pub integration_id: Option<String>,
    /// From when on the schema was filled, on the claim row; RFC 3339.
    pub start_date: Option<String>,
    /// When the row was last written.
    pub updated_at: Option<DateTime<Utc>>,
}

/// Sums of the ledger for one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LedgerTotals {
    /// Rows received.
    pub received: u64,
    /// Rows inserted.
    pub inserted: u64,
    /// Rows updated.
    pub updated: u64,
    /// Rows unchanged.
    pub unchanged: u64,
    /// Rows superseded.
    pub superseded: u64,
    /// Rows rejected.
    pub rejected: u64,
    /// Rows deleted.
    pub deleted: u64,
    /// The greatest version that was put in place; 0 if none was.
    pub table_version: i64,
    /// The last commit.
    pub last_committed_at: Option<DateTime<Utc>>,
}

/// Rows of `_sdc_rejected` that share table and reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectReason {
    /// The table that they were meant for.
    pub table: String,
    /// Why, as a code.
    pub reason_code: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub rows: u64,
    /// When the first one was rejected.
    pub first_rejected_at: DateTime<Utc>,
    /// When the last one was.
    pub last_rejected_at: DateTime<Utc>,
}

/// A row of `_sdc_rejected`, as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectRecord {
    /// When it was rejected.
    pub rejected_at: DateTime<Utc>,
    /// The table that it was meant for.
    pub table: String,
    /// Why.
    pub reason: String,
    /// Why, as a code.
    pub reason_code: String,
    /// Its identity.
    pub id: String,
    /// The run.
    pub run_id: String,
    /// The row as received.
    pub record: String,
}

/// What kind of failure a destination met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationErrorKind {
    /// The address or a setting is wrong.
    Configuration,
    /// The destination refused: credentials, privileges, a missing database, a file that can't be written.
    Refused,
    /// The destination can't be reached, or dropped the connection.
    Unavailable,
    /// Somebody else has the destination locked; the message names them.
    Busy,
    /// The claim was refused.
    Claim(Refusal),
    /// The claim was lost to another run; nothing of this transaction was committed.
    Fenced,
    /// A row, or a value in it, was refused; nothing was committed.
    Row(ReasonCode),
    /// The reply to a commit was lost.
    CommitUnknown,
    /// No space left.
    Full,
    /// A defect of this program.
    Bug,
}

impl DestinationErrorKind {
    /// Whether the same work, tried again, may succeed without anybody changing anything.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Unavailable | Self::Busy | Self::CommitUnknown)
    }
}

/// A failure of a destination.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DestinationError {
    /// The kind.
    pub kind: DestinationErrorKind,
    /// What went wrong; holds neither secrets nor row values.
    pub message: String,
    /// What the operator should do.
    pub remedy: String,
    /// The cause.
    #[source]
    pub cause: Option<Box<dyn Error + Send + Sync>>,
}

impl DestinationError {
    /// An error of this kind, with the sentence that tells what to do.
    pub fn new(
        kind: DestinationErrorKind,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { kind, message: message.into(), remedy: remedy.into(), cause: None }
    }

    /// The same error with its cause attached.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// A refused claim, in words.
    #[must_use]
    pub fn claim_refused(refusal: Refusal, schema: &str) -> Self {
        let (message, remedy) = match &refusal {
            Refusal::Held { holder, until } => (
                format!("Schema `{schema}` is claimed by {holder} until {}", until.format("%Y-%m-%dT%H:%M:%SZ")),
                "Wait until that run ends, or take the schema with `--take-over` if you know that it is dead".to_owned(),
            ),
            Refusal::OtherIntegration { owner } => (
                format!("Schema `{schema}` belongs to the integration `{owner}`"),
                "Give this integration a schema of its own".to_owned(),
            ),
            Refusal::OtherSource => (
                format!("Schema `{schema}` holds rows of another source account"),
                "Use another schema; if it is the same account with a new token or address, run once with \
                 `--accept-source-change`"
                    .to_owned(),
            ),
        };
        Self::new(DestinationErrorKind::Claim(refusal), message, remedy)
    }

    /// The claim was lost.
    #[must_use]
    pub fn fenced(schema: &str) -> Self {
        Self::new(
            DestinationErrorKind::Fenced,
            format!(
                "Another run has taken over schema `{schema}`; nothing of this unit was committed"
            ),
            "Let the other run finish; this one has no effect any more",
        )
    }
}
