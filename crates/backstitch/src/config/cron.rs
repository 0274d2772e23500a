//! Cron expressions in Stitch's dialect: Quartz with six fields (the first is always `0`) and an optional year, in UTC.
//!
//! croner reads almost all of it; the few forms that it reads otherwise, or not at all, are rewritten first.

use chrono::{DateTime, Utc};
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

/// The days of the week in Quartz's numbers, from 1.
const DAYS: [(&str, &str); 7] = [
    ("SUN", "SUNDAY"),
    ("MON", "MONDAY"),
    ("TUE", "TUESDAY"),
    ("WED", "WEDNESDAY"),
    ("THU", "THURSDAY"),
    ("FRI", "FRIDAY"),
    ("SAT", "SATURDAY"),
];

/// Why an expression is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CronError {
    /// Not six or seven fields.
    #[error("A cron expression has six fields, or seven with a year; this one has {0}")]
    FieldCount(usize),
    /// The first field is not `0`.
    #[error("The first field of a cron expression, the seconds, must be `0`")]
    Seconds,
    /// Neither or both of the day fields are `?`.
    #[error("Exactly one of day-of-month and day-of-week must be `?`")]
    Days,
    /// A field is wrong.
    #[error("The cron expression is not valid")]
    Field(#[source] croner::errors::CronError),
    /// It is valid and yet never fires, as `0 0 0 30 FEB ?`.
    #[error("The cron expression never fires")]
    Never,
}

/// Reads an expression and makes sure that it fires after `now`.
///
/// # Errors
/// See [`CronError`].
pub(crate) fn parse(expression: &str, now: DateTime<Utc>) -> Result<Cron, CronError> {
    let expression = expression.to_uppercase();
    let mut fields: Vec<String> = expression.split_whitespace().map(str::to_owned).collect();
    let count = fields.len();
    let ([seconds, _, _, day_of_month, _, day_of_week]
    | [seconds, _, _, day_of_month, _, day_of_week, _]) = fields.as_mut_slice()
    else {
        return Err(CronError::FieldCount(count));
    };
    if seconds != "0" {
        return Err(CronError::Seconds);
    }
    if (day_of_month == "?") == (day_of_week == "?") {
        return Err(CronError::Days);
    }
    *day_of_week = day_of_week.split(',').map(rewritten_days).collect::<Vec<_>>().join(",");
    let parser = CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Optional)
        .alternative_weekdays(true)
        .sloppy_ranges(true)
        .build();
    let cron = parser.parse(&fields.join(" ")).map_err(CronError::Field)?;
    cron.find_next_occurrence(&now, false).map_err(|_| CronError::Never)?;
    Ok(cron)
}

/// One item of the day-of-week field in the form that croner reads: names in three letters, `L` alone as Saturday, and a
/// range over the end of the week as a list.
fn rewritten_days(item: &str) -> String {
    if item == "L" {
        return "7".to_owned();
    }
    let (range, step) =
        item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
    let days: Vec<String> = range.split('-').map(short_day).collect();
    let rewritten = match (days.as_slice(), step) {
        ([from, to], None) => match (day_number(from), day_number(to)) {
            (Some(from), Some(to)) if from > to => {
                (from..=7).chain(1..=to).map(|day| day.to_string()).collect::<Vec<_>>().join(",")
            }
            _ => days.join("-"),
        },
        _ => days.join("-"),
    };
    step.map_or(rewritten.clone(), |step| format!("{rewritten}/{step}"))
}

/// `THUR` and `THURSDAY` as `THU`; what follows the name, such as `L` or `#2`, stays.
fn short_day(text: &str) -> String {
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (name, suffix) = text.split_at(end);
    let full = DAYS.iter().find(|(short, full)| name.len() > short.len() && full.starts_with(name));
    full.map_or_else(|| text.to_owned(), |(short, _)| format!("{short}{suffix}"))
}

fn day_number(day: &str) -> Option<usize> {
    let named = DAYS.iter().position(|(short, _)| *short == day).map(|position| position + 1);
    named.or_else(|| day.parse().ok().filter(|number| (1..=7).contains(number)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use chrono::TimeZone;

    use super::*;

    /// A Tuesday.
    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 24, 12, 0, 0).unwrap()
    }

    fn next(expression: &str) -> String {
        let cron = parse(expression, now()).unwrap();
        cron.find_next_occurrence(&now(), false).unwrap().format("%a %d %b %H:%M").to_string()
    }

    #[test]
    fn reads_the_documented_samples() {
        assert_eq!(next("0 0 0 ? * *"), "Wed 25 Nov 00:00");
        assert_eq!(next("0 0 0 * * ?"), "Wed 25 Nov 00:00");
        assert_eq!(next("0 0 0 ? * 2-6"), "Wed 25 Nov 00:00");
        assert_eq!(next("0 0 23 ? * 1"), "Sun 29 Nov 23:00");
        assert_eq!(next("0 0 23 ? * SUN"), "Sun 29 Nov 23:00");
        assert_eq!(next("0 0 0,12 * * ?"), "Wed 25 Nov 00:00");
        assert_eq!(next("0 0 3 ? * 3-5"), "Wed 25 Nov 03:00");
        assert_eq!(next("0 0 3 ? * TUE-THUR"), "Wed 25 Nov 03:00");
        assert_eq!(next("0 0 0 ? * mon,wed,fri"), "Wed 25 Nov 00:00");
        assert_eq!(next("0 5-10,30 * ? 1 *"), "Fri 01 Jan 00:05");
        assert_eq!(next("0 0 12 ? * MON-FRI *"), "Wed 25 Nov 12:00");
    }

    #[test]
    fn reads_what_quartz_reads_and_croner_does_not() {
        assert_eq!(next("0 0 0 ? * L"), "Sat 28 Nov 00:00");
        assert_eq!(next("0 0 0 ? * FRIL"), "Fri 27 Nov 00:00");
        assert_eq!(next("0 0 0 ? * FRI-MON"), "Fri 27 Nov 00:00");
        assert_eq!(next("0 0 0 ? * 7-1"), "Sat 28 Nov 00:00");
        assert_eq!(next("0 0 0 ? * THURS#4"), "Thu 26 Nov 00:00");
    }

    #[test]
    fn refuses_what_stitch_refuses() {
        let refusal = |expression| parse(expression, now()).unwrap_err();
        assert!(matches!(refusal("* * * * * *"), CronError::Seconds));
        assert!(matches!(refusal("0 0 0 * * *"), CronError::Days));
        assert!(matches!(refusal("0 0 0 ? * ?"), CronError::Days));
        assert!(matches!(refusal("0 0 * * *"), CronError::FieldCount(5)));
        assert!(matches!(refusal("@daily"), CronError::FieldCount(1)));
        assert!(matches!(refusal("0 61 0 ? * *"), CronError::Field(_)));
        assert!(matches!(refusal("0 0 0 ? * NEVER"), CronError::Field(_)));
        assert!(matches!(refusal("0 0 0 30 FEB ?"), CronError::Never));
        assert!(matches!(refusal("0 0 0 ? * * 2020"), CronError::Never));
    }
}
