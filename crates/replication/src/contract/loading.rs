//! Clauses on loading: who wins, what stays, what is counted.

use serde_json::{Value, json};

use super::{
    Subject,
    script::{Person, Script, by, events, instant, numbers, people, persons, text_rows, texts},
};
use crate::{
    event::{Event, Gap},
    reject::{Occurrence, ReasonCode, RejectFilter, RejectedRow},
    reject_limit::RejectLimit,
    replay::RejectPage,
    run::RunError,
    stream::{Column, ColumnType, Method, StreamName, WinnerRule},
    system,
};

const MORNING: &str = "2026-02-01T08:00:00Z";
const NOON: &str = "2026-02-01T12:00:00Z";
const EVENING: &str = "2026-02-01T18:00:00Z";

/// Every declared table and column exists after the first load, also those that nothing was read for.
pub async fn creates_every_table_and_column(subject: &dyn Subject) {
    let people = people(WinnerRule::Sequence);
    let empty = texts("empty", &["id", "note"], &["id"], Method::Incremental, WinnerRule::Sequence);
    Script::new()
        .schema(&people)
        .schema(&empty)
        .rows(persons(&people, &[("a", MORNING, "Ann", &["x"])]))
        .succeed(subject.destination())
        .await;
    let rows = subject.rows("people").await.expect("the table exists");
    let mut expected = vec!["id", "modified", "fullName", "nothing"];
    if !subject.has_subtables() {
        expected.push("listIds");
    }
    expected.extend([
        system::EXTRACTED_AT,
        system::RECEIVED_AT,
        system::BATCHED_AT,
        system::SEQUENCE,
        system::TABLE_VERSION,
    ]);
    for column in expected {
        assert!(rows[0].contains_key(column), "column `{column}` exists: {:?}", rows[0]);
    }
    assert_eq!(rows[0]["nothing"], Value::Null);
    assert_eq!(rows[0][system::EXTRACTED_AT], json!("2026-03-01T12:00:00Z"));
    assert_eq!(rows[0][system::TABLE_VERSION], json!(0));
    assert_eq!(subject.rows("empty").await, Some(Vec::new()));
}

/// New keys are inserted, changed rows updated, and rows alike in every user column left alone entirely.
pub async fn inserts_updates_and_leaves_alone(subject: &dyn Subject) {
    let schema = people(WinnerRule::Sequence);
    let first = persons(&schema, &[("a", MORNING, "Ann", &["x"]), ("b", MORNING, "Bob", &[])]);
    Script::new().schema(&schema).rows(first).succeed(subject.destination()).await;
    let before = by("id", subject.rows("people").await);

    let second = persons(
        &schema,
        &[("a", MORNING, "Ann", &["x"]), ("b", NOON, "Bo", &[]), ("c", NOON, "Cid", &[])],
    );
    let report = Script::new()
        .at("2026-03-02T12:00:00Z")
        .schema(&schema)
        .rows(second)
        .succeed(subject.destination())
        .await;
    let after = by("id", subject.rows("people").await);
    assert_eq!(after["a"], before["a"], "an unchanged row keeps even its system columns");
    assert_eq!(after["b"]["fullName"], json!("Bo"));
    assert!(after["b"][system::SEQUENCE].as_i64() > before["b"][system::SEQUENCE].as_i64());
    assert_eq!(after["c"]["fullName"], json!("Cid"));
    let counts =
        report.tables.iter().find(|table| table.table == "people").expect("it was loaded").counts;
    assert_eq!((counts.received, counts.inserted, counts.updated, counts.unchanged), (3, 1, 1, 1));
}

/// Of several rows of one key in a unit the last version stays, and the others are counted as superseded.
pub async fn picks_the_winner_within_a_unit(subject: &dyn Subject) {
    let schema = people(WinnerRule::Sequence);
    let report = Script::new()
        .schema(&schema)
        .rows(persons(&schema, &[("a", NOON, "first", &[]), ("a", MORNING, "second", &[])]))
        .rows(persons(&schema, &[("a", MORNING, "third", &["x"])]))
        .succeed(subject.destination())
        .await;
    let rows = by("id", subject.rows("people").await);
    assert_eq!(rows["a"]["fullName"], json!("third"));
    let counts =
        report.tables.iter().find(|table| table.table == "people").expect("it was loaded").counts;
    assert_eq!((counts.received, counts.inserted, counts.superseded), (3, 1, 2));
}

/// Where the replication key decides, a version that is older by it never replaces a newer one, though it arrives later
/// and with a greater sequence: in the same unit, in another unit, in another run.
pub async fn never_goes_back_to_an_older_version(subject: &dyn Subject) {
    let schema = people(WinnerRule::ReplicationKey);
    Script::new()
        .schema(&schema)
        .rows(persons(&schema, &[("a", NOON, "noon", &["n"])]))
        .rows(persons(&schema, &[("a", MORNING, "morning", &[])]))
        .succeed(subject.destination())
        .await;
    assert_eq!(by("id", subject.rows("people").await)["a"]["fullName"], json!("noon"));

    let report = Script::new()
        .with(|options| options.limits.rows = 1)
        .schema(&schema)
        .rows(persons(&schema, &[("a", EVENING, "evening", &["e"])]))
        .rows(persons(&schema, &[("a", MORNING, "morning", &[])]))
        .succeed(subject.destination())
        .await;
    assert_eq!(report.units, 2, "each row came in a unit of its own");
    let rows = by("id", subject.rows("people").await);
    assert_eq!(rows["a"]["fullName"], json!("evening"));
    let counts =
        report.tables.iter().find(|table| table.table == "people").expect("it was loaded").counts;
    assert_eq!((counts.updated, counts.superseded), (1, 1));
}

/// A clock that was set back between two runs doesn't make what the second one reads look old.
pub async fn a_clock_set_back_makes_no_row_old(subject: &dyn Subject) {
    let schema = people(WinnerRule::Sequence);
    let load = |now: &'static str, name: &'static str| {
        Script::new().at(now).schema(&schema).rows(persons(&schema, &[("a", MORNING, name, &[])]))
    };
    load("2026-03-01T12:00:00Z", "before").succeed(subject.destination()).await;
    load("2020-01-01T00:00:00Z", "after").succeed(subject.destination()).await;
    assert_eq!(by("id", subject.rows("people").await)["a"]["fullName"], json!("after"));
}

/// Rows of a stream without a key are appended, equal ones too.
pub async fn appends_without_a_key(subject: &dyn Subject) {
    let schema = events();
    for _ in 0..2 {
        Script::new()
            .schema(&schema)
            .rows(numbers(&schema, &[1, 1, 2]))
            .succeed(subject.destination())
            .await;
    }
    let mut found: Vec<i64> = subject
        .rows("events")
        .await
        .expect("it exists")
        .iter()
        .filter_map(|row| row["number"].as_i64())
        .collect();
    found.sort_unstable();
    assert_eq!(found, [1, 1, 1, 1, 2, 2]);
}

/// Rows without a key that no state covers go, with what is nested in them, and the books know of it.
pub async fn takes_rows_back_without_a_key(subject: &dyn Subject) {
    let mut schema = (*people(WinnerRule::Sequence)).clone();
    schema.key.clear();
    let schema = std::sync::Arc::new(schema);
    let people = |names: &[&str], sequence: i64| {
        let rows: Vec<Person<'_>> = names
            .iter()
            .map(|name| (*name, "2026-01-01T00:00:00Z", *name, &["x", "y"][..]))
            .collect();
        let mut rows = persons(&schema, &rows);
        rows.sequence = Some(sequence);
        rows
    };
    Script::new()
        .schema(&schema)
        .rows(people(&["a", "b"], 100))
        .rows(people(&["c", "d"], 200))
        .succeed(subject.destination())
        .await;
    let after_sequence = 101;
    Script::new()
        .schema(&schema)
        .event(Event::Retract { stream: schema.stream.clone(), after_sequence })
        .rows(people(&["c"], 300))
        .succeed(subject.destination())
        .await;
    let rows = by("id", subject.rows("people").await);
    assert_eq!(rows.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(rows["c"]["_sdc_sequence"], json!(300));
    if subject.has_subtables() {
        assert_eq!(subject.rows("people__listIds").await.expect("it exists").len(), 6);
    }
    let totals = subject.destination().totals().await.expect("the ledger can be read");
    assert_eq!((totals["people"].inserted, totals["people"].deleted), (5, 2));
}

/// A schema that gains a column in mid-stream: what came before has null there.
pub async fn adds_columns_in_mid_stream(subject: &dyn Subject) {
    let narrow = texts("notes", &["id"], &["id"], Method::Incremental, WinnerRule::Sequence);
    let mut wide = (*narrow).clone();
    wide.columns.push(Column::new("text", ColumnType::Text));
    wide.columns.push(Column::new("count", ColumnType::Integer));
    let wide = std::sync::Arc::new(wide);
    let batch = arrow::array::RecordBatch::try_new(
        wide.arrow(),
        vec![
            std::sync::Arc::new(arrow::array::StringArray::from(vec!["b"])),
            std::sync::Arc::new(arrow::array::StringArray::from(vec!["new"])),
            std::sync::Arc::new(arrow::array::Int64Array::from(vec![7])),
        ],
    )
    .expect("the columns fit the schema");
    Script::new()
        .schema(&narrow)
        .rows(text_rows(&narrow, &[&[Some("a")]]))
        .schema(&wide)
        .rows(super::script::Rows::new(&wide, batch))
        .succeed(subject.destination())
        .await;
    let rows = by("id", subject.rows("notes").await);
    assert_eq!((&rows["a"]["text"], &rows["a"]["count"]), (&Value::Null, &Value::Null));
    assert_eq!((&rows["b"]["text"], &rows["b"]["count"]), (&json!("new"), &json!(7)));
}

/// Bookmarks are stored with the rows that they cover, and given to the next claim.
pub async fn moves_bookmarks_with_their_rows(subject: &dyn Subject) {
    let schema = people(WinnerRule::ReplicationKey);
    Script::new()
        .schema(&schema)
        .rows(persons(&schema, &[("a", MORNING, "Ann", &[])]))
        .bookmark("people", MORNING)
        .rows(persons(&schema, &[("b", NOON, "Bob", &[])]))
        .bookmark("people", NOON)
        .succeed(subject.destination())
        .await;
    let states = subject.destination().states().await.expect("states can be read");
    let state = states.iter().find(|row| row.stream == "people").expect("there is a bookmark");
    assert_eq!(state.state, Some(json!({ "field": "modified", "last_record": NOON })));
    let claim = states.iter().find(|row| row.stream.is_empty()).expect("there is a claim row");
    assert_eq!(claim.holder, None, "a run that ended lets go");
    let request = super::claims::request("next");
    let claim = subject.destination().claim(&request).await.expect("it is free");
    let state = &claim.states[&StreamName::from("people")];
    assert_eq!(*state, json!({ "field": "modified", "last_record": NOON }));
}

/// A span that the source can't give is in the ledger, also where a unit has several.
pub async fn records_gaps(subject: &dyn Subject) {
    let schema = people(WinnerRule::Sequence);
    let gap = |from: &str, to: &str| {
        Event::Gap(Gap {
            stream: StreamName::from("people"),
            from: instant(from),
            to: instant(to),
            reason: "Too old".to_owned(),
        })
    };
    let report = Script::new()
        .schema(&schema)
        .event(gap("2025-03-01T00:00:00Z", "2025-04-01T00:00:00Z"))
        .event(gap("2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z"))
        .succeed(subject.destination())
        .await;
    assert_eq!(report.gaps.len(), 2);
    let loads = subject.destination().loads(10).await.expect("the ledger can be read");
    let found = loads[0].gap.as_ref().expect("the gap is recorded");
    assert_eq!(found.from, instant("2025-01-01T00:00:00Z"));
    assert_eq!(found.to, instant("2025-04-01T00:00:00Z"));
    assert_eq!(found.reason, "Too old");
}

/// A run ends when more rows were rejected than it may, with everything up to there stored.
pub async fn ends_when_too_many_rows_are_rejected(subject: &dyn Subject) {
    let schema =
        texts("notes", &["id", "text"], &["id"], Method::Incremental, WinnerRule::Sequence);
    let rows = text_rows(&schema, &[&[Some("a"), None], &[None, Some("b")], &[None, Some("c")]]);
    let script = |limit| {
        Script::new()
            .with(|options| options.max_rejects = Some(RejectLimit::Count(limit)))
            .schema(&schema)
            .rows(rows.clone())
    };
    let failure = script(1).run(subject.destination()).await.expect_err("two are too many");
    let limit = RejectLimit::Count(1);
    assert!(
        matches!(failure.error, RunError::Rejects { rejected: 2, limit: found } if found == limit),
        "{failure:?}"
    );
    assert_eq!(subject.rows("notes").await.map(|rows| rows.len()), Some(1));
    let rejects = subject.destination().rejects(Some("notes"), 10).await.expect("they can be read");
    assert_eq!(rejects.len(), 2);
    assert!(rejects.iter().all(|reject| reject.reason_code == "missing_key"));
    let reasons =
        subject.destination().reject_reasons(Some("notes")).await.expect("they can be read");
    assert_eq!((reasons.len(), reasons[0].rows, &*reasons[0].reason_code), (1, 2, "missing_key"));
    assert!(reasons[0].first_rejected_at <= reasons[0].last_rejected_at);
    let none =
        subject.destination().reject_reasons(Some("others")).await.expect("they can be read");
    assert!(none.is_empty());
    script(2).succeed(subject.destination()).await;
}

/// The ledger accounts for every row: its sums equal the tables, and its batches equal the report.
pub async fn keeps_the_ledger_true(subject: &dyn Subject) {
    let schema = people(WinnerRule::Sequence);
    for round in ["one", "two"] {
        let report = Script::new()
            .with(|options| options.limits.rows = 2)
            .schema(&schema)
            .rows(persons(
                &schema,
                &[("a", MORNING, round, &["x", "y"]), ("b", MORNING, "Bob", &[])],
            ))
            .rows(persons(&schema, &[("c", MORNING, "Cid", &["x"])]))
            .bookmark("people", MORNING)
            .succeed(subject.destination())
            .await;
        assert_eq!(report.units, 2);
        let loads = subject.destination().loads(100).await.expect("the ledger can be read");
        let mine: Vec<_> = loads.iter().filter(|load| load.run_id == report.run_id).collect();
        let of_people = mine.iter().filter(|load| load.table == "people");
        let received: u64 = of_people.clone().map(|load| load.counts.received).sum();
        assert_eq!(received, 3);
        assert!(of_people.clone().any(|load| load.bookmark.as_deref() == Some(MORNING)));
        assert!(of_people.clone().any(|load| load.max_replication_key.as_deref() == Some(MORNING)));
    }
    for (table, totals) in subject.destination().totals().await.expect("the ledger can be summed") {
        let count = subject
            .destination()
            .count(&table)
            .await
            .expect("it can be counted")
            .expect("it exists");
        assert_eq!(totals.inserted - totals.deleted, count, "the ledger accounts for `{table}`");
        assert_eq!(subject.rows(&table).await.map(|rows| rows.len() as u64), Some(count));
    }
}

/// A rejected row is kept whole with its reason, once, however often it is read.
pub async fn rejects_a_row_once(subject: &dyn Subject) {
    let schema = people(WinnerRule::Sequence);
    for _ in 0..2 {
        let mut rows = persons(&schema, &[("a", MORNING, "Ann", &[])]);
        rows.rejects.push(RejectedRow {
            stream: StreamName::from("people"),
            code: ReasonCode::WrongType,
            reason: "Column `modified` holds no date-time".to_owned(),
            record: "{\"id\":\"z\",\"modified\":\"'; drop table people; --\"}".to_owned(),
            key_digest: None,
            sequence: 5,
            table_version: 0,
            extracted_at: super::script::instant(NOON),
            occurrence: Occurrence::Uncounted,
            replays: None,
        });
        let report = Script::new().schema(&schema).rows(rows).succeed(subject.destination()).await;
        let counts = report
            .tables
            .iter()
            .find(|table| table.table == "people")
            .expect("it was loaded")
            .counts;
        assert_eq!((counts.received, counts.rejected), (2, 1));
    }
    let rejects =
        subject.destination().rejects(Some("people"), 10).await.expect("rejects can be read");
    assert_eq!(rejects.len(), 1);
    assert_eq!(rejects[0].reason_code, "wrong_type");
    assert_eq!(rejects[0].record, "{\"id\":\"z\",\"modified\":\"'; drop table people; --\"}");
    assert_eq!(by("id", subject.rows("people").await).len(), 1);
}

/// Of rows that share a key and are no versions of each other the greatest stays, and every other one is a reject, once,
/// in whatever order, unit or run they come.
pub async fn settles_key_collisions_whichever_comes_first(subject: &dyn Subject) {
    let rule = WinnerRule::Greatest(vec!["method".to_owned(), "complaint".to_owned()]);
    let schema = texts(
        "unsubscribe",
        &["contactId", "method", "complaint"],
        &["contactId"],
        Method::Incremental,
        rule,
    );
    let rows: [&[Option<&str>]; 3] = [
        &[Some("c1"), Some("admin"), None],
        &[Some("c1"), Some("subscriber"), Some("why")],
        &[Some("c1"), Some("bulk"), Some("é \"quoted\"")],
    ];
    let orders = [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]];
    for order in orders {
        for rows_per_unit in [1, 100] {
            let mut script =
                Script::new().with(|options| options.limits.rows = rows_per_unit).schema(&schema);
            for index in order {
                script = script.rows(text_rows(&schema, &[rows[index]]));
            }
            script.succeed(subject.destination()).await;
            let stored = by("contactId", subject.rows("unsubscribe").await);
            assert_eq!(
                stored["c1"]["method"],
                json!("subscriber"),
                "order {order:?}, {rows_per_unit} a unit"
            );
            assert_eq!(stored["c1"]["complaint"], json!("why"));
            let mut losers: Vec<String> = subject
                .destination()
                .rejects(None, 10)
                .await
                .expect("read")
                .into_iter()
                .map(|row| row.record)
                .collect();
            losers.sort();
            assert_eq!(
                losers,
                [
                    "{\"contactId\":\"c1\",\"method\":\"admin\"}",
                    "{\"contactId\":\"c1\",\"method\":\"bulk\",\"complaint\":\"é \\\"quoted\\\"\"}"
                ],
                "order {order:?}, {rows_per_unit} a unit"
            );
        }
    }
    let page = RejectPage { rows: 10, bytes: usize::MAX };
    let losers =
        subject.destination().stored_rejects(&RejectFilter::default(), None, None, page).await;
    let mut sequences: Vec<i64> =
        losers.expect("read").into_iter().map(|reject| reject.sequence).collect();
    let winner = by("contactId", subject.rows("unsubscribe").await);
    sequences.extend(winner["c1"]["_sdc_sequence"].as_i64());
    sequences.dedup();
    assert_eq!(sequences.len(), 3, "each has the sequence of its own read: {sequences:?}");
}
