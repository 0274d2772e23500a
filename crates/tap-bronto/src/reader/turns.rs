//! Who may have a session: the setting `concurrency` bounds the sessions of the whole extraction.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bronto_client::{Client, Session, SessionCost};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The sessions that may be open at once. Every stream gets its first before any gets a second.
#[derive(Debug)]
pub(crate) struct Turns {
    sessions: usize,
    free: Arc<Semaphore>,
    client: Client,
    /// Sessions that were given back. They belong to no stream, and spare the next one its login.
    idle: Arc<Mutex<Vec<Session>>>,
    /// How many streams have not had their first turn.
    waiting: watch::Sender<usize>,
    /// How many streams are being read.
    open: AtomicUsize,
}

/// The right to one session, for as long as it is held.
#[derive(Debug)]
pub(crate) struct Turn {
    session: Session,
    /// What the session had cost before.
    counted: SessionCost,
    client: Client,
    idle: Arc<Mutex<Vec<Session>>>,
    _permit: OwnedSemaphorePermit,
}

impl Turns {
    pub(crate) fn new(client: Client, sessions: usize, streams: usize) -> Self {
        Self {
            sessions,
            free: Arc::new(Semaphore::new(sessions)),
            client,
            idle: Arc::default(),
            waiting: watch::Sender::new(streams),
            open: AtomicUsize::new(0),
        }
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

    /// A stream that has a turn is being read.
    pub(crate) fn begin(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// It is no longer; to be said as often as [`begin`](Self::begin).
    pub(crate) fn end(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Among how many workers a stream should share out what is left of it: half as many again as its part of all of
    /// them, since other streams will end sooner.
    pub(crate) fn share(&self) -> usize {
        let streams = *self.waiting.borrow() + self.open.load(Ordering::Relaxed);
        (self.sessions * 3).div_ceil(streams.max(1) * 2).clamp(1, self.sessions)
    }

    async fn any(&self) -> Turn {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let session = idle.unwrap_or_else(|| self.client.idle_session());
        Turn {
            counted: session.cost(),
            session,
            client: self.client.clone(),
            idle: Arc::clone(&self.idle),
            _permit: permit.expect("the semaphore is never closed"),
        }
    }
}

impl Turn {
    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// What the session has cost since the last time this was asked, or since the turn began.
    pub(crate) fn count_cost(&mut self) -> SessionCost {
        let cost = self.session.cost();
        let before = mem::replace(&mut self.counted, cost);
        SessionCost {
            requests: cost.requests - before.requests,
            retries: cost.retries - before.retries,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut session = mem::replace(&mut self.session, self.client.idle_session());
        session.put_aside();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
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

    fn turns(sessions: usize, streams: usize) -> Turns {
        let config = bronto_client::ClientConfig::new("token".into());
        Turns::new(Client::new(config).unwrap(), sessions, streams)
    }

    #[tokio::test]
    async fn nobody_gets_a_second_turn_before_all_had_their_first() {
        let turns = turns(2, 3);
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
    #[test]
    fn what_is_left_is_shared_out_among_the_streams_that_are_left() {
        assert_eq!([turns(1, 5), turns(1, 1)].map(|turns| turns.share()), [1, 1]);
        assert_eq!([turns(4, 5), turns(4, 3), turns(4, 1)].map(|turns| turns.share()), [2, 2, 4]);
        let turns = turns(16, 1);
        (0..4).for_each(|_| turns.begin());
        assert_eq!(turns.share(), 5);
        (0..4).for_each(|_| turns.end());
        assert_eq!(turns.share(), 16);
    }
}
