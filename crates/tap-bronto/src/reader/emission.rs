//! From a page to a batch of rows and rejects, with the account of what was read.

use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use replication::{
    event::{Event, Reading, RowBatch},
    reject::{Occurrence, RejectedRow},
    source::{SourceError, SourceErrorKind},
};

use super::worker::{Fetched, Worker};
use crate::{
    failure::Halt,
    page::{PageReject, PageRows},
    seen::Settled,
};

impl Worker {
    /// Emits the rows and rejects of a page, with the account of all that was read since the last batch.
    pub(super) async fn emit(&mut self, fetched: Fetched, settled: &Settled) -> Result<(), Halt> {
        let Fetched { rows, first_sequence, extracted_at, .. } = fetched;
        let PageRows { counts, built, rejects, .. } = rows;
        let rejects: Vec<(u32, PageReject)> = rejects
            .into_iter()
            .enumerate()
            .filter_map(|(index, reject)| {
                let numbered = settled.rejects.get(index).copied().flatten();
                let (number, is_news) = match numbered {
                    Some(numbered) => (numbered.number, numbered.is_news),
                    None => (1, self.seen_rejects.is_news(&reject)),
                };
                is_news.then_some((number, reject))
            })
            .collect();
        let fresh = settled.fresh.iter().filter(|fresh| **fresh).count();
        let emitted = (fresh + rejects.len()) as u64;
        self.pending.read += counts.read;
        self.pending.out_of_window += counts.out_of_window;
        self.pending.repeated += counts.read - counts.out_of_window - emitted;
        if emitted == 0 {
            return Ok(());
        }
        let rejects: Vec<_> = rejects
            .into_iter()
            .map(|reject| self.rejected_row(reject, first_sequence, extracted_at))
            .collect();
        let take_room = || self.turn.session().hand_over_room();
        let batch = built.batch(&self.stream.schema, settled, extracted_at, take_room);
        let batch = batch.map_err(|error| {
            let bug = SourceError::new(
                SourceErrorKind::Bug,
                format!("The rows of `{}` could not be made a batch", self.stream.name),
                "This is a bug in this program; report it",
            );
            Halt::Failed(bug.caused_by(error))
        })?;
        self.send_batch(batch, rejects, first_sequence, extracted_at).await?;
        self.stream.update(|progress| progress.extracted += emitted);
        Ok(())
    }

    fn rejected_row(
        &self,
        (number, reject): (u32, PageReject),
        sequence: i64,
        extracted_at: DateTime<Utc>,
    ) -> RejectedRow {
        let versions = &self.stream.versions;
        tracing::debug!("A row of {} is rejected: {}", self.stream.name, reject.reason);
        RejectedRow {
            stream: self.stream.name.clone(),
            code: reject.code,
            reason: reject.reason,
            record: reject.raw,
            key_digest: None,
            sequence,
            table_version: versions.coming().unwrap_or_else(|| versions.live()),
            extracted_at,
            occurrence: Occurrence::Number(number),
            replays: None,
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
            table_version: self.stream.versions.live(),
            extracted_each: None,
            schema: Arc::clone(&self.stream.schema),
            version: self.stream.versions.coming(),
            rows,
            first_sequence,
            extracted_at,
            rejects,
            reading: std::mem::take(&mut self.pending),
        };
        self.stream.extraction.context.events.send(Event::Batch(batch)).await?;
        Ok(())
    }

    /// Sends the account of what was read and gave no rows, as a batch without any.
    pub(super) async fn send_pending(&mut self) -> Result<(), Halt> {
        if self.pending == Reading::default() {
            return Ok(());
        }
        let rows = RecordBatch::new_empty(self.stream.schema.arrow());
        let now = self.stream.extraction.context.clock.now();
        self.send_batch(rows, Vec::new(), 0, now).await
    }
}
