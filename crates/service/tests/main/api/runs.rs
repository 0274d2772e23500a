//! Lists of runs and slots.

use chrono::TimeDelta;
use serde_json::{Value, json};
use service::{
    Scheduler, SchedulerLimits,
    run::{Progress, StopReason, TableProgress},
};

use super::Service;
use crate::contract::Nowhere;

/// All items of a list, page by page.
async fn pages(service: &Service, path: &str, limit: usize) -> Vec<Value> {
    let separator = if path.contains('?') { '&' } else { '?' };
    let (mut found, mut next) = (Vec::new(), String::new());
    loop {
        let cursor = if next.is_empty() { String::new() } else { format!("&cursor={next}") };
        let path = format!("{path}{separator}limit={limit}{cursor}");
        let page = service.member("GET", &path).send().await.value();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit);
        found.extend(items.iter().cloned());
        match page["next"].as_str() {
            Some(cursor) => cursor.clone_into(&mut next),
            None => return found,
        }
    }
}

#[tokio::test]
async fn runs_come_in_pages_that_miss_and_repeat_none() {
    let service = Service::new().await;
    let ids = [service.integration("One").await, service.integration("Two").await];
    let mut begun = Vec::new();
    for round in 0..5 {
        for id in &ids {
            // Those of a round are begun at the same instant.
            let run_id = service.run(id).await;
            if round < 4 {
                service.store.stop(&run_id, StopReason::Hand, service.now()).await.unwrap();
            }
            begun.push(run_id);
        }
        if round % 2 == 0 {
            service.pass(TimeDelta::seconds(1));
        }
    }
    begun.reverse();
    let listed = |found: Vec<Value>| -> Vec<String> {
        found.iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect()
    };
    for limit in [1, 2, 3, 10, 50] {
        assert_eq!(listed(pages(&service, "/api/v1/runs", limit).await), begun, "{limit}");
        let one = format!("/api/v1/integrations/{}/runs", ids[0]);
        let expected: Vec<String> = begun.iter().skip(1).step_by(2).cloned().collect();
        assert_eq!(listed(pages(&service, &one, limit).await), expected, "{limit}");
        let due = pages(&service, "/api/v1/runs?state=due", limit).await;
        assert_eq!(listed(due), begun[..2], "{limit}");
    }
    service
        .member("GET", "/api/v1/integrations/nothing/runs")
        .send()
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn slots_are_shown_with_what_became_of_them() {
    let service = Service::new().await;
    let id = service.integration("One").await;
    let edit = json!({ "schedule": { "cron": "0 0 * * * ?" } });
    let call = service.member("PATCH", &format!("/api/v1/integrations/{id}"));
    call.header("if-match", "\"1\"").json(&edit).await;
    let limits = SchedulerLimits::default();
    for _ in 0..3 {
        service.pass(TimeDelta::hours(1));
        Scheduler::new(&service.store, Nowhere, limits).tick(service.now()).await.unwrap();
    }
    let slots = pages(&service, &format!("/api/v1/integrations/{id}/slots"), 1).await;
    let shown: Vec<_> =
        slots.iter().map(|slot| (slot["slot"].clone(), slot["outcome"].clone())).collect();
    assert_eq!(
        shown,
        [
            (json!("2026-05-01T15:00:00Z"), json!("skipped")),
            (json!("2026-05-01T14:00:00Z"), json!("skipped")),
            (json!("2026-05-01T13:00:00Z"), json!("started")),
        ]
    );
}

#[tokio::test]
async fn a_run_is_shown_with_how_far_it_is() {
    let service = Service::new().await;
    let id = service.integration("One").await;
    let run_id = service.run(&id).await;
    let lease = TimeDelta::minutes(1);
    let claim = service.store.claim(&run_id, "here", lease, service.now()).await.unwrap().unwrap();
    service.pass(TimeDelta::seconds(20));
    let contact = TableProgress {
        activity: "reading".to_owned(),
        extracted: 950,
        percent: Some(40),
        ..TableProgress::default()
    };
    let progress = Progress {
        phase: "extracting".to_owned(),
        requests: 7,
        rows: [("contact".to_owned(), 900), ("list".to_owned(), 100)].into(),
        tables: [("contact".to_owned(), contact)].into(),
        percent: Some(30),
        ..Progress::default()
    };
    service.store.renew(&claim, &progress, lease, service.now()).await.unwrap();
    let shown = service.member("GET", &format!("/api/v1/runs/{run_id}")).send().await.value();
    insta::assert_snapshot!(format!("{shown:#}").replace(&run_id, "[run]").replace(&id, "[id]"));
}
