//! What every control store has to keep, whatever database it is in.

use std::collections::BTreeSet;

use chrono::{NaiveDate, TimeDelta};
use postgres_cluster::Cluster;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use service::{
    Dispatch, Scheduler, SchedulerLimits, StoreError,
    integration::{Integration, IntegrationEdit, PausedBy},
    run::{
        Claim, MOST_ATTEMPTS, Progress, Renewal, Run, RunError, RunState, SlotOutcome, StopReason,
    },
    store::{Load, LogLevel, LogLimits, NewLogLine, Role, Scope, Start},
};

use crate::{at, fields, new_integration, subject::Subject};

const LEASE: TimeDelta = TimeDelta::minutes(1);

/// Makes a test on SQLite of each case, and one of all on PostgreSQL, which share a server.
macro_rules! on_both {
    ($($case:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(&crate::subject::Subject::sqlite().await).await;
            })+
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn postgres_keeps_all_of_it() {
            let mut cluster = Cluster::start().unwrap();
            $({
                eprintln!("{}", stringify!($case));
                let subject = Subject::postgres(cluster, stringify!($case)).await;
                $case(&subject).await;
                cluster = subject.into_cluster().unwrap();
            })+
            drop(cluster);
        }
    };
}

on_both!(
    an_integration_reads_as_it_was_written,
    names_and_schemas_are_unique_until_they_are_free,
    an_edit_of_what_was_changed_is_refused,
    pausing_and_resuming,
    one_run_lives_at_a_time,
    one_worker_claims_a_run,
    a_worker_that_lost_its_run_changes_nothing,
    a_run_whose_workers_disappear_is_lost_in_the_end,
    stopping,
    a_run_beyond_its_time_is_asked_to_stop,
    decisions_are_written_once,
    a_log_is_kept_within_bounds,
    loads_count_once,
    the_first_days_of_a_schema_are_free_once,
    users_and_tokens,
    an_interrupted_call_leaves_nothing_open,
    opened_again_it_is_the_same_and_a_later_one_is_refused,
);

/// A dispatcher for runs that nobody is to work on.
pub(crate) struct Nowhere;

#[async_trait::async_trait]
impl Dispatch for Nowhere {
    async fn dispatch(&self, _run: &Run) {}
}

async fn made(subject: &Subject, name: &str) -> Integration {
    let new = new_integration(name, Some(fields(json!({ "every": "1h" }))));
    subject.store.create_integration(&new, at("2026-05-01 12:00")).await.unwrap()
}

async fn begun(subject: &Subject, integration: &Integration, now: &str) -> String {
    match subject.store.start_by_hand(&integration.id, at(now)).await.unwrap() {
        Start::Begun { run_id } => run_id,
        Start::AlreadyRunning { run_id } => panic!("`{run_id}` is alive"),
    }
}

async fn claimed(subject: &Subject, run_id: &str, worker: &str, now: &str) -> Claim {
    subject.store.claim(run_id, worker, LEASE, at(now)).await.unwrap().unwrap()
}

async fn an_integration_reads_as_it_was_written(subject: &Subject) {
    let schedule =
        json!({ "cron": "0 0 9 ? * MON-FRI", "zone": "Europe/Berlin", "catch_up": true });
    let new = new_integration("Stitch Bronto", Some(fields(schedule.clone())));
    let made = subject.store.create_integration(&new, at("2026-05-01 12:00")).await.unwrap();
    let read = subject.other.integration(&made.id).await.unwrap();
    assert_eq!(read, made);
    assert_eq!((read.name.as_str(), read.schema_name.as_str()), ("Stitch Bronto", "stitch_bronto"));
    assert_eq!(json!(read.schedule.unwrap().fields()), schedule);
    assert_eq!((read.settings, read.start_date), (new.settings, new.start_date));
    assert_eq!((read.version, read.created_at, read.paused), (1, at("2026-05-01 12:00"), None));
    assert_eq!(subject.store.integrations().await.unwrap(), [made]);
    let unknown = subject.store.integration("nothing").await.unwrap_err();
    assert_eq!(unknown.to_string(), "There is no integration `nothing`");
}

async fn names_and_schemas_are_unique_until_they_are_free(subject: &Subject) {
    let first = made(subject, "One").await;
    let again = new_integration("One", None);
    let refused =
        subject.other.create_integration(&again, at("2026-05-01 12:00")).await.unwrap_err();
    assert_eq!(refused.to_string(), "There is already an integration `One`");
    let mut twin = new_integration("Two", None);
    twin.schema_name = "one".to_owned();
    let refused =
        subject.other.create_integration(&twin, at("2026-05-01 12:00")).await.unwrap_err();
    assert_eq!(refused.to_string(), "There is already an integration of the schema `one`");
    let run = begun(subject, &first, "2026-05-01 12:30").await;
    let refused =
        subject.store.delete_integration(&first.id, at("2026-05-01 13:00")).await.unwrap_err();
    assert!(matches!(refused, StoreError::AlreadyRunning { run_id } if run_id == run));
    subject.store.stop(&run, StopReason::Hand, at("2026-05-01 13:00")).await.unwrap();
    subject.store.delete_integration(&first.id, at("2026-05-01 13:00")).await.unwrap();
    assert!(subject.store.integrations().await.unwrap().is_empty());
    assert!(subject.store.integration(&first.id).await.unwrap().deleted_at.is_some());
    assert!(subject.store.start_by_hand(&first.id, at("2026-05-01 14:00")).await.is_err());
    let second = made(subject, "One").await;
    assert_ne!(second.id, first.id);
}

async fn an_edit_of_what_was_changed_is_refused(subject: &Subject) {
    let one = made(subject, "One").await;
    made(subject, "Two").await;
    let edit = IntegrationEdit {
        name: Some("Renamed".to_owned()),
        schedule: Some(Some(fields(json!({ "every": "6h" })))),
        ..IntegrationEdit::default()
    };
    let edited = subject
        .store
        .edit_integration(&one.id, one.version, &edit, at("2026-05-02 08:00"))
        .await
        .unwrap();
    assert_eq!((edited.name.as_str(), edited.schema_name.as_str()), ("Renamed", "one"));
    assert_eq!((edited.version, edited.decided_until), (2, at("2026-05-02 08:00")));
    assert_eq!(edited.settings, one.settings);
    let late =
        subject.other.edit_integration(&one.id, one.version, &edit, at("2026-05-02 09:00")).await;
    assert!(matches!(late, Err(StoreError::Changed { .. })), "{late:?}");
    let taken = IntegrationEdit { name: Some("Two".to_owned()), ..IntegrationEdit::default() };
    let taken = subject.store.edit_integration(&one.id, 2, &taken, at("2026-05-02 09:00")).await;
    assert!(matches!(taken, Err(StoreError::Taken { .. })), "{taken:?}");
}

async fn pausing_and_resuming(subject: &Subject) {
    let one = made(subject, "One").await;
    let run = begun(subject, &one, "2026-05-01 12:00").await;
    subject.store.stop(&run, StopReason::Hand, at("2026-05-01 12:01")).await.unwrap();
    subject.store.pause(&one.id, PausedBy::User, at("2026-05-01 12:05")).await.unwrap();
    subject.other.pause(&one.id, PausedBy::System, at("2026-05-01 12:06")).await.unwrap();
    let paused = subject.store.integration(&one.id).await.unwrap();
    assert_eq!(paused.paused, Some((at("2026-05-01 12:05"), PausedBy::User)));
    let scheduler = Scheduler::new(&subject.store, Nowhere, SchedulerLimits::default());
    assert!(scheduler.tick(at("2026-05-01 13:00")).await.unwrap().begun.is_empty());
    // By hand it runs, and stays paused.
    let run = begun(subject, &one, "2026-05-01 13:10").await;
    subject.store.stop(&run, StopReason::Hand, at("2026-05-01 13:11")).await.unwrap();
    assert!(subject.store.integration(&one.id).await.unwrap().paused.is_some());
    // What passed while it was paused is no slot.
    subject.store.resume(&one.id, at("2026-05-01 15:00")).await.unwrap();
    assert!(scheduler.tick(at("2026-05-01 15:00")).await.unwrap().begun.is_empty());
    assert!(scheduler.tick(at("2026-05-01 15:09")).await.unwrap().begun.is_empty());
    assert_eq!(scheduler.tick(at("2026-05-01 15:10")).await.unwrap().begun.len(), 1);
    assert_eq!(subject.store.slots(&one.id, 10).await.unwrap().len(), 1);
}

async fn one_run_lives_at_a_time(subject: &Subject) {
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

async fn one_worker_claims_a_run(subject: &Subject) {
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

async fn a_worker_that_lost_its_run_changes_nothing(subject: &Subject) {
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
    assert!(subject.other.recover(at("2026-05-01 12:02")).await.unwrap().is_empty());
    let late = at("2026-05-01 12:02") + TimeDelta::milliseconds(1);
    let (one_recovers, two_recovers) =
        tokio::join!(subject.store.recover(late), subject.other.recover(late));
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

async fn a_run_whose_workers_disappear_is_lost_in_the_end(subject: &Subject) {
    let one = made(subject, "One").await;
    let run_id = begun(subject, &one, "2026-05-01 12:00").await;
    for attempt in 1..=MOST_ATTEMPTS {
        let claim = claimed(subject, &run_id, "a", "2026-05-01 12:00").await;
        assert_eq!(claim.attempt, attempt);
        let due = subject.store.recover(at("2026-05-01 13:00")).await.unwrap();
        assert_eq!(due.len(), usize::from(attempt < MOST_ATTEMPTS));
    }
    let run = subject.store.run(&run_id).await.unwrap();
    assert_eq!((run.state, run.ended_at), (RunState::Lost, Some(at("2026-05-01 13:00"))));
    assert_eq!(run.error.unwrap().code, "lost");
    assert!(
        subject.store.claim(&run_id, "b", LEASE, at("2026-05-01 13:01")).await.unwrap().is_none()
    );
    begun(subject, &one, "2026-05-01 13:02").await;
}

async fn stopping(subject: &Subject) {
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
    assert!(subject.store.recover(at("2026-05-01 14:00")).await.unwrap().is_empty());
    assert_eq!(state(run).await, RunState::Stopped);
    let unknown = subject.store.stop("nothing", StopReason::Hand, at("2026-05-01 12:00")).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { what: "run", .. })));
}

async fn a_run_beyond_its_time_is_asked_to_stop(subject: &Subject) {
    let one = made(subject, "One").await;
    let run = begun(subject, &one, "2026-05-01 12:00").await;
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

async fn decisions_are_written_once(subject: &Subject) {
    let new = new_integration("Hourly", Some(fields(json!({ "cron": "0 0 * ? * *" }))));
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
    let slots = subject.store.slots(&made.id, 10).await.unwrap();
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

fn line(body: &str) -> NewLogLine {
    NewLogLine {
        logged_at: at("2026-05-01 12:00"),
        location: "tap".to_owned(),
        level: LogLevel::Warning,
        body: body.to_owned(),
    }
}

async fn a_log_is_kept_within_bounds(subject: &Subject) {
    let limits = LogLimits { lines_per_run: 4, age: TimeDelta::days(7), bytes: 300 };
    let one = made(subject, "One").await;
    let run = begun(subject, &one, "2026-05-01 12:00").await;
    let hostile = "\u{1b}[31m<script>'; drop table runs; --\0 Grüße 🚀";
    subject.store.append_log(&run, &[line("one"), line(hostile)], &limits).await.unwrap();
    let (three, four) = ([line("three"), line("four"), line("five")], [line("six")]);
    subject.other.append_log(&run, &three, &limits).await.unwrap();
    subject.store.append_log(&run, &four, &limits).await.unwrap();
    let lines = subject.store.log(&run, 0, 100).await.unwrap();
    let numbers: Vec<u64> = lines.iter().map(|line| line.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(lines[1].line.body, hostile.replace('\0', "\u{fffd}"));
    assert_eq!(
        (&lines[0].line.location, lines[0].line.level),
        (&"tap".to_owned(), LogLevel::Warning)
    );
    assert_eq!(subject.store.log(&run, 2, 1).await.unwrap()[0].line.body, "three");
    let size = subject.store.run(&run).await.unwrap().log;
    assert_eq!((size.lines, size.dropped), (4, 2));
    assert!(size.bytes > 60 && size.bytes < 400);
    let unknown = subject.store.append_log("nothing", &[line("one")], &limits).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })));
    // Nothing is taken from a run that is alive.
    assert_eq!(subject.store.prune_logs(&limits, at("2027-05-01 12:00")).await.unwrap(), 0);
    subject.store.stop(&run, StopReason::Hand, at("2026-05-01 13:00")).await.unwrap();
    let later = begun(subject, &one, "2026-05-02 12:00").await;
    subject.store.append_log(&later, &[line("a"), line("b")], &limits).await.unwrap();
    subject.store.stop(&later, StopReason::Hand, at("2026-05-02 13:00")).await.unwrap();
    // Both together are too many bytes: the older goes.
    assert_eq!(subject.store.prune_logs(&limits, at("2026-05-02 14:00")).await.unwrap(), 1);
    assert!(subject.store.log(&run, 0, 100).await.unwrap().is_empty());
    assert_eq!(subject.store.run(&run).await.unwrap().log.dropped, 6);
    assert_eq!(subject.store.log(&later, 0, 100).await.unwrap().len(), 2);
    // And then the other is too old.
    assert_eq!(subject.store.prune_logs(&limits, at("2026-05-09 13:00")).await.unwrap(), 0);
    assert_eq!(subject.store.prune_logs(&limits, at("2026-05-09 13:01")).await.unwrap(), 1);
}

fn load(batch: &str, table: &str, committed_at: &str, counts: [u64; 3]) -> Load {
    let [inserted, updated, unchanged] = counts;
    Load {
        batch_id: batch.to_owned(),
        table_name: table.to_owned(),
        run_id: "r".to_owned(),
        stream: table.to_owned(),
        table_version: 1,
        received: inserted + updated + unchanged,
        inserted,
        updated,
        unchanged,
        superseded: 0,
        rejected: 0,
        deleted: 0,
        bytes: 100,
        bookmark: Some("2026-05-01T12:00:00Z".to_owned()),
        started_at: at(committed_at),
        committed_at: at(committed_at),
    }
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

async fn loads_count_once(subject: &Subject) {
    let one = made(subject, "One").await;
    let first = load("b1", "contact", "2026-05-20 23:00", [10, 5, 85]);
    let list = load("b1", "list", "2026-05-20 23:00", [3, 0, 0]);
    let second = load("b2", "contact", "2026-05-20 23:30", [1, 1, 0]);
    let third = load("b3", "contact", "2026-05-21 00:00", [2, 0, 7]);
    let report = [first.clone(), list, second.clone()];
    let (here, there) = tokio::join!(
        subject.store.record_loads(&one.id, &report),
        subject.other.record_loads(&one.id, &report)
    );
    assert_eq!(here.unwrap() + there.unwrap(), 3);
    assert_eq!(
        subject.store.record_loads(&one.id, &[second.clone(), third.clone()]).await.unwrap(),
        1
    );
    assert_eq!(subject.other.loads(&one.id, "contact", 10).await.unwrap(), [third, second, first]);
    let usage = subject.store.usage(day("2026-05-01"), day("2026-06-01")).await.unwrap();
    let shown: Vec<_> = usage
        .iter()
        .map(|usage| {
            (usage.table_name.as_str(), usage.day, usage.counted, usage.free, usage.reread)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("contact", day("2026-05-20"), 17, 0, 85),
            ("contact", day("2026-05-21"), 2, 0, 7),
            ("list", day("2026-05-20"), 3, 0, 0),
        ]
    );
    assert_eq!(subject.store.usage(day("2026-05-21"), day("2026-05-22")).await.unwrap().len(), 1);
    assert!(subject.store.record_loads("nothing", &[]).await.is_err());
}

async fn the_first_days_of_a_schema_are_free_once(subject: &Subject) {
    // Made on the first of May, at noon.
    let one = made(subject, "One").await;
    let within = load("b1", "contact", "2026-05-08 11:59", [10, 0, 0]);
    let after = load("b2", "contact", "2026-05-08 12:00", [20, 0, 0]);
    subject.store.record_loads(&one.id, &[within, after]).await.unwrap();
    subject.store.delete_integration(&one.id, at("2026-05-09 00:00")).await.unwrap();
    let new = new_integration("One", None);
    let again = subject.store.create_integration(&new, at("2026-05-09 00:00")).await.unwrap();
    let late = load("b3", "contact", "2026-05-09 01:00", [5, 0, 0]);
    subject.store.record_loads(&again.id, &[late]).await.unwrap();
    let usage = subject.store.usage(day("2026-05-01"), day("2026-06-01")).await.unwrap();
    let shown: Vec<_> = usage.iter().map(|usage| (usage.counted, usage.free)).collect();
    assert_eq!(shown, [(20, 10), (5, 0)]);
}

async fn users_and_tokens(subject: &Subject) {
    let now = at("2026-05-01 12:00");
    let hash = SecretString::from("$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA");
    let ann = subject.store.create_user("ann", Role::Member, &hash, now).await.unwrap();
    let twin = subject.other.create_user("ann", Role::Viewer, &hash, now).await.unwrap_err();
    assert_eq!(twin.to_string(), "There is already a user `ann`");
    let (user, stored) = subject.other.user_to_sign_in("ann").await.unwrap().unwrap();
    assert_eq!((&user, stored.expose_secret()), (&ann, hash.expose_secret()));
    assert!(subject.store.user_to_sign_in("bob").await.unwrap().is_none());
    let expires = Some(at("2026-05-02 12:00"));
    let token = subject.store.create_token(&ann.id, "ci", Scope::Read, expires, now).await.unwrap();
    let lasting =
        subject.store.create_token(&ann.id, "script", Scope::Write, None, now).await.unwrap();
    let may = |token: SecretString, now: &'static str| async move {
        subject.other.authenticate(&token, at(now)).await.unwrap().map(|(_, scope)| scope)
    };
    assert_eq!(may(token.text.clone(), "2026-05-02 11:59").await, Some(Scope::Read));
    assert_eq!(may(token.text.clone(), "2026-05-02 12:00").await, None);
    assert_eq!(may(lasting.text.clone(), "2026-05-03 12:00").await, Some(Scope::Write));
    assert_eq!(may("backstitch_0000".into(), "2026-05-01 12:00").await, None);
    let tokens = subject.store.tokens(&ann.id).await.unwrap();
    assert_eq!(
        (tokens[0].name.as_str(), tokens[0].last_used_at),
        ("ci", Some(at("2026-05-02 11:59")))
    );
    // Only a digest is stored.
    let kept =
        subject.query("select name || scope || token_hash from api_tokens order by name").await;
    let secret = lasting.text.expose_secret().trim_start_matches("backstitch_");
    assert!(kept.contains("scriptwrite") && !kept.contains(secret), "{kept}");
    assert_eq!(secret.len(), 64);
    subject.store.revoke_token(&token.id, at("2026-05-01 13:00")).await.unwrap();
    assert_eq!(may(token.text, "2026-05-01 13:00").await, None);
    assert_eq!(subject.store.tokens(&ann.id).await.unwrap().len(), 1);
    subject.store.disable_user(&ann.id, at("2026-05-01 14:00")).await.unwrap();
    assert_eq!(may(lasting.text, "2026-05-01 14:00").await, None);
    assert!(subject.store.user_to_sign_in("ann").await.unwrap().is_none());
    assert!(subject.store.create_token(&ann.id, "x", Scope::Read, None, now).await.is_err());
    assert!(subject.store.revoke_token("nothing", now).await.is_err());
}

async fn an_interrupted_call_leaves_nothing_open(subject: &Subject) {
    for turn in 0..20_u64 {
        let new = new_integration(&format!("Turn {turn}"), None);
        let create = subject.store.create_integration(&new, at("2026-05-01 12:00"));
        // Some are given up before they began, some in the middle, some not at all.
        let _given_up =
            tokio::time::timeout(std::time::Duration::from_micros(turn * 150), create).await;
        let found = subject.other.integrations().await.unwrap();
        assert!(found.len() as u64 <= turn + 1);
    }
    made(subject, "Last").await;
    let windows = subject.query("select count(*) || '' from free_windows").await;
    let integrations = subject.store.integrations().await.unwrap().len();
    // Both rows of an integration, or neither.
    assert_eq!(windows.lines().last().unwrap(), integrations.to_string());
}

async fn opened_again_it_is_the_same_and_a_later_one_is_refused(subject: &Subject) {
    let one = made(subject, "One").await;
    let again = subject.reopen().await.unwrap();
    assert_eq!(again.integrations().await.unwrap(), [one]);
    subject
        .query("insert into store_version (version, applied_at) values (99, 0) returning 'done'")
        .await;
    let refused = subject.reopen().await.unwrap_err();
    assert!(matches!(refused, StoreError::Newer { found: 99, .. }), "{refused}");
    assert!(!refused.is_retriable() && refused.remedy().contains("later"));
}
