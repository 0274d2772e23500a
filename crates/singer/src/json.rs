//! Exact and fast writing of JSON values into a byte buffer.
//!
//! A tap that knows its columns writes a record field by field straight into the line it sends. No
//! tree of values is built, and what is written is what was given: every Unicode string comes back
//! the same from any JSON reader, and a number keeps its digits.
//!
//! ```
//! use singer::json::{self, Key, ObjectWriter};
//!
//! let (id, opens) = (Key::new("id"), Key::new("opens"));
//! let mut buffer = Vec::new();
//! let mut object = ObjectWriter::begin(&mut buffer);
//! json::push_string(object.field(&id), "a\"b");
//! json::push_integer(object.field(&opens), 3);
//! object.end();
//! assert_eq!(buffer, br#"{"id":"a\"b","opens":3}"#);
//! ```

use std::io::Write;

const NULL: &[u8] = b"null";

/// A field name, quoted and escaped once so that writing it is a copy: `,"name":null`, of which a field with a value
/// leaves the null away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(Box<[u8]>);

impl Key {
    /// Renders a name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut rendered = Vec::with_capacity(name.len() + 8);
        rendered.push(b',');
        push_string(&mut rendered, name);
        rendered.push(b':');
        rendered.extend_from_slice(NULL);
        Self(rendered.into_boxed_slice())
    }
}

/// Writes one JSON object into a buffer, field by field.
///
/// The caller pushes exactly one value into the buffer that [`ObjectWriter::field`] returns.
#[derive(Debug)]
#[must_use = "an object needs its closing brace: call `end`"]
pub struct ObjectWriter<'buffer> {
    buffer: &'buffer mut Vec<u8>,
    is_empty: bool,
}

impl<'buffer> ObjectWriter<'buffer> {
    /// Opens the object.
    pub fn begin(buffer: &'buffer mut Vec<u8>) -> Self {
        buffer.push(b'{');
        Self { buffer, is_empty: true }
    }

    /// Writes the key of the next field and returns the buffer for its value.
    pub fn field(&mut self, key: &Key) -> &mut Vec<u8> {
        self.key(&key.0[..key.0.len() - NULL.len()]);
        self.buffer
    }

    /// Writes a field whose value is null.
    pub fn null_field(&mut self, key: &Key) {
        self.key(&key.0);
    }

    fn key(&mut self, rendered: &[u8]) {
        // The first field has no comma before it.
        self.buffer.extend_from_slice(if self.is_empty { &rendered[1..] } else { rendered });
        self.is_empty = false;
    }

    /// Closes the object.
    pub fn end(self) {
        self.buffer.push(b'}');
    }
}

/// Appends `text` as a JSON string.
///
/// Everything but quotes, backslashes and control characters (below U+0020) is copied as it is, so
/// the output is UTF-8 and any Unicode string, U+0000 included, comes back unchanged.
#[inline]
pub fn push_string(buffer: &mut Vec<u8>, text: &str) {
    buffer.reserve(text.len() + 2);
    buffer.push(b'"');
    if is_plain(text.as_bytes()) {
        buffer.extend_from_slice(text.as_bytes());
    } else {
        push_escaped(buffer, text);
    }
    buffer.push(b'"');
}

#[inline(never)]
fn push_escaped(buffer: &mut Vec<u8>, text: &str) {
    for piece in text.as_bytes().split_inclusive(|byte| needs_escape(*byte)) {
        match piece.split_last() {
            Some((&last, plain)) if needs_escape(last) => {
                buffer.extend_from_slice(plain);
                push_escape(buffer, last);
            }
            _ => buffer.extend_from_slice(piece),
        }
    }
}

/// Appends a whole number.
pub fn push_integer(buffer: &mut Vec<u8>, number: i64) {
    write!(buffer, "{number}").expect("writing into a vector never fails");
}

/// Appends `true` or `false`.
pub fn push_boolean(buffer: &mut Vec<u8>, value: bool) {
    buffer.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Appends `null`.
pub fn push_null(buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(NULL);
}

/// A text that is no JSON number, such as `NaN`, `+1`, `.5` or `007`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The text is not a JSON number")]
pub struct NotANumber;

/// Appends a number by its text, digit for digit.
///
/// # Errors
/// [`NotANumber`] if `lexeme` isn't a number in JSON's grammar; nothing is appended then. So `NaN`
/// and infinities, which JSON doesn't have, can't slip into a stream.
pub fn push_number(buffer: &mut Vec<u8>, lexeme: &str) -> Result<(), NotANumber> {
    if !is_number(lexeme) {
        return Err(NotANumber);
    }
    buffer.extend_from_slice(lexeme.as_bytes());
    Ok(())
}

/// Whether `lexeme` is a number in JSON's grammar (RFC 8259, section 6).
#[must_use]
pub fn is_number(lexeme: &str) -> bool {
    let rest = lexeme.strip_prefix('-').unwrap_or(lexeme).as_bytes();
    let (whole, rest) = digits(rest);
    if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
        return false;
    }
    let rest = match rest.split_first() {
        Some((b'.', fraction)) => match digits(fraction) {
            ([], _) => return false,
            (_, rest) => rest,
        },
        _ => rest,
    };
    match rest.split_first() {
        None => true,
        Some((b'e' | b'E', exponent)) => {
            let exponent = match exponent.split_first() {
                Some((b'+' | b'-', digits)) => digits,
                _ => exponent,
            };
            matches!(digits(exponent), ([_, ..], []))
        }
        Some(_) => false,
    }
}

/// The leading ASCII digits, and what follows them.
fn digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let length = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    bytes.split_at(length)
}

/// Whether no byte needs an escape.
///
/// Looks at eight bytes at a time: almost all text needs no escape, and this is the innermost loop
/// of a tap.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    // The bytes behind the last whole word are looked at as a word, too, with some before them.
    let Some(last) = bytes.last_chunk::<8>() else {
        return !bytes.iter().any(|byte| needs_escape(*byte));
    };
    let (words, _) = bytes.as_chunks::<8>();
    let marks = words.iter().fold(escape_marks(last), |marks, word| marks | escape_marks(word));
    marks == 0
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Not zero if any of eight bytes needs an escape: the classic "has a byte less than n" and "has a
/// zero byte" tests on a whole word.
#[inline(always)]
fn escape_marks(bytes: &[u8; 8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_ne_bytes(*bytes);
    let quotes = word ^ (ONES * 0x22);
    let backslashes = word ^ (ONES * 0x5c);
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    let quotes = quotes.wrapping_sub(ONES) & !quotes;
    let backslashes = backslashes.wrapping_sub(ONES) & !backslashes;
    (controls | quotes | backslashes) & HIGH_BITS
}

fn push_escape(buffer: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => buffer.extend_from_slice(b"\\\""),
        b'\\' => buffer.extend_from_slice(b"\\\\"),
        b'\n' => buffer.extend_from_slice(b"\\n"),
        b'\r' => buffer.extend_from_slice(b"\\r"),
        b'\t' => buffer.extend_from_slice(b"\\t"),
        control => write!(buffer, "\\u{control:04x}").expect("writing into a vector never fails"),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Strings of any characters, control characters included.
    fn any_text() -> impl Strategy<Value = String> {
        proptest::collection::vec(any::<char>(), 0..40).prop_map(String::from_iter)
    }

    fn rendered(text: &str) -> String {
        let mut buffer = Vec::new();
        push_string(&mut buffer, text);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn escapes_what_json_demands_and_nothing_else() {
        assert_eq!(rendered("plain äöü 日本 🎉 \u{7f}"), "\"plain äöü 日本 🎉 \u{7f}\"");
        assert_eq!(rendered("a\"b\\c"), r#""a\"b\\c""#);
        assert_eq!(rendered("\0\u{8}\u{c}\n\r\t\u{1f}"), r#""\u0000\u0008\u000c\n\r\t\u001f""#);
    }

    #[test]
    fn every_character_survives_in_every_position_of_a_word() {
        for code in (0..=0x110u32).chain([0x2028, 0x2029, 0xfeff, 0xffff, 0x1f600]) {
            let character = char::from_u32(code).unwrap();
            for position in 0..9 {
                let text = format!("{}{character}tail", "x".repeat(position));
                assert_eq!(serde_json::from_str::<String>(&rendered(&text)).unwrap(), text);
            }
        }
    }

    #[test]
    fn w06_only_json_numbers_are_numbers() {
        for good in ["0", "-0", "10", "1.50", "-1e5", "2E-07", "12345678901234567890.123456789"] {
            assert!(is_number(good), "{good}");
        }
        for bad in ["", "-", "+1", "01", ".5", "1.", "1e", "1e+", "NaN", "Infinity", "1 ", "٣"] {
            assert!(!is_number(bad), "{bad}");
            assert_eq!(push_number(&mut Vec::new(), bad), Err(NotANumber));
        }
    }

    proptest! {
        #[test]
        fn any_string_comes_back_unchanged(text in any_text(), name in any_text()) {
            let mut buffer = Vec::new();
            let mut object = ObjectWriter::begin(&mut buffer);
            push_string(object.field(&Key::new(&name)), &text);
            object.end();
            let read: serde_json::Value = serde_json::from_slice(&buffer).unwrap();
            prop_assert_eq!(read[&name].as_str().unwrap(), text);
        }

        #[test]
        fn number_grammar_agrees_with_the_json_parser(text in "-?[0-9]{0,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?") {
            prop_assert_eq!(is_number(&text), serde_json::from_str::<serde_json::Number>(&text).is_ok());
        }
    }
}
