//! Writing the lines of the protocol.
//!
//! Lines gather in one buffer, which goes out whole lines at a time: when it has grown past a fixed
//! size, after every STATE, and on [`MessageWriter::flush`]. So a reader never sees half a line
//! unless the process dies in the middle of a write, and never waits for a state that was written.

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::message::SchemaMessage;
use crate::{instant, json};

/// The buffer is sent when it has grown past this many bytes: a pipe's capacity on Linux.
const SEND_AT_BYTES: usize = 64 * 1024;

/// Lines that are complete already are sent in pieces of about this size. File systems are several times as slow with
/// pieces of megabytes, and slower with small ones.
const PIECE_BYTES: usize = 256 * 1024;

const END_OF_LINE: &[u8] = b"}\n";

/// What a RECORD line says besides stream and row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordHeader {
    /// When the row was read from the source.
    pub time_extracted: Option<DateTime<Utc>>,
    /// The table version that the row belongs to.
    pub version: Option<i64>,
}

/// What stands before and after the row in RECORD lines of one stream and header, rendered once for many rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordFrame {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl RecordFrame {
    /// The frame of a stream's rows.
    #[must_use]
    pub fn new(stream: &str, header: RecordHeader) -> Self {
        let mut before = Vec::new();
        push_begin(&mut before, "RECORD", Some(stream));
        before.extend_from_slice(b",\"record\":");
        let mut after = Vec::new();
        if let Some(time) = header.time_extracted {
            after.extend_from_slice(b",\"time_extracted\":\"");
            instant::push(&mut after, time);
            after.push(b'"');
        }
        if let Some(version) = header.version {
            after.extend_from_slice(b",\"version\":");
            json::push_integer(&mut after, version);
        }
        after.extend_from_slice(END_OF_LINE);
        Self { before, after }
    }

    pub(crate) fn before(&self) -> &[u8] {
        &self.before
    }

    pub(crate) fn after(&self) -> &[u8] {
        &self.after
    }
}

/// Writes messages to `output`, types in upper case.
///
/// Nothing is written when it is dropped: call [`MessageWriter::finish`] or
/// [`MessageWriter::flush`], whose errors matter.
#[derive(Debug)]
pub struct MessageWriter<W: Write> {
    output: W,
    lines: Vec<u8>,
}

impl<W: Write> MessageWriter<W> {
    /// A writer with an empty buffer.
    #[must_use]
    pub fn new(output: W) -> Self {
        Self { output, lines: Vec::with_capacity(2 * SEND_AT_BYTES) }
    }

    /// Writes a SCHEMA line; `key_properties` is always there, if empty.
    ///
    /// # Errors
    /// What the output returns.
    pub fn schema(&mut self, message: &SchemaMessage) -> io::Result<()> {
        self.begin("SCHEMA", Some(&message.stream));
        self.field("schema", &message.schema)?;
        self.field("key_properties", message.keys())?;
        if !message.bookmark_properties.is_empty() {
            self.field("bookmark_properties", &message.bookmark_properties)?;
        }
        self.end()
    }

    /// Writes a RECORD line, whose row `render` appends to the buffer it is given.
    ///
    /// `render` must append exactly one JSON object; [`json::ObjectWriter`] does that.
    ///
    /// # Errors
    /// What the output returns.
    pub fn record(
        &mut self,
        frame: &RecordFrame,
        render: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<()> {
        self.lines.extend_from_slice(&frame.before);
        let start = self.lines.len();
        render(&mut self.lines);
        debug_assert!(
            matches!(self.lines.get(start..), Some([b'{', .., b'}'])),
            "a row is one JSON object"
        );
        self.lines.extend_from_slice(&frame.after);
        self.send_if_full()
    }

    /// Writes RECORD lines that are complete already, see [`LineShape`](crate::LineShape). They go out at once, and
    /// aren't copied.
    ///
    /// # Errors
    /// What the output returns.
    pub fn records(&mut self, lines: &[u8]) -> io::Result<()> {
        self.send()?;
        let mut rest = lines;
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(whole_lines(rest, PIECE_BYTES));
            self.output.write_all(piece)?;
            rest = others;
        }
        Ok(())
    }

    /// Writes a STATE line and flushes, so that whoever reads has it now.
    ///
    /// # Errors
    /// What the output returns, or an invalid-data error if `value` can't be JSON.
    pub fn state(&mut self, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
        self.begin("STATE", None);
        self.field("value", value)?;
        self.end()?;
        self.flush()
    }

    /// Writes an ACTIVATE_VERSION line.
    ///
    /// # Errors
    /// What the output returns.
    pub fn activate_version(&mut self, stream: &str, version: i64) -> io::Result<()> {
        self.begin("ACTIVATE_VERSION", Some(stream));
        self.field("version", &version)?;
        self.end()
    }

    /// Sends everything written so far.
    ///
    /// # Errors
    /// What the output returns.
    pub fn flush(&mut self) -> io::Result<()> {
        self.send()?;
        self.output.flush()
    }

    /// Flushes and gives the output back.
    ///
    /// # Errors
    /// What the output returns.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        Ok(self.output)
    }

    fn begin(&mut self, kind: &str, stream: Option<&str>) {
        push_begin(&mut self.lines, kind, stream);
    }

    fn field(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        self.lines.push(b',');
        json::push_string(&mut self.lines, name);
        self.lines.push(b':');
        // Raw values inside may hold line ends between tokens; inside strings they are escaped.
        self.lines.extend(text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.lines.extend_from_slice(END_OF_LINE);
        self.send_if_full()
    }

    fn send_if_full(&mut self) -> io::Result<()> {
        if self.lines.len() >= SEND_AT_BYTES {
            self.send()?;
        }
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        let sent = self.output.write_all(&self.lines);
        self.lines.clear();
        sent
    }
}

/// How long the lines at the beginning are that fit so many bytes, or the first one if it doesn't.
fn whole_lines(lines: &[u8], most: usize) -> usize {
    let is_end = |byte: &u8| *byte == b'\n';
    let Some((fitting, others)) = lines.split_at_checked(most) else { return lines.len() };
    match fitting.iter().rposition(is_end) {
        Some(end) => end + 1,
        None => others.iter().position(is_end).map_or(lines.len(), |end| most + end + 1),
    }
}

/// Appends the beginning of a message, up to its first own field.
fn push_begin(line: &mut Vec<u8>, kind: &str, stream: Option<&str>) {
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.push(b'"');
    if let Some(stream) = stream {
        line.extend_from_slice(b",\"stream\":");
        json::push_string(line, stream);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::json::{Key, ObjectWriter};
    use crate::message::Message;

    /// Strings of any characters, control characters included.
    fn any_text() -> impl Strategy<Value = String> {
        proptest::collection::vec(any::<char>(), 0..40).prop_map(String::from_iter)
    }

    fn written(write: impl FnOnce(&mut MessageWriter<Vec<u8>>) -> io::Result<()>) -> String {
        let mut writer = MessageWriter::new(Vec::new());
        write(&mut writer).unwrap();
        String::from_utf8(writer.finish().unwrap()).unwrap()
    }

    #[test]
    fn w01_w02_one_upper_case_object_a_line() {
        let lines = written(|writer| {
            writer.schema(&SchemaMessage {
                stream: "contact".into(),
                schema: json!({"type": "object", "properties": {"id": {"type": "string"}}}),
                key_properties: None,
                bookmark_properties: vec!["modified".into()],
            })?;
            let header = RecordHeader {
                time_extracted: DateTime::from_timestamp(0, 1000),
                version: Some(3),
            };
            writer.record(&RecordFrame::new("contact", header), |line| {
                let mut row = ObjectWriter::begin(line);
                json::push_string(row.field(&Key::new("id")), "a\nb");
                row.end();
            })?;
            writer.activate_version("contact", 3)?;
            writer.state(&json!({"bookmarks": {}}))
        });
        insta::assert_snapshot!(lines, @r#"
        {"type":"SCHEMA","stream":"contact","schema":{"type":"object","properties":{"id":{"type":"string"}}},"key_properties":[],"bookmark_properties":["modified"]}
        {"type":"RECORD","stream":"contact","record":{"id":"a\nb"},"time_extracted":"1970-01-01T00:00:00.000001Z","version":3}
        {"type":"ACTIVATE_VERSION","stream":"contact","version":3}
        {"type":"STATE","value":{"bookmarks":{}}}
        "#);
    }

    #[test]
    fn w05_a_state_is_out_at_once_and_a_record_is_not_held_forever() {
        let mut output = Vec::new();
        let mut writer = MessageWriter::new(&mut output);
        writer.state(&json!({})).unwrap();
        drop(writer);
        assert_eq!(output, b"{\"type\":\"STATE\",\"value\":{}}\n");

        let mut output = Vec::new();
        let mut writer = MessageWriter::new(&mut output);
        let frame = RecordFrame::new("s", RecordHeader::default());
        for _ in 0..10_000 {
            writer.record(&frame, |line| line.extend(b"{}")).unwrap();
        }
        drop(writer);
        assert!(output.len() >= 65_536);
        assert!(output.ends_with(b"}\n"), "only whole lines are sent");
    }

    #[test]
    fn complete_lines_go_out_whole_and_in_their_place() {
        for (lines, most, length) in [
            ("ab\ncd\n", 7, 6),
            ("ab\ncd\n", 5, 3),
            ("ab\ncd\n", 3, 3),
            ("ab\ncd\n", 2, 3),
            ("abcdef\n", 2, 7),
            ("abcdef", 2, 6),
        ] {
            assert_eq!(whole_lines(lines.as_bytes(), most), length, "{lines:?} {most}");
        }
        let line = format!("{{\"row\":{}}}\n", "1".repeat(1000));
        let lines = line.repeat(1000);
        let sent = written(|writer| {
            writer.activate_version("before", 1)?;
            writer.records(lines.as_bytes())?;
            writer.activate_version("after", 1)
        });
        let (before, after) = sent.split_once(&lines).unwrap();
        assert!(before.contains("before") && after.contains("after"));
    }

    #[test]
    fn t44_a_reader_that_went_away_is_an_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = MessageWriter::new(Closed).state(&json!({})).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    proptest! {
        #[test]
        fn any_stream_and_string_round_trip(stream in any_text(), text in any_text()) {
            let line = written(|writer| {
                writer.record(&RecordFrame::new(&stream, RecordHeader::default()), |line| {
                    let mut row = ObjectWriter::begin(line);
                    json::push_string(row.field(&Key::new(&text)), &text);
                    row.end();
                })
            });
            prop_assert_eq!(line.matches('\n').count(), 1);
            let Message::Record(record) = Message::parse(&line).unwrap() else {
                panic!("not a record")
            };
            prop_assert_eq!(record.stream, stream);
            let row: serde_json::Value = serde_json::from_str(record.record.get()).unwrap();
            prop_assert_eq!(row, json!({ text.as_str(): text }));
        }
    }
}
