//! Rows that share a key though neither is a version of the other: the greater stays, the other goes to the rejects,
//! whole and once, whichever of the two came first.

use std::{cmp::Ordering, collections::HashMap};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::{
    reject::{Occurrence, ReasonCode, RejectedRow},
    row,
    stream::{StreamSchema, WinnerRule},
    system,
    unit::TableLoad,
};

/// Makes rejects of rows that lost by key collision within a unit.
pub(crate) fn rejects_of(load: &TableLoad, collided: &RecordBatch) -> Vec<RejectedRow> {
    let reject = |index| {
        row::rejected(load, collided, index, ReasonCode::KeyCollision, reason(&load.schema))
    };
    (0..collided.num_rows()).map(reject).collect()
}

/// What [`settle`] decided.
#[derive(Debug)]
pub(crate) struct Settled {
    /// The load without its losers, which are among its rejects now.
    pub(crate) load: TableLoad,
    /// Rows of the table that the load's rows replace.
    pub(crate) displaced: Vec<RejectedRow>,
}

/// Decides between the load's rows and the rows of the table that share their keys and differ. None where there is
/// nothing to decide.
pub(crate) fn settle(
    load: &TableLoad,
    rivals: &[Map<String, Value>],
) -> Result<Option<Settled>, ArrowError> {
    let WinnerRule::Greatest(ranks) = &load.schema.winner else { return Ok(None) };
    if rivals.is_empty() {
        return Ok(None);
    }
    let mut settled = Settled { load: load.clone(), displaced: Vec::new() };
    let schema = &load.schema;
    let mut places = HashMap::new();
    for (batch_index, batch) in load.rows.iter().enumerate() {
        for index in 0..batch.num_rows() {
            places
                .insert(key_text(schema, &row::object(schema, batch, index)), (batch_index, index));
        }
    }
    let mut losers: Vec<Vec<usize>> = vec![Vec::new(); load.rows.len()];
    for rival in rivals {
        let Some(&(batch_index, index)) = places.get(&key_text(schema, rival)) else {
            continue;
        };
        let ours = row::object(schema, &load.rows[batch_index], index);
        match rank(ranks, &ours, rival) {
            Ordering::Greater => settled.displaced.push(RejectedRow {
                stream: schema.stream.clone(),
                code: ReasonCode::KeyCollision,
                reason: reason(schema),
                record: in_schema_order(schema, rival),
                key_digest: row::key_digest(schema, &load.rows[batch_index], index),
                sequence: number(rival, system::SEQUENCE),
                table_version: number(rival, system::TABLE_VERSION),
                extracted_at: read_at(rival).unwrap_or_default(),
                occurrence: Occurrence::Number(1),
                replays: None,
            }),
            Ordering::Less => losers[batch_index].push(index),
            Ordering::Equal => {}
        }
    }
    for (batch_index, losers) in losers.iter().enumerate().filter(|(_, losers)| !losers.is_empty())
    {
        let batch = &load.rows[batch_index];
        let lost: BooleanArray =
            (0..batch.num_rows()).map(|index| Some(losers.contains(&index))).collect();
        let kept = arrow::compute::not(&lost)?;
        let collided = filter_record_batch(batch, &lost)?;
        settled.load.rejects.extend(rejects_of(load, &collided));
        settled.load.rows[batch_index] = filter_record_batch(batch, &kept)?;
    }
    settled.load.rows.retain(|batch| batch.num_rows() > 0);
    Ok(Some(settled))
}

fn reason(schema: &StreamSchema) -> String {
    format!(
        "Key collision: another row of `{}` has the same {} and is kept",
        schema.table(),
        schema.key.join(", ")
    )
}

/// A system column of a stored row, which is null where somebody else has put the row there.
fn number(rival: &Map<String, Value>, column: &str) -> i64 {
    rival.get(column).and_then(Value::as_i64).unwrap_or_default()
}

fn read_at(rival: &Map<String, Value>) -> Option<DateTime<Utc>> {
    let text = rival.get(system::EXTRACTED_AT)?.as_str()?;
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}

fn key_text(schema: &StreamSchema, object: &Map<String, Value>) -> String {
    Value::Array(
        schema.key.iter().map(|name| object.get(name).cloned().unwrap_or_default()).collect(),
    )
    .to_string()
}

fn rank(columns: &[String], left: &Map<String, Value>, right: &Map<String, Value>) -> Ordering {
    let text = |object: &Map<String, Value>, name: &String| match object.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    };
    columns
        .iter()
        .map(|name| text(left, name).cmp(&text(right, name)))
        .find(|ordering| ordering.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// The object's user columns in the schema's order, nulls left out: the form of [`row::render`].
fn in_schema_order(schema: &StreamSchema, object: &Map<String, Value>) -> String {
    let ordered: Map<String, Value> = schema
        .columns
        .iter()
        .filter_map(|column| Some((column.name.clone(), object.get(&column.name)?.clone())))
        .filter(|(_, value)| !value.is_null())
        .collect();
    Value::Object(ordered).to_string()
}
