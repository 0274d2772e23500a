//! `backstitch loads`: the ledger, one line per batch and table, newest first.

use replication::ledger::LoadRecord;
use serde_json::Value;

use crate::{
    command_line::LoadsArguments,
    connect,
    display::{self, Column},
    exit::ExitStatus,
    failure::Failure,
    pipeline, report, telemetry,
};

/// Runs the command.
///
/// # Errors
/// When the destination can't be read.
pub(crate) fn execute(arguments: &LoadsArguments) -> Result<ExitStatus, Failure> {
    let target = connect::target(&arguments.schema)?;
    telemetry::start(None)?;
    let loads = pipeline::block_on(async {
        let destination = connect::existing(&target)?;
        destination.loads(arguments.limit).await.map_err(|error| Failure::from(&error))
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

fn to_text(loads: &[LoadRecord]) -> String {
    let columns = [
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
    display::table(&columns, &loads.iter().map(row).collect::<Vec<_>>())
}
