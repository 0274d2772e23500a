//! Lists: the whole table on every run, under a new version that replaces the old one when it is complete.
//!
//! The API can't select lists by time, and they may change between pages. So when there are several pages, they are read
//! until two passes agree on the ids, and only the last pass is emitted. Accounts have few lists; a pass fits in memory.

use std::collections::BTreeSet;

use bronto_client::{ReadLists, ReadRequest};
use chrono::{DateTime, Utc};
use replication::{
    event::{Bookmark, Event},
    source::{SourceError, SourceErrorKind},
};

use super::worker::{Fetched, Worker};
use crate::{activity_id::Digest16, bookmark::StreamState, failure::Halt, seen::Settled};

/// After so many passes that disagree the stream fails.
const MOST_PASSES: u32 = 6;
/// Accounts have few lists; a server that has no last page would be asked for ever.
const MOST_PAGES: u32 = 10_000;

pub(super) async fn read(worker: &mut Worker, state: &mut StreamState) -> Result<(), Halt> {
    let read = read_all(worker, state).await;
    worker.conclude(read).await
}

/// Reads all lists and sends them as rows of the live table: nothing is replaced by them.
pub(super) async fn read_again(worker: &mut Worker, state: &StreamState) -> Result<(), Halt> {
    worker.set_window(None);
    worker.live_version = state.version().unwrap_or_default();
    let read = async {
        for page in settled_pass(worker).await? {
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
    let pages = settled_pass(worker).await?;
    let context = &worker.stream.extraction.context;
    let version = next_version(context.clock.now(), state);
    let (stream, events) = (worker.stream.name.clone(), context.events.clone());
    events.send(Event::BeginVersion { stream: stream.clone(), version }).await?;
    worker.version = Some(version);
    for page in pages {
        let settled = Settled::without_ids(vec![true; page.rows.counts.kept]);
        worker.emit(page, &settled).await?;
    }
    worker.send_pending().await?;
    worker.version = None;
    events.send(Event::ActivateVersion { stream: stream.clone(), version }).await?;
    let state = state.activate(version);
    let bookmark = Bookmark { stream: Some(stream), state, display: None };
    events.send(Event::Bookmark(bookmark)).await?;
    Ok(())
}

/// Versions are times in milliseconds, and never run backwards even if the clock does.
fn next_version(now: DateTime<Utc>, state: &StreamState) -> i64 {
    let now = now.timestamp_millis();
    state.version().map_or(now, |last| now.max(last.saturating_add(1)))
}

/// The pages of a pass that is known to be whole.
///
/// Page 2 is asked for first. If it is empty, page 1 is all there is: a list that is removed in between can only bring
/// the others closer to it. The other way round, a list could move to page 1 after that was read, and be missed.
async fn settled_pass(worker: &mut Worker) -> Result<Vec<Fetched>, Halt> {
    let second = fetch(worker, 2).await?.rows.counts.read;
    if second == 0 {
        let first = fetch(worker, 1).await?;
        return Ok(if first.rows.counts.read == 0 { Vec::new() } else { vec![first] });
    }
    worker.pending.read += second;
    worker.pending.repeated += second;
    let mut before: Option<BTreeSet<Digest16>> = None;
    for pass in 1..=MOST_PASSES {
        worker.stream.update(|progress| progress.activity = format!("all lists, pass {pass}"));
        tracing::info!("Fetching {}, pass {pass}", worker.stream.name);
        let pages = read_pass(worker).await?;
        let ids = pages.iter().flat_map(|page| &page.rows.marks).map(|mark| mark.key).collect();
        if before.as_ref() == Some(&ids) {
            return Ok(pages);
        }
        before = Some(ids);
        let read: u64 = pages.iter().map(|page| page.rows.counts.read).sum();
        worker.pending.read += read;
        worker.pending.repeated += read;
    }
    Err(Halt::Failed(SourceError::new(
        SourceErrorKind::Unsound,
        format!(
            "The lists changed in each of {MOST_PASSES} passes, so no pass is known to be whole"
        ),
        "Run again when lists are not being added or removed",
    )))
}

/// The pages up to the first empty one.
async fn read_pass(worker: &mut Worker) -> Result<Vec<Fetched>, Halt> {
    let mut pages: Vec<Fetched> = Vec::new();
    for page in 1..=MOST_PAGES {
        let fetched = fetch(worker, page).await?;
        if fetched.rows.counts.read == 0 {
            return Ok(pages);
        }
        let is_same = |last: &Fetched| {
            last.rows.marks == fetched.rows.marks && last.rows.rejects == fetched.rows.rejects
        };
        if pages.last().is_some_and(is_same) {
            return Err(Halt::Failed(SourceError::new(
                SourceErrorKind::Unsound,
                format!("Pages {} and {page} of the lists are the same", page - 1),
                "The server does not page as documented; report this with the run's log",
            )));
        }
        pages.push(fetched);
    }
    Err(Halt::Failed(SourceError::new(
        SourceErrorKind::Unsound,
        format!("The lists have more than {MOST_PAGES} pages"),
        "The server does not page as documented; report this with the run's log",
    )))
}

async fn fetch(worker: &mut Worker, page: u32) -> Result<Fetched, Halt> {
    let page_size = Some(worker.stream.extraction.config.page_size);
    worker.fetch(&ReadRequest::Lists(ReadLists { page, page_size })).await
}
