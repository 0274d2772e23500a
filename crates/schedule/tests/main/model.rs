//! Random expressions as a model, with their text. The oracle judges times by the model and never reads the text.

use std::fmt::Write;

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, Timelike, Weekday};
use proptest::prelude::*;

/// One item of a list.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    All { step: Option<u32> },
    One { value: u32, step: Option<u32> },
    Range { first: u32, last: u32, step: Option<u32> },
}

/// A list of items and the bounds of its field.
#[derive(Debug, Clone)]
pub(crate) struct List {
    items: Vec<Item>,
    least: u32,
    most: u32,
}

/// The days that are due.
#[derive(Debug, Clone)]
pub(crate) enum DayRule {
    OfMonth(List),
    Last { before: u32, working: bool },
    Nearest(u32),
    OfWeek(List),
    LastOfWeek(u32),
    Nth(u32, u32),
}

/// An expression.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    pub(crate) minutes: List,
    pub(crate) hours: List,
    pub(crate) days: DayRule,
    pub(crate) months: List,
}

impl List {
    fn all(least: u32, most: u32) -> Self {
        Self { items: vec![Item::All { step: None }], least, most }
    }

    pub(crate) fn has(&self, value: u32) -> bool {
        let size = self.most - self.least + 1;
        self.items.iter().any(|item| match *item {
            Item::All { step } => (value - self.least).is_multiple_of(step.unwrap_or(1)),
            Item::One { value: one, step: None } => value == one,
            Item::One { value: one, step: Some(step) } => {
                value >= one && (value - one).is_multiple_of(step)
            }
            Item::Range { first, last, step } => {
                let from_first = (value + size - first) % size;
                from_first <= (last + size - first) % size
                    && from_first.is_multiple_of(step.unwrap_or(1))
            }
        })
    }

    pub(crate) fn is_all(&self) -> bool {
        (self.least..=self.most).all(|value| self.has(value))
    }

    /// The text, with each value as `write` has it.
    pub(crate) fn text(&self, write: impl Fn(u32) -> String) -> String {
        let mut text = String::new();
        for item in &self.items {
            if !text.is_empty() {
                text.push(',');
            }
            let step = match *item {
                Item::All { step } => {
                    text.push('*');
                    step
                }
                Item::One { value, step } => {
                    text.push_str(&write(value));
                    step
                }
                Item::Range { first, last, step } => {
                    write!(text, "{}-{}", write(first), write(last)).unwrap();
                    step
                }
            };
            if let Some(step) = step {
                write!(text, "/{step}").unwrap();
            }
        }
        text
    }
}

impl Expression {
    pub(crate) fn text(&self) -> String {
        let (of_month, of_week) = match &self.days {
            DayRule::OfMonth(days) => (days.text(|day| day.to_string()), "?".to_owned()),
            DayRule::Last { before, working } => {
                let before = if *before == 0 { String::new() } else { format!("-{before}") };
                (format!("L{before}{}", if *working { "W" } else { "" }), "?".to_owned())
            }
            DayRule::Nearest(day) => (format!("{day}W"), "?".to_owned()),
            DayRule::OfWeek(days) => ("?".to_owned(), days.text(weekday_text)),
            DayRule::LastOfWeek(day) => ("?".to_owned(), format!("{}L", weekday_text(*day))),
            DayRule::Nth(day, which) => ("?".to_owned(), format!("{}#{which}", weekday_text(*day))),
        };
        let number = |value: u32| value.to_string();
        let (minutes, hours) = (self.minutes.text(number), self.hours.text(number));
        format!("0 {minutes} {hours} {of_month} {} {of_week}", self.months.text(month_text))
    }

    pub(crate) fn has_day(&self, date: NaiveDate) -> bool {
        let in_week = |day: u32| date.weekday().num_days_from_sunday() + 1 == day;
        let later = |days: u64| date.checked_add_days(Days::new(days)).unwrap();
        self.months.has(date.month())
            && match &self.days {
                DayRule::OfMonth(days) => days.has(date.day()),
                DayRule::Last { before, working: false } => {
                    later(u64::from(*before)).month() == date.month()
                        && later(u64::from(*before) + 1).day() == 1
                }
                DayRule::Last { before, working: true } => {
                    let length = month_of(date).count();
                    let target = length.checked_sub(*before as usize).filter(|day| *day >= 1);
                    target.is_some_and(|day| is_nearest(date, u32::try_from(day).unwrap()))
                }
                DayRule::Nearest(day) => is_nearest(date, *day),
                DayRule::OfWeek(days) => days.has(date.weekday().num_days_from_sunday() + 1),
                DayRule::LastOfWeek(day) => in_week(*day) && later(7).month() != date.month(),
                DayRule::Nth(day, which) => {
                    let earlier = month_of(date)
                        .filter(|other| other.weekday() == date.weekday() && *other <= date);
                    in_week(*day) && earlier.count() == *which as usize
                }
            }
    }

    pub(crate) fn has(&self, time: NaiveDateTime) -> bool {
        time.second() == 0
            && self.minutes.has(time.minute())
            && self.hours.has(time.hour())
            && self.has_day(time.date())
    }
}

fn month_of(date: NaiveDate) -> impl Iterator<Item = NaiveDate> {
    let first = date.with_day(1).unwrap();
    first.iter_days().take_while(move |day| day.month() == first.month())
}

/// Whether a day is the working day of its month that is nearest to the day of that number.
fn is_nearest(date: NaiveDate, number: u32) -> bool {
    let is_working = |day: &NaiveDate| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
    month_of(date).any(|day| day.day() == number)
        && month_of(date).filter(is_working).min_by_key(|day| day.day().abs_diff(number))
            == Some(date)
}

fn weekday_text(day: u32) -> String {
    // A mixture of numbers and of names of several lengths.
    ["SUN", "2", "Tues", "WED", "THUR", "friday", "7"][day as usize - 1].to_owned()
}

fn month_text(month: u32) -> String {
    let texts = ["1", "FEB", "Mar", "4", "MAY", "June", "7", "AUG", "SEPT", "10", "nov", "12"];
    texts[month as usize - 1].to_owned()
}

fn list(least: u32, most: u32) -> impl Strategy<Value = List> {
    let step = move || proptest::option::of(1..=(most - least).max(1));
    let item = prop_oneof![
        3 => (least..=most).prop_map(|value| Item::One { value, step: None }),
        1 => (least..=most, step()).prop_map(|(value, step)| Item::One { value, step }),
        2 => (least..=most, least..=most, step())
            .prop_map(|(first, last, step)| Item::Range { first, last, step }),
    ];
    let items = prop_oneof![
        2 => step().prop_map(|step| vec![Item::All { step }]),
        5 => proptest::collection::vec(item, 1..4),
    ];
    items.prop_map(move |items| List { items, least, most })
}

fn day_rule() -> impl Strategy<Value = DayRule> {
    prop_oneof![
        2 => Just(DayRule::OfWeek(List::all(1, 7))),
        2 => list(1, 31).prop_map(DayRule::OfMonth),
        2 => list(1, 7).prop_map(DayRule::OfWeek),
        2 => (0_u32..=30, any::<bool>()).prop_map(|(before, working)| DayRule::Last { before, working }),
        1 => (1_u32..=31).prop_map(DayRule::Nearest),
        1 => (1_u32..=7).prop_map(DayRule::LastOfWeek),
        1 => (1_u32..=7, 1_u32..=5).prop_map(|(day, which)| DayRule::Nth(day, which)),
    ]
}

/// Any expression.
pub(crate) fn expression() -> impl Strategy<Value = Expression> {
    let months = prop_oneof![3 => Just(List::all(1, 12)), 1 => list(1, 12)];
    (list(0, 59), list(0, 23), day_rule(), months)
        .prop_map(|(minutes, hours, days, months)| Expression { minutes, hours, days, months })
}

/// Expressions that are due on most days, so that their hours matter.
pub(crate) fn daily_expression() -> impl Strategy<Value = Expression> {
    (list(0, 59), list(0, 23)).prop_map(|(minutes, hours)| Expression {
        minutes,
        hours,
        days: DayRule::OfWeek(List::all(1, 7)),
        months: List::all(1, 12),
    })
}
