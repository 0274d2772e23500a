//! Streams and their schemas: what a source promises to deliver and a destination to hold.

use std::{fmt, sync::Arc};

pub use crate::singer_source::{ItemField, Items};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

/// The name of a stream as its source spells it, for example `inbound_activity`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamName(String);

impl StreamName {
    /// Takes any non-empty name; what a destination makes of it is that destination's business.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<&str> for StreamName {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// The type of a column, from the closed set that every destination can hold without loss.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// Any Unicode text.
    Text,
    /// A 64-bit signed integer.
    Integer,
    /// An exact decimal of 38 digits, nine of them after the point. Never a binary float.
    Number,
    /// True or false.
    Boolean,
    /// An instant in microseconds, UTC.
    Timestamp,
    /// A JSON document, kept as its text.
    Json,
    /// An ordered list of one of the types above; lists do not nest.
    List(Box<ColumnType>),
    /// An ordered list of objects, kept as the text of its JSON array. Destinations with subtables take it apart.
    Objects(Items),
}

impl ColumnType {
    /// The Arrow type in which batches carry this column.
    #[must_use]
    pub fn arrow(&self) -> DataType {
        match self {
            Self::Text | Self::Json | Self::Objects(_) => DataType::Utf8,
            Self::Integer => DataType::Int64,
            Self::Number => DataType::Decimal128(NUMBER_PRECISION, NUMBER_SCALE),
            Self::Boolean => DataType::Boolean,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::List(item) => DataType::List(Arc::new(Field::new("item", item.arrow(), true))),
        }
    }
}

/// Digits of a [`ColumnType::Number`] in all.
pub const NUMBER_PRECISION: u8 = 38;
/// Digits of a [`ColumnType::Number`] after the point.
pub const NUMBER_SCALE: i8 = 9;

/// One user column of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name as the source spells it.
    pub name: String,
    /// The type of its values; every column may also be null.
    pub column_type: ColumnType,
    /// The field of the record in which it stands, where that is an object whose fields are columns: `address` of
    /// `address__city`.
    pub object: Option<String>,
    /// The field whose values of one type it holds, where the source says that it has values of several.
    pub one_type_of: Option<String>,
}

impl Column {
    /// A column of this name and type.
    pub fn new(name: impl Into<String>, column_type: ColumnType) -> Self {
        Self { name: name.into(), column_type, object: None, one_type_of: None }
    }

    /// The same as a field of an object.
    #[must_use]
    pub fn within(mut self, object: Option<String>) -> Self {
        self.object = object;
        self
    }

    /// The same as one of several types of a field.
    #[must_use]
    pub fn as_one_type_of(mut self, field: Option<String>) -> Self {
        self.one_type_of = field;
        self
    }
}

/// How a stream is read, in Stitch's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Rows at or after the bookmark of the replication key.
    Incremental,
    /// Every row on every run; the table is replaced when the read is complete.
    FullTable,
}

/// Which of two rows that share a key, and differ, stays in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WinnerRule {
    /// The row with the greater `_sdc_sequence`: Stitch's rule. For sources that send the versions of a row in the order in
    /// which they read them, or whose rows never change: a row that is read again and is alike keeps the sequence of its
    /// first read, so one that was read in between and comes late would win.
    Sequence,
    /// The row with the later replication key (null is earliest), then the greater sequence. For rows that change in
    /// the source and are read by several workers: an old version that arrives late can't win.
    ReplicationKey,
    /// For rows that never change but whose key doesn't tell them apart: the row that is greatest in these columns, in
    /// this order (null is least, text by code point). The other is no old version, so it goes to `_sdc_rejected`.
    Greatest(Vec<String>),
}

/// The schema of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSchema {
    /// The stream.
    pub stream: StreamName,
    /// Its user columns, in order. System columns (`_sdc_…`) are not among them.
    pub columns: Vec<Column>,
    /// The columns that identify a row; none means that rows are appended.
    pub key: Vec<String>,
    /// The column whose values the stream's bookmark is about.
    pub replication_key: Option<String>,
    /// How it is read.
    pub method: Method,
    /// Who wins when rows share a key.
    pub winner: WinnerRule,
}

impl StreamSchema {
    /// The table that holds the stream, before the destination's own naming rules.
    #[must_use]
    pub fn table(&self) -> &str {
        self.stream.as_str()
    }

    /// The position of a column, by its exact name.
    #[must_use]
    pub fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|candidate| candidate.name == column)
    }

    /// The Arrow schema of a batch of this stream's user columns.
    #[must_use]
    pub fn arrow(&self) -> SchemaRef {
        let fields: Vec<Field> = self
            .columns
            .iter()
            .map(|column| Field::new(&column.name, column.column_type.arrow(), true))
            .collect();
        Arc::new(Schema::new(fields))
    }

    /// Whether rows are merged by key rather than appended.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        !self.key.is_empty()
    }
}
