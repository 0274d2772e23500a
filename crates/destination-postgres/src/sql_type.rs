//! The types that columns have in PostgreSQL.

use replication::stream::ColumnType;

/// A column type of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SqlType {
    Text,
    Bigint,
    Numeric,
    Boolean,
    Timestamptz,
    Json,
    /// An array of one of the others, where arrays are columns.
    Array(&'static Self),
}

impl SqlType {
    /// The type that holds a scalar type's values without loss; none for lists.
    pub(crate) fn of(column_type: &ColumnType) -> Option<Self> {
        Some(match column_type {
            ColumnType::Text => Self::Text,
            ColumnType::Integer => Self::Bigint,
            ColumnType::Number => Self::Numeric,
            ColumnType::Boolean => Self::Boolean,
            ColumnType::Timestamp => Self::Timestamptz,
            ColumnType::Json => Self::Json,
            ColumnType::List(_) | ColumnType::Objects(_) => return None,
        })
    }

    /// The type's name as the server itself writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Bigint => "bigint",
            Self::Numeric => "numeric",
            Self::Boolean => "boolean",
            Self::Timestamptz => "timestamp with time zone",
            Self::Json => "json",
            Self::Array(Self::Text) => "text[]",
            Self::Array(Self::Bigint) => "bigint[]",
            Self::Array(Self::Numeric) => "numeric[]",
            Self::Array(Self::Boolean) => "boolean[]",
            Self::Array(Self::Timestamptz) => "timestamp with time zone[]",
            Self::Array(Self::Json | Self::Array(_)) => "json[]",
        }
    }

    /// The type of the arrays of such values.
    pub(crate) fn array(self) -> Self {
        Self::Array(match self {
            Self::Text => &Self::Text,
            Self::Bigint => &Self::Bigint,
            Self::Numeric => &Self::Numeric,
            Self::Boolean => &Self::Boolean,
            Self::Timestamptz => &Self::Timestamptz,
            Self::Json | Self::Array(_) => &Self::Json,
        })
    }

    /// The type that a value is cast to where it is compared or read as text; none for what is taken as it is. Documents
    /// have no order and no equality of their own.
    pub(crate) fn compared_as(self) -> &'static str {
        match self {
            Self::Json => "::text",
            Self::Array(Self::Json) => "::text[]",
            _ => "",
        }
    }

    /// The type that the server calls so; none if it isn't one of ours.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let all =
            [Self::Text, Self::Bigint, Self::Numeric, Self::Boolean, Self::Timestamptz, Self::Json];
        all.into_iter().find(|of| of.name() == name)
    }

    /// The column type that is held in it.
    pub(crate) fn column_type(self) -> ColumnType {
        match self {
            Self::Text => ColumnType::Text,
            Self::Bigint => ColumnType::Integer,
            Self::Numeric => ColumnType::Number,
            Self::Boolean => ColumnType::Boolean,
            Self::Timestamptz => ColumnType::Timestamp,
            Self::Json => ColumnType::Json,
            Self::Array(item) => ColumnType::List(Box::new(item.column_type())),
        }
    }

    /// The type's fixed number, which binary arrays carry; that of the items of an array.
    pub(crate) fn oid(self) -> u32 {
        match self {
            Self::Text => 25,
            Self::Bigint => 20,
            Self::Numeric => 1700,
            Self::Boolean => 16,
            Self::Timestamptz => 1184,
            Self::Json => 114,
            Self::Array(item) => item.oid(),
        }
    }
}
