//! From a page to events: batches, bookmarks, and the account of what was read.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch, StringBuilder},
    compute::filter_record_batch,
    error::ArrowError,
};
use bronto_client::{ReadRequest, lexical::utc_text};
use chrono::{DateTime, Utc};
use replication::{
    event::{Bookmark, Event, Reading, RowBatch},
    reject::RejectedRow,
    source::{SourceError, SourceErrorKind},
};

use super::{Fetched, PageOutcome, StreamReader};
use crate::{
    activity_id::Digest16,
    failure::Halt,
    page::{PageReject, PageRows},
    seen::Settled,
    streams::BrontoStream,
    window::Window,
};

impl StreamReader {
    /// Reads a page and emits what is new in it. `page` is its number, for streams that have numbers.
    pub(super) async fn read_page(
        &mut self,
        request: &ReadRequest,
        page: u32,
    ) -> Result<PageOutcome, Halt> {
        let mut fetched = self.fetch(request).await?;
        let counts = fetched.rows.counts;
        let end_of_query = fetched.end_of_query;
        let settled = self.settle(&mut fetched.rows, page);
        self.emit(fetched, &settled).await?;
        if settled.moved_back {
            return Err(self.out_of_order());
        }
        Ok(PageOutcome {
            read: counts.read,
            inside: counts.read - counts.out_of_window,
            unseen: settled.unseen,
            end_of_query,
        })
    }

    /// The pages of a query don't fit together, against A6.
    pub(super) fn out_of_order(&self) -> Halt {
        Halt::Failed(SourceError::new(
            SourceErrorKind::Unsound,
            format!(
                "Rows of `{}` changed their order while they were read, so some could be missed",
                self.name
            ),
            "Run again; if it happens again, report it: the server does not page as its documentation says",
        ))
    }

    fn settle(&mut self, rows: &mut PageRows, page: u32) -> Settled {
        match self.stream {
            BrontoStream::Unsubscribe => Settled::all_fresh(rows.counts.kept),
            BrontoStream::InboundActivity | BrontoStream::OutboundActivity => {
                self.seen.settle_activities(rows, self.extraction.config.activity_id)
            }
            BrontoStream::Contact | BrontoStream::List => self.seen.settle_rows(rows, page),
        }
    }

    /// Emits the rows and rejects of a page, with the account of all that was read since the last batch.
    pub(super) async fn emit(&mut self, fetched: Fetched, settled: &Settled) -> Result<(), Halt> {
        let Fetched { rows, first_sequence, extracted_at, .. } = fetched;
        let PageRows { counts, arrays, rejects, .. } = rows;
        self.pending.read += counts.read;
        self.pending.out_of_window += counts.out_of_window;
        self.pending.repeated += settled.repeated;
        if rejects.is_empty() && !settled.fresh.contains(&true) {
            return Ok(());
        }
        let rejects: Vec<_> = rejects
            .into_iter()
            .map(|reject| self.rejected_row(reject, first_sequence, extracted_at))
            .collect();
        let batch = self.record_batch(arrays, settled).map_err(|error| {
            let bug = SourceError::new(
                SourceErrorKind::Bug,
                format!("The rows of `{}` could not be made a batch", self.name),
                "This is a bug in this program; report it",
            );
            Halt::Failed(bug.caused_by(error))
        })?;
        let emitted = (batch.num_rows() + rejects.len()) as u64;
        self.send_batch(batch, rejects, first_sequence, extracted_at).await?;
        self.update(|progress| progress.extracted += emitted);
        Ok(())
    }

    fn record_batch(
        &self,
        mut arrays: Vec<ArrayRef>,
        settled: &Settled,
    ) -> Result<RecordBatch, ArrowError> {
        if self.stream.is_activity() {
            arrays.insert(0, id_array(&settled.ids));
        }
        let batch = RecordBatch::try_new(self.schema.arrow(), arrays)?;
        if settled.fresh.contains(&false) {
            return filter_record_batch(&batch, &BooleanArray::from(settled.fresh.clone()));
        }
        Ok(batch)
    }

    fn rejected_row(
        &self,
        reject: PageReject,
        sequence: i64,
        extracted_at: DateTime<Utc>,
    ) -> RejectedRow {
        tracing::debug!("A row of {} is rejected: {}", self.name, reject.reason);
        RejectedRow {
            stream: self.name.clone(),
            code: reject.code,
            reason: reject.reason,
            record: reject.raw,
            key_digest: None,
            sequence,
            table_version: self.version.unwrap_or_default(),
            extracted_at,
        }
    }

    async fn send_batch(
        &mut self,
        rows: RecordBatch,
        rejects: Vec<RejectedRow>,
        first_sequence: i64,
        extracted_at: DateTime<Utc>,
    ) -> Result<(), Halt> {
        let batch = RowBatch {
            table_version: 0,
            extracted_each: None,
            schema: Arc::clone(&self.schema),
            version: self.version,
            rows,
            first_sequence,
            extracted_at,
            rejects,
            reading: std::mem::take(&mut self.pending),
        };
        self.extraction.context.events.send(Event::Batch(batch)).await?;
        Ok(())
    }

    /// Sends the account of what was read and gave no rows, as a batch without any.
    pub(super) async fn send_pending(&mut self) -> Result<(), Halt> {
        if self.pending == Reading::default() {
            return Ok(());
        }
        let rows = RecordBatch::new_empty(self.schema.arrow());
        let now = self.extraction.context.clock.now();
        self.send_batch(rows, Vec::new(), 0, now).await
    }

    /// A window is complete: everything before its end is out, and the bookmark says so, unless it says more already.
    pub(super) async fn complete(&mut self, window: Window) -> Result<(), Halt> {
        self.send_pending().await?;
        let bookmark = window.before();
        if self.state.bookmark().is_some_and(|stored| stored >= bookmark) {
            return Ok(());
        }
        let state = self.state.advance(bookmark, self.extraction.config.activity_id);
        let text = utc_text(bookmark);
        tracing::info!(
            "State update: adding bookmarks.{}.{} = \"{text}\"",
            self.name,
            self.stream.replication_key().unwrap_or_default()
        );
        let bookmark = Bookmark { stream: Some(self.name.clone()), state, display: Some(text) };
        self.extraction.context.events.send(Event::Bookmark(bookmark)).await?;
        Ok(())
    }
}

fn id_array(ids: &[Digest16]) -> ArrayRef {
    let mut array = StringBuilder::with_capacity(ids.len(), ids.len() * 32);
    let mut text = [0_u8; 32];
    for id in ids {
        let text = match hex::encode_to_slice(id, &mut text) {
            Ok(()) => std::str::from_utf8(&text).unwrap_or_default(),
            Err(_) => "",
        };
        array.append_value(text);
    }
    Arc::new(array.finish())
}
