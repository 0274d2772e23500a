//! Rows that leave as lines are the rows that leave as columns: the same are kept, and they have the same text.

#![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

use bronto_client::Room;
use chrono::DateTime;
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    custom_fields::{CustomField, FieldKind},
    lines,
    rendering::{BatchColumns, RecordShape},
    seen::{SeenRows, Settled},
};

/// What a decoder may tell of a row.
#[derive(Clone, Debug)]
enum Call {
    Value(usize, String),
    Custom(usize, String),
}

/// A row, whether it decodes, and whether it is emitted if it is kept.
type Row = (Vec<Call>, bool, bool);

/// Texts that are read as something, and such as look like it.
fn text() -> impl Strategy<Value = String> {
    let hostile = select(vec![
        "",
        " ",
        "\"",
        "\\",
        "\u{0}\u{1f}\u{7f}",
        "é\u{2028}\u{1F600}",
        "a\"b\\c\r\n\t",
        "null",
        "[",
        "]",
        ",",
        "{}",
    ]);
    let numbers = select(vec![
        "0",
        "-0",
        "007",
        "+5",
        ".5",
        "5.",
        "89.90",
        "1.50E3",
        "+1.E-3",
        "1e400",
        "NaN",
        "-INF",
        " 12 ",
        "123456789012345678",
        "1234567890123456789",
        "9223372036854775808",
        "0.0000000001",
        "1,000",
    ]);
    let dates = select(vec![
        "2019-03-04T14:05:09.120-05:00",
        "2019-03-04T14:05:09Z",
        "2019-03-04T14:05:09.1234567Z",
        "2019-03-04T14:05:09.123456000+00:00",
        "2019-03-04T14:05:09",
        " 2019-03-04T24:00:00-00:00\n",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999-14:00",
        "2019-02-29T00:00:00Z",
        "2019-03-04",
    ]);
    let booleans = select(vec!["true", "false", "1", "0", "TRUE"]);
    prop_oneof![
        2 => hostile.prop_map(str::to_owned),
        3 => numbers.prop_map(str::to_owned),
        3 => dates.prop_map(str::to_owned),
        2 => booleans.prop_map(str::to_owned),
        2 => vec(any::<char>(), 0..20).prop_map(String::from_iter),
        1 => "[a-z]{0,40}",
    ]
}

/// A text that is fit for the field, or any.
fn text_for(kind: Kind) -> BoxedStrategy<String> {
    let fit: BoxedStrategy<String> = match kind {
        Kind::DateTime => "20[0-9]{2}-0[1-9]-[0-2][1-8]T[01][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|-05:00|)".boxed(),
        Kind::Boolean => select(vec!["true", "false", "1", "0"]).prop_map(str::to_owned).boxed(),
        Kind::Integer => "[0-9]{1,6}".boxed(),
        Kind::Float | Kind::Decimal => "[0-9]{1,6}(\\.[0-9]{1,4})?".boxed(),
        _ => text().boxed(),
    };
    prop_oneof![30 => fit, 1 => text()].boxed()
}

const CUSTOM: [FieldKind; 5] =
    [FieldKind::Text, FieldKind::Number, FieldKind::Date, FieldKind::Boolean, FieldKind::Number];

fn custom_fields() -> Arc<CustomColumns> {
    let field = |(at, kind): (usize, &FieldKind)| CustomField {
        id: format!("id-{at}"),
        column: format!("column \"{at}\""),
        kind: *kind,
        name: String::new(),
        bronto_type: String::new(),
        label: String::new(),
    };
    Arc::new(CustomColumns::new(CUSTOM.iter().enumerate().map(field).collect()))
}

/// The calls of one row: mostly in the order of the table, and as the decoder makes them, only lists more than once.
fn row(stream: BrontoStream) -> impl Strategy<Value = Row> {
    let fields = stream.object().fields;
    let value = (0..fields.len()).prop_flat_map(move |field| {
        text_for(fields[field].kind).prop_map(move |text| Call::Value(field, text))
    });
    let custom = (0..CUSTOM.len() + 1, text()).prop_map(|(at, text)| Call::Custom(at, text));
    let call = if stream == BrontoStream::Contact {
        prop_oneof![6 => value, 1 => custom].boxed()
    } else {
        value.boxed()
    };
    let key = stream.key().first().and_then(|name| stream.object().index_of(name));
    (vec(call, 0..24), prop::bool::weighted(0.8), prop::bool::weighted(0.95), any::<bool>())
        .prop_map(move |(mut calls, in_order, decodes, is_fresh)| {
            calls.extend(key.map(|key| Call::Value(key, "key".to_owned())));
            if in_order {
                calls.sort_by_key(|call| match call {
                    Call::Value(field, _) => *field,
                    Call::Custom(at, _) => fields.len() + at,
                });
            }
            let mut seen = Vec::new();
            calls.retain(|call| match call {
                Call::Value(field, _) if !fields[*field].kind.is_repeated() => {
                    let is_first = !seen.contains(field);
                    seen.push(*field);
                    is_first
                }
                Call::Value(field, _) => fields[*field].kind == Kind::TextList,
                Call::Custom(..) => true,
            });
            (calls, decodes, is_fresh)
        })
}

fn selection(stream: BrontoStream, chosen: &[bool]) -> SelectedStream {
    let columns = stream.columns();
    let names = columns.iter().zip(chosen.iter().cycle());
    let names = names.filter(|(_, is_chosen)| **is_chosen).map(|(column, _)| column.name);
    SelectedStream::with_columns(stream, names).unwrap()
}

/// What became of a page.
#[derive(Debug, PartialEq)]
struct Outcome {
    counts: PageCounts,
    marks: Vec<RowMark>,
    rejects: Vec<PageReject>,
    lines: String,
}

fn give(sink: &mut PageSink, rows: &[Row]) {
    for (at, (calls, decodes, _)) in rows.iter().enumerate() {
        for call in calls {
            match call {
                Call::Value(field, text) => {
                    let follows =
                        &"</of a document><that goes on for more than a chunk>"[..at % 50];
                    let content = format!("{text}{follows}");
                    match PlainText::new(&content, text.len()) {
                        Some(text) if at % 3 > 0 => sink.plain_value(*field, text),
                        _ => sink.value(*field, text),
                    }
                }
                Call::Custom(id, content) => sink.custom_field(&format!("id-{id}"), content),
            }
        }
        let raw = format!("<row {at}>");
        match decodes {
            true => sink.end_row(&raw),
            false => sink.reject_row(&raw, &RowDefect::StrayText),
        }
    }
}

fn outcome(sink: &mut PageSink, selected: &SelectedStream, rows: &[Row]) -> Outcome {
    give(sink, rows);
    let page = sink.take();
    let stream = selected.stream();
    let mut settled = match stream.is_activity() {
        true => SeenRows::default().settle(&page, sink.scheme),
        false => Settled::without_ids(vec![true; page.counts.kept]),
    };
    for (fresh, (_, _, is_fresh)) in settled.fresh.iter_mut().zip(rows) {
        *fresh &= is_fresh;
    }
    let mut schema = selected.schema(NumberForm::Lexeme);
    if stream == BrontoStream::Contact {
        custom_fields().extend(&mut schema, NumberForm::Lexeme);
    }
    let time = DateTime::from_timestamp(1_767_323_045, 7_890_000).unwrap();
    let batch = page.built.batch(&schema, &settled, time, Room::default).unwrap();
    let fresh = settled.fresh.iter().filter(|fresh| **fresh).count();
    assert_eq!(batch.num_rows(), fresh);
    let rendered = || {
        let header = singer::RecordHeader { time_extracted: Some(time), version: None };
        let frame = singer::RecordFrame::new(stream.name(), header);
        let mut writer = singer::MessageWriter::new(Vec::new());
        let (shape, columns) = (RecordShape::new(&schema), BatchColumns::new(&schema, &batch));
        for row in 0..batch.num_rows() {
            writer.record(&frame, |line| shape.render(&columns, row, line)).unwrap();
        }
        writer.finish().unwrap()
    };
    let lines = lines::in_batch(&batch).map_or_else(rendered, <[u8]>::to_vec);
    Outcome {
        counts: page.counts,
        marks: page.marks,
        rejects: page.rejects,
        lines: String::from_utf8(lines).unwrap(),
    }
}

fn check(
    stream: BrontoStream,
    chosen: &[bool],
    pages: &[Vec<Row>],
    is_cleared: bool,
) -> Result<(), TestCaseError> {
    let selected = selection(stream, chosen);
    let day = |text: &str| format!("{text}T00:00:00Z").parse().unwrap();
    let window = Window::new(day("2010-01-01"), day("2090-01-01"));
    let custom = if stream == BrontoStream::Contact { custom_fields() } else { Arc::default() };
    let mut sinks = [RowForm::Columns(NumberForm::Lexeme), RowForm::Lines].map(|form| {
        let mut sink = PageSink::new(&selected, &custom, IdScheme::Lossless, form);
        sink.set_window(Some(window));
        sink
    });
    for rows in pages {
        if is_cleared {
            for sink in &mut sinks {
                sink.value(0, "of a try that failed");
                sink.clear();
            }
        }
        let [columns, lines] = sinks.each_mut().map(|sink| outcome(sink, &selected, rows));
        prop_assert_eq!(&columns, &lines);
        prop_assert_eq!(keys_of_look(&mut sinks[1], rows), keys_of_read(&columns));
    }
    Ok(())
}

/// How many rows were outside of the window, and the keys of the others that could be read.
type Keys = (u64, u64, Option<i64>, Vec<Digest16>);

fn keys_of_read(outcome: &Outcome) -> Keys {
    let rejected = outcome.rejects.iter().filter_map(|reject| reject.mark.as_ref());
    let mut keys: Vec<_> = outcome.marks.iter().chain(rejected).map(|mark| mark.key).collect();
    keys.sort_unstable();
    let PageCounts { read, out_of_window, earliest_outside, .. } = outcome.counts;
    (read, out_of_window, earliest_outside, keys)
}

/// The same of rows that are only looked at.
fn keys_of_look(sink: &mut PageSink, rows: &[Row]) -> Keys {
    sink.set_looking(true);
    give(sink, rows);
    let page = sink.take();
    sink.set_looking(false);
    assert!(page.rejects.iter().all(|reject| reject.mark.is_none()), "none is judged");
    assert_eq!(page.counts.kept, page.marks.len());
    let lines = String::new();
    keys_of_read(&Outcome { counts: page.counts, marks: page.marks, rejects: page.rejects, lines })
}

fn pages(stream: BrontoStream) -> impl Strategy<Value = Vec<Vec<Row>>> {
    vec(vec(row(stream), 0..6), 1..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn contacts_are_the_same_in_both_forms(
        chosen in vec(prop::bool::weighted(0.7), 1..60),
        pages in pages(BrontoStream::Contact),
        is_cleared in any::<bool>(),
    ) {
        check(BrontoStream::Contact, &chosen, &pages, is_cleared)?;
    }

    #[test]
    fn activities_are_the_same_in_both_forms(
        chosen in vec(prop::bool::weighted(0.7), 1..60),
        pages in pages(BrontoStream::OutboundActivity),
        is_cleared in any::<bool>(),
    ) {
        check(BrontoStream::OutboundActivity, &chosen, &pages, is_cleared)?;
    }
}

/// The values of a list come between others, and later than their turn.
#[test]
fn values_that_come_late_are_in_their_places() {
    let value = |name: &str, text: &str| {
        Call::Value(BrontoStream::Contact.object().index_of(name).unwrap(), text.to_owned())
    };
    let calls = vec![
        value("status", "active"),
        value("listIds", "a"),
        value("segmentIds", "s"),
        value("listIds", "b"),
        value("numSends", "3"),
        value("id", "key"),
        value("listIds", "c"),
        value("segmentIds", "\""),
    ];
    let selected = SelectedStream::with_columns(
        BrontoStream::Contact,
        ["listIds", "segmentIds", "status", "numSends"],
    )
    .unwrap();
    let mut sink = PageSink::new(&selected, &Arc::default(), IdScheme::Lossless, RowForm::Lines);
    let plain = vec![value("id", "plain"), value("status", "x")];
    let rows = [(calls, true, true), (plain, true, true)];
    let found = outcome(&mut sink, &selected, &rows).lines;
    insta::assert_snapshot!(found, @r#"
    {"type":"RECORD","stream":"contact","record":{"id":"key","status":"active","modified":null,"listIds":["a","b","c"],"segmentIds":["s","\""],"numSends":3},"time_extracted":"2026-01-02T03:04:05.007890Z"}
    {"type":"RECORD","stream":"contact","record":{"id":"plain","status":"x","modified":null,"listIds":null,"segmentIds":null,"numSends":null},"time_extracted":"2026-01-02T03:04:05.007890Z"}
    "#);
}
