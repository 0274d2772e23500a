//! The ledger of runs: claimed by compare-and-set, kept by leases, ended once.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value as Json;

use super::{
    Store, StoreError,
    database::{Row, Transaction, Value, values},
    first,
    logs::bounded,
};
use crate::{
    run::{
        Claim, LogSize, MOST_LAPSES, Progress, Renewal, Run, RunError, RunState, StartedBy,
        StopReason,
    },
    task::Task,
};

const WHAT: &str = "run";

/// The error of a run whose workers disappeared: code, message and remedy.
const LOST: [&str; 3] =
    ["lost", "The worker disappeared", "Look at the log of the service for why its process ended"];

/// The columns in the order in which [`run`] reads them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select id, integration_id, slot, started_by, state, begun_at, attempt, lapses, worker, lease_expires_at, claimed_at, \
             stop_reason, destination_token, progress, ended_at, error_code, error_message, error_remedy, log_lines, \
             log_bytes, log_lines_dropped, task, cast(case when report is null then 0 else 1 end as bigint) from runs ",
            $rest
        )
    };
}

/// A place in a list of runs: after this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunCursor {
    /// When the run was begun.
    pub begun_at: DateTime<Utc>,
    /// Its id.
    pub run_id: String,
}

/// What the store holds, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Integrations that are not deleted.
    pub integrations: u64,
    /// Those of them that are paused.
    pub paused: u64,
    /// Runs that wait for a worker.
    pub runs_due: u64,
    /// Runs that a worker has.
    pub runs_running: u64,
    /// Integrations whose last run ended otherwise than it should.
    pub last_run_bad: u64,
}

impl Store {
    /// A run by its id.
    ///
    /// # Errors
    /// When there is none.
    pub async fn run(&self, id: &str) -> Result<Run, StoreError> {
        let found = self.read(select!("where id = $1"), values![id], run).await?;
        found.into_iter().next().ok_or_else(|| not_found(id))
    }

    /// The run of an integration that was begun last, if there was one.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn last_run(&self, integration_id: &str) -> Result<Option<Run>, StoreError> {
        let sql = select!("where id = (select last_run_id from integrations where id = $1)");
        Ok(self.read(sql, values![integration_id], run).await?.into_iter().next())
    }

    /// Runs of an integration, the last first, at most so many; those before an instant if one is given.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn runs(
        &self,
        integration_id: &str,
        before: Option<DateTime<Utc>>,
        limit: u32,
    ) -> Result<Vec<Run>, StoreError> {
        let sql = select!(
            "where integration_id = $1 and begun_at < $2 order by begun_at desc, id desc limit $3"
        );
        let before = before.map_or(i64::MAX, |before| before.timestamp_millis());
        self.read(sql, values![integration_id, before, limit], run).await
    }

    /// Runs of an integration, or of all, the last first, at most so many: those in a state, and those after a place in
    /// the list, if they are given.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn run_page(
        &self,
        integration_id: Option<&str>,
        state: Option<RunState>,
        after: Option<&RunCursor>,
        limit: u32,
    ) -> Result<Vec<Run>, StoreError> {
        let (at, id) = after.map_or((i64::MAX, ""), |cursor| {
            (cursor.begun_at.timestamp_millis(), cursor.run_id.as_str())
        });
        // Each has an index of its own.
        let (sql, values) = match (integration_id, state) {
            (None, None) => (
                select!(
                    "where begun_at <= $1 and (begun_at < $2 or id < $3) order by begun_at desc, id desc limit $4"
                ),
                values![at, at, id, limit],
            ),
            (None, Some(state)) => (
                select!(
                    "where state = $1 and begun_at <= $2 and (begun_at < $3 or id < $4) \
                     order by begun_at desc, id desc limit $5"
                ),
                values![state.name(), at, at, id, limit],
            ),
            (Some(integration_id), None) => (
                select!(
                    "where integration_id = $1 and begun_at <= $2 and (begun_at < $3 or id < $4) \
                     order by begun_at desc, id desc limit $5"
                ),
                values![integration_id, at, at, id, limit],
            ),
            (Some(integration_id), Some(state)) => (
                select!(
                    "where integration_id = $1 and begun_at <= $2 and (begun_at < $3 or id < $4) and state = $5 \
                     order by begun_at desc, id desc limit $6"
                ),
                values![integration_id, at, at, id, state.name(), limit],
            ),
        };
        self.read(sql, values, run).await
    }

    /// The last runs of the integrations that [`Store::integration_page`] answers, by integration; those that have one.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn last_runs(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<HashMap<String, Run>, StoreError> {
        let sql = select!(
            "where id in (select last_run_id from integrations where deleted_at is null and name > $1 \
             order by name limit $2)"
        );
        let runs = self.read(sql, values![after, limit], run).await?;
        Ok(runs.into_iter().map(|run| (run.integration_id.clone(), run)).collect())
    }

    /// What the store holds, in numbers.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn figures(&self) -> Result<Figures, StoreError> {
        let sql = "select count(*), \
                   cast(sum(case when paused_at is null then 0 else 1 end) as bigint), \
                   (select count(*) from runs where ended_at is null and state = 'due'), \
                   (select count(*) from runs where ended_at is null and state = 'running'), \
                   (select count(*) from runs r join integrations i on i.last_run_id = r.id \
                    where i.deleted_at is null and r.ended_at is not null and r.state <> 'succeeded') \
                   from integrations where deleted_at is null";
        let read = |mut row: Row| {
            let integrations = row.count()?;
            let paused = row.optional_integer()?.map_or(0, i64::unsigned_abs);
            let (runs_due, runs_running) = (row.count()?, row.count()?);
            let last_run_bad = row.count()?;
            Ok(Figures { integrations, paused, runs_due, runs_running, last_run_bad })
        };
        let found = self.read(sql, values![], read).await?;
        found.into_iter().next().ok_or_else(|| StoreError::corrupt("a sum"))
    }

    /// Runs that no worker has claimed yet, the oldest first.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn due_runs(&self, limit: u32) -> Result<Vec<Run>, StoreError> {
        let sql =
            select!("where ended_at is null and state = 'due' order by begun_at, id limit $1");
        self.read(sql, values![limit], run).await
    }

    /// Claims a run that is due. None if another worker was faster, or it is not due any more.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn claim(
        &self,
        run_id: &str,
        worker: &str,
        lease: TimeDelta,
        now: DateTime<Utc>,
    ) -> Result<Option<Claim>, StoreError> {
        let update = "update runs set state = 'running', worker = $1, attempt = attempt + 1, lease_expires_at = $2, \
                      claimed_at = $3 where id = $4 and state = 'due' and ended_at is null \
                      returning attempt";
        let claim = |mut row: Row| {
            let (run_id, worker) = (run_id.to_owned(), worker.to_owned());
            Ok(Claim { run_id, worker, attempt: row.integer()? })
        };
        let claims = self.read(update, values![worker, now + lease, now, run_id], claim).await?;
        Ok(claims.into_iter().next())
    }

    /// Renews a worker's lease, with what it has done since. A worker calls this when it has made progress, and not by a
    /// clock: one that hangs loses its run.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn renew(
        &self,
        claim: &Claim,
        progress: &Progress,
        lease: TimeDelta,
        now: DateTime<Utc>,
    ) -> Result<Renewal, StoreError> {
        let update = "update runs set lease_expires_at = $1, progress = $2 \
                      where id = $3 and state = 'running' and worker = $4 and attempt = $5 returning stop_reason";
        let progress = serde_json::json!(progress).to_string();
        let values = values![now + lease, progress, &claim.run_id, &claim.worker, claim.attempt];
        let renewals = self.read(update, values, renewal).await?;
        Ok(renewals.into_iter().next().unwrap_or(Renewal::Lost))
    }

    /// What a renewal would answer, without one: a worker that has made no progress still hears that it is to stop.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn look(&self, claim: &Claim) -> Result<Renewal, StoreError> {
        let sql = "select stop_reason from runs \
                   where id = $1 and state = 'running' and worker = $2 and attempt = $3";
        let values = values![&claim.run_id, &claim.worker, claim.attempt];
        let renewals = self.read(sql, values, renewal).await?;
        Ok(renewals.into_iter().next().unwrap_or(Renewal::Lost))
    }

    /// Records the token that the destination gave a run. False if the claim is lost.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn record_token(&self, claim: &Claim, token: i64) -> Result<bool, StoreError> {
        let update = "update runs set destination_token = $1 \
                      where id = $2 and state = 'running' and worker = $3 and attempt = $4";
        let values = values![token, &claim.run_id, &claim.worker, claim.attempt];
        Ok(self.change(update, values).await? == 1)
    }

    /// Stores what a run has found out. False if the claim is lost.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn record_report(&self, claim: &Claim, report: &Json) -> Result<bool, StoreError> {
        let update = "update runs set report = $1 \
                      where id = $2 and state = 'running' and worker = $3 and attempt = $4";
        let values = values![report.to_string(), &claim.run_id, &claim.worker, claim.attempt];
        Ok(self.change(update, values).await? == 1)
    }

    /// What a run has found out, if that is something.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn report(&self, run_id: &str) -> Result<Option<Json>, StoreError> {
        let sql = "select report from runs where id = $1 and report is not null";
        let found = self.read(sql, values![run_id], |mut row| row.json()).await?;
        Ok(found.into_iter().next())
    }

    /// Ends a run. False if the claim is lost: then nothing is changed.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn finish(
        &self,
        claim: &Claim,
        state: RunState,
        error: Option<&RunError>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        debug_assert!(state.is_end());
        let update = "update runs set state = $1, ended_at = $2, lease_expires_at = null, error_code = $3, \
                      error_message = $4, error_remedy = $5 \
                      where id = $6 and state = 'running' and worker = $7 and attempt = $8";
        let values = values![
            state.name(),
            now,
            error.map(|error| &error.code),
            error.map(|error| bounded(&error.message).into_owned()),
            error.map(|error| bounded(&error.remedy).into_owned()),
            &claim.run_id,
            &claim.worker,
            claim.attempt,
        ];
        Ok(self.change(update, values).await? == 1)
    }

    /// Gives a run back, to be begun again by whoever claims it next. False if the claim is lost.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn release(&self, claim: &Claim) -> Result<bool, StoreError> {
        let update = "update runs set state = 'due', worker = null, lease_expires_at = null \
                      where id = $1 and state = 'running' and worker = $2 and attempt = $3";
        let values = values![&claim.run_id, &claim.worker, claim.attempt];
        Ok(self.change(update, values).await? == 1)
    }

    /// Asks a run to stop. One that nobody has claimed ends at once; a worker hears of it when it renews its lease, and
    /// what it has extracted is loaded. False if the run is over.
    ///
    /// # Errors
    /// When there is no such run.
    pub async fn stop(
        &self,
        run_id: &str,
        reason: StopReason,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.database.begin().await?;
        let end = "update runs set state = 'stopped', ended_at = $1, stop_requested_at = $2, stop_reason = $3 \
                   where id = $4 and state = 'due'";
        let mut changed = transaction.change(end, values![now, now, reason.name(), run_id]).await?;
        if changed == 0 {
            let ask = "update runs set stop_requested_at = coalesce(stop_requested_at, $1), \
                       stop_reason = coalesce(stop_reason, $2) where id = $3 and ended_at is null";
            changed = transaction.change(ask, values![now, reason.name(), run_id]).await?;
        }
        let exists =
            first(transaction.as_mut(), "select id from runs where id = $1", values![run_id])
                .await?;
        exists.ok_or_else(|| not_found(run_id))?;
        transaction.commit().await?;
        Ok(changed == 1)
    }

    /// Takes the runs of workers whose lease has lapsed or who are known to be dead, and makes them due again; those whose
    /// workers disappeared [`MOST_LAPSES`] times are lost. Answers the runs that are due again. A run that was to stop ends.
    ///
    /// Beginning again is safe, because bookmarks and the right to write are the destination's: the next attempt goes on
    /// from the last commit, and the former worker can't commit any more.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn recover(
        &self,
        now: DateTime<Utc>,
        is_dead: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, StoreError> {
        let running = select!("where ended_at is null and state = 'running' order by begun_at");
        let mut due = Vec::new();
        for run in self.read(running, values![], run).await? {
            let has_lapsed = run.lease_expires_at.is_some_and(|end| end < now);
            if !has_lapsed && !run.worker.as_deref().is_some_and(&is_dead) {
                continue;
            }
            let end = match run.stop {
                Some(StopReason::Hand) => Some(RunState::Stopped),
                Some(StopReason::TimeLimit) => Some(RunState::TimedOut),
                None => (run.lapses + 1 >= MOST_LAPSES).then_some(RunState::Lost),
            };
            // Nobody saw it live after its lease.
            let ended_at = end.map(|_| run.lease_expires_at.map_or(now, |lease| lease.min(now)));
            let state = end.unwrap_or(RunState::Due);
            let [code, message, remedy] = match end {
                Some(RunState::Lost) => LOST.map(Some),
                _ => [None; 3],
            };
            let update = "update runs set state = $1, ended_at = $2, worker = null, lease_expires_at = null, \
                          error_code = $3, error_message = $4, error_remedy = $5, lapses = lapses + 1 \
                          where id = $6 and state = 'running' and attempt = $7 and lease_expires_at = $8 \
                          and coalesce(stop_reason, '') = $9";
            let stop = run.stop.map_or("", StopReason::name);
            let values = values![
                state.name(),
                ended_at,
                code,
                message,
                remedy,
                &run.id,
                run.attempt,
                run.lease_expires_at,
                stop
            ];
            if self.change(update, values).await? == 1 && end.is_none() {
                due.push(run.id);
            }
        }
        Ok(due)
    }

    /// Asks runs to stop whose attempt was claimed longer ago than is allowed; the time in which nobody worked on them
    /// doesn't count. Answers how many were asked.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn stop_overdue(
        &self,
        limit: TimeDelta,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let update = "update runs set stop_requested_at = $1, stop_reason = 'time limit' \
                      where ended_at is null and state = 'running' and stop_reason is null and claimed_at <= $2";
        self.change(update, values![now, now - limit]).await
    }
}

/// What a run is begun with.
pub(super) struct Begin<'b> {
    pub(super) id: &'b str,
    pub(super) integration_id: &'b str,
    pub(super) slot: DateTime<Utc>,
    pub(super) started_by: StartedBy,
    pub(super) task: Option<&'b Task>,
    pub(super) now: DateTime<Utc>,
}

/// Makes a run due, unless one of the integration is alive or had the slot. Answers whether it did.
pub(super) async fn begin(
    transaction: &mut dyn Transaction,
    new: &Begin<'_>,
) -> Result<bool, StoreError> {
    let insert = "insert into runs (id, integration_id, slot, started_by, state, begun_at, attempt, task) \
                  values ($1, $2, $3, $4, 'due', $5, 0, $6) on conflict do nothing";
    let task = new.task.map(|task| serde_json::json!(task).to_string());
    let values: Vec<Value> =
        values![new.id, new.integration_id, new.slot, new.started_by.name(), new.now, task];
    if transaction.change(insert, values).await? == 0 {
        return Ok(false);
    }
    let last = "update integrations set last_run_id = $1 where id = $2";
    transaction.change(last, values![new.id, new.integration_id]).await?;
    Ok(true)
}

pub(super) fn not_found(id: &str) -> StoreError {
    StoreError::NotFound { what: WHAT, name: id.to_owned() }
}

/// A task that can't be read must not become a run for something else.
fn parse_task(text: &str) -> Result<Task, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::corrupt(format!("a task ({error})")))
}

fn renewal(mut row: Row) -> Result<Renewal, StoreError> {
    let stop = row.optional_text()?;
    Ok(stop.as_deref().and_then(StopReason::named).map_or(Renewal::Held, Renewal::Stop))
}

fn run(mut row: Row) -> Result<Run, StoreError> {
    Ok(Run {
        id: row.text()?,
        integration_id: row.text()?,
        slot: row.instant()?,
        started_by: row.named(StartedBy::named)?,
        state: row.named(RunState::named)?,
        begun_at: row.instant()?,
        attempt: row.integer()?,
        lapses: row.integer()?,
        worker: row.optional_text()?,
        lease_expires_at: row.optional_instant()?,
        claimed_at: row.optional_instant()?,
        stop: row.optional_text()?.as_deref().and_then(StopReason::named),
        destination_token: row.optional_integer()?,
        progress: row
            .optional_text()?
            .and_then(|text| serde_json::from_str::<Progress>(&text).ok()),
        ended_at: row.optional_instant()?,
        error: match (row.optional_text()?, row.optional_text()?, row.optional_text()?) {
            (Some(code), message, remedy) => Some(RunError {
                code,
                message: message.unwrap_or_default(),
                remedy: remedy.unwrap_or_default(),
            }),
            _ => None,
        },
        log: LogSize { lines: row.count()?, bytes: row.count()?, dropped: row.count()? },
        task: row.optional_text()?.map(|text| parse_task(&text)).transpose()?,
        has_report: row.integer()? != 0,
    })
}
