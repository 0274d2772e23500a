//! What is stored about a stream itself, beside the tap's state, which is opaque: the version of its table, how far its
//! rows are covered, and how the tap described it last. By that description rejects are read again later, when there is
//! no tap to ask.

use serde_json::{Map, Value, json};
use singer::SchemaMessage;

use super::{retraction::COVERED, version::TABLE_VERSION};
use crate::stream::StreamName;

/// The key under which the description stands.
const DESCRIPTION: &str = "schema";

/// The state as it was sent last.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnState(Map<String, Value>);

impl OwnState {
    /// The state that the destination has.
    pub(super) fn stored(state: Option<&Value>) -> Self {
        Self(state.and_then(Value::as_object).cloned().unwrap_or_default())
    }

    /// Sets what is known.
    pub(super) fn set(
        &mut self,
        version: Option<i64>,
        covered: Option<i64>,
        message: &SchemaMessage,
    ) -> Value {
        for (name, figure) in [(TABLE_VERSION, version), (COVERED, covered)] {
            match figure {
                Some(figure) => self.0.insert(name.to_owned(), figure.into()),
                None => self.0.remove(name),
            };
        }
        self.describe(message);
        Value::Object(self.0.clone())
    }

    /// Sets the description. Returns the state if that changes it.
    pub(super) fn describe(&mut self, message: &SchemaMessage) -> Option<Value> {
        let description = json!({
            "schema": message.schema,
            "key_properties": message.key_properties,
            "bookmark_properties": message.bookmark_properties,
        });
        if self.0.get(DESCRIPTION) == Some(&description) {
            return None;
        }
        self.0.insert(DESCRIPTION.to_owned(), description);
        Some(Value::Object(self.0.clone()))
    }
}

/// The description that a stored state holds; none if it has none, or one that can't be understood.
pub(super) fn description(stream: &StreamName, state: &Value) -> Option<SchemaMessage> {
    let stored = state.get(DESCRIPTION)?;
    let names = |value: &Value| serde_json::from_value::<Vec<String>>(value.clone()).ok();
    Some(SchemaMessage {
        stream: stream.to_string(),
        schema: stored.get("schema")?.clone(),
        key_properties: names(stored.get("key_properties")?),
        bookmark_properties: names(stored.get("bookmark_properties")?)?,
    })
}
