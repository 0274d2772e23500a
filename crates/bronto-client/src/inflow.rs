//! The bytes of an answer on their way into its body: decompressed where the answer says so, and never more than the
//! limit, which counts what comes out of decompression.

use flate2::{Decompress, FlushDecompress, Status};
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};

use crate::bodies::LARGEST_KEPT;

/// The window of deflate, 2^15 bytes, which every compressor may use.
const WINDOW_BITS: u8 = 15;

/// Room for a whole answer is made at once, if it says how long it is and that is no more than this.
const FORESEEN: usize = 16 << 20;

/// The room that a compressed answer begins with, and that of a full page.
const ROOMS: [usize; 2] = [256 << 10, 8 << 20];

/// Fills a body from the pieces that arrive.
pub(crate) struct Inflow<'body> {
    body: &'body mut Vec<u8>,
    limit: usize,
    gzip: Option<Gzip>,
}

/// Compressed data, which is made of one or more members.
struct Gzip {
    member: Decompress,
    /// Whether the member is at its end; more may follow.
    is_complete: bool,
}

/// Why a body could not be filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InflowError {
    /// It is larger than the limit.
    TooLarge,
    /// It is not what compression makes, or not all of it.
    Damaged,
}

impl<'body> Inflow<'body> {
    /// An empty body for an answer with these headers.
    pub(crate) fn new(headers: &HeaderMap, body: &'body mut Vec<u8>, limit: usize) -> Self {
        body.clear();
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let encoding = text(CONTENT_ENCODING).unwrap_or_default();
        if ["gzip", "x-gzip"].iter().any(|name| encoding.eq_ignore_ascii_case(name)) {
            return Self { body, limit, gzip: Some(Gzip::new()) };
        }
        let length = text(CONTENT_LENGTH).and_then(|text| text.parse().ok());
        body.reserve(length.unwrap_or(0).min(limit).min(FORESEEN));
        Self { body, limit, gzip: None }
    }

    /// How large the body is so far.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    /// Takes the next piece.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<(), InflowError> {
        match &mut self.gzip {
            Some(gzip) => gzip.take(piece, self.body, self.limit),
            None if piece.len() > self.limit - self.body.len() => Err(too_large(self.body)),
            None => {
                make_room(self.body, self.limit, piece.len());
                self.body.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// Checks that the end of the answer is the end of what was compressed.
    pub(crate) fn finish(self) -> Result<(), InflowError> {
        match self.gzip {
            Some(gzip) if !gzip.is_complete => Err(InflowError::Damaged),
            _ => Ok(()),
        }
    }
}

/// Makes room for so many bytes more. A body that is out of the ordinary gets room for the largest answer at once: growing by
/// and by would need its memory twice, and what isn't written yet takes none.
fn make_room(body: &mut Vec<u8>, limit: usize, more: usize) {
    let size = body.len() + more;
    if size > LARGEST_KEPT && size > body.capacity() {
        // Where so much can't be promised, it grows as vectors do.
        let _grown = body.try_reserve_exact(limit.saturating_sub(body.len()));
    }
}

impl Gzip {
    fn new() -> Self {
        Self { member: Decompress::new_gzip(WINDOW_BITS), is_complete: false }
    }

    /// Decompresses a piece, straight into the body.
    fn take(&mut self, piece: &[u8], body: &mut Vec<u8>, limit: usize) -> Result<(), InflowError> {
        let mut rest = piece;
        while !rest.is_empty() {
            if self.is_complete {
                *self = Self::new();
            }
            if body.len() == body.capacity() {
                let room = ROOMS[usize::from(body.capacity() >= ROOMS[0])];
                make_room(body, limit, room);
                if body.len() == body.capacity() {
                    body.reserve(room);
                }
            }
            let before = (self.member.total_in(), body.len());
            let status = self.member.decompress_vec(rest, body, FlushDecompress::None);
            let status = status.map_err(|_| InflowError::Damaged)?;
            if body.len() > limit {
                return Err(too_large(body));
            }
            self.is_complete = status == Status::StreamEnd;
            let taken = self.member.total_in() - before.0;
            // With something to take and room to put it, it always goes on.
            if taken == 0 && body.len() == before.1 && !self.is_complete {
                return Err(InflowError::Damaged);
            }
            rest = &rest[usize::try_from(taken).expect("no more is taken than there is")..];
        }
        Ok(())
    }
}

/// Nothing of an answer that is too large is kept.
fn too_large(body: &mut Vec<u8>) -> InflowError {
    body.clear();
    InflowError::TooLarge
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

    use std::io::Write;

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
