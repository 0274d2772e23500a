//! The way of most records: from their line straight into the columns, in one pass that nothing has gone before.
//!
//! A line goes this way if it is a RECORD message whose fields come in the usual order and all of whose values fit their
//! columns. Whatever else a line is (another message, broken, a record with a fault), this gives up on it without saying
//! why, and the careful reading in [`super::record`] takes it from its beginning. Both read alike what this can read.

use serde::Deserialize;
use serde_json::value::RawValue;
use singer::{instant, json};

use super::{
    column::Column,
    layout::{FieldTarget, FieldTree, ValueKind},
    number,
    record::UnknownFields,
};
use crate::stream::NUMBER_SCALE;

/// What a line says besides its record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// When the tap read the row, in microseconds.
    pub(super) time_extracted: Option<i64>,
    pub(super) version: Option<i64>,
}

/// A line, read up to some place.
#[derive(Debug, Clone)]
pub(super) struct Reader<'line> {
    text: &'line str,
    at: usize,
}

/// Where the values of a record go. All columns have `row` rows before; afterwards those have one more that the record
/// had a value for, or, if it was given up on, those that were reached.
pub(super) struct Row<'c> {
    pub(super) columns: &'c mut [Column],
    pub(super) row: usize,
    pub(super) unknown: &'c mut UnknownFields,
    /// How many columns were filled.
    pub(super) filled: usize,
    /// For texts that aren't written as they are.
    pub(super) scratch: &'c mut String,
}

impl<'line> Reader<'line> {
    /// Begins to read a line. Returns the name of the stream if it is a RECORD message.
    pub(super) fn begin(line: &'line str) -> Option<(Self, &'line str)> {
        let mut reader = Self { text: line, at: 0 };
        reader.expect(b'{')?;
        (reader.key()? == "type").then_some(())?;
        (reader.plain_text()? == "RECORD").then_some(())?;
        reader.expect(b',')?;
        (reader.key()? == "stream").then_some(())?;
        let stream = reader.plain_text()?;
        Some((reader, stream))
    }

    /// Reads the rest of the line.
    pub(super) fn finish(mut self, fields: &FieldTree, row: &mut Row<'_>) -> Option<Surroundings> {
        let mut surroundings = Surroundings::default();
        let mut has_record = false;
        loop {
            match self.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
            match self.key()? {
                "record" if !has_record => {
                    self.expect(b'{')?;
                    self.object(fields, row)?;
                    has_record = true;
                }
                "time_extracted" if surroundings.time_extracted.is_none() => {
                    surroundings.time_extracted = Some(instant::parse(self.plain_text()?).ok()?);
                }
                "version" if surroundings.version.is_none() => {
                    surroundings.version = Some(self.number()?.parse().ok()?);
                }
                _ => return None,
            }
        }
        self.skip_space();
        (has_record && self.at == self.text.len()).then_some(surroundings)
    }

    /// Reads an object whose brace is open.
    fn object(&mut self, fields: &FieldTree, row: &mut Row<'_>) -> Option<()> {
        let mut cursor = 0;
        self.skip_space();
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            match self.field(fields, &mut cursor, row)? {
                Some(FieldTarget::Column(index)) => {
                    let column = row.columns.get_mut(*index)?;
                    // A field that comes twice is a fault.
                    (column.len() == row.row).then_some(())?;
                    self.value(column, row.scratch)?;
                    row.filled += 1;
                }
                Some(FieldTarget::Object(inner)) => match self.peek()? {
                    b'{' => {
                        self.at += 1;
                        self.object(inner, row)?;
                    }
                    _ => self.word("null")?,
                },
                // Which column it is takes care to find out.
                Some(FieldTarget::OneOf(_)) => return None,
                Some(FieldTarget::Nowhere) | None => {
                    self.raw()?;
                }
            }
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Reads a field's name and the colon behind it, and finds the field's target.
    fn field<'f>(
        &mut self,
        fields: &'f FieldTree,
        cursor: &mut usize,
        row: &mut Row<'_>,
    ) -> Option<Option<&'f FieldTarget>> {
        self.skip_space();
        if let Some((length, target)) = fields.expected(self.rest(), cursor) {
            self.at += length;
            self.expect(b':')?;
            self.skip_space();
            return Some(Some(target));
        }
        let name = self.key()?;
        let target = fields.find(name, cursor);
        if target.is_none() {
            row.unknown.meet(&fields.path, name);
        }
        Some(target)
    }

    fn value(&mut self, column: &mut Column, scratch: &mut String) -> Option<()> {
        let first = self.peek()?;
        if first == b'n' {
            self.word("null")?;
            column.push_null();
            return Some(());
        }
        let scale = NUMBER_SCALE.unsigned_abs();
        match column.kind() {
            ValueKind::Text => column.push_text(self.text(scratch)?),
            ValueKind::Integer => column.push_integer(number::integer(self.number()?).ok()?),
            ValueKind::NumberText if first == b'"' => {
                column.push_number(number::scaled_text(self.plain_text()?, scale).ok()?);
            }
            ValueKind::Number | ValueKind::NumberText => {
                column.push_number(number::scaled(self.number()?, scale).ok()?);
            }
            ValueKind::Timestamp => {
                column.push_timestamp(instant::parse(self.plain_text()?).ok()?);
            }
            ValueKind::Boolean => {
                self.word(if first == b't' { "true" } else { "false" })?;
                column.push_boolean(first == b't');
            }
            ValueKind::Json | ValueKind::Objects(_) => column.push_text(self.raw()?),
            ValueKind::List(_) => {
                self.expect(b'[')?;
                self.items(column.items()?, scratch)?;
                column.close_list();
            }
        }
        Some(())
    }

    /// Reads the items of an array whose bracket is open.
    fn items(&mut self, items: &mut Column, scratch: &mut String) -> Option<()> {
        self.skip_space();
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.skip_space();
            self.value(items, scratch)?;
            match self.next()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    /// A key that is written as it is, and the colon behind it.
    fn key(&mut self) -> Option<&'line str> {
        self.skip_space();
        let key = self.plain_text()?;
        self.expect(b':')?;
        self.skip_space();
        Some(key)
    }

    /// A string that is written as it is.
    fn plain_text(&mut self) -> Option<&'line str> {
        (self.peek()? == b'"').then_some(())?;
        let start = self.at + 1;
        let end = start + plain_run(self.text.as_bytes().get(start..)?);
        (*self.text.as_bytes().get(end)? == b'"').then_some(())?;
        self.at = end + 1;
        self.text.get(start..end)
    }

    /// A string; `scratch` takes it if it isn't written as it is.
    fn text<'s>(&mut self, scratch: &'s mut String) -> Option<&'s str>
    where
        'line: 's,
    {
        (self.peek()? == b'"').then_some(())?;
        self.at += 1;
        let mut start = self.at;
        scratch.clear();
        loop {
            let end = start + plain_run(self.text.as_bytes().get(start..)?);
            let run = self.text.get(start..end)?;
            self.at = end + 1;
            match *self.text.as_bytes().get(end)? {
                b'"' if scratch.is_empty() => return Some(run),
                b'"' => {
                    scratch.push_str(run);
                    return Some(scratch);
                }
                b'\\' => {
                    scratch.push_str(run);
                    scratch.push(self.escaped()?);
                    start = self.at;
                }
                _ => return None,
            }
        }
    }

    /// The character that an escape behind its backslash stands for.
    fn escaped(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += 1;
        Some(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let mut units = vec![self.unit()?];
                if char::from_u32(u32::from(units[0])).is_none() {
                    self.word("\\u")?;
                    units.push(self.unit()?);
                }
                char::decode_utf16(units).next()?.ok()?
            }
            _ => return None,
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u16> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
        u16::from_str_radix(digits, 16).ok()
    }

    /// The text of a number.
    fn number(&mut self) -> Option<&'line str> {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let rest = self.rest();
        let lexeme = &rest[..rest.bytes().take_while(is_part).count()];
        self.at += lexeme.len();
        json::is_number(lexeme).then_some(lexeme)
    }

    /// The text of any value.
    fn raw(&mut self) -> Option<&'line str> {
        let rest = self.rest();
        let mut deserializer = serde_json::Deserializer::from_str(rest);
        let value = <&RawValue>::deserialize(&mut deserializer).ok()?.get();
        // Whitespace in front of it was skipped, so it is what the rest begins with.
        self.at += value.len();
        Some(value)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.rest().starts_with(word).then(|| self.at += word.len())
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    /// The next character that isn't whitespace, which must be ASCII.
    fn next(&mut self) -> Option<u8> {
        self.skip_space();
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn skip_space(&mut self) {
        while matches!(self.text.as_bytes().get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'line str {
        self.text.get(self.at..).unwrap_or_default()
    }
}

/// How many bytes stand in front of the first quote, backslash or control character; eight are looked at together.
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The high bit of each byte that is below a limit, if no byte before it is.
        let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let found = (quote | backslash | below(word, 0x20)) & HIGH;
        if found != 0 {
            return place * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |byte: &&u8| !matches!(byte, b'"' | b'\\' | 0..0x20);
    bytes.len() - rest.len() + rest.iter().take_while(is_plain).count()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use indexmap::IndexMap;
    use proptest::prelude::*;

    use super::*;
    use crate::singer_source::layout::Layout;

    fn read(line: &str) -> Option<(Vec<usize>, Surroundings)> {
        let schema = serde_json::json!({"properties": {
            "id": {"type": "integer"}, "text": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}},
        }});
        let properties: IndexMap<_, _> = singer::StreamSchema::read(&schema).unwrap().properties;
        let layout = Layout::of(&properties);
        let mut columns: Vec<Column> =
            layout.columns.iter().map(|column| Column::new(&column.kind, 0, 0)).collect();
        let (reader, stream) = Reader::begin(line)?;
        assert_eq!(stream, "rows");
        let (mut unknown, mut scratch) = (UnknownFields::default(), String::new());
        let (columns, unknown, scratch) = (&mut columns[..], &mut unknown, &mut scratch);
        let mut row = Row { columns, row: 0, unknown, filled: 0, scratch };
        let surroundings = reader.finish(&layout.fields, &mut row)?;
        Some((row.columns.iter().map(Column::len).collect(), surroundings))
    }

    #[test]
    fn lines_as_taps_write_them_go_straight() {
        let plain = |time_extracted, version| Surroundings { time_extracted, version };
        let line = r#"{"type":"RECORD","stream":"rows","record":{"id":1,"text":"a","tags":["b"]},"time_extracted":"1970-01-01T00:00:01Z"}"#;
        assert_eq!(read(line), Some((vec![1, 1, 1], plain(Some(1_000_000), None))));
        let line = r#"{"type": "RECORD", "stream": "rows", "record": {"tags": null, "id": 1, "text": "\u00e9"}, "version": 7}"#;
        assert_eq!(read(line), Some((vec![1, 1, 1], plain(None, Some(7)))));
        let line = r#"{"type": "RECORD", "stream": "rows", "record": {"id": 1, "more": [{}]}}"#;
        assert_eq!(read(line), Some((vec![1, 0, 0], plain(None, None))));
        assert_eq!(read(r#"{"type":"STATE","value":{}}"#), None);
    }

    proptest! {
        #[test]
        fn a_run_ends_where_it_has_to(bytes: Vec<u8>, plain in "[ -~é]{0,40}") {
            let bytes = [plain.as_bytes(), &bytes].concat();
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            prop_assert_eq!(plain_run(&bytes), bytes.iter().position(special).unwrap_or(bytes.len()));
        }
    }
}
