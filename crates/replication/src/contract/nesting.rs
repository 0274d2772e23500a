//! Clauses on arrays of objects: subtables without stale rows where a destination has them, documents elsewhere.

use serde_json::{Map, Value, json};

use super::{Subject, hostile::load, script::by};
use crate::{ledger::LoadCounts, run::RunReport, system};

const ORDER: &str = r#"{"type":"SCHEMA","stream":"orders","key_properties":["id"],"schema":{"properties":{
    "id":{"type":"integer"},"note":{"type":"string"},
    "lines":{"type":["array","null"],"items":{"type":"object","properties":{
        "product":{"type":"integer"},"price":{"type":["PRICE","null"]},"at":{"type":"string","format":"date-time"},
        "meta":{"type":"object","properties":{"it's":{"type":"string"},"free":{}}},
        "tags":{"type":"array","items":{"type":"string"}},
        "taxes":{"type":"array","items":{"type":"object","properties":{
            "rate":{"type":"number"},"ok":{"type":"boolean"}}}}}}}}}}"#;

fn input(price: &str, records: &[&str]) -> String {
    let mut input = ORDER.replace('\n', "").replace("PRICE", price);
    for record in records {
        input.push_str("\n{\"type\":\"RECORD\",\"stream\":\"orders\",\"record\":");
        input.push_str(record);
        input.push('}');
    }
    input
}

fn counts(report: &RunReport) -> LoadCounts {
    report.tables.iter().find(|table| table.table == "orders").expect("it was loaded").counts
}

/// The rows of a subtable as texts: key, levels, then the columns.
async fn nested(subject: &dyn Subject, table: &str, columns: &[&str]) -> Vec<String> {
    let rows = subject.rows(table).await.unwrap_or_else(|| panic!("`{table}` exists"));
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row: &Map<String, Value>| {
            assert!(row[system::SEQUENCE].is_i64(), "nested rows have system columns");
            let names = ["_sdc_source_key_id", "_sdc_level_0_id", "_sdc_level_1_id"];
            let cells = names.iter().chain(columns).filter_map(|name| row.get(*name));
            cells.map(Value::to_string).collect::<Vec<_>>().join(" ")
        })
        .collect();
    lines.sort();
    lines
}

/// Arrays of objects are held whole, item by item where there are subtables; they follow their row when it changes.
pub async fn takes_arrays_of_objects_apart(subject: &dyn Subject) {
    let first = r#"{"id":1,"note":"a","lines":[
        {"product":5,"price":5.990,"at":"2024-02-29T23:30:00.5+05:30","meta":{"it's":"\u00e9\"\\","free":{"b":[1]}},
         "tags":["x",null,""],"taxes":[{"rate":0.06,"ok":true},{"rate":1e2}]},
        {"product":6},null]}"#
        .replace("\n", "");
    let second = r#"{"id":2,"note":"b","lines":[]}"#;
    let report = load(subject, input("number", &[&first, second])).await;
    assert_eq!(counts(&report).inserted, 2);
    let again = load(subject, input("number", &[&first, second])).await;
    assert_eq!((counts(&again).updated, counts(&again).unchanged), (0, 2), "nothing has changed");
    if !subject.has_subtables() {
        let rows = by("note", subject.rows("orders").await);
        assert_eq!(rows["b"]["lines"], json!("[]"));
        let sent: Value = serde_json::from_str(&first).expect("tests write JSON");
        let stored = rows["a"]["lines"].as_str().unwrap_or_default();
        assert_eq!(serde_json::from_str::<Value>(stored).ok().as_ref(), Some(&sent["lines"]));
        return;
    }
    let lines = ["product", "price", "at", "meta__its", "meta__free"];
    assert_eq!(
        nested(subject, "orders__lines", &lines).await,
        [
            r#"1 0 5 "5.990" "2024-02-29T18:00:00.5Z" "é\"\\" "{\"b\":[1]}""#,
            "1 1 6 null null null null",
            "1 2 null null null null null",
        ]
    );
    assert_eq!(
        nested(subject, "orders__lines__tags", &["value"]).await,
        [r#"1 0 0 "x""#, "1 0 1 null", r#"1 0 2 """#]
    );
    assert_eq!(
        nested(subject, "orders__lines__taxes", &["rate", "ok"]).await,
        [r#"1 0 0 "0.06" true"#, r#"1 0 1 "100" null"#]
    );

    // A change deep within is a change of the row; what is gone leaves nothing behind, and other rows are left alone.
    let shrunken =
        r#"{"id":1,"note":"a","lines":[{"product":5,"tags":["x"],"taxes":[{"rate":0.07}]}]}"#;
    let report = load(subject, input("number", &[shrunken, second])).await;
    assert_eq!((counts(&report).updated, counts(&report).unchanged), (1, 1));
    assert_eq!(nested(subject, "orders__lines", &["product"]).await, ["1 0 5"]);
    assert_eq!(nested(subject, "orders__lines__tags", &["value"]).await, [r#"1 0 0 "x""#]);
    assert_eq!(nested(subject, "orders__lines__taxes", &["rate"]).await, [r#"1 0 0 "0.07""#]);

    // A field of the items changes its type, as a column would; an item that doesn't fit costs its own row.
    let texts = r#"{"id":2,"note":"b","lines":[{"product":7,"price":"a lot"}]}"#;
    let wrong = r#"{"id":3,"note":"c","lines":[{"product":"seven"}]}"#;
    let scalar = r#"{"id":4,"note":"d","lines":{"product":1}}"#;
    let nul = r#"{"id":5,"note":"e","lines":[{"meta":{"it's":"\u0000"}}]}"#;
    let report = load(subject, input("string", &[texts, wrong, scalar, nul])).await;
    assert_eq!((counts(&report).updated, counts(&report).rejected), (1, 3));
    assert_eq!(
        nested(subject, "orders__lines", &["product", "price__de", "price__st"]).await,
        ["1 0 5 null null", r#"2 0 7 null "a lot""#]
    );
    let rejects = subject.destination().rejects(Some("orders"), 10).await.expect("read");
    for sent in [wrong, scalar, nul] {
        let reject = rejects.iter().find(|reject| reject.record == sent);
        assert!(reject.is_some(), "{sent} is a reject: {rejects:?}");
    }
}

/// The items of an array that comes no more stay, also where another field's name begins with the array's. Those of an array
/// that has become an object don't.
pub async fn keeps_items_of_an_array_that_comes_no_more(subject: &dyn Subject) {
    let input = |fields: &str, record: &str| {
        format!(
            r#"{{"type":"SCHEMA","stream":"things","key_properties":["id"],"schema":{{"properties":{{"id":{{"type":"integer"}},{fields}}}}}}}
{{"type":"RECORD","stream":"things","record":{{"id":1,{record}}}}}"#
        )
    };
    let (tags, color) = (
        r#""tag":{"type":"array","items":{"type":"string"}}"#,
        r#""tag__color":{"type":"string"}"#,
    );
    let both = input(&format!("{tags},{color}"), r#""tag":["x","y"],"tag__color":"red""#);
    load(subject, both).await;
    load(subject, input(color, r#""tag__color":"blue""#)).await;
    let items = async || match subject.has_subtables() {
        true => nested(subject, "things__tag", &["value"]).await.len(),
        false => {
            let rows = by("id", subject.rows("things").await);
            rows["1"]["tag"].as_array().map_or(0, Vec::len)
        }
    };
    assert_eq!(items().await, 2);
    let rows = by("id", subject.rows("things").await);
    assert_eq!(rows["1"]["tag__color"], json!("blue"));
    // In a column of its own an array stays whatever becomes of its field.
    if subject.has_subtables() {
        let object = r#""tag":{"properties":{"color":{"type":"string"}}}"#;
        load(subject, input(object, r#""tag":{"color":"green"}"#)).await;
        assert_eq!(items().await, 0, "the field is an object now");
    }
}

/// Items of an array that isn't selected any more stay, also where a field is called like the beginning of its name, and
/// where that field has items of its own.
pub async fn keeps_items_beside_a_field_of_a_shorter_name(subject: &dyn Subject) {
    let input = |fields: &str, record: &str| {
        format!(
            r#"{{"type":"SCHEMA","stream":"beside","key_properties":["id"],"schema":{{"properties":{{"id":{{"type":"integer"}},{fields}}}}}}}
{{"type":"RECORD","stream":"beside","record":{{"id":1,{record}}}}}"#
        )
    };
    let longer =
        r#""foo__x":{"type":"array","items":{"type":"object","properties":{"n":{"type":"integer"},
        "y":{"type":"array","items":{"type":"string"}}}}}"#
            .replace("\n", "");
    let lists = r#""foo__z":{"type":"array","items":{"type":"string"}}"#;
    let text = r#""foo":{"type":"string"}"#;
    let array =
        r#""foo":{"type":"array","items":{"type":"object","properties":{"k":{"type":"integer"},
        "w":{"type":"array","items":{"type":"string"}}}}}"#
            .replace("\n", "");
    let items = r#""foo__x":[{"n":1,"y":["a","b"]}],"foo__z":["c"]"#;
    load(subject, input(&format!("{text},{longer},{lists}"), &format!(r#""foo":"old",{items}"#)))
        .await;
    let held = async || {
        if subject.has_subtables() {
            let mut held = nested(subject, "beside__foo__x", &["n"]).await;
            held.extend(nested(subject, "beside__foo__x__y", &["value"]).await);
            held.extend(nested(subject, "beside__foo__z", &["value"]).await);
            held
        } else {
            let rows = subject.rows("beside").await.expect("the table is there");
            ["foo__x", "foo__z"].map(|name| rows[0][name].to_string()).to_vec()
        }
    };
    let before = held().await;
    load(subject, input(text, r#""foo":"new""#)).await;
    assert_eq!(held().await, before, "a text of a shorter name has changed");
    load(subject, input(&array, r#""foo":[{"k":1,"w":["v"]}]"#)).await;
    load(subject, input(&array, r#""foo":[{"k":2,"w":["u"]}]"#)).await;
    assert_eq!(held().await, before, "an array of a shorter name has changed");
    load(subject, input(text, r#""foo":"again""#)).await;
    assert_eq!(held().await, before, "it is a text again");
}

/// Arrays of objects that can't be subtables, because of a field's name or of the number of fields, stay documents.
pub async fn keeps_arrays_whole_that_can_not_be_taken_apart(subject: &dyn Subject) {
    // With its key, its level and the five system columns, this is more than a table holds where there are subtables.
    let limit = subject.destination().dialect().column_count.min(1_600);
    let fields: Vec<String> =
        (0..limit - 6).map(|field| format!(r#""f{field}":{{"type":"integer"}}"#)).collect();
    let array = |fields: &str| {
        format!(r#"{{"type":"array","items":{{"type":"object","properties":{{{fields}}}}}}}"#)
    };
    let input = format!(
        r#"{{"type":"SCHEMA","stream":"odd","key_properties":["id"],"schema":{{"properties":{{"id":{{"type":"integer"}},"nul":{},"suffix":{},"wide":{}}}}}}}
{{"type":"RECORD","stream":"odd","record":{{"id":1,"suffix":[{{"tags__st":["x"]}}],"wide":[{{"f7":7}}]}}}}
{{"type":"RECORD","stream":"odd","record":{{"id":2,"nul":[]}}}}"#,
        array(r#""a\u0000":{"type":"string"}"#),
        array(r#""tags__st":{"type":"array","items":{"type":"string"}}"#),
        array(&fields.join(",")),
    );
    let report = load(subject, input).await;
    assert_eq!(report.tables[0].counts.inserted, 2);
    let rows = by("id", subject.rows("odd").await);
    assert_eq!(rows["1"]["suffix"], json!(r#"[{"tags__st":["x"]}]"#));
    assert_eq!(rows["1"]["wide"], json!(r#"[{"f7":7}]"#));
    assert_eq!(rows["2"]["nul"], json!("[]"));
}

/// Rows without a key are appended whether the stream has an array or not, and whichever it had when the table was made.
pub async fn appends_without_a_key_while_arrays_come_and_go(subject: &dyn Subject) {
    let with = r#","tags":{"type":["array","null"],"items":{"type":"string"}}"#;
    let input = |stream: &str, has_array: bool, id: usize| {
        let (field, value) = if has_array { (with, r#","tags":["a","b"]"#) } else { ("", "") };
        format!(
            r#"{{"type":"SCHEMA","stream":"{stream}","key_properties":[],"schema":{{"properties":{{"id":{{"type":"integer"}}{field}}}}}}}
{{"type":"RECORD","stream":"{stream}","record":{{"id":{id}{value}}}}}"#
        )
    };
    for (stream, rounds) in [("coming", [false, true, false]), ("going", [true, false, true])] {
        for (round, has_array) in rounds.into_iter().enumerate() {
            let report = load(subject, input(stream, has_array, round)).await;
            let counts = report.tables.iter().find(|table| table.table == stream);
            let counts = counts.expect("it was loaded").counts;
            assert_eq!((counts.inserted, counts.rejected), (1, 0), "`{stream}`, round {round}");
        }
        let rows = by("id", subject.rows(stream).await);
        assert_eq!(rows.len(), 3);
        for (round, _) in rounds.iter().enumerate().filter(|(_, has_array)| **has_array) {
            let row = &rows[&round.to_string()];
            if subject.has_subtables() {
                let items = subject.rows(&format!("{stream}__tags")).await.unwrap_or_default();
                let own = items.iter().filter(|item| {
                    item["_sdc_source_key___sdc_primary_key"] == row["__sdc_primary_key"]
                });
                assert_eq!(own.count(), 2, "the items of `{stream}`, round {round}");
            } else {
                assert_eq!(row["tags"], json!(["a", "b"]));
            }
        }
    }
}

/// Two arrays, or an array and a stream, whose tables would have one name are never mixed, whichever comes first: what
/// comes second stays a document, or costs the rows that have a value there.
pub async fn keeps_subtables_of_one_name_apart(subject: &dyn Subject) {
    let list = r#"{"type":"array","items":{"type":"string"}}"#;
    let stream = |name: &str, fields: &str, values: &str| {
        format!(
            r#"{{"type":"SCHEMA","stream":"{name}","key_properties":["id"],"schema":{{"properties":{{"id":{{"type":"integer"}},{fields}}}}}}}
{{"type":"RECORD","stream":"{name}","record":{{"id":1,{values}}}}}
{{"type":"RECORD","stream":"{name}","record":{{"id":2}}}}
"#
        )
    };
    let has_subtables = subject.has_subtables();
    let items = async |table: &str, column: &str| -> Vec<Value> {
        let rows = subject.rows(table).await.unwrap_or_default();
        rows.iter().map(|row| row[column].clone()).collect()
    };
    // A list within an object, and the list of a stream that is called like the two.
    let within = stream(
        "a",
        &format!(r#""x":{{"type":"object","properties":{{"tags":{list}}}}}"#),
        r#""x":{"tags":["of a"]}"#,
    );
    let other = stream("a__x", &format!(r#""tags":{list}"#), r#""tags":["of a__x"]"#);
    for _ in 0..2 {
        load(subject, format!("{within}{other}")).await;
        assert_eq!(subject.rows("a").await.unwrap_or_default().len(), 2);
        let others = subject.rows("a__x").await.unwrap_or_default();
        assert_eq!(others.len(), if has_subtables { 1 } else { 2 }, "the other row is a reject");
        if has_subtables {
            assert_eq!(items("a__x__tags", "value").await, ["of a"]);
        }
    }
    // An array of objects, and a stream that is called like its subtable: either may come first, in any run.
    let objects = format!(
        r#"{{"type":"array","items":{{"type":"object","properties":{{"n":{{"type":"integer"}},"taxes":{list}}}}}}}"#
    );
    let lines = |name: &str| {
        stream(name, &format!(r#""lines":{objects}"#), r#""lines":[{"n":1,"taxes":["t"]}]"#)
    };
    let named = |name: &str| stream(name, r#""n":{"type":"integer"}"#, r#""n":9"#);
    load(subject, named("b__lines")).await;
    load(subject, format!("{}{}", lines("b"), named("b__lines"))).await;
    assert_eq!(subject.rows("b__lines").await.unwrap_or_default().len(), 2);
    let rows = by("id", subject.rows("b").await);
    assert_eq!(rows["1"]["lines"], json!(r#"[{"n":1,"taxes":["t"]}]"#));
    load(subject, lines("c")).await;
    load(subject, named("c__lines")).await;
    load(subject, format!("{}{}", named("c__lines"), lines("c"))).await;
    if has_subtables {
        assert_eq!(items("c__lines", "n").await, [1]);
    }
    // Two arrays of one stream.
    let both = [
        format!(r#""lines__taxes":{list},"lines":{objects}"#),
        format!(r#""lines":{objects},"lines__taxes":{list}"#),
    ];
    for (name, fields) in ["d", "e"].iter().zip(both) {
        let values = r#""lines__taxes":["plain"],"lines":[{"n":1,"taxes":["deep"]}]"#;
        let input = stream(name, &fields, values);
        load(subject, input.clone()).await;
        let report = load(subject, input).await;
        let counts = report.tables.iter().find(|table| table.table == *name);
        let counts = counts.expect("it was loaded").counts;
        assert_eq!(counts.unchanged + counts.rejected, 2, "`{name}`: {counts:?}");
        if has_subtables {
            let kept = if *name == "d" { vec!["plain"] } else { vec![] };
            assert_eq!(items(&format!("{name}__lines__taxes"), "value").await, kept);
        }
    }
}

/// Items go with their row even if the stream's arrays are of another shape by then: objects that lose an array, objects
/// that become a document, and an array that leaves the stream when a version replaces the table.
pub async fn leaves_no_items_of_another_shape_behind(subject: &dyn Subject) {
    let list = r#"{"type":"array","items":{"type":"string"}}"#;
    let objects = |fields: &str| {
        format!(
            r#""lines":{{"type":"array","items":{{"type":"object","properties":{{{fields}}}}}}}"#
        )
    };
    let deep = objects(&format!(r#""n":{{"type":"integer"}},"taxes":{list}"#));
    let flat = objects(r#""n":{"type":"integer"}"#);
    let shaped = |fields: &str, records: &[&str]| {
        let mut input = format!(
            r#"{{"type":"SCHEMA","stream":"shaped","key_properties":["id"],"schema":{{"properties":{{"id":{{"type":"integer"}},"note":{{"type":"string"}},{fields}}}}}}}"#
        );
        for record in records {
            input.push_str("\n{\"type\":\"RECORD\",\"stream\":\"shaped\",");
            input.push_str(record);
            input.push('}');
        }
        input
    };
    let row = |id: usize, lines: &str| format!(r#""record":{{"id":{id},"lines":{lines}}}"#);
    let whole = r#"[{"n":1,"taxes":["t"]}]"#;
    load(subject, shaped(&deep, &[&row(1, whole), &row(2, whole), &row(3, whole)])).await;
    load(subject, shaped(&flat, &[&row(1, r#"[{"n":2}]"#)])).await;
    let document = r#""lines":{"type":["object","null"]}"#;
    load(subject, shaped(document, &[&row(2, r#"{"now":"else"}"#), &row(3, "null")])).await;
    if subject.has_subtables() {
        assert_eq!(nested(subject, "shaped__lines", &["n"]).await, ["1 0 2"]);
        assert_eq!(nested(subject, "shaped__lines__taxes", &["value"]).await, [""; 0]);
    }
    load(subject, shaped(&deep, &[&row(2, whole)])).await;
    let versioned = r#""version":1,"record":{"id":1,"note":"n"}"#;
    let newer = [2, 3, 4].map(|id| format!(r#""version":2,"record":{{"id":{id},"note":"n"}}"#));
    let newer = newer.each_ref().map(String::as_str);
    let none = r#""other":{"type":"string"}"#;
    let activate = |version: i64| {
        format!("\n{{\"type\":\"ACTIVATE_VERSION\",\"stream\":\"shaped\",\"version\":{version}}}")
    };
    load(subject, shaped(none, &[versioned]) + &activate(1)).await;
    load(subject, shaped(none, &newer) + &activate(2)).await;
    assert_eq!(subject.rows("shaped").await.unwrap_or_default().len(), 3);
    if subject.has_subtables() {
        assert_eq!(nested(subject, "shaped__lines", &["n"]).await, [""; 0]);
        assert_eq!(nested(subject, "shaped__lines__taxes", &["value"]).await, [""; 0]);
    }
    for (table, totals) in subject.destination().totals().await.expect("the ledger can be summed") {
        let count = subject.destination().count(&table).await.expect("it can be counted");
        let balance = Some(totals.inserted - totals.deleted);
        assert_eq!(balance, count, "the ledger accounts for `{table}`");
    }
}

/// A version of a table takes its nested rows along.
pub async fn replaces_nested_rows_with_their_version(subject: &dyn Subject) {
    let versioned = |version: i64, record: &str| {
        format!(
            "\n{{\"type\":\"RECORD\",\"stream\":\"orders\",\"version\":{version},\"record\":{record}}}"
        )
    };
    let activate = |version: i64| {
        format!("\n{{\"type\":\"ACTIVATE_VERSION\",\"stream\":\"orders\",\"version\":{version}}}")
    };
    for (version, products) in [(1, [5, 6]), (2, [6, 7]), (3, [6, 7])] {
        let mut text = input("number", &[]);
        for (id, product) in products.iter().enumerate() {
            let line = format!(
                r#"{{"id":{id},"note":"n","lines":[{{"product":{product},"tags":["t"]}}]}}"#
            );
            text.push_str(&versioned(version, &line));
        }
        text.push_str(&activate(version));
        let report = load(subject, text).await;
        let counts = counts(&report);
        assert_eq!(
            (counts.inserted, counts.updated, counts.unchanged),
            match version {
                1 => (2, 0, 0),
                2 => (0, 2, 0),
                _ => (0, 0, 2),
            }
        );
    }
    if subject.has_subtables() {
        assert_eq!(nested(subject, "orders__lines", &["product"]).await, ["0 0 6", "1 0 7"]);
        assert_eq!(
            nested(subject, "orders__lines__tags", &["value"]).await,
            [r#"0 0 0 "t""#, r#"1 0 0 "t""#]
        );
    }
    for (table, totals) in subject.destination().totals().await.expect("the ledger can be summed") {
        let count = subject.destination().count(&table).await.expect("it can be counted");
        assert_eq!(
            Some(totals.inserted - totals.deleted),
            count,
            "the ledger accounts for `{table}`"
        );
    }
}
