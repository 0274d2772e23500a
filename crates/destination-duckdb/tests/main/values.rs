//! Values: whatever a column can hold comes back as it was sent, through an insertion and through an update.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Int64Array, ListBuilder, PrimitiveBuilder,
    RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray, types::Int64Type,
};
use proptest::prelude::*;
use replication::{
    row,
    stream::{
        Column, ColumnType, Method, NUMBER_PRECISION, NUMBER_SCALE, StreamSchema, WinnerRule,
    },
};
use serde_json::{Value, json};

use crate::support::{SCHEMA, Warehouse, at, claimed, commit, figures, load, rows_of, stamped};

/// One row: a value of every type.
#[derive(Debug, Clone)]
struct Row {
    text: Option<String>,
    integer: Option<i64>,
    number: Option<i128>,
    boolean: Option<bool>,
    timestamp: Option<i64>,
    json: Option<String>,
    texts: Option<Vec<Option<String>>>,
    integers: Option<Vec<Option<i64>>>,
}

fn schema() -> Arc<StreamSchema> {
    let list = |item| ColumnType::List(Box::new(item));
    Arc::new(StreamSchema {
        stream: "values".into(),
        columns: vec![
            Column::new("id", ColumnType::Integer),
            Column::new("text", ColumnType::Text),
            Column::new("integer", ColumnType::Integer),
            Column::new("number", ColumnType::Number),
            Column::new("boolean", ColumnType::Boolean),
            Column::new("timestamp", ColumnType::Timestamp),
            Column::new("json", ColumnType::Json),
            Column::new("texts", list(ColumnType::Text)),
            Column::new("integers", list(ColumnType::Integer)),
            Column::new("numbers", list(ColumnType::Number)),
            Column::new("booleans", list(ColumnType::Boolean)),
            Column::new("timestamps", list(ColumnType::Timestamp)),
            Column::new("documents", list(ColumnType::Json)),
        ],
        key: vec!["id".to_owned()],
        replication_key: None,
        method: Method::Incremental,
        winner: WinnerRule::Sequence,
    })
}

/// A list column: each row's one value, beside a null, where it has one.
fn listed(values: &ArrayRef) -> ArrayRef {
    let field = Arc::new(arrow::datatypes::Field::new("item", values.data_type().clone(), true));
    let nulls = arrow::array::new_null_array(values.data_type(), 1);
    let both = arrow::compute::concat(&[values, &nulls]).unwrap();
    let count = values.len() as u64;
    let picks = (0..count).flat_map(|row| [row, count]);
    let items =
        arrow::compute::take(&both, &arrow::array::UInt64Array::from_iter_values(picks), None)
            .unwrap();
    let offsets = arrow::buffer::OffsetBuffer::from_lengths((0..count).map(|_| 2));
    Arc::new(arrow::array::ListArray::new(field, offsets, items, values.nulls().cloned()))
}

fn batch(schema: &StreamSchema, rows: &[Row]) -> RecordBatch {
    let mut texts = ListBuilder::new(StringBuilder::new());
    let mut integers = ListBuilder::new(PrimitiveBuilder::<Int64Type>::new());
    for row in rows {
        texts.append_option(row.texts.clone());
        integers.append_option(row.integers.clone());
    }
    let numbers: ArrayRef = Arc::new(
        rows.iter()
            .map(|row| row.number)
            .collect::<Decimal128Array>()
            .with_precision_and_scale(NUMBER_PRECISION, NUMBER_SCALE)
            .unwrap(),
    );
    let booleans: ArrayRef = Arc::new(rows.iter().map(|row| row.boolean).collect::<BooleanArray>());
    let timestamps = rows.iter().map(|row| row.timestamp).collect::<TimestampMicrosecondArray>();
    let timestamps: ArrayRef = Arc::new(timestamps.with_timezone("UTC"));
    let documents: ArrayRef =
        Arc::new(rows.iter().map(|row| row.json.as_deref()).collect::<StringArray>());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values((0..).take(rows.len()))),
        Arc::new(rows.iter().map(|row| row.text.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.integer).collect::<Int64Array>()),
        Arc::clone(&numbers),
        Arc::clone(&booleans),
        Arc::clone(&timestamps),
        Arc::clone(&documents),
        Arc::new(texts.finish()),
        Arc::new(integers.finish()),
        listed(&numbers),
        listed(&booleans),
        listed(&timestamps),
        listed(&documents),
    ];
    RecordBatch::try_new(schema.arrow(), columns).unwrap()
}

/// The row as [`rows_of`] reads it.
fn expected(row: &Row) -> [Value; 12] {
    let instant = row
        .timestamp
        .map(|micros| row::instant_text(chrono::DateTime::from_timestamp_micros(micros).unwrap()));
    let listed = |value: Option<Value>| value.map_or(Value::Null, |value| json!([value, null]));
    // In lists DuckDB's own JSON is read back: exact, but written its way.
    let number =
        row.number.map(|number| row::decimal_text(number).parse::<serde_json::Number>().unwrap());
    let document = row.json.as_ref().map(|text| serde_json::from_str::<Value>(text).unwrap());
    [
        json!(row.text),
        json!(row.integer),
        json!(row.number.map(row::decimal_text)),
        json!(row.boolean),
        json!(instant.as_ref()),
        json!(row.json),
        json!(row.texts),
        json!(row.integers),
        listed(number.map(Value::Number)),
        listed(row.boolean.map(Value::Bool)),
        listed(instant.map(Value::String)),
        listed(document),
    ]
}

/// DuckDB writes decimals in lists with all their digits and timestamps with a space: told as the others are.
fn told(name: &str, value: &Value) -> Value {
    let Some(items) = value.as_array() else { return value.clone() };
    let item = |item: &Value| match (name, item) {
        ("numbers", Value::Number(number)) => {
            let text = number.to_string();
            let text = if text.contains('.') {
                text.trim_end_matches('0').trim_end_matches('.')
            } else {
                &text
            };
            json!(text.parse::<serde_json::Number>().unwrap())
        }
        ("timestamps", Value::String(text)) => {
            json!(row::instant_text(at(&text.replace(' ', "T").replace("+00", "Z"))))
        }
        _ => item.clone(),
    };
    items.iter().map(item).collect()
}

fn round_trip(rows: &[Row], reversed: &[Row]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let warehouse = Warehouse::new();
        let schema = schema();
        let destination = warehouse.open();
        let claim = claimed(&destination).await;
        for (sequence, rows) in [(1, rows), (1_000, reversed)] {
            let batch = stamped(&schema, &batch(&schema, rows), sequence, 0);
            let unit = load(&schema, None, vec![batch]);
            commit(&destination, &claim, &unit, &sequence.to_string()).await.unwrap();
            let again =
                commit(&destination, &claim, &unit, &format!("{sequence} again")).await.unwrap();
            assert_eq!(
                figures(&again),
                [0, 0, rows.len() as u64, 0],
                "what was stored equals what was sent"
            );
            let mut stored = rows_of(&destination, SCHEMA, "values").await.unwrap();
            stored.sort_by_key(|row| row["id"].as_i64());
            assert_eq!(stored.len(), rows.len());
            for (stored, row) in stored.iter().zip(rows) {
                for (column, expected) in schema.columns.iter().skip(1).zip(expected(row)) {
                    assert_eq!(
                        told(&column.name, &stored[&column.name]),
                        expected,
                        "{}",
                        column.name
                    );
                }
            }
        }
    });
}

fn plain() -> Row {
    Row {
        text: None,
        integer: None,
        number: None,
        boolean: None,
        timestamp: None,
        json: None,
        texts: None,
        integers: None,
    }
}

#[test]
fn extreme_values_come_back() {
    let widest = 10_i128.pow(u32::from(NUMBER_PRECISION)) - 1;
    let micros = |text: &str| Some(at(text).timestamp_micros());
    let text = |text: &str| Some(text.to_owned());
    let rows = [
        plain(),
        Row { text: text(""), integer: Some(i64::MIN), number: Some(widest), ..plain() },
        Row {
            text: text("\0"),
            integer: Some(i64::MAX),
            number: Some(-widest),
            boolean: Some(false),
            ..plain()
        },
        Row {
            text: text("\0\0 \u{10ffff}\u{fffd}'\"\\"),
            number: Some(1),
            boolean: Some(true),
            ..plain()
        },
        Row {
            timestamp: micros("0001-01-01T00:00:00Z"),
            json: text("null"),
            texts: Some(vec![]),
            ..plain()
        },
        Row {
            timestamp: micros("9999-12-31T23:59:59.999999Z"),
            json: text(" [1.5, \"\\u0000\"] "),
            ..plain()
        },
        Row {
            timestamp: micros("1969-12-31T23:59:59.999999Z"),
            texts: Some(vec![None, text(""), text("\0")]),
            ..plain()
        },
        Row { texts: Some(vec![text("x"); 3_000]), integers: Some(vec![None; 5_000]), ..plain() },
        Row {
            integers: Some(vec![Some(i64::MIN), None, Some(i64::MAX)]),
            number: Some(0),
            ..plain()
        },
    ];
    let reversed: Vec<Row> = rows.iter().rev().cloned().collect();
    round_trip(&rows, &reversed);
}

fn any_row() -> impl Strategy<Value = Row> {
    let text = || {
        proptest::option::of(
            proptest::collection::vec(any::<char>(), 0..20).prop_map(String::from_iter),
        )
    };
    let widest = 10_i128.pow(u32::from(NUMBER_PRECISION)) - 1;
    let instants = at("0001-01-01T00:00:00Z").timestamp_micros()
        ..=at("9999-12-31T23:59:59.999999Z").timestamp_micros();
    (
        text(),
        any::<Option<i64>>(),
        proptest::option::of(-widest..=widest),
        any::<Option<bool>>(),
        proptest::option::of(instants),
        text().prop_map(|text| text.map(|text| json!({ "key": [text] }).to_string())),
        proptest::option::of(proptest::collection::vec(text(), 0..4)),
        proptest::option::of(proptest::collection::vec(any::<Option<i64>>(), 0..4)),
    )
        .prop_map(|(text, integer, number, boolean, timestamp, json, texts, integers)| Row {
            text,
            integer,
            number,
            boolean,
            timestamp,
            json,
            texts,
            integers,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_value_comes_back(rows in proptest::collection::vec(any_row(), 1..30)) {
        let reversed: Vec<Row> = rows.iter().rev().cloned().collect();
        round_trip(&rows, &reversed);
    }
}
