//! A service that runs elsewhere, asked over its API by the commands that take `--server`.
//!
//! What it answers is read into the very types that the service writes it from (`service::api::shapes`), beside the JSON
//! as it came, which `--json` shows. The token comes from the environment or a file, never from the command line, and goes
//! to no other address than the one that was named.

mod address;
mod client;
mod error;
mod events;
mod follow;

use std::{env, fs};

use self::{address::ServerAddress, client::Trust};
pub(crate) use self::{
    client::{Answer, Client},
    error::RemoteError,
    follow::{Followed, follow},
};
use crate::{
    command_line::ServerArguments, config::Secret, exit::ExitStatus, failure::Failure, interrupt,
    pipeline,
};

/// The environment variable that names the service.
const SERVER: &str = "BACKSTITCH_SERVER";
/// The environment variable that holds the API token.
const TOKEN: &str = "BACKSTITCH_API_TOKEN";

/// Whether a service is named, here or in the environment.
pub(crate) fn is_named(arguments: &ServerArguments) -> bool {
    arguments.server.is_some() || from_environment().is_some()
}

fn from_environment() -> Option<String> {
    env::var(SERVER).ok().filter(|address| !address.trim().is_empty())
}

/// Asks the service that is named, until the work is done or a signal ends it.
///
/// # Errors
/// Those of the work; or when no service or no token is given, or the address is none.
pub(crate) fn ask(
    arguments: &ServerArguments,
    work: impl AsyncFnOnce(&Client) -> Result<ExitStatus, Failure>,
) -> Result<ExitStatus, Failure> {
    let named = arguments.server.clone().or_else(from_environment).ok_or_else(|| {
        Failure::configuration("This is asked of a service, and none is named").with_hint(format!(
            "Give its address by `--server https://…` or in {SERVER}, and an API token in {TOKEN}"
        ))
    })?;
    let address = ServerAddress::parse(&named, arguments.allow_http)?;
    let token = match &arguments.token_file {
        Some(file) => Secret::File(file.clone()),
        None => Secret::Environment(TOKEN.to_owned()),
    };
    let token = token.read("The API token").map_err(|failure| {
        failure.with_hint(format!("Give it in {TOKEN}, or in a file by `--token-file FILE`"))
    })?;
    let trust = match &arguments.ca_file {
        None => Trust::System,
        Some(file) => {
            let unreadable = || {
                Failure::configuration(format!(
                    "No certificate can be read from `{}`",
                    file.display()
                ))
                .with_hint("Give a PEM file")
            };
            let pem = fs::read(file).map_err(|error| unreadable().caused_by(&error))?;
            let trust = Trust::and(&pem).map_err(|error| unreadable().caused_by(&error))?;
            trust.ok_or_else(unreadable)?
        }
    };
    let client = Client::new(address, &token, trust)?;
    pipeline::block_on(interrupt::unless_interrupted(work(&client)))
}
