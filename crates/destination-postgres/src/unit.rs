//! The transaction of one commit unit.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use replication::{
    claim::{Claim, ClaimMemory},
    destination::{
        ActivationOutcome, DestinationError, DestinationErrorKind, MergeOutcome, RetractionOutcome,
        UnitTransaction, VersionCounts,
    },
    ledger::LoadRecord,
    placement::{Nesting, Rename},
    reject::RejectedRow,
    stream::{StreamName, StreamSchema},
    unit::TableLoad,
};
use serde_json::{Map, Value};

use crate::{
    connection::Taken,
    failure::Doing,
    layout::{Layout, digest},
    patience::Effort,
    session::Session,
    sql,
};

/// An open transaction. Dropped, its connection is cut, and the server rolls back.
pub(crate) struct Unit {
    taken: Taken,
    schema: String,
    nesting: Nesting,
    state: State,
}

/// Whether the transaction can still be committed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Every step so far was completed.
    Sound,
    /// A step failed or was cancelled, or is at work. The server answers `commit` to a failed transaction by rolling it
    /// back without an error, so we must know ourselves.
    Spoilt,
}

impl Unit {
    /// Opens a transaction on a connection.
    pub(crate) async fn begin(
        taken: Taken,
        schema: &str,
        nesting: Nesting,
    ) -> Result<Self, DestinationError> {
        let doing = Doing::task("begin a transaction");
        taken.connection.run(sql::BEGIN, &doing).await?;
        taken.connection.run(&sql::announce_unit(digest(schema)), &doing).await?;
        Ok(Self { taken, schema: schema.to_owned(), nesting, state: State::Sound })
    }

    /// Starts a step: the transaction counts as spoilt until [`Unit::completed`].
    fn step(&mut self) -> Result<Session<'_>, DestinationError> {
        if self.state == State::Spoilt {
            return Err(spoilt());
        }
        self.state = State::Spoilt;
        Ok(Session {
            connection: &self.taken.connection,
            schema: &self.schema,
            nesting: self.nesting,
        })
    }

    /// Ends a step that was completed.
    fn completed<T>(&mut self, outcome: T) -> Result<T, DestinationError> {
        self.state = State::Sound;
        Ok(outcome)
    }
}

#[async_trait]
impl UnitTransaction for Unit {
    async fn rename(
        &mut self,
        schema: &StreamSchema,
        renames: &[Rename],
    ) -> Result<(), DestinationError> {
        let layout = Layout::new(schema, self.nesting)?;
        self.step()?.rename(&layout, renames).await?;
        self.completed(())
    }

    async fn prepare(
        &mut self,
        schema: &Arc<StreamSchema>,
        version: Option<i64>,
    ) -> Result<(), DestinationError> {
        let layout = Layout::new(schema, self.nesting)?;
        self.step()?.prepare(&layout, version).await?;
        self.completed(())
    }

    async fn rivals(
        &mut self,
        load: &TableLoad,
    ) -> Result<Vec<Map<String, Value>>, DestinationError> {
        let rivals = self.step()?.rivals(load).await?;
        self.completed(rivals)
    }

    async fn merge(&mut self, load: &TableLoad) -> Result<MergeOutcome, DestinationError> {
        let outcome = self.step()?.merge(load).await?;
        self.completed(outcome)
    }

    async fn retract(
        &mut self,
        schema: &StreamSchema,
        after_sequence: i64,
    ) -> Result<RetractionOutcome, DestinationError> {
        let outcome = self.step()?.retract(schema, after_sequence).await?;
        self.completed(outcome)
    }

    async fn version_counts(
        &mut self,
        schema: &StreamSchema,
        version: i64,
        since: Option<DateTime<Utc>>,
    ) -> Result<VersionCounts, DestinationError> {
        let counts = self.step()?.version_counts(schema, version, since).await?;
        self.completed(counts)
    }

    async fn activate(
        &mut self,
        schema: &StreamSchema,
        version: i64,
        since: Option<DateTime<Utc>>,
    ) -> Result<ActivationOutcome, DestinationError> {
        let outcome = self.step()?.activate(schema, version, since).await?;
        self.completed(outcome)
    }

    async fn reject(
        &mut self,
        run_id: &str,
        rejects: &[RejectedRow],
    ) -> Result<u64, DestinationError> {
        let added = self.step()?.reject(run_id, rejects).await?;
        self.completed(added)
    }

    async fn count_rejects(&mut self, ids: &[String]) -> Result<u64, DestinationError> {
        let count = self.step()?.count_rejects(ids).await?;
        self.completed(count)
    }

    async fn mark_replayed(&mut self, ids: &[String]) -> Result<u64, DestinationError> {
        let count = self.step()?.mark_replayed(ids).await?;
        self.completed(count)
    }

    async fn remove_rejects(&mut self, ids: &[String]) -> Result<u64, DestinationError> {
        let count = self.step()?.remove_rejects(ids).await?;
        self.completed(count)
    }

    async fn expire_rejects(
        &mut self,
        rejected_before: DateTime<Utc>,
        replayed_before: DateTime<Utc>,
        most: u32,
    ) -> Result<u64, DestinationError> {
        let count = self.step()?.expire_rejects(rejected_before, replayed_before, most).await?;
        self.completed(count)
    }

    async fn record(&mut self, loads: &[LoadRecord]) -> Result<(), DestinationError> {
        self.step()?.record(loads).await?;
        self.completed(())
    }

    async fn bookmark(
        &mut self,
        states: &BTreeMap<StreamName, Value>,
    ) -> Result<(), DestinationError> {
        self.step()?.bookmark(states).await?;
        self.completed(())
    }

    async fn fence(&mut self, claim: &Claim, memory: &ClaimMemory) -> Result<(), DestinationError> {
        self.step()?.fence(claim, memory).await?;
        self.completed(())
    }

    async fn commit(self: Box<Self>) -> Result<(), DestinationError> {
        if self.state == State::Spoilt {
            return Err(spoilt());
        }
        match self.taken.connection.try_run("commit", Effort::Lasting).await {
            Ok(()) => {
                self.taken.put_back();
                Ok(())
            }
            Err(trouble) if trouble.is_definite() => Err(trouble.of(&Doing::task("commit"))),
            Err(trouble) => {
                let cause = trouble.of(&Doing::task("commit"));
                Err(DestinationError::new(
                    DestinationErrorKind::CommitUnknown,
                    "The reply to a commit was lost",
                    "Nothing: the commit is looked up before anything else is done",
                )
                .caused_by(cause))
            }
        }
    }

    async fn rollback(self: Box<Self>) -> Result<(), DestinationError> {
        self.taken.connection.run("rollback", &Doing::task("roll back")).await?;
        self.taken.put_back();
        Ok(())
    }
}

fn spoilt() -> DestinationError {
    DestinationError::new(
        DestinationErrorKind::Bug,
        "A transaction was used after one of its steps had failed or was cancelled",
        "Report this defect",
    )
}
