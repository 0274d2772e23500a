//! Advanced Scheduling: expressions in Stitch's dialect, which is Quartz with six fields, the first always `0`, and an
//! optional year.
//!
//! An expression is read here, strictly, into the values of each field. croner gets them spelt out as plain numbers, so
//! that nothing it reads otherwise than Quartz can reach it, and finds the next time that the calendar has. The two forms
//! that it doesn't know, `L-3` and `L-3W`, are sought among the days they can fall on.

mod error;
mod field;

use std::{fmt, fmt::Write as _};

use chrono::{DateTime, Datelike, Months, NaiveDate, TimeDelta, TimeZone, Utc, Weekday};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

use self::field::{Days, Values};
pub use self::{
    error::{CronError, Problem},
    field::CronField,
};
use crate::zone;

/// The longest expression that is read. All minutes of an hour in a list have 169 characters.
pub(crate) const LONGEST: usize = 500;

/// How far ahead a start is sought. The rarest day there is, a 29 February on one day of the week, comes at the latest
/// after 40 years.
const HORIZON_YEARS: i32 = 100;

/// A cron expression that is well written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronExpression {
    /// As it is shown: in capitals, with single spaces, without a year of `*`.
    text: String,
    cron: Cron,
    days: Days,
    /// Whether all hours are due, so that it follows the time that passes and not the hours of a wall clock.
    is_every_hour: bool,
}

impl CronExpression {
    /// Reads an expression. Names and letters may be small.
    ///
    /// # Errors
    /// When it isn't one of Quartz's, names a second, or restricts both or neither of the day fields.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        if text.len() > LONGEST {
            return Err(CronError::Length);
        }
        let text = text.to_uppercase();
        let mut fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() == 7 && fields.last() == Some(&"*") {
            fields.pop();
        }
        let (seconds, minutes, hours, day_of_month, month, day_of_week, year) = match fields[..] {
            [seconds, minutes, hours, day_of_month, month, day_of_week] => {
                (seconds, minutes, hours, day_of_month, month, day_of_week, None)
            }
            [seconds, minutes, hours, day_of_month, month, day_of_week, year] => {
                (seconds, minutes, hours, day_of_month, month, day_of_week, Some(year))
            }
            _ => return Err(CronError::FieldCount(fields.len())),
        };
        if seconds != "0" {
            return Err(CronError::Seconds);
        }
        let minutes = CronField::Minutes.values(minutes)?;
        let hours = CronField::Hours.values(hours)?;
        let days = match (day_of_month, day_of_week) {
            ("?", "?") => return Err(CronError::Days),
            (days, "?") => CronField::days_of_month(days)?,
            ("?", days) => CronField::days_of_week(days)?,
            _ => return Err(CronError::Days),
        };
        let months = CronField::Month.values(month)?;
        let years = year.map(|year| CronField::Year.values(year)).transpose()?;
        let is_every_hour = CronField::Hours.is_full(&hours);
        let cron = search_pattern(&minutes, &hours, &days, &months, years.as_ref());
        Ok(Self { text: fields.join(" "), cron, days, is_every_hour })
    }

    /// The first start after an instant, or none within a hundred years. How changes of the zone's clock are met is said
    /// in [`zone`](mod@crate::zone).
    #[must_use]
    pub fn next_after(&self, instant: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        if self.is_every_hour {
            return self.search(instant.with_timezone(&zone)).map(|start| start.to_utc());
        }
        // The calendar is searched in UTC, which has all hours of all days, and its times are taken for the zone's.
        let mut due = zone::wall_clock(zone, instant).and_utc().with_timezone(&Tz::UTC);
        loop {
            due = self.search(due)?;
            let start = zone::start(zone, due.naive_utc());
            if start > instant {
                return Some(start);
            }
        }
    }

    /// The next time of the calendar.
    fn search(&self, after: DateTime<Tz>) -> Option<DateTime<Tz>> {
        let last_year = after.year() + HORIZON_YEARS;
        let mut from = after;
        loop {
            let found = self.cron.find_next_occurrence(&from, false).ok()?;
            if found.year() > last_year {
                return None;
            }
            let date = found.date_naive();
            if self.days.is_due(date) {
                return Some(found);
            }
            let end_of_day = date.and_hms_opt(23, 59, 59)?;
            from = found.timezone().from_local_datetime(&end_of_day).latest().unwrap_or(found);
        }
    }
}

impl fmt::Display for CronExpression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// The expression as croner reads it: plain numbers, and of the special forms those that it has.
fn search_pattern(
    minutes: &Values,
    hours: &Values,
    days: &Days,
    months: &Values,
    years: Option<&Values>,
) -> Cron {
    let (day_of_month, day_of_week) = match days {
        Days::OfMonth(days) => (spelt_out(CronField::DayOfMonth, days), "*".to_owned()),
        Days::BeforeLast(0) => ("L".to_owned(), "*".to_owned()),
        Days::NearestToLast(0) => ("LW".to_owned(), "*".to_owned()),
        Days::BeforeLast(_) | Days::NearestToLast(_) => ("*".to_owned(), "*".to_owned()),
        Days::Nearest(day) => (format!("{day}W"), "*".to_owned()),
        Days::OfWeek(days) => ("*".to_owned(), spelt_out(CronField::DayOfWeek, days)),
        Days::LastOfWeek(day) => ("*".to_owned(), format!("{day}L")),
        Days::NthOfWeek(day, which) => ("*".to_owned(), format!("{day}#{which}")),
    };
    let pattern = format!(
        "0 {} {} {day_of_month} {} {day_of_week} {}",
        spelt_out(CronField::Minutes, minutes),
        spelt_out(CronField::Hours, hours),
        spelt_out(CronField::Month, months),
        years.map_or_else(|| "*".to_owned(), |years| spelt_out(CronField::Year, years)),
    );
    CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Optional)
        .alternative_weekdays(true)
        .build()
        .parse(&pattern)
        .expect("croner reads lists of numbers that are in range")
}

fn spelt_out(field: CronField, values: &Values) -> String {
    if field.is_full(values) {
        return "*".to_owned();
    }
    let mut text = String::new();
    for value in values {
        let separator = if text.is_empty() { "" } else { "," };
        let _infallible = write!(text, "{separator}{value}");
    }
    text
}

impl Days {
    /// Whether a day that croner found is meant. It decides on all forms but the two it doesn't know.
    fn is_due(&self, date: NaiveDate) -> bool {
        let (before, is_nearest) = match *self {
            Self::BeforeLast(before) if before > 0 => (before, false),
            Self::NearestToLast(before) if before > 0 => (before, true),
            _ => return true,
        };
        let last = date.with_day(1).and_then(|first| first.checked_add_months(Months::new(1)));
        let meant = last.map(|next| next - TimeDelta::days(i64::from(before) + 1));
        meant.filter(|meant| meant.month() == date.month()).is_some_and(|meant| {
            date == if is_nearest { nearest_working_day(meant) } else { meant }
        })
    }
}

/// The day from Monday to Friday that is nearest, in the same month.
fn nearest_working_day(day: NaiveDate) -> NaiveDate {
    let is_within = |moved: &NaiveDate| moved.month() == day.month();
    let moved = |days: i64| day + TimeDelta::days(days);
    match day.weekday() {
        Weekday::Sat => Some(moved(-1)).filter(is_within).unwrap_or_else(|| moved(2)),
        Weekday::Sun => Some(moved(1)).filter(is_within).unwrap_or_else(|| moved(-2)),
        _ => day,
    }
}
