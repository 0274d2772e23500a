//! Lists: the whole table on every run, under a new version that replaces the old one when it is complete.
//!
//! The API can't select lists by time, and they may change between pages. So they are read in passes (see
//! [`crate::passes`]) until two agree on the ids, and only the last one is emitted.

use std::collections::BTreeSet;

use bronto_client::{ReadLists, ReadRequest};
use chrono::{DateTime, Utc};
use replication::event::{Bookmark, Event};

use super::worker::{Fetched, Worker};
use crate::{
    activity_id::Digest16,
    bookmark::StreamState,
    failure::Halt,
    passes::{PagedTable, read_whole},
    seen::Settled,
};

pub(super) async fn read(worker: &mut Worker, state: &mut StreamState) -> Result<(), Halt> {
    let read = read_all(worker, state).await;
    worker.conclude(read).await
}

/// Reads all lists and sends them as rows of the live table: nothing is replaced by them.
pub(super) async fn read_again(worker: &mut Worker) -> Result<(), Halt> {
    worker.set_window(None);
    let read = async {
        for page in read_whole(&mut Lists(worker)).await? {
            let settled = Settled::without_ids(vec![true; page.rows.counts.kept]);
            worker.emit(page, &settled).await?;
        }
        Ok(())
    };
    let read = read.await;
    worker.conclude(read).await
}

async fn read_all(worker: &mut Worker, state: &mut StreamState) -> Result<(), Halt> {
    worker.set_window(None);
    let pages = read_whole(&mut Lists(worker)).await?;
    let context = &worker.stream.extraction.context;
    let version = next_version(context.clock.now(), state);
    let (stream, events) = (worker.stream.name.clone(), context.events.clone());
    events.send(Event::BeginVersion { stream: stream.clone(), version }).await?;
    worker.stream.versions.begin(version);
    for page in pages {
        let settled = Settled::without_ids(vec![true; page.rows.counts.kept]);
        worker.emit(page, &settled).await?;
    }
    worker.send_pending().await?;
    worker.stream.versions.complete();
    events.send(Event::ActivateVersion { stream: stream.clone(), version, since: None }).await?;
    let state = state.activate(version);
    let bookmark = Bookmark { stream: Some(stream), state, display: None };
    events.send(Event::Bookmark(bookmark)).await?;
    Ok(())
}

/// Versions are times in milliseconds, and never run backwards even if the clock does.
pub(super) fn next_version(now: DateTime<Utc>, state: &StreamState) -> i64 {
    let now = now.timestamp_millis();
    state.version().map_or(now, |last| now.max(last.saturating_add(1)))
}

/// The lists of the account, as a worker reads them.
struct Lists<'worker>(&'worker mut Worker);

impl PagedTable for Lists<'_> {
    type Page = Fetched;
    type Content = BTreeSet<Digest16>;
    type Error = Halt;

    const OBJECTS: &'static str = "lists";

    async fn page(&mut self, number: u32) -> Result<Option<Fetched>, Halt> {
        let page_size = Some(self.0.stream.extraction.config.page_size);
        let request = ReadRequest::Lists(ReadLists { page: number, page_size });
        let fetched = self.0.fetch(&request).await?;
        Ok((fetched.rows.counts.read > 0).then_some(fetched))
    }

    fn is_same(page: &Fetched, other: &Fetched) -> bool {
        page.rows.marks == other.rows.marks && page.rows.rejects == other.rows.rejects
    }

    fn content(pages: &[Fetched]) -> BTreeSet<Digest16> {
        pages.iter().flat_map(|page| &page.rows.marks).map(|mark| mark.key).collect()
    }

    fn begin_pass(&mut self, pass: u32) {
        let stream = &self.0.stream;
        stream.update(|progress| progress.activity = format!("all lists, pass {pass}"));
        tracing::info!("Fetching {}, pass {pass}", stream.name);
    }

    fn set_aside(&mut self, pages: &[Fetched]) {
        pages.iter().for_each(|page| self.0.set_aside(page));
    }
}
