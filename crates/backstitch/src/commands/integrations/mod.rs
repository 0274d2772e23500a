//! `backstitch integrations`: the integrations of a service, shown, made, changed and started over its API.

mod draft;
mod text;

pub(super) use self::text::words;

use std::io::{self, BufRead, IsTerminal, Write};

use replication::source::Span;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use service::api::shapes::{
    BackfillBody, CheckView, IntegrationView, Page, ResetView, RunView, SchemaEventView, SlotView,
};

use self::draft::Draft;
use super::{logs, runs, tasks};
use crate::{
    command_line::{
        CheckDraftArguments, CloneArguments, CreateArguments, DeleteArguments, EditArguments,
        IntegrationsArguments, IntegrationsCommand, ListedIntegration, NamedIntegration,
        ResetArguments, StartArguments,
    },
    display,
    exit::ExitStatus,
    failure::Failure,
    remote::{self, Answer, Client},
};

/// Runs the command.
///
/// # Errors
/// When the service can't be asked or refuses, or what it is to make can't be read.
pub(crate) fn execute(arguments: &IntegrationsArguments) -> Result<ExitStatus, Failure> {
    use IntegrationsCommand as Do;
    let is_json = arguments.json;
    // Files and standard input are read before anything is asked.
    let draft = match &arguments.command {
        Some(Do::Create(made)) => Draft::read(&made.draft)?,
        Some(Do::Edit(edit)) => Draft::read(&edit.draft)?,
        Some(Do::Check(check)) => Draft::read(&check.draft)?,
        Some(Do::Clone(clone)) => Draft::read(&clone.draft())?,
        _ => Draft::default(),
    };
    remote::ask(&arguments.server, async |client| match &arguments.command {
        None | Some(Do::List) => list(client, is_json).await,
        Some(Do::Show(named)) => show(client, named, is_json).await,
        Some(Do::Create(made)) => create(client, made, draft, is_json).await,
        Some(Do::Edit(edit)) => self::edit(client, edit, draft, is_json).await,
        Some(Do::Pause(named)) => turn(client, named, "pause", is_json).await,
        Some(Do::Resume(named)) => turn(client, named, "resume", is_json).await,
        Some(Do::Clone(clone)) => self::clone(client, clone, draft, is_json).await,
        Some(Do::Slots(listed)) => slots(client, listed, is_json).await,
        Some(Do::SchemaEvents(listed)) => schema_events(client, listed, is_json).await,
        Some(Do::Start(start)) => self::start(client, start, is_json).await,
        Some(Do::Stop(named)) => stop(client, named, is_json).await,
        Some(Do::Check(check)) => self::check(client, check, draft, is_json).await,
        Some(Do::Reset(reset)) => self::reset(client, reset, is_json).await,
        Some(Do::Delete(delete)) => self::delete(client, delete).await,
    })
}

/// Shows what was answered: its JSON, or a text made of it.
fn answer<T>(
    answer: &Answer<T>,
    is_json: bool,
    text: impl FnOnce(&T) -> String,
) -> Result<ExitStatus, Failure> {
    if is_json {
        display::print_json(&answer.json)?;
    } else {
        display::print(&text(&answer.view))?;
    }
    Ok(ExitStatus::Done)
}

async fn list(client: &Client, is_json: bool) -> Result<ExitStatus, Failure> {
    let found = client.integrations().await?;
    answer(&found, is_json, |page| text::list(&page.items))
}

async fn show(
    client: &Client,
    named: &NamedIntegration,
    is_json: bool,
) -> Result<ExitStatus, Failure> {
    let found = client.integration(&named.name).await?;
    answer(&found, is_json, text::whole)
}

async fn create(
    client: &Client,
    arguments: &CreateArguments,
    mut draft: Draft,
    is_json: bool,
) -> Result<ExitStatus, Failure> {
    draft.put("name", arguments.name.clone());
    draft.put("schema_name", arguments.schema.clone());
    draft.put("start_date", arguments.start_date.map(|date| date.to_rfc3339()));
    draft.complete(&arguments.draft, None)?;
    if !draft.has("name") {
        return Err(Failure::configuration("The integration has no name")
            .with_hint("Give it: `backstitch integrations create NAME …`"));
    }
    let made: Answer<IntegrationView> = client.post(&["integrations"], draft.body()).await?;
    answer(&made, is_json, |made| format!("Made {}", text::whole(made)))
}

async fn edit(
    client: &Client,
    arguments: &EditArguments,
    mut draft: Draft,
    is_json: bool,
) -> Result<ExitStatus, Failure> {
    let found = client.integration(&arguments.integration.name).await?.view;
    draft.put("name", arguments.rename.clone());
    if arguments.no_schedule {
        draft.clear("schedule");
    }
    draft.complete(&arguments.draft, Some(&found.settings))?;
    if draft.is_empty() {
        return Err(Failure::configuration("Nothing is to be changed")
            .with_hint("`backstitch integrations edit --help` lists what can be"));
    }
    let path = ["integrations", &found.id];
    let edited: Answer<IntegrationView> =
        client.patch(&path, Some(found.version), draft.body()).await?;
    answer(&edited, is_json, |edited| format!("Changed {}", text::whole(edited)))
}

/// Pauses or resumes.
async fn turn(
    client: &Client,
    named: &NamedIntegration,
    what: &str,
    is_json: bool,
) -> Result<ExitStatus, Failure> {
    let found = client.integration(&named.name).await?.view;
    let path = ["integrations", &found.id, what];
    let turned: Answer<IntegrationView> = client.post(&path, nothing()).await?;
    answer(&turned, is_json, text::line)
}

async fn start(
    client: &Client,
    arguments: &StartArguments,
    is_json: bool,
) -> Result<ExitStatus, Failure> {
    let found = client.integration(&arguments.integration.name).await?.view;
    let (what, body) = match arguments.backfill {
        Some(Span { from, before }) => {
            let tables = arguments.table.clone();
            let body = json!(BackfillBody { from, before, tables }).to_string();
            ("backfill", body.into())
        }
        None => ("runs", nothing()),
    };
    let run: Answer<RunView> = client.post(&["integrations", &found.id, what], body).await?;
    if !arguments.follow {
        let name = display::one_line(&found.name, 200);
        return answer(&run, is_json, |run| format!("Started run {} of {name}\n", run.id));
    }
    let followed = logs::follow(client, &run.view.id, None, None, is_json).await?;
    followed.map_or(Ok(ExitStatus::Done), |end| tasks::ended(&end))
}

async fn clone(
    client: &Client,
    arguments: &CloneArguments,
    mut draft: Draft,
    is_json: bool,
) -> Result<ExitStatus, Failure> {
    let found = client.integration(&arguments.integration.name).await?.view;
    draft.drop(&["schedule", "start_date"]);
    draft.put("name", Some(arguments.new_name.clone()));
    draft.put("schema_name", arguments.schema.clone());
    draft.complete(&arguments.draft(), Some(&found.settings))?;
    let path = ["integrations", &found.id, "clone"];
    let made: Answer<IntegrationView> = client.post(&path, draft.body()).await?;
    answer(&made, is_json, |made| format!("Made {}", text::whole(made)))
}

async fn slots(
    client: &Client,
    listed: &ListedIntegration,
    is_json: bool,
) -> Result<ExitStatus, Failure> {
    let slots = list_of::<SlotView>(client, listed, "slots").await?;
    answer(&slots, is_json, |page| text::slots(&page.items))
}

async fn schema_events(
    client: &Client,
    listed: &ListedIntegration,
    is_json: bool,
) -> Result<ExitStatus, Failure> {
    let events = list_of::<SchemaEventView>(client, listed, "schema-events").await?;
    answer(&events, is_json, |page| text::schema_events(&page.items))
}

/// A list of something of an integration.
async fn list_of<T: DeserializeOwned>(
    client: &Client,
    listed: &ListedIntegration,
    what: &str,
) -> Result<Answer<Page<T>>, Failure> {
    let found = client.integration(&listed.integration.name).await?.view;
    let limit = usize::try_from(listed.limit).unwrap_or(usize::MAX);
    Ok(client.list(&["integrations", &found.id, what], &[], limit, None).await?)
}

async fn stop(
    client: &Client,
    named: &NamedIntegration,
    is_json: bool,
) -> Result<ExitStatus, Failure> {
    let found = client.integration(&named.name).await?.view;
    let Some(alive) = found.last_run.filter(|run| run.ended_at.is_none()) else {
        let message = format!("No run of `{}` is alive", display::one_line(&found.name, 200));
        return Err(Failure::configuration(message).with_hint("There is nothing to stop"));
    };
    let run: Answer<RunView> = client.post(&["runs", &alive.id, "stop"], nothing()).await?;
    answer(&run, is_json, |run| {
        format!("Run {} is to stop; what it has extracted is loaded\n", run.id)
    })
}

async fn check(
    client: &Client,
    arguments: &CheckDraftArguments,
    mut draft: Draft,
    is_json: bool,
) -> Result<ExitStatus, Failure> {
    let found: Answer<CheckView> = if arguments.new {
        draft.put("name", arguments.name.clone());
        draft.put("schema_name", arguments.schema.clone());
        draft.complete(&arguments.draft, None)?;
        client.post(&["integration-checks"], draft.body()).await?
    } else {
        let name = arguments.name.as_deref().ok_or_else(|| {
            Failure::configuration("Which integration is to be tried isn't said")
                .with_hint("Name it, or give `--new` and what it is to be")
        })?;
        let integration = client.integration(name).await?.view;
        draft.complete(&arguments.draft, Some(&integration.settings))?;
        draft.drop(&["name", "schema_name", "schedule", "start_date"]);
        client.post(&["integrations", &integration.id, "checks"], draft.body()).await?
    };
    answer(&found, is_json, text::check)?;
    let failed = found.view.steps.iter().find(|step| !step.is_ok);
    Ok(match failed.map(|step| step.side.as_str()) {
        None => ExitStatus::Done,
        Some("destination") => ExitStatus::Destination,
        Some(_) => ExitStatus::SourceRefused,
    })
}

async fn reset(
    client: &Client,
    arguments: &ResetArguments,
    is_json: bool,
) -> Result<ExitStatus, Failure> {
    let found = client.integration(&arguments.integration.name).await?.view;
    let path = ["integrations", &found.id, "reset"];
    let body = |confirm: Option<&str>| {
        let mut body = json!({ "start_date": arguments.start_date });
        if let Some(confirm) = confirm {
            body["confirm"] = confirm.into();
        }
        body.to_string().into()
    };
    let told: Answer<ResetView> = client.post(&path, body(None)).await?;
    let date = display::instant(Some(arguments.start_date));
    let name = display::one_line(&found.name, 200);
    if !is_json {
        let consequences = text::consequences(&told.view.consequences);
        display::print(&format!("{name} is to be read again from {date}:\n{consequences}"))?;
    }
    confirmed(arguments.yes).await?;
    let done: Answer<ResetView> = client.post(&path, body(told.view.confirm.as_deref())).await?;
    answer(&done, is_json, |_| "The next run does so\n".to_owned())
}

async fn delete(client: &Client, arguments: &DeleteArguments) -> Result<ExitStatus, Failure> {
    let found = client.integration(&arguments.integration.name).await?.view;
    let (name, schema) =
        (display::one_line(&found.name, 200), display::one_line(&found.schema_name, 200));
    if !arguments.yes {
        display::print(&format!(
            "{name} is to be deleted. Its runs and figures stay with the service, and its rows in schema `{schema}`\n"
        ))?;
    }
    confirmed(arguments.yes).await?;
    client.delete(&["integrations", &found.id]).await?;
    display::print(&format!("Deleted {name}; its rows stay in schema `{schema}`\n"))?;
    Ok(ExitStatus::Done)
}

/// Has somebody at a terminal confirm what was told, unless it was confirmed before.
pub(super) async fn confirmed(is_confirmed: bool) -> Result<(), Failure> {
    // A signal is heard while somebody thinks about it.
    if is_confirmed || tokio::task::spawn_blocking(is_answered).await.is_ok_and(|is_yes| is_yes) {
        return Ok(());
    }
    Err(Failure::configuration("Nothing was done: it wasn't confirmed")
        .with_hint("Give `--yes`, or answer `yes` at a terminal"))
}

/// Asks at the terminal, if there is one, and tells whether the answer is yes.
fn is_answered() -> bool {
    let input = io::stdin();
    if !input.is_terminal() {
        return false;
    }
    let mut talk = io::stderr().lock();
    let asked = talk.write_all(b"Do it? Type `yes`: ").and_then(|()| talk.flush());
    let mut line = String::new();
    let read = asked.and_then(|()| input.lock().read_line(&mut line));
    read.is_ok() && line.trim().eq_ignore_ascii_case("yes")
}

/// A body that says nothing.
fn nothing() -> SecretString {
    Value::Object(Map::new()).to_string().into()
}
