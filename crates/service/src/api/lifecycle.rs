//! What is done with an integration: pause, resume, run, reset, clone.

use std::{collections::BTreeMap, fmt::Display};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::{
    Api, Shared,
    body::{Body, Place},
    drafts, integrations,
    problem::{Kind, Problem},
    view::{self, RunView},
};
use crate::{
    host::Draft,
    integration::{Integration, IntegrationEdit, Origin, PausedBy},
    store::Start,
    task::Task,
};

pub(super) async fn pause(
    State(api): State<Shared>,
    Place(id): Place<String>,
) -> Result<Response, Problem> {
    api.store.pause(&id, PausedBy::User, api.now()).await?;
    let integration = api.store.integration(&id).await?;
    Ok(integrations::shown(StatusCode::OK, integrations::looked(&api, integration).await?))
}

pub(super) async fn resume(
    State(api): State<Shared>,
    Place(id): Place<String>,
) -> Result<Response, Problem> {
    api.store.resume(&id, api.now()).await?;
    api.wake();
    let integration = api.store.integration(&id).await?;
    Ok(integrations::shown(StatusCode::OK, integrations::looked(&api, integration).await?))
}

pub(super) async fn run_now(
    State(api): State<Shared>,
    Place(id): Place<String>,
) -> Result<Response, Problem> {
    started(&api, &id, None).await
}

/// Starts a run, for a task if there is one, and answers with it.
pub(super) async fn started(api: &Api, id: &str, task: Option<&Task>) -> Result<Response, Problem> {
    let run = begun(api, id, task).await?;
    let location = [(header::LOCATION, format!("/api/v1/runs/{}", run.id))];
    Ok((StatusCode::CREATED, location, Json(run)).into_response())
}

/// Starts a run, for a task if there is one, and shows it.
pub(super) async fn begun(api: &Api, id: &str, task: Option<&Task>) -> Result<RunView, Problem> {
    let now = api.now();
    match api.store.start_task(id, task, now).await? {
        Start::AlreadyRunning { run_id } => {
            let detail = "A run of this integration is alive already";
            Err(Problem::new(Kind::AlreadyRunning, detail).with("run_id", run_id))
        }
        Start::Begun { run_id } => {
            api.wake();
            Ok(view::run(api.store.run(&run_id).await?, now))
        }
    }
}

/// Another start date: a reset.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ResetBody {
    /// From when to read again.
    start_date: DateTime<Utc>,
    /// The `confirm` of the answer that told the consequences. Without it nothing is done.
    #[serde(default)]
    confirm: Option<String>,
}

/// What a reset does, or has done.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ResetView {
    /// Whether it was done.
    pub is_done: bool,
    /// What it means.
    pub consequences: Vec<String>,
    /// What to send to have it done.
    pub confirm: Option<String>,
}

pub(super) async fn reset(
    State(api): State<Shared>,
    Place(id): Place<String>,
    Body(body): Body<ResetBody>,
) -> Result<Json<ResetView>, Problem> {
    let integration = drafts::changeable(&api, &id).await?;
    let now = api.now();
    let start_date = drafts::start_date(Some(body.start_date), now)?;
    let consequences = api.host.reset_consequences(&integration, start_date).await;
    let token = confirmation(&integration, start_date.timestamp_millis());
    let Some(confirm) = body.confirm else {
        return Ok(Json(ResetView { is_done: false, consequences, confirm: Some(token) }));
    };
    if confirm != token {
        let detail = "The integration was changed since, or another start date was confirmed";
        return Err(Problem::new(Kind::NotConfirmed, detail));
    }
    let edit = IntegrationEdit { start_date: Some(start_date), ..IntegrationEdit::default() };
    api.store.edit_integration(&id, integration.version, &edit, now).await?;
    api.wake();
    Ok(Json(ResetView { is_done: true, consequences, confirm: None }))
}

/// Stands for one thing that is done to an integration as it is: it is no secret, but can't be sent by chance.
pub(super) fn confirmation(integration: &Integration, what: impl Display) -> String {
    let what = format!("{} {} {what}", integration.id, integration.version);
    hex::encode(&Sha256::digest(what.as_bytes())[..12])
}

/// A copy of an integration.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct CloneBody {
    /// Its name.
    name: String,
    /// Its schema; made from the name if it isn't given.
    #[serde(default)]
    schema_name: Option<String>,
    /// Other settings, all of them; those of the original if they aren't given.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    settings: Option<Map<String, Value>>,
    /// Its secrets: those of the original are not copied.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>, write_only)]
    secrets: BTreeMap<String, SecretString>,
}

pub(super) async fn clone(
    State(api): State<Shared>,
    Place(id): Place<String>,
    Body(body): Body<CloneBody>,
) -> Result<Response, Problem> {
    let original = drafts::existing(&api, &id).await?;
    let draft = Draft {
        name: drafts::name(&body.name)?,
        schema_name: body.schema_name.as_deref(),
        origin: Origin::Api,
        settings: body.settings.as_ref().unwrap_or(&original.settings),
        secrets: &body.secrets,
    };
    let by = Some(PausedBy::User);
    integrations::make(&api, &draft, original.schedule, original.start_date, by).await
}
