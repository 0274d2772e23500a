//! What flows from a source to a destination: schemas, batches of rows, bookmarks and table versions, through a channel
//! that is bounded by bytes, so that a slow destination slows its source down instead of filling the memory.

use std::sync::Arc;

use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{
    reject::RejectedRow,
    stream::{StreamName, StreamSchema},
};

/// One step of an extraction.
#[derive(Debug)]
pub enum Event {
    /// A stream exists and has this schema from here on. Comes before the stream's first batch, and again when it
    /// changes.
    Schema(Arc<StreamSchema>),
    /// Rows of a stream.
    Batch(RowBatch),
    /// Everything that came before it, of its stream (or of all, where it names none), is covered by this state.
    Bookmark(Bookmark),
    /// Bookmarks that are stored together or not at all.
    Bookmarks(Vec<Bookmark>),
    /// A span that was asked for and that the source can't give.
    Gap(Gap),
    /// Rows of a stream without a key that no stored state covers, because the run that loaded them broke off: they are
    /// deleted, since the source is about to send them again. Comes after the stream's schema and before its rows.
    Retract {
        /// The stream.
        stream: StreamName,
        /// Rows with a greater `_sdc_sequence` go.
        after_sequence: i64,
    },
    /// A new version of a full table begins: rows that carry it wait beside the live table.
    BeginVersion {
        /// The stream.
        stream: StreamName,
        /// The new version, greater than the one before.
        version: i64,
    },
    /// The version's rows are complete: from now on they, and only they, are the table.
    ActivateVersion {
        /// The stream.
        stream: StreamName,
        /// The version to activate.
        version: i64,
        /// The second from which on the source was read, by the replication key; none where all of it was. Rows from
        /// before stay in the table, unless the version has their keys.
        since: Option<DateTime<Utc>>,
    },
}

/// Rows of one stream, with what their reading cost.
#[derive(Debug, Clone)]
pub struct RowBatch {
    /// The schema that the rows follow.
    pub schema: Arc<StreamSchema>,
    /// The full-table version under construction that they belong to; none for rows that merge into the live table.
    pub version: Option<i64>,
    /// The user columns, in the schema's order and in its Arrow types.
    pub rows: RecordBatch,
    /// The `_sdc_sequence` of the first row; each further row has one more.
    pub first_sequence: i64,
    /// The version that the live table has, which rows that merge into it carry; 0 where the source has no versions.
    pub table_version: i64,
    /// When the rows were read from the source.
    pub extracted_at: DateTime<Utc>,
    /// When each row was read, where the source knows that; UTC, one for each row.
    pub extracted_each: Option<TimestampMicrosecondArray>,
    /// Rows of the same read that could not be made part of `rows`. They count as emitted.
    pub rejects: Vec<RejectedRow>,
    /// The source's own count of what it did for this batch.
    pub reading: Reading,
}

/// A source's account of its reading. The books hold `read = emitted + out_of_window + repeated`, where emitted are the
/// rows and rejects of the batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Objects received from the source.
    pub read: u64,
    /// Of those, dropped because they lie outside the window asked for (they belong to another one).
    pub out_of_window: u64,
    /// Of those, dropped because this run had emitted them already.
    pub repeated: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Requests made.
    pub requests: u64,
}

impl Reading {
    /// Adds another account to this one.
    pub fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.out_of_window += other.out_of_window;
        self.repeated += other.repeated;
        self.bytes += other.bytes;
        self.requests += other.requests;
    }
}

/// A state that may be stored once everything before it is durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Bookmark {
    /// The stream that it is about; none for a Singer tap's opaque state, which is about all of them.
    pub stream: Option<StreamName>,
    /// The state, kept as it is.
    pub state: Value,
    /// The bookmark as people read it, for example `2026-01-02T03:04:05Z`; goes to the ledger.
    pub display: Option<String>,
}

impl Bookmark {
    fn weight(&self) -> usize {
        self.state.to_string().len() + 256
    }
}

/// A span that was asked for and can't be read, for example activities older than 30 days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The stream.
    pub stream: StreamName,
    /// The first instant that is missing.
    pub from: DateTime<Utc>,
    /// The first instant that is there again.
    pub to: DateTime<Utc>,
    /// Why.
    pub reason: String,
}

impl Gap {
    /// One gap that spans both.
    pub(crate) fn joined(self, other: &Self) -> Self {
        let reason = if self.reason == other.reason {
            self.reason
        } else {
            format!("{}; {}", self.reason, other.reason)
        };
        Self { from: self.from.min(other.from), to: self.to.max(other.to), reason, ..self }
    }
}

impl Event {
    /// About how much memory the event holds, in bytes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Batch(batch) => {
                batch.rows.get_array_memory_size()
                    + batch.rejects.iter().map(|reject| reject.record.len() + 256).sum::<usize>()
            }
            Self::Bookmark(bookmark) => bookmark.weight(),
            Self::Bookmarks(bookmarks) => bookmarks.iter().map(Bookmark::weight).sum(),
            Self::Schema(_)
            | Self::Gap(_)
            | Self::Retract { .. }
            | Self::BeginVersion { .. }
            | Self::ActivateVersion { .. } => 256,
        }
    }
}

/// The receiving side is gone: the run is over, and the source should stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The loader has stopped")]
pub struct LoaderGone;

/// The sending side of the channel; cloned for every worker.
#[derive(Debug, Clone)]
pub struct EventSender {
    events: mpsc::Sender<(Event, OwnedSemaphorePermit)>,
    budget: Arc<Semaphore>,
    capacity: usize,
}

/// The receiving side of the channel.
#[derive(Debug)]
pub struct EventReceiver {
    events: mpsc::Receiver<(Event, OwnedSemaphorePermit)>,
}

/// A channel that holds at most about `capacity_bytes` of events (a single larger event passes alone).
#[must_use]
pub fn channel(capacity_bytes: usize) -> (EventSender, EventReceiver) {
    let capacity = capacity_bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let (sender, receiver) = mpsc::channel(64);
    let budget = Arc::new(Semaphore::new(capacity));
    (EventSender { events: sender, budget, capacity }, EventReceiver { events: receiver })
}

impl EventSender {
    /// Sends an event, waiting while the channel is full.
    ///
    /// # Errors
    /// [`LoaderGone`] when nobody receives any more.
    pub async fn send(&self, event: Event) -> Result<(), LoaderGone> {
        let weight = u32::try_from(event.weight().clamp(1, self.capacity)).unwrap_or(u32::MAX);
        let permit =
            Arc::clone(&self.budget).acquire_many_owned(weight).await.map_err(|_| LoaderGone)?;
        self.events.send((event, permit)).await.map_err(|_| LoaderGone)
    }
}

impl EventReceiver {
    /// The next event, or none when every sender is gone.
    pub async fn receive(&mut self) -> Option<Event> {
        self.events.recv().await.map(|(event, _permit)| event)
    }
}
