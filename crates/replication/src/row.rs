//! Rows in Arrow batches: their keys, their order, their text.

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray,
        types::{Decimal128Type, Int64Type, TimestampMicrosecondType},
    },
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
    row::{RowConverter, Rows, SortField},
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};
use std::{borrow::Cow, str::FromStr, sync::Arc};

use crate::{
    reject::{Occurrence, ReasonCode, RejectedRow},
    stream::{ColumnType, NUMBER_SCALE, StreamSchema},
    system,
    unit::TableLoad,
};

/// The column of [`with_origins`].
const ORIGIN: &str = "_sdc_origin";

/// Arrays of equal length, encoded row by row so that equal rows have equal bytes and their order is the order of the
/// bytes (null first).
pub(crate) fn encode_arrays(arrays: &[ArrayRef]) -> Result<Rows, ArrowError> {
    let fields = arrays.iter().map(|array| SortField::new(array.data_type().clone())).collect();
    RowConverter::new(fields)?.convert_columns(arrays)
}

/// A digest of a row's key, the same for the same key wherever it is computed; none without a key.
#[must_use]
pub fn key_digest(schema: &StreamSchema, batch: &RecordBatch, row: usize) -> Option<String> {
    if schema.key.is_empty() {
        return None;
    }
    let mut digest = Sha256::new();
    for name in &schema.key {
        let value = value(
            &schema.columns[schema.position(name)?].column_type,
            batch.column(schema.position(name)?),
            row,
        );
        let text = value.to_string();
        digest.update(text.len().to_be_bytes());
        digest.update(text);
    }
    Some(hex::encode(&digest.finalize()[..16]))
}

/// A row's user columns as one JSON object, in the schema's order; null columns are left out.
#[must_use]
pub fn render(schema: &StreamSchema, batch: &RecordBatch, row: usize) -> String {
    let columns = schema.columns.iter().zip(batch.columns());
    let fields = columns.filter(|(_, array)| array.is_valid(row)).map(|(column, array)| {
        let name = Value::String(column.name.clone());
        format!("{name}:{}", text(&column.column_type, array, row))
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// One value as the text of its JSON. Documents stay as they were sent: not all of them can be read and written again
/// without a change.
fn text(column_type: &ColumnType, array: &dyn Array, row: usize) -> String {
    match column_type {
        ColumnType::Json | ColumnType::Objects(_) if array.is_valid(row) => {
            array.as_string::<i32>().value(row).to_owned()
        }
        ColumnType::List(item) if array.is_valid(row) => {
            let items = array.as_list::<i32>().value(row);
            let items = (0..items.len()).map(|index| text(item, &items, index));
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        _ => value(column_type, array, row).to_string(),
    }
}

/// A row's user columns as a JSON object, in the schema's order; null columns are left out.
pub(crate) fn object(schema: &StreamSchema, batch: &RecordBatch, row: usize) -> Map<String, Value> {
    schema
        .columns
        .iter()
        .zip(batch.columns())
        .filter(|(_, array)| array.is_valid(row))
        .map(|(column, array)| (column.name.clone(), value(&column.column_type, array, row)))
        .collect()
}

/// The `_sdc_sequence` of a row of a stamped batch; 0 if it has none.
pub(crate) fn sequence(schema: &StreamSchema, batch: &RecordBatch, row: usize) -> i64 {
    let column = batch.columns().get(system_column(schema, system::SEQUENCE));
    column
        .and_then(|array| array.as_primitive_opt::<Int64Type>())
        .map_or(0, |array| array.value(row))
}

/// When a row of a stamped batch was extracted.
pub(crate) fn extracted_at(
    schema: &StreamSchema,
    batch: &RecordBatch,
    row: usize,
) -> DateTime<Utc> {
    let column = batch.columns().get(system_column(schema, system::EXTRACTED_AT));
    let micros = column
        .and_then(|array| array.as_primitive_opt::<TimestampMicrosecondType>())
        .map_or(0, |array| array.value(row));
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// The version of its table that a row of a stamped batch carries.
pub(crate) fn table_version(schema: &StreamSchema, batch: &RecordBatch, row: usize) -> i64 {
    let column = batch.columns().get(system_column(schema, system::TABLE_VERSION));
    column
        .and_then(|array| array.as_primitive_opt::<Int64Type>())
        .map_or(0, |array| array.value(row))
}

/// The position of a system column in a stamped batch.
pub(crate) fn system_column(schema: &StreamSchema, name: &str) -> usize {
    let offset = system::row_columns().iter().position(|column| column.name == name);
    schema.columns.len() + offset.expect("the name is one of the system columns")
}

/// One value as JSON: timestamps as RFC 3339 text, decimals as exact numbers, JSON documents as they are.
fn value(column_type: &ColumnType, array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match column_type {
        ColumnType::Text => Value::String(array.as_string::<i32>().value(row).to_owned()),
        ColumnType::Json | ColumnType::Objects(_) => {
            let text = array.as_string::<i32>().value(row);
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
        }
        ColumnType::Integer => array.as_primitive::<Int64Type>().value(row).into(),
        ColumnType::Number => {
            let text = decimal_text(array.as_primitive::<Decimal128Type>().value(row));
            Number::from_str(&text).map_or_else(|_| Value::String(text), Value::Number)
        }
        ColumnType::Boolean => array.as_boolean().value(row).into(),
        ColumnType::Timestamp => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            DateTime::from_timestamp_micros(micros)
                .map_or(Value::Null, |instant| instant_text(instant).into())
        }
        ColumnType::List(item) => {
            let items = array.as_list::<i32>().value(row);
            Value::Array((0..items.len()).map(|index| value(item, &items, index)).collect())
        }
    }
}

/// The shortest exact text of a decimal with [`NUMBER_SCALE`] digits after the point.
#[must_use]
pub fn decimal_text(unscaled: i128) -> String {
    let scale = usize::from(NUMBER_SCALE.unsigned_abs());
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let fraction = fraction.trim_end_matches('0');
    let sign = if unscaled < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// An instant as RFC 3339 text in UTC with `Z`, its fraction without trailing zeros.
#[must_use]
pub fn instant_text(instant: DateTime<Utc>) -> String {
    let text = instant.to_rfc3339_opts(SecondsFormat::Nanos, true);
    let (head, _) = text.split_at(text.len() - 1);
    format!("{}Z", head.trim_end_matches('0').trim_end_matches('.'))
}

/// The greatest value of a replication key column as text, where it has one. Texts that are RFC 3339 instants are
/// compared as instants.
pub(crate) fn greatest_key(column_type: &ColumnType, array: &ArrayRef) -> Option<String> {
    match column_type {
        ColumnType::Timestamp => {
            let micros = arrow::compute::max(array.as_primitive::<TimestampMicrosecondType>())?;
            DateTime::from_timestamp_micros(micros).map(instant_text)
        }
        ColumnType::Integer => {
            arrow::compute::max(array.as_primitive::<Int64Type>()).map(|value| value.to_string())
        }
        ColumnType::Number => {
            arrow::compute::max(array.as_primitive::<Decimal128Type>()).map(decimal_text)
        }
        ColumnType::Text => array
            .as_string::<i32>()
            .iter()
            .flatten()
            .max_by(|left, right| compare_keys(left, right))
            .map(str::to_owned),
        ColumnType::Boolean | ColumnType::Json | ColumnType::List(_) | ColumnType::Objects(_) => {
            None
        }
    }
}

/// Compares two replication keys in their text form: as instants or numbers where both are, else as text.
pub(crate) fn compare_keys(left: &str, right: &str) -> std::cmp::Ordering {
    if let (Ok(left), Ok(right)) =
        (DateTime::parse_from_rfc3339(left), DateTime::parse_from_rfc3339(right))
    {
        return left.cmp(&right);
    }
    if let (Some(left), Some(right)) = (unscaled(left), unscaled(right)) {
        return left.cmp(&right);
    }
    left.cmp(right)
}

/// Reads what [`decimal_text`] writes, in units of its last digit; trailing zeros may follow.
#[must_use]
pub fn unscaled(text: &str) -> Option<i128> {
    let scale = usize::from(NUMBER_SCALE.unsigned_abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > scale || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{whole}{fraction:0<scale$}").parse().ok()
}

/// The stamped batch with each row's own sequence and table version.
pub(crate) fn with_sequences(
    schema: &StreamSchema,
    batch: &RecordBatch,
    each: Vec<(i64, i64)>,
) -> Result<RecordBatch, ArrowError> {
    let mut columns = batch.columns().to_vec();
    let (sequences, versions): (Vec<i64>, Vec<i64>) = each.into_iter().unzip();
    columns[system_column(schema, system::SEQUENCE)] = Arc::new(Int64Array::from(sequences));
    columns[system_column(schema, system::TABLE_VERSION)] = Arc::new(Int64Array::from(versions));
    RecordBatch::try_new(batch.schema(), columns)
}

/// The batch of replayed rows with one more column: which of the load's [`TableLoad::replayed`] each row is. It goes
/// with the rows to where they are handed to the destination.
pub(crate) fn with_origins(
    batch: &RecordBatch,
    origins: ArrayRef,
) -> Result<RecordBatch, ArrowError> {
    let mut fields: Vec<_> = batch.schema().fields().iter().map(Arc::clone).collect();
    fields.push(Arc::new(Field::new(ORIGIN, DataType::Int64, false)));
    let mut columns = batch.columns().to_vec();
    columns.push(origins);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// A load as destinations know it: without that column.
pub(crate) fn handed_over(load: &TableLoad) -> Result<Cow<'_, TableLoad>, ArrowError> {
    if load.replayed.is_empty() {
        return Ok(Cow::Borrowed(load));
    }
    let width = load.schema.columns.len() + system::row_columns().len();
    let narrow = |batch: &RecordBatch| batch.project(&(0..width).collect::<Vec<_>>());
    let rows = load.rows.iter().map(narrow).collect::<Result<_, _>>()?;
    Ok(Cow::Owned(TableLoad { rows, ..load.clone() }))
}

/// A row of a load's batch as a reject: rendered, or as it was stored where it is a replayed one.
pub(crate) fn rejected(
    load: &TableLoad,
    batch: &RecordBatch,
    row: usize,
    code: ReasonCode,
    reason: String,
) -> RejectedRow {
    let schema = &load.schema;
    let key_digest = key_digest(schema, batch, row);
    let origin = batch.columns().get(schema.columns.len() + system::row_columns().len());
    let origin = origin
        .and_then(|array| array.as_primitive_opt::<Int64Type>())
        .and_then(|array| usize::try_from(array.value(row)).ok());
    if let Some(stored) = origin.and_then(|position| load.replayed.get(position)) {
        return stored.again(code, reason, key_digest);
    }
    RejectedRow {
        stream: schema.stream.clone(),
        code,
        reason,
        record: render(schema, batch, row),
        key_digest,
        sequence: sequence(schema, batch, row),
        table_version: load.version.unwrap_or_else(|| table_version(schema, batch, row)),
        extracted_at: extracted_at(schema, batch, row),
        occurrence: match code {
            // Rows that are alike share their key, so they are one row.
            ReasonCode::KeyCollision => Occurrence::Number(1),
            _ => Occurrence::Uncounted,
        },
        replays: None,
    }
}

/// What every row of a batch gets from the loader.
#[derive(Debug, Clone)]
pub(crate) struct Stamps {
    pub(crate) extracted_at: DateTime<Utc>,
    /// When each row was extracted, where that is known.
    pub(crate) extracted_each: Option<TimestampMicrosecondArray>,
    pub(crate) received_at: DateTime<Utc>,
    pub(crate) batched_at: DateTime<Utc>,
    pub(crate) first_sequence: i64,
    pub(crate) table_version: i64,
}

/// The batch with the system columns of [`crate::system::row_columns`] behind its own.
pub(crate) fn stamp(
    schema: &StreamSchema,
    batch: &RecordBatch,
    stamps: &Stamps,
) -> Result<RecordBatch, ArrowError> {
    let count = batch.num_rows();
    let instant = |at: DateTime<Utc>| -> ArrayRef {
        Arc::new(
            TimestampMicrosecondArray::from_value(at.timestamp_micros(), count)
                .with_timezone("UTC"),
        )
    };
    let length = i64::try_from(count).unwrap_or(i64::MAX);
    let sequences = stamps.first_sequence..stamps.first_sequence.saturating_add(length);
    let mut columns = batch.columns().to_vec();
    columns.push(match &stamps.extracted_each {
        Some(each) => Arc::new(each.clone().with_timezone("UTC")),
        None => instant(stamps.extracted_at),
    });
    columns.push(instant(stamps.received_at));
    columns.push(instant(stamps.batched_at));
    columns.push(Arc::new(Int64Array::from_iter_values(sequences)));
    columns.push(Arc::new(Int64Array::from_value(stamps.table_version, count)));
    RecordBatch::try_new(stamped_schema(schema), columns)
}

/// The Arrow schema of a stamped batch.
#[must_use]
pub fn stamped_schema(schema: &StreamSchema) -> SchemaRef {
    let mut fields: Vec<_> = schema.arrow().fields().iter().map(Arc::clone).collect();
    for column in crate::system::row_columns() {
        fields.push(Arc::new(Field::new(&column.name, column.column_type.arrow(), false)));
    }
    Arc::new(Schema::new(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_every_digit_and_no_more() {
        assert_eq!(decimal_text(312_450_000_000), "312.45");
        assert_eq!(decimal_text(-1), "-0.000000001");
        assert_eq!(decimal_text(0), "0");
        assert_eq!(decimal_text(4_000_000_000), "4");
        assert_eq!(
            decimal_text(99_999_999_999_999_999_999_999_999_999_999_999_999),
            "99999999999999999999999999999.999999999"
        );
    }

    #[test]
    fn instants_have_one_text() {
        let instant = |text: &str| {
            instant_text(
                DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).unwrap_or_default(),
            )
        };
        assert_eq!(instant("2019-03-04T14:05:09.000-05:00"), "2019-03-04T19:05:09Z");
        assert_eq!(instant("2019-03-04T14:05:09.120-05:00"), "2019-03-04T19:05:09.12Z");
        assert_eq!(instant("2019-03-04T14:05:00Z"), "2019-03-04T14:05:00Z");
    }

    #[test]
    fn keys_compare_as_instants_not_as_text() {
        use std::cmp::Ordering::{Greater, Less};
        assert_eq!(compare_keys("2019-03-04T14:05:09.5Z", "2019-03-04T14:05:09Z"), Greater);
        assert_eq!(compare_keys("9", "10"), Less);
        assert_eq!(compare_keys("9.5", "10.25"), Less);
        assert_eq!(compare_keys("-0.5", "-0.25"), Less);
        assert_eq!(compare_keys("a", "b"), Less);
    }
}
