//! Hold points: named places at each durability step where a debug build can be told to stop, so that tests can kill the
//! process exactly there. `BACKSTITCH_HOLD_AT=before_commit` holds at the first visit, `before_commit:3` at the third.
//! And one fault that no test can bring about from outside: with `BACKSTITCH_LOSE_A_ROW=contact` the last row of each
//! load of that table is not handed to the destination. Release builds hold nowhere and lose nothing.

use std::borrow::Cow;

#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU32, Ordering};

use crate::unit::TableLoad;

/// A hold point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldPoint {
    /// The schema is claimed, nothing has been read.
    Claimed,
    /// An event has come from the source.
    EventReceived,
    /// The unit's transaction is open, nothing is staged.
    UnitBegun,
    /// The unit's tables are made to fit.
    TablesPrepared,
    /// One table of the unit is merged.
    TableMerged,
    /// The rejects of one table are stored.
    RejectsStored,
    /// The rejects of one table that were replayed are marked.
    RejectsReplayed,
    /// A version has taken the place of the live rows.
    VersionActivated,
    /// The unit's records stand in the ledger.
    LedgerWritten,
    /// The bookmarks are stored; the fence is next.
    BookmarksStored,
    /// Everything of the unit is written; the commit is next.
    BeforeCommit,
    /// The commit has been confirmed; nobody has been told.
    AfterCommit,
    /// Those who wait for the commit have been told.
    Told,
    /// Everything is done but for letting go of the claim.
    BeforeRelease,
}

impl HoldPoint {
    #[cfg(debug_assertions)]
    fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::EventReceived => "event_received",
            Self::UnitBegun => "unit_begun",
            Self::TablesPrepared => "tables_prepared",
            Self::TableMerged => "table_merged",
            Self::RejectsStored => "rejects_stored",
            Self::RejectsReplayed => "rejects_replayed",
            Self::VersionActivated => "version_activated",
            Self::LedgerWritten => "ledger_written",
            Self::BookmarksStored => "bookmarks_stored",
            Self::BeforeCommit => "before_commit",
            Self::AfterCommit => "after_commit",
            Self::Told => "told",
            Self::BeforeRelease => "before_release",
        }
    }
}

/// Holds here if the environment asks for it: says so on standard error and waits to be killed.
#[cfg(debug_assertions)]
pub(crate) fn reach(point: HoldPoint) {
    static VISITS: AtomicU32 = AtomicU32::new(0);
    let Ok(wanted) = std::env::var("BACKSTITCH_HOLD_AT") else {
        return;
    };
    let (name, visit) = match wanted.split_once(':') {
        Some((name, visit)) => (name, visit.parse().unwrap_or(1)),
        None => (wanted.as_str(), 1),
    };
    if name != point.name() || VISITS.fetch_add(1, Ordering::Relaxed) + 1 != visit {
        return;
    }
    eprintln!("holding at {name}");
    loop {
        std::thread::park();
    }
}

/// Holds nowhere in a release build.
#[cfg(not(debug_assertions))]
pub(crate) fn reach(_point: HoldPoint) {}

/// The load as it is handed to the destination: whole, unless the environment asks for a loss.
#[cfg(debug_assertions)]
pub(crate) fn handed_over(load: &TableLoad) -> Cow<'_, TableLoad> {
    let Some(last) = load.rows.last().filter(|last| last.num_rows() > 0) else {
        return Cow::Borrowed(load);
    };
    if std::env::var("BACKSTITCH_LOSE_A_ROW").as_deref() != Ok(load.schema.table()) {
        return Cow::Borrowed(load);
    }
    let mut short = load.clone();
    short.rows.pop();
    short.rows.push(last.slice(0, last.num_rows() - 1));
    Cow::Owned(short)
}

/// The load as it is handed to the destination: whole.
#[cfg(not(debug_assertions))]
pub(crate) fn handed_over(load: &TableLoad) -> Cow<'_, TableLoad> {
    Cow::Borrowed(load)
}
