//! Reading what was read before: spans that somebody wants to see again, and backfills.
//!
//! A backfill may take hours. What is new must not wait for it, so a run reads a few windows of it at a time and looks for
//! new rows in between. What is left of it stands in the stream's state, which is stored with the rows; so after a kill the
//! next run, whatever it was started for, goes on where this one ended.

use chrono::{DateTime, TimeDelta, Utc};
use replication::{
    event::{Bookmark, Event},
    source::Span,
};
use serde_json::Value;

use super::{StreamReader, StreamReading, lists, windows::Goal};
use crate::{
    bookmark::StreamState,
    failure::Halt,
    streams::BrontoStream,
    window::{self, Window},
};

/// How many windows of a backfill are read before new rows are looked for.
const WINDOWS: u32 = 16;

impl StreamReader {
    /// Reads spans again; of lists everything, since the API can select none of them by time.
    pub(super) async fn read_spans(&mut self, spans: Option<&Vec<Span>>) -> Result<(), Halt> {
        if self.stream.kind() == BrontoStream::List {
            let mut worker = self.worker().await?;
            return lists::read_again(&mut worker).await;
        }
        for span in spans.into_iter().flatten() {
            if let Some(window) = self.within_reach(*span)? {
                let window = self.within_readable(window).await?;
                let mut planner = self.planner(window.from(), window.before());
                self.read_windows(&mut planner, Goal::Again, u32::MAX).await?;
            }
        }
        Ok(())
    }

    /// Reads on in the first span of a backfill. False if there is more to be read.
    pub(super) async fn read_backfill(&mut self) -> Result<bool, Halt> {
        let Some(span) = self.state.backfill().first().copied() else {
            return Ok(true);
        };
        // What has not settled is left to the runs for which it will be new. The configured end is one of what is new only:
        // behind it may lie what was read before.
        let wanted = Window::new(span.from(), span.before().min(self.settled()?).max(span.from()));
        tracing::info!("Backfilling {} from {wanted}", self.stream.name);
        let readable = self.within_readable(wanted).await?;
        if readable.from() > span.from() || readable.length() == TimeDelta::zero() {
            self.stream.note_backfilled(&mut self.state, wanted, readable.from()).await?;
        }
        if readable.length() > TimeDelta::zero() {
            let mut planner = self.planner(readable.from(), readable.before());
            self.read_windows(&mut planner, Goal::Backfill(readable), WINDOWS).await?;
        }
        if self.state.backfill().is_empty() {
            tracing::info!("The backfill of {} is complete", self.stream.name);
        }
        Ok(self.state.backfill().is_empty())
    }

    /// The whole seconds of a span, up to what has settled; none if nothing of it has.
    fn within_reach(&self, span: Span) -> Result<Option<Window>, Halt> {
        let from = window::floor(span.from);
        let before = window::ceiling(span.before).min(self.settled()?);
        Ok((from < before).then(|| Window::new(from, before)))
    }

    /// The part of a window that can be read; what can't is reported.
    async fn within_readable(&self, wanted: Window) -> Result<Window, Halt> {
        if !self.stream.kind().is_activity() {
            return Ok(wanted);
        }
        let readable = self.readable(wanted).await?;
        Ok(Window::new(wanted.from().max(readable).min(wanted.before()), wanted.before()))
    }
}

impl StreamReading {
    /// The beginning of a backfill's first span is out, and the state says so.
    pub(super) async fn note_backfilled(
        &self,
        state: &mut StreamState,
        span: Window,
        reached: DateTime<Utc>,
    ) -> Result<(), Halt> {
        let Some((first, later)) = state.backfill().split_first() else { return Ok(()) };
        if reached <= first.from() && reached < span.before() {
            return Ok(());
        }
        let rest = Window::new(reached, span.before());
        let rest = (rest.from() < rest.before()).then_some(rest);
        let spans = rest.into_iter().chain(later.iter().copied()).collect();
        let state = state.set_backfill(spans);
        self.keep(state).await
    }

    /// Sends a state whose bookmark has not moved.
    async fn keep(&self, state: Value) -> Result<(), Halt> {
        let bookmark = Bookmark { stream: Some(self.name.clone()), state, display: None };
        self.extraction.context.events.send(Event::Bookmark(bookmark)).await?;
        Ok(())
    }
}
