//! Integrations in the store.

use chrono::{DateTime, Utc};
use schedule::{Schedule, ScheduleFields};
use serde_json::Value as Json;

use super::{
    Store, StoreError,
    database::{Row, Transaction, values},
    first, new_id,
    secrets::{FORGET, SealedSecret, put},
};
use crate::integration::{Integration, IntegrationEdit, NewIntegration, Origin, PausedBy};

const WHAT: &str = "integration";

/// The columns in the order in which [`integration`] reads them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select id, name, schema_name, origin, settings, schedule, start_date, reset_requested_at, version, created_at, \
             updated_at, paused_at, paused_by, deleted_at, decided_until, undeclared_at from integrations ",
            $rest
        )
    };
}

/// What an edit does to an integration's secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewSecrets {
    /// Those that are stored, in the place of former ones.
    pub sealed: Vec<SealedSecret>,
    /// The names of those that are not needed any more.
    pub forgotten: Vec<String>,
}

impl Store {
    /// Makes an integration.
    ///
    /// # Errors
    /// When its name or schema is taken, or its schedule has no start any more.
    pub async fn create_integration(
        &self,
        new: &NewIntegration,
        now: DateTime<Utc>,
    ) -> Result<Integration, StoreError> {
        self.create_integration_with(&new_id(), new, &[], None, now).await
    }

    /// Makes an integration of an id from [`Store::new_integration_id`], with secrets that are sealed for it, and paused
    /// where somebody is given who paused it.
    ///
    /// # Errors
    /// When its name or schema is taken, or its schedule has no start any more.
    pub async fn create_integration_with(
        &self,
        id: &str,
        new: &NewIntegration,
        secrets: &[SealedSecret],
        paused_by: Option<PausedBy>,
        now: DateTime<Utc>,
    ) -> Result<Integration, StoreError> {
        refuse_idle(new.schedule.as_ref(), &new.name, now)?;
        let mut transaction = self.database.begin().await?;
        let insert = "insert into integrations (id, name, schema_name, origin, settings, schedule, start_date, version, \
                      created_at, updated_at, decided_until, paused_at, paused_by) \
                      values ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9, $10, $11, $12) on conflict do nothing";
        let row = values![
            id,
            &new.name,
            &new.schema_name,
            new.origin.name(),
            Json::Object(new.settings.clone()).to_string(),
            schedule_text(new.schedule.as_ref()),
            new.start_date,
            now,
            now,
            now,
            paused_by.map(|_| now),
            paused_by.map(|by| by.name().to_owned()),
        ];
        if transaction.change(insert, row).await? == 0 {
            return Err(taken(transaction.as_mut(), &new.name, &new.schema_name).await);
        }
        for secret in secrets {
            put(transaction.as_mut(), id, secret, now).await?;
        }
        let made = by_id(transaction.as_mut(), id).await?;
        transaction.commit().await?;
        Ok(made)
    }

    /// An id for an integration that is to be made: its secrets are sealed for it before.
    #[must_use]
    pub fn new_integration_id() -> String {
        new_id()
    }

    /// An integration by its id, also if it is deleted.
    ///
    /// # Errors
    /// When there is none.
    pub async fn integration(&self, id: &str) -> Result<Integration, StoreError> {
        let found = self.read(select!("where id = $1"), values![id], integration).await?;
        found.into_iter().next().ok_or_else(|| not_found(id))
    }

    /// All integrations by name, without those that are deleted.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn integrations(&self) -> Result<Vec<Integration>, StoreError> {
        self.read(select!("where deleted_at is null order by name"), values![], integration).await
    }

    /// Integrations by name after one, at most so many, without those that are deleted: from the first after the empty name.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn integration_page(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Integration>, StoreError> {
        let sql = select!("where deleted_at is null and name > $1 order by name limit $2");
        self.read(sql, values![after, limit], integration).await
    }

    /// Edits an integration that is as it was read: of version `seen`. A new schedule counts from now.
    ///
    /// # Errors
    /// When somebody else has changed it since, its new name is taken, or its new schedule has no start any more.
    pub async fn edit_integration(
        &self,
        id: &str,
        seen: i64,
        edit: &IntegrationEdit,
        now: DateTime<Utc>,
    ) -> Result<Integration, StoreError> {
        self.edit_integration_with(id, seen, edit, &NewSecrets::default(), now).await
    }

    /// Edits an integration and its secrets.
    ///
    /// # Errors
    /// When somebody else has changed it since, its new name is taken, or its new schedule has no start any more.
    pub async fn edit_integration_with(
        &self,
        id: &str,
        seen: i64,
        edit: &IntegrationEdit,
        secrets: &NewSecrets,
        now: DateTime<Utc>,
    ) -> Result<Integration, StoreError> {
        let mut transaction = self.database.begin().await?;
        let old = by_id(transaction.as_mut(), id).await?;
        let name = edit.name.as_ref().unwrap_or(&old.name);
        let twin =
            "select id from integrations where name = $1 and id <> $2 and deleted_at is null";
        if first(transaction.as_mut(), twin, values![name, id]).await?.is_some() {
            return Err(StoreError::Taken { what: "an integration", name: name.clone() });
        }
        refuse_idle(edit.schedule.as_ref().and_then(Option::as_ref), name, now)?;
        // What isn't edited stays as it is then, not as it was read: a schedule that can't be read, slots that were decided
        // meanwhile, a reset that was done meanwhile.
        let update = "update integrations set name = $1, settings = $2, \
                      schedule = case when cast($3 as bigint) = 1 then $4 else schedule end, \
                      decided_until = case when cast($3 as bigint) = 1 then $5 else decided_until end, \
                      start_date = coalesce($6, start_date), reset_requested_at = coalesce($7, reset_requested_at), \
                      updated_at = $8, version = version + 1 \
                      where id = $9 and version = $10 and deleted_at is null";
        let row = values![
            name,
            Json::Object(edit.settings.clone().unwrap_or(old.settings)).to_string(),
            i64::from(edit.schedule.is_some()),
            edit.schedule.as_ref().and_then(|schedule| schedule_text(schedule.as_ref())),
            now,
            edit.start_date,
            edit.start_date.map(|_| now),
            now,
            id,
            seen,
        ];
        if transaction.change(update, row).await? == 0 {
            return Err(StoreError::Changed { what: WHAT, name: old.name });
        }
        for secret in &secrets.sealed {
            put(transaction.as_mut(), id, secret, now).await?;
        }
        for name in &secrets.forgotten {
            let forget = "delete from secrets where integration_id = $1 and name = $2";
            transaction.change(forget, values![id, name]).await?;
        }
        let edited = by_id(transaction.as_mut(), id).await?;
        transaction.commit().await?;
        Ok(edited)
    }

    /// Makes the integrations that a file declares what it says: those that are new are made, those that differ edited, and
    /// those that it no longer has paused by the system; their data stays. `kept` are the names of those that stand in the
    /// file and can't be taken from it: they stay as they are. Doing it again changes nothing. Answers the names of those
    /// that could not be made so, each with its reason: a name or schema is taken by one that the API made, a schedule has
    /// no start any more. They keep no other from being made.
    ///
    /// # Errors
    /// When the store can't be read or changed.
    pub async fn declare_integrations(
        &self,
        declared: &[NewIntegration],
        kept: &[&str],
        now: DateTime<Utc>,
    ) -> Result<Vec<(String, StoreError)>, StoreError> {
        let known = self.integrations().await?;
        let mut refused = Vec::new();
        for new in declared {
            match self.declare(new, &known, now).await {
                Ok(()) => {}
                Err(error @ (StoreError::Unavailable { .. } | StoreError::Refused { .. })) => {
                    return Err(error);
                }
                Err(error) => refused.push((new.name.clone(), error)),
            }
        }
        for old in known.iter().filter(|old| old.origin == Origin::File) {
            let is_gone = !declared.iter().any(|new| new.name == old.name)
                && !kept.contains(&old.name.as_str());
            self.note_undeclared(old, is_gone, now).await?;
        }
        Ok(refused)
    }

    /// Notes whether an integration has gone from its file, and pauses one that has.
    async fn note_undeclared(
        &self,
        old: &Integration,
        is_gone: bool,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if old.undeclared_at.is_some() != is_gone {
            let update = "update integrations set undeclared_at = $1, updated_at = $2, version = version + 1 where id = $3";
            self.one(update, values![is_gone.then_some(now), now, &old.id], &old.id).await?;
        }
        if is_gone && old.paused.is_none() {
            self.pause(&old.id, PausedBy::System, now).await?;
        }
        Ok(())
    }

    async fn declare(
        &self,
        new: &NewIntegration,
        known: &[Integration],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let Some(old) = known.iter().find(|old| old.name == new.name) else {
            self.create_integration(new, now).await?;
            return Ok(());
        };
        if old.origin != Origin::File || old.schema_name != new.schema_name {
            return Err(StoreError::Taken { what: "an integration", name: new.name.clone() });
        }
        // A schedule that is the same goes on as it was.
        let is_same = old.schedule == new.schedule && old.schedule_fault.is_none();
        let edit = IntegrationEdit {
            name: None,
            settings: Some(new.settings.clone()).filter(|settings| *settings != old.settings),
            schedule: (!is_same).then(|| new.schedule.clone()),
            start_date: Some(new.start_date).filter(|date| *date != old.start_date),
        };
        if edit != IntegrationEdit::default() {
            self.edit_integration(&old.id, old.version, &edit, now).await?;
        }
        if matches!(old.paused, Some((_, PausedBy::System))) {
            self.resume(&old.id, now).await?;
        }
        Ok(())
    }

    /// Notes that the reset which was requested then has been done.
    ///
    /// # Errors
    /// When the store can't be changed.
    pub async fn reset_done(
        &self,
        id: &str,
        requested_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let update = "update integrations set reset_requested_at = null where id = $1 and reset_requested_at = $2";
        self.change(update, values![id, requested_at]).await?;
        Ok(())
    }

    /// Pauses an integration: no run is started any more but by hand. One that is alive goes on.
    ///
    /// # Errors
    /// When there is none.
    pub async fn pause(
        &self,
        id: &str,
        by: PausedBy,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let update = "update integrations set paused_at = coalesce(paused_at, $1), paused_by = coalesce(paused_by, $2), \
                      updated_at = $3, version = version + 1 where id = $4 and deleted_at is null";
        self.one(update, values![now, by.name(), now, id], id).await
    }

    /// Resumes an integration at its next slot: those that passed while it was paused are none.
    ///
    /// # Errors
    /// When there is none.
    pub async fn resume(&self, id: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        let update = "update integrations set decided_until = case when paused_at is null then decided_until else $1 end, \
                      paused_at = null, paused_by = null, updated_at = $2, version = version + 1 \
                      where id = $3 and deleted_at is null";
        self.one(update, values![now, now, id], id).await
    }

    /// Deletes an integration, and its secrets. Its data stays in the destination, its figures here; its name and schema
    /// are free again.
    ///
    /// # Errors
    /// When there is none, or a run of it is alive.
    pub async fn delete_integration(&self, id: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut transaction = self.database.begin().await?;
        let update = "update integrations set deleted_at = $1, updated_at = $2, version = version + 1 \
                      where id = $3 and deleted_at is null";
        if transaction.change(update, values![now, now, id]).await? == 0 {
            return Err(not_found(id));
        }
        let alive = "select id from runs where integration_id = $1 and ended_at is null";
        if let Some(mut run) = first(transaction.as_mut(), alive, values![id]).await? {
            return Err(StoreError::AlreadyRunning { run_id: run.text()? });
        }
        transaction.change(FORGET, values![id]).await?;
        transaction.commit().await
    }

    /// Runs a statement that must change the integration.
    async fn one(
        &self,
        sql: &'static str,
        values: Vec<super::database::Value>,
        id: &str,
    ) -> Result<(), StoreError> {
        if self.change(sql, values).await? == 0 { Err(not_found(id)) } else { Ok(()) }
    }
}

pub(super) fn not_found(id: &str) -> StoreError {
    StoreError::NotFound { what: WHAT, name: id.to_owned() }
}

pub(super) async fn by_id(
    transaction: &mut dyn Transaction,
    id: &str,
) -> Result<Integration, StoreError> {
    first(transaction, select!("where id = $1"), values![id])
        .await?
        .map_or_else(|| Err(not_found(id)), integration)
}

async fn taken(transaction: &mut dyn Transaction, name: &str, schema: &str) -> StoreError {
    let twin = "select id from integrations where name = $1 and deleted_at is null";
    match first(transaction, twin, values![name]).await {
        Ok(Some(_)) => StoreError::Taken { what: "an integration", name: name.to_owned() },
        Ok(None) => {
            StoreError::Taken { what: "an integration of the schema", name: schema.to_owned() }
        }
        Err(error) => error,
    }
}

/// A schedule that has run out stays where it is, but is not taken on.
fn refuse_idle(
    schedule: Option<&Schedule>,
    name: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if schedule.is_some_and(|schedule| schedule.is_idle(now)) {
        return Err(StoreError::Idle { name: name.to_owned() });
    }
    Ok(())
}

fn schedule_text(schedule: Option<&Schedule>) -> Option<String> {
    schedule.map(|schedule| serde_json::json!(schedule.fields()).to_string())
}

fn integration(mut row: Row) -> Result<Integration, StoreError> {
    let id = row.text()?;
    let (name, schema_name) = (row.text()?, row.text()?);
    let (origin, settings) = (row.named(Origin::named)?, row.json()?);
    let (schedule, schedule_fault) = match row.optional_text()?.map(|text| parse_schedule(&text)) {
        None => (None, None),
        Some(Ok(schedule)) => (Some(schedule), None),
        // It hinders nothing but itself.
        Some(Err(error)) => (None, Some(error.to_string())),
    };
    Ok(Integration {
        id,
        name,
        schema_name,
        origin,
        settings,
        schedule,
        schedule_fault,
        start_date: row.instant()?,
        reset_requested_at: row.optional_instant()?,
        version: row.integer()?,
        created_at: row.instant()?,
        updated_at: row.instant()?,
        paused: match (row.optional_instant()?, row.optional_text()?) {
            (Some(since), Some(by)) => Some((
                since,
                PausedBy::named(&by)
                    .ok_or_else(|| StoreError::corrupt("an unknown kind of pause"))?,
            )),
            _ => None,
        },
        deleted_at: row.optional_instant()?,
        decided_until: row.instant()?,
        undeclared_at: row.optional_instant()?,
    })
}

pub(super) fn parse_schedule(text: &str) -> Result<Schedule, StoreError> {
    let fields: ScheduleFields =
        serde_json::from_str(text).map_err(|_| StoreError::corrupt("a schedule"))?;
    Schedule::parse(&fields).map_err(|error| StoreError::corrupt(format!("a schedule ({error})")))
}
