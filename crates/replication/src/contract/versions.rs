//! Clauses on full tables: a new version replaces the old one at once, or not at all.

use serde_json::json;

use super::{
    Subject,
    script::{Rows, Script, by, text_rows, texts},
};
use crate::{
    event::Event,
    run::RunError,
    source::SourceErrorKind,
    stream::{Method, StreamName, StreamSchema, WinnerRule},
    system,
};
use std::sync::Arc;

fn lists() -> Arc<StreamSchema> {
    texts("list", &["id", "name"], &["id"], Method::FullTable, WinnerRule::Sequence)
}

fn read(version: i64, rows: &[(&str, &str)], complete: bool) -> Script {
    let schema = lists();
    let mut script = Script::new()
        .with(|options| options.limits.rows = 2)
        .schema(&schema)
        .event(Event::BeginVersion { stream: StreamName::from("list"), version });
    for (id, name) in rows {
        let mut rows = text_rows(&schema, &[&[Some(id), Some(name)]]);
        rows.version = Some(version);
        script = script.rows(rows);
    }
    if complete {
        script = script.event(Event::ActivateVersion { stream: StreamName::from("list"), version });
    }
    script
}

/// Rows that wait keep what they hold in a column that the stream hasn't any more when their version is activated.
pub async fn keeps_columns_that_a_version_had(subject: &dyn Subject) {
    let wide = texts("list", &["id", "name"], &["id"], Method::FullTable, WinnerRule::Sequence);
    let narrow = texts("list", &["id"], &["id"], Method::FullTable, WinnerRule::Sequence);
    let stream = || StreamName::from("list");
    let waiting = |mut rows: Rows| {
        rows.version = Some(4);
        rows
    };
    Script::new()
        .schema(&wide)
        .event(Event::BeginVersion { stream: stream(), version: 4 })
        .rows(waiting(text_rows(&wide, &[&[Some("a"), Some("A")], &[Some("b"), Some("B")]])))
        .schema(&narrow)
        .rows(waiting(text_rows(&narrow, &[&[Some("b")], &[Some("c")]])))
        .event(Event::ActivateVersion { stream: stream(), version: 4 })
        .succeed(subject.destination())
        .await;
    let rows = by("id", subject.rows("list").await);
    let names = ["a", "b", "c"].map(|id| rows[id]["name"].clone());
    assert_eq!(names, [json!("A"), json!("B"), serde_json::Value::Null]);
}

/// After a complete read the table holds that read's rows and no others, with the figures to match.
pub async fn replaces_a_full_table(subject: &dyn Subject) {
    read(1, &[("a", "A"), ("b", "B"), ("c", "C")], true).succeed(subject.destination()).await;
    let report =
        read(2, &[("a", "A"), ("b", "Bee"), ("d", "D")], true).succeed(subject.destination()).await;
    let rows = by("id", subject.rows("list").await);
    assert_eq!(rows.keys().collect::<Vec<_>>(), ["a", "b", "d"]);
    assert_eq!(rows["b"]["name"], json!("Bee"));
    assert_eq!(rows["a"][system::TABLE_VERSION], json!(2));
    let counts =
        report.tables.iter().find(|table| table.table == "list").expect("it was loaded").counts;
    assert_eq!(
        (counts.received, counts.inserted, counts.updated, counts.unchanged, counts.deleted),
        (3, 1, 1, 1, 1)
    );
    assert_eq!(
        subject.rows(&format!("{}list", system::NEXT_VERSION_PREFIX)).await,
        None,
        "nothing waits"
    );
    let repeated =
        read(3, &[("a", "A"), ("b", "Bee"), ("d", "D")], true).succeed(subject.destination()).await;
    assert_eq!(repeated.tables[0].counts.unchanged, 3);
}

/// Rows of the live table and of a waiting version may come in one unit: the ledger accounts for both.
pub async fn accounts_for_live_and_waiting_rows_of_one_unit(subject: &dyn Subject) {
    let schema = lists();
    let row = |id: &'static str, version| {
        let mut rows = text_rows(&schema, &[&[Some(id), Some("name")]]);
        rows.version = version;
        rows
    };
    let stream = || StreamName::from("list");
    let report = Script::new()
        .schema(&schema)
        .rows(row("live", None))
        .event(Event::BeginVersion { stream: stream(), version: 5 })
        .rows(row("a", Some(5)))
        .rows(row("live", None))
        .rows(row("b", Some(5)))
        .event(Event::ActivateVersion { stream: stream(), version: 5 })
        .succeed(subject.destination())
        .await;
    let counts = report.tables[0].counts;
    assert_eq!((counts.received, counts.superseded), (4, 1));
    assert_eq!((counts.inserted, counts.deleted), (3, 1));
    assert_eq!(by("id", subject.rows("list").await).keys().collect::<Vec<_>>(), ["a", "b"]);
    let loads = subject.destination().loads(10).await.expect("the ledger can be read");
    assert_eq!(loads.iter().map(|load| load.table_version).collect::<Vec<_>>(), [5]);
    let totals = subject.destination().totals().await.expect("the ledger can be summed");
    assert_eq!(totals["list"].inserted - totals["list"].deleted, 2);
}

/// A read that gives nothing, or less than half of what is stored, keeps the stored rows and fails, unless that is
/// allowed.
pub async fn keeps_a_full_table_that_shrinks_by_mistake(subject: &dyn Subject) {
    read(1, &[("a", "A"), ("b", "B"), ("c", "C")], true).succeed(subject.destination()).await;
    for (version, rows) in [(2, Vec::new()), (3, vec![("a", "A")])] {
        let failure = read(version, &rows, true)
            .bookmark("list", "untrue")
            .run(subject.destination())
            .await
            .expect_err("it is refused");
        let RunError::Streams(failed) = &failure.error else { panic!("unexpected: {failure:?}") };
        assert_eq!(failed[0].1.kind, SourceErrorKind::Unsound);
        assert_eq!(by("id", subject.rows("list").await).len(), 3, "the stored rows stay");
        let states = subject.destination().states().await.expect("states can be read");
        assert!(states.iter().all(|row| row.stream != "list"), "a bookmark behind it is void");
        let loads = subject.destination().loads(1).await.expect("the ledger can be read");
        let (counts, read) = (&loads[0].counts, rows.len() as u64);
        assert_eq!((counts.received, counts.superseded, counts.deleted), (read, read, 0));
        let totals = subject.destination().totals().await.expect("the ledger can be summed");
        assert_eq!(totals["list"].table_version, 1, "the table has no new version");
    }
    read(4, &[], true)
        .with(|options| options.allow_empty = true)
        .succeed(subject.destination())
        .await;
    assert_eq!(subject.rows("list").await, Some(Vec::new()));
}

/// Rows of a version that was never activated are in no table, and the next run starts without them.
pub async fn forgets_a_version_that_was_never_activated(subject: &dyn Subject) {
    read(1, &[("a", "A"), ("b", "B")], true).succeed(subject.destination()).await;
    read(2, &[("x", "X"), ("y", "Y"), ("z", "Z")], false).succeed(subject.destination()).await;
    assert_eq!(by("id", subject.rows("list").await).len(), 2);
    read(3, &[("c", "C")], true).succeed(subject.destination()).await;
    assert_eq!(by("id", subject.rows("list").await).keys().collect::<Vec<_>>(), ["c"]);
    for (table, totals) in subject.destination().totals().await.expect("the ledger can be summed") {
        let count = subject
            .destination()
            .count(&table)
            .await
            .expect("it can be counted")
            .expect("it exists");
        assert_eq!(totals.inserted - totals.deleted, count, "the ledger accounts for `{table}`");
    }
}
