//! What is done with integrations.

use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use serde_json::{Value, json};
use service::integration::{NewIntegration, Origin};

use super::{Answer, MARKER, Service};
use crate::at;

fn settings(endpoint: &str) -> Value {
    json!({ "endpoint": endpoint })
}

fn path(id: &str, rest: &str) -> String {
    format!("/api/v1/integrations/{id}{rest}")
}

async fn edit(service: &Service, id: &str, version: i64, body: &Value) -> Answer {
    let call = service.member("PATCH", &path(id, ""));
    call.header("if-match", &format!("\"{version}\"")).json(body).await
}

#[tokio::test]
async fn an_integration_is_made_and_shown_in_stitchs_words() {
    let service = Service::new().await;
    let body = json!({
        "name": "Stitch Bronto",
        "settings": settings("https://one.example"),
        "secrets": { "token": MARKER },
        "schedule": { "every": "6h", "anchor": "2026-05-01T13:00:00Z" },
    });
    let made = service.member("POST", "/api/v1/integrations").json(&body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let view = made.value();
    let id = view["id"].as_str().unwrap();
    assert_eq!(made.header("location"), path(id, ""));
    assert_eq!(made.header("etag"), "\"1\"");
    insta::assert_snapshot!(format!("{view:#}").replace(id, "[id]"));
    assert_eq!(service.wakes.load(Ordering::Relaxed), 1);
    let read = service.member("GET", &path(id, "")).send().await;
    assert_eq!((read.value(), read.header("etag")), (view.clone(), "\"1\""));
    let listed = service.member("GET", "/api/v1/integrations").send().await.value();
    assert_eq!(listed, json!({ "items": [view], "next": null }));
    let stored = service.store.secrets(id).await.unwrap();
    assert_eq!((stored.len(), stored[0].name.as_str()), (1, "token"));
    service.member("POST", "/api/v1/integrations").json(&body).await.problem(409, "taken");
}

#[tokio::test]
async fn integrations_come_in_pages_by_name() {
    let service = Service::new().await;
    for name in ["b", "d", "a", "c"] {
        service.integration(name).await;
    }
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = service.member("GET", "/api/v1/integrations").send().await.value();
    assert_eq!(
        (names(&all), &all["next"]),
        (vec!["a", "b", "c", "d"].into_iter().map(str::to_owned).collect(), &Value::Null)
    );
    let first = service.member("GET", "/api/v1/integrations?limit=3").send().await.value();
    let next = first["next"].as_str().unwrap();
    let path = format!("/api/v1/integrations?limit=3&cursor={next}");
    let second = service.member("GET", &path).send().await.value();
    assert_eq!(
        (names(&first).len(), names(&second), &second["next"]),
        (3, vec!["d".to_owned()], &Value::Null)
    );
}

#[tokio::test]
async fn what_cannot_be_taken_is_told_with_its_place() {
    let service = Service::new().await;
    let with = |change: fn(&mut Value)| {
        let mut body = json!({
            "name": "One",
            "settings": settings("https://one.example"),
            "secrets": { "token": MARKER },
        });
        change(&mut body);
        body
    };
    for (body, pointers) in [
        (with(|body| body["name"] = "\u{7}".into()), vec!["/name"]),
        (with(|body| body["name"] = "x".repeat(201).into()), vec!["/name"]),
        (with(|body| body["settings"] = json!({})), vec!["/settings/endpoint"]),
        (with(|body| body["settings"]["command"] = "sh".into()), vec!["/settings/command"]),
        (with(|body| body["secrets"] = json!({})), vec!["/secrets/token"]),
        (
            with(|body| body["secrets"] = json!({ "token": MARKER, "tokn": MARKER })),
            vec!["/secrets/tokn"],
        ),
        (with(|body| body["start_date"] = "2026-05-01T12:00:01Z".into()), vec!["/start_date"]),
        (with(|body| body["start_date"] = "1969-12-31T00:00:00Z".into()), vec!["/start_date"]),
        (with(|body| body["schedule"] = json!({ "every": "2h" })), vec!["/schedule/every"]),
        (with(|body| body["schedule"] = json!({ "cron": "* * * * * *" })), vec!["/schedule/cron"]),
        (with(|body| body["schedule"] = json!({})), vec!["/schedule"]),
        (with(|body| body["schedule"] = json!({ "cron": "0 0 0 1 1 ? 2020" })), vec!["/schedule"]),
    ] {
        let answer = service.member("POST", "/api/v1/integrations").json(&body).await;
        assert_eq!(answer.pointers(), pointers, "{body}");
    }
    assert!(service.store.integrations().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_edit_needs_the_version_that_was_read() {
    let service = Service::new().await;
    let id = service.integration("One").await;
    let body = json!({ "name": "Uno", "schedule": { "every": "1h" } });
    let call = service.member("PATCH", &path(&id, ""));
    call.json(&body).await.problem(428, "version-required");
    edit(&service, &id, 2, &body).await.problem(412, "changed");
    let edited = edit(&service, &id, 1, &body).await;
    assert_eq!((edited.header("etag"), &edited.value()["name"]), ("\"2\"", &json!("Uno")));
    assert_eq!(edited.value()["schema_name"], "one");
    edit(&service, &id, 1, &body).await.problem(412, "changed");
    let edited = edit(&service, &id, 2, &json!({ "schedule": null })).await;
    assert_eq!(edited.value()["schedule"], Value::Null);
    let same = edit(&service, &id, 3, &json!({})).await.value();
    assert_eq!((&same["name"], &same["version"]), (&json!("Uno"), &json!(4)));
}

#[tokio::test]
async fn a_secret_does_not_follow_an_address_that_changes() {
    let service = Service::new().await;
    let id = service.integration("One").await;
    let moved = json!({ "settings": settings("https://evil.example") });
    assert_eq!(edit(&service, &id, 1, &moved).await.pointers(), ["/secrets/token"]);
    let check = service.member("POST", &path(&id, "/checks")).json(&moved).await;
    assert_eq!(check.pointers(), ["/secrets/token"]);
    assert!(service.host.tried.lock().unwrap().is_empty());
    let given =
        json!({ "settings": settings("https://two.example"), "secrets": { "token": "new" } });
    assert_eq!(edit(&service, &id, 1, &given).await.status, StatusCode::OK);
    let checked = service.member("POST", &path(&id, "/checks")).json(&json!({})).await.value();
    assert_eq!(checked["is_ok"], true);
    assert_eq!(*service.host.tried.lock().unwrap(), ["new"]);
    // What stays where it is needs nothing.
    let same = json!({ "settings": { "endpoint": "https://two.example", "more": 1 } });
    assert_eq!(edit(&service, &id, 2, &same).await.value()["settings"]["more"], 1);
}

#[tokio::test]
async fn connections_are_tried_before_anything_is_saved() {
    let service = Service::new().await;
    let body = json!({
        "name": "One",
        "settings": { "endpoint": "https://one.example", "is_broken": true },
        "secrets": { "token": MARKER },
    });
    let answer = service.member("POST", "/api/v1/integration-checks").json(&body).await;
    assert_eq!(answer.status, StatusCode::OK);
    insta::assert_snapshot!(format!("{:#}", answer.value()));
    assert_eq!(*service.host.tried.lock().unwrap(), [MARKER]);
    assert!(service.store.integrations().await.unwrap().is_empty());
}

#[tokio::test]
async fn pausing_resuming_and_running_now() {
    let service = Service::new().await;
    let id = service.integration("One").await;
    let status = |answer: Answer| answer.value()["status"]["reason"].as_str().unwrap().to_owned();
    let paused = service.member("POST", &path(&id, "/pause")).send().await;
    assert_eq!(status(paused), "paused_by_user");
    let run_id = service.run(&id).await;
    let again = service.member("POST", &path(&id, "/runs")).send().await;
    assert_eq!(again.problem(409, "already-running")["run_id"], run_id.as_str());
    service.member("DELETE", &path(&id, "")).send().await.problem(409, "already-running");
    let shown = service.member("GET", &path(&id, "")).send().await.value();
    assert_eq!(
        (&shown["status"]["label"], &shown["last_run"]["id"]),
        (&json!("Pending"), &json!(run_id))
    );
    let stop = format!("/api/v1/runs/{run_id}/stop");
    for _ in 0..2 {
        assert_eq!(service.member("POST", &stop).send().await.value()["state"], "stopped");
    }
    let resumed = service.member("POST", &path(&id, "/resume")).send().await;
    assert_eq!(status(resumed), "hand");
    service.member("POST", &path("nothing", "/runs")).send().await.problem(404, "not-found");
}

#[tokio::test]
async fn a_reset_tells_its_consequences_and_is_confirmed() {
    let service = Service::new().await;
    let id = service.integration("One").await;
    let reset = |body: Value| {
        let call = service.member("POST", &path(&id, "/reset"));
        async move { call.json(&body).await }
    };
    let date = "2026-01-01T00:00:00Z";
    let told = reset(json!({ "start_date": date })).await.value();
    assert_eq!(
        (&told["is_done"], &told["consequences"]),
        (&json!(false), &json!(["Everything since 2026-01-01 00:00:00 UTC is read again"]))
    );
    let unchanged = service.store.integration(&id).await.unwrap();
    assert_eq!(unchanged.start_date, at("2025-05-01 00:00"));
    let other = json!({ "start_date": "2026-01-02T00:00:00Z", "confirm": told["confirm"] });
    reset(other).await.problem(409, "not-confirmed");
    let confirmed = json!({ "start_date": date, "confirm": told["confirm"] });
    assert_eq!(reset(confirmed.clone()).await.value()["is_done"], true);
    assert_eq!(service.store.integration(&id).await.unwrap().start_date, at("2026-01-01 00:00"));
    // It is another integration now.
    reset(confirmed).await.problem(409, "not-confirmed");
}

#[tokio::test]
async fn a_clone_is_paused_and_brings_its_own_secret() {
    let service = Service::new().await;
    let id = service.integration("One").await;
    let clone = |body: Value| {
        let call = service.member("POST", &path(&id, "/clone"));
        async move { call.json(&body).await }
    };
    assert_eq!(clone(json!({ "name": "Two" })).await.pointers(), ["/secrets/token"]);
    let made = clone(json!({ "name": "Two", "secrets": { "token": MARKER } })).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let view = made.value();
    assert_eq!((&view["schema_name"], &view["paused"]["by"]), (&json!("two"), &json!("user")));
    assert_eq!(view["settings"], settings("https://one.example"));
    let taken = json!({ "name": "Three", "schema_name": "one", "secrets": { "token": MARKER } });
    clone(taken).await.problem(409, "taken");
}

#[tokio::test]
async fn what_a_file_declares_is_read_only() {
    let service = Service::new().await;
    let new = NewIntegration {
        origin: Origin::File,
        settings: json!({ "endpoint": "https://one.example", "command": "tap" })
            .as_object()
            .unwrap()
            .clone(),
        ..crate::new_integration("Declared", None)
    };
    let id = service.store.create_integration(&new, service.now()).await.unwrap().id;
    edit(&service, &id, 1, &json!({ "name": "x" })).await.problem(409, "read-only");
    service.member("DELETE", &path(&id, "")).send().await.problem(409, "read-only");
    let reset = json!({ "start_date": "2026-01-01T00:00:00Z" });
    service.member("POST", &path(&id, "/reset")).json(&reset).await.problem(409, "read-only");
    let other = json!({ "settings": settings("https://evil.example") });
    service.member("POST", &path(&id, "/checks")).json(&other).await.problem(409, "read-only");
    assert_eq!(
        service.member("POST", &path(&id, "/checks")).json(&json!({})).await.status,
        StatusCode::OK
    );
    // Nobody gets at a command by a copy.
    let clone = json!({ "name": "Copy", "secrets": {} });
    let answer = service.member("POST", &path(&id, "/clone")).json(&clone).await;
    assert_eq!(answer.pointers(), ["/settings/command"]);
    service.run(&id).await;
}

#[tokio::test]
async fn what_no_file_declares_any_more_can_be_deleted() {
    let service = Service::new().await;
    let new = NewIntegration { origin: Origin::File, ..crate::new_integration("Declared", None) };
    service
        .store
        .declare_integrations(std::slice::from_ref(&new), &[], service.now())
        .await
        .unwrap();
    let id = service.store.integrations().await.unwrap().remove(0).id;
    service.store.declare_integrations(&[], &[], service.now()).await.unwrap();
    let shown = service.member("GET", &path(&id, "")).send().await.value();
    assert!(shown["undeclared_at"].is_string(), "{shown}");
    let deleted = service.member("DELETE", &path(&id, "")).send().await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{}", deleted.body);
    // Declared again it is another.
    service.store.declare_integrations(&[new], &[], service.now()).await.unwrap();
    assert_ne!(service.store.integrations().await.unwrap()[0].id, id);
}

#[tokio::test]
async fn what_is_deleted_is_still_shown_and_does_nothing_any_more() {
    let service = Service::new().await;
    let id = service.integration("One").await;
    let deleted = service.member("DELETE", &path(&id, "")).send().await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    assert!(service.store.secrets(&id).await.unwrap().is_empty());
    let shown = service.member("GET", &path(&id, "")).send().await.value();
    assert_eq!(
        (&shown["status"]["label"], &shown["status"]["reason"]),
        (&json!("Not Syncing"), &json!("deleted"))
    );
    edit(&service, &id, 2, &json!({ "name": "x" })).await.problem(404, "not-found");
    for rest in ["/pause", "/resume", "/runs"] {
        service.member("POST", &path(&id, rest)).send().await.problem(404, "not-found");
    }
    // The name is free again.
    service.integration("One").await;
}

#[tokio::test]
async fn the_next_starts_of_a_schedule_are_shown() {
    let service = Service::new().await;
    let preview = |body: Value| {
        let call = service.member("POST", "/api/v1/schedule-previews");
        async move { call.json(&body).await }
    };
    let cron =
        json!({ "schedule": { "cron": "0 0 9 ? * MON-FRI", "zone": "Europe/Berlin" }, "count": 2 });
    assert_eq!(
        preview(cron).await.value(),
        json!({
            "starts": ["2026-05-04T07:00:00Z", "2026-05-05T07:00:00Z"],
            "local_starts": ["2026-05-04T09:00:00+02:00", "2026-05-05T09:00:00+02:00"],
            "warnings": [],
        })
    );
    let counted =
        json!({ "schedule": { "every": "6h" }, "count": 1, "last_start": "2026-05-01T11:30:00Z" });
    assert_eq!(preview(counted).await.value()["starts"], json!(["2026-05-01T17:30:00Z"]));
    let over = json!({ "schedule": { "cron": "0 0 0 1 1 ? 2020" } });
    assert_eq!(preview(over).await.value()["warnings"].as_array().unwrap().len(), 1);
    let wrong = json!({ "schedule": { "every": "1h", "anchor": "2026-01-01T00:00:00Z", "zone": "Europe/Berln" } });
    let wrong = preview(wrong).await;
    assert_eq!(wrong.pointers(), ["/schedule/zone"]);
    assert_eq!(wrong.value()["remedy"], "Did you mean `Europe/Berlin`?");
    assert_eq!(
        preview(json!({ "schedule": { "every": "1h" }, "count": 101 })).await.pointers(),
        ["/count"]
    );
}
