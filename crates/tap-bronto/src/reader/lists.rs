//! Lists: the whole table on every run, under a new version that replaces the old one when it is complete.
//!
//! The API can't select lists by time, and they may change between pages. So when there are several pages, they are read
//! until two passes agree on the ids, and only the last pass is emitted. Accounts have few lists; a pass fits in memory.

use std::collections::BTreeSet;

use bronto_client::{ReadLists, ReadRequest};
use replication::{
    event::{Bookmark, Event},
    source::{SourceError, SourceErrorKind},
};

use super::{Fetched, StreamReader};
use crate::{activity_id::Digest16, failure::Halt, seen::Settled};

/// After so many passes that disagree the stream fails.
const MOST_PASSES: u32 = 6;

pub(super) async fn read(reader: &mut StreamReader) -> Result<(), Halt> {
    reader.sink.set_window(None);
    let pages = settled_pass(reader).await?;
    let version = next_version(reader);
    let (stream, events) = (reader.name.clone(), reader.extraction.context.events.clone());
    events.send(Event::BeginVersion { stream: stream.clone(), version }).await?;
    reader.version = Some(version);
    for page in pages {
        let settled = Settled::all_fresh(page.rows.counts.kept);
        reader.emit(page, &settled).await?;
    }
    reader.send_pending().await?;
    reader.version = None;
    events.send(Event::ActivateVersion { stream: stream.clone(), version }).await?;
    let state = reader.state.activate(version);
    let bookmark = Bookmark { stream: Some(stream), state, display: None };
    events.send(Event::Bookmark(bookmark)).await?;
    Ok(())
}

/// Versions are times in milliseconds, and never run backwards even if the clock does.
fn next_version(reader: &StreamReader) -> i64 {
    let now = reader.extraction.context.clock.now().timestamp_millis();
    reader.state.version().map_or(now, |last| now.max(last.saturating_add(1)))
}

/// The pages of a pass that is known to be whole.
///
/// Page 2 is asked for first. If it is empty, page 1 is all there is: a list that is removed in between can only bring
/// the others closer to it. The other way round, a list could move to page 1 after that was read, and be missed.
async fn settled_pass(reader: &mut StreamReader) -> Result<Vec<Fetched>, Halt> {
    let second = fetch(reader, 2).await?.rows.counts.read;
    if second == 0 {
        let first = fetch(reader, 1).await?;
        return Ok(if first.rows.counts.read == 0 { Vec::new() } else { vec![first] });
    }
    reader.pending.read += second;
    reader.pending.repeated += second;
    let mut before: Option<BTreeSet<Digest16>> = None;
    for pass in 1..=MOST_PASSES {
        reader.update(|progress| progress.activity = format!("all lists, pass {pass}"));
        tracing::info!("Fetching {}, pass {pass}", reader.name);
        let pages = read_pass(reader).await?;
        let ids = pages.iter().flat_map(|page| &page.rows.marks).map(|mark| mark.key).collect();
        if before.as_ref() == Some(&ids) {
            return Ok(pages);
        }
        before = Some(ids);
        let read: u64 = pages.iter().map(|page| page.rows.counts.read).sum();
        reader.pending.read += read;
        reader.pending.repeated += read;
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
async fn read_pass(reader: &mut StreamReader) -> Result<Vec<Fetched>, Halt> {
    let mut pages: Vec<Fetched> = Vec::new();
    for page in 1.. {
        let fetched = fetch(reader, page).await?;
        if fetched.rows.counts.read == 0 {
            break;
        }
        if pages.last().is_some_and(|last| last.rows.marks == fetched.rows.marks) {
            return Err(Halt::Failed(SourceError::new(
                SourceErrorKind::Unsound,
                format!("Pages {} and {page} of the lists are the same", page - 1),
                "The server does not page as documented; report this with the run's log",
            )));
        }
        pages.push(fetched);
    }
    Ok(pages)
}

async fn fetch(reader: &mut StreamReader, page: u32) -> Result<Fetched, Halt> {
    let page_size = Some(reader.extraction.config.page_size);
    reader.fetch(&ReadRequest::Lists(ReadLists { page, page_size })).await
}
