//! Reading streams: windows are laid over each one's range, handed out to workers, and put together again.
//!
//! A stream begins with one [`Worker`]. Further ones start only when what was read shows that there is work for them, and
//! when a session is free. Windows are completed in any order; the bookmark follows where everything before it is, after
//! the rows that it covers. What differs between streams, how a window is read whole, is in the modules below: contacts
//! and unsubscriptions page by number, activities come through a cursor that can get lost, and lists have no window at
//! all.

mod activities;
mod again;
mod columns;
mod contacts;
mod emission;
mod lists;
mod pages;
mod report;
mod turns;
mod unsubscribes;
mod whole;
mod windows;
mod worker;

use std::{
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bronto_client::{Client, RowDefect, RowSink, lexical::utc_text};
use chrono::{DateTime, Months, NaiveTime, TimeDelta, Utc};
use replication::{
    event::{Event, Gap},
    progress::StreamProgress,
    source::{ExtractContext, SourceError, SourceErrorKind},
    stream::{StreamName, StreamSchema, WinnerRule},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{
    report::Report,
    turns::{Turn, Turns},
    whole::Versions,
    windows::Goal,
    worker::Worker,
};
use crate::{
    bookmark::StreamState,
    config::TapConfig,
    custom_fields::CustomColumns,
    failure::Halt,
    scope::Scope,
    streams::{BrontoStream, SelectedStream},
    window::{self, PAGE_ROWS, Planner, Window},
};

/// How far ahead of UTC the local time was that the Python tap wrote as UTC.
const FARTHEST_OFFSET: TimeDelta = TimeDelta::hours(14);

/// How many pages a window should have that is paged by number. Each window costs some requests more than it has pages;
/// a longer one keeps more from the bookmark.
const PAGES_OF_WINDOW: u64 = 8;

/// How long a page may still take after the run was asked to stop.
const GRACE: Duration = Duration::from_secs(10);

/// What the readers of one extraction share.
#[derive(Debug)]
pub(crate) struct Extraction {
    pub(crate) config: TapConfig,
    pub(crate) context: ExtractContext,
    pub(crate) client: Client,
    pub(crate) scope: Scope,
    turns: Turns,
    /// Cancelled when nothing more can be read by any stream.
    pub(crate) give_up: CancellationToken,
}

impl Extraction {
    pub(crate) fn new(
        config: TapConfig,
        context: ExtractContext,
        client: Client,
        scope: Scope,
    ) -> Self {
        let streams = config.selection.iter().map(SelectedStream::stream);
        let turns = Turns::new(client.clone(), config.concurrency, streams);
        let give_up = CancellationToken::new();
        Self { config, context, client, scope, turns, give_up }
    }

    /// From when to read a stream that has no bookmark. Default: one year ago, at midnight UTC.
    fn start_date(&self) -> DateTime<Utc> {
        let start = self.context.start_date.or(self.config.start_date);
        let start = start.unwrap_or_else(|| default_start_date(self.context.clock.now()));
        window::floor(start)
    }

    /// Resolves when nothing more should be begun.
    async fn stopped(&self) {
        tokio::select! {
            () = self.give_up.cancelled() => {}
            () = self.context.stop.cancelled() => {}
        }
    }

    /// Resolves when a read should be given up: at once if nothing can be read any more, after a while if asked to stop.
    async fn out_of_time(&self) {
        tokio::select! {
            () = self.give_up.cancelled() => {}
            () = a_while_after(&self.context.stop) => {}
        }
    }
}

/// Resolves when a page that was under way at the token's end has had its time.
async fn a_while_after(token: &CancellationToken) {
    token.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

/// The start date where none is set: one year before `now`, at midnight UTC.
#[must_use]
pub fn default_start_date(now: DateTime<Utc>) -> DateTime<Utc> {
    let midnight = now.date_naive().and_time(NaiveTime::MIN).and_utc();
    midnight.checked_sub_months(Months::new(12)).unwrap_or(midnight)
}

/// What the workers of one stream share.
#[derive(Debug)]
struct StreamReading {
    extraction: Arc<Extraction>,
    selected: SelectedStream,
    name: StreamName,
    schema: Arc<StreamSchema>,
    custom_fields: Arc<CustomColumns>,
    /// Cancelled when a worker has failed: the others stop at their next safe point.
    halted: CancellationToken,
    versions: Versions,
    report: Report,
    /// A window that a worker has begun, and how many rows it will probably have.
    foreseen: watch::Sender<Option<(Window, u64)>>,
    /// Whether it was said that a date had no zone.
    told_of_zone: AtomicBool,
    /// Whether it was said that rows had no replication key.
    told_of_undated: AtomicBool,
}

impl Drop for StreamReading {
    fn drop(&mut self) {
        self.extraction.turns.end();
    }
}

impl StreamReading {
    fn kind(&self) -> BrontoStream {
        self.selected.stream()
    }

    fn update(&self, change: impl FnOnce(&mut StreamProgress)) {
        self.report.update(&self.extraction.context.progress, &self.name, change);
    }

    /// Tells how many rows a window will probably have. Others can go by that before it is read.
    fn foresee(&self, window: Window, rows: u64) {
        self.foreseen.send_replace(Some((window, rows)));
    }

    fn say_fetching(&self, window: Window) {
        tracing::info!("Fetching {} from {window}", self.name);
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

    /// Where what has settled ended at an instant of the server's clock.
    fn settled_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        // A window whose end counts as part of it must not end in the present second, where rows still come.
        let settle = self.extraction.config.settle_seconds.max(1);
        window::floor(now - TimeDelta::seconds(i64::from(settle)))
    }

    /// An error if the stream was asked to stop: between two pages is a safe point.
    fn check_stop(&self) -> Result<(), Halt> {
        let extraction = &self.extraction;
        let stopped = extraction.context.stop.is_cancelled()
            || extraction.give_up.is_cancelled()
            || self.halted.is_cancelled();
        if stopped { Err(Halt::Interrupted) } else { Ok(()) }
    }

    /// Resolves when a read should be given up, also because another worker of the stream has failed.
    async fn out_of_time(&self) {
        tokio::select! {
            () = self.extraction.out_of_time() => {}
            () = a_while_after(&self.halted) => {}
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

/// Whether a stream is opened for the first time in an extraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    First,
    Further,
}

/// Reads one stream, with one or more workers.
#[derive(Debug)]
pub(crate) struct StreamReader {
    stream: Arc<StreamReading>,
    state: StreamState,
    round: Round,
    /// A worker that has logged in and is free.
    idle: Option<Worker>,
    /// The server's clock when the columns were learned, if they had to be.
    columns_at: Option<DateTime<Utc>>,
}

impl StreamReader {
    /// Waits for the stream's turn, learns which columns it has, announces it and logs in for it.
    pub(crate) async fn open(
        extraction: Arc<Extraction>,
        selected: &SelectedStream,
        mut state: StreamState,
        round: Round,
    ) -> Result<Self, OpenError> {
        // Made before it is waited for: it takes the stream's wish back where the wait is over before it begins.
        let turn: Pin<Box<dyn Future<Output = Turn> + Send + '_>> = match round {
            Round::First => Box::pin(extraction.turns.first(selected.stream())),
            Round::Further => Box::pin(extraction.turns.further(u64::MAX)),
        };
        let mut turn = tokio::select! {
            biased;
            () = extraction.stopped() => return Err(OpenError::Halt(Halt::Interrupted)),
            turn = turn => turn,
        };
        let custom = columns::custom(&extraction, selected, turn.session(), &mut state).await;
        let (custom, failure) = match custom {
            Ok(custom) => (custom, None),
            Err(error) => (columns::Custom::default(), Some(error)),
        };
        let numbers = extraction.config.row_form().numbers();
        let mut schema = selected.schema(numbers);
        custom.columns.extend(&mut schema, numbers);
        if matches!(extraction.scope, Scope::Only(_)) && schema.winner == WinnerRule::ReplicationKey
        {
            // Of a contact, these spans hold one version: a newer one lies behind the bookmark. So what is read now is true,
            // also where somebody has given the stored row a later date than the account's, against which it would lose.
            schema.winner = WinnerRule::Sequence;
        }
        let stream = Arc::new(StreamReading {
            name: selected.stream().stream_name(),
            schema: Arc::new(schema),
            custom_fields: custom.columns,
            selected: selected.clone(),
            halted: CancellationToken::new(),
            versions: Versions::new(state.version()),
            report: Report::start(),
            foreseen: watch::Sender::new(None),
            told_of_zone: AtomicBool::new(false),
            told_of_undated: AtomicBool::new(false),
            extraction,
        });
        stream.extraction.turns.begin();
        // Also when it ends here: the account of what was sent needs a schema.
        let announcement = Event::Schema(Arc::clone(&stream.schema));
        let announced = stream.extraction.context.events.send(announcement).await;
        announced.map_err(|gone| OpenError::Halt(gone.into()))?;
        let mut first = Worker::new(Arc::clone(&stream), turn);
        first.pending.bytes += custom.bytes;
        let opened = match failure {
            Some(error) => Err(error),
            None => first.log_in().await,
        };
        first.count_cost();
        match opened {
            Ok(()) => {
                Ok(Self { stream, state, round, idle: Some(first), columns_at: custom.asked_at })
            }
            Err(error) => {
                // What the tries cost is part of the account, unless nobody takes it any more.
                first.send_pending().await.map_err(OpenError::Halt)?;
                Err(error)
            }
        }
    }

    /// Reads what is to be read. Gives the state back if a backfill is not complete: then the stream is to be opened
    /// again, so that new rows need not wait for old ones.
    pub(crate) async fn read(mut self) -> Result<Option<StreamState>, Halt> {
        let stream = Arc::clone(&self.stream);
        tracing::info!("Reading {}", stream.name);
        let extraction = Arc::clone(&stream.extraction);
        let is_complete = match &extraction.scope {
            Scope::Only(spans) => {
                self.read_spans(spans.get(&stream.kind())).await.map(|()| true)?
            }
            Scope::New => {
                // A full table is read once, however often a backfill is gone on with.
                if self.round == Round::First || !stream.selected.is_read_whole() {
                    self.read_new().await?;
                }
                self.read_backfill().await?
            }
        };
        if !is_complete {
            return Ok(Some(self.state));
        }
        stream.update(|progress| {
            progress.done = true;
            progress.fraction = Some(1.0);
            progress.activity = "done".to_owned();
        });
        tracing::info!("Finished {}", stream.name);
        Ok(None)
    }

    /// Reads everything that is new, up to what has settled.
    async fn read_new(&mut self) -> Result<(), Halt> {
        match self.stream.kind() {
            BrontoStream::List => {
                let mut worker = self.worker().await?;
                lists::read(&mut worker, &mut self.state).await
            }
            BrontoStream::InboundActivity | BrontoStream::OutboundActivity => {
                self.read_activities().await
            }
            BrontoStream::Contact | BrontoStream::Unsubscribe
                if self.stream.selected.is_read_whole() =>
            {
                self.read_whole().await
            }
            BrontoStream::Contact | BrontoStream::Unsubscribe => {
                let (from, upper) = (self.lower()?, self.upper()?);
                let mut planner = self.planner(from, upper);
                self.read_windows(&mut planner, Goal::New, u32::MAX).await
            }
        }
    }

    /// A plan for a range, with windows of the stream's size.
    fn planner(&self, from: DateTime<Utc>, upper: DateTime<Utc>) -> Planner {
        let of_pages = window::aim(PAGE_ROWS as u64, PAGES_OF_WINDOW);
        let (sizing, aim) = match self.stream.kind() {
            BrontoStream::Contact => (contacts::SIZING, of_pages),
            BrontoStream::Unsubscribe => (unsubscribes::SIZING, of_pages),
            _ => {
                let workers = self.stream.extraction.turns.share();
                (activities::sizing(upper - from, workers), activities::AIM)
            }
        };
        Planner::new(from, upper, sizing, aim)
    }

    /// The worker that is free, or a further one, unless everything is to stop.
    async fn worker(&mut self) -> Result<Worker, Halt> {
        if let Some(worker) = self.idle.take() {
            return Ok(worker);
        }
        let extraction = &self.stream.extraction;
        tokio::select! {
            biased;
            () = extraction.stopped() => Err(Halt::Interrupted),
            // Without it nothing of the stream goes on.
            turn = extraction.turns.further(u64::MAX) => {
                Ok(Worker::new(Arc::clone(&self.stream), turn))
            }
        }
    }

    /// Where reading ends: what has settled, or the configured end if that is earlier.
    fn upper(&self) -> Result<DateTime<Utc>, Halt> {
        let end = self.stream.extraction.config.end_date.map(window::ceiling);
        let settled = self.settled()?;
        Ok(end.map_or(settled, |end| end.min(settled)))
    }

    /// Where what has settled by the server's clock ends. What was modified since the columns were learned may have others,
    /// and is left to the next run.
    fn settled(&self) -> Result<DateTime<Utc>, Halt> {
        let now = self.stream.server_now()?;
        Ok(self.stream.settled_at(self.columns_at.map_or(now, |at| at.min(now))))
    }

    /// Where reading begins: at the bookmark, which is part of what is read, or at the start date.
    fn lower(&mut self) -> Result<DateTime<Utc>, Halt> {
        let name = &self.stream.name;
        let start = self.stream.extraction.start_date();
        let Some(bookmark) = self.state.bookmark() else {
            tracing::info!("no bookmark for {name}: reading from {}", utc_text(start));
            return Ok(start);
        };
        tracing::info!("found current bookmark for {name}:  {}", utc_text(bookmark));
        let now = self.stream.server_now()?;
        if bookmark > now {
            let lower = now - TimeDelta::days(1);
            tracing::warn!(
                "The bookmark of {name} lies after the server's clock ({}), so it can't be true; reading from {}",
                utc_text(now),
                utc_text(lower)
            );
            self.state.rewind(lower);
            return Ok(lower);
        }
        if self.state.may_be_shifted() {
            let lower = (bookmark - FARTHEST_OFFSET).max(start.min(bookmark));
            tracing::info!(
                "The bookmark of {name} is the Python tap's, which wrote local time as UTC: reading from {}, this once",
                utc_text(lower)
            );
            return Ok(lower);
        }
        Ok(bookmark)
    }
}

/// Why a stream could not be begun.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The login failed, or the first reads did.
    Login(bronto_client::ClientError),
    /// The selection or the state can't be used.
    Refused(SourceError),
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
