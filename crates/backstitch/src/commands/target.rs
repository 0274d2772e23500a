//! `target-backstitch`: `backstitch load` with its settings in a JSON file, as Meltano and other Singer runners start
//! targets.

use std::{fs, path::Path};

use replication::run::RunOptions;
use serde_json::{Map, Value};

use super::load;
use crate::{
    command_line::TargetCommandLine,
    config::{DestinationAddress, Nested, SchemaName},
    connect::Target,
    exit::ExitStatus,
    failure::Failure,
};

/// Runs the program.
///
/// # Errors
/// When the settings are wrong, or the load fails.
pub(crate) fn execute(arguments: &TargetCommandLine) -> Result<ExitStatus, Failure> {
    let (target, integration) = read(&arguments.config)?;
    load::load(&target, RunOptions::new(integration))
}

/// Reads the settings file: the target, and the integration that its schema belongs to. Keys that aren't known are let
/// be, because runners add keys of their own.
fn read(path: &Path) -> Result<(Target, String), Failure> {
    let about = |what: &str| {
        Failure::configuration(format!("The settings file `{}` {what}", path.display()))
    };
    let text =
        fs::read_to_string(path).map_err(|error| about("can't be read").caused_by(&error))?;
    // The parser's own message may quote a value, which may be a secret.
    let settings: Map<String, Value> = serde_json::from_str(&text)
        .map_err(|error| about(&format!("is no JSON object (line {})", error.line())))?;
    let setting =
        |name: &str| settings.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let address = setting("destination").ok_or_else(|| {
        about("has no `destination`").with_hint("Add one such as `\"duckdb:warehouse.duckdb\"`")
    })?;
    let schema =
        setting("schema").or_else(|| setting("default_target_schema")).ok_or_else(|| {
            about("has no `schema`").with_hint("Add the name of the schema that the rows go into")
        })?;
    let nested = match settings.get("nested") {
        None | Some(Value::Null) => None,
        Some(form) => {
            let known = form.as_str().and_then(Nested::named);
            let error = || about("has a `nested` that is neither `native` nor `subtables`");
            Some(known.ok_or_else(error)?)
        }
    };
    let parsed = DestinationAddress::from_argument(address)?;
    let schema =
        SchemaName::parse(schema).map_err(|error| Failure::configuration(error.to_string()))?;
    let integration = setting("integration").map_or_else(|| schema.to_string(), str::to_owned);
    Ok((Target { nested, ..Target::at(parsed, schema) }, integration))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<(Target, String), Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn takes_the_names_that_runners_use() {
        let (target, integration) = read_text(
            r#"{"destination": "duckdb:/tmp/w.duckdb", "default_target_schema": "shop", "add_record_metadata": true}"#,
        )
        .unwrap();
        assert_eq!(target.address.to_string(), "duckdb:/tmp/w.duckdb");
        assert_eq!((target.schema.as_str(), integration.as_str()), ("shop", "shop"));
        assert_eq!(target.nested, None);
        let native = r#"{"destination": "postgres://u@h/d", "schema": "shop", "nested": "native"}"#;
        assert_eq!(read_text(native).unwrap().0.nested, Some(Nested::Native));
    }

    #[test]
    fn says_what_is_missing_and_shows_no_value() {
        let message = |text| read_text(text).unwrap_err().render();
        assert!(message("{}").contains("has no `destination`"));
        assert!(message(r#"{"destination": "duckdb:w"}"#).contains("has no `schema`"));
        let flat = message(r#"{"destination": "duckdb:w", "schema": "s", "nested": "flat"}"#);
        assert!(flat.contains("neither `native` nor `subtables`"), "{flat}");
        let shown = message(r#"{"destination": "postgres://u:hunter2@h/d", "schema": "shop"}"#);
        assert!(shown.contains("holds a password") && !shown.contains("hunter2"), "{shown}");
        assert!(!message(r#"{"destination": "hunter2"#).contains("hunter2"));
    }
}
