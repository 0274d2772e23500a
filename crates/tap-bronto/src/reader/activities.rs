//! Activities: windows of the last 30 days, each through a cursor that lives in the session.
//!
//! When the cursor is lost, the window begins again: ids are made from scratch, and only rows that this run has not
//! emitted yet are. A window whose cursor is lost again and again is cut, so that it needs fewer requests in a row.

use bronto_client::{Cursor, Direction, ReadActivities, ReadRequest};
use chrono::{DateTime, TimeDelta, Utc};

use super::StreamReader;
use crate::{
    failure::Halt,
    streams::BrontoStream,
    window::{self, Planner, Sizing, Window},
};

/// How far back activities can be read.
const READABLE: TimeDelta = TimeDelta::days(30);
/// How far inside that reading begins, since time passes until the request arrives.
const MARGIN: TimeDelta = TimeDelta::seconds(60);
/// How much each run reads again, for activities that were recorded late.
const OVERLAP: TimeDelta = TimeDelta::hours(1);
/// How often the whole look-back is read again.
const FULL_LOOKBACK_EVERY: TimeDelta = TimeDelta::hours(24);

const SIZING: Sizing = Sizing {
    first: TimeDelta::hours(6),
    shortest: TimeDelta::minutes(1),
    longest: TimeDelta::days(30),
    rows: 25_000,
};

/// A window with more rows than this is cut: its rows are remembered, and a lost cursor would cost too much.
const MOST_ROWS: u64 = 200_000;
/// After so many restarts of one window it is cut.
const PATIENCE: u32 = 2;
/// After so many restarts of a window that can't be cut any further, the stream fails.
const MOST_RESTARTS: u32 = 8;

/// How a window went.
enum Outcome {
    /// It was read from `start` on, and returned so many rows.
    Complete {
        rows: u64,
        start: DateTime<Utc>,
    },
    TooLarge,
}

pub(super) async fn read(reader: &mut StreamReader) -> Result<(), Halt> {
    let wanted = reader.lower()?;
    let upper = reader.upper()?;
    let now = reader.server_now()?;
    let readable = window::ceiling(now - READABLE + MARGIN);
    if wanted < readable.min(upper) {
        let reason = "Bronto returns only the activities of the last 30 days";
        reader.report_gap(wanted, readable.min(upper), reason).await?;
    }
    let from = reread_from(reader, wanted, now)
        .max(reader.extraction.start_date().min(wanted))
        .max(readable);
    let mut planner = Planner::new(from, upper, SIZING);
    let mut restarts = 0;
    while let Some(window) = planner.window() {
        reader.enter(window, &planner);
        match read_window(reader, window).await {
            Ok(Outcome::Complete { rows, start }) => {
                report_unread(reader, window, start).await?;
                reader.complete(window).await?;
                reader.forget_rows(window);
                planner.complete(rows);
                restarts = 0;
            }
            Ok(Outcome::TooLarge) => {
                reader.abandon(window);
                planner.cut();
            }
            Err(Halt::CursorLost(error) | Halt::StartTooOld(error)) => {
                restarts += 1;
                reader.abandon(window);
                if restarts >= PATIENCE && planner.cut() {
                    planner.aim_lower();
                    restarts = 1;
                }
                if restarts >= MOST_RESTARTS {
                    return Err(Halt::Failed(error));
                }
                tracing::warn!("The window {window} of {} begins again: {error}", reader.name);
            }
            Err(halt) => return Err(halt),
        }
    }
    Ok(())
}

/// Where to begin, so that what was recorded late is read again. Notes when that is the whole look-back: it reaches back
/// from the last one, so that nothing that came between the two is missed.
fn reread_from(
    reader: &mut StreamReader,
    bookmark: DateTime<Utc>,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    if reader.state.bookmark().is_none() {
        reader.state.set_full_lookback_at(now);
        return bookmark;
    }
    let last = reader.state.full_lookback_at();
    if last.is_some_and(|last| last <= now && now - last < FULL_LOOKBACK_EVERY) {
        return bookmark - OVERLAP;
    }
    reader.state.set_full_lookback_at(now);
    let lookback = TimeDelta::days(i64::from(reader.extraction.config.activity_lookback_days));
    let covered = last.map_or(bookmark, |last| window::floor(last).min(bookmark));
    covered - lookback.max(OVERLAP)
}

async fn read_window(reader: &mut StreamReader, window: Window) -> Result<Outcome, Halt> {
    // One second earlier, in case the server's window doesn't hold its start; but not so early that it refuses.
    let oldest = window::ceiling(reader.server_now()? - READABLE + MARGIN / 2);
    let start = (window.from() - TimeDelta::seconds(1)).max(oldest);
    if start >= window.before() {
        // It went past the readable span while earlier windows were read.
        return Ok(Outcome::Complete { rows: 0, start });
    }
    let request = |cursor| {
        ReadRequest::Activities(ReadActivities {
            direction: match reader.stream {
                BrontoStream::OutboundActivity => Direction::Outbound,
                _ => Direction::Inbound,
            },
            start,
            end: window.before(),
            size: reader.extraction.config.activity_page_size(),
            cursor,
        })
    };
    let (first, next) = (request(Cursor::First), request(Cursor::Next));
    let mut outcome = reader.read_page(&first, 1).await?;
    let mut rows = 0;
    while !outcome.is_end() {
        rows += outcome.read;
        if rows > MOST_ROWS && window.before() - window.from() > TimeDelta::seconds(1) {
            return Ok(Outcome::TooLarge);
        }
        outcome = reader.read_page(&next, 1).await?;
    }
    Ok(Outcome::Complete { rows, start })
}

/// If the beginning of the window was not asked for, or left the readable span before the window was read whole, rows
/// may be missing.
async fn report_unread(
    reader: &mut StreamReader,
    window: Window,
    start: DateTime<Utc>,
) -> Result<(), Halt> {
    let read_from = start.max(window::ceiling(reader.server_now()? - READABLE));
    if read_from > window.from() {
        let reason = "The span left the last 30 days, beyond which Bronto returns no activities, while it was read";
        reader.report_gap(window.from(), read_from.min(window.before()), reason).await?;
    }
    Ok(())
}
