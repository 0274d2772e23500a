//! Random expressions against the oracle: over years in UTC, and around every kind of change that clocks have.

use chrono::{DateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;
use schedule::CronExpression;

use crate::{
    at,
    model::{Expression, daily_expression, expression},
    oracle,
};

/// Zones that change by an hour at night and at midnight, by half an hour, by two hours, around Ramadan, by a whole day,
/// and not at all; and the years to look at.
const ZONES: [(Tz, i32); 11] = [
    (Tz::Europe__Berlin, 2026),
    (Tz::America__New_York, 2027),
    (Tz::America__Sao_Paulo, 2018),
    (Tz::America__Santiago, 2026),
    (Tz::Asia__Beirut, 2026),
    (Tz::Australia__Lord_Howe, 2026),
    (Tz::Antarctica__Troll, 2026),
    (Tz::Africa__Casablanca, 2026),
    (Tz::Pacific__Chatham, 2026),
    (Tz::Pacific__Apia, 2011),
    (Tz::Asia__Kathmandu, 2026),
];

/// Starts that are compared; some expressions have one every minute.
const MOST: usize = 400;

fn next_starts(
    text: &str,
    zone: Tz,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Vec<DateTime<Utc>> {
    let cron = CronExpression::parse(text).unwrap();
    std::iter::successors(cron.next_after(after, zone), |start| cron.next_after(*start, zone))
        .take_while(|start| *start <= until)
        .take(MOST)
        .collect()
}

/// The instants in a year at which the zone's clock changes.
fn changes(zone: Tz, year: i32) -> Vec<DateTime<Utc>> {
    let offset = |instant: DateTime<Utc>| zone.offset_from_utc_datetime(&instant.naive_utc()).fix();
    let first = Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap();
    (1..366 * 24 * 2)
        .map(|half_hours| first + TimeDelta::minutes(30 * half_hours))
        .filter(|instant| offset(*instant) != offset(*instant - TimeDelta::minutes(30)))
        .collect()
}

fn compare(expression: &Expression, zone: Tz, after: DateTime<Utc>, span: TimeDelta) {
    let until = after + span;
    let text = expression.text();
    let mut expected = oracle::starts(expression, zone, after, until);
    expected.truncate(MOST);
    let found = next_starts(&text, zone, after, until);
    assert_eq!(found, expected, "`{text}` in {zone} after {after}");
}

#[test]
fn the_zones_change_as_they_should() {
    let counts = ZONES.map(|(zone, year)| changes(zone, year).len());
    assert_eq!(counts, [2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 0], "{ZONES:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn over_years(expression in expression(), day in 0_i64..20_000, second in 0_i64..86_400) {
        let after = at("2000-01-01 00:00") + TimeDelta::days(day) + TimeDelta::seconds(second);
        let until = after + TimeDelta::days(3 * 365);
        let text = expression.text();
        let expected: Vec<_> = oracle::starts_by_day(&expression, after, until).take(MOST).collect();
        prop_assert_eq!(next_starts(&text, Tz::UTC, after, until), expected, "`{}`", text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn over_changes_of_the_clock(
        expression in daily_expression(),
        zone in 0..ZONES.len() - 1,
        change in any::<prop::sample::Index>(),
        minutes in 0_i64..2_000,
        seconds in 0_i64..60,
    ) {
        let (zone, year) = ZONES[zone];
        let change = *change.get(&changes(zone, year));
        let after = change - TimeDelta::minutes(minutes) - TimeDelta::seconds(seconds);
        let after = after - TimeDelta::seconds(after.timestamp() % 60);
        compare(&expression, zone, after, TimeDelta::hours(60));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn over_weeks_in_zones(
        expression in expression(),
        zone in 0..ZONES.len(),
        day in 0_i64..9_000,
        minute in 0_i64..1_440,
    ) {
        let after = at("2012-01-01 00:00") + TimeDelta::days(day) + TimeDelta::minutes(minute);
        compare(&expression, ZONES[zone].0, after, TimeDelta::days(40));
    }
}

/// From every single second of a night in which the clock changes.
#[test]
fn from_every_second_around_a_change() {
    let expressions = ["0 0,30 2,3 ? * *", "0 0/20 * ? * *", "0 30 2 ? * *", "0 59 1-3 ? * *"];
    for (zone, year) in [(Tz::Europe__Berlin, 2026), (Tz::Australia__Lord_Howe, 2026)] {
        for change in changes(zone, year) {
            for text in expressions {
                let cron = CronExpression::parse(text).unwrap();
                let first = change - TimeDelta::minutes(70);
                let starts = next_starts(text, zone, first, change + TimeDelta::days(2));
                for second in 0..140 * 60 {
                    let instant = first + TimeDelta::seconds(second);
                    let expected = starts.iter().find(|start| **start > instant);
                    let found = cron.next_after(instant, zone);
                    assert_eq!(found.as_ref(), expected, "`{text}` in {zone} after {instant}");
                }
            }
        }
    }
}
