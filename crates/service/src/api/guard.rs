//! What every request goes through before its handler: who asks, whether they may, whether it was asked before; with a
//! deadline around it all. And what every answer bears.

use std::{net::IpAddr, panic::AssertUnwindSafe, time::Instant};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use tokio::time::timeout;
use tracing::Instrument;

use super::{
    Shared,
    access::Access,
    addresses,
    authentication::authenticate,
    idempotency,
    problem::{Kind, Problem},
    route::{Facts, Replay},
};

/// From where a request comes: the server adds the other end of the connection, and what proxies that are trusted say of
/// the client takes its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// A route, and what its checks need.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) api: Shared,
    pub(super) facts: Facts,
}

/// Lets a request through to its handler, or answers why not.
pub(super) async fn guard(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let Gate { api, facts } = &gate;
    let deadline = facts.deadline.unwrap_or(api.options.deadline);
    let response = match timeout(deadline, admitted(api, facts, request, next)).await {
        Ok(result) => result.unwrap_or_else(IntoResponse::into_response),
        Err(_) => {
            let detail = format!("The request took longer than {} seconds", deadline.as_secs());
            Problem::new(Kind::Unavailable, detail).into_response()
        }
    };
    api.meters.count(facts, response.status(), begun.elapsed());
    response
}

async fn admitted(
    api: &Shared,
    facts: &Facts,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if facts.access == Access::Public {
        return Ok(next.run(request).await);
    }
    let caller = authenticate(api, request.method(), request.headers()).await?;
    api.rates.caller.take(&caller.user.id, api.now())?;
    if !facts.access.admits(caller.user.role, caller.scope) {
        let detail = format!("This is for {}", facts.access.words());
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    request.extensions_mut().insert(caller.clone());
    match idempotency::key(request.headers())? {
        Some(key) if facts.replay != Replay::Never => {
            idempotency::once(api, facts, &caller, &key, request, next).await
        }
        _ => Ok(next.run(request).await),
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What every answer bears, unless its handler says otherwise: nothing of it is kept, framed, guessed at or run.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Gives every request an id, which its answer and the log bear, and every answer its headers.
pub(super) async fn envelope(
    State(api): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(Peer(peer)) = request.extensions().get().copied() {
        let client = addresses::client(peer, request.headers(), &api.options.trusted_proxies);
        request.extensions_mut().insert(Peer(client));
    }
    let id = uuid::Uuid::now_v7().to_string();
    let span = tracing::info_span!("request", request_id = id, method = %request.method());
    let work = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span).await;
    // A defect costs its own request, and is told: the panic itself is in the log.
    let mut response = work.unwrap_or_else(|_| {
        Problem::new(Kind::Unexpected, "The request broke off").into_response()
    });
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        add(headers, name, value);
    }
    if api.options.is_secure {
        add(headers, header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

fn add(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.entry(name).or_insert(HeaderValue::from_static(value));
}
