//! Clauses on hostile input, sent as a Singer tap would: what is read back equals what was sent, or the row is a reject
//! that holds it, whole. Nothing else.

use std::{fmt::Write, io::Cursor, sync::Arc};

use chrono::DateTime;
use serde_json::{Map, Value, json};

use super::{
    Subject,
    script::{INTEGRATION, instant},
};
use crate::{
    clock::FixedClock,
    destination::RejectRecord,
    run::{RunContext, RunOptions, RunReport, replicate},
    singer_source::SingerSource,
};

/// What must become of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stored,
    Rejected,
    /// The destination may or may not be able to hold it.
    Either,
}

/// A value as it is written in JSON, and as it is read back.
struct Case {
    field: &'static str,
    json: String,
    stored: Value,
    fate: Fate,
}

fn case(field: &'static str, json: impl Into<String>, stored: Value) -> Case {
    Case { field, json: json.into(), stored, fate: Fate::Stored }
}

fn rejected(field: &'static str, json: impl Into<String>) -> Case {
    Case { fate: Fate::Rejected, ..case(field, json, Value::Null) }
}

fn text(text: &str) -> Case {
    let fate = if text.contains('\0') { Fate::Either } else { Fate::Stored };
    Case { fate, ..case("text", json!(text).to_string(), json!(text)) }
}

const FIELDS: &str = r#"{"id":{"type":"integer"},"text":{"type":["string","null"]},
    "integer":{"type":["integer","null"]},"number":{"type":["number","null"]},
    "decimal":{"type":["string","null"],"format":"singer.decimal"},
    "at":{"type":["string","null"],"format":"date-time"},"flag":{"type":["boolean","null"]},
    "document":{"type":["object","array","null"]}}"#;

fn schema(stream: &str, fields: &str, key: &str) -> String {
    let fields = fields.replace('\n', "");
    format!(
        r#"{{"type":"SCHEMA","stream":"{stream}","key_properties":["{key}"],"schema":{{"properties":{fields}}}}}"#
    )
}

fn record(stream: &str, record: &str) -> String {
    format!("\n{{\"type\":\"RECORD\",\"stream\":\"{stream}\",\"record\":{record}}}")
}

pub(super) async fn load(subject: &dyn Subject, input: String) -> RunReport {
    let source = SingerSource::new(Cursor::new(input.into_bytes()), "contract:1");
    let clock = Arc::new(FixedClock::new(instant("2026-03-01T12:00:00Z")));
    let context = RunContext { clock, ..RunContext::default() };
    let options = RunOptions::new(INTEGRATION);
    replicate(Box::new(source), subject.destination(), options, context)
        .await
        .unwrap_or_else(|failure| panic!("the run failed: {failure:?}"))
}

/// Every value of a corpus made to break loaders comes back as it was sent, or its row is a reject that holds it.
pub async fn alters_nothing_whatever_comes(subject: &dyn Subject) {
    let cases: Vec<Case> =
        texts().into_iter().chain(numbers()).chain(instants()).chain(others()).collect();
    let mut input = schema("hostile", FIELDS, "id");
    let records: Vec<String> = cases
        .iter()
        .enumerate()
        .map(|(id, case)| format!(r#"{{"id":{id},"{}":{}}}"#, case.field, case.json))
        .collect();
    records.iter().for_each(|row| input.push_str(&record("hostile", row)));
    let report = load(subject, input).await;

    let rows = subject.rows("hostile").await.expect("the table exists");
    let mut stored: Vec<Option<&Map<String, Value>>> = vec![None; cases.len()];
    for row in &rows {
        let id = usize::try_from(row["id"].as_u64().expect("ids are numbers")).expect("small");
        assert!(stored[id].replace(row).is_none(), "row {id} is there once");
    }
    let rejects = subject.destination().rejects(Some("hostile"), 100_000).await.expect("read");
    for (id, case) in cases.iter().enumerate() {
        let shown: String = case.json.chars().take(60).collect();
        match stored[id] {
            Some(row) => {
                assert!(case.fate != Fate::Rejected, "{} {shown} can't be held", case.field);
                for field in ["text", "integer", "number", "decimal", "at", "flag", "document"] {
                    let expected = if field == case.field { &case.stored } else { &Value::Null };
                    assert!(row[field] == *expected, "`{field}` of row {id}, {shown}: {row:?}");
                }
            }
            None => {
                assert!(case.fate != Fate::Stored, "{} {shown} is to be stored", case.field);
                is_reject(&rejects, &records[id], &shown);
            }
        }
    }
    let counts = report.tables[0].counts;
    assert_eq!(
        (counts.received, counts.inserted, counts.rejected),
        (cases.len() as u64, rows.len() as u64, rejects.len() as u64)
    );
}

/// Whether a record is among the rejects: as it was sent, or in another spelling of the same JSON.
fn is_reject(rejects: &[RejectRecord], record: &str, shown: &str) {
    let same = |reject: &&RejectRecord| {
        let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
        reject.record == record
            || parsed(record).is_some_and(|sent| parsed(&reject.record) == Some(sent))
    };
    let reject = rejects.iter().find(same);
    let reject = reject.unwrap_or_else(|| panic!("{shown} is in no table and no reject"));
    assert!(!reject.reason.is_empty() && !reject.reason_code.is_empty());
}

fn texts() -> Vec<Case> {
    // Every character that there is, control characters first.
    let all: Vec<char> = ('\u{1}'..=char::MAX).collect();
    let mut cases: Vec<Case> =
        all.chunks(4096).map(|part| text(&part.iter().collect::<String>())).collect();
    let separators = [
        "\"", "'", "`", "\\", "\\\\", "/", ",", ";", "|", "\t", "\n", "\r", "\r\n", "\u{b}",
        "\u{1e}", "\u{1f}", "\u{85}", "\u{2028}", "\\N", "\\.", "\\n", "\\x00", "$$", "--", "/*",
        "%s", "{}", "{", "}", "NULL", "\u{feff}", "\u{7f}", "\u{fffe}", "\u{fffd}", "\0", " ",
    ];
    for separator in separators {
        for shape in ["*", "*a", "a*", "a*b", "**", "*a*", "a**b"] {
            cases.push(text(&shape.replace('*', separator)));
        }
    }
    cases.extend(
        [
            "",
            "null",
            "e\u{301}",
            "\u{e9}",
            "\u{1e69}",
            "s\u{323}\u{307}",
            "s\u{307}\u{323}",
            "'; drop table hostile; --",
            "\u{200b}\u{200e}\u{202e}abc",
            "👩‍👩‍👧‍👦🏳️‍🌈",
            "true",
            "1e5",
            "2024-01-01",
        ]
        .map(text),
    );
    // A null is no empty text, and a text that JSON can spell but Unicode can't hold is kept as it was spelled.
    cases.push(case("text", "null", Value::Null));
    for lone in [r#""\ud800""#, r#""a\udfffb""#, r#""\udc00\ud800""#, r#""\ud83d""#] {
        cases.push(rejected("text", lone));
    }
    cases.push(case("text", r#""\ud83d\ude00\u0041\/""#, json!("😀A/")));
    cases
}

fn numbers() -> Vec<Case> {
    let mut cases = Vec::new();
    for whole in [0, 1, -1, 127, -128, 32_768, i64::from(i32::MAX) + 1, i64::MAX, i64::MIN, 1 << 53]
    {
        cases.push(case("integer", whole.to_string(), json!(whole)));
        cases.push(case("number", whole.to_string(), json!(whole.to_string())));
    }
    for past in
        ["9223372036854775808", "-9223372036854775809", "1e19", "0.5", "NaN", "\"1\"", "true"]
    {
        cases.push(rejected("integer", past));
    }
    let nines = "9".repeat(29);
    let exact = [
        ("0.1", "0.1"),
        ("-0.0", "0"),
        ("1.0", "1"),
        ("1e3", "1000"),
        ("1.5E-3", "0.0015"),
        ("123456789.123456789", "123456789.123456789"),
        ("0.000000001", "0.000000001"),
        ("9007199254740993", "9007199254740993"),
    ];
    for (sent, stored) in exact {
        cases.push(case("number", sent, json!(stored)));
        cases.push(case("decimal", format!("\"{sent}\""), json!(stored)));
    }
    for sign in ["", "-"] {
        let widest = format!("{sign}{nines}.999999999");
        cases.push(case("number", widest.clone(), json!(widest)));
        for past in ["1e29", "0.0000000001", "1e400", "1e-400", "NaN", "Infinity"] {
            if sign.is_empty() || past != "NaN" {
                cases.push(rejected("number", format!("{sign}{past}")));
            }
            cases.push(rejected("decimal", format!("\"{sign}{past}\"")));
        }
    }
    cases
}

fn instants() -> Vec<Case> {
    let mut cases = Vec::new();
    let dates = [
        "0001-01-01T00:00:00",
        "0001-12-31T23:59:59.999999",
        "0099-02-28T12:00:00",
        "1582-10-10T10:10:10",
        "1883-11-18T12:03:58",
        "1900-02-28T00:00:00",
        "1969-12-31T23:59:59.999999",
        "1970-01-01T00:00:00",
        "2000-02-29T00:00:00.000001",
        "2026-03-29T01:30:00",
        "2038-01-19T03:14:08",
        "9999-12-31T23:59:59.999999",
    ];
    for date in dates {
        for minutes in (-1439..=1439).step_by(37) {
            let mut offset = String::new();
            let sign = if minutes < 0 { '-' } else { '+' };
            let minutes = i32::abs(minutes);
            write!(offset, "{sign}{:02}:{:02}", minutes / 60, minutes % 60).expect("to a string");
            let at = format!("{date}{offset}");
            let parsed = DateTime::parse_from_rfc3339(&at).expect("tests write valid instants");
            let stored = crate::row::instant_text(parsed.to_utc());
            // Beyond four digits of a year, an instant has no text in RFC 3339.
            let fate = if stored.starts_with(['+', '-']) || stored.starts_with("0000") {
                Fate::Either
            } else {
                Fate::Stored
            };
            cases.push(Case { fate, ..case("at", json!(at).to_string(), json!(stored)) });
        }
    }
    cases.push(case("at", r#""2024-02-29t12:00:00.500z""#, json!("2024-02-29T12:00:00.5Z")));
    for wrong in [
        "2016-12-31T23:59:60Z",
        "2023-02-29T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-01-01T25:00:00Z",
        "2024-01-01T00:00:00",
        "2024-01-01",
        "2024-01-01T00:00:00.0000001Z",
        "",
        "now",
    ] {
        cases.push(rejected("at", json!(wrong).to_string()));
    }
    cases
}

fn others() -> Vec<Case> {
    let mut cases = vec![
        case("flag", "true", json!(true)),
        case("flag", "false", json!(false)),
        rejected("flag", "0"),
        rejected("flag", "\"true\""),
    ];
    let nested = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    for document in [
        "{}",
        "[]",
        "[null]",
        r#"{"a":1,"a":2}"#,
        r#"{"b":1.50,"a":1e2}"#,
        r#"{"":""}"#,
        r#"[ 1,  2 ]"#,
        r#""text""#,
        "0.10",
        r#"{"a":"\u00e9\"'\\"}"#,
        &nested,
        "123456789012345678901234567890.5",
    ] {
        cases.push(case("document", document, json!(document)));
    }
    for document in [r#"{"a":"\u0000"}"#, r#"["\ud800"]"#] {
        cases.push(Case { fate: Fate::Either, ..case("document", document, json!(document)) });
    }
    cases
}

/// Rows of 20 MB, of 1,000 columns, and with keys beyond what an index takes are stored whole or rejects that hold them.
pub async fn keeps_large_rows_whole(subject: &dyn Subject) {
    let mut fields = String::from(r#"{"id":{"type":"string"}"#);
    for column in 0..1000 {
        write!(fields, r#","column {column}":{{"type":["string","integer","null"]}}"#)
            .expect("to a string");
    }
    fields = fields.replace(r#"["string","integer","null"]"#, r#"["string","null"]"#);
    fields.push('}');
    let wide = |id: &str, value: &dyn Fn(usize) -> Option<String>| {
        let mut row = format!(r#"{{"id":"{id}""#);
        for column in 0..1000 {
            if let Some(value) = value(column) {
                write!(row, r#","column {column}":"{value}""#).expect("to a string");
            }
        }
        row + "}"
    };
    let letter = |index: usize| char::from(b'a' + u8::try_from(index * 7 % 26).unwrap_or_default());
    let incompressible: String = (0..3000).map(|index| letter(index * index / 3)).collect();
    let records = [
        (wide("short", &|column| Some(format!("{}", column % 10))), Fate::Stored),
        (wide("sparse", &|column| (column % 100 == 0).then(|| "x".repeat(100))), Fate::Stored),
        (wide("full", &|column| Some(format!("{column} {}", "y".repeat(50)))), Fate::Either),
        (wide("20 MB", &|column| (column == 5).then(|| "z".repeat(20 << 20))), Fate::Stored),
        (wide(&"k".repeat(200), &|_| None), Fate::Stored),
        (wide(&incompressible, &|_| None), Fate::Either),
        (wide(&"l".repeat(20_000), &|_| None), Fate::Either),
    ];
    let mut input = schema("large", &fields, "id");
    records.iter().for_each(|(row, _)| input.push_str(&record("large", row)));
    let report = load(subject, input).await;
    let rows = subject.rows("large").await.expect("the table exists");
    let rejects = subject.destination().rejects(Some("large"), 100).await.expect("read");
    assert_eq!(rows.len() + rejects.len(), records.len());
    assert_eq!(report.tables[0].counts.rejected as usize, rejects.len());
    for (sent, fate) in &records {
        let sent: Map<String, Value> = serde_json::from_str(sent).expect("tests write JSON");
        let id = sent["id"].as_str().unwrap_or_default();
        let shown: String = id.chars().take(30).collect();
        match rows.iter().find(|row| row["id"] == sent["id"]) {
            Some(row) => {
                for column in (0..1000).map(|column| format!("column {column}")) {
                    let sent = sent.get(&column).unwrap_or(&Value::Null);
                    assert!(row[&column] == *sent, "`{column}` of `{shown}`");
                }
            }
            None => {
                assert!(
                    *fate != Fate::Stored,
                    "`{shown}` is to be stored: {:?}",
                    rejects[0].reason
                );
                let same = |reject: &&RejectRecord| {
                    serde_json::from_str::<Map<String, Value>>(&reject.record).ok().as_ref()
                        == Some(&sent)
                };
                assert!(rejects.iter().any(|reject| same(&reject)), "`{shown}` is a reject");
            }
        }
    }
}
