//! What somebody wants an integration to be: a file, and options that come before it; its secrets from places that nobody
//! else can read.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, Read},
    path::Path,
};

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::{command_line::DraftArguments, config::Secret, display, failure::Failure};

/// The largest file that is read.
const LARGEST: u64 = 1 << 20;

/// An integration, or changes of one, in the form that the API takes.
#[derive(Debug, Default)]
pub(super) struct Draft {
    fields: Map<String, Value>,
    secrets: BTreeMap<String, SecretString>,
}

impl Draft {
    /// Reads the file, if one is given, and the secrets.
    ///
    /// # Errors
    /// When the file isn't JSON, or a secret can't be read.
    pub(super) fn read(arguments: &DraftArguments) -> Result<Self, Failure> {
        let mut draft = match &arguments.from {
            None => Self::default(),
            Some(file) => Self::parse(file, &read(file)?)?,
        };
        let reads_file = arguments.from.as_deref() == Some(Path::new("-"));
        let lines = arguments.secret.iter().filter(|place| place.ends_with("=-")).count();
        if lines + usize::from(reads_file) > 1 {
            return Err(Failure::configuration("Standard input can't be read for two things")
                .with_hint("Take one of them from the environment or a file"));
        }
        for place in &arguments.secret {
            let (name, secret) = secret(place)?;
            draft.secrets.insert(name, secret);
        }
        Ok(draft)
    }

    fn parse(file: &Path, text: &str) -> Result<Self, Failure> {
        let place = file.display();
        let wrong = |what: String| {
            Failure::configuration(what)
                .with_hint("`backstitch integrations create --help` shows such a file")
        };
        // What it says of an error may hold a piece of a secret, so only the place is told.
        let document: Value = serde_json::from_str(text).map_err(|error| {
            wrong(format!(
                "`{place}` is no JSON (line {}, column {})",
                error.line(),
                error.column()
            ))
        })?;
        let Value::Object(mut fields) = document else {
            return Err(wrong(format!("`{place}` holds no JSON object")));
        };
        let given = fields.remove("secrets").unwrap_or_else(|| json!({}));
        let Value::Object(given) = given else {
            return Err(wrong(format!("`secrets` in `{place}` is no object")));
        };
        let folder = file.parent().unwrap_or(Path::new(""));
        let mut secrets = BTreeMap::new();
        for (name, value) in given {
            let title = format!("The secret `{}`", display::one_line(&name, 80));
            let from = match &value {
                Value::String(secret) => {
                    secrets.insert(name, secret.as_str().into());
                    continue;
                }
                Value::Object(place) if place.len() == 1 => place.iter().next(),
                _ => None,
            };
            let secret = match from.map(|(key, value)| (key.as_str(), value.as_str())) {
                Some(("env", Some(variable))) => Secret::Environment(variable.to_owned()),
                Some(("file", Some(path))) => Secret::File(folder.join(path)),
                _ => {
                    return Err(wrong(format!("{title} in `{place}` is neither text nor a place"))
                        .with_hint("Write it like `{ \"env\": \"BRONTO_TOKEN\" }` or `{ \"file\": \"bronto.token\" }`"));
                }
            };
            secrets.insert(name, secret.read(&title)?);
        }
        Ok(Self { fields, secrets })
    }

    /// Sets a field, if there is something for it.
    pub(super) fn put(&mut self, field: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.fields.insert(field.to_owned(), value.into());
        }
    }

    /// Sets a field to nothing.
    pub(super) fn clear(&mut self, field: &str) {
        self.fields.insert(field.to_owned(), Value::Null);
    }

    /// Forgets fields.
    pub(super) fn drop(&mut self, fields: &[&str]) {
        for field in fields {
            self.fields.remove(*field);
        }
    }

    /// Whether a field is there.
    pub(super) fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// Whether nothing is said.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.secrets.is_empty()
    }

    /// Puts what the options say into it. Settings that are only changed begin as they are now.
    ///
    /// # Errors
    /// When an option can't be read.
    pub(super) fn complete(
        &mut self,
        arguments: &DraftArguments,
        current: Option<&Map<String, Value>>,
    ) -> Result<(), Failure> {
        let changes_settings = arguments.destination.is_some() || !arguments.set.is_empty();
        if changes_settings || current.is_none() {
            let begun = self.fields.entry("settings").or_insert_with(|| {
                current.map_or_else(
                    || json!({ "source": { "type": "bronto" } }),
                    |settings| json!(settings),
                )
            });
            let Value::Object(settings) = begun else {
                return Err(Failure::configuration("`settings` is no object"));
            };
            if let Some(destination) = &arguments.destination {
                settings.insert("destination".to_owned(), json!(destination));
            }
            for setting in &arguments.set {
                set(settings, setting)?;
            }
        }
        if let Some(every) = &arguments.every {
            self.fields.insert("schedule".to_owned(), json!({ "every": every }));
        } else if let Some(cron) = &arguments.cron {
            self.fields.insert("schedule".to_owned(), json!({ "cron": cron }));
        }
        let more = [("anchor", &arguments.anchor), ("zone", &arguments.zone)];
        let more =
            more.into_iter().filter_map(|(name, value)| Some((name, json!(value.as_ref()?))));
        for (name, value) in more.chain(arguments.catch_up.then(|| ("catch_up", json!(true)))) {
            match self.fields.get_mut("schedule").and_then(Value::as_object_mut) {
                Some(schedule) => {
                    schedule.insert(name.to_owned(), value);
                }
                None => {
                    let option = name.replace('_', "-");
                    return Err(Failure::configuration(format!("`--{option}` needs a schedule"))
                        .with_hint("Give `--every` or `--cron` with it"));
                }
            }
        }
        Ok(())
    }

    /// The body of a request, secrets included.
    pub(super) fn body(&self) -> SecretString {
        let mut body = self.fields.clone();
        if !self.secrets.is_empty() {
            let secrets: Map<String, Value> = self
                .secrets
                .iter()
                .map(|(name, secret)| (name.clone(), secret.expose_secret().into()))
                .collect();
            body.insert("secrets".to_owned(), Value::Object(secrets));
        }
        Value::Object(body).to_string().into()
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let result = if file == Path::new("-") {
        io::stdin().lock().take(LARGEST).read_to_string(&mut text)
    } else {
        fs::File::open(file).and_then(|file| file.take(LARGEST).read_to_string(&mut text))
    };
    match result {
        Ok(_) => Ok(text),
        Err(error) => {
            Err(Failure::configuration(format!("`{}` can't be read", file.display()))
                .caused_by(&error))
        }
    }
}

/// Reads `NAME=env:VARIABLE`, `NAME=@FILE` or `NAME=-`.
fn secret(place: &str) -> Result<(String, SecretString), Failure> {
    const HINT: &str = "Write it like `token=env:BRONTO_TOKEN`, `token=@FILE` or `token=-`: what stands on the command \
                        line can be read by others on this machine";
    // Whoever wrote the secret itself there is not to find it in a log as well.
    let refused = |message: &str| Err(Failure::configuration(message).with_hint(HINT));
    let Some((name, place)) = place.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        return refused("`--secret` needs the name of a secret and its place");
    };
    let title = format!("The secret `{}`", display::one_line(name, 80));
    let secret = match (place.strip_prefix("env:"), place.strip_prefix('@')) {
        (Some(variable), _) => Secret::Environment(variable.to_owned()).read(&title)?,
        (_, Some(path)) => Secret::File(path.into()).read(&title)?,
        _ if place == "-" => {
            let mut line = String::new();
            let read = io::stdin().lock().take(LARGEST).read_line(&mut line);
            read.map_err(|error| {
                Failure::configuration(format!("{title} can't be read")).caused_by(&error)
            })?;
            if line.trim().is_empty() {
                return Err(Failure::configuration(format!(
                    "{title} is missing on standard input"
                )));
            }
            line.trim_end_matches(['\r', '\n']).into()
        }
        _ => return refused(&format!("{title} is not given by its place")),
    };
    Ok((name.to_owned(), secret))
}

/// Sets one setting, `source.concurrency=4`: JSON where it is some, else text.
fn set(settings: &mut Map<String, Value>, setting: &str) -> Result<(), Failure> {
    let wrong = |message: String| {
        Err(Failure::configuration(message)
            .with_hint("Write it like `source.endpoint=https://api.bronto.com/v4`"))
    };
    let Some((path, value)) = setting.split_once('=') else {
        return wrong("`--set` needs a setting and its value".to_owned());
    };
    let value: Value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    let shown = display::one_line(path, 80);
    let mut place = settings;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            return wrong(format!("`{shown}` names no setting"));
        }
        if parts.peek().is_none() {
            place.insert(part.to_owned(), value);
            return Ok(());
        }
        let Value::Object(inner) = place.entry(part).or_insert_with(|| json!({})) else {
            return wrong(format!("`{shown}` lies within a setting that has no others in it"));
        };
        place = inner;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use clap::Parser;

    use super::*;

    /// The options alone.
    #[derive(Debug, Parser)]
    struct Options {
        #[command(flatten)]
        draft: DraftArguments,
    }

    fn options(arguments: &[&str]) -> DraftArguments {
        Options::try_parse_from([&["x"], arguments].concat()).unwrap().draft
    }

    fn completed(text: &str, arguments: &[&str], current: Option<Value>) -> Result<Value, String> {
        let file = |text| Draft::parse(Path::new("file.json"), text);
        let mut draft = file(text).map_err(|failure| failure.render())?;
        let current = current.map(|current| current.as_object().unwrap().clone());
        draft
            .complete(&options(arguments), current.as_ref())
            .map_err(|failure| failure.render())?;
        Ok(serde_json::from_str(draft.body().expose_secret()).unwrap())
    }

    #[test]
    fn options_come_before_the_file() {
        let file = r#"{ "settings": { "source": { "type": "bronto", "concurrency": 2 } }, "schedule": { "cron": "x" } }"#;
        let options = [
            "--set",
            "source.concurrency=4",
            "--set",
            "source.endpoint=http://x",
            "--destination",
            "duckdb:x.duckdb",
            "--every",
            "6h",
            "--zone",
            "Europe/Berlin",
            "--catch-up",
        ];
        assert_eq!(
            completed(file, &options, None).unwrap(),
            json!({
                "settings": {
                    "source": { "type": "bronto", "concurrency": 4, "endpoint": "http://x" },
                    "destination": "duckdb:x.duckdb",
                },
                "schedule": { "every": "6h", "zone": "Europe/Berlin", "catch_up": true },
            })
        );
    }

    #[test]
    fn settings_that_are_changed_begin_as_they_are() {
        let current = json!({ "source": { "type": "bronto" }, "destination": "duckdb:x.duckdb", "tables": ["list"] });
        let changed =
            completed("{}", &["--set", "tables=[\"contact\"]"], Some(current.clone())).unwrap();
        assert_eq!(changed["settings"]["destination"], "duckdb:x.duckdb");
        assert_eq!(changed["settings"]["tables"], json!(["contact"]));
        assert_eq!(completed("{}", &[], Some(current)).unwrap(), json!({}));
        assert_eq!(completed("{}", &[], None).unwrap()["settings"]["source"]["type"], "bronto");
    }

    #[test]
    fn what_is_wrong_is_told_and_no_secret_with_it() {
        for (text, arguments) in [
            (r#"{ "secrets": { "token": "MARKER" "#, &[][..]),
            (r#"{ "secrets": { "token": ["MARKER"] } }"#, &[]),
            (r#"{ "secrets": { "token": { "env": "MARKER", "file": "MARKER" } } }"#, &[]),
            (r#"{ "secrets": "MARKER" }"#, &[]),
            (r#"["MARKER"]"#, &[]),
            (r#"{ "settings": "MARKER" }"#, &[]),
            ("{}", &["--set", "source"]),
            ("{}", &["--set", "source..x=1"]),
            (r#"{ "settings": { "source": 1 } }"#, &["--set", "source.x=MARKER"]),
            ("{}", &["--zone", "UTC"]),
        ] {
            let error = completed(text, arguments, None).unwrap_err();
            assert!(error.starts_with("error: ") && !error.contains("MARKER"), "{error}");
        }
        for place in ["MARKER", "token=MARKER", "=MARKER"] {
            let error = secret(place).unwrap_err().render();
            assert!(error.contains("env:BRONTO_TOKEN") && !error.contains("MARKER"), "{error}");
        }
    }

    #[test]
    fn secrets_are_read_beside_their_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.token"), "A\n").unwrap();
        let text = r#"{ "secrets": { "token": { "file": "a.token" }, "password": "P" } }"#;
        let draft = Draft::parse(&folder.path().join("file.json"), text).unwrap();
        let body: Value = serde_json::from_str(draft.body().expose_secret()).unwrap();
        assert_eq!(body, json!({ "secrets": { "password": "P", "token": "A" } }));
        assert!(!format!("{draft:?}").contains("\"A\""));
    }
}
