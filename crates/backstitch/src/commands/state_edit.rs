//! What edits make of the stored bookmarks: those of `backstitch state`, and those asked for over the API.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, SecondsFormat, SubsecRound, TimeDelta, Timelike, Utc};
use replication::{
    destination::StateRow,
    edit::{NO_BOOKMARK, StateEdit},
    stream::StreamName,
};
use serde_json::{Map, Value, json};
use service::kept::RewindWish;

use crate::{command_line::StateArguments, failure::Failure};

/// Where a stream's state has its bookmark.
const LAST_RECORD: &str = "last_record";
/// What of a state is about its bookmark.
const OF_THE_BOOKMARK: [&str; 5] = ["field", LAST_RECORD, "full_lookback_at", "utc", "backfill"];

/// The edits that were asked for, one per stream.
#[derive(Debug)]
pub(crate) struct Edits(Vec<(String, Wish)>);

#[derive(Debug, Clone, Copy)]
enum Wish {
    Set(DateTime<Utc>),
    Rewind(TimeDelta),
    Remove,
}

/// How a bookmark moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// To this instant.
    To(DateTime<Utc>),
    /// It goes.
    Removed,
}

/// The edit of one stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) stream: String,
    pub(crate) change: Move,
    /// The whole state before.
    pub(super) before: Value,
    /// And after.
    pub(super) after: Value,
    /// The bookmark before.
    pub(crate) old: DateTime<Utc>,
}

impl Change {
    /// The old bookmark, if the new one lies after it.
    pub(crate) fn skipped(&self) -> Option<DateTime<Utc>> {
        match self.change {
            Move::To(new) => Some(self.old).filter(|old| *old < new),
            Move::Removed => None,
        }
    }

    /// The bookmark before, as people read it.
    pub(super) fn from(&self) -> String {
        text(self.old)
    }

    /// The bookmark after.
    pub(super) fn to(&self) -> Option<String> {
        match self.change {
            Move::To(new) => Some(text(new)),
            Move::Removed => None,
        }
    }
}

/// The edit that changes make.
pub(crate) fn edit(changes: Vec<Change>, forgets_tap_state: bool) -> StateEdit {
    let mut edit = StateEdit { forgets_tap_state, ..StateEdit::default() };
    for change in changes {
        let stream = StreamName::new(change.stream.as_str());
        edit.displays.insert(stream.clone(), change.to().unwrap_or_else(|| NO_BOOKMARK.to_owned()));
        edit.states.insert(stream, change.after);
    }
    edit
}

/// The states of streams.
pub(super) fn states(rows: &[StateRow]) -> BTreeMap<StreamName, Value> {
    let streams = rows.iter().filter(|row| !row.stream.is_empty());
    let state = |row: &StateRow| Some((StreamName::new(row.stream.as_str()), row.state.clone()?));
    streams.filter_map(state).collect()
}

impl Edits {
    /// Reads the arguments.
    ///
    /// # Errors
    /// When one of them makes no sense, or two are about one stream.
    pub(super) fn read(arguments: &StateArguments) -> Result<Self, Failure> {
        let mut edits: Vec<(String, Wish)> = Vec::new();
        for argument in &arguments.set {
            let (stream, value) = halves("--set", argument, "contact=2026-01-02T03:04:05Z")?;
            let instant = DateTime::parse_from_rfc3339(value)
                .map_err(|_| unusable(value, "is no RFC 3339 date-time"))?;
            edits.push((stream.to_owned(), set(instant.to_utc(), value)?));
        }
        for argument in &arguments.rewind {
            let (stream, value) = halves("--rewind", argument, "contact=7d")?;
            edits.push((stream.to_owned(), Wish::Rewind(span(value)?)));
        }
        edits.extend(arguments.remove.iter().map(|stream| (stream.clone(), Wish::Remove)));
        Self::distinct(edits)
    }

    /// Those that somebody wishes for.
    ///
    /// # Errors
    /// As [`Edits::read`].
    pub(crate) fn wished(wish: &RewindWish) -> Result<Self, Failure> {
        let mut edits = Vec::new();
        for (stream, &instant) in &wish.set {
            edits.push((stream.clone(), set(instant, &instant.to_rfc3339())?));
        }
        for (stream, back) in &wish.rewind {
            edits.push((stream.clone(), Wish::Rewind(span(back)?)));
        }
        edits.extend(wish.remove.iter().map(|stream| (stream.clone(), Wish::Remove)));
        Self::distinct(edits)
    }

    /// One that moves a stream's bookmark to an instant, or removes it.
    pub(crate) fn one(stream: &str, to: Option<DateTime<Utc>>) -> Self {
        Self(vec![(stream.to_owned(), to.map_or(Wish::Remove, Wish::Set))])
    }

    /// The body that asks the API for them.
    pub(super) fn body(&self) -> Map<String, Value> {
        let (mut set, mut rewind, mut remove) = (Map::new(), Map::new(), Vec::new());
        for (stream, wish) in &self.0 {
            match wish {
                Wish::Set(instant) => drop(set.insert(stream.clone(), text(*instant).into())),
                Wish::Rewind(span) => {
                    rewind.insert(stream.clone(), format!("{}s", span.num_seconds()).into());
                }
                Wish::Remove => remove.push(stream.as_str()),
            }
        }
        let body = json!({ "set": set, "rewind": rewind, "remove": remove });
        body.as_object().cloned().unwrap_or_default()
    }

    fn distinct(edits: Vec<(String, Wish)>) -> Result<Self, Failure> {
        let mut names: Vec<&String> = edits.iter().map(|(stream, _)| stream).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Failure::configuration(format!("`{}` is to be edited twice", twice[0]))
                .with_hint("Give one of `--set`, `--rewind` and `--remove` for it"));
        }
        Ok(Self(edits))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies them to what is stored.
    ///
    /// # Errors
    /// When a stream has no bookmark that could be moved, or its new one makes no sense.
    pub(crate) fn apply(
        &self,
        stored: &BTreeMap<StreamName, Value>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Change>, Failure> {
        self.0.iter().map(|(stream, wish)| change(stream, *wish, stored, now)).collect()
    }
}

fn change(
    stream: &str,
    wish: Wish,
    stored: &BTreeMap<StreamName, Value>,
    now: DateTime<Utc>,
) -> Result<Change, Failure> {
    let names = || -> Vec<String> { stored.keys().map(|name| format!("`{name}`")).collect() };
    let Some(before) = stored.get(&StreamName::new(stream)).cloned() else {
        let hint = match names() {
            names if names.is_empty() => "Nothing has been replicated yet".to_owned(),
            names => format!("There are {}", names.join(", ")),
        };
        return Err(
            Failure::configuration(format!("There is no bookmark of `{stream}`")).with_hint(hint)
        );
    };
    let old = before.get(LAST_RECORD).and_then(Value::as_str);
    let old = old.and_then(|text| DateTime::parse_from_rfc3339(text).ok()).map(|at| at.to_utc());
    let Some(old) = old else {
        return Err(Failure::configuration(format!("`{stream}` has no bookmark that could be moved"))
            .with_hint(
                "A full table is read whole by every run; a Singer tap keeps its bookmarks in a state of its own form",
            ));
    };
    let new = match wish {
        Wish::Set(new) => new,
        Wish::Rewind(span) => old.checked_sub_signed(span).ok_or_else(|| {
            Failure::configuration(format!("`{stream}` can't be moved back by that much"))
        })?,
        Wish::Remove => {
            let (change, after) = (Move::Removed, forgotten(&before));
            return Ok(Change { stream: stream.to_owned(), change, before, after, old });
        }
    };
    // What is stored has no fraction, so what is shown and compared has none.
    let new = new.trunc_subsecs(0);
    if !(1..=9999).contains(&new.year()) {
        return Err(Failure::configuration(format!("`{stream}` can't be moved back by that much")));
    }
    if new > now {
        return Err(Failure::configuration(format!(
            "The bookmark of `{stream}` would lie in the future, at {}",
            text(new)
        ))
        .with_hint("A bookmark says that everything before it has been read"));
    }
    let mut after = before.clone();
    after[LAST_RECORD] = text(new).into();
    Ok(Change { stream: stream.to_owned(), change: Move::To(new), before, after, old })
}

/// Whether a state has a bookmark.
pub(super) fn has_bookmark(state: &Value) -> bool {
    state.get(LAST_RECORD).is_some_and(|bookmark| !bookmark.is_null())
}

/// A state without its bookmark. The rest stays, because it is about the table: how its ids were made, without which rows
/// with ids of another kind would come beside them; which custom field has which column.
pub(super) fn forgotten(state: &Value) -> Value {
    let Value::Object(state) = state else { return Value::Null };
    let is_kept = |key: &str| !OF_THE_BOOKMARK.contains(&key);
    let kept = state.iter().filter(|(key, _)| is_kept(key));
    let kept: Map<String, Value> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
    if kept.is_empty() { Value::Null } else { kept.into() }
}

fn unusable(value: &str, why: &str) -> Failure {
    Failure::configuration(format!("`{value}` {why}"))
        .with_hint("Write it like `2026-01-02T03:04:05Z`")
}

/// A wish for an instant, which was written like this.
fn set(instant: DateTime<Utc>, written: &str) -> Result<Wish, Failure> {
    if instant.nanosecond() > 0 {
        let why = "has a fraction of a second, and bookmarks are whole seconds";
        return Err(unusable(written, why));
    }
    Ok(Wish::Set(instant))
}

fn text(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn halves<'a>(flag: &str, argument: &'a str, example: &str) -> Result<(&'a str, &'a str), Failure> {
    argument.split_once('=').filter(|(stream, _)| !stream.is_empty()).ok_or_else(|| {
        Failure::configuration(format!("`{flag} {argument}` has no `=`"))
            .with_hint(format!("Write it like `{flag} {example}`"))
    })
}

/// A span such as `7d`, `12h`, `30m` or `90s`.
fn span(text: &str) -> Result<TimeDelta, Failure> {
    let unreadable = || {
        Failure::configuration(format!("`{text}` is no span"))
            .with_hint("Write it like `7d`, `12h`, `30m` or `90s`")
    };
    let unit = text.chars().last().ok_or_else(unreadable)?;
    let number: i64 = text
        .strip_suffix(unit)
        .and_then(|number| number.parse().ok())
        .filter(|number| *number > 0)
        .ok_or_else(unreadable)?;
    let span = match unit {
        'd' => TimeDelta::try_days(number),
        'h' => TimeDelta::try_hours(number),
        'm' => TimeDelta::try_minutes(number),
        's' => TimeDelta::try_seconds(number),
        _ => None,
    };
    span.ok_or_else(unreadable)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(stream: &str, state: Value) -> (StreamName, Value) {
        (StreamName::new(stream), state)
    }

    fn apply(stream: &str, wish: Wish) -> Result<Change, Failure> {
        let stored = BTreeMap::from([
            stored(
                "contact",
                json!({"field": "modified", "last_record": "2026-01-10T00:00:00Z", "mine": 1}),
            ),
            stored("list", json!({"version": 3})),
        ]);
        let edits = Edits(vec![(stream.to_owned(), wish)]);
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        edits.apply(&stored, now).map(|mut changes| changes.remove(0))
    }

    #[test]
    fn a_bookmark_moves_and_the_rest_of_its_state_stays() {
        let change = apply("contact", Wish::Rewind(span("7d").unwrap())).unwrap();
        assert_eq!(
            change.after,
            json!({"field": "modified", "last_record": "2026-01-03T00:00:00Z", "mine": 1})
        );
        assert_eq!(change.skipped(), None);
        let forward = apply("contact", Wish::Set("2026-01-20T00:00:00Z".parse().unwrap())).unwrap();
        assert_eq!(forward.skipped(), Some(forward.old));
        assert_eq!(apply("contact", Wish::Remove).unwrap().after, json!({"mine": 1}));
        let activities = json!({
            "field": "createdDate", "last_record": "2026-01-10T00:00:00Z", "activity_id": "lossless-1",
            "full_lookback_at": "2026-01-09T00:00:00Z",
        });
        assert_eq!(forgotten(&activities), json!({"activity_id": "lossless-1"}));
        let fields = json!({"0bbc": {"name": "points", "type": "number"}});
        let contacts = json!({
            "field": "modified", "last_record": "2026-01-10T00:00:00Z", "utc": true, "fields": fields,
        });
        assert_eq!(forgotten(&contacts), json!({"fields": fields}), "columns stay what they are");
        let lists = json!({"field": "modified", "last_record": "2026-01-10T00:00:00Z"});
        assert_eq!(forgotten(&lists), Value::Null);
    }

    #[test]
    fn a_bookmark_with_a_fraction_moves_to_a_whole_second() {
        let state = stored("contact", json!({"last_record": "2026-01-10T00:00:00.75Z"}));
        let edits = Edits(vec![("contact".to_owned(), Wish::Rewind(span("1d").unwrap()))]);
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        let change = edits.apply(&BTreeMap::from([state]), now).unwrap().remove(0);
        assert_eq!(change.after, json!({"last_record": "2026-01-09T00:00:00Z"}));
        let stored = "2026-01-09T00:00:00Z".parse().unwrap();
        assert_eq!(change.change, Move::To(stored), "what is shown is what is stored");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refusal = |stream, wish| apply(stream, wish).unwrap_err().render();
        insta::assert_snapshot!(refusal("contacts", Wish::Remove), @r"
        error: There is no bookmark of `contacts`
        hint: There are `contact`, `list`
        ");
        insta::assert_snapshot!(refusal("list", Wish::Remove), @r"
        error: `list` has no bookmark that could be moved
        hint: A full table is read whole by every run; a Singer tap keeps its bookmarks in a state of its own form
        ");
        insta::assert_snapshot!(refusal("contact", Wish::Set("2026-02-02T00:00:00Z".parse().unwrap())), @r"
        error: The bookmark of `contact` would lie in the future, at 2026-02-02T00:00:00Z
        hint: A bookmark says that everything before it has been read
        ");
        for text in ["7", "d", "-1d", "7w", "0d", "99999999999999d", ""] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
