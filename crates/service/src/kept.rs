//! What a destination keeps of an integration beside its tables, as the program around the service reads it: rejected rows,
//! and how far each stream is; and what it would mean to load the ones again, and to move the others.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{host::SettingError, name::closed_names, task::BookmarkMove};

/// Why the destination of an integration can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreadable {
    /// What went wrong; never a secret.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// Why something can't be said of a destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It can't be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// What is asked for makes no sense.
    #[error(transparent)]
    Setting(#[from] SettingError),
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

closed_names! {
    /// Whether a rejected row waits.
    RejectStanding {
        /// It waits to be replayed.
        Open = "open",
        /// It was replayed.
        Replayed = "replayed",
    }
}

/// Which rejected rows; what is none excludes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RejectChoice {
    /// Those that wait, or those that were replayed,
    pub standing: Option<RejectStanding>,
    /// of this table,
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

/// A rejected row.
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
    /// When it was replayed, if it was.
    pub replayed_at: Option<DateTime<Utc>>,
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

/// What a replay would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayPreview {
    /// By table.
    pub tables: Vec<TableReplay>,
    /// Whether it was looked at all rows that are meant: there may be too many for an answer.
    pub is_whole: bool,
}

/// What a replay would do with the rejected rows of a table. Whether the destination takes a row shows only when it is tried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TableReplay {
    /// The table.
    pub table: String,
    /// Rows that wait.
    pub found: u64,
    /// Those of them that can be read now.
    pub readable: u64,
    /// Those that would be rejected again.
    pub rejected_again: Vec<RejectedAgain>,
    /// Those of a version that the table doesn't have any more, which are not brought back.
    pub former_version: u64,
    /// Those of a stream that can't be read at all,
    pub unreadable: u64,
    /// because of this.
    pub obstacle: Option<String>,
}

/// Rows that would be rejected again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RejectedAgain {
    /// Why, as a code that doesn't change.
    pub reason_code: String,
    /// Why, in words.
    pub reason: String,
    /// How many.
    pub rows: u64,
}

/// Where somebody wants bookmarks to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RewindWish {
    /// At these instants, by stream.
    pub set: BTreeMap<String, DateTime<Utc>>,
    /// Back by these spans, such as `7d`, `12h`, `30m` or `90s`, by stream.
    pub rewind: BTreeMap<String, String>,
    /// Gone, of these streams.
    pub remove: Vec<String>,
    /// Whether the state that a Singer tap keeps is to go.
    pub remove_tap_state: bool,
}

/// What it would mean to move bookmarks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RewindPreview {
    /// How they move.
    pub moves: Vec<PreviewedMove>,
    /// The state of a Singer tap that goes.
    pub tap_state: Option<Value>,
    /// What it means, in sentences.
    pub consequences: Vec<String>,
}

/// What it means to move a bookmark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewedMove {
    /// How it moves.
    #[serde(flatten)]
    pub change: BookmarkMove,
    /// Rows that are read again, at most.
    pub rows_again_at_most: u64,
    /// Whether it moves forward: what lies between and hasn't been read never will be.
    pub skips: bool,
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
