//! What the tests share: a warehouse in a temporary folder, rows to load, and rows read back.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use arrow::array::{
    ArrayRef, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use chrono::{DateTime, TimeDelta, Utc};
use destination_duckdb::{DuckDb, DuckDbConfig};
use replication::{
    claim::{Claim, ClaimMemory, ClaimRequest, Holder},
    destination::{Destination, DestinationError, MergeOutcome, UnitTransaction},
    event::Reading,
    row,
    stream::{Column, ColumnType, Method, StreamSchema, WinnerRule},
    unit::TableLoad,
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

pub(crate) const SCHEMA: &str = "stitch_bronto";

/// A folder with one DuckDB file.
pub(crate) struct Warehouse {
    pub(crate) folder: TempDir,
}

impl Warehouse {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("warehouse.duckdb")
    }

    pub(crate) fn config(&self) -> DuckDbConfig {
        DuckDbConfig::new(self.path(), SCHEMA)
    }

    pub(crate) fn open(&self) -> DuckDb {
        open(self.config())
    }
}

pub(crate) fn open(config: DuckDbConfig) -> DuckDb {
    DuckDb::new(config).expect("the configuration is right")
}

pub(crate) fn request(run_id: &str) -> ClaimRequest {
    ClaimRequest {
        integration_id: "Stitch Bronto".to_owned(),
        source_fingerprint: "account".to_owned(),
        holder: Holder::current(run_id),
        run_id: run_id.to_owned(),
        lease: TimeDelta::minutes(5),
        take_over: false,
        accept_source_change: false,
        start_date: None,
        reset_start_date: false,
    }
}

pub(crate) async fn claimed(destination: &DuckDb) -> Claim {
    destination.claim(&request("run")).await.expect("the schema is free")
}

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("the instant is written right")
}

/// A contact: its id, when it was modified (minutes after midnight), its email, its lists.
pub(crate) type Contact<'text> =
    (&'text str, Option<i64>, Option<&'text str>, Option<&'text [Option<&'text str>]>);

pub(crate) fn contacts(winner: WinnerRule) -> Arc<StreamSchema> {
    Arc::new(StreamSchema {
        stream: "contact".into(),
        columns: vec![
            Column::new("id", ColumnType::Text),
            Column::new("modified", ColumnType::Timestamp),
            Column::new("email", ColumnType::Text),
            Column::new("listIds", ColumnType::List(Box::new(ColumnType::Text))),
        ],
        key: vec!["id".to_owned()],
        replication_key: Some("modified".to_owned()),
        method: Method::Incremental,
        winner,
    })
}

/// Contacts as user columns.
pub(crate) fn contact_rows(schema: &StreamSchema, contacts: &[Contact<'_>]) -> RecordBatch {
    let midnight = at("2026-01-02T00:00:00Z").timestamp_micros();
    let mut lists = ListBuilder::new(StringBuilder::new());
    for (.., items) in contacts {
        lists.append_option(items.map(|items| items.to_vec()));
    }
    let modified =
        contacts.iter().map(|contact| contact.1.map(|minutes| midnight + minutes * 60_000_000));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(contacts.iter().map(|contact| Some(contact.0)).collect::<StringArray>()),
        Arc::new(modified.collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        Arc::new(contacts.iter().map(|contact| contact.2).collect::<StringArray>()),
        Arc::new(lists.finish()),
    ];
    RecordBatch::try_new(schema.arrow(), columns).expect("the columns fit the schema")
}

/// User columns with the system columns behind them; the first row has this sequence, each further one has one more.
pub(crate) fn stamped(
    schema: &StreamSchema,
    batch: &RecordBatch,
    first_sequence: i64,
    version: i64,
) -> RecordBatch {
    let count = batch.num_rows();
    let instant = at("2026-01-02T03:04:05.678Z").timestamp_micros();
    let instants: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from_value(instant, count).with_timezone("UTC"));
    let mut columns = batch.columns().to_vec();
    columns.extend([Arc::clone(&instants), Arc::clone(&instants), instants]);
    columns.push(Arc::new(Int64Array::from_iter_values((first_sequence..).take(count))));
    columns.push(Arc::new(Int64Array::from_value(version, count)));
    RecordBatch::try_new(row::stamped_schema(schema), columns).expect("the columns fit the schema")
}

pub(crate) fn load(
    schema: &Arc<StreamSchema>,
    version: Option<i64>,
    rows: Vec<RecordBatch>,
) -> TableLoad {
    let received = rows.iter().map(|batch| batch.num_rows() as u64).sum();
    TableLoad {
        schema: Arc::clone(schema),
        version,
        rows,
        rejects: Vec::new(),
        superseded: 0,
        received,
        reading: Reading::default(),
        max_replication_key: None,
        replayed: Arc::default(),
    }
}

/// Contacts of one sequence to be merged.
pub(crate) fn contact_load(
    schema: &Arc<StreamSchema>,
    rows: &[Contact<'_>],
    first_sequence: i64,
) -> TableLoad {
    let batch = contact_rows(schema, rows);
    load(schema, None, vec![stamped(schema, &batch, first_sequence, 0)])
}

/// Commits a unit of one load.
pub(crate) async fn commit(
    destination: &DuckDb,
    claim: &Claim,
    load: &TableLoad,
    batch_id: &str,
) -> Result<MergeOutcome, DestinationError> {
    let mut unit = destination.begin(claim).await?;
    unit.prepare(&load.schema, load.version).await?;
    let outcome = unit.merge(load).await?;
    finish(unit, claim, batch_id).await?;
    Ok(outcome)
}

/// Fences and commits a unit.
pub(crate) async fn finish(
    mut unit: Box<dyn UnitTransaction>,
    claim: &Claim,
    batch_id: &str,
) -> Result<(), DestinationError> {
    let memory = ClaimMemory { last_batch: Some(batch_id.to_owned()), ..ClaimMemory::default() };
    unit.fence(claim, &memory).await?;
    unit.commit().await
}

/// What a merge did, but for the growth, which must be the insertions.
pub(crate) fn figures(outcome: &MergeOutcome) -> [u64; 4] {
    assert_eq!(
        outcome.growth,
        i64::try_from(outcome.inserted).expect("tests are small"),
        "{outcome:?}"
    );
    [outcome.inserted, outcome.updated, outcome.unchanged, outcome.superseded]
}

/// One column of a table by the text of another.
pub(crate) async fn column(destination: &DuckDb, sql: &str) -> BTreeMap<String, Option<String>> {
    let (_, rows) = destination.query_text(sql).await.expect("the query is right");
    rows.into_iter().map(|mut row| (row.remove(0).unwrap_or_default(), row.remove(0))).collect()
}

/// All rows of a table as JSON objects: decimals as their shortest text, timestamps as RFC 3339, lists as arrays.
pub(crate) async fn rows_of(
    destination: &DuckDb,
    schema: &str,
    table: &str,
) -> Option<Vec<Map<String, Value>>> {
    let catalog = format!(
        "select column_name, data_type from duckdb_columns() where schema_name = '{schema}' and table_name = '{}' \
         order by column_index",
        table.replace('\'', "''")
    );
    let (_, columns) = destination.query_text(&catalog).await.expect("the catalog can be read");
    let columns: Vec<(String, String)> = columns
        .into_iter()
        .map(|mut row| (row.remove(0).unwrap_or_default(), row.remove(0).unwrap_or_default()))
        .collect();
    if columns.is_empty() {
        return None;
    }
    let expressions: Vec<String> = columns
        .iter()
        .map(|(name, data_type)| {
            let name = format!("\"{}\"", name.replace('"', "\"\""));
            match data_type.as_str() {
                "TIMESTAMP WITH TIME ZONE" => format!("epoch_us({name})"),
                list if list.ends_with("[]") => format!("to_json({name})"),
                _ => name,
            }
        })
        .collect();
    let sql = format!(
        "select {} from \"{schema}\".\"{}\"",
        expressions.join(", "),
        table.replace('"', "\"\"")
    );
    let (_, rows) = destination.query_text(&sql).await.expect("the table can be read");
    let object = |row: Vec<Option<String>>| {
        columns
            .iter()
            .zip(row)
            .map(|((name, data_type), text)| (name.clone(), value(data_type, text)))
            .collect()
    };
    Some(rows.into_iter().map(object).collect())
}

fn value(data_type: &str, text: Option<String>) -> Value {
    let Some(text) = text else { return Value::Null };
    match data_type {
        "VARCHAR" | "JSON" => Value::String(text),
        "BIGINT" => json!(text.parse::<i64>().expect("bigint is written as an integer")),
        "BOOLEAN" => json!(text == "true"),
        "DECIMAL(38,9)" => json!(text.trim_end_matches('0').trim_end_matches('.')),
        "TIMESTAMP WITH TIME ZONE" => {
            let micros = text.parse().expect("microseconds are an integer");
            json!(row::instant_text(
                DateTime::from_timestamp_micros(micros).expect("the instant is in range")
            ))
        }
        list if list.ends_with("[]") => {
            serde_json::from_str(&text).expect("JSON comes from the database")
        }
        other => panic!("no test has a column of type {other}"),
    }
}
