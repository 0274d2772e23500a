//! What becomes of each value: a row that holds it exactly, or a reject.

use std::collections::BTreeMap;

use chrono::DateTime;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{USERS, notation, record, rows, run, run_with};
use crate::{event::Event, row};

/// One field of a type, and what becomes of each value: the row, or the reject.
async fn values(property: Value, values: &[&str]) -> Vec<String> {
    let schema = json!({"type": "SCHEMA", "stream": "s", "key_properties": [], "schema": {"properties": {"f": property}}});
    let mut lines = vec![schema.to_string()];
    lines.extend(values.iter().map(|value| record("s", &format!(r#"{{"f":{value}}}"#))));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut outcomes = BTreeMap::new();
    for event in run(&lines).await {
        if let Event::Batch(batch) = event {
            for (index, row) in rows(&batch).into_iter().enumerate() {
                outcomes.insert((batch.first_sequence + i64::try_from(index).unwrap(), 1, 0), row);
            }
            for (index, reject) in batch.rejects.iter().enumerate() {
                outcomes.insert(
                    (reject.sequence, 0, index),
                    format!("{}: {}", reject.code, reject.reason),
                );
            }
        }
    }
    outcomes.into_values().collect()
}

#[tokio::test]
async fn strings_stay_strings() {
    let outcomes = values(
        json!({"type": "string"}),
        &[
            r#""""#,
            r#""a\u0000\n\"\\é\ud83d\ude00""#,
            "null",
            "1",
            "true",
            r#"["a"]"#,
            "{}",
            r#""\ud800""#,
        ],
    )
    .await;
    insta::assert_snapshot!(outcomes.join("\n"), @r#"
    {"f":""}
    {"f":"a\u0000\n\"\\é😀"}
    {}
    wrong_type: The value of `f` is not a string
    wrong_type: The value of `f` is not a string
    wrong_type: The value of `f` is not a string
    wrong_type: The value of `f` is not a string
    undecodable: A string of the record is not Unicode text: it has an unpaired surrogate
    "#);
    for format in ["date", "time", "uuid"] {
        let outcomes =
            values(json!({"type": "string", "format": format}), &[r#""anything""#]).await;
        assert_eq!(outcomes, [r#"{"f":"anything"}"#]);
    }
}

#[tokio::test]
async fn integers_have_64_bits() {
    let outcomes = values(
        json!({"type": "integer"}),
        &[
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "-0",
            "1.0",
            "1.5",
            "1e3",
            r#""1""#,
            "null",
            "true",
        ],
    )
    .await;
    insta::assert_snapshot!(outcomes.join("\n"), @r#"
    {"f":9223372036854775807}
    {"f":-9223372036854775808}
    number_range: The value of `f` is a whole number of more than 64 bits
    {"f":0}
    {"f":1}
    wrong_type: The value of `f` is not a whole number
    {"f":1000}
    wrong_type: The value of `f` is not a whole number
    {}
    wrong_type: The value of `f` is not a whole number
    "#);
}

#[tokio::test]
async fn w06_numbers_keep_their_digits() {
    let outcomes = values(
        json!({"type": "number"}),
        &[
            "0.1",
            "-12345678901234567890123456789.123456789",
            "1e-9",
            "0.0000000001",
            "1e29",
            "NaN",
            "-Infinity",
            r#""1""#,
            "null",
        ],
    )
    .await;
    insta::assert_snapshot!(outcomes.join("\n"), @r#"
    {"f":0.1}
    {"f":-12345678901234567890123456789.123456789}
    {"f":0.000000001}
    number_range: The value of `f` has more than 9 decimals
    number_range: The value of `f` has more than 29 digits before the point
    number_range: The record holds NaN or an infinity, which JSON doesn't have
    number_range: The record holds NaN or an infinity, which JSON doesn't have
    wrong_type: The value of `f` is not a number
    {}
    "#);
    let outcomes = values(
        json!({"type": "string", "format": "singer.decimal"}),
        &[r#""1.10""#, "2.5", r#""NaN""#, r#""a""#],
    )
    .await;
    insta::assert_snapshot!(outcomes.join("\n"), @r#"
    {"f":1.1}
    {"f":2.5}
    number_range: The value of `f` is a text that is no number
    number_range: The value of `f` is a text that is no number
    "#);
}

#[tokio::test]
async fn date_times_are_instants_to_the_microsecond() {
    let outcomes = values(
        json!({"type": ["null", "string"], "format": "date-time"}),
        &[
            r#""2020-01-01T02:00:00.123456+02:00""#,
            r#""0001-01-01T00:00:00Z""#,
            r#""2020-01-01T00:00:00.1234567Z""#,
            r#""2020-01-01T00:00:00""#,
            r#""2016-12-31T23:59:60Z""#,
            r#""""#,
            "0",
            "null",
        ],
    )
    .await;
    insta::assert_snapshot!(outcomes.join("\n"), @r#"
    {"f":"2020-01-01T00:00:00.123456Z"}
    {"f":"0001-01-01T00:00:00Z"}
    timestamp_range: The value of `f` is finer than a microsecond
    timestamp_range: The value of `f` is not an RFC 3339 date-time with an offset
    timestamp_range: The value of `f` is a leap second, which has no place on the time line
    timestamp_range: The value of `f` is not an RFC 3339 date-time with an offset
    wrong_type: The value of `f` is not a date-time
    {}
    "#);
}

#[tokio::test]
async fn booleans_lists_and_documents() {
    let outcomes =
        values(json!({"type": "boolean"}), &["true", "false", "null", "1", r#""true""#]).await;
    insta::assert_snapshot!(outcomes.join("\n"), @r#"
    {"f":true}
    {"f":false}
    {}
    wrong_type: The value of `f` is not true or false
    wrong_type: The value of `f` is not true or false
    "#);
    let list = json!({"type": "array", "items": {"type": "integer"}});
    let outcomes = values(
        list,
        &["[]", "[1,null,2]", "null", "1", r#"[1,"a"]"#, "[9223372036854775808]", "[3]"],
    )
    .await;
    insta::assert_snapshot!(outcomes.join("\n"), @r#"
    {"f":[]}
    {"f":[1,null,2]}
    {}
    wrong_type: The value of `f` is not an array
    wrong_type: The value of `f` is not an array
    number_range: The value of `f` is a whole number of more than 64 bits
    {"f":[3]}
    "#);
    let outcomes =
        values(json!({}), &[r#"{"b": [1.10, "\ud800"]}"#, "1.50", r#""a""#, "null"]).await;
    insta::assert_snapshot!(outcomes.join("\n"), @r#"
    {"f":{"b": [1.10, "\ud800"]}}
    {"f":1.50}
    {"f":"a"}
    {}
    "#);
}

#[tokio::test]
async fn g12_objects_are_flattened() {
    let schema = r#"{"type":"SCHEMA","stream":"s","key_properties":[],"schema":{"properties":{"a":{"properties":{
        "b":{"type":"string"},"c":{"properties":{"d":{"type":"integer"}}}}}}}}"#;
    let events = run(&[
        schema,
        &record("s", r#"{"a":{"b":"x","c":{"d":1}}}"#),
        &record("s", r#"{"a":{"c":null}}"#),
        &record("s", r#"{"a":null}"#),
        &record("s", r#"{"a":1}"#),
        &record("s", r#"{"a":{"c":{"d":"x"}}}"#),
    ])
    .await;
    insta::assert_snapshot!(notation(&events).join("\n"), @r#"
    schema s(a__b Text, a__c__d Integer) key []
    s {"a__b":"x","a__c__d":1}
    s {}
    s {}
    s rejected wrong_type: The value of `a` is not an object: {"a":1}
    s rejected wrong_type: The value of `a__c__d` is not a whole number: {"a":{"c":{"d":"x"}}}
    "#);
}

#[tokio::test]
async fn g06_rows_without_a_key_are_rejected() {
    let events = run(&[
        USERS,
        &record("users", r#"{"name":"a"}"#),
        &record("users", r#"{"id":null}"#),
        &record("users", r#"{"id":0}"#),
        &record("users", r#"{"id":1,"id":2}"#),
        &record("users", r#"{"id":3}"#),
    ])
    .await;
    insta::assert_snapshot!(notation(&events).join("\n"), @r#"
    schema users(id Integer, name Text) key ["id"]
    users {"id":0}
    users {"id":3}
    users rejected missing_key: The key field `id` is missing or null: {"name":"a"}
    users rejected missing_key: The key field `id` is missing or null: {"id":null}
    users rejected undecodable: The value of `id` stands in the record twice: {"id":1,"id":2}
    "#);
}

#[tokio::test]
async fn g08_fields_outside_the_schema_are_left_out() {
    let events =
        run(&[USERS, &record("users", r#"{"x":{"deep":[1]},"id":1,"y":2,"name":"a"}"#)]).await;
    assert_eq!(notation(&events)[1], r#"users {"id":1,"name":"a"}"#);
}

/// Rows of every type, with absent fields and in any order of fields.
fn any_row() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let number = (any::<i64>(), 0_u32..=9).prop_map(|(digits, decimals)| {
        let text = row::decimal_text(i128::from(digits) * 10_i128.pow(9 - decimals));
        serde_json::from_str::<Value>(&text).unwrap()
    });
    let text = proptest::collection::vec(any::<char>(), 0..12).prop_map(String::from_iter);
    let time = (-62_135_596_800_000_000_i64..253_402_300_799_999_999)
        .prop_map(|micros| row::instant_text(DateTime::from_timestamp_micros(micros).unwrap()));
    let fields = (
        text.clone().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        number,
        any::<bool>().prop_map(Value::from),
        time.prop_map(Value::from),
        proptest::collection::vec(text, 0..4).prop_map(Value::from),
    );
    let fields = fields.prop_map(|(text, integer, number, boolean, time, list)| {
        vec![
            ("text", text),
            ("integer", integer),
            ("number", number),
            ("boolean", boolean),
            ("time", time),
            ("list", list),
        ]
    });
    fields.prop_flat_map(|fields| {
        let length = fields.len();
        proptest::sample::subsequence(fields, 0..=length).prop_shuffle()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_rows_round_trip(sent in proptest::collection::vec(any_row(), 1..20)) {
        let schema = json!({"type": "SCHEMA", "stream": "s", "key_properties": [], "schema": {"properties": {
            "text": {"type": "string"}, "integer": {"type": "integer"}, "number": {"type": "number"},
            "boolean": {"type": "boolean"}, "time": {"type": "string", "format": "date-time"},
            "list": {"type": "array", "items": {"type": "string"}}}}});
        let mut lines = schema.to_string() + "\n";
        for row in &sent {
            let row: Map<String, Value> = row.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            lines.push_str(&record("s", &Value::Object(row).to_string()));
            lines.push('\n');
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (events, outcome) = runtime.block_on(run_with(&lines, &[]));
        prop_assert!(outcome.unwrap().failed.is_empty());
        let mut received = Vec::new();
        for event in &events {
            if let Event::Batch(batch) = event {
                prop_assert!(batch.rejects.is_empty());
                received.extend(rows(batch).iter().map(|row| serde_json::from_str::<Value>(row).unwrap()));
            }
        }
        let sent: Vec<Value> = sent.into_iter().map(|row| row.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()).collect();
        prop_assert_eq!(received, sent);
    }
}
