//! Requests that are sent again with the same `Idempotency-Key`: what was answered is answered again, and nothing is done
//! twice.
//!
//! Of a request only a digest is kept, and the key goes into it, of which again only a digest is kept: who reads the store
//! can't try passwords against it.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::{
    Shared,
    authentication::Caller,
    problem::{Kind, Problem},
    route::{Facts, Replay},
};
use crate::store::{Admission, Reply};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest key.
const LONGEST: usize = 200;
/// The largest answer that is kept.
const LARGEST_ANSWER: usize = 1 << 20;
/// The headers of an answer that are kept.
const KEPT: [HeaderName; 3] = [header::CONTENT_TYPE, header::ETAG, header::LOCATION];

/// The key of a request, if it has one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=LONGEST).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => {
            let detail = format!("An `Idempotency-Key` has 1 to {LONGEST} characters of ASCII");
            Err(Problem::new(Kind::Malformed, detail)
                .remedy("Make one of random letters, such as a UUID"))
        }
    }
}

/// Has a request worked on, or answers what was answered before.
pub(super) async fn once(
    api: &Shared,
    facts: &Facts,
    caller: &Caller,
    key: &str,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, api.options.body_bytes).await.map_err(|_| {
        Problem::new(Kind::TooLarge, "The body is larger than is taken, or broke off")
    })?;
    let mut digest = Sha256::new();
    digest.update(format!("{key}\n{} {}\n", parts.method, parts.uri));
    digest.update(&bytes);
    let digest = hex::encode(digest.finalize());
    let (user_id, key) = (caller.user.id.clone(), hex::encode(Sha256::digest(key.as_bytes())));
    match api.store.admit(&user_id, &key, &digest, api.options.key_age, api.now()).await? {
        Admission::New => {}
        Admission::Pending => {
            return Err(Problem::new(
                Kind::KeyPending,
                "A request with this key is being worked on, or broke off",
            ));
        }
        Admission::Differs => {
            return Err(Problem::new(Kind::KeyReused, "This key was used for another request"));
        }
        Admission::Answered(_) if facts.replay == Replay::Refuse => {
            return Err(Problem::new(
                Kind::KeyUsed,
                "The answer to this key was given, and holds a secret",
            ));
        }
        Admission::Answered(reply) => return Ok(replayed(reply)),
    }
    // A task of its own: a caller who goes away doesn't leave it half done.
    let (api, facts) = (Shared::clone(api), *facts);
    let deadline = facts.deadline.unwrap_or(api.options.deadline);
    let work = tokio::spawn(async move {
        let request = Request::from_parts(parts, Body::from(bytes));
        let Ok(response) = timeout(deadline, next.run(request)).await else {
            return Err(Problem::new(Kind::Unavailable, "The request took longer than is allowed"));
        };
        recorded(&api, facts.replay, &user_id, &key, response).await
    });
    work.await.map_err(|_| Problem::new(Kind::Unexpected, "The request broke off"))?
}

/// Records an answer, if it is one that would be the same again.
async fn recorded(
    api: &Shared,
    replay: Replay,
    user_id: &str,
    key: &str,
    response: Response,
) -> Result<Response, Problem> {
    let status = response.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        api.store.withdraw_key(user_id, key).await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, LARGEST_ANSWER)
        .await
        .map_err(|_| Problem::new(Kind::Unexpected, "The answer is larger than is kept"))?;
    let header = |name: HeaderName| {
        let value = parts.headers.get(&name)?.to_str().ok()?.to_owned();
        Some((name.as_str().to_owned(), value))
    };
    let is_kept = replay == Replay::Answer || !status.is_success();
    let body = if is_kept { String::from_utf8_lossy(&bytes).into_owned() } else { String::new() };
    let headers = KEPT.into_iter().filter_map(header).collect();
    api.store.record_reply(user_id, key, &Reply { status: status.as_u16(), headers, body }).await?;
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn replayed(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let mut response = (status, reply.body).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
