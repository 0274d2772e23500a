//! Who may have a session: the setting `concurrency` bounds the sessions of the whole extraction.

use std::{
    cmp::Reverse,
    collections::BTreeSet,
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bronto_client::{Client, Session, SessionCost};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::streams::BrontoStream;

/// The sessions that may be open at once. Every stream gets its first before any gets a second, and then the stream comes
/// first whose workers have most left to do, since the extraction ends with the last of them.
#[derive(Debug)]
pub(crate) struct Turns {
    sessions: usize,
    free: Arc<Semaphore>,
    client: Client,
    /// Sessions that were given back. They belong to no stream, and spare the next one its login.
    idle: Arc<Mutex<Vec<Session>>>,
    /// How many streams are being read.
    open: AtomicUsize,
    /// Those who wait for a turn; streams that have not had their first are among them from the beginning.
    wishes: watch::Sender<BTreeSet<Wish>>,
    /// How many have waited for a further one.
    wished: AtomicUsize,
}

/// Somebody waits for a turn. The greatest wish comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    /// A further one.
    Further {
        /// What is left for each worker that there is.
        left: u64,
        /// Of equal wishes the older one comes first.
        number: Reverse<usize>,
    },
    /// A stream's first. Streams that take long come before others.
    First(Reverse<BrontoStream>),
}

/// A wish for a further turn, for as long as it is waited for.
struct Wishing<'turns>(&'turns Turns, Wish);

impl Drop for Wishing<'_> {
    fn drop(&mut self) {
        self.0.fulfil(self.1);
    }
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
    /// For these streams, each of which is to ask for its first turn.
    pub(crate) fn new(
        client: Client,
        sessions: usize,
        streams: impl Iterator<Item = BrontoStream>,
    ) -> Self {
        let first = streams.map(|stream| Wish::First(Reverse(stream))).collect();
        Self {
            sessions,
            free: Arc::new(Semaphore::new(sessions)),
            client,
            idle: Arc::default(),
            open: AtomicUsize::new(0),
            wishes: watch::Sender::new(first),
            wished: AtomicUsize::new(0),
        }
    }

    /// A stream's first turn; whoever stops waiting for it holds nobody up.
    pub(crate) fn first(&self, stream: BrontoStream) -> impl Future<Output = Turn> {
        let wishing = self.wish(Wish::First(Reverse(stream)));
        async move {
            // All of it, so that it stands until the wait is over.
            let wishing = wishing;
            wishing.0.wait(wishing.1).await
        }
    }

    /// A further turn, when no stream waits for its first, and none that has more left for each of its workers waits for a
    /// further one.
    pub(crate) async fn further(&self, left: u64) -> Turn {
        let wish =
            Wish::Further { left, number: Reverse(self.wished.fetch_add(1, Ordering::Relaxed)) };
        let _wishing = self.wish(wish);
        self.wait(wish).await
    }

    /// Lets a wish stand for as long as what is returned.
    fn wish(&self, wish: Wish) -> Wishing<'_> {
        self.wishes.send_modify(|wishes| {
            wishes.insert(wish);
        });
        Wishing(self, wish)
    }

    /// A turn, when nobody has a greater wish.
    async fn wait(&self, wish: Wish) -> Turn {
        const ALIVE: &str = "the sender lives as long as self";
        let mut wishes = self.wishes.subscribe();
        loop {
            wishes.wait_for(|wishes| wishes.last() == Some(&wish)).await.expect(ALIVE);
            tokio::select! {
                biased;
                changed = wishes.changed() => changed.expect(ALIVE),
                turn = self.any() => return turn,
            }
        }
    }

    fn fulfil(&self, wish: Wish) {
        self.wishes.send_modify(|wishes| {
            wishes.remove(&wish);
        });
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
        let waiting =
            self.wishes.borrow().iter().filter(|wish| matches!(wish, Wish::First(_))).count();
        let streams = waiting + self.open.load(Ordering::Relaxed);
        (self.sessions * 3).div_ceil(streams.max(1) * 2).clamp(1, self.sessions)
    }

    /// Whether a session is free that nobody has asked for.
    pub(crate) fn has_idle(&self) -> bool {
        self.free.available_permits() > 0
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
        let streams = BrontoStream::ALL.into_iter().take(streams);
        Turns::new(Client::new(config).unwrap(), sessions, streams)
    }

    #[tokio::test]
    async fn nobody_gets_a_second_turn_before_all_had_their_first() {
        let turns = turns(2, 3);
        let first = |nth: usize| turns.first(BrontoStream::ALL[nth]);
        assert!(now(first(1)).await.is_none(), "one that takes longer comes before it");
        let contacts = first(0).await;
        assert!(now(turns.further(1)).await.is_none());
        let second = first(1).await;
        assert!(now(first(2)).await.is_none());
        drop(contacts);
        let third = now(first(2)).await.unwrap();
        assert!(now(turns.further(1)).await.is_none());
        drop((second, third));
        let further = (turns.further(1).await, turns.further(1).await);
        assert!(now(turns.further(1)).await.is_none());
        drop(further);
    }

    #[tokio::test]
    async fn a_further_turn_is_for_those_who_have_most_left() {
        let turns = turns(1, 1);
        let first = turns.first(BrontoStream::ALL[0]).await;
        let (mut less, mut more) = (Box::pin(turns.further(1)), Box::pin(turns.further(2)));
        assert!(now(&mut less).await.is_none());
        assert!(now(&mut more).await.is_none());
        drop(first);
        assert!(now(&mut less).await.is_none(), "another has more left");
        let turn = now(&mut more).await.unwrap();
        assert!(now(&mut less).await.is_none());
        drop(turn);
        assert!(now(&mut less).await.is_some());
        // Whoever no longer waits holds nobody up.
        let mut more = Box::pin(turns.further(2));
        let held = turns.any().await;
        assert!(now(&mut more).await.is_none());
        drop((more, held));
        assert!(now(turns.further(1)).await.is_some());
        // Of equal ones the older comes first.
        let held = turns.any().await;
        let (mut older, mut newer) = (Box::pin(turns.further(1)), Box::pin(turns.further(1)));
        assert!(now(&mut older).await.is_none());
        assert!(now(&mut newer).await.is_none());
        drop(held);
        assert!(now(&mut newer).await.is_none());
        assert!(now(&mut older).await.is_some());
    }

    #[tokio::test]
    async fn a_first_turn_that_is_no_longer_waited_for_holds_nobody_up() {
        let turns = turns(1, 2);
        let first = turns.first(BrontoStream::ALL[0]).await;
        // Not even if nobody ever asked.
        drop(turns.first(BrontoStream::ALL[1]));
        drop(first);
        assert!(now(turns.further(1)).await.is_some());
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
