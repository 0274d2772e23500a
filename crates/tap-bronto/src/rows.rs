//! Rows under construction, in the form in which they leave: as columns of an Arrow batch, or as lines of messages.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch, StringBuilder},
    compute::filter_record_batch,
    error::ArrowError,
};
use bronto_client::{PlainText, Room, lexical};
use chrono::{DateTime, Utc};
use replication::stream::StreamSchema;

use crate::{
    activity_id::Digest16,
    columns::ColumnBuilder,
    lines::{LineBuilder, Lines},
    reading::{CAME_TWICE, Unfit},
    seen::Settled,
};

/// The room for another page is kept up to this many bytes.
const MOST_KEPT: usize = 6 << 20;

/// Rows under construction. Row numbers are those of the first row that is not complete.
#[derive(Debug)]
pub(crate) enum RowBuilder {
    /// As columns.
    Columns(Vec<ColumnBuilder>),
    /// As lines.
    Lines(Box<LineBuilder>),
}

/// Complete rows.
#[derive(Debug)]
pub(crate) enum BuiltRows {
    /// The columns that come from fields.
    Columns(Vec<ArrayRef>),
    /// Lines.
    Lines(Lines),
}

impl RowBuilder {
    /// Whether row `row` has a value in that column.
    pub(crate) fn has(&self, column: usize, row: usize) -> bool {
        match self {
            Self::Columns(columns) => columns[column].len() > row,
            Self::Lines(lines) => lines.has(column),
        }
    }

    /// Reads `text` as the value of row `row` in that column.
    ///
    /// # Errors
    /// [`Unfit`] when the text is no such value. The row is lost then: take it back.
    #[inline]
    pub(crate) fn push(&mut self, column: usize, row: usize, text: &str) -> Result<(), Unfit> {
        match self {
            Self::Columns(columns) => columns[column].push(row, text),
            Self::Lines(lines) => lines.push(column, text),
        }
    }

    /// Reads a text that needs no escape, as [`RowBuilder::push`] does.
    #[inline]
    pub(crate) fn push_plain(
        &mut self,
        column: usize,
        row: usize,
        text: PlainText<'_>,
    ) -> Result<(), Unfit> {
        match self {
            Self::Columns(columns) => columns[column].push(row, text.as_str()),
            Self::Lines(lines) => lines.push_plain(column, text),
        }
    }

    /// Takes a date-time that was read already, as [`RowBuilder::push`] does, and its text, if that needs no escape.
    ///
    /// # Errors
    /// [`Unfit`] when the column can't hold it, or when it is none.
    pub(crate) fn push_date(
        &mut self,
        column: usize,
        row: usize,
        date: Result<lexical::DateTime<'_>, Unfit>,
        text: Option<PlainText<'_>>,
    ) -> Result<(), Unfit> {
        match (self, text) {
            (Self::Columns(columns), _) => columns[column].push_date(row, date),
            // To write it from its text costs less.
            (Self::Lines(lines), Some(text)) => lines.push_plain(column, text),
            (Self::Lines(lines), None) => lines.push_date(column, date),
        }
    }

    /// Takes the absence of a value, which then can't come any more.
    ///
    /// # Errors
    /// [`Unfit`] when there is a value already.
    pub(crate) fn push_absent(&mut self, column: usize, row: usize) -> Result<(), Unfit> {
        match self {
            Self::Columns(columns) if columns[column].len() > row => Err(CAME_TWICE),
            Self::Columns(columns) => {
                columns[column].complete(row);
                Ok(())
            }
            Self::Lines(lines) => lines.push_absent(column),
        }
    }

    /// Row `row` is complete.
    pub(crate) fn end_row(&mut self, row: usize) {
        match self {
            Self::Columns(columns) => columns.iter_mut().for_each(|column| column.complete(row)),
            Self::Lines(lines) => lines.end_row(),
        }
    }

    /// Takes back everything from row `row` on.
    pub(crate) fn take_back(&mut self, row: usize) {
        match self {
            Self::Columns(columns) => columns.iter_mut().for_each(|column| column.truncate(row)),
            Self::Lines(lines) => lines.take_back(row),
        }
    }

    /// The rows of an answer of so many bytes are to come.
    pub(crate) fn expect(&mut self, bytes: usize) {
        match self {
            Self::Columns(_) => {}
            Self::Lines(lines) => lines.expect(bytes),
        }
    }

    /// Takes the complete rows; the builder is empty then.
    pub(crate) fn take(&mut self) -> BuiltRows {
        match self {
            Self::Columns(columns) => {
                let arrays: Vec<_> = columns.iter_mut().map(ColumnBuilder::take).collect();
                // Every worker would keep it, also while it waits for its answer.
                if arrays.iter().map(Array::get_array_memory_size).sum::<usize>() > MOST_KEPT {
                    columns.iter_mut().for_each(ColumnBuilder::release);
                }
                BuiltRows::Columns(arrays)
            }
            Self::Lines(lines) => BuiltRows::Lines(lines.take()),
        }
    }
}

impl Default for BuiltRows {
    /// None.
    fn default() -> Self {
        Self::Columns(Vec::new())
    }
}

impl BuiltRows {
    /// A batch of those that are to be emitted. Activities get their ids, which are settled only when the page is read.
    /// Lines hold the page's room for as long as they are needed; they are written at once, as a rule. Columns may be kept
    /// until there are enough of them, and pages that are still to be read must not wait for that.
    ///
    /// # Errors
    /// When the rows don't fit the schema or what was settled, which is a bug.
    pub(crate) fn batch(
        self,
        schema: &StreamSchema,
        settled: &Settled,
        extracted_at: DateTime<Utc>,
        take_room: impl FnOnce() -> Room,
    ) -> Result<RecordBatch, ArrowError> {
        let mut arrays = match self {
            Self::Columns(arrays) => arrays,
            Self::Lines(lines) => return lines.seal(settled, extracted_at, take_room()),
        };
        if arrays.len() < schema.columns.len() {
            arrays.insert(0, id_array(&settled.ids));
        }
        let batch = RecordBatch::try_new(schema.arrow(), arrays)?;
        if settled.fresh.contains(&false) {
            return filter_record_batch(&batch, &BooleanArray::from(settled.fresh.clone()));
        }
        Ok(batch)
    }
}

pub(crate) fn id_array(ids: &[Digest16]) -> ArrayRef {
    let mut array = StringBuilder::with_capacity(ids.len(), ids.len() * 32);
    let mut text = [0_u8; 32];
    for id in ids {
        let text = match hex::encode_to_slice(id, &mut text) {
            Ok(()) => std::str::from_utf8(&text).unwrap_or_default(),
            Err(_) => "",
        };
        array.append_value(text);
    }
    Arc::new(array.finish())
}
