//! Picking, among rows of one unit that share a key, the one that stays: in our memory, before the destination sees any
//! of them, so that a merge never meets a key twice.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch},
    compute::{concat, filter_record_batch},
    error::ArrowError,
};

use crate::{
    collision, row,
    stream::{StreamSchema, WinnerRule},
    system,
    unit::TableLoad,
};

/// What became of the rows of a unit.
#[derive(Debug)]
struct Selection {
    /// The winners, keys unique.
    rows: Vec<RecordBatch>,
    /// How many lost against a newer version of themselves, or were repeated in every column.
    superseded: u64,
    /// Losers that are no old version of the winner: they go to the rejects. Batches of such rows.
    collided: Vec<RecordBatch>,
}

/// Where a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Wins,
    Superseded,
    Collided,
}

/// Leaves only the winners in a load; the others are superseded, or among its rejects.
pub(crate) fn apply(load: &mut TableLoad) -> Result<(), ArrowError> {
    let selection = select(&load.schema, std::mem::take(&mut load.rows))?;
    for collided in &selection.collided {
        let rejects = collision::rejects_of(load, collided);
        load.rejects.extend(rejects);
    }
    load.rows = selection.rows;
    load.superseded += selection.superseded;
    Ok(())
}

/// Picks the winners among stamped batches.
fn select(schema: &StreamSchema, batches: Vec<RecordBatch>) -> Result<Selection, ArrowError> {
    let keys: Option<Vec<usize>> = schema.key.iter().map(|name| schema.position(name)).collect();
    let keys = keys.filter(|keys| !keys.is_empty());
    let (Some(keys), false) = (keys, batches.is_empty()) else {
        return Ok(Selection { rows: batches, superseded: 0, collided: Vec::new() });
    };
    let key_rows = row::encode_arrays(&gather(&batches, &keys)?)?;
    let mut best: HashMap<&[u8], usize> = HashMap::with_capacity(key_rows.num_rows());
    let mut contested = false;
    for index in 0..key_rows.num_rows() {
        contested |= best.insert(key_rows.row(index).data(), index).is_some();
    }
    if !contested {
        return Ok(Selection { rows: batches, superseded: 0, collided: Vec::new() });
    }

    let rank_rows = row::encode_arrays(&gather(&batches, &rank_columns(schema)?)?)?;
    let user_rows = match &schema.winner {
        WinnerRule::Greatest(_) => {
            let all: Vec<usize> = (0..schema.columns.len()).collect();
            Some(row::encode_arrays(&gather(&batches, &all)?)?)
        }
        WinnerRule::Sequence | WinnerRule::ReplicationKey => None,
    };
    best.clear();
    for index in 0..key_rows.num_rows() {
        let holder = best.entry(key_rows.row(index).data()).or_insert(index);
        if rank_rows.row(index) > rank_rows.row(*holder) {
            *holder = index;
        }
    }
    let fates: Vec<Fate> = (0..key_rows.num_rows())
        .map(|index| match best.get(key_rows.row(index).data()) {
            Some(&winner) if winner != index => {
                let differs =
                    user_rows.as_ref().is_some_and(|rows| rows.row(index) != rows.row(winner));
                if differs { Fate::Collided } else { Fate::Superseded }
            }
            _ => Fate::Wins,
        })
        .collect();
    split(&batches, &fates)
}

/// The columns whose values rank rows of one key, most significant first; the sequence always decides last.
fn rank_columns(schema: &StreamSchema) -> Result<Vec<usize>, ArrowError> {
    let position = |name: &String| {
        schema
            .position(name)
            .ok_or_else(|| ArrowError::SchemaError(format!("Column `{name}` is not in the schema")))
    };
    let mut columns = match &schema.winner {
        WinnerRule::Sequence => Vec::new(),
        WinnerRule::ReplicationKey => {
            schema.replication_key.iter().map(position).collect::<Result<_, _>>()?
        }
        WinnerRule::Greatest(names) => names.iter().map(position).collect::<Result<_, _>>()?,
    };
    columns.push(row::system_column(schema, system::SEQUENCE));
    Ok(columns)
}

/// The named columns of all batches, each as one array.
fn gather(batches: &[RecordBatch], columns: &[usize]) -> Result<Vec<ArrayRef>, ArrowError> {
    columns
        .iter()
        .map(|&column| match batches {
            [only] => Ok(Arc::clone(only.column(column))),
            _ => concat(
                &batches.iter().map(|batch| batch.column(column).as_ref()).collect::<Vec<_>>(),
            ),
        })
        .collect()
}

fn split(batches: &[RecordBatch], fates: &[Fate]) -> Result<Selection, ArrowError> {
    let mut selection = Selection { rows: Vec::new(), superseded: 0, collided: Vec::new() };
    let mut start = 0;
    for batch in batches {
        let fates = &fates[start..start + batch.num_rows()];
        start += batch.num_rows();
        let pick = |fate: Fate| -> BooleanArray {
            fates.iter().map(|&other| Some(other == fate)).collect()
        };
        let count = |fate: Fate| fates.iter().filter(|&&other| other == fate).count();
        selection.superseded += count(Fate::Superseded) as u64;
        if count(Fate::Collided) > 0 {
            selection.collided.push(filter_record_batch(batch, &pick(Fate::Collided))?);
        }
        match count(Fate::Wins) {
            0 => {}
            all if all == batch.num_rows() => selection.rows.push(batch.clone()),
            _ => selection.rows.push(filter_record_batch(batch, &pick(Fate::Wins))?),
        }
    }
    Ok(selection)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{AsArray, StringArray, types::Int64Type};
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        row::Stamps,
        stream::{Column, ColumnType, Method, StreamName},
    };

    fn schema(winner: WinnerRule) -> StreamSchema {
        StreamSchema {
            stream: StreamName::from("rows"),
            columns: ["key", "at", "text"].map(|name| Column::new(name, ColumnType::Text)).to_vec(),
            key: vec!["key".to_owned()],
            replication_key: Some("at".to_owned()),
            method: Method::Incremental,
            winner,
        }
    }

    /// A row as the model sees it: key, replication key, text, sequence.
    type Row = (String, Option<String>, String, i64);

    fn batches(schema: &StreamSchema, rows: &[Row], sizes: &[usize]) -> Vec<RecordBatch> {
        let mut batches = Vec::new();
        let mut rest = rows;
        for &size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (head, tail) = rest.split_at(size.min(rest.len()));
            let columns: Vec<ArrayRef> = vec![
                Arc::new(head.iter().map(|row| Some(row.0.as_str())).collect::<StringArray>()),
                Arc::new(head.iter().map(|row| row.1.as_deref()).collect::<StringArray>()),
                Arc::new(head.iter().map(|row| Some(row.2.as_str())).collect::<StringArray>()),
            ];
            let now = DateTime::from_timestamp_nanos(0);
            let stamps = Stamps {
                extracted_each: None,
                extracted_at: now,
                received_at: now,
                batched_at: now,
                first_sequence: head[0].3,
                table_version: 0,
            };
            let batch = RecordBatch::try_new(schema.arrow(), columns).unwrap();
            batches.push(row::stamp(schema, &batch, &stamps).unwrap());
            rest = tail;
        }
        batches
    }

    fn read(batches: &[RecordBatch]) -> Vec<Row> {
        let text = |batch: &RecordBatch, column: usize, index: usize| {
            let array = batch.column(column).as_string::<i32>();
            arrow::array::Array::is_valid(array, index).then(|| array.value(index).to_owned())
        };
        let rows = |batch: &RecordBatch| {
            (0..batch.num_rows())
                .map(|index| {
                    let sequence = batch.column(6).as_primitive::<Int64Type>().value(index);
                    let key = text(batch, 0, index).unwrap();
                    (key, text(batch, 1, index), text(batch, 2, index).unwrap(), sequence)
                })
                .collect::<Vec<_>>()
        };
        batches.iter().flat_map(rows).collect()
    }

    /// The rule as plainly as it can be said: sort each key's rows by rank, keep the last.
    fn model(rule: &WinnerRule, rows: &[Row]) -> (BTreeMap<String, Row>, usize, usize) {
        let rank = |row: &Row| match rule {
            WinnerRule::Sequence => (None, None, row.3),
            WinnerRule::ReplicationKey => (row.1.clone(), None, row.3),
            WinnerRule::Greatest(_) => (row.1.clone(), Some(row.2.clone()), row.3),
        };
        let mut by_key: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for row in rows {
            by_key.entry(row.0.clone()).or_default().push(row.clone());
        }
        let (mut winners, mut superseded) = (BTreeMap::new(), 0);
        for (key, mut rows) in by_key {
            rows.sort_by_key(rank);
            let winner = rows.pop().unwrap();
            if matches!(rule, WinnerRule::Greatest(_)) {
                rows.retain(|row| (&row.1, &row.2) == (&winner.1, &winner.2));
            }
            superseded += rows.len();
            winners.insert(key, winner);
        }
        let collided = rows.len() - winners.len() - superseded;
        (winners, superseded, collided)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn picks_what_the_plain_rule_picks(
            rows in prop::collection::vec(("[a-d]", prop::option::of("[0-3]"), "[x-z]"), 0..40),
            sizes in prop::collection::vec(1..7_usize, 1..5),
            rule in 0..3_usize,
        ) {
            let rule = [
                WinnerRule::Sequence,
                WinnerRule::ReplicationKey,
                WinnerRule::Greatest(vec!["at".to_owned(), "text".to_owned()]),
            ][rule].clone();
            let rows: Vec<Row> = rows
                .into_iter()
                .enumerate()
                .map(|(index, (key, at, text))| (key, at, text, index as i64))
                .collect();
            let schema = schema(rule.clone());
            let selection = select(&schema, batches(&schema, &rows, &sizes)).unwrap();
            let (winners, superseded, collided) = model(&rule, &rows);
            let found = read(&selection.rows);
            prop_assert_eq!(found.len(), winners.len());
            for row in found {
                prop_assert_eq!(&row, &winners[&row.0]);
            }
            prop_assert_eq!(selection.superseded, superseded as u64);
            prop_assert_eq!(read(&selection.collided).len(), collided);
        }
    }
}
