//! What the account holds, against what the tables hold: value for value.

use std::collections::{BTreeMap, BTreeSet};

use bronto_sim::{CustomField, RunningServer, Table};
use chrono::DateTime;
use serde_json::{Map, Value};
use tap_bronto::BrontoStream;

use crate::warehouse::{Cell, Row, Warehouse, instant, number_text};

/// Columns that the program adds; no truth has them.
const SYSTEM_PREFIX: &str = "_sdc_";

/// What becomes of unsubscribes that share their key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Twins {
    /// The greatest stays, each other one is a reject.
    Rejected,
    /// One stays, as in every Singer target that upserts.
    Superseded,
}

/// Stops the test unless every table of the warehouse equals the account, and the rejects account for the rest.
#[track_caller]
pub(crate) fn assert_equal(account: &RunningServer, warehouse: &Warehouse) {
    assert_tables(account, warehouse, Twins::Rejected, &account.custom_fields());
}

/// The same where custom fields have the columns and types of these, whatever they are called in Bronto by now. What
/// other columns hold is for the caller to judge.
#[track_caller]
pub(crate) fn assert_equal_with(
    account: &RunningServer,
    warehouse: &Warehouse,
    fields: &[CustomField],
) {
    assert_tables(account, warehouse, Twins::Rejected, fields);
}

/// The same for rows that came as Singer messages.
#[track_caller]
pub(crate) fn assert_equal_after_load(account: &RunningServer, warehouse: &Warehouse) {
    assert_tables(account, warehouse, Twins::Superseded, &account.custom_fields());
}

#[track_caller]
fn assert_tables(
    account: &RunningServer,
    warehouse: &Warehouse,
    twins: Twins,
    fields: &[CustomField],
) {
    let mut rejected: Vec<Row> = warehouse.rows("_sdc_rejected");
    rejected.retain(|row| !row.contains_key("replayed_at"));
    for table in Table::ALL {
        let stored = warehouse.rows(table.name());
        let columns = column_kinds(&stored);
        let truth = account.truth(table).into_iter();
        let truth: Vec<Row> =
            truth.map(|row| canonical(table, with_columns(row, fields), &columns)).collect();
        let mut stored: Vec<Row> = stored.into_iter().map(without_system_columns).collect();
        if table == Table::Contact {
            stored.iter_mut().for_each(|row| row.retain(|name, _| is_column(name, fields)));
        }
        let (kept, lost) = match (table, twins) {
            (Table::Unsubscribe, Twins::Rejected) => winners(truth, |_| true),
            (Table::Unsubscribe, Twins::Superseded) => {
                (winners(truth, |row| stored.contains(row)).0, 0)
            }
            _ => (truth, 0),
        };
        if matches!(table, Table::InboundActivity | Table::OutboundActivity) {
            take_ids(&mut stored, table);
        }
        assert_same_rows(table, kept, stored);
        let of_table =
            |row: &&Row| row.get("table_name") == Some(&Cell::Text(table.name().to_owned()));
        assert_eq!(rejected.iter().filter(of_table).count(), lost, "rejects of `{table}`");
    }
}

/// The kind of each column, as far as any row shows it: the truth writes numbers and instants as texts.
pub(crate) fn column_kinds(rows: &[Row]) -> BTreeMap<String, Cell> {
    rows.iter().flatten().map(|(name, cell)| (name.clone(), cell.clone())).collect()
}

/// Whether contacts have a column of their own by this name, or for one of these custom fields.
fn is_column(name: &str, fields: &[CustomField]) -> bool {
    let own = BrontoStream::Contact.columns();
    own.iter().any(|column| column.name == name) || fields.iter().any(|field| field.name == name)
}

/// A row of the truth with its custom fields as columns. Nothing is no number, no boolean and no date.
pub(crate) fn with_columns(
    mut row: Map<String, Value>,
    fields: &[CustomField],
) -> Map<String, Value> {
    let Some(Value::Array(contents)) = row.remove("fields") else { return row };
    for content in contents {
        let Some(text) = content.get("content").and_then(Value::as_str) else { continue };
        let field = fields.iter().find(|field| content["fieldId"] == field.id).unwrap();
        let value = match field.kind.as_str() {
            "integer" | "float" | "currency" | "checkbox" | "date" if text.is_empty() => continue,
            "checkbox" => Value::Bool(text.parse().unwrap()),
            _ => text.into(),
        };
        row.insert(field.name.clone(), value);
    }
    row
}

/// A row of the truth in the tables' terms.
pub(crate) fn canonical(
    table: Table,
    row: Map<String, Value>,
    columns: &BTreeMap<String, Cell>,
) -> Row {
    let mut row: Row = row
        .into_iter()
        .filter_map(|(name, value)| {
            let cell = match value {
                Value::String(text) => match columns.get(&name) {
                    Some(Cell::Number(_)) => Cell::Number(number_text(&text)),
                    Some(Cell::Instant(_)) => {
                        instant(DateTime::parse_from_rfc3339(&text).unwrap().to_utc())
                    }
                    _ => Cell::Text(text),
                },
                Value::Null => return None,
                Value::Number(number) => Cell::Number(number_text(&number.to_string())),
                Value::Bool(truth) => Cell::Boolean(truth),
                Value::Array(items) if items.is_empty() => return None,
                Value::Array(items) => {
                    let text =
                        |item: Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
                    Cell::List(items.into_iter().map(text).collect())
                }
                other => panic!("the truth holds {other}"),
            };
            Some((name, cell))
        })
        .collect();
    if table == Table::Unsubscribe {
        // A key can't be null, so an absent delivery is the empty text.
        row.entry("deliveryId".to_owned()).or_insert_with(|| Cell::Text(String::new()));
    }
    row
}

/// Of unsubscribes that share their key, the greatest in `method` and then `complaint` among those that may win; and how
/// many others there are.
fn winners(rows: Vec<Row>, may_win: impl Fn(&Row) -> bool) -> (Vec<Row>, usize) {
    let distinct: BTreeSet<Row> = rows.into_iter().collect();
    let total = distinct.len();
    let mut kept: BTreeMap<Vec<Option<Cell>>, Row> = BTreeMap::new();
    let pick = |row: &Row, names: &[&str]| -> Vec<Option<Cell>> {
        names.iter().map(|name| row.get(*name).cloned()).collect()
    };
    for row in distinct {
        let rank = |row: &Row| (may_win(row), pick(row, &["method", "complaint"]));
        let key = pick(&row, &["contactId", "deliveryId", "created"]);
        match kept.get(&key) {
            Some(other) if rank(other) >= rank(&row) => {}
            _ => {
                kept.insert(key, row);
            }
        }
    }
    let lost = total - kept.len();
    (kept.into_values().collect(), lost)
}

pub(crate) fn without_system_columns(row: Row) -> Row {
    let is_users = |(name, cell): &(String, Cell)| {
        !name.starts_with(SYSTEM_PREFIX) && !matches!(cell, Cell::List(items) if items.is_empty())
    };
    row.into_iter().filter(is_users).collect()
}

/// Activities have no id in the account; the one made for them must tell them apart.
fn take_ids(rows: &mut [Row], table: Table) {
    let ids: BTreeSet<Option<Cell>> = rows.iter_mut().map(|row| row.remove("id")).collect();
    assert_eq!(ids.len(), rows.len(), "ids of `{table}` are not unique");
    assert!(!ids.contains(&None), "a row of `{table}` has no id");
}

/// Stops the test unless both are the same rows, each as often.
#[track_caller]
pub(crate) fn assert_same_rows(table: Table, truth: Vec<Row>, stored: Vec<Row>) {
    let mut counts: BTreeMap<Row, i64> = BTreeMap::new();
    let (expected, found) = (truth.len(), stored.len());
    for row in truth {
        *counts.entry(row).or_default() += 1;
    }
    for row in stored {
        *counts.entry(row).or_default() -= 1;
    }
    let missing: Vec<&Row> =
        counts.iter().filter(|(_, count)| **count > 0).map(|(row, _)| row).collect();
    let surplus: Vec<&Row> =
        counts.iter().filter(|(_, count)| **count < 0).map(|(row, _)| row).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "`{table}`: {expected} rows in the account, {found} in the table; {} of the account's are missing, for example \
         {:#?}; {} are not the account's, for example {:#?}",
        missing.len(),
        missing.first(),
        surplus.len(),
        surplus.first()
    );
}
