//! What a destination keeps: rejected rows and bookmarks.

use serde_json::json;

use super::Service;

#[tokio::test]
async fn rejects_come_in_pages_and_their_records_one_by_one() {
    let service = Service::new().await;
    let id = service.integration("One").await;
    let path = format!("/api/v1/integrations/{id}/rejects");
    let page = |query: String| {
        let call = service.member("GET", &format!("{path}{query}"));
        async move { call.send().await.value() }
    };
    let first = page("?limit=2&table=contact&reason=wrong_type".to_owned()).await;
    let ids = |page: &serde_json::Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&first), ["r1", "r2"]);
    assert!(!first.to_string().contains("@example.com"), "{first:#}");
    let second = page(format!("?limit=2&cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!((ids(&second), &second["next"]), (vec!["r3".to_owned()], &json!(null)));
    // A sequence below zero is a place like any other.
    let alone = page("?limit=1".to_owned()).await;
    let rest = page(format!("?cursor={}", alone["next"].as_str().unwrap())).await;
    assert_eq!(ids(&rest), ["r2", "r3"]);
    assert!(ids(&page("?reason=number_range".to_owned()).await).is_empty());
    assert_eq!(ids(&page("?state=replayed".to_owned()).await), ["r4"]);
    assert_eq!(ids(&page("?state=all&limit=500".to_owned()).await), ["r1", "r2", "r3", "r4"]);
    let wrong = service.member("GET", &format!("{path}?state=lost")).send().await;
    assert_eq!(wrong.pointers(), ["?state"]);
    let wrong = service.member("GET", &format!("{path}?cursor=x")).send().await;
    assert_eq!(wrong.pointers(), ["?cursor"]);

    let whole = service.member("GET", &format!("{path}/r2")).send().await.value();
    assert_eq!(
        (&whole["id"], &whole["record"]),
        (&json!("r2"), &json!("<email>2@example.com</email>"))
    );
    service.member("GET", &format!("{path}/r9")).send().await.problem(404, "not-found");
    let reasons = format!("/api/v1/integrations/{id}/reject-reasons?table=contact");
    let reasons = service.member("GET", &reasons).send().await.value();
    assert_eq!(reasons["items"][0]["rows"], 3, "{reasons:#}");
}

#[tokio::test]
async fn bookmarks_are_shown_unless_the_destination_is_away() {
    let service = Service::new().await;
    let id = service.integration("One").await;
    let path = format!("/api/v1/integrations/{id}");
    let state = || service.member("GET", &format!("{path}/state")).send();
    assert_eq!(state().await.value()["streams"][0]["bookmark"], "2026-01-01T00:00:00Z");
    let edit = json!({ "settings": { "endpoint": "https://one.example", "is_broken": true } });
    let edit = service.member("PATCH", &path).header("if-match", "\"1\"").json(&edit).await;
    assert_eq!(edit.status, 200, "{}", edit.body);
    state().await.problem(503, "unavailable");
}
