//! The starts of an expression by looking at every minute there is.

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::model::Expression;

const MINUTE: TimeDelta = TimeDelta::minutes(1);

/// The starts in `(after, until]`, found by walking through time minute by minute.
///
/// Where hours matter, a start is due whenever the clock shows a later time than it ever did, and one of the minutes it
/// has come past since is due: a gap is come past at once, and a repeated hour shows nothing new. Where they don't, every
/// minute is judged by itself.
pub(crate) fn starts(
    expression: &Expression,
    zone: Tz,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Vec<DateTime<Utc>> {
    let follows_time = expression.hours.is_all();
    let shown = |instant: DateTime<Utc>| {
        let offset = instant.with_timezone(&zone).offset().fix().local_minus_utc();
        instant.naive_utc() + TimeDelta::seconds(i64::from(offset))
    };
    // Long enough before, so that the latest time the clock ever showed is known.
    let mut instant = after - TimeDelta::days(3);
    let mut latest = shown(instant);
    let mut found = Vec::new();
    while instant < until {
        instant += MINUTE;
        let now = shown(instant);
        let is_due = if follows_time {
            expression.has(now)
        } else {
            minutes_between(latest, now).any(|minute| expression.has(minute))
        };
        if is_due && instant > after {
            found.push(instant);
        }
        latest = latest.max(now);
    }
    found
}

/// The minutes in `(first, last]`.
fn minutes_between(
    first: NaiveDateTime,
    last: NaiveDateTime,
) -> impl Iterator<Item = NaiveDateTime> {
    std::iter::successors(Some(first + MINUTE), |minute| Some(*minute + MINUTE))
        .take_while(move |minute| *minute <= last)
}

/// The starts in UTC in `(after, until]`, minute by minute, but only of days that are due: for long spans.
pub(crate) fn starts_by_day(
    expression: &Expression,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
) -> impl Iterator<Item = DateTime<Utc>> {
    let midnight = after.date_naive().and_hms_opt(0, 0, 0).unwrap().and_utc();
    let days = std::iter::successors(Some(midnight), |day| Some(*day + TimeDelta::days(1)));
    days.take_while(move |day| *day <= until)
        .filter(|day| expression.has_day(day.date_naive()))
        .flat_map(|day| (0..1440).map(move |minute| day + TimeDelta::minutes(minute)))
        .filter(move |minute| {
            *minute > after && *minute <= until && expression.has(minute.naive_utc())
        })
}
