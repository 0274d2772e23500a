//! Loading reports and usage.

use serde_json::{Value, json};
use service::store::{Load, SchemaChange, SchemaEvent};

use super::Service;
use crate::{at, contract::load};

async fn get(service: &Service, path: &str) -> Value {
    service.member("GET", path).send().await.value()
}

/// A service with a schema that is not free any more, on 29 June.
async fn loaded() -> (Service, String) {
    let service = Service::with(|options| options.row_budget = Some(1_000)).await;
    let id = service.integration("One").await;
    let first = Load {
        started_at: at("2026-05-01 11:59"),
        ..load("b0", "contact", "2026-05-01 12:00", [1, 0, 0])
    };
    let mut lists = load("b3", "list", "2026-06-29 11:00", [7, 0, 0]);
    lists.counts.rejected = 2;
    lists.bookmark = None;
    let loads = [
        first,
        load("b1", "contact", "2026-06-28 23:59", [500, 250, 9]),
        load("b2", "contact", "2026-06-29 00:00", [10, 0, 0]),
        lists,
        load("b3", "contact__listIds", "2026-06-29 11:00", [30, 0, 0]),
        load("b4", "contact", "2026-06-29 11:30", [20, 3, 5]),
    ];
    service.store.record_loads(&id, &loads).await.unwrap();
    service.pass(at("2026-06-29 12:00") - service.now());
    (service, id)
}

#[tokio::test]
async fn tables_are_reported_with_their_subtables() {
    let (service, id) = loaded().await;
    let tables = get(&service, &format!("/api/v1/integrations/{id}/tables")).await;
    insta::assert_snapshot!(format!("{tables:#}"));
}

#[tokio::test]
async fn a_bookmark_that_was_removed_is_shown_no_more() {
    let (service, id) = loaded().await;
    let bookmark = async || {
        let tables = get(&service, &format!("/api/v1/integrations/{id}/tables")).await;
        let tables = tables["tables"].as_array().unwrap().clone();
        let contact = tables.into_iter().find(|table| table["name"] == "contact").unwrap();
        contact["bookmark"].as_str().unwrap().to_owned()
    };
    assert_eq!(bookmark().await, "2026-05-01T12:00:00Z");
    let removal = |batch, bookmark: Option<&str>| Load {
        bookmark: bookmark.map(str::to_owned),
        ..load(batch, "contact", "2026-06-29 11:40", [0, 0, 0])
    };
    service.store.record_loads(&id, &[removal("b5", None)]).await.unwrap();
    assert_eq!(bookmark().await, "2026-05-01T12:00:00Z", "this unit moved none");
    service.store.record_loads(&id, &[removal("b6", Some(""))]).await.unwrap();
    assert_eq!(bookmark().await, "Bookmark Unavailable");
    let page = get(&service, &format!("/api/v1/integrations/{id}/tables/contact/loads")).await;
    assert_eq!(page["items"][0]["bookmark"], "Bookmark Unavailable");
}

#[tokio::test]
async fn the_loads_of_a_table_are_shown_by_day() {
    let (service, id) = loaded().await;
    let path = format!("/api/v1/integrations/{id}/tables/contact/loads");
    let batches = |page: &Value| -> Vec<String> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|load| load["batch_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let day = get(&service, &format!("{path}?day=2026-06-29")).await;
    assert_eq!(batches(&day), ["b4", "b2"]);
    insta::assert_snapshot!(format!("{:#}", day["items"][0]));
    assert_eq!(batches(&get(&service, &format!("{path}?day=2026-06-28")).await), ["b1"]);
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(&service, &format!("{path}?limit=1{cursor}")).await;
        all.extend(batches(&page));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(all, ["b4", "b2", "b1", "b0"]);
    let wrong = service.member("GET", &format!("{path}?day=2026-06-31")).send().await;
    assert_eq!(wrong.pointers(), ["?day"]);
}

#[tokio::test]
async fn usage_is_counted_by_table_and_day_against_the_budget() {
    let (service, id) = loaded().await;
    let usage = get(&service, "/api/v1/usage?from=2026-05-01").await;
    assert_eq!(usage["total"], json!({ "counted": 820, "free": 1, "reread": 14 }));
    let shown: Vec<_> = usage["days"]
        .as_array()
        .unwrap()
        .iter()
        .map(|day| {
            (
                day["table"].as_str().unwrap(),
                day["day"].as_str().unwrap(),
                day["counted"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("contact", "2026-05-01", 0),
            ("contact", "2026-06-28", 750),
            ("contact", "2026-06-29", 33),
            ("contact__listIds", "2026-06-29", 30),
            ("list", "2026-06-29", 7),
        ]
    );
    assert_eq!((&usage["budget"]["used"], &usage["budget"]["percent"]), (&json!(820), &json!(82)));
    assert_eq!(usage["budget"]["warning_percent"], 70);
    let one = get(&service, &format!("/api/v1/usage?integration_id={id}&from=2026-06-29")).await;
    assert_eq!(one["total"]["counted"], 70);
    let none = get(&service, "/api/v1/usage?from=2026-06-29&until=2026-06-29").await;
    assert_eq!(none["total"]["counted"], 0);
    // The sums are those of all pages.
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/usage?from=2026-05-01&limit=2{cursor}");
        let page = get(&service, &path).await;
        assert_eq!(page["total"], usage["total"]);
        paged.extend(page["days"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(json!(paged), usage["days"]);
    for (query, pointer) in [("limit=5001", "?limit"), ("cursor=1-00", "?cursor")] {
        let wrong = service.member("GET", &format!("/api/v1/usage?{query}")).send().await;
        assert_eq!(wrong.pointers(), [pointer]);
    }
    for query in ["from=2026-07-02", "from=2020-01-01"] {
        let wrong = service.member("GET", &format!("/api/v1/usage?{query}")).send().await;
        assert_eq!(wrong.pointers(), ["?until"]);
    }
}

/// Seven days for nothing, then a budget that warns three times, then a new period with all of the budget.
#[tokio::test]
async fn a_budget_warns_through_a_period_and_begins_anew() {
    let service = Service::with(|options| {
        options.row_budget = Some(1_000);
        options.billing_anchor = at("2026-05-01 18:00").date_naive();
    })
    .await;
    let id = service.integration("One").await;
    let course = [
        // When what was loaded, what of the budget is used then, and what is warned of.
        ("2026-05-01 12:00", 5_000, 0, None),
        ("2026-05-08 11:59", 5_000, 0, None),
        ("2026-05-08 12:00", 699, 69, None),
        ("2026-05-20 00:00", 1, 70, Some(70)),
        ("2026-05-30 23:59", 200, 90, Some(90)),
        ("2026-05-31 00:00", 150, 15, None),
        ("2026-06-10 00:00", 850, 100, Some(100)),
        ("2026-06-29 23:59", 9_000, 1_000, Some(100)),
    ];
    for (number, (now, rows, percent, warning)) in course.into_iter().enumerate() {
        service.pass(at(now) - service.now());
        let batch = format!("b{number}");
        let load = load(&batch, "contact", now, [rows - 1, 1, 40]);
        service.store.record_loads(&id, &[load]).await.unwrap();
        let budget = get(&service, "/api/v1/usage").await["budget"].clone();
        assert_eq!(
            (&budget["percent"], &budget["warning_percent"]),
            (&json!(percent), &json!(warning)),
            "{now}: {budget}"
        );
        assert_eq!(budget["warning"].is_null(), warning.is_none(), "{now}: {budget}");
        let from = if now < "2026-05-31" { "2026-05-01" } else { "2026-05-31" };
        assert_eq!(budget["period"]["from"], format!("{from}T00:00:00Z"), "{now}");
        let tables = get(&service, &format!("/api/v1/integrations/{id}/tables")).await;
        assert_eq!(tables["this_period"], budget["period"], "{now}");
    }
    let all = get(&service, "/api/v1/usage?from=2026-05-01").await;
    assert_eq!(all["total"], json!({ "counted": 10_900, "free": 10_000, "reread": 320 }));
    // Another integration with that schema has no free days any more.
    service.store.delete_integration(&id, service.now()).await.unwrap();
    let again = service.integration("One").await;
    let late = load("b9", "contact", "2026-06-29 23:59", [3, 0, 0]);
    service.store.record_loads(&again, &[late]).await.unwrap();
    let usage = get(&service, &format!("/api/v1/usage?integration_id={again}")).await;
    assert_eq!(usage["total"], json!({ "counted": 3, "free": 0, "reread": 0 }));
}

#[tokio::test]
async fn changes_of_tables_are_shown() {
    let service = Service::new().await;
    let id = service.integration("One").await;
    let event = SchemaEvent {
        run_id: "r".to_owned(),
        table_name: "contact".to_owned(),
        column_name: "age".to_owned(),
        change: SchemaChange::Split,
        detail: "text".to_owned(),
        happened_at: service.now(),
    };
    service.store.record_schema_events(&id, &[event]).await.unwrap();
    let events = get(&service, &format!("/api/v1/integrations/{id}/schema-events")).await;
    assert_eq!(
        events["items"][0],
        json!({
            "run_id": "r", "table": "contact", "column": "age", "change": "column split", "detail": "text",
            "happened_at": "2026-05-01T12:00:00Z",
        })
    );
}
