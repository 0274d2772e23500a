//! What a service tells of tables: `backstitch status` and `backstitch loads` with `--server`.

use std::cmp::Reverse;

use serde_json::{Value, json};
use service::api::shapes::{IntegrationView, LoadView, Page, TableView, TablesView};

use super::runs;
use crate::{
    command_line::{LoadsArguments, StatusArguments},
    display::{self, Column},
    exit::ExitStatus,
    failure::Failure,
    remote::{self, Answer, Client},
    report,
};

/// The longest name in a table.
const LONGEST: usize = 60;

/// `status`: the state of an integration, or of all, and what is in their tables.
///
/// # Errors
/// When the service can't be asked.
pub(super) fn status(arguments: &StatusArguments) -> Result<ExitStatus, Failure> {
    remote::ask(&arguments.server, async |client| {
        let found = match &arguments.schema.integration.name {
            Some(name) => {
                let Answer { json, view } = client.integration(name).await?;
                vec![(json, view)]
            }
            None => {
                let Answer { json, view } = client.integrations().await?;
                let items = json["items"].as_array().cloned().unwrap_or_default();
                items.into_iter().zip(view.items).collect()
            }
        };
        let (mut document, mut text) = (Vec::new(), String::new());
        for (json, integration) in found {
            let path = ["integrations", &integration.id, "tables"];
            let tables: Answer<TablesView> = client.get(&path, &[]).await?;
            text.push_str(&status_text(&integration, &tables.view));
            document.push(json!({ "integration": json, "tables": tables.json }));
        }
        if arguments.schema.json {
            display::print_json(&Value::Array(document))?;
        } else if text.is_empty() {
            display::print("The service has no integration yet\n")?;
        } else {
            display::print(&text)?;
        }
        Ok(ExitStatus::Done)
    })
}

fn status_text(integration: &IntegrationView, tables: &TablesView) -> String {
    let name = display::one_line(&integration.name, LONGEST);
    let status = &integration.status;
    let mut text = format!("{name}: {}: {}", status.label, status.explanation);
    if let Some(start) = status.expected_start {
        text.push_str(&format!("; next start {}", display::instant(Some(start))));
    }
    text.push('\n');
    if let Some(run) = &integration.last_run {
        let begun = display::instant(Some(run.begun_at));
        text.push_str(&format!("Last run: {}, begun {begun}\n", runs::state(run)));
        if let Some(error) = &run.error {
            text.push_str(&format!("  {}\n", display::one_line(&error.message, 2_000)));
        }
    }
    let mut rows = Vec::new();
    collect(&tables.tables, &mut rows);
    if rows.is_empty() {
        text.push_str("Nothing has been loaded yet\n\n");
        return text;
    }
    let columns = [
        Column::Text("Table"),
        Column::Figure("Last 24 hours"),
        Column::Figure("This period"),
        Column::Figure("Period before"),
        Column::Rare("Rejected"),
        Column::Text("Last load"),
        Column::Text("Bookmark"),
    ];
    text.push_str(&display::table(&columns, &rows));
    text.push('\n');
    text
}

/// A row for each table, and for the subtables after it.
fn collect(tables: &[TableView], rows: &mut Vec<Vec<String>>) {
    for table in tables {
        rows.push(vec![
            display::one_line(&table.name, LONGEST),
            display::count(table.rows_last_day),
            display::count(table.rows_this_period),
            display::count(table.rows_previous_period),
            display::count(table.rows_rejected),
            display::instant(Some(table.last_load_at)),
            display::one_line(&table.bookmark, LONGEST),
        ]);
        collect(&table.subtables, rows);
    }
}

/// `loads`: those of one table, or of all, the last first.
///
/// # Errors
/// When the service can't be asked, or it isn't said of which integration.
pub(super) fn loads(arguments: &LoadsArguments) -> Result<ExitStatus, Failure> {
    remote::ask(&arguments.server, async |client| {
        let integration = only(client, arguments.schema.integration.name.as_deref()).await?;
        let tables = match &arguments.table {
            Some(table) => vec![table.clone()],
            None => {
                let path = ["integrations", &integration.id, "tables"];
                let tables: TablesView = client.get(&path, &[]).await?.view;
                let mut names = Vec::new();
                name(&tables.tables, &mut names);
                names
            }
        };
        let mut found = Vec::new();
        for table in &tables {
            let path = ["integrations", &integration.id, "tables", table, "loads"];
            let loads: Answer<Page<LoadView>> =
                client.list(&path, &[], arguments.limit, None).await?;
            let items = loads.json["items"].as_array().cloned().unwrap_or_default();
            found.extend(items.into_iter().zip(loads.view.items));
            found.sort_by_key(|(_, load)| Reverse((load.committed_at, load.batch_id.clone())));
            found.truncate(arguments.limit);
        }
        if arguments.schema.json {
            let items: Vec<Value> = found.into_iter().map(|(json, _)| json).collect();
            display::print_json(&Value::Array(items))?;
        } else if found.is_empty() {
            display::print("Nothing has been loaded yet\n")?;
        } else {
            let loads: Vec<LoadView> = found.into_iter().map(|(_, load)| load).collect();
            display::print(&loads_table(&loads))?;
        }
        Ok(ExitStatus::Done)
    })
}

/// The names of tables and their subtables.
fn name(tables: &[TableView], names: &mut Vec<String>) {
    for table in tables {
        names.push(table.name.clone());
        name(&table.subtables, names);
    }
}

/// The integration that is named, or the only one.
pub(super) async fn only(client: &Client, named: Option<&str>) -> Result<IntegrationView, Failure> {
    if let Some(name) = named {
        return Ok(client.integration(name).await?.view);
    }
    let mut all = client.integrations().await?.view.items;
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(only),
        _ => Err(Failure::configuration("Which integration of the service is meant isn't said")
            .with_hint("Name it; `backstitch integrations` lists them")),
    }
}

fn loads_table(loads: &[LoadView]) -> String {
    super::loads::table(loads.iter().map(|load| {
        let table = display::one_line(&load.table, LONGEST);
        let figures = report::figures(&replicated(&load.counts));
        (load.committed_at, table, figures, display::one_line(&load.bookmark, LONGEST))
    }))
}

/// The counts that a service has of a load, as the destination's ledger has them.
fn replicated(counts: &service::store::LoadCounts) -> replication::ledger::LoadCounts {
    let service::store::LoadCounts {
        received,
        inserted,
        updated,
        unchanged,
        superseded,
        rejected,
        deleted,
        bytes,
    } = *counts;
    replication::ledger::LoadCounts {
        received,
        inserted,
        updated,
        unchanged,
        superseded,
        rejected,
        deleted,
        bytes,
        ..Default::default()
    }
}
