//! Events as Singer messages.

use std::{
    collections::HashMap,
    io::{self, Write},
    sync::Arc,
};

use replication::{
    event::{Bookmark, Event, RowBatch},
    stream::{StreamName, StreamSchema},
};
use serde_json::Value;
use singer::{MessageWriter, RecordFrame, RecordHeader, SchemaMessage, State};
use tap_bronto::{
    BrontoStream, SelectedStream, catalog, lines,
    rendering::{BatchColumns, RecordShape},
};

use super::{collision::Collisions, metrics::Metrics};

/// Writes messages, and keeps the state that the next STATE line carries.
///
/// Lists come under a version, and ACTIVATE_VERSION follows when all of it is out. None is sent before the rows: a
/// target would empty its table for a read that may yet fail.
#[derive(Debug)]
pub(crate) struct Output<W: Write> {
    writer: MessageWriter<W>,
    selection: Vec<SelectedStream>,
    shapes: HashMap<StreamName, RecordShape>,
    state: State,
    /// Whether anything was written since the last STATE line.
    is_state_due: bool,
    collisions: Collisions,
    rejects: u64,
    pub(crate) metrics: Metrics,
}

impl<W: Write> Output<W> {
    pub(crate) fn new(output: W, selection: Vec<SelectedStream>, mut state: State) -> Self {
        // Several streams are read at once, so none is singled out.
        state.set_currently_syncing(None);
        Self {
            writer: MessageWriter::new(output),
            selection,
            shapes: HashMap::new(),
            state,
            is_state_due: false,
            collisions: Collisions::default(),
            rejects: 0,
            metrics: Metrics::start(),
        }
    }

    /// Writes what an event says.
    ///
    /// # Errors
    /// What the output returns.
    pub(crate) fn take(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Schema(schema) => self.schema(&schema),
            Event::Batch(batch) => self.batch(&batch),
            Event::Bookmark(bookmark) => self.bookmark(bookmark),
            Event::ActivateVersion { stream, version, .. } => {
                self.is_state_due = true;
                self.writer.activate_version(stream.as_str(), version)
            }
            Event::Bookmarks(bookmarks) => {
                bookmarks.into_iter().try_for_each(|bookmark| self.bookmark(bookmark))
            }
            // Bronto's rows all have keys; gaps are in the log; versions are on the records.
            Event::Retract { .. } | Event::Gap(_) | Event::BeginVersion { .. } => Ok(()),
        }
    }

    /// Writes the last STATE line, and sums up.
    ///
    /// # Errors
    /// What the output returns.
    pub(crate) fn finish(mut self, succeeded: bool) -> io::Result<()> {
        if self.is_state_due {
            self.writer.state(&self.state)?;
        }
        self.writer.finish()?;
        self.collisions.warn();
        if self.rejects > 0 {
            tracing::warn!(
                "{} rows could not be emitted; each has an ERROR line above",
                self.rejects
            );
        }
        self.metrics.finish(succeeded);
        Ok(())
    }

    fn schema(&mut self, schema: &Arc<StreamSchema>) -> io::Result<()> {
        let name = schema.stream.as_str();
        let selected = self.selection.iter().find(|selected| selected.stream().name() == name);
        self.is_state_due = true;
        self.shapes.insert(schema.stream.clone(), RecordShape::new(schema));
        self.writer.schema(&SchemaMessage {
            stream: name.to_owned(),
            schema: selected.map_or(Value::Null, |stream| catalog::record_schema(stream, schema)),
            key_properties: Some(schema.key.clone()),
            bookmark_properties: schema.replication_key.iter().cloned().collect(),
        })
    }

    fn batch(&mut self, batch: &RowBatch) -> io::Result<()> {
        let stream = &batch.schema.stream;
        self.metrics.count(batch);
        self.rejects += batch.rejects.len() as u64;
        for reject in &batch.rejects {
            tracing::error!(
                "A row of {stream} can't be emitted ({}): {}",
                reject.code,
                reject.reason
            );
        }
        self.is_state_due |= batch.rows.num_rows() > 0;
        if let Some(lines) = lines::in_batch(&batch.rows) {
            return self.writer.records(lines);
        }
        if stream.as_str() == BrontoStream::Unsubscribe.name() {
            self.collisions.look(&batch.schema, &batch.rows);
        }
        let Some(shape) = self.shapes.get(stream) else { return Ok(()) };
        let columns = BatchColumns::new(&batch.schema, &batch.rows);
        let header =
            RecordHeader { time_extracted: Some(batch.extracted_at), version: batch.version };
        let frame = RecordFrame::new(stream.as_str(), header);
        for row in 0..batch.rows.num_rows() {
            self.writer.record(&frame, |line| shape.render(&columns, row, line))?;
        }
        Ok(())
    }

    fn bookmark(&mut self, bookmark: Bookmark) -> io::Result<()> {
        let (Some(stream), Value::Object(state)) = (bookmark.stream, bookmark.state) else {
            return Ok(());
        };
        if stream.as_str() == BrontoStream::Unsubscribe.name()
            && let Some(reached) = state.get("last_record").and_then(Value::as_str)
        {
            self.collisions.forget(reached);
        }
        *self.state.bookmark_mut(stream.as_str()) = state;
        self.is_state_due = false;
        self.writer.state(&self.state)
    }
}
