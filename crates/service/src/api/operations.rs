//! What those who run the service ask: whether it lives, whether it is ready, how much it does.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Shared, openapi,
    problem::{Kind, Problem},
};

/// That it lives, or is ready.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HealthView {
    /// `ok`.
    status: &'static str,
}

const OK: HealthView = HealthView { status: "ok" };

pub(super) async fn health() -> Json<HealthView> {
    Json(OK)
}

/// It is ready while it can use its store and is not about to end.
pub(super) async fn ready(State(api): State<Shared>) -> Result<Json<HealthView>, Problem> {
    if api.stop.is_cancelled() {
        return Err(Problem::new(Kind::Unavailable, "The service ends"));
    }
    api.store.ping().await?;
    Ok(Json(OK))
}

pub(super) async fn metrics(State(api): State<Shared>) -> Result<Response, Problem> {
    let text = api.meters.text(&api.store.figures().await?);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

pub(super) async fn document() -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], openapi::document()).into_response()
}
