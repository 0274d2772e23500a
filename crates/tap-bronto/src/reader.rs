//! Reading one stream: a session of its own, a page at a time, from the request to the event.
//!
//! What differs between streams, how a window is read whole, is in the modules below. Contacts page by number while
//! they change; activities come through a cursor that can get lost; unsubscriptions page and never change; lists have no
//! window at all.

mod activities;
mod contacts;
mod emission;
mod lists;
mod unsubscribes;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bronto_client::{
    Client, ContactIncludes, Page, ReadRequest, RowDefect, RowSink, Session, lexical::utc_text,
};
use chrono::{DateTime, Months, NaiveTime, TimeDelta, Utc};
use replication::{
    event::{Event, Gap, Reading},
    progress::StreamProgress,
    source::{ExtractContext, SourceError, SourceErrorKind},
    stream::{StreamName, StreamSchema},
};
use tokio_util::sync::CancellationToken;

use crate::{
    bookmark::StreamState,
    config::TapConfig,
    failure::Halt,
    page::{PageRows, PageSink},
    seen::SeenRows,
    streams::{BrontoStream, SelectedStream},
    window::{self, Planner, Window},
};

/// The rows for which a page's sequence is reserved before its request: the documented maximum of a page.
const PAGE_ROWS: usize = 5_000;

/// How long a page may still take after the run was asked to stop.
const GRACE: Duration = Duration::from_secs(10);

/// What the readers of one extraction share.
#[derive(Debug)]
pub(crate) struct Extraction {
    pub(crate) config: TapConfig,
    pub(crate) context: ExtractContext,
    pub(crate) client: Client,
    /// Cancelled when nothing more can be read by any stream.
    pub(crate) give_up: CancellationToken,
}

impl Extraction {
    pub(crate) fn new(config: TapConfig, context: ExtractContext, client: Client) -> Self {
        let give_up = CancellationToken::new();
        Self { config, context, client, give_up }
    }

    /// From when to read a stream that has no bookmark. Default: one year ago, at midnight UTC.
    fn start_date(&self) -> DateTime<Utc> {
        let start = self.context.start_date.or(self.config.start_date);
        let start = start.unwrap_or_else(|| default_start_date(self.context.clock.now()));
        window::floor(start)
    }

    /// Resolves when a read should be given up: at once if nothing can be read any more, after a while if asked to stop.
    async fn out_of_time(&self) {
        let asked = async {
            self.context.stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            () = self.give_up.cancelled() => {}
            () = asked => {}
        }
    }
}

/// The start date where none is set: one year before `now`, at midnight UTC.
#[must_use]
pub fn default_start_date(now: DateTime<Utc>) -> DateTime<Utc> {
    let midnight = now.date_naive().and_time(NaiveTime::MIN).and_utc();
    midnight.checked_sub_months(Months::new(12)).unwrap_or(midnight)
}

/// Reads one stream.
#[derive(Debug)]
pub(crate) struct StreamReader {
    extraction: Arc<Extraction>,
    stream: BrontoStream,
    name: StreamName,
    schema: Arc<StreamSchema>,
    session: Session,
    sink: PageSink,
    /// The parts of a contact to ask for.
    includes: ContactIncludes,
    seen: SeenRows,
    /// Up to where rows may have been emitted by a query that was given up.
    given_up_before: Option<DateTime<Utc>>,
    state: StreamState,
    /// What was read but isn't part of a batch yet.
    pending: Reading,
    /// The full-table version under construction.
    version: Option<i64>,
    /// Whether it was said that a date had no zone.
    told_of_zone: bool,
    /// Fields of which it was said that they are unknown.
    told_of_fields: BTreeSet<String>,
}

/// A page that was read.
#[derive(Debug)]
struct Fetched {
    rows: PageRows,
    end_of_query: bool,
    first_sequence: i64,
    extracted_at: DateTime<Utc>,
}

/// What a page came to.
#[derive(Clone, Copy, Debug)]
struct PageOutcome {
    /// Objects that the server returned.
    read: u64,
    /// Of those, the ones that belong to the window.
    inside: u64,
    /// Of those, the ones that no numbered page of the window had shown before.
    unseen: u64,
    /// Whether the server said that there is no more.
    end_of_query: bool,
}

impl PageOutcome {
    /// Whether there is nothing behind this page, by the documentation.
    fn is_end(self) -> bool {
        self.end_of_query || self.read == 0
    }
}

impl StreamReader {
    /// Announces the stream and logs in for it.
    pub(crate) async fn open(
        extraction: Arc<Extraction>,
        selected: &SelectedStream,
        state: StreamState,
    ) -> Result<Self, OpenError> {
        let config = &extraction.config;
        let schema = selected.schema(config.numbers);
        let sink = PageSink::new(selected, config.activity_id, config.numbers);
        let announced = extraction.context.events.send(Event::Schema(Arc::clone(&schema))).await;
        announced.map_err(|gone| OpenError::Halt(gone.into()))?;
        let session = tokio::select! {
            session = extraction.client.session() => session.map_err(OpenError::Login)?,
            () = extraction.out_of_time() => return Err(OpenError::Halt(Halt::Interrupted)),
        };
        Ok(Self {
            stream: selected.stream(),
            name: selected.stream().stream_name(),
            schema,
            session,
            sink,
            includes: contacts::includes(selected),
            seen: SeenRows::default(),
            given_up_before: None,
            state,
            // The login; renewals are counted with the pages that needed them.
            pending: Reading { requests: 1, ..Reading::default() },
            version: None,
            told_of_zone: false,
            told_of_fields: BTreeSet::new(),
            extraction,
        })
    }

    /// Reads everything that is new, up to what has settled.
    pub(crate) async fn read(mut self) -> Result<(), Halt> {
        tracing::info!("Reading {}", self.name);
        let result = match self.stream {
            BrontoStream::Contact => contacts::read(&mut self).await,
            BrontoStream::InboundActivity | BrontoStream::OutboundActivity => {
                activities::read(&mut self).await
            }
            BrontoStream::List => lists::read(&mut self).await,
            BrontoStream::Unsubscribe => unsubscribes::read(&mut self).await,
        };
        // The account of what was read must not get lost with the window that failed.
        if !matches!(&result, Err(Halt::Failed(error)) if error.kind == SourceErrorKind::LoaderGone)
        {
            self.send_pending().await?;
        }
        if result.is_ok() {
            self.update(|progress| {
                progress.done = true;
                progress.fraction = Some(1.0);
                progress.activity = "done".to_owned();
            });
            tracing::info!("Finished {}", self.name);
        }
        result
    }

    fn update(&self, change: impl FnOnce(&mut StreamProgress)) {
        self.extraction.context.progress.update(&self.name, change);
    }

    /// The server's clock: the latest `Date` of its answers, the login's among them.
    fn server_now(&self) -> Result<DateTime<Utc>, Halt> {
        self.extraction.client.server_date().ok_or_else(|| {
            Halt::Failed(SourceError::new(
                SourceErrorKind::Unsound,
                "The server's answers carry no `Date`, so nothing tells up to when rows have settled",
                "Check that no proxy between here and Bronto removes the header",
            ))
        })
    }

    /// Where reading ends: what has settled by the server's clock, or the configured end if that is earlier.
    fn upper(&self) -> Result<DateTime<Utc>, Halt> {
        let settle = TimeDelta::seconds(i64::from(self.extraction.config.settle_seconds));
        let settled = window::floor(self.server_now()? - settle);
        let end = self.extraction.config.end_date.map(window::ceiling);
        Ok(end.map_or(settled, |end| end.min(settled)))
    }

    /// Where reading begins: at the bookmark, which is part of what is read, or at the start date.
    fn lower(&mut self) -> Result<DateTime<Utc>, Halt> {
        let Some(bookmark) = self.state.bookmark() else {
            let start = self.extraction.start_date();
            tracing::info!("no bookmark for {}: reading from {}", self.name, utc_text(start));
            return Ok(start);
        };
        tracing::info!("found current bookmark for {}:  {}", self.name, utc_text(bookmark));
        let now = self.server_now()?;
        if bookmark <= now {
            return Ok(bookmark);
        }
        // The Python tap wrote local time as UTC, so its bookmarks can lie up to 14 hours ahead of what it had read.
        let lower = now - TimeDelta::days(1);
        tracing::warn!(
            "The bookmark of {} lies after the server's clock ({}), so it can't be true; reading from {}",
            self.name,
            utc_text(now),
            utc_text(lower)
        );
        self.state.rewind(lower);
        Ok(lower)
    }

    /// Sends one request and takes its page.
    async fn fetch(&mut self, request: &ReadRequest) -> Result<Fetched, Halt> {
        self.check_stop()?;
        let context = &self.extraction.context;
        let reserved = context.sequence.reserve(context.clock.now(), PAGE_ROWS);
        let page = tokio::select! {
            page = self.session.read(request, &mut self.sink) => page?,
            () = self.extraction.out_of_time() => return Err(Halt::Interrupted),
        };
        let rows = self.sink.take();
        let extracted_at = self.extraction.context.clock.now();
        self.count_page(&page);
        for field in page.unknown_elements {
            if self.told_of_fields.insert(field.clone()) {
                tracing::warn!(
                    "{} has a field `{field}` that this version doesn't know; it is left out",
                    self.name
                );
            }
        }
        if rows.counts.zone_missing && !std::mem::replace(&mut self.told_of_zone, true) {
            tracing::warn!("Dates of {} come without a time zone and are taken as UTC", self.name);
        }
        if rows.counts.undated > 0 {
            let key = self.stream.replication_key().unwrap_or_default();
            tracing::warn!("{} rows of {} have no `{key}`", rows.counts.undated, self.name);
        }
        // More rows than the documentation allows in a page: they need a wider range.
        let first_sequence = if rows.counts.kept > PAGE_ROWS {
            self.extraction.context.sequence.reserve(extracted_at, rows.counts.kept)
        } else {
            reserved
        };
        Ok(Fetched { rows, end_of_query: page.end_of_query, first_sequence, extracted_at })
    }

    fn count_page(&mut self, page: &Page) {
        self.pending.requests += u64::from(page.requests);
        self.pending.bytes += page.body_bytes;
        self.update(|progress| {
            progress.requests += u64::from(page.requests);
            progress.retries += u64::from(page.requests.saturating_sub(1));
        });
    }

    /// An error if the run was asked to stop: between two pages is a safe point.
    fn check_stop(&self) -> Result<(), Halt> {
        let stopped =
            self.extraction.context.stop.is_cancelled() || self.extraction.give_up.is_cancelled();
        if stopped { Err(Halt::Interrupted) } else { Ok(()) }
    }

    /// Begins or goes on with a window.
    fn enter(&mut self, window: Window, planner: &Planner) {
        self.sink.set_window(Some(window));
        let fraction = planner.fraction();
        self.update(|progress| {
            progress.activity = window.to_string();
            progress.fraction = Some(fraction);
        });
        tracing::info!("Fetching {} from {window}", self.name);
    }

    /// The query of a window is given up; what it gave stays emitted.
    fn abandon(&mut self, window: Window) {
        self.given_up_before = self.given_up_before.max(Some(window.before()));
        self.seen.abandon();
    }

    /// The window is complete; its rows need no longer be remembered, unless a query that was given up reached further.
    fn forget_rows(&mut self, window: Window) {
        if self.given_up_before.is_some_and(|before| before > window.before()) {
            self.seen.forget_before(window.before().timestamp());
        } else {
            self.given_up_before = None;
            self.seen.clear();
        }
    }

    /// Reports a span that was asked for and can't be read.
    async fn report_gap(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        reason: &str,
    ) -> Result<(), Halt> {
        tracing::warn!(
            "{} can't be read from {} to {}: {reason}",
            self.name,
            utc_text(from),
            utc_text(to)
        );
        let gap = Gap { stream: self.name.clone(), from, to, reason: reason.to_owned() };
        self.extraction.context.events.send(Event::Gap(gap)).await?;
        Ok(())
    }
}

/// Why a stream could not be begun.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The login failed.
    Login(bronto_client::ClientError),
    /// Anything else.
    Halt(Halt),
}

/// Takes rows and forgets them.
#[derive(Debug)]
pub(crate) struct Ignored;

impl RowSink for Ignored {
    fn clear(&mut self) {}

    fn value(&mut self, _field: usize, _text: &str) {}

    fn end_row(&mut self, _raw: &str) {}

    fn reject_row(&mut self, _raw: &str, _reason: &RowDefect) {}
}
