//! What a destination would hold after the events of one or more runs.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use replication::{
    event::{Event, Gap, RowBatch},
    stream::StreamName,
};
use serde_json::Value;
use tap_bronto::IdScheme;

use super::truth::{self, TrueRow};
use crate::{
    account::rows_of,
    table::{Row, canonical},
};

/// Keyed tables, with the state that belongs to them.
#[derive(Debug)]
pub(super) struct Replica {
    scheme: IdScheme,
    tables: BTreeMap<String, Table>,
    pub(super) states: BTreeMap<StreamName, Value>,
    pub(super) gaps: Vec<Gap>,
    /// Raw objects that were rejected, by stream.
    pub(super) rejects: BTreeMap<String, BTreeSet<String>>,
    /// Rows that no bookmark covers yet, by stream.
    waiting: BTreeMap<String, Vec<(Row, i64)>>,
}

#[derive(Debug, Default)]
struct Table {
    rows: HashMap<String, Held>,
    /// The keys under which a token was ever held.
    keys: HashMap<String, HashSet<String>>,
}

#[derive(Debug)]
struct Held {
    row: Row,
    line: String,
    token: String,
    at: Option<DateTime<Utc>>,
    sequence: i64,
}

impl Replica {
    pub(super) fn new(scheme: IdScheme) -> Self {
        Self {
            scheme,
            tables: BTreeMap::new(),
            states: BTreeMap::new(),
            gaps: Vec::new(),
            rejects: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// Takes an event. Rows become part of their table with the next bookmark of their stream.
    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::Batch(batch) => self.take_batch(&batch),
            Event::Bookmark(bookmark) => {
                let stream = bookmark.stream.expect("the tap's bookmarks name their stream");
                self.commit(stream.as_str());
                self.states.insert(stream, bookmark.state);
            }
            Event::Gap(gap) => self.gaps.push(gap),
            Event::BeginVersion { stream, .. } => {
                self.waiting.remove(stream.as_str());
            }
            Event::ActivateVersion { stream, .. } => {
                self.tables.remove(stream.as_str());
                self.commit(stream.as_str());
            }
            Event::Schema(_) | Event::Bookmarks(_) | Event::Retract { .. } => {}
        }
    }

    fn take_batch(&mut self, batch: &RowBatch) {
        let stream = batch.schema.stream.to_string();
        let rejects = batch.rejects.iter().map(|reject| reject.record.clone());
        self.rejects.entry(stream.clone()).or_default().extend(rejects);
        let rows = rows_of(batch).into_iter().zip(batch.first_sequence..);
        self.waiting.entry(stream).or_default().extend(rows);
    }

    fn commit(&mut self, stream: &str) {
        let table = self.tables.entry(stream.to_owned()).or_default();
        for (row, sequence) in self.waiting.remove(stream).unwrap_or_default() {
            let held = Held {
                at: truth::instant(stream, &row),
                token: truth::token(stream, &row, self.scheme),
                line: canonical(without_id(stream, &row)),
                row,
                sequence,
            };
            table.put(stream, held);
        }
    }

    /// The run is over: rows behind the last bookmarks are kept, or lost with it. A full table needs its version.
    pub(super) fn end_run(&mut self, keeps_rest: bool) {
        self.waiting.remove("list");
        if keeps_rest {
            let streams: Vec<_> = self.waiting.keys().cloned().collect();
            streams.iter().for_each(|stream| self.commit(stream));
        }
        self.waiting.clear();
    }

    /// Where a stream's bookmark stands.
    pub(super) fn bookmark(&self, stream: &str) -> Option<DateTime<Utc>> {
        let state = self.states.get(&StreamName::new(stream))?;
        state["last_record"].as_str().map(crate::account::at)
    }

    /// Under how many keys a row was ever held.
    pub(super) fn times_held(&self, stream: &str, token: &str) -> usize {
        self.tables.get(stream).and_then(|table| table.keys.get(token)).map_or(0, HashSet::len)
    }

    /// Whether a row was in a span that could not be read.
    pub(super) fn is_in_gap(&self, stream: &str, at: Option<DateTime<Utc>>) -> bool {
        let holds = |gap: &Gap| {
            gap.stream.as_str() == stream && at.is_some_and(|at| gap.from <= at && at < gap.to)
        };
        self.gaps.iter().any(holds)
    }

    /// Compares a table with the account.
    pub(super) fn assert_equals(&self, stream: &str, truth: &[TrueRow]) {
        let lines: HashSet<&str> = truth.iter().map(|row| row.line.as_str()).collect();
        let held = self.tables.get(stream).into_iter().flat_map(|table| table.rows.values());
        let is_activity = stream.ends_with("activity");
        // Activities without a date all share one identity, so nothing but their values can be checked.
        let counts = |at: Option<DateTime<Utc>>| !is_activity || at.is_some();
        let mut balance: BTreeMap<&str, (i64, Option<DateTime<Utc>>)> = BTreeMap::new();
        for held in held {
            assert!(lines.contains(held.line.as_str()), "{stream}: not true: {}", held.line);
            if counts(held.at) {
                balance.entry(&held.token).or_insert((0, held.at)).0 += 1;
            }
        }
        let mut expected: Vec<&TrueRow> =
            truth.iter().filter(|row| !row.is_unfit && counts(row.at)).collect();
        if stream == "unsubscribe" {
            let lost = expected.iter().find(|row| self.times_held(stream, &row.token) == 0);
            let lost = lost.map(|row| &row.line);
            assert!(lost.is_none(), "{stream}: never came: {lost:?}");
            expected = winners(&expected);
        } else if is_activity && self.scheme == IdScheme::Compatible {
            expected.sort_by(|left, right| left.token.cmp(&right.token));
            expected.dedup_by(|left, right| left.token == right.token);
        }
        for row in expected {
            balance.entry(&row.token).or_insert((0, row.at)).0 -= 1;
        }
        balance.retain(|_, (more, at)| *more > 0 || *more < 0 && !self.is_in_gap(stream, *at));
        let sample: Vec<_> = balance.iter().take(5).collect();
        assert!(
            balance.is_empty(),
            "{stream}: {} rows are missing (-) or too many (+): {sample:#?}\nbookmark {:?}",
            balance.len(),
            self.bookmark(stream)
        );
        self.assert_rejected(stream, truth);
    }

    /// Each row that can't be held is among the rejects (rows alike are one).
    fn assert_rejected(&self, stream: &str, truth: &[TrueRow]) {
        let unfit = truth.iter().filter(|row| row.is_unfit && !self.is_in_gap(stream, row.at));
        let unfit: HashSet<&str> = unfit.map(|row| row.line.as_str()).collect();
        let rejected = self.rejects.get(stream).map_or(0, BTreeSet::len);
        assert!(unfit.len() <= rejected, "{stream}: {} unfit, {rejected} rejected", unfit.len());
    }
}

impl Table {
    /// Merges a row as its stream's schema says.
    fn put(&mut self, stream: &str, new: Held) {
        let key = key(stream, &new.row);
        self.keys.entry(new.token.clone()).or_default().insert(key.clone());
        if let Some(held) = self.rows.get(&key) {
            let stays = match stream {
                "contact" => (held.at, held.sequence) > (new.at, new.sequence),
                "unsubscribe" => rank(&held.row) > rank(&new.row),
                "list" => panic!("a list came twice in one version: {key}"),
                _ => {
                    assert_alike(held, &new);
                    false
                }
            };
            if stays {
                return;
            }
        }
        self.rows.insert(key, new);
    }
}

/// An activity's id may be given to another one only if the two can't be told apart.
fn assert_alike(held: &Held, new: &Held) {
    let fields = ["createdDate", "activityType", "contactId", "deliveryId"];
    let identity = |held: &Held| fields.map(|field| held.row.get(field).cloned());
    let is_same = held.token == new.token || identity(held) == identity(new);
    assert!(is_same, "an id was given to two activities:\n{}\n{}", held.line, new.line);
}

fn key(stream: &str, row: &Row) -> String {
    let columns: &[&str] = match stream {
        "unsubscribe" => &["contactId", "deliveryId", "created"],
        _ => &["id"],
    };
    let values: Vec<_> = columns.iter().map(|column| row[*column].as_str().unwrap()).collect();
    values.join(" ")
}

fn rank(row: &Row) -> [Option<&str>; 2] {
    ["method", "complaint"].map(|column| row.get(column).and_then(Value::as_str))
}

/// Of the unsubscriptions that share a key, the greatest.
fn winners<'a>(rows: &[&'a TrueRow]) -> Vec<&'a TrueRow> {
    let mut winners: BTreeMap<String, &TrueRow> = BTreeMap::new();
    for row in rows {
        let winner = winners.entry(key("unsubscribe", &row.row)).or_insert(row);
        if rank(&row.row) > rank(&winner.row) {
            *winner = row;
        }
    }
    winners.into_values().collect()
}

fn without_id(stream: &str, row: &Row) -> Row {
    let mut row = row.clone();
    if stream.ends_with("activity") {
        row.shift_remove("id");
    }
    row
}
