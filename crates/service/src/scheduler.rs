//! The scheduler: makes due slots into runs, takes runs from workers that disappeared, and has due runs worked on.
//!
//! A tick is told what time it is and does what that time asks for; [`Scheduler::run`] ticks by a clock that it is given.
//! Several schedulers may share one store: each decision is written by one of them.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::{select, sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    run::Run,
    store::{Store, StoreError},
};

/// How soon a tick that failed is repeated.
const AFTER_FAILURE: TimeDelta = TimeDelta::seconds(5);

/// Has runs worked on, here or elsewhere.
#[async_trait]
pub trait Dispatch: Send + Sync {
    /// Hears of a run that is due. It may be told of one several times, and may lose one: who works on it is decided by
    /// [`Store::claim`], and a run that nobody claimed is offered again.
    async fn dispatch(&self, run: &Run);
}

#[async_trait]
impl<D: Dispatch + ?Sized> Dispatch for &D {
    async fn dispatch(&self, run: &Run) {
        (**self).dispatch(run).await;
    }
}

/// What the scheduler allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedulerLimits {
    /// How long a run may take; then it is asked to stop, and the next slot tries again.
    pub run_time: TimeDelta,
    /// How many due runs are offered at once.
    pub offers: u32,
    /// The longest that the scheduler may be left alone, for what others do: manual starts, edits, workers that vanish.
    pub longest_sleep: TimeDelta,
}

impl Default for SchedulerLimits {
    fn default() -> Self {
        Self { run_time: TimeDelta::hours(24), offers: 100, longest_sleep: TimeDelta::seconds(10) }
    }
}

/// What a scheduler did at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The runs that it began.
    pub begun: Vec<String>,
    /// The runs that it took from workers that disappeared.
    pub recovered: Vec<String>,
    /// When it wants to be called again, at the latest.
    pub next: DateTime<Utc>,
}

/// The scheduler.
#[derive(Debug)]
pub struct Scheduler<'s, D> {
    store: &'s Store,
    dispatch: D,
    limits: SchedulerLimits,
    is_dead: fn(&str) -> bool,
    wake: Arc<Notify>,
}

impl<'s, D: Dispatch> Scheduler<'s, D> {
    /// A scheduler over a store.
    pub fn new(store: &'s Store, dispatch: D, limits: SchedulerLimits) -> Self {
        Self { store, dispatch, limits, is_dead: |_| false, wake: Arc::default() }
    }

    /// The same with a way to tell by its name that a worker is dead: its lease is not waited for.
    #[must_use]
    pub fn telling_the_dead(self, is_dead: fn(&str) -> bool) -> Self {
        Self { is_dead, ..self }
    }

    /// Ticks whenever it is time, until it is told to stop; then it ends between two ticks. A store that can't be reached
    /// is tried again.
    pub async fn run(&self, clock: impl Fn() -> DateTime<Utc>, stop: &CancellationToken) {
        loop {
            let now = clock();
            let next = match self.tick(now).await {
                Ok(tick) => tick.next,
                Err(error) => {
                    let (error, remedy) = (&error as &dyn std::error::Error, error.remedy());
                    tracing::error!(error, remedy, "The scheduler can't use the control store");
                    now + AFTER_FAILURE
                }
            };
            let pause = (next - clock()).max(TimeDelta::milliseconds(10));
            select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = sleep(pause.to_std().unwrap_or_default()) => {}
            }
        }
    }

    /// Has [`Scheduler::run`] tick at once, for something that was done by hand.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// The same for those who outlive it.
    pub fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let wake = Arc::clone(&self.wake);
        Arc::new(move || wake.notify_one())
    }

    /// Does all that an instant asks for. An integration that fails is logged and passed over, and the first error
    /// answered when all have had their turn; what was done stays, and calling it again does the rest.
    ///
    /// # Errors
    /// When the store can't be read or changed.
    pub async fn tick(&self, now: DateTime<Utc>) -> Result<Tick, StoreError> {
        let recovered = self.store.recover(now, self.is_dead).await?;
        self.store.stop_overdue(self.limits.run_time, now).await?;
        let mut next = now + self.limits.longest_sleep;
        let mut begun = Vec::new();
        // One integration that fails keeps no other from its runs.
        let mut failure = None;
        for scheduled in self.store.scheduled(now).await? {
            let scheduled = match scheduled {
                Ok(scheduled) => scheduled,
                Err(error) => {
                    failure.get_or_insert(error);
                    continue;
                }
            };
            let decision = scheduled.situation.decide(&scheduled.schedule);
            next = decision.next.map_or(next, |slot| slot.min(next));
            // An instant at which no slot was due leaves no trace: nothing is written all day long.
            if decision.start.is_some() || !decision.passed.is_empty() {
                match self.store.record_decision(&scheduled, &decision).await {
                    Ok(run_id) => begun.extend(run_id),
                    Err(error) => {
                        let integration_id = &scheduled.integration_id;
                        tracing::error!(integration_id, %error, "A decision can't be written");
                        failure.get_or_insert(error);
                    }
                }
            }
        }
        for run in self.store.due_runs(self.limits.offers).await? {
            self.dispatch.dispatch(&run).await;
        }
        failure.map_or(Ok(Tick { begun, recovered, next }), Err)
    }
}
