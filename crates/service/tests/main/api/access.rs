//! Who may use which route: every route, for every role and scope.

use std::fmt::Write;

use axum::http::StatusCode;
use secrecy::ExposeSecret;
use service::{
    api::{Access, route_table},
    store::{Role, Scope},
};

use super::Service;

#[test]
fn access_is_as_it_was_agreed() {
    let mut table = String::new();
    for route in route_table() {
        writeln!(table, "{:6} {} — {}", route.method, route.path, route.access.words()).unwrap();
    }
    insta::assert_snapshot!(table);
}

#[tokio::test]
async fn every_route_is_open_to_whom_it_is_for_and_to_nobody_else() {
    let service = Service::with(|options| options.rates.caller.burst = u32::MAX).await;
    for route in route_table() {
        let path = concrete(route.path);
        let nobody =
            service.anonymous(route.method, &path).header("content-type", "application/json");
        let nobody = nobody.text("{}").send().await;
        if route.access == Access::Public {
            assert!(nobody.status != StatusCode::FORBIDDEN, "{route:?}");
            continue;
        }
        nobody.problem(401, "unauthenticated");
        assert_eq!(nobody.header("www-authenticate"), "Bearer");
        for role in [Role::Administrator, Role::Member, Role::Viewer] {
            for scope in [Scope::Read, Scope::Write] {
                let token = service.tokens[&(role, scope)].expose_secret();
                let call = service.anonymous(route.method, &path);
                let call = call.header("authorization", &format!("Bearer {token}"));
                let answer =
                    call.header("content-type", "application/json").text("{}").send().await;
                if may(route.access, role, scope) {
                    let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
                    assert!(!refused.contains(&answer.status), "{route:?} {role:?} {scope:?}");
                    assert!(!answer.status.is_server_error(), "{route:?} {}", answer.body);
                } else {
                    answer.problem(403, "forbidden");
                }
            }
        }
    }
}

/// The same as [`Access::admits`], told otherwise.
fn may(access: Access, role: Role, scope: Scope) -> bool {
    let Access::Caller { role: least, scope: needed } = access else { return true };
    let roles: &[Role] = match least {
        Role::Viewer => &[Role::Viewer, Role::Member, Role::Administrator],
        Role::Member => &[Role::Member, Role::Administrator],
        Role::Administrator => &[Role::Administrator],
    };
    roles.contains(&role) && (needed == Scope::Read || scope == Scope::Write)
}

/// A path of something that there isn't.
fn concrete(path: &str) -> String {
    let part =
        |part: &str| if part.starts_with('{') { "nothing".to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn a_token_that_is_revoked_or_has_expired_is_none() {
    let service = Service::new().await;
    let (user, _) = service.store.user_to_sign_in("viewer").await.unwrap().unwrap();
    let end = service.now() + chrono::TimeDelta::hours(1);
    let made = service.store.create_token(&user.id, "short", Scope::Read, Some(end), service.now());
    let made = made.await.unwrap();
    let header = format!("Bearer {}", made.text.expose_secret());
    let who =
        || service.anonymous("GET", "/api/v1/session").header("authorization", &header).send();
    assert_eq!(who().await.value()["name"], "viewer");
    service.pass(chrono::TimeDelta::hours(1));
    who().await.problem(401, "unauthenticated");
    for header in ["Bearer", "Basic dGVzdA==", "Bearer nothing", ""] {
        let call = service.anonymous("GET", "/api/v1/session").header("authorization", header);
        call.send().await.problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_caller_may_ask_only_so_much() {
    let service = Service::with(|options| options.rates.caller.burst = 3).await;
    let ask = || service.member("GET", "/api/v1/session").send();
    for _ in 0..3 {
        assert_eq!(ask().await.status, StatusCode::OK);
    }
    let answer = ask().await;
    answer.problem(429, "too-many");
    assert_eq!(answer.header("retry-after"), "1");
    // Another caller isn't touched by it.
    let other = service.administrator("GET", "/api/v1/session").send().await;
    assert_eq!(other.status, StatusCode::OK);
    service.pass(chrono::TimeDelta::seconds(1));
    assert_eq!(ask().await.status, StatusCode::OK);
}
