//! The memory that answers are received into, and how much of it there is at once.
//!
//! A page of contacts takes some 8 MiB, one with hundreds of custom fields 30 and more. What pages take together is
//! limited, whatever the number of sessions: an answer that is not small needs *room*, from its first bytes until its
//! rows are out of the session's hands, or of those that took its room over. Bodies themselves are lent, and used again; so
//! is what rows are made in. An answer may get memory that the largest one has left, so it takes as much room as that.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::request::Function;
use crate::spare::Spare;

/// How many bytes of answers are in hand at once.
const ROOM: usize = 16 << 20;

/// An answer that is no larger needs no room.
pub(crate) const SMALL: usize = 256 << 10;

/// How large an answer is taken to be before its function was ever answered.
const USUAL: usize = 8 << 20;

/// How long an answer waits for room. One that trickles in can keep its own for as long as a request may take, and rows
/// can be waited for by a destination that is slow; the others then go on without any, before their requests' time is
/// over.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Lends bodies.
pub(crate) struct Bodies {
    room: Arc<Semaphore>,
    /// Held by an answer that is larger than what it has room for. There is one at a time, and it waits for nobody.
    surplus: Arc<Semaphore>,
    patience: Duration,
    /// The largest answer of each function so far.
    largest: Mutex<BTreeMap<Function, usize>>,
    /// The memory of bodies.
    idle: Spare,
    /// That of what came compressed, which is a tenth as much.
    idle_packed: Spare,
}

/// A body, lent until it is dropped.
pub(crate) struct Body<'pool> {
    pub(crate) bytes: Vec<u8>,
    /// What came, where that has to be decompressed.
    pub(crate) packed: Vec<u8>,
    pub(crate) claim: Claim<'pool>,
}

/// A body's right to its memory.
pub(crate) struct Claim<'pool> {
    pool: &'pool Bodies,
    function: Function,
    /// What size it has reached.
    reached: usize,
    /// Up to which size it may grow.
    size: usize,
    room: Room,
}

/// Room for a page, until it is dropped.
#[derive(Debug, Default)]
pub struct Room {
    own: Option<OwnedSemaphorePermit>,
    surplus: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Answers up to this many bytes have no room, since they are too small to matter.
    pub const NOT_UP_TO: usize = SMALL;
}

impl Bodies {
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            room: Arc::new(Semaphore::new(ROOM)),
            surplus: Arc::new(Semaphore::new(1)),
            patience,
            largest: Mutex::default(),
            idle: Spare::new(),
            idle_packed: Spare::new(),
        }
    }

    /// An empty body for an answer to that function.
    pub(crate) fn lend(&self, function: Function) -> Body<'_> {
        let claim = Claim { pool: self, function, reached: 0, size: SMALL, room: Room::default() };
        Body { bytes: Vec::new(), packed: Vec::new(), claim }
    }

    /// The largest answer to a function so far.
    fn largest(&self, function: Function) -> Option<usize> {
        self.largest.lock().unwrap_or_else(PoisonError::into_inner).get(&function).copied()
    }
}

impl Claim<'_> {
    /// Memory that another body has left, with what is still in it, for as many bytes as are foreseen. Not to be taken
    /// before there is room: whoever waits for room would keep it from those that have some.
    pub(crate) fn memory(&self, foreseen: Option<usize>) -> Vec<u8> {
        self.pool.idle.take(foreseen.unwrap_or(usize::MAX))
    }

    /// The same for what comes compressed.
    pub(crate) fn packed_memory(&self) -> Vec<u8> {
        self.pool.idle_packed.take(usize::MAX)
    }

    /// To be called when the body has reached a size: waits until there is room for it and what will probably follow, or
    /// has been waited for too long.
    pub(crate) async fn grow(&mut self, size: usize) {
        self.reached = size.max(self.reached);
        if size > self.size {
            let largest = self.pool.largest(self.function);
            // A little more, since no two are the same.
            let wanted = largest.map_or(USUAL, |size| size + size / 8);
            self.take(size, wanted).await;
        }
    }

    /// The same when it is known what size the body will have.
    pub(crate) async fn grow_to(&mut self, size: usize) {
        self.reached = size.max(self.reached);
        if size > self.size {
            let wanted = self.pool.largest(self.function).unwrap_or(size);
            self.take(size, wanted).await;
        }
    }

    async fn take(&mut self, size: usize, wanted: usize) {
        let pool = self.pool;
        if self.size > SMALL {
            self.room.surplus = acquire(&pool.surplus, 1, pool.patience).await;
            self.size = usize::MAX;
            return;
        }
        let wanted = wanted.max(size).min(ROOM);
        self.room.own = acquire(&pool.room, wanted, pool.patience).await;
        self.size = if self.room.own.is_some() { wanted.max(size) } else { usize::MAX };
    }
}

/// Keeps memory, unless it is little.
fn keep(idle: &Spare, memory: Vec<u8>) {
    if memory.capacity() > SMALL {
        idle.keep(memory.capacity(), memory);
    }
}

async fn acquire(
    from: &Arc<Semaphore>,
    permits: usize,
    patience: Duration,
) -> Option<OwnedSemaphorePermit> {
    let permits = u32::try_from(permits).unwrap_or(u32::MAX);
    let acquired = Arc::clone(from).acquire_many_owned(permits);
    tokio::time::timeout(patience, acquired).await.ok()?.ok()
}

impl Body<'_> {
    /// Gives the memory back, and keeps the room for what was made of it.
    pub(crate) fn into_room(mut self) -> Room {
        mem::take(&mut self.claim.room)
    }
}

impl Drop for Body<'_> {
    fn drop(&mut self) {
        let Claim { pool, function, reached, .. } = self.claim;
        if reached > SMALL {
            let mut largest = pool.largest.lock().unwrap_or_else(PoisonError::into_inner);
            let largest = largest.entry(function).or_default();
            *largest = reached.max(*largest);
        }
        keep(&pool.idle, mem::take(&mut self.bytes));
        keep(&pool.idle_packed, mem::take(&mut self.packed));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const READ: Function = Function::ReadContacts;

    /// A body that was filled, if nothing had to be waited for.
    fn filled(bodies: &Bodies, size: usize) -> Option<Body<'_>> {
        let mut body = bodies.lend(READ);
        body.claim.grow(1).now_or_never()?;
        body.claim.grow(size.min(SMALL + 1)).now_or_never()?;
        body.claim.grow(size).now_or_never()?;
        body.bytes.resize(size, 0);
        Some(body)
    }

    #[tokio::test]
    async fn large_answers_wait_for_each_other_and_small_ones_for_nobody() {
        let bodies = Bodies::new(PATIENCE);
        drop(filled(&bodies, 20 << 20).expect("the first one"));
        let large = filled(&bodies, 20 << 20).expect("nobody else is there");
        assert!(filled(&bodies, 20 << 20).is_none(), "both would be too much");
        let small: Vec<_> = (0..100).map(|_| filled(&bodies, SMALL).expect("no room")).collect();
        let room = large.into_room();
        assert!(filled(&bodies, 20 << 20).is_none(), "its rows are still in hand");
        drop(room);
        assert!(filled(&bodies, 20 << 20).is_some());
        drop(small);
    }

    #[tokio::test]
    async fn one_answer_at_a_time_may_be_larger_than_expected() {
        let bodies = Bodies::new(PATIENCE);
        let larger = filled(&bodies, 2 * USUAL).expect("nobody else is there");
        assert!(filled(&bodies, USUAL).is_some(), "one of the usual size has room beside it");
        assert!(filled(&bodies, 2 * USUAL).is_none());
        drop(larger);
        let huge = filled(&bodies, 2 * ROOM).expect("nobody else is there");
        drop(huge);
        assert!(filled(&bodies, 2 * ROOM).is_some(), "it has all the room");
    }

    #[tokio::test]
    async fn an_answer_takes_as_much_room_as_the_largest_one_so_far() {
        let bodies = Bodies::new(PATIENCE);
        let mut many: Vec<_> = (0..9).map(|_| bodies.lend(READ)).collect();
        let grown = many.iter_mut().map(|body| body.claim.grow_to(ROOM / 4).now_or_never());
        assert_eq!(grown.filter(Option::is_some).count(), 4, "there was none");
        assert!(many[0].claim.grow_to(ROOM / 3).now_or_never().is_some(), "one may be larger");
        assert!(many[1].claim.grow_to(ROOM / 3).now_or_never().is_none());
        drop(many);
        let mut many: Vec<_> = (0..9).map(|_| bodies.lend(READ)).collect();
        let grown = many.iter_mut().map(|body| body.claim.grow_to(2 * SMALL).now_or_never());
        assert_eq!(
            grown.filter(Option::is_some).count(),
            3,
            "it can get the memory of the largest"
        );
    }

    #[tokio::test]
    async fn one_that_keeps_its_room_does_not_block_the_others_for_ever() {
        let bodies = Bodies::new(Duration::ZERO);
        let all = filled(&bodies, 2 * ROOM).expect("nobody else is there");
        drop(all);
        let _all = filled(&bodies, 2 * ROOM).expect("nobody else is there");
        let mut hasty = bodies.lend(READ);
        hasty.claim.grow(USUAL).await;
        assert!(hasty.claim.room.own.is_none(), "it went on without");
    }

    #[tokio::test]
    async fn memory_is_used_again_unless_it_is_little() {
        let bodies = Bodies::new(PATIENCE);
        drop(filled(&bodies, 1000));
        let memory = |body: &Body<'_>| body.claim.memory(None);
        assert_eq!(memory(&bodies.lend(READ)).capacity(), 0, "it was little");
        drop(filled(&bodies, 2 * SMALL));
        let mut body = bodies.lend(READ);
        assert_eq!(body.bytes.capacity(), 0, "it has no room yet");
        body.bytes = memory(&body);
        assert!(body.bytes.capacity() >= 2 * SMALL);
        assert_eq!(memory(&body).capacity(), 0, "it is taken");
        drop(body);
        assert_eq!(bodies.idle.weights().len(), 1);
    }
}
