//! Activities: windows of the last 30 days, each through a cursor that lives in the session.
//!
//! Rows are sent as they are read. When the cursor is lost, the window begins again: ids are made from scratch, and only
//! rows that were not sent yet are. A window whose cursor is lost again and again is halved, so that it needs fewer
//! requests in a row; the worker reads the halves itself, since it knows what it has sent.
//!
//! Each window costs one request to see its end, so the first one is the whole range. If there are more workers, it is
//! the first one's share of the range; when its first page shows that there is enough for several, the others come at
//! once. A window that has too many rows even so is given back then, since nothing of it was sent yet.

use bronto_client::{Cursor, Direction, ReadActivities, ReadRequest};
use chrono::{DateTime, TimeDelta, Utc};

use super::{
    StreamReader,
    windows::Goal,
    worker::{Fetched, Figures, WindowEnd, Worker},
};
use crate::{
    failure::Halt,
    page::RowMark,
    streams::BrontoStream,
    window::{self, CUT, Laid, Planner, Sizing, Window},
};

/// How far back activities can be read.
const READABLE: TimeDelta = TimeDelta::days(30);
/// How far inside that reading begins, since time passes until the request arrives.
const MARGIN: TimeDelta = TimeDelta::seconds(60);
/// How much each run reads again, for activities that were recorded late.
const OVERLAP: TimeDelta = TimeDelta::hours(1);
/// How often the whole look-back is read again.
const FULL_LOOKBACK_EVERY: TimeDelta = TimeDelta::hours(24);

/// Each window costs the request that says it has ended, a seventh more where it has six pages.
const SIZING: Sizing =
    Sizing { first: READABLE, shortest: TimeDelta::minutes(1), longest: READABLE, least_pages: 6 };
/// How many rows a window should have.
pub(super) const AIM: u64 = 100_000;

/// A window with more rows than this is cut: its rows are remembered, and a lost cursor would cost too much.
const MOST_ROWS: u64 = 200_000;
/// After so many restarts of one window it is halved.
const PATIENCE: u32 = 2;
/// After so many restarts of a window that can't be cut any further, the stream fails.
const MOST_RESTARTS: u32 = 8;
/// A range that is no longer than this isn't shared out before anything was read: it is what each run reads again.
const SHORT: TimeDelta = TimeDelta::hours(12);
/// A worker of its own pays only for so many rows.
const ROWS_OF_WORKER: u64 = 10_000;
/// A page with fewer rows says nothing about the whole.
const TELLING_ROWS: usize = 1_000;

/// How one try at a window went.
enum Try {
    /// It was read from `start` on, and returned so many rows.
    Complete { rows: u64, start: DateTime<Utc> },
    /// It has too many rows to be remembered.
    TooLarge,
    /// Its first page shows that it has so many rows, which is too many; nothing was sent yet.
    Foreseen { rows: u64 },
}

/// How long windows of a range may be that so many workers share.
pub(super) fn sizing(range: TimeDelta, workers: usize) -> Sizing {
    let part = range.num_seconds() / i64::try_from(workers).unwrap_or(1);
    let first = if range > SHORT { TimeDelta::seconds(part) } else { READABLE };
    Sizing { first, ..SIZING }
}

impl StreamReader {
    pub(super) async fn read_activities(&mut self) -> Result<(), Halt> {
        let wanted = self.lower()?;
        let upper = self.upper()?;
        let now = self.stream.server_now()?;
        let readable = self.readable(Window::new(wanted, upper)).await?;
        let from = self
            .reread_from(wanted, now)
            .max(self.stream.extraction.start_date().min(wanted))
            .max(readable);
        let mut planner = self.planner(from, upper);
        self.read_windows(&mut planner, Goal::New, u32::MAX).await
    }

    /// From when on activities can be read. What of a range lies before that is reported as a gap.
    pub(super) async fn readable(&self, wanted: Window) -> Result<DateTime<Utc>, Halt> {
        let readable = window::ceiling(self.stream.server_now()? - READABLE + MARGIN);
        if wanted.from() < readable.min(wanted.before()) {
            let reason = "Bronto returns only the activities of the last 30 days";
            self.stream.report_gap(wanted.from(), readable.min(wanted.before()), reason).await?;
        }
        Ok(readable)
    }

    /// Where to begin, so that what was recorded late is read again. Notes when that is the whole look-back: it reaches
    /// back from the last one, so that nothing that came between the two is missed.
    fn reread_from(&mut self, bookmark: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        if self.state.bookmark().is_none() {
            self.state.set_full_lookback_at(now);
            return bookmark;
        }
        let last = self.state.full_lookback_at();
        if last.is_some_and(|last| last <= now && now - last < FULL_LOOKBACK_EVERY) {
            return bookmark - OVERLAP;
        }
        self.state.set_full_lookback_at(now);
        let lookback =
            TimeDelta::days(i64::from(self.stream.extraction.config.activity_lookback_days));
        let covered = last.map_or(bookmark, |last| window::floor(last).min(bookmark));
        covered - lookback.max(OVERLAP)
    }
}

/// Reads a window whole, in smaller ones if need be.
pub(super) async fn read_window(worker: &mut Worker, laid: Laid) -> Result<WindowEnd, Halt> {
    let whole = laid.window;
    let sizing = Sizing { first: whole.length(), ..SIZING };
    let mut planner = Planner::new(whole.from(), whole.before(), sizing, AIM);
    let mut figures = Figures::default();
    let mut restarts = 0;
    // Up to where rows may have been sent by a query that was given up.
    let mut given_up = whole.from();
    while let Some(Laid { window, .. }) = planner.next(1) {
        let is_news = !laid.is_measured && restarts == 0 && window == whole;
        match read_once(worker, window, is_news).await {
            Ok(Try::Complete { rows, start }) => {
                report_unread(worker, window, start).await?;
                figures.rows += rows;
                planner.complete(window, rows);
                if given_up > window.before() {
                    worker.seen.forget_before(window.before().timestamp());
                } else {
                    worker.seen.clear();
                }
                restarts = 0;
            }
            Ok(Try::Foreseen { rows }) => return Ok(given_back(worker, rows)),
            Ok(Try::TooLarge) => {
                worker.seen.abandon();
                given_up = given_up.max(window.before());
                planner.cut(window, CUT, 0);
            }
            Err(Halt::CursorLost(error) | Halt::StartTooOld(error)) => {
                restarts += 1;
                worker.seen.abandon();
                given_up = given_up.max(window.before());
                let parts = if restarts >= PATIENCE { 2 } else { 1 };
                if planner.cut(window, parts, 0) {
                    planner.aim_lower();
                    figures.was_broken = true;
                    restarts = 1;
                }
                if restarts >= MOST_RESTARTS {
                    return Err(Halt::Failed(error));
                }
                tracing::warn!(
                    "The window {window} of {} begins again: {error}",
                    worker.stream.name
                );
            }
            Err(halt) => return Err(halt),
        }
    }
    Ok(WindowEnd::Complete(figures))
}

/// How to lay so many rows anew.
fn given_back(worker: &Worker, rows: u64) -> WindowEnd {
    let most = worker.stream.extraction.config.concurrency * 16;
    let parts = usize::try_from(rows.div_ceil(AIM)).unwrap_or(most).min(most);
    let parts = u32::try_from(parts).unwrap_or(u32::MAX);
    WindowEnd::TooLarge { parts, page_rows: None, rows: 0 }
}

async fn read_once(worker: &mut Worker, window: Window, is_news: bool) -> Result<Try, Halt> {
    // One second earlier, in case the server's window doesn't hold its start; but not so early that it refuses.
    let oldest = window::ceiling(worker.stream.server_now()? - READABLE + MARGIN / 2);
    let start = (window.from() - TimeDelta::seconds(1)).max(oldest);
    if start >= window.before() {
        // It went past the readable span while earlier windows were read.
        return Ok(Try::Complete { rows: 0, start });
    }
    let config = &worker.stream.extraction.config;
    let (size, is_news) = (config.activity_page_size(), is_news && config.concurrency > 1);
    let direction = match worker.stream.kind() {
        BrontoStream::OutboundActivity => Direction::Outbound,
        _ => Direction::Inbound,
    };
    let request = |cursor| {
        let end = window.before();
        ReadRequest::Activities(ReadActivities { direction, start, end, size, cursor })
    };
    let (first, next) = (request(Cursor::First), request(Cursor::Next));
    let mut page = worker.fetch(&first).await?;
    if is_news
        && let Some(rows) = estimate(&page.rows.marks, window)
        && rows >= ROWS_OF_WORKER
    {
        if rows > MOST_ROWS {
            worker.set_aside(&page);
            return Ok(Try::Foreseen { rows });
        }
        worker.stream.foresee(window, rows);
    }
    let mut rows = 0;
    while !page.end_of_query && page.rows.counts.read > 0 {
        rows += page.rows.counts.read;
        send(worker, page).await?;
        if rows > MOST_ROWS && window.length() > TimeDelta::seconds(1) {
            return Ok(Try::TooLarge);
        }
        page = worker.fetch(&next).await?;
    }
    Ok(Try::Complete { rows, start })
}

async fn send(worker: &mut Worker, page: Fetched) -> Result<(), Halt> {
    let settled = worker.seen.settle(&page.rows, worker.stream.extraction.config.activity_id);
    worker.emit(page, &settled).await
}

/// About how many rows a window has whose first page has these, if rows come in the order of their dates; they may not.
fn estimate(marks: &[RowMark], window: Window) -> Option<u64> {
    let seconds = || marks.iter().filter(|mark| mark.is_dated()).map(|mark| mark.second);
    if marks.len() < TELLING_ROWS {
        return None;
    }
    let (earliest, latest) = (seconds().min()?, seconds().max()?);
    // Rising dates fill the window from its start, falling ones from its end.
    let filled = (latest - window.from().timestamp()).min(window.before().timestamp() - earliest);
    let length = u128::from(window.length().num_seconds().unsigned_abs());
    let rows = marks.len() as u128 * length / u128::from(filled.max(1).unsigned_abs());
    u64::try_from(rows).ok()
}

/// If the beginning of the window was not asked for, or left the readable span before the window was read whole, rows
/// may be missing.
async fn report_unread(worker: &Worker, window: Window, start: DateTime<Utc>) -> Result<(), Halt> {
    let read_from = start.max(window::ceiling(worker.stream.server_now()? - READABLE));
    if read_from > window.from() {
        let reason = "The span left the last 30 days, beyond which Bronto returns no activities, while it was read";
        worker.stream.report_gap(window.from(), read_from.min(window.before()), reason).await?;
    }
    Ok(())
}
