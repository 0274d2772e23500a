//! Integrations as the service stores them: a JSON object of settings beside its name, schema, start date and secrets. It is
//! read by the very code that reads the file, so that a setting means the same wherever it stands.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use service::{
    host::{Secrets, SettingError},
    integration::Origin,
};

use super::{
    Integration, SourceSettings,
    document::{ConfigError, Document},
    surroundings::{Reach, Surroundings, TOKEN},
};

/// The setting that tells where relative paths start: the folder of the file that declares the integration.
const FOLDER: &str = "folder";

/// The name of the secret that is a Singer tap's program and settings, and of the setting that stands in their place.
const SEALED_TAP: &str = "tap";
/// What of a Singer tap is sealed: whatever it is given may be a secret, and nothing tells which.
const SEALED_PARTS: [&str; 2] = ["command", "config"];

/// What is stored apart from the settings: name by which it stands in a file, and what is to be set instead.
const APART: [(&str, &str); 2] = [("schema", "`schema`"), ("schedule", "`schedule`")];

/// An integration's section of a file, in the form in which it is stored.
#[derive(Debug)]
pub(crate) struct Declaration {
    settings: Option<Map<String, Value>>,
    folder: PathBuf,
}

impl Declaration {
    /// Of a section that stands in a file of this folder.
    pub(super) fn new(section: Option<Map<String, Value>>, folder: &Path) -> Self {
        Self { settings: section, folder: folder.to_owned() }
    }

    /// The settings without what is stored apart, and the secrets that stood in them. `seals` says whether there is a key
    /// for them: then all that a Singer tap is given is among them.
    ///
    /// # Errors
    /// When they hold what can't be stored.
    pub(crate) fn stored(
        &self,
        integration: &Integration,
        seals: bool,
    ) -> Result<(Map<String, Value>, Secrets), SettingError> {
        let refused = |message: String, remedy: &str| SettingError {
            pointer: "/settings".to_owned(),
            message,
            remedy: remedy.to_owned(),
        };
        let mut settings = self.settings.clone().ok_or_else(|| {
            refused("A number is too large to be stored".to_owned(), "Write it as a text")
        })?;
        let mut secrets = Secrets::new();
        for (name, _) in APART {
            settings.remove(name);
        }
        if let Some(Value::Object(source)) = settings.get_mut("source") {
            source.remove("start_date");
            if let Some(token) = integration.source.inline_token() {
                source.remove("token");
                secrets.insert(TOKEN.to_owned(), token.clone());
            }
            if let SourceSettings::Singer(singer) = &integration.source {
                if seals {
                    let taken = SEALED_PARTS
                        .into_iter()
                        .filter_map(|part| Some((part.to_owned(), source.remove(part)?)));
                    let tap: Map<String, Value> = taken.collect();
                    secrets.insert(SEALED_TAP.to_owned(), Value::Object(tap).to_string().into());
                    source.insert(SEALED_TAP.to_owned(), "sealed".into());
                } else if let Some(name) = singer.inline_secret() {
                    return Err(refused(
                        format!(
                            "The tap's {name} may be a secret and stands in the configuration, and there is no key to \
                             seal it with"
                        ),
                        "Give the service a key (`backstitch key new FILE`), or write it like `{ env = \"TAP_PASSWORD\" }` or \
                         `{ file = \"PATH\" }`",
                    ));
                }
            }
        }
        // The folder of a file that is named without one is empty.
        let folder = Path::new(".").join(&self.folder);
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        settings.insert(FOLDER.to_owned(), folder.to_string_lossy().into());
        Ok((settings, secrets))
    }
}

/// A stored integration, to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored<'s> {
    /// Its name.
    pub(crate) name: &'s str,
    /// Its schema; derived from the name if it isn't given.
    pub(crate) schema_name: Option<&'s str>,
    /// Who declared it.
    pub(crate) origin: Origin,
    /// Its settings.
    pub(crate) settings: &'s Map<String, Value>,
    /// From when to read, where that is known.
    pub(crate) start_date: Option<DateTime<Utc>>,
    /// Its secrets.
    pub(crate) secrets: &'s Secrets,
}

impl Stored<'_> {
    /// Reads it. `data_folder` is where the files are that the service's users may name.
    ///
    /// # Errors
    /// When anything in it is wrong.
    pub(crate) fn read(&self, data_folder: &Path) -> Result<Integration, ConfigError> {
        let document = Document::Stored(self.name);
        let mut settings = self.settings.clone();
        let folder = match (self.origin, settings.remove(FOLDER)) {
            (Origin::File, Some(Value::String(folder))) => PathBuf::from(folder),
            _ => data_folder.to_owned(),
        };
        for (name, title) in APART {
            if let Some(entry) = document.object(&settings).take(name) {
                let message = format!("`{name}` is no setting of source and destination");
                return Err(
                    entry.error(message, format!("Give the integration's {title} beside them"))
                );
            }
        }
        if self.origin == Origin::File {
            self.put_tap_back(&document, &mut settings)?;
        }
        if let Some(schema_name) = self.schema_name {
            settings.insert("schema".to_owned(), schema_name.into());
        }
        if let (Some(start_date), Some(Value::Object(source))) =
            (self.start_date, settings.get_mut("source"))
            && source.get("type").is_some_and(|kind| kind == "bronto")
        {
            source.insert("start_date".to_owned(), start_date.to_rfc3339().into());
        }
        let reach = match self.origin {
            Origin::File => Reach::Host,
            Origin::Api => Reach::Folder,
        };
        let around = Surroundings::with_secrets(&folder, self.secrets, reach);
        Integration::read(self.name, document.object(&settings), &around)
    }

    /// Puts what of a Singer tap was sealed back into its settings.
    fn put_tap_back(
        &self,
        document: &Document<'_>,
        settings: &mut Map<String, Value>,
    ) -> Result<(), ConfigError> {
        let Some(Value::Object(source)) = settings.get_mut("source") else { return Ok(()) };
        if source.remove(SEALED_TAP).is_none() {
            return Ok(());
        }
        let opened = self.secrets.get(SEALED_TAP);
        let parts = opened.and_then(|tap| serde_json::from_str(tap.expose_secret()).ok());
        let Some(Value::Object(parts)) = parts else {
            return Err(document.error(
                "What the tap is given is sealed, and is not there",
                "Start the service with its key and the file that declares the integration",
            ));
        };
        source.extend(parts);
        Ok(())
    }
}
