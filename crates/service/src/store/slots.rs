//! Slots: what the scheduler decided about each, and the runs it began. A decision is written only where nobody else has
//! decided since, so two schedulers on one store start nothing twice.

use chrono::{DateTime, Utc};
use schedule::{Decision, LastRun, Passed, Schedule, Situation, Why};

use super::{
    Store, StoreError,
    database::{Row, Transaction, values},
    first,
    integrations::{by_id, parse_schedule},
    new_id,
    runs::{self, Begin},
};
use crate::{
    run::{SlotOutcome, SlotRecord, StartedBy},
    task::Task,
};

/// An integration that a scheduler looks after.
#[derive(Debug, Clone)]
pub(crate) struct Scheduled {
    pub(crate) integration_id: String,
    pub(crate) schedule: Schedule,
    /// All that decides, as of now.
    pub(crate) situation: Situation,
}

/// What came of a manual start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A run is due.
    Begun {
        /// Its id.
        run_id: String,
    },
    /// A run of the integration is alive; stop it first.
    AlreadyRunning {
        /// Its id.
        run_id: String,
    },
}

impl Store {
    /// The integrations that have a schedule and are neither paused nor deleted, with what decides about them. One that
    /// can't be read is an error of its own, and keeps no other from running.
    pub(crate) async fn scheduled(
        &self,
        now: DateTime<Utc>,
    ) -> Result<Vec<Result<Scheduled, StoreError>>, StoreError> {
        let sql = "select i.id, i.schedule, i.created_at, i.decided_until, r.slot, r.begun_at, r.ended_at \
                   from integrations i left join runs r on r.id = i.last_run_id \
                   where i.schedule is not null and i.paused_at is null and i.deleted_at is null order by i.id";
        let read = |mut row: Row| {
            let integration_id = row.text()?;
            let schedule = parse_schedule(&row.text()?).map_err(|error| {
                tracing::error!(integration_id, %error, "The schedule can't be read");
                error
            })?;
            let (created_at, decided_until) = (row.instant()?, row.instant()?);
            let last_run = match (row.optional_instant()?, row.optional_instant()?) {
                (Some(slot), Some(started_at)) => {
                    Some(LastRun { slot, started_at, ended_at: row.optional_instant()? })
                }
                _ => None,
            };
            let situation = Situation { created_at, last_run, decided_until, now };
            Ok(Scheduled { integration_id, schedule, situation })
        };
        self.read(sql, values![], |row| Ok(read(row))).await
    }

    /// Writes a decision down, if nobody else has decided in the meantime, and begins the run that it starts. Answers the
    /// run's id.
    pub(crate) async fn record_decision(
        &self,
        scheduled: &Scheduled,
        decision: &Decision,
    ) -> Result<Option<String>, StoreError> {
        let Situation { now, decided_until, .. } = scheduled.situation;
        let integration_id = &scheduled.integration_id;
        let mut transaction = self.database.begin().await?;
        let decide = "update integrations set decided_until = $1 where id = $2 and decided_until = $3 \
                      and paused_at is null and deleted_at is null";
        if transaction.change(decide, values![now, integration_id, decided_until]).await? == 0 {
            transaction.commit().await?;
            return Ok(None);
        }
        for passed in &decision.passed {
            record_passed(transaction.as_mut(), integration_id, passed, now).await?;
        }
        let mut begun = None;
        if let Some(slot) = decision.start {
            let id = new_id();
            let started_by = StartedBy::Schedule;
            if runs::begin(
                transaction.as_mut(),
                &Begin { id: &id, integration_id, slot, started_by, task: None, now },
            )
            .await?
            {
                let started = (SlotOutcome::Started, slot, slot, 1);
                record(transaction.as_mut(), integration_id, started, Some(&id), now).await?;
                begun = Some(id);
            } else {
                // A run was begun by hand since the situation was read.
                let skipped = (SlotOutcome::Skipped, slot, slot, 1);
                record(transaction.as_mut(), integration_id, skipped, None, now).await?;
            }
        }
        transaction.commit().await?;
        Ok(begun)
    }

    /// Starts a run by hand, also of an integration that is paused, which stays so.
    ///
    /// # Errors
    /// When there is no such integration.
    pub async fn start_by_hand(
        &self,
        integration_id: &str,
        now: DateTime<Utc>,
    ) -> Result<Start, StoreError> {
        self.start_task(integration_id, None, now).await
    }

    /// Makes a run due now, as [`Store::start_by_hand`], for a task if there is one.
    ///
    /// # Errors
    /// When there is no such integration.
    pub async fn start_task(
        &self,
        integration_id: &str,
        task: Option<&Task>,
        now: DateTime<Utc>,
    ) -> Result<Start, StoreError> {
        let mut transaction = self.database.begin().await?;
        // Takes the integration's row first, as decisions and deletions do: none of them waits for another in a circle, and
        // none comes in between.
        let lock = "update integrations set last_run_id = last_run_id where id = $1 and deleted_at is null";
        if transaction.change(lock, values![integration_id]).await? == 0 {
            return Err(super::integrations::not_found(integration_id));
        }
        let integration = by_id(transaction.as_mut(), integration_id).await?;
        let (id, started_by) = (new_id(), StartedBy::Hand);
        // A slot of the schedule may have been started in this very millisecond, and have ended.
        let taken = "select max(slot) from runs where integration_id = $1 and slot >= $2";
        let row = first(transaction.as_mut(), taken, values![integration_id, now]).await?;
        let taken = row.map_or(Ok(None), |mut row| row.optional_instant())?;
        let slot = taken.map_or(now, |taken| taken + chrono::TimeDelta::milliseconds(1));
        let new = Begin { id: &id, integration_id, slot, started_by, task, now };
        if runs::begin(transaction.as_mut(), &new).await? {
            transaction.commit().await?;
            return Ok(Start::Begun { run_id: id });
        }
        let alive = "select id from runs where integration_id = $1 and ended_at is null";
        let row = first(transaction.as_mut(), alive, values![integration_id]).await?;
        let run_id = row
            .ok_or_else(|| StoreError::Changed { what: "integration", name: integration.name })?
            .text()?;
        transaction.commit().await?;
        Ok(Start::AlreadyRunning { run_id })
    }

    /// What became of the slots of an integration, the last first, at most so many; those before an instant if one is
    /// given.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn slots(
        &self,
        integration_id: &str,
        before: Option<DateTime<Utc>>,
        limit: u32,
    ) -> Result<Vec<SlotRecord>, StoreError> {
        let before = before.map_or(i64::MAX, |before| before.timestamp_millis());
        let sql = "select slot, first_slot, slot_count, outcome, run_id from slots \
                   where integration_id = $1 and slot < $2 order by slot desc limit $3";
        let read = |mut row: Row| {
            Ok(SlotRecord {
                slot: row.instant()?,
                first_slot: row.instant()?,
                count: row.count()?,
                outcome: row.named(SlotOutcome::named)?,
                run_id: row.optional_text()?,
            })
        };
        self.read(sql, values![integration_id, before, limit], read).await
    }
}

async fn record_passed(
    transaction: &mut dyn Transaction,
    integration_id: &str,
    passed: &Passed,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let outcome = match passed.why {
        Why::Missed => SlotOutcome::Missed,
        Why::Skipped => SlotOutcome::Skipped,
    };
    let slots = (outcome, passed.first, passed.last, passed.count);
    record(transaction, integration_id, slots, None, now).await
}

async fn record(
    transaction: &mut dyn Transaction,
    integration_id: &str,
    (outcome, first_slot, slot, count): (SlotOutcome, DateTime<Utc>, DateTime<Utc>, u64),
    run_id: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let insert = "insert into slots (integration_id, slot, outcome, run_id, first_slot, slot_count, recorded_at) \
                  values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing";
    let values = values![integration_id, slot, outcome.name(), run_id, first_slot, count, now];
    transaction.change(insert, values).await?;
    Ok(())
}
