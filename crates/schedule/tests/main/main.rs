//! The crate from outside: Stitch's worked examples, the rules of a scheduler, and the starts of random expressions
//! against an oracle and a foreign implementation.

#![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

mod cron_examples;
mod cron_oracle;
mod decisions;
mod examples;
mod model;
mod oracle;
mod peers;
mod refusals;

use chrono::{DateTime, Utc};
use schedule::{History, Schedule, ScheduleFields};

/// An instant from its text; the year, `2026-`, may be left out, and so may the seconds.
fn at(text: &str) -> DateTime<Utc> {
    let year = if text.find('-') == Some(2) { "2026-" } else { "" };
    let seconds = if text.matches(':').count() == 1 { ":00" } else { "" };
    format!("{year}{}{seconds}Z", text.replace(' ', "T")).parse().unwrap()
}

/// Fields from their names and values: `every`, `anchor`, `cron`, `zone`.
fn fields(pairs: &[(&str, &str)]) -> ScheduleFields {
    let object: serde_json::Map<String, serde_json::Value> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    serde_json::from_value(object.into()).unwrap()
}

fn schedule(pairs: &[(&str, &str)]) -> Schedule {
    Schedule::parse(&fields(pairs)).unwrap()
}

/// The next starts after an instant, of an integration that never ran.
fn starts(pairs: &[(&str, &str)], after: &str, count: usize) -> Vec<String> {
    let history = History { created_at: at(after), last_start: None };
    let schedule = schedule(pairs);
    let zone = schedule.zone();
    schedule
        .starts_after(at(after), history)
        .take(count)
        .map(|start| start.with_timezone(&zone).format("%b %-d %H:%M").to_string())
        .collect()
}
