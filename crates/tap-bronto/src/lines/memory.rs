//! The memory that pages of lines are built in: used again, whoever drops it.
//!
//! A page of contacts has some 6 MB of lines. They are written into memory that another page has left (see [`Spare`]), if
//! the page's answer had room: as many memories are in use as there is room for, and no more. It is taken with the first
//! line and not before: while its answer is waited for, a page needs none.

use std::mem;

use arrow::buffer::Buffer;
use bronto_client::{Room, Spare};
use bytes::Bytes;

/// So many bytes are copied of short texts: most are no longer.
pub(super) const CHUNK: usize = 64;

/// What a page gets whose answer had room. It is more than any page has as a rule, for what was never written takes none: so
/// lines aren't moved when there are more of them.
const ROOMY: usize = 64 << 20;
/// The same goes for lines that are more than this, whatever their answer was.
const MUCH: usize = 2 << 20;
/// So many bytes are cleared at once before they are written for the first time.
const STEP: usize = 64 << 10;

/// What is to be used again. It weighs what was ever written.
static SPARE: Spare = Spare::new();

/// Bytes that grow at their end.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What was ever written, also behind the end.
    all: Vec<u8>,
    end: usize,
    /// About how many bytes will come.
    expected: usize,
}

impl Memory {
    /// What comes is made of an answer of so many bytes.
    pub(super) fn expect(&mut self, bytes: usize) {
        self.expected = bytes;
    }

    pub(super) fn len(&self) -> usize {
        self.end
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.all[..self.end]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.all[..self.end]
    }

    /// Takes back what is behind this length.
    pub(super) fn truncate(&mut self, length: usize) {
        self.end = length.min(self.end);
    }

    /// Makes room for so many bytes behind the end.
    #[inline]
    pub(super) fn reserve(&mut self, more: usize) {
        if self.all.len() - self.end < more {
            self.grow(more);
        }
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let least = self.end + more;
        if least > self.all.capacity() {
            let size = least.max(2 * self.all.capacity()).max(self.expected);
            let has_room = self.expected > Room::NOT_UP_TO || least > MUCH;
            let mut roomier = if has_room { take(size) } else { Vec::with_capacity(size) };
            let known = roomier.len().min(self.end);
            roomier[..known].copy_from_slice(&self.all[..known]);
            roomier.extend_from_slice(&self.all[known..self.end]);
            self.all = roomier;
        }
        if least > self.all.len() {
            let step = least.max(self.all.len() + STEP).min(self.all.capacity());
            self.all.resize(step, 0);
        }
    }

    /// Appends a byte, for which there must be room.
    #[inline(always)]
    pub(super) fn push(&mut self, byte: u8) {
        self.all[self.end] = byte;
        self.end += 1;
    }

    /// Appends bytes.
    #[inline]
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.all[self.end..][..bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Appends the first bytes of a slice, so many, by copying `N` in one go where they are no more. There must be room for
    /// `N` behind the end.
    #[inline(always)]
    pub(super) fn extend_loosely<const N: usize>(&mut self, bytes: &[u8], length: usize) {
        let chunk = bytes.first_chunk::<N>();
        let place = self.all.get_mut(self.end..).and_then(<[u8]>::first_chunk_mut::<N>);
        match (chunk, place) {
            (Some(chunk), Some(place)) if length <= N => *place = *chunk,
            _ => self.all[self.end..self.end + length].copy_from_slice(&bytes[..length]),
        }
        self.end += length;
    }

    /// Appends the first bytes of a chunk, so many. There must be room for all of it.
    #[inline(always)]
    pub(super) fn extend_from_chunk<const N: usize>(&mut self, chunk: [u8; N], length: usize) {
        let (place, _) = self.all[self.end..].split_first_chunk_mut().expect("room was made");
        *place = chunk;
        self.end += length;
    }

    /// Takes what there is, and leaves nothing.
    pub(super) fn take(&mut self) -> Self {
        mem::take(self)
    }

    /// The bytes as a buffer. Its memory is used again when nobody needs it any more, and until then it holds the room.
    pub(super) fn into_buffer(mut self, room: Room) -> Buffer {
        if self.is_little() {
            let mut lines = mem::take(&mut self.all);
            lines.truncate(self.end);
            return Buffer::from_vec(lines);
        }
        Buffer::from(Bytes::from_owner(Lent { memory: self, _room: room }))
    }

    fn is_little(&self) -> bool {
        self.all.capacity() < ROOMY
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if !self.is_little() {
            SPARE.keep(self.all.len(), mem::take(&mut self.all));
        }
    }
}

struct Lent {
    memory: Memory,
    _room: Room,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.memory.bytes()
    }
}

/// Memory for at least so many bytes; what is in it is of no interest.
fn take(size: usize) -> Vec<u8> {
    let spare = SPARE.take(size);
    if spare.capacity() >= size {
        return spare;
    }
    let mut memory = Vec::new();
    // Where so much can't be promised, it grows as vectors do.
    if memory.try_reserve_exact(size.max(ROOMY)).is_err() {
        memory.reserve_exact(size);
    }
    memory
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of so many bytes, of an answer of so many.
    fn filled(answer: usize, size: usize) -> Memory {
        let mut memory = Memory::default();
        memory.expect(answer);
        memory.extend(b"some");
        memory.extend(&vec![b'x'; size]);
        memory
    }

    #[test]
    fn bytes_are_what_was_appended() {
        let mut memory = Memory::default();
        let mut expected = Vec::new();
        let text: Vec<u8> = (0..=255).chain(0..=255).collect();
        for length in (0..200).chain([3, 0, 64]) {
            for follows in [0, 1, CHUNK / 2, CHUNK - 1, 50] {
                memory.reserve(length + CHUNK + 8);
                memory.extend_loosely::<CHUNK>(&text[..length + follows], length);
                memory.extend_from_chunk(*b"|ignored", 1);
                memory.extend(&text[..length]);
                expected.extend_from_slice(&text[..length]);
                expected.push(b'|');
                expected.extend_from_slice(&text[..length]);
            }
        }
        assert!(memory.bytes() == expected);
        memory.truncate(5);
        memory.extend(b"end");
        assert_eq!(memory.bytes(), [&expected[..5], b"end"].concat());
        assert_eq!(
            memory.into_buffer(Room::default()).as_slice(),
            [&expected[..5], b"end"].concat()
        );
    }

    /// What is kept after pages of so many bytes each, from answers of so many bytes, which were all in hand at once.
    fn kept_after(pages: &[(usize, usize)]) -> Vec<usize> {
        let pages: Vec<_> = pages.iter().map(|(answer, size)| filled(*answer, *size)).collect();
        let lent = pages.into_iter().map(|memory| memory.into_buffer(Room::default()));
        drop(lent.collect::<Vec<_>>());
        SPARE.weights()
    }

    #[test]
    fn memory_is_used_again_and_does_not_grow_with_the_number_of_pages() {
        const PAGE: usize = 5 << 20;
        let mut memory = filled(PAGE, PAGE);
        let place = memory.bytes().as_ptr();
        let buffer = memory.take().into_buffer(Room::default());
        let slice = buffer.slice(1);
        drop(buffer);
        assert_eq!(slice[..4], *b"omex");
        assert_eq!(SPARE.weights().len(), 0, "it is in use");
        drop(slice);
        let first = SPARE.weights();
        assert!(first.len() == 1 && first[0] < PAGE + 2 * STEP);
        for _ in 0..100 {
            assert_eq!(filled(PAGE, PAGE).bytes().as_ptr(), place);
            assert_eq!(SPARE.weights(), first, "it grows");
        }
        let small = Room::NOT_UP_TO;
        assert_eq!(kept_after(&[(PAGE, PAGE), (small, small), (small, 2 * small)]), first);
        let after_many = kept_after(&[(PAGE, PAGE); 3]);
        assert_eq!(after_many.len(), 3);
        for _ in 0..100 {
            assert_eq!(kept_after(&[(PAGE, PAGE), (PAGE / 2, PAGE / 2), (PAGE, PAGE)]), after_many);
        }
        let little = filled(10, 10).into_buffer(Room::default());
        assert!(little.capacity() < 100, "a batch weighs what it holds");
    }
}
