//! Runs and slots.

use std::borrow::Cow;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api, Shared,
    body::{Place, Query},
    page::{self, Page},
    problem::{Fault, Problem},
    view::{self, RunView},
};
use crate::{
    run::{RunState, SlotRecord, StopReason},
    store::RunCursor,
};

/// Which runs.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct RunsQuery {
    /// Only those in this state.
    #[serde(default)]
    state: Option<String>,
    /// From where the page goes on: `next` of the page before.
    #[serde(default)]
    cursor: Option<String>,
    /// How many: 1 to 500, usually 50.
    #[serde(default)]
    limit: Option<u32>,
}

pub(super) async fn list(
    State(api): State<Shared>,
    Query(query): Query<RunsQuery>,
) -> Result<Json<Page<RunView>>, Problem> {
    found(&api, None, &query).await
}

pub(super) async fn of_integration(
    State(api): State<Shared>,
    Place(id): Place<String>,
    Query(query): Query<RunsQuery>,
) -> Result<Json<Page<RunView>>, Problem> {
    api.store.integration(&id).await?;
    found(&api, Some(&id), &query).await
}

async fn found(
    api: &Api,
    integration_id: Option<&str>,
    query: &RunsQuery,
) -> Result<Json<Page<RunView>>, Problem> {
    let limit = page::limit(query.limit)?;
    let state = query.state.as_deref().map(state).transpose()?;
    let cursor = query.cursor.as_deref().map(page::read_cursor).transpose()?;
    let cursor = cursor.map(|(begun_at, run_id)| RunCursor { begun_at, run_id });
    let runs = api.store.run_page(integration_id, state, cursor.as_ref(), limit + 1).await?;
    let now = api.now();
    let page = Page::cut(runs, limit, |run| page::cursor(run.begun_at, &run.id));
    Ok(Json(page.map(|run| view::run(run, now))))
}

fn state(name: &str) -> Result<RunState, Problem> {
    RunState::named(name).ok_or_else(|| {
        let remedy =
            "Take `due`, `running`, `succeeded`, `failed`, `stopped`, `timed out` or `lost`";
        Problem::invalid(vec![Fault::new("?state", "`state` is no state of a run", remedy)])
    })
}

pub(super) async fn one(
    State(api): State<Shared>,
    Place(id): Place<String>,
) -> Result<Json<RunView>, Problem> {
    Ok(Json(view::run(api.store.run(&id).await?, api.now())))
}

pub(super) async fn stop(
    State(api): State<Shared>,
    Place(id): Place<String>,
) -> Result<Json<RunView>, Problem> {
    // One that is over stays as it is: to ask again is no fault.
    api.store.stop(&id, StopReason::Hand, api.now()).await?;
    Ok(Json(view::run(api.store.run(&id).await?, api.now())))
}

/// What became of a slot, or of several that nobody was there for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SlotView {
    /// The slot; the last where there are several.
    pub slot: DateTime<Utc>,
    /// The first of them.
    pub first_slot: DateTime<Utc>,
    /// How many.
    pub count: u64,
    /// `started`, `skipped` or `missed`.
    pub outcome: Cow<'static, str>,
    /// The run that was started.
    pub run_id: Option<String>,
}

/// Which part of a list.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct PageQuery {
    /// From where the page goes on: `next` of the page before.
    #[serde(default)]
    pub(super) cursor: Option<String>,
    /// How many: 1 to 500, usually 50.
    #[serde(default)]
    pub(super) limit: Option<u32>,
}

pub(super) async fn slots(
    State(api): State<Shared>,
    Place(id): Place<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<SlotView>>, Problem> {
    api.store.integration(&id).await?;
    let limit = page::limit(query.limit)?;
    let before = query.cursor.as_deref().map(page::read_cursor).transpose()?;
    let before = before.map(|(slot, _)| slot);
    let slots = api.store.slots(&id, before, limit + 1).await?;
    let page = Page::cut(slots, limit, |record| page::cursor(record.slot, ""));
    let view = |SlotRecord { slot, first_slot, count, outcome, run_id }| SlotView {
        slot,
        first_slot,
        count,
        outcome: outcome.name().into(),
        run_id,
    };
    Ok(Json(page.map(view)))
}
