//! Writing XML straight into a byte buffer.

use crate::account::ids::ObjectId;
use crate::instant::{DateForm, UtcInstant};
use crate::row::Sink;
use crate::settings::{Forbidden, Settings, Whitespace};

/// Appends text content: markup escaped, carriage returns kept, control characters raw or as references.
pub(crate) fn escape(text: &str, controls: Forbidden, out: &mut Vec<u8>) {
    let mut clean_from = 0;
    for (position, byte) in text.bytes().enumerate() {
        let replacement: &[u8] = match byte {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'\r' => b"&#13;",
            b'\t' | b'\n' | b' '.. => continue,
            _ if controls == Forbidden::References => REFERENCES[usize::from(byte)],
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[clean_from..position]);
        out.extend_from_slice(replacement);
        clean_from = position + 1;
    }
    out.extend_from_slice(&text.as_bytes()[clean_from..]);
}

/// References to the control characters below space.
const REFERENCES: [&[u8]; 32] = [
    b"&#x0;", b"&#x1;", b"&#x2;", b"&#x3;", b"&#x4;", b"&#x5;", b"&#x6;", b"&#x7;", b"&#x8;",
    b"&#x9;", b"&#xA;", b"&#xB;", b"&#xC;", b"&#xD;", b"&#xE;", b"&#xF;", b"&#x10;", b"&#x11;",
    b"&#x12;", b"&#x13;", b"&#x14;", b"&#x15;", b"&#x16;", b"&#x17;", b"&#x18;", b"&#x19;",
    b"&#x1A;", b"&#x1B;", b"&#x1C;", b"&#x1D;", b"&#x1E;", b"&#x1F;",
];

/// Writes the elements of objects as the API does.
pub(crate) struct XmlSink<'a> {
    out: &'a mut Vec<u8>,
    dates: DateForm,
    controls: Forbidden,
    unholdable: Forbidden,
    indented: bool,
    depth: usize,
    /// Where the open group began and its content starts.
    group: Option<(usize, usize)>,
}

impl<'a> XmlSink<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>, settings: &Settings) -> Self {
        Self {
            out,
            dates: settings.date_form(),
            controls: settings.control_characters,
            unholdable: settings.unholdable_characters,
            indented: settings.whitespace == Whitespace::Indented,
            depth: 3,
            group: None,
        }
    }

    pub(crate) fn open(&mut self, name: &str) {
        self.line();
        self.out.push(b'<');
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'>');
        self.depth += 1;
    }

    pub(crate) fn close(&mut self, name: &str) {
        self.depth -= 1;
        self.line();
        self.end_tag(name);
    }

    fn leaf(&mut self, name: &str, content: impl FnOnce(&mut Vec<u8>)) {
        self.line();
        self.out.push(b'<');
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'>');
        content(self.out);
        self.end_tag(name);
    }

    fn end_tag(&mut self, name: &str) {
        self.out.extend_from_slice(b"</");
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'>');
    }

    fn line(&mut self) {
        if self.indented {
            self.out.push(b'\n');
            self.out.resize(self.out.len() + 2 * self.depth, b' ');
        }
    }
}

impl Sink for XmlSink<'_> {
    fn text(&mut self, name: &str, value: &str) {
        let controls = self.controls;
        self.leaf(name, |out| escape(value, controls, out));
    }

    fn unholdable_text(&mut self, name: &str, value: &str) {
        let (controls, unholdable) = (self.controls, self.unholdable);
        self.leaf(name, |out| {
            escape(value, controls, out);
            out.extend_from_slice(match unholdable {
                Forbidden::References => b"&#xD800;".as_slice(),
                Forbidden::Raw | Forbidden::None => b"\xED\xA0\x80".as_slice(),
            });
        });
    }

    fn number(&mut self, name: &str, lexeme: &str) {
        self.leaf(name, |out| out.extend_from_slice(lexeme.as_bytes()));
    }

    fn boolean(&mut self, name: &str, value: bool) {
        let word: &[u8] = if value { b"true" } else { b"false" };
        self.leaf(name, |out| out.extend_from_slice(word));
    }

    fn instant(&mut self, name: &str, value: UtcInstant) {
        let dates = self.dates;
        self.leaf(name, |out| dates.write(value, out));
    }

    fn nil(&mut self, name: &str) {
        self.line();
        self.out.push(b'<');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(
            b" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:nil=\"true\"/>",
        );
    }

    fn open_list(&mut self, _name: &str) {}

    fn list_text(&mut self, name: &str, value: &str) {
        self.text(name, value);
    }

    fn list_field(&mut self, name: &str, id: ObjectId, content: Option<&str>) {
        self.open(name);
        self.text("fieldId", id.as_str());
        if let Some(content) = content {
            self.text("content", content);
        }
        self.close(name);
    }

    fn close_list(&mut self) {}

    fn open_group(&mut self, name: &str) {
        let start = self.out.len();
        self.open(name);
        self.group = Some((start, self.out.len()));
    }

    fn close_group(&mut self, name: &str) {
        self.close(name);
        if let Some((start, content)) = self.group.take()
            && self.out[content..].starts_with(b"</")
        {
            self.out.truncate(start);
        }
    }
}

/// Wraps rendered objects into the response of an operation.
pub(crate) fn envelope(operation: &str, objects: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(objects.len() + 400);
    out.extend_from_slice(
        b"<?xml version=\"1.0\" encoding=\"UTF-8\"?><soap:Envelope xmlns:soap=\"",
    );
    out.extend_from_slice(crate::schema::SOAP_NAMESPACE.as_bytes());
    out.extend_from_slice(b"\"><soap:Body><ns2:");
    out.extend_from_slice(operation.as_bytes());
    out.extend_from_slice(b"Response xmlns:ns2=\"");
    out.extend_from_slice(crate::schema::NAMESPACE.as_bytes());
    if objects.is_empty() {
        out.extend_from_slice(b"\"/>");
    } else {
        out.extend_from_slice(b"\">");
        out.extend_from_slice(objects);
        out.extend_from_slice(b"</ns2:");
        out.extend_from_slice(operation.as_bytes());
        out.extend_from_slice(b"Response>");
    }
    out.extend_from_slice(b"</soap:Body></soap:Envelope>");
    out
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str, controls: Forbidden) -> String {
        let mut out = Vec::new();
        escape(text, controls, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn control_characters_are_raw_or_references() {
        assert_eq!(escaped("a\u{b}b", Forbidden::Raw), "a\u{b}b");
        assert_eq!(escaped("a\u{b}\u{0}b", Forbidden::References), "a&#xB;&#x0;b");
        assert_eq!(escaped("tab\tline\n", Forbidden::References), "tab\tline\n");
    }

    proptest! {
        #[test]
        fn what_a_parser_reads_is_what_was_written(text in "[^\u{0}-\u{8}\u{b}\u{c}\u{e}-\u{1f}\u{fffe}\u{ffff}]{0,40}") {
            let xml = format!("<a>{}</a>", escaped(&text, Forbidden::None));
            let document = roxmltree::Document::parse(&xml).unwrap();
            prop_assert_eq!(document.root_element().text().unwrap_or(""), text);
        }
    }
}
