//! Clauses on values: what is read back equals what was sent, or the row is a reject.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use serde_json::{Value, json};

use super::{
    Subject,
    script::{Rows, Script, by, instant, people, persons},
};
use crate::{
    row,
    stream::{
        Column, ColumnType, Method, NUMBER_PRECISION, NUMBER_SCALE, StreamName, StreamSchema,
        WinnerRule,
    },
    system,
};

/// Texts that destinations are known to alter.
const TEXTS: [&str; 16] = [
    "",
    " ",
    "\\N",
    "a\\b",
    "tab\there\nline\r\nend",
    "'single' \"double\" `back`",
    "; drop table people; --",
    "\u{0}",
    "in\u{0}side",
    "\u{1}\u{8}\u{b}\u{1f}\u{7f}\u{85}",
    "\u{feff}bom",
    "e\u{301} and \u{e9}",
    "\u{fffd}\u{ffff}\u{10ffff}",
    "العربية עברית 日本語 👩‍👩‍👧‍👦",
    "NULL",
    "{\"json\": [1, 2]}",
];

/// Every value of every type comes back as it was sent, or its row is a reject that holds it.
pub async fn keeps_every_value(subject: &dyn Subject) {
    let schema = Arc::new(StreamSchema {
        stream: StreamName::from("values"),
        columns: vec![
            Column::new("id", ColumnType::Integer),
            Column::new("Mixed Case \"quoted\"", ColumnType::Text),
            Column::new("select", ColumnType::Boolean),
            Column::new("number", ColumnType::Number),
            Column::new("at", ColumnType::Timestamp),
            Column::new("big", ColumnType::Integer),
            Column::new("document", ColumnType::Json),
        ],
        key: vec!["id".to_owned()],
        replication_key: None,
        method: Method::Incremental,
        winner: WinnerRule::Sequence,
    });
    let widest = 10_i128.pow(u32::from(NUMBER_PRECISION)) - 1;
    let numbers = [
        Some(0),
        Some(1),
        Some(-1),
        Some(widest),
        Some(-widest),
        Some(312_450_000_000),
        None,
        Some(10),
    ];
    let instants = [
        Some("0001-01-01T00:00:00Z"),
        Some("9999-12-31T23:59:59.999999Z"),
        Some("1970-01-01T00:00:00Z"),
        Some("1969-12-31T23:59:59.999999Z"),
        Some("2024-02-29T12:30:00.5Z"),
        None,
    ];
    let count = TEXTS.len();
    let pick = |index: usize| instants[index % instants.len()];
    let bigs = [Some(i64::MIN), Some(i64::MAX), None, Some(0)];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..count as i64)),
        Arc::new(StringArray::from_iter_values(TEXTS)),
        Arc::new(
            (0..count)
                .map(|index| [Some(true), Some(false), None][index % 3])
                .collect::<BooleanArray>(),
        ),
        Arc::new(
            (0..count)
                .map(|index| numbers[index % numbers.len()])
                .collect::<Decimal128Array>()
                .with_precision_and_scale(NUMBER_PRECISION, NUMBER_SCALE)
                .expect("the declared precision is valid"),
        ),
        Arc::new(
            (0..count)
                .map(|index| pick(index).map(|text| instant(text).timestamp_micros()))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
        Arc::new((0..count).map(|index| bigs[index % bigs.len()]).collect::<Int64Array>()),
        Arc::new(
            (0..count)
                .map(|index| (index % 2 == 0).then_some("{\"b\": 1.50, \"a\":[null]}"))
                .collect::<StringArray>(),
        ),
    ];
    let batch = RecordBatch::try_new(schema.arrow(), columns).expect("the columns fit the schema");
    Script::new()
        .schema(&schema)
        .rows(Rows::new(&schema, batch.clone()))
        .succeed(subject.destination())
        .await;

    let stored = by("id", subject.rows("values").await);
    let rejects =
        subject.destination().rejects(Some("values"), 100).await.expect("rejects can be read");
    let column = (subject.destination().dialect().canonical)("Mixed Case \"quoted\"");
    for (index, text) in TEXTS.iter().enumerate() {
        let Some(found) = stored.get(&index.to_string()) else {
            let record = row::render(&schema, &batch, index);
            assert!(
                rejects.iter().any(|reject| reject.record == record),
                "row {index} is a reject that holds its values"
            );
            assert!(
                text.contains('\u{0}'),
                "only a character that a destination can't hold makes a reject"
            );
            continue;
        };
        assert_eq!(found[&column], json!(text));
        assert_eq!(found["select"], [json!(true), json!(false), Value::Null][index % 3]);
        let number = numbers[index % numbers.len()].map(row::decimal_text);
        assert_eq!(found["number"], json!(number), "row {index}");
        assert_eq!(found["at"], json!(pick(index)), "row {index}");
        assert_eq!(found["big"], json!(bigs[index % bigs.len()]), "row {index}");
        assert_eq!(
            found["document"],
            json!((index % 2 == 0).then_some("{\"b\": 1.50, \"a\":[null]}"))
        );
    }
    assert_eq!(stored.len() + rejects.len(), count, "every row is in one place");
}

/// Lists follow their row: they grow, shrink, empty and leave no stale item behind, in order, repeated items included.
pub async fn grows_and_shrinks_lists(subject: &dyn Subject) {
    let schema = people(WinnerRule::Sequence);
    let steps: [&[&str]; 6] =
        [&["b", "a", "a"], &["a"], &["a", "b", "c", "d"], &[], &["z"], &["z"]];
    for (round, lists) in steps.into_iter().enumerate() {
        let report = Script::new()
            .schema(&schema)
            .rows(persons(
                &schema,
                &[
                    ("p", "2026-02-01T08:00:00Z", "Pat", lists),
                    ("q", "2026-02-01T08:00:00Z", "Q", &["k"]),
                ],
            ))
            .succeed(subject.destination())
            .await;
        assert_eq!(lists_of(subject, "p").await, lists, "round {round}");
        assert_eq!(lists_of(subject, "q").await, ["k"], "round {round}");
        if round == 5 {
            let counts = report
                .tables
                .iter()
                .find(|table| table.table == "people")
                .expect("it was loaded")
                .counts;
            assert_eq!((counts.updated, counts.unchanged), (0, 2), "an equal list is no change");
        }
    }
}

async fn lists_of(subject: &dyn Subject, id: &str) -> Vec<String> {
    if !subject.has_subtables() {
        let rows = by("id", subject.rows("people").await);
        let items = rows[id]["listIds"].as_array().cloned().unwrap_or_default();
        return items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect();
    }
    let mut items: Vec<(i64, String)> = subject
        .rows("people__listIds")
        .await
        .expect("the subtable exists")
        .into_iter()
        .filter(|row| row["_sdc_source_key_id"] == json!(id))
        .map(|row| {
            assert!(row.contains_key(system::SEQUENCE), "nested rows have system columns");
            (
                row["_sdc_level_0_id"].as_i64().unwrap_or(-1),
                row["value"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    items.sort();
    let levels: Vec<i64> = items.iter().map(|(level, _)| *level).collect();
    assert_eq!(levels, (0..items.len() as i64).collect::<Vec<_>>(), "levels count from 0");
    items.into_iter().map(|(_, value)| value).collect()
}
