//! Rejects are replayed once, with the stamps of their read, and nothing is lost on the way.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Subject,
    faults::{Fault, faulty},
    script::{INTEGRATION, by, instant},
};
use crate::{
    claim::{ClaimRequest, Holder},
    clock::FixedClock,
    destination::{Destination, RejectRecord},
    reject::{RejectFilter, RejectStanding},
    replay::{self, RejectDecoder, RejectPage, ReplayReport, ReplayedTable},
    run::{RunContext, RunOptions, replicate},
    singer_source::{SingerRejects, SingerSource},
    stream::StreamName,
    system::REJECTED,
};

const INTEGERS: &str = r#"{"type":"SCHEMA","stream":"pets","key_properties":["id"],"schema":{"type":"object","properties":{"id":{"type":"string"},"age":{"type":["null","integer"]},"home":{"type":"object","properties":{"city":{"type":["null","string"]}}},"toys":{"type":"array","items":{"type":"string"}}}}}"#;

fn numbers() -> String {
    INTEGERS.replace(r#"["null","integer"]"#, r#"["null","number"]"#)
}

fn keyless(schema: &str) -> String {
    schema.replace(r#""key_properties":["id"]"#, r#""key_properties":[]"#)
}

/// An age that no integer column can hold.
const OLD: &str = "99999999999999999999";

fn pet(id: &str, age: &str, extracted: &str) -> String {
    format!(
        r#"{{"type":"RECORD","stream":"pets","record":{{"id":"{id}","age":{age},"home":{{"city":"Ulm"}},"toys":["x","y"]}},"time_extracted":"{extracted}"}}"#
    )
}

/// Loads messages at a time.
async fn load(destination: Arc<dyn Destination>, now: &str, messages: &[&str]) {
    let mut options = RunOptions::new(INTEGRATION);
    options.allow_empty = true;
    let context =
        RunContext { clock: Arc::new(FixedClock::new(instant(now))), ..RunContext::default() };
    let input = std::io::Cursor::new(messages.join("\n").into_bytes());
    let source = Box::new(SingerSource::new(input, "contract:1"));
    replicate(source, destination, options, context)
        .await
        .unwrap_or_else(|failure| panic!("the load failed: {failure:?}"));
}

fn decoder(
    states: &BTreeMap<StreamName, Value>,
) -> Result<Box<dyn RejectDecoder>, crate::run::RunError> {
    Ok(Box::new(SingerRejects::new(states)))
}

async fn attempt(
    destination: Arc<dyn Destination>,
    filter: &RejectFilter,
) -> Result<ReplayReport, crate::run::RunError> {
    let options = RunOptions::new(INTEGRATION);
    let request = ClaimRequest {
        integration_id: options.integration_id,
        source_fingerprint: "contract:1".to_owned(),
        holder: Holder::current(&options.run_id),
        run_id: options.run_id,
        lease: options.lease,
        take_over: true,
        accept_source_change: false,
        start_date: None,
        reset_start_date: false,
    };
    let context = RunContext {
        clock: Arc::new(FixedClock::new(instant("2026-03-05T12:00:00Z"))),
        ..RunContext::default()
    };
    replay::replay(destination, &decoder, &request, filter, context).await
}

/// Replays everything, after a preview that must have said so.
async fn replay_all(subject: &dyn Subject) -> ReplayedTable {
    let filter = RejectFilter::default();
    let preview = replay::preview(
        subject.destination().as_ref(),
        &decoder,
        &filter,
        &CancellationToken::new(),
    )
    .await
    .expect("a preview can be made");
    let report = attempt(subject.destination(), &filter).await.expect("the replay succeeds");
    let report = report.tables.get("pets").cloned().unwrap_or_default();
    let preview = preview.tables.get("pets").cloned().unwrap_or_default();
    assert_eq!(
        (preview.found, preview.replayed, preview.former_version, &preview.again),
        (report.found, report.replayed, report.former_version, &report.again),
        "the preview says what is done"
    );
    report
}

async fn rejects(subject: &dyn Subject) -> Vec<RejectRecord> {
    subject.destination().rejects(None, 100).await.expect("rejects can be read")
}

async fn pets(subject: &dyn Subject) -> BTreeMap<String, Map<String, Value>> {
    by("id", subject.rows("pets").await)
}

/// The ledger accounts for every table's rows.
async fn balances(subject: &dyn Subject) {
    let destination = subject.destination();
    for (table, totals) in destination.totals().await.expect("the ledger can be summed") {
        let count = destination.count(&table).await.expect("it can be counted").unwrap_or_default();
        assert_eq!(totals.inserted - totals.deleted, count, "the ledger accounts for `{table}`");
        let settled = totals.inserted
            + totals.updated
            + totals.unchanged
            + totals.superseded
            + totals.rejected;
        assert_eq!(totals.received, settled, "every row of `{table}` is accounted for");
    }
}

/// What is rejected is loaded when its cause is mended, once, with the stamps of its read.
pub async fn replays_rejects_once(subject: &dyn Subject) {
    let first = [
        INTEGERS,
        &pet("a", "1", "2026-03-01T10:00:00Z"),
        &pet("b", OLD, "2026-03-01T11:00:00.5Z"),
        &pet("c", OLD, "2026-03-01T11:00:01Z"),
    ];
    load(subject.destination(), "2026-03-01T12:00:00Z", &first).await;
    assert_eq!(rejects(subject).await.len(), 2);
    let unmended = replay_all(subject).await;
    assert_eq!((unmended.found, unmended.replayed, unmended.again.len()), (2, 0, 1));
    assert_eq!(rejects(subject).await.len(), 2, "what can't be loaded yet stays, once");

    let newer = pet("c", "3", "2026-03-02T11:00:00Z");
    load(subject.destination(), "2026-03-02T12:00:00Z", &[&numbers(), &newer]).await;
    let mended = replay_all(subject).await;
    assert_eq!((mended.found, mended.replayed), (2, 2));
    assert_eq!((mended.counts.inserted, mended.counts.superseded), (1, 1));
    assert!(rejects(subject).await.is_empty(), "replayed ones are none any more");
    let rows = pets(subject).await;
    assert_eq!(rows.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    let row = &rows["b"];
    assert_eq!(row["_sdc_extracted_at"], json!("2026-03-01T11:00:00.5Z"));
    let sequence = |id: &str| rows[id]["_sdc_sequence"].as_i64();
    assert!(sequence("a") < sequence("b") && sequence("b") < sequence("c"), "{rows:?}");
    assert_eq!(row["home__city"], json!("Ulm"));
    assert!(row.values().any(|value| *value == json!(OLD)), "the value is there: {row:?}");
    assert!(!rows["c"].values().any(|value| *value == json!(OLD)), "the newer row stays");
    balances(subject).await;

    assert_eq!(replay_all(subject).await, ReplayedTable::default(), "nothing is left to replay");
    assert_eq!(pets(subject).await, rows);
}

/// Rows that are alike are rejects of their own, at every read the same ones, and each is replayed.
pub async fn accounts_for_rejects_that_are_alike(subject: &dyn Subject) {
    let (schema, alike) = (keyless(INTEGERS), pet("a", OLD, "2026-03-01T10:00:00Z"));
    for _ in 0..2 {
        load(subject.destination(), "2026-03-01T12:00:00Z", &[&schema, &alike, &alike]).await;
        assert_eq!(rejects(subject).await.len(), 2);
    }
    let good = pet("b", "1", "2026-03-02T10:00:00Z");
    load(subject.destination(), "2026-03-02T12:00:00Z", &[&keyless(&numbers()), &good]).await;
    assert_eq!(replay_all(subject).await.counts.inserted, 2);
    let rows = subject.rows("pets").await.expect("the table exists");
    let count = |id: &str| rows.iter().filter(|row| row["id"] == json!(id)).count();
    assert_eq!((rows.len(), count("a")), (3, 2));
    balances(subject).await;
}

/// Only what is asked for is replayed; what is rejected for another reason now stays with that.
pub async fn replays_what_is_asked_for_and_renews_reasons(subject: &dyn Subject) {
    let messages = [
        INTEGERS,
        &pet("a", OLD, "2026-03-01T10:00:00Z"),
        &pet("b", "\"x\"", "2026-03-01T10:00:00Z"),
    ];
    load(subject.destination(), "2026-03-01T12:00:00Z", &messages).await;
    let booleans = INTEGERS.replace(r#"["null","integer"]"#, r#"["null","boolean"]"#);
    let good = pet("c", "true", "2026-03-02T10:00:00Z");
    load(subject.destination(), "2026-03-02T12:00:00Z", &[&booleans, &good]).await;

    let before = rejects(subject).await;
    let filter =
        RejectFilter { reason: Some("number_range".to_owned()), ..RejectFilter::default() };
    let report = attempt(subject.destination(), &filter).await.expect("the replay succeeds");
    assert_eq!((report.tables["pets"].found, report.tables["pets"].replayed), (1, 0));
    let after = rejects(subject).await;
    assert_eq!(after.len(), 2);
    assert!(after.iter().all(|reject| reject.reason_code == "wrong_type"), "{after:?}");
    let records = |rejects: &[RejectRecord]| {
        let mut records: Vec<_> = rejects.iter().map(|reject| reject.record.clone()).collect();
        records.sort();
        records
    };
    assert_eq!(records(&after), records(&before), "the records stay as they came");

    let none = RejectFilter { table: Some("plants".to_owned()), ..RejectFilter::default() };
    let report = attempt(subject.destination(), &none).await.expect("the replay succeeds");
    assert_eq!(report, ReplayReport::default());
    let one = RejectFilter { id: Some(after[0].id.clone()), ..RejectFilter::default() };
    let report = attempt(subject.destination(), &one).await.expect("the replay succeeds");
    assert_eq!(report.tables["pets"].found, 1);
    balances(subject).await;
}

/// What was rejected of a version that the table no longer has is not brought back.
pub async fn brings_no_former_version_back(subject: &dyn Subject) {
    let versioned = |message: String, version: i64| {
        message.replace(r#""stream":"#, &format!(r#""version":{version},"stream":"#))
    };
    let activate = |version: i64| {
        format!(r#"{{"type":"ACTIVATE_VERSION","stream":"pets","version":{version}}}"#)
    };
    let read = |version, bad: &str, schema: &str| {
        [
            schema.to_owned(),
            versioned(pet("a", "1", "2026-03-01T10:00:00Z"), version),
            versioned(pet(bad, OLD, "2026-03-01T10:00:00Z"), version),
            activate(version),
        ]
    };
    for (version, bad, now) in [(1, "b", "2026-03-01T12:00:00Z"), (2, "c", "2026-03-02T12:00:00Z")]
    {
        let messages = read(version, bad, INTEGERS);
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        load(subject.destination(), now, &messages).await;
    }
    // The cause is mended without a new version.
    let more = versioned(pet("d", "2", "2026-03-03T10:00:00Z"), 2);
    load(subject.destination(), "2026-03-03T12:00:00Z", &[&numbers(), &more]).await;
    let report = replay_all(subject).await;
    assert_eq!((report.found, report.former_version, report.replayed), (2, 1, 1));
    assert_eq!(pets(subject).await.keys().collect::<Vec<_>>(), ["a", "c", "d"]);
    let left = rejects(subject).await;
    assert_eq!(left.len(), 1);
    assert!(left[0].record.contains(r#""id":"b""#));
    balances(subject).await;
}

/// Old rejects go, a run's own never, nor those that it read again; replayed ones go sooner.
pub async fn removes_old_rejects_and_no_others(subject: &dyn Subject) {
    // Destinations date rejects by their own clock, so the runs' clock is what is moved.
    let in_days = |days| {
        (chrono::Utc::now() + chrono::TimeDelta::days(days))
            .format("%Y-%m-%dT%H:%M:%SZ")
            .to_string()
    };
    let bad = |id: &str| pet(id, OLD, "2026-03-01T10:00:00Z");
    load(subject.destination(), &in_days(0), &[INTEGERS, &bad("a"), &bad("b")]).await;
    load(subject.destination(), &in_days(170), &[INTEGERS, &pet("x", "1", "2026-03-01T10:00:00Z")])
        .await;
    assert_eq!(rejects(subject).await.len(), 2);
    load(subject.destination(), &in_days(190), &[INTEGERS, &bad("b"), &bad("c")]).await;
    let left = rejects(subject).await;
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.iter().all(|reject| !reject.record.contains(r#""id":"a""#)), "{left:?}");

    load(
        subject.destination(),
        &in_days(0),
        &[&numbers(), &pet("x", "1.5", "2026-03-02T10:00:00Z")],
    )
    .await;
    assert_eq!(replay_all(subject).await.replayed, 2);
    let replayed = async || {
        let page = RejectPage { rows: 10, bytes: usize::MAX };
        let filter = RejectFilter::default();
        let stored = async |standing| {
            let found = subject.destination().stored_rejects(&filter, standing, None, page).await;
            found.expect("rejects can be read")
        };
        assert!(stored(Some(RejectStanding::Open)).await.is_empty());
        let replayed = stored(Some(RejectStanding::Replayed)).await;
        assert!(replayed.iter().all(|reject| reject.replayed_at.is_some()), "{replayed:?}");
        assert_eq!(stored(None).await, replayed);
        subject.rows(REJECTED.name).await.map(|rows| rows.len())
    };
    load(
        subject.destination(),
        &in_days(20),
        &[&numbers(), &pet("y", "1", "2026-03-02T10:00:00Z")],
    )
    .await;
    assert_eq!(replayed().await, Some(2));
    load(
        subject.destination(),
        &in_days(31),
        &[&numbers(), &pet("z", "1", "2026-03-02T10:00:00Z")],
    )
    .await;
    assert_eq!(replayed().await, Some(0));
    assert_eq!(pets(subject).await.len(), 5);
    balances(subject).await;
}

/// Wherever a replay breaks off, another one ends where it would have.
pub async fn replays_once_wherever_it_breaks_off(subject: &dyn Subject) {
    let schema = keyless(INTEGERS);
    let messages = [
        &*schema,
        &pet("a", OLD, "2026-03-01T10:00:00Z"),
        &pet("b", OLD, "2026-03-01T10:00:00Z"),
        &pet("c", "\"x\"", "2026-03-01T10:00:00Z"),
    ];
    load(subject.destination(), "2026-03-01T12:00:00Z", &messages).await;
    let good = pet("d", "1", "2026-03-02T10:00:00Z");
    load(subject.destination(), "2026-03-02T12:00:00Z", &[&keyless(&numbers()), &good]).await;
    let filter = RejectFilter::default();
    let mut at = 0;
    loop {
        let died = attempt(faulty(subject, Fault::Dies(at)), &filter).await.is_err();
        let rows = subject.rows("pets").await.expect("the table exists").len();
        let left = rejects(subject).await.len();
        assert!(matches!((rows, left), (1, 3) | (3, 1)), "all or nothing: {rows}, {left}");
        if !died {
            break;
        }
        at += 1;
    }
    assert!(at > 5, "it died {at} times");
    attempt(subject.destination(), &filter).await.expect("the replay succeeds");
    assert_eq!(subject.rows("pets").await.expect("the table exists").len(), 3);
    assert_eq!(rejects(subject).await.len(), 1);
    balances(subject).await;
}
