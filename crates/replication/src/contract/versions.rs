//! Clauses on full tables: a new version replaces the old one at once, or not at all.

use serde_json::json;

use super::{
    Subject,
    script::{Person, Rows, Script, by, instant, people, persons, text_rows, texts},
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
        script = script.event(Event::ActivateVersion {
            stream: StreamName::from("list"),
            version,
            since: None,
        });
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
        .event(Event::ActivateVersion { stream: stream(), version: 4, since: None })
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
        .event(Event::ActivateVersion { stream: stream(), version: 5, since: None })
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

/// A version of what the source has since some second replaces what the table has since then. What is older stays, with its
/// arrays, unless it is in the version because it has changed; and it doesn't count where a table shrinks.
pub async fn replaces_what_was_read_and_nothing_else(subject: &dyn Subject) {
    let schema = people(WinnerRule::ReplicationKey);
    let stream = || StreamName::from("people");
    let read = |version: i64, since: &str, rows: &[Person<'_>]| {
        let mut rows = persons(&schema, rows);
        rows.version = Some(version);
        Script::new()
            .schema(&schema)
            .event(Event::BeginVersion { stream: stream(), version })
            .rows(rows)
            .event(Event::ActivateVersion {
                stream: stream(),
                version,
                since: Some(instant(since)),
            })
    };
    let all: Vec<Person<'_>> = vec![
        ("old-1", "2026-01-01T00:00:00Z", "One", &["x", "y"]),
        ("old-2", "2026-01-31T23:59:59.999999Z", "Two", &["x"]),
        ("old-3", "2026-01-05T00:00:00Z", "Three", &["z"]),
        ("gone", "2026-02-01T00:00:00Z", "Gone", &["g", "h"]),
        ("here", "2026-02-02T00:00:00Z", "Here", &["a"]),
    ];
    Script::new().schema(&schema).rows(persons(&schema, &all)).succeed(subject.destination()).await;
    let again: Vec<Person<'_>> = vec![
        ("old-3", "2026-02-03T00:00:00Z", "Three", &["z", "w"]),
        ("here", "2026-02-02T00:00:00Z", "Here", &["a"]),
    ];
    let report = read(7, "2026-02-01T00:00:00Z", &again).succeed(subject.destination()).await;
    let rows = by("id", subject.rows("people").await);
    assert_eq!(rows.keys().collect::<Vec<_>>(), ["here", "old-1", "old-2", "old-3"]);
    let versions = ["here", "old-1", "old-3"].map(|id| rows[id][system::TABLE_VERSION].clone());
    assert_eq!(versions, [json!(7), json!(0), json!(7)]);
    let of_table = report.tables.iter().find(|table| table.table == "people");
    let counts = of_table.expect("it was loaded").counts;
    assert_eq!((counts.inserted, counts.updated, counts.unchanged, counts.deleted), (0, 1, 1, 1));
    if subject.has_subtables() {
        let items = subject.rows("people__listIds").await.expect("the subtable is there");
        let mut items: Vec<String> = items
            .iter()
            .map(|item| format!("{} {}", item["_sdc_source_key_id"], item["value"]))
            .collect();
        items.sort();
        let held = [
            r#""here" "a""#,
            r#""old-1" "x""#,
            r#""old-1" "y""#,
            r#""old-2" "x""#,
            r#""old-3" "w""#,
            r#""old-3" "z""#,
        ];
        assert_eq!(items, held);
    } else {
        assert_eq!(rows["old-1"]["listIds"], json!(["x", "y"]));
    }
    // One of two is half, whatever older rows there are; none is too few.
    let one: Vec<Person<'_>> = vec![("here", "2026-02-02T00:00:00Z", "Here", &[])];
    read(8, "2026-02-01T00:00:00Z", &one).succeed(subject.destination()).await;
    assert_eq!(by("id", subject.rows("people").await).len(), 3);
    let failure =
        read(9, "2026-02-01T00:00:00Z", &[]).run(subject.destination()).await.expect_err("empty");
    assert!(matches!(failure.error, RunError::Streams(_)), "{failure:?}");
    assert_eq!(by("id", subject.rows("people").await).len(), 3);
}

/// Rows of a version that share a key and are no versions of each other: the greatest stays, and every other one is a
/// reject, in whatever units they come.
pub async fn settles_key_collisions_within_a_version(subject: &dyn Subject) {
    let rule = WinnerRule::Greatest(vec!["name".to_owned()]);
    let schema = texts("list", &["id", "name"], &["id"], Method::FullTable, rule);
    let stream = || StreamName::from("list");
    let orders = [["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]];
    for (version, order) in (1..).zip(orders) {
        for rows_per_unit in [1, 100] {
            let version = version * 1_000 + i64::try_from(rows_per_unit).expect("it is small");
            let mut script = Script::new()
                .with(|options| options.limits.rows = rows_per_unit)
                .schema(&schema)
                .event(Event::BeginVersion { stream: stream(), version });
            for name in order {
                let mut rows = text_rows(&schema, &[&[Some("k"), Some(name)]]);
                rows.version = Some(version);
                script = script.rows(rows);
            }
            script
                .event(Event::ActivateVersion { stream: stream(), version, since: None })
                .succeed(subject.destination())
                .await;
            let rows = by("id", subject.rows("list").await);
            assert_eq!((rows.len(), &rows["k"]["name"]), (1, &json!("c")), "{order:?}");
            let rejects = subject.destination().rejects(None, 10).await.expect("read");
            let mut losers: Vec<_> = rejects.iter().map(|row| row.record.as_str()).collect();
            losers.sort_unstable();
            let expected = [r#"{"id":"k","name":"a"}"#, r#"{"id":"k","name":"b"}"#];
            assert_eq!(losers, expected, "{order:?}, {rows_per_unit} a unit");
        }
    }
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
