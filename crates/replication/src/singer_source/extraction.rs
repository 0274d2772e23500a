//! From messages to events: what each message of the input makes of the streams, and what is sent when.
//!
//! Rows gather per stream and go out together, when there are enough of them or when they have waited long enough. A
//! state goes out after all rows that came before it, of all streams; it may go out after later rows too, which only
//! means that it says less than it could. While rows of a new table version wait beside their table, states are held
//! back, because those rows are gone if the run breaks off before the version is activated.

use std::{collections::HashSet, sync::Arc, time::Duration};

use indexmap::IndexMap;
use serde_json::Value;
use singer::{Message, MessageError, RecordMessage, SchemaMessage, StateMessage};
use tokio::time::Instant;

use super::{
    line::Line,
    not_a_number,
    own_state::OwnState,
    retraction::{COVERED, Coverage},
    straight,
    stream::{Arrival, SingerStream},
    version::{TABLE_VERSION, VersionChange, Versions},
};
use crate::{
    event::{Bookmark, Event, RowBatch},
    source::{ExtractContext, ExtractOutcome, SourceError, SourceErrorKind},
    stream::StreamName,
};

/// Rows are sent when this many have gathered.
const BATCH_ROWS: usize = 5_000;
/// Rows are sent when they took this many bytes of input, states included.
const BATCH_BYTES: usize = 4 << 20;

const BROKEN_PROTOCOL: &str = "The tap breaks the Singer protocol: use another version of it or report the fault to its authors";

/// An extraction from a stream of messages.
pub(super) struct Extraction {
    context: ExtractContext,
    streams: IndexMap<String, SingerStream>,
    /// The stream of the last record: most records belong to the same stream as the one before.
    current: usize,
    states: Vec<Value>,
    /// Streams with a version that waits.
    waiting_versions: usize,
    buffered_rows: usize,
    buffered_bytes: usize,
    /// When the oldest of what is buffered has waited long enough.
    due_at: Option<Instant>,
    patience: Duration,
    unknown_kinds: HashSet<String>,
    /// Whether the tap goes on from the state that the destination has.
    resumes: bool,
    /// Whether there is no such state, and the tap sends none either.
    is_stateless: bool,
}

impl Extraction {
    pub(super) fn new(context: ExtractContext, patience: Duration, resumes: bool) -> Self {
        Self {
            is_stateless: context.singer_state.as_ref().is_none_or(Value::is_null),
            resumes,
            context,
            streams: IndexMap::new(),
            current: 0,
            states: Vec::new(),
            waiting_versions: 0,
            buffered_rows: 0,
            buffered_bytes: 0,
            due_at: None,
            patience,
            unknown_kinds: HashSet::new(),
        }
    }

    /// When [`Extraction::flush`] should be called even if nothing more comes.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// Takes one line.
    pub(super) async fn take(&mut self, line: Line<'_>) -> Result<(), SourceError> {
        if let Some(index) = self.take_straight(line) {
            return self.taken(index, None, line).await;
        }
        if line.text.trim_ascii().is_empty() {
            return Ok(());
        }
        match Message::parse(line.text) {
            Ok(Message::Record(record)) => self.record(&record, line).await,
            Ok(Message::State(state)) => self.state(&state, line).await,
            Ok(Message::Schema(schema)) => self.schema(schema, line).await,
            Ok(Message::ActivateVersion { stream, version }) => {
                self.activate(&stream, version, line).await
            }
            Ok(Message::Batch { stream, .. }) => Err(SourceError::new(
                SourceErrorKind::Configuration,
                format!("Stream `{stream}` comes in BATCH messages, which can't be loaded"),
                "Remove `batch_config` from the tap's configuration, so that it sends RECORD messages",
            )),
            Ok(Message::Unknown { kind }) => {
                self.unknown(kind);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error @ MessageError::NotJson { .. }) => self.not_a_number(line, error).await,
            Err(error) => Err(malformed(line, error)),
        }
    }

    /// Sends everything that is buffered.
    pub(super) async fn flush(&mut self) -> Result<(), SourceError> {
        for index in 0..self.streams.len() {
            self.send_rows(index).await?;
        }
        self.buffered_rows = 0;
        self.buffered_bytes = 0;
        self.due_at = None;
        if self.waiting_versions == 0 {
            let states = std::mem::take(&mut self.states);
            if states.is_empty() {
                return Ok(());
            }
            // What is covered is what the last state covers: no unit may close between the two.
            let mut bookmarks = self.coverage_news();
            let of_tap = |state| Bookmark { stream: None, state, display: None };
            bookmarks.extend(states.into_iter().map(of_tap));
            self.context.events.send(Event::Bookmarks(bookmarks)).await?;
        }
        Ok(())
    }

    /// Ends the extraction after the last line.
    pub(super) async fn finish(mut self) -> Result<ExtractOutcome, SourceError> {
        let mut outcome = ExtractOutcome::default();
        self.flush().await?;
        for index in 0..self.streams.len() {
            match self.streams[index].versions.finish() {
                Ok(change) => self.announce(index, change).await?,
                Err(version) => {
                    let stream = self.streams[index].name().clone();
                    outcome.failed.push((stream.clone(), never_activated(&stream, version)));
                }
            }
            let stream = self.streams[index].name();
            self.context.progress.update(stream, |progress| progress.done = true);
        }
        self.flush().await?;
        if self.is_stateless {
            // It starts from scratch next time, too: its rows are appended again, as they are on standard input.
            self.cover();
            let bookmarks = self.coverage_news();
            if !bookmarks.is_empty() {
                self.context.events.send(Event::Bookmarks(bookmarks)).await?;
            }
        }
        Ok(outcome)
    }

    async fn schema(&mut self, message: SchemaMessage, line: Line<'_>) -> Result<(), SourceError> {
        let name = message.stream.clone();
        let known = self.streams.get_index_of(&name);
        if known.is_some_and(|index| self.streams[index].is_described_by(&message)) {
            return Ok(());
        }
        let (versions, coverage, own) = match known {
            Some(index) => {
                self.send_rows(index).await?;
                let stream = &mut self.streams[index];
                (stream.versions, stream.coverage, std::mem::take(&mut stream.own))
            }
            None => {
                let stored = self.context.state.get(&StreamName::new(name.as_str()));
                (Versions::new(self.stored_version(&name)), None, OwnState::stored(stored))
            }
        };
        if message.key_properties.is_none() {
            tracing::warn!(stream = %name, "The SCHEMA message of `{name}` has no `key_properties`: rows are appended");
        }
        let mut stream = SingerStream::new(message, versions).map_err(|error| {
            let what = format!("Stream `{name}`, described in line {}, can't be loaded", line.number);
            SourceError::new(
                SourceErrorKind::Malformed,
                what,
                "Deselect the stream, use another version of the tap, or report the fault to its authors",
            )
            .caused_by(error)
        })?;
        for field in stream.left_out() {
            tracing::warn!(stream = %name, "Field `{field}` of `{name}` is left out: the loader fills that column itself");
        }
        self.context.events.send(Event::Schema(Arc::clone(stream.schema()))).await?;
        stream.own = own;
        stream.coverage = coverage.filter(|_| !stream.schema().is_keyed());
        let is_new = stream.coverage.is_none();
        if is_new && self.resumes && !stream.schema().is_keyed() {
            self.begin_coverage(&mut stream).await?;
        }
        self.streams.insert(name, stream);
        Ok(())
    }

    /// Takes rows back that no state covers, and begins to note which ones are covered from here on.
    async fn begin_coverage(&self, stream: &mut SingerStream) -> Result<(), SourceError> {
        let name = stream.name().clone();
        let stored = self.context.state.get(&name);
        let mut coverage =
            Coverage::begin(stored.and_then(|state| state.get(COVERED)), &self.context.sequence);
        if let Some(after_sequence) = coverage.retract_after() {
            let stream = name.clone();
            self.context.events.send(Event::Retract { stream, after_sequence }).await?;
        }
        if let Some(covered) = coverage.news() {
            let bookmark = stream.own_state(self.stored_version(name.as_str()), Some(covered));
            self.context.events.send(Event::Bookmark(bookmark)).await?;
        }
        stream.coverage = Some(coverage);
        Ok(())
    }

    /// A state came: notes that it covers everything that was sent.
    fn cover(&mut self) {
        for coverage in self.streams.values_mut().filter_map(|stream| stream.coverage.as_mut()) {
            coverage.cover();
        }
    }

    /// What is to be stored about coverage together with a state.
    fn coverage_news(&mut self) -> Vec<Bookmark> {
        let news = |stream: &mut SingerStream| {
            let covered = stream.coverage.as_mut()?.news()?;
            Some(stream.own_state(stream.versions.active(), Some(covered)))
        };
        self.streams.values_mut().filter_map(news).collect()
    }

    /// Takes a line that can be read straight. Returns the stream that its record went to.
    fn take_straight(&mut self, line: Line<'_>) -> Option<usize> {
        let (rest, name) = straight::Reader::begin(line.text)?;
        if self.streams.get_index(self.current).is_none_or(|(current, _)| current != name) {
            self.current = self.streams.get_index_of(name)?;
        }
        let received_at = self.context.clock.now();
        let stream = &mut self.streams[self.current];
        stream.take_straight(rest, received_at, line.bytes).then_some(self.current)
    }

    async fn record(
        &mut self,
        record: &RecordMessage<'_>,
        line: Line<'_>,
    ) -> Result<(), SourceError> {
        let (index, version) = self.place(record, line).await?;
        let arrival = self.arrival(record, line);
        let full =
            self.streams[index].take(record.record, arrival, version, &self.context.sequence);
        self.taken(index, full, line).await
    }

    /// A line that is no JSON. If `NaN` and infinities are all that is wrong with it and it is a record, that record is
    /// rejected.
    async fn not_a_number(
        &mut self,
        line: Line<'_>,
        error: MessageError,
    ) -> Result<(), SourceError> {
        let Some(masked) = not_a_number::masked(line.text) else {
            return Err(malformed(line, error));
        };
        let Ok(Message::Record(record)) = Message::parse(&masked) else {
            return Err(malformed(line, error));
        };
        // The mask keeps every place, so the record lies in the line where it lies in the mask.
        let start = record.record.get().as_ptr().addr() - masked.as_ptr().addr();
        let original = line.text.get(start..start + record.record.get().len()).unwrap_or(line.text);
        let (index, version) = self.place(&record, line).await?;
        let arrival = self.arrival(&record, line);
        let full = self.streams[index].reject(
            not_a_number::fault(),
            original,
            arrival,
            version,
            &self.context.sequence,
        );
        self.taken(index, full, line).await
    }

    async fn state(&mut self, message: &StateMessage, line: Line<'_>) -> Result<(), SourceError> {
        let state =
            serde_json::from_str(message.value.get()).map_err(|error| malformed(line, error))?;
        self.is_stateless = false;
        if self.resumes {
            // Their sequences are given when they are sent, and must not exceed those that the state covers.
            for index in 0..self.streams.len() {
                if self.streams[index].coverage.is_some() {
                    self.send_rows(index).await?;
                }
            }
            self.cover();
        }
        if self.waiting_versions > 0 {
            // Held back for as long as it takes to read a whole table: only the newest is worth its memory.
            self.states.clear();
        }
        self.states.push(state);
        self.buffered(line);
        if self.buffered_rows == 0 || self.is_full() { self.flush().await } else { Ok(()) }
    }

    async fn activate(
        &mut self,
        stream: &str,
        version: i64,
        line: Line<'_>,
    ) -> Result<(), SourceError> {
        let Some(index) = self.streams.get_index_of(stream) else {
            return Err(no_schema(stream, line));
        };
        let change = self.streams[index]
            .versions
            .activate(version)
            .map_err(|error| malformed(line, error))?;
        self.announce(index, change).await
    }

    fn unknown(&mut self, kind: String) {
        const MAX_UNKNOWN_KINDS: usize = 100;
        if self.unknown_kinds.len() < MAX_UNKNOWN_KINDS && !self.unknown_kinds.contains(&kind) {
            tracing::warn!("Messages of type `{kind}` are passed over");
            self.unknown_kinds.insert(kind);
        }
    }

    /// Finds the stream of a record and the version that it waits in, after announcing what is new about that.
    async fn place(
        &mut self,
        record: &RecordMessage<'_>,
        line: Line<'_>,
    ) -> Result<(usize, Option<i64>), SourceError> {
        let name: &str = &record.stream;
        if self.streams.get_index(self.current).is_none_or(|(current, _)| current != name) {
            self.current = self.streams.get_index_of(name).ok_or_else(|| no_schema(name, line))?;
        }
        let index = self.current;
        let stream = &mut self.streams[index];
        let (change, version) =
            stream.versions.place(record.version).map_err(|error| malformed(line, error))?;
        if stream.must_send_before(version) {
            self.send_rows(index).await?;
        }
        self.announce(index, change).await?;
        Ok((index, version))
    }

    fn arrival(&self, record: &RecordMessage<'_>, line: Line<'_>) -> Arrival {
        Arrival {
            received_at: self.context.clock.now(),
            time_extracted: record.time_extracted,
            version: record.version,
            bytes: line.bytes,
        }
    }

    /// Accounts for a record that was taken, and sends what is due.
    async fn taken(
        &mut self,
        index: usize,
        full: Option<RowBatch>,
        line: Line<'_>,
    ) -> Result<(), SourceError> {
        if let Some(batch) = full {
            self.send_batch(index, batch).await?;
        }
        let stream = &mut self.streams[index];
        for field in stream.take_unknown() {
            let name = stream.name();
            tracing::warn!(stream = %name, "Field `{field}` of `{name}` is not in the schema and is left out");
        }
        self.buffered_rows += 1;
        self.buffered(line);
        if self.is_full() { self.flush().await } else { Ok(()) }
    }

    fn buffered(&mut self, line: Line<'_>) {
        self.buffered_bytes += line.bytes;
        if self.due_at.is_none() {
            self.due_at = Some(Instant::now() + self.patience);
        }
    }

    fn is_full(&self) -> bool {
        self.buffered_rows >= BATCH_ROWS || self.buffered_bytes >= BATCH_BYTES
    }

    async fn announce(&mut self, index: usize, change: VersionChange) -> Result<(), SourceError> {
        let stream = self.streams[index].name().clone();
        match change {
            VersionChange::None => {}
            VersionChange::Adopted(version) => self.store_version(index, version).await?,
            VersionChange::Begun(version) => {
                self.flush().await?;
                if let Some(coverage) = &mut self.streams[index].coverage {
                    coverage.cover_everything();
                    let active = self.streams[index].versions.active();
                    if let Some(active) = active {
                        self.store_version(index, active).await?;
                    }
                }
                self.waiting_versions += 1;
                self.context.events.send(Event::BeginVersion { stream, version }).await?;
            }
            VersionChange::Activated(version) => {
                self.send_rows(index).await?;
                self.context
                    .events
                    .send(Event::ActivateVersion { stream: stream.clone(), version, since: None })
                    .await?;
                // Not before the activation: a version that is stored but not activated would take rows of the next
                // attempt for rows of the table. Where coverage counts, not before the next state either: the state
                // that is stored is older than the version, so a run that goes on from it replaces the table again.
                if self.streams[index].coverage.is_none() {
                    self.store_version(index, version).await?;
                }
                self.waiting_versions -= 1;
            }
        }
        Ok(())
    }

    async fn store_version(&mut self, index: usize, version: i64) -> Result<(), SourceError> {
        let stream = &mut self.streams[index];
        let covered = stream.coverage.as_mut().map(Coverage::store);
        let bookmark = stream.own_state(Some(version), covered);
        self.context.events.send(Event::Bookmark(bookmark)).await?;
        Ok(())
    }

    /// The version that the stream's table got in an earlier run.
    fn stored_version(&self, stream: &str) -> Option<i64> {
        self.context.state.get(&StreamName::new(stream))?.get(TABLE_VERSION)?.as_i64()
    }

    async fn send_rows(&mut self, index: usize) -> Result<(), SourceError> {
        match self.streams[index].send(&self.context.sequence) {
            Some(batch) => self.send_batch(index, batch).await,
            None => Ok(()),
        }
    }

    /// Sends rows, and after the first of them how their stream is described, so that what is rejected of it can be read
    /// again later.
    async fn send_batch(&mut self, index: usize, batch: RowBatch) -> Result<(), SourceError> {
        let read = batch.reading.read;
        self.context.progress.update(&batch.schema.stream, |progress| progress.extracted += read);
        self.context.events.send(Event::Batch(batch)).await?;
        if let Some(bookmark) = self.streams[index].description_news() {
            self.context.events.send(Event::Bookmark(bookmark)).await?;
        }
        Ok(())
    }
}

/// The error for a line that can't be used.
fn malformed(line: Line<'_>, cause: impl std::error::Error + Send + Sync + 'static) -> SourceError {
    let cause: Box<dyn std::error::Error + Send + Sync> = Box::new(cause);
    let remedy = cause.downcast_ref::<MessageError>().map_or(BROKEN_PROTOCOL, MessageError::remedy);
    let message = format!("Line {} of the Singer stream can't be used", line.number);
    SourceError::new(SourceErrorKind::Malformed, message, remedy).caused_by(cause)
}

fn no_schema(stream: &str, line: Line<'_>) -> SourceError {
    let message = format!(
        "Line {} is about stream `{stream}`, which no SCHEMA message has described",
        line.number
    );
    SourceError::new(SourceErrorKind::Malformed, message, BROKEN_PROTOCOL)
}

fn never_activated(stream: &StreamName, version: i64) -> SourceError {
    SourceError::new(
        SourceErrorKind::Malformed,
        format!(
            "Version {version} of `{stream}` was never activated: the table keeps the rows that it had"
        ),
        "See the tap's own log for why it stopped early, and run it again",
    )
}
