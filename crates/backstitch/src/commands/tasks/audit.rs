//! `backstitch audit` of a service: a run compares, and its report is shown.

use serde_json::{Value, json};
use service::api::shapes::{AuditBody, RunView};

use super::{super::tables::only, ended, figure, finished, name, tables};
use crate::{
    command_line::AuditArguments,
    display::{self, Column},
    exit::ExitStatus,
    failure::Failure,
    remote::{self, Answer},
};

/// Starts an audit, waits for its end, and shows what it found.
///
/// # Errors
/// When the service can't be asked or refuses, the run fails, or the two sides differ.
pub(in super::super) fn audit(arguments: &AuditArguments) -> Result<ExitStatus, Failure> {
    if arguments.all || arguments.sample.is_some() || arguments.take_over {
        return Err(Failure::configuration(
            "A service compares the last days, and takes nothing over",
        )
        .with_hint("Give `--days N`; with a great number all since the start date are compared"));
    }
    remote::ask(&arguments.server, async |client| {
        let integration = only(client, arguments.integration.name.as_deref()).await?;
        let body = AuditBody {
            tables: arguments.table.clone(),
            days: arguments.days,
            repair: arguments.repair,
        };
        let path = ["integrations", &integration.id, "audit"];
        let run: Answer<RunView> = client.post(&path, json!(body).to_string().into()).await?;
        let Some((end, report)) = finished(client, &run.view.id, arguments.json).await? else {
            return Ok(ExitStatus::Done);
        };
        if let Some(report) = report {
            if arguments.json {
                display::print_json(&report.json)?;
            } else {
                display::print(&text(&report.view.report))?;
            }
        }
        ended(&end)
    })
}

/// What was found, for people.
pub(super) fn text(report: &Value) -> String {
    let mut text = summary(report);
    if report["after_repair"].is_array() {
        text.push_str("\nAfter the repair, of the days that differed:\n");
        text.push_str(&summary(&json!({ "tables": report["after_repair"] })));
    }
    for table in report["never_replicated"].as_array().into_iter().flatten() {
        let table = display::one_line(table.as_str().unwrap_or_default(), 80);
        text.push_str(&format!("\n{table}: never replicated, so there is nothing to compare\n"));
    }
    text.push_str(if report["equal"] == true {
        "\nEverything that was compared is equal\n"
    } else {
        "\nThe account and the destination differ; `--json` lists where\n"
    });
    text
}

fn summary(report: &Value) -> String {
    let columns = [
        Column::Text("Table"),
        Column::Figure("Account"),
        Column::Figure("Stored"),
        Column::Figure("Missing"),
        Column::Figure("Extra"),
        Column::Figure("Different"),
    ];
    let row = |table: &Value| {
        let figures = ["source_rows", "stored_rows", "missing", "extra", "different"];
        let mut row = vec![name(table)];
        row.extend(figures.map(|figured| figure(table, figured)));
        row
    };
    display::table(&columns, &tables(report).map(row).collect::<Vec<_>>())
}
