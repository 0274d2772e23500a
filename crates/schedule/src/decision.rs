//! What a scheduler has to do at an instant: which slot to start, and which ones passed without a start.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{History, Schedule};

/// How late a slot may still be started. It is the shortest distance between two slots, so at most one is ever late;
/// what is older was missed. A scheduler that is busy or restarted within a minute therefore loses nothing.
pub const GRACE: TimeDelta = TimeDelta::minutes(1);

/// All that decides about an integration at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// When the integration was made.
    pub created_at: DateTime<Utc>,
    /// The run that was begun last, if there was one.
    pub last_run: Option<LastRun>,
    /// Up to when, inclusive, slots have been decided about: by an earlier decision, or because the integration was made,
    /// resumed, or given another schedule then.
    pub decided_until: DateTime<Utc>,
    /// The instant.
    pub now: DateTime<Utc>,
}

/// The run that was begun last, by its schedule or by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRun {
    /// Its slot, or its start if it was begun by hand. A frequency counts from here.
    pub slot: DateTime<Utc>,
    /// When it was begun.
    pub started_at: DateTime<Utc>,
    /// When it ended; none while it lives.
    pub ended_at: Option<DateTime<Utc>>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The slot to start.
    pub start: Option<DateTime<Utc>>,
    /// Slots that passed without a start: those that were missed, then those that were skipped.
    pub passed: Vec<Passed>,
    /// The first slot after the instant.
    pub next: Option<DateTime<Utc>>,
}

/// Slots that passed without a start, for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// Why.
    pub why: Why,
    /// The first of them.
    pub first: DateTime<Utc>,
    /// The last of them.
    pub last: DateTime<Utc>,
    /// How many.
    pub count: u64,
}

/// Why a slot passed without a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// Nobody was there to start it.
    Missed,
    /// A run was alive. One that ends exactly at the slot is not.
    Skipped,
}

impl Situation {
    /// Decides about all slots up to `now`.
    ///
    /// - A slot at which a run lived is skipped: not queued, and not started late.
    /// - A slot that is older than [`GRACE`] was missed, and is not made good; unless the schedule catches up: then the
    ///   last that was missed is started, and one run replicates what all of them would have.
    /// - The first run of a frequency stays due until it is begun; without it nothing could be counted.
    #[must_use]
    pub fn decide(&self, schedule: &Schedule) -> Decision {
        let history =
            History { created_at: self.created_at, last_start: self.last_run.map(|run| run.slot) };
        if self.last_run.is_none()
            && schedule.counts_from_last_start()
            && self.created_at <= self.now
        {
            let start = Some(self.created_at);
            let history = History { last_start: start, ..history };
            return Decision {
                start,
                passed: Vec::new(),
                next: schedule.next_after(self.now, &history),
            };
        }
        let (mut start, mut missed, mut skipped) = (None, None, None);
        // The last slot that was missed, which may yet be made good.
        let mut last_missed = None;
        let mut next = schedule.next_after(self.decided_until, &history);
        while let Some(slot) = next.filter(|slot| *slot <= self.now) {
            let is_late = self.now - slot >= GRACE;
            if self.was_busy(slot) || (self.is_busy() && !is_late) {
                // The run that lived has made good what was missed before.
                last_missed
                    .take()
                    .into_iter()
                    .for_each(|slot| count(&mut missed, Why::Missed, slot));
                count(&mut skipped, Why::Skipped, slot);
            } else if is_late {
                last_missed
                    .replace(slot)
                    .into_iter()
                    .for_each(|slot| count(&mut missed, Why::Missed, slot));
            } else {
                start = Some(slot);
            }
            next = schedule.next_after(slot, &history);
        }
        // Whatever was begun since has caught up already.
        let began_before = |slot| self.last_run.is_none_or(|run| run.started_at < slot);
        if schedule.catches_up()
            && start.is_none()
            && !self.is_busy()
            && last_missed.is_some_and(began_before)
        {
            start = last_missed.take();
        }
        last_missed.into_iter().for_each(|slot| count(&mut missed, Why::Missed, slot));
        Decision { start, passed: missed.into_iter().chain(skipped).collect(), next }
    }

    fn is_busy(&self) -> bool {
        self.last_run.is_some_and(|run| run.ended_at.is_none())
    }

    fn was_busy(&self, slot: DateTime<Utc>) -> bool {
        self.last_run.is_some_and(|run| {
            run.started_at <= slot && run.ended_at.is_none_or(|ended_at| slot < ended_at)
        })
    }
}

fn count(passed: &mut Option<Passed>, why: Why, slot: DateTime<Utc>) {
    match passed {
        Some(passed) => {
            passed.last = slot;
            passed.count += 1;
        }
        None => *passed = Some(Passed { why, first: slot, last: slot, count: 1 }),
    }
}
