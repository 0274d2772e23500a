//! Contacts and unsubscriptions as full tables: everything from the start date on, as a new version of the table.
//!
//! The version replaces what the table has, so nobody may be missing from it who was only modified while it was read, and
//! thereby left a window before that was its turn. Rounds of windows follow one another, each up to what had settled when
//! it began: whoever is modified during one lies in a later one. When a round has become short, what is left has no end
//! that anybody could move behind. It is read in passes, until one has everybody of the one before at the place where it
//! was: then nobody moved past the reader, and the version is whole.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use chrono::{DateTime, TimeDelta, Utc};
use replication::{
    event::{Bookmark, Event},
    source::{SourceError, SourceErrorKind},
};

use super::{
    StreamReader, contacts, lists::next_version, unsubscribes, windows::Goal, worker::Worker,
};
use crate::{
    activity_id::Digest16,
    failure::Halt,
    seen::Settled,
    streams::BrontoStream,
    window::{self, Window},
};

/// A round that brings the reader on by less is the last one.
const SHORT: TimeDelta = TimeDelta::minutes(5);
/// So many rounds at most: each is far shorter than the one before, as a rule.
const MOST_ROUNDS: u32 = 20;
/// After so many passes over what is left the read fails.
const MOST_PASSES: u32 = 10;

/// The versions of a stream's table, 0 for none.
#[derive(Debug, Default)]
pub(super) struct Versions {
    live: AtomicI64,
    coming: AtomicI64,
}

impl Versions {
    pub(super) fn new(live: Option<i64>) -> Self {
        Self { live: live.unwrap_or_default().into(), coming: 0.into() }
    }

    /// The version of the table that rows outside of a new one go to.
    pub(super) fn live(&self) -> i64 {
        self.live.load(Ordering::Relaxed)
    }

    /// The version under construction.
    pub(super) fn coming(&self) -> Option<i64> {
        Some(self.coming.load(Ordering::Relaxed)).filter(|version| *version != 0)
    }

    pub(super) fn begin(&self, version: i64) {
        self.coming.store(version, Ordering::Relaxed);
    }

    /// The version under construction is complete.
    pub(super) fn complete(&self) {
        self.live.store(self.coming.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl StreamReader {
    /// Reads everything from the start date on, as a new version.
    pub(super) async fn read_whole(&mut self) -> Result<(), Halt> {
        let stream = Arc::clone(&self.stream);
        let context = &stream.extraction.context;
        let (name, events) = (stream.name.clone(), &context.events);
        let start = stream.extraction.start_date();
        tracing::info!("Reading all of {name} from {}", bronto_client::lexical::utc_text(start));
        // What is behind it is no part of the state, though it is in the version: it has not settled.
        let bookmark = self.settled()?;
        let version = next_version(context.clock.now(), &self.state);
        events.send(Event::BeginVersion { stream: name.clone(), version }).await?;
        stream.versions.begin(version);
        let left = self.read_rounds(start).await?;
        let mut worker = self.worker().await?;
        let read = read_rest(&mut worker, left).await;
        worker.conclude(read).await?;
        stream.versions.complete();
        let since = Some(start);
        events.send(Event::ActivateVersion { stream: name.clone(), version, since }).await?;
        self.state.activate(version);
        let state = self.state.advance(bookmark, stream.extraction.config.activity_id);
        let display = Some(bronto_client::lexical::utc_text(bookmark));
        events.send(Event::Bookmark(Bookmark { stream: Some(name), state, display })).await?;
        Ok(())
    }

    /// Reads round by round; returns from where on the rest is to be read.
    async fn read_rounds(&mut self, start: DateTime<Utc>) -> Result<DateTime<Utc>, Halt> {
        let mut from = start;
        let mut upper = self.stream.settled_at(self.stream.server_now()?);
        for _ in 0..MOST_ROUNDS {
            if upper > from {
                let mut planner = self.planner(from, upper);
                self.read_windows(&mut planner, Goal::Whole, u32::MAX).await?;
                from = upper;
            }
            upper = self.stream.settled_at(self.stream.server_now()?);
            if upper - from < SHORT {
                break;
            }
        }
        Ok(from)
    }
}

/// Reads everything from here on, in passes.
async fn read_rest(worker: &mut Worker, from: DateTime<Utc>) -> Result<(), Halt> {
    // Nothing lies behind the server's clock.
    let window = Window::new(from, worker.stream.server_now()?.max(from) + TimeDelta::days(1));
    let window = Window::new(window.from(), window::ceiling(window.before()));
    worker.set_window(Some(window));
    worker.stream.say_fetching(window);
    let mut before: Option<HashSet<Digest16>> = None;
    for _ in 0..MOST_PASSES {
        let (pages, now) = read_pass(worker, window).await?;
        if pages == 0 || before.is_some_and(|before| before.is_subset(&now)) {
            return Ok(());
        }
        before = Some(now);
    }
    let problem = format!(
        "Rows of `{}` changed so fast that they could not be read whole, in {MOST_PASSES} passes",
        worker.stream.name
    );
    let remedy = "Run again when less is being changed in the account; the table is as it was";
    Err(Halt::Failed(SourceError::new(SourceErrorKind::Unsound, problem, remedy)))
}

/// Reads and sends the pages up to the first empty one. Returns how many have objects, and the keys of these with the
/// instants at which they stand.
async fn read_pass(worker: &mut Worker, window: Window) -> Result<(u32, HashSet<Digest16>), Halt> {
    let mut keys = HashSet::new();
    for page in 1.. {
        let request = match worker.stream.kind() {
            BrontoStream::Contact => contacts::request(worker, window, page),
            _ => unsubscribes::request(window, page),
        };
        let fetched = worker.fetch(&request).await?;
        let is_empty = fetched.rows.counts.read == 0;
        keys.extend(fetched.rows.marks.iter().map(|mark| mark.key));
        let settled = Settled::without_ids(vec![true; fetched.rows.counts.kept]);
        worker.emit(fetched, &settled).await?;
        if is_empty {
            return Ok((page - 1, keys));
        }
    }
    unreachable!("pages are numbered without an end")
}
