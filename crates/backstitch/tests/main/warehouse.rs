//! The destinations, read back by other means than the program's own.

use std::{collections::BTreeMap, path::PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use duckdb::{AccessMode, Config, Connection, types::TimeUnit, types::Value as DuckValue};
use postgres_cluster::Cluster;
use serde_json::Value;
use tempfile::TempDir;

/// The schema that all tests fill.
pub(crate) const SCHEMA: &str = "stitch_bronto";

/// A row: the columns that aren't null, by name.
pub(crate) type Row = BTreeMap<String, Cell>;

/// A value in a form in which equal values are alike, whatever holds them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cell {
    Text(String),
    /// A number, without trailing zeros.
    Number(String),
    Boolean(bool),
    /// An instant in canonical UTC text.
    Instant(String),
    List(Vec<String>),
}

/// A place for rows.
pub(crate) enum Warehouse {
    /// A file of this name in a folder of its own.
    DuckDb(TempDir, &'static str),
    Postgres(Box<Cluster>),
}

impl Warehouse {
    /// A DuckDB file in a folder of its own.
    pub(crate) fn duckdb() -> Self {
        Self::duckdb_named("warehouse.duckdb")
    }

    /// A DuckDB file of this name in a folder of its own.
    pub(crate) fn duckdb_named(file: &'static str) -> Self {
        Self::DuckDb(tempfile::tempdir().unwrap(), file)
    }

    /// A PostgreSQL server of its own.
    pub(crate) fn postgres() -> Self {
        Self::Postgres(Box::new(Cluster::start().unwrap()))
    }

    /// The DuckDB file.
    pub(crate) fn file(&self) -> PathBuf {
        match self {
            Self::DuckDb(folder, file) => folder.path().join(file),
            Self::Postgres(_) => panic!("PostgreSQL is no file"),
        }
    }

    /// The address.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::DuckDb(..) => format!("duckdb:{}", self.file().display()),
            Self::Postgres(cluster) => cluster.url(),
        }
    }

    /// The value of `destination` in the configuration, and the environment that it needs.
    pub(crate) fn configuration(&self) -> (String, Vec<(String, String)>) {
        let address = self.address();
        match self {
            Self::DuckDb(..) => (format!("\"{address}\""), Vec::new()),
            Self::Postgres(cluster) => (
                format!("{{ url = \"{address}\", password = {{ env = \"WAREHOUSE_PASSWORD\" }} }}"),
                vec![("WAREHOUSE_PASSWORD".to_owned(), cluster.password().to_owned())],
            ),
        }
    }

    /// The variable in which `load` finds the password, where there is one.
    pub(crate) fn password(&self) -> Option<(String, String)> {
        match self {
            Self::DuckDb(..) => None,
            Self::Postgres(cluster) => {
                Some(("PGPASSWORD".to_owned(), cluster.password().to_owned()))
            }
        }
    }

    /// The PostgreSQL server.
    pub(crate) fn cluster(&self) -> &Cluster {
        match self {
            Self::DuckDb(..) => panic!("DuckDB is no server"),
            Self::Postgres(cluster) => cluster,
        }
    }

    /// All rows of a table.
    pub(crate) fn rows(&self, table: &str) -> Vec<Row> {
        match self {
            Self::DuckDb(..) => duckdb_rows(&self.open(), table),
            Self::Postgres(cluster) => postgres_rows(cluster, table),
        }
    }

    /// One number.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        match self {
            Self::DuckDb(..) => self.open().query_row(sql, [], |row| row.get(0)).unwrap(),
            Self::Postgres(cluster) => cluster.query(sql).unwrap().parse().unwrap(),
        }
    }

    /// Changes something behind the program's back.
    pub(crate) fn execute(&self, sql: &str) {
        match self {
            Self::DuckDb(..) => Connection::open(self.file()).unwrap().execute_batch(sql).unwrap(),
            Self::Postgres(cluster) => drop(cluster.query(sql).unwrap()),
        }
    }

    /// Everything that all tables hold, as text.
    pub(crate) fn dump(&self) -> String {
        let tables = format!(
            "select table_name from information_schema.tables where table_schema = '{SCHEMA}'"
        );
        match self {
            Self::DuckDb(..) => {
                let connection = self.open();
                let mut statement = connection.prepare(&tables).unwrap();
                let names = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
                let dump = |name: duckdb::Result<String>| {
                    format!("{:?}", duckdb_rows(&connection, &name.unwrap()))
                };
                names.map(dump).collect()
            }
            Self::Postgres(cluster) => {
                let names = cluster.query(&tables).unwrap();
                let dump =
                    |name| cluster.query(&format!("select * from {SCHEMA}.\"{name}\"")).unwrap();
                names.lines().map(dump).collect()
            }
        }
    }

    /// The `_sdc_sequence`, `_sdc_batched_at` and so on of all rows: what changes when a row is written again.
    pub(crate) fn system_columns(&self, table: &str) -> String {
        let sql = format!(
            "select md5(string_agg(concat_ws('|', _sdc_extracted_at, _sdc_received_at, _sdc_batched_at, _sdc_sequence, \
             _sdc_table_version), ',' order by _sdc_sequence)) from {SCHEMA}.\"{table}\""
        );
        match self {
            Self::DuckDb(..) => self.open().query_row(&sql, [], |row| row.get(0)).unwrap(),
            Self::Postgres(cluster) => cluster.query(&sql).unwrap(),
        }
    }

    fn open(&self) -> Connection {
        let config = Config::default().access_mode(AccessMode::ReadOnly).unwrap();
        Connection::open_with_flags(self.file(), config).unwrap()
    }
}

fn duckdb_rows(connection: &Connection, table: &str) -> Vec<Row> {
    let mut statement = connection.prepare(&format!("select * from {SCHEMA}.\"{table}\"")).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut found = Vec::new();
    let mut names = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        if names.is_empty() {
            names = row.as_ref().column_names();
        }
        let cell = |(place, name): (usize, &String)| {
            Some((name.clone(), duckdb_cell(row.get::<_, DuckValue>(place).unwrap())?))
        };
        found.push(names.iter().enumerate().filter_map(cell).collect());
    }
    found
}

fn duckdb_cell(value: DuckValue) -> Option<Cell> {
    Some(match value {
        DuckValue::Null => return None,
        DuckValue::Text(text) => Cell::Text(text),
        DuckValue::Boolean(truth) => Cell::Boolean(truth),
        DuckValue::BigInt(number) => Cell::Number(number.to_string()),
        DuckValue::Decimal(number) => Cell::Number(number_text(&number.to_string())),
        DuckValue::Timestamp(TimeUnit::Microsecond, micros) => {
            instant(DateTime::from_timestamp_micros(micros).unwrap())
        }
        DuckValue::List(items) => {
            let text = |item| match item {
                DuckValue::Text(text) => text,
                other => panic!("a list holds {other:?}"),
            };
            Cell::List(items.into_iter().map(text).collect())
        }
        other => panic!("a column holds {other:?}"),
    })
}

/// Rows with their arrays, which stand in subtables.
fn postgres_rows(cluster: &Cluster, table: &str) -> Vec<Row> {
    let query = |sql: &str| cluster.query(&format!("set timezone to 'UTC'; {sql}")).unwrap();
    let types = query(&format!(
        "select column_name || ' ' || data_type from information_schema.columns \
         where table_schema = '{SCHEMA}' and table_name = '{table}'"
    ));
    let types: BTreeMap<&str, &str> =
        types.lines().filter_map(|line| line.split_once(' ')).collect();
    let parse = |line: &str| serde_json::from_str::<BTreeMap<String, Value>>(line).unwrap();
    let cell = |(name, value): (String, Value)| {
        let cell = postgres_cell(types[name.as_str()], value)?;
        Some((name, cell))
    };
    let lines = query(&format!("select row_to_json(t) from {SCHEMA}.\"{table}\" t"));
    let mut rows: Vec<Row> =
        lines.lines().map(|line| parse(line).into_iter().filter_map(cell).collect()).collect();
    let subtables = query(&format!(
        "select table_name from information_schema.tables \
         where table_schema = '{SCHEMA}' and table_name like '{table}\\_\\_%'"
    ));
    for subtable in subtables.lines() {
        let column = subtable.split_once("__").unwrap().1;
        let lists = query(&format!(
            "select _sdc_source_key_id || ' ' || json_agg(value order by _sdc_level_0_id) \
             from {SCHEMA}.\"{subtable}\" group by _sdc_source_key_id"
        ));
        let lists: BTreeMap<&str, &str> =
            lists.lines().filter_map(|line| line.split_once(' ')).collect();
        let mut found = 0;
        for row in &mut rows {
            let Some(Cell::Text(id)) = row.get("id") else { continue };
            if let Some(list) = lists.get(id.as_str()) {
                found += 1;
                row.insert(column.to_owned(), Cell::List(serde_json::from_str(list).unwrap()));
            }
        }
        assert_eq!(found, lists.len(), "rows of `{subtable}` have no parent");
    }
    rows
}

fn postgres_cell(data_type: &str, value: Value) -> Option<Cell> {
    Some(match (data_type, value) {
        (_, Value::Null) => return None,
        ("text" | "character varying", Value::String(text)) => Cell::Text(text),
        ("boolean", Value::Bool(truth)) => Cell::Boolean(truth),
        ("numeric" | "bigint", Value::Number(number)) => {
            Cell::Number(number_text(&number.to_string()))
        }
        ("timestamp with time zone", Value::String(text)) => {
            instant(DateTime::parse_from_rfc3339(&text).unwrap().to_utc())
        }
        (data_type, value) => panic!("a column of type {data_type} holds {value}"),
    })
}

/// An instant in canonical UTC text: the fraction without trailing zeros.
pub(crate) fn instant(instant: DateTime<Utc>) -> Cell {
    let text = instant.to_rfc3339_opts(SecondsFormat::Micros, true);
    let (whole, fraction) = text.trim_end_matches('Z').split_once('.').unwrap();
    let fraction = fraction.trim_end_matches('0');
    Cell::Instant(if fraction.is_empty() {
        format!("{whole}Z")
    } else {
        format!("{whole}.{fraction}Z")
    })
}

/// A plain decimal without trailing zeros.
pub(crate) fn number_text(number: &str) -> String {
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    if number == "-0" { "0".to_owned() } else { number.to_owned() }
}
