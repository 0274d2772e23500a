//! `backstitch logs`: the log of a run, as far as it is written, or followed until it ends.

use service::{
    api::shapes::{IntegrationView, LineView, Page, RunView},
    store::NewLogLine,
};

use crate::{
    command_line::LogsArguments,
    display,
    exit::ExitStatus,
    failure::Failure,
    remote::{self, Answer, Client, Followed},
};

/// How many lines are asked for at once.
const PAGE: u32 = 500;

/// Runs the command.
///
/// # Errors
/// When the service can't be asked, or there is no such run.
pub(crate) fn execute(arguments: &LogsArguments) -> Result<ExitStatus, Failure> {
    if !remote::is_named(&arguments.server) {
        return Err(Failure::configuration("Logs are kept by a service, and none is named")
            .with_hint("Give its address by `--server` or in BACKSTITCH_SERVER"));
    }
    remote::ask(&arguments.server, async |client| {
        let run_id = run_of(client, &arguments.name).await?;
        let level = arguments.level.as_deref().map(str::to_uppercase);
        if !arguments.follow {
            list(client, arguments, &run_id, level.as_deref()).await?;
            return Ok(ExitStatus::Done);
        }
        follow(client, &run_id, level.as_deref(), arguments.search.as_deref(), arguments.json)
            .await?;
        Ok(ExitStatus::Done)
    })
}

/// Follows a run's log on standard output until it ends, and answers how it ended; nothing if whoever read it went away.
///
/// # Errors
/// When the service refuses or can't be reached any more, or standard output can't be written.
pub(super) async fn follow(
    client: &Client,
    run_id: &str,
    level: Option<&str>,
    search: Option<&str>,
    is_json: bool,
) -> Result<Option<RunView>, Failure> {
    let search = search.map(str::to_lowercase);
    let mut end = None;
    let told = |heard: Followed| match heard {
        Followed::Line(line) => {
            let is_wanted =
                search.as_ref().is_none_or(|text| line.view.body.to_lowercase().contains(text));
            if is_wanted { print(line, is_json) } else { Ok(true) }
        }
        Followed::End(run) => {
            end = Some(run.view);
            Ok(true)
        }
    };
    remote::follow(client, run_id, level, told).await?;
    Ok(end)
}

/// Prints the lines that there are, page after page.
async fn list(
    client: &Client,
    arguments: &LogsArguments,
    run_id: &str,
    level: Option<&str>,
) -> Result<(), Failure> {
    let mut next: Option<String> = None;
    loop {
        let mut query = vec![("limit", PAGE.to_string())];
        query.extend(level.map(|level| ("level", level.to_owned())));
        query.extend(arguments.search.clone().map(|text| ("search", text)));
        query.extend(next.take().map(|after| ("after", after)));
        let path = ["runs", run_id, "log"];
        let Answer { json, view }: Answer<Page<LineView>> = client.get(&path, &query).await?;
        let lines = json["items"].as_array().cloned().unwrap_or_default();
        for (json, view) in lines.into_iter().zip(view.items) {
            if !print(Answer { json, view }, arguments.json)? {
                return Ok(());
            }
        }
        match view.next {
            Some(after) => next = Some(after),
            None => return Ok(()),
        }
    }
}

/// Prints a line, with nothing in it that a terminal would obey, and tells whether anybody reads on.
fn print(line: Answer<LineView>, is_json: bool) -> Result<bool, Failure> {
    let text =
        if is_json { line.json.to_string() } else { NewLogLine::from(line.view).to_string() };
    display::offer(&format!("{text}\n"))
}

/// The run that is meant: itself, or an integration's last.
async fn run_of(client: &Client, name: &str) -> Result<String, Failure> {
    if super::runs::is_id(name) {
        match client.get::<RunView>(&["runs", name], &[]).await {
            Ok(run) => return Ok(run.view.id),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let IntegrationView { name, last_run, .. } = client.integration(name).await?.view;
    let run = last_run.ok_or_else(|| {
        let message = format!("`{}` has had no run yet", display::one_line(&name, 200));
        Failure::configuration(message).with_hint("`backstitch integrations start` starts one")
    })?;
    Ok(run.id)
}
