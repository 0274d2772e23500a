//! Runs: begun once, claimed once, kept by leases, ended once.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::json;
use service::{
    Scheduler, SchedulerLimits, StoreError,
    run::{Claim, MOST_LAPSES, Progress, Renewal, RunError, RunState, SlotOutcome, StopReason},
    store::Start,
};

use super::{LEASE, Nowhere, begun, claimed, made};
use crate::{at, new_integration, parsed, subject::Subject};

pub(super) async fn one_run_lives_at_a_time(subject: &Subject) {
    let one = made(subject, "One").await;
    let starts = (0..6_usize).map(|turn| {
        let store = if turn % 2 == 0 { &subject.store } else { &subject.other };
        store.start_by_hand(&one.id, at("2026-05-01 12:00"))
    });
    let starts: Vec<Start> =
        futures::future::join_all(starts).await.into_iter().map(Result::unwrap).collect();
    let begun: Vec<&Start> =
        starts.iter().filter(|start| matches!(start, Start::Begun { .. })).collect();
    assert_eq!(begun.len(), 1, "{starts:?}");
    let ids: BTreeSet<&String> = starts
        .iter()
        .map(|start| match start {
            Start::Begun { run_id } | Start::AlreadyRunning { run_id } => run_id,
        })
        .collect();
    assert_eq!(ids.len(), 1, "{starts:?}");
    let run_id = ids.into_iter().next().unwrap();
    let claim = claimed(subject, run_id, "a", "2026-05-01 12:00").await;
    assert!(
        subject
            .store
            .finish(&claim, RunState::Succeeded, None, at("2026-05-01 12:00"))
            .await
            .unwrap()
    );
    // Also in the same millisecond there may be another, after it.
    let next = subject.store.start_by_hand(&one.id, at("2026-05-01 12:00")).await.unwrap();
    assert!(matches!(next, Start::Begun { .. }));
    let runs = subject.store.runs(&one.id, None, 10).await.unwrap();
    assert_eq!((runs.len(), &runs[1].id), (2, run_id));
    assert_eq!(subject.store.last_run(&one.id).await.unwrap().unwrap().id, runs[0].id);
    assert!(
        subject.store.runs(&one.id, Some(at("2026-05-01 12:00")), 10).await.unwrap().is_empty()
    );
}

pub(super) async fn one_worker_claims_a_run(subject: &Subject) {
    let one = made(subject, "One").await;
    let run_id = begun(subject, &one, "2026-05-01 12:00").await;
    assert_eq!(subject.store.due_runs(10).await.unwrap().len(), 1);
    let claims = (0..8_usize).map(|turn| {
        let store = if turn % 2 == 0 { &subject.store } else { &subject.other };
        let run_id = run_id.clone();
        async move {
            store.claim(&run_id, &format!("worker {turn}"), LEASE, at("2026-05-01 12:01")).await
        }
    });
    let claims: Vec<Claim> =
        futures::future::join_all(claims).await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(claims.len(), 1, "{claims:?}");
    let run = subject.other.run(&run_id).await.unwrap();
    assert_eq!((run.state, run.worker.as_ref()), (RunState::Running, Some(&claims[0].worker)));
    assert_eq!((run.attempt, run.lease_expires_at), (1, Some(at("2026-05-01 12:02"))));
    assert!(subject.store.due_runs(10).await.unwrap().is_empty());
}

pub(super) async fn a_worker_that_lost_its_run_changes_nothing(subject: &Subject) {
    let one = made(subject, "One").await;
    let run_id = begun(subject, &one, "2026-05-01 12:00").await;
    let mut progress = Progress { phase: "extracting".to_owned(), ..Progress::default() };
    progress.rows.insert("contact".to_owned(), 17);
    let sleeper = claimed(subject, &run_id, "a", "2026-05-01 12:00").await;
    let renewed =
        subject.store.renew(&sleeper, &progress, LEASE, at("2026-05-01 12:01")).await.unwrap();
    assert_eq!(renewed, Renewal::Held);
    assert!(subject.store.record_token(&sleeper, 41).await.unwrap());
    let run = subject.store.run(&run_id).await.unwrap();
    assert_eq!((run.progress.as_ref(), run.destination_token), (Some(&progress), Some(41)));
    // The lease lasts up to its end.
    assert!(subject.other.recover(at("2026-05-01 12:02"), |_| false).await.unwrap().is_empty());
    let late = at("2026-05-01 12:02") + TimeDelta::milliseconds(1);
    let (one_recovers, two_recovers) = tokio::join!(
        subject.store.recover(late, |_| false),
        subject.other.recover(late, |_| false)
    );
    let recovered = [one_recovers.unwrap(), two_recovers.unwrap()].concat();
    assert_eq!(recovered, std::slice::from_ref(&run_id));
    for _ in 0..2 {
        // Before and after another has it.
        let renewal = subject.store.renew(&sleeper, &progress, LEASE, late).await.unwrap();
        assert_eq!(renewal, Renewal::Lost);
        assert!(!subject.store.record_token(&sleeper, 42).await.unwrap());
        assert!(!subject.store.finish(&sleeper, RunState::Failed, None, late).await.unwrap());
        subject.store.claim(&run_id, "a", LEASE, at("2026-05-01 12:03")).await.unwrap();
    }
    let run = subject.store.run(&run_id).await.unwrap();
    assert_eq!((run.state, run.attempt, run.destination_token), (RunState::Running, 2, Some(41)));
    let heir = Claim { attempt: 2, ..sleeper };
    let error = RunError {
        code: "source_refused".to_owned(),
        message: "The token is not valid".to_owned(),
        remedy: "Make a new one".to_owned(),
    };
    assert!(
        subject
            .store
            .finish(&heir, RunState::Failed, Some(&error), at("2026-05-01 12:04"))
            .await
            .unwrap()
    );
    assert!(
        !subject
            .store
            .finish(&heir, RunState::Succeeded, None, at("2026-05-01 12:05"))
            .await
            .unwrap()
    );
    let run = subject.store.run(&run_id).await.unwrap();
    assert_eq!(
        (run.state, run.error, run.ended_at),
        (RunState::Failed, Some(error), Some(at("2026-05-01 12:04")))
    );
}

pub(super) async fn the_lease_of_the_dead_is_not_waited_for(subject: &Subject) {
    let one = made(subject, "One").await;
    let run_id = begun(subject, &one, "2026-05-01 12:00").await;
    let dead = claimed(subject, &run_id, "here/1", "2026-05-01 12:00").await;
    let now = at("2026-05-01 12:00");
    assert!(subject.store.recover(now, |worker| worker == "here/2").await.unwrap().is_empty());
    let due = subject.store.recover(now, |worker| worker == "here/1").await.unwrap();
    assert_eq!(due, std::slice::from_ref(&run_id));
    assert_eq!(subject.store.look(&dead).await.unwrap(), Renewal::Lost);
    claimed(subject, &run_id, "here/2", "2026-05-01 12:00").await;
    let run = subject.store.run(&run_id).await.unwrap();
    assert_eq!((run.attempt, run.lapses), (2, 1));
}

pub(super) async fn a_run_whose_workers_disappear_is_lost_in_the_end(subject: &Subject) {
    let one = made(subject, "One").await;
    let run_id = begun(subject, &one, "2026-05-01 12:00").await;
    // To be given back in an orderly way counts for nothing.
    for _ in 0..4 {
        let claim = claimed(subject, &run_id, "a", "2026-05-01 12:00").await;
        assert!(subject.store.release(&claim).await.unwrap());
        assert!(!subject.store.release(&claim).await.unwrap());
    }
    for attempt in 1..=MOST_LAPSES {
        let claim = claimed(subject, &run_id, "a", "2026-05-01 12:00").await;
        assert_eq!(claim.attempt, attempt + 4);
        let due = subject.store.recover(at("2026-05-01 13:00"), |_| false).await.unwrap();
        assert_eq!(due.len(), usize::from(attempt < MOST_LAPSES));
    }
    let run = subject.store.run(&run_id).await.unwrap();
    // It ended when its last lease did, not when that was noticed.
    assert_eq!((run.state, run.ended_at), (RunState::Lost, Some(at("2026-05-01 12:01"))));
    assert_eq!(run.error.unwrap().code, "lost");
    assert!(
        subject.store.claim(&run_id, "b", LEASE, at("2026-05-01 13:01")).await.unwrap().is_none()
    );
    begun(subject, &one, "2026-05-01 13:02").await;
}

pub(super) async fn stopping(subject: &Subject) {
    let one = made(subject, "One").await;
    let stop = |run_id: String, now| async move {
        subject.store.stop(&run_id, StopReason::Hand, at(now)).await.unwrap()
    };
    let state = |run_id: String| async move { subject.store.run(&run_id).await.unwrap().state };
    // Nobody has it: it ends at once.
    let run = begun(subject, &one, "2026-05-01 12:00").await;
    assert!(stop(run.clone(), "2026-05-01 12:01").await);
    assert_eq!(state(run.clone()).await, RunState::Stopped);
    assert!(!stop(run, "2026-05-01 12:02").await);
    // A worker has it, and hears of it.
    let run = begun(subject, &one, "2026-05-01 13:00").await;
    let claim = claimed(subject, &run, "a", "2026-05-01 13:00").await;
    assert!(stop(run.clone(), "2026-05-01 13:01").await);
    assert_eq!(state(run.clone()).await, RunState::Running);
    let renewal = subject
        .store
        .renew(&claim, &Progress::default(), LEASE, at("2026-05-01 13:02"))
        .await
        .unwrap();
    assert_eq!(renewal, Renewal::Stop(StopReason::Hand));
    // The worker disappears: a run that was to stop isn't begun again.
    assert!(subject.store.recover(at("2026-05-01 14:00"), |_| false).await.unwrap().is_empty());
    assert_eq!(state(run).await, RunState::Stopped);
    let unknown = subject.store.stop("nothing", StopReason::Hand, at("2026-05-01 12:00")).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { what: "run", .. })));
}

pub(super) async fn a_run_beyond_its_time_is_asked_to_stop(subject: &Subject) {
    let one = made(subject, "One").await;
    let run = begun(subject, &one, "2026-05-01 12:00").await;
    // The time before this attempt counts for nothing.
    let former = claimed(subject, &run, "a", "2026-05-01 12:05").await;
    assert!(subject.store.release(&former).await.unwrap());
    let claim = subject
        .store
        .claim(&run, "a", TimeDelta::days(3), at("2026-05-01 12:30"))
        .await
        .unwrap()
        .unwrap();
    let limit = TimeDelta::hours(24);
    assert_eq!(subject.store.stop_overdue(limit, at("2026-05-02 12:29")).await.unwrap(), 0);
    assert_eq!(subject.store.stop_overdue(limit, at("2026-05-02 12:30")).await.unwrap(), 1);
    assert_eq!(subject.store.stop_overdue(limit, at("2026-05-02 12:31")).await.unwrap(), 0);
    let renewal = subject
        .store
        .renew(&claim, &Progress::default(), LEASE, at("2026-05-02 12:32"))
        .await
        .unwrap();
    assert_eq!(renewal, Renewal::Stop(StopReason::TimeLimit));
}

pub(super) async fn decisions_are_written_once(subject: &Subject) {
    let new = new_integration("Hourly", Some(parsed(json!({ "cron": "0 0 * ? * *" }))));
    let made = subject.store.create_integration(&new, at("2026-05-01 11:30")).await.unwrap();
    let limits = SchedulerLimits::default();
    let (one, two) = (
        Scheduler::new(&subject.store, Nowhere, limits),
        Scheduler::new(&subject.other, Nowhere, limits),
    );
    for now in ["2026-05-01 12:00", "2026-05-01 13:00", "2026-05-01 13:00", "2026-05-01 17:20"] {
        let (first, second) = tokio::join!(one.tick(at(now)), two.tick(at(now)));
        let begun = first.unwrap().begun.len() + second.unwrap().begun.len();
        assert_eq!(begun, usize::from(now == "2026-05-01 12:00"), "{now}");
        if now == "2026-05-01 13:00" {
            let run = subject.store.last_run(&made.id).await.unwrap().unwrap();
            subject.store.stop(&run.id, StopReason::Hand, at(now)).await.unwrap();
        }
    }
    let slots = subject.store.slots(&made.id, None, 10).await.unwrap();
    let shown: Vec<_> =
        slots.iter().map(|slot| (slot.outcome, slot.first_slot, slot.slot, slot.count)).collect();
    let (skipped, noon) = (at("2026-05-01 13:00"), at("2026-05-01 12:00"));
    assert_eq!(
        shown,
        [
            (SlotOutcome::Missed, at("2026-05-01 14:00"), at("2026-05-01 17:00"), 4),
            (SlotOutcome::Skipped, skipped, skipped, 1),
            (SlotOutcome::Started, noon, noon, 1),
        ]
    );
    assert_eq!(slots[2].run_id, subject.store.last_run(&made.id).await.unwrap().map(|run| run.id));
}
