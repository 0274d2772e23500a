//! `backstitch state` of a service: bookmarks are shown, and moved by a run after a preview.

use serde_json::{Value, json};
use service::{
    api::shapes::RewindView,
    kept::{Bookmarks, StreamState},
};

use super::{
    super::{state_edit::Edits, tables::only},
    ended, finished,
};
use crate::{
    command_line::StateArguments,
    display::{self, Column},
    exit::ExitStatus,
    failure::Failure,
    remote::{self, Answer},
};

/// The longest name or bookmark in a table.
const LONGEST: usize = 80;

/// Shows the bookmarks of an integration, or moves them.
///
/// # Errors
/// When the service can't be asked or refuses, or the run that moves them fails.
pub(in super::super) fn bookmarks(
    arguments: &StateArguments,
    edits: &Edits,
) -> Result<ExitStatus, Failure> {
    let is_json = arguments.schema.json;
    remote::ask(&arguments.server, async |client| {
        let integration = only(client, arguments.schema.integration.name.as_deref()).await?;
        if edits.is_empty() && !arguments.remove_tap_state {
            let path = ["integrations", &integration.id, "state"];
            let state: Answer<Bookmarks> = client.get(&path, &[]).await?;
            if is_json {
                display::print_json(&state.json)?;
            } else {
                display::print(&shown(&state.view))?;
            }
            return Ok(ExitStatus::Done);
        }
        let path = ["integrations", &integration.id, "rewind"];
        let mut body = edits.body();
        body.insert("remove_tap_state".to_owned(), arguments.remove_tap_state.into());
        let ask = |body: &Value| client.post::<RewindView>(&path, body.to_string().into());
        let told = ask(&json!(body)).await?;
        if !arguments.yes {
            if is_json {
                display::print_json(&told.json)?;
            } else {
                let lines =
                    told.view.consequences.iter().map(|line| display::one_line(line, 4_000));
                let lines: String = lines.map(|line| format!("{line}\n")).collect();
                display::print(&format!(
                    "{lines}Nothing is changed yet; repeat the command with `--yes`\n"
                ))?;
            }
            return Ok(ExitStatus::Done);
        }
        body.insert("confirm".to_owned(), json!(told.view.confirm));
        let Some(run) = ask(&json!(body)).await?.view.run else { return Ok(ExitStatus::Done) };
        let Some((end, report)) = finished(client, &run.id, is_json).await? else {
            return Ok(ExitStatus::Done);
        };
        if let Some(report) = report.filter(|_| is_json) {
            display::print_json(&report.json)?;
        }
        ended(&end)
    })
}

fn shown(state: &Bookmarks) -> String {
    let mut text = String::new();
    if state.streams.is_empty() && state.singer_state.is_none() {
        text.push_str("There is no bookmark yet\n");
    }
    if !state.streams.is_empty() {
        let columns = [
            Column::Text("Stream"),
            Column::Text("Bookmark"),
            Column::Text("Backfill left"),
            Column::Text("Updated"),
        ];
        let row = |stream: &StreamState| {
            let left = stream.backfill.iter().map(|span| format!("{}..{}", span.from, span.before));
            vec![
                display::one_line(&stream.stream, LONGEST),
                display::one_line(stream.bookmark.as_deref().unwrap_or_default(), LONGEST),
                display::one_line(&left.collect::<Vec<_>>().join(", "), LONGEST),
                display::instant(stream.updated_at),
            ]
        };
        text.push_str(&display::table(
            &columns,
            &state.streams.iter().map(row).collect::<Vec<_>>(),
        ));
    }
    if let Some(singer) = &state.singer_state {
        let singer = display::one_line(&singer.to_string(), 4_000);
        text.push_str(&format!("\nThe tap's own state: {singer}\n"));
    }
    if let Some(run_id) =
        state.claim.as_ref().filter(|claim| claim.is_held).map(|claim| &claim.run_id)
    {
        let run = display::one_line(run_id.as_deref().unwrap_or("another program"), LONGEST);
        text.push_str(&format!("\nThe schema is held by run {run}\n"));
    }
    text
}
