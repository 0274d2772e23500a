//! `backstitch runs`: the runs of a service with how far they are; without one, the runs that a destination's ledger tells
//! of.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use replication::ledger::{LoadCounts, LoadRecord};
use serde_json::{Value, json};
use service::api::shapes::{IntegrationView, Page, ProgressView, ReportView, RunView};

use super::ledger;
use crate::{
    command_line::{RunsArguments, RunsCommand},
    display::{self, Column},
    exit::ExitStatus,
    failure::Failure,
    remote::{self, Answer, Client},
    report,
};

/// The longest name or message in a table.
const LONGEST: usize = 80;

/// Runs the command.
///
/// # Errors
/// When neither the service nor the destination can be asked.
pub(crate) fn execute(arguments: &RunsArguments) -> Result<ExitStatus, Failure> {
    if let Some(command) = &arguments.command {
        let (RunsCommand::Show { id, .. }
        | RunsCommand::Report { id }
        | RunsCommand::Stop { id, .. }) = command;
        return remote::ask(&arguments.server, async |client| {
            if !is_id(id) {
                return Err(Failure::configuration("This is no id of a run")
                    .with_hint("`backstitch runs` lists runs with their ids"));
            }
            let (run, json): (Answer<RunView>, _) = match command {
                RunsCommand::Report { .. } => {
                    let report: Answer<ReportView> =
                        client.get(&["runs", id, "report"], &[]).await?;
                    display::print_json(&report.json)?;
                    return Ok(ExitStatus::Done);
                }
                RunsCommand::Show { json, .. } => (client.get(&["runs", id], &[]).await?, json),
                RunsCommand::Stop { json, .. } => {
                    (client.post(&["runs", id, "stop"], "{}".to_owned().into()).await?, json)
                }
            };
            if *json || arguments.schema.json {
                display::print_json(&run.json)?;
            } else {
                let of = client.get(&["integrations", &run.view.integration_id], &[]).await?;
                let of: IntegrationView = of.view;
                display::print(&shown(&run.view, &of.name, Utc::now()))?;
            }
            Ok(ExitStatus::Done)
        });
    }
    if arguments.schema.asks(&arguments.server)? {
        return remote::ask(&arguments.server, async |client| list(client, arguments).await);
    }
    if arguments.state.is_some() || arguments.cursor.is_some() {
        return Err(Failure::configuration(
            "States of runs are known by a service, and none is named",
        )
        .with_hint("Give its address by `--server` or in BACKSTITCH_SERVER"));
    }
    let limit = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let runs = ledger::read(&arguments.schema, |loads, is_all| {
        let mut runs = grouped(loads);
        // The last of them may have begun before what was read.
        (is_all || runs.len() > limit).then(|| {
            runs.truncate(limit);
            runs
        })
    })?;
    if arguments.schema.json {
        display::print_json(&runs.iter().map(LedgerRun::to_json).collect::<Value>())?;
    } else if runs.is_empty() {
        display::print("Nothing has been loaded yet\n")?;
    } else {
        display::print(&ledger_table(&runs))?;
    }
    Ok(ExitStatus::Done)
}

/// Whether a text has the form of an id.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

async fn list(client: &Client, arguments: &RunsArguments) -> Result<ExitStatus, Failure> {
    let query: Vec<(&str, String)> =
        arguments.state.clone().map(|state| ("state", state)).into_iter().collect();
    let limit = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let integrations = match &arguments.schema.integration.name {
        Some(name) => vec![client.integration(name).await?.view],
        None if arguments.schema.json => Vec::new(),
        None => client.integrations().await?.view.items,
    };
    let path = match integrations.first().filter(|_| arguments.schema.integration.name.is_some()) {
        Some(only) => vec!["integrations", &only.id, "runs"],
        None => vec!["runs"],
    };
    let cursor = arguments.cursor.as_deref();
    let found: Answer<Page<RunView>> = client.list(&path, &query, limit, cursor).await?;
    if arguments.schema.json {
        display::print_json(&found.json)?;
    } else if found.view.items.is_empty() {
        display::print("There is no such run\n")?;
    } else {
        let names =
            integrations.iter().map(|found| (found.id.as_str(), found.name.as_str())).collect();
        let mut text = table(&found.view.items, &names, Utc::now());
        if let Some(next) = &found.view.next {
            let next = display::one_line(next, 200);
            text.push_str(&format!(
                "\nThere are more: raise `--limit`, or go on with `--cursor {next}`\n"
            ));
        }
        display::print(&text)?;
    }
    Ok(ExitStatus::Done)
}

/// Runs of a service, one a line.
fn table(runs: &[RunView], names: &BTreeMap<&str, &str>, now: DateTime<Utc>) -> String {
    let columns = [
        Column::Whole("Run"),
        Column::Text("Integration"),
        Column::Text("State"),
        Column::Text("By"),
        Column::Text("Begun"),
        Column::Figure("Took"),
        Column::Figure("Rows"),
        Column::Text("Error"),
    ];
    let row = |run: &RunView| {
        let name = names.get(run.integration_id.as_str()).copied();
        vec![
            run.id.clone(),
            display::one_line(name.unwrap_or(&run.integration_id), LONGEST),
            state(run),
            run.started_by.to_string(),
            display::instant(Some(run.begun_at)),
            took(run, now),
            run.progress.as_ref().map(|progress| display::count(progress.rows)).unwrap_or_default(),
            run.error
                .as_ref()
                .map(|error| display::one_line(&error.message, LONGEST))
                .unwrap_or_default(),
        ]
    };
    display::table(&columns, &runs.iter().map(row).collect::<Vec<_>>())
}

/// The state of a run in words.
pub(super) fn state(run: &RunView) -> String {
    let percent = run.progress.as_ref().and_then(|progress| progress.percent);
    match (run.ended_at, percent) {
        (None, Some(percent)) if run.state == "running" => format!("running, {percent} %"),
        (None, _) if run.stop.is_some() => format!("{}, is to stop", run.state),
        _ => display::one_line(&run.state, LONGEST),
    }
}

fn took(run: &RunView, now: DateTime<Utc>) -> String {
    let since = run.claimed_at.map(|claimed| run.ended_at.unwrap_or(now) - claimed);
    display::duration(since)
}

/// A run of a service with all that is known of it.
pub(super) fn shown(run: &RunView, name: &str, now: DateTime<Utc>) -> String {
    let mut text = format!("Run {} of {}\n", run.id, display::one_line(name, LONGEST));
    let mut line = |title: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {title:<10} {value}\n"));
        }
    };
    line("State", state(run));
    line("Started by", run.started_by.to_string());
    line("Slot", display::instant(Some(run.slot)));
    line("Begun", display::instant(Some(run.begun_at)));
    line("Ended", display::instant(run.ended_at));
    line("Took", took(run, now));
    if run.attempt > 1 {
        line("Attempts", run.attempt.to_string());
    }
    if let Some(progress) = &run.progress {
        line("Phase", display::one_line(&progress.phase, LONGEST));
        line("Rows", rate(progress));
        line("Requests", display::count(progress.requests));
        if run.ended_at.is_none() {
            line("Ends about", display::instant(progress.estimated_end));
        }
    }
    let log = &run.log;
    let dropped = if log.dropped == 0 {
        String::new()
    } else {
        format!(", {} more were not kept", display::count(log.dropped))
    };
    line("Log", format!("{} lines{dropped}", display::count(log.lines)));
    if let Some(error) = &run.error {
        line("Error", display::one_line(&error.message, 2_000));
        line("Remedy", display::one_line(&error.remedy, 2_000));
    }
    if let Some(progress) = run.progress.as_ref().filter(|progress| !progress.tables.is_empty()) {
        text.push_str(&tables(progress));
    }
    text
}

fn rate(progress: &ProgressView) -> String {
    let rows = display::count(progress.rows);
    match progress.rows_per_second {
        Some(rate) => format!("{rows}, {} a second", display::count(rate)),
        None => rows,
    }
}

/// How far a run is with each table.
fn tables(progress: &ProgressView) -> String {
    let columns = [
        Column::Text("Table"),
        Column::Figure("Read"),
        Column::Figure("Loaded"),
        Column::Rare("Rejected"),
        Column::Figure("Requests"),
        Column::Rare("Retries"),
        Column::Figure("Done"),
        Column::Text("At"),
    ];
    let rows: Vec<Vec<String>> = progress
        .tables
        .iter()
        .map(|(name, table)| {
            let percent = table.percent.map(|percent| format!("{percent} %"));
            vec![
                display::one_line(name, LONGEST),
                display::count(table.extracted),
                display::count(table.loaded),
                display::count(table.rejected),
                display::count(table.requests),
                display::count(table.retries),
                if table.is_done { "all".to_owned() } else { percent.unwrap_or_default() },
                display::one_line(&table.activity, LONGEST),
            ]
        })
        .collect();
    display::table(&columns, &rows)
}

/// A run as the destination's ledger tells of it.
#[derive(Debug)]
struct LedgerRun {
    id: String,
    started_at: DateTime<Utc>,
    committed_at: DateTime<Utc>,
    batches: BTreeSet<String>,
    counts: LoadCounts,
}

/// The runs of loads that are given newest first.
fn grouped(loads: &[LoadRecord]) -> Vec<LedgerRun> {
    let mut runs: Vec<LedgerRun> = Vec::new();
    for load in loads {
        // Only one run writes at a time, so the loads of each lie together.
        if runs.last().is_none_or(|last| last.id != load.run_id) {
            runs.push(LedgerRun {
                id: load.run_id.clone(),
                started_at: load.started_at,
                committed_at: load.committed_at,
                batches: BTreeSet::new(),
                counts: LoadCounts::default(),
            });
        }
        if let Some(run) = runs.last_mut() {
            run.started_at = run.started_at.min(load.started_at);
            run.committed_at = run.committed_at.max(load.committed_at);
            run.batches.insert(load.batch_id.clone());
            run.counts.add(&load.counts);
        }
    }
    runs
}

impl LedgerRun {
    fn to_json(&self) -> Value {
        let mut value = json!({
            "run_id": self.id,
            "started_at": display::instant(Some(self.started_at)),
            "committed_at": display::instant(Some(self.committed_at)),
            "batches": self.batches.len(),
        });
        report::add_counts(&mut value, &self.counts);
        value
    }
}

fn ledger_table(runs: &[LedgerRun]) -> String {
    let facts = [
        Column::Whole("Run"),
        Column::Text("First unit begun"),
        Column::Text("Last commit"),
        Column::Figure("Units"),
    ];
    let columns = [&facts[..], &report::FIGURES].concat();
    let row = |run: &LedgerRun| {
        let mut row = vec![
            display::one_line(&run.id, LONGEST),
            display::instant(Some(run.started_at)),
            display::instant(Some(run.committed_at)),
            run.batches.len().to_string(),
        ];
        row.extend(report::figures(&run.counts));
        row
    };
    display::table(&columns, &runs.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use service::api::shapes::RunView;

    use super::*;

    fn run(state: &str) -> RunView {
        let begun_at = DateTime::from_timestamp(1_795_438_800, 0);
        let run = json!({
            "id": "019f0000-0000-7000-8000-000000000001", "integration_id": "i", "slot": begun_at, "started_by": "schedule",
            "state": state, "begun_at": begun_at, "claimed_at": begun_at, "ended_at": null, "attempt": 2, "stop": null,
            "destination_token": 7,
            "progress": {
                "phase": "extracting", "requests": 12, "rows": 34_567, "rows_per_second": 890, "percent": 40,
                "estimated_end": begun_at,
                "tables": {
                    "contact": { "activity": "2026-01", "extracted": 40_000, "loaded": 34_567, "rejected": 1, "requests": 11,
                        "retries": 0, "percent": 40, "is_done": false },
                    "list": { "activity": "", "extracted": 7, "loaded": 0, "rejected": 0, "requests": 1, "retries": 0,
                        "percent": 100, "is_done": true },
                },
            },
            "error": { "code": "books", "message": "The books\u{1b}[31m don't balance", "remedy": "Run again" },
            "log": { "lines": 1_234, "bytes": 5, "dropped": 6 },
        });
        serde_json::from_value(run).expect("it has every field")
    }

    #[test]
    fn a_run_is_shown_with_its_tables() {
        let now = DateTime::from_timestamp(1_795_438_861, 0).unwrap_or_default();
        insta::assert_snapshot!(shown(&run("running"), "Shop\u{202e}\n", now));
        let names = BTreeMap::from([("i", "Shop\u{1b}]0;x\u{7}")]);
        insta::assert_snapshot!(table(&[run("running"), run("lost")], &names, now));
    }

    #[test]
    fn loads_are_added_up_by_run() {
        let at = |seconds| DateTime::from_timestamp(1_795_438_800 + seconds, 0).unwrap_or_default();
        let load = |run_id: &str, batch_id: &str, committed: i64| LoadRecord {
            batch_id: batch_id.to_owned(),
            table: "contact".to_owned(),
            run_id: run_id.to_owned(),
            stream: "contact".to_owned(),
            table_version: 1,
            counts: LoadCounts {
                received: 2_000,
                inserted: 1_500,
                unchanged: 500,
                ..LoadCounts::default()
            },
            bookmark: None,
            max_replication_key: None,
            gap: None,
            started_at: at(committed - 5),
            staged_at: at(committed),
            committed_at: at(committed),
        };
        let runs = grouped(&[
            load("r2", "b3", 90),
            load("r2", "b2", 80),
            load("r2", "b2", 80),
            load("r1", "b1", 10),
        ]);
        insta::assert_snapshot!(ledger_table(&runs));
        assert_eq!(runs[0].to_json()["inserted"], 4_500);
    }

    #[test]
    fn ids_have_their_form() {
        assert!(is_id("019f0000-0000-7000-8000-00000000000a"));
        for text in [
            "",
            "..",
            "019f0000-0000-7000-8000-00000000000",
            "019f0000-0000-7000-8000-00000000000/",
        ] {
            assert!(!is_id(text), "{text}");
        }
    }
}
