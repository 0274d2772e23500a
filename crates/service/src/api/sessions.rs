//! Signing in with a name and a password, and what one may do with one's own account.

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api, Shared,
    addresses::counted_as,
    authentication::{Caller, Origin, cookie_name, origin},
    body::Body,
    guard::Peer,
    passwords,
    problem::{Fault, Kind, Problem},
};

/// A name and a password.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SignInBody {
    /// The user's name.
    name: String,
    /// The password.
    #[schema(value_type = String, write_only)]
    password: SecretString,
}

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CallerView {
    /// The user's id.
    user_id: String,
    /// The user's name.
    name: String,
    /// `administrator`, `member` or `viewer`.
    role: &'static str,
    /// `read` or `write`: what the token may do. A session may write.
    scope: &'static str,
    /// Whether it is a session, not a token.
    is_session: bool,
}

impl From<&Caller> for CallerView {
    fn from(caller: &Caller) -> Self {
        Self {
            user_id: caller.user.id.clone(),
            name: caller.user.name.clone(),
            role: caller.user.role.name(),
            scope: caller.scope.name(),
            is_session: caller.session.is_some(),
        }
    }
}

pub(super) async fn sign_in(
    State(api): State<Shared>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Body(body): Body<SignInBody>,
) -> Result<Response, Problem> {
    // Else another site could sign somebody in as somebody else.
    if origin(&headers) == Origin::Other {
        return Err(Problem::new(Kind::CrossSite, "Signing in is done on the service's own page"));
    }
    let address = peer.map(|Extension(Peer(address))| counted_as(address));
    let caller = signed_in(&api, address.as_deref(), &body.name, &body.password).await?;
    let Some(session) = &caller.session else {
        return Err(Problem::new(Kind::Unexpected, "The session was not begun"));
    };
    let age = api.options.sessions.absolute.num_seconds();
    let cookie = set_cookie(&api, session.expose_secret(), age)?;
    let status = StatusCode::CREATED;
    Ok((status, [(header::SET_COOKIE, cookie)], Json(CallerView::from(&caller))).into_response())
}

/// Begins a session for who has a name and its password.
async fn signed_in(
    api: &Api,
    address: Option<&str>,
    name: &str,
    password: &SecretString,
) -> Result<Caller, Problem> {
    let now = api.now();
    if let Some(address) = address {
        api.rates.sign_in_address.take(address, now)?;
    }
    let mut bounded = name.to_owned();
    bounded.truncate(bounded.floor_char_boundary(passwords::LONGEST));
    api.rates.sign_in_name.take(&bounded, now)?;
    let found = api.store.user_to_sign_in(name).await?;
    let (user, hash) = found.map_or((None, None), |(user, hash)| (Some(user), Some(hash)));
    let is_right = compared(api, password, hash).await?;
    let wrong = || {
        Problem::new(Kind::Unauthenticated, "The name or the password is wrong")
            .remedy("Try again; an administrator can set another password")
    };
    let user = user.filter(|_| is_right).ok_or_else(wrong)?;
    api.rates.sign_in_name.forgive(&bounded);
    let session = api.store.begin_session(&user.id, api.options.sessions, now).await?;
    tracing::info!(user_id = user.id, "Somebody signed in");
    Ok(Caller { user, scope: crate::store::Scope::Write, session: Some(session) })
}

/// Whether a password is right, found out where it may block.
async fn compared(
    api: &Api,
    password: &SecretString,
    hash: Option<SecretString>,
) -> Result<bool, Problem> {
    if password.expose_secret().len() > passwords::LONGEST {
        return Ok(false);
    }
    let _permit = permit(api).await?;
    let password = password.clone();
    let compare = move || passwords::is_right(&password, hash.as_ref());
    tokio::task::spawn_blocking(compare).await.map_err(broken)
}

/// The hash of a new password.
pub(super) async fn hashed(
    api: &Api,
    password: SecretString,
    pointer: &'static str,
) -> Result<SecretString, Problem> {
    let _permit = permit(api).await?;
    let hash =
        tokio::task::spawn_blocking(move || passwords::hash(&password)).await.map_err(broken)?;
    hash.map_err(|detail| {
        let remedy = "Choose a long sentence that nobody else would";
        Problem::invalid(vec![Fault::new(pointer, detail, remedy)])
    })
}

async fn permit(api: &Api) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
    api.passwords.acquire().await.map_err(|_| Problem::new(Kind::Unavailable, "The service ends"))
}

fn broken(_: tokio::task::JoinError) -> Problem {
    Problem::new(Kind::Unexpected, "The password could not be looked at")
}

fn set_cookie(api: &Api, value: &str, seconds: i64) -> Result<HeaderValue, Problem> {
    let is_secure = api.options.is_secure;
    let name = cookie_name(is_secure);
    let secure = if is_secure { "; Secure" } else { "" };
    let text =
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    let mut cookie = HeaderValue::try_from(text)
        .map_err(|_| Problem::new(Kind::Unexpected, "The cookie can't be written"))?;
    cookie.set_sensitive(true);
    Ok(cookie)
}

pub(super) async fn who(caller: Caller) -> Json<CallerView> {
    Json(CallerView::from(&caller))
}

pub(super) async fn sign_out(
    State(api): State<Shared>,
    caller: Caller,
) -> Result<Response, Problem> {
    if let Some(session) = &caller.session {
        api.store.end_session(session).await?;
    }
    let cookie = set_cookie(&api, "", 0)?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Another password of one's own.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct PasswordBody {
    /// The password so far.
    #[schema(value_type = String, write_only)]
    current: SecretString,
    /// The new one.
    #[schema(value_type = String, write_only)]
    new: SecretString,
}

pub(super) async fn change_password(
    State(api): State<Shared>,
    caller: Caller,
    Body(body): Body<PasswordBody>,
) -> Result<StatusCode, Problem> {
    api.rates.sign_in_name.take(&caller.user.name, api.now())?;
    let found = api.store.user_to_sign_in(&caller.user.name).await?;
    if !compared(&api, &body.current, found.map(|(_, hash)| hash)).await? {
        let remedy = "Give the one with which you signed in";
        let fault = Fault::new("/current", "The password so far is another", remedy);
        return Err(Problem::invalid(vec![fault]));
    }
    let hash = hashed(&api, body.new, "/new").await?;
    api.store.set_password(&caller.user.id, &hash).await?;
    Ok(StatusCode::NO_CONTENT)
}
