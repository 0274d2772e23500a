//! Integrations: list, make, edit, delete.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use schedule::Schedule;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    Api, Shared,
    body::{Body, Place, Query, present},
    drafts,
    page::{self, Page},
    problem::{Kind, Problem},
    schedules::{self, ScheduleBody},
    view::{self, IntegrationView},
};
use crate::{
    host::Draft,
    integration::{Integration, IntegrationEdit, NewIntegration, Origin, PausedBy},
    store::{NewSecrets, Store},
};

/// A new integration.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewIntegrationBody {
    /// Its name.
    name: String,
    /// The schema that it is to fill; made from the name if it isn't given, and never changed.
    #[serde(default)]
    schema_name: Option<String>,
    /// The settings of its source and destination, without secrets.
    #[schema(value_type = Object)]
    settings: Map<String, Value>,
    /// Its secrets, by their names in the settings. They are sealed, and never shown again.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>, write_only)]
    secrets: BTreeMap<String, SecretString>,
    /// From when to read; a year back at midnight UTC if it isn't given.
    #[serde(default)]
    start_date: Option<DateTime<Utc>>,
    /// When it runs by itself; only by hand if it isn't given.
    #[serde(default)]
    schedule: Option<ScheduleBody>,
}

impl NewIntegrationBody {
    /// What it is to be: a draft, its schedule, and from when to read.
    pub(super) fn read(
        &self,
        now: DateTime<Utc>,
    ) -> Result<(Draft<'_>, Option<Schedule>, DateTime<Utc>), Problem> {
        let draft = Draft {
            name: drafts::name(&self.name)?,
            schema_name: self.schema_name.as_deref(),
            origin: Origin::Api,
            settings: &self.settings,
            secrets: &self.secrets,
        };
        let schedule = self.schedule.clone().map(schedules::parse).transpose()?;
        Ok((draft, schedule, drafts::start_date(self.start_date, now)?))
    }
}

/// An edit of an integration: what is given is changed.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct EditBody {
    /// A new name. The schema keeps its own.
    #[serde(default)]
    name: Option<String>,
    /// New settings, all of them.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    settings: Option<Map<String, Value>>,
    /// New secrets. Where a secret is sent to another place than before, it has to be given anew.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>, write_only)]
    secrets: BTreeMap<String, SecretString>,
    /// A new schedule, or null for none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<ScheduleBody>)]
    schedule: Option<Option<ScheduleBody>>,
}

/// An integration as an answer, with its version.
pub(super) fn shown(status: StatusCode, view: IntegrationView) -> Response {
    let tag = format!("\"{}\"", view.version);
    (status, [(header::ETAG, tag)], Json(view)).into_response()
}

/// What is shown of an integration that is stored.
pub(super) async fn looked(
    api: &Api,
    integration: Integration,
) -> Result<IntegrationView, Problem> {
    let last_run = api.store.last_run(&integration.id).await?;
    Ok(view::integration(integration, last_run, api.now()))
}

/// Which part of the list.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ListQuery {
    /// From where the page goes on: `next` of the page before.
    #[serde(default)]
    cursor: Option<String>,
    /// How many: 1 to 500, usually 50.
    #[serde(default)]
    limit: Option<u32>,
}

pub(super) async fn list(
    State(api): State<Shared>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<IntegrationView>>, Problem> {
    let limit = page::limit(query.limit)?;
    let after = query.cursor.as_deref().map(page::read_cursor).transpose()?;
    let after = after.map_or_else(String::new, |(_, name)| name);
    let integrations = api.store.integration_page(&after, limit + 1).await?;
    let mut last_runs = api.store.last_runs(&after, limit).await?;
    let now = api.now();
    let cursor = |integration: &Integration| page::cursor(now, &integration.name);
    let Page { items, next } = Page::cut(integrations, limit, cursor);
    let view = |integration: Integration| {
        let last_run = last_runs.remove(&integration.id);
        view::integration(integration, last_run, now)
    };
    Ok(Json(Page { items: items.into_iter().map(view).collect(), next }))
}

pub(super) async fn one(
    State(api): State<Shared>,
    Place(id): Place<String>,
) -> Result<Response, Problem> {
    let integration = api.store.integration(&id).await?;
    Ok(shown(StatusCode::OK, looked(&api, integration).await?))
}

pub(super) async fn create(
    State(api): State<Shared>,
    Body(body): Body<NewIntegrationBody>,
) -> Result<Response, Problem> {
    let (draft, schedule, start_date) = body.read(api.now())?;
    let made = make(&api, &draft, schedule, start_date, None).await?;
    api.wake();
    Ok(made)
}

/// Makes an integration of a draft, paused by somebody or not, and shows it.
pub(super) async fn make(
    api: &Api,
    draft: &Draft<'_>,
    schedule: Option<Schedule>,
    start_date: DateTime<Utc>,
    paused: Option<PausedBy>,
) -> Result<Response, Problem> {
    let now = api.now();
    let inspected = drafts::inspect(api, draft)?;
    drafts::match_secrets(&inspected, draft.secrets)?;
    let id = Store::new_integration_id();
    let sealed = drafts::seal(api, &id, draft.secrets)?;
    let new = NewIntegration {
        name: draft.name.to_owned(),
        schema_name: inspected.schema_name,
        origin: draft.origin,
        settings: inspected.settings,
        schedule,
        start_date,
    };
    let made = api.store.create_integration_with(&id, &new, &sealed, paused, now).await?;
    let location = format!("/api/v1/integrations/{}", made.id);
    let mut view = view::integration(made, None, now);
    view.warnings.extend(inspected.warnings);
    let mut response = shown(StatusCode::CREATED, view);
    let location = location.parse().map_err(|_| Problem::new(Kind::Unexpected, "An id is none"))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// The version that is meant, from the header `If-Match`.
pub(super) fn version(headers: &HeaderMap) -> Result<i64, Problem> {
    let missing =
        || Problem::new(Kind::VersionRequired, "The header `If-Match` is missing or can't be read");
    let tag =
        headers.get(header::IF_MATCH).and_then(|tag| tag.to_str().ok()).ok_or_else(missing)?;
    tag.trim().trim_matches('"').parse().map_err(|_| missing())
}

pub(super) async fn edit(
    State(api): State<Shared>,
    Place(id): Place<String>,
    headers: HeaderMap,
    Body(body): Body<EditBody>,
) -> Result<Response, Problem> {
    let seen = version(&headers)?;
    let old = drafts::changeable(&api, &id).await?;
    if old.version != seen {
        let detail = format!("The integration `{}` has been changed since", old.name);
        return Err(Problem::new(Kind::Changed, detail));
    }
    let name = body.name.as_deref().map(drafts::name).transpose()?.map(str::to_owned);
    let schedule =
        body.schedule.map(|schedule| schedule.map(schedules::parse).transpose()).transpose()?;
    let (mut settings, mut secrets, mut warnings) = (None, NewSecrets::default(), Vec::new());
    if body.settings.is_some() || !body.secrets.is_empty() {
        let wanted = body.settings.as_ref().unwrap_or(&old.settings);
        let revised = drafts::revise(&api, &old, wanted, &body.secrets).await?;
        let stored = api.store.secrets(&id).await?;
        let is_needless = |name: &String| !revised.inspected.secret_places.contains_key(name);
        secrets.forgotten =
            stored.into_iter().map(|secret| secret.name).filter(is_needless).collect();
        secrets.sealed = drafts::seal(&api, &id, &body.secrets)?;
        settings = Some(revised.inspected.settings);
        warnings = revised.inspected.warnings;
    }
    let edit = IntegrationEdit { name, settings, schedule, ..IntegrationEdit::default() };
    let edited = api.store.edit_integration_with(&id, seen, &edit, &secrets, api.now()).await?;
    api.wake();
    let mut view = looked(&api, edited).await?;
    view.warnings.extend(warnings);
    Ok(shown(StatusCode::OK, view))
}

pub(super) async fn delete(
    State(api): State<Shared>,
    Place(id): Place<String>,
) -> Result<StatusCode, Problem> {
    drafts::deletable(&api, &id).await?;
    api.store.delete_integration(&id, api.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
