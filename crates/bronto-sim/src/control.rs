//! The endpoints under `/sim/`: what tests and people ask the simulation itself.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures::stream;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::account::Table;
use crate::account::custom_field::FieldChange;
use crate::account::mutation::Mutation;
use crate::service::Service;
use crate::statistics::Stats;

/// Rows of the truth that are written at a time.
const TRUTH_ROWS: usize = 2_000;
/// Chunks of the truth that wait for a slow client.
const TRUTH_CHUNKS: usize = 4;

pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/sim/truth/{table}", get(truth))
        .route("/sim/stats", get(stats))
        .route("/sim/mutate", post(mutate))
        .route("/sim/fields", get(fields).post(change_fields))
        .route("/sim/behaviours", get(behaviours).post(set_behaviours))
        .with_state(service)
}

async fn truth(State(service): State<Arc<Service>>, Path(table): Path<String>) -> Response {
    let table: Table = match table.parse() {
        Ok(table) => table,
        Err(error) => return (StatusCode::NOT_FOUND, format!("{error}\n")).into_response(),
    };
    let (sender, receiver) = mpsc::channel(TRUTH_CHUNKS);
    // The copy keeps the truth of one moment while the account lives on.
    tokio::task::spawn_blocking(move || {
        let settings = service.behaviours.settings();
        let account = service.account_copy();
        let numbers = account.readable(table, &settings, service.now());
        for numbers in numbers.chunks(TRUTH_ROWS) {
            let mut lines = Vec::with_capacity(TRUTH_ROWS * 1_024);
            account.write_truth(table, numbers, &settings, &mut lines);
            if sender.blocking_send(lines).is_err() {
                return;
            }
        }
    });
    let lines = stream::unfold(receiver, |mut receiver| async move {
        let lines = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(lines)), receiver))
    });
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (content_type, Body::from_stream(lines)).into_response()
}

async fn stats(State(service): State<Arc<Service>>) -> Json<Stats> {
    Json(service.stats())
}

async fn mutate(State(service): State<Arc<Service>>, body: Bytes) -> Response {
    match parse::<Mutation>(&body) {
        Ok(mutation) => Json(service.mutate(&mutation)).into_response(),
        Err(refusal) => refusal,
    }
}

async fn fields(State(service): State<Arc<Service>>) -> Response {
    Json(service.custom_fields()).into_response()
}

async fn change_fields(State(service): State<Arc<Service>>, body: Bytes) -> Response {
    let changes = match parse::<Vec<FieldChange>>(&body) {
        Ok(changes) => changes,
        Err(refusal) => return refusal,
    };
    match service.change_fields(&changes) {
        Ok(ids) => Json(ids).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

async fn behaviours(State(service): State<Arc<Service>>) -> Response {
    Json(service.behaviours.values()).into_response()
}

async fn set_behaviours(State(service): State<Arc<Service>>, body: Bytes) -> Response {
    let changes = match parse::<Map<String, Value>>(&body) {
        Ok(changes) => changes,
        Err(refusal) => return refusal,
    };
    for (name, value) in changes {
        let value = match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        if let Err(error) = service.behaviours.set(&name, &value) {
            return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response();
        }
    }
    behaviours(State(service)).await
}

/// Reads JSON whatever its content type, so that a plain `curl -d` works.
#[expect(clippy::result_large_err, reason = "the refusal is sent at once")]
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Response> {
    serde_json::from_slice(body)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response())
}
