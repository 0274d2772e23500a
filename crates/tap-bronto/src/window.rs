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
//! - **A6 Order.** Pages cut one order of a query's objects, each page always at the same place; when an object leaves,
//!   those behind it move up and nothing else changes. So going through the pages from the last to the first misses
//!   nobody (see `crate::reader::pages`). Seen as violated when an object turns up on a later page than before, when a
//!   page that is not the last holds another number of objects than before, or when the last page, read once more in the
//!   end, shows somebody new. A window of a single page offers nothing to compare.
//! - **A7 Cursor.** The cursor of an activity window lives in the session; when it is lost, the window begins again.
//! - **A8 Span.** Activities can be read for 30 days.
//! - **A9 Immutability.** Unsubscriptions and activities don't change or disappear within those 30 days.
//!
//! # Laying windows
//!
//! Windows begin and end at whole seconds, half open, so no instant is split between two. They adjoin. Several can be
//! read at once, each by one worker, and they are completed in any order; a bookmark stands where everything before it is
//! complete. Each is laid by what the nearest one before it returned: longer when little came (an idle year takes a
//! handful of requests), shorter when much did.
//!
//! A window that turns out too large is cut, unless it is a second. A second can hold any number of contacts (a bulk
//! import), and is read whole: reading from the last page down is complete and needs little memory whatever the number of
//! pages. Cutting it further, by `created`, could miss contacts that have none: no filter selects those.
//!
//! A server whose lower bound acts by calendar day returns, with each window, all rows of the day before it. That shows in
//! the rows outside the window; then windows begin and end where the server's days do, in the zone that the rows show, and
//! a day is read whole.

mod days;

use std::{collections::BTreeMap, fmt};

use bronto_client::lexical::utc_text;
use chrono::{DateTime, TimeDelta, Utc};

use self::days::ServerDays;

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

    /// How long it is.
    pub(crate) fn length(self) -> TimeDelta {
        self.before - self.from
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

/// How long windows may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizing {
    /// The first window's length.
    pub(crate) first: TimeDelta,
    /// The shortest that adaptation chooses; shorter ones only come from cutting.
    pub(crate) shortest: TimeDelta,
    /// The longest.
    pub(crate) longest: TimeDelta,
    /// So many pages at least are in a window that is shorter because others shall have something to do too: each window
    /// costs some requests more than it has pages.
    pub(crate) least_pages: u64,
}

/// The most rows of a page by the documentation.
pub(crate) const PAGE_ROWS: usize = 5_000;
/// The rows to aim at so that windows have about so many pages, of so many rows each: some fewer, since a few more would
/// make another page.
pub(crate) fn aim(page_rows: u64, pages: u64) -> u64 {
    page_rows * pages * 4 / 5
}

/// How much a window may be longer, or shorter, than the one before it.
const FACTOR: i32 = 4;
/// The fewest rows to aim at when aiming lower.
const LEAST_AIM: u64 = 200;
/// Into how many a window is cut that returns too much.
pub(crate) const CUT: u32 = 8;
/// A window that returns at least two in so many of the rows of a page shows that there is work for others too.
const DENSE: u64 = 3;
/// A window is longer if less than one part in so many of it would be left.
const REST: i32 = 4;
/// A window to read, and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Laid {
    pub(crate) window: Window,
    /// How many pages it will probably have.
    pub(crate) expected_pages: u32,
    /// Whether it may be given back to be cut.
    pub(crate) is_divisible: bool,
    /// Whether its length follows from another window.
    pub(crate) is_measured: bool,
    /// Whether nothing is left to be laid after it, so that other workers have nothing to do.
    pub(crate) is_last: bool,
    /// The most rows that a page holds, as far as is known.
    pub(crate) page_rows: u64,
}

/// Lays windows over a range. Several can be open at once, and they may be completed in any order.
#[derive(Debug)]
pub(crate) struct Planner {
    range: Window,
    /// What no window was laid over yet, by its start. These spans and the open windows don't overlap.
    unlaid: BTreeMap<DateTime<Utc>, Span>,
    /// Windows that are being read, by their start.
    open: BTreeMap<DateTime<Utc>, Open>,
    sizing: Sizing,
    /// How many rows a window should return.
    aim: u64,
    /// The most rows that a page holds, by what was read last.
    page_rows: u64,
    is_dense: bool,
    days: Option<ServerDays>,
}

/// A part of the range over which no window was laid yet.
#[derive(Clone, Copy, Debug)]
struct Span {
    before: DateTime<Utc>,
    /// How long its windows should be.
    length: TimeDelta,
    /// The start of the window that said so.
    measured: Option<DateTime<Utc>>,
    /// How many rows a window of that length will probably have.
    expected: u64,
}

impl Span {
    /// With windows no longer than `share`, unless they would have fewer rows than `least`. Where nothing is known or
    /// expected, they stay as they are.
    fn shortened(self, share: TimeDelta, least: u64) -> Self {
        let (length, expected) = (self.length.num_seconds(), i128::from(self.expected));
        if self.measured.is_none() || self.expected < least {
            return self;
        }
        let of_least = i128::from(length) * i128::from(least) / expected;
        let of_least = i64::try_from(of_least).unwrap_or(length);
        let shorter = share.num_seconds().max(of_least).clamp(1, length.max(1));
        let expected = expected * i128::from(shorter) / i128::from(length.max(1));
        let expected = u64::try_from(expected).unwrap_or(self.expected);
        Self { length: TimeDelta::seconds(shorter), expected, ..self }
    }
}

/// A window that is being read.
#[derive(Clone, Copy, Debug)]
struct Open {
    window: Window,
    /// Whether it is shorter than wanted, since its span ended.
    is_cut_short: bool,
}

impl Planner {
    /// For the range from `from` to `upper`, exclusive, in windows that return about `aim` rows; both are whole seconds.
    pub(crate) fn new(from: DateTime<Utc>, upper: DateTime<Utc>, sizing: Sizing, aim: u64) -> Self {
        let range = Window::new(from, upper.max(from));
        let all = Span { before: range.before, length: sizing.first, measured: None, expected: 1 };
        Self {
            range,
            unlaid: (from < upper).then_some((from, all)).into_iter().collect(),
            open: BTreeMap::new(),
            sizing,
            aim,
            page_rows: PAGE_ROWS as u64,
            is_dense: false,
            days: None,
        }
    }

    /// Lays the next window, the earliest first; none when nothing is left to be laid. What is left is shared out among
    /// so many workers.
    pub(crate) fn next(&mut self, workers: usize) -> Option<Laid> {
        let share = self.share(workers);
        let (from, whole) = self.unlaid.pop_first()?;
        let span = whole.shortened(share, self.sizing.least_pages * self.page_rows);
        let wanted = from.checked_add_signed(span.length).unwrap_or(span.before);
        // A little that is left would take a window of its own.
        let left = span.before - wanted;
        let is_rest = left > TimeDelta::zero() && left * REST < span.length;
        let wanted = if is_rest { span.before } else { wanted };
        let end = self.days.map_or(wanted, |days| days.boundary(from, wanted)).min(span.before);
        let window = Window::new(from, end);
        if end < span.before {
            self.unlaid.insert(end, whole);
        }
        self.open.insert(from, Open { window, is_cut_short: end < wanted });
        let least = if self.days.is_some() { TimeDelta::days(1) } else { TimeDelta::seconds(1) };
        let is_divisible = window.length() > least;
        // Some more than expected, so that the end is found with one look.
        let pages = (span.expected + span.expected / 4).div_ceil(self.page_rows);
        let expected_pages = u32::try_from(pages).unwrap_or(u32::MAX);
        let is_measured = span.measured.is_some();
        let page_rows = self.page_rows;
        let is_last = self.unlaid.is_empty();
        Some(Laid { window, expected_pages, is_divisible, is_measured, is_last, page_rows })
    }

    /// Each worker's part of what is left to be laid. So windows become shorter towards the end, and none is read alone
    /// for long while the others have nothing to do.
    fn share(&self, workers: usize) -> TimeDelta {
        if workers <= 1 {
            return TimeDelta::MAX;
        }
        let left = self.unlaid.iter().map(|(from, span)| (span.before - *from).num_seconds());
        TimeDelta::seconds(left.sum::<i64>() / i64::try_from(workers).unwrap_or(i64::MAX))
    }

    /// About how many pages are left to be laid for each worker that reads now, as far as anything is known of them.
    pub(crate) fn left(&self) -> u64 {
        let rows = |(from, span): (&DateTime<Utc>, &Span)| {
            let seconds = u128::from((span.before - *from).num_seconds().unsigned_abs());
            seconds * u128::from(span.expected)
                / u128::from(span.length.num_seconds().max(1).unsigned_abs())
        };
        let rows: u128 = self.unlaid.iter().map(rows).sum();
        let of_each = rows / u128::from(self.page_rows) / self.open.len().max(1) as u128;
        u64::try_from(of_each).unwrap_or(u64::MAX)
    }

    /// Whether there is more to be laid.
    pub(crate) fn has_next(&self) -> bool {
        !self.unlaid.is_empty()
    }

    /// Whether what was read so far says that several workers have something to do.
    pub(crate) fn is_dense(&self) -> bool {
        self.is_dense
    }

    /// Up to where everything is complete.
    pub(crate) fn reached(&self) -> DateTime<Utc> {
        let open = self.open.first_key_value().map(|(from, _)| *from);
        let unlaid = self.unlaid.first_key_value().map(|(from, _)| *from);
        open.into_iter().chain(unlaid).min().unwrap_or(self.range.before)
    }

    /// The windows that are being read, the earliest first.
    pub(crate) fn open(&self) -> impl Iterator<Item = Window> + '_ {
        self.open.values().map(|open| open.window)
    }

    /// The part of the range that is done.
    #[expect(clippy::cast_precision_loss, reason = "a progress bar needs no precision")]
    pub(crate) fn fraction(&self) -> f64 {
        let all = self.range.length().num_seconds().max(1);
        let open = self.open.values().map(|open| open.window.length());
        let unlaid = self.unlaid.iter().map(|(from, span)| span.before - *from);
        let left: i64 = open.chain(unlaid).map(|length| length.num_seconds()).sum();
        (all - left) as f64 / all as f64
    }

    /// Pages hold so many rows, by what was read last; windows should have so many pages.
    pub(crate) fn note_page(&mut self, rows: u64, pages: u64) {
        self.page_rows = rows.max(1);
        self.aim = aim(self.page_rows, pages).max(1);
    }

    /// Aims at half as many rows: windows are too long to be read without a break.
    pub(crate) fn aim_lower(&mut self) {
        self.aim = (self.aim / 2).max(LEAST_AIM);
    }

    /// The server returns whole days, and a row before this window came from `earliest` on.
    pub(crate) fn note_days(&mut self, window: Window, earliest: DateTime<Utc>) {
        if let Some(days) = ServerDays::observed(window.from, earliest) {
            self.days = Some(days);
        }
    }

    /// An open window is complete and returned so many rows.
    pub(crate) fn complete(&mut self, window: Window, rows: u64) {
        self.measure(window, rows);
        self.open.remove(&window.from);
    }

    /// An open window returns so many rows, or will probably do so: the next ones get a length that fits.
    pub(crate) fn measure(&mut self, window: Window, rows: u64) {
        let Some(Open { is_cut_short, .. }) = self.open.get(&window.from).copied() else { return };
        self.is_dense |= rows.saturating_mul(DENSE) >= 2 * self.page_rows;
        let Some((_, next)) = self.unlaid.range_mut(window.before..).next() else { return };
        // An earlier window says nothing about what comes after a later one.
        if next.measured.is_some_and(|measured| measured > window.from) {
            return;
        }
        next.measured = Some(window.from);
        let read = window.length();
        // The length to aim at is that of the window times target over rows, within the factor.
        let scaled = |times: u64, over: u64| {
            let seconds =
                i128::from(read.num_seconds()) * i128::from(times) / i128::from(over.max(1));
            TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX / 1_000))
        };
        let wanted = if rows == 0 { read * FACTOR } else { scaled(self.aim, rows) };
        // Whole seconds: a boundary within a second would split it.
        let least = TimeDelta::seconds(read.num_seconds() / i64::from(FACTOR));
        let wanted = wanted.clamp(least, read * FACTOR);
        // A window that was cut short says little; the length before it stays the measure.
        let wanted = if is_cut_short { wanted.max(next.length) } else { wanted };
        next.length = wanted.clamp(self.sizing.shortest, self.sizing.longest);
        let expected = u128::from(rows) * u128::from(next.length.num_seconds().unsigned_abs())
            / u128::from(read.num_seconds().max(1).unsigned_abs());
        next.expected = u64::try_from(expected).unwrap_or(u64::MAX / 2).max(u64::from(rows > 0));
    }

    /// An open window is to be laid anew, in at most `parts` pieces. So many rows are spread over it, if that is known.
    /// False if it is too short for that; then it is laid anew as it is.
    pub(crate) fn cut(&mut self, window: Window, parts: u32, rows: u64) -> bool {
        self.open.remove(&window.from);
        let seconds = window.length().num_seconds();
        let piece = seconds.unsigned_abs().div_ceil(u64::from(parts.max(1))).max(1);
        let length = TimeDelta::seconds(i64::try_from(piece).unwrap_or(i64::MAX / 1_000));
        let measured = Some(window.from);
        let expected = (rows / u64::from(parts.max(1))).max(1);
        let span = Span { before: window.before, length, measured, expected };
        self.unlaid.insert(window.from, span);
        // What comes after it is probably no emptier.
        for (_, later) in self.unlaid.range_mut(window.before..) {
            if later.measured <= measured {
                later.length = later.length.min(length);
                later.expected = later.expected.max(1);
            }
        }
        self.is_dense = true;
        parts > 1 && seconds > 1
    }
}

#[cfg(test)]
mod tests;
