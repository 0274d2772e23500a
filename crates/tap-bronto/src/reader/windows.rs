//! The windows of a range: handed out to workers, completed in any order, and put together again.

use std::sync::Arc;

use bronto_client::lexical::utc_text;
use chrono::{DateTime, Utc};
use replication::{
    event::{Bookmark, Event},
    source::{SourceError, SourceErrorKind},
};
use tokio::task::JoinSet;
use tracing::Instrument;

use super::{
    PAGES_OF_WINDOW, StreamReader, StreamReading, report,
    worker::{WindowEnd, Worker},
};
use crate::{
    bookmark::StreamState,
    failure::Halt,
    window::{Laid, Planner, Window},
};

/// What a range is read for, which decides what its completion is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// It is new: the bookmark moves.
    New,
    /// It is the beginning of a backfill that reaches this far; what is left of it is kept in the state.
    Backfill(Window),
    /// Somebody wants to see it again: nothing is kept.
    Again,
    /// It is part of a new version of the table: nothing is kept before that is complete.
    Whole,
}

impl StreamReader {
    /// Reads the windows of a range, with as many workers as there is work and leave for. It may end after so many, if that
    /// has brought it on: a dense beginning can take many windows that are cut, and ending before it is read would begin
    /// all over again.
    pub(super) async fn read_windows(
        &mut self,
        planner: &mut Planner,
        goal: Goal,
        mut windows: u32,
    ) -> Result<(), Halt> {
        let mut first = self.worker().await?;
        if !planner.has_next() {
            let sent = first.send_pending().await;
            self.idle = Some(first);
            return sent;
        }
        let Self { stream, state, .. } = self;
        let turns = &stream.extraction.turns;
        let mut foreseen = stream.foreseen.subscribe();
        let mut idle = vec![first];
        let mut reading = JoinSet::new();
        let mut failure: Option<Halt> = None;
        let start = planner.reached();
        loop {
            let goes_on = windows > 0 || planner.reached() <= start;
            while failure.is_none()
                && goes_on
                && let Some(worker) = idle.pop()
            {
                let Some(laid) = planner.next(turns.share()) else {
                    idle.push(worker);
                    break;
                };
                windows = windows.saturating_sub(1);
                reading.spawn(read_one(worker, laid).in_current_span());
            }
            if reading.is_empty() {
                break;
            }
            // Nothing is left for them, and others may want their sessions.
            idle.clear();
            stream.show(planner, goal);
            let wants_more =
                failure.is_none() && goes_on && planner.has_next() && planner.is_dense();
            let ended = tokio::select! {
                ended = reading.join_next() => match ended {
                    Some(ended) => ended,
                    None => break,
                },
                Ok(()) = foreseen.changed() => {
                    let seen = *foreseen.borrow_and_update();
                    if let Some((window, rows)) = seen {
                        planner.measure(window, rows);
                    }
                    continue;
                }
                turn = turns.further(planner.left()), if wants_more => {
                    idle.push(Worker::new(Arc::clone(stream), turn));
                    continue;
                }
            };
            let taken = match ended {
                Ok((worker, laid, Ok(end))) => {
                    idle.push(worker);
                    take(planner, laid, &end);
                    stream.advance(state, planner.reached(), goal).await
                }
                Ok((_, _, Err(halt))) => Err(halt),
                Err(error) => Err(unexpected_end(error)),
            };
            if let Err(halt) = taken {
                stream.halted.cancel();
                // That the others stop because of it is no news.
                if failure.as_ref().is_none_or(|first| matches!(first, Halt::Interrupted)) {
                    failure = Some(halt);
                }
            }
        }
        self.idle = idle.pop();
        failure.map_or(Ok(()), Err)
    }
}

async fn read_one(mut worker: Worker, laid: Laid) -> (Worker, Laid, Result<WindowEnd, Halt>) {
    let end = worker.read_window(laid).await;
    (worker, laid, end)
}

/// A worker is done with a window: lays the rest by what it found.
fn take(planner: &mut Planner, laid: Laid, end: &WindowEnd) {
    let window = laid.window;
    match *end {
        WindowEnd::TooLarge { parts, page_rows, rows } => {
            note_page(planner, page_rows);
            planner.cut(window, parts, rows);
        }
        WindowEnd::Complete(figures) => {
            note_page(planner, figures.page_rows);
            if figures.was_broken {
                planner.aim_lower();
            }
            let earliest = figures.earliest_outside;
            if let Some(at) = earliest.and_then(|second| DateTime::from_timestamp(second, 0)) {
                planner.note_days(window, at);
            }
            planner.complete(window, figures.rows);
        }
    }
}

fn note_page(planner: &mut Planner, rows: Option<u64>) {
    if let Some(rows) = rows {
        planner.note_page(rows, PAGES_OF_WINDOW);
    }
}

fn unexpected_end(error: tokio::task::JoinError) -> Halt {
    let remedy = "This is a bug in this program; report it";
    let bug = SourceError::new(SourceErrorKind::Bug, "A worker ended unexpectedly", remedy);
    Halt::Failed(bug.caused_by(error))
}

impl StreamReading {
    /// Everything of the range before this instant is out, and the state says so, unless it says more already.
    async fn advance(
        &self,
        state: &mut StreamState,
        reached: DateTime<Utc>,
        goal: Goal,
    ) -> Result<(), Halt> {
        match goal {
            Goal::New => {}
            Goal::Backfill(span) => return self.note_backfilled(state, span, reached).await,
            Goal::Again | Goal::Whole => return Ok(()),
        }
        if state.bookmark().is_some_and(|stored| stored >= reached) {
            return Ok(());
        }
        let text = utc_text(reached);
        tracing::info!(
            "State update: adding bookmarks.{}.{} = \"{text}\"",
            self.name,
            self.kind().replication_key().unwrap_or_default()
        );
        let state = state.advance(reached, self.extraction.config.activity_id);
        let bookmark = Bookmark { stream: Some(self.name.clone()), state, display: Some(text) };
        self.extraction.context.events.send(Event::Bookmark(bookmark)).await?;
        Ok(())
    }

    fn show(&self, planner: &Planner, goal: Goal) {
        let windows = match goal {
            Goal::Backfill(_) => format!("backfill of {}", report::open_windows(planner)),
            Goal::New | Goal::Again | Goal::Whole => report::open_windows(planner),
        };
        let fraction = planner.fraction();
        self.update(|progress| {
            progress.activity = windows;
            progress.fraction = Some(fraction);
        });
    }
}
