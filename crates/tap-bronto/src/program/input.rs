//! The files that the command line names.

use std::{fs, path::Path};

use singer::{Catalog, State};
use tap_bronto::{TapConfig, config::Settings};

use super::{
    arguments::Arguments,
    exit::{Exit, Failure},
};

/// What `--config` may name instead of a file.
const ENVIRONMENT: &str = "ENV";

/// Whether the environment says which account is meant.
pub(crate) fn has_token_in_environment() -> bool {
    std::env::var_os("TAP_BRONTO_TOKEN").is_some()
}

/// The configuration: all files, then the environment.
pub(crate) fn config(arguments: &Arguments) -> Result<TapConfig, Failure> {
    let mut settings = Settings::default();
    for path in arguments.config.iter().filter(|path| path.as_os_str() != ENVIRONMENT) {
        let text = read("configuration", path)?;
        settings
            .add_json(&text)
            .map_err(|error| Failure::from(error).within(&path.display().to_string()))?;
    }
    let variables = std::env::vars_os();
    settings.add_environment(
        variables
            .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?))),
    );
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    Ok(settings.into_config()?)
}

/// The catalog, if one is named.
pub(crate) fn catalog(arguments: &Arguments) -> Result<Option<Catalog>, Failure> {
    let Some(path) = arguments.catalog_file() else { return Ok(None) };
    Ok(Some(Catalog::parse(&read("catalog", path)?)?))
}

/// The state, empty if none is named. An empty file is an empty state: runners make one before the first run.
pub(crate) fn state(arguments: &Arguments) -> Result<State, Failure> {
    let Some(path) = &arguments.state else { return Ok(State::default()) };
    let text = read("state", path)?;
    if text.trim().is_empty() {
        return Ok(State::default());
    }
    Ok(State::parse(&text)?)
}

fn read(what: &str, path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| {
        let message = format!("The {what} `{}` can't be read: {error}", path.display());
        Failure::new(
            Exit::Usage,
            message,
            "Check the file's name, its permissions and that it is UTF-8 text",
        )
    })
}
