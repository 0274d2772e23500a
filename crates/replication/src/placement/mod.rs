//! Placements: where the columns of a stream lie in a table that is there already, by Stitch's rules.
//!
//! A destination tells its [`Dialect`] and describes the [`StoredTable`]; from these and the stream's schema the
//! `Placement` is planned, once for every change of schema. It renames and adds columns where the stream needs them,
//! splits a column whose type has changed, and says which rows can't be held because a name can't be. The rows of a load
//! are then laid out as the table has them, so destinations never meet a name or a type that doesn't fit.

mod change;
mod dialect;
mod nested;
mod plan;
mod registry;
mod stored;
mod types;

#[cfg(test)]
mod tests;

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Decimal128Array, RecordBatch, new_null_array, types::Int64Type,
    },
    error::ArrowError,
};

pub use change::{ColumnChange, ColumnChangeKind};
pub use dialect::{Dialect, Nesting, SOURCE_KEY_PREFIX, SplitRule, verbatim};
pub(crate) use dialect::{has_reserved_suffix, with_suffix};
pub(crate) use registry::Placements;
pub use stored::{StoredColumn, StoredTable};

use crate::{
    destination::{DestinationError, UnitTransaction, UnsupportedRow},
    reject::ReasonCode,
    row,
    stream::{ColumnType, NUMBER_PRECISION, NUMBER_SCALE, StreamSchema},
    system,
    unit::TableLoad,
};

/// A column of a table that gets another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// Its name.
    pub from: String,
    /// Its new name.
    pub to: String,
}

/// Where a stream's columns lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The stream by the table's names: what the destination is asked to hold. None if it can't hold the stream at all.
    pub(crate) stored: Option<Arc<StreamSchema>>,
    /// Where the values of each column of `stored` come from.
    origins: Vec<Origin>,
    /// Columns that get another name first.
    pub(crate) renames: Vec<Rename>,
    /// The same for the subtables of arrays of objects.
    subtable_renames: Vec<(StreamSchema, Vec<Rename>)>,
    /// Columns of the stream that have no place: rows with a value there can't be loaded.
    unplaced: Vec<Unplaced>,
    /// Why no row of the stream can be loaded.
    refusal: Option<Refusal>,
    /// What changes in a table that is there already.
    pub(crate) changes: Vec<ColumnChange>,
}

/// Where the values of a stored column come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The stream's column at this position.
    Column(usize),
    /// That one, whose integers become numbers.
    Widened(usize),
    /// Nowhere: the column holds what came under the same name in another type.
    Nothing,
}

/// A column that has no place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unplaced {
    position: usize,
    why: Refusal,
}

/// Why something can't be held.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    code: ReasonCode,
    reason: String,
}

impl Refusal {
    fn new(code: ReasonCode, reason: String) -> Self {
        Self { code, reason }
    }
}

impl Placement {
    /// The rows of a load, which are laid out as the source sends them, that have no place.
    pub(crate) fn unplaced(&self, load: &TableLoad) -> Vec<UnsupportedRow> {
        let mut rows = Vec::new();
        for (batch, columns) in load.rows.iter().enumerate() {
            let mut report = |row: usize, why: &Refusal| {
                rows.push(UnsupportedRow {
                    batch,
                    row,
                    code: why.code,
                    reason: why.reason.clone(),
                });
            };
            if let Some(why) = &self.refusal {
                (0..columns.num_rows()).for_each(|row| report(row, why));
                continue;
            }
            for Unplaced { position, why } in &self.unplaced {
                let array = columns.column(*position);
                (0..array.len())
                    .filter(|&row| array.is_valid(row))
                    .for_each(|row| report(row, why));
            }
            let stored = self.stored.iter().flat_map(|stored| &stored.columns);
            for (column, origin) in stored.zip(&self.origins) {
                let (ColumnType::Objects(items), Origin::Column(position)) =
                    (&column.column_type, *origin)
                else {
                    continue;
                };
                let texts = columns.column(position).as_string::<i32>();
                for (row, text) in texts.iter().enumerate() {
                    let fault = text.and_then(|text| items.fault(&column.name, text));
                    if let Some((code, reason)) = fault {
                        report(row, &Refusal::new(code, reason));
                    }
                }
            }
        }
        rows
    }

    /// The placement of a stream in a table of its own shape.
    fn of_new_table(schema: &StreamSchema) -> Self {
        Self {
            stored: Some(Arc::new(schema.clone())),
            origins: (0..schema.columns.len()).map(Origin::Column).collect(),
            renames: Vec::new(),
            subtable_renames: Vec::new(),
            unplaced: Vec::new(),
            refusal: None,
            changes: Vec::new(),
        }
    }

    /// Writes down what changed, once it is durable.
    pub(crate) fn report(&self, table: &str) {
        for change in &self.changes {
            tracing::info!(table, "Table `{table}`: {change}");
        }
        for Refusal { reason, .. } in
            self.unplaced.iter().map(|unplaced| &unplaced.why).chain(&self.refusal)
        {
            tracing::warn!(
                table,
                "Table `{table}`: {reason}; rows with a value there are rejected"
            );
        }
    }

    /// Makes the stream's table fit, and that of a version that waits.
    pub(crate) async fn prepare(
        &self,
        transaction: &mut dyn UnitTransaction,
        version: Option<i64>,
    ) -> Result<(), DestinationError> {
        let Some(stored) = &self.stored else { return Ok(()) };
        if !self.renames.is_empty() {
            transaction.rename(stored, &self.renames).await?;
        }
        for (subtable, renames) in &self.subtable_renames {
            transaction.rename(subtable, renames).await?;
        }
        transaction.prepare(stored, version).await
    }

    /// A load laid out as the table has its columns. Rows that have no place must be gone from it.
    pub(crate) fn place<'load>(
        &self,
        load: &'load TableLoad,
    ) -> Result<Cow<'load, TableLoad>, ArrowError> {
        let Some(stored) = &self.stored else { return Ok(Cow::Borrowed(load)) };
        if **stored == *load.schema {
            return Ok(Cow::Borrowed(load));
        }
        let schema = row::stamped_schema(stored);
        let place = |batch: &RecordBatch| {
            let mut columns = self.arranged(stored, batch)?;
            let (system, user) = (system::row_columns().len(), load.schema.columns.len());
            columns.extend_from_slice(&batch.columns()[user..user + system]);
            let placed = RecordBatch::try_new(Arc::clone(&schema), columns)?;
            match batch.columns().get(user + system) {
                Some(origins) => row::with_origins(&placed, Arc::clone(origins)),
                None => Ok(placed),
            }
        };
        let rows = load.rows.iter().map(place).collect::<Result<_, _>>()?;
        Ok(Cow::Owned(TableLoad { schema: Arc::clone(stored), rows, ..load.clone() }))
    }
}

impl Placement {
    /// The user columns of a batch of the stream as the table has them.
    pub(crate) fn arranged(
        &self,
        stored: &StreamSchema,
        batch: &RecordBatch,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        let columns = self.origins.iter().zip(&stored.columns).map(|(origin, column)| {
            Ok(match *origin {
                Origin::Column(position) => Arc::clone(batch.column(position)),
                Origin::Widened(position) => widened(batch.column(position))?,
                Origin::Nothing => new_null_array(&column.column_type.arrow(), batch.num_rows()),
            })
        });
        columns.collect()
    }

    /// The stream's column whose values a column of the table holds; none if those came under the same name in another
    /// type.
    pub(crate) fn origin(&self, column: usize) -> Option<usize> {
        match self.origins.get(column)? {
            Origin::Column(position) | Origin::Widened(position) => Some(*position),
            Origin::Nothing => None,
        }
    }
}

/// Integers as numbers: every one of 64 bits is one of the numbers that a column holds.
fn widened(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let integers = array.as_primitive::<Int64Type>();
    let factor = 10_i128.pow(u32::from(NUMBER_SCALE.unsigned_abs()));
    let numbers: Decimal128Array = integers
        .iter()
        .map(|integer| integer.map(|integer| i128::from(integer) * factor))
        .collect();
    Ok(Arc::new(numbers.with_precision_and_scale(NUMBER_PRECISION, NUMBER_SCALE)?))
}
