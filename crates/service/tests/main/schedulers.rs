//! Two schedulers with a worker each on one store: every slot is started by one of them, every run claimed by one worker.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use chrono::{DateTime, TimeDelta, Utc};
use postgres_cluster::Cluster;
use serde_json::json;
use service::{
    Dispatch, Scheduler, SchedulerLimits, Store, StoreError,
    run::{Claim, Run, RunState, SlotOutcome, StopReason},
    store::Start,
};

use crate::{at, new_integration, parsed, subject::Subject};

/// A worker that tries to claim all that it is offered.
struct Worker<'s> {
    name: &'static str,
    store: &'s Store,
    now: &'s Mutex<DateTime<Utc>>,
    claims: Mutex<Vec<Claim>>,
}

#[async_trait::async_trait]
impl Dispatch for Worker<'_> {
    async fn dispatch(&self, run: &Run) {
        let now = *self.now.lock().unwrap();
        let claim = self.store.claim(&run.id, self.name, TimeDelta::hours(1), now).await.unwrap();
        self.claims.lock().unwrap().extend(claim);
    }
}

/// Three integrations for two days: one by cron, one every hour that takes too long each time, and one counted from its starts.
async fn compete(subject: &Subject) {
    let from = at("2026-05-01 00:00");
    let schedules = [
        json!({ "cron": "0 0/30 * ? * *" }),
        json!({ "every": "1h", "anchor": "2026-05-01T00:10:00Z" }),
        json!({ "every": "3h" }),
    ];
    let mut integrations = Vec::new();
    for (index, schedule) in schedules.into_iter().enumerate() {
        let new = new_integration(&format!("Integration {index}"), Some(parsed(schedule)));
        integrations.push(subject.store.create_integration(&new, from).await.unwrap().id);
    }
    let now = Mutex::new(from);
    let worker = |name, store| Worker { name, store, now: &now, claims: Mutex::default() };
    let (one, two) = (worker("one", &subject.store), worker("two", &subject.other));
    let limits = SchedulerLimits::default();
    let first = Scheduler::new(&subject.store, &one, limits);
    let second = Scheduler::new(&subject.other, &two, limits);
    let mut begun = Vec::new();
    let mut claimed: BTreeMap<String, usize> = BTreeMap::new();
    let mut ends: BTreeMap<DateTime<Utc>, Vec<(Claim, &Store)>> = BTreeMap::new();
    for minutes in (0..=48 * 60).step_by(10) {
        let instant = from + TimeDelta::minutes(minutes);
        *now.lock().unwrap() = instant;
        for (claim, store) in ends.remove(&instant).unwrap_or_default() {
            assert!(store.finish(&claim, RunState::Succeeded, None, instant).await.unwrap());
        }
        let (left, right) = tokio::join!(first.tick(instant), second.tick(instant));
        begun.extend(left.unwrap().begun.into_iter().chain(right.unwrap().begun));
        for worker in [&one, &two] {
            let claims: Vec<Claim> = worker.claims.lock().unwrap().drain(..).collect();
            for claim in claims {
                *claimed.entry(claim.run_id.clone()).or_default() += 1;
                let run = worker.store.run(&claim.run_id).await.unwrap();
                let takes = if run.integration_id == integrations[1] { 70 } else { 20 };
                ends.entry(instant + TimeDelta::minutes(takes))
                    .or_default()
                    .push((claim, worker.store));
            }
        }
    }
    // Each run was begun by one scheduler and claimed by one worker.
    let ids: BTreeSet<String> = begun.iter().cloned().collect();
    assert_eq!((ids.len(), claimed.len()), (begun.len(), begun.len()));
    assert!(
        claimed.values().all(|claims| *claims == 1) && claimed.keys().all(|id| ids.contains(id))
    );
    // Every slot has an outcome, and every run a slot of its own.
    let expected = [(96, 96, 0), (48, 24, 24), (17, 17, 0)];
    for (id, (slots, started, skipped)) in integrations.iter().zip(expected) {
        let records = subject.store.slots(id, None, 1_000).await.unwrap();
        let count = |outcome| {
            records
                .iter()
                .filter(|record| record.outcome == outcome)
                .map(|record| record.count)
                .sum::<u64>()
        };
        let found = (records.len(), count(SlotOutcome::Started), count(SlotOutcome::Skipped));
        assert_eq!(found, (slots, started, skipped));
        let runs = subject.store.runs(id, None, 1_000).await.unwrap();
        assert_eq!(runs.len() as u64, started);
        assert!(runs.windows(2).all(|pair| pair[1].ended_at.unwrap() <= pair[0].begun_at));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_schedulers_start_nothing_twice_in_postgresql() {
    let subject = Subject::postgres(Cluster::start().unwrap(), "control").await;
    compete(&subject).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_schedulers_start_nothing_twice_in_sqlite() {
    compete(&Subject::sqlite().await).await;
}

/// A slot is due while a run is started by hand, and an integration deleted while one is started: again and again, on two
/// handles. Nothing fails, one run lives, and none of what is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn starts_by_hand_meet_decisions_and_deletions_in_postgresql() {
    let subject = Subject::postgres(Cluster::start().unwrap(), "control").await;
    let from = at("2026-05-01 00:00");
    let limits = SchedulerLimits::default();
    let scheduler = Scheduler::new(&subject.store, crate::contract::Nowhere, limits);
    for turn in 0..60 {
        let hourly = Some(parsed(json!({ "every": "1h", "anchor": "2026-05-01T00:00:00Z" })));
        let new = new_integration(&format!("Integration {turn}"), hourly);
        let one = subject.store.create_integration(&new, from).await.unwrap().id;
        let now = from + TimeDelta::hours(1);
        let (tick, start) =
            tokio::join!(scheduler.tick(now), subject.other.start_by_hand(&one, now));
        let (begun, start) = (tick.unwrap().begun, start.unwrap());
        let runs = subject.store.runs(&one, None, 10).await.unwrap();
        assert_eq!(runs.len(), 1);
        match start {
            Start::Begun { run_id } => assert_eq!((runs[0].id == run_id, begun.len()), (true, 0)),
            Start::AlreadyRunning { run_id } => assert_eq!(begun, [run_id]),
        }
        subject.store.stop(&runs[0].id, StopReason::Hand, now).await.unwrap();
        let (deleted, start) = tokio::join!(
            subject.store.delete_integration(&one, now),
            subject.other.start_by_hand(&one, now)
        );
        match (deleted, start) {
            (Ok(()), Err(StoreError::NotFound { .. })) => {}
            (Err(StoreError::AlreadyRunning { run_id }), Ok(Start::Begun { run_id: begun })) => {
                assert_eq!(run_id, begun);
                subject.store.stop(&begun, StopReason::Hand, now).await.unwrap();
                subject.store.delete_integration(&one, now).await.unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_schedule_that_cannot_be_read_stops_no_other() {
    let subject = Subject::sqlite().await;
    let from = at("2026-05-01 12:00");
    let mut ids = Vec::new();
    for name in ["One", "Two"] {
        let new = new_integration(name, Some(parsed(json!({ "every": "1h" }))));
        ids.push(subject.store.create_integration(&new, from).await.unwrap().id);
    }
    let spoil = format!(
        "update integrations set schedule = '{{\"every\":\"2h\"}}' where id = '{}' returning id",
        ids[0]
    );
    subject.query(&spoil).await;
    let (sender, mut told) = tokio::sync::mpsc::channel(10);
    let scheduler = Scheduler::new(&subject.store, Told(sender), SchedulerLimits::default());
    let error = scheduler.tick(from).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    let run = subject.store.last_run(&ids[1]).await.unwrap().unwrap();
    assert_eq!(told.try_recv().unwrap(), run.id);
}

/// A dispatcher that tells the test.
struct Told(tokio::sync::mpsc::Sender<String>);

#[async_trait::async_trait]
impl Dispatch for Told {
    async fn dispatch(&self, run: &Run) {
        self.0.send(run.id.clone()).await.unwrap();
    }
}

#[tokio::test]
async fn a_scheduler_that_is_woken_looks_at_once_and_ends_when_it_is_told() {
    let subject = Subject::sqlite().await;
    let from = at("2026-05-01 12:00");
    let one = subject.store.create_integration(&new_integration("One", None), from).await.unwrap();
    let (sender, mut told) = tokio::sync::mpsc::channel(10);
    let limits =
        SchedulerLimits { longest_sleep: TimeDelta::days(1), ..SchedulerLimits::default() };
    let scheduler = Scheduler::new(&subject.store, Told(sender), limits);
    let stop = tokio_util::sync::CancellationToken::new();
    let test = async {
        let begun = subject.other.start_by_hand(&one.id, from).await.unwrap();
        scheduler.wake();
        let run_id = told.recv().await.unwrap();
        assert_eq!(begun, Start::Begun { run_id });
        stop.cancel();
    };
    let both = async { tokio::join!(scheduler.run(|| from, &stop), test) };
    tokio::time::timeout(std::time::Duration::from_secs(60), both).await.unwrap();
}
