//! Runs for more than what is new: backfills, and audits with their reports.

use chrono::TimeDelta;
use serde_json::json;
use service::{run::RunState, task::Task};

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
