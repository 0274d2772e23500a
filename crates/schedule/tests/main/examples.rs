//! Stitch's worked examples of Replication Frequency and Anchor Scheduling, and what follows from their rules.

use chrono::{DateTime, Utc};
use schedule::{Frequency, History};

use crate::{at, schedule, starts};

#[test]
fn a_frequency_counts_from_the_last_start() {
    let every = schedule(&[("every", "6h")]);
    let history = History { created_at: at("05-01 08:00"), last_start: Some(at("05-01 13:00")) };
    let found: Vec<_> = every.starts_after(at("05-01 13:00"), history).take(4).collect();
    assert_eq!(found, ["05-01 19:00", "05-02 01:00", "05-02 07:00", "05-02 13:00"].map(at));
    // A late finish, or a look from anywhere else, doesn't move the grid.
    assert_eq!(every.next_after(at("05-01 19:00"), &history), Some(at("05-02 01:00")));
    assert_eq!(every.next_after(at("05-03 12:59:59"), &history), Some(at("05-03 13:00")));
}

#[test]
fn a_manual_start_moves_a_frequency_and_no_anchor_or_cron() {
    let history = History { created_at: at("05-01 08:00"), last_start: Some(at("05-01 14:10")) };
    let next = |pairs: &[(&str, &str)]| schedule(pairs).next_after(at("05-01 14:10"), &history);
    assert_eq!(next(&[("every", "6h")]), Some(at("05-01 20:10")));
    assert_eq!(
        next(&[("every", "6h"), ("anchor", "2026-05-01T13:00:00Z")]),
        Some(at("05-01 19:00"))
    );
    assert_eq!(next(&[("cron", "0 0 15 ? * *")]), Some(at("05-01 15:00")));
}

#[test]
fn a_new_integration_starts_at_once_or_at_its_next_slot() {
    let history = History { created_at: at("05-01 17:30"), last_start: None };
    let first = |pairs: &[(&str, &str)]| schedule(pairs).next_after(at("05-01 17:00"), &history);
    assert_eq!(first(&[("every", "24h")]), Some(at("05-01 17:30")));
    assert_eq!(
        first(&[("every", "1h"), ("anchor", "2026-05-01T18:30:00Z")]),
        Some(at("05-01 17:30"))
    );
}

#[test]
fn an_anchor_is_a_point_of_a_grid_without_ends() {
    let anchored = |every: &str, anchor: &str, now: &str, count: usize| {
        starts(&[("every", every), ("anchor", anchor)], now, count)
    };
    let five = anchored("6h", "2026-05-01T13:00:00Z", "05-01 12:00", 5);
    assert_eq!(five, ["May 1 13:00", "May 1 19:00", "May 2 01:00", "May 2 07:00", "May 2 13:00"]);
    // The anchor has passed for the day.
    let days = anchored("24h", "2026-05-01T13:00:00Z", "05-01 16:00", 3);
    assert_eq!(days, ["May 2 13:00", "May 3 13:00", "May 4 13:00"]);
    let hours = anchored("1h", "2026-05-01T18:30:00Z", "05-01 17:30", 3);
    assert_eq!(hours, ["May 1 18:30", "May 1 19:30", "May 1 20:30"]);
    let api = anchored("6h", "2018-04-30T03:30:00Z", "05-01 03:30", 4);
    assert_eq!(api, ["May 1 09:30", "May 1 15:30", "May 1 21:30", "May 2 03:30"]);
    let noon = anchored("6h", "2026-05-01T12:00:00Z", "05-01 11:00", 4);
    assert_eq!(noon, ["May 1 12:00", "May 1 18:00", "May 2 00:00", "May 2 06:00"]);
}

#[test]
fn the_grid_reaches_back_from_the_anchor() {
    let next = |now: &str| starts(&[("every", "6h"), ("anchor", "2026-05-01T13:00:00Z")], now, 1);
    assert_eq!(next("05-01 16:00"), ["May 1 19:00"]);
    assert_eq!(next("05-01 10:00"), ["May 1 13:00"]);
    assert_eq!(next("05-01 06:00"), ["May 1 07:00"]);
    assert_eq!(next("04-30 12:59:59"), ["Apr 30 13:00"]);
    // A slot that is now has started already.
    assert_eq!(next("05-01 13:00"), ["May 1 19:00"]);
}

#[test]
fn an_anchor_below_an_hour_has_no_effect() {
    let pairs = [("every", "30m"), ("anchor", "2026-05-01T13:00:00Z")];
    let history = History { created_at: at("05-01 08:00"), last_start: Some(at("05-01 13:10")) };
    let schedule = schedule(&pairs);
    assert_eq!(schedule.next_after(at("05-01 13:10"), &history), Some(at("05-01 13:40")));
    assert!(schedule.counts_from_last_start() && schedule.warning().is_some());
}

#[test]
fn in_a_zone_the_grid_is_one_of_wall_clock_times() {
    let berlin = [("every", "12h"), ("anchor", "2026-01-01T12:00:00Z"), ("zone", "Europe/Berlin")];
    // 13:00 in winter and in summer.
    let found = starts(&berlin, "2026-03-28 10:00", 3);
    assert_eq!(found, ["Mar 28 13:00", "Mar 29 01:00", "Mar 29 13:00"]);
    let half_past_two =
        [("every", "24h"), ("anchor", "2026-01-01T01:30:00Z"), ("zone", "Europe/Berlin")];
    // Left out in spring: the first moment after. Repeated in autumn: once.
    assert_eq!(starts(&half_past_two, "2026-03-28 10:00", 2), ["Mar 29 03:00", "Mar 30 02:30"]);
    assert_eq!(starts(&half_past_two, "2026-10-24 10:00", 2), ["Oct 25 02:30", "Oct 26 02:30"]);
    let hourly = [("every", "1h"), ("anchor", "2026-01-01T00:30:00Z"), ("zone", "Europe/Berlin")];
    assert_eq!(
        starts(&hourly, "2026-10-24 23:00", 4),
        ["Oct 25 01:30", "Oct 25 02:30", "Oct 25 02:30", "Oct 25 03:30"]
    );
    assert!(schedule(&hourly).warning().is_some());
}

#[test]
fn fractions_of_a_second_start_nothing_twice() {
    let every = schedule(&[("every", "30m")]);
    let created_at = "2026-05-01T12:00:00.750Z".parse().unwrap();
    let history = History { created_at, last_start: None };
    let first = every.next_after(at("05-01 11:59:59"), &history).unwrap();
    assert_eq!(first, at("05-01 12:00"));
    let history = History { last_start: Some(first), ..history };
    assert_eq!(every.next_after(created_at, &history), Some(at("05-01 12:30")));
}

#[test]
fn a_clock_that_was_set_back_repeats_no_slot() {
    let every = schedule(&[("every", "1h")]);
    let history = History { created_at: at("05-01 08:00"), last_start: Some(at("05-01 13:00")) };
    assert_eq!(every.next_after(at("05-01 10:00"), &history), Some(at("05-01 14:00")));
}

#[test]
fn frequencies_read_as_they_are_written() {
    for frequency in Frequency::ALL {
        assert_eq!(Frequency::parse(frequency.text()), Some(frequency));
        assert_eq!(Frequency::from_minutes(frequency.minutes()), Some(frequency));
    }
    assert_eq!(Frequency::from_minutes(1), None);
    assert_eq!(Frequency::parse("6H"), None);
}

#[test]
fn the_ends_of_the_calendar_have_no_starts() {
    let last_start = Some(at("05-01 13:00"));
    let history = History { created_at: at("05-01 08:00"), last_start };
    for pairs in [
        vec![("every", "24h")],
        vec![("every", "24h"), ("anchor", "2026-05-01T13:00:00Z"), ("zone", "Asia/Tokyo")],
        vec![("cron", "0 0 9 ? * *"), ("zone", "Asia/Tokyo")],
    ] {
        let schedule = schedule(&pairs);
        for instant in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            assert_eq!(schedule.next_after(instant, &history), None, "{pairs:?}");
        }
        for instant in ["0001-01-01 00:00", "8999-12-31 23:59:59"] {
            let next = schedule.next_after(at(instant), &history);
            assert!(next.is_none_or(|next| next > at(instant)), "{pairs:?}");
        }
    }
}
