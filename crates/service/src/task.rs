//! What a run is for beyond replicating what is new: asked for by somebody, and done by the worker that claims the run.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

/// What a run is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Task {
    /// Reads a span again, or for the first time, between looking for what is new.
    Backfill {
        /// Its first instant.
        from: DateTime<Utc>,
        /// The first instant after it.
        before: DateTime<Utc>,
        /// The tables; none for all that can be read so.
        tables: Vec<String>,
    },
    /// Reads the account again and compares it with the destination. Its run has a report.
    Audit {
        /// The tables; none for all.
        tables: Vec<String>,
        /// How many days before the bookmark are compared.
        days: u32,
        /// Whether what differs is read again and merged.
        repair: bool,
    },
    /// Loads rejected rows again, and nothing else; what is none excludes nothing. Its run has a report.
    Replay {
        /// Those of this table,
        table: Option<String>,
        /// with this reason code,
        reason_code: Option<String>,
        /// with this id.
        id: Option<String>,
    },
    /// Moves bookmarks, and replicates from there. Its run has a report.
    Rewind {
        /// How they move, as it was decided when it was asked for.
        moves: Vec<BookmarkMove>,
        /// The digest of the state that a Singer tap keeps, if that is forgotten. If it keeps another by then, nothing is.
        tap_state: Option<String>,
    },
}

/// A bookmark that moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BookmarkMove {
    /// The stream.
    pub stream: String,
    /// Where it is; if it is elsewhere by then, it doesn't move.
    pub from: DateTime<Utc>,
    /// Where it is to be; none if it is removed, so that the stream is read from the start date again.
    pub to: Option<DateTime<Utc>>,
}

/// Tells one state of a Singer tap from another.
#[must_use]
pub fn digest_of_state(state: &Value) -> String {
    hex::encode(Sha256::digest(state.to_string().as_bytes()))
}

impl Task {
    /// Its kind, in a word that doesn't change.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Backfill { .. } => "backfill",
            Self::Audit { .. } => "audit",
            Self::Replay { .. } => "replay",
            Self::Rewind { .. } => "rewind",
        }
    }
}
