//! The state of one stream, in the Python tap's shape: `{"field": "modified", "last_record": "2026-01-02T03:04:05Z"}`.
//!
//! A bookmark says "everything before this instant is out". Further keys are ours: `utc`, that the bookmark is an instant
//! and not the Python tap's, which wrote local time as UTC; `activity_id`, how the ids in the table were made;
//! `full_lookback_at`, when activities were last read again over the whole look-back; and `version`, the last version of
//! a full table; and `backfill`, the spans that are still to be read for a backfill. [`crate::custom_fields`] keeps `fields` beside them. Whatever else stands there is carried through.

use bronto_client::lexical::utc_text;
use chrono::{DateTime, Utc};
use replication::source::{SourceError, SourceErrorKind};
use serde_json::{Map, Value, json};

use crate::{
    activity_id::IdScheme,
    streams::BrontoStream,
    window::{self, Window},
};

const FIELD: &str = "field";
const LAST_RECORD: &str = "last_record";
const ACTIVITY_ID: &str = "activity_id";
const FULL_LOOKBACK_AT: &str = "full_lookback_at";
const VERSION: &str = "version";
const UTC: &str = "utc";
const BACKFILL: &str = "backfill";
const FROM: &str = "from";
const BEFORE: &str = "before";

/// What is stored about a stream.
#[derive(Clone, Debug)]
pub(crate) struct StreamState {
    stream: BrontoStream,
    stored: Map<String, Value>,
    bookmark: Option<DateTime<Utc>>,
    full_lookback_at: Option<DateTime<Utc>>,
    version: Option<i64>,
    backfill: Vec<Window>,
}

impl StreamState {
    /// Reads what is stored, and checks that its ids were made as `scheme` makes them.
    pub(crate) fn read(
        stream: BrontoStream,
        stored: Option<&Value>,
        scheme: IdScheme,
    ) -> Result<Self, SourceError> {
        let stored = match stored {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(stored)) => stored.clone(),
            Some(_) => {
                return Err(unusable(format!(
                    "The state of `{}` is not a JSON object",
                    stream.name()
                )));
            }
        };
        let instant = |key: &'static str| instant(stream, &stored, key);
        let state = Self {
            stream,
            bookmark: instant(LAST_RECORD)?.map(window::floor),
            full_lookback_at: instant(FULL_LOOKBACK_AT)?,
            version: match stored.get(VERSION) {
                None | Some(Value::Null) => None,
                Some(version) => Some(
                    version.as_i64().ok_or_else(|| invalid(stream, VERSION, "a whole number"))?,
                ),
            },
            backfill: backfill(stream, stored.get(BACKFILL))?,
            stored,
        };
        if stream.is_activity() {
            state.check_scheme(scheme)?;
        }
        Ok(state)
    }

    /// Everything before it is out.
    pub(crate) fn bookmark(&self) -> Option<DateTime<Utc>> {
        self.bookmark
    }

    /// Whether it may be the Python tap's, up to 14 hours ahead of what was read.
    pub(crate) fn may_be_shifted(&self) -> bool {
        self.bookmark.is_some()
            && ![UTC, ACTIVITY_ID].iter().any(|key| self.stored.contains_key(*key))
    }

    /// When activities were last read again over the whole look-back.
    pub(crate) fn full_lookback_at(&self) -> Option<DateTime<Utc>> {
        self.full_lookback_at
    }

    /// The last version of a full table.
    pub(crate) fn version(&self) -> Option<i64> {
        self.version
    }

    /// The spans that are still to be read for a backfill, in the order in which they were asked for.
    pub(crate) fn backfill(&self) -> &[Window] {
        &self.backfill
    }

    /// Changes them, and returns the state to store. The bookmark stays where it is.
    pub(crate) fn set_backfill(&mut self, spans: Vec<Window>) -> Value {
        if spans.is_empty() {
            self.stored.remove(BACKFILL);
        } else {
            let span = |span: &Window| json!({ FROM: utc_text(span.from()), BEFORE: utc_text(span.before()) });
            self.put(BACKFILL, spans.iter().map(span).collect());
        }
        self.backfill = spans;
        Value::Object(self.stored.clone())
    }

    /// The bookmark can't be true; reading begins again at another one.
    pub(crate) fn rewind(&mut self, bookmark: DateTime<Utc>) {
        self.bookmark = Some(bookmark);
    }

    /// What is stored under a key that isn't of the bookmark's.
    pub(crate) fn kept(&self, key: &str) -> Option<&Value> {
        self.stored.get(key)
    }

    /// Keeps a value beside the bookmark, and returns the state to store.
    pub(crate) fn keep(&mut self, key: &str, value: Value) -> Value {
        self.put(key, value);
        Value::Object(self.stored.clone())
    }

    /// Moves the bookmark, and returns the state to store.
    pub(crate) fn advance(&mut self, bookmark: DateTime<Utc>, scheme: IdScheme) -> Value {
        self.bookmark = Some(bookmark);
        self.put(FIELD, self.stream.replication_key().unwrap_or_default().into());
        self.put(LAST_RECORD, utc_text(bookmark).into());
        if self.stream.is_activity() {
            self.put(ACTIVITY_ID, scheme.recorded().into());
            if let Some(at) = self.full_lookback_at {
                self.put(FULL_LOOKBACK_AT, utc_text(at).into());
            }
        } else {
            self.put(UTC, true.into());
        }
        Value::Object(self.stored.clone())
    }

    /// Notes that the whole look-back is read; takes effect with the next bookmark.
    pub(crate) fn set_full_lookback_at(&mut self, at: DateTime<Utc>) {
        self.full_lookback_at = Some(at);
    }

    /// Notes the version that was activated, and returns the state to store.
    pub(crate) fn activate(&mut self, version: i64) -> Value {
        self.version = Some(version);
        self.put(VERSION, version.into());
        Value::Object(self.stored.clone())
    }

    fn put(&mut self, key: &str, value: Value) {
        self.stored.insert(key.to_owned(), value);
    }

    /// Ids of two kinds in one table would count every activity twice, so a change needs a reset. A state with a bookmark
    /// that doesn't say how the ids were made is the Python tap's.
    fn check_scheme(&self, scheme: IdScheme) -> Result<(), SourceError> {
        let name = self.stream.name();
        let recorded = match self.stored.get(ACTIVITY_ID) {
            Some(Value::String(recorded)) => recorded.as_str(),
            Some(recorded) if !recorded.is_null() => "?",
            _ if self.bookmark.is_some() => IdScheme::Compatible.recorded(),
            _ => return Ok(()),
        };
        if recorded == scheme.recorded() {
            return Ok(());
        }
        let recorded: String = recorded.chars().take(40).collect();
        Err(SourceError::new(
            SourceErrorKind::Configuration,
            format!(
                "The ids of `{name}` were made as `{recorded}`, but `activity_id` is `{}` now",
                scheme.name()
            ),
            format!(
                "Set `activity_id` to fit (a state of the Python tap needs `compatible`), or reset `{name}` so that all \
                 its rows get new ids"
            ),
        ))
    }
}

fn instant(
    stream: BrontoStream,
    stored: &Map<String, Value>,
    key: &'static str,
) -> Result<Option<DateTime<Utc>>, SourceError> {
    match stored.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            DateTime::parse_from_rfc3339(text).map(|instant| Some(instant.to_utc())).map_err(|_| {
                invalid(stream, key, "a date-time with an offset, such as `2026-01-02T03:04:05Z`")
            })
        }
        Some(_) => Err(invalid(stream, key, "a text")),
    }
}

fn backfill(stream: BrontoStream, stored: Option<&Value>) -> Result<Vec<Window>, SourceError> {
    let wrong = || invalid(stream, BACKFILL, "a list of spans, each with `from` and `before`");
    let spans = match stored {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(stored) => stored.as_array().ok_or_else(wrong)?,
    };
    let span = |span: &Value| {
        let span = span.as_object()?;
        let bound = |key| instant(stream, span, key).ok().flatten();
        Some(Window::new(window::floor(bound(FROM)?), window::ceiling(bound(BEFORE)?)))
    };
    let spans = spans.iter().map(|stored| span(stored).ok_or_else(wrong));
    let spans: Vec<Window> = spans.collect::<Result<_, _>>()?;
    Ok(spans.into_iter().filter(|span| span.from() < span.before()).collect())
}

fn invalid(stream: BrontoStream, key: &str, expected: &str) -> SourceError {
    unusable(format!("`{key}` in the state of `{}` is not {expected}", stream.name()))
}

fn unusable(message: String) -> SourceError {
    let remedy = "Correct the state, or remove the stream from it to read the stream from its start date again";
    SourceError::new(SourceErrorKind::Configuration, message, remedy)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(stream: BrontoStream, stored: &Value) -> Result<StreamState, SourceError> {
        StreamState::read(stream, Some(stored), IdScheme::Lossless)
    }

    #[test]
    fn the_python_shape_is_read_and_further_keys_are_carried_through() {
        let stored = json!({"field": "modified", "last_record": "2026-01-02T05:04:05.75+02:00", "mine": [1.10]});
        let mut state = read(BrontoStream::Contact, &stored).unwrap();
        assert_eq!(state.bookmark().unwrap().to_rfc3339(), "2026-01-02T03:04:05+00:00");
        assert!(state.may_be_shifted());
        let next = state.advance("2026-01-03T00:00:00Z".parse().unwrap(), IdScheme::Lossless);
        assert_eq!(
            next,
            json!({"field": "modified", "last_record": "2026-01-03T00:00:00Z", "mine": [1.10], "utc": true})
        );
        assert!(!read(BrontoStream::Contact, &next).unwrap().may_be_shifted());
    }

    #[test]
    fn activities_record_their_scheme_and_look_back() {
        let mut state =
            StreamState::read(BrontoStream::InboundActivity, None, IdScheme::Lossless).unwrap();
        state.set_full_lookback_at("2026-01-03T00:00:09Z".parse().unwrap());
        let stored = state.advance("2026-01-03T00:00:00Z".parse().unwrap(), IdScheme::Lossless);
        let expected = json!({"field": "createdDate", "last_record": "2026-01-03T00:00:00Z",
            "activity_id": "lossless-1", "full_lookback_at": "2026-01-03T00:00:09Z"});
        assert_eq!(stored, expected);
        let again = read(BrontoStream::InboundActivity, &stored).unwrap();
        assert_eq!(again.full_lookback_at(), state.full_lookback_at());
        let error =
            StreamState::read(BrontoStream::InboundActivity, Some(&stored), IdScheme::Compatible)
                .unwrap_err();
        assert_eq!(error.kind, SourceErrorKind::Configuration);
        assert_eq!(
            error.to_string(),
            "The ids of `inbound_activity` were made as `lossless-1`, but `activity_id` is `compatible` now"
        );
    }

    #[test]
    fn a_state_of_the_python_tap_needs_its_ids() {
        let stored = json!({"field": "createdDate", "last_record": "2026-01-02T03:04:05Z"});
        let stream = BrontoStream::OutboundActivity;
        assert!(StreamState::read(stream, Some(&stored), IdScheme::Compatible).is_ok());
        assert_eq!(
            read(stream, &stored).unwrap_err().to_string(),
            "The ids of `outbound_activity` were made as `compatible`, but `activity_id` is `lossless` now"
        );
    }

    #[test]
    fn a_version_is_kept() {
        let mut state = read(BrontoStream::List, &json!({"version": 7})).unwrap();
        assert_eq!(state.version(), Some(7));
        assert_eq!(state.activate(9), json!({"version": 9}));
    }

    #[test]
    fn a_backfill_is_kept_beside_the_bookmark() {
        let stored = json!({"last_record": "2026-01-02T03:04:05Z", "utc": true,
            "backfill": [{"from": "2025-01-01T00:00:00Z", "before": "2025-02-01T00:00:00.5Z"}]});
        let mut state = read(BrontoStream::Contact, &stored).unwrap();
        assert_eq!(state.backfill()[0].to_string(), "2025-01-01T00:00:00Z to 2025-02-01T00:00:01Z");
        let rest =
            Window::new("2025-01-09T00:00:00Z".parse().unwrap(), state.backfill()[0].before());
        let kept = state.set_backfill(vec![rest]);
        assert_eq!(read(BrontoStream::Contact, &kept).unwrap().backfill(), [rest]);
        let done = state.set_backfill(Vec::new());
        assert_eq!(done, json!({"last_record": "2026-01-02T03:04:05Z", "utc": true}));
    }

    #[test]
    fn what_can_not_be_read_is_named() {
        for (stored, message) in [
            (json!([]), "The state of `contact` is not a JSON object"),
            (
                json!({"last_record": "2026-01-02T03:04:05"}),
                "`last_record` in the state of `contact` is not a date-time with an offset, such as \
                 `2026-01-02T03:04:05Z`",
            ),
            (json!({"last_record": 5}), "`last_record` in the state of `contact` is not a text"),
            (
                json!({"backfill": [{"from": "2025-01-01T00:00:00Z"}]}),
                "`backfill` in the state of `contact` is not a list of spans, each with `from` and `before`",
            ),
            (json!({"version": "x"}), "`version` in the state of `contact` is not a whole number"),
        ] {
            let error = read(BrontoStream::Contact, &stored).unwrap_err();
            assert_eq!(
                (error.kind, error.to_string()),
                (SourceErrorKind::Configuration, message.to_owned())
            );
        }
    }
}
