//! A worker: one session, in which windows are read one at a time, from the request to the event.

use std::sync::{Arc, atomic::Ordering};

use bronto_client::{ContactIncludes, ReadRequest, SessionCost};
use chrono::{DateTime, Utc};
use replication::{event::Reading, source::SourceErrorKind};

use super::{OpenError, StreamReading, activities, contacts, turns::Turn, unsubscribes};
use crate::{
    failure::Halt,
    page::{PageRows, PageSink},
    seen::{SeenRejects, SeenRows},
    streams::BrontoStream,
    window::{Laid, PAGE_ROWS, Window},
};

/// Reads windows of one stream.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(super) stream: Arc<StreamReading>,
    pub(super) turn: Turn,
    sink: PageSink,
    /// The parts of a contact to ask for.
    pub(super) includes: ContactIncludes,
    /// What was emitted of the open window.
    pub(super) seen: SeenRows,
    pub(super) seen_rejects: SeenRejects,
    /// What was read but isn't part of a batch yet.
    pub(super) pending: Reading,
}

/// A page that was read.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) rows: PageRows,
    pub(super) end_of_query: bool,
    pub(super) first_sequence: i64,
    pub(super) extracted_at: DateTime<Utc>,
}

/// How the reading of a window went.
#[derive(Clone, Copy, Debug)]
pub(super) enum WindowEnd {
    /// It is read whole, and everything in it is sent.
    Complete(Figures),
    /// It is too much for one worker. Nothing of it was sent; it is to be laid anew.
    TooLarge {
        /// In how many pieces.
        parts: u32,
        /// The most objects that one page held, if pages were seen.
        page_rows: Option<u64>,
        /// How many rows it has, or has at least, if they are spread over it.
        rows: u64,
    },
}

/// What the next windows are laid by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    /// Objects in the window, repetitions left out.
    pub(super) rows: u64,
    /// The most objects that one page held, if there were several pages.
    pub(super) page_rows: Option<u64>,
    /// The earliest row before the window that the server returned too, in seconds since 1970.
    pub(super) earliest_outside: Option<i64>,
    /// Whether it had to be cut because it could not be read without a break.
    pub(super) was_broken: bool,
}

impl Worker {
    /// A worker that logs in with its first request, unless its session is open already. What the turn has cost so far
    /// is part of the worker's account.
    pub(super) fn new(stream: Arc<StreamReading>, turn: Turn) -> Self {
        let config = &stream.extraction.config;
        Self {
            turn,
            sink: PageSink::new(
                &stream.selected,
                &stream.custom_fields,
                config.activity_id,
                config.row_form(),
            ),
            includes: contacts::includes(&stream.selected),
            seen: SeenRows::default(),
            seen_rejects: SeenRejects::default(),
            pending: Reading::default(),
            stream,
        }
    }

    /// Logs in.
    pub(super) async fn log_in(&mut self) -> Result<(), OpenError> {
        self.stream.check_stop().map_err(OpenError::Halt)?;
        let login = tokio::select! {
            login = self.turn.session().log_in() => login.map_err(OpenError::Login),
            () = self.stream.out_of_time() => Err(OpenError::Halt(Halt::Interrupted)),
        };
        self.count_cost();
        login
    }

    /// Reads a window whole, sends what is in it, and sends the account of it whatever happens.
    pub(super) async fn read_window(&mut self, laid: Laid) -> Result<WindowEnd, Halt> {
        self.set_window(Some(laid.window));
        self.stream.say_fetching(laid.window);
        let end = match self.stream.kind() {
            BrontoStream::Contact => contacts::read_window(self, laid).await,
            BrontoStream::Unsubscribe => unsubscribes::read_window(self, laid).await,
            BrontoStream::InboundActivity | BrontoStream::OutboundActivity => {
                activities::read_window(self, laid).await
            }
            BrontoStream::List => unreachable!("lists have no windows"),
        };
        self.seen.clear();
        self.seen_rejects.clear();
        self.conclude(end).await
    }

    /// Sends the account of what was read, which must not get lost with a read that failed.
    pub(super) async fn conclude<T>(&mut self, end: Result<T, Halt>) -> Result<T, Halt> {
        match end {
            Err(Halt::Failed(error)) if error.kind == SourceErrorKind::LoaderGone => {
                Err(Halt::Failed(error))
            }
            end => {
                let sent = self.send_pending().await;
                self.turn.session().put_aside();
                sent.and(end)
            }
        }
    }

    /// Sets the window outside of which rows are dropped; none keeps all.
    pub(super) fn set_window(&mut self, window: Option<Window>) {
        self.sink.set_window(window);
    }

    /// Sends one request and takes its page.
    pub(super) async fn fetch(&mut self, request: &ReadRequest) -> Result<Fetched, Halt> {
        self.stream.check_stop()?;
        let context = &self.stream.extraction.context;
        let reserved = context.sequence.reserve(context.clock.now(), PAGE_ROWS);
        let read = tokio::select! {
            read = self.turn.session().read(request, &mut self.sink) => read.map_err(Halt::from),
            () = self.stream.out_of_time() => Err(Halt::Interrupted),
        };
        // What is given up was sent all the same.
        self.count_cost();
        let page = read?;
        let rows = self.sink.take();
        let extracted_at = self.stream.extraction.context.clock.now();
        self.pending.bytes += page.body_bytes;
        self.tell_of(&rows);
        // More rows than the documentation allows in a page: they need a wider range.
        let first_sequence = if rows.counts.kept > PAGE_ROWS {
            self.stream.extraction.context.sequence.reserve(extracted_at, rows.counts.kept)
        } else {
            reserved
        };
        Ok(Fetched { rows, end_of_query: page.end_of_query, first_sequence, extracted_at })
    }

    /// Sends one request and takes the keys alone of its page, which is not sent: what is in it will be read again.
    pub(super) async fn look(&mut self, request: &ReadRequest) -> Result<PageRows, Halt> {
        self.sink.set_looking(true);
        let looked = self.fetch(request).await;
        self.sink.set_looking(false);
        let looked = looked?;
        self.set_aside(&looked);
        Ok(looked.rows)
    }

    /// A page is not sent: others will read what is in it.
    pub(super) fn set_aside(&mut self, page: &Fetched) {
        let counts = page.rows.counts;
        self.pending.read += counts.read;
        self.pending.out_of_window += counts.out_of_window;
        self.pending.repeated += counts.read - counts.out_of_window;
    }

    /// Takes the requests since the last time into the account, those of failed tries too.
    pub(super) fn count_cost(&mut self) {
        let SessionCost { requests, retries } = self.turn.count_cost();
        self.pending.requests += requests;
        self.stream.update(|progress| {
            progress.requests += requests;
            progress.retries += retries;
        });
    }

    /// Says what is odd about a page, each thing once per stream.
    fn tell_of(&self, rows: &PageRows) {
        let stream = &self.stream;
        if rows.counts.zone_missing && !stream.told_of_zone.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "Dates of {} come without a time zone and are taken as UTC",
                stream.name
            );
        }
        if rows.counts.undated > 0 && !stream.told_of_undated.swap(true, Ordering::Relaxed) {
            let key = stream.kind().replication_key().unwrap_or_default();
            tracing::warn!("Rows of {} come without `{key}`", stream.name);
        }
    }
}
