//! What a tap offers, and what was chosen from it.
//!
//! A tap's discovery writes a catalog; people and runners mark in it what they want; the tap reads
//! it back. So reading is lenient about how a choice was written down, and everything that this
//! crate doesn't know passes through unchanged. Writing is deterministic: fields stand in a fixed
//! order and the rest in the order it came in.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A catalog: the streams of one tap.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct Catalog {
    /// The streams, in the tap's order.
    pub streams: Vec<CatalogEntry>,
    /// Fields of the catalog that this crate doesn't know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One stream of a catalog.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CatalogEntry {
    /// The name that the tap knows the stream by; unique in the catalog.
    pub tap_stream_id: String,
    /// The name that messages use.
    pub stream: String,
    /// The JSON Schema of the stream's records.
    pub schema: Value,
    /// The fields that identify a row, if the catalog says so here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_properties: Option<Vec<String>>,
    /// The field that the stream is read incrementally by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_key: Option<String>,
    /// `INCREMENTAL`, `FULL_TABLE` or `LOG_BASED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_method: Option<String>,
    /// What is said about the stream and each of its fields.
    pub metadata: Vec<Metadata>,
    /// Fields of the entry that this crate doesn't know, such as `table_name`.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What a catalog says about one place of a stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metadata {
    /// The place: `[]` is the stream, `["properties", "f"]` a field; longer ones are nested.
    pub breadcrumb: Vec<String>,
    /// What is said about it: `inclusion`, `selected` and so on.
    pub metadata: Map<String, Value>,
}

/// Whether a tap can leave a field out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inclusion {
    /// The choice is free.
    Available,
    /// It always comes along, as keys do.
    Automatic,
    /// It can't be replicated.
    Unsupported,
}

/// Why a catalog can't be used. Every kind is the catalog's fault; trying again won't help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The text isn't JSON.
    #[error("The catalog is not valid JSON at line {line}, column {column}")]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// The text has no list of streams.
    #[error("The catalog has no list `streams`")]
    NoStreams,
    /// A stream lacks its names.
    #[error("Stream number {number} of the catalog has neither `tap_stream_id` nor `stream`")]
    Nameless {
        /// The place in the list, from 1.
        number: usize,
    },
    /// A part of a stream has the wrong shape.
    #[error("In the catalog, `{field}` of stream `{stream}` is not {expected}")]
    InvalidField {
        /// The stream.
        stream: String,
        /// The part.
        field: &'static str,
        /// What would be right.
        expected: &'static str,
    },
    /// A stream stands in the catalog twice.
    #[error("The catalog has more than one stream `{stream}`")]
    RepeatedStream {
        /// The stream.
        stream: String,
    },
    /// A stream that the tap doesn't have. For the tap to raise.
    #[error("The tap has no stream `{stream}`{}", did_you_mean(.nearest.as_deref()))]
    UnknownStream {
        /// The stream.
        stream: String,
        /// The name that was probably meant.
        nearest: Option<String>,
    },
    /// A selected field that the stream doesn't have. For the tap to raise.
    #[error("Stream `{stream}` has no field `{field}`{}", did_you_mean(.nearest.as_deref()))]
    UnknownField {
        /// The stream.
        stream: String,
        /// The field.
        field: String,
        /// The name that was probably meant.
        nearest: Option<String>,
    },
    /// A replication method that the stream can't be read by. For the tap to raise.
    #[error("The catalog asks for `{method}` as replication method of `{stream}`: {reason}")]
    UnfitMethod {
        /// The stream.
        stream: String,
        /// What the catalog asks for.
        method: String,
        /// Why not.
        reason: String,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

impl CatalogError {
    /// What the operator can do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::UnfitMethod { .. } => {
                "Take `replication-method` out of the stream's metadata, or write one that the tap has for it"
            }
            Self::UnknownStream { .. } | Self::UnknownField { .. } => {
                "Correct the name, or write a new catalog with `--discover`"
            }
            Self::RepeatedStream { .. } => "Remove all but one of its entries",
            _ => "Write a new catalog with `--discover` and mark the selection in it",
        }
    }
}

impl Catalog {
    /// Reads a catalog.
    ///
    /// # Errors
    /// [`CatalogError`] names the stream and the part that can't be read.
    pub fn parse(text: &str) -> Result<Self, CatalogError> {
        let value: Value = serde_json::from_str(text).map_err(|error| CatalogError::NotJson {
            line: error.line(),
            column: error.column(),
        })?;
        value.try_into()
    }

    /// The stream that the tap knows by this name.
    #[must_use]
    pub fn stream(&self, tap_stream_id: &str) -> Option<&CatalogEntry> {
        self.streams.iter().find(|entry| entry.tap_stream_id == tap_stream_id)
    }

    /// The catalog as discovery prints it: indented, with a line end.
    ///
    /// # Panics
    /// Never: a catalog holds nothing that JSON can't.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text =
            serde_json::to_string_pretty(self).expect("a catalog holds only JSON values");
        text.push('\n');
        text
    }
}

impl TryFrom<Value> for Catalog {
    type Error = CatalogError;

    fn try_from(value: Value) -> Result<Self, CatalogError> {
        let Value::Object(mut other) = value else {
            return Err(CatalogError::NoStreams);
        };
        let Some(Value::Array(entries)) = other.shift_remove("streams") else {
            return Err(CatalogError::NoStreams);
        };
        let mut streams: Vec<CatalogEntry> = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            let entry = read_entry(entry, index + 1)?;
            if streams.iter().any(|earlier| earlier.tap_stream_id == entry.tap_stream_id) {
                return Err(CatalogError::RepeatedStream { stream: entry.tap_stream_id });
            }
            streams.push(entry);
        }
        Ok(Self { streams, other })
    }
}

/// Reads the entry that is the catalog's `number`-th, counted from 1.
fn read_entry(entry: Value, number: usize) -> Result<CatalogEntry, CatalogError> {
    let Value::Object(mut fields) = entry else {
        return Err(CatalogError::Nameless { number });
    };
    let name = |field: Option<Value>| match field {
        Some(Value::String(name)) => Some(name),
        _ => None,
    };
    let id = name(fields.shift_remove("tap_stream_id"));
    let stream = name(fields.shift_remove("stream"));
    let Some(tap_stream_id) = id.or_else(|| stream.clone()) else {
        return Err(CatalogError::Nameless { number });
    };
    let invalid = |field, expected| CatalogError::InvalidField {
        stream: tap_stream_id.clone(),
        field,
        expected,
    };
    let schema = match fields.shift_remove("schema") {
        Some(schema @ Value::Object(_)) => schema,
        _ => return Err(invalid("schema", "an object")),
    };
    let metadata = match fields.shift_remove("metadata") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list
            .into_iter()
            .map(read_metadata)
            .collect::<Option<_>>()
            .ok_or_else(|| invalid("metadata", "a list of `breadcrumb` and `metadata` pairs"))?,
        Some(_) => return Err(invalid("metadata", "a list")),
    };
    let mut optional_text = |field| match fields.shift_remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(field, "a string")),
    };
    let replication_key = optional_text("replication_key")?;
    let replication_method = optional_text("replication_method")?;
    let key_properties = match fields.shift_remove("key_properties") {
        None | Some(Value::Null) => None,
        Some(list) => Some(
            serde_json::from_value(list)
                .map_err(|_| invalid("key_properties", "a list of strings"))?,
        ),
    };
    Ok(CatalogEntry {
        stream: stream.unwrap_or_else(|| tap_stream_id.clone()),
        tap_stream_id,
        schema,
        key_properties,
        replication_key,
        replication_method,
        metadata,
        other: fields,
    })
}

fn read_metadata(pair: Value) -> Option<Metadata> {
    let Value::Object(mut fields) = pair else {
        return None;
    };
    let breadcrumb = serde_json::from_value(fields.shift_remove("breadcrumb")?).ok()?;
    match fields.shift_remove("metadata")? {
        Value::Object(metadata) => Some(Metadata { breadcrumb, metadata }),
        _ => None,
    }
}

impl CatalogEntry {
    /// What is said about a place; the first entry if there are several.
    #[must_use]
    pub fn metadata_of<S: AsRef<str>>(&self, breadcrumb: &[S]) -> Option<&Metadata> {
        self.metadata.iter().find(|metadata| {
            metadata.breadcrumb.len() == breadcrumb.len()
                && metadata.breadcrumb.iter().zip(breadcrumb).all(|(a, b)| a == b.as_ref())
        })
    }

    /// The fields that identify a row: from the entry, else from its metadata.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        if let Some(keys) = &self.key_properties {
            return keys.iter().map(String::as_str).collect();
        }
        let stream = self.metadata_of::<&str>(&[]);
        ["view-key-properties", "table-key-properties"]
            .into_iter()
            .find_map(|name| stream?.metadata.get(name)?.as_array())
            .map(|keys| keys.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    }

    /// The replication method that the user chose, or that the tap forces, or the entry's own.
    #[must_use]
    pub fn replication_method(&self) -> Option<&str> {
        let stream = self.metadata_of::<&str>(&[]);
        ["forced-replication-method", "replication-method"]
            .into_iter()
            .find_map(|name| stream?.text(name))
            .or(self.replication_method.as_deref())
    }

    /// The names that the stream's metadata mentions at the top level, whether or not the schema
    /// has them: a tap compares them with its own fields to find misspelt ones.
    pub fn mentioned_fields(&self) -> impl Iterator<Item = (&str, &Metadata)> {
        self.metadata.iter().filter_map(|metadata| match metadata.breadcrumb.as_slice() {
            [properties, field] if properties == "properties" => Some((field.as_str(), metadata)),
            _ => None,
        })
    }
}

impl Metadata {
    /// Metadata of a place, to be filled with [`Metadata::with`].
    #[must_use]
    pub fn new<S: Into<String>>(breadcrumb: impl IntoIterator<Item = S>) -> Self {
        Self { breadcrumb: breadcrumb.into_iter().map(Into::into).collect(), metadata: Map::new() }
    }

    /// Adds or replaces one thing that is said.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.metadata.insert(name.to_owned(), value.into());
        self
    }

    /// A yes or no; the strings `"true"` and `"false"` count, because the specification's own
    /// example uses them.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.metadata.get(name).and_then(flag)
    }

    /// A text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.metadata.get(name)?.as_str()
    }

    /// Whether the tap can leave the place out.
    #[must_use]
    pub fn inclusion(&self) -> Option<Inclusion> {
        self.metadata.get("inclusion").and_then(inclusion)
    }
}

/// A yes or no as people and programs write it.
pub(crate) fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

pub(crate) fn inclusion(value: &Value) -> Option<Inclusion> {
    match value.as_str()? {
        "available" => Some(Inclusion::Available),
        "automatic" => Some(Inclusion::Automatic),
        "unsupported" => Some(Inclusion::Unsupported),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    const CATALOG: &str = r#"{"streams": [{"stream": "contact", "tap_stream_id": "contact",
        "row_count": 12345678901234567890,
        "schema": {"type": "object", "properties": {"z": {"multipleOf": 0.10}, "a": {}}},
        "metadata": [
            {"breadcrumb": [], "metadata": {"selected": "true", "x-own": 1.50,
                "table-key-properties": ["z"], "forced-replication-method": "INCREMENTAL"}},
            {"breadcrumb": ["properties", "a"], "metadata": {"inclusion": "available"}},
            {"breadcrumb": ["properties", "missing"], "metadata": {"selected": true}}]}],
        "version": 2}"#;

    #[test]
    fn t10_an_entry_is_read_and_its_unknown_fields_pass_through() {
        let catalog = Catalog::parse(CATALOG).unwrap();
        let entry = catalog.stream("contact").unwrap();
        assert_eq!(entry.keys(), ["z"]);
        assert_eq!(entry.replication_method(), Some("INCREMENTAL"));
        insta::assert_snapshot!(serde_json::to_string(&catalog).unwrap(), @r#"{"streams":[{"tap_stream_id":"contact","stream":"contact","schema":{"type":"object","properties":{"z":{"multipleOf":0.10},"a":{}}},"metadata":[{"breadcrumb":[],"metadata":{"selected":"true","x-own":1.50,"table-key-properties":["z"],"forced-replication-method":"INCREMENTAL"}},{"breadcrumb":["properties","a"],"metadata":{"inclusion":"available"}},{"breadcrumb":["properties","missing"],"metadata":{"selected":true}}],"row_count":12345678901234567890}],"version":2}"#);
    }

    #[test]
    fn t11_metadata_is_found_by_breadcrumb() {
        let catalog = Catalog::parse(CATALOG).unwrap();
        let entry = &catalog.streams[0];
        assert_eq!(entry.metadata_of::<&str>(&[]).unwrap().flag("selected"), Some(true));
        let field = entry.metadata_of(&["properties", "a"]).unwrap();
        assert_eq!(field.inclusion(), Some(Inclusion::Available));
        assert!(entry.metadata_of(&["properties", "z"]).is_none());
        let mentioned: Vec<_> = entry.mentioned_fields().map(|(name, _)| name).collect();
        assert_eq!(mentioned, ["a", "missing"]);
    }

    #[test]
    fn t14_what_is_written_reads_back_and_is_written_the_same() {
        let catalog = Catalog::parse(CATALOG).unwrap();
        let text = catalog.to_json();
        let again = Catalog::parse(&text).unwrap();
        assert_eq!(again, catalog);
        assert_eq!(again.to_json(), text);
    }

    #[test]
    fn errors_name_the_stream_and_the_part() {
        let message = |text: &str| {
            let error = Catalog::parse(text).unwrap_err();
            assert!(!error.remedy().is_empty());
            error.to_string()
        };
        assert_eq!(message("{\n x"), "The catalog is not valid JSON at line 2, column 2");
        assert_eq!(message("[]"), "The catalog has no list `streams`");
        assert_eq!(
            message(r#"{"streams":[{"schema":{}}]}"#),
            "Stream number 1 of the catalog has neither `tap_stream_id` nor `stream`"
        );
        assert_eq!(
            message(r#"{"streams":[{"stream":"a"}]}"#),
            "In the catalog, `schema` of stream `a` is not an object"
        );
        assert_eq!(
            message(r#"{"streams":[{"stream":"a","schema":{},"metadata":[{"breadcrumb":[]}]}]}"#),
            "In the catalog, `metadata` of stream `a` is not a list of `breadcrumb` and `metadata` pairs"
        );
        assert_eq!(
            message(
                r#"{"streams":[{"stream":"a","schema":{}},{"tap_stream_id":"a","schema":{}}]}"#
            ),
            "The catalog has more than one stream `a`"
        );
        let unknown = CatalogError::UnknownField {
            stream: "contact".into(),
            field: "emial".into(),
            nearest: Some("email".into()),
        };
        assert_eq!(
            unknown.to_string(),
            "Stream `contact` has no field `emial`; did you mean `email`?"
        );
    }
}
