//! What every control store has to keep, whatever database it is in.

mod access;
mod figures;
mod pages;
mod retention;
mod runs;

use chrono::TimeDelta;
use postgres_cluster::Cluster;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use service::{
    Dispatch, Scheduler, SchedulerLimits, StoreError,
    integration::{Integration, IntegrationEdit, Origin, PausedBy},
    run::{Claim, Run, RunError, RunState, StopReason},
    store::{MigrationDue, Role, Scope, SealedSecret, Start},
};

pub(crate) use self::figures::load;
use self::{
    access::{
        an_integration_and_its_secrets_are_one, keys_of_requests, sessions_end, users_are_managed,
    },
    figures::{
        a_log_is_kept_within_bounds, loads_count_once, tables_are_reported, tables_that_change,
        the_first_days_of_a_schema_are_free_once,
    },
    pages::{
        lines_by_level, lines_by_text, loads_by_span, pages_of_runs_and_slots, what_the_store_holds,
    },
    retention::{
        a_changed_start_date_asks_for_a_reset, a_schedule_that_can_not_be_read_hinders_nothing,
        what_is_old_is_deleted,
    },
    runs::{
        a_run_beyond_its_time_is_asked_to_stop, a_run_whose_workers_disappear_is_lost_in_the_end,
        a_worker_that_lost_its_run_changes_nothing, decisions_are_written_once,
        one_run_lives_at_a_time, one_worker_claims_a_run, stopping,
        the_lease_of_the_dead_is_not_waited_for,
    },
};
use crate::{at, new_integration, parsed, subject::Subject};

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
    what_a_file_declares_is_applied_once,
    pausing_and_resuming,
    one_run_lives_at_a_time,
    one_worker_claims_a_run,
    a_worker_that_lost_its_run_changes_nothing,
    a_run_whose_workers_disappear_is_lost_in_the_end,
    the_lease_of_the_dead_is_not_waited_for,
    stopping,
    a_run_beyond_its_time_is_asked_to_stop,
    decisions_are_written_once,
    a_log_is_kept_within_bounds,
    loads_count_once,
    the_first_days_of_a_schema_are_free_once,
    tables_are_reported,
    tables_that_change,
    what_is_old_is_deleted,
    a_changed_start_date_asks_for_a_reset,
    a_schedule_that_can_not_be_read_hinders_nothing,
    sealed_secrets,
    texts_with_nul,
    users_and_tokens,
    users_are_managed,
    sessions_end,
    keys_of_requests,
    an_integration_and_its_secrets_are_one,
    pages_of_runs_and_slots,
    lines_by_level,
    lines_by_text,
    loads_by_span,
    what_the_store_holds,
    an_interrupted_call_leaves_nothing_open,
    opened_again_it_is_the_same_and_a_later_one_is_refused,
    who_only_looks_changes_nothing,
);

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.db");
    let store = service::Store::sqlite(&path, at("2026-05-01 12:00")).await.unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    drop(store);
    let missing = folder.path().join("nowhere/control.db");
    let error = service::Store::sqlite(&missing, at("2026-05-01 12:00")).await.unwrap_err();
    assert!(error.is_retriable() && error.to_string().contains("nowhere/control.db"));
}

/// A dispatcher for runs that nobody is to work on.
pub(crate) struct Nowhere;

#[async_trait::async_trait]
impl Dispatch for Nowhere {
    async fn dispatch(&self, _run: &Run) {}
}

async fn made(subject: &Subject, name: &str) -> Integration {
    let new = new_integration(name, Some(parsed(json!({ "every": "1h" }))));
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
    let new = new_integration("Stitch Bronto", Some(parsed(schedule.clone())));
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
        schedule: Some(Some(parsed(json!({ "every": "6h" })))),
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

async fn what_a_file_declares_is_applied_once(subject: &Subject) {
    let store = &subject.store;
    let declared = |name, every: &str| service::integration::NewIntegration {
        origin: Origin::File,
        ..new_integration(name, Some(parsed(json!({ "every": every }))))
    };
    let both = [declared("One", "1h"), declared("Two", "6h")];
    store.declare_integrations(&both, &[], at("2026-05-01 12:00")).await.unwrap();
    let first = store.integrations().await.unwrap();
    store.declare_integrations(&both, &[], at("2026-05-01 13:00")).await.unwrap();
    assert_eq!(store.integrations().await.unwrap(), first);
    // Nor does a schedule that is written otherwise.
    let cron = |every, zone| service::integration::NewIntegration {
        schedule: Some(parsed(json!({ "cron": every, "zone": zone }))),
        ..declared("Zoned", "1h")
    };
    let three = |three| [both.as_slice(), &[three]].concat();
    let written = three(cron("0 0 9 ? * MON-FRI", "UTC"));
    store.declare_integrations(&written, &[], at("2026-05-01 13:00")).await.unwrap();
    let before = store.integrations().await.unwrap();
    let otherwise = three(cron("0 0 9 ? * mon-fri", "UTC"));
    store.declare_integrations(&otherwise, &[], at("2026-05-01 13:30")).await.unwrap();
    assert_eq!(store.integrations().await.unwrap(), before);
    store.declare_integrations(&both, &[], at("2026-05-01 13:00")).await.unwrap();
    // Another schedule for one, and the other is gone.
    let one = [declared("One", "3h")];
    store.declare_integrations(&one, &[], at("2026-05-01 14:00")).await.unwrap();
    let second = store.integrations().await.unwrap();
    assert_eq!((second[0].version, second[0].decided_until), (2, at("2026-05-01 14:00")));
    assert_eq!(second[1].paused, Some((at("2026-05-01 14:00"), PausedBy::System)));
    // It comes back.
    store.declare_integrations(&both, &[], at("2026-05-01 15:00")).await.unwrap();
    let third = store.integrations().await.unwrap();
    assert_eq!((third[1].paused, &third[1].id), (None, &first[1].id));
    made(subject, "By API").await;
    // What can't be made keeps nothing else from being made.
    let mut idle = declared("Idle", "1h");
    idle.schedule = Some(parsed(json!({ "cron": "0 0 0 ? * * 2025" })));
    let three = [declared("By API", "1h"), idle, declared("Three", "1h")];
    // What stands there and can't be taken from it has not gone.
    let refused =
        store.declare_integrations(&three, &["Two"], at("2026-05-01 16:00")).await.unwrap();
    let [(one, StoreError::Taken { .. }), (other, StoreError::Idle { .. })] = refused.as_slice()
    else {
        panic!("{refused:?}");
    };
    assert_eq!((one.as_str(), other.as_str()), ("By API", "Idle"));
    let fourth = store.integrations().await.unwrap();
    assert!(fourth.iter().any(|made| made.name == "Three"));
    let state = |name: &str| {
        let found = fourth.iter().find(|found| found.name == name).unwrap();
        (found.paused.is_some(), found.undeclared_at.is_some())
    };
    assert_eq!(
        [state("One"), state("Two"), state("By API")],
        [(true, true), (false, false), (false, false)]
    );
    // One that somebody paused before it went stays paused by them when it comes back.
    let two = fourth.iter().find(|found| found.name == "Two").unwrap();
    store.pause(&two.id, PausedBy::User, at("2026-05-01 16:10")).await.unwrap();
    store.declare_integrations(&[], &[], at("2026-05-01 16:20")).await.unwrap();
    let gone = store.integration(&two.id).await.unwrap();
    assert_eq!(
        (gone.paused.map(|(_, by)| by), gone.undeclared_at),
        (Some(PausedBy::User), Some(at("2026-05-01 16:20")))
    );
    store.declare_integrations(&both, &[], at("2026-05-01 16:30")).await.unwrap();
    let back = store.integration(&two.id).await.unwrap();
    assert_eq!((back.paused, back.undeclared_at), (gone.paused, None));
}

async fn sealed_secrets(subject: &Subject) {
    let one = made(subject, "One").await;
    let secret = |name: &str, key: &str, sealed: &[u8]| SealedSecret {
        name: name.to_owned(),
        key_id: key.to_owned(),
        sealed: sealed.to_vec(),
    };
    let now = at("2026-05-01 12:00");
    let token = secret("token", "k1", &[0, 255, 7]);
    subject.store.put_secret(&one.id, &token, now).await.unwrap();
    subject.store.put_secret(&one.id, &secret("password", "k1", b"x"), now).await.unwrap();
    let renewed = secret("password", "k2", b"y");
    subject.other.put_secret(&one.id, &renewed, now).await.unwrap();
    assert_eq!(subject.store.secrets(&one.id).await.unwrap(), [renewed, token.clone()]);
    assert!(subject.store.put_secret("nothing", &token, now).await.is_err());
    subject.store.forget_secrets(&one.id).await.unwrap();
    assert!(subject.other.secrets(&one.id).await.unwrap().is_empty());
    // Nor does one that is deleted keep any.
    subject.store.put_secret(&one.id, &token, now).await.unwrap();
    subject.store.delete_integration(&one.id, now).await.unwrap();
    assert!(subject.other.secrets(&one.id).await.unwrap().is_empty());
}

async fn texts_with_nul(subject: &Subject) {
    let one = made(subject, "One\0Two").await;
    assert_eq!(one.name, "One\u{fffd}Two");
    let run = begun(subject, &one, "2026-05-01 12:00").await;
    let claim = claimed(subject, &run, "a\0b", "2026-05-01 12:00").await;
    let error = RunError {
        code: "source_refused".to_owned(),
        message: "\0Sorry".to_owned(),
        remedy: "\0".to_owned(),
    };
    let now = at("2026-05-01 12:01");
    assert!(subject.store.finish(&claim, RunState::Failed, Some(&error), now).await.unwrap());
    let error = subject.other.run(&run).await.unwrap().error.unwrap();
    assert_eq!((error.message.as_str(), error.remedy.as_str()), ("\u{fffd}Sorry", "\u{fffd}"));
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
    assert_eq!(subject.store.slots(&one.id, None, 10).await.unwrap().len(), 1);
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
    subject.store.create_user("eve", Role::Administrator, &hash, now).await.unwrap();
    subject.store.disable_user(&ann.id, at("2026-05-01 14:00")).await.unwrap();
    assert_eq!(may(lasting.text, "2026-05-01 14:00").await, None);
    assert!(subject.store.user_to_sign_in("ann").await.unwrap().is_none());
    assert!(subject.store.create_token(&ann.id, "x", Scope::Read, None, now).await.is_err());
    assert!(subject.store.revoke_token("nothing", now).await.is_err());
}

async fn an_interrupted_call_leaves_nothing_open(subject: &Subject) {
    let one = made(subject, "One").await;
    for turn in 0..20_u64 {
        let loads = [load(&format!("b{turn}"), "contact", "2026-05-01 12:00", [1, 0, 0])];
        let record = subject.store.record_loads(&one.id, &loads);
        // Some are given up before they began, some in the middle, some not at all.
        let _given_up =
            tokio::time::timeout(std::time::Duration::from_micros(turn * 150), record).await;
        assert!(
            subject.other.loads(&one.id, "contact", 100).await.unwrap().len() as u64 <= turn + 1
        );
    }
    let last = [load("last", "contact", "2026-05-01 12:00", [1, 0, 0])];
    assert_eq!(subject.store.record_loads(&one.id, &last).await.unwrap(), 1);
    let loads = subject.store.loads(&one.id, "contact", 100).await.unwrap().len();
    let day = |text: &str| text.parse().unwrap();
    let usage = subject
        .store
        .usage(crate::usage_of_all(day("2026-05-01"), day("2026-05-02")), None, 100_000)
        .await
        .unwrap();
    // A load and its usage, or neither.
    assert_eq!(usage[0].free, loads as u64);
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
    assert!(matches!(subject.look().await.unwrap_err(), StoreError::Newer { found: 99, .. }));
}

async fn who_only_looks_changes_nothing(subject: &Subject) {
    let one = made(subject, "One").await;
    let (looking, due) = subject.look().await.unwrap();
    assert_eq!(due, None);
    assert_eq!(looking.integrations().await.unwrap(), std::slice::from_ref(&one));
    let refused = looking.pause(&one.id, PausedBy::User, at("2026-05-01 13:00")).await;
    assert!(refused.is_err());
    let version = "select cast(max(version) as text) from store_version";
    let newest = subject.query(version).await.parse::<i64>().unwrap();
    subject
        .query(&format!("delete from store_version where version = {newest} returning 'done'"))
        .await;
    let (_, due) = subject.look().await.unwrap();
    assert_eq!(due, Some(MigrationDue { found: newest - 1, known: newest }));
    assert_eq!(subject.query(version).await, (newest - 1).to_string());
}

/// An edit reads, and then writes where nothing has changed: what is done in between stays done.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_that_ends_during_an_edit_does_not_come_back() {
    let subject = Subject::postgres(Cluster::start().unwrap(), "resets").await;
    let one = made(&subject, "One").await;
    let now = at("2026-05-01 13:00");
    let reset = IntegrationEdit { start_date: Some(one.start_date), ..IntegrationEdit::default() };
    let one = subject.store.edit_integration(&one.id, one.version, &reset, now).await.unwrap();
    // The row is held, so that the edit has read it and can't write yet.
    let holder = subject.session().await;
    holder.batch_execute("begin; select 1 from integrations for update").await.unwrap();
    let rename = IntegrationEdit { name: Some("Other".to_owned()), ..IntegrationEdit::default() };
    let edit = subject.store.edit_integration(&one.id, one.version, &rename, now);
    let end = async {
        let waiting = "select count(*)::text from pg_stat_activity where wait_event_type = 'Lock'";
        while subject.query(waiting).await == "0" {
            tokio::task::yield_now().await;
        }
        let done = "update integrations set reset_requested_at = null; commit";
        holder.batch_execute(done).await.unwrap();
    };
    let (edited, ()) = tokio::join!(edit, end);
    let edited = edited.unwrap();
    assert_eq!((edited.name.as_str(), edited.reset_requested_at), ("Other", None));
}
