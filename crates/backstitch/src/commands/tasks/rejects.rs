//! `backstitch rejects` of a service: rejected rows are listed, shown one by one, and replayed by a run after a preview.

use replication::destination::RejectReason;
use serde_json::{Value, json};
use service::{
    api::shapes::{Page, RejectView, RejectedRowView, ReplayBody, ReplayView},
    kept::TableReplay,
};

use super::{
    super::{rejects::by_reason, tables::only},
    ended, figure, finished, name, tables,
};
use crate::{
    command_line::RejectsArguments,
    display::{self, Column},
    exit::ExitStatus,
    failure::Failure,
    remote::{self, Answer, Client},
};

/// The longest name in a line.
const LONGEST: usize = 80;

/// Lists the rejected rows of an integration, shows one, or replays them.
///
/// # Errors
/// When the service can't be asked or refuses, or the run that replays them fails.
pub(in super::super) fn rejects(arguments: &RejectsArguments) -> Result<ExitStatus, Failure> {
    remote::ask(&arguments.server, async |client| {
        let integration = only(client, arguments.schema.integration.name.as_deref()).await?;
        if arguments.replay {
            return replay(client, &integration.id, arguments).await;
        }
        if let Some(reject_id) = &arguments.id {
            let path = ["integrations", &integration.id, "rejects", reject_id];
            let row: Answer<RejectedRowView> = client.get(&path, &[]).await?;
            if arguments.schema.json {
                display::print_json(&row.json)?;
            } else {
                let record = display::one_line(&row.view.record, 1 << 20);
                display::print(&format!("{}{record}\n", line(&row.view.reject)))?;
            }
            return Ok(ExitStatus::Done);
        }
        list(client, &integration.id, arguments).await
    })
}

async fn list(
    client: &Client,
    id: &str,
    arguments: &RejectsArguments,
) -> Result<ExitStatus, Failure> {
    let table = || arguments.table.clone().map(|table| ("table", table));
    let query: Vec<(&str, String)> = table().into_iter().collect();
    let reasons: Answer<Page<service::kept::RejectReason>> =
        client.get(&["integrations", id, "reject-reasons"], &query).await?;
    let query: Vec<(&str, String)> = table()
        .into_iter()
        .chain(arguments.reason.clone().map(|reason| ("reason", reason)))
        .chain(arguments.state.clone().map(|state| ("state", state)))
        .collect();
    let found: Answer<Page<RejectView>> =
        client.list(&["integrations", id, "rejects"], &query, arguments.limit, None).await?;
    if arguments.schema.json {
        display::print_json(&json!({
            "reasons": reasons.json["items"],
            "rejects": found.json["items"],
            "next": found.view.next,
        }))?;
        return Ok(ExitStatus::Done);
    }
    if reasons.view.items.is_empty() && found.view.items.is_empty() {
        display::print("No row was rejected\n")?;
        return Ok(ExitStatus::Done);
    }
    let reason = |reason: service::kept::RejectReason| RejectReason {
        table: display::one_line(&reason.table, LONGEST),
        reason_code: reason.reason_code,
        reason: reason.reason,
        rows: reason.rows,
        first_rejected_at: reason.first_rejected_at,
        last_rejected_at: reason.last_rejected_at,
    };
    let waiting: Vec<RejectReason> = reasons.view.items.into_iter().map(reason).collect();
    let mut text = if waiting.is_empty() { String::new() } else { by_reason(&waiting) };
    text.push('\n');
    text.extend(found.view.items.iter().map(line));
    if found.view.next.is_some() {
        text.push_str("\nThere are more: raise `--limit`\n");
    }
    display::print(&text)?;
    Ok(ExitStatus::Done)
}

/// A rejected row in a line, without what is in it.
fn line(reject: &RejectView) -> String {
    let replayed = match reject.replayed_at {
        Some(at) => format!(", replayed {}", display::instant(Some(at))),
        None => String::new(),
    };
    format!(
        "{} {} {} {}: {}{replayed}\n",
        display::instant(Some(reject.extracted_at)),
        display::one_line(&reject.id, LONGEST),
        display::one_line(&reject.table, LONGEST),
        display::one_line(&reject.reason_code, LONGEST),
        display::one_line(&reject.reason, 200),
    )
}

async fn replay(
    client: &Client,
    id: &str,
    arguments: &RejectsArguments,
) -> Result<ExitStatus, Failure> {
    let is_json = arguments.schema.json;
    let path = ["integrations", id, "replay"];
    let mut body = ReplayBody {
        table: arguments.table.clone(),
        reason: arguments.reason.clone(),
        id: arguments.id.clone(),
        confirm: None,
    };
    let ask = |body: &ReplayBody| client.post::<ReplayView>(&path, json!(body).to_string().into());
    let told = ask(&body).await?;
    body.confirm.clone_from(&told.view.confirm);
    if !arguments.yes || body.confirm.is_none() {
        if is_json {
            display::print_json(&told.json)?;
        } else {
            display::print(&preview(&told.view))?;
        }
        return Ok(ExitStatus::Done);
    }
    let Some(run) = ask(&body).await?.view.run else { return Ok(ExitStatus::Done) };
    let Some((end, report)) = finished(client, &run.id, is_json).await? else {
        return Ok(ExitStatus::Done);
    };
    if let Some(report) = report {
        if is_json {
            display::print_json(&report.json)?;
        } else {
            display::print(&done(&report.view.report))?;
        }
    }
    ended(&end)
}

fn preview(told: &ReplayView) -> String {
    if told.confirm.is_none() {
        return "There is nothing to replay\n".to_owned();
    }
    let columns = [
        Column::Text("Table"),
        Column::Figure("Rejects"),
        Column::Figure("Can be read"),
        Column::Figure("Rejected again"),
        Column::Figure("Left out"),
    ];
    let row = |table: &TableReplay| {
        let again: u64 = table.rejected_again.iter().map(|again| again.rows).sum();
        let left_out = table.former_version + table.unreadable;
        let mut row = vec![display::one_line(&table.table, LONGEST)];
        row.extend([table.found, table.readable, again, left_out].map(display::count));
        row
    };
    let mut text = display::table(&columns, &told.tables.iter().map(row).collect::<Vec<_>>());
    text.push('\n');
    for line in &told.consequences {
        text.push_str(&format!("{}\n", display::one_line(line, 2_000)));
    }
    text.push_str("Nothing is changed yet; repeat the command with `--yes`\n");
    text
}

/// What came of a replay.
fn done(report: &Value) -> String {
    let columns = [
        Column::Text("Table"),
        Column::Figure("Rejects"),
        Column::Figure("Replayed"),
        Column::Figure("Rejected again"),
    ];
    let row = |table: &Value| {
        let again = table["rejected_again"].as_array().into_iter().flatten();
        let again: u64 = again.filter_map(|again| again["rows"].as_u64()).sum();
        let replayed = figure(table, "replayed");
        vec![name(table), figure(table, "found"), replayed, display::count(again)]
    };
    display::table(&columns, &tables(report).map(row).collect::<Vec<_>>())
}
