//! Merging: who wins, what is counted, and that tables are made to fit.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{Int64Array, RecordBatch, StringArray};
use proptest::prelude::*;
use replication::{
    destination::{Destination, DestinationErrorKind},
    stream::{Column, ColumnType, Method, StreamSchema, WinnerRule},
};
use serde_json::json;

use crate::support::{
    Contact, SCHEMA, Warehouse, claimed, column, commit, contact_load, contact_rows, contacts,
    figures, load, rows_of, stamped,
};

const EMAILS: &str = "select id, email from stitch_bronto.contact";
const SEQUENCES: &str = "select id, _sdc_sequence from stitch_bronto.contact";

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn the_later_sequence_wins() {
    let warehouse = Warehouse::new();
    let schema = contacts(WinnerRule::Sequence);
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    let rows = [
        ("a", Some(5), Some("a1"), None),
        ("b", Some(5), Some("b1"), None),
        ("c", None, None, None),
    ];
    let outcome =
        commit(&destination, &claim, &contact_load(&schema, &rows, 100), "1").await.unwrap();
    assert_eq!(figures(&outcome), [3, 0, 0, 0]);

    let rows = [
        ("a", Some(4), Some("old"), None),
        ("b", Some(5), Some("b1"), None),
        ("d", None, None, None),
    ];
    let outcome =
        commit(&destination, &claim, &contact_load(&schema, &rows, 50), "2").await.unwrap();
    assert_eq!(
        figures(&outcome),
        [1, 0, 1, 1],
        "an older version loses, an equal row is unchanged"
    );

    let rows = [
        ("a", Some(4), Some("a2"), None),
        ("b", Some(5), Some("b1"), None),
        ("c", None, Some("c"), None),
    ];
    let outcome =
        commit(&destination, &claim, &contact_load(&schema, &rows, 200), "3").await.unwrap();
    assert_eq!(figures(&outcome), [0, 2, 1, 0]);
    let emails = column(&destination, EMAILS).await;
    assert_eq!([&emails["a"], &emails["b"], &emails["c"]], [&some("a2"), &some("b1"), &some("c")]);
    let sequences = column(&destination, SEQUENCES).await;
    assert_eq!(sequences["a"], some("200"), "an update sets the system columns");
    assert_eq!(sequences["b"], some("101"), "an unchanged row keeps even its sequence");
}

#[tokio::test]
async fn the_later_replication_key_wins_whatever_the_sequence() {
    let warehouse = Warehouse::new();
    let schema = contacts(WinnerRule::ReplicationKey);
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    let rows = [
        ("a", Some(5), Some("a5"), None),
        ("b", None, Some("b"), None),
        ("c", Some(5), Some("c5"), None),
    ];
    commit(&destination, &claim, &contact_load(&schema, &rows, 100), "1").await.unwrap();

    let rows = [
        ("a", Some(4), Some("a4"), None),
        ("b", Some(1), Some("b1"), None),
        ("c", Some(5), Some("late"), None),
    ];
    let outcome =
        commit(&destination, &claim, &contact_load(&schema, &rows, 50), "2").await.unwrap();
    assert_eq!(
        figures(&outcome),
        [0, 1, 0, 2],
        "null is earliest; equal keys are decided by the sequence"
    );

    let rows = [
        ("a", None, Some("none"), None),
        ("b", None, Some("none"), None),
        ("c", Some(5), Some("c6"), None),
    ];
    let outcome =
        commit(&destination, &claim, &contact_load(&schema, &rows, 200), "3").await.unwrap();
    assert_eq!(figures(&outcome), [0, 1, 0, 2]);
    let emails = column(&destination, EMAILS).await;
    assert_eq!([&emails["a"], &emails["b"], &emails["c"]], [&some("a5"), &some("b1"), &some("c6")]);
}

#[tokio::test]
async fn rivals_are_the_rows_that_differ_and_the_remaining_ones_win() {
    let warehouse = Warehouse::new();
    let schema = contacts(WinnerRule::Greatest(vec!["email".to_owned()]));
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    let rows = [
        ("a", Some(5), Some("\u{0}x"), Some([Some("1"), None].as_slice())),
        ("b", None, Some(""), Some([].as_slice())),
        ("c", None, None, None),
    ];
    commit(&destination, &claim, &contact_load(&schema, &rows, 100), "1").await.unwrap();
    let rows = [
        ("a", Some(5), Some("z"), None),
        ("b", None, None, Some([].as_slice())),
        ("c", None, None, None),
    ];
    let load = contact_load(&schema, &rows, 50);
    let mut unit = destination.begin(&claim).await.unwrap();
    unit.prepare(&schema, None).await.unwrap();
    let mut rivals = unit.rivals(&load).await.unwrap();
    rivals.sort_by_key(|rival| rival["id"].to_string());
    let sequences: Vec<_> =
        rivals.iter().map(|rival| rival[replication::system::SEQUENCE].clone()).collect();
    assert_eq!(sequences, [json!(100), json!(101)], "the stored rows' own");
    rivals.iter_mut().for_each(|rival| rival.retain(|name, _| !name.starts_with("_sdc_")));
    let expected = [
        json!({"id": "a", "modified": "2026-01-02T00:05:00Z", "email": "\u{0}x", "listIds": ["1", null]}),
        json!({"id": "b", "email": "", "listIds": []}),
    ];
    assert_eq!(rivals.into_iter().map(serde_json::Value::Object).collect::<Vec<_>>(), expected);
    assert_eq!(
        figures(&unit.merge(&load).await.unwrap()),
        [0, 2, 1, 0],
        "with a lesser sequence, too"
    );
}

#[tokio::test]
async fn every_difference_counts() {
    let warehouse = Warehouse::new();
    let schema = contacts(WinnerRule::Sequence);
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    let steps: [Contact<'_>; 10] = [
        ("a", None, None, None),
        ("a", None, Some(""), None),
        ("a", None, Some("\u{0}"), None),
        ("a", None, Some("\u{0}a"), None),
        ("a", None, Some("\u{0}a"), Some(&[])),
        ("a", None, Some("\u{0}a"), Some(&[None])),
        ("a", None, Some("\u{0}a"), Some(&[Some("")])),
        ("a", None, Some("\u{0}a"), Some(&[Some(""), Some("x")])),
        ("a", None, Some("\u{0}a"), Some(&[Some("x"), Some("")])),
        ("a", Some(1), Some("\u{0}a"), Some(&[Some("x"), Some("")])),
    ];
    for (round, contact) in (1..).zip(steps) {
        let (_, _, email, lists) = contact;
        let load = contact_load(&schema, &[contact], round);
        let outcome = commit(&destination, &claim, &load, &round.to_string()).await.unwrap();
        assert_eq!(
            figures(&outcome),
            if round == 1 { [1, 0, 0, 0] } else { [0, 1, 0, 0] },
            "round {round}"
        );
        let outcome = commit(&destination, &claim, &load, &format!("{round} again")).await.unwrap();
        assert_eq!(figures(&outcome), [0, 0, 1, 0], "round {round}");
        let row = &rows_of(&destination, SCHEMA, "contact").await.unwrap()[0];
        assert_eq!(
            (&row["email"], &row["listIds"]),
            (&json!(email), &json!(lists)),
            "round {round}"
        );
    }
}

#[tokio::test]
async fn a_load_of_several_batches_larger_than_a_chunk_is_merged_whole() {
    let warehouse = Warehouse::new();
    let schema = contacts(WinnerRule::Sequence);
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    let ids: Vec<String> = (0..5_000).map(|id| format!("{id:05}")).collect();
    let rows: Vec<_> = ids.iter().map(|id| (id.as_str(), None, Some("x"), None)).collect();
    let batches = rows
        .chunks(2_500)
        .map(|rows| stamped(&schema, &contact_rows(&schema, rows), 1, 0))
        .collect();
    let outcome = commit(&destination, &claim, &load(&schema, None, batches), "1").await.unwrap();
    assert_eq!(figures(&outcome), [5_000, 0, 0, 0]);
    let changed: Vec<_> =
        ids.iter().map(|id| (id.as_str(), None, id.ends_with('7').then_some("y"), None)).collect();
    let batches = changed
        .chunks(2_500)
        .map(|rows| stamped(&schema, &contact_rows(&schema, rows), 9_000, 0))
        .collect();
    let outcome = commit(&destination, &claim, &load(&schema, None, batches), "2").await.unwrap();
    assert_eq!(figures(&outcome), [0, 5_000, 0, 0]);
    let (_, counts) = destination
        .query_text("select count(*), count(distinct id), count(email) from stitch_bronto.contact")
        .await
        .unwrap();
    assert_eq!(counts[0], [some("5000"), some("5000"), some("500")]);
}

fn numbers(columns: &[&str], key: &[&str]) -> Arc<StreamSchema> {
    Arc::new(StreamSchema {
        stream: "number".into(),
        columns: columns.iter().map(|name| Column::new(*name, ColumnType::Integer)).collect(),
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        replication_key: None,
        method: Method::Incremental,
        winner: WinnerRule::Sequence,
    })
}

fn number_rows(schema: &StreamSchema, rows: &[&[i64]]) -> RecordBatch {
    let column = |position: usize| rows.iter().map(|row| row[position]).collect::<Vec<_>>();
    let columns = (0..schema.columns.len())
        .map(|position| Arc::new(Int64Array::from(column(position))) as _)
        .collect();
    RecordBatch::try_new(schema.arrow(), columns).unwrap()
}

#[tokio::test]
async fn keys_may_be_several_columns_or_all_or_none() {
    let warehouse = Warehouse::new();
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    for (key, second) in [(vec!["a", "b"], [1, 0, 2, 0]), (vec![], [3, 0, 0, 0])] {
        let schema = numbers(&["a", "b"], &key);
        let unit = |rows: &[&[i64]]| {
            load(&schema, None, vec![stamped(&schema, &number_rows(&schema, rows), 1, 0)])
        };
        let first = commit(&destination, &claim, &unit(&[&[1, 1], &[1, 2]]), "1").await.unwrap();
        assert_eq!(figures(&first), [2, 0, 0, 0]);
        let outcome =
            commit(&destination, &claim, &unit(&[&[1, 1], &[1, 2], &[2, 1]]), "2").await.unwrap();
        assert_eq!(figures(&outcome), second);
        let mut unit = destination.begin(&claim).await.unwrap();
        let schema = numbers(&["a", "b"], &[]);
        unit.prepare(&schema, Some(1)).await.unwrap();
        unit.activate(&schema, 1, None).await.unwrap();
        crate::support::finish(unit, &claim, "3").await.unwrap();
    }
}

#[tokio::test]
async fn tables_gain_columns_and_keep_those_that_others_added() {
    let warehouse = Warehouse::new();
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    let narrow = numbers(&["id"], &["id"]);
    let rows = |schema: &Arc<StreamSchema>, rows: &[&[i64]], sequence| {
        load(schema, None, vec![stamped(schema, &number_rows(schema, rows), sequence, 0)])
    };
    commit(&destination, &claim, &rows(&narrow, &[&[1], &[2]], 1), "1").await.unwrap();
    let wide = numbers(&["Count \"x\"", "id"], &["id"]);
    commit(&destination, &claim, &rows(&wide, &[&[7, 1]], 2), "2").await.unwrap();
    let outcome =
        commit(&destination, &claim, &rows(&narrow, &[&[1], &[3]], 3), "3").await.unwrap();
    assert_eq!(figures(&outcome), [1, 0, 1, 0], "what a schema doesn't have makes no difference");
    let counts =
        column(&destination, "select id, \"Count \"\"x\"\"\" from stitch_bronto.number").await;
    let expected: BTreeMap<_, _> = [("1", some("7")), ("2", None), ("3", None)]
        .into_iter()
        .map(|(id, count)| (id.to_owned(), count))
        .collect();
    assert_eq!(counts, expected);
}

#[tokio::test]
async fn a_refused_value_is_a_row_error_without_the_value() {
    let warehouse = Warehouse::new();
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    let mut schema = (*numbers(&["id", "document"], &["id"])).clone();
    schema.columns[1].column_type = ColumnType::Json;
    let schema = Arc::new(schema);
    let columns = vec![
        Arc::new(Int64Array::from(vec![1, 2])) as _,
        Arc::new(StringArray::from(vec!["{\"a\": 1.50 }", "{secret"])) as _,
    ];
    let batch = stamped(&schema, &RecordBatch::try_new(schema.arrow(), columns).unwrap(), 1, 0);
    let error = commit(&destination, &claim, &load(&schema, None, vec![batch.clone()]), "1")
        .await
        .unwrap_err();
    assert!(matches!(error.kind, DestinationErrorKind::Row(_)), "{error:?}");
    assert!(!format!("{error:?}").contains("secret"));
    let good = load(&schema, None, vec![batch.slice(0, 1)]);
    commit(&destination, &claim, &good, "2").await.unwrap();
    let outcome = commit(&destination, &claim, &good, "3").await.unwrap();
    assert_eq!(figures(&outcome), [0, 0, 1, 0], "equal documents are equal");
    assert_eq!(
        rows_of(&destination, SCHEMA, "number").await.unwrap()[0]["document"],
        json!("{\"a\": 1.50 }")
    );
}

/// What a unit brings: for some of a few ids a version, by its replication key and its value.
type Unit = BTreeMap<u8, (Option<i64>, u8)>;

fn check_against_model(winner: &WinnerRule, units: Vec<Unit>, order: Vec<i64>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let warehouse = Warehouse::new();
        let schema = contacts(winner.clone());
        let destination = warehouse.open();
        let claim = claimed(&destination).await;
        let mut model: BTreeMap<u8, (Option<i64>, u8, i64)> = BTreeMap::new();
        for (number, (unit, sequence)) in units.into_iter().zip(order).enumerate() {
            let mut expected = [0; 4];
            let texts: Vec<_> =
                unit.iter().map(|(id, (_, value))| (id.to_string(), value.to_string())).collect();
            let mut rows = Vec::new();
            for (ordinal, ((id, (key, value)), (id_text, text))) in
                (0..).zip(unit.iter().zip(&texts))
            {
                rows.push((id_text.as_str(), *key, Some(text.as_str()), None));
                let version = (*key, *value, sequence * 100 + ordinal);
                let wins = |stored: &(Option<i64>, u8, i64)| match winner {
                    WinnerRule::ReplicationKey => (version.0, version.2) > (stored.0, stored.2),
                    _ => version.2 > stored.2,
                };
                let figure = match model.get(id) {
                    None => 0,
                    Some(stored) if (stored.0, stored.1) == (version.0, version.1) => 2,
                    Some(stored) if wins(stored) => 1,
                    Some(_) => 3,
                };
                expected[figure] += 1;
                if figure < 2 {
                    model.insert(*id, version);
                }
            }
            let load = contact_load(&schema, &rows, sequence * 100);
            let outcome = commit(&destination, &claim, &load, &number.to_string()).await.unwrap();
            assert_eq!(figures(&outcome), expected);
        }
        let stored = column(
            &destination,
            "select id, email || '/' || _sdc_sequence from stitch_bronto.contact",
        );
        let expected = model.iter().map(|(id, (_, value, sequence))| {
            (id.to_string(), Some(format!("{value}/{sequence}")))
        });
        if !model.is_empty() {
            assert_eq!(stored.await, expected.collect());
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_the_order_the_table_is_the_model(
        units in proptest::collection::vec(
            proptest::collection::btree_map(0..6_u8, (proptest::option::of(0..4_i64), 0..3_u8), 1..6), 1..7),
        order in Just((1..8_i64).collect::<Vec<_>>()).prop_shuffle(),
        by_key in any::<bool>(),
    ) {
        check_against_model(if by_key { &WinnerRule::ReplicationKey } else { &WinnerRule::Sequence }, units, order);
    }
}
