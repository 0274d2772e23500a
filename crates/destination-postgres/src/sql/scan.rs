//! Statements that read a stream's table back, through a cursor, so that neither side holds it whole.

use chrono::{DateTime, Utc};
use replication::{
    scan::text_bound,
    source::Span,
    stream::{ColumnType, StreamSchema},
};

use crate::layout::{ITEM, LEVEL, Layout, SqlType};

use super::{comma, identifier, literal, merge::child_of, table};

/// Begins a transaction that sees one moment.
pub(crate) const BEGIN: &str = "begin transaction isolation level repeatable read read only";

/// Reads the next rows.
pub(crate) const FETCH: &str = "fetch 5000 from _sdc_scan";

/// Whether table `$2` of schema `$1` is there, as a snapshot begins.
pub(crate) const EXISTS: &str = "select exists (select from pg_catalog.pg_class c \
     join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
     where n.nspname = $1 and c.relname::text = $2 and c.relkind in ('r', 'p', 'v'))";

/// Declares the cursor: the user columns in the order of the schema, numbers and documents as their text, arrays put
/// together from their subtables.
pub(crate) fn declare(
    schema: &str,
    stream: &StreamSchema,
    layout: &Layout,
    span: Option<Span>,
) -> String {
    let columns = stream.columns.iter().map(|column| match &column.column_type {
        ColumnType::List(item) if layout.lists.iter().any(|list| list.name == column.name) => {
            list(schema, layout, &column.name, item)
        }
        ColumnType::List(item) => match SqlType::of(item) {
            Some(SqlType::Numeric | SqlType::Json) => {
                format!("t.{}::text[]", identifier(&column.name))
            }
            _ => format!("t.{}", identifier(&column.name)),
        },
        ColumnType::Objects(_) if !layout.nested.is_empty() => "null::text".to_owned(),
        ColumnType::Objects(_) => {
            value(&format!("t.{}", identifier(&column.name)), &ColumnType::Json)
        }
        scalar => value(&format!("t.{}", identifier(&column.name)), scalar),
    });
    format!(
        "declare _sdc_scan no scroll cursor for select {} from {} t{}",
        comma(columns),
        table(schema, &layout.table),
        span.and_then(|span| condition(stream, span)).unwrap_or_default(),
    )
}

/// The items of a row's array, in their order; null if it has none.
fn list(schema: &str, layout: &Layout, column: &str, item: &ColumnType) -> String {
    let child = layout.lists.iter().position(|list| list.name == column);
    let Some(child) = child.map(|child| layout.live().children.swap_remove(child)) else {
        return "null::text[]".to_owned();
    };
    format!(
        "(select array_agg({} order by c.{}) from {} c where {})",
        value(&format!("c.{}", identifier(ITEM)), item),
        identifier(LEVEL),
        table(schema, &child),
        child_of(layout, "t"),
    )
}

fn value(place: &str, column_type: &ColumnType) -> String {
    match SqlType::of(column_type) {
        Some(SqlType::Numeric | SqlType::Json) => format!("{place}::text"),
        _ => place.to_owned(),
    }
}

fn condition(stream: &StreamSchema, span: Span) -> Option<String> {
    let (name, bound) = replication_key(stream)?;
    Some(format!(" where {name} >= {} and {name} < {}", bound(span.from), bound(span.before)))
}

/// Whether the replication key of row `t` lies before this second. Null if there is none.
pub(crate) fn before(stream: &StreamSchema, second: DateTime<Utc>) -> Option<String> {
    let (name, bound) = replication_key(stream)?;
    Some(format!("{name} < {}", bound(second)))
}

/// Writes a second as what a replication key is compared with.
type Bound = fn(DateTime<Utc>) -> String;

/// The replication key of row `t`, and its bounds.
fn replication_key(stream: &StreamSchema) -> Option<(String, Bound)> {
    let key = &stream.columns[stream.position(stream.replication_key.as_ref()?)?];
    Some(match key.column_type {
        ColumnType::Timestamp => (format!("t.{}", identifier(&key.name)), |at| {
            format!("timestamptz {}", literal(&at.to_rfc3339()))
        }),
        _ => (format!("t.{} collate \"C\"", identifier(&key.name)), |at| literal(&text_bound(at))),
    })
}
