//! Tables as a destination would hold them, and as the account truly is.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::account::{Account, Run, TABLES};

pub(crate) type Row = Map<String, Value>;

/// Rows by key, per stream: what a target makes of one or more runs.
#[derive(Debug, Default)]
pub(crate) struct Tables(BTreeMap<String, BTreeMap<String, Row>>);

impl Tables {
    pub(crate) fn of(run: &Run) -> Self {
        let mut tables = Self::default();
        tables.apply(run.rows.iter().cloned());
        tables
    }

    /// Rows of a later run over those of an earlier one. Lists are replaced as a whole.
    pub(crate) fn apply(&mut self, rows: impl IntoIterator<Item = (String, Row)>) {
        for (stream, row) in rows {
            let key = match stream.as_str() {
                // Stitch's key doesn't tell them apart, and the tap emits all.
                "unsubscribe" => Value::Object(row.clone()).to_string(),
                _ => row["id"].to_string(),
            };
            self.0.entry(stream).or_default().insert(key, row);
        }
    }

    pub(crate) fn clear(&mut self, stream: &str) {
        self.0.remove(stream);
    }

    /// The rows of a stream as sorted lines, without the ids that the tap makes.
    pub(crate) fn lines(&self, stream: &str) -> Vec<String> {
        let rows = self.0.get(stream).into_iter().flat_map(BTreeMap::values);
        sorted(rows.map(|row| {
            let mut row = row.clone();
            if stream.ends_with("activity") {
                row.shift_remove("id");
            }
            row
        }))
    }

    /// Compares all tables with the account, value for value.
    pub(crate) fn assert_true(&self, account: &Account) {
        for (stream, _) in TABLES {
            self.assert_stream_true(account, stream);
        }
    }

    pub(crate) fn assert_stream_true(&self, account: &Account, stream: &str) {
        let (found, truth) = (self.lines(stream), truth(account, stream));
        let missing: Vec<_> =
            truth.iter().filter(|line| found.binary_search(line).is_err()).take(3).collect();
        let extra: Vec<_> =
            found.iter().filter(|line| truth.binary_search(line).is_err()).take(3).collect();
        assert!(
            found == truth,
            "{stream}: {} rows found, {} true\nmissing: {missing:#?}\nnot true: {extra:#?}",
            found.len(),
            truth.len()
        );
    }
}

/// The account's rows in the form of [`Tables::lines`].
pub(crate) fn truth(account: &Account, stream: &str) -> Vec<String> {
    let mut lines = sorted(true_rows(account, stream).into_iter());
    if stream == "unsubscribe" {
        lines.dedup();
    }
    lines
}

/// The account's rows with the values that the tap's columns have.
pub(crate) fn true_rows(account: &Account, stream: &str) -> Vec<Row> {
    let (_, table) = TABLES.into_iter().find(|(name, _)| *name == stream).unwrap();
    let mut rows = account.server.truth(table);
    for row in &mut rows {
        row.shift_remove("fields");
        if stream == "unsubscribe" {
            row.entry("deliveryId").or_insert_with(|| "".into());
        }
    }
    rows
}

fn sorted(rows: impl Iterator<Item = Row>) -> Vec<String> {
    let mut lines: Vec<String> = rows.map(canonical).collect();
    lines.sort_unstable();
    lines
}

/// A row as a line: columns by name, empty lists like absent ones, numbers as their text.
pub(crate) fn canonical(row: Row) -> String {
    let mut row: Vec<(String, Value)> = row
        .into_iter()
        .filter(|(_, value)| {
            !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
        })
        .map(|(name, value)| match value {
            // The parser of the test writes exponents in its own way.
            Value::Number(number) => {
                (name, number.to_string().replace("e+", "E").replace('e', "E").into())
            }
            other => (name, other),
        })
        .collect();
    row.sort_by(|(left, _), (right, _)| left.cmp(right));
    Value::Object(row.into_iter().collect()).to_string()
}
