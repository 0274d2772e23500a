//! What a run says when it is over.

use std::{collections::BTreeMap, io};

use chrono::{DateTime, Utc};

use crate::{
    books::BooksError,
    destination::DestinationError,
    event::Gap,
    ledger::{LoadCounts, LoadRecord},
    reject_limit::RejectLimit,
    row,
    source::{SourceError, SourceErrorKind},
    stream::StreamName,
};

/// What a run did. True also of a run that failed: only what is durable is in it.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// The run.
    pub run_id: String,
    /// Whether it was asked to stop before it was complete.
    pub interrupted: bool,
    /// How many units were committed.
    pub units: u64,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// Per table, what was loaded.
    pub tables: Vec<TableReport>,
    /// Spans that the source could not give.
    pub gaps: Vec<Gap>,
    /// What was found of an earlier run that did not end by itself.
    pub settled: Option<Settlement>,
    /// How many rejects were removed because they were old.
    pub expired_rejects: u64,
}

/// What was loaded into one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    /// The stream.
    pub stream: String,
    /// The table; a subtable of the stream's table has a report of its own.
    pub table: String,
    /// The figures of all its batches.
    pub counts: LoadCounts,
    /// The bookmark after the run.
    pub bookmark: Option<String>,
    /// The greatest replication key loaded.
    pub max_replication_key: Option<String>,
}

/// The books of a run that was killed or overtaken, as the next run found them: the ledger against the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The run that had not let go, in words.
    pub predecessor: String,
    /// Per table: the rows that the ledger accounts for, and the rows that are there.
    pub tables: Vec<SettledTable>,
    /// How many rows it had rejected, of which it could not tell.
    pub rejected: u64,
}

/// One table of a [`Settlement`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledTable {
    /// The table.
    pub table: String,
    /// Inserted less deleted, by the ledger.
    pub in_ledger: i64,
    /// Rows counted.
    pub in_table: i64,
}

impl Settlement {
    /// Whether every table has the rows that the ledger accounts for.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.tables.iter().all(|table| table.in_ledger == table.in_table)
    }
}

/// A run that did not end well.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct RunFailure {
    /// Why.
    #[source]
    pub error: RunError,
    /// What it did before that; boxed, as errors travel.
    pub report: Box<RunReport>,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The source failed as a whole.
    #[error(transparent)]
    Source(SourceError),
    /// Some streams failed; the others are complete.
    #[error("{} of the streams failed: {}", .0.len(), names(.0))]
    Streams(Vec<(StreamName, SourceError)>),
    /// The destination failed.
    #[error(transparent)]
    Destination(DestinationError),
    /// Figures that must agree don't.
    #[error(transparent)]
    Books(BooksError),
    /// More rows were rejected than the options allow. They are stored, as everything before them.
    #[error("{rejected} rows were rejected, more than the {limit} that are allowed")]
    Rejects {
        /// How many were rejected.
        rejected: u64,
        /// How many were allowed.
        limit: RejectLimit,
    },
    /// What became durable could not be passed on.
    #[error("The states that became durable could not be written")]
    Observer(#[source] io::Error),
}

fn names(failed: &[(StreamName, SourceError)]) -> String {
    failed
        .iter()
        .map(|(stream, error)| format!("`{stream}` ({error})"))
        .collect::<Vec<_>>()
        .join(", ")
}

impl RunError {
    /// What the operator should do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Source(error) => error.remedy.clone(),
            Self::Streams(failed) => {
                let mut remedies: Vec<&str> =
                    failed.iter().map(|(_, error)| error.remedy.as_str()).collect();
                remedies.dedup();
                remedies.join("; ")
            }
            Self::Destination(error) => error.remedy.clone(),
            Self::Books(_) => {
                "Nothing of that unit was committed; report this defect with the run's log"
                    .to_owned()
            }
            Self::Rejects { .. } => {
                "Look at them with `backstitch rejects`; mend the cause, or raise `max_rejects`"
                    .to_owned()
            }
            Self::Observer(_) => "Check who reads the standard output".to_owned(),
        }
    }

    /// The kind of the source's failure, where the source is to blame; of several, the one that a retry can't mend.
    #[must_use]
    pub fn source_kind(&self) -> Option<SourceErrorKind> {
        match self {
            Self::Source(error) => Some(error.kind),
            Self::Streams(failed) => {
                let kinds = || failed.iter().map(|(_, error)| error.kind);
                kinds().find(|kind| !kind.is_retriable()).or_else(|| kinds().next())
            }
            Self::Destination(_) | Self::Books(_) | Self::Rejects { .. } | Self::Observer(_) => {
                None
            }
        }
    }
}

/// Adds up what units did, per table.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    tables: BTreeMap<String, TableReport>,
}

impl Tally {
    pub(crate) fn add(&mut self, record: &LoadRecord) {
        let table = self.tables.entry(record.table.clone()).or_insert_with(|| TableReport {
            stream: record.stream.clone(),
            table: record.table.clone(),
            counts: LoadCounts::default(),
            bookmark: None,
            max_replication_key: None,
        });
        table.counts.add(&record.counts);
        if record.bookmark.is_some() {
            table.bookmark.clone_from(&record.bookmark);
        }
        table.max_replication_key = table
            .max_replication_key
            .take()
            .into_iter()
            .chain(record.max_replication_key.clone())
            .max_by(|left, right| row::compare_keys(left, right));
    }

    /// How many rows were rejected so far.
    pub(crate) fn rejected(&self) -> u64 {
        self.tables.values().map(|table| table.counts.rejected).sum()
    }

    /// How many rows of streams were received so far, rejected ones included.
    pub(crate) fn received(&self) -> u64 {
        let streams = self.tables.values().filter(|table| table.table == table.stream);
        streams.map(|table| table.counts.received).sum()
    }

    pub(crate) fn reports(&self) -> Vec<TableReport> {
        self.tables.values().cloned().collect()
    }
}
