//! What is refused, in which words, and with which remedy.

use schedule::{CronExpression, Schedule, ScheduleError};

use crate::{at, fields, schedule};

fn refusal(pairs: &[(&str, &str)]) -> String {
    let error = Schedule::parse(&fields(pairs)).unwrap_err();
    let field = error.field().unwrap_or("-");
    format!("{field}: {error}\n{}", error.remedy())
}

fn cron(expression: &str) -> String {
    refusal(&[("cron", expression)])
}

#[test]
fn names_the_field_and_the_remedy() {
    insta::assert_snapshot!(cron("0 61 0 ? * *"), @r"
    cron: In the minutes field of the cron expression, `61` is out of range
    It takes numbers from 0 to 59, `*`, lists, ranges and steps, as in `0/15` or `5-10,30`
    ");
    insta::assert_snapshot!(cron("0 0 24 ? * *"), @r"
    cron: In the hours field of the cron expression, `24` is out of range
    It takes numbers from 0 to 23, `*`, lists, ranges and steps, as in `8-18/2` or `22-2`
    ");
    insta::assert_snapshot!(cron("0 0 0 ? * 0"), @r"
    cron: In the day-of-week field of the cron expression, `0` is out of range
    It takes numbers from 1 (Sunday) to 7 or `SUN` to `SAT`, `*`, `?`, lists, ranges, steps, `L`, `6L` and `MON#1`
    ");
    insta::assert_snapshot!(cron("0 0 0 ? * NEVER"), @r"
    cron: In the day-of-week field of the cron expression, `NEVER` is not understood
    It takes numbers from 1 (Sunday) to 7 or `SUN` to `SAT`, `*`, `?`, lists, ranges, steps, `L`, `6L` and `MON#1`
    ");
    insta::assert_snapshot!(cron("0 0 0 L,15 * ?"), @r"
    cron: In the day-of-month field of the cron expression, `L` can't be combined with anything else
    `*`, `?`, `L`, `W` and `#` stand alone, not in lists or ranges; the field takes numbers from 1 to 31, `*`, `?`, lists, ranges, steps, `L`, `L-3`, `LW` and `15W`
    ");
    insta::assert_snapshot!(cron("0 0/0 0 ? * *"), @r"
    cron: In the minutes field of the cron expression, `0` is no step
    A step is a number from 1 to 59
    ");
    insta::assert_snapshot!(cron("0 1,,2 0 ? * *"), @r"
    cron: In the minutes field of the cron expression, an item of the list is empty
    It takes numbers from 0 to 59, `*`, lists, ranges and steps, as in `0/15` or `5-10,30`
    ");
    insta::assert_snapshot!(cron("0 0 0 ? * * 2028-2026"), @r"
    cron: In the year field of the cron expression, `2028-2026` runs backwards
    Write the earlier year first
    ");
    insta::assert_snapshot!(cron("0 0 0 * * *"), @r"
    cron: Exactly one of the day fields of a cron expression, day-of-month and day-of-week, must be `?`
    Write `?` for the one that doesn't matter, as in `0 0 9 ? * MON-FRI` or `0 0 9 1 * ?`
    ");
    insta::assert_snapshot!(cron("* * * * * *"), @r"
    cron: The first field of a cron expression, the seconds, must be `0`
    Runs start on whole minutes: write `0`
    ");
    insta::assert_snapshot!(cron("0 0 * * *"), @r"
    cron: A cron expression has six fields, or seven with a year; this one has 5
    Begin with `0` for the seconds, and write `?` in one day field, as in `0 0 9 ? * MON-FRI`
    ");
    insta::assert_snapshot!(cron("@daily"), @r"
    cron: A cron expression has six fields, or seven with a year; this one has 1
    Write seconds, minutes, hours, day-of-month, month and day-of-week, as in `0 0 9 ? * MON-FRI`; there are no nicknames
    ");
    insta::assert_snapshot!(cron(&format!("0 {} 0 ? * *", "1,".repeat(300))), @r"
    cron: The cron expression is longer than 500 characters
    Write ranges and steps instead of long lists
    ");
    insta::assert_snapshot!(cron("0 0 0 ? * \u{1b}[31m"), @r"
    cron: In the day-of-week field of the cron expression, `\u{1b}[31M` is not understood
    It takes numbers from 1 (Sunday) to 7 or `SUN` to `SAT`, `*`, `?`, lists, ranges, steps, `L`, `6L` and `MON#1`
    ");
}

#[test]
fn names_what_does_not_go_together() {
    insta::assert_snapshot!(refusal(&[]), @r#"
    -: A schedule needs either `every` (and perhaps `anchor`) or `cron`
    Write it like `{ every = "6h" }` or `{ cron = "0 0 9 ? * MON-FRI" }`
    "#);
    insta::assert_snapshot!(refusal(&[("every", "1h"), ("cron", "0 0 0 ? * *")]), @r#"
    -: A schedule has either `every` or `cron`, not both
    Write it like `{ every = "6h" }` or `{ cron = "0 0 9 ? * MON-FRI" }`
    "#);
    insta::assert_snapshot!(refusal(&[("every", "2h")]), @r"
    every: `2h` is no frequency
    Take one of `30m`, `1h`, `3h`, `6h`, `12h`, `24h`
    ");
    insta::assert_snapshot!(refusal(&[("every", "6h"), ("anchor", "noon")]), @r#"
    anchor: `anchor` must be an RFC 3339 date-time
    Write it like `"2026-11-23T13:00:00Z"`
    "#);
    insta::assert_snapshot!(refusal(&[("every", "6h"), ("anchor", "2126-05-01T00:00:00Z")]), @r#"
    anchor: `anchor` must be a whole second of the years 1970 to 2099
    Write it like `"2026-11-23T13:00:00Z"`
    "#);
    insta::assert_snapshot!(refusal(&[("anchor", "2026-05-01T00:00:00Z"), ("cron", "0 0 0 ? * *")]), @r"
    anchor: A schedule with `cron` has no `anchor`
    Leave `anchor` out; the expression says by itself when starts are
    ");
    insta::assert_snapshot!(refusal(&[("every", "6h"), ("zone", "Europe/Berlin")]), @r"
    zone: `zone` has no meaning for a frequency without an anchor, which counts from the last start
    Leave `zone` out, or give an `anchor`
    ");
    insta::assert_snapshot!(refusal(&[("cron", "0 0 0 ? * *"), ("zone", "europe/berlin")]), @r"
    zone: `europe/berlin` is no time zone of the IANA database
    Did you mean `Europe/Berlin`?
    ");
    insta::assert_snapshot!(refusal(&[("cron", "0 0 0 ? * *"), ("zone", "CEST?")]), @r"
    zone: `CEST?` is no time zone of the IANA database
    Did you mean `EST`?
    ");
}

/// Everything that croner alone would take, or that Quartz documents otherwise.
#[test]
fn nothing_loose_is_taken() {
    for minutes in [
        "60", "-1", "+1", "1-", "-", "1-2-3", "/5", "0/", "0/60", "*/0", "*,5", "5,*", "0/5/2",
        "?", "L", "1#2", "JAN", "0x1", "1.5", "١", "", "5W", "**", "*-5", "1 ",
    ] {
        let parsed = CronExpression::parse(&format!("0 {minutes} 0 ? * *"));
        assert!(parsed.is_err() || minutes == "1 ", "{minutes}");
    }
    for days in [
        "0", "32", "L-31", "L-", "L3", "3L", "W", "WL", "0W", "32W", "1-5W", "1,5W", "LW,1",
        "L-3,4", "1/2W", "L/2", "?,1", "1?", "MON", "L-W", "LWW", "L--1", "15W/2", "L-3-W",
    ] {
        assert!(CronExpression::parse(&format!("0 0 0 {days} * ?")).is_err(), "{days}");
    }
    for days in [
        "0",
        "8",
        "8L",
        "LL",
        "L,2",
        "2,6L",
        "2-6L",
        "MON#0",
        "MON#6",
        "MON#",
        "#1",
        "MON#1,FRI#2",
        "2-3#1",
        "W",
        "2W",
        "MO",
        "MONN",
        "MONDAYS",
        "FUNDAY",
        "MON-",
        "-FRI",
        "?,2",
        "+2",
        "L-3",
    ] {
        assert!(CronExpression::parse(&format!("0 0 0 ? * {days}")).is_err(), "{days}");
    }
    for months in ["0", "13", "L", "?", "JANU#1", "MON", "JA", "JAN-", "1W"] {
        assert!(CronExpression::parse(&format!("0 0 0 ? {months} *")).is_err(), "{months}");
    }
    for years in ["1969", "2100", "26", "L", "?", "2026/0"] {
        assert!(CronExpression::parse(&format!("0 0 0 ? * * {years}")).is_err(), "{years}");
    }
    for seconds in ["00", "*", "0,30", "0/10", "?", "1"] {
        assert!(CronExpression::parse(&format!("{seconds} 0 0 ? * *")).is_err(), "{seconds}");
    }
    for whole in ["", " ", "0 0 0 ? * * * *", "0 0 0 ? *", "0 0 0 ? * ?", "TZ=UTC 0 0 0 ? * *"] {
        assert!(CronExpression::parse(whole).is_err(), "{whole}");
    }
}

#[test]
fn a_schedule_reads_as_it_was_written() {
    for pairs in [
        vec![("every", "30m")],
        vec![("every", "6h"), ("anchor", "2026-05-01T13:00:00Z")],
        vec![("every", "6h"), ("anchor", "2026-05-01T13:00:00Z"), ("zone", "Asia/Tokyo")],
        vec![("cron", "0 0 9 ? * MON-FRI")],
        vec![("cron", "0 0 9 L-3W * ? 2027-2030"), ("zone", "America/New_York")],
    ] {
        let schedule = crate::schedule(&pairs);
        assert_eq!(schedule.fields(), fields(&pairs));
        assert_eq!(Schedule::parse(&schedule.fields()), Ok(schedule));
    }
    let loose = crate::schedule(&[("cron", "  0 0  9 ? * mon-fri  * "), ("zone", "UTC")]);
    assert_eq!(loose.fields(), fields(&[("cron", "0 0 9 ? * MON-FRI")]));
    assert_eq!(loose.to_string(), "cron `0 0 9 ? * MON-FRI` (UTC)");
}

#[test]
fn an_unknown_field_is_no_schedule() {
    let parsed: Result<schedule::ScheduleFields, _> = serde_json::from_str(r#"{"evry": "6h"}"#);
    assert!(parsed.is_err());
    assert_eq!(Schedule::parse(&fields(&[])), Err(ScheduleError::Nothing));
}

#[test]
fn a_schedule_without_a_start_is_read_and_known() {
    let is_idle = |cron, now| schedule(&[("cron", cron)]).is_idle(at(now));
    assert!(is_idle("0 0 0 30 FEB ?", "11-24 12:00"));
    assert!(is_idle("0 0 0 24 11 ? 2026", "11-24 00:00"));
    assert!(!is_idle("0 0 0 24 11 ? 2026", "11-23 23:59"));
}
