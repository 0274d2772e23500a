//! The lines of the protocol, read one at a time.
//!
//! A line is one JSON object with a `type`. Reading is lenient where leniency costs nothing (letter
//! case of the type, unknown further fields) and strict where a guess would lose data: a missing or
//! ill-typed field is an error. A record stays the text that arrived, so that whoever loads it
//! decodes it once, straight into columns, and can keep it whole if it doesn't fit.

mod envelope;

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use self::envelope::{Envelope, syntax_error};

/// One message, borrowed from its line.
#[derive(Debug)]
#[non_exhaustive]
pub enum Message<'line> {
    /// Describes the records of a stream that follow.
    Schema(SchemaMessage),
    /// One row of a stream.
    Record(RecordMessage<'line>),
    /// A position to come back to: everything before it was sent.
    State(StateMessage),
    /// From now on the stream's contents are its records of this version. In wide use, though the
    /// specification doesn't have it.
    ActivateVersion {
        /// The stream.
        stream: String,
        /// The version whose records stay.
        version: i64,
    },
    /// Records in files beside the stream; an extension of the Meltano SDK.
    Batch {
        /// The stream.
        stream: String,
        /// `jsonl`, `parquet` or `arrow`.
        format: String,
        /// `gzip` or `none`, if given.
        compression: Option<String>,
        /// The files' addresses, in order.
        manifest: Vec<String>,
    },
    /// A type that this crate doesn't know, which the specification allows.
    Unknown {
        /// The type as sent.
        kind: String,
    },
}

/// Describes the records of one stream; replaces an earlier description of the same stream.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaMessage {
    /// The stream.
    pub stream: String,
    /// The JSON Schema of its records.
    pub schema: Value,
    /// The fields that identify a row; empty for a stream without a key. `None` if the message
    /// lacks the field: the specification demands it, much software forgets it.
    pub key_properties: Option<Vec<String>>,
    /// The fields by which the stream is read incrementally.
    pub bookmark_properties: Vec<String>,
}

impl SchemaMessage {
    /// The key fields; none if the message didn't say.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        self.key_properties.as_deref().unwrap_or_default()
    }
}

/// One row, as the text that arrived.
#[derive(Debug)]
pub struct RecordMessage<'line> {
    /// The stream.
    pub stream: Cow<'line, str>,
    /// The row: the text of a JSON object, well-formed but otherwise unread.
    pub record: &'line RawValue,
    /// When the tap read the row from its source.
    pub time_extracted: Option<DateTime<Utc>>,
    /// The table version that the row belongs to.
    pub version: Option<i64>,
}

/// A position that the tap can start from again.
#[derive(Debug, Clone)]
pub struct StateMessage {
    /// Any JSON value; its shape is the tap's own business.
    pub value: Box<RawValue>,
}

/// What is wrong with a line. Never holds the line's contents.
///
/// Every kind is the fault of the program that wrote the line and trying again won't help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The line isn't JSON.
    #[error("The line is not valid JSON at column {column}")]
    NotJson {
        /// Where reading stopped, counted in bytes from 1.
        column: usize,
    },
    /// The line ends before its object does.
    #[error("The line ends in the middle of a message")]
    Truncated,
    /// The line is JSON, but not an object.
    #[error("The line is not a JSON object")]
    NotAnObject,
    /// A field that the message needs is missing.
    #[error("The {} has no `{field}`", subject(.kind, .stream.as_deref()))]
    MissingField {
        /// The type of the message.
        kind: &'static str,
        /// The stream, if the message names one.
        stream: Option<String>,
        /// The field.
        field: &'static str,
    },
    /// A field holds something that it can't.
    #[error("The `{field}` of the {} is not {expected}", subject(.kind, .stream.as_deref()))]
    InvalidField {
        /// The type of the message.
        kind: &'static str,
        /// The stream, if the message names one.
        stream: Option<String>,
        /// The field.
        field: &'static str,
        /// What would be right, such as `an object`.
        expected: &'static str,
    },
    /// A field that the protocol defines stands in the line twice.
    #[error("The message has more than one `{field}`")]
    RepeatedField {
        /// The field.
        field: &'static str,
    },
}

/// "SCHEMA message of stream `contact`", or as much of it as is known.
fn subject(kind: &str, stream: Option<&str>) -> String {
    let space = if kind.is_empty() { "" } else { " " };
    match stream {
        Some(stream) => format!("{kind}{space}message of stream `{stream}`"),
        None => format!("{kind}{space}message"),
    }
}

impl MessageError {
    /// What the operator can do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotJson { .. } | Self::NotAnObject => {
                "Check that the tap writes nothing but messages to its standard output: logs, \
                 banners and progress belong on standard error"
            }
            Self::Truncated => {
                "See the tap's own log for why it stopped, then run it again with its last state"
            }
            Self::MissingField { .. } | Self::InvalidField { .. } | Self::RepeatedField { .. } => {
                "The tap breaks the Singer protocol: use another version of it or report the \
                 fault to its authors"
            }
        }
    }
}

impl<'line> Message<'line> {
    /// Reads one line, with or without its line end.
    ///
    /// # Errors
    /// [`MessageError`] says what is wrong, by type, stream and field, without the contents.
    ///
    /// ```
    /// use singer::Message;
    ///
    /// let line = r#"{"type": "record", "stream": "contact", "record": {"id": 1.50}}"#;
    /// let Message::Record(row) = Message::parse(line)? else { unreachable!() };
    /// assert_eq!(row.stream, "contact");
    /// assert_eq!(row.record.get(), r#"{"id": 1.50}"#);
    /// # Ok::<(), singer::MessageError>(())
    /// ```
    pub fn parse(line: &'line str) -> Result<Self, MessageError> {
        match line.trim_ascii_start().as_bytes().first() {
            Some(b'{') => Envelope::parse(line)?.into_message(),
            None => Err(MessageError::Truncated),
            Some(_) => Err(match serde_json::from_str::<IgnoredAny>(line) {
                Ok(_) => MessageError::NotAnObject,
                Err(error) => syntax_error(&error),
            }),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(line: &str) -> String {
        Message::parse(line).unwrap_err().to_string()
    }

    #[test]
    fn m01_record_keeps_its_text() {
        let line = r#"{"type":"RECORD","stream":"a\u0062","record":{ "n": 1.2300e5 , "s":"\ud800"},
            "time_extracted":"2020-01-02T03:04:05.123456+02:00","version":7}"#;
        let Message::Record(record) = Message::parse(line).unwrap() else { panic!("not a record") };
        assert_eq!(record.stream, "ab");
        assert_eq!(record.record.get(), r#"{ "n": 1.2300e5 , "s":"\ud800"}"#);
        assert_eq!(record.time_extracted.unwrap().to_rfc3339(), "2020-01-02T01:04:05.123456+00:00");
        assert_eq!(record.version, Some(7));
    }

    #[test]
    fn m01_a_naive_extraction_time_is_refused() {
        let line =
            r#"{"type":"RECORD","stream":"s","record":{},"time_extracted":"2020-01-02T03:04:05"}"#;
        assert_eq!(
            error(line),
            "The `time_extracted` of the RECORD message of stream `s` is not an RFC 3339 time with an offset"
        );
    }

    #[test]
    fn m02_schema_with_keys_and_bookmarks() {
        let line = r#"{"type":"SCHEMA","stream":"s","schema":{"properties":{"z":{},"a":{}}},
            "key_properties":["z"],"bookmark_properties":["a"]}"#;
        let Message::Schema(schema) = Message::parse(line).unwrap() else { panic!("not a schema") };
        assert_eq!(schema.keys(), ["z"]);
        assert_eq!(schema.bookmark_properties, ["a"]);
        let properties = schema.schema["properties"].as_object().unwrap();
        assert_eq!(properties.keys().collect::<Vec<_>>(), ["z", "a"], "order is the tap's");
    }

    #[test]
    fn m03_state_is_any_value_digit_for_digit() {
        for value in ["{}", "null", "[1.10]", "\"x\"", "12345678901234567890.50"] {
            let line = format!(r#"{{"type":"STATE","value":{value}}}"#);
            let Message::State(state) = Message::parse(&line).unwrap() else {
                panic!("not a state")
            };
            assert_eq!(state.value.get(), value);
        }
    }

    #[test]
    fn m04_m05_versions_and_batches() {
        let line = r#"{"type":"ACTIVATE_VERSION","stream":"s","version":1700000000000}"#;
        assert!(matches!(
            Message::parse(line).unwrap(),
            Message::ActivateVersion { version: 1_700_000_000_000, .. }
        ));
        let line = r#"{"type":"BATCH","stream":"s","encoding":{"format":"jsonl"},"manifest":["file://a"]}"#;
        assert!(matches!(
            Message::parse(line).unwrap(),
            Message::Batch { compression: None, manifest, .. } if manifest == ["file://a"]
        ));
    }

    #[test]
    fn m06_missing_key_properties_are_told_from_none() {
        let keys = |rest: &str| {
            let line = format!(r#"{{"type":"SCHEMA","stream":"s","schema":{{}}{rest}}}"#);
            match Message::parse(&line) {
                Ok(Message::Schema(schema)) => schema.key_properties,
                other => panic!("not a schema: {other:?}"),
            }
        };
        assert_eq!(keys(""), None);
        assert_eq!(keys(r#","key_properties":null"#), None);
        assert_eq!(keys(r#","key_properties":[]"#), Some(vec![]));
    }

    #[test]
    fn w04_an_unknown_type_is_not_an_error() {
        let message = Message::parse(r#"{"type":"HEARTBEAT","at":1}"#).unwrap();
        assert!(matches!(message, Message::Unknown { kind } if kind == "HEARTBEAT"));
    }

    #[test]
    fn w08_unknown_fields_are_ignored() {
        let line = r#"{"extra":{"deep":[1]},"type":"STATE","value":1,"more":null}"#;
        assert!(matches!(Message::parse(line).unwrap(), Message::State(_)));
    }

    #[test]
    fn w09_errors_name_what_is_wrong_and_no_contents() {
        let cases = [
            ("", "The line ends in the middle of a message"),
            ("  \r\n", "The line ends in the middle of a message"),
            (
                r#"{"type":"RECORD","stream":"s","record":{"secret":"#,
                "The line ends in the middle of a message",
            ),
            ("secret", "The line is not valid JSON at column 1"),
            ("[1]", "The line is not a JSON object"),
            ("{} {}", "The line is not valid JSON at column 4"),
            ("{}", "The message has no `type`"),
            (r#"{"type":1}"#, "The `type` of the message is not a string"),
            (r#"{"type":"record","record":{}}"#, "The RECORD message has no `stream`"),
            (
                r#"{"type":"RECORD","stream":"s"}"#,
                "The RECORD message of stream `s` has no `record`",
            ),
            (
                r#"{"type":"RECORD","stream":"s","record":["secret"]}"#,
                "The `record` of the RECORD message of stream `s` is not an object",
            ),
            (
                r#"{"type":"RECORD","stream":"s","record":{},"version":1.5}"#,
                "The `version` of the RECORD message of stream `s` is not a whole number of 64 bits",
            ),
            (
                r#"{"type":"SCHEMA","stream":"s","schema":true}"#,
                "The `schema` of the SCHEMA message of stream `s` is not an object",
            ),
            (
                r#"{"type":"SCHEMA","stream":"s","schema":{},"key_properties":"id"}"#,
                "The `key_properties` of the SCHEMA message of stream `s` is not a list of strings",
            ),
            (r#"{"type":"STATE"}"#, "The STATE message has no `value`"),
            (r#"{"type":"STATE","value":1,"value":2}"#, "The message has more than one `value`"),
        ];
        for (line, expected) in cases {
            assert_eq!(error(line), expected, "{line}");
            assert!(!Message::parse(line).unwrap_err().remedy().is_empty());
        }
    }

    proptest! {
        #[test]
        fn w03_types_in_any_letter_case(mask in proptest::collection::vec(any::<bool>(), 16)) {
            for (kind, rest) in [
                ("SCHEMA", r#""stream":"s","schema":{}"#),
                ("RECORD", r#""stream":"s","record":{}"#),
                ("STATE", r#""value":{}"#),
                ("ACTIVATE_VERSION", r#""stream":"s","version":1"#),
            ] {
                let kind: String = kind
                    .chars()
                    .zip(&mask)
                    .map(|(letter, lower)| if *lower { letter.to_ascii_lowercase() } else { letter })
                    .collect();
                let line = format!(r#"{{"type":"{kind}",{rest}}}"#);
                let is_unknown = matches!(Message::parse(&line).unwrap(), Message::Unknown { .. });
                prop_assert!(!is_unknown);
            }
        }

        #[test]
        fn never_panics(line in "\\PC{0,60}") {
            drop(Message::parse(&line));
        }
    }
}
