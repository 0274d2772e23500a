//! Rows under construction as lines of Singer RECORD messages: the text of an element goes straight into the line that
//! is written.
//!
//! Values come in the order of the columns, as a rule, so a line grows at its end: a piece of the stream's
//! [`LineShape`], a value, the next piece. A value that comes later than its turn waits beside the line, which is put
//! together anew when the row is complete.

mod memory;

use std::{mem, sync::Arc};

use arrow::{
    array::{AsArray, LargeBinaryArray, RecordBatch},
    buffer::{OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, Field, Schema},
    error::ArrowError,
};
use bronto_client::{
    PlainText, Room,
    lexical::{self, UsualDateTime},
};
use chrono::{DateTime, Utc};
use replication::row::decimal_text;
use singer::{LineShape, json};

use self::memory::{CHUNK, Memory};
use crate::{
    activity_id::Digest16,
    reading::{
        CAME_TWICE, NumberSyntax, Reading, Unfit, begins_with_json_number, boolean, date_time,
        decimal, integer, lexeme, microseconds,
    },
    seen::Settled,
};

/// The one column of a batch of lines.
const COLUMN: &str = "line";

/// Lines under construction.
#[derive(Debug)]
pub(crate) struct LineBuilder {
    shape: Arc<LineShape>,
    readings: Vec<Reading>,
    lines: Memory,
    /// Where each complete line ends; begins with 0.
    ends: Vec<usize>,
    /// The first column that the open line has not reached.
    next: usize,
    /// Where the values of the open line stand. Those of the lines before it are still there.
    places: Vec<Place>,
    /// Values of the open line that came later than their turn, by column.
    late: Vec<Vec<u8>>,
    has_late: bool,
    /// A value, or the open line, while it is put together.
    scratch: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    start: usize,
    end: usize,
}

/// Complete lines, but for what is known only when all rows of the page are.
#[derive(Debug)]
pub(crate) struct Lines {
    shape: Arc<LineShape>,
    lines: Memory,
    ends: Vec<usize>,
}

impl LineBuilder {
    /// Lines of this shape, whose columns are read like this.
    pub(crate) fn new(shape: LineShape, readings: Vec<Reading>) -> Self {
        Self {
            shape: Arc::new(shape),
            lines: Memory::default(),
            ends: vec![0],
            next: 0,
            places: vec![Place::default(); readings.len()],
            late: vec![Vec::new(); readings.len()],
            has_late: false,
            scratch: Vec::new(),
            readings,
        }
    }

    /// The rows of an answer of so many bytes are to come.
    pub(crate) fn expect(&mut self, bytes: usize) {
        self.lines.expect(bytes);
    }

    /// Whether the open line has a value in that column.
    pub(crate) fn has(&self, column: usize) -> bool {
        !self.late[column].is_empty() || self.stands(column)
    }

    /// Reads `text` as the value of the open line in that column.
    ///
    /// # Errors
    /// [`Unfit`] when the text is no such value. The row is lost then: take it back.
    #[inline]
    pub(crate) fn push(&mut self, column: usize, text: &str) -> Result<(), Unfit> {
        match self.readings[column] {
            Reading::TextList => {
                self.push_item(column, text);
                Ok(())
            }
            reading => self.write(column, |out| render(reading, text, out)),
        }
    }

    /// Reads a text that needs no escape, as [`LineBuilder::push`] does. Almost all values are such, and most of those come
    /// in their turn and are written as they are.
    #[inline]
    pub(crate) fn push_plain(&mut self, column: usize, text: PlainText<'_>) -> Result<(), Unfit> {
        let reading = self.readings[column];
        if reading == Reading::TextList {
            self.push_plain_item(column, text);
            return Ok(());
        }
        if column < self.next || self.has_late {
            return self.push_other(column, text.as_str());
        }
        let (bytes, length) = text.with_what_follows();
        match reading {
            Reading::Text => self.append(column, length, |lines| {
                lines.push(b'"');
                lines.extend_loosely::<CHUNK>(bytes, length);
                lines.push(b'"');
            }),
            Reading::DateText | Reading::Timestamp => {
                let Some(date) = UsualDateTime::read(bytes, length) else {
                    return self.push_date(column, date_time(text.as_str()));
                };
                let (text, length) = match reading {
                    Reading::Timestamp => date.text_of_microseconds(),
                    _ => date.short_text(),
                };
                self.append(column, length, |lines| {
                    lines.push(b'"');
                    lines.extend_from_chunk(text, length);
                    lines.push(b'"');
                });
            }
            _ if is_json(reading, bytes, length) => {
                self.append(column, length, |lines| lines.extend_loosely::<16>(bytes, length));
            }
            _ => return self.push_other(column, text.as_str()),
        }
        Ok(())
    }

    /// Appends a value whose turn it is, which has about so many bytes: there is room for a [`CHUNK`] more.
    #[inline(always)]
    fn append(&mut self, column: usize, length: usize, value: impl FnOnce(&mut Memory)) {
        let (piece, piece_length) = self.shape.up_to_and_on(self.next, column);
        let start = self.lines.len() + piece_length;
        self.lines.reserve(piece_length + length + 2 * CHUNK);
        self.lines.extend_loosely::<CHUNK>(piece, piece_length);
        value(&mut self.lines);
        self.places[column] = Place { start, end: self.lines.len() };
        self.next = column + 1;
    }

    #[inline(never)]
    fn push_other(&mut self, column: usize, text: &str) -> Result<(), Unfit> {
        self.push(column, text)
    }

    /// Takes a date-time that was read already, as [`LineBuilder::push`] does.
    ///
    /// # Errors
    /// [`Unfit`] when the column can't hold it, or when it is none.
    pub(crate) fn push_date(
        &mut self,
        column: usize,
        date: Result<lexical::DateTime<'_>, Unfit>,
    ) -> Result<(), Unfit> {
        let (date, reading) = (date?, self.readings[column]);
        let is_due = column >= self.next && !self.has_late;
        let Some((text, length)) = short_date(reading, date)?.filter(|_| is_due) else {
            return self.write(column, |out| render_date(reading, date, out));
        };
        self.append(column, length, |lines| {
            lines.push(b'"');
            lines.extend_from_chunk(text, length);
            lines.push(b'"');
        });
        Ok(())
    }

    /// Takes the absence of a value, which then can't come any more.
    ///
    /// # Errors
    /// [`Unfit`] when there is a value already.
    pub(crate) fn push_absent(&mut self, column: usize) -> Result<(), Unfit> {
        self.write(column, |out| {
            json::push_null(out);
            Ok(())
        })
    }

    /// The open line is complete.
    pub(crate) fn end_row(&mut self) {
        if self.has_late {
            self.put_together();
        } else {
            self.lines.extend(self.shape.rest(self.next));
        }
        self.ends.push(self.lines.len());
        self.next = 0;
    }

    /// Takes back everything from line `row` on.
    pub(crate) fn take_back(&mut self, row: usize) {
        self.ends.truncate(row + 1);
        self.lines.truncate(self.start());
        // What comes next can stand where this stood.
        self.places.fill(Place::default());
        self.forget_late();
        self.next = 0;
    }

    /// Takes the complete lines; the builder is empty then.
    pub(crate) fn take(&mut self) -> Lines {
        self.take_back(self.ends.len() - 1);
        let lines = self.lines.take();
        let ends = mem::replace(&mut self.ends, vec![0]);
        Lines { shape: Arc::clone(&self.shape), lines, ends }
    }

    /// Where the open line begins.
    fn start(&self) -> usize {
        self.ends.last().copied().unwrap_or_default()
    }

    /// Whether the column has a value in the open line itself. In front of the first one there is always something.
    fn stands(&self, column: usize) -> bool {
        self.places[column].start > self.start()
    }

    /// Writes the value of a column that can have only one.
    #[inline]
    fn write(
        &mut self,
        column: usize,
        render: impl FnOnce(&mut Vec<u8>) -> Result<(), Unfit>,
    ) -> Result<(), Unfit> {
        if column < self.next || self.has_late {
            return self.write_late(column, render);
        }
        self.begin(column);
        self.scratch.clear();
        render(&mut self.scratch)?;
        self.lines.extend(&self.scratch);
        self.places[column].end = self.lines.len();
        Ok(())
    }

    /// Goes on to the value of a column that is still to come.
    #[inline(always)]
    fn begin(&mut self, column: usize) {
        let (piece, length) = self.shape.up_to_and_on(self.next, column);
        self.lines.reserve(length + CHUNK);
        self.lines.extend_loosely::<CHUNK>(piece, length);
        self.next = column + 1;
        self.places[column].start = self.lines.len();
    }

    #[cold]
    fn write_late(
        &mut self,
        column: usize,
        render: impl FnOnce(&mut Vec<u8>) -> Result<(), Unfit>,
    ) -> Result<(), Unfit> {
        if self.has(column) {
            return Err(CAME_TWICE);
        }
        self.has_late = true;
        render(&mut self.late[column])
    }

    fn push_item(&mut self, column: usize, text: &str) {
        if !self.begin_item(column) {
            return self.push_late_item(column, text);
        }
        self.scratch.clear();
        json::push_string(&mut self.scratch, text);
        self.scratch.push(b']');
        self.lines.extend(&self.scratch);
        self.places[column].end = self.lines.len();
    }

    fn push_plain_item(&mut self, column: usize, text: PlainText<'_>) {
        if !self.begin_item(column) {
            return self.push_late_item(column, text.as_str());
        }
        let (bytes, length) = text.with_what_follows();
        self.lines.reserve(length + CHUNK + 3);
        self.lines.push(b'"');
        self.lines.extend_loosely::<CHUNK>(bytes, length);
        self.lines.push(b'"');
        self.lines.push(b']');
        self.places[column].end = self.lines.len();
    }

    /// Goes on to the next item of a list, unless the list's turn is over.
    #[inline]
    fn begin_item(&mut self, column: usize) -> bool {
        if !self.has_late && column >= self.next {
            self.begin(column);
            self.lines.extend(b"[");
        } else if !self.has_late && self.stands(column) && self.next == column + 1 {
            // In place of the bracket.
            self.lines.truncate(self.lines.len() - 1);
            self.lines.extend(b",");
        } else {
            return false;
        }
        true
    }

    #[cold]
    fn push_late_item(&mut self, column: usize, text: &str) {
        self.has_late = true;
        if self.late[column].is_empty() && self.stands(column) {
            let Place { start, end } = self.places[column];
            self.late[column].extend_from_slice(&self.lines.bytes()[start..end]);
        }
        let list = &mut self.late[column];
        if list.pop().is_some() {
            list.push(b',');
        } else {
            list.push(b'[');
        }
        json::push_string(list, text);
        list.push(b']');
    }

    /// Puts the open line together from its values, wherever they are.
    #[cold]
    fn put_together(&mut self) {
        self.scratch.clear();
        let mut next = 0;
        for column in 0..self.places.len() {
            let late = &self.late[column];
            let value = match self.places[column] {
                _ if !late.is_empty() => late,
                Place { start, end } if start > self.start() => &self.lines.bytes()[start..end],
                _ => continue,
            };
            self.scratch.extend_from_slice(self.shape.up_to(next, column));
            self.scratch.extend_from_slice(value);
            next = column + 1;
        }
        self.scratch.extend_from_slice(self.shape.rest(next));
        self.lines.truncate(self.start());
        self.lines.extend(&self.scratch);
        // Values no longer stand where they did, and the next line is longer than its start.
        self.places.fill(Place::default());
        self.forget_late();
    }

    fn forget_late(&mut self) {
        if mem::take(&mut self.has_late) {
            self.late.iter_mut().for_each(Vec::clear);
        }
    }
}

impl Lines {
    /// Sets the time of extraction, and the ids of activities, and makes a batch of the rows that are to be emitted. The
    /// page's room is held until nobody needs the lines any more.
    ///
    /// # Errors
    /// When there are not as many rows as were settled, which is a bug.
    pub(crate) fn seal(
        mut self,
        settled: &Settled,
        extracted_at: DateTime<Utc>,
        room: Room,
    ) -> Result<RecordBatch, ArrowError> {
        let rows = self.ends.len() - 1;
        if settled.fresh.len() != rows {
            let reason = format!("{rows} lines, of which {} were settled", settled.fresh.len());
            return Err(ArrowError::InvalidArgumentError(reason));
        }
        let mut sealed = Vec::with_capacity(rows + 1);
        sealed.push(0);
        let set_time = LineShape::set_time(extracted_at);
        let mut end_of_sealed = 0;
        let mut id = [0; 2 * size_of::<Digest16>()];
        for row in (0..rows).filter(|row| settled.fresh[*row]) {
            let (from, start) = (self.ends[row]..self.ends[row + 1], end_of_sealed);
            end_of_sealed += from.len();
            let lines = self.lines.bytes_mut();
            if start < from.start {
                lines.copy_within(from, start);
            }
            let line = &mut lines[start..end_of_sealed];
            set_time(line);
            if let Some(digest) = settled.ids.get(row)
                && hex::encode_to_slice(digest, &mut id).is_ok()
            {
                self.shape.set_lead(line, &id);
            }
            sealed.push(i64::try_from(end_of_sealed).expect("memory is smaller"));
        }
        self.lines.truncate(end_of_sealed);
        let ends = OffsetBuffer::new(ScalarBuffer::from(sealed));
        let lines = LargeBinaryArray::try_new(ends, self.lines.into_buffer(room), None)?;
        let schema = Schema::new(vec![Field::new(COLUMN, DataType::LargeBinary, false)]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(lines)])
    }
}

/// The lines of a batch, end to end, if it is one of lines.
#[must_use]
pub fn in_batch(batch: &RecordBatch) -> Option<&[u8]> {
    let lines = batch.column_by_name(COLUMN)?.as_binary_opt::<i64>()?;
    let offsets = lines.value_offsets();
    let bound = |offset: Option<&i64>| usize::try_from(*offset?).ok();
    lines.value_data().get(bound(offsets.first())?..bound(offsets.last())?)
}

/// Appends the JSON value of a text.
#[inline]
fn render(reading: Reading, text: &str, out: &mut Vec<u8>) -> Result<(), Unfit> {
    match reading {
        Reading::Text => json::push_string(out, text),
        Reading::DateText | Reading::Timestamp => {
            return render_date(reading, date_time(text)?, out);
        }
        Reading::Boolean => json::push_boolean(out, boolean(text)?),
        Reading::Integer => json::push_integer(out, integer(text)?),
        Reading::Number(syntax) => {
            out.extend_from_slice(decimal_text(decimal(text, syntax)?).as_bytes());
        }
        Reading::Lexeme(syntax) => out.extend_from_slice(lexeme(text, syntax)?.as_bytes()),
        Reading::TextList => unreachable!("items are not single values"),
    }
    Ok(())
}

/// Whether the first bytes of a slice, so many, are the JSON of their value already.
#[inline]
fn is_json(reading: Reading, bytes: &[u8], length: usize) -> bool {
    match reading {
        Reading::Boolean => matches!(bytes.get(..length), Some(b"true" | b"false")),
        Reading::Integer => begins_with_json_number(bytes, length, NumberSyntax::Integer),
        Reading::Lexeme(syntax) => begins_with_json_number(bytes, length, syntax),
        _ => false,
    }
}

/// A date-time as text, and its length: of an instant with six digits of its fraction, else with those that it has,
/// unless they are very many.
#[inline]
fn short_date(
    reading: Reading,
    date: lexical::DateTime<'_>,
) -> Result<Option<([u8; 32], usize)>, Unfit> {
    if reading == Reading::Timestamp {
        microseconds(date)?;
        return Ok(Some(date.text_of_microseconds()));
    }
    Ok(date.short_text())
}

/// Appends a date-time as text, however long.
fn render_date(
    reading: Reading,
    date: lexical::DateTime<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Unfit> {
    out.push(b'"');
    match short_date(reading, date)? {
        Some((text, length)) => out.extend_from_slice(&text[..length]),
        None => date.write_bytes(out),
    }
    out.push(b'"');
    Ok(())
}
