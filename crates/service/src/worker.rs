//! Workers in this process: they claim the runs that they are offered, work on several at once, and keep their leases.
//!
//! What a run does is behind [`Execute`]. It reports that it lives by its progress; each report renews the lease, at most
//! a few times per lease. A run that reports nothing loses its lease, whatever hangs: then another attempt is made, and
//! what the former still does counts for nothing here, and can't be committed there.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::{
    select,
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use crate::{
    run::{Claim, Progress, Renewal, Run, RunError, RunState, StopReason},
    scheduler::Dispatch,
    store::{Store, StoreError},
};

/// Renewals per lease, at most: more would only write.
const RENEWALS_PER_LEASE: i32 = 12;

/// How soon the end of a run is written again that could not be.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// How a run ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All was replicated.
    Complete,
    /// It was asked to stop, and has; what it extracted is loaded.
    Interrupted,
}

/// Does what a run is for.
#[async_trait]
pub trait Execute: Send + Sync + 'static {
    /// Replicates, reports progress, and ends early without losing anything when it is asked to stop. When the claim is
    /// lost it is dropped in the middle.
    ///
    /// # Errors
    /// When the run failed.
    async fn execute(&self, run: &Run, reports: Reports) -> Result<Ending, RunError>;
}

/// How a run tells of itself, and hears that it is to stop.
#[derive(Debug)]
pub struct Reports {
    progress: watch::Sender<Progress>,
    stop: CancellationToken,
    store: Arc<Store>,
    claim: Claim,
}

impl Reports {
    /// Changes what is known of the run's progress, and shows that it lives.
    pub fn progress(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }

    /// Records the token that the destination gave.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn destination_token(&self, token: i64) -> Result<bool, StoreError> {
        self.store.record_token(&self.claim, token).await
    }

    /// Stores what the run has found out.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn report(&self, report: &serde_json::Value) -> Result<bool, StoreError> {
        self.store.record_report(&self.claim, report).await
    }

    /// Is cancelled when the run is to stop at the next point where nothing is lost.
    #[must_use]
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }
}

/// How workers go about it.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The workers' name in the ledger.
    pub name: String,
    /// How many runs are worked on at once.
    pub concurrency: usize,
    /// How long a run is believed to live after its last report.
    pub lease: TimeDelta,
}

/// Workers in this process.
pub struct LocalWorkers<E> {
    shared: Arc<Shared<E>>,
    free: Arc<Semaphore>,
    tasks: TaskTracker,
}

struct Shared<E> {
    store: Arc<Store>,
    execute: E,
    clock: Clock,
    options: WorkerOptions,
    /// Cancelled when the process is to end.
    drain: CancellationToken,
}

impl<E: Execute> LocalWorkers<E> {
    /// Workers over a store.
    pub fn new(store: Arc<Store>, execute: E, clock: Clock, options: WorkerOptions) -> Self {
        let free = Arc::new(Semaphore::new(options.concurrency));
        let drain = CancellationToken::new();
        let shared = Arc::new(Shared { store, execute, clock, options, drain });
        Self { shared, free, tasks: TaskTracker::new() }
    }

    /// Takes no more runs, asks those that are worked on to stop, and waits for them, not longer than a deadline. They are
    /// due again at once, for the next process. Answers whether all have stopped; those that have not are due again when
    /// their leases lapse.
    pub async fn drain(&self, deadline: Duration) -> bool {
        self.free.close();
        self.shared.drain.cancel();
        self.tasks.close();
        timeout(deadline, self.tasks.wait()).await.is_ok()
    }
}

#[async_trait]
impl<E: Execute> Dispatch for LocalWorkers<E> {
    async fn dispatch(&self, run: &Run) {
        // Nobody is free: the run is offered again.
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else { return };
        let shared = Arc::clone(&self.shared);
        let run = run.clone();
        self.tasks.spawn(async move {
            if let Err(error) = shared.work(&run).await {
                let (remedy, error) = (error.remedy(), &error as &dyn std::error::Error);
                tracing::error!(
                    error,
                    remedy,
                    run_id = run.id,
                    "A run's state could not be stored"
                );
            }
            drop(permit);
        });
    }
}

impl<E: Execute> Shared<E> {
    /// Claims a run, works on it, and ends it.
    async fn work(self: &Arc<Self>, run: &Run) -> Result<(), StoreError> {
        let WorkerOptions { name, lease, .. } = &self.options;
        let Some(claim) = self.store.claim(&run.id, name, *lease, (self.clock)()).await? else {
            return Ok(());
        };
        let (progress, mut reported) = watch::channel(Progress::default());
        let stop = self.drain.child_token();
        let (store, claim_of_reports) = (Arc::clone(&self.store), claim.clone());
        let reports = Reports { progress, stop: stop.clone(), store, claim: claim_of_reports };
        let mut stopped_by = None;
        // A task of its own: were it polled here, it would stand still while the lease is renewed, perhaps with the very
        // lock that the renewal waits for. It ends with this one.
        let (shared, its_run) = (Arc::clone(self), run.clone());
        let mut work = AbortOnDropHandle::new(tokio::spawn(async move {
            shared.execute.execute(&its_run, reports).await
        }));
        // When the lease was renewed, when the ledger was last asked, and whether there is a report that it lacks.
        let mut renewed_at = (self.clock)();
        let mut asked_at = renewed_at;
        let mut is_pending = false;
        let result = loop {
            let lease_end = renewed_at + *lease;
            let wake_at = (asked_at + *lease / RENEWALS_PER_LEASE).min(lease_end);
            let pause = (wake_at - (self.clock)()).max(TimeDelta::zero());
            select! {
                result = &mut work => break result.unwrap_or_else(|_| Err(unexpected("The run broke off"))),
                Ok(()) = reported.changed() => is_pending = true,
                () = sleep(pause.to_std().unwrap_or_default()) => {}
            }
            let now = (self.clock)();
            if !is_pending && now >= lease_end {
                tracing::warn!(
                    run_id = run.id,
                    "The run has reported nothing for too long, and is dropped"
                );
                return Ok(());
            }
            if now < lease_end && now - asked_at < *lease / RENEWALS_PER_LEASE {
                continue;
            }
            asked_at = now;
            // Only a report renews the lease; whether to stop is heard without one.
            let answer = if is_pending {
                let progress = reported.borrow().clone();
                self.store.renew(&claim, &progress, *lease, now).await
            } else {
                self.store.look(&claim).await
            };
            match answer {
                Ok(Renewal::Lost) => {
                    tracing::warn!(run_id = run.id, "The run was taken by another worker");
                    return Ok(());
                }
                Ok(held) => {
                    if std::mem::take(&mut is_pending) {
                        renewed_at = now;
                    }
                    if let Renewal::Stop(reason) = held {
                        stopped_by = Some(reason);
                        stop.cancel();
                    }
                }
                Err(error) if now >= lease_end => return Err(error),
                // The lease may outlast it.
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, run_id = run.id, "The lease could not be looked after");
                }
            }
        };
        let progress = reported.borrow().clone();
        let now = (self.clock)();
        // What was reported last is kept, and the last word of a stop heard.
        let renew = || self.store.renew(&claim, &progress, *lease, now);
        match insist(&self.clock, renewed_at + *lease, renew).await? {
            Renewal::Stop(reason) => stopped_by = Some(reason),
            Renewal::Held => {}
            Renewal::Lost => return Ok(()),
        }
        let lease_end = now + *lease;
        let (state, error) = match (result, stopped_by) {
            (Err(error), _) => (RunState::Failed, Some(error)),
            (Ok(Ending::Complete), _) => (RunState::Succeeded, None),
            (Ok(Ending::Interrupted), Some(StopReason::TimeLimit)) => (RunState::TimedOut, None),
            (Ok(Ending::Interrupted), Some(StopReason::Hand)) => (RunState::Stopped, None),
            // Nobody wants the run to stop but this process, which ends: another goes on with it.
            (Ok(Ending::Interrupted), None) if self.drain.is_cancelled() => {
                let release = || self.store.release(&claim);
                return insist(&self.clock, lease_end, release).await.map(drop);
            }
            (Ok(Ending::Interrupted), None) => {
                (RunState::Failed, Some(unexpected("The run stopped though nobody asked it to")))
            }
        };
        let finish = || self.store.finish(&claim, state, error.as_ref(), now);
        insist(&self.clock, lease_end, finish).await.map(drop)
    }
}

/// Repeats a call while it fails for a reason that may pass, until the lease ends: the run's work is done, and would be
/// done again if its end could not be written.
async fn insist<T, F: Future<Output = Result<T, StoreError>>>(
    clock: &Clock,
    until: DateTime<Utc>,
    call: impl Fn() -> F,
) -> Result<T, StoreError> {
    loop {
        match call().await {
            Err(error) if error.is_retriable() && clock() < until => {
                warn_of_end(&error);
                sleep(AFTER_FAILURE).await;
            }
            result => return result,
        }
    }
}

fn warn_of_end(error: &StoreError) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, "The end of a run could not be written, and is tried again");
}

/// The error of a run that ended by a defect of ours.
fn unexpected(message: &str) -> RunError {
    RunError {
        code: "unexpected".to_owned(),
        message: message.to_owned(),
        remedy: "This is a defect of Backstitch: report it with the log of the service".to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use std::{cell::Cell, future::ready};

    use super::*;

    /// Calls that fail so often, until a lease of half a minute ends. Answers how they end, and how many were made.
    async fn insisted(failures: u32, error: fn() -> StoreError) -> (bool, u32) {
        let begun = tokio::time::Instant::now();
        let told = move || DateTime::UNIX_EPOCH + TimeDelta::from_std(begun.elapsed()).unwrap();
        let (clock, calls): (Clock, _) = (Arc::new(told), Cell::new(0));
        let call = || {
            calls.set(calls.get() + 1);
            ready(if calls.get() > failures { Ok(()) } else { Err(error()) })
        };
        let until = DateTime::UNIX_EPOCH + TimeDelta::seconds(30);
        (insist(&clock, until, call).await.is_ok(), calls.get())
    }

    fn passes() -> StoreError {
        StoreError::Unavailable { place: "here".to_owned(), cause: "it restarts".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_run_is_written_again_while_the_lease_lasts() {
        assert_eq!(insisted(5, passes).await, (true, 6));
        assert_eq!(insisted(u32::MAX, passes).await, (false, 31));
        assert_eq!(
            insisted(5, || StoreError::Corrupt { what: "a run".to_owned() }).await,
            (false, 1)
        );
    }
}
