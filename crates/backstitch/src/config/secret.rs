//! Where a secret comes from: the environment or a file; a token may stand in the configuration itself, with a warning.

use std::{fs, path::PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::{
    document::{ConfigError, Entry},
    surroundings::Surroundings,
};
use crate::failure::Failure;

/// A secret's place. It is read when it is needed, so commands that don't need it don't ask for it.
#[derive(Debug)]
pub(crate) enum Secret {
    /// An environment variable.
    Environment(String),
    /// A file that holds nothing else.
    File(PathBuf),
    /// The configuration itself.
    Inline(SecretString),
}

impl Secret {
    /// Reads `{ env = "NAME" }`, `{ file = "PATH" }` or an inline string.
    ///
    /// # Errors
    /// When it is neither of them, or stands in settings that have their secrets apart.
    pub(super) fn parse(entry: Entry<'_>, around: &Surroundings<'_>) -> Result<Self, ConfigError> {
        if let Some(text) = entry.as_text() {
            if around.has_secrets_apart() {
                return Err(entry.error(
                    format!("`{}` must not stand in the settings", entry.name()),
                    "Give it among the secrets",
                ));
            }
            return Ok(Self::Inline(text.into()));
        }
        around.demand_host(&entry, "A secret from the environment or a file")?;
        let mut section = entry.section()?;
        let secret = match (section.take("env"), section.take("file")) {
            (Some(name), None) => Self::Environment(name.text()?.to_owned()),
            (None, Some(path)) => Self::File(around.folder().join(path.text()?)),
            _ => {
                return Err(section.error(
                    "A secret needs either `env` or `file`",
                    "Write it like `{ env = \"BRONTO_TOKEN\" }` or `{ file = \"bronto.token\" }`",
                ));
            }
        };
        section.finish()?;
        Ok(secret)
    }

    /// The secret itself; `what` names it in errors, for example `The Bronto token`.
    ///
    /// # Errors
    /// When the variable isn't set, or the file can't be read, or there is nothing in it.
    pub(crate) fn read(&self, what: &str) -> Result<SecretString, Failure> {
        let (secret, place): (SecretString, String) = match self {
            Self::Inline(secret) => (secret.clone(), "the configuration".to_owned()),
            Self::Environment(name) => {
                let secret = std::env::var(name).map_err(|_| {
                    Failure::configuration(format!(
                        "{what} is missing: `{name}` is not set in the environment"
                    ))
                    .with_hint(format!("Set it, for example with `export {name}=…`"))
                })?;
                (secret.into(), format!("the environment variable `{name}`"))
            }
            Self::File(path) => {
                let secret = fs::read_to_string(path).map_err(|error| {
                    Failure::configuration(format!(
                        "{what} can't be read from `{}`",
                        path.display()
                    ))
                    .caused_by(&error)
                })?;
                (secret.trim_end_matches(['\r', '\n']).into(), format!("`{}`", path.display()))
            }
        };
        if secret.expose_secret().trim().is_empty() {
            return Err(Failure::configuration(format!("{what} is empty in {place}")));
        }
        Ok(secret)
    }
}
