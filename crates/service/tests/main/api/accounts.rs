//! Users and tokens.

use axum::http::StatusCode;
use serde_json::json;
use service::store::Role;

use super::{PASSWORD, Service};

async fn user_id(service: &Service, name: &str) -> String {
    let users = service.administrator("GET", "/api/v1/users").send().await.value();
    let users = users["items"].as_array().unwrap();
    let found = users.iter().find(|user| user["name"] == name).unwrap();
    found["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn users_are_made_changed_and_disabled() {
    let service = Service::new().await;
    let body = json!({ "name": "Zoë", "role": "viewer", "password": PASSWORD });
    let made = service.administrator("POST", "/api/v1/users").json(&body).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let path = made.header("location").to_owned();
    assert_eq!(path, format!("/api/v1/users/{}", made.value()["id"].as_str().unwrap()));
    service.administrator("POST", "/api/v1/users").json(&body).await.problem(409, "taken");
    let edit = json!({ "role": "member", "password": "another long one" });
    let edited = service.administrator("PATCH", &path).json(&edit).await;
    assert_eq!(edited.value()["role"], "member");
    let sign_in = json!({ "name": "Zoë", "password": "another long one" });
    let signed_in = service.anonymous("POST", "/api/v1/session").json(&sign_in).await;
    let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
    let disabled = service.administrator("DELETE", &path).send().await;
    assert_eq!(disabled.status, StatusCode::NO_CONTENT);
    let who = service.anonymous("GET", "/api/v1/session").header("cookie", &cookie).send().await;
    who.problem(401, "unauthenticated");
    service
        .anonymous("POST", "/api/v1/session")
        .json(&sign_in)
        .await
        .problem(401, "unauthenticated");
    let shown = service.administrator("GET", &path).send().await.value();
    assert_eq!(shown["disabled_at"], "2026-05-01T12:00:00Z");
    for (body, pointer) in [
        (json!({ "name": "x", "role": "king", "password": PASSWORD }), "/role"),
        (json!({ "name": "x", "role": "viewer", "password": "short" }), "/password"),
        (json!({ "name": " x", "role": "viewer", "password": PASSWORD }), "/name"),
        (json!({ "name": "a\u{202e}b", "role": "viewer", "password": PASSWORD }), "/name"),
    ] {
        let answer = service.administrator("POST", "/api/v1/users").json(&body).await;
        assert_eq!(answer.pointers(), [pointer]);
    }
}

#[tokio::test]
async fn somebody_is_always_an_administrator() {
    let service = Service::new().await;
    let path = format!("/api/v1/users/{}", user_id(&service, "administrator").await);
    let demote = json!({ "role": "viewer" });
    let problem = service.administrator("PATCH", &path).json(&demote).await;
    problem.problem(409, "last-administrator");
    service.administrator("DELETE", &path).send().await.problem(409, "last-administrator");
    let other = format!("/api/v1/users/{}", user_id(&service, "member").await);
    let promote = json!({ "role": "administrator" });
    assert_eq!(service.administrator("PATCH", &other).json(&promote).await.status, StatusCode::OK);
    assert_eq!(service.administrator("PATCH", &path).json(&demote).await.status, StatusCode::OK);
    service.administrator("GET", "/api/v1/users").send().await.problem(403, "forbidden");
}

#[tokio::test]
async fn tokens_are_shown_once_and_revoked_by_their_owner_or_an_administrator() {
    let service = Service::new().await;
    let body = json!({ "name": "mine", "scope": "read", "expires_at": "2026-06-01T00:00:00Z" });
    let made = service.member("POST", "/api/v1/tokens").json(&body).await.value();
    let text = made["token"].as_str().unwrap();
    assert!(text.starts_with("backstitch_"));
    let listed = service.member("GET", "/api/v1/tokens").send().await;
    assert!(!listed.body.contains(text));
    let names: Vec<_> = listed.value()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token["name"].clone())
        .collect();
    assert_eq!(names, ["mine", "test", "test"]);
    let path = format!("/api/v1/tokens/{}", made["id"].as_str().unwrap());
    service.request(Role::Viewer, "DELETE", &path).send().await.problem(404, "not-found");
    let who = || {
        let call = service.anonymous("GET", "/api/v1/session");
        call.header("authorization", &format!("Bearer {text}")).send()
    };
    assert_eq!(who().await.value()["scope"], "read");
    let revoked = service.administrator("DELETE", &path).send().await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    who().await.problem(401, "unauthenticated");
    service.administrator("DELETE", &path).send().await.problem(404, "not-found");
    for (body, pointer) in [
        (json!({ "name": "x", "scope": "all" }), "/scope"),
        (
            json!({ "name": "x", "scope": "read", "expires_at": "2026-05-01T12:00:00Z" }),
            "/expires_at",
        ),
    ] {
        assert_eq!(
            service.member("POST", "/api/v1/tokens").json(&body).await.pointers(),
            [pointer]
        );
    }
    let path = format!("/api/v1/users/{}/tokens", user_id(&service, "viewer").await);
    let body = json!({ "name": "for a program", "scope": "read" });
    let made = service.administrator("POST", &path).json(&body).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let listed = service.administrator("GET", &path).send().await.value();
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
}
