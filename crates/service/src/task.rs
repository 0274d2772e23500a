//! What a run is for beyond replicating what is new: asked for by somebody, and done by the worker that claims the run.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

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
}

impl Task {
    /// Its kind, in a word that doesn't change.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Backfill { .. } => "backfill",
            Self::Audit { .. } => "audit",
        }
    }
}
