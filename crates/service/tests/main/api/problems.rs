//! What is answered to requests that can't be taken.

use axum::http::StatusCode;
use serde_json::json;

use super::{MARKER, Service};

#[tokio::test]
async fn unknown_keys_are_refused_with_the_nearest_known() {
    let service = Service::new().await;
    let body = json!({ "name": "One", "settigns": {}, "settings": {} });
    let answer = service.member("POST", "/api/v1/integrations").json(&body).await;
    assert_eq!(answer.pointers(), ["/settigns"]);
    assert_eq!(answer.value()["remedy"], "Did you mean `settings`?");
    let body = json!({ "schedule": { "evry": "1h" } });
    let answer = service.member("POST", "/api/v1/schedule-previews").json(&body).await;
    assert_eq!(answer.pointers(), ["/schedule/evry"]);
    assert_eq!(answer.value()["remedy"], "Did you mean `every`?");
    let answer = service.member("GET", "/api/v1/runs?limt=3").send().await;
    assert_eq!(answer.pointers(), ["?limt"]);
    assert_eq!(answer.value()["remedy"], "Did you mean `limit`?");
    let far = service.member("GET", "/api/v1/runs?colour=3").send().await;
    assert!(far.value()["remedy"].as_str().unwrap().starts_with("Leave it out"));
}

#[tokio::test]
async fn wrong_types_are_told_by_their_place_without_their_value() {
    let service = Service::new().await;
    for (body, pointer) in [
        (json!({ "name": 3, "settings": {} }), "/name"),
        (json!({ "name": "x", "settings": [MARKER] }), "/settings"),
        (
            json!({ "name": "x", "settings": {}, "secrets": { "token": [MARKER] } }),
            "/secrets/token",
        ),
        (json!({ "name": "x", "settings": {}, "secrets": MARKER }), "/secrets"),
        (json!({ "name": "x", "settings": {}, "start_date": MARKER }), "/start_date"),
        (json!({ "name": "x" }), ""),
        (json!({ "name": "x", "settings": {}, "schedule": ["1h"] }), "/schedule"),
        (json!({ "name": "x", "settings": {}, "schedule": "1h" }), "/schedule"),
    ] {
        let answer = service.member("POST", "/api/v1/integrations").json(&body).await;
        assert_eq!(answer.pointers(), [pointer], "{body}");
    }
    for query in ["limit=0", "limit=501", "limit=x", "limit=-1", "limit=1&limit=2", "limit="] {
        let answer = service.member("GET", &format!("/api/v1/runs?{query}")).send().await;
        assert_eq!(answer.pointers(), ["?limit"], "{query}");
    }
    for (query, pointer) in [("cursor=x", "?cursor"), ("state=dead", "?state")] {
        let answer = service.member("GET", &format!("/api/v1/runs?{query}")).send().await;
        assert_eq!(answer.pointers(), [pointer]);
    }
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_told_apart() {
    let service = Service::new().await;
    let post = || service.member("POST", "/api/v1/integrations");
    post().text("{}").send().await.problem(415, "unsupported-media");
    let json = || post().header("content-type", "application/json; charset=utf-8");
    for body in ["", "{", "[]", "null", "\"x\"", "{}{}", "{\"name\": \"\\ud800\"}"] {
        json().text(body).send().await.problem(400, "malformed");
    }
    let deep = format!("{{\"settings\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    json().text(&deep).send().await.problem(400, "malformed");
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(300 << 10));
    json().text(&large).send().await.problem(413, "too-large");
}

#[tokio::test]
async fn addresses_and_methods_that_there_are_not() {
    let service = Service::new().await;
    for path in ["/", "/api/v1", "/api/v1/nothing", "/api/v2/runs", "/api/v1/runs/"] {
        service.member("GET", path).send().await.problem(404, "not-found");
    }
    for path in ["/api/v1/runs/nothing", "/api/v1/integrations/%00", "/api/v1/integrations/%ff"] {
        service.member("GET", path).send().await.problem(404, "not-found");
    }
    let answer = service.member("PUT", "/api/v1/integrations").send().await;
    answer.problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), "GET,HEAD,POST");
}

#[tokio::test]
async fn every_answer_bears_its_id_and_keeps_to_itself() {
    let service = Service::new().await;
    let mut ids = std::collections::HashSet::new();
    for path in ["/healthz", "/api/v1/integrations", "/nothing", "/api/v1/openapi.json"] {
        let answer = service.member("GET", path).send().await;
        assert!(ids.insert(answer.header("x-request-id").to_owned()));
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
}

#[tokio::test]
async fn a_service_that_ends_is_not_ready_but_lives() {
    let service = Service::new().await;
    assert_eq!(service.anonymous("GET", "/readyz").send().await.status, StatusCode::OK);
    service.stop.cancel();
    service.anonymous("GET", "/readyz").send().await.problem(503, "unavailable");
    assert_eq!(service.anonymous("GET", "/healthz").send().await.body, "{\"status\":\"ok\"}");
}

#[tokio::test]
async fn a_defect_costs_its_own_request_alone() {
    let service = Service::new().await;
    let body = json!({ "name": "One", "settings": { "defect": MARKER } });
    let post = || service.member("POST", "/api/v1/integrations");
    let answer = post().json(&body).await;
    answer.problem(500, "unexpected");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    // Nobody knows how far it came, so it isn't done again with the same key.
    post().header("idempotency-key", "k").json(&body).await.problem(500, "unexpected");
    post().header("idempotency-key", "k").json(&body).await.problem(409, "idempotency-key-pending");
    service.integration("One").await;
}

#[tokio::test]
async fn figures_for_prometheus_name_nobody() {
    let service = Service::new().await;
    let id = service.integration("Stitch \"Bronto\"").await;
    service.run(&id).await;
    service.member("GET", "/api/v1/runs/nothing").send().await;
    let answer = service.member("GET", "/metrics").send().await;
    for line in [
        "backstitch_integrations_active 1",
        "backstitch_runs_due 1",
        "backstitch_http_requests_total{route=\"/api/v1/runs/{run_id}\",method=\"GET\",status=\"404\"} 1",
        "backstitch_http_request_duration_seconds_count{route=\"/api/v1/integrations\",method=\"POST\"} 1",
    ] {
        assert!(answer.body.lines().any(|found| found == line), "{line} in {}", answer.body);
    }
    for name in [id.as_str(), "Stitch", "member", "nothing"] {
        assert!(!answer.body.contains(name), "{name}");
    }
    service.anonymous("GET", "/metrics").send().await.problem(401, "unauthenticated");
}
