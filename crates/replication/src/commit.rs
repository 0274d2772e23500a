//! The commit protocol: how one unit becomes one transaction of the destination, or nothing at all.
//!
//! The order is fixed: tables are made to fit; rows are merged; versions are activated; rejects, ledger and bookmarks
//! are written; the fence is checked; only then the commit is sent. The books are checked after every step that moves
//! rows. A commit whose reply is lost is looked up by its batch id before anything else is done. A row that the
//! destination refuses is found by halving and goes to the rejects; it never costs its batch.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use arrow::error::ArrowError;
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    books::{self, BooksError},
    claim::{Claim, ClaimMemory},
    clock::Clock,
    collision,
    destination::{
        ActivationOutcome, Destination, DestinationError, DestinationErrorKind, MergeOutcome,
        UnitTransaction,
    },
    event::{Bookmark, Gap},
    gather::{Activation, Unit},
    hold::{self, HoldPoint},
    ledger::{LoadCounts, LoadRecord},
    offenders,
    placement::{ColumnChange, Placement, Placements},
    records::{self, UnitRecords},
    reject::{Alike, RejectedRow},
    replay, row,
    stream::{StreamName, WinnerRule},
    unit::TableLoad,
    waiting::Waiting,
    winner,
};

/// How often a unit is tried when the destination fails in a way that may pass.
const TRIES: u32 = 5;

/// Why a unit was not committed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    #[error(transparent)]
    Destination(#[from] DestinationError),
    #[error(transparent)]
    Books(#[from] BooksError),
}

/// A version that was not activated, because it would have emptied its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptVersion {
    pub(crate) stream: StreamName,
    pub(crate) waiting: u64,
    pub(crate) live: u64,
}

/// What a committed unit did.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) records: Vec<LoadRecord>,
    pub(crate) bookmarks: Vec<Bookmark>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) kept: Vec<KeptVersion>,
    /// Tables that changed, and how.
    pub(crate) changes: Vec<(String, ColumnChange)>,
    /// Replayed rows that were rejected again.
    pub(crate) rejected_again: Vec<RejectedRow>,
    /// How many old rejects were removed.
    pub(crate) expired: u64,
}

/// Commits units for one claim.
pub(crate) struct Committer {
    destination: Arc<dyn Destination>,
    claim: Claim,
    memory: ClaimMemory,
    clock: Arc<dyn Clock>,
    allow_empty: bool,
    /// The versions that wait.
    waiting: BTreeMap<StreamName, Waiting>,
    /// Where the streams' columns lie.
    placements: Placements,
    /// The run's rejects that are alike.
    alike: Alike,
    /// Which rejects are old, as long as there may be any.
    retention: Option<Retention>,
}

/// Which rejects are old.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    pub(crate) rejected_before: DateTime<Utc>,
    pub(crate) replayed_before: DateTime<Utc>,
}

/// How many old rejects a unit removes: a commit must not grow with what has gathered over months.
const EXPIRED_AT_ONCE: u32 = 10_000;

/// What one try did, before anybody knows whether it is durable.
struct Attempt {
    records: Vec<LoadRecord>,
    waiting: BTreeMap<StreamName, Waiting>,
    kept: Vec<KeptVersion>,
    rejected_again: Vec<RejectedRow>,
    expired: u64,
}

impl Committer {
    pub(crate) fn new(
        destination: Arc<dyn Destination>,
        claim: Claim,
        clock: Arc<dyn Clock>,
        allow_empty: bool,
    ) -> Self {
        let memory = claim.memory.clone();
        Self {
            destination,
            claim,
            memory,
            clock,
            allow_empty,
            waiting: BTreeMap::new(),
            placements: Placements::default(),
            alike: Alike::default(),
            retention: None,
        }
    }

    /// Removes old rejects from now on, some with each unit.
    pub(crate) fn expire(&mut self, retention: Retention) {
        self.retention = Some(retention);
    }

    /// Commits a unit, whatever it takes. A failure that comes from having lost the claim says so.
    pub(crate) async fn commit(&mut self, unit: Unit) -> Result<Committed, CommitError> {
        let error = match self.commit_unit(unit).await {
            Err(CommitError::Destination(error)) => error,
            other => return other,
        };
        match self.destination.renew(&self.claim).await {
            Err(lost) if lost.kind == DestinationErrorKind::Fenced => Err(lost.into()),
            _ => Err(error.into()),
        }
    }

    async fn commit_unit(&mut self, mut unit: Unit) -> Result<Committed, CommitError> {
        let placements = self.plan(&unit).await?;
        for load in &mut unit.loads {
            // Before the winners are picked: a version that can't be stored must not displace one that can.
            let unplaced = placements.of(&load.schema).unplaced(load);
            offenders::reject(load, unplaced);
            let unsupported = self.destination.unsupported(load);
            offenders::reject(load, unsupported);
            winner::apply(load).map_err(|error| not_comparable(load, &error))?;
            books::check_load(load)?;
        }
        let memory = self.memory_after(&unit);
        let mut tries = 1;
        let attempt = loop {
            for load in &mut unit.loads {
                self.alike.number(&mut load.rejects);
            }
            let (error, sent) = match self.attempt(&unit, &placements, &memory).await {
                Ok(attempt) => break attempt,
                Err((CommitError::Destination(error), sent)) => (error, sent),
                Err((error @ CommitError::Books(_), _)) => return Err(error),
            };
            match (&error.kind, sent) {
                (DestinationErrorKind::CommitUnknown, Some(attempt)) => {
                    tracing::warn!("The reply to a commit was lost; looking the batch up");
                    if self.was_committed(&unit.batch_id).await? {
                        break attempt;
                    }
                }
                (DestinationErrorKind::Row(_), _) => {
                    if self.reject_offenders(&mut unit, &placements).await? > 0 {
                        continue;
                    }
                    // Tried alone each of them is taken: somebody else was in the way, and may be gone.
                }
                (kind, _) if kind.is_retriable() => {}
                _ => return Err(error.into()),
            }
            if tries == TRIES {
                return Err(error.into());
            }
            tracing::warn!(error = %error, tries, "A commit failed; trying again");
            tokio::time::sleep(pause(tries)).await;
            tries += 1;
        };
        hold::reach(HoldPoint::AfterCommit);
        self.alike.end_unit();
        let mut changes = Vec::new();
        for (schema, _) in &unit.prepares {
            let placement = placements.of(schema);
            placement.report(schema.table());
            let table = schema.table();
            changes
                .extend(placement.changes.iter().map(|change| (table.to_owned(), change.clone())));
        }
        self.memory = memory;
        self.waiting = attempt.waiting;
        self.retention = self.retention.filter(|_| attempt.expired == u64::from(EXPIRED_AT_ONCE));
        self.placements = placements;
        Ok(Committed {
            records: attempt.records,
            bookmarks: unit.bookmarks,
            gaps: unit.gaps,
            kept: attempt.kept,
            changes,
            rejected_again: attempt.rejected_again,
            expired: attempt.expired,
        })
    }

    /// The placements of the unit's streams: those that were made before, and new ones where a schema is new.
    async fn plan(&self, unit: &Unit) -> Result<Placements, DestinationError> {
        let mut placements = self.placements.clone();
        for (schema, _) in &unit.prepares {
            let mut tries = 1;
            while let Err(error) = placements.plan(self.destination.as_ref(), schema).await {
                if !error.kind.is_retriable() || tries == TRIES {
                    return Err(error);
                }
                tracing::warn!(error = %error, tries, "A table could not be looked at; trying again");
                tokio::time::sleep(pause(tries)).await;
                tries += 1;
            }
        }
        Ok(placements)
    }

    fn memory_after(&self, unit: &Unit) -> ClaimMemory {
        let singer_state = unit
            .bookmarks
            .iter()
            .rev()
            .find(|bookmark| bookmark.stream.is_none())
            .map(|bookmark| bookmark.state.clone());
        ClaimMemory {
            greatest_sequence: self.memory.greatest_sequence.max(unit.greatest_sequence),
            last_batch: Some(unit.batch_id.clone()),
            last_run: Some(self.claim.run_id.clone()),
            singer_state: singer_state.or_else(|| self.memory.singer_state.clone()),
        }
    }

    /// Looks a commit up whose reply was lost, insisting on an answer for a while.
    async fn was_committed(&self, batch_id: &str) -> Result<bool, DestinationError> {
        let mut tries = 1;
        loop {
            match self.destination.memory().await {
                Ok(memory) => return Ok(memory.last_batch.as_deref() == Some(batch_id)),
                Err(error) if error.kind.is_retriable() && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause(tries)).await;
        }
    }

    /// One try. With the error comes what the try did if it got as far as sending the commit.
    async fn attempt(
        &self,
        unit: &Unit,
        placements: &Placements,
        memory: &ClaimMemory,
    ) -> Result<Attempt, (CommitError, Option<Attempt>)> {
        let mut transaction =
            self.destination.begin(&self.claim).await.map_err(|error| (error.into(), None))?;
        hold::reach(HoldPoint::UnitBegun);
        let attempt = match self.write(transaction.as_mut(), unit, placements, memory).await {
            Ok(attempt) => attempt,
            Err(error) => {
                if let Err(failed) = transaction.rollback().await {
                    tracing::debug!(error = %failed, "The rollback failed as well");
                }
                return Err((error, None));
            }
        };
        hold::reach(HoldPoint::BeforeCommit);
        // Durable from here on, or not at all: nothing is told to anybody before this returns.
        match transaction.commit().await {
            Ok(()) => Ok(attempt),
            Err(error) => Err((error.into(), Some(attempt))),
        }
    }

    /// Writes everything of the unit into the transaction, checking the books at every step.
    async fn write(
        &self,
        transaction: &mut dyn UnitTransaction,
        unit: &Unit,
        placements: &Placements,
        memory: &ClaimMemory,
    ) -> Result<Attempt, CommitError> {
        let mut waiting = self.waiting.clone();
        let mut records = UnitRecords::new(unit, &self.claim.run_id);
        // First, so that one that is read again now is stored anew.
        let expired = match self.retention {
            Some(Retention { rejected_before, replayed_before }) => {
                transaction
                    .expire_rejects(rejected_before, replayed_before, EXPIRED_AT_ONCE)
                    .await?
            }
            None => 0,
        };
        for (schema, version) in &unit.prepares {
            let placement = placements.of(schema);
            placement.prepare(transaction, *version).await?;
            if version.is_some() {
                waiting.entry(schema.stream.clone()).or_default().prepared(&placement);
            }
        }
        for (schema, after_sequence) in &unit.retractions {
            let placement = placements.of(schema);
            // Without a place no row of it was ever stored.
            let Some(schema) = &placement.stored else { continue };
            let outcome = transaction.retract(schema, *after_sequence).await?;
            books::check_retraction(schema.table(), &outcome)?;
            records.retracted(&schema.stream, &outcome);
        }
        hold::reach(HoldPoint::TablesPrepared);
        let mut rejected_again = Vec::new();
        for load in &unit.loads {
            let placement = placements.of(&load.schema);
            let (load, outcome) = self.merge(transaction, load, &placement).await?;
            let again = load.rejects.iter().filter(|reject| reject.replays.is_some());
            rejected_again.extend(again.cloned());
            if load.version.is_some() {
                let waiting = waiting.entry(load.schema.stream.clone()).or_default();
                records::add_waiting(&mut waiting.counts, &load, &outcome);
            } else {
                records.merged(&load, &outcome);
            }
        }
        let mut kept = Vec::new();
        for Activation { schema, version, since } in &unit.activations {
            let waited = waiting.remove(&schema.stream).unwrap_or_default();
            let placement = placements.of(schema);
            let Some(schema) = &placement.stored else {
                // Every row of the version is a reject, so there is nothing to put in place.
                let outcome = ActivationOutcome::default();
                records.activated(&schema.stream, *version, waited.counts, &outcome);
                continue;
            };
            let complete =
                Activation { schema: waited.whole(schema), version: *version, since: *since };
            let activation =
                self.activate(transaction, &complete, waited.counts, &mut records).await?;
            kept.extend(activation);
        }
        records.bookmarks_and_gaps();
        let records = records.finish(self.clock.now());
        transaction.record(&records).await?;
        hold::reach(HoldPoint::LedgerWritten);
        transaction.bookmark(&states(&unit.bookmarks)).await?;
        hold::reach(HoldPoint::BookmarksStored);
        transaction.fence(&self.claim, memory).await?;
        Ok(Attempt { records, waiting, kept, rejected_again, expired })
    }

    /// Merges one load and stores its rejects. Returns it as it was merged, with what that did.
    async fn merge<'load>(
        &self,
        transaction: &mut dyn UnitTransaction,
        load: &'load TableLoad,
        placement: &Placement,
    ) -> Result<(Cow<'load, TableLoad>, MergeOutcome), CommitError> {
        let load = placement.place(load).map_err(|error| not_comparable(load, &error))?;
        let may_collide =
            matches!(load.schema.winner, WinnerRule::Greatest(_)) && load.row_count() > 0;
        let rivals = if may_collide {
            transaction.rivals(handed_over(&load)?.as_ref()).await?
        } else {
            Vec::new()
        };
        let settled =
            collision::settle(&load, &rivals).map_err(|error| not_comparable(&load, &error))?;
        let (load, displaced) = match settled {
            Some(settled) => (Cow::Owned(settled.load), settled.displaced),
            None => (load, Vec::new()),
        };
        books::check_load(&load)?;
        let outcome = match load.row_count() {
            0 => MergeOutcome::default(),
            _ => transaction.merge(&hold::handed_over(handed_over(&load)?.as_ref())).await?,
        };
        books::check_merge(&load, &outcome)?;
        hold::reach(HoldPoint::TableMerged);
        if !load.replayed.is_empty() {
            replay::mark(transaction, &load).await?;
            hold::reach(HoldPoint::RejectsReplayed);
        }
        self.reject(transaction, &load, &displaced).await?;
        hold::reach(HoldPoint::RejectsStored);
        Ok((load, outcome))
    }

    /// Stores rejects.
    async fn reject(
        &self,
        transaction: &mut dyn UnitTransaction,
        load: &TableLoad,
        displaced: &[RejectedRow],
    ) -> Result<(), CommitError> {
        for rejects in [&load.rejects, displaced].into_iter().filter(|rejects| !rejects.is_empty())
        {
            transaction.reject(&self.claim.run_id, rejects).await?;
            let ids: BTreeSet<String> = rejects.iter().map(RejectedRow::id).collect();
            let ids: Vec<String> = ids.into_iter().collect();
            let stored = transaction.count_rejects(&ids).await?;
            books::check_rejects(load.schema.table(), ids.len(), stored)?;
        }
        Ok(())
    }

    /// Activates a version, unless that would empty its table by mistake.
    async fn activate(
        &self,
        transaction: &mut dyn UnitTransaction,
        Activation { schema, version, since }: &Activation,
        waited: LoadCounts,
        records: &mut UnitRecords<'_>,
    ) -> Result<Option<KeptVersion>, CommitError> {
        let counts = transaction.version_counts(schema, *version, *since).await?;
        books::check_waiting(schema.table(), &waited, counts.waiting)?;
        if counts.live > 0 && counts.waiting.saturating_mul(2) < counts.live && !self.allow_empty {
            records.kept_out(&schema.stream, waited);
            return Ok(Some(KeptVersion {
                stream: schema.stream.clone(),
                waiting: counts.waiting,
                live: counts.live,
            }));
        }
        let outcome = transaction.activate(schema, *version, *since).await?;
        books::check_activation(schema.table(), counts.waiting, &outcome)?;
        hold::reach(HoldPoint::VersionActivated);
        records.activated(&schema.stream, *version, waited, &outcome);
        Ok(None)
    }

    async fn reject_offenders(
        &self,
        unit: &mut Unit,
        placements: &Placements,
    ) -> Result<usize, DestinationError> {
        offenders::reject_offenders(self.destination.as_ref(), &self.claim, unit, placements).await
    }
}

/// The last state of each stream.
fn states(bookmarks: &[Bookmark]) -> BTreeMap<StreamName, Value> {
    bookmarks
        .iter()
        .filter_map(|bookmark| Some((bookmark.stream.clone()?, bookmark.state.clone())))
        .collect()
}

fn pause(tries: u32) -> Duration {
    Duration::from_millis(200 << tries.min(6))
}

fn handed_over(load: &TableLoad) -> Result<Cow<'_, TableLoad>, DestinationError> {
    row::handed_over(load).map_err(|error| not_comparable(load, &error))
}

fn not_comparable(load: &TableLoad, error: &ArrowError) -> DestinationError {
    DestinationError::new(
        DestinationErrorKind::Bug,
        format!("Rows of `{}` could not be compared: {error}", load.schema.table()),
        "Report this defect",
    )
}
