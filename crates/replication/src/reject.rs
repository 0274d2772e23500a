//! Rows that can't be loaded. A reject keeps the whole row and the reason, so that nothing is ever dropped in silence.

use std::fmt;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::stream::StreamName;

/// Why a row was rejected. The closed list; `_sdc_rejected.reason_code` holds [`ReasonCode::as_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReasonCode {
    /// A key field is absent or null.
    MissingKey,
    /// Another row has the same key and outranks it, though neither is a version of the other.
    KeyCollision,
    /// A value doesn't fit the type of its column.
    WrongType,
    /// A number has more digits than a column holds, or isn't a number (NaN, infinity).
    NumberRange,
    /// A date-time is out of range, finer than a microsecond, or can't be read.
    TimestampRange,
    /// The source's object could not be decoded.
    Undecodable,
    /// The text holds a character that the destination can't store.
    UnsupportedCharacter,
    /// The row, or one of its values, is larger than the destination takes.
    TooLarge,
    /// Two columns, or two tables, would have the same name.
    FieldCollision,
    /// A name begins or ends in a way that is kept for the loader's own.
    ReservedName,
    /// A name is longer than the destination takes.
    NameTooLong,
    /// A name is empty, or nothing of it is left.
    UnusableName,
    /// The table has as many columns as it can have.
    TooManyColumns,
    /// The destination refused the row for another reason.
    RefusedByDestination,
}

impl ReasonCode {
    /// The code as it stands in `_sdc_rejected.reason_code`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingKey => "missing_key",
            Self::KeyCollision => "key_collision",
            Self::WrongType => "wrong_type",
            Self::NumberRange => "number_range",
            Self::TimestampRange => "timestamp_range",
            Self::Undecodable => "undecodable",
            Self::UnsupportedCharacter => "unsupported_character",
            Self::TooLarge => "too_large",
            Self::FieldCollision => "field_collision",
            Self::ReservedName => "reserved_name",
            Self::NameTooLong => "name_too_long",
            Self::UnusableName => "unusable_name",
            Self::TooManyColumns => "too_many_columns",
            Self::RefusedByDestination => "refused_by_destination",
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A row that was kept out of its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRow {
    /// The stream that it came from.
    pub stream: StreamName,
    /// Why, as a code.
    pub code: ReasonCode,
    /// Why, as a sentence that names the column or key but no value.
    pub reason: String,
    /// The row as received: JSON from Singer, the object's XML from Bronto, rendered JSON where neither was kept.
    pub record: String,
    /// The digest of its key, where it has one.
    pub key_digest: Option<String>,
    /// The sequence of its read.
    pub sequence: i64,
    /// The version of the table that it was meant for.
    pub table_version: i64,
    /// When it was read.
    pub extracted_at: DateTime<Utc>,
}

impl RejectedRow {
    /// The identity of the reject: the same row, read again and refused for the same reason, is the same reject, so a
    /// re-read adds nothing to `_sdc_rejected`.
    #[must_use]
    pub fn id(&self) -> String {
        let mut digest = Sha256::new();
        for part in [self.stream.as_str(), self.code.as_str(), &self.record] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        hex::encode(&digest.finalize()[..16])
    }
}
