//! What comes out in which order: rows, rejects, states, schemas, versions.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{USERS, activation, context, input, notation, record, rows, run, run_with, versioned};
use crate::{event::Event, singer_source::SingerSource, source::Source};

#[tokio::test]
async fn rows_states_and_schemas_keep_their_order() {
    let events = run(&[
        USERS,
        &record("users", r#"{"id":1,"name":"a"}"#),
        r#"{"type":"STATE","value":{"n":1}}"#,
        &record("users", r#"{"id":2}"#),
        r#"{"type":"STATE","value":{"n":2.50}}"#,
        r#"{"type":"STATE","value":{}}"#,
        USERS,
        &record("users", r#"{"name":null,"id":3}"#),
    ])
    .await;
    insta::assert_snapshot!(notation(&events).join("\n"), @r#"
    schema users(id Integer, name Text) key ["id"]
    users {"id":1,"name":"a"}
    users {"id":2}
    users {"id":3}
    state {"n":1} with state {"n":2.50} with state {}
    "#);
}

#[tokio::test]
async fn g09_a_changed_schema_comes_after_the_rows_of_the_old_one() {
    let changed = r#"{"type":"schema","stream":"users","key_properties":["id"],"schema":{"properties":{"id":{"type":"integer"},"age":{"type":"integer"}}}}"#;
    let events = run(&[
        USERS,
        &record("users", r#"{"id":1,"name":"a"}"#),
        changed,
        &record("users", r#"{"id":2,"age":3}"#),
    ])
    .await;
    insta::assert_snapshot!(notation(&events).join("\n"), @r#"
    schema users(id Integer, name Text) key ["id"]
    users {"id":1,"name":"a"}
    schema users(id Integer, age Integer) key ["id"]
    users {"id":2,"age":3}
    "#);
}

#[tokio::test]
async fn g13_a_state_comes_after_the_rows_of_all_streams() {
    let other = USERS.replace("users", "others");
    let events = run(&[
        USERS,
        &other,
        &record("others", r#"{"id":1}"#),
        &record("users", r#"{"id":1}"#),
        r#"{"type":"STATE","value":1}"#,
    ])
    .await;
    let lines = notation(&events);
    assert_eq!(&lines[2..], [r#"users {"id":1}"#, r#"others {"id":1}"#, "state 1"]);
}

/// A reject outranks the rows before it and yields to the rows after it.
#[tokio::test]
async fn rejects_keep_their_place_in_the_sequence() {
    let mut lines = vec![USERS.to_owned()];
    let good = [false, false, true, true, false, true, false, false, false, true, false];
    for (id, is_good) in good.iter().enumerate() {
        let name = if *is_good { r#""a""# } else { "1" };
        lines.push(record("users", &format!(r#"{{"id":{id},"name":{name}}}"#)));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut order = Vec::new();
    for event in run(&lines).await {
        let Event::Batch(batch) = event else { continue };
        assert_eq!(batch.reading.read as usize, batch.rows.num_rows() + batch.rejects.len());
        for (index, row) in rows(&batch).iter().enumerate() {
            order.push((batch.first_sequence + i64::try_from(index).unwrap(), 1, row.clone()));
        }
        order
            .extend(batch.rejects.iter().map(|reject| (reject.sequence, 0, reject.record.clone())));
    }
    order.sort();
    let mut sequences: Vec<_> =
        order.iter().map(|(sequence, is_good, _)| (*sequence, *is_good)).collect();
    sequences.dedup();
    assert_eq!(sequences.len(), good.len(), "no two rejects, and no two rows, share a sequence");
    let ids: Vec<usize> = order
        .iter()
        .map(|(_, _, record)| {
            serde_json::from_str::<Value>(record).unwrap()["id"]
                .as_u64()
                .unwrap()
                .try_into()
                .unwrap()
        })
        .collect();
    assert_eq!(ids, (0..good.len()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a01_rows_of_the_first_version_are_merged_as_they_come() {
    let events = run(&[
        USERS,
        &activation(7),
        &versioned(r#"{"id":1}"#, 7),
        r#"{"type":"STATE","value":1}"#,
        &versioned(r#"{"id":2}"#, 7),
        &activation(7),
    ])
    .await;
    insta::assert_snapshot!(notation(&events)[1..].join("\n"), @r#"
    state of users {"table_version":7}
    users {"id":1}
    users {"id":2}
    state 1
    "#);
}

#[tokio::test]
async fn a03_rows_of_a_new_version_wait_and_hold_states_back() {
    let lines = input(&[
        USERS,
        &versioned(r#"{"id":1}"#, 7),
        r#"{"type":"STATE","value":1}"#,
        &versioned(r#"{"id":1}"#, 8),
        r#"{"type":"STATE","value":2}"#,
        r#"{"type":"STATE","value":3}"#,
        &versioned(r#"{"id":2}"#, 8),
        &activation(8),
        &versioned(r#"{"id":3}"#, 8),
    ]);
    let (events, outcome) = run_with(&lines, &[("users", json!({"table_version": 7}))]).await;
    assert!(outcome.unwrap().failed.is_empty());
    insta::assert_snapshot!(notation(&events)[1..].join("\n"), @r#"
    users {"id":1}
    state 1
    begin users v8
    users v8 {"id":1}
    users v8 {"id":2}
    activate users v8
    state of users {"table_version":8}
    users {"id":3}
    state 3
    "#);
}

#[tokio::test]
async fn a02_a_version_that_is_never_activated_fails_its_stream_and_keeps_the_state_back() {
    let lines = input(&[USERS, &versioned(r#"{"id":1}"#, 8), r#"{"type":"STATE","value":2}"#]);
    let (events, outcome) = run_with(&lines, &[("users", json!({"table_version": 7}))]).await;
    assert_eq!(notation(&events)[1..], ["begin users v8", r#"users v8 {"id":1}"#]);
    let failed = outcome.unwrap().failed;
    assert_eq!(
        failed[0].1.to_string(),
        "Version 8 of `users` was never activated: the table keeps the rows that it had"
    );
}

#[tokio::test]
async fn a_start_over_is_activated_at_the_end_of_the_input() {
    let lines = input(&[
        USERS,
        &activation(8),
        &versioned(r#"{"id":1}"#, 8),
        r#"{"type":"STATE","value":2}"#,
    ]);
    let (events, outcome) = run_with(&lines, &[("users", json!({"table_version": 7}))]).await;
    assert!(outcome.unwrap().failed.is_empty());
    insta::assert_snapshot!(notation(&events)[1..].join("\n"), @r#"
    begin users v8
    users v8 {"id":1}
    activate users v8
    state of users {"table_version":8}
    state 2
    "#);
}

#[tokio::test]
async fn m06_a_stream_without_key_properties_is_keyless() {
    let events = run(&[
        r#"{"type":"SCHEMA","stream":"s","schema":{"properties":{"a":{"type":"string"}}}}"#,
        &record("s", "{}"),
    ])
    .await;
    assert_eq!(notation(&events), ["schema s(a Text) key []", "s {}"]);
}

#[tokio::test]
async fn g16_what_waits_is_sent_while_the_input_is_slow() {
    let (context, mut receiver) = context(&[]);
    let stop = context.stop.clone();
    let (mut tap, output) = tokio::io::duplex(1 << 16);
    let source =
        Box::new(SingerSource::new(output, "test").with_patience(Duration::from_millis(5)));
    let extraction = tokio::spawn(source.extract(context));
    let lines = input(&[USERS, &record("users", r#"{"id":1}"#), r#"{"type":"STATE","value":1}"#]);
    tap.write_all(lines.as_bytes()).await.unwrap();
    let mut events = Vec::new();
    while events.len() < 4 {
        events.push(receiver.receive().await.unwrap());
    }
    let notation = notation(&events);
    assert_eq!((notation[1].as_str(), notation[3].as_str()), (r#"users {"id":1}"#, "state 1"));
    tap.write_all(record("users", r#"{"id":2}"#).as_bytes()).await.unwrap();
    stop.cancel();
    assert!(extraction.await.unwrap().unwrap().interrupted);
    assert!(receiver.receive().await.is_none(), "half a line is not a row");
}

#[tokio::test]
async fn large_inputs_come_in_batches() {
    let mut lines = input(&[USERS]);
    for id in 0..25_000 {
        lines.push_str(&record("users", &format!(r#"{{"id":{id},"name":"n{id}"}}"#)));
        lines.push('\n');
    }
    let (events, outcome) = run_with(&lines, &[]).await;
    assert!(outcome.unwrap().failed.is_empty());
    let sizes: Vec<usize> = events
        .iter()
        .filter_map(|event| match event {
            Event::Batch(batch) => Some(batch.rows.num_rows()),
            _ => None,
        })
        .collect();
    assert_eq!(sizes.iter().sum::<usize>(), 25_000);
    assert!(sizes.iter().all(|rows| *rows <= 5_000) && sizes.len() <= 6, "{sizes:?}");
}

#[test]
fn standard_input_and_a_childs_output_are_sources() {
    fn is_source<S: Source>() {}
    is_source::<SingerSource<tokio::io::Stdin>>();
    is_source::<SingerSource<tokio::process::ChildStdout>>();
}

#[tokio::test]
async fn t29_each_row_keeps_the_time_of_its_extraction() {
    let timed = |id: u8, rest: &str| {
        format!(r#"{{"type":"RECORD","stream":"users","record":{{"id":{id}{rest}}},"#)
            + &format!(r#""time_extracted":"2026-01-0{id}T00:00:00Z"}}"#)
    };
    let lines = [
        USERS.to_owned(),
        timed(1, ""),
        timed(2, r#","name":5"#),
        timed(3, ""),
        record("users", r#"{"id":4}"#),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut times = Vec::new();
    for event in run(&lines).await {
        let Event::Batch(batch) = event else { continue };
        times.extend(batch.extracted_each.into_iter().flat_map(|each| each.values().to_vec()));
        let rejected = batch.rejects.iter().map(|reject| reject.extracted_at.timestamp_micros());
        times.extend(rejected);
    }
    let day = |day: i64| 1_767_225_600_000_000 + (day - 1) * 86_400_000_000;
    assert_eq!(times, [day(1), day(3), 1_000, day(2)]);
}

#[tokio::test]
async fn a01_rows_of_the_table_carry_its_version() {
    let lines = [USERS, &versioned(r#"{"id":1}"#, 5), &activation(5), &versioned(r#"{"id":2}"#, 5)];
    for event in run(&lines).await {
        if let Event::Batch(batch) = event {
            assert_eq!((batch.version, batch.table_version), (None, 5));
        }
    }
}
