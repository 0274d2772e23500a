//! Bytes to text.

use std::borrow::Cow;

use super::AnswerDefect;

const UTF8_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A body as text, without its byte order mark.
///
/// Bytes that are no UTF-8 are replaced by U+FFFD and remembered, so that only the object that
/// holds them is rejected. The rest of the page is as good as any.
pub(super) struct Document<'a> {
    text: Cow<'a, str>,
    /// Where replacements stand in `text`, ascending.
    spoiled: Vec<usize>,
}

impl<'a> Document<'a> {
    pub(super) fn new(body: &'a [u8]) -> Result<Self, AnswerDefect> {
        let body = body.strip_prefix(UTF8_MARK).unwrap_or(body);
        if let Ok(text) = simdutf8::basic::from_utf8(body) {
            let text = Cow::Borrowed(text);
            return Ok(Self { text, spoiled: Vec::new() });
        }
        if matches!(body, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]) {
            let encoding = "UTF-16".to_owned();
            return Err(AnswerDefect::Encoding { encoding });
        }
        let mut text = String::with_capacity(body.len());
        let mut spoiled = Vec::new();
        for chunk in body.utf8_chunks() {
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                spoiled.push(text.len());
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        let text = Cow::Owned(text);
        Ok(Self { text, spoiled })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// How many replacements stand between two positions.
    pub(super) fn spoiled_between(&self, start: usize, end: usize) -> usize {
        if self.spoiled.is_empty() {
            return 0;
        }
        let before = |position| self.spoiled.partition_point(|spot| *spot < position);
        before(end).saturating_sub(before(start))
    }

    /// How many replacements there are.
    pub(super) fn spoiled(&self) -> usize {
        self.spoiled.len()
    }

    /// Refuses a document with replacements, for answers that can't reject a part.
    pub(super) fn require_utf8(&self) -> Result<(), AnswerDefect> {
        match self.spoiled.first() {
            None => Ok(()),
            Some(position) => Err(AnswerDefect::Malformed {
                position: *position,
                reason: "bytes that are not UTF-8",
            }),
        }
    }
}
