//! Servers that return whole days.

use chrono::{DateTime, Utc};

/// Where the days of a server begin that returns whole days.
///
/// A guess that is wrong costs rows that are read twice, and loses none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerDays {
    /// The second of the UTC day.
    pub(super) begin: i64,
}

const DAY_SECONDS: i64 = 86_400;
/// Zones differ from UTC by multiples of it.
const ZONE_STEP: i64 = 900;

impl ServerDays {
    /// What it shows that a read from `from` on returned a row of `earliest`, before it; none if that is no matter of days.
    pub(super) fn observed(from: DateTime<Utc>, earliest: DateTime<Utc>) -> Option<Self> {
        let before = (from - earliest).num_seconds();
        // A day has 25 hours when daylight saving ends.
        if !(1..=DAY_SECONDS + 3_600).contains(&before) {
            return None;
        }
        let begin = if before > DAY_SECONDS / 2
            && from.timestamp() % ZONE_STEP == 0
            && before > DAY_SECONDS - 2 * 3_600
        {
            // Just before a day's end: it begins a little later than assumed.
            from.timestamp() + 3_600
        } else {
            earliest.timestamp().div_euclid(ZONE_STEP) * ZONE_STEP
        };
        Some(Self { begin: begin.rem_euclid(DAY_SECONDS) })
    }

    /// The last beginning of a day that is after `from` and not after `end`; the first after `from` if there is none.
    pub(super) fn boundary(self, from: DateTime<Utc>, end: DateTime<Utc>) -> DateTime<Utc> {
        let floor =
            |second: i64| (second - self.begin).div_euclid(DAY_SECONDS) * DAY_SECONDS + self.begin;
        let next = floor(from.timestamp()) + DAY_SECONDS;
        DateTime::from_timestamp(floor(end.timestamp()).max(next), 0).unwrap_or(end)
    }
}
