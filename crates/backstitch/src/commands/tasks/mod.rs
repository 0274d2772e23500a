//! What runs of a service do beyond replicating what is new, asked for over its API and followed to their end: audits,
//! replays of rejected rows, moves of bookmarks.

mod audit;
mod bookmarks;
mod rejects;

use serde_json::Value;
use service::api::shapes::{ReportView, RunView};

pub(super) use self::{audit::audit, bookmarks::bookmarks, rejects::rejects};
use super::{logs, runs};
use crate::{
    display,
    exit::ExitStatus,
    failure::Failure,
    remote::{self, Answer, Client, Followed},
};

/// How a run ended, as an exit code or with its error.
///
/// # Errors
/// When it failed, or ended before it was done.
pub(super) fn ended(run: &RunView) -> Result<ExitStatus, Failure> {
    match &run.error {
        Some(error) => Err(Failure::new(
            ExitStatus::of_word(&error.code),
            display::one_line(&error.message, 2_000),
        )
        .with_hint(display::one_line(&error.remedy, 2_000))),
        None if run.state == "succeeded" => Ok(ExitStatus::Done),
        None => Err(Failure::new(
            ExitStatus::Unexpected,
            format!("The run ended as `{}`", runs::state(run)),
        )
        .with_hint("The next start goes on from its last commit")),
    }
}

/// Waits for the end of a run, and answers it with its report, if it has one. People see its log meanwhile, programs
/// nothing. Nothing is answered if whoever read the log went away.
///
/// # Errors
/// When the service can't be asked any more.
async fn finished(
    client: &Client,
    run_id: &str,
    is_json: bool,
) -> Result<Option<(RunView, Option<Answer<ReportView>>)>, Failure> {
    let end = if is_json {
        let mut end = None;
        let told = |heard: Followed| {
            if let Followed::End(run) = heard {
                end = Some(run.view);
            }
            Ok(true)
        };
        // Nothing is as grave as this, so only the end is told.
        remote::follow(client, run_id, Some("CRITICAL"), told).await?;
        end
    } else {
        logs::follow(client, run_id, None, None, false).await?
    };
    let Some(end) = end else { return Ok(None) };
    let report = client.get(&["runs", run_id, "report"], &[]).await;
    let report = match report {
        Ok(report) => Some(report),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Some((end, report)))
}

/// A figure of a report; what isn't there is nothing.
fn figure(table: &Value, name: &str) -> String {
    display::count(table[name].as_u64().unwrap_or_default())
}

/// The tables of a report.
fn tables(report: &Value) -> impl Iterator<Item = &Value> {
    report["tables"].as_array().into_iter().flatten()
}

/// The name of a table of a report, which comes from outside.
fn name(table: &Value) -> String {
    display::one_line(table["table"].as_str().unwrap_or_default(), 80)
}
