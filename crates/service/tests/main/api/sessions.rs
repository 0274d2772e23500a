//! Signing in, and what the cookie is worth.

use axum::http::StatusCode;
use chrono::TimeDelta;
use serde_json::json;

use super::{Answer, MARKER, PASSWORD, Service};

async fn sign_in(service: &Service, name: &str, password: &str) -> Answer {
    let body = json!({ "name": name, "password": password });
    service.anonymous("POST", "/api/v1/session").json(&body).await
}

/// Signs in, and answers the cookie.
async fn cookie(service: &Service, name: &str) -> String {
    let answer = sign_in(service, name, PASSWORD).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

async fn who(service: &Service, cookie: &str) -> Answer {
    service.anonymous("GET", "/api/v1/session").header("cookie", cookie).send().await
}

#[tokio::test]
async fn a_session_lasts_while_it_is_used_and_not_for_ever() {
    let service = Service::new().await;
    let answer = sign_in(&service, "member", PASSWORD).await;
    assert_eq!(answer.value()["role"], "member");
    let set = answer.header("set-cookie");
    assert!(set.starts_with("backstitch=") && !set.contains("Secure"), "{set}");
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=1209600"] {
        assert!(set.contains(attribute), "{set}");
    }
    let cookie = set.split(';').next().unwrap();
    let is_alive = || async { who(&service, cookie).await.status == StatusCode::OK };
    for _ in 0..30 {
        assert!(is_alive().await);
        service.pass(TimeDelta::hours(11));
    }
    assert!(is_alive().await);
    service.pass(TimeDelta::minutes(6 * 60 - 1));
    assert!(is_alive().await);
    // Two weeks are over, a minute after its last use.
    service.pass(TimeDelta::minutes(1));
    who(&service, cookie).await.problem(401, "unauthenticated");
    let cookie = self::cookie(&service, "member").await;
    service.pass(TimeDelta::hours(12));
    who(&service, &cookie).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_cookie_counts_only_from_the_services_own_pages() {
    let service = Service::new().await;
    let cookie = cookie(&service, "member").await;
    let create = |headers: &[(&str, &str)]| {
        let mut call = service.anonymous("POST", "/api/v1/tokens").header("cookie", &cookie);
        for (name, value) in headers {
            call = call.header(name, value);
        }
        call
    };
    let body = json!({ "name": "mine", "scope": "read" });
    let host = ("host", "here.example");
    for headers in [
        vec![host],
        vec![host, ("sec-fetch-site", "cross-site")],
        vec![host, ("sec-fetch-site", "same-site")],
        vec![host, ("origin", "https://evil.example")],
    ] {
        create(&headers).json(&body).await.problem(403, "cross-site");
    }
    for headers in [
        vec![host, ("sec-fetch-site", "same-origin")],
        vec![host, ("origin", "https://here.example")],
    ] {
        assert_eq!(create(&headers).json(&body).await.status, StatusCode::CREATED);
    }
    let body = json!({ "name": "member", "password": PASSWORD });
    let call =
        service.anonymous("POST", "/api/v1/session").header("origin", "https://evil.example");
    call.json(&body).await.problem(403, "cross-site");
}

#[tokio::test]
async fn signing_out_ends_the_session() {
    let service = Service::new().await;
    let cookie = cookie(&service, "viewer").await;
    let call = service.anonymous("DELETE", "/api/v1/session").header("cookie", &cookie);
    let answer = call.header("sec-fetch-site", "same-origin").send().await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    who(&service, &cookie).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_look_alike_and_are_limited() {
    let service = Service::new().await;
    let wrong_name = sign_in(&service, "nobody", PASSWORD).await;
    let wrong_password = sign_in(&service, "member", MARKER).await;
    wrong_name.problem(401, "unauthenticated");
    assert_eq!(wrong_name.body, wrong_password.body);
    for _ in 0..9 {
        sign_in(&service, "nobody", "whatever it is").await.problem(401, "unauthenticated");
    }
    let late = sign_in(&service, "nobody", "whatever it is").await;
    late.problem(429, "too-many");
    assert_eq!(late.header("retry-after"), "31");
    // Others may still sign in.
    cookie(&service, "member").await;
}

#[tokio::test]
async fn another_password_ends_all_sessions() {
    let service = Service::new().await;
    let cookies = [cookie(&service, "member").await, cookie(&service, "member").await];
    let change = |current: &str, new: &str| {
        let body = json!({ "current": current, "new": new });
        let call =
            service.anonymous("PUT", "/api/v1/session/password").header("cookie", &cookies[0]);
        async move { call.header("sec-fetch-site", "same-origin").json(&body).await }
    };
    assert_eq!(change("something else", "another long one").await.pointers(), ["/current"]);
    assert_eq!(change(PASSWORD, "short").await.pointers(), ["/new"]);
    assert_eq!(change(PASSWORD, "another long one").await.status, StatusCode::NO_CONTENT);
    for cookie in &cookies {
        who(&service, cookie).await.problem(401, "unauthenticated");
    }
    sign_in(&service, "member", PASSWORD).await.problem(401, "unauthenticated");
    let again = sign_in(&service, "member", "another long one").await;
    assert_eq!(again.status, StatusCode::CREATED);
}

#[tokio::test]
async fn by_tls_the_cookie_is_sent_by_nothing_else() {
    let service = Service::with(|options| options.is_secure = true).await;
    let answer = sign_in(&service, "member", PASSWORD).await;
    let set = answer.header("set-cookie");
    assert!(set.starts_with("__Host-backstitch=") && set.ends_with("; Secure"), "{set}");
    assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
    let cookie = set.split(';').next().unwrap();
    assert_eq!(who(&service, cookie).await.status, StatusCode::OK);
    let bare = cookie.trim_start_matches("__Host-");
    who(&service, bare).await.problem(401, "unauthenticated");
}
