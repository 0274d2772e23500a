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
    lookup::Spot,
    numeric,
};

/// How many bytes are sent at once, about.
const CHUNK_BYTES: usize = 256 * 1024;
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = (-1i16).to_be_bytes();
const NULL: [u8; 4] = (-1i32).to_be_bytes();

/// The rows of a load, as they are sent: in order over all batches, by their places from 0.
pub(crate) struct Rows<'a> {
    layout: &'a Layout,
    batches: &'a [RecordBatch],
    count: usize,
    /// The keys of rows that have none of their own, by place.
    generated: Vec<Uuid>,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(layout: &'a Layout, batches: &'a [RecordBatch]) -> Self {
        let count = batches.iter().map(RecordBatch::num_rows).sum();
        let made = if layout.has_generated_key() { count } else { 0 };
        let generated = std::iter::repeat_with(Uuid::new_v4).take(made).collect();
        Self { layout, batches, count, generated }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

/// Which rows of a load are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Picked<'a> {
    /// Every one.
    All,
    /// Those at these places, which ascend.
    These(&'a [u32]),
}

/// What is sent of a row.
#[derive(Clone, Copy)]
enum Shape<'a> {
    /// The columns of the table.
    Table,
    /// Where the table has the row, its columns, its documents and its arrays.
    Stage { spots: &'a [Option<Spot>] },
    /// Its place and its key.
    Key,
    /// The items of an array, each with the row's key, its position, and the row's system columns.
    Items(&'a List),
}

/// Turns rows into the chunks of one `copy`.
pub(crate) struct Encoder<'a> {
    rows: &'a Rows<'a>,
    picked: Picked<'a>,
    shape: Shape<'a>,
    /// How many of the picked rows were sent.
    sent: usize,
    /// The batches behind the one at work.
    rest: &'a [RecordBatch],
    /// The places of the batch at work.
    places: std::ops::Range<usize>,
    /// Its columns.
    fields: Vec<Field<'a>>,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Start,
    Rows,
    Done,
}

impl<'a> Encoder<'a> {
    /// For the table: its columns.
    pub(crate) fn for_table(rows: &'a Rows<'a>, picked: Picked<'a>) -> Self {
        Self::new(rows, picked, Shape::Table)
    }

    /// For the stage; `spots` has an entry for each row of the load.
    pub(crate) fn for_stage(
        rows: &'a Rows<'a>,
        picked: Picked<'a>,
        spots: &'a [Option<Spot>],
    ) -> Self {
        Self::new(rows, picked, Shape::Stage { spots })
    }

    /// For the stage of keys: all rows.
    pub(crate) fn for_keys(rows: &'a Rows<'a>) -> Self {
        Self::new(rows, Picked::All, Shape::Key)
    }

    /// For the subtable of an array.
    pub(crate) fn for_items(rows: &'a Rows<'a>, picked: Picked<'a>, list: &'a List) -> Self {
        Self::new(rows, picked, Shape::Items(list))
    }

    fn new(rows: &'a Rows<'a>, picked: Picked<'a>, shape: Shape<'a>) -> Self {
        let (rest, fields) = (rows.batches, Vec::new());
        Self { rows, picked, shape, sent: 0, rest, places: 0..0, fields, state: State::Start }
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
            let Some(row) = self.next_row()? else {
                out.extend_from_slice(&TRAILER);
                self.state = State::Done;
                break;
            };
            if let Shape::Items(_) = self.shape {
                encode_items(&self.fields, row, &mut out)?;
                continue;
            }
            put_count(self.fields.len(), &mut out)?;
            for field in &self.fields {
                field.encode(row, &mut out)?;
            }
        }
        Ok(Some(Bytes::from(out)))
    }

    /// The next row to send, by its position in the batch at work.
    fn next_row(&mut self) -> Result<Option<usize>, DestinationError> {
        let place = match self.picked {
            Picked::All => self.sent,
            Picked::These(places) => match places.get(self.sent) {
                Some(place) => *place as usize,
                None => return Ok(None),
            },
        };
        while place >= self.places.end {
            let Some((batch, rest)) = self.rest.split_first() else { return Ok(None) };
            let start = self.places.end;
            self.rest = rest;
            self.places = start..start + batch.num_rows();
            if self.places.contains(&place) {
                self.fields = fields_of(self.rows, self.shape, batch, start)?;
            }
        }
        self.sent += 1;
        Ok(Some(place - self.places.start))
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

/// The values of a field: its column, known by type once per batch and not once per value.
enum Field<'a> {
    Scalar(Items<'a>),
    List {
        lists: &'a ListArray,
        items: Items<'a>,
        oid: u32,
        /// Whether an empty array is one, where it is a column. In a subtable empty and absent are the same.
        keeps_empty: bool,
    },
    Generated(&'a [Uuid]),
    /// The place of a row, counted from that of the batch's first.
    Place(u32),
    Spot(&'a [Option<Spot>]),
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
    rows: &'a Rows<'a>,
    shape: Shape<'a>,
    batch: &'a RecordBatch,
    start: usize,
) -> Result<Vec<Field<'a>>, DestinationError> {
    let layout = rows.layout;
    let scalar = |column: &'a Scalar| Field::scalar(column, rows, batch, start);
    match shape {
        Shape::Table => layout.columns().map(scalar).collect(),
        Shape::Stage { spots } => {
            let spot = Ok(Field::Spot(spots.get(start..).unwrap_or_default()));
            let scalars = layout.columns().chain(&layout.documents).map(scalar);
            let lists = layout.lists.iter().map(|list| Field::list(list, batch));
            std::iter::once(spot).chain(scalars).chain(lists).collect()
        }
        Shape::Key => {
            let place = u32::try_from(start).map(Field::Place).map_err(|_| too_large());
            std::iter::once(place).chain(layout.key().map(scalar)).collect()
        }
        Shape::Items(list) => {
            let keys = layout.key().map(scalar);
            let system = layout.system.iter().map(scalar);
            keys.chain([Field::list(list, batch)]).chain(system).collect()
        }
    }
}

impl<'a> Field<'a> {
    fn scalar(
        column: &Scalar,
        rows: &'a Rows<'a>,
        batch: &'a RecordBatch,
        start: usize,
    ) -> Result<Self, DestinationError> {
        match column.origin {
            Origin::Generated => {
                Ok(Self::Generated(rows.generated.get(start..).unwrap_or_default()))
            }
            Origin::Batch(position) => {
                let array = batch.columns().get(position);
                if let SqlType::Array(item) = column.sql_type {
                    return Self::array(array, *item, true).ok_or_else(|| mismatch(&column.name));
                }
                let items = array.and_then(|array| Items::new(array, column.sql_type));
                items.map(Self::Scalar).ok_or_else(|| mismatch(&column.name))
            }
        }
    }

    fn list(list: &List, batch: &'a RecordBatch) -> Result<Self, DestinationError> {
        let array = batch.columns().get(list.position);
        Self::array(array, list.item, false).ok_or_else(|| mismatch(&list.name))
    }

    fn array(array: Option<&'a ArrayRef>, item: SqlType, keeps_empty: bool) -> Option<Self> {
        let lists = array?.as_list_opt::<i32>()?;
        Some(Self::List {
            lists,
            items: Items::new(lists.values(), item)?,
            oid: item.oid(),
            keeps_empty,
        })
    }

    fn encode(&self, row: usize, out: &mut Vec<u8>) -> Result<(), DestinationError> {
        match self {
            Self::Scalar(items) => items.encode(row, out)?,
            Self::List { lists, keeps_empty, .. }
                if lists.is_null(row) || (!keeps_empty && lists.value_length(row) == 0) =>
            {
                out.extend_from_slice(&NULL);
            }
            Self::List { lists, items, oid, .. } => encode_list(lists, items, *oid, row, out)?,
            Self::Generated(keys) => {
                let mut buffer = Uuid::encode_buffer();
                put(keys[row].hyphenated().encode_lower(&mut buffer).as_bytes(), out);
            }
            Self::Place(first) => {
                let place = u32::try_from(row).ok().and_then(|row| first.checked_add(row));
                let place = place.and_then(|place| i32::try_from(place).ok());
                put(&place.ok_or_else(too_large)?.to_be_bytes(), out);
            }
            Self::Spot(spots) => match &spots[row] {
                Some(spot) => put(&spot.0, out),
                None => out.extend_from_slice(&NULL),
            },
        }
        Ok(())
    }
}

/// The rows of a subtable that the items of one row's array make; `fields` has the array among the columns.
fn encode_items(
    fields: &[Field<'_>],
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), DestinationError> {
    let array = fields.iter().find_map(|field| match field {
        Field::List { lists, .. } => Some(*lists),
        _ => None,
    });
    let Some(lists) = array.filter(|lists| lists.is_valid(row)) else { return Ok(()) };
    let offsets = lists.value_offsets();
    for (level, item) in (offsets[row] as usize..offsets[row + 1] as usize).enumerate() {
        // The array gives two columns: the position and the item.
        put_count(fields.len() + 1, out)?;
        for field in fields {
            let Field::List { items, .. } = field else {
                field.encode(row, out)?;
                continue;
            };
            put(&i64::try_from(level).map_err(|_| too_large())?.to_be_bytes(), out);
            items.encode(item, out)?;
        }
    }
    Ok(())
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
            SqlType::Array(_) => None,
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

/// An array; an empty one has no dimension.
fn encode_list(
    lists: &ListArray,
    items: &Items<'_>,
    oid: u32,
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), DestinationError> {
    let offsets = lists.value_offsets();
    let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
    with_length(out, |out| {
        let has_nulls = (start..end).any(|item| items.is_null(item));
        let count = i32::try_from(end - start).map_err(|_| too_large())?;
        let (dimensions, first_index) = (i32::from(count > 0), 1i32);
        out.extend_from_slice(&dimensions.to_be_bytes());
        out.extend_from_slice(&i32::from(has_nulls).to_be_bytes());
        out.extend_from_slice(&oid.to_be_bytes());
        if count == 0 {
            return Ok(());
        }
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

fn put_count(fields: usize, out: &mut Vec<u8>) -> Result<(), DestinationError> {
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
