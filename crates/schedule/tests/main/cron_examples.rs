//! Stitch's sample expressions, and the forms of Quartz that croner alone reads otherwise or not at all.

use crate::starts;

/// The next start after noon of Tuesday, 24 November 2026, with its day of the week.
fn next(expression: &str) -> String {
    let after = crate::at("11-24 12:00");
    let cron = schedule::CronExpression::parse(expression).unwrap();
    let start = cron.next_after(after, chrono_tz::Tz::UTC).unwrap();
    start.format("%a %-d %b %Y %H:%M").to_string()
}

#[test]
fn stitchs_samples() {
    for daily in ["0 0 0 ? * *", "0 0 0 * * ?"] {
        assert_eq!(next(daily), "Wed 25 Nov 2026 00:00");
    }
    for working_days in ["0 0 0 ? * 2-6", "0 0 0 ? * MON-FRI"] {
        let found = starts(&[("cron", working_days)], "11-26 12:00", 2);
        assert_eq!(found, ["Nov 27 00:00", "Nov 30 00:00"]);
    }
    for sundays in ["0 0 23 ? * 1", "0 0 23 ? * SUN"] {
        assert_eq!(next(sundays), "Sun 29 Nov 2026 23:00");
    }
    for noon_and_midnight in ["0 0 0,12 * * ?", "0 0 0,12 ? * *"] {
        let found = starts(&[("cron", noon_and_midnight)], "11-24 12:00", 2);
        assert_eq!(found, ["Nov 25 00:00", "Nov 25 12:00"]);
    }
    for three_days in ["0 0 3 ? * 3-5", "0 0 3 ? * TUE-THUR"] {
        let found = starts(&[("cron", three_days)], "11-24 12:00", 3);
        assert_eq!(found, ["Nov 25 03:00", "Nov 26 03:00", "Dec 1 03:00"]);
    }
    for alternate in ["0 0 0 ? * 2,4,6", "0 0 0 ? * MON,WED,FRI"] {
        let found = starts(&[("cron", alternate)], "11-24 12:00", 3);
        assert_eq!(found, ["Nov 25 00:00", "Nov 27 00:00", "Nov 30 00:00"]);
    }
    for january in ["0 5-10,30 * ? 1 *", "0 5-10,30 * * 1 ?"] {
        let found = starts(&[("cron", january)], "11-24 12:00", 8);
        let expected = ["00:05", "00:06", "00:07", "00:08", "00:09", "00:10", "00:30", "01:05"];
        assert_eq!(found, expected.map(|time| format!("Jan 1 {time}")));
    }
    assert_eq!(next("0 0 12 ? * MON-FRI *"), "Wed 25 Nov 2026 12:00");
}

#[test]
fn a_window_ends_with_its_last_start() {
    let found = starts(&[("cron", "0 0/20 12-13 ? * *")], "11-24 13:20", 2);
    assert_eq!(found, ["Nov 24 13:40", "Nov 25 12:00"]);
}

#[test]
fn steps_lists_and_wrapped_ranges() {
    let hours = |expression| {
        let times = starts(&[("cron", expression)], "11-23 23:59", 8).into_iter();
        times.map(|time| time.replace("Nov ", "")).collect::<Vec<_>>().join(", ")
    };
    insta::assert_snapshot!(hours("0 0/15 0 ? * *"), @"24 00:00, 24 00:15, 24 00:30, 24 00:45, 25 00:00, 25 00:15, 25 00:30, 25 00:45");
    insta::assert_snapshot!(hours("0 0 3/6 ? * *"), @"24 03:00, 24 09:00, 24 15:00, 24 21:00, 25 03:00, 25 09:00, 25 15:00, 25 21:00");
    insta::assert_snapshot!(hours("0 0 */6 ? * *"), @"24 00:00, 24 06:00, 24 12:00, 24 18:00, 25 00:00, 25 06:00, 25 12:00, 25 18:00");
    insta::assert_snapshot!(hours("0 0 22-2/2 ? * *"), @"24 00:00, 24 02:00, 24 22:00, 25 00:00, 25 02:00, 25 22:00, 26 00:00, 26 02:00");
    insta::assert_snapshot!(hours("0 0 5-8 ? * *"), @"24 05:00, 24 06:00, 24 07:00, 24 08:00, 25 05:00, 25 06:00, 25 07:00, 25 08:00");
    assert_eq!(next("0 0 0 1/5 * ?"), "Thu 26 Nov 2026 00:00");
    assert_eq!(next("0 0 0 ? NOV-FEB *"), "Wed 25 Nov 2026 00:00");
    assert_eq!(next("0 0 0 1 november-february ?"), "Tue 1 Dec 2026 00:00");
    assert_eq!(next("0 0 0 ? * FRI-MON"), "Fri 27 Nov 2026 00:00");
    assert_eq!(next("0 0 0 ? * 7-1"), "Sat 28 Nov 2026 00:00");
    assert_eq!(next("0 0 0 30-2 * ?"), "Mon 30 Nov 2026 00:00");
    assert_eq!(next("0 0 0 ? JAN,FEB,MAY * 2028"), "Sat 1 Jan 2028 00:00");
}

#[test]
fn names_in_full_or_in_part() {
    for thursdays in ["5", "THU", "THUR", "thurs", "Thursday"] {
        assert_eq!(next(&format!("0 0 0 ? * {thursdays}")), "Thu 26 Nov 2026 00:00");
    }
    assert_eq!(next("0 0 0 ? SEPT MONDAY"), "Mon 6 Sep 2027 00:00");
}

#[test]
fn last_days() {
    assert_eq!(next("0 0 0 L * ?"), "Mon 30 Nov 2026 00:00");
    assert_eq!(next("0 0 0 L-3 * ?"), "Fri 27 Nov 2026 00:00");
    assert_eq!(next("0 0 0 L-30 * ?"), "Tue 1 Dec 2026 00:00");
    assert_eq!(next("0 0 0 L-28 FEB ?"), "Tue 1 Feb 2028 00:00");
    assert_eq!(next("0 0 0 LW JAN ?"), "Fri 29 Jan 2027 00:00");
    // 29 November is a Sunday.
    assert_eq!(next("0 0 0 L-1W * ?"), "Mon 30 Nov 2026 00:00");
    assert_eq!(next("0 0 0 ? * L"), "Sat 28 Nov 2026 00:00");
    for last_friday in ["6L", "FRIL", "fridayl"] {
        assert_eq!(next(&format!("0 0 0 ? * {last_friday}")), "Fri 27 Nov 2026 00:00");
    }
}

#[test]
fn nearest_working_days() {
    // 15 August 2026 is a Saturday, 1 August too; 31 January 2027 is a Sunday, 15 November too.
    assert_eq!(next("0 0 0 15W AUG ? 2026-2027"), "Mon 16 Aug 2027 00:00");
    let found = |expression| starts(&[("cron", expression)], "2026-07-31 12:00", 1).remove(0);
    assert_eq!(found("0 0 0 15W * ?"), "Aug 14 00:00");
    assert_eq!(found("0 0 0 1W * ?"), "Aug 3 00:00");
    assert_eq!(found("0 0 0 15W NOV ?"), "Nov 16 00:00");
    assert_eq!(found("0 0 0 31W JAN ?"), "Jan 29 00:00");
}

#[test]
fn so_manieth_days() {
    for second_wednesday in ["4#2", "WED#2"] {
        assert_eq!(next(&format!("0 0 0 ? * {second_wednesday}")), "Wed 9 Dec 2026 00:00");
    }
    assert_eq!(next("0 0 0 ? * 2#1"), "Mon 7 Dec 2026 00:00");
    // Months without a fifth Saturday have no start.
    let fifth = starts(&[("cron", "0 0 0 ? * 7#5")], "11-24 12:00", 3);
    assert_eq!(fifth, ["Jan 30 00:00", "May 29 00:00", "Jul 31 00:00"]);
    assert_eq!(next("0 0 0 ? * THURS#4"), "Thu 26 Nov 2026 00:00");
}

#[test]
fn the_rarest_days_are_found() {
    assert_eq!(next("0 0 0 29 2 ?"), "Tue 29 Feb 2028 00:00");
    assert_eq!(next("0 0 0 ? 2 SUN#5"), "Sun 29 Feb 2032 00:00");
    assert_eq!(next("0 0 0 L-28 2 ? 2096-2099"), "Wed 1 Feb 2096 00:00");
}

#[test]
fn a_zone_moves_the_wall_clock_with_the_seasons() {
    let berlin = |expression, after, count| {
        starts(&[("cron", expression), ("zone", "Europe/Berlin")], after, count)
    };
    let nine = berlin("0 0 9 ? * *", "2026-03-28 07:00", 3);
    assert_eq!(nine, ["Mar 28 09:00", "Mar 29 09:00", "Mar 30 09:00"]);
    // 02:00 to 02:59 doesn't exist on 29 March and is there twice on 25 October.
    let left_out = berlin("0 0,30 2,3 ? * *", "2026-03-28 12:00", 3);
    assert_eq!(left_out, ["Mar 29 03:00", "Mar 29 03:30", "Mar 30 02:00"]);
    let repeated = berlin("0 0,30 2,3 ? * *", "2026-10-24 12:00", 4);
    assert_eq!(repeated, ["Oct 25 02:00", "Oct 25 02:30", "Oct 25 03:00", "Oct 25 03:30"]);
    let spring = berlin("0 20/20 * ? * *", "2026-03-29 00:30", 3);
    assert_eq!(spring, ["Mar 29 01:40", "Mar 29 03:20", "Mar 29 03:40"]);
    let autumn = berlin("0 30 * ? * *", "2026-10-24 23:00", 4);
    assert_eq!(autumn, ["Oct 25 01:30", "Oct 25 02:30", "Oct 25 02:30", "Oct 25 03:30"]);
}

#[test]
fn a_day_that_a_zone_left_out_is_one_start() {
    // Samoa went from the 29th to the 31st of December 2011.
    let apia = [("cron", "0 0 9 ? * *"), ("zone", "Pacific/Apia")];
    let found = starts(&apia, "2011-12-29 12:00", 4);
    assert_eq!(found, ["Dec 29 09:00", "Dec 31 00:00", "Dec 31 09:00", "Jan 1 09:00"]);
}
