//! Input that breaks the protocol.

use super::{USERS, activation, context, input, notation, record, run, run_with};
use crate::{
    singer_source::SingerSource,
    source::{Source, SourceErrorKind},
};

/// What is wrong with an input, and what was sent before.
async fn failure(lines: &[&str]) -> (String, usize) {
    let (events, outcome) = run_with(&input(lines), &[]).await;
    let error = outcome.unwrap_err();
    assert!(!error.remedy.is_empty());
    let cause = error.cause.as_ref().map_or_else(String::new, |cause| format!(": {cause}"));
    (format!("{error}{cause}"), events.len())
}

#[tokio::test]
async fn w09_broken_input_ends_the_run_after_what_came_before() {
    let good = record("users", r#"{"id":1}"#);
    let sent = 2;
    assert_eq!(
        failure(&[USERS, &good, r#"{"type":"RECORD","stream":"users"}"#]).await,
        ("Line 3 of the Singer stream can't be used: The RECORD message of stream `users` has no `record`".to_owned(), sent)
    );
    assert_eq!(
        failure(&[USERS, &good, r#"{"type":"RECORD","stream":"users","record":{"id":"#]).await,
        (
            "Line 3 of the Singer stream can't be used: The line ends in the middle of a message"
                .to_owned(),
            sent
        )
    );
    assert_eq!(
        failure(&[USERS, &good, r#"{"type":"RECORD","stream":"users","record":{"id":NaN},}"#])
            .await,
        (
            "Line 3 of the Singer stream can't be used: The line is not valid JSON at column 50"
                .to_owned(),
            sent
        )
    );
    assert_eq!(
        failure(&[USERS, &activation(7), &activation(6)]).await,
        ("Line 3 of the Singer stream can't be used: Version 6 came after version 7 was activated".to_owned(), 2)
    );
}

#[tokio::test]
async fn m07_a_record_needs_a_schema() {
    assert_eq!(
        failure(&[&record("users", "{}")]).await.0,
        "Line 1 is about stream `users`, which no SCHEMA message has described"
    );
}

#[tokio::test]
async fn m02_m08_schemas_that_cannot_be_loaded_are_named() {
    let schema = |rest: &str| format!(r#"{{"type":"SCHEMA","stream":"s","schema":{{{rest}"#);
    let cases = [
        (r#""type":"object"},"key_properties":[]}"#, "The schema has no object `properties`"),
        (
            r#""properties":{}},"key_properties":["id"]}"#,
            "The key field `id` is not a field of the schema",
        ),
        (
            r#""properties":{"id":{"type":["string","integer"]}}},"key_properties":["id"]}"#,
            "The key field `id` can hold other values than plain ones of one type",
        ),
    ];
    for (rest, cause) in cases {
        let expected = format!("Stream `s`, described in line 1, can't be loaded: {cause}");
        assert_eq!(failure(&[&schema(rest)]).await.0, expected);
    }
    let nameless = USERS.replace("users", "");
    assert_eq!(
        failure(&[&nameless]).await.0,
        "Stream ``, described in line 1, can't be loaded: The stream has no name"
    );
}

#[tokio::test]
async fn b01_batch_messages_are_refused_by_name() {
    let batch = r#"{"type":"BATCH","stream":"s","encoding":{"format":"jsonl"},"manifest":[]}"#;
    assert_eq!(
        failure(&[batch]).await.0,
        "Stream `s` comes in BATCH messages, which can't be loaded"
    );
}

#[tokio::test]
async fn w04_unknown_messages_are_passed_over() {
    let events =
        run(&[r#"{"type":"PING"}"#, r#"{"type":"PING"}"#, "", r#"{"type":"STATE","value":1}"#])
            .await;
    assert_eq!(notation(&events), ["state 1"]);
}

#[tokio::test]
async fn a_loader_that_went_away_ends_the_source() {
    let (context, receiver) = context(&[]);
    drop(receiver);
    let source =
        Box::new(SingerSource::new(std::io::Cursor::new(input(&[USERS]).into_bytes()), "test"));
    assert_eq!(source.extract(context).await.unwrap_err().kind, SourceErrorKind::LoaderGone);
}
