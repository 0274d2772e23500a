//! What surrounds settings: where their paths start, which secrets were given apart from them, and how far they may reach.

use std::path::{Component, Path};

use secrecy::SecretString;
use service::host::Secrets;

use super::document::{ConfigError, Entry};

/// The name of a source's secret, where it is given apart.
pub(crate) const TOKEN: &str = "token";
/// The name of a destination's secret.
pub(crate) const PASSWORD: &str = "password";

/// What surrounds settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'s> {
    folder: &'s Path,
    secrets: Option<&'s Secrets>,
    reach: Reach,
}

/// How far settings may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// As far as who wrote the file on this host: its environment, files and programs.
    Host,
    /// To DuckDB files in the folder, and to other hosts. That is what the service's users may have, who have no account on
    /// this host.
    Folder,
}

impl<'s> Surroundings<'s> {
    /// Those of a file on the host.
    pub(crate) fn of_file(folder: &'s Path) -> Self {
        Self { folder, secrets: None, reach: Reach::Host }
    }

    /// Those of settings that come with secrets.
    pub(crate) fn with_secrets(folder: &'s Path, secrets: &'s Secrets, reach: Reach) -> Self {
        Self { folder, secrets: Some(secrets), reach }
    }

    /// Where relative paths start.
    pub(crate) fn folder(&self) -> &'s Path {
        self.folder
    }

    /// A secret that was given apart.
    pub(crate) fn secret(&self, name: &str) -> Option<SecretString> {
        self.secrets?.get(name).cloned()
    }

    /// Whether secrets are given apart, so that none may stand in the settings.
    pub(crate) fn has_secrets_apart(&self) -> bool {
        self.secrets.is_some()
    }

    /// Whether the settings are of who wrote the file on this host.
    pub(crate) fn is_host(&self) -> bool {
        self.reach == Reach::Host
    }

    /// Refuses what only the host's own file may say.
    ///
    /// # Errors
    /// When these settings aren't from there.
    pub(crate) fn demand_host(&self, entry: &Entry<'_>, what: &str) -> Result<(), ConfigError> {
        match self.reach {
            Reach::Host => Ok(()),
            Reach::Folder => Err(entry.error(
                format!("{what} can only be set in the configuration file on the service's host"),
                "Declare the integration there, as `[integration.\"NAME\"]`",
            )),
        }
    }

    /// Refuses a DuckDB file elsewhere than in the folder.
    ///
    /// # Errors
    /// When it is, and these settings may not reach there.
    pub(crate) fn demand_within(&self, entry: &Entry<'_>, path: &str) -> Result<(), ConfigError> {
        let path = Path::new(path);
        let is_within = path.components().all(|part| matches!(part, Component::Normal(_)));
        // What the service itself keeps in the folder never ends so.
        let is_own = path.extension().is_some_and(|extension| extension == "duckdb");
        if self.reach == Reach::Host || is_within && is_own {
            return Ok(());
        }
        Err(entry.error(
            "The DuckDB file must be in the service's data folder and its name end in `.duckdb`",
            "Write it like `duckdb:warehouse.duckdb`; other places can be named in the configuration file on the host",
        ))
    }
}
