//! Connection checks, of integrations that are saved and of those that aren't yet.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    Api, Shared,
    body::{Body, Place},
    drafts,
    integrations::NewIntegrationBody,
    problem::Problem,
};
use crate::{
    host::{CheckStep, Draft},
    integration::Origin,
};

/// What is to be tried of an integration that is saved: itself, or an edit of it.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SavedCheckBody {
    /// Other settings, all of them.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    settings: Option<Map<String, Value>>,
    /// Other secrets. They are not kept.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>, write_only)]
    secrets: BTreeMap<String, SecretString>,
}

/// What a check found.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CheckView {
    /// Whether every step went well.
    pub is_ok: bool,
    /// The steps, in their order.
    pub steps: Vec<StepView>,
    /// The schema that it would fill.
    pub schema_name: String,
    /// The tables that it would fill.
    pub tables: Vec<String>,
    /// What its owner should know though it is valid.
    pub warnings: Vec<String>,
}

/// A step of a check.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// `source` or `destination`.
    pub side: String,
    /// What was tried.
    pub name: String,
    /// Whether it went well.
    pub is_ok: bool,
    /// What was found, or what went wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl From<CheckStep> for StepView {
    fn from(step: CheckStep) -> Self {
        let CheckStep { side, name, is_ok, message, remedy } = step;
        Self { side, name, is_ok, message, remedy }
    }
}

pub(super) async fn unsaved(
    State(api): State<Shared>,
    Body(body): Body<NewIntegrationBody>,
) -> Result<Json<CheckView>, Problem> {
    let (draft, _, _) = body.read(api.now())?;
    let inspected = drafts::inspect(&api, &draft)?;
    drafts::match_secrets(&inspected, draft.secrets)?;
    checked(&api, &draft, inspected).await
}

pub(super) async fn saved(
    State(api): State<Shared>,
    Place(id): Place<String>,
    Body(body): Body<SavedCheckBody>,
) -> Result<Json<CheckView>, Problem> {
    let is_other = body.settings.is_some() || !body.secrets.is_empty();
    let integration = if is_other {
        drafts::changeable(&api, &id).await?
    } else {
        drafts::existing(&api, &id).await?
    };
    let settings = body.settings.as_ref().unwrap_or(&integration.settings);
    if integration.origin == Origin::File {
        // Its secrets are where its file says, or stood in it and are sealed.
        let secrets = drafts::open(&api, &integration.id).await?;
        let draft = drafts::draft(&integration, settings, &secrets);
        let inspected = drafts::inspect(&api, &draft)?;
        return checked(&api, &draft, inspected).await;
    }
    let revised = drafts::revise(&api, &integration, settings, &body.secrets).await?;
    let draft = drafts::draft(&integration, settings, &revised.secrets);
    checked(&api, &draft, revised.inspected).await
}

async fn checked(
    api: &Api,
    draft: &Draft<'_>,
    inspected: crate::host::Inspected,
) -> Result<Json<CheckView>, Problem> {
    let _permit = api.connecting()?;
    let stop = api.stop.child_token();
    // Whoever goes away doesn't leave it behind.
    let _cancelled = stop.clone().drop_guard();
    let steps = api.host.check(draft, &stop).await;
    Ok(Json(CheckView {
        is_ok: steps.iter().all(|step| step.is_ok),
        steps: steps.into_iter().map(StepView::from).collect(),
        schema_name: inspected.schema_name,
        tables: inspected.tables,
        warnings: inspected.warnings,
    }))
}
