//! What is old goes, and a little of it stays.

use chrono::TimeDelta;
use service::{
    integration::IntegrationEdit,
    run::RunState,
    store::{LogLevel, LogLimits, NewLogLine, Pruned},
};

use super::{begun, claimed, load, made};
use crate::{at, subject::Subject};

/// Old runs, slots, loads and changes are deleted; an integration's last run and the usage stay.
pub(super) async fn what_is_old_is_deleted(subject: &Subject) {
    let store = &subject.store;
    let one = made(subject, "One").await;
    let mut runs = Vec::new();
    for day in 1..=3 {
        let when = format!("2026-05-0{day} 12:00");
        let run = begun(subject, &one, &when).await;
        let line = NewLogLine {
            logged_at: at(&when),
            location: "tap".to_owned(),
            level: LogLevel::Info,
            body: "Read".to_owned(),
        };
        store.append_log(&run, &[line], &LogLimits::default()).await.unwrap();
        let claim = claimed(subject, &run, "a", &when).await;
        assert!(store.finish(&claim, RunState::Succeeded, None, at(&when)).await.unwrap());
        runs.push(run);
    }
    let loads = [
        load("b1", "contact", "2026-05-01 12:00", [10, 0, 0]),
        load("b2", "contact", "2026-05-03 12:00", [5, 0, 0]),
    ];
    store.record_loads(&one.id, &loads).await.unwrap();
    let (runs_before, loads_before) = (at("2026-05-04 00:00"), at("2026-05-02 00:00"));
    let pruned = store.prune(runs_before, loads_before).await.unwrap();
    assert_eq!((pruned.runs, pruned.loads), (2, 1));
    assert_eq!(store.prune(runs_before, loads_before).await.unwrap(), Pruned::default());
    assert!(store.run(&runs[0]).await.is_err() && store.run(&runs[2]).await.is_ok());
    assert_eq!(store.log(&runs[2], 0, 10).await.unwrap().len(), 1);
    assert_eq!(store.loads(&one.id, "contact", 10).await.unwrap().len(), 1);
    let usage = store
        .usage(
            crate::usage_of_all("2026-05-01".parse().unwrap(), "2026-06-01".parse().unwrap()),
            None,
            100_000,
        )
        .await;
    assert_eq!(usage.unwrap().iter().map(|day| day.counted + day.free).sum::<u64>(), 15);
}

/// Another start date asks for a reset, once; and nothing else does.
pub(super) async fn a_changed_start_date_asks_for_a_reset(subject: &Subject) {
    let store = &subject.store;
    let one = made(subject, "One").await;
    assert_eq!(one.reset_requested_at, None);
    let now = at("2026-05-02 08:00");
    let same = IntegrationEdit { start_date: Some(one.start_date), ..IntegrationEdit::default() };
    let one = store.edit_integration(&one.id, one.version, &same, now).await.unwrap();
    assert_eq!(one.reset_requested_at, Some(now), "the same date reads all again, too");
    store.reset_done(&one.id, now).await.unwrap();
    let earlier = Some(one.start_date - TimeDelta::days(30));
    let edit = IntegrationEdit { start_date: earlier, ..IntegrationEdit::default() };
    let one = store.edit_integration(&one.id, one.version, &edit, now).await.unwrap();
    assert_eq!(one.reset_requested_at, Some(now));
    let renamed = IntegrationEdit { name: Some("Other".to_owned()), ..IntegrationEdit::default() };
    let one = store.edit_integration(&one.id, one.version, &renamed, at("2026-05-02 09:00")).await;
    let one = one.unwrap();
    assert_eq!(one.reset_requested_at, Some(now));
    // One that was requested later isn't done yet.
    store.reset_done(&one.id, at("2026-05-01 08:00")).await.unwrap();
    assert_eq!(store.integration(&one.id).await.unwrap().reset_requested_at, Some(now));
    store.reset_done(&one.id, now).await.unwrap();
    assert_eq!(store.integration(&one.id).await.unwrap().reset_requested_at, None);
}

/// A schedule that can't be read hinders nothing but itself, and isn't lost by an edit of something else.
pub(super) async fn a_schedule_that_can_not_be_read_hinders_nothing(subject: &Subject) {
    let store = &subject.store;
    let one = made(subject, "One").await;
    made(subject, "Two").await;
    let broken =
        r#"update integrations set schedule = '{"every": "7h"}' where name = 'One' returning name"#;
    subject.query(broken).await;
    let all = store.integrations().await.unwrap();
    assert_eq!(all.len(), 2);
    assert!(all[0].schedule.is_none() && all[0].schedule_fault.is_some());
    assert!(all[1].schedule_fault.is_none());
    let renamed = IntegrationEdit { name: Some("Uno".to_owned()), ..IntegrationEdit::default() };
    let now = at("2026-05-02 08:00");
    let one = store.edit_integration(&one.id, one.version, &renamed, now).await.unwrap();
    assert!(one.schedule_fault.is_some());
    let none = IntegrationEdit { schedule: Some(None), ..IntegrationEdit::default() };
    let one = store.edit_integration(&one.id, one.version, &none, now).await.unwrap();
    assert_eq!((one.schedule_fault, one.schedule), (None, None));
}
