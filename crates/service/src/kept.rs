//! What a destination keeps of an integration beside its tables, as the program around the service reads it: rejected rows,
//! and how far each stream is.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Why the destination of an integration can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreadable {
    /// What went wrong; never a secret.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// Rejected rows that share table and reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RejectReason {
    /// The table that they were meant for.
    pub table: String,
    /// Why, as a code that doesn't change.
    pub reason_code: String,
    /// Why, in words.
    pub reason: String,
    /// How many wait to be replayed.
    pub rows: u64,
    /// When the first one was rejected.
    pub first_rejected_at: DateTime<Utc>,
    /// When the last one was.
    pub last_rejected_at: DateTime<Utc>,
}

/// Which rejected rows; what is none excludes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RejectChoice {
    /// Those of this table,
    pub table: Option<String>,
    /// with this reason code,
    pub reason_code: Option<String>,
    /// with this id,
    pub id: Option<String>,
    /// behind the one with this sequence and id,
    pub after: Option<(i64, String)>,
    /// so many at most.
    pub limit: u32,
}

/// A rejected row that waits to be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Its id.
    pub id: String,
    /// The table that it was meant for.
    pub table: String,
    /// Why, as a code that doesn't change.
    pub reason_code: String,
    /// Why, in words.
    pub reason: String,
    /// The sequence of its read.
    pub sequence: i64,
    /// When it was read.
    pub extracted_at: DateTime<Utc>,
    /// The row as it was received; it may hold personal data.
    pub record: String,
}

/// Some rejected rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RejectPage {
    /// The rows: fewer than were asked for where they are large.
    pub rejects: Vec<Reject>,
    /// Whether there are others behind them.
    pub has_more: bool,
}

/// How far the streams of an integration are, as its destination keeps it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Bookmarks {
    /// The streams, by name.
    pub streams: Vec<StreamState>,
    /// The state of a Singer tap, in its own form.
    #[schema(value_type = Option<Object>)]
    pub singer_state: Option<Value>,
    /// Who has claimed the schema last.
    pub claim: Option<ClaimState>,
}

/// How far a stream is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StreamState {
    /// The stream.
    pub stream: String,
    /// The instant up to which it has been read; tables that every run reads whole have none.
    pub bookmark: Option<String>,
    /// Spans of a backfill that are still to be read.
    pub backfill: Vec<BackfillLeft>,
    /// Its whole state.
    #[schema(value_type = Option<Object>)]
    pub state: Option<Value>,
    /// When that was written.
    pub updated_at: Option<DateTime<Utc>>,
}

/// A span that is still to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackfillLeft {
    /// Its first instant.
    pub from: String,
    /// The first instant after it.
    pub before: String,
}

/// Who holds a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClaimState {
    /// The integration, as the destination knows it.
    pub integration: Option<String>,
    /// Whether a run holds it now.
    pub is_held: bool,
    /// The run that holds it, or held it last.
    pub run_id: Option<String>,
    /// The host of that run.
    pub host: Option<String>,
    /// Its process.
    pub pid: Option<u32>,
    /// Until when it holds the schema unless it says that it lives.
    pub lease_expires_at: Option<DateTime<Utc>>,
}
