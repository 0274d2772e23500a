//! The control store on SQLite and on PostgreSQL, by one suite; and the scheduler over it, on a clock of the test's own.

#![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

mod api;
mod contract;
mod schedulers;
mod simulation;
mod statuses;
mod subject;
mod workers;

use chrono::{DateTime, Utc};
use schedule::Schedule;
use service::integration::{NewIntegration, Origin};

/// An instant from its text, without seconds.
fn at(text: &str) -> DateTime<Utc> {
    format!("{}:00Z", text.replace(' ', "T")).parse().unwrap()
}

/// A schedule from its fields, as JSON has them.
fn parsed(fields: serde_json::Value) -> Schedule {
    Schedule::parse(&serde_json::from_value(fields).unwrap()).unwrap()
}

fn new_integration(name: &str, schedule: Option<Schedule>) -> NewIntegration {
    let settings = serde_json::json!({ "source": { "type": "bronto" } });
    NewIntegration {
        name: name.to_owned(),
        schema_name: name.to_lowercase().replace(' ', "_"),
        origin: Origin::Api,
        settings: settings.as_object().unwrap().clone(),
        schedule,
        start_date: at("2025-11-24 00:00"),
    }
}

/// The usage of all integrations from a day until before another.
fn usage_of_all(
    from: chrono::NaiveDate,
    until: chrono::NaiveDate,
) -> service::store::UsageChoice<'static> {
    service::store::UsageChoice { integration_id: None, from, until }
}
