//! The bytes of an answer on their way into its body: decompressed where the answer says so, and never more than the
//! limit, which counts what comes out of decompression.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};

use crate::bodies::LARGEST_KEPT;

/// Fills a body from the pieces that arrive.
pub(crate) enum Inflow<'body> {
    Plain(Limited<'body>),
    /// Boxed, because the decoder's state is large and lives across waits.
    Gzip(Box<MultiGzDecoder<Limited<'body>>>),
}

/// Why a body could not be filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InflowError {
    /// It is larger than the limit.
    TooLarge,
    /// It is not what compression makes, or not all of it.
    Damaged,
}

/// A body that takes no more than so many bytes.
pub(crate) struct Limited<'body> {
    body: &'body mut Vec<u8>,
    limit: usize,
    is_exceeded: bool,
}

impl<'body> Inflow<'body> {
    /// An empty body for an answer with these headers.
    pub(crate) fn new(headers: &HeaderMap, body: &'body mut Vec<u8>, limit: usize) -> Self {
        body.clear();
        let limited = Limited { body, limit, is_exceeded: false };
        let encoding =
            headers.get(CONTENT_ENCODING).map_or(b"".as_slice(), |value| value.as_bytes());
        if [b"gzip".as_slice(), b"x-gzip"].iter().any(|name| encoding.eq_ignore_ascii_case(name)) {
            return Self::Gzip(Box::new(MultiGzDecoder::new(limited)));
        }
        Self::Plain(limited)
    }

    /// How large the body is so far.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Plain(limited) => limited.body.len(),
            Self::Gzip(decoder) => decoder.get_ref().body.len(),
        }
    }

    /// Takes the next piece.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<(), InflowError> {
        match self {
            Self::Plain(limited) => limited.write_all(piece).map_err(|_| limited.failure()),
            Self::Gzip(decoder) => {
                decoder.write_all(piece).map_err(|_| decoder.get_ref().failure())
            }
        }
    }

    /// Checks that the end of the answer is the end of what was compressed.
    pub(crate) fn finish(self) -> Result<(), InflowError> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Gzip(mut decoder) => {
                decoder.try_finish().map_err(|_| decoder.get_ref().failure())
            }
        }
    }
}

impl Limited<'_> {
    /// Makes room for so many bytes more. A body that is out of the ordinary gets room for the largest answer at once:
    /// growing by and by would need its memory twice, and what isn't written yet takes none.
    fn reserve(&mut self, more: usize) {
        let size = self.body.len() + more;
        if size > LARGEST_KEPT && size > self.body.capacity() {
            // Where so much can't be promised, it grows as vectors do.
            let _ = self.body.try_reserve_exact(self.limit - self.body.len());
        }
    }

    fn failure(&self) -> InflowError {
        if self.is_exceeded { InflowError::TooLarge } else { InflowError::Damaged }
    }
}

impl Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_exceeded || self.body.len() + bytes.len() > self.limit {
            self.is_exceeded = true;
            self.body.clear();
            return Err(io::Error::other("the answer is too large"));
        }
        self.reserve(bytes.len());
        self.body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

    use flate2::{Compression, write::GzEncoder};
    use reqwest::header::HeaderValue;

    use super::*;

    fn gzipped(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn receive(
        bytes: &[u8],
        piece: usize,
        limit: usize,
        encoding: &'static str,
    ) -> Result<Vec<u8>, InflowError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        let mut body = b"of the answer before".to_vec();
        let mut inflow = Inflow::new(&headers, &mut body, limit);
        bytes.chunks(piece).try_for_each(|piece| inflow.take(piece))?;
        inflow.finish()?;
        Ok(body)
    }

    #[test]
    fn pieces_of_any_size_make_the_same_body() {
        let text: Vec<u8> =
            (0..100_000_u32).flat_map(|number| number.to_string().into_bytes()).collect();
        let members = [gzipped(&text[..70_000]), gzipped(b""), gzipped(&text[70_000..])].concat();
        for piece in [1, 7, 4096, usize::MAX / 2] {
            assert!(
                receive(&gzipped(&text), piece, text.len(), "gzip").unwrap() == text,
                "{piece}"
            );
            assert!(receive(&members, piece, text.len(), "GZip").unwrap() == text, "{piece}");
            assert!(receive(&text, piece, text.len(), "identity").unwrap() == text, "{piece}");
        }
    }

    #[test]
    fn no_part_of_a_compressed_answer_is_taken_for_the_whole() {
        let whole = gzipped(b"what was sent, what was sent, what was sent");
        for length in 0..whole.len() {
            for piece in [1, 1000] {
                let part = receive(&whole[..length], piece, 1000, "gzip");
                assert_eq!(part, Err(InflowError::Damaged), "{length}");
            }
        }
        let mut spoiled = whole;
        let last = spoiled.len() - 1;
        for at in [0, last / 2, last] {
            spoiled[at] ^= 1;
            assert_eq!(receive(&spoiled, 1000, 1000, "gzip"), Err(InflowError::Damaged), "{at}");
            spoiled[at] ^= 1;
        }
        assert_eq!(receive(b"<plain/>", 1000, 1000, "gzip"), Err(InflowError::Damaged));
    }

    #[test]
    fn the_limit_counts_what_comes_out() {
        let bomb = gzipped(&[b' '; 1 << 20]);
        assert_eq!(receive(&bomb, 100, 1 << 16, "gzip"), Err(InflowError::TooLarge));
        assert_eq!(receive(&[b' '; 9], 100, 8, "identity"), Err(InflowError::TooLarge));
        assert_eq!(receive(&[b' '; 8], 3, 8, "identity").unwrap(), [b' '; 8]);
    }
}
