//! `backstitch loads`: the ledger, one line per batch and table, newest first.

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

/// What is shown of a load.
pub(super) const COLUMNS: [Column; 10] = [
    Column::Text("Committed"),
    Column::Text("Table"),
    Column::Figure("Received"),
    Column::Figure("Inserted"),
    Column::Figure("Updated"),
    Column::Figure("Unchanged"),
    Column::Rare("Superseded"),
    Column::Rare("Rejected"),
    Column::Rare("Deleted"),
    Column::Text("Bookmark"),
];

fn to_text(loads: &[LoadRecord]) -> String {
    let row = |load: &LoadRecord| {
        let counts = &load.counts;
        let figures = [
            counts.received,
            counts.inserted,
            counts.updated,
            counts.unchanged,
            counts.superseded,
            counts.rejected,
            counts.deleted,
        ];
        let mut row = vec![display::instant(Some(load.committed_at)), load.table.clone()];
        row.extend(figures.map(display::count));
        row.push(load.bookmark.clone().unwrap_or_default());
        row
    };
    display::table(&COLUMNS, &loads.iter().map(row).collect::<Vec<_>>())
}
