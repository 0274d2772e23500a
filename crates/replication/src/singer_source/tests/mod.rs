//! Whole streams of messages against the events that they become.

#![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

mod faults;
mod order;
mod resumption;
mod straight;
mod values;

use std::{collections::BTreeMap, sync::Arc};

use chrono::DateTime;
use serde_json::{Value, json};
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

use super::SingerSource;
use crate::{
    clock::FixedClock,
    event::{self, Bookmark, Event, EventReceiver, RowBatch},
    progress::ProgressBoard,
    row,
    sequence::SequenceClock,
    source::{ExtractContext, ExtractOutcome, Source, SourceError},
    stream::StreamName,
};

const USERS: &str = r#"{"type":"SCHEMA","stream":"users","key_properties":["id"],"schema":{"properties":{
    "id":{"type":"integer"},"name":{"type":["string","null"]}}}}"#;

fn context(states: &[(&str, Value)]) -> (ExtractContext, EventReceiver) {
    let (events, receiver) = event::channel(64 << 20);
    let context = ExtractContext {
        state: states
            .iter()
            .map(|(stream, state)| (StreamName::from(*stream), state.clone()))
            .collect(),
        singer_state: None,
        start_date: None,
        sequence: Arc::new(SequenceClock::new(0)),
        events,
        stop: CancellationToken::new(),
        progress: Arc::new(ProgressBoard::default()),
        clock: Arc::new(FixedClock::new(DateTime::from_timestamp_nanos(1_000_000))),
    };
    (context, receiver)
}

/// Runs a whole input and gives the events that came out, and how it ended.
async fn run_with(
    input: &str,
    states: &[(&str, Value)],
) -> (Vec<Event>, Result<ExtractOutcome, SourceError>) {
    let (context, receiver) = context(states);
    let input = std::io::Cursor::new(input.to_owned().into_bytes());
    collect(Box::new(SingerSource::new(input, "test")), context, receiver).await
}

/// The same of a tap that goes on from the stored state.
async fn resume_with(input: &str, states: &[(&str, Value)]) -> Vec<Event> {
    let (context, receiver) = context(states);
    let input = std::io::Cursor::new(input.to_owned().into_bytes());
    let source = Box::new(SingerSource::new(input, "test").that_resumes());
    let (events, outcome) = collect(source, context, receiver).await;
    assert!(outcome.unwrap().failed.is_empty());
    events
}

async fn collect<R: AsyncRead + Unpin + Send + Sync + 'static>(
    source: Box<SingerSource<R>>,
    context: ExtractContext,
    mut receiver: EventReceiver,
) -> (Vec<Event>, Result<ExtractOutcome, SourceError>) {
    let mut told = context.state.clone();
    let extraction = tokio::spawn(source.extract(context));
    let mut events = Vec::new();
    while let Some(mut event) = receiver.receive().await {
        if !is_about_descriptions_alone(&mut event, &mut told) {
            events.push(event);
        }
    }
    (events, extraction.await.unwrap())
}

/// Takes the descriptions out of streams' own states: they have a test of their own. Says whether nothing is left.
fn is_about_descriptions_alone(event: &mut Event, told: &mut BTreeMap<StreamName, Value>) -> bool {
    let bookmarks = match event {
        Event::Bookmark(bookmark) => std::slice::from_mut(bookmark),
        Event::Bookmarks(bookmarks) => bookmarks.as_mut_slice(),
        _ => return false,
    };
    let mut is_news = bookmarks.is_empty();
    for bookmark in bookmarks {
        let Some(stream) = &bookmark.stream else {
            is_news = true;
            continue;
        };
        bookmark.state.as_object_mut().unwrap().remove("schema").unwrap();
        let before = told.insert(stream.clone(), bookmark.state.clone());
        is_news |= before.unwrap_or_else(|| json!({})) != bookmark.state;
    }
    !is_news
}

async fn run(lines: &[&str]) -> Vec<Event> {
    let (events, outcome) = run_with(&input(lines), &[]).await;
    assert!(outcome.unwrap().failed.is_empty());
    events
}

/// Lines of input; line ends inside a message are for the reader of the test.
fn input(lines: &[&str]) -> String {
    lines.iter().map(|line| line.replace('\n', "") + "\n").collect()
}

/// One line per event, as people read it.
fn notation(events: &[Event]) -> Vec<String> {
    let mut lines = Vec::new();
    for event in events {
        match event {
            Event::Schema(schema) => {
                let columns: Vec<_> = schema
                    .columns
                    .iter()
                    .map(|column| format!("{} {:?}", column.name, column.column_type))
                    .collect();
                lines.push(format!(
                    "schema {}({}) key {:?}",
                    schema.stream,
                    columns.join(", "),
                    schema.key
                ));
            }
            Event::Batch(batch) => {
                let version =
                    batch.version.map_or_else(String::new, |version| format!(" v{version}"));
                let stream = &batch.schema.stream;
                lines.extend(rows(batch).iter().map(|row| format!("{stream}{version} {row}")));
                lines.extend(batch.rejects.iter().map(|reject| {
                    format!(
                        "{stream}{version} rejected {}: {}: {}",
                        reject.code, reject.reason, reject.record
                    )
                }));
            }
            Event::Bookmark(bookmark) => lines.push(state(bookmark)),
            Event::Bookmarks(bookmarks) => {
                lines.push(bookmarks.iter().map(state).collect::<Vec<_>>().join(" with "));
            }
            Event::Retract { stream, after_sequence } => {
                lines.push(format!("retract {stream} after {after_sequence}"));
            }
            Event::Gap(_) => lines.push("gap".to_owned()),
            Event::BeginVersion { stream, version } => {
                lines.push(format!("begin {stream} v{version}"));
            }
            Event::ActivateVersion { stream, version, .. } => {
                lines.push(format!("activate {stream} v{version}"));
            }
        }
    }
    lines
}

fn state(bookmark: &Bookmark) -> String {
    match &bookmark.stream {
        Some(stream) => format!("state of {stream} {}", bookmark.state),
        None => format!("state {}", bookmark.state),
    }
}

fn rows(batch: &RowBatch) -> Vec<String> {
    (0..batch.rows.num_rows()).map(|index| row::render(&batch.schema, &batch.rows, index)).collect()
}

fn record(stream: &str, record: &str) -> String {
    format!(r#"{{"type":"RECORD","stream":"{stream}","record":{record}}}"#)
}

fn versioned(record: &str, version: i64) -> String {
    format!(r#"{{"type":"RECORD","stream":"users","record":{record},"version":{version}}}"#)
}

fn activation(version: i64) -> String {
    format!(r#"{{"type":"ACTIVATE_VERSION","stream":"users","version":{version}}}"#)
}
