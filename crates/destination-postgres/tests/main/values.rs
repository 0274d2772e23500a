//! Values: what goes in comes out, and what can't go in is known beforehand.

use std::sync::Arc;

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use replication::{
    arrow::{
        array::{
            Array, ArrayRef, BooleanArray, Decimal128Array, Int64Array, ListArray, StringArray,
            TimestampMicrosecondArray, new_null_array,
        },
        buffer::OffsetBuffer,
        compute::concat,
        datatypes::Field,
    },
    destination::Destination,
    reject::ReasonCode,
    row::{decimal_text, instant_text, render},
    stream::{
        Column, ColumnType, Method, NUMBER_PRECISION, NUMBER_SCALE, StreamName, StreamSchema,
        WinnerRule,
    },
    unit::TableLoad,
};

use crate::{
    loads::{Contact, commit, contact, contacts, load, request, schema, stamped},
    subject::Server,
};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[^\\x00]{0,12}",
        Just("\\N".to_owned()),
        Just("\\.".to_owned()),
        "[\\x01-\\x1f\"\\\\,{}|]{0,6}",
        "\\PC{200,400}",
    ]
}

fn row(id: usize) -> impl Strategy<Value = Contact> {
    let earliest = -62_135_596_800_000_000_i64;
    let latest = 253_402_300_799_999_999_i64;
    let instants = prop_oneof![earliest..=latest, Just(earliest), Just(latest), -3..3_i64];
    let limit = 10_i128.pow(38) - 1;
    let numbers = (-limit..=limit, 0..127_u32).prop_map(|(number, shift)| number >> shift);
    (
        prop::option::of(text()),
        prop::option::of(numbers),
        prop::option::of(instants),
        prop::option::of(prop::collection::vec(prop::option::of(text()), 0..5)),
    )
        .prop_map(move |(email, amount, modified, lists)| Contact {
            id: format!("{id:04}"),
            email,
            amount,
            modified,
            lists,
            sequence: 1,
        })
}

/// A row as the server's text functions show it, text in hexadecimal so that nothing about it is lost on the way here.
fn shown(row: &Contact) -> String {
    let hex = |text: &String| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let items = row.lists.iter().flatten().map(|item| item.as_ref().map_or("null".to_owned(), hex));
    let instant = |micros| instant_text(chrono::DateTime::from_timestamp_micros(micros).unwrap());
    [
        row.id.clone(),
        row.email.as_ref().map(hex).unwrap_or_default(),
        row.amount.map(decimal_text).unwrap_or_default(),
        row.modified.map(instant).unwrap_or_default(),
        items.collect::<Vec<_>>().join(","),
    ]
    .join("|")
}

#[tokio::test]
async fn every_value_comes_back_as_it_was_sent() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let mut runner = TestRunner::new(Config::default());
    for round in 0..6 {
        let rows: Vec<Contact> =
            (0..150).map(|id| row(id).new_tree(&mut runner).unwrap().current()).collect();
        let schema = schema(&format!("round {round}"), &["id"]);
        let outcome = commit(&postgres, &claim, &load(&schema, &rows)).await.unwrap();
        assert_eq!(outcome.inserted, 150);
        let stored = server.query(&format!(
            "select id, encode(convert_to(email, 'UTF8'), 'hex'), amount, \
             rtrim(rtrim(to_char(modified at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), '0'), '.') || 'Z', \
             (select string_agg(coalesce(encode(convert_to(value, 'UTF8'), 'hex'), 'null'), ',' \
             order by _sdc_level_0_id) from \"round {round}__listIds\" where _sdc_source_key_id = id) \
             from \"round {round}\" order by id"
        ));
        for (stored, row) in stored.lines().zip(&rows) {
            assert_eq!(stored, shown(row));
        }
        assert_eq!(stored.lines().count(), rows.len());
        // The same rows again, read back by the server itself, differ in nothing.
        let outcome = commit(&postgres, &claim, &load(&schema, &rows)).await.unwrap();
        assert_eq!((outcome.unchanged, outcome.growth), (150, 0));
    }
}

#[tokio::test]
async fn what_can_not_be_stored_is_known_beforehand() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    // Text that doesn't compress, so that only its length tells whether it fits an index.
    let mut state = 1_u64;
    let mut noise = |length: usize| -> String {
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap())
        };
        (0..length).map(next).collect()
    };
    let mut early = contact("early", "x", 1);
    early.modified = Some(-210_866_803_200_000_001);
    let mut earliest = contact("earliest", "x", 1);
    earliest.modified = Some(-210_866_803_200_000_000);
    let mut latest = contact("latest", "x", 1);
    latest.modified = Some(i64::MAX);
    let rows = [
        contact("fine", "x", 1).lists(&["y"]),
        contact("nul", "in\0side", 1),
        contact("nul\0", "x", 1),
        contact("list", "x", 1).lists(&["y", "\0"]),
        early,
        earliest,
        latest,
        contact(&noise(2_664), "x", 1).lists(&["y"]),
        contact(&noise(2_665), "x", 1),
    ];
    let mut load = load(&contacts(), &rows);
    let found: Vec<(usize, ReasonCode)> =
        postgres.unsupported(&load).into_iter().map(|row| (row.row, row.code)).collect();
    let mut sorted = found.clone();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        [
            (1, ReasonCode::UnsupportedCharacter),
            (2, ReasonCode::UnsupportedCharacter),
            (3, ReasonCode::UnsupportedCharacter),
            (4, ReasonCode::TimestampRange),
            (8, ReasonCode::TooLarge),
        ]
    );
    // Slices of the same arrays are judged by their own rows.
    let batch = load.rows[0].clone();
    load.rows = vec![batch.slice(0, 1), batch.slice(5, 3)];
    assert!(postgres.unsupported(&load).is_empty());
    assert_eq!(commit(&postgres, &claim, &load).await.unwrap().inserted, 4);
}

#[tokio::test]
async fn stored_rows_are_compared_and_shown_by_every_type() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let (schema, load) = all_types();
    assert_eq!(commit(&postgres, &claim, &load).await.unwrap().inserted, 2);
    assert_eq!(commit(&postgres, &claim, &load).await.unwrap().unchanged, 2);

    // Shown in the very form in which the core shows the rows of a load, so that the same row is the same reject
    // wherever it is found.
    let rendered = |row: usize| render(&schema, &load.rows[0], row);
    server.query("update \"everything\" set \"other text\" = 'changed'");
    let mut unit = postgres.begin(&claim).await.unwrap();
    let rivals = unit.rivals(&load).await.unwrap();
    let mut shown: Vec<String> = rivals
        .into_iter()
        .map(|mut rival| {
            rival.retain(|name, value| !value.is_null() && !name.starts_with("_sdc_"));
            serde_json::Value::Object(rival).to_string().replace("changed", "same")
        })
        .collect();
    shown.sort();
    assert_eq!(shown, [rendered(0), rendered(1)]);
    // The statements about the stage can be used again in the same unit.
    let outcome = unit.merge(&load).await.unwrap();
    assert_eq!((outcome.superseded, outcome.updated), (2, 0), "the sequence is the same");
    unit.rollback().await.unwrap();
}

/// Two rows of a stream that has columns, keys and arrays of every type.
fn all_types() -> (Arc<StreamSchema>, TableLoad) {
    let scalars = [
        ("integer", ColumnType::Integer),
        ("number", ColumnType::Number),
        ("boolean", ColumnType::Boolean),
        ("instant", ColumnType::Timestamp),
        ("text", ColumnType::Text),
        ("other text", ColumnType::Text),
        ("document", ColumnType::Json),
    ];
    let mut columns: Vec<Column> =
        scalars.iter().map(|(name, of)| Column::new(*name, of.clone())).collect();
    for (name, of) in &scalars {
        columns.push(Column::new(format!("{name}s"), ColumnType::List(Box::new(of.clone()))));
    }
    let schema = Arc::new(StreamSchema {
        stream: StreamName::from("everything"),
        columns,
        key: scalars[..5].iter().map(|(name, _)| (*name).to_owned()).collect(),
        replication_key: None,
        method: Method::Incremental,
        winner: WinnerRule::Sequence,
    });
    let document = "{\"b\":1.50,\"a\":[null,\"\\u0000\"]}";
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![i64::MIN, 7])),
        Arc::new(
            Decimal128Array::from(vec![-1, 1_250_000_000])
                .with_precision_and_scale(NUMBER_PRECISION, NUMBER_SCALE)
                .unwrap(),
        ),
        Arc::new(BooleanArray::from(vec![true, false])),
        Arc::new(TimestampMicrosecondArray::from(vec![500_000, -1]).with_timezone("UTC")),
        Arc::new(StringArray::from(vec!["", "quote\" and \\"])),
        Arc::new(StringArray::from(vec!["same", "same"])),
        Arc::new(StringArray::from(vec![Some(document), None])),
    ];
    // The first row's lists hold the whole column and a null, the second's are absent.
    let lists = arrays.iter().map(|array| -> ArrayRef {
        let items = concat(&[array, &new_null_array(array.data_type(), 1)]).unwrap();
        let field = Arc::new(Field::new("item", array.data_type().clone(), true));
        let offsets = OffsetBuffer::new(vec![0, 3, 3].into());
        Arc::new(ListArray::new(field, offsets, items, Some(vec![true, false].into())))
    });
    let columns: Vec<ArrayRef> = arrays.iter().cloned().chain(lists).collect();
    let load = stamped(&schema, columns, vec![1, 2]);
    (schema, load)
}
