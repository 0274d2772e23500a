//! Streams and loads for tests that speak to the destination directly.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use destination_postgres::Postgres;
use replication::{
    arrow::array::{
        ArrayRef, Decimal128Array, Int64Array, ListBuilder, RecordBatch, StringArray,
        StringBuilder, TimestampMicrosecondArray,
    },
    claim::{Claim, ClaimMemory, ClaimRequest, Holder},
    destination::{Destination, DestinationError, MergeOutcome, UnitTransaction},
    event::Reading,
    row::stamped_schema,
    stream::{
        Column, ColumnType, Method, NUMBER_PRECISION, NUMBER_SCALE, StreamName, StreamSchema,
        WinnerRule,
    },
    unit::TableLoad,
};

/// A row of [`contacts`].
#[derive(Clone, Debug)]
pub(crate) struct Contact {
    pub(crate) id: String,
    pub(crate) email: Option<String>,
    pub(crate) amount: Option<i128>,
    pub(crate) modified: Option<i64>,
    pub(crate) lists: Option<Vec<Option<String>>>,
    pub(crate) sequence: i64,
}

pub(crate) fn contact(id: &str, email: &str, sequence: i64) -> Contact {
    Contact {
        id: id.to_owned(),
        email: Some(email.to_owned()),
        amount: Some(1_500_000_000),
        modified: Some(sequence),
        lists: None,
        sequence,
    }
}

impl Contact {
    pub(crate) fn lists(mut self, lists: &[&str]) -> Self {
        self.lists = Some(lists.iter().map(|list| Some((*list).to_owned())).collect());
        self
    }
}

pub(crate) fn contacts() -> Arc<StreamSchema> {
    schema("contact", &["id"])
}

pub(crate) fn schema(stream: &str, key: &[&str]) -> Arc<StreamSchema> {
    Arc::new(StreamSchema {
        stream: StreamName::from(stream),
        columns: vec![
            Column::new("id", ColumnType::Text),
            Column::new("email", ColumnType::Text),
            Column::new("amount", ColumnType::Number),
            Column::new("modified", ColumnType::Timestamp),
            Column::new("listIds", ColumnType::List(Box::new(ColumnType::Text))),
        ],
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        replication_key: Some("modified".to_owned()),
        method: Method::Incremental,
        winner: WinnerRule::ReplicationKey,
    })
}

pub(crate) fn load(schema: &Arc<StreamSchema>, rows: &[Contact]) -> TableLoad {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in rows {
        for item in row.lists.iter().flatten() {
            lists.values().append_option(item.as_deref());
        }
        lists.append(row.lists.is_some());
    }
    let amounts: Decimal128Array = rows.iter().map(|row| row.amount).collect();
    let modified: TimestampMicrosecondArray = rows.iter().map(|row| row.modified).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.id.as_str()))),
        Arc::new(rows.iter().map(|row| row.email.as_deref()).collect::<StringArray>()),
        Arc::new(amounts.with_precision_and_scale(NUMBER_PRECISION, NUMBER_SCALE).unwrap()),
        Arc::new(modified.with_timezone("UTC")),
        Arc::new(lists.finish()),
    ];
    stamped(schema, columns, rows.iter().map(|row| row.sequence).collect())
}

/// A load of user columns, with system columns behind them.
pub(crate) fn stamped(
    schema: &Arc<StreamSchema>,
    mut columns: Vec<ArrayRef>,
    sequences: Vec<i64>,
) -> TableLoad {
    let count = sequences.len();
    let at: ArrayRef = Arc::new(
        TimestampMicrosecondArray::from_value(instant(0).timestamp_micros(), count)
            .with_timezone("UTC"),
    );
    columns.extend([Arc::clone(&at), Arc::clone(&at), at]);
    columns.push(Arc::new(Int64Array::from(sequences)));
    columns.push(Arc::new(Int64Array::from_value(0, count)));
    TableLoad {
        schema: Arc::clone(schema),
        version: None,
        rows: vec![RecordBatch::try_new(stamped_schema(schema), columns).unwrap()],
        rejects: Vec::new(),
        superseded: 0,
        received: count as u64,
        reading: Reading::default(),
        max_replication_key: None,
        replayed: Arc::default(),
    }
}

pub(crate) fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600 + seconds, 0).unwrap()
}

pub(crate) fn request(run_id: &str) -> ClaimRequest {
    ClaimRequest {
        integration_id: "bronto".to_owned(),
        source_fingerprint: "account".to_owned(),
        holder: Holder::current(run_id),
        run_id: run_id.to_owned(),
        lease: TimeDelta::seconds(60),
        take_over: false,
        accept_source_change: false,
        start_date: None,
        reset_start_date: false,
    }
}

/// A transaction with the load's table made and the load merged.
pub(crate) async fn merged(
    postgres: &Postgres,
    claim: &Claim,
    load: &TableLoad,
) -> Result<(Box<dyn UnitTransaction>, MergeOutcome), DestinationError> {
    let mut unit = postgres.begin(claim).await?;
    unit.prepare(&load.schema, load.version).await?;
    let outcome = unit.merge(load).await?;
    Ok((unit, outcome))
}

/// Merges a load and commits it.
pub(crate) async fn commit(
    postgres: &Postgres,
    claim: &Claim,
    load: &TableLoad,
) -> Result<MergeOutcome, DestinationError> {
    let (mut unit, outcome) = merged(postgres, claim, load).await?;
    unit.fence(claim, &ClaimMemory::default()).await?;
    unit.commit().await?;
    Ok(outcome)
}
