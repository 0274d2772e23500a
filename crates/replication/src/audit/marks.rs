//! Marks: digests of values in one canonical form, by which rows are compared.
//!
//! A value's form is its type's own text, which is the same whoever holds it: numbers without trailing zeros, instants in
//! UTC without them, texts and documents byte for byte, arrays item by item in their order. Null is no value; where arrays
//! are subtables an empty one is null too, since nobody could tell them apart.

use std::hash::{DefaultHasher, Hasher};

use arrow::array::{
    Array, AsArray, RecordBatch,
    types::{Decimal128Type, Int64Type, TimestampMicrosecondType},
};
use chrono::{DateTime, NaiveDate, Utc};

use crate::{
    row,
    stream::{ColumnType, StreamSchema},
};

/// The digest of a row's key.
pub(super) type Key = [u8; 16];

/// A digest for each compared column.
pub(super) type Values = Box<[u64]>;

/// The digest of a row's key; the same as in `_sdc_rejected`.
pub(super) fn key(schema: &StreamSchema, batch: &RecordBatch, row: usize) -> Key {
    let mut key = Key::default();
    if let Some(digest) = row::key_digest(schema, batch, row) {
        // It is made of just so many bytes.
        hex::decode_to_slice(digest, &mut key).unwrap_or_default();
    }
    key
}

/// The digest of one value.
pub(super) fn value(
    column_type: &ColumnType,
    array: &dyn Array,
    row: usize,
    empty_is_null: bool,
) -> u64 {
    let mut hasher = DefaultHasher::new();
    feed(column_type, array, row, empty_is_null, &mut hasher);
    hasher.finish()
}

/// What stands for a value that isn't there.
pub(super) fn nothing() -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u8(0);
    hasher.finish()
}

fn feed(
    column_type: &ColumnType,
    array: &dyn Array,
    row: usize,
    empty_is_null: bool,
    hasher: &mut DefaultHasher,
) {
    let is_empty_list = || {
        let is_list = matches!(column_type, ColumnType::List(_));
        is_list && array.as_list::<i32>().value_length(row) == 0
    };
    if array.is_null(row) || (empty_is_null && is_empty_list()) {
        hasher.write_u8(0);
        return;
    }
    hasher.write_u8(1);
    let mut text = |text: &str| {
        hasher.write_usize(text.len());
        hasher.write(text.as_bytes());
    };
    match column_type {
        ColumnType::Text | ColumnType::Json | ColumnType::Objects(_) => {
            text(array.as_string::<i32>().value(row));
        }
        ColumnType::Integer => text(&array.as_primitive::<Int64Type>().value(row).to_string()),
        ColumnType::Number => {
            text(&row::decimal_text(array.as_primitive::<Decimal128Type>().value(row)));
        }
        ColumnType::Boolean => text(if array.as_boolean().value(row) { "true" } else { "false" }),
        ColumnType::Timestamp => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            match DateTime::from_timestamp_micros(micros) {
                Some(at) => text(&row::instant_text(at)),
                // Out of every calendar's range: what somebody else wrote.
                None => text(&micros.to_string()),
            }
        }
        ColumnType::List(item) => {
            let items = array.as_list::<i32>().value(row);
            hasher.write_usize(items.len());
            for index in 0..items.len() {
                feed(item, &items, index, false, hasher);
            }
        }
    }
}

/// The instant of a replication key: of a date-time, or of a text in its canonical form.
pub(super) fn instant(
    column_type: &ColumnType,
    array: &dyn Array,
    row: usize,
) -> Option<DateTime<Utc>> {
    if array.is_null(row) {
        return None;
    }
    match column_type {
        ColumnType::Timestamp => DateTime::from_timestamp_micros(
            array.as_primitive::<TimestampMicrosecondType>().value(row),
        ),
        ColumnType::Text => DateTime::parse_from_rfc3339(array.as_string::<i32>().value(row))
            .ok()
            .map(|at| at.to_utc()),
        _ => None,
    }
}

/// The day of an instant.
pub(super) fn day(at: Option<DateTime<Utc>>) -> Option<NaiveDate> {
    at.map(|at| at.date_naive())
}

/// The digest of a row of which these columns count. Sums of them are alike whatever the order.
pub(super) fn row_digest(key: &Key, values: &[u64], counts: impl Fn(usize) -> bool) -> u128 {
    let half = |first: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(first);
        hasher.write(key);
        for (_, value) in values.iter().enumerate().filter(|(column, _)| counts(*column)) {
            hasher.write_u64(*value);
        }
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, Decimal128Array, ListBuilder, StringArray, StringBuilder, new_null_array,
    };

    use super::*;

    fn list(items: &[Option<&str>]) -> ArrayRef {
        let mut builder = ListBuilder::new(StringBuilder::new());
        builder.append_value(items.iter().copied());
        Arc::new(builder.finish())
    }

    #[test]
    fn equal_values_have_equal_marks_and_others_have_others() {
        let lists = ColumnType::List(Box::new(ColumnType::Text));
        let of = |items: &[Option<&str>]| value(&lists, &list(items), 0, false);
        let ways = [
            of(&[]),
            of(&[None]),
            of(&[Some("")]),
            of(&[Some("a"), Some("b")]),
            of(&[Some("b"), Some("a")]),
            of(&[Some("ab")]),
            nothing(),
        ];
        for (index, way) in ways.iter().enumerate() {
            assert!(!ways[index + 1..].contains(way), "{index}");
        }
        assert_eq!(value(&lists, &list(&[]), 0, true), nothing(), "empty is absent in subtables");
        let text = |text: &str| value(&ColumnType::Text, &StringArray::from(vec![text]), 0, false);
        assert_ne!(text(""), nothing());
        assert_ne!(text("é"), text("e\u{301}"));
        let null = new_null_array(&ColumnType::Number.arrow(), 1);
        assert_eq!(value(&ColumnType::Number, &null, 0, false), nothing());
    }

    #[test]
    fn a_number_has_the_mark_of_its_value() {
        let number = |unscaled: i128| {
            let array = Decimal128Array::from(vec![unscaled]);
            value(&ColumnType::Number, &array.with_precision_and_scale(38, 9).unwrap(), 0, false)
        };
        assert_eq!(number(1_500_000_000), number(1_500_000_000));
        assert_ne!(number(1_500_000_000), number(1_500_000_001));
        assert_ne!(number(0), number(i128::MAX));
    }
}
