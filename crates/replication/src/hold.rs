//! Hold points: named places at each durability step where a debug build can be told to stop, so that tests can kill the
//! process exactly there. `BACKSTITCH_HOLD_AT=before_commit` holds at the first visit, `before_commit:3` at the third.
//! Release builds hold nowhere.

#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU32, Ordering};

/// A hold point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldPoint {
    /// An event has come from the source.
    EventReceived,
    /// The unit's transaction is open, nothing is staged.
    UnitBegun,
    /// One table of the unit is merged.
    TableMerged,
    /// Everything of the unit is written; the commit is next.
    BeforeCommit,
    /// The commit has been confirmed; nobody has been told.
    AfterCommit,
}

impl HoldPoint {
    #[cfg(debug_assertions)]
    fn name(self) -> &'static str {
        match self {
            Self::EventReceived => "event_received",
            Self::UnitBegun => "unit_begun",
            Self::TableMerged => "table_merged",
            Self::BeforeCommit => "before_commit",
            Self::AfterCommit => "after_commit",
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
