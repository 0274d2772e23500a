//! `backstitch loads`: the ledger, one line per batch and table, newest first.

use chrono::{DateTime, Utc};
use replication::ledger::LoadRecord;
use serde_json::Value;

use super::{ledger, tables};
use crate::{
    command_line::LoadsArguments,
    display::{self, Column},
    exit::ExitStatus,
    failure::Failure,
    report,
};

/// Runs the command.
///
/// # Errors
/// When the destination can't be read.
pub(crate) fn execute(arguments: &LoadsArguments) -> Result<ExitStatus, Failure> {
    if arguments.schema.asks(&arguments.server)? {
        return tables::loads(arguments);
    }
    let is_wanted =
        |load: &&LoadRecord| arguments.table.as_ref().is_none_or(|table| *table == load.table);
    let loads: Vec<LoadRecord> = ledger::read(&arguments.schema, |loads, is_all| {
        let found = || loads.iter().filter(is_wanted).take(arguments.limit);
        (is_all || found().count() == arguments.limit).then(|| found().cloned().collect())
    })?;
    if arguments.schema.json {
        display::print_json(&loads.iter().map(report::load_json).collect::<Value>())?;
    } else if loads.is_empty() {
        display::print("Nothing has been loaded yet\n")?;
    } else {
        display::print(&to_text(&loads))?;
    }
    Ok(ExitStatus::Done)
}

/// What is shown of loads: when each was committed, its table, its figures and its bookmark.
pub(super) fn table(
    loads: impl Iterator<Item = (DateTime<Utc>, String, [String; 7], String)>,
) -> String {
    let columns = [
        &[Column::Text("Committed"), Column::Text("Table")],
        &report::FIGURES[..],
        &[Column::Text("Bookmark")],
    ]
    .concat();
    let row = |(committed_at, table, figures, bookmark)| {
        let mut row = vec![display::instant(Some(committed_at)), table];
        row.extend(figures);
        row.push(bookmark);
        row
    };
    display::table(&columns, &loads.map(row).collect::<Vec<_>>())
}

fn to_text(loads: &[LoadRecord]) -> String {
    table(loads.iter().map(|load| {
        let bookmark = load.bookmark.clone().unwrap_or_default();
        (load.committed_at, load.table.clone(), report::figures(&load.counts), bookmark)
    }))
}
