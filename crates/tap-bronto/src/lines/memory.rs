//! The memory that pages of lines are built in: used again, whoever drops it.
//!
//! A page of contacts has some 6 MB of lines. Memory that is given back to the system and taken again costs more time than
//! the lines in it, because each of its pages has to be cleared and mapped anew; and what isn't given back is missing
//! elsewhere. So a page takes memory that another page has left, as soon as it proves to be large and not before: while
//! its answer is waited for it needs none.

use std::{
    mem,
    sync::{Mutex, PoisonError},
};

use arrow::buffer::Buffer;
use bronto_client::Room;
use bytes::Bytes;

/// So many bytes are copied of short texts: most are no longer.
pub(super) const CHUNK: usize = 64;

/// A page that has no more lines than this gets memory of its own.
const SMALL: usize = 256 << 10;
/// What a larger page gets. It is more than any page has as a rule, for what was never written takes none: so lines aren't
/// moved when there are more of them.
const ROOMY: usize = 64 << 20;
/// How many bytes are kept to be used again: about what pages have that are in hand at once.
const MOST_KEPT: usize = 32 << 20;
/// So many bytes are cleared at once before they are written for the first time.
const STEP: usize = 64 << 10;

/// What is to be used again, what was used last at the end.
static IDLE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Bytes that grow at their end.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What was ever written, also behind the end.
    all: Vec<u8>,
    end: usize,
}

impl Memory {
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
            let size = least.max(2 * self.all.capacity());
            let mut roomier = if least <= SMALL { Vec::with_capacity(size) } else { take(size) };
            let known = roomier.len().min(self.end);
            roomier[..known].copy_from_slice(&self.all[..known]);
            roomier.extend_from_slice(&self.all[known..self.end]);
            self.all = roomier;
        }
        let step = least.max(self.all.len() + STEP).min(self.all.capacity());
        if step > self.all.len() {
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
        self.all.capacity() <= 2 * SMALL
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if !self.is_little() {
            keep(mem::take(&mut self.all));
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
    let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    if let Some(memory) = idle.filter(|memory| memory.capacity() >= size) {
        return memory;
    }
    let mut memory = Vec::new();
    // Where so much can't be promised, it grows as vectors do.
    if memory.try_reserve_exact(size.max(ROOMY)).is_err() {
        memory.reserve_exact(size);
    }
    memory
}

/// Keeps memory, unless there is enough: then the oldest goes.
fn keep(memory: Vec<u8>) {
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    idle.push(memory);
    let mut kept: usize = idle.iter().map(Vec::len).sum();
    while kept > MOST_KEPT {
        kept -= idle.remove(0).len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(size: usize) -> Memory {
        let mut memory = Memory::default();
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

    #[test]
    fn memory_is_used_again_and_not_kept_without_end() {
        let idle = || IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut memory = filled(2 * SMALL);
        let place = memory.bytes().as_ptr();
        let buffer = memory.take().into_buffer(Room::default());
        let slice = buffer.slice(1);
        drop(buffer);
        assert_eq!(slice[..4], *b"omex");
        assert!(!idle().iter().any(|memory| memory.as_ptr() == place), "it is in use");
        drop(slice);
        assert!(idle().iter().any(|memory| memory.as_ptr() == place));
        let many: Vec<_> = (0..9).map(|_| filled(MOST_KEPT / 8)).collect();
        let lent = many.into_iter().map(|memory| memory.into_buffer(Room::default()));
        drop(lent.collect::<Vec<_>>());
        assert!(idle().iter().map(Vec::len).sum::<usize>() <= MOST_KEPT);
        drop(filled(MOST_KEPT + 1).into_buffer(Room::default()));
        assert_eq!(idle().len(), 0, "it was too much");
        drop(filled(2 * SMALL).into_buffer(Room::default()));
        assert_eq!(idle().len(), 1);
        assert!(
            filled(10).into_buffer(Room::default()).capacity() < 100,
            "a batch weighs what it holds"
        );
    }
}
