//! Reading a stream's table back, on a connection of its own.

use std::sync::Arc;

use async_trait::async_trait;
use replication::{
    arrow::{
        array::{
            ArrayRef, BooleanArray, Decimal128Array, Int64Array, ListArray, RecordBatch,
            StringArray, TimestampMicrosecondArray,
        },
        buffer::{NullBuffer, OffsetBuffer},
        datatypes::Field,
    },
    destination::DestinationError,
    placement::Nesting,
    row::unscaled,
    scan::{NoRows, RowScan},
    source::Span,
    stream::{ColumnType, NUMBER_PRECISION, NUMBER_SCALE, StreamSchema},
};
use tokio_postgres::{
    Row,
    types::{FromSql, Type},
};

use crate::{
    connection::{Connection, text},
    failure::{Doing, unexpected},
    layout::Layout,
    sql::scan,
};

/// Microseconds from 1970 to 2000, from where PostgreSQL counts.
const EPOCH: i64 = 946_684_800_000_000;
/// Stands for a number that no column type of ours holds; no source sends it.
const NO_NUMBER: i128 = i128::MAX;

/// A cursor.
pub(crate) struct Scan {
    connection: Connection,
    schema: Arc<StreamSchema>,
    doing: Doing,
}

/// Opens a scan.
pub(crate) async fn open(
    connection: Connection,
    place: &str,
    nesting: Nesting,
    schema: &Arc<StreamSchema>,
    span: Option<Span>,
) -> Result<Box<dyn RowScan>, DestinationError> {
    let layout = Layout::new(schema, nesting)?;
    let doing = Doing::work(format!("read table `{}`", layout.table));
    connection.run(scan::BEGIN, &doing).await?;
    let parameters = [text(&place), text(&layout.table)];
    if !connection.query_one(scan::EXISTS, &parameters, &doing).await?.get::<_, bool>(0) {
        return Ok(Box::new(NoRows));
    }
    connection.run(&scan::declare(place, schema, &layout, span), &doing).await?;
    Ok(Box::new(Scan { connection, schema: Arc::clone(schema), doing }))
}

#[async_trait]
impl RowScan for Scan {
    async fn next(&mut self) -> Result<Option<RecordBatch>, DestinationError> {
        let rows = self.connection.query(scan::FETCH, &[], &self.doing).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let columns = self.schema.columns.iter().enumerate();
        let columns = columns.map(|(position, column)| read(&column.column_type, &rows, position));
        let columns: Option<Vec<ArrayRef>> = columns.collect();
        let batch = columns.map(|columns| RecordBatch::try_new(self.schema.arrow(), columns));
        match batch {
            Some(Ok(batch)) => Ok(Some(batch)),
            _ => Err(unexpected(&self.doing)),
        }
    }
}

/// An instant in PostgreSQL's own form, of which infinities are no instants.
struct Micros(i64);

impl<'a> FromSql<'a> for Micros {
    fn from_sql(
        _type: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TIMESTAMPTZ
    }
}

impl Micros {
    /// Microseconds since 1970.
    fn since_1970(&self) -> i64 {
        self.0.saturating_add(EPOCH)
    }
}

/// One column of rows as an array; none if the server sent something else.
fn read(column_type: &ColumnType, rows: &[Row], position: usize) -> Option<ArrayRef> {
    match column_type {
        ColumnType::List(item) => {
            let (items, lengths) = items(item, rows, position)?;
            let field = Arc::new(Field::new("item", item.arrow(), true));
            let offsets =
                OffsetBuffer::from_lengths(lengths.iter().map(|length| length.unwrap_or(0)));
            let nulls: NullBuffer = lengths.iter().map(Option::is_some).collect();
            Some(Arc::new(ListArray::try_new(field, offsets, items, Some(nulls)).ok()?))
        }
        scalar => array(scalar, &Scalars { rows, position }),
    }
}

/// The items of all lists of a column, and how many of them each row has.
fn items(
    item: &ColumnType,
    rows: &[Row],
    position: usize,
) -> Option<(ArrayRef, Vec<Option<usize>>)> {
    let lists = Lists { rows, position };
    let lengths = match item {
        ColumnType::Integer => lists.lengths::<i64>(),
        ColumnType::Boolean => lists.lengths::<bool>(),
        ColumnType::Timestamp => lists.lengths::<Micros>(),
        _ => lists.lengths::<&str>(),
    };
    Some((array(item, &lists)?, lengths?))
}

/// Where values come from.
trait Values<'r> {
    /// All of them; none if the server sent something else.
    fn all<T: FromSql<'r>>(&self) -> Option<Vec<Option<T>>>;
}

/// The values of a plain column.
struct Scalars<'r> {
    rows: &'r [Row],
    position: usize,
}

impl<'r> Values<'r> for Scalars<'r> {
    fn all<T: FromSql<'r>>(&self) -> Option<Vec<Option<T>>> {
        self.rows.iter().map(|row| row.try_get(self.position).ok()).collect()
    }
}

/// The items of a column of lists.
struct Lists<'r> {
    rows: &'r [Row],
    position: usize,
}

impl<'r> Lists<'r> {
    fn each<T: FromSql<'r>>(&self) -> impl Iterator<Item = Option<Option<Vec<Option<T>>>>> {
        self.rows.iter().map(|row| row.try_get(self.position).ok())
    }

    fn lengths<T: FromSql<'r>>(&self) -> Option<Vec<Option<usize>>> {
        self.each::<T>().map(|list| Some(list?.map(|list| list.len()))).collect()
    }
}

impl<'r> Values<'r> for Lists<'r> {
    fn all<T: FromSql<'r>>(&self) -> Option<Vec<Option<T>>> {
        let lists: Option<Vec<_>> = self.each::<T>().collect();
        Some(lists?.into_iter().flatten().flatten().collect())
    }
}

/// Values of a scalar type as an array.
fn array<'r>(column_type: &ColumnType, values: &impl Values<'r>) -> Option<ArrayRef> {
    Some(match column_type {
        ColumnType::Integer => Arc::new(Int64Array::from(values.all::<i64>()?)),
        ColumnType::Boolean => Arc::new(BooleanArray::from(values.all::<bool>()?)),
        ColumnType::Timestamp => {
            let instants = values.all::<Micros>()?.into_iter();
            let instants = instants.map(|at| at.map(|at| at.since_1970()));
            Arc::new(instants.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
        ColumnType::Number => {
            let numbers = values.all::<&str>()?.into_iter();
            let numbers = numbers.map(|text| Some(unscaled(text?).unwrap_or(NO_NUMBER)));
            let numbers: Decimal128Array = numbers.collect();
            Arc::new(numbers.with_precision_and_scale(NUMBER_PRECISION, NUMBER_SCALE).ok()?)
        }
        ColumnType::Text | ColumnType::Json | ColumnType::Objects(_) => {
            Arc::new(StringArray::from(values.all::<&str>()?))
        }
        ColumnType::List(_) => return None,
    })
}
