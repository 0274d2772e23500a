//! Rows that can't be loaded. A reject keeps the whole row and the reason, so that nothing is ever dropped in silence.

use std::{collections::HashMap, fmt};

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

/// Which of the rejects of one run that are alike in stream, reason and record a reject is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Occurrence {
    /// The loader counts, over the run.
    #[default]
    Uncounted,
    /// This one, from 1, as the source or the loader has counted. A source that reads in windows counts itself: only it
    /// knows a row that came twice from two rows that are alike.
    Number(u32),
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
    /// Which of those that are alike.
    pub occurrence: Occurrence,
    /// The id of the stored reject that was replayed, and is one again.
    pub replays: Option<String>,
}

/// What tells an id's number from its digest.
const NUMBER_MARK: char = '-';

impl RejectedRow {
    /// The identity of the reject: the same row, read again and refused for the same reason, is the same reject, so a
    /// re-read adds nothing to `_sdc_rejected`. Of rows that are alike each has an id of its own: the digest, and from
    /// the second on `-2`, `-3`, … behind it.
    #[must_use]
    pub fn id(&self) -> String {
        let digest = hex::encode(self.digest());
        match self.occurrence {
            Occurrence::Number(number) if number > 1 => format!("{digest}{NUMBER_MARK}{number}"),
            Occurrence::Number(_) | Occurrence::Uncounted => digest,
        }
    }

    fn digest(&self) -> [u8; 16] {
        let mut digest = Sha256::new();
        for part in [self.stream.as_str(), self.code.as_str(), &self.record] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        let digest = digest.finalize();
        std::array::from_fn(|index| digest[index])
    }
}

/// Counts the rejects of one run that are alike, so that each of them has an id of its own.
#[derive(Debug, Default)]
pub(crate) struct Alike(HashMap<[u8; 16], u32>);

/// How many different rejects are remembered beyond their unit: some 20 MiB. Of those after them, rejects that are alike
/// and come in different units count as one.
const MOST_REMEMBERED: usize = 500_000;

impl Alike {
    /// Numbers the rejects that nobody has numbered.
    pub(crate) fn number(&mut self, rejects: &mut [RejectedRow]) {
        for reject in rejects {
            if reject.occurrence == Occurrence::Uncounted {
                let count = self.0.entry(reject.digest()).or_default();
                *count += 1;
                reject.occurrence = Occurrence::Number(*count);
            }
        }
    }

    /// A unit is complete.
    pub(crate) fn end_unit(&mut self) {
        if self.0.len() > MOST_REMEMBERED {
            self.0 = HashMap::new();
        }
    }
}

/// Whether a reject waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectStanding {
    /// It was not replayed.
    Open,
    /// It was replayed: its row was loaded after all.
    Replayed,
}

/// Which rejects are meant: those
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejectFilter {
    /// of this table,
    pub table: Option<String>,
    /// rejected for this reason (a [`ReasonCode`] as text),
    pub reason: Option<String>,
    /// and with this id. What is none excludes nothing.
    pub id: Option<String>,
}

/// A row of `_sdc_rejected` with everything that a replay needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReject {
    /// Its id.
    pub id: String,
    /// The stream.
    pub stream: StreamName,
    /// Why it was rejected, as a code.
    pub reason_code: String,
    /// Why, as a sentence.
    pub reason: String,
    /// The row: JSON as received from Singer, XML as received from Bronto, or JSON by column where the loader had it.
    pub record: String,
    /// The sequence of its read.
    pub sequence: i64,
    /// The version of the table that it was meant for.
    pub table_version: i64,
    /// When it was read.
    pub extracted_at: DateTime<Utc>,
    /// When it was replayed, if it was.
    pub replayed_at: Option<DateTime<Utc>>,
}

impl StoredReject {
    /// Which of the rejects that are alike it is.
    #[must_use]
    pub fn occurrence(&self) -> u32 {
        let number = self.id.split_once(NUMBER_MARK).and_then(|(_, number)| number.parse().ok());
        number.unwrap_or(1)
    }

    /// The same row, rejected again.
    pub(crate) fn again(
        &self,
        code: ReasonCode,
        reason: String,
        key_digest: Option<String>,
    ) -> RejectedRow {
        RejectedRow {
            stream: self.stream.clone(),
            code,
            reason,
            record: self.record.clone(),
            key_digest,
            sequence: self.sequence,
            table_version: self.table_version,
            extracted_at: self.extracted_at,
            occurrence: Occurrence::Number(self.occurrence()),
            replays: Some(self.id.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_that_are_alike_have_ids_of_their_own_and_the_same_ones_at_every_read() {
        let reject = RejectedRow {
            stream: StreamName::from("contact"),
            code: ReasonCode::NumberRange,
            reason: "`x` is not a number (NaN)".to_owned(),
            record: "<return/>".to_owned(),
            key_digest: None,
            sequence: 7,
            table_version: 0,
            extracted_at: DateTime::default(),
            occurrence: Occurrence::Uncounted,
            replays: None,
        };
        let other = RejectedRow { record: "<other/>".to_owned(), ..reject.clone() };
        let fixed = RejectedRow { occurrence: Occurrence::Number(1), ..reject.clone() };
        let read = || {
            let mut alike = Alike::default();
            let mut units = [
                vec![reject.clone(), other.clone(), reject.clone()],
                vec![reject.clone(), fixed.clone()],
            ];
            for unit in &mut units {
                alike.number(unit);
                alike.end_unit();
            }
            units.concat().iter().map(RejectedRow::id).collect::<Vec<_>>()
        };
        let ids = read();
        assert_eq!(ids, read());
        assert_eq!(ids[2], format!("{}-2", ids[0]));
        assert_eq!(ids[3], format!("{}-3", ids[0]));
        assert_eq!(ids[4], ids[0]);
        assert_ne!(ids[1], ids[0]);
    }
}
