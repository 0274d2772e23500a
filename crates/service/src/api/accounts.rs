//! Users and tokens.

use std::borrow::Cow;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api, Shared,
    authentication::Caller,
    body::{Body, Place},
    drafts,
    page::Page,
    problem::{Fault, Kind, Problem},
    sessions,
};
use crate::store::{ApiToken, Role, Scope, UserRecord};

/// A user.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// `administrator`, `member` or `viewer`.
    pub role: Cow<'static, str>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Since when it can't be used any more.
    pub disabled_at: Option<DateTime<Utc>>,
}

impl From<UserRecord> for UserView {
    fn from(UserRecord { user, created_at, disabled_at }: UserRecord) -> Self {
        Self {
            id: user.id,
            name: user.name,
            role: user.role.name().into(),
            created_at,
            disabled_at,
        }
    }
}

/// A new user.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewUserBody {
    /// The name, with which the user signs in.
    name: String,
    /// `administrator`, `member` or `viewer`.
    role: String,
    /// The password, of at least 12 characters.
    #[schema(value_type = String, write_only)]
    password: SecretString,
}

/// An edit of a user: what is given is changed.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct EditUserBody {
    /// `administrator`, `member` or `viewer`.
    #[serde(default)]
    role: Option<String>,
    /// Another password. It ends the user's sessions.
    #[serde(default)]
    #[schema(value_type = Option<String>, write_only)]
    password: Option<SecretString>,
}

fn role(name: &str) -> Result<Role, Problem> {
    Role::named(name).ok_or_else(|| {
        let remedy = "Take `administrator`, `member` or `viewer`";
        Problem::invalid(vec![Fault::new("/role", "`role` is no role", remedy)])
    })
}

pub(super) async fn users(State(api): State<Shared>) -> Result<Json<Page<UserView>>, Problem> {
    let users = api.store.users().await?;
    Ok(Json(Page { items: users.into_iter().map(UserView::from).collect(), next: None }))
}

pub(super) async fn user(
    State(api): State<Shared>,
    Place(id): Place<String>,
) -> Result<Json<UserView>, Problem> {
    Ok(Json(api.store.user(&id).await?.into()))
}

pub(super) async fn create_user(
    State(api): State<Shared>,
    Body(body): Body<NewUserBody>,
) -> Result<Response, Problem> {
    let (name, role) = (drafts::name(&body.name)?, role(&body.role)?);
    let hash = sessions::hashed(&api, body.password, "/password").await?;
    let user = api.store.create_user(name, role, &hash, api.now()).await?;
    let location = [(header::LOCATION, format!("/api/v1/users/{}", user.id))];
    let view = UserView::from(api.store.user(&user.id).await?);
    Ok((StatusCode::CREATED, location, Json(view)).into_response())
}

pub(super) async fn edit_user(
    State(api): State<Shared>,
    Place(id): Place<String>,
    Body(body): Body<EditUserBody>,
) -> Result<Json<UserView>, Problem> {
    let role = body.role.as_deref().map(role).transpose()?;
    let hash = match body.password {
        Some(password) => Some(sessions::hashed(&api, password, "/password").await?),
        None => None,
    };
    if let Some(role) = role {
        api.store.set_role(&id, role).await?;
    }
    if let Some(hash) = hash {
        api.store.set_password(&id, &hash).await?;
    }
    Ok(Json(api.store.user(&id).await?.into()))
}

pub(super) async fn disable_user(
    State(api): State<Shared>,
    Place(id): Place<String>,
) -> Result<StatusCode, Problem> {
    api.store.disable_user(&id, api.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A token.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// The id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `read` or `write`.
    pub scope: Cow<'static, str>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl From<ApiToken> for TokenView {
    fn from(ApiToken { id, name, scope, expires_at, last_used_at }: ApiToken) -> Self {
        Self { id, name, scope: scope.name().into(), expires_at, last_used_at }
    }
}

/// A token that was just made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewTokenView {
    /// The id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `read` or `write`.
    pub scope: Cow<'static, str>,
    /// The token. It is shown this once.
    pub token: String,
}

/// A new token.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewTokenBody {
    /// Its name, for people.
    name: String,
    /// `read` or `write`.
    scope: String,
    /// When it ends; never by itself, if it isn't given.
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
}

pub(super) async fn own_tokens(
    State(api): State<Shared>,
    caller: Caller,
) -> Result<Json<Page<TokenView>>, Problem> {
    tokens(&api, &caller.user.id).await
}

pub(super) async fn tokens_of(
    State(api): State<Shared>,
    Place(user_id): Place<String>,
) -> Result<Json<Page<TokenView>>, Problem> {
    api.store.user(&user_id).await?;
    tokens(&api, &user_id).await
}

async fn tokens(api: &Api, user_id: &str) -> Result<Json<Page<TokenView>>, Problem> {
    let tokens = api.store.tokens(user_id).await?;
    Ok(Json(Page { items: tokens.into_iter().map(TokenView::from).collect(), next: None }))
}

pub(super) async fn create_own_token(
    State(api): State<Shared>,
    caller: Caller,
    Body(body): Body<NewTokenBody>,
) -> Result<Response, Problem> {
    create(&api, &caller.user.id, body).await
}

pub(super) async fn create_token_of(
    State(api): State<Shared>,
    Place(user_id): Place<String>,
    Body(body): Body<NewTokenBody>,
) -> Result<Response, Problem> {
    create(&api, &user_id, body).await
}

async fn create(api: &Api, user_id: &str, body: NewTokenBody) -> Result<Response, Problem> {
    let name = drafts::name(&body.name)?;
    let scope = Scope::named(&body.scope).ok_or_else(|| {
        let fault = Fault::new("/scope", "`scope` is no scope", "Take `read` or `write`");
        Problem::invalid(vec![fault])
    })?;
    let now = api.now();
    if body.expires_at.is_some_and(|end| end <= now) {
        let remedy = "Give a later time, or leave it out";
        let fault = Fault::new("/expires_at", "`expires_at` has passed already", remedy);
        return Err(Problem::invalid(vec![fault]));
    }
    let made = api.store.create_token(user_id, name, scope, body.expires_at, now).await?;
    let view = NewTokenView {
        id: made.id,
        name: name.to_owned(),
        scope: scope.name().into(),
        token: made.text.expose_secret().to_owned(),
    };
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

pub(super) async fn revoke_token(
    State(api): State<Shared>,
    caller: Caller,
    Place(id): Place<String>,
) -> Result<StatusCode, Problem> {
    let owner = api.store.token_owner(&id).await?;
    if owner != caller.user.id && caller.user.role != Role::Administrator {
        // As if there were none: whose tokens there are is nobody else's business.
        return Err(Problem::new(Kind::NotFound, format!("There is no token `{id}`")));
    }
    api.store.revoke_token(&id, api.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
