//! What holds for every line that a tap can print.
//!
//! Reading it never panics, nor does reading the schema in it. What is accepted reads the same when it is written again,
//! and no beginning of it is accepted.

use chrono::SubsecRound;
use serde_json::Value;
use singer::{Message, MessageWriter, RecordFrame, RecordHeader, StreamSchema};

/// Checks all that holds for a line. Panics where it doesn't.
pub(crate) fn holds(line: &str) {
    let Ok(message) = Message::parse(line) else { return };
    if let Message::Schema(schema) = &message {
        drop(StreamSchema::read(&schema.schema));
    }
    let object = line.trim_ascii();
    let cuts = (0..16).map(|part| part * object.len() / 16).chain([object.len() - 1]);
    for cut in cuts.filter(|cut| object.is_char_boundary(*cut)) {
        assert!(Message::parse(&object[..cut]).is_err(), "the first {cut} bytes were taken");
    }
    let Some(again) = written(&message) else { return };
    assert_eq!(again.matches('\n').count(), 1, "one line a message");
    let again = Message::parse(&again).expect("what was written can be read");
    assert_eq!(contents(&message), contents(&again));
}

/// The message as this crate writes it; batches and unknown types it doesn't write.
fn written(message: &Message<'_>) -> Option<String> {
    let mut writer = MessageWriter::new(Vec::new());
    let outcome = match message {
        Message::Schema(schema) => writer.schema(schema),
        Message::Record(record) => {
            let header =
                RecordHeader { time_extracted: record.time_extracted, version: record.version };
            writer.record(&RecordFrame::new(&record.stream, header), |line| {
                // Line ends between tokens have no place in a line; inside strings they are escaped.
                let bytes = record.record.get().bytes();
                line.extend(bytes.filter(|byte| !matches!(byte, b'\n' | b'\r')));
            })
        }
        Message::State(state) => writer.state(&state.value),
        Message::ActivateVersion { stream, version } => writer.activate_version(stream, *version),
        _ => return None,
    };
    outcome.expect("a vector takes everything");
    let line = writer.finish().expect("a vector takes everything");
    Some(String::from_utf8(line).expect("lines are UTF-8"))
}

/// All that a message says, for comparison.
fn contents(message: &Message<'_>) -> (String, Option<Value>) {
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    match message {
        Message::Schema(schema) => {
            let (keys, bookmarks) = (schema.keys(), &schema.bookmark_properties);
            (format!("{} {keys:?} {bookmarks:?}", schema.stream), Some(schema.schema.clone()))
        }
        Message::Record(record) => {
            let time = record.time_extracted.map(|time| time.trunc_subsecs(6));
            let about = format!("{} {time:?} {:?}", record.stream, record.version);
            (about, json(record.record.get()))
        }
        Message::State(state) => (String::new(), json(state.value.get())),
        other => (format!("{other:?}"), None),
    }
}
