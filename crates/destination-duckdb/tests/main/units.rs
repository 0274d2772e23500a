//! The life of a unit and of the claim: what is committed stays, everything else leaves nothing.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use destination_duckdb::DuckDb;
use replication::{
    claim::{ClaimMemory, Holder, Refusal},
    destination::{Destination, DestinationErrorKind},
    event::Gap,
    ledger::{LoadCounts, LoadRecord},
    reject::{Occurrence, ReasonCode, RejectedRow},
    stream::{StreamName, WinnerRule},
};
use serde_json::json;

use crate::support::{
    SCHEMA, Warehouse, at, claimed, commit, contact_load, contacts, finish, request, rows_of,
};

fn record(batch_id: &str) -> LoadRecord {
    LoadRecord {
        batch_id: batch_id.to_owned(),
        table: "contact".to_owned(),
        run_id: "run".to_owned(),
        stream: "contact".to_owned(),
        table_version: 0,
        counts: LoadCounts {
            read: 5,
            received: 3,
            inserted: 2,
            rejected: 1,
            bytes: 1_000,
            ..LoadCounts::default()
        },
        bookmark: Some("2026-01-02T03:04:05Z".to_owned()),
        max_replication_key: Some("2026-01-02T03:05:00Z".to_owned()),
        gap: Some(Gap {
            stream: "contact".into(),
            from: at("2025-01-01T00:00:00Z"),
            to: at("2025-12-01T00:00:00.000001Z"),
            reason: "too old".to_owned(),
        }),
        started_at: at("2026-01-02T03:04:05.123456Z"),
        staged_at: at("2026-01-02T03:04:06Z"),
        committed_at: at("2026-01-02T03:04:07Z"),
    }
}

fn reject(record: &str) -> RejectedRow {
    RejectedRow {
        stream: "contact".into(),
        code: ReasonCode::WrongType,
        reason: "Column `email` is no text".to_owned(),
        record: record.to_owned(),
        key_digest: Some("abc".to_owned()),
        sequence: 7,
        table_version: 0,
        extracted_at: at("2026-01-02T03:04:05Z"),
        occurrence: Occurrence::Number(1),
        replays: None,
    }
}

fn bookmarks(last_record: &str) -> BTreeMap<StreamName, serde_json::Value> {
    let state = format!(r#"{{"field":"modified","last_record":"{last_record}","money":1.50}}"#)
        .parse()
        .unwrap();
    [(StreamName::from("contact"), state)].into_iter().collect()
}

#[tokio::test]
async fn everything_of_a_unit_is_there_after_reopening() {
    let warehouse = Warehouse::new();
    let schema = contacts(WinnerRule::ReplicationKey);
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    assert_eq!(
        (claim.token, claim.memory.clone(), claim.states.len()),
        (1, ClaimMemory::default(), 0)
    );

    let load = contact_load(
        &schema,
        &[("a", Some(1), Some("a@x"), None), ("b", None, None, Some(&[]))],
        100,
    );
    let mut unit = destination.begin(&claim).await.unwrap();
    unit.prepare(&schema, None).await.unwrap();
    assert_eq!(unit.merge(&load).await.unwrap().inserted, 2);
    let rejects = [reject("{\"id\": 1}"), reject("{\"id\":\u{0} 2}"), reject("{\"id\": 1}")];
    assert_eq!(unit.reject("run", &rejects).await.unwrap(), 2, "the same reject counts once");
    unit.record(&[record("b1")]).await.unwrap();
    unit.bookmark(&bookmarks("2026-01-02T03:04:05Z")).await.unwrap();
    unit.bookmark(&bookmarks("2026-01-02T03:04:06Z")).await.unwrap();
    let memory = ClaimMemory {
        greatest_sequence: 101,
        last_batch: Some("b1".to_owned()),
        ..ClaimMemory::default()
    };
    unit.fence(&claim, &memory).await.unwrap();
    unit.commit().await.unwrap();
    destination.release(&claim).await.unwrap();
    destination.close().await;

    let destination = warehouse.open();
    assert_eq!(destination.count("contact").await.unwrap(), Some(2));
    assert_eq!(destination.count("Contact").await.unwrap(), Some(2), "names have no case");
    assert_eq!(destination.count("list").await.unwrap(), None);
    assert_eq!(destination.memory().await.unwrap(), memory);
    assert_eq!(destination.loads(10).await.unwrap(), [record("b1")]);
    let totals = destination.totals().await.unwrap()["contact"];
    assert_eq!((totals.received, totals.inserted, totals.rejected), (3, 2, 1));
    assert_eq!(totals.last_committed_at, Some(at("2026-01-02T03:04:07Z")));
    let stored = destination.rejects(Some("contact"), 10).await.unwrap();
    assert_eq!(stored.len(), 2);
    assert!(stored.iter().any(|stored| stored.record == "{\"id\":\u{0} 2}" && stored.reason_code == "wrong_type"));
    assert!(
        stored
            .iter()
            .all(|stored| stored.run_id == "run" && stored.reason == "Column `email` is no text")
    );
    assert_eq!(destination.rejects(Some("list"), 10).await.unwrap(), []);
    assert_eq!(destination.rejects(None, 1).await.unwrap().len(), 1);
    let states = destination.states().await.unwrap();
    assert_eq!((states.len(), states[0].stream.as_str(), states[0].token), (2, "", Some(1)));
    assert_eq!(
        (&states[0].holder, states[0].integration_id.as_deref()),
        (&None, Some("Stitch Bronto"))
    );

    let claim = destination.claim(&request("next")).await.unwrap();
    assert_eq!((claim.token, &claim.memory, &claim.unreleased), (2, &memory, &None));
    let state = claim.states[&StreamName::from("contact")].to_string();
    assert_eq!(state, r#"{"field":"modified","last_record":"2026-01-02T03:04:06Z","money":1.50}"#);
    let mut unit = destination.begin(&claim).await.unwrap();
    assert_eq!(unit.reject("next", &rejects).await.unwrap(), 0, "they are known already");
    let error = unit.record(&[record("b1")]).await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::Bug, "{error}");
    assert_eq!(error.to_string(), "Batch `b1` of `contact` is in the ledger already");
}

#[tokio::test]
async fn looking_at_a_file_that_does_not_exist_does_not_create_it() {
    let warehouse = Warehouse::new();
    for destination in [warehouse.open(), DuckDb::open_read_only(warehouse.config()).unwrap()] {
        assert_eq!(destination.count("contact").await.unwrap(), None);
        assert_eq!(destination.memory().await.unwrap(), ClaimMemory::default());
        assert_eq!(destination.states().await.unwrap(), []);
        assert_eq!(destination.loads(1).await.unwrap(), []);
        assert!(destination.totals().await.unwrap().is_empty());
        assert_eq!(destination.rejects(None, 1).await.unwrap(), []);
        let error = destination.query_text("select 1").await.unwrap_err();
        assert!(error.to_string().ends_with("warehouse.duckdb` does not exist"), "{error}");
    }
    assert!(!warehouse.path().exists());
}

#[tokio::test]
async fn a_unit_that_is_rolled_back_or_dropped_leaves_nothing() {
    let warehouse = Warehouse::new();
    let schema = contacts(WinnerRule::Sequence);
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    let load = contact_load(&schema, &[("a", None, None, None)], 1);
    for roll_back in [true, false] {
        let mut unit = destination.begin(&claim).await.unwrap();
        unit.prepare(&schema, Some(9)).await.unwrap();
        unit.merge(&load).await.unwrap();
        unit.reject("run", &[reject("{}")]).await.unwrap();
        unit.record(&[record("b1")]).await.unwrap();
        unit.bookmark(&bookmarks("2026-01-02T03:04:05Z")).await.unwrap();
        unit.fence(
            &claim,
            &ClaimMemory { last_batch: Some("b1".to_owned()), ..ClaimMemory::default() },
        )
        .await
        .unwrap();
        if roll_back {
            unit.rollback().await.unwrap();
        } else {
            drop(unit);
        }
        // The next writer gets its turn only after the roll-back.
        destination.renew(&claim).await.unwrap();
        assert_eq!(destination.count("contact").await.unwrap(), None);
        assert_eq!(destination.count("_sdc_next_contact").await.unwrap(), None);
        assert_eq!(destination.memory().await.unwrap(), ClaimMemory::default());
        assert_eq!(destination.loads(9).await.unwrap(), []);
        assert_eq!(destination.rejects(None, 9).await.unwrap(), []);
        assert_eq!(destination.states().await.unwrap().len(), 1);
    }
    commit(&destination, &claim, &load, "b2").await.unwrap();
    assert_eq!(destination.count("contact").await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_step_that_is_abandoned_ends_the_unit() {
    let warehouse = Warehouse::new();
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    let schema = contacts(WinnerRule::Sequence);
    let mut unit = destination.begin(&claim).await.unwrap();
    {
        let mut step = unit.prepare(&schema, None);
        std::future::poll_fn(|context| {
            assert!(step.as_mut().poll(context).is_pending(), "it is at work on another thread");
            std::task::Poll::Ready(())
        })
        .await;
    }
    let error = unit.prepare(&schema, None).await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::Bug);
    assert!(unit.commit().await.is_err(), "half a unit is not committed");
    destination.renew(&claim).await.unwrap();
    assert_eq!(destination.count("contact").await.unwrap(), None);
}

#[tokio::test]
async fn a_live_claim_is_refused_and_a_lost_one_commits_nothing() {
    let warehouse = Warehouse::new();
    let schema = contacts(WinnerRule::Sequence);
    let destination = warehouse.open();
    let first = claimed(&destination).await;
    let second = warehouse.open();
    let error = second.claim(&request("second")).await.unwrap_err();
    assert!(matches!(error.kind, DestinationErrorKind::Claim(Refusal::Held { .. })));
    assert!(
        error.to_string().starts_with("Schema `stitch_bronto` is claimed by run `run` (process"),
        "{error}"
    );

    let overtaken = second
        .claim(&replication::claim::ClaimRequest { take_over: true, ..request("second") })
        .await
        .unwrap();
    assert_eq!(
        (overtaken.token, overtaken.unreleased.map(|holder| holder.run_id)),
        (2, Some("run".to_owned()))
    );
    let load = contact_load(&schema, &[("a", None, None, None)], 1);
    let error = commit(&destination, &first, &load, "b1").await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::Fenced);
    assert_eq!(destination.renew(&first).await.unwrap_err().kind, DestinationErrorKind::Fenced);
    destination.release(&first).await.unwrap();
    assert!(
        destination.states().await.unwrap()[0].holder.is_some(),
        "the lost claim let nothing go"
    );
    assert_eq!(destination.count("contact").await.unwrap(), None);
}

#[tokio::test]
async fn an_expired_claim_is_taken_over() {
    let warehouse = Warehouse::new();
    let destination = warehouse.open();
    let mut dead = request("dead");
    dead.lease = TimeDelta::seconds(-1);
    dead.start_date = Some("2025-01-01T00:00:00Z".to_owned());
    // On another machine, so that only its lease can tell.
    dead.holder = Holder { host: "elsewhere".to_owned(), ..dead.holder };
    let claim = destination.claim(&dead).await.unwrap();
    let mut unit = destination.begin(&claim).await.unwrap();
    unit.bookmark(&bookmarks("2026-01-01T00:00:00Z")).await.unwrap();
    finish(unit, &claim, "b1").await.unwrap();
    let claim = destination.claim(&request("alive")).await.unwrap();
    assert_eq!(claim.unreleased.map(|holder| holder.host), Some("elsewhere".to_owned()));
    assert_eq!(claim.start_date.as_deref(), Some("2025-01-01T00:00:00Z"));
    let other =
        replication::claim::ClaimRequest { integration_id: "Other".to_owned(), ..request("x") };
    let error = destination.claim(&other).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Schema `stitch_bronto` belongs to the integration `Stitch Bronto`"
    );
}

#[tokio::test]
async fn readers_see_nothing_before_the_commit() {
    let warehouse = Warehouse::new();
    let schema = contacts(WinnerRule::Sequence);
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    let mut unit = destination.begin(&claim).await.unwrap();
    unit.prepare(&schema, None).await.unwrap();
    unit.merge(&contact_load(&schema, &[("a", None, None, None)], 1)).await.unwrap();
    assert_eq!(destination.count("contact").await.unwrap(), None);
    finish(unit, &claim, "b1").await.unwrap();
    assert_eq!(destination.count("contact").await.unwrap(), Some(1));
    let row = &rows_of(&destination, SCHEMA, "contact").await.unwrap()[0];
    let names: Vec<&str> = row.keys().map(String::as_str).collect();
    let expected = [
        "id",
        "modified",
        "email",
        "listIds",
        "_sdc_extracted_at",
        "_sdc_received_at",
        "_sdc_batched_at",
        "_sdc_sequence",
        "_sdc_table_version",
    ];
    assert_eq!(names, expected);
    assert_eq!(row["_sdc_batched_at"], json!("2026-01-02T03:04:05.678Z"));
}

#[tokio::test]
async fn queries_for_people_are_text_and_can_not_write() {
    let warehouse = Warehouse::new();
    let destination = warehouse.open();
    claimed(&destination).await;
    let (names, rows) = destination
        .query_text("select 1.50 as money, null as nothing, timestamptz '2026-01-02 03:04:05+00' as at, [1, 2] as list;")
        .await
        .unwrap();
    assert_eq!(names, ["money", "nothing", "at", "list"]);
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(rows, [[text("1.50"), None, text("2026-01-02 03:04:05+00"), text("[1, 2]")]]);
    let (_, rows) =
        destination.query_text("select i from range(5000) t(i) order by i desc").await.unwrap();
    assert_eq!((rows.len(), &rows[0][0]), (5_000, &text("4999")), "the order is the query's");
    let error = destination.query_text("select * from nothing").await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::Refused);
    assert!(
        destination
            .query_text("select 1); drop schema stitch_bronto cascade; select (1")
            .await
            .is_err()
    );
    assert_eq!(destination.states().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_schema_may_be_called_like_the_database() {
    let warehouse = Warehouse::new();
    let destination = crate::support::open(destination_duckdb::DuckDbConfig::new(
        warehouse.folder.path().join("bronto\"s.duckdb"),
        "bronto\"s",
    ));
    let claim = claimed(&destination).await;
    let schema = contacts(WinnerRule::Sequence);
    commit(&destination, &claim, &contact_load(&schema, &[("a", None, None, None)], 1), "b1")
        .await
        .unwrap();
    assert_eq!(destination.count("contact").await.unwrap(), Some(1));
    assert!(destination.describe().ends_with("bronto\"s.duckdb, schema bronto\"s"));
}
