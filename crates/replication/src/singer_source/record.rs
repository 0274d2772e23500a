//! One record, from its text straight into the columns, in one pass and without a tree of values.
//!
//! The text is known to be well-formed JSON when it gets here. So what fails below is a value that doesn't fit its
//! column, or a string that is no Unicode text: the row is given up, and the caller keeps it whole as a reject.

use std::{collections::HashSet, fmt};

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use singer::instant;

use super::{
    column::Column,
    layout::{FieldTarget, FieldTree, PlannedColumn, ValueKind},
    number::{self, NumberFault},
};
use crate::{
    reject::ReasonCode,
    stream::{NUMBER_PRECISION, NUMBER_SCALE},
};

/// Why a row can't be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: ReasonCode,
    /// Names the column, never the value.
    pub(super) reason: String,
}

/// Fields that records have and the schema doesn't, each once.
#[derive(Debug, Default)]
pub(super) struct UnknownFields {
    known: HashSet<String>,
    fresh: Vec<String>,
}

/// How many unknown fields of a stream are told apart: records may use their keys as data.
const MAX_UNKNOWN_FIELDS: usize = 1000;

impl UnknownFields {
    /// The fields met since this was asked last.
    pub(super) fn take_fresh(&mut self) -> Vec<String> {
        std::mem::take(&mut self.fresh)
    }

    /// Takes note of a field that the schema hasn't.
    pub(super) fn meet(&mut self, path: &str, name: &str) {
        if self.known.len() >= MAX_UNKNOWN_FIELDS {
            return;
        }
        let field = format!("{path}{name}");
        if self.known.insert(field.clone()) {
            self.fresh.push(field);
        }
    }
}

/// Reads a record into the columns, all of which have `row` rows before. Afterwards a column has one row more if the
/// record had a value for it; after a fault, the columns that were reached do.
pub(super) fn read(
    record: &RawValue,
    fields: &FieldTree,
    plan: &[PlannedColumn],
    columns: &mut [Column],
    row: usize,
    unknown: &mut UnknownFields,
) -> Result<(), Fault> {
    Reader { plan, columns, row, unknown, fault: None, current: 0 }.object(record, fields)
}

struct Reader<'a> {
    plan: &'a [PlannedColumn],
    columns: &'a mut [Column],
    row: usize,
    unknown: &'a mut UnknownFields,
    /// What was found wrong, when it was found by us and not by the JSON reader.
    fault: Option<Fault>,
    /// The column whose value is being read.
    current: usize,
}

impl Reader<'_> {
    fn object(&mut self, object: &RawValue, fields: &FieldTree) -> Result<(), Fault> {
        let mut deserializer = serde_json::Deserializer::from_str(object.get());
        match deserializer.deserialize_map(ObjectVisitor { reader: self, fields }) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fault.take().unwrap_or_else(|| self.fault_of(&error))),
        }
    }

    /// The fault behind an error of the JSON reader.
    fn fault_of(&self, error: &serde_json::Error) -> Fault {
        if error.is_data() {
            return self.wrong_type();
        }
        Fault {
            code: ReasonCode::Undecodable,
            reason: "A string of the record is not Unicode text: it has an unpaired surrogate"
                .to_owned(),
        }
    }

    fn wrong_type(&self) -> Fault {
        let expected =
            self.plan.get(self.current).map_or("a value", |column| column.kind.expected());
        self.fault_at_current(ReasonCode::WrongType, &format!("is not {expected}"))
    }

    fn fault_at_current(&self, code: ReasonCode, what: &str) -> Fault {
        let name = self.plan.get(self.current).map_or("", |column| column.name.as_str());
        Fault { code, reason: format!("The value of `{name}` {what}") }
    }
}

/// Ends the reading of a record; the fault itself is in the [`Reader`].
fn given_up<E: serde::de::Error>() -> E {
    E::custom("the row is rejected")
}

struct ObjectVisitor<'r, 'a> {
    reader: &'r mut Reader<'a>,
    fields: &'r FieldTree,
}

impl<'de> Visitor<'de> for ObjectVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let Self { reader, fields } = self;
        let mut cursor = 0;
        loop {
            let key = KeySeed { fields, cursor: &mut cursor, unknown: reader.unknown };
            let Some(target) = map.next_key_seed(key)? else { return Ok(()) };
            match target {
                Some(FieldTarget::Column(index)) => {
                    reader.current = *index;
                    map.next_value_seed(ColumnSeed { reader })?;
                }
                Some(FieldTarget::Object(inner)) => {
                    let value: &RawValue = map.next_value()?;
                    reader.nested(value, inner).map_err(|fault| {
                        reader.fault = Some(fault);
                        given_up()
                    })?;
                }
                Some(FieldTarget::OneOf(columns)) => {
                    let value: &RawValue = map.next_value()?;
                    reader.one_of(value, columns).map_err(|fault| {
                        reader.fault = Some(fault);
                        given_up()
                    })?;
                }
                Some(FieldTarget::Nowhere) | None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
    }
}

impl Reader<'_> {
    /// An object inside a record; null stands for one without fields.
    fn nested(&mut self, value: &RawValue, fields: &FieldTree) -> Result<(), Fault> {
        match value.get().as_bytes().first() {
            Some(b'{') => self.object(value, fields),
            Some(b'n') => Ok(()),
            _ => Err(Fault {
                code: ReasonCode::WrongType,
                reason: format!(
                    "The value of `{}` is not an object",
                    fields.path.trim_end_matches('.')
                ),
            }),
        }
    }
}

impl Reader<'_> {
    /// A value of a field that has several types, each with a column.
    fn one_of(&mut self, value: &RawValue, columns: &[usize]) -> Result<(), Fault> {
        let fits = |column: &&usize| {
            let kind = self.plan.get(**column).map(|column| &column.kind);
            kind.is_some_and(|kind| match value.get().as_bytes().first() {
                Some(b'"') => {
                    matches!(kind, ValueKind::Text | ValueKind::Timestamp | ValueKind::NumberText)
                }
                Some(b't' | b'f') => *kind == ValueKind::Boolean,
                Some(b'-' | b'0'..=b'9') => {
                    matches!(kind, ValueKind::Integer | ValueKind::Number | ValueKind::NumberText)
                }
                Some(b'n') => true,
                _ => false,
            })
        };
        let is_twice = |column: &usize| {
            self.columns.get(*column).is_some_and(|column| column.len() > self.row)
        };
        if let Some(field) = columns.first() {
            self.current = *field;
        }
        let field = self.plan.get(self.current).and_then(|column| column.one_type_of.as_deref());
        let fault = |code: ReasonCode, what: &str| Fault {
            code,
            reason: format!("The value of `{}` {what}", field.unwrap_or_default()),
        };
        if columns.iter().any(is_twice) {
            return Err(fault(ReasonCode::Undecodable, "stands in the record twice"));
        }
        let Some(column) = columns.iter().find(fits) else {
            return Err(fault(ReasonCode::WrongType, "is of none of the types that it may have"));
        };
        self.current = *column;
        let mut deserializer = serde_json::Deserializer::from_str(value.get());
        match (ColumnSeed { reader: self }).deserialize(&mut deserializer) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fault.take().unwrap_or_else(|| self.fault_of(&error))),
        }
    }
}

/// Finds the target of a key, and takes note of keys that have none.
struct KeySeed<'f, 'c> {
    fields: &'f FieldTree,
    cursor: &'c mut usize,
    unknown: &'c mut UnknownFields,
}

impl<'de, 'f> DeserializeSeed<'de> for KeySeed<'f, '_> {
    type Value = Option<&'f FieldTarget>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'f> Visitor<'_> for KeySeed<'f, '_> {
    type Value = Option<&'f FieldTarget>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let target = self.fields.find(name, self.cursor);
        if target.is_none() {
            self.unknown.meet(&self.fields.path, name);
        }
        Ok(target)
    }
}

/// Reads the value of the current column.
struct ColumnSeed<'r, 'a> {
    reader: &'r mut Reader<'a>,
}

impl<'de> DeserializeSeed<'de> for ColumnSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Reader { columns, row, current, .. } = self.reader;
        let Some(column) = columns.get_mut(*current) else {
            return Err(D::Error::custom("no such column"));
        };
        let mut found = None;
        let read = if column.len() > *row {
            found = Some((ReasonCode::Undecodable, "stands in the record twice"));
            Err(given_up())
        } else {
            ValueSeed { column, found: &mut found }.deserialize(deserializer)
        };
        if let Some((code, what)) = found {
            self.reader.fault = Some(self.reader.fault_at_current(code, what));
        }
        read
    }
}

/// Reads one value, or one item of a list, into a column.
struct ValueSeed<'c, 'f> {
    column: &'c mut Column,
    /// What is wrong with the value, where that is more than a wrong type.
    found: &'f mut Option<(ReasonCode, &'static str)>,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.column.kind() {
            ValueKind::Text | ValueKind::Timestamp | ValueKind::Boolean | ValueKind::List(_) => {
                deserializer.deserialize_any(self)
            }
            ValueKind::Json
            | ValueKind::Objects(_)
            | ValueKind::Integer
            | ValueKind::Number
            | ValueKind::NumberText => {
                let value = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
                self.raw(value.get())
            }
        }
    }
}

impl ValueSeed<'_, '_> {
    /// A value whose text says it all.
    fn raw<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        match text.as_bytes().first() {
            Some(b'n') => self.column.push_null(),
            _ if matches!(self.column.kind(), ValueKind::Json | ValueKind::Objects(_)) => {
                self.column.push_text(text);
            }
            Some(b'-' | b'0'..=b'9') => return self.number(text),
            Some(b'"') if *self.column.kind() == ValueKind::NumberText => {
                return self.number_text(text);
            }
            _ => return Err(E::custom("not a number")),
        }
        Ok(())
    }

    fn number<E: serde::de::Error>(self, lexeme: &str) -> Result<(), E> {
        let pushed = if *self.column.kind() == ValueKind::Integer {
            number::integer(lexeme).map(|number| self.column.push_integer(number))
        } else {
            number::scaled(lexeme, NUMBER_SCALE.unsigned_abs())
                .map(|number| self.column.push_number(number))
        };
        pushed.map_err(|fault| self.number_fault(fault))
    }

    fn number_text<E: serde::de::Error>(self, quoted: &str) -> Result<(), E> {
        let text: String = serde_json::from_str(quoted).map_err(E::custom)?;
        match number::scaled_text(&text, NUMBER_SCALE.unsigned_abs()) {
            Ok(number) => self.column.push_number(number),
            Err(fault) => return Err(self.number_fault(fault)),
        }
        Ok(())
    }

    fn number_fault<E: serde::de::Error>(self, fault: NumberFault) -> E {
        const _: () =
            assert!(NUMBER_PRECISION == 38 && NUMBER_SCALE == 9, "the reasons name these figures");
        let is_integer = *self.column.kind() == ValueKind::Integer;
        *self.found = match fault {
            NumberFault::TooFine if is_integer => None,
            NumberFault::TooLarge if is_integer => {
                Some((ReasonCode::NumberRange, "is a whole number of more than 64 bits"))
            }
            NumberFault::TooFine => Some((ReasonCode::NumberRange, "has more than 9 decimals")),
            NumberFault::TooLarge => {
                Some((ReasonCode::NumberRange, "has more than 29 digits before the point"))
            }
            NumberFault::NotANumber => {
                Some((ReasonCode::NumberRange, "is a text that is no number"))
            }
        };
        given_up()
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.column.kind().expected())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.column.push_null();
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        if *self.column.kind() != ValueKind::Boolean {
            return Err(given_up());
        }
        self.column.push_boolean(value);
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        match self.column.kind() {
            ValueKind::Text => self.column.push_text(text),
            ValueKind::Timestamp => match instant::parse(text) {
                Ok(microseconds) => self.column.push_timestamp(microseconds),
                Err(error) => {
                    *self.found = Some((ReasonCode::TimestampRange, timestamp_fault(error)));
                    return Err(given_up());
                }
            },
            _ => return Err(given_up()),
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<(), S::Error> {
        let Self { column, found } = self;
        let Some(item) = column.items() else { return Err(given_up()) };
        while items.next_element_seed(ValueSeed { column: item, found })?.is_some() {}
        column.close_list();
        Ok(())
    }
}

fn timestamp_fault(error: instant::InstantError) -> &'static str {
    match error {
        instant::InstantError::Unparsable => "is not an RFC 3339 date-time with an offset",
        instant::InstantError::FinerThanMicroseconds => "is finer than a microsecond",
        instant::InstantError::LeapSecond => {
            "is a leap second, which has no place on the time line"
        }
    }
}
