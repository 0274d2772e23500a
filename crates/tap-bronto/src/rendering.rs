//! Rows of Arrow batches as the JSON objects of RECORD lines, without a tree of values in between.

use arrow::array::{
    Array, AsArray, BooleanArray, Decimal128Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
    types::{Decimal128Type, Int64Type, TimestampMicrosecondType},
};
use chrono::DateTime;
use replication::{
    row::decimal_text,
    stream::{ColumnType, StreamSchema},
};
use singer::{
    instant,
    json::{self, Key, ObjectWriter},
};

/// The keys of a stream's records, rendered once.
#[derive(Debug)]
pub struct RecordShape {
    keys: Vec<Key>,
}

/// The columns of a batch, each as what it is.
#[derive(Debug)]
pub struct BatchColumns<'batch>(Vec<Column<'batch>>);

#[derive(Debug)]
enum Column<'batch> {
    Text(&'batch StringArray),
    Json(&'batch StringArray),
    Integer(&'batch Int64Array),
    Number(&'batch Decimal128Array),
    Boolean(&'batch BooleanArray),
    Timestamp(&'batch TimestampMicrosecondArray),
    Texts(&'batch ListArray),
}

impl RecordShape {
    /// The keys of records of this schema.
    #[must_use]
    pub fn new(schema: &StreamSchema) -> Self {
        Self { keys: schema.columns.iter().map(|column| Key::new(&column.name)).collect() }
    }

    /// Appends a row. Absent values are null, so that a target forgets what is no longer there.
    pub fn render(&self, columns: &BatchColumns<'_>, row: usize, line: &mut Vec<u8>) {
        let mut object = ObjectWriter::begin(line);
        for (key, column) in self.keys.iter().zip(&columns.0) {
            if column.is_null(row) {
                object.null_field(key);
            } else {
                column.render(row, object.field(key));
            }
        }
        object.end();
    }
}

impl<'batch> BatchColumns<'batch> {
    /// The columns of a batch that follows `schema`.
    ///
    /// # Panics
    /// If it doesn't.
    #[must_use]
    pub fn new(schema: &StreamSchema, batch: &'batch RecordBatch) -> Self {
        let columns = schema.columns.iter().zip(batch.columns());
        Self(columns.map(|(column, array)| Column::new(&column.column_type, array)).collect())
    }
}

impl<'batch> Column<'batch> {
    fn new(column_type: &ColumnType, array: &'batch dyn Array) -> Self {
        match column_type {
            ColumnType::Text => Self::Text(array.as_string()),
            ColumnType::Json | ColumnType::Objects(_) => Self::Json(array.as_string()),
            ColumnType::Integer => Self::Integer(array.as_primitive::<Int64Type>()),
            ColumnType::Number => Self::Number(array.as_primitive::<Decimal128Type>()),
            ColumnType::Boolean => Self::Boolean(array.as_boolean()),
            ColumnType::Timestamp => {
                Self::Timestamp(array.as_primitive::<TimestampMicrosecondType>())
            }
            ColumnType::List(_) => Self::Texts(array.as_list()),
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Text(array) | Self::Json(array) => array.is_null(row),
            Self::Integer(array) => array.is_null(row),
            Self::Number(array) => array.is_null(row),
            Self::Boolean(array) => array.is_null(row),
            Self::Timestamp(array) => array.is_null(row),
            Self::Texts(array) => array.is_null(row),
        }
    }

    /// Appends a value that isn't null.
    fn render(&self, row: usize, line: &mut Vec<u8>) {
        match self {
            Self::Text(array) => json::push_string(line, array.value(row)),
            Self::Json(array) => line.extend_from_slice(array.value(row).as_bytes()),
            Self::Integer(array) => json::push_integer(line, array.value(row)),
            Self::Number(array) => {
                line.extend_from_slice(decimal_text(array.value(row)).as_bytes());
            }
            Self::Boolean(array) => json::push_boolean(line, array.value(row)),
            Self::Timestamp(array) => match DateTime::from_timestamp_micros(array.value(row)) {
                Some(time) => {
                    line.push(b'"');
                    instant::push(line, time);
                    line.push(b'"');
                }
                // Dates were checked to lie between the years 1 and 9999.
                None => json::push_null(line),
            },
            Self::Texts(array) => {
                let items = array.values().as_string::<i32>();
                let offsets = array.value_offsets();
                line.push(b'[');
                for index in offsets[row]..offsets[row + 1] {
                    if index > offsets[row] {
                        line.push(b',');
                    }
                    match usize::try_from(index) {
                        Ok(item) if items.is_valid(item) => {
                            json::push_string(line, items.value(item));
                        }
                        _ => json::push_null(line),
                    }
                }
                line.push(b']');
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, ListBuilder, StringBuilder};
    use replication::stream::{Column as SchemaColumn, Method, WinnerRule};

    use super::*;

    #[test]
    fn every_type_has_its_form() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("a\u{1}"), Some("é")]);
        lists.append_null();
        let decimals = Decimal128Array::from(vec![Some(-78_112_500_000), None])
            .with_precision_and_scale(38, 9)
            .unwrap();
        let columns: Vec<(&str, ColumnType, ArrayRef)> = vec![
            ("text", ColumnType::Text, Arc::new(StringArray::from(vec![Some("a\"b"), None]))),
            ("lexeme", ColumnType::Json, Arc::new(StringArray::from(vec![Some("89.90"), None]))),
            ("integer", ColumnType::Integer, Arc::new(Int64Array::from(vec![Some(-7), None]))),
            ("number", ColumnType::Number, Arc::new(decimals)),
            ("boolean", ColumnType::Boolean, Arc::new(BooleanArray::from(vec![Some(true), None]))),
            (
                "time",
                ColumnType::Timestamp,
                Arc::new(
                    TimestampMicrosecondArray::from(vec![Some(1_551_726_309_120_000), None])
                        .with_timezone("UTC"),
                ),
            ),
            ("list", ColumnType::List(Box::new(ColumnType::Text)), Arc::new(lists.finish())),
        ];
        let schema = StreamSchema {
            stream: "all".into(),
            columns: columns
                .iter()
                .map(|(name, kind, _)| SchemaColumn::new(*name, kind.clone()))
                .collect(),
            key: Vec::new(),
            replication_key: None,
            method: Method::FullTable,
            winner: WinnerRule::Sequence,
        };
        let arrays = columns.into_iter().map(|(_, _, array)| array).collect();
        let batch = RecordBatch::try_new(schema.arrow(), arrays).unwrap();
        let (shape, columns) = (RecordShape::new(&schema), BatchColumns::new(&schema, &batch));
        let mut line = Vec::new();
        for row in 0..2 {
            shape.render(&columns, row, &mut line);
            line.push(b'\n');
        }
        insta::assert_snapshot!(String::from_utf8(line).unwrap(), @r#"
        {"text":"a\"b","lexeme":89.90,"integer":-7,"number":-78.1125,"boolean":true,"time":"2019-03-04T19:05:09.120000Z","list":["a\u0001","é"]}
        {"text":null,"lexeme":null,"integer":null,"number":null,"boolean":null,"time":null,"list":null}
        "#);
    }
}
