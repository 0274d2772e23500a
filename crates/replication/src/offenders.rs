//! Finding the rows that a destination refuses, so that a bad row never costs its batch.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::{
    claim::Claim,
    destination::{Destination, DestinationError, DestinationErrorKind, UnsupportedRow},
    gather::Unit,
    reject::{ReasonCode, RejectedRow},
    row,
    unit::TableLoad,
};

/// Finds the rows of a unit that the destination refuses, by merging halves in transactions that are rolled back, and
/// moves them to the rejects. Returns how many there were.
pub(crate) async fn reject_offenders(
    destination: &dyn Destination,
    claim: &Claim,
    unit: &mut Unit,
    now: DateTime<Utc>,
) -> Result<usize, DestinationError> {
    let mut found = 0;
    for position in 0..unit.loads.len() {
        let load = &unit.loads[position];
        let mut offenders = Vec::new();
        for (batch_index, batch) in load.rows.iter().enumerate() {
            let mut slices = vec![(0, batch.num_rows())];
            while let Some((start, length)) = slices.pop() {
                let slice = TableLoad { rows: vec![batch.slice(start, length)], ..load.clone() };
                let refusal = probe(destination, claim, unit, &slice).await?;
                let Some((code, reason)) = refusal else { continue };
                if length == 1 {
                    offenders.push(UnsupportedRow { batch: batch_index, row: start, code, reason });
                } else {
                    slices.push((start, length / 2));
                    slices.push((start + length / 2, length - length / 2));
                }
            }
        }
        found += offenders.len();
        reject(&mut unit.loads[position], offenders, now);
    }
    Ok(found)
}

/// Tries to merge a load without keeping it; tells why the destination refuses a row of it, if it does.
async fn probe(
    destination: &dyn Destination,
    claim: &Claim,
    unit: &Unit,
    load: &TableLoad,
) -> Result<Option<(ReasonCode, String)>, DestinationError> {
    if load.row_count() == 0 {
        return Ok(None);
    }
    let mut transaction = destination.begin(claim).await?;
    let merged = async {
        for (schema, version) in &unit.prepares {
            transaction.prepare(schema, *version).await?;
        }
        transaction.merge(load).await
    }
    .await;
    transaction.rollback().await?;
    match merged {
        Ok(_) => Ok(None),
        Err(DestinationError { kind: DestinationErrorKind::Row(code), message, .. }) => {
            Ok(Some((code, message)))
        }
        Err(error) => Err(error),
    }
}

/// Moves rows of a load to its rejects.
pub(crate) fn reject(load: &mut TableLoad, rows: Vec<UnsupportedRow>, now: DateTime<Utc>) {
    if rows.is_empty() {
        return;
    }
    let schema = Arc::clone(&load.schema);
    let mut kept: Vec<Vec<bool>> =
        load.rows.iter().map(|batch| vec![true; batch.num_rows()]).collect();
    for unsupported in rows {
        let batch = &load.rows[unsupported.batch];
        if !std::mem::replace(&mut kept[unsupported.batch][unsupported.row], false) {
            continue;
        }
        load.rejects.push(RejectedRow {
            stream: schema.stream.clone(),
            code: unsupported.code,
            reason: unsupported.reason,
            record: row::render(&schema, batch, unsupported.row),
            key_digest: row::key_digest(&schema, batch, unsupported.row),
            sequence: row::sequence(&schema, batch, unsupported.row),
            table_version: load.version.unwrap_or_default(),
            extracted_at: now,
        });
    }
    let filter = |(batch, kept): (&_, Vec<bool>)| {
        arrow::compute::filter_record_batch(batch, &kept.into())
            .expect("the filter has one flag for every row of its batch")
    };
    load.rows =
        load.rows.iter().zip(kept).map(filter).filter(|batch| batch.num_rows() > 0).collect();
}
