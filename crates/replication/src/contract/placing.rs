//! Clauses on tables that are there already: types that change, names that collide, columns that come and go.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringArray};
use serde_json::{Value, json};

use super::{
    Subject,
    hostile::load,
    script::{Rows, Script, by, text_rows, texts},
};
use crate::{
    event::Event,
    placement::SplitRule,
    reject::ReasonCode,
    run::RunError,
    stream::{
        Column, ColumnType, Method, NUMBER_PRECISION, NUMBER_SCALE, StreamName, StreamSchema,
        WinnerRule,
    },
};

fn wizards(columns: &[(&str, ColumnType)]) -> Arc<StreamSchema> {
    let id = std::iter::once(Column::new("id", ColumnType::Text));
    let others = columns.iter().map(|(name, of)| Column::new(*name, of.clone()));
    Arc::new(StreamSchema {
        stream: StreamName::from("wizards"),
        columns: id.chain(others).collect(),
        key: vec!["id".to_owned()],
        replication_key: None,
        method: Method::Incremental,
        winner: WinnerRule::Sequence,
    })
}

fn rows(schema: &Arc<StreamSchema>, ids: &[&str], columns: Vec<ArrayRef>) -> Rows {
    let ids: ArrayRef = Arc::new(StringArray::from(ids.to_vec()));
    let columns = std::iter::once(ids).chain(columns).collect();
    let batch = RecordBatch::try_new(schema.arrow(), columns).expect("the columns fit the schema");
    Rows::new(schema, batch)
}

fn numbers(values: &[i128]) -> ArrayRef {
    let numbers: Decimal128Array =
        values.iter().map(|value| Some(value * 10_i128.pow(NUMBER_SCALE as u32 - 1))).collect();
    let numbers = numbers.with_precision_and_scale(NUMBER_PRECISION, NUMBER_SCALE);
    Arc::new(numbers.expect("the declared precision is valid"))
}

/// The column names that a split gives: those of the original, and of the new type.
fn split(subject: &dyn Subject, name: &str, from: &str, to: &str) -> (String, String) {
    let original = match subject.destination().dialect().split {
        SplitRule::KeepsOriginal => name.to_owned(),
        SplitRule::RenamesOriginal => format!("{name}__{from}"),
    };
    (original, format!("{name}__{to}"))
}

/// A column whose type changes is split: old rows keep their values, and each row has its value in one of the columns.
pub async fn splits_a_column_whose_type_changes(subject: &dyn Subject) {
    use ColumnType::{Boolean, Integer, Number, Text};
    let first = wizards(&[("age", Integer), ("has_magic", Boolean)]);
    let ages: ArrayRef = Arc::new(Int64Array::from(vec![15, 7]));
    let magic: ArrayRef = Arc::new(BooleanArray::from(vec![false, true]));
    Script::new()
        .schema(&first)
        .rows(rows(&first, &["1", "2"], vec![ages, magic]))
        .succeed(subject.destination())
        .await;
    let second = wizards(&[("age", Number), ("has_magic", Text)]);
    let magic = || -> ArrayRef { Arc::new(StringArray::from(vec!["yes", "false"])) };
    let load =
        |schema: &Arc<StreamSchema>| rows(schema, &["3", "2"], vec![numbers(&[160, 110]), magic()]);
    for round in 0..2 {
        // The second time, in a new run, there is nothing left to split, and nothing changes.
        let report =
            Script::new().schema(&second).rows(load(&second)).succeed(subject.destination()).await;
        let counts = report.tables[0].counts;
        assert_eq!((counts.inserted, counts.updated), [(1, 1), (0, 0)][round], "{counts:?}");
        let stored = by("id", subject.rows("wizards").await);
        let (old_age, new_age) = split(subject, "age", "bi", "de");
        let (old_magic, new_magic) = split(subject, "has_magic", "bo", "st");
        let row = |id: &str| {
            [&old_age, &new_age, &old_magic, &new_magic].map(|name| stored[id][name].clone())
        };
        assert_eq!(row("1"), [json!(15), Value::Null, json!(false), Value::Null]);
        assert_eq!(row("2"), [Value::Null, json!("11"), Value::Null, json!("false")]);
        assert_eq!(row("3"), [Value::Null, json!("16"), Value::Null, json!("yes")]);
    }
    // Back to the first types: the values go to the columns that were there first.
    let ages: ArrayRef = Arc::new(Int64Array::from(vec![8]));
    let magic: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    Script::new()
        .schema(&first)
        .rows(rows(&first, &["2"], vec![ages, magic]))
        .succeed(subject.destination())
        .await;
    let stored = by("id", subject.rows("wizards").await);
    let (old_age, new_age) = split(subject, "age", "bi", "de");
    assert_eq!((&stored["2"][&old_age], &stored["2"][&new_age]), (&json!(8), &Value::Null));
}

/// A field that has several types from the start has a column for each, and each value stands in its own.
pub async fn splits_fields_of_several_types(subject: &dyn Subject) {
    let input = |types: &str, values: &[(&str, &str)]| {
        let mut lines = vec![format!(
            r#"{{"type":"SCHEMA","stream":"wizards","key_properties":["id"],"schema":{{"properties":{{"id":{{"type":"string"}},"age":{{"type":{types}}},"home":{{"properties":{{"door":{{"type":["boolean","null","string"]}}}}}}}}}}}}"#
        )];
        lines.extend(values.iter().map(|(id, value)| {
            format!(
                r#"{{"type":"RECORD","stream":"wizards","record":{{"id":"{id}","age":{value},"home":{{"door":true}}}}}}"#
            )
        }));
        lines.join("\n")
    };
    let ages =
        [("1", "15"), ("2", "\"15\""), ("3", "null"), ("4", "{}"), ("5", "1.5"), ("6", "\"\"")];
    let several = input(r#"["integer","null","string"]"#, &ages);
    for round in 0..2 {
        let report = load(subject, several.clone()).await;
        let counts = report.tables[0].counts;
        assert_eq!((counts.inserted, counts.rejected), ([4, 0][round], 2), "{counts:?}");
    }
    let (whole, text) = split(subject, "age", "bi", "st");
    let (is_there, _) = split(subject, "home__door", "bo", "st");
    let stored = by("id", subject.rows("wizards").await);
    let row = |id: &str| [&whole, &text].map(|name| stored[id][name].clone());
    assert_eq!(row("1"), [json!(15), Value::Null]);
    assert_eq!(row("2"), [Value::Null, json!("15")]);
    assert_eq!(row("3"), [Value::Null, Value::Null]);
    assert_eq!(row("6"), [Value::Null, json!("")]);
    assert_eq!(stored["1"][&is_there], json!(true));

    // With one of the types alone, and with one more, values go where they went.
    load(subject, input(r#""string""#, &[("1", "\"old\"")])).await;
    load(subject, input(r#"["boolean","integer","string"]"#, &[("2", "7"), ("3", "true")])).await;
    let stored = by("id", subject.rows("wizards").await);
    let row = |id: &str| [&*whole, &*text, "age__bo"].map(|name| stored[id][name].clone());
    assert_eq!(row("1"), [Value::Null, json!("old"), Value::Null]);
    assert_eq!(row("2"), [json!(7), Value::Null, Value::Null]);
    assert_eq!(row("3"), [Value::Null, Value::Null, json!(true)]);
}

/// Types may change in mid-stream, and while a version waits.
pub async fn splits_in_mid_stream_and_in_mid_version(subject: &dyn Subject) {
    use ColumnType::{Integer, Text};
    let (first, second) = (wizards(&[("age", Integer)]), wizards(&[("age", Text)]));
    let age = |age: i64| -> Vec<ArrayRef> { vec![Arc::new(Int64Array::from(vec![age]))] };
    let text = |age: &str| -> Vec<ArrayRef> { vec![Arc::new(StringArray::from(vec![age]))] };
    let waiting = |mut rows: Rows| {
        rows.version = Some(5);
        rows
    };
    Script::new()
        .with(|options| options.limits.rows = 1)
        .schema(&first)
        .rows(rows(&first, &["a"], age(1)))
        .schema(&second)
        .rows(rows(&second, &["b"], text("two")))
        .schema(&first)
        .event(Event::BeginVersion { stream: StreamName::from("wizards"), version: 5 })
        .rows(waiting(rows(&first, &["a"], age(3))))
        .schema(&second)
        .rows(waiting(rows(&second, &["b"], text("four"))))
        .rows(waiting(rows(&second, &["c"], text("five"))))
        .event(Event::ActivateVersion {
            stream: StreamName::from("wizards"),
            version: 5,
            since: None,
        })
        .succeed(subject.destination())
        .await;
    let stored = by("id", subject.rows("wizards").await);
    let (old, new) = split(subject, "age", "bi", "st");
    let row = |id: &str| [stored[id][&old].clone(), stored[id][&new].clone()];
    assert_eq!(row("a"), [json!(3), Value::Null]);
    assert_eq!(row("b"), [Value::Null, json!("four")]);
    assert_eq!(row("c"), [Value::Null, json!("five")]);
}

/// A key that changes ends the run before a row is touched, between runs and in mid-stream.
pub async fn refuses_a_key_that_changes(subject: &dyn Subject) {
    let keyed = |key: &[&str]| {
        texts("keys", &["id", "kind", "name"], key, Method::Incremental, WinnerRule::Sequence)
    };
    let row =
        |kind: &'static str| -> [Option<&'static str>; 3] { [Some("1"), Some(kind), Some("n")] };
    let first = keyed(&["id", "kind"]);
    let load = || text_rows(&first, &[&row("a"), &row("b")]);
    Script::new().schema(&first).rows(load()).succeed(subject.destination()).await;
    for other in [keyed(&["id"]), keyed(&["id", "name"]), keyed(&[])] {
        for in_mid_stream in [false, true] {
            let mut script = Script::new();
            if in_mid_stream {
                script = script.schema(&first).rows(load());
            }
            let failure = script
                .schema(&other)
                .rows(text_rows(&other, &[&row("c")]))
                .run(subject.destination())
                .await
                .expect_err("the key is another one");
            let RunError::Destination(error) = &failure.error else { panic!("{failure:?}") };
            assert!(error.message.starts_with("The key of `keys` is (`id`, `kind`)"), "{error}");
            let stored = by("kind", subject.rows("keys").await);
            assert_eq!(stored.keys().collect::<Vec<_>>(), ["a", "b"]);
        }
    }
    // The same columns in another order are the same key.
    Script::new().schema(&keyed(&["kind", "id"])).rows(load()).succeed(subject.destination()).await;
}

/// Integers go into a column of numbers as they are.
pub async fn widens_integers_into_numbers(subject: &dyn Subject) {
    let (wide, narrow) =
        (wizards(&[("age", ColumnType::Number)]), wizards(&[("age", ColumnType::Integer)]));
    Script::new()
        .schema(&wide)
        .rows(rows(&wide, &["a"], vec![numbers(&[15])]))
        .succeed(subject.destination())
        .await;
    let edges: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX]));
    Script::new()
        .schema(&narrow)
        .rows(rows(&narrow, &["b", "c"], vec![edges]))
        .succeed(subject.destination())
        .await;
    let stored = by("id", subject.rows("wizards").await);
    assert_eq!(stored["a"]["age"], json!("1.5"));
    assert_eq!(stored["b"]["age"], json!("-9223372036854775808"));
    assert_eq!(stored["c"]["age"], json!("9223372036854775807"));
}

/// A column whose name can't be costs the rows that have a value there, each with its reason, and no others.
pub async fn rejects_rows_whose_columns_have_no_name(subject: &dyn Subject) {
    let dialect = subject.destination().dialect();
    let long = "n".repeat(200);
    let columns = [
        "id",
        "Name",
        "name",
        "a__st",
        "_sdc_mine",
        "age__bi!",
        &long,
        "",
        "\u{0}",
        "sp ace",
        "\"; drop",
        "é",
        "e\u{301}",
        "É",
        "日本語",
        "👩‍👧",
    ];
    let schema = texts("named", &columns, &["id"], Method::Incremental, WinnerRule::Sequence);
    let ids: Vec<String> = (0..columns.len()).map(|position| format!("row {position}")).collect();
    let only = |position: usize| -> Vec<Option<&str>> {
        (0..columns.len())
            .map(|column| match column {
                0 => Some(ids[position].as_str()),
                _ => (column == position).then_some("v"),
            })
            .collect()
    };
    let rows: Vec<Vec<Option<&str>>> = (1..columns.len()).map(only).collect();
    let rows: Vec<&[Option<&str>]> = rows.iter().map(Vec::as_slice).collect();
    let report = Script::new()
        .schema(&schema)
        .rows(text_rows(&schema, &rows))
        .succeed(subject.destination())
        .await;
    let mut expected = vec![
        ("a__st", ReasonCode::ReservedName),
        ("_sdc_mine", ReasonCode::ReservedName),
        ("", ReasonCode::UnusableName),
        ("\u{0}", ReasonCode::UnusableName),
    ];
    if (dialect.canonical)("age__bi!") == "age__bi" {
        expected.push(("age__bi!", ReasonCode::ReservedName));
    }
    if dialect.folds_case {
        expected.push(("name", ReasonCode::FieldCollision));
    }
    if long.len() > dialect.column_bytes {
        expected.push((&long, ReasonCode::NameTooLong));
    }
    let stored = by("id", subject.rows("named").await);
    let rejects = subject.destination().rejects(Some("named"), 100).await.expect("read");
    let counts = report.tables[0].counts;
    assert_eq!(counts.rejected as usize, expected.len());
    assert_eq!((stored.len(), rejects.len()), (rows.len() - expected.len(), expected.len()));
    for (name, code) in &expected {
        let id = &ids[columns.iter().position(|column| column == name).unwrap_or_default()];
        let reject = rejects.iter().find(|reject| reject.record.contains(&format!("\"{id}\"")));
        let reject = reject.unwrap_or_else(|| panic!("`{name}` is rejected: {rejects:?}"));
        assert_eq!(reject.reason_code, code.as_str(), "{}", reject.reason);
    }
    for (name, id) in columns.iter().zip(&ids).skip(1) {
        if expected.iter().all(|(rejected, _)| rejected != name) {
            let column = (dialect.canonical)(name);
            assert_eq!(stored[id][&column], json!("v"), "`{name}` is column `{column}`");
        }
    }
}

/// A stream whose name can't be that of a table costs its own rows, each with the reason, and no others.
pub async fn rejects_streams_whose_tables_have_no_name(subject: &dyn Subject) {
    let dialect = subject.destination().dialect();
    let long = "t".repeat(200);
    let mut refused = vec!["_sdc_loads", "_RJM_x"];
    if long.len() > dialect.table_bytes {
        refused.push(&long);
    }
    let mut kept =
        vec!["Tables", "test:SpecialChars!in?attributes", "\"; drop table x; --", "é", "e\u{301}"];
    if dialect.folds_case {
        refused.push("tABLES");
    } else {
        kept.push("tABLES");
    }
    for round in 1..=2 {
        let mut script = Script::new();
        for name in kept.iter().chain(&refused) {
            let schema =
                texts(name, &["id", "n"], &["id"], Method::Incremental, WinnerRule::Sequence);
            let round = round.to_string();
            let row: &[Option<&str>] = &[Some("a"), Some(&round)];
            script = script.schema(&schema).rows(text_rows(&schema, &[row]));
        }
        script.succeed(subject.destination()).await;
        for name in &kept {
            let stored = by("id", subject.rows(name).await);
            assert_eq!(stored["a"]["n"], json!(round.to_string()), "`{name}`");
        }
        let rejects = subject.destination().rejects(None, 100).await.expect("read");
        assert_eq!(rejects.len(), refused.len() * round, "{rejects:?}");
    }
}
