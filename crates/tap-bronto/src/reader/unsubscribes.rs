//! Unsubscriptions: pages by number, of objects that never change, so going through them once is enough.

use bronto_client::{ReadRequest, ReadUnsubscribes};
use chrono::TimeDelta;
use replication::source::{SourceError, SourceErrorKind};

use super::StreamReader;
use crate::{
    failure::Halt,
    window::{Planner, Sizing, Window},
};

const SIZING: Sizing = Sizing {
    first: TimeDelta::days(7),
    shortest: TimeDelta::hours(1),
    longest: TimeDelta::days(90),
    rows: 20_000,
};

/// A window with more pages than this has no end.
const MOST_PAGES: u32 = 10_000;

pub(super) async fn read(reader: &mut StreamReader) -> Result<(), Halt> {
    let from = reader.lower()?;
    let upper = reader.upper()?;
    let mut planner = Planner::new(from, upper, SIZING);
    while let Some(window) = planner.window() {
        reader.enter(window, &planner);
        let rows = read_window(reader, window).await?;
        reader.complete(window).await?;
        reader.forget_rows(window);
        planner.complete(rows);
    }
    Ok(())
}

async fn read_window(reader: &mut StreamReader, window: Window) -> Result<u64, Halt> {
    let mut rows = 0;
    for page in 1..=MOST_PAGES {
        let request = ReadRequest::Unsubscribes(ReadUnsubscribes {
            // One second earlier, in case the server's window doesn't hold its start.
            start: window.from() - TimeDelta::seconds(1),
            end: window.before(),
            page,
        });
        let outcome = reader.read_page(&request, page).await?;
        if outcome.is_end() {
            return Ok(rows);
        }
        rows += outcome.read;
    }
    Err(Halt::Failed(SourceError::new(
        SourceErrorKind::Unsound,
        format!("The unsubscriptions from {window} do not end after {MOST_PAGES} pages"),
        "The server does not page as documented; report this with the run's log",
    )))
}
