//! The configuration file, `backstitch.toml`: one `[integration."NAME"]` per account and schema.
//!
//! The file is read by hand from the TOML tree rather than through serde, so that every complaint names the line, says
//! what is expected, suggests the nearest name for one that isn't known, and never shows a value that may be a secret.
//! Everything that can be judged without a connection is judged here.

mod address;
mod document;
mod integration;
mod schedule;
mod schema_name;
mod secret;
mod selection;
mod service;
mod singer;
mod stored;
mod surroundings;

pub(crate) use address::{DestinationAddress, ParsedAddress};
pub(crate) use document::{ConfigError, nearest};
pub(crate) use integration::{BrontoSettings, Integration, Nested, SourceSettings};
pub(crate) use schema_name::SchemaName;
pub(crate) use secret::Secret;
pub(crate) use service::{LogForm, ServiceSettings, StoreAddress, Tls};
pub(crate) use stored::{Declaration, Stored};
pub(crate) use surroundings::{PASSWORD, TOKEN};

use std::{fs, path::Path};

use self::{document::Document, surroundings::Surroundings};
use crate::failure::Failure;

/// The configuration file that is read where none is named.
pub(crate) const FILE: &str = "backstitch.toml";

/// Reads one integration of the file: the one that is named, or the only one there is.
///
/// # Errors
/// When the file can't be read, anything in it is wrong, or the name doesn't decide.
pub(crate) fn load(path: &Path, name: Option<&str>) -> Result<Integration, Failure> {
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    let mut integrations = parse(path, &text)?;
    let names: Vec<String> =
        integrations.iter().map(|integration| integration.name.clone()).collect();
    let position = match name {
        Some(name) => names
            .iter()
            .position(|known| known == name)
            .ok_or_else(|| unknown(path, name, &names))?,
        None if integrations.len() == 1 => 0,
        None => return Err(undecided(path, &names)),
    };
    Ok(integrations.swap_remove(position))
}

/// A whole file.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// The integrations, each as it is to be stored too.
    pub(crate) integrations: Vec<(Integration, Declaration)>,
    /// The settings of the service.
    pub(crate) service: ServiceSettings,
}

/// Reads a whole file.
///
/// # Errors
/// When it can't be read, or anything in it is wrong.
pub(crate) fn load_all(path: &Path) -> Result<Configuration, Failure> {
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    Ok(parse_all(path, &text)?)
}

/// What there is without a file, in its folder.
pub(crate) fn without_file(folder: &Path) -> Configuration {
    Configuration { integrations: Vec::new(), service: ServiceSettings::defaults(folder) }
}

/// Reads all integrations of a file's text. Relative paths in it start at the file's folder.
fn parse(path: &Path, text: &str) -> Result<Vec<Integration>, ConfigError> {
    let configuration = parse_all(path, text)?;
    Ok(configuration.integrations.into_iter().map(|(integration, _)| integration).collect())
}

fn parse_all(path: &Path, text: &str) -> Result<Configuration, ConfigError> {
    let document = Document::File(path, text);
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut root = document.root()?;
    let mut integrations = Vec::new();
    if let Some(entry) = root.take("integration") {
        for (name, section) in entry.named_sections()? {
            let object = section.object();
            let integration = Integration::read(&name, section, &Surroundings::of_file(&folder))?;
            integrations.push((integration, Declaration::new(object, &folder)));
        }
    }
    let service = match root.take("service") {
        Some(entry) => ServiceSettings::read(entry.section()?, &folder)?,
        None => ServiceSettings::defaults(&folder),
    };
    root.finish()?;
    refuse_shared_schemas(&document, &integrations)?;
    Ok(Configuration { integrations, service })
}

/// Two integrations that write into one schema would fence each other off for ever.
fn refuse_shared_schemas(
    document: &Document<'_>,
    integrations: &[(Integration, Declaration)],
) -> Result<(), ConfigError> {
    for (position, (integration, _)) in integrations.iter().enumerate() {
        let twin = integrations[..position].iter().find(|(other, _)| {
            other.destination == integration.destination && other.schema == integration.schema
        });
        if let Some((twin, _)) = twin {
            let message = format!(
                "The integrations `{}` and `{}` write into the same schema, `{}`",
                twin.name, integration.name, integration.schema
            );
            return Err(document.error(message, "Give one of them another `schema`"));
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::configuration(format!(
        "The configuration file `{}` can't be read",
        path.display()
    ));
    let failure = failure.caused_by(error);
    if error.kind() == std::io::ErrorKind::NotFound {
        failure.with_hint(
            "Write one, or name it with `--config`; `backstitch demo` shows what it looks like",
        )
    } else {
        failure
    }
}

fn unknown(path: &Path, name: &str, names: &[String]) -> Failure {
    let failure =
        Failure::configuration(format!("`{}` has no integration `{name}`", path.display()));
    match document::nearest(name, names.iter().map(String::as_str)) {
        Some(nearest) => failure.with_hint(format!("Did you mean `{nearest}`?")),
        None => failure.with_hint(list_names(names)),
    }
}

fn undecided(path: &Path, names: &[String]) -> Failure {
    if names.is_empty() {
        return Failure::configuration(format!("`{}` has no integration", path.display()))
            .with_hint("Add a section such as `[integration.\"Stitch Bronto\"]`");
    }
    Failure::configuration(format!(
        "`{}` has several integrations, and none is named",
        path.display()
    ))
    .with_hint(list_names(names))
}

fn list_names(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("It has {}", names.join(", "))
}

#[cfg(test)]
mod tests;
