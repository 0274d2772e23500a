//! Clauses on reading tables back.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Subject,
    claims::request,
    hostile::load,
    script::{Script, instant, people, persons, text_rows, texts},
};
use crate::{
    reject::{Occurrence, ReasonCode, RejectedRow},
    row,
    source::Span,
    stream::{Column, ColumnType, Method, StreamSchema, WinnerRule},
};

/// The rows of a scan, each as one text, in order.
async fn scanned(
    subject: &dyn Subject,
    schema: &Arc<StreamSchema>,
    span: Option<(&str, &str)>,
) -> Vec<String> {
    let span = span.map(|(from, before)| Span { from: instant(from), before: instant(before) });
    let mut scan = subject.destination().scan(schema, span).await.expect("the table can be read");
    let mut rows = Vec::new();
    while let Some(batch) = scan.next().await.expect("the rows can be read") {
        assert_eq!(batch.schema(), schema.arrow(), "batches follow the schema");
        rows.extend((0..batch.num_rows()).map(|index| row::render(schema, &batch, index)));
    }
    rows.sort();
    rows
}

/// Every value is read back as it was sent, in the types in which it came.
pub async fn reads_its_rows_back(subject: &dyn Subject) {
    let schema = people(WinnerRule::ReplicationKey);
    assert!(scanned(subject, &schema, None).await.is_empty(), "no table, no rows");
    let rows = persons(
        &schema,
        &[
            ("a", "2026-01-01T23:59:59.999999Z", "Ünï \u{1f4e7} \"quoted\"", &["x", "y", "x"]),
            ("b", "2026-01-02T00:00:00Z", "", &[]),
            ("c", "2026-01-02T00:00:00.000001Z", "\\N", &["\n", ""]),
            ("d", "2026-01-03T00:00:00Z", "later", &[]),
        ],
    );
    let mut sent: Vec<String> =
        (0..4).map(|index| row::render(&schema, &rows.batch, index)).collect();
    Script::new().schema(&schema).rows(rows).succeed(subject.destination()).await;
    if subject.has_subtables() {
        // Empty is absent there.
        sent.iter_mut().for_each(|row| *row = row.replace(",\"listIds\":[]", ""));
    }
    assert_eq!(scanned(subject, &schema, None).await, sent);
    let day = Some(("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"));
    assert_eq!(scanned(subject, &schema, day).await, sent[1..3], "of one day");
    let key = Arc::new(StreamSchema {
        columns: vec![Column::new("modified", ColumnType::Timestamp)],
        key: Vec::new(),
        ..(*schema).clone()
    });
    assert_eq!(scanned(subject, &key, day).await.len(), 2, "of some columns");

    let mut schema =
        (*texts("events", &["id", "created"], &["id"], Method::Incremental, WinnerRule::Sequence))
            .clone();
    schema.replication_key = Some("created".to_owned());
    let schema = Arc::new(schema);
    let rows = text_rows(
        &schema,
        &[
            &[Some("1"), Some("2026-01-01T23:59:59.5Z")],
            &[Some("2"), Some("2026-01-02T00:00:00.5Z")],
            &[Some("3"), Some("2026-01-02T23:59:59Z")],
            &[Some("4"), Some("2026-01-03T00:00:00Z")],
            &[Some("5"), None],
        ],
    );
    Script::new().schema(&schema).rows(rows).succeed(subject.destination()).await;
    let ids: Vec<String> = scanned(subject, &schema, day).await;
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert!(ids[0].contains("\"2\"") && ids[1].contains("\"3\""), "{ids:?}");
    assert_eq!(scanned(subject, &schema, None).await.len(), 5);
}

/// So is every type of column, its edges and its nulls.
pub async fn reads_every_type_back(subject: &dyn Subject) {
    let input = r#"{"type":"SCHEMA","stream":"wide","key_properties":["id"],"schema":{"properties":{
        "id":{"type":"integer"},"price":{"type":"number"},"is":{"type":"boolean"},
        "at":{"type":"string","format":"date-time"},"free":{},
        "numbers":{"type":"array","items":{"type":"number"}},
        "flags":{"type":"array","items":{"type":["boolean","null"]}},
        "days":{"type":"array","items":{"type":"string","format":"date-time"}}}}}
{"type":"RECORD","stream":"wide","record":{"id":-9223372036854775808,"price":-0.000000001,"is":true,"at":"0001-01-01T00:00:00Z","free":{"b":[1,2.50]},"numbers":[1.5,-2,99999999999999999999999999999.999999999],"flags":[true,null,false],"days":["2024-02-29T23:59:59.999999Z"]}}
{"type":"RECORD","stream":"wide","record":{"id":9223372036854775807,"price":12345678901234567890.123456789,"is":false,"at":"9999-12-31T23:59:59.999999Z"}}"#;
    let input = input.replace("\n        ", "");
    load(subject, input).await;
    let list = |item: ColumnType| ColumnType::List(Box::new(item));
    let columns = [
        ("id", ColumnType::Integer),
        ("price", ColumnType::Number),
        ("is", ColumnType::Boolean),
        ("at", ColumnType::Timestamp),
        ("free", ColumnType::Json),
        ("numbers", list(ColumnType::Number)),
        ("flags", list(ColumnType::Boolean)),
        ("days", list(ColumnType::Timestamp)),
    ];
    let schema = Arc::new(StreamSchema {
        columns: columns.into_iter().map(|(name, of)| Column::new(name, of)).collect(),
        ..(*texts("wide", &[], &["id"], Method::Incremental, WinnerRule::Sequence)).clone()
    });
    assert_eq!(
        scanned(subject, &schema, None).await,
        [
            "{\"id\":-9223372036854775808,\"price\":-0.000000001,\"is\":true,\"at\":\"0001-01-01T00:00:00Z\",\
             \"free\":{\"b\":[1,2.50]},\"numbers\":[1.5,-2,99999999999999999999999999999.999999999],\
             \"flags\":[true,null,false],\"days\":[\"2024-02-29T23:59:59.999999Z\"]}",
            "{\"id\":9223372036854775807,\"price\":12345678901234567890.123456789,\"is\":false,\
             \"at\":\"9999-12-31T23:59:59.999999Z\"}",
        ]
    );
}

/// Rejects are found by their id and by the digest of their row's key, in their table alone.
pub async fn finds_rejects_by_id_and_key(subject: &dyn Subject) {
    let destination = subject.destination();
    let wanted = ["k1".to_owned(), "k2".to_owned()];
    let none = destination.rejected_among("people", &wanted).await.expect("read");
    assert!(none.is_empty());
    let schema = people(WinnerRule::Sequence);
    let reject = |key: Option<&str>, record: &str| RejectedRow {
        stream: "people".into(),
        code: ReasonCode::WrongType,
        reason: "for the test".to_owned(),
        record: record.to_owned(),
        key_digest: key.map(str::to_owned),
        sequence: 1,
        table_version: 0,
        extracted_at: instant("2026-01-01T00:00:00Z"),
        occurrence: Occurrence::Uncounted,
        replays: None,
    };
    let mut rows = persons(&schema, &[("a", "2026-01-01T00:00:00Z", "A", &[])]);
    rows.rejects = vec![reject(Some("k1"), "one"), reject(None, "two")];
    let ids: Vec<String> = rows.rejects.iter().map(RejectedRow::id).collect();
    Script::new().schema(&schema).rows(rows).succeed(subject.destination()).await;
    let marks = ["k1".to_owned(), "k2".to_owned(), ids[1].clone(), "other".to_owned()];
    let found = destination.rejected_among("people", &marks).await.expect("read");
    assert_eq!(found, BTreeSet::from(["k1".to_owned(), ids[1].clone()]));
    assert!(destination.rejected_among("events", &marks).await.expect("read").is_empty());

    // A row that was replayed is no longer kept out by its reject.
    let claim = destination.claim(&request("replay")).await.expect("the schema is free");
    let mut unit = destination.begin(&claim).await.expect("a unit can begin");
    assert_eq!(unit.mark_replayed(&ids).await.expect("marked"), 2);
    unit.fence(&claim, &claim.memory).await.expect("the claim is ours");
    unit.commit().await.expect("committed");
    let found = destination.rejected_among("people", &marks).await.expect("read");
    assert_eq!(found, BTreeSet::from([ids[1].clone()]));
}
