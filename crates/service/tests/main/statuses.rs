//! An integration's state in Stitch's words, from its making to its deletion.

use chrono::TimeDelta;
use serde_json::json;
use service::{
    PendingReason, Status, Store, StoreError,
    integration::{Integration, IntegrationEdit, PausedBy},
    run::RunState,
    status,
    store::Start,
};

use crate::{at, new_integration, parsed, subject::Subject};

async fn shown(store: &Store, integration: &Integration, now: &str) -> Status {
    let integration = store.integration(&integration.id).await.unwrap();
    let last_run = store.last_run(&integration.id).await.unwrap();
    status(&integration, last_run.as_ref(), at(now))
}

fn pending(reason: PendingReason, start: Option<&str>) -> Status {
    Status::Pending { reason, expected_start: start.map(at) }
}

#[tokio::test]
async fn from_pending_to_deleted() {
    let subject = Subject::sqlite().await;
    let store = &subject.store;
    let anchored = json!({ "every": "24h", "anchor": "2026-05-01T13:00:00Z" });
    let new = new_integration("One", Some(parsed(anchored)));
    let one = store.create_integration(&new, at("2026-05-01 16:00")).await.unwrap();
    let first = shown(store, &one, "2026-05-01 16:00").await;
    assert_eq!(first, pending(PendingReason::FirstRun, Some("2026-05-02 13:00")));
    assert_eq!(first.label(), "Pending");

    let Start::Begun { run_id } =
        store.start_by_hand(&one.id, at("2026-05-01 16:05")).await.unwrap()
    else {
        panic!("a run is alive");
    };
    let waiting = shown(store, &one, "2026-05-01 16:06").await;
    assert_eq!(waiting, pending(PendingReason::Worker, Some("2026-05-01 16:06")));
    let lease = TimeDelta::minutes(1);
    store.claim(&run_id, "a", lease, at("2026-05-01 16:07")).await.unwrap();
    let running = shown(store, &one, "2026-05-01 16:08").await;
    assert_eq!(running, Status::InProgress { since: at("2026-05-01 16:07") });
    assert_eq!(running.label(), "In Progress");
    store.recover(at("2026-05-01 16:10"), |_| false).await.unwrap();
    let again = shown(store, &one, "2026-05-01 16:11").await;
    assert_eq!(again, pending(PendingReason::AnotherAttempt, Some("2026-05-01 16:11")));
    let claim = store.claim(&run_id, "b", lease, at("2026-05-01 16:12")).await.unwrap().unwrap();
    store.finish(&claim, RunState::Succeeded, None, at("2026-05-01 16:20")).await.unwrap();
    let idle = shown(store, &one, "2026-05-01 16:21").await;
    assert_eq!(idle, pending(PendingReason::NextStart, Some("2026-05-02 13:00")));

    store.pause(&one.id, PausedBy::User, at("2026-05-01 17:00")).await.unwrap();
    let paused = shown(store, &one, "2026-05-01 17:00").await;
    assert_eq!(
        (paused.label(), paused),
        ("Not Syncing", Status::NotSyncing(service::Paused::By(PausedBy::User)))
    );
    // By hand it runs though it is paused, and is paused again afterwards.
    let Start::Begun { run_id } =
        store.start_by_hand(&one.id, at("2026-05-01 17:05")).await.unwrap()
    else {
        panic!("a run is alive");
    };
    let claim = store.claim(&run_id, "a", lease, at("2026-05-01 17:05")).await.unwrap().unwrap();
    assert_eq!(shown(store, &one, "2026-05-01 17:06").await.label(), "In Progress");
    store.finish(&claim, RunState::Failed, None, at("2026-05-01 17:07")).await.unwrap();
    assert_eq!(shown(store, &one, "2026-05-01 17:08").await.label(), "Not Syncing");
    store.delete_integration(&one.id, at("2026-05-01 18:00")).await.unwrap();
    assert_eq!(
        shown(store, &one, "2026-05-01 18:00").await,
        Status::NotSyncing(service::Paused::Deleted)
    );
}

#[tokio::test]
async fn what_a_schedule_has_to_say() {
    let subject = Subject::sqlite().await;
    let store = &subject.store;
    let new = new_integration("One", Some(parsed(json!({ "every": "6h" }))));
    let one = store.create_integration(&new, at("2026-05-01 12:00")).await.unwrap();
    // A new frequency is due at once.
    let first = shown(store, &one, "2026-05-01 12:01").await;
    assert_eq!(first, pending(PendingReason::FirstRun, Some("2026-05-01 12:01")));
    let edit =
        |schedule| IntegrationEdit { schedule: Some(schedule), ..IntegrationEdit::default() };
    let none =
        store.edit_integration(&one.id, 1, &edit(None), at("2026-05-01 12:02")).await.unwrap();
    assert_eq!(shown(store, &none, "2026-05-01 12:03").await, pending(PendingReason::Hand, None));
    let past = edit(Some(parsed(json!({ "cron": "0 0 0 ? * * 2025" }))));
    let refused = store.edit_integration(&one.id, 2, &past, at("2026-05-01 12:04")).await;
    assert!(matches!(refused, Err(StoreError::Idle { name }) if name == "One"));
    // One that has run out since it was made is kept.
    let once = edit(Some(parsed(json!({ "cron": "0 30 12 1 5 ? 2026" }))));
    let once = store.edit_integration(&one.id, 2, &once, at("2026-05-01 12:04")).await.unwrap();
    assert_eq!(
        shown(store, &once, "2026-05-01 12:35").await,
        pending(PendingReason::NoFurtherStart, None)
    );
}
