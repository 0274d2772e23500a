//! From the command line to the exit code: parse, load and check what was given, then do the one thing asked for.

mod about;
mod arguments;
mod collision;
mod exit;
mod input;
mod log;
mod metrics;
mod output;
mod signals;
mod sync;

use std::{io::Write, process::ExitCode};

use arguments::{Action, Arguments};
use exit::{Exit, Failure};
use replication::source::Source;
use serde_json::Value;
use singer::{Catalog, SelectionError};
use tap_bronto::{
    BrontoSource, BrontoStream, NumberForm, SelectedStream, TapConfig, catalog,
    custom_fields::CustomSelection,
};
use tokio::runtime::Runtime;

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::from_command_line() {
        Ok(arguments) => arguments,
        Err(exit) => return exit.into(),
    };
    log::start();
    match run(&arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report().into(),
    }
}

fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match arguments.action() {
        Action::About(format) => print(&about::render(format)),
        Action::Discover => {
            let mut catalog = discover(arguments)?;
            if arguments.select_all {
                catalog::select_all(&mut catalog);
            }
            print(&catalog.to_json())
        }
        Action::Check => check(input::config(arguments)?),
        Action::Sync => {
            let mut config = input::config(arguments)?;
            config.numbers = NumberForm::Lexeme;
            config.as_lines = true;
            if let Some(mut catalog) = input::catalog(arguments)? {
                if arguments.select_all {
                    catalog::select_all(&mut catalog);
                }
                config.selection = catalog::selection(&catalog)?;
                if arguments.select_all {
                    let all =
                        |stream: SelectedStream| stream.with_custom_fields(CustomSelection::All);
                    config.selection = config.selection.into_iter().map(all).collect();
                }
                if config.selection.is_empty() {
                    return Err(SelectionError::NothingSelected.into());
                }
            }
            let state = input::state(arguments)?;
            runtime()?.block_on(sync::run(config, state))
        }
    }
}

/// What can be selected. Custom fields are known to the account alone, so it is asked for them if it is known which
/// account that is.
fn discover(arguments: &Arguments) -> Result<Catalog, Failure> {
    if arguments.config.is_empty() && !input::has_token_in_environment() {
        tracing::warn!(
            "Without `--config` the account can't be asked for its custom fields, so the catalog has none"
        );
        return Ok(catalog::discover(&[]));
    }
    let source = BrontoSource::new(input::config(arguments)?)?;
    let state = input::state(arguments)?;
    let contacts = state.bookmark(BrontoStream::Contact.name()).cloned().map(Value::Object);
    Ok(runtime()?.block_on(source.discover(contacts.as_ref()))?)
}

fn check(config: TapConfig) -> Result<Exit, Failure> {
    let source = BrontoSource::new(config)?;
    for step in runtime()?.block_on(source.check()) {
        match step.result {
            Ok(found) => tracing::info!("Check: {}: {found}", step.name),
            Err(failure) => {
                let exit = if failure.retriable { Exit::Unavailable } else { Exit::Refused };
                return Err(Failure::new(
                    exit,
                    format!("Check: {}: {}", step.name, failure.message),
                    failure.remedy,
                ));
            }
        }
    }
    Ok(Exit::Done)
}

fn runtime() -> Result<Runtime, Failure> {
    Runtime::new().map_err(|error| {
        Failure::new(
            Exit::Bug,
            format!("The threads could not be started: {error}"),
            "Check the limits of the system",
        )
    })
}

/// Writes a document to standard output.
fn print(text: &str) -> Result<Exit, Failure> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush())?;
    Ok(Exit::Done)
}
