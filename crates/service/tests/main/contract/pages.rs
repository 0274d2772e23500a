//! Lists in parts: each part goes on where the one before ended, and nothing is left out or comes twice.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use service::{
    Scheduler, SchedulerLimits,
    integration::PausedBy,
    run::{RunState, StopReason},
    store::{Figures, LogLevel, LogLimits, NewLogLine, RunCursor},
};

use super::{Nowhere, begun, claimed, figures::line, load, made};
use crate::{at, new_integration, parsed, subject::Subject};

pub(super) async fn pages_of_runs_and_slots(subject: &Subject) {
    let integrations = [made(subject, "One").await, made(subject, "Two").await];
    let mut ids = Vec::new();
    for minute in [0, 1, 1, 1, 2] {
        for one in &integrations {
            let now = format!("2026-05-01 13:0{minute}");
            let id = begun(subject, one, &now).await;
            subject.store.stop(&id, StopReason::Hand, at(&now)).await.unwrap();
            ids.push(id);
        }
    }
    let alive = begun(subject, &integrations[0], "2026-05-01 13:03").await;
    ids.push(alive.clone());
    ids.reverse();
    for limit in [1, 2, 3, 20] {
        let (mut found, mut cursor): (Vec<String>, Option<RunCursor>) = (Vec::new(), None);
        loop {
            let page = subject.other.run_page(None, None, cursor.as_ref(), limit).await.unwrap();
            let Some(last) = page.last() else { break };
            cursor = Some(RunCursor { begun_at: last.begun_at, run_id: last.id.clone() });
            found.extend(page.into_iter().map(|run| run.id));
        }
        assert_eq!(found, ids, "{limit}");
    }
    let first = Some(integrations[0].id.as_str());
    let due = subject.store.run_page(first, Some(RunState::Due), None, 10).await.unwrap();
    assert_eq!((due.len(), &due[0].id), (1, &alive));
    let stopped = subject.store.run_page(first, Some(RunState::Stopped), None, 10).await.unwrap();
    assert_eq!(stopped.len(), 5);
    let last = subject.other.last_runs("", 10).await.unwrap();
    assert_eq!((last.len(), &last[&integrations[0].id].id), (2, &alive));
    let page = subject.other.integration_page("", 1).await.unwrap();
    assert_eq!(
        (page.len(), &page[0]),
        (1, &subject.store.integration(&integrations[0].id).await.unwrap())
    );
    assert_eq!(subject.other.integration_page("One", 10).await.unwrap()[0].name, "Two");
    let last = subject.other.last_runs("One", 10).await.unwrap();
    assert_eq!(last.keys().collect::<Vec<_>>(), [&integrations[1].id]);
    assert!(subject.other.integration_page("Two", 10).await.unwrap().is_empty());

    let hourly = new_integration("Hourly", Some(parsed(json!({ "cron": "0 0 * * * ?" }))));
    let one = subject.store.create_integration(&hourly, at("2026-05-01 12:30")).await.unwrap();
    for hour in 13..18 {
        let now = at(&format!("2026-05-01 {hour}:00"));
        Scheduler::new(&subject.store, Nowhere, SchedulerLimits::default())
            .tick(now)
            .await
            .unwrap();
    }
    let (mut slots, mut before): (Vec<_>, Option<DateTime<Utc>>) = (Vec::new(), None);
    loop {
        let page = subject.other.slots(&one.id, before, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.slot);
        slots.extend(page.into_iter().map(|record| record.slot));
    }
    let expected: Vec<_> =
        (13..18).rev().map(|hour| at(&format!("2026-05-01 {hour}:00"))).collect();
    assert_eq!(slots, expected);
}

pub(super) async fn lines_by_level(subject: &Subject) {
    let one = made(subject, "One").await;
    let run = begun(subject, &one, "2026-05-01 12:00").await;
    let levels =
        [LogLevel::Critical, LogLevel::Debug, LogLevel::Error, LogLevel::Info, LogLevel::Warning];
    let lines = levels.map(|level| NewLogLine { level, ..line("x") });
    subject.store.append_log(&run, &lines, &LogLimits::default()).await.unwrap();
    for (level, expected) in [
        (LogLevel::Debug, vec![1, 2, 3, 4, 5]),
        (LogLevel::Info, vec![1, 3, 4, 5]),
        (LogLevel::Warning, vec![1, 3, 5]),
        (LogLevel::Error, vec![1, 3]),
        (LogLevel::Critical, vec![1]),
    ] {
        let found = subject.other.log_from(&run, 0, level, 10).await.unwrap();
        let numbers: Vec<u64> = found.iter().map(|line| line.number).collect();
        assert_eq!(numbers, expected);
    }
    assert_eq!(subject.store.log_from(&run, 1, LogLevel::Error, 1).await.unwrap()[0].number, 3);
}

/// What is found in lines, page by page: so many of so many that are looked at.
async fn searched(subject: &Subject, run: &str, text: &str, level: LogLevel) -> Vec<u64> {
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let page = subject.other.search_log(run, after, level, text, 7, 2).await.unwrap();
        assert!(page.lines.len() <= 2);
        found.extend(page.lines.iter().map(|line| line.number));
        match page.next {
            Some(next) => after = next,
            None => return found,
        }
    }
}

pub(super) async fn lines_by_text(subject: &Subject) {
    let one = made(subject, "One").await;
    let run = begun(subject, &one, "2026-05-01 12:00").await;
    let bodies = [
        "Größe: A NEEDLE",
        "grösse, a needle",
        "100 % of C:\\temp\\_x",
        "100 x of C:/temp/yx",
        "\u{212a}elvin and \u{130}stanbul",
        "",
        "[a-z]* \n and 'quoted'",
    ];
    let lines: Vec<NewLogLine> = (0..40)
        .map(|number| NewLogLine {
            level: if number % 10 == 9 { LogLevel::Error } else { LogLevel::Info },
            ..line(bodies[number % bodies.len()])
        })
        .collect();
    subject.store.append_log(&run, &lines, &LogLimits::default()).await.unwrap();
    for text in [
        "needle",
        "NEEDLE",
        "größe",
        "GRÖẞE",
        "ö",
        "%",
        "_x",
        "\\",
        "c:\\TEMP",
        "100 % of",
        "kelvin",
        "KELVIN",
        "istan",
        "i\u{307}stan",
        "[a-z]*",
        "'",
        "\n and",
        "nothing of the kind",
        "e",
    ] {
        let holds =
            |line: &&(u64, &NewLogLine)| line.1.body.to_lowercase().contains(&text.to_lowercase());
        let all: Vec<(u64, &NewLogLine)> = (1..).zip(&lines).collect();
        let expected: Vec<u64> = all.iter().filter(holds).map(|line| line.0).collect();
        assert_eq!(searched(subject, &run, text, LogLevel::Debug).await, expected, "{text}");
        let is_error = |number: &u64| number.is_multiple_of(10);
        let grave: Vec<u64> = expected.into_iter().filter(is_error).collect();
        assert_eq!(searched(subject, &run, text, LogLevel::Error).await, grave, "{text}");
    }
    let none = subject.store.search_log("nothing", 0, LogLevel::Debug, "a", 7, 2).await.unwrap();
    assert!(none.lines.is_empty() && none.next.is_none());
}

pub(super) async fn loads_by_span(subject: &Subject) {
    let one = made(subject, "One").await;
    let times = ["2026-05-01 23:59", "2026-05-02 00:00", "2026-05-02 12:00", "2026-05-03 00:00"];
    let mut loads: Vec<_> =
        times.iter().map(|time| load(time, "contact", time, [1, 0, 0])).collect();
    loads.push(load("twin", "contact", "2026-05-02 12:00", [1, 0, 0]));
    subject.store.record_loads(&one.id, &loads).await.unwrap();
    let day = at("2026-05-02 00:00")..at("2026-05-03 00:00");
    let (mut found, mut before): (Vec<String>, Option<(DateTime<Utc>, String)>) =
        (Vec::new(), None);
    loop {
        let cursor = before.as_ref().map(|(at, batch)| (*at, batch.as_str()));
        let page =
            subject.other.loads_between(&one.id, "contact", day.clone(), cursor, 1).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some((last.committed_at, last.batch_id.clone()));
        found.extend(page.into_iter().map(|load| load.batch_id));
    }
    assert_eq!(found, ["twin", times[2], times[1]]);
    assert_eq!(subject.store.loads(&one.id, "contact", 10).await.unwrap().len(), 5);
}

pub(super) async fn what_the_store_holds(subject: &Subject) {
    let none =
        Figures { integrations: 0, paused: 0, runs_due: 0, runs_running: 0, last_run_bad: 0 };
    assert_eq!(subject.store.figures().await.unwrap(), none);
    subject.store.ping().await.unwrap();
    let all =
        [made(subject, "One").await, made(subject, "Two").await, made(subject, "Three").await];
    let gone = made(subject, "Four").await;
    let now = at("2026-05-01 12:00");
    subject.store.delete_integration(&gone.id, now).await.unwrap();
    subject.store.pause(&all[2].id, PausedBy::User, now).await.unwrap();
    begun(subject, &all[0], "2026-05-01 12:00").await;
    let run = begun(subject, &all[1], "2026-05-01 12:00").await;
    let claim = claimed(subject, &run, "here", "2026-05-01 12:00").await;
    let stopped = begun(subject, &all[2], "2026-05-01 12:00").await;
    subject.store.stop(&stopped, StopReason::Hand, now).await.unwrap();
    let held =
        Figures { integrations: 3, paused: 1, runs_due: 1, runs_running: 1, last_run_bad: 1 };
    assert_eq!(subject.other.figures().await.unwrap(), held);
    let later = now + TimeDelta::minutes(1);
    subject.store.finish(&claim, RunState::Succeeded, None, later).await.unwrap();
    let held = Figures { runs_running: 0, ..held };
    assert_eq!(subject.other.figures().await.unwrap(), held);
}
