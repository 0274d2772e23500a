//! Tables as a destination would hold them, and as the account truly is.

use std::collections::BTreeMap;

use bronto_sim::CustomField;
use chrono::DateTime;
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

/// The account's rows with the values that the tap's columns have. A custom field's are those that it had when the
/// account began, or that it has now if it was added since.
pub(crate) fn true_rows(account: &Account, stream: &str) -> Vec<Row> {
    let now = account.server.custom_fields();
    let fields = account.first_fields.iter().chain(&now);
    true_rows_with(account, stream, &fields.collect::<Vec<_>>())
}

/// The same with these columns for custom fields; the first of an id counts.
pub(crate) fn true_rows_with(account: &Account, stream: &str, fields: &[&CustomField]) -> Vec<Row> {
    let (_, table) = TABLES.into_iter().find(|(name, _)| *name == stream).unwrap();
    let mut rows = account.server.truth(table);
    for row in &mut rows {
        let contents = row.shift_remove("fields");
        if let Some(contents) = contents.as_ref().and_then(Value::as_array) {
            row.extend(contents.iter().filter_map(|content| custom_value(fields, content)));
        }
        if stream == "unsubscribe" {
            row.entry("deliveryId").or_insert_with(|| "".into());
        }
    }
    rows
}

/// A custom field's column and value.
fn custom_value(fields: &[&CustomField], content: &Value) -> Option<(String, Value)> {
    let text = content.get("content")?.as_str().unwrap();
    let field = fields.iter().find(|field| content["fieldId"] == field.id).unwrap();
    let value = match field.kind.as_str() {
        "integer" | "float" | "currency" | "checkbox" | "date" if text.is_empty() => return None,
        "checkbox" => Value::Bool(text.parse().unwrap()),
        "date" if text.contains('T') => DateTime::parse_from_rfc3339(text)
            .unwrap()
            .to_utc()
            .format("%Y-%m-%dT%H:%M:%SZ")
            .to_string()
            .into(),
        _ => text.into(),
    };
    Some((field.name.clone(), value))
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
