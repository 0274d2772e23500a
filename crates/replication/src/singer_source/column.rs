//! A column that is being filled, row by row.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Decimal128Builder, Int64Builder, ListArray, NullBufferBuilder,
        StringBuilder, TimestampMicrosecondBuilder,
    },
    buffer::OffsetBuffer,
    datatypes::{DataType, Field},
};

use super::layout::ValueKind;

/// Values of one column, in the order of the rows.
#[derive(Debug)]
pub(super) struct Column {
    kind: ValueKind,
    values: Values,
    last_is_null: bool,
}

#[derive(Debug)]
enum Values {
    Text(StringBuilder),
    Integer(Int64Builder),
    Number(Decimal128Builder),
    Boolean(BooleanBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    List(Box<List>),
}

#[derive(Debug)]
struct List {
    items: Column,
    ends: Vec<i32>,
    validity: NullBufferBuilder,
}

impl Column {
    /// An empty column with room for as many rows, and as many bytes of text.
    pub(super) fn new(kind: &ValueKind, rows: usize, bytes: usize) -> Self {
        let values = match kind {
            ValueKind::Text | ValueKind::Json | ValueKind::Objects(_) => {
                Values::Text(StringBuilder::with_capacity(rows, bytes))
            }
            ValueKind::Integer => Values::Integer(Int64Builder::with_capacity(rows)),
            ValueKind::Number | ValueKind::NumberText => {
                let builder = Decimal128Builder::with_capacity(rows);
                Values::Number(builder.with_data_type(kind.column_type().arrow()))
            }
            ValueKind::Boolean => Values::Boolean(BooleanBuilder::with_capacity(rows)),
            ValueKind::Timestamp => Values::Timestamp(
                TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC"),
            ),
            ValueKind::List(item) => Values::List(Box::new(List {
                items: Self::new(item, 0, 0),
                ends: Vec::with_capacity(rows),
                validity: NullBufferBuilder::new(rows),
            })),
        };
        Self { kind: kind.clone(), values, last_is_null: false }
    }

    /// How its values are read.
    pub(super) fn kind(&self) -> &ValueKind {
        &self.kind
    }

    /// How many rows it has.
    pub(super) fn len(&self) -> usize {
        use arrow::array::ArrayBuilder;
        match &self.values {
            Values::Text(builder) => builder.len(),
            Values::Integer(builder) => builder.len(),
            Values::Number(builder) => builder.len(),
            Values::Boolean(builder) => builder.len(),
            Values::Timestamp(builder) => builder.len(),
            Values::List(list) => list.ends.len(),
        }
    }

    /// Whether the last row is null.
    pub(super) fn last_is_null(&self) -> bool {
        self.last_is_null
    }

    pub(super) fn push_null(&mut self) {
        self.last_is_null = true;
        match &mut self.values {
            Values::Text(builder) => builder.append_null(),
            Values::Integer(builder) => builder.append_null(),
            Values::Number(builder) => builder.append_null(),
            Values::Boolean(builder) => builder.append_null(),
            Values::Timestamp(builder) => builder.append_null(),
            Values::List(list) => list.close(false),
        }
    }

    /// Appends a text. The kind of the column is the caller's to know, here and below.
    pub(super) fn push_text(&mut self, text: &str) {
        if let Values::Text(builder) = &mut self.values {
            builder.append_value(text);
            self.last_is_null = false;
        }
    }

    pub(super) fn push_integer(&mut self, number: i64) {
        if let Values::Integer(builder) = &mut self.values {
            builder.append_value(number);
            self.last_is_null = false;
        }
    }

    pub(super) fn push_number(&mut self, unscaled: i128) {
        if let Values::Number(builder) = &mut self.values {
            builder.append_value(unscaled);
            self.last_is_null = false;
        }
    }

    pub(super) fn push_boolean(&mut self, value: bool) {
        if let Values::Boolean(builder) = &mut self.values {
            builder.append_value(value);
            self.last_is_null = false;
        }
    }

    pub(super) fn push_timestamp(&mut self, microseconds: i64) {
        if let Values::Timestamp(builder) = &mut self.values {
            builder.append_value(microseconds);
            self.last_is_null = false;
        }
    }

    /// The column of a list's items, to push one after the other.
    pub(super) fn items(&mut self) -> Option<&mut Self> {
        match &mut self.values {
            Values::List(list) => Some(&mut list.items),
            _ => None,
        }
    }

    /// Ends the row's list with the items pushed so far.
    pub(super) fn close_list(&mut self) {
        if let Values::List(list) = &mut self.values {
            list.close(true);
            self.last_is_null = false;
        }
    }

    /// Makes the column `rows` long with nulls.
    pub(super) fn pad(&mut self, rows: usize) {
        while self.len() < rows {
            self.push_null();
        }
    }

    /// Takes the values out and leaves an empty column with about as much room.
    pub(super) fn take(&mut self) -> ArrayRef {
        let bytes = match &self.values {
            Values::Text(builder) => builder.values_slice().len(),
            _ => 0,
        };
        let empty = Self::new(&self.kind, self.len(), bytes);
        match std::mem::replace(self, empty).values {
            Values::Text(mut builder) => Arc::new(builder.finish()),
            Values::Integer(mut builder) => Arc::new(builder.finish()),
            Values::Number(mut builder) => Arc::new(builder.finish()),
            Values::Boolean(mut builder) => Arc::new(builder.finish()),
            Values::Timestamp(mut builder) => Arc::new(builder.finish()),
            Values::List(list) => list.finish(),
        }
    }
}

impl List {
    fn close(&mut self, is_valid: bool) {
        let end = i32::try_from(self.items.len()).expect("a batch is far smaller than 2^31 bytes");
        self.ends.push(end);
        self.validity.append(is_valid);
    }

    fn finish(mut self) -> ArrayRef {
        let offsets: Vec<i32> = std::iter::once(0).chain(self.ends).collect();
        let items = self.items.take();
        let field = Arc::new(Field::new("item", DataType::clone(items.data_type()), true));
        Arc::new(ListArray::new(
            field,
            OffsetBuffer::new(offsets.into()),
            items,
            self.validity.finish(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::*;

    #[test]
    fn lists_hold_nothing_nulls_and_items() {
        let mut column = Column::new(&ValueKind::List(Box::new(ValueKind::Text)), 0, 0);
        column.close_list();
        column.push_null();
        if let Some(items) = column.items() {
            items.push_text("a");
            items.push_null();
        }
        column.close_list();
        let list = column.take();
        let list = list.as_list::<i32>();
        assert_eq!(
            (list.len(), list.value(0).len(), list.is_null(1), list.value(2).len()),
            (3, 0, true, 2)
        );
        assert!(list.value(2).is_null(1));
        assert_eq!(column.len(), 0);
    }

    #[test]
    fn every_kind_has_the_arrow_type_of_its_column() {
        use ValueKind::{Boolean, Integer, Json, List, Number, NumberText, Text, Timestamp};
        for plain in [Text, Json, Integer, Number, NumberText, Boolean, Timestamp] {
            for kind in [List(Box::new(plain.clone())), plain] {
                let mut column = Column::new(&kind, 1, 1);
                column.pad(2);
                let array = column.take();
                assert_eq!(array.data_type(), &kind.column_type().arrow());
                assert_eq!(array.null_count(), 2);
            }
        }
    }
}
