//! What runs leave behind: logs, loads and usage.

use chrono::{NaiveDate, TimeDelta};
use service::{
    StoreError,
    run::{RunError, RunState, StopReason},
    store::{
        Load, LoadCounts, LogLevel, LogLimits, NewLogLine, Period, SchemaChange, SchemaEvent,
        TableReport, UsageChoice, UsagePlace, UsageTotal,
    },
};

use super::{begun, claimed, made};
use crate::{at, new_integration, subject::Subject};

pub(super) fn line(body: &str) -> NewLogLine {
    NewLogLine {
        logged_at: at("2026-05-01 12:00"),
        location: "tap".to_owned(),
        level: LogLevel::Warning,
        body: body.to_owned(),
    }
}

pub(super) async fn a_log_is_kept_within_bounds(subject: &Subject) {
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
    // What a run that is alive has written takes its room, and a line that is too long is cut off.
    let (two, long) = (made(subject, "Two").await, "Grüße ".repeat(4_000));
    let alive = begun(subject, &two, "2026-05-02 12:00").await;
    subject.store.append_log(&alive, &[line(&long)], &limits).await.unwrap();
    let body = subject.store.log(&alive, 0, 1).await.unwrap().remove(0).line.body;
    assert!(body.len() < 17 << 10 && body.ends_with("… (cut off: 32000 bytes in all)"));
    let roomy = LogLimits { bytes: subject.store.run(&alive).await.unwrap().log.bytes, ..limits };
    assert_eq!(subject.store.prune_logs(&roomy, at("2026-05-02 14:00")).await.unwrap(), 1);
    assert_eq!(subject.store.log(&alive, 0, 100).await.unwrap().len(), 1);
    let claim = claimed(subject, &alive, "a", "2026-05-02 12:00").await;
    let error = RunError { code: "x".to_owned(), message: long.clone(), remedy: long };
    let now = at("2026-05-02 14:00");
    assert!(subject.store.finish(&claim, RunState::Failed, Some(&error), now).await.unwrap());
    let error = subject.store.run(&alive).await.unwrap().error.unwrap();
    assert!(error.message.len() < 17 << 10 && error.remedy == error.message);
    // And then it is too old.
    let roomy = LogLimits { bytes: 1 << 20, ..limits };
    assert_eq!(subject.store.prune_logs(&roomy, at("2026-05-09 14:00")).await.unwrap(), 0);
    assert_eq!(subject.store.prune_logs(&roomy, at("2026-05-09 14:01")).await.unwrap(), 1);
}

pub(crate) fn load(batch: &str, table: &str, committed_at: &str, counts: [u64; 3]) -> Load {
    let [inserted, updated, unchanged] = counts;
    Load {
        batch_id: batch.to_owned(),
        table_name: table.to_owned(),
        run_id: "r".to_owned(),
        stream: table.to_owned(),
        table_version: 1,
        counts: LoadCounts {
            received: inserted + updated + unchanged,
            inserted,
            updated,
            unchanged,
            bytes: 100,
            ..LoadCounts::default()
        },
        bookmark: Some("2026-05-01T12:00:00Z".to_owned()),
        started_at: at(committed_at),
        committed_at: at(committed_at),
    }
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

pub(super) async fn loads_count_once(subject: &Subject) {
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
    let usage = subject
        .store
        .usage(crate::usage_of_all(day("2026-05-01"), day("2026-06-01")), None, 100_000)
        .await
        .unwrap();
    let shown: Vec<_> = usage
        .iter()
        .map(|usage| {
            (usage.table_name.as_str(), usage.day, usage.counted, usage.free, usage.reread)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("contact", day("2026-05-20"), 0, 17, 85),
            ("contact", day("2026-05-21"), 0, 2, 7),
            ("list", day("2026-05-20"), 0, 3, 0),
        ]
    );
    assert_eq!(
        subject
            .store
            .usage(crate::usage_of_all(day("2026-05-21"), day("2026-05-22")), None, 100_000)
            .await
            .unwrap()
            .len(),
        1
    );
    let two = made(subject, "Two").await;
    let others = [load("b1", "contact", "2026-05-30 12:00", [40, 2, 0])];
    subject.store.record_loads(&two.id, &others).await.unwrap();
    let (from, until) = (day("2026-05-01"), day("2026-06-01"));
    let only = |id| UsageChoice { integration_id: Some(id), ..crate::usage_of_all(from, until) };
    assert_eq!(subject.store.usage(only(&one.id), None, 10).await.unwrap(), usage);
    assert!(subject.store.usage(only("nothing"), None, 10).await.unwrap().is_empty());
    let total = UsageTotal { counted: 0, free: 22, reread: 92 };
    assert_eq!(subject.store.usage_total(only(&one.id)).await.unwrap(), total);
    assert_eq!(subject.store.usage_total(only("nothing")).await.unwrap(), UsageTotal::default());
    // Page after page it is the same, of one integration and of all.
    for choice in [only(&one.id), crate::usage_of_all(from, until)] {
        let whole = subject.store.usage(choice, None, 10).await.unwrap();
        let (mut paged, mut place) = (Vec::new(), None);
        while let [found] = &subject.store.usage(choice, place.as_ref(), 1).await.unwrap()[..] {
            paged.push(found.clone());
            place = Some(UsagePlace {
                integration_id: found.integration_id.clone(),
                table_name: found.table_name.clone(),
                day: found.day,
            });
        }
        assert_eq!(paged, whole);
        let sum: u64 = whole.iter().map(|usage| usage.counted + usage.free).sum();
        let total = subject.store.usage_total(choice).await.unwrap();
        assert_eq!(total.counted + total.free, sum);
    }
    assert_eq!(subject.store.rows_counted(from, until).await.unwrap(), 0);
    let beyond = [load("b4", "contact", "2026-06-01 00:00", [500, 60, 7])];
    subject.store.record_loads(&two.id, &beyond).await.unwrap();
    let late = [load("b5", "contact", "2026-06-30 00:00", [500, 60, 7])];
    subject.store.record_loads(&two.id, &late).await.unwrap();
    let (from, until) = (day("2026-06-30"), day("2026-07-01"));
    assert_eq!(subject.store.rows_counted(from, until).await.unwrap(), 560);
    assert_eq!(subject.store.rows_counted(day("2026-05-01"), from).await.unwrap(), 0);
    assert!(subject.store.record_loads("nothing", &[]).await.is_err());
}

pub(super) async fn the_first_days_of_a_schema_are_free_once(subject: &Subject) {
    // Made on the first of May, at noon; its first load comes three days later.
    let one = made(subject, "One").await;
    let first = load("b0", "contact", "2026-05-04 12:00", [4, 0, 0]);
    subject.store.record_loads(&one.id, &[first]).await.unwrap();
    let within = load("b1", "contact", "2026-05-11 11:59", [10, 0, 0]);
    let after = load("b2", "contact", "2026-05-11 12:00", [20, 0, 0]);
    subject.store.record_loads(&one.id, &[within, after]).await.unwrap();
    subject.store.delete_integration(&one.id, at("2026-05-12 00:00")).await.unwrap();
    let new = new_integration("One", None);
    let again = subject.store.create_integration(&new, at("2026-05-12 00:00")).await.unwrap();
    let late = load("b3", "contact", "2026-05-12 01:00", [5, 0, 0]);
    subject.store.record_loads(&again.id, &[late]).await.unwrap();
    let usage = subject
        .store
        .usage(crate::usage_of_all(day("2026-05-01"), day("2026-06-01")), None, 100_000)
        .await
        .unwrap();
    let shown: Vec<_> = usage.iter().map(|usage| (usage.counted, usage.free)).collect();
    assert_eq!(shown, [(0, 4), (20, 10), (5, 0)]);
}

pub(super) async fn tables_are_reported(subject: &Subject) {
    let (one, two) = (made(subject, "One").await, made(subject, "Two").await);
    let mut rejecting = load("b4", "contact", "2026-06-29 11:00", [7, 0, 50]);
    (rejecting.counts.rejected, rejecting.bookmark) = (3, Some("later".to_owned()));
    let mut list = load("b4", "list", "2026-06-29 11:00", [2, 0, 0]);
    list.bookmark = None;
    // The last unit of a run that found nothing moves no bookmark.
    let mut idle = load("b5", "contact", "2026-06-29 11:00", [0, 0, 0]);
    idle.bookmark = None;
    let loads = [
        rejecting,
        idle,
        list,
        load("b1", "contact", "2026-05-01 23:59", [1_000, 0, 0]),
        load("b2", "contact", "2026-05-02 00:00", [100, 10, 0]),
        load("b3", "contact", "2026-06-01 00:00", [20, 0, 0]),
    ];
    subject.store.record_loads(&one.id, &loads).await.unwrap();
    let others = [load("b1", "contact", "2026-06-29 11:00", [9, 0, 0])];
    assert_eq!(subject.store.record_loads(&two.id, &others).await.unwrap(), 1);
    let period = Period { from: at("2026-06-01 00:00"), length: TimeDelta::days(30) };
    let report = |table: &str, counts: [u64; 4], bookmark: Option<&str>| TableReport {
        table_name: table.to_owned(),
        last_day: counts[0],
        this_period: counts[1],
        previous_period: counts[2],
        rejected: counts[3],
        last_load_at: at("2026-06-29 11:00"),
        bookmark: bookmark.map(str::to_owned),
    };
    let reports = subject.other.table_reports(&one.id, period, at("2026-06-30 10:59")).await;
    assert_eq!(
        reports.unwrap(),
        [report("contact", [7, 27, 110, 3], Some("later")), report("list", [2, 2, 0, 0], None)]
    );
    // A day later.
    let reports =
        subject.store.table_reports(&one.id, period, at("2026-06-30 11:00")).await.unwrap();
    assert_eq!(reports[0].last_day, 0);
}

pub(super) async fn tables_that_change(subject: &Subject) {
    let one = made(subject, "One").await;
    let event = |column: &str, change, now| SchemaEvent {
        run_id: "r".to_owned(),
        table_name: "contact".to_owned(),
        column_name: column.to_owned(),
        change,
        detail: "text".to_owned(),
        happened_at: at(now),
    };
    let added = event("hobby", SchemaChange::Added, "2026-05-01 12:00");
    let split = event("age", SchemaChange::Split, "2026-05-02 12:00");
    let events = [added.clone(), split.clone()];
    subject.store.record_schema_events(&one.id, &events).await.unwrap();
    assert_eq!(subject.other.schema_events(&one.id, 10).await.unwrap(), [split.clone(), added]);
    assert_eq!(subject.other.schema_events(&one.id, 1).await.unwrap(), [split]);
    assert!(subject.store.record_schema_events("nothing", &events).await.is_err());
}
