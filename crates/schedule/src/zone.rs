//! Wall-clock times and the instants they stand for, over changes of the clock.
//!
//! A schedule that names hours of the day means times on a wall clock. Twice a year most zones break it, and we decide:
//!
//! - A time that the spring change **leaves out** starts at the first moment after the change; several such times, and
//!   one that is due at that moment anyway, are one start.
//! - A time that the autumn change **repeats** starts once, at the first of the two.
//!
//! So a daily run happens on every day, once. Schedules that name no hours, of an hour or less or by a cron expression
//! whose hours are `*`, follow the time that really passes: nothing is due in an hour that never was, and an hour that is
//! repeated has its starts twice.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// Further from UTC than any zone is, and the longest change there was (a whole day, in Samoa) together.
const FAR: TimeDelta = TimeDelta::hours(48);

/// What the clock of a zone shows at an instant.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a wall clock shows no offset")]
pub fn wall_clock(zone: Tz, instant: DateTime<Utc>) -> NaiveDateTime {
    instant.with_timezone(&zone).naive_local()
}

/// The instant at which something that is due at a wall-clock time starts: see the rules at the head of this module.
#[must_use]
pub fn start(zone: Tz, wall_clock: NaiveDateTime) -> DateTime<Utc> {
    match zone.from_local_datetime(&wall_clock) {
        MappedLocalTime::Single(instant) | MappedLocalTime::Ambiguous(instant, _) => {
            instant.to_utc()
        }
        MappedLocalTime::None => after_gap(zone, wall_clock),
    }
}

/// The first instant at which the clock has passed a time that it never shows.
fn after_gap(zone: Tz, missing: NaiveDateTime) -> DateTime<Utc> {
    let offset = |instant: NaiveDateTime| {
        let seconds = zone.offset_from_utc_datetime(&instant).fix().local_minus_utc();
        TimeDelta::seconds(i64::from(seconds))
    };
    let (mut before, mut after) = (missing - FAR, missing + FAR);
    while after - before > TimeDelta::seconds(1) {
        let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
        if middle + offset(middle) < missing {
            before = middle;
        } else {
            after = middle;
        }
    }
    after.and_utc()
}
