//! Runs for more than what is new: backfills, and audits with their reports.

use chrono::TimeDelta;
use serde_json::json;
use service::{
    run::RunState,
    task::{BookmarkMove, Task},
};

use super::Service;

#[tokio::test]
async fn a_backfill_is_a_run_of_its_own() {
    let service = Service::new().await;
    let id = service.integration("One").await;
    let path = format!("/api/v1/integrations/{id}/backfill");
    let ask = |body: serde_json::Value| {
        let call = service.member("POST", &path);
        async move { call.json(&body).await }
    };
    let (from, before) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    for (wrong, pointer) in [
        (json!({ "from": before, "before": from }), "/from"),
        (json!({ "from": "2030-01-01T00:00:00Z", "before": "2030-02-01T00:00:00Z" }), "/from"),
        (json!({ "from": from, "before": before, "tables": ["contacts"] }), "/tables"),
    ] {
        assert_eq!(ask(wrong).await.pointers(), [pointer]);
    }
    let span = json!({ "from": from, "before": before, "tables": ["contact"] });
    let begun = ask(span.clone()).await;
    assert_eq!(begun.status, 201, "{}", begun.body);
    let view = begun.value();
    assert_eq!((&view["task"], &view["has_report"]), (&json!("backfill"), &json!(false)));
    let run = service.store.run(view["id"].as_str().unwrap()).await.unwrap();
    let (from, before) = (from.parse().unwrap(), before.parse().unwrap());
    assert_eq!(run.task, Some(Task::Backfill { from, before, tables: vec!["contact".to_owned()] }));
    ask(span).await.problem(409, "already-running");
}

#[tokio::test]
async fn an_audit_has_a_report_when_it_has_ended() {
    let service = Service::new().await;
    let id = service.integration("One").await;
    let path = format!("/api/v1/integrations/{id}/audit");
    let wrong = service.member("POST", &path).json(&json!({ "days": 0 })).await;
    assert_eq!(wrong.pointers(), ["/days"]);
    let begun = service.member("POST", &path).json(&json!({ "repair": true })).await;
    assert_eq!(begun.status, 201, "{}", begun.body);
    let run_id = begun.value()["id"].as_str().unwrap().to_owned();
    let (store, now) = (&service.store, service.now());
    let task = store.run(&run_id).await.unwrap().task;
    assert_eq!(task, Some(Task::Audit { tables: Vec::new(), days: 7, repair: true }));
    let path = format!("/api/v1/runs/{run_id}/report");
    service.member("GET", &path).send().await.problem(404, "not-found");
    let claim = store.claim(&run_id, "here", TimeDelta::hours(1), now).await.unwrap().unwrap();
    let report = json!({ "equal": true, "tables": [] });
    assert!(store.record_report(&claim, &report).await.unwrap());
    store.finish(&claim, RunState::Succeeded, None, now).await.unwrap();
    // Another attempt's worker writes nothing any more.
    assert!(!store.record_report(&claim, &json!({})).await.unwrap());
    let shown = service.member("GET", &path).send().await.value();
    assert_eq!(shown, json!({ "run_id": run_id, "kind": "audit", "report": report }));
    let run = service.member("GET", &format!("/api/v1/runs/{run_id}")).send().await.value();
    assert_eq!(run["has_report"], true);
}

#[tokio::test]
async fn a_replay_is_told_first_and_is_a_run_once_confirmed() {
    let service = Service::new().await;
    let id = service.integration("One").await;
    let path = format!("/api/v1/integrations/{id}/replay");
    let ask = |body: serde_json::Value| {
        let call = service.member("POST", &path);
        async move { call.json(&body).await }
    };
    let nothing = ask(json!({ "reason": "number_range" })).await.value();
    assert_eq!((&nothing["confirm"], &nothing["tables"]), (&json!(null), &json!([])));
    let told = ask(json!({ "table": "contact" })).await.value();
    assert_eq!((&told["is_started"], &told["run"]), (&json!(false), &json!(null)));
    assert_eq!(told["tables"][0]["rejected_again"][0]["rows"], 1, "{told:#}");
    let sentences = told["consequences"].to_string();
    assert!(sentences.contains("3 rejected rows of `contact`, 2 can be read"), "{sentences}");
    let confirm = &told["confirm"];
    // What was confirmed is this replay, and no other.
    let other = json!({ "table": "contact", "id": "r1", "confirm": confirm });
    ask(other).await.problem(409, "not-confirmed");
    let done = ask(json!({ "table": "contact", "confirm": confirm })).await.value();
    assert_eq!((&done["is_started"], &done["run"]["task"]), (&json!(true), &json!("replay")));
    let run = service.store.run(done["run"]["id"].as_str().unwrap()).await.unwrap();
    let table = Some("contact".to_owned());
    assert_eq!(run.task, Some(Task::Replay { table, reason_code: None, id: None }));
    let again = json!({ "table": "contact", "confirm": confirm });
    ask(again).await.problem(409, "already-running");
    let wrong = ask(json!({ "table": "contacts" })).await;
    assert_eq!(wrong.pointers(), ["/tables"]);
}

#[tokio::test]
async fn bookmarks_move_as_it_was_told() {
    let service = Service::new().await;
    let id = service.integration("One").await;
    let path = format!("/api/v1/integrations/{id}");
    let ask = |body: serde_json::Value| {
        let call = service.member("POST", &format!("{path}/rewind"));
        async move { call.json(&body).await }
    };
    assert_eq!(ask(json!({})).await.pointers(), [""]);
    assert_eq!(ask(json!({ "remove": ["contacts"] })).await.pointers(), [""]);
    let wish = json!({ "rewind": { "contact": "7d" }, "remove_tap_state": true });
    let told = ask(wish.clone()).await.value();
    assert_eq!((&told["is_started"], &told["run"]), (&json!(false), &json!(null)));
    assert_eq!(
        told["moves"],
        json!([{ "stream": "contact", "from": "2026-01-08T00:00:00Z", "to": "2026-01-01T00:00:00Z",
                 "rows_again_at_most": 5, "skips": false }])
    );
    assert_eq!(told["removed_tap_state"], json!({ "page": 3 }));
    let confirmed = |told: &serde_json::Value| {
        let mut body = wish.clone();
        body["confirm"] = told["confirm"].clone();
        body
    };
    // The bookmark moves in the meantime.
    let settings = json!({ "endpoint": "https://one.example", "bookmark": "2026-01-09T00:00:00Z" });
    let edit = service.member("PATCH", &path).header("if-match", "\"1\"");
    assert_eq!(edit.json(&json!({ "settings": settings })).await.status, 200);
    ask(confirmed(&told)).await.problem(409, "not-confirmed");
    let told = ask(wish.clone()).await.value();
    let done = ask(confirmed(&told)).await.value();
    assert_eq!((&done["is_started"], &done["run"]["task"]), (&json!(true), &json!("rewind")));
    let run = service.store.run(done["run"]["id"].as_str().unwrap()).await.unwrap();
    let instant = |text: &str| text.parse().unwrap();
    let moved = BookmarkMove {
        stream: "contact".to_owned(),
        from: instant("2026-01-09T00:00:00Z"),
        to: Some(instant("2026-01-02T00:00:00Z")),
    };
    let tap_state = Some(service::task::digest_of_state(&json!({ "page": 3 })));
    assert_eq!(run.task, Some(Task::Rewind { moves: vec![moved], tap_state }));
    ask(confirmed(&told)).await.problem(409, "already-running");
}
