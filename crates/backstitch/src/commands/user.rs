//! `backstitch user`: users of the service, made on its host. All else about them is done over the API.

use std::io::{self, BufRead, IsTerminal};

use chrono::Utc;
use secrecy::{ExposeSecret, SecretString};
use service::{
    StoreError,
    api::passwords,
    store::{Role, Scope},
};

use super::serve::configured_by;
use crate::{
    command_line::{UserArguments, UserCommand, UserNewArguments},
    display,
    exit::ExitStatus,
    failure::Failure,
    hosting::open_store,
    pipeline,
};

/// The environment variable that may hold the password.
const PASSWORD_VARIABLE: &str = "BACKSTITCH_PASSWORD";

/// Runs the command.
///
/// # Errors
/// When the store can't be used, the name is taken, or the password is none.
pub(crate) fn execute(arguments: &UserArguments) -> Result<ExitStatus, Failure> {
    let UserCommand::New(arguments) = &arguments.command;
    let role = Role::named(&arguments.role).ok_or_else(|| {
        Failure::configuration(format!("There is no role `{}`", arguments.role))
            .with_hint("The roles are `administrator`, `member` and `viewer`")
    })?;
    let password = password()?;
    let hash = passwords::hash(&password).map_err(Failure::configuration)?;
    let configuration = configured_by(arguments.config.as_deref(), arguments.store.as_deref())?;
    let token = pipeline::block_on(async {
        let store = open_store(&configuration.service.store).await?;
        let failed =
            |error: StoreError| Failure::configuration(error.to_string()).with_hint(error.remedy());
        let user =
            store.create_user(&arguments.name, role, &hash, Utc::now()).await.map_err(failed)?;
        if !arguments.token {
            return Ok(None);
        }
        let token = store.create_token(&user.id, "first", Scope::Write, None, Utc::now()).await;
        token.map(|token| Some(token.text)).map_err(failed)
    })?;
    display::print(&told(arguments, token.as_ref()))?;
    Ok(ExitStatus::Done)
}

fn told(arguments: &UserNewArguments, token: Option<&SecretString>) -> String {
    match token {
        // Alone, for a script to take.
        Some(token) => format!("{}\n", token.expose_secret()),
        None => format!("Made the user `{}`, {}.\n", arguments.name, arguments.role),
    }
}

/// The password, from the environment or a line of standard input, never from the command line, which others can read.
///
/// # Errors
/// When there is none.
pub(super) fn password() -> Result<SecretString, Failure> {
    if let Ok(password) = std::env::var(PASSWORD_VARIABLE) {
        return Ok(password.into());
    }
    let input = io::stdin();
    if input.is_terminal() {
        return Err(Failure::configuration("There is no password").with_hint(format!(
            "Set `{PASSWORD_VARIABLE}`, or write the password to standard input: `… < FILE`"
        )));
    }
    let mut line = String::new();
    input
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::configuration("The password can't be read").caused_by(&error))?;
    Ok(line.trim_end_matches(['\r', '\n']).into())
}
