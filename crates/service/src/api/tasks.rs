//! Runs for more than what is new: a backfill, an audit and its report.

use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Api, Shared,
    body::{Body, Place},
    drafts, lifecycle,
    problem::{Fault, Kind, Problem},
};
use crate::task::Task;

/// How many days an audit compares unless it is said.
const DAYS: u32 = 7;
/// The most.
const MOST_DAYS: u32 = 3_660;

/// A span to be read again, or for the first time.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BackfillBody {
    /// Its first instant.
    pub from: DateTime<Utc>,
    /// The first instant after it.
    pub before: DateTime<Utc>,
    /// The tables; all that can be read so if none is named.
    #[serde(default)]
    pub tables: Vec<String>,
}

/// What is to be compared.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct AuditBody {
    /// The tables; all if none is named.
    #[serde(default)]
    pub tables: Vec<String>,
    /// How many days before the bookmark: 1 to 3660, usually 7.
    #[serde(default)]
    pub days: Option<u32>,
    /// Whether what differs is read again and merged.
    #[serde(default)]
    pub repair: bool,
}

/// What a run has found out.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReportView {
    /// The run.
    pub run_id: String,
    /// `audit`, `replay` or `rewind`.
    pub kind: String,
    /// Of an audit: what was compared and what differs, by table. Of a replay: what became of the rejected rows, by table.
    /// Of a rewind: how the bookmarks moved.
    #[schema(value_type = Object)]
    pub report: Value,
}

pub(super) async fn backfill(
    State(api): State<Shared>,
    Place(id): Place<String>,
    Body(body): Body<BackfillBody>,
) -> Result<Response, Problem> {
    let BackfillBody { from, before, tables } = body;
    if from >= before || from >= api.now() {
        let remedy =
            "Give a span such as from `2026-01-01T00:00:00Z` before `2026-02-01T00:00:00Z`";
        let detail = "`before` must lie after `from`, and `from` in the past";
        return Err(Problem::invalid(vec![Fault::new("/from", detail, remedy)]));
    }
    started(&api, &id, Task::Backfill { from, before, tables }).await
}

pub(super) async fn audit(
    State(api): State<Shared>,
    Place(id): Place<String>,
    Body(body): Body<AuditBody>,
) -> Result<Response, Problem> {
    let AuditBody { tables, days, repair } = body;
    let days = days.unwrap_or(DAYS);
    if !(1..=MOST_DAYS).contains(&days) {
        let detail = format!("`days` must be from 1 to {MOST_DAYS}");
        return Err(Problem::invalid(vec![Fault::new("/days", detail, "Give another number")]));
    }
    started(&api, &id, Task::Audit { tables, days, repair }).await
}

/// Starts a run for a task that the integration can do.
async fn started(api: &Api, id: &str, task: Task) -> Result<Response, Problem> {
    admitted(api, id, &task).await?;
    lifecycle::started(api, id, Some(&task)).await
}

/// Refuses a task that the integration can't do.
pub(super) async fn admitted(api: &Api, id: &str, task: &Task) -> Result<(), Problem> {
    let integration = drafts::existing(api, id).await?;
    let secrets = drafts::open(api, id).await?;
    let draft = drafts::draft(&integration, &integration.settings, &secrets);
    api.host.admit(&draft, task).map_err(|error| Problem::invalid(vec![error.into()]))
}

pub(super) async fn report(
    State(api): State<Shared>,
    Place(run_id): Place<String>,
) -> Result<Json<ReportView>, Problem> {
    let run = api.store.run(&run_id).await?;
    let found = api.store.report(&run_id).await?;
    let missing = || {
        Problem::new(Kind::NotFound, "The run has no report")
            .remedy("Audits, replays and rewinds have one, when they have come so far")
    };
    let (task, report) = run.task.zip(found).ok_or_else(missing)?;
    Ok(Json(ReportView { run_id, kind: task.kind().to_owned(), report }))
}
