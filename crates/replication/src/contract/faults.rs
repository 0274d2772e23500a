//! Clauses on failure: a destination that breaks at the worst moment costs nothing but time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio::sync::Notify;

use super::{
    Subject,
    script::{Script, by, people, persons, text_rows, texts},
};
use crate::{
    claim::{Claim, ClaimMemory, ClaimRequest},
    destination::{
        ActivationOutcome, Destination, DestinationError, DestinationErrorKind, LedgerTotals,
        MergeOutcome, RejectReason, RejectRecord, RetractionOutcome, StateRow, UnitTransaction,
        VersionCounts,
    },
    ledger::LoadRecord,
    placement::{Dialect, Rename, StoredTable},
    reject::{ReasonCode, RejectFilter, RejectStanding, RejectedRow, StoredReject},
    replay::RejectPage,
    row,
    run::RunError,
    scan::RowScan,
    source::{CheckStep, Span},
    stream::{Method, StreamName, StreamSchema, WinnerRule},
    unit::TableLoad,
};

/// How a [`Faulty`] destination breaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It doesn't.
    None,
    /// Everything fails from this step on, like a process that is killed. If the step is a commit, an even number means
    /// that it takes place.
    Dies(u32),
    /// Nothing happens any more from this step on, until whoever waits is dropped.
    Hangs(u32),
    /// The first commit takes place, but its reply is lost.
    ReplyLost,
    /// The first commit does not take place, and nobody says so.
    CommitLost,
    /// Merging a row that holds this word is refused.
    Refuses(&'static str),
    /// A merge loses a row and says that all are well.
    LosesARow,
    /// A reject is lost, and nobody says so.
    LosesAReject,
}

/// A real destination that breaks in one way.
pub(super) struct Faulty {
    inner: Arc<dyn Destination>,
    course: Course,
}

struct FaultyTransaction {
    inner: Box<dyn UnitTransaction>,
    course: Course,
}

/// What has happened so far.
#[derive(Clone)]
struct Course {
    fault: Fault,
    spent: Arc<AtomicBool>,
    merges: Arc<AtomicU32>,
    steps: Arc<AtomicU32>,
    hangs: Arc<Notify>,
}

pub(super) fn faulty(subject: &dyn Subject, fault: Fault) -> Arc<Faulty> {
    let course = Course {
        fault,
        spent: Arc::default(),
        merges: Arc::default(),
        steps: Arc::default(),
        hangs: Arc::default(),
    };
    Arc::new(Faulty { inner: subject.destination(), course })
}

impl Faulty {
    /// Returns when nothing happens any more.
    pub(super) async fn hangs(&self) {
        self.course.hangs.notified().await;
    }
}

impl Course {
    /// Counts a step, which fails if the destination is dead by now.
    async fn step(&self) -> Result<(), DestinationError> {
        let taken = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        match self.fault {
            Fault::Dies(at) if taken >= at => Err(dead()),
            Fault::Hangs(at) if taken >= at => {
                self.hangs.notify_one();
                std::future::pending().await
            }
            _ => Ok(()),
        }
    }
}

fn dead() -> DestinationError {
    DestinationError::new(DestinationErrorKind::Refused, "The process was killed", "None")
}

fn load() -> Script {
    let schema = people(WinnerRule::Sequence);
    let names: Vec<String> = (0..40).map(|index| format!("p{index:02}")).collect();
    let rows: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), "2026-02-01T08:00:00Z", name.as_str(), &[] as &[&str]))
        .collect();
    Script::new()
        .schema(&schema)
        .rows(persons(&schema, &rows))
        .bookmark("people", "2026-02-01T08:00:00Z")
}

/// A transaction that is rolled back leaves no table, no row, no bookmark and no lock.
pub async fn leaves_nothing_behind_when_rolled_back(subject: &dyn Subject) {
    let fault = Fault::LosesARow;
    load().run(faulty(subject, fault)).await.expect_err("the books don't balance");
    assert_eq!(subject.rows("people").await, None, "not even the table is there");
    let states = subject.destination().states().await.expect("states can be read");
    assert!(states.iter().all(|row| row.stream.is_empty()), "no bookmark moved: {states:?}");
    assert!(subject.destination().loads(10).await.expect("the ledger can be read").is_empty());
    load().succeed(subject.destination()).await;
    assert_eq!(by("id", subject.rows("people").await).len(), 40);
}

/// A commit whose reply was lost is looked up, not repeated.
pub async fn looks_up_a_commit_whose_reply_was_lost(subject: &dyn Subject) {
    let destination = faulty(subject, Fault::ReplyLost);
    let merges = Arc::clone(&destination.course.merges);
    let report = load().succeed(destination).await;
    assert_eq!(
        report
            .tables
            .iter()
            .find(|table| table.table == "people")
            .map(|table| table.counts.inserted),
        Some(40)
    );
    assert_eq!(merges.load(Ordering::Relaxed), 1, "the unit was not done again");
    assert_eq!(by("id", subject.rows("people").await).len(), 40);
    assert_eq!(ledger_rows(subject).await, 1, "one record in the ledger");
}

/// A commit that nobody heard of, and that did not take place, is repeated.
pub async fn repeats_a_commit_that_did_not_take_place(subject: &dyn Subject) {
    let destination = faulty(subject, Fault::CommitLost);
    let merges = Arc::clone(&destination.course.merges);
    load().succeed(destination).await;
    assert_eq!(merges.load(Ordering::Relaxed), 2);
    assert_eq!(by("id", subject.rows("people").await).len(), 40);
    assert_eq!(ledger_rows(subject).await, 1);
}

/// Rows that the destination refuses are found and rejected, each with its reason; the others are loaded.
pub async fn keeps_a_bad_row_from_costing_its_batch(subject: &dyn Subject) {
    let report = load().succeed(faulty(subject, Fault::Refuses("p1"))).await;
    let counts =
        report.tables.iter().find(|table| table.table == "people").expect("it was loaded").counts;
    assert_eq!((counts.received, counts.inserted, counts.rejected), (40, 30, 10));
    let rows = by("id", subject.rows("people").await);
    assert_eq!(rows.len(), 30);
    assert!(rows.keys().all(|id| !id.starts_with("p1")));
    let rejects =
        subject.destination().rejects(Some("people"), 100).await.expect("rejects can be read");
    assert_eq!(rejects.len(), 10);
    for reject in rejects {
        assert_eq!(reject.reason_code, ReasonCode::RefusedByDestination.as_str());
        assert!(reject.record.contains("\"p1"), "the whole row is kept: {}", reject.record);
    }
}

/// A merge whose own figures hide a lost row is found out by the independent count, and nothing is committed.
pub async fn refuses_to_commit_when_the_books_do_not_balance(subject: &dyn Subject) {
    let failure =
        load().run(faulty(subject, Fault::LosesARow)).await.expect_err("a row is missing");
    let RunError::Books(error) = &failure.error else { panic!("unexpected: {failure:?}") };
    assert_eq!(error.table, "people");
    assert_eq!(failure.report.units, 0);
}

/// A reject that is not stored is found out as well.
pub async fn refuses_to_commit_when_a_reject_is_lost(subject: &dyn Subject) {
    let schema = texts("keyed", &["id"], &["id"], Method::Incremental, WinnerRule::Sequence);
    let script = || {
        Script::new()
            .schema(&schema)
            .rows(text_rows(&schema, &[&[Some("a")], &[None], &[Some("b")]]))
    };
    let failure =
        script().run(faulty(subject, Fault::LosesAReject)).await.expect_err("a reject is missing");
    let RunError::Books(error) = &failure.error else { panic!("unexpected: {failure:?}") };
    assert_eq!((error.left, error.right), (1, 0));
    assert_eq!(subject.rows("keyed").await, None, "nothing was committed");
    script().succeed(subject.destination()).await;
    assert_eq!(by("id", subject.rows("keyed").await).len(), 2);
}

async fn ledger_rows(subject: &dyn Subject) -> usize {
    subject
        .destination()
        .loads(100)
        .await
        .expect("the ledger can be read")
        .iter()
        .filter(|load| load.table == "people")
        .count()
}

#[async_trait]
impl Destination for Faulty {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn check(&self) -> Vec<CheckStep> {
        self.inner.check().await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, DestinationError> {
        self.inner.claim(request).await
    }

    async fn renew(&self, claim: &Claim) -> Result<(), DestinationError> {
        self.inner.renew(claim).await
    }

    async fn release(&self, claim: &Claim) -> Result<(), DestinationError> {
        self.course.step().await?;
        self.inner.release(claim).await
    }

    fn dialect(&self) -> Dialect {
        self.inner.dialect()
    }

    async fn stored_table(&self, table: &str) -> Result<Option<StoredTable>, DestinationError> {
        self.inner.stored_table(table).await
    }

    async fn begin(&self, claim: &Claim) -> Result<Box<dyn UnitTransaction>, DestinationError> {
        self.course.step().await?;
        let inner = self.inner.begin(claim).await?;
        Ok(Box::new(FaultyTransaction { inner, course: self.course.clone() }))
    }

    async fn memory(&self) -> Result<ClaimMemory, DestinationError> {
        self.course.step().await?;
        self.inner.memory().await
    }

    async fn count(&self, table: &str) -> Result<Option<u64>, DestinationError> {
        self.inner.count(table).await
    }

    async fn states(&self) -> Result<Vec<StateRow>, DestinationError> {
        self.inner.states().await
    }

    async fn loads(&self, limit: usize) -> Result<Vec<LoadRecord>, DestinationError> {
        self.inner.loads(limit).await
    }

    async fn totals(&self) -> Result<BTreeMap<String, LedgerTotals>, DestinationError> {
        self.inner.totals().await
    }

    async fn reject_reasons(
        &self,
        table: Option<&str>,
    ) -> Result<Vec<RejectReason>, DestinationError> {
        self.inner.reject_reasons(table).await
    }

    async fn rejects(
        &self,
        table: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RejectRecord>, DestinationError> {
        self.inner.rejects(table, limit).await
    }

    async fn scan(
        &self,
        schema: &Arc<StreamSchema>,
        span: Option<Span>,
    ) -> Result<Box<dyn RowScan>, DestinationError> {
        self.inner.scan(schema, span).await
    }

    async fn rejected_among(
        &self,
        table: &str,
        marks: &[String],
    ) -> Result<BTreeSet<String>, DestinationError> {
        self.inner.rejected_among(table, marks).await
    }

    async fn stored_rejects(
        &self,
        filter: &RejectFilter,
        standing: Option<RejectStanding>,
        after: Option<&(i64, String)>,
        page: RejectPage,
    ) -> Result<Vec<StoredReject>, DestinationError> {
        self.inner.stored_rejects(filter, standing, after, page).await
    }
}

#[async_trait]
impl UnitTransaction for FaultyTransaction {
    async fn rename(
        &mut self,
        schema: &StreamSchema,
        renames: &[Rename],
    ) -> Result<(), DestinationError> {
        self.course.step().await?;
        self.inner.rename(schema, renames).await
    }

    async fn prepare(
        &mut self,
        schema: &Arc<StreamSchema>,
        version: Option<i64>,
    ) -> Result<(), DestinationError> {
        self.course.step().await?;
        self.inner.prepare(schema, version).await
    }

    async fn rivals(
        &mut self,
        load: &TableLoad,
    ) -> Result<Vec<Map<String, Value>>, DestinationError> {
        self.course.step().await?;
        self.inner.rivals(load).await
    }

    async fn merge(&mut self, load: &TableLoad) -> Result<MergeOutcome, DestinationError> {
        self.course.step().await?;
        self.course.merges.fetch_add(1, Ordering::Relaxed);
        match self.course.fault {
            Fault::Refuses(word) => {
                let refused = load.rows.iter().any(|batch| {
                    (0..batch.num_rows())
                        .any(|row| row::render(&load.schema, batch, row).contains(word))
                });
                if refused {
                    let kind = DestinationErrorKind::Row(ReasonCode::RefusedByDestination);
                    return Err(DestinationError::new(
                        kind,
                        "The row holds a word that is refused",
                        "None",
                    ));
                }
                self.inner.merge(load).await
            }
            Fault::LosesARow => {
                let batch = &load.rows[0];
                let short =
                    TableLoad { rows: vec![batch.slice(1, batch.num_rows() - 1)], ..load.clone() };
                let mut outcome = self.inner.merge(&short).await?;
                outcome.inserted += 1;
                Ok(outcome)
            }
            Fault::None
            | Fault::Dies(_)
            | Fault::Hangs(_)
            | Fault::ReplyLost
            | Fault::CommitLost
            | Fault::LosesAReject => self.inner.merge(load).await,
        }
    }

    async fn retract(
        &mut self,
        schema: &StreamSchema,
        after_sequence: i64,
    ) -> Result<RetractionOutcome, DestinationError> {
        self.course.step().await?;
        self.inner.retract(schema, after_sequence).await
    }

    async fn version_counts(
        &mut self,
        schema: &StreamSchema,
        version: i64,
        since: Option<DateTime<Utc>>,
    ) -> Result<VersionCounts, DestinationError> {
        self.course.step().await?;
        self.inner.version_counts(schema, version, since).await
    }

    async fn activate(
        &mut self,
        schema: &StreamSchema,
        version: i64,
        since: Option<DateTime<Utc>>,
    ) -> Result<ActivationOutcome, DestinationError> {
        self.course.step().await?;
        self.inner.activate(schema, version, since).await
    }

    async fn reject(
        &mut self,
        run_id: &str,
        rejects: &[RejectedRow],
    ) -> Result<u64, DestinationError> {
        self.course.step().await?;
        let lost = usize::from(self.course.fault == Fault::LosesAReject);
        Ok(self.inner.reject(run_id, &rejects[lost..]).await? + lost as u64)
    }

    async fn count_rejects(&mut self, ids: &[String]) -> Result<u64, DestinationError> {
        self.course.step().await?;
        self.inner.count_rejects(ids).await
    }

    async fn mark_replayed(&mut self, ids: &[String]) -> Result<u64, DestinationError> {
        self.course.step().await?;
        self.inner.mark_replayed(ids).await
    }

    async fn remove_rejects(&mut self, ids: &[String]) -> Result<u64, DestinationError> {
        self.course.step().await?;
        self.inner.remove_rejects(ids).await
    }

    async fn expire_rejects(
        &mut self,
        rejected_before: DateTime<Utc>,
        replayed_before: DateTime<Utc>,
        most: u32,
    ) -> Result<u64, DestinationError> {
        self.course.step().await?;
        self.inner.expire_rejects(rejected_before, replayed_before, most).await
    }

    async fn record(&mut self, loads: &[LoadRecord]) -> Result<(), DestinationError> {
        self.course.step().await?;
        self.inner.record(loads).await
    }

    async fn bookmark(
        &mut self,
        states: &BTreeMap<StreamName, Value>,
    ) -> Result<(), DestinationError> {
        self.course.step().await?;
        self.inner.bookmark(states).await
    }

    async fn fence(&mut self, claim: &Claim, memory: &ClaimMemory) -> Result<(), DestinationError> {
        self.course.step().await?;
        self.inner.fence(claim, memory).await
    }

    async fn commit(self: Box<Self>) -> Result<(), DestinationError> {
        if matches!(self.course.fault, Fault::Hangs(_)) {
            self.course.step().await?;
        }
        if let Fault::Dies(at) = self.course.fault
            && self.course.step().await.is_err()
        {
            if at % 2 == 0 {
                self.inner.commit().await?;
            }
            return Err(DestinationError { kind: DestinationErrorKind::CommitUnknown, ..dead() });
        }
        let first = !self.course.spent.swap(true, Ordering::Relaxed);
        match (self.course.fault, first) {
            (Fault::ReplyLost, true) => self.inner.commit().await?,
            (Fault::CommitLost, true) => self.inner.rollback().await?,
            _ => return self.inner.commit().await,
        }
        Err(DestinationError::new(
            DestinationErrorKind::CommitUnknown,
            "The reply to the commit was lost",
            "None",
        ))
    }

    async fn rollback(self: Box<Self>) -> Result<(), DestinationError> {
        self.inner.rollback().await
    }
}
