//! `backstitch rejects --replay`: loads rejected rows after what kept them out is mended. Without `--yes` it only says what
//! that would do.

use std::sync::Arc;

use replication::{
    claim::ClaimRequest,
    destination::Destination,
    reject::RejectFilter,
    replay::{self, MakeDecoder, ReplayReport, ReplayedTable},
    run::{RunContext, RunOptions},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::refresh;
use crate::{
    command_line::RejectsArguments,
    config::Integration,
    connect::{self, SINGER_FINGERPRINT},
    display::{self, Column},
    exit::ExitStatus,
    failure::Failure,
    interrupt::Interrupts,
    pipeline, report, telemetry,
};

/// Runs the command.
///
/// # Errors
/// When the destination can't be read, the schema can't be claimed, or the replay fails.
pub(super) fn execute(arguments: &RejectsArguments) -> Result<ExitStatus, Failure> {
    let integration = match arguments.schema.destination {
        Some(_) => None,
        None => {
            let chosen = &arguments.schema.integration;
            Some(chosen.load()?)
        }
    };
    let target = connect::target(&arguments.schema)?;
    telemetry::start(None)?;
    let filter = RejectFilter {
        table: arguments.table.clone(),
        reason: arguments.reason.clone(),
        id: arguments.id.clone(),
    };
    let decoder = connect::decoder(integration.as_ref())?;
    let decoder = decoder.as_ref();
    pipeline::block_on(async {
        if !arguments.yes {
            let destination = connect::existing(&target)?;
            let stop = CancellationToken::new();
            let preview = replay::preview(destination.as_ref(), decoder, &filter, &stop).await;
            return show(arguments, &preview.map_err(|error| Failure::from(&error))?);
        }
        let destination = connect::destination(&target)?;
        let request = request(integration.as_ref(), destination.as_ref(), target.schema.as_str());
        let request = request.await?;
        let report = run(destination, decoder, &request, &filter).await?;
        show(arguments, &report)
    })
}

async fn run(
    destination: Arc<dyn Destination>,
    decoder: &MakeDecoder<'_>,
    request: &ClaimRequest,
    filter: &RejectFilter,
) -> Result<ReplayReport, Failure> {
    let stop = CancellationToken::new();
    let _interrupts = Interrupts::listen(stop.clone())?;
    let context = RunContext { stop, ..RunContext::default() };
    let replayed = replay::replay(destination, decoder, request, filter, context).await;
    replayed.map_err(|error| Failure::from(&error))
}

async fn request(
    integration: Option<&Integration>,
    destination: &dyn Destination,
    schema: &str,
) -> Result<ClaimRequest, Failure> {
    let (name, source_fingerprint) = match integration {
        Some(integration) => {
            (integration.name.clone(), connect::source(integration)?.fingerprint())
        }
        None => {
            let states = destination.states().await.map_err(|error| Failure::from(&error))?;
            let mut claims = states.into_iter().filter(|state| state.stream.is_empty());
            let owner = claims.find_map(|claim| claim.integration_id);
            (owner.unwrap_or_else(|| schema.to_owned()), SINGER_FINGERPRINT.to_owned())
        }
    };
    Ok(refresh::request(&RunOptions::new(name), source_fingerprint))
}

fn show(arguments: &RejectsArguments, report: &ReplayReport) -> Result<ExitStatus, Failure> {
    if arguments.schema.json {
        display::print_json(&to_json(report, arguments.yes))?;
    } else {
        display::print(&in_words(report, arguments.yes))?;
    }
    Ok(ExitStatus::Done)
}

/// What a replay did, or would do, for programs.
pub(crate) fn to_json(report: &ReplayReport, is_done: bool) -> Value {
    let table = |(name, table): (&String, &ReplayedTable)| {
        let again: Vec<Value> = table
            .again
            .iter()
            .map(|((code, reason), rows)| {
                json!({ "reason_code": code, "reason": reason, "rows": rows })
            })
            .collect();
        json!({
            "table": name,
            "found": table.found,
            "replayed": table.replayed,
            "rejected_again": again,
            "former_version": table.former_version,
            "unreadable": table.unreadable,
            "obstacle": table.obstacle,
            "counts": is_done.then(|| report::counts_json(&table.counts)),
        })
    };
    let tables: Vec<Value> = report.tables.iter().map(table).collect();
    json!({ "replayed": is_done, "interrupted": report.interrupted, "tables": tables })
}

fn in_words(report: &ReplayReport, is_done: bool) -> String {
    if report.tables.is_empty() {
        return "There is nothing to replay\n".to_owned();
    }
    let mut columns = vec![
        Column::Text("Table"),
        Column::Figure("Rejects"),
        Column::Figure(if is_done { "Replayed" } else { "Can be read" }),
        Column::Figure("Rejected again"),
        Column::Figure("Left out"),
    ];
    if is_done {
        columns.extend(["Inserted", "Updated", "Unchanged", "Superseded"].map(Column::Figure));
    }
    let row = |(name, table): (&String, &ReplayedTable)| {
        let again: u64 = table.again.values().sum();
        let left_out = table.former_version + table.unreadable;
        let mut figures = vec![table.found, table.replayed, again, left_out];
        if is_done {
            let counts = &table.counts;
            let became = [counts.inserted, counts.updated, counts.unchanged, counts.superseded];
            figures.extend(became);
        }
        let figures = figures.into_iter().map(display::count);
        std::iter::once(name.clone()).chain(figures).collect::<Vec<_>>()
    };
    let mut text = display::table(&columns, &report.tables.iter().map(row).collect::<Vec<_>>());
    let mut notes = Vec::new();
    for (name, table) in &report.tables {
        for ((_, reason), rows) in &table.again {
            let rows = display::count(*rows);
            notes
                .push(format!("{name}: {rows} rejected again: {}", display::one_line(reason, 200)));
        }
        if table.former_version > 0 {
            notes.push(format!(
                "{name}: {} of a version that the table no longer has: not brought back",
                display::count(table.former_version)
            ));
        }
        if let Some(obstacle) = &table.obstacle {
            let rows = display::count(table.unreadable);
            notes.push(format!("{name}: {rows} can't be read: {obstacle}"));
        }
    }
    notes.push(match (is_done, report.interrupted) {
        (true, false) => "Done".to_owned(),
        (true, true) => "Interrupted; what is shown is committed. Repeat the command to go on".to_owned(),
        (false, _) => "Nothing is changed yet; repeat the command with `--yes`. Whether the destination takes a row shows \
                       only then"
            .to_owned(),
    });
    text.push('\n');
    text.push_str(&notes.join("\n"));
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn says_what_became_of_every_reject() {
        let mut table =
            ReplayedTable { found: 5, replayed: 2, former_version: 1, ..Default::default() };
        table
            .again
            .insert(("wrong_type".to_owned(), "The value of `age` is not a number".to_owned()), 2);
        table.counts.inserted = 1;
        table.counts.superseded = 1;
        let report = ReplayReport {
            tables: BTreeMap::from([("contact".to_owned(), table)]),
            interrupted: false,
        };
        insta::assert_snapshot!(in_words(&report, true), @r"

         Table     Rejects   Replayed   Rejected again   Left out   Inserted   Updated   Unchanged   Superseded
        ────────────────────────────────────────────────────────────────────────────────────────────────────────
         contact         5          2                2          1          1         0           0            1

        contact: 2 rejected again: The value of `age` is not a number
        contact: 1 of a version that the table no longer has: not brought back
        Done
        ");
    }
}
