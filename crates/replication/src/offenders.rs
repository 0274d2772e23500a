//! Finding the rows that a destination refuses, so that a bad row never costs its batch.

use arrow::array::RecordBatch;

use crate::{
    claim::Claim,
    destination::{Destination, DestinationError, DestinationErrorKind, UnsupportedRow},
    gather::Unit,
    placement::Placements,
    row,
    unit::TableLoad,
};

/// How many rows of a unit may be refused before the table is to blame, and not its rows.
const MOST_OFFENDERS: usize = 1_000;

/// Finds the rows of a unit that the destination refuses and moves them to the rejects. Returns how many there were.
///
/// Rows are found by merging halves in transactions that are rolled back. Where every half passes alone, rows offend only
/// together (with a unique index of the user's, say): then the first row that can't follow those before it is the one.
///
/// # Errors
/// The destination's, and the refusal itself when more than [`MOST_OFFENDERS`] rows are refused.
pub(crate) async fn reject_offenders(
    destination: &dyn Destination,
    claim: &Claim,
    unit: &mut Unit,
    placements: &Placements,
) -> Result<usize, DestinationError> {
    let mut found = 0;
    for position in 0..unit.loads.len() {
        let load = &unit.loads[position];
        let search = Search { destination, claim, unit, placements, load };
        let mut offenders = Vec::new();
        for batch in 0..search.load.rows.len() {
            search.single(batch, &mut offenders).await?;
        }
        if offenders.is_empty() {
            offenders.extend(search.first_that_cannot_follow().await?);
        }
        found += offenders.len();
        reject(&mut unit.loads[position], offenders);
    }
    Ok(found)
}

/// A search among the rows of one load.
struct Search<'unit> {
    destination: &'unit dyn Destination,
    claim: &'unit Claim,
    unit: &'unit Unit,
    placements: &'unit Placements,
    load: &'unit TableLoad,
}

impl Search<'_> {
    /// Rows of a batch that are refused by themselves.
    async fn single(
        &self,
        batch: usize,
        offenders: &mut Vec<UnsupportedRow>,
    ) -> Result<(), DestinationError> {
        let rows = &self.load.rows[batch];
        let mut slices = vec![(0, rows.num_rows())];
        while let Some((start, length)) = slices.pop() {
            let Some(refusal) = self.refusal(vec![rows.slice(start, length)]).await? else {
                continue;
            };
            if length > 1 {
                slices.push((start, length / 2));
                slices.push((start + length / 2, length - length / 2));
            } else if offenders.len() == MOST_OFFENDERS {
                return Err(table_to_blame(self.load, refusal));
            } else {
                offenders.push(offender(batch, start, refusal)?);
            }
        }
        Ok(())
    }

    /// The first row that is refused behind those before it, if there is one.
    async fn first_that_cannot_follow(&self) -> Result<Option<UnsupportedRow>, DestinationError> {
        let count = self.load.row_count();
        let Some(mut refusal) = self.refusal(self.load.rows.clone()).await? else {
            return Ok(None);
        };
        // Invariant: the first `good` rows pass, the first `bad` don't.
        let (mut good, mut bad) = (0, count);
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            match self.refusal(first_rows(&self.load.rows, middle)).await? {
                None => good = middle,
                Some(found) => (bad, refusal) = (middle, found),
            }
        }
        let mut row = good;
        for (batch, rows) in self.load.rows.iter().enumerate() {
            if row < rows.num_rows() {
                return offender(batch, row, refusal).map(Some);
            }
            row -= rows.num_rows();
        }
        Ok(None)
    }

    /// Tries to merge rows without keeping them. Returns the refusal if the destination refuses one of them.
    async fn refusal(
        &self,
        rows: Vec<RecordBatch>,
    ) -> Result<Option<DestinationError>, DestinationError> {
        let load = TableLoad { rows, rejects: Vec::new(), ..self.load.clone() };
        if load.row_count() == 0 {
            return Ok(None);
        }
        let mut transaction = self.destination.begin(self.claim).await?;
        let merged = async {
            for (schema, version) in &self.unit.prepares {
                self.placements.of(schema).prepare(transaction.as_mut(), *version).await?;
            }
            let placed = self.placements.of(&load.schema);
            let placed =
                placed.place(&load).and_then(|load| Ok(row::handed_over(&load)?.into_owned()));
            let placed = placed.map_err(|error| {
                let message = format!("Rows of `{}` could not be laid out", load.schema.table());
                DestinationError::new(DestinationErrorKind::Bug, message, "Report this defect")
                    .caused_by(error)
            })?;
            transaction.merge(&placed).await
        }
        .await;
        let rolled_back = transaction.rollback().await;
        match merged {
            Err(error) if matches!(error.kind, DestinationErrorKind::Row(_)) => {
                rolled_back.map(|()| Some(error))
            }
            Err(error) => Err(error),
            Ok(_) => rolled_back.map(|()| None),
        }
    }
}

fn first_rows(batches: &[RecordBatch], mut count: usize) -> Vec<RecordBatch> {
    let mut first = Vec::new();
    for batch in batches {
        let part = batch.slice(0, count.min(batch.num_rows()));
        count -= part.num_rows();
        first.push(part);
    }
    first
}

fn offender(
    batch: usize,
    row: usize,
    refusal: DestinationError,
) -> Result<UnsupportedRow, DestinationError> {
    match refusal.kind {
        DestinationErrorKind::Row(code) => {
            Ok(UnsupportedRow { batch, row, code, reason: refusal.message })
        }
        _ => Err(refusal),
    }
}

fn table_to_blame(load: &TableLoad, refusal: DestinationError) -> DestinationError {
    let table = load.schema.table();
    DestinationError::new(
        DestinationErrorKind::Refused,
        format!("The destination refuses more than {MOST_OFFENDERS} rows of one unit of `{table}`"),
        "Something is wrong with the table rather than with its rows: look at its constraints and triggers",
    )
    .caused_by(refusal)
}

/// Moves rows of a load to its rejects.
pub(crate) fn reject(load: &mut TableLoad, rows: Vec<UnsupportedRow>) {
    if rows.is_empty() {
        return;
    }
    let mut kept: Vec<Vec<bool>> =
        load.rows.iter().map(|batch| vec![true; batch.num_rows()]).collect();
    for UnsupportedRow { batch, row, code, reason } in rows {
        if !std::mem::replace(&mut kept[batch][row], false) {
            continue;
        }
        let reject = row::rejected(load, &load.rows[batch], row, code, reason);
        load.rejects.push(reject);
    }
    let filter = |(batch, kept): (&_, Vec<bool>)| {
        arrow::compute::filter_record_batch(batch, &kept.into())
            .expect("the filter has one flag for every row of its batch")
    };
    let filtered = load.rows.iter().zip(kept).map(filter);
    load.rows = filtered.filter(|batch| batch.num_rows() > 0).collect();
}
