//! The truth: what the account holds, as JSON lines in the names of the tables' columns.

use crate::account::ids::ObjectId;
use crate::instant::{UtcInstant, write_canonical};
use crate::row::Sink;

/// Writes one object as one JSON line.
pub(crate) struct TruthSink<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    needs_comma: bool,
    unholdable: bool,
}

impl<'a> TruthSink<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.push(b'{');
        Self { out, start, needs_comma: false, unholdable: false }
    }

    /// Ends the line; a row that no text can hold leaves none. Answers whether there is one.
    pub(crate) fn finish(self) -> bool {
        if self.unholdable {
            self.out.truncate(self.start);
            return false;
        }
        self.out.extend_from_slice(b"}\n");
        true
    }

    fn comma(&mut self) {
        if self.needs_comma {
            self.out.push(b',');
        }
        self.needs_comma = true;
    }

    fn name(&mut self, name: &str) {
        self.comma();
        self.string(name);
        self.out.push(b':');
    }

    fn string(&mut self, text: &str) {
        serde_json::to_writer(&mut *self.out, text).expect("a string into memory can't fail");
    }
}

impl Sink for TruthSink<'_> {
    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.string(value);
    }

    fn unholdable_text(&mut self, _name: &str, _value: &str) {
        self.unholdable = true;
    }

    fn number(&mut self, name: &str, lexeme: &str) {
        self.text(name, lexeme);
    }

    fn boolean(&mut self, name: &str, value: bool) {
        self.name(name);
        let word: &[u8] = if value { b"true" } else { b"false" };
        self.out.extend_from_slice(word);
    }

    fn instant(&mut self, name: &str, value: UtcInstant) {
        self.name(name);
        self.out.push(b'"');
        write_canonical(value, self.out);
        self.out.push(b'"');
    }

    fn nil(&mut self, _name: &str) {}

    fn open_list(&mut self, name: &str) {
        self.name(name);
        self.out.push(b'[');
        self.needs_comma = false;
    }

    fn list_text(&mut self, _name: &str, value: &str) {
        self.comma();
        self.string(value);
    }

    fn list_field(&mut self, _name: &str, id: ObjectId, content: Option<&str>) {
        self.comma();
        self.out.extend_from_slice(b"{\"fieldId\":");
        self.string(id.as_str());
        if let Some(content) = content {
            self.out.extend_from_slice(b",\"content\":");
            self.string(content);
        }
        self.out.push(b'}');
    }

    fn close_list(&mut self) {
        self.out.push(b']');
        self.needs_comma = true;
    }

    fn open_group(&mut self, _name: &str) {}

    fn close_group(&mut self, _name: &str) {}
}
