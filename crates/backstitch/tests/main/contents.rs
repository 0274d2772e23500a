//! Tables and records in one form, in which equal contents are alike: whoever wrote them, wherever they stand.
//!
//! An object is spread into `outer__inner` columns and an array is put together from its subtable; so a record is compared
//! with the row that it became, however the destination keeps such values. Names are compared by their letters and digits
//! alone. Null, absent and the empty array are one.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use duckdb::{AccessMode, Config, Connection};
use postgres_cluster::Cluster;
use serde_json::{Map, Number, Value};

use crate::warehouse::{Cell, Warehouse, instant, number_text};

/// A row: the columns that aren't null, by name, as text that begins with its kind.
pub(crate) type Flat = BTreeMap<String, String>;

/// How often each row is there.
pub(crate) type Bag = BTreeMap<Flat, u64>;

/// A record or a row in the one form.
pub(crate) fn flat(record: &Map<String, Value>) -> Flat {
    let mut row = Flat::new();
    spread("", record, &mut row);
    row
}

/// The rows of a bag.
pub(crate) fn bag(rows: impl IntoIterator<Item = Flat>) -> Bag {
    let mut bag = Bag::new();
    for row in rows {
        *bag.entry(row).or_default() += 1;
    }
    bag
}

/// Stops the test unless both hold the same rows, each as often.
#[track_caller]
pub(crate) fn assert_same(what: &str, expected: &Bag, found: &Bag) {
    let surplus = |left: &Bag, right: &Bag| -> Vec<Flat> {
        let more = left.iter().filter(|(row, count)| right.get(*row).unwrap_or(&0) < count);
        more.map(|(row, _)| row.clone()).collect()
    };
    let (missing, unexpected) = (surplus(expected, found), surplus(found, expected));
    assert!(
        missing.is_empty() && unexpected.is_empty(),
        "{what}: {} rows are missing, for example {:#?}; {} should not be there, for example {:#?}",
        missing.len(),
        missing.first(),
        unexpected.len(),
        unexpected.first()
    );
}

/// The letters and digits of a name, in lower case.
pub(crate) fn plain(name: &str) -> String {
    name.chars()
        .filter(|character| character.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

fn spread(outer: &str, object: &Map<String, Value>, row: &mut Flat) {
    for (name, value) in object {
        let name = format!("{outer}{}", plain(name));
        match value {
            Value::Null => {}
            Value::Object(inner) => spread(&name, inner, row),
            Value::Array(items) if items.is_empty() => {}
            other => {
                row.insert(name, leaf(other));
            }
        }
    }
}

fn leaf(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => format!("boolean {truth}"),
        Value::Number(number) => format!("number {}", number_text(&number.to_string())),
        Value::String(text) => moment(text).unwrap_or_else(|| format!("text {text}")),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(leaf).collect::<Vec<_>>().join("\u{1f}"))
        }
        Value::Object(object) => format!("{:?}", flat(object)),
    }
}

/// A date or a date-time by its instant; without an offset it is UTC.
fn moment(text: &str) -> Option<String> {
    let is_date = text.len() >= 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
    let date = is_date.then(|| text.get(..10)).flatten()?;
    let time = match text.get(11..) {
        Some(time) if !time.is_empty() => time.to_owned(),
        _ => "00:00:00".to_owned(),
    };
    let candidates = [time.clone(), format!("{time}Z"), format!("{time}:00")];
    candidates.iter().find_map(|time| {
        let parsed = DateTime::parse_from_rfc3339(&format!("{date}T{time}")).ok()?;
        match instant(parsed.to_utc()) {
            Cell::Instant(text) => Some(format!("instant {text}")),
            _ => None,
        }
    })
}

impl Warehouse {
    /// The tables of a schema with their rows; arrays from subtables stand in their rows, under the names of their
    /// columns, and columns whose names begin with `_sdc_` are left out. Where a table's rows are told apart by other
    /// columns than `id`, `keys` has them.
    pub(crate) fn contents(
        &self,
        schema: &str,
        keys: &BTreeMap<String, Vec<String>>,
    ) -> BTreeMap<String, Bag> {
        let raw: BTreeMap<String, Vec<Map<String, Value>>> = match self {
            Self::DuckDb(..) => duckdb_tables(&self.reader(), schema),
            Self::Postgres(cluster) => postgres_tables(cluster, schema),
        };
        let names: BTreeSet<&str> = raw.keys().map(String::as_str).collect();
        let parent_of = |name: &str| {
            names
                .iter()
                .find(|parent| {
                    name.strip_prefix(**parent).is_some_and(|rest| rest.starts_with("__"))
                })
                .copied()
        };
        let mut tables = BTreeMap::new();
        for (name, rows) in &raw {
            if name.starts_with("_sdc_") || parent_of(name).is_some() {
                continue;
            }
            let default = vec!["id".to_owned()];
            let key = keys.get(name).unwrap_or(&default);
            let mut rows = rows.clone();
            for (child, items) in raw.iter().filter(|(child, _)| parent_of(child) == Some(name)) {
                put_together(&mut rows, key, &child[name.len() + 2..], items);
            }
            let users = rows.iter().map(|row| {
                let users = row.iter().filter(|(name, _)| !name.starts_with("_sdc_"));
                flat(&users.map(|(name, value)| (name.clone(), value.clone())).collect())
            });
            tables.insert(name.clone(), bag(users));
        }
        tables
    }

    /// The records that a schema's loads have rejected, by table.
    pub(crate) fn rejected(&self, schema: &str) -> BTreeMap<String, Vec<Map<String, Value>>> {
        let mut tables = match self {
            Self::DuckDb(..) => duckdb_tables(&self.reader(), schema),
            Self::Postgres(cluster) => postgres_tables(cluster, schema),
        };
        let mut rejected: BTreeMap<String, Vec<Map<String, Value>>> = BTreeMap::new();
        for row in tables.remove("_sdc_rejected").unwrap_or_default() {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            assert!(!text("reason").is_empty(), "a reject has no reason: {row:?}");
            rejected
                .entry(text("table_name"))
                .or_default()
                .push(serde_json::from_str(&text("record")).unwrap());
        }
        rejected
    }

    fn reader(&self) -> Connection {
        let config = Config::default().access_mode(AccessMode::ReadOnly).unwrap();
        Connection::open_with_flags(self.file(), config).unwrap()
    }
}

/// Gives the rows of a table their arrays of one column, which stand in a subtable.
fn put_together(
    rows: &mut [Map<String, Value>],
    key: &[String],
    column: &str,
    items: &[Map<String, Value>],
) {
    let mut lists: BTreeMap<String, BTreeMap<i64, Value>> = BTreeMap::new();
    for item in items {
        let key: Vec<&Value> =
            key.iter().map(|name| &item[&format!("_sdc_source_key_{name}")]).collect();
        let place = item["_sdc_level_0_id"].as_i64().unwrap();
        let twin =
            lists.entry(format!("{key:?}")).or_default().insert(place, item["value"].clone());
        assert!(twin.is_none(), "two items of `{column}` share a place: {item:?}");
    }
    for row in rows {
        let key: Vec<&Value> = key.iter().map(|name| &row[name]).collect();
        if let Some(list) = lists.remove(&format!("{key:?}")) {
            row.insert(column.to_owned(), list.into_values().collect());
        }
    }
    assert!(lists.is_empty(), "items of `{column}` have no row: {lists:?}");
}

fn postgres_tables(cluster: &Cluster, schema: &str) -> BTreeMap<String, Vec<Map<String, Value>>> {
    let query = |sql: &str| cluster.query(&format!("set timezone to 'UTC'; {sql}")).unwrap();
    let names = query(&format!(
        "select table_name from information_schema.tables where table_schema = '{schema}'"
    ));
    let rows = |name: &str| {
        let lines = query(&format!("select row_to_json(t) from \"{schema}\".\"{name}\" t"));
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    names.lines().map(|name| (name.to_owned(), rows(name))).collect()
}

fn duckdb_tables(
    connection: &Connection,
    schema: &str,
) -> BTreeMap<String, Vec<Map<String, Value>>> {
    let texts = |sql: &str| -> Vec<Vec<String>> {
        let mut statement = connection.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut found = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let width = row.as_ref().column_count();
            found.push((0..width).map(|place| row.get(place).unwrap()).collect());
        }
        found
    };
    let columns = texts(&format!(
        "select table_name, column_name, data_type from information_schema.columns where table_schema = '{schema}'"
    ));
    let mut tables: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for column in columns {
        let [table, name, data_type] = <[String; 3]>::try_from(column).unwrap();
        tables.entry(table).or_default().push((name, data_type));
    }
    let is_number =
        |data_type: &str| data_type.starts_with("DECIMAL") || data_type.ends_with("INT");
    let rows = |table: &str, columns: &[(String, String)]| {
        // Numbers as texts, for JSON of DuckDB's own making has them as floats.
        let fields = columns.iter().map(|(name, data_type)| {
            let cast = if is_number(data_type) { "::varchar" } else { "" };
            format!("\"{name}\" := \"{name}\"{cast}")
        });
        let fields = fields.collect::<Vec<_>>().join(", ");
        let lines = texts(&format!(
            "select to_json(struct_pack({fields}))::varchar from \"{schema}\".\"{table}\""
        ));
        let parse = |line: Vec<String>| {
            let mut row: Map<String, Value> = serde_json::from_str(&line[0]).unwrap();
            for (name, _) in columns.iter().filter(|(_, data_type)| is_number(data_type)) {
                if let Value::String(text) = &row[name] {
                    row[name] = Value::Number(text.parse::<Number>().unwrap());
                }
            }
            row
        };
        lines.into_iter().map(parse).collect()
    };
    tables.iter().map(|(name, columns)| (name.clone(), rows(name, columns))).collect()
}
