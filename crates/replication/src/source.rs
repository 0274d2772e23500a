//! Sources: where rows come from. Bronto natively, a Singer stream on standard input, or a Singer tap run as a child.

use std::{collections::BTreeMap, error::Error, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock, event::EventSender, progress::ProgressBoard, sequence::SequenceClock,
    stream::StreamName,
};

/// A place to read from. A source sends events and knows nothing of the destination.
#[async_trait]
pub trait Source: Send {
    /// Identifies the account behind the source without revealing a secret. A schema belongs to one such account.
    fn fingerprint(&self) -> String;

    /// Tries whether the source can be read, step by step, stopping at the first step that fails.
    async fn check(&self) -> Vec<CheckStep>;

    /// Reads everything that is new since `context.state` and sends it, until it is complete or `context.stop` is
    /// cancelled. A bookmark is sent only after every event that it covers.
    ///
    /// # Errors
    /// When nothing more can be read. What was sent before stays valid. A stream that fails on its own is reported in
    /// the outcome instead, so that it doesn't stop the others.
    async fn extract(
        self: Box<Self>,
        context: ExtractContext,
    ) -> Result<ExtractOutcome, SourceError>;
}

/// What a source needs to know and to hold for one extraction.
#[derive(Debug, Clone)]
pub struct ExtractContext {
    /// The state of each stream as last committed.
    pub state: BTreeMap<StreamName, Value>,
    /// The opaque state of a Singer tap as last committed.
    pub singer_state: Option<Value>,
    /// From when to read streams that have no bookmark.
    pub start_date: Option<DateTime<Utc>>,
    /// Gives batches their sequence.
    pub sequence: Arc<SequenceClock>,
    /// Where events go.
    pub events: EventSender,
    /// Asks the source to stop at the next safe point, leaving a true bookmark behind.
    pub stop: CancellationToken,
    /// Where the source shows how far it is.
    pub progress: Arc<ProgressBoard>,
    /// Our clock.
    pub clock: Arc<dyn Clock>,
}

/// How an extraction ended.
#[derive(Debug, Default)]
pub struct ExtractOutcome {
    /// Streams that failed on their own, each with its error. Their bookmarks did not move past what was read.
    pub failed: Vec<(StreamName, SourceError)>,
    /// Whether it was asked to stop before it was complete.
    pub interrupted: bool,
}

/// The end of the last year that four digits can write: stands for no end at all.
pub const FAR: DateTime<Utc> =
    DateTime::from_timestamp(253_402_300_799, 0).expect("it is within chrono's range");

/// A span of time, half open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Its first instant.
    pub from: DateTime<Utc>,
    /// The first instant after it.
    pub before: DateTime<Utc>,
}

impl Span {
    /// Whether an instant lies inside.
    #[must_use]
    pub fn contains(&self, instant: DateTime<Utc>) -> bool {
        (self.from..self.before).contains(&instant)
    }
}

/// One step of a connection check.
#[derive(Debug)]
pub struct CheckStep {
    /// What was tried, for example `log in`.
    pub name: String,
    /// What was found, or why it failed.
    pub result: Result<String, CheckFailure>,
}

/// Why a step of a check failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFailure {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether the same step, tried again later, may succeed without anybody changing anything.
    pub retriable: bool,
}

impl From<&SourceError> for CheckFailure {
    fn from(error: &SourceError) -> Self {
        Self {
            message: error.message.clone(),
            remedy: error.remedy.clone(),
            retriable: error.kind.is_retriable(),
        }
    }
}

/// What kind of failure a source met; decides the exit code and whether a retry makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// A setting, catalog or state is wrong: the operator's to mend.
    Configuration,
    /// The source refused: credentials, permissions, or a request that it doesn't accept.
    Refused,
    /// The source could not be reached, or kept failing after all retries. Trying again later makes sense.
    Unavailable,
    /// The source behaves outside the model under which no row can be lost, so the run ended instead of losing some.
    Unsound,
    /// The input is not what the protocol demands (a malformed Singer message).
    Malformed,
    /// The loader went away first; its error tells why.
    LoaderGone,
    /// A defect of this program.
    Bug,
}

impl SourceErrorKind {
    /// Whether the same run, started again later, may succeed without anybody changing anything.
    #[must_use]
    pub fn is_retriable(self) -> bool {
        matches!(self, Self::Unavailable | Self::Unsound)
    }
}

/// A failure of a source.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// The kind.
    pub kind: SourceErrorKind,
    /// What went wrong; holds neither secrets nor row values.
    pub message: String,
    /// What the operator should do.
    pub remedy: String,
    /// The cause.
    #[source]
    pub cause: Option<Box<dyn Error + Send + Sync>>,
}

impl SourceError {
    /// An error of this kind, with the sentence that tells what to do.
    pub fn new(
        kind: SourceErrorKind,
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
}

impl From<crate::event::LoaderGone> for SourceError {
    fn from(gone: crate::event::LoaderGone) -> Self {
        Self::new(SourceErrorKind::LoaderGone, gone.to_string(), "See the loader's error")
    }
}
