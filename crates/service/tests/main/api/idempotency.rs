//! Requests that are sent twice with the same key.

use axum::http::StatusCode;
use chrono::TimeDelta;
use serde_json::json;
use service::store::Admission;
use sha2::{Digest, Sha256};

use super::{Answer, MARKER, Service};

async fn create(service: &Service, key: &str, name: &str) -> Answer {
    let body = json!({
        "name": name,
        "settings": { "endpoint": "https://one.example" },
        "secrets": { "token": MARKER },
    });
    service.member("POST", "/api/v1/integrations").header("idempotency-key", key).json(&body).await
}

#[tokio::test]
async fn the_same_request_is_answered_alike_and_done_once() {
    let service = Service::new().await;
    let first = create(&service, "k1", "One").await;
    assert_eq!(first.status, StatusCode::CREATED);
    service.pass(TimeDelta::hours(23));
    let again = create(&service, "k1", "One").await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.header("idempotency-replayed"), "true");
    for name in ["content-type", "etag", "location"] {
        assert_eq!(again.header(name), first.header(name));
    }
    create(&service, "k1", "Two").await.problem(422, "idempotency-key-reused");
    // Another's key is another key.
    let body = json!({ "name": "x", "role": "viewer", "password": "twelve or more" });
    let other = service.administrator("POST", "/api/v1/users").header("idempotency-key", "k1");
    assert_eq!(other.json(&body).await.status, StatusCode::CREATED);
    assert_eq!(service.store.integrations().await.unwrap().len(), 1);
    // After a day it is forgotten.
    service.pass(TimeDelta::hours(1));
    create(&service, "k1", "One").await.problem(409, "taken");
}

#[tokio::test]
async fn a_refusal_is_kept_too() {
    let service = Service::new().await;
    create(&service, "k1", "One").await;
    let taken = create(&service, "k2", "One").await;
    taken.problem(409, "taken");
    let again = create(&service, "k2", "One").await;
    again.problem(409, "taken");
    assert_eq!(again.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn a_request_whose_outcome_nobody_knows_is_not_done_again() {
    let service = Service::new().await;
    let id = service.integration("One").await;
    let (user, _) = service.store.user_to_sign_in("member").await.unwrap().unwrap();
    let path = format!("/api/v1/integrations/{id}/runs");
    let run = |key: &'static str| {
        let call = service.member("POST", &path).header("idempotency-key", key);
        call.send()
    };
    assert_eq!(run("done").await.status, StatusCode::CREATED);
    // As a process leaves it that ends in between. Neither key nor request is stored as it came.
    let digest = |text: String| hex::encode(Sha256::digest(text.as_bytes()));
    let (key, request) = (digest("open".to_owned()), digest(format!("open\nPOST {path}\n")));
    let age = TimeDelta::hours(24);
    let admitted = service.store.admit(&user.id, &key, &request, age, service.now()).await.unwrap();
    assert_eq!(admitted, Admission::New);
    run("open").await.problem(409, "idempotency-key-pending");
}

#[tokio::test]
async fn an_answer_that_holds_a_secret_is_not_kept() {
    let service = Service::new().await;
    let body = json!({ "name": "mine", "scope": "read" });
    let make = || {
        let call = service.member("POST", "/api/v1/tokens").header("idempotency-key", "k1");
        call.json(&body)
    };
    let first = make().await;
    assert_eq!(first.status, StatusCode::CREATED);
    let again = make().await;
    again.problem(409, "idempotency-key-used");
    let listed = service.member("GET", "/api/v1/tokens").send().await.value();
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn keys_are_bounded() {
    let service = Service::new().await;
    for key in ["", &"x".repeat(201), "ü"] {
        create(&service, key, "One").await.problem(400, "malformed");
    }
}
