//! The bytes of an answer on their way into its body: decompressed where the answer says so, and never more than the
//! limit, which counts what comes out of decompression.
//!
//! What is compressed is gathered first. It says at its end how large it will be, so there is room for it before it is
//! decompressed, all at once, which takes half the time of doing it piece by piece. Data of several members, which only says
//! how large the last one is, and all that is wrong in any way are left to a decompressor that goes piece by piece.

use std::mem;

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::Decompressor;
use memchr::memmem;
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};

/// The window of deflate, 2^15 bytes, which every compressor may use.
const WINDOW_BITS: u8 = 15;

/// A body that is no larger grows as vectors do.
const ORDINARY: usize = 16 << 20;

/// How many times larger than compressed data what it stands for can be.
const GREATEST_RATIO: usize = 1032;

/// What each member of compressed data begins with.
const MEMBER: &[u8] = &[0x1F, 0x8B, 8];

/// Fills a body from the pieces that arrive.
pub(crate) struct Inflow<'body> {
    body: &'body mut Vec<u8>,
    limit: usize,
    /// What arrived so far, where it is compressed.
    packed: Option<&'body mut Vec<u8>>,
    /// How large the answer is, if it says so.
    length: Option<usize>,
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
    /// For an answer with these headers. What body and packed hold is gone.
    pub(crate) fn new(
        headers: &HeaderMap,
        body: &'body mut Vec<u8>,
        packed: &'body mut Vec<u8>,
        limit: usize,
    ) -> Self {
        body.clear();
        packed.clear();
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let encoding = text(CONTENT_ENCODING).unwrap_or_default();
        if ["gzip", "x-gzip"].iter().any(|name| encoding.eq_ignore_ascii_case(name)) {
            return Self { body, limit, packed: Some(packed), length: None };
        }
        let length = text(CONTENT_LENGTH).and_then(|text| text.parse().ok());
        Self { body, limit, packed: None, length }
    }

    /// How large the body will be, if that is known by now.
    pub(crate) fn foreseen(&self) -> Option<usize> {
        match &self.packed {
            None => self.length.map(|length| length.min(self.limit)),
            Some(packed) => {
                let size = usize::try_from(u32::from_le_bytes(*packed.last_chunk()?)).ok()?;
                // Anything could stand there.
                Some(size).filter(|size| *size <= self.limit.min(packed.len() * GREATEST_RATIO))
            }
        }
    }

    /// Whether what comes is compressed.
    pub(crate) fn is_packed(&self) -> bool {
        self.packed.is_some()
    }

    /// Goes on in this memory, whatever is in it.
    pub(crate) fn go_on_in(&mut self, mut memory: Vec<u8>) {
        if self.packed.is_none() {
            let size = self.foreseen().unwrap_or(0).max(self.body.len());
            if memory.capacity() < size {
                memory = roomy(size);
            }
            memory.clear();
            memory.extend_from_slice(self.body);
        }
        *self.body = memory;
    }

    /// How much has come so far.
    pub(crate) fn len(&self) -> usize {
        self.packed.as_ref().map_or(self.body.len(), |packed| packed.len())
    }

    /// Takes the next piece.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<(), InflowError> {
        if piece.len() > self.limit - self.len() {
            return Err(too_large(self.body));
        }
        match &mut self.packed {
            Some(packed) => packed.extend_from_slice(piece),
            None => {
                make_room(self.body, self.limit, piece.len());
                self.body.extend_from_slice(piece);
            }
        }
        Ok(())
    }

    /// Everything has come: fills the body with what was compressed, unless that is not whole.
    pub(crate) fn finish(self) -> Result<(), InflowError> {
        let foreseen = self.foreseen();
        let Some(packed) = self.packed else { return Ok(()) };
        // Until it is filled anew, nothing is in it.
        let memory = mem::take(self.body);
        if let Some(size) = foreseen
            && let Some(whole) = unpack_whole(packed, memory, size)
        {
            *self.body = whole;
            return Ok(());
        }
        unpack(packed, self.body, self.limit)
    }
}

/// Memory for so many bytes and some more, so that the next answer fits, too.
fn roomy(size: usize) -> Vec<u8> {
    Vec::with_capacity(size + size / 8)
}

/// Makes room for so many bytes more. A body that is out of the ordinary gets room for the largest answer at once: growing by
/// and by would need its memory twice, and what isn't written yet takes none.
fn make_room(body: &mut Vec<u8>, limit: usize, more: usize) {
    let size = body.len() + more;
    if size > ORDINARY && size > body.capacity() {
        // Where so much can't be promised, it grows as vectors do.
        let _grown = body.try_reserve_exact(limit.saturating_sub(body.len()));
    }
}

/// Decompresses a single whole member of that size, if it is one, into this memory.
fn unpack_whole(packed: &[u8], mut memory: Vec<u8>, size: usize) -> Option<Vec<u8>> {
    let rest = packed.strip_prefix(MEMBER)?;
    // Chance makes such bytes in a few answers of a hundred.
    if memmem::find(rest, MEMBER).is_some() {
        return None;
    }
    if memory.capacity() < size {
        memory = roomy(size);
    }
    // What is there already is overwritten.
    memory.resize(size, 0);
    let unpacked = Decompressor::new().gzip_decompress(packed, &mut memory);
    (unpacked == Ok(size)).then_some(memory)
}

/// Decompresses members piece by piece.
fn unpack(packed: &[u8], body: &mut Vec<u8>, limit: usize) -> Result<(), InflowError> {
    let mut rest = packed;
    let mut member = Decompress::new_gzip(WINDOW_BITS);
    let mut is_complete = false;
    while !rest.is_empty() {
        if is_complete {
            member = Decompress::new_gzip(WINDOW_BITS);
        }
        if body.len() == body.capacity() {
            let room = body.len().max(256 << 10);
            make_room(body, limit, room);
            if body.len() == body.capacity() {
                body.reserve(room);
            }
        }
        let before = (member.total_in(), body.len());
        let status = member.decompress_vec(rest, body, FlushDecompress::None);
        let Ok(status) = status else { return Err(damaged(body)) };
        if body.len() > limit {
            return Err(too_large(body));
        }
        is_complete = status == Status::StreamEnd;
        let taken = member.total_in() - before.0;
        // With something to take and room to put it, it always goes on.
        if taken == 0 && body.len() == before.1 && !is_complete {
            return Err(damaged(body));
        }
        rest = &rest[usize::try_from(taken).expect("no more is taken than there is")..];
    }
    if is_complete { Ok(()) } else { Err(damaged(body)) }
}

/// Nothing of an answer that is too large is kept.
fn too_large(body: &mut Vec<u8>) -> InflowError {
    body.clear();
    InflowError::TooLarge
}

/// Nor of one that is damaged.
fn damaged(body: &mut Vec<u8>) -> InflowError {
    body.clear();
    InflowError::Damaged
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
        let mut packed = body.clone();
        let mut inflow = Inflow::new(&headers, &mut body, &mut packed, limit);
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
