//! The memory that answers are received into.
//!
//! A page of contacts takes some 8 MiB, and is needed only from the first byte of its answer until it is decoded. So
//! bodies are lent, not owned by sessions: what they take depends on how many answers arrive at once, which is limited,
//! and not on how many sessions there are.

use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// How many answers are received at once.
const AT_ONCE: usize = 4;

/// How long an answer waits for its turn. One that trickles in can keep its turn for as long as a request may take; the
/// others then go on without one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Memory beyond this size is given back: it was needed by an answer out of the ordinary.
const LARGEST_KEPT: usize = 16 << 20;

/// Lends bodies.
pub(crate) struct Bodies {
    turns: Semaphore,
    patience: Duration,
    idle: Mutex<Vec<Vec<u8>>>,
}

/// A body, lent until it is dropped.
pub(crate) struct Body<'pool> {
    bytes: Vec<u8>,
    pool: &'pool Bodies,
    #[cfg_attr(not(test), expect(dead_code, reason = "held for its drop"))]
    turn: Option<SemaphorePermit<'pool>>,
}

impl Bodies {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { turns: Semaphore::new(AT_ONCE), patience, idle: Mutex::default() }
    }

    /// An empty body, when it is its turn, or has been waited for too long.
    pub(crate) async fn lend(&self) -> Body<'_> {
        let turn = tokio::time::timeout(self.patience, self.turns.acquire()).await;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = idle.unwrap_or_default();
        Body { bytes, pool: self, turn: turn.ok().and_then(Result::ok) }
    }
}

impl Deref for Body<'_> {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Body<'_> {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Body<'_> {
    fn drop(&mut self) {
        let mut bytes = mem::take(&mut self.bytes);
        bytes.clear();
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < AT_ONCE && bytes.capacity() <= LARGEST_KEPT {
            idle.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_that_keeps_its_turn_does_not_block_the_others_for_ever() {
        let bodies = Bodies::new(PATIENCE);
        let mut lent = Vec::new();
        for _ in 0..AT_ONCE {
            lent.push(bodies.lend().now_or_never().expect("it is its turn"));
        }
        assert!(bodies.lend().now_or_never().is_none(), "one more waits");
        lent.pop();
        lent.push(bodies.lend().now_or_never().expect("a turn has come free"));
        drop(lent);
        let hasty = Bodies::new(Duration::ZERO);
        let lent = futures::future::join_all((0..=AT_ONCE).map(|_| hasty.lend())).await;
        assert!(lent[..AT_ONCE].iter().all(|body| body.turn.is_some()));
        assert!(lent[AT_ONCE].turn.is_none(), "it went on without one");
    }

    #[tokio::test]
    async fn memory_is_used_again_unless_it_is_a_lot() {
        let bodies = Bodies::new(PATIENCE);
        let mut body = bodies.lend().await;
        body.extend_from_slice(&[1; 1000]);
        drop(body);
        let mut body = bodies.lend().await;
        assert!(body.is_empty() && body.capacity() >= 1000);
        body.reserve(LARGEST_KEPT + 1);
        drop(body);
        assert_eq!(bodies.lend().await.capacity(), 0);
    }
}
