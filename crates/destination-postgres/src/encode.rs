//! The binary form of `copy`, made straight from Arrow columns, a chunk of rows at a time.

use bytes::Bytes;
use replication::{
    arrow::array::{
        Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, ListArray,
        RecordBatch, StringArray, TimestampMicrosecondArray,
    },
    destination::{DestinationError, DestinationErrorKind},
    reject::ReasonCode,
};
use uuid::Uuid;

use crate::{
    layout::{Layout, List, Origin, Scalar, SqlType},
    limits::EPOCH_MICROS,
    numeric,
};

/// How many bytes are sent at once, about.
const CHUNK_BYTES: usize = 256 * 1024;
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = (-1i16).to_be_bytes();
const NULL: [u8; 4] = (-1i32).to_be_bytes();

/// Turns batches into the chunks of one `copy`.
pub(crate) struct Encoder<'a> {
    layout: &'a Layout,
    batches: &'a [RecordBatch],
    /// Whether the rows' arrays are sent along, as the stage wants it.
    with_lists: bool,
    /// The columns of the batch at work, and its next row.
    current: Option<(Vec<Field<'a>>, usize)>,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Start,
    Rows,
    Done,
}

impl<'a> Encoder<'a> {
    /// For a stage: a table's columns, then the arrays.
    pub(crate) fn for_stage(layout: &'a Layout, batches: &'a [RecordBatch]) -> Self {
        Self { layout, batches, with_lists: true, current: None, state: State::Start }
    }

    /// For a table: its columns.
    pub(crate) fn for_table(layout: &'a Layout, batches: &'a [RecordBatch]) -> Self {
        Self { with_lists: false, ..Self::for_stage(layout, batches) }
    }

    fn next_chunk(&mut self) -> Result<Option<Bytes>, DestinationError> {
        if self.state == State::Done {
            return Ok(None);
        }
        let mut out = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
        if self.state == State::Start {
            out.extend_from_slice(HEADER);
            self.state = State::Rows;
        }
        while out.len() < CHUNK_BYTES {
            let Some((fields, row)) = &mut self.current else {
                let Some((batch, rest)) = self.batches.split_first() else {
                    out.extend_from_slice(&TRAILER);
                    self.state = State::Done;
                    break;
                };
                self.batches = rest;
                if batch.num_rows() > 0 {
                    self.current = Some((fields_of(self.layout, batch, self.with_lists)?, 0));
                }
                continue;
            };
            put_length(fields.len(), &mut out)?;
            for field in fields.iter() {
                field.encode(*row, &mut out)?;
            }
            *row += 1;
            if fields.first().is_none_or(|field| *row == field.rows) {
                self.current = None;
            }
        }
        Ok(Some(Bytes::from(out)))
    }
}

impl Iterator for Encoder<'_> {
    type Item = Result<Bytes, DestinationError>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = self.next_chunk();
        if chunk.is_err() {
            self.state = State::Done;
        }
        chunk.transpose()
    }
}

/// A field of the rows at work.
struct Field<'a> {
    values: Values<'a>,
    rows: usize,
}

/// The values of a field: its column, known by type once per batch and not once per value.
enum Values<'a> {
    Scalar(Items<'a>),
    List { lists: &'a ListArray, items: Items<'a>, oid: u32 },
    Generated,
}

/// Scalar values.
enum Items<'a> {
    Text(&'a StringArray),
    Integer(&'a Int64Array),
    Number(&'a Decimal128Array),
    Boolean(&'a BooleanArray),
    Timestamp(&'a TimestampMicrosecondArray),
}

fn fields_of<'a>(
    layout: &Layout,
    batch: &'a RecordBatch,
    with_lists: bool,
) -> Result<Vec<Field<'a>>, DestinationError> {
    let rows = batch.num_rows();
    let lists: &[List] = if with_lists { &layout.lists } else { &[] };
    let documents: &[Scalar] = if with_lists { &layout.documents } else { &[] };
    let scalars = layout.columns().chain(documents);
    let scalars = scalars.map(|column| Values::scalar(column, batch));
    let lists = lists.iter().map(|list| Values::list(list, batch));
    scalars.chain(lists).map(|values| Ok(Field { values: values?, rows })).collect()
}

impl<'a> Values<'a> {
    fn scalar(column: &Scalar, batch: &'a RecordBatch) -> Result<Self, DestinationError> {
        match column.origin {
            Origin::Generated => Ok(Self::Generated),
            Origin::Batch(position) => {
                let array = batch.columns().get(position);
                let items = array.and_then(|array| Items::new(array, column.sql_type));
                items.map(Self::Scalar).ok_or_else(|| mismatch(&column.name))
            }
        }
    }

    fn list(list: &List, batch: &'a RecordBatch) -> Result<Self, DestinationError> {
        let lists = batch.columns().get(list.position).and_then(|array| array.as_list_opt::<i32>());
        let lists = lists.ok_or_else(|| mismatch(&list.name))?;
        let items = Items::new(lists.values(), list.item).ok_or_else(|| mismatch(&list.name))?;
        Ok(Self::List { lists, items, oid: list.item.oid() })
    }
}

impl Field<'_> {
    fn encode(&self, row: usize, out: &mut Vec<u8>) -> Result<(), DestinationError> {
        match &self.values {
            Values::Scalar(items) => items.encode(row, out),
            Values::List { lists, items, oid } => encode_list(lists, items, *oid, row, out),
            Values::Generated => {
                let mut buffer = Uuid::encode_buffer();
                put(Uuid::new_v4().hyphenated().encode_lower(&mut buffer).as_bytes(), out);
                Ok(())
            }
        }
    }
}

impl<'a> Items<'a> {
    /// The values of an array if it is of the Arrow type that goes with the SQL type.
    fn new(array: &'a ArrayRef, sql_type: SqlType) -> Option<Self> {
        match sql_type {
            SqlType::Text | SqlType::Json => array.as_string_opt().map(Self::Text),
            SqlType::Bigint => array.as_primitive_opt().map(Self::Integer),
            SqlType::Numeric => array.as_primitive_opt().map(Self::Number),
            SqlType::Boolean => array.as_boolean_opt().map(Self::Boolean),
            SqlType::Timestamptz => array.as_primitive_opt().map(Self::Timestamp),
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Text(array) => array.is_null(row),
            Self::Integer(array) => array.is_null(row),
            Self::Number(array) => array.is_null(row),
            Self::Boolean(array) => array.is_null(row),
            Self::Timestamp(array) => array.is_null(row),
        }
    }

    fn encode(&self, row: usize, out: &mut Vec<u8>) -> Result<(), DestinationError> {
        if self.is_null(row) {
            out.extend_from_slice(&NULL);
            return Ok(());
        }
        match self {
            Self::Text(array) => put(array.value(row).as_bytes(), out),
            Self::Integer(array) => put(&array.value(row).to_be_bytes(), out),
            Self::Boolean(array) => put(&[u8::from(array.value(row))], out),
            Self::Timestamp(array) => {
                let micros = array.value(row).checked_sub(EPOCH_MICROS).ok_or_else(too_early)?;
                put(&micros.to_be_bytes(), out);
            }
            Self::Number(array) => with_length(out, |out| {
                numeric::encode(array.value(row), out);
                Ok(())
            })?,
        }
        Ok(())
    }
}

/// An array, or null where it is empty: empty and absent are the same in a subtable.
fn encode_list(
    lists: &ListArray,
    items: &Items<'_>,
    oid: u32,
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), DestinationError> {
    let offsets = lists.value_offsets();
    let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
    if lists.is_null(row) || start == end {
        out.extend_from_slice(&NULL);
        return Ok(());
    }
    with_length(out, |out| {
        let has_nulls = (start..end).any(|item| items.is_null(item));
        let count = i32::try_from(end - start).map_err(|_| too_large())?;
        let (dimensions, first_index) = (1i32, 1i32);
        out.extend_from_slice(&dimensions.to_be_bytes());
        out.extend_from_slice(&i32::from(has_nulls).to_be_bytes());
        out.extend_from_slice(&oid.to_be_bytes());
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(&first_index.to_be_bytes());
        (start..end).try_for_each(|item| items.encode(item, out))
    })
}

/// Appends a value of known length. Text in an Arrow column has 32-bit offsets, so its length fits.
fn put(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(value.len() as i32).to_be_bytes());
    out.extend_from_slice(value);
}

/// Appends a value whose length is known when it is written.
fn with_length(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), DestinationError>,
) -> Result<(), DestinationError> {
    let place = out.len();
    out.extend_from_slice(&NULL);
    write(out)?;
    let length = i32::try_from(out.len() - place - NULL.len()).map_err(|_| too_large())?;
    out[place..place + NULL.len()].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn put_length(fields: usize, out: &mut Vec<u8>) -> Result<(), DestinationError> {
    let fields = i16::try_from(fields).map_err(|_| too_large())?;
    out.extend_from_slice(&fields.to_be_bytes());
    Ok(())
}

fn mismatch(column: &str) -> DestinationError {
    DestinationError::new(
        DestinationErrorKind::Bug,
        format!("The batch's column for `{column}` is missing, or not of the type in the schema"),
        "Report this defect",
    )
}

fn too_early() -> DestinationError {
    let kind = DestinationErrorKind::Row(ReasonCode::TimestampRange);
    DestinationError::new(
        kind,
        "An instant is too early for PostgreSQL",
        "Look at the row in `_sdc_rejected`",
    )
}

fn too_large() -> DestinationError {
    let kind = DestinationErrorKind::Row(ReasonCode::TooLarge);
    DestinationError::new(
        kind,
        "A value is too large for PostgreSQL",
        "Look at the row in `_sdc_rejected`",
    )
}
