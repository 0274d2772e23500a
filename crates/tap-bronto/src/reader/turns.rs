//! Who may have a session: the setting `concurrency` bounds the sessions of the whole extraction.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The right to one session, for as long as it is held.
pub(crate) type Turn = OwnedSemaphorePermit;

/// The sessions that may be open at once. Every stream gets its first before any gets a second.
#[derive(Debug)]
pub(crate) struct Turns {
    free: Arc<Semaphore>,
    /// How many streams have not had their first turn.
    waiting: watch::Sender<usize>,
}

impl Turns {
    pub(crate) fn new(sessions: usize, streams: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(sessions)), waiting: watch::Sender::new(streams) }
    }

    /// A stream's first turn. To be asked for once per stream.
    pub(crate) async fn first(&self) -> Turn {
        let turn = self.any().await;
        self.waiting.send_modify(|waiting| *waiting = waiting.saturating_sub(1));
        turn
    }

    /// A further turn, when no stream waits for its first.
    pub(crate) async fn further(&self) -> Turn {
        let mut waiting = self.waiting.subscribe();
        waiting.wait_for(|waiting| *waiting == 0).await.expect("the sender lives as long as self");
        self.any().await
    }

    async fn any(&self) -> Turn {
        Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    /// What a future has come to when it is asked once.
    async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            value = future => Some(value),
            () = std::future::ready(()) => None,
        }
    }

    #[tokio::test]
    async fn nobody_gets_a_second_turn_before_all_had_their_first() {
        let turns = Turns::new(2, 3);
        let first = turns.first().await;
        assert!(now(turns.further()).await.is_none());
        let second = turns.first().await;
        assert!(now(turns.first()).await.is_none());
        drop(first);
        let third = now(turns.first()).await.unwrap();
        assert!(now(turns.further()).await.is_none());
        drop((second, third));
        let further = (turns.further().await, turns.further().await);
        assert!(now(turns.further()).await.is_none());
        drop(further);
    }
}
