//! Lines of a stream of bytes, bounded in length.

use std::io::{self, BufRead};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line that is read. The protocol sets no limit; memory does.
pub(super) const MAX_LINE_BYTES: usize = 64 << 20;

/// How much is read at once.
const CHUNK_BYTES: usize = 256 << 10;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why no line could be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error("The input could not be read")]
    Input(#[from] io::Error),
    #[error("The line is longer than {} MiB", MAX_LINE_BYTES >> 20)]
    TooLong,
    #[error("The line is not UTF-8")]
    NotUtf8,
}

/// Reads lines in chunks: [`LineReader::fill`] waits for input, [`LineReader::next`] takes what is there.
#[derive(Debug)]
pub(super) struct LineReader<R> {
    input: R,
    buffer: Vec<u8>,
    /// Where the next line starts.
    start: usize,
    /// Up to where no line end was found.
    scanned: usize,
    number: u64,
    is_ended: bool,
}

/// A line without its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    /// Its number, from 1.
    pub(super) number: u64,
    pub(super) text: &'a str,
    /// How many bytes it took in the input.
    pub(super) bytes: usize,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), start: 0, scanned: 0, number: 0, is_ended: false }
    }

    /// The number of the line that was taken last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Waits for more input. Returns false at its end. Nothing is lost when the wait is given up.
    pub(super) async fn fill(&mut self) -> Result<bool, LineError> {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        if self.buffer.len() > MAX_LINE_BYTES {
            return Err(LineError::TooLong);
        }
        if self.buffer.len() < CHUNK_BYTES && self.buffer.capacity() > 8 * CHUNK_BYTES {
            self.buffer.shrink_to(2 * CHUNK_BYTES);
        }
        self.buffer.reserve(CHUNK_BYTES);
        self.is_ended = self.input.read_buf(&mut self.buffer).await? == 0;
        Ok(!self.is_ended)
    }

    /// Takes the next line that is there whole, or the rest once the input has ended.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, LineError> {
        let mut unscanned = &self.buffer[self.scanned..];
        self.scanned += unscanned.skip_until(b'\n')?;
        let is_whole = self.scanned > self.start && self.buffer[self.scanned - 1] == b'\n';
        if !is_whole && (!self.is_ended || self.scanned == self.start) {
            return Ok(None);
        }
        let line = &self.buffer[self.start..self.scanned];
        self.start = self.scanned;
        self.number += 1;
        if line.len() > MAX_LINE_BYTES {
            return Err(LineError::TooLong);
        }
        let mut text = line.strip_suffix(b"\n").unwrap_or(line);
        text = text.strip_suffix(b"\r").unwrap_or(text);
        if self.number == 1 {
            text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        }
        let text = simdutf8::basic::from_utf8(text).map_err(|_| LineError::NotUtf8)?;
        Ok(Some(Line { number: self.number, text, bytes: line.len() }))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    async fn lines(input: &[u8]) -> Result<Vec<String>, LineError> {
        let mut reader = LineReader::new(input);
        let mut lines = Vec::new();
        loop {
            let more = reader.fill().await?;
            while let Some(line) = reader.next()? {
                lines.push(line.text.to_owned());
            }
            if !more {
                return Ok(lines);
            }
        }
    }

    #[tokio::test]
    async fn w07_line_ends_and_marks_of_other_systems_are_tolerated() {
        assert_eq!(lines(b"").await.unwrap(), Vec::<String>::new());
        assert_eq!(lines(b"\xef\xbb\xbfa\r\n\nb\n").await.unwrap(), ["a", "", "b"]);
        assert_eq!(lines(b"a\nb").await.unwrap(), ["a", "b"]);
        assert!(matches!(lines(b"\xff\n").await, Err(LineError::NotUtf8)));
    }

    #[tokio::test]
    async fn w07_long_lines_pass_and_endless_ones_do_not() {
        let long = "x".repeat(3 * CHUNK_BYTES);
        let input = format!("{long}\nshort\n{long}\n");
        assert_eq!(lines(input.as_bytes()).await.unwrap(), [long.as_str(), "short", &long]);
        let endless = tokio::io::repeat(b'x').take(2 * MAX_LINE_BYTES as u64);
        let mut reader = LineReader::new(endless);
        let error = loop {
            if let Err(error) = reader.fill().await {
                break error;
            }
            assert!(reader.next().unwrap().is_none());
        };
        assert_eq!(error.to_string(), "The line is longer than 64 MiB");
    }
}
