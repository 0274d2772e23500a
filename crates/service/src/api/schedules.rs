//! Schedules, and a look at their next starts.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use schedule::{History, Schedule, ScheduleError, ScheduleFields};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Shared,
    body::Body,
    problem::{Fault, Problem},
};

/// When runs start: `every` and perhaps `anchor`, or `cron`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleBody {
    /// A frequency: `30m`, `1h`, `3h`, `6h`, `12h` or `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// An RFC 3339 date-time: starts are at this time plus and minus multiples of `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<String>,
    /// An expression in Quartz' form, with six or seven fields: `0 0 9 ? * MON-FRI`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// An IANA time zone; UTC if it isn't given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Whether a slot that was missed while nobody was there is made up for.
    #[serde(default)]
    pub catch_up: bool,
}

impl From<ScheduleFields> for ScheduleBody {
    fn from(fields: ScheduleFields) -> Self {
        let ScheduleFields { every, anchor, cron, zone, catch_up } = fields;
        Self { every, anchor, cron, zone, catch_up }
    }
}

impl From<ScheduleBody> for ScheduleFields {
    fn from(body: ScheduleBody) -> Self {
        let ScheduleBody { every, anchor, cron, zone, catch_up } = body;
        Self { every, anchor, cron, zone, catch_up }
    }
}

/// Reads a schedule, or says what of it can't be taken.
pub(super) fn parse(body: ScheduleBody) -> Result<Schedule, Problem> {
    Schedule::parse(&body.into()).map_err(|error| Problem::invalid(vec![fault(&error)]))
}

fn fault(error: &ScheduleError) -> Fault {
    let pointer =
        error.field().map_or("/schedule".to_owned(), |field| format!("/schedule/{field}"));
    Fault::new(pointer, error.to_string(), error.remedy())
}

/// A schedule that is to be looked at.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct PreviewBody {
    /// The schedule.
    schedule: ScheduleBody,
    /// How many starts; 1 to 100.
    #[serde(default)]
    count: Option<u32>,
    /// The last start, from which a frequency counts; now, if it isn't given.
    #[serde(default)]
    last_start: Option<DateTime<Utc>>,
}

/// The next starts of a schedule.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PreviewView {
    /// The starts, in UTC.
    pub starts: Vec<DateTime<Utc>>,
    /// The same, by the clock of the schedule's zone.
    pub local_starts: Vec<String>,
    /// What its owner should know though it is valid.
    pub warnings: Vec<String>,
}

pub(super) async fn preview(
    State(api): State<Shared>,
    Body(asked): Body<PreviewBody>,
) -> Result<Json<PreviewView>, Problem> {
    let count = asked.count.unwrap_or(5);
    if !(1..=100).contains(&count) {
        let fault = Fault::new("/count", "`count` must be 1 to 100", "Ask for fewer starts");
        return Err(Problem::invalid(vec![fault]));
    }
    let schedule = parse(asked.schedule)?;
    let now = api.now();
    let history = History { created_at: now, last_start: asked.last_start };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    // Rare expressions are looked for day by day over centuries.
    let looked = tokio::task::spawn_blocking(move || {
        let starts: Vec<DateTime<Utc>> = schedule.starts_after(now, history).take(count).collect();
        let zone = schedule.zone();
        let local = |start: &DateTime<Utc>| start.with_timezone(&zone).to_rfc3339();
        let local_starts = starts.iter().map(local).collect();
        let none = "The schedule has no start any more: choose days and a year that come";
        let idle = starts.is_empty().then_some(none);
        let warnings = idle.into_iter().chain(schedule.warning()).map(str::to_owned).collect();
        PreviewView { starts, local_starts, warnings }
    });
    let unexpected =
        |_| Problem::new(super::problem::Kind::Unexpected, "The schedule could not be looked at");
    looked.await.map(Json).map_err(unexpected)
}
