//! Bookmarks, carried between runs.
//!
//! `{"bookmarks": {"contact": {"field": "modified", "last_record": "…"}}, "currently_syncing": null}`
//!
//! A tap reads back what it or its predecessor wrote. Whatever else stands in a state passes
//! through unchanged; numbers keep their digits.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

const BOOKMARKS: &str = "bookmarks";
const CURRENTLY_SYNCING: &str = "currently_syncing";

/// A tap's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct State(Map<String, Value>);

/// Why a state can't be used. Every kind is the state's fault; trying again won't help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The text isn't JSON.
    #[error("The state is not valid JSON at line {line}, column {column}")]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// The state isn't an object.
    #[error("The state is not a JSON object")]
    NotAnObject,
    /// The bookmarks aren't an object.
    #[error("The `bookmarks` of the state are not a JSON object")]
    InvalidBookmarks,
    /// The bookmark of a stream isn't an object.
    #[error("The bookmark of stream `{stream}` is not a JSON object")]
    InvalidBookmark {
        /// The stream.
        stream: String,
    },
}

impl StateError {
    /// What the operator can do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => {
                "Give the last complete line that the target printed: one JSON document"
            }
            Self::NotAnObject | Self::InvalidBookmarks => {
                "Give the `value` of the tap's last STATE message"
            }
            Self::InvalidBookmark { .. } => {
                "Correct the bookmark, or remove it to read the stream from the start date again"
            }
        }
    }
}

impl State {
    /// A state without bookmarks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a state.
    ///
    /// # Errors
    /// [`StateError`] names what can't be read.
    pub fn parse(text: &str) -> Result<Self, StateError> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| StateError::NotJson { line: error.line(), column: error.column() })?;
        value.try_into()
    }

    /// The bookmark of a stream, if there is one.
    #[must_use]
    pub fn bookmark(&self, stream: &str) -> Option<&Map<String, Value>> {
        self.0.get(BOOKMARKS)?.get(stream)?.as_object()
    }

    /// The streams that have a bookmark.
    pub fn streams(&self) -> impl Iterator<Item = &str> {
        let bookmarks = self.0.get(BOOKMARKS).and_then(Value::as_object);
        bookmarks.into_iter().flat_map(Map::keys).map(String::as_str)
    }

    /// The bookmark of a stream, created empty if there is none.
    pub fn bookmark_mut(&mut self, stream: &str) -> &mut Map<String, Value> {
        object_at(object_at(&mut self.0, BOOKMARKS), stream)
    }

    /// Sets or, with `None`, clears the stream that is being read.
    pub fn set_currently_syncing(&mut self, stream: Option<&str>) {
        if stream.is_some() || self.0.contains_key(CURRENTLY_SYNCING) {
            self.0.insert(CURRENTLY_SYNCING.to_owned(), stream.into());
        }
    }

    /// The state as one line of JSON.
    ///
    /// # Panics
    /// Never: a state holds nothing that JSON can't.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).expect("a state holds only JSON values")
    }
}

/// The object under a key; puts an empty one there if there is none.
fn object_at<'map>(map: &'map mut Map<String, Value>, key: &str) -> &'map mut Map<String, Value> {
    let value = map.entry(key).or_insert(Value::Null);
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was just made an object")
}

impl TryFrom<Value> for State {
    type Error = StateError;

    fn try_from(value: Value) -> Result<Self, StateError> {
        let Value::Object(state) = value else {
            return Err(StateError::NotAnObject);
        };
        match state.get(BOOKMARKS) {
            None | Some(Value::Null) => {}
            Some(Value::Object(bookmarks)) => {
                let wrong = bookmarks
                    .iter()
                    .find(|(_, bookmark)| !matches!(bookmark, Value::Object(_) | Value::Null));
                if let Some((stream, _)) = wrong {
                    return Err(StateError::InvalidBookmark { stream: stream.clone() });
                }
            }
            Some(_) => return Err(StateError::InvalidBookmarks),
        }
        Ok(Self(state))
    }
}

impl From<State> for Value {
    fn from(state: State) -> Self {
        Self::Object(state.0)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    const STATE: &str = r#"{"own":{"deep":[1.10]},"bookmarks":{"contact":{"field":"modified","last_record":"2026-01-02T03:04:05Z","x":null},"list":{}},"currently_syncing":"contact"}"#;

    #[test]
    fn t02_t30_what_was_written_reads_back_unchanged() {
        let state = State::parse(STATE).unwrap();
        assert_eq!(state.to_json(), STATE);
        assert_eq!(serde_json::to_string(&state).unwrap(), STATE);
        assert_eq!(state.streams().collect::<Vec<_>>(), ["contact", "list"]);
    }

    #[test]
    fn t30_setting_a_bookmark_leaves_the_rest_alone() {
        let mut state = State::parse(STATE).unwrap();
        state.bookmark_mut("contact").insert("last_record".into(), "2027-01-01T00:00:00Z".into());
        state.bookmark_mut("unsubscribe").insert("n".into(), 1.into());
        state.set_currently_syncing(None);
        insta::assert_snapshot!(state.to_json(), @r#"{"own":{"deep":[1.10]},"bookmarks":{"contact":{"field":"modified","last_record":"2027-01-01T00:00:00Z","x":null},"list":{},"unsubscribe":{"n":1}},"currently_syncing":null}"#);
    }

    #[test]
    fn an_empty_state_gets_no_key_that_it_does_not_need() {
        let mut state = State::new();
        state.set_currently_syncing(None);
        assert_eq!(state.to_json(), "{}");
        state.bookmark_mut("a").insert("last_record".into(), "x".into());
        assert_eq!(state.to_json(), r#"{"bookmarks":{"a":{"last_record":"x"}}}"#);
    }

    #[test]
    fn errors_name_the_stream() {
        let message = |text: &str| {
            let error = State::parse(text).unwrap_err();
            assert!(!error.remedy().is_empty());
            error.to_string()
        };
        assert_eq!(message("{"), "The state is not valid JSON at line 1, column 1");
        assert_eq!(message("[]"), "The state is not a JSON object");
        assert_eq!(
            message(r#"{"bookmarks":1}"#),
            "The `bookmarks` of the state are not a JSON object"
        );
        assert_eq!(
            message(r#"{"bookmarks":{"contact":"x"}}"#),
            "The bookmark of stream `contact` is not a JSON object"
        );
        assert!(State::parse(r#"{"bookmarks":null}"#).is_ok());
    }
}
