//! RECORD lines of one shape, put together from pieces that were rendered once.
//!
//! Most of a RECORD line is the same in every row of a stream: what stands around the row, the names of its fields, and
//! the null of every field that has no value. A [`LineShape`] is such a line, all of whose fields are null. A row is
//! copied from it, up to the next field that has a value: between two values that is one piece, however many nulls are
//! in it.
//!
//! ```
//! use singer::LineShape;
//!
//! let shape = LineShape::new("person", None, ["id", "name", "age"]);
//! let mut line = Vec::new();
//! line.extend_from_slice(shape.up_to(0, 0));
//! line.extend_from_slice(b"7");
//! line.extend_from_slice(shape.up_to(1, 2));
//! line.extend_from_slice(b"44");
//! line.extend_from_slice(shape.rest(3));
//! LineShape::set_time(chrono::DateTime::UNIX_EPOCH)(&mut line);
//! assert_eq!(
//!     line,
//!     br#"{"type":"RECORD","stream":"person","record":{"id":7,"name":null,"age":44},"time_extracted":"1970-01-01T00:00:00.000000Z"}
//! "#
//! );
//! ```

use std::ops::Range;

use chrono::{DateTime, Utc};

use crate::{
    instant, json,
    writer::{RecordFrame, RecordHeader},
};

/// Behind the time of extraction in a line.
const BEHIND_TIME: usize = "\"}\n".len();

const NULL: &[u8] = b"null";

/// A RECORD line with a time of extraction, in which every field is null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineShape {
    line: Vec<u8>,
    /// Where the piece of each field begins that ends with its null, and where the last one ends.
    starts: Vec<usize>,
    /// Where the text of the leading field stands.
    lead: Range<usize>,
}

impl LineShape {
    /// The shape of a stream's rows with these fields, in this order.
    ///
    /// `lead` is the name of a field in front of them whose value is text of so many bytes that needs no escape. It is
    /// set when the line is complete, with [`LineShape::set_lead`].
    #[must_use]
    pub fn new<'name>(
        stream: &str,
        lead: Option<(&str, usize)>,
        names: impl IntoIterator<Item = &'name str>,
    ) -> Self {
        let header = RecordHeader { time_extracted: Some(DateTime::UNIX_EPOCH), version: None };
        let frame = RecordFrame::new(stream, header);
        let mut line = frame.before().to_vec();
        line.push(b'{');
        let mut is_first = true;
        let mut key = |line: &mut Vec<u8>, name: &str| {
            if !std::mem::take(&mut is_first) {
                line.push(b',');
            }
            json::push_string(line, name);
            line.push(b':');
        };
        let mut place = 0..0;
        if let Some((name, width)) = lead {
            key(&mut line, name);
            line.push(b'"');
            place = line.len()..line.len() + width;
            line.resize(place.end, b'0');
            line.push(b'"');
        }
        // The first piece begins with all that stands in front of it.
        let mut starts = vec![0];
        for name in names {
            key(&mut line, name);
            line.extend_from_slice(NULL);
            starts.push(line.len());
        }
        line.push(b'}');
        line.extend_from_slice(frame.after());
        Self { line, starts, lead: place }
    }

    /// How many fields there are, the leading one aside.
    #[must_use]
    pub fn fields(&self) -> usize {
        self.starts.len() - 1
    }

    /// What stands between the field before `next` and the value of `field`, those between being null. The line begins
    /// with that of a `next` of 0.
    ///
    /// # Panics
    /// If there is no such field, or it isn't behind `next`.
    #[must_use]
    pub fn up_to(&self, next: usize, field: usize) -> &[u8] {
        &self.line[self.starts[next]..self.starts[field + 1] - NULL.len()]
    }

    /// The same with what follows it in the line, and how many of these bytes are it. Pieces are short, and it costs less
    /// to copy some bytes more than to look how many there are.
    ///
    /// # Panics
    /// If there is no such field, or it isn't behind `next`.
    #[must_use]
    #[inline]
    pub fn up_to_and_on(&self, next: usize, field: usize) -> (&[u8], usize) {
        let start = self.starts[next];
        (&self.line[start..], self.starts[field + 1] - NULL.len() - start)
    }

    /// The rest of the line if `next` is the first field that has no value any more.
    ///
    /// # Panics
    /// If there are fewer fields.
    #[must_use]
    pub fn rest(&self, next: usize) -> &[u8] {
        &self.line[self.starts[next]..]
    }

    /// Sets the time of extraction of lines of this shape, one for all.
    ///
    /// # Panics
    /// The result does, if a line is not one of this shape.
    pub fn set_time(time: DateTime<Utc>) -> impl Fn(&mut [u8]) {
        let mut text = Vec::with_capacity(32);
        instant::push(&mut text, time);
        move |line| {
            let end = line.len() - BEHIND_TIME;
            line[end - text.len()..end].copy_from_slice(&text);
        }
    }

    /// Sets the text of the leading field of a line.
    ///
    /// # Panics
    /// If `line` is not a line of this shape, or `text` has another length than was said.
    pub fn set_lead(&self, line: &mut [u8], text: &[u8]) {
        line[self.lead.clone()].copy_from_slice(text);
    }
}
