//! Takes a line apart into its fields and builds a message from them.
//!
//! Every value stays text until the type of the message is known: fields may come in any order, and
//! only those that the message needs are read.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Message, MessageError, RecordMessage, SchemaMessage, StateMessage};

pub(super) fn syntax_error(error: &serde_json::Error) -> MessageError {
    if error.is_eof() {
        MessageError::Truncated
    } else {
        MessageError::NotJson { column: error.column() }
    }
}

/// The fields that any message may have; each value is still text.
const FIELDS: [&str; 11] = [
    "type",
    "stream",
    "record",
    "time_extracted",
    "version",
    "value",
    "schema",
    "key_properties",
    "bookmark_properties",
    "encoding",
    "manifest",
];

/// A line taken apart into the texts of its fields, in the order of [`FIELDS`].
#[derive(Default)]
pub(super) struct Envelope<'line>([Option<&'line RawValue>; FIELDS.len()]);

impl<'line> Envelope<'line> {
    pub(super) fn parse(line: &'line str) -> Result<Self, MessageError> {
        let mut repeated = None;
        let mut deserializer = serde_json::Deserializer::from_str(line);
        let envelope = deserializer
            .deserialize_map(EnvelopeVisitor { repeated: &mut repeated })
            .and_then(|envelope| deserializer.end().map(|()| envelope));
        match (envelope, repeated) {
            (_, Some(field)) => Err(MessageError::RepeatedField { field }),
            (Ok(envelope), None) => Ok(envelope),
            (Err(error), None) => Err(syntax_error(&error)),
        }
    }

    pub(super) fn into_message(self) -> Result<Message<'line>, MessageError> {
        let stream = match self.field("stream") {
            Some(text) => text_of(text),
            None => None,
        };
        let kind = Fields { envelope: &self, kind: "", stream: stream.as_deref() }
            .required("type", "a string", text_of)?;
        let fields = |kind| Fields { envelope: &self, kind, stream: stream.as_deref() };
        if kind.eq_ignore_ascii_case("RECORD") {
            fields("RECORD").record().map(Message::Record)
        } else if kind.eq_ignore_ascii_case("STATE") {
            fields("STATE").state().map(Message::State)
        } else if kind.eq_ignore_ascii_case("SCHEMA") {
            fields("SCHEMA").schema().map(Message::Schema)
        } else if kind.eq_ignore_ascii_case("ACTIVATE_VERSION") {
            fields("ACTIVATE_VERSION").activate_version()
        } else if kind.eq_ignore_ascii_case("BATCH") {
            fields("BATCH").batch()
        } else {
            Ok(Message::Unknown { kind: kind.into_owned() })
        }
    }

    fn field(&self, name: &str) -> Option<&'line RawValue> {
        let index = FIELDS.iter().position(|field| *field == name)?;
        self.0[index]
    }
}

struct EnvelopeVisitor<'a> {
    repeated: &'a mut Option<&'static str>,
}

impl<'line> Visitor<'line> for EnvelopeVisitor<'_> {
    type Value = Envelope<'line>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a Singer message")
    }

    fn visit_map<M: MapAccess<'line>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut envelope = Envelope::default();
        while let Some(FieldIndex(index)) = map.next_key()? {
            let Some(index) = index else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if envelope.0[index].replace(map.next_value()?).is_some() {
                *self.repeated = Some(FIELDS[index]);
                return Err(M::Error::custom("repeated field"));
            }
        }
        Ok(envelope)
    }
}

/// The place of a key in [`FIELDS`], found without keeping the key.
struct FieldIndex(Option<usize>);

impl<'de> Deserialize<'de> for FieldIndex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = FieldIndex;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a field name")
            }

            fn visit_str<E>(self, key: &str) -> Result<FieldIndex, E> {
                Ok(FieldIndex(FIELDS.iter().position(|field| *field == key)))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Reads the fields of one message and knows how to name it in an error.
struct Fields<'a, 'line> {
    envelope: &'a Envelope<'line>,
    kind: &'static str,
    stream: Option<&'a str>,
}

impl<'line> Fields<'_, 'line> {
    fn record(&self) -> Result<RecordMessage<'line>, MessageError> {
        Ok(RecordMessage {
            stream: self.required("stream", "a string", text_of)?,
            record: self.required("record", "an object", object_of)?,
            time_extracted: self.optional(
                "time_extracted",
                "an RFC 3339 time with an offset",
                time_of,
            )?,
            version: self.optional("version", "a whole number of 64 bits", parsed)?,
        })
    }

    fn state(&self) -> Result<StateMessage, MessageError> {
        let value = self.required("value", "a JSON value", Some)?;
        Ok(StateMessage { value: value.to_owned() })
    }

    fn schema(&self) -> Result<SchemaMessage, MessageError> {
        const NAMES: &str = "a list of strings";
        Ok(SchemaMessage {
            stream: self.stream_name()?,
            schema: self
                .required("schema", "an object", |text| object_of(text).and_then(parsed))?,
            key_properties: self.optional("key_properties", NAMES, parsed)?,
            bookmark_properties: self
                .optional("bookmark_properties", NAMES, parsed)?
                .unwrap_or_default(),
        })
    }

    fn activate_version(&self) -> Result<Message<'line>, MessageError> {
        Ok(Message::ActivateVersion {
            stream: self.stream_name()?,
            version: self.required("version", "a whole number of 64 bits", parsed)?,
        })
    }

    fn batch(&self) -> Result<Message<'line>, MessageError> {
        #[derive(Deserialize)]
        struct Encoding {
            format: String,
            compression: Option<String>,
        }
        let encoding: Encoding = self.required("encoding", "an object with a `format`", parsed)?;
        Ok(Message::Batch {
            stream: self.stream_name()?,
            format: encoding.format,
            compression: encoding.compression,
            manifest: self.required("manifest", "a list of strings", parsed)?,
        })
    }

    fn stream_name(&self) -> Result<String, MessageError> {
        self.required("stream", "a string", parsed)
    }

    fn required<T>(
        &self,
        field: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'line RawValue) -> Option<T>,
    ) -> Result<T, MessageError> {
        let text = self.envelope.field(field).ok_or_else(|| MessageError::MissingField {
            kind: self.kind,
            stream: self.stream.map(str::to_owned),
            field,
        })?;
        read(text).ok_or_else(|| self.invalid(field, expected))
    }

    /// A field that may be missing or null.
    fn optional<T>(
        &self,
        field: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'line RawValue) -> Option<T>,
    ) -> Result<Option<T>, MessageError> {
        match self.envelope.field(field) {
            Some(text) if text.get() != "null" => {
                read(text).map(Some).ok_or_else(|| self.invalid(field, expected))
            }
            _ => Ok(None),
        }
    }

    fn invalid(&self, field: &'static str, expected: &'static str) -> MessageError {
        MessageError::InvalidField {
            kind: self.kind,
            stream: self.stream.map(str::to_owned),
            field,
            expected,
        }
    }
}

/// A string, borrowed from the line unless it has escapes.
fn text_of(text: &RawValue) -> Option<Cow<'_, str>> {
    let inner = text.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { parsed(text).map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

fn object_of(text: &RawValue) -> Option<&RawValue> {
    text.get().starts_with('{').then_some(text)
}

fn time_of(text: &RawValue) -> Option<DateTime<Utc>> {
    let text = text_of(text)?;
    let time = DateTime::parse_from_rfc3339(&text).ok()?;
    Some(time.with_timezone(&Utc))
}

fn parsed<'line, T: Deserialize<'line>>(text: &'line RawValue) -> Option<T> {
    serde_json::from_str(text.get()).ok()
}
