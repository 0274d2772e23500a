//! Rows without a key, of a tap that goes on from the stored state: which ones are taken back, and what is stored so that
//! this is known.

use serde_json::{Value, json};

use super::{USERS, activation, context, input, notation, record, resume_with, versioned};
use crate::{
    event::{Bookmark, Event},
    singer_source::SingerSource,
    source::Source,
};

const STATE: &str = r#"{"type":"STATE","value":{"n":1}}"#;

fn keyless() -> String {
    USERS.replace(r#"["id"]"#, "[]")
}

/// The sequence of every batch's first row.
fn sequences(events: &[Event]) -> Vec<i64> {
    let first = |event: &Event| match event {
        Event::Batch(batch) => Some(batch.first_sequence),
        _ => None,
    };
    events.iter().filter_map(first).collect()
}

#[tokio::test]
async fn what_a_state_covers_is_stored_with_it() {
    let lines =
        [&keyless(), &record("users", r#"{"id":1}"#), STATE, &record("users", r#"{"id":2}"#)];
    let events = resume_with(&input(&lines), &[]).await;
    assert_eq!(sequences(&events), [1_000_000, 1_000_002]);
    insta::assert_snapshot!(notation(&events).join("\n"), @r#"
    schema users(id Integer, name Text) key []
    state of users {"covered_sequence":0}
    users {"id":1}
    users {"id":2}
    state of users {"covered_sequence":1000001} with state {"n":1}
    "#);
}

#[tokio::test]
async fn states_that_gathered_are_stored_with_what_the_last_one_covers_or_not_at_all() {
    let (one, two) = (record("users", r#"{"id":1}"#), record("users", r#"{"id":2}"#));
    let later = STATE.replace('1', "2");
    let events = resume_with(&input(&[&keyless(), &one, STATE, &two, &later]), &[]).await;
    insta::assert_snapshot!(notation(&events).join("\n"), @r#"
    schema users(id Integer, name Text) key []
    state of users {"covered_sequence":0}
    users {"id":1}
    users {"id":2}
    state of users {"covered_sequence":1000003} with state {"n":1} with state {"n":2}
    "#);
}

#[tokio::test]
async fn what_no_state_covers_is_taken_back() {
    let stored = [("users", json!({"covered_sequence": 77}))];
    let events = resume_with(&input(&[&keyless()]), &stored).await;
    insta::assert_snapshot!(notation(&events).join("\n"), @r"
    schema users(id Integer, name Text) key []
    retract users after 77
    ");
    let keyed = resume_with(&input(&[USERS]), &stored).await;
    assert_eq!(notation(&keyed).len(), 1, "rows with a key are recognised when they come again");
}

#[tokio::test]
async fn a_tap_without_states_appends_as_ever() {
    let lines = input(&[&keyless(), &record("users", r#"{"id":1}"#)]);
    let events = resume_with(&lines, &[]).await;
    insta::assert_snapshot!(notation(&events).join("\n"), @r#"
    schema users(id Integer, name Text) key []
    state of users {"covered_sequence":0}
    users {"id":1}
    state of users {"covered_sequence":1000001}
    "#);
}

#[tokio::test]
async fn nothing_is_taken_back_while_a_version_replaces_the_table() {
    let lines = [&keyless(), &versioned(r#"{"id":1}"#, 8), &activation(8), STATE];
    let stored = [("users", json!({"table_version": 7, "covered_sequence": 77}))];
    let events = resume_with(&input(&lines), &stored).await;
    insta::assert_snapshot!(notation(&events).join("\n"), @r#"
    schema users(id Integer, name Text) key []
    retract users after 77
    state of users {"table_version":7,"covered_sequence":9223372036854775807}
    begin users v8
    users v8 {"id":1}
    activate users v8
    state of users {"table_version":8,"covered_sequence":1000001} with state {"n":1}
    "#);
    let stored = [("users", json!({"table_version": 7, "covered_sequence": i64::MAX}))];
    let events = resume_with(&input(&[&keyless()]), &stored).await;
    assert!(!notation(&events).iter().any(|event| event.starts_with("retract")));
}

#[tokio::test]
async fn an_activated_version_is_covered_by_a_state_and_by_nothing_else() {
    let rows = [8, 8, 8].map(|version| versioned(r#"{"id":1}"#, version));
    let lines = [&keyless(), &rows[0], STATE, &rows[1], &activation(8), &rows[2]];
    let stored = [("users", json!({"table_version": 7, "covered_sequence": 77}))];
    let events = resume_with(&input(&lines), &stored).await;
    insta::assert_snapshot!(notation(&events)[3..].join("\n"), @r#"
    begin users v8
    users v8 {"id":1}
    users v8 {"id":1}
    activate users v8
    users {"id":1}
    state of users {"table_version":8,"covered_sequence":1000001} with state {"n":1}
    "#);
}

#[tokio::test]
async fn how_the_tap_describes_a_stream_is_stored_with_its_first_rows() {
    let described = async |states: &[(&str, Value)], lines: &[&str]| {
        let (context, mut receiver) = context(states);
        let input = std::io::Cursor::new(input(lines).into_bytes());
        let source = Box::new(SingerSource::new(input, "test"));
        let extraction = tokio::spawn(source.extract(context));
        let mut stored = Vec::new();
        while let Some(event) = receiver.receive().await {
            if let Event::Bookmark(Bookmark { stream: Some(_), state, .. }) = event {
                stored.push(state);
            }
        }
        extraction.await.unwrap().unwrap();
        stored
    };
    let row = record("users", r#"{"id":1}"#);
    assert!(described(&[], &[USERS]).await.is_empty(), "without rows nothing is stored");
    let stored = described(&[], &[USERS, &row]).await;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0]["schema"]["key_properties"], json!(["id"]));
    assert_eq!(stored[0]["schema"]["schema"]["properties"]["id"], json!({ "type": "integer" }));
    assert!(described(&[("users", stored[0].clone())], &[USERS, &row]).await.is_empty());
    let wider = USERS.replace(r#""integer""#, r#""number""#);
    let after = described(&[("users", stored[0].clone())], &[&wider, &row]).await;
    assert_eq!(after[0]["schema"]["schema"]["properties"]["id"], json!({ "type": "number" }));
}
