//! The fields of an expression: which values each takes, and what is written for them.
//!
//! Reading is strict: whatever Quartz documents is taken with the meaning it has there, and everything else is refused.
//! croner, which finds the starts, would take several forms with another meaning.

use std::{collections::BTreeSet, fmt};

use super::error::{CronError, Problem};

/// A field of a cron expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CronField {
    /// 0 to 59.
    Minutes,
    /// 0 to 23.
    Hours,
    /// 1 to 31.
    DayOfMonth,
    /// 1 to 12, or names.
    Month,
    /// 1, which is Sunday, to 7, or names.
    DayOfWeek,
    /// 1970 to 2099, as in Quartz.
    Year,
}

/// The values of a field that are due.
pub(super) type Values = BTreeSet<u16>;

/// The days that are due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Days {
    /// Days of the month by number.
    OfMonth(Values),
    /// So many days before the last of the month.
    BeforeLast(u16),
    /// The working day that is nearest to the day so many before the last of the month, within the month.
    NearestToLast(u16),
    /// The working day that is nearest to a day, within the month.
    Nearest(u16),
    /// Days of the week by Quartz's numbers.
    OfWeek(Values),
    /// The last of such days in the month.
    LastOfWeek(u16),
    /// The so-manieth of such days in the month: the day, and from the first to the fifth.
    NthOfWeek(u16, u16),
}

const MONTHS: [&str; 12] = [
    "JANUARY",
    "FEBRUARY",
    "MARCH",
    "APRIL",
    "MAY",
    "JUNE",
    "JULY",
    "AUGUST",
    "SEPTEMBER",
    "OCTOBER",
    "NOVEMBER",
    "DECEMBER",
];

const WEEKDAYS: [&str; 7] =
    ["SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY"];

/// How many letters of a name are enough.
const SHORTEST_NAME: usize = 3;

/// How much of an expression is shown in a message.
const SHOWN: usize = 24;

impl fmt::Display for CronField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Minutes => "minutes",
            Self::Hours => "hours",
            Self::DayOfMonth => "day-of-month",
            Self::Month => "month",
            Self::DayOfWeek => "day-of-week",
            Self::Year => "year",
        })
    }
}

impl CronField {
    const fn bounds(self) -> (u16, u16) {
        match self {
            Self::Minutes => (0, 59),
            Self::Hours => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (1, 7),
            Self::Year => (1970, 2099),
        }
    }

    /// The widest step: one more would leave only the first value.
    pub(super) const fn widest_step(self) -> u16 {
        let (least, most) = self.bounds();
        if least == 0 { most } else { most - least + 1 }
    }

    /// What the field takes, for a message.
    pub(super) const fn takes(self) -> &'static str {
        match self {
            Self::Minutes => {
                "numbers from 0 to 59, `*`, lists, ranges and steps, as in `0/15` or `5-10,30`"
            }
            Self::Hours => {
                "numbers from 0 to 23, `*`, lists, ranges and steps, as in `8-18/2` or `22-2`"
            }
            Self::DayOfMonth => {
                "numbers from 1 to 31, `*`, `?`, lists, ranges, steps, `L`, `L-3`, `LW` and `15W`"
            }
            Self::Month => {
                "numbers from 1 to 12 or `JAN` to `DEC`, `*`, lists, ranges and steps, as in `1/3` or `NOV-FEB`"
            }
            Self::DayOfWeek => {
                "numbers from 1 (Sunday) to 7 or `SUN` to `SAT`, `*`, `?`, lists, ranges, steps, `L`, `6L` and `MON#1`"
            }
            Self::Year => "numbers from 1970 to 2099, `*`, lists, ranges and steps",
        }
    }

    /// The names of its values, from the least.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Month => &MONTHS,
            Self::DayOfWeek => &WEEKDAYS,
            _ => &[],
        }
    }

    fn refuse(self, problem: impl FnOnce(String) -> Problem, part: &str) -> CronError {
        let shown: String = part.chars().take(SHOWN).flat_map(char::escape_debug).collect();
        CronError::Field { field: self, problem: problem(shown) }
    }

    /// Reads one value: a number, or a name of which at least three letters are there.
    fn value(self, text: &str) -> Result<u16, CronError> {
        if text.starts_with(|first: char| first.is_ascii_alphabetic()) {
            let found = (text.len() >= SHORTEST_NAME)
                .then(|| self.names().iter().position(|name| name.starts_with(text)))
                .flatten();
            return found
                .and_then(|position| u16::try_from(position).ok())
                .map(|position| position + self.bounds().0)
                .ok_or_else(|| self.refuse(Problem::Unknown, text));
        }
        let (least, most) = self.bounds();
        let number: u16 = digits(text).ok_or_else(|| self.refuse(Problem::Unknown, text))?;
        if (least..=most).contains(&number) {
            Ok(number)
        } else {
            Err(self.refuse(Problem::Range, text))
        }
    }

    /// Reads a list of values, ranges and steps.
    pub(super) fn values(self, text: &str) -> Result<Values, CronError> {
        let mut values = Values::new();
        for item in text.split(',') {
            if item.is_empty() {
                return Err(CronError::Field { field: self, problem: Problem::Empty });
            }
            if item.starts_with('*') && item != text {
                return Err(self.refuse(Problem::NotAlone, "*"));
            }
            self.read_item(item, &mut values)?;
        }
        Ok(values)
    }

    /// Reads `V`, `V-V`, `V/S`, `V-V/S`, `*` or `*/S`. A range whose end is before its start goes on from the field's
    /// least value, as in Quartz; but not years.
    fn read_item(self, item: &str, values: &mut Values) -> Result<(), CronError> {
        let (least, most) = self.bounds();
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => {
                let number = digits(step).filter(|step| (1..=self.widest_step()).contains(step));
                (range, Some(number.ok_or_else(|| self.refuse(Problem::Step, step))?))
            }
            None => (item, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            None => {
                let first = self.value(range)?;
                (first, if step.is_some() { most } else { first })
            }
        };
        if first > last && self == Self::Year {
            return Err(self.refuse(Problem::Backwards, range));
        }
        let span = most - least + 1;
        let length = if first <= last { last - first } else { last + span - first };
        let offsets = (0..=length).step_by(usize::from(step.unwrap_or(1)));
        values.extend(offsets.map(|offset| least + (first - least + offset) % span));
        Ok(())
    }

    /// Reads the day-of-month field, when it isn't `?`.
    pub(super) fn days_of_month(text: &str) -> Result<Days, CronError> {
        let field = Self::DayOfMonth;
        let unknown = || field.refuse(Problem::Unknown, text);
        if text.len() > 1 && text.contains('?') {
            return Err(field.refuse(Problem::NotAlone, "?"));
        }
        if let Some(special) = ['L', 'W'].into_iter().find(|special| text.contains(*special))
            && (text.contains([',', '/'])
                || (special == 'W' && text.matches('-').count() > 0 && !text.starts_with("L-")))
        {
            return Err(field.refuse(Problem::NotAlone, &special.to_string()));
        }
        if let Some(rest) = text.strip_prefix('L') {
            let (rest, nearest) = match rest.strip_suffix('W') {
                Some(rest) => (rest, true),
                None => (rest, false),
            };
            let before = match rest.strip_prefix('-') {
                Some(number) => {
                    let before: u16 = digits(number).ok_or_else(unknown)?;
                    // Further back there is no day in any month.
                    if before > 30 {
                        return Err(field.refuse(Problem::Range, number));
                    }
                    before
                }
                None if rest.is_empty() => 0,
                None => return Err(unknown()),
            };
            return Ok(if nearest {
                Days::NearestToLast(before)
            } else {
                Days::BeforeLast(before)
            });
        }
        match text.strip_suffix('W') {
            Some(day) => Ok(Days::Nearest(field.value(day)?)),
            None => Ok(Days::OfMonth(field.values(text)?)),
        }
    }

    /// Reads the day-of-week field, when it isn't `?`.
    pub(super) fn days_of_week(text: &str) -> Result<Days, CronError> {
        let field = Self::DayOfWeek;
        if text.len() > 1 && text.contains('?') {
            return Err(field.refuse(Problem::NotAlone, "?"));
        }
        let is_last = text.ends_with('L') || text.contains("L,") || text.contains("L-");
        if (text.contains('#') || is_last) && text.contains([',', '-', '/']) {
            let special = if text.contains('#') { "#" } else { "L" };
            return Err(field.refuse(Problem::NotAlone, special));
        }
        if let Some((day, which)) = text.split_once('#') {
            let which = digits(which)
                .filter(|which| (1..=5).contains(which))
                .ok_or_else(|| field.refuse(Problem::Range, text))?;
            return Ok(Days::NthOfWeek(field.value(day)?, which));
        }
        match text.strip_suffix('L') {
            Some("") => Ok(Days::OfWeek(Values::from([7]))),
            Some(day) => Ok(Days::LastOfWeek(field.value(day)?)),
            None => Ok(Days::OfWeek(field.values(text)?)),
        }
    }

    /// Whether `values` are all that the field has.
    pub(super) fn is_full(self, values: &Values) -> bool {
        let (least, most) = self.bounds();
        values.len() == usize::from(most - least + 1)
    }
}

/// A number of nothing but digits: Rust's own parsing takes a sign, too.
fn digits(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
