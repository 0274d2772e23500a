//! Windows of time, and how they are laid over the range that is to be read.
//!
//! # The model of the server
//!
//! Everything that makes a read complete rests on these assumptions about the API. Where a violation can be seen, it
//! ends the stream loudly, before a bookmark moves.
//!
//! - **A1 Selection.** A read of a window returns at least the objects whose replication key lies inside it. It may
//!   return more (`AfterOrSameDay` may act by calendar day, ends may be inclusive); those are dropped here. Windows of
//!   unsubscriptions and activities are asked for from one second earlier, in case the start is exclusive.
//! - **A2 Instants.** A date says its offset, or is in UTC.
//! - **A3 Settling.** An object that exists at `settle_seconds` before the server's `Date` can be read, except for late
//!   activities, which the overlap and the look-back catch. So no window ends later than that.
//! - **A4 End.** A paged read is at its end where a page is empty, and only there; an activity window where the server
//!   says so (fault 116) or answers with nothing.
//! - **A5 Leaving.** The `modified` of a contact only grows, up to the server's now. So during a read contacts leave a
//!   window (that ends before now) but never enter it.
//! - **A6 Order.** Pages cut one order of a query's objects; when one leaves, those behind it move up and nothing else
//!   changes. So going through the pages from the last to the first misses nobody (see [`crate::reader`]). Seen as
//!   violated when a contact turns up on a later page than before, or for the first time when the last page is read
//!   once more.
//! - **A7 Cursor.** The cursor of an activity window lives in the session; when it is lost, the window begins again.
//! - **A8 Span.** Activities can be read for 30 days.
//! - **A9 Immutability.** Unsubscriptions and activities don't change or disappear within those 30 days.
//!
//! # Laying windows
//!
//! Windows begin and end at whole seconds, half open, so no instant is split between two. They adjoin, and a bookmark
//! stands at the end of the last one that is complete. Each is laid by what the one before returned: longer when little
//! came (an idle year takes a handful of requests), shorter when much did.

use std::fmt;

use bronto_client::lexical::utc_text;
use chrono::{DateTime, TimeDelta, Utc};

/// A half-open span between two whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    from: DateTime<Utc>,
    before: DateTime<Utc>,
}

impl Window {
    /// The span from `from`, inclusive, to `before`, exclusive. Both are whole seconds.
    pub(crate) fn new(from: DateTime<Utc>, before: DateTime<Utc>) -> Self {
        Self { from, before }
    }

    /// The first instant.
    pub(crate) fn from(self) -> DateTime<Utc> {
        self.from
    }

    /// The first instant after it.
    pub(crate) fn before(self) -> DateTime<Utc> {
        self.before
    }

    /// Whether an instant within this second of 1970 lies inside.
    pub(crate) fn contains_second(self, second: i64) -> bool {
        (self.from.timestamp()..self.before.timestamp()).contains(&second)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} to {}", utc_text(self.from), utc_text(self.before))
    }
}

/// The whole second at or before an instant.
pub(crate) fn floor(instant: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(instant.timestamp(), 0).unwrap_or(instant)
}

/// The whole second at or after an instant.
pub(crate) fn ceiling(instant: DateTime<Utc>) -> DateTime<Utc> {
    let floor = floor(instant);
    if floor == instant { floor } else { floor + TimeDelta::seconds(1) }
}

/// How long windows may be, and how many rows they should return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizing {
    /// The first window's length.
    pub(crate) first: TimeDelta,
    /// The shortest that adaptation chooses; shorter ones only come from cutting.
    pub(crate) shortest: TimeDelta,
    /// The longest.
    pub(crate) longest: TimeDelta,
    /// The number of rows aimed at.
    pub(crate) rows: u64,
}

/// How much a window may be longer, or shorter, than the one before it.
const FACTOR: i32 = 4;
/// The fewest rows to aim at when aiming lower.
const LEAST_AIM: u64 = 200;
/// Into how many a window is cut that returns too much.
const CUT: i32 = 8;

/// Lays windows over a range.
#[derive(Debug)]
pub(crate) struct Planner {
    from: DateTime<Utc>,
    next: DateTime<Utc>,
    upper: DateTime<Utc>,
    length: TimeDelta,
    sizing: Sizing,
    expects_rows: bool,
}

impl Planner {
    /// For the range from `from` to `upper`, exclusive; both are whole seconds.
    pub(crate) fn new(from: DateTime<Utc>, upper: DateTime<Utc>, sizing: Sizing) -> Self {
        Self { from, next: from, upper, length: sizing.first, sizing, expects_rows: true }
    }

    /// The window to read now; none when the range is done.
    pub(crate) fn window(&self) -> Option<Window> {
        (self.next < self.upper).then(|| {
            let end = self.next.checked_add_signed(self.length).unwrap_or(self.upper);
            Window::new(self.next, end.min(self.upper))
        })
    }

    /// Whether the window will probably return rows.
    pub(crate) fn expects_rows(&self) -> bool {
        self.expects_rows
    }

    /// The part of the range that is done.
    #[expect(clippy::cast_precision_loss, reason = "a progress bar needs no precision")]
    pub(crate) fn fraction(&self) -> f64 {
        let all = (self.upper - self.from).num_seconds().max(1);
        (self.next - self.from).num_seconds() as f64 / all as f64
    }

    /// Aims at another number of rows from here on.
    pub(crate) fn aim_at(&mut self, rows: u64) {
        self.sizing.rows = rows.max(1);
    }

    /// Aims at half as many rows: windows are too long to be read without a break.
    pub(crate) fn aim_lower(&mut self) {
        self.sizing.rows = (self.sizing.rows / 2).max(LEAST_AIM);
    }

    /// The window is complete and returned so many rows: goes on to the next, with a length that fits.
    pub(crate) fn complete(&mut self, rows: u64) {
        let Some(window) = self.window() else { return };
        let read = window.before - window.from;
        self.next = window.before;
        self.expects_rows = rows > 0;
        // The length to aim at is that of the window times target over rows, within the factor.
        let scaled = |times: u64, over: u64| {
            let seconds =
                i128::from(read.num_seconds()) * i128::from(times) / i128::from(over.max(1));
            TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX / 1_000))
        };
        let wanted = if rows == 0 { read * FACTOR } else { scaled(self.sizing.rows, rows) };
        // Whole seconds: a boundary within a second would split it.
        let least = TimeDelta::seconds(read.num_seconds() / i64::from(FACTOR));
        let wanted = wanted.clamp(least, read * FACTOR);
        // The last window of a range is cut by its end and says little; the length before it stays the measure.
        let was_cut = read < self.length;
        let wanted = if was_cut { wanted.max(self.length) } else { wanted };
        self.length = wanted.clamp(self.sizing.shortest, self.sizing.longest);
    }

    /// The window returns too much: cuts it. False if it can't be cut any further.
    pub(crate) fn cut(&mut self) -> bool {
        let Some(window) = self.window() else { return false };
        let seconds = (window.before - window.from).num_seconds();
        self.length = TimeDelta::seconds((seconds / i64::from(CUT)).max(1));
        self.expects_rows = true;
        seconds > 1
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZING: Sizing = Sizing {
        first: TimeDelta::days(1),
        shortest: TimeDelta::hours(1),
        longest: TimeDelta::days(90),
        rows: 4_000,
    };

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn an_idle_year_takes_few_windows() {
        let mut planner =
            Planner::new(at("2025-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"), SIZING);
        let mut count = 0;
        while planner.window().is_some() {
            planner.complete(0);
            count += 1;
        }
        assert!(count <= 8, "{count}");
    }

    #[test]
    fn a_busy_year_settles_near_the_target() {
        let mut planner =
            Planner::new(at("2025-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"), SIZING);
        let mut counts = Vec::new();
        while let Some(window) = planner.window() {
            // 1,000 rows an hour.
            let rows = (window.before() - window.from()).num_hours().unsigned_abs() * 1_000;
            counts.push(rows);
            planner.complete(rows);
        }
        counts.pop();
        let settled = counts.iter().skip(2).all(|rows| *rows == 4_000);
        assert!(settled, "{:?}", counts.get(..20));
    }

    #[test]
    fn a_window_can_be_cut_down_to_a_second() {
        let mut planner =
            Planner::new(at("2025-01-01T00:00:00Z"), at("2025-01-01T00:01:00Z"), SIZING);
        assert_eq!(
            planner.window().unwrap().to_string(),
            "2025-01-01T00:00:00Z to 2025-01-01T00:01:00Z"
        );
        let mut cuts = 0;
        while planner.cut() {
            cuts += 1;
        }
        assert!(cuts < 4);
        assert_eq!(
            planner.window().unwrap().to_string(),
            "2025-01-01T00:00:00Z to 2025-01-01T00:00:01Z"
        );
    }

    #[test]
    fn a_window_never_ends_within_a_second() {
        let sizing = Sizing { shortest: TimeDelta::minutes(1), ..SIZING };
        let (from, upper) = (at("2025-01-01T00:00:00Z"), at("2025-01-01T01:00:00Z"));
        let mut planner =
            Planner::new(from, upper, Sizing { first: TimeDelta::seconds(243), ..sizing });
        planner.complete(1_000_000);
        assert_eq!(
            planner.window().unwrap().to_string(),
            "2025-01-01T00:04:03Z to 2025-01-01T00:05:03Z"
        );
    }

    proptest! {
        #[test]
        fn windows_adjoin_and_cover_the_range(
            start in 0_i64..2_000_000_000,
            length in 0_i64..100_000_000,
            answers in prop::collection::vec((0_u64..50_000, any::<bool>()), 1..40),
        ) {
            let from = DateTime::from_timestamp(start, 0).unwrap();
            let upper = DateTime::from_timestamp(start + length, 0).unwrap();
            let mut planner = Planner::new(from, upper, SIZING);
            let mut reached = from;
            for (rows, cut) in answers {
                let Some(window) = planner.window() else { break };
                prop_assert_eq!(window.from(), reached);
                prop_assert!(window.from() < window.before() && window.before() <= upper);
                if cut && planner.cut() {
                    continue;
                }
                reached = window.before();
                planner.complete(rows);
            }
            prop_assert!(planner.window().is_some() || reached == upper);
        }

        #[test]
        fn floor_and_ceiling_are_whole_seconds_around(nanos in any::<i64>()) {
            let instant = DateTime::from_timestamp_nanos(nanos);
            let (floor, ceiling) = (floor(instant), ceiling(instant));
            prop_assert!(floor <= instant && instant <= ceiling && ceiling - floor <= TimeDelta::seconds(1));
            prop_assert_eq!((floor.timestamp_subsec_nanos(), ceiling.timestamp_subsec_nanos()), (0, 0));
        }
    }
}
