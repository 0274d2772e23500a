//! The source `singer`: a tap that runs as a child, with its configuration in ours.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use replication::singer_tap::{TapSettings, program_name};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{
    document::{ConfigError, Entry, Section},
    secret::Secret,
    surroundings::Surroundings,
};
use crate::failure::Failure;

/// Words in the names of settings that tell of a secret.
const SECRET_WORDS: [&str; 11] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "private",
    "api_key",
    "apikey",
    "access_key",
];
/// Words of settings that may hold a secret, and tell of the account as well.
const SECRET_WITHIN_WORDS: [&str; 3] = ["auth", "connection_string", "dsn"];
/// The shortest value that is masked for lying somewhere under such a name, or being a number: shorter ones, such as a
/// version, would take the log apart.
const SHORTEST_PART: usize = 4;

/// The settings of a Singer tap.
pub(crate) struct SingerSettings {
    command: Vec<String>,
    folder: PathBuf,
    config: TapConfig,
    catalog: Option<PathBuf>,
    account: Option<String>,
}

/// Where the tap's configuration stands.
enum TapConfig {
    /// Here; `{ env = … }` and `{ file = … }` stand in it as they are.
    Inline(Map<String, Value>),
    /// In a JSON file.
    File(PathBuf),
}

impl fmt::Debug for SingerSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SingerSettings")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

impl SingerSettings {
    /// Reads `source = { type = "singer", … }`, whose type has been taken.
    ///
    /// # Errors
    /// When anything in it is wrong.
    pub(super) fn read(
        mut section: Section<'_>,
        around: &Surroundings<'_>,
    ) -> Result<Self, ConfigError> {
        let folder = around.folder();
        let hint = "Write the program and its arguments, as in `command = [\"tap-postgres\"]`";
        let entry = section.demand("command", hint)?;
        around.demand_host(&entry, "A program to start")?;
        let command = entry.texts()?;
        if command.first().is_none_or(|program| program.trim().is_empty()) {
            return Err(entry.error("`command` names no program", hint));
        }
        let config = match section.take("config") {
            None => TapConfig::Inline(Map::new()),
            Some(entry) => Self::read_config(&entry, folder)?,
        };
        let text = |entry: Option<Entry<'_>>| {
            entry.map(|entry| entry.text().map(str::to_owned)).transpose()
        };
        let catalog = text(section.take("catalog"))?.map(|path| folder.join(path));
        let account = text(section.take("account"))?;
        section.finish()?;
        Ok(Self { command, folder: folder.to_owned(), config, catalog, account })
    }

    fn read_config(entry: &Entry<'_>, folder: &Path) -> Result<TapConfig, ConfigError> {
        if let Some(path) = entry.as_text() {
            return Ok(TapConfig::File(folder.join(path)));
        }
        match entry.tree() {
            Some(Value::Object(config)) => Ok(TapConfig::Inline(config)),
            _ => Err(entry.error(
                "`config` must be the tap's settings as a table, or the path of a JSON file",
                "Write it like `{ host = \"db.example.com\", password = { env = \"TAP_PASSWORD\" } }`",
            )),
        }
    }

    /// What to start, with the secrets read from where they are.
    ///
    /// # Errors
    /// When a secret or a file is missing.
    pub(crate) fn tap(&self) -> Result<TapSettings, Failure> {
        let mut secrets = Vec::new();
        let config = match &self.config {
            TapConfig::Inline(config) => Value::Object(config.clone()),
            TapConfig::File(path) => read_json("The tap's configuration", path)?,
        };
        let fingerprint = self.fingerprint(&config);
        let is_inline = matches!(self.config, TapConfig::Inline(_));
        let config = self.resolved("config", config, is_inline, &mut secrets)?;
        if let Some(path) = &self.catalog {
            read_json("The tap's catalog", path)?;
        }
        Ok(TapSettings {
            command: self.command.clone(),
            folder: self.folder.clone(),
            config: config.to_string().into(),
            secrets,
            catalog: self.catalog.clone(),
            fingerprint,
        })
    }

    /// Puts secrets in the place of their references, and collects what must not be shown.
    fn resolved(
        &self,
        name: &str,
        value: Value,
        is_inline: bool,
        secrets: &mut Vec<SecretString>,
    ) -> Result<Value, Failure> {
        Ok(match value {
            Value::Object(object) => {
                if let Some(secret) = reference(&object).filter(|_| is_inline) {
                    let secret = self.secret(secret).read(&format!("The tap's `{name}`"))?;
                    secrets.push(secret.clone());
                    return Ok(secret.expose_secret().into());
                }
                let resolve = |(name, value): (String, Value)| {
                    if may_hold_a_secret(&name) {
                        collect(&value, is_inline, secrets);
                    }
                    let value = self.resolved(&name, value, is_inline, secrets)?;
                    Ok((name, value))
                };
                Value::Object(object.into_iter().map(resolve).collect::<Result<_, Failure>>()?)
            }
            Value::Array(items) => {
                let resolve = |item| self.resolved(name, item, is_inline, secrets);
                Value::Array(items.into_iter().map(resolve).collect::<Result<_, Failure>>()?)
            }
            other => other,
        })
    }

    fn secret(&self, reference: Reference<'_>) -> Secret {
        match reference {
            Reference::Environment(name) => Secret::Environment(name.to_owned()),
            Reference::File(path) => Secret::File(self.folder.join(path)),
        }
    }

    /// Identifies the account behind the tap: what `account` says, else the command and all settings that are no
    /// secrets, so that a new password is no other account.
    fn fingerprint(&self, config: &Value) -> String {
        if let Some(account) = &self.account {
            return format!("singer:account:{account}");
        }
        let mut digest = Sha256::new();
        let mut add = |part: &str| {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        };
        let program = self.command.first().map(Path::new).and_then(Path::file_name);
        let program = program.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        add(&program);
        self.command.iter().skip(1).for_each(|argument| add(argument));
        add(&public(config.clone()).to_string());
        let digest: String =
            digest.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        format!("singer:{program}:{digest}")
    }

    /// What may be a secret in the configuration itself, however deep it lies: the setting's path, or the command.
    pub(crate) fn inline_secret(&self) -> Option<String> {
        if self.command.iter().skip(1).any(|argument| holds_a_secret(argument)) {
            return Some("`command`".to_owned());
        }
        match &self.config {
            TapConfig::Inline(config) => secret_within(config, "config"),
            TapConfig::File(_) => None,
        }
        .map(|path| format!("`{path}`"))
    }

    /// What people call it.
    pub(crate) fn title(&self) -> String {
        format!("Singer tap {}", program_name(&self.command))
    }
}

/// Where a secret stands.
#[derive(Clone, Copy)]
enum Reference<'r> {
    Environment(&'r str),
    File(&'r str),
}

/// The reference that an object is: it has the one key `env`, or `file`, with a text.
fn reference(object: &Map<String, Value>) -> Option<Reference<'_>> {
    let (name, value) = object.iter().next().filter(|_| object.len() == 1)?;
    match name.as_str() {
        "env" => value.as_str().map(Reference::Environment),
        "file" => value.as_str().map(Reference::File),
        _ => None,
    }
}

fn tells_of_a_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

fn may_hold_a_secret(name: &str) -> bool {
    let lower = name.to_lowercase();
    tells_of_a_secret(name) || SECRET_WITHIN_WORDS.iter().any(|word| lower.contains(word))
}

/// Whether a text tells of a secret in it: an address with a password, or an argument such as `--token=…`.
fn holds_a_secret(text: &str) -> bool {
    let authority = text.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or(rest));
    let user_info = authority.and_then(|authority| authority.rsplit_once('@'));
    user_info.is_some_and(|(user_info, _)| user_info.contains(':'))
        || text.starts_with('-') && may_hold_a_secret(text)
}

/// The path of the first setting that may be a secret, within settings of this path.
fn secret_within(object: &Map<String, Value>, path: &str) -> Option<String> {
    object.iter().find_map(|(name, value)| {
        let path = format!("{path}.{name}");
        if may_hold_a_secret(name) { first_value(value, &path) } else { secret_in(value, &path) }
    })
}

fn secret_in(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::String(text) => holds_a_secret(text).then(|| path.to_owned()),
        Value::Object(object) if reference(object).is_none() => secret_within(object, path),
        Value::Array(items) => items.iter().find_map(|item| secret_in(item, path)),
        _ => None,
    }
}

/// The path of the first value that stands there itself.
fn first_value(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::Null | Value::Bool(_) => None,
        Value::Object(object) if reference(object).is_some() => None,
        Value::Object(object) => {
            object.iter().find_map(|(name, value)| first_value(value, &format!("{path}.{name}")))
        }
        Value::Array(items) => items.iter().find_map(|item| first_value(item, path)),
        Value::String(_) | Value::Number(_) => Some(path.to_owned()),
    }
}

/// Collects what must not be shown of a setting that may hold a secret.
fn collect(value: &Value, is_inline: bool, secrets: &mut Vec<SecretString>) {
    match value {
        Value::String(text) => secrets.push(text.as_str().into()),
        other => collect_parts(other, is_inline, secrets),
    }
}

fn collect_parts(value: &Value, is_inline: bool, secrets: &mut Vec<SecretString>) {
    let mut add = |text: String| {
        if text.len() >= SHORTEST_PART {
            secrets.push(text.into());
        }
    };
    match value {
        // The names of variables and files aren't secret.
        Value::Object(object) if is_inline && reference(object).is_some() => {}
        Value::Object(object) => {
            object.values().for_each(|value| collect_parts(value, is_inline, secrets));
        }
        Value::Array(items) => {
            items.iter().for_each(|item| collect_parts(item, is_inline, secrets));
        }
        Value::String(text) => add(text.clone()),
        Value::Number(number) => add(number.to_string()),
        Value::Null | Value::Bool(_) => {}
    }
}

/// The settings without secrets and in the order of their names.
fn public(value: Value) -> Value {
    match value {
        Value::Object(object) if reference(&object).is_some() => Value::Null,
        Value::Object(object) => {
            let kept = object.into_iter().filter(|(name, _)| !tells_of_a_secret(name));
            let mut kept: Vec<(String, Value)> =
                kept.map(|(name, value)| (name, public(value))).collect();
            kept.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(kept.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(public).collect(),
        other => other,
    }
}

/// Reads a JSON file. The parser's own message may quote a value, which may be a secret.
fn read_json(what: &str, path: &Path) -> Result<Value, Failure> {
    let place = path.display();
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::configuration(format!("{what} can't be read from `{place}`")).caused_by(&error)
    })?;
    serde_json::from_str::<Value>(&text)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| Failure::configuration(format!("{what} in `{place}` is no JSON object")))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(config: &Value, account: Option<&str>) -> SingerSettings {
        SingerSettings {
            command: vec!["/opt/bin/tap-shop".to_owned(), "--fast".to_owned()],
            folder: PathBuf::new(),
            config: TapConfig::Inline(config.as_object().cloned().unwrap()),
            catalog: None,
            account: account.map(str::to_owned),
        }
    }

    fn fingerprint(config: &Value) -> String {
        settings(config, None).fingerprint(config)
    }

    #[test]
    fn a_new_secret_is_no_other_account_and_another_host_is() {
        let one = fingerprint(&json!({"host": "a", "password": "x", "key": {"env": "A"}}));
        assert!(one.starts_with("singer:tap-shop:"), "{one}");
        assert_eq!(one, fingerprint(&json!({"key": {"file": "B"}, "password": "y", "host": "a"})));
        assert_ne!(one, fingerprint(&json!({"host": "b", "password": "x", "key": {"env": "A"}})));
        let named = settings(&json!({"host": "b"}), Some("shop 7"));
        assert_eq!(named.fingerprint(&json!({"host": "b"})), "singer:account:shop 7");
    }

    #[test]
    fn secrets_are_put_in_and_collected() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("key"), "from a file\n").unwrap();
        let mut settings = settings(
            &json!({"db": {"password": {"file": "key"}, "hosts": ["a", {"file": "key"}]}, "api_token": "inline"}),
            None,
        );
        settings.folder = folder.path().to_owned();
        let tap = settings.tap().unwrap();
        let config: Value = serde_json::from_str(tap.config.expose_secret()).unwrap();
        assert_eq!(
            config,
            json!({"db": {"password": "from a file", "hosts": ["a", "from a file"]}, "api_token": "inline"})
        );
        let secrets: Vec<&str> = tap.secrets.iter().map(ExposeSecret::expose_secret).collect();
        assert_eq!(secrets, ["from a file", "from a file", "inline"]);
        assert!(!format!("{settings:?}{tap:?}").contains("inline"));
    }

    #[test]
    fn whatever_lies_under_the_name_of_a_secret_is_one() {
        let config = json!({
            "credentials": {"user": "anna", "pins": [1234, 7], "more": [{"x": "deep"}], "on": true},
            "db_passwd": "one", "PWD": "two", "aws_access_key_id": "three", "dsn": "four",
            "connection_string": "five", "basic_auth": ["sixth"], "private_number": 8_005_551,
            "host": "seven", "port": 5432,
        });
        let tap = settings(&config, None).tap().unwrap();
        let mut secrets: Vec<&str> = tap.secrets.iter().map(ExposeSecret::expose_secret).collect();
        secrets.sort_unstable();
        let expected =
            ["1234", "8005551", "anna", "deep", "five", "four", "one", "sixth", "three", "two"];
        assert_eq!(secrets, expected);
        let read: Value = serde_json::from_str(tap.config.expose_secret()).unwrap();
        assert_eq!(read, config, "the tap gets it as it is");
        let at = |dsn: &str| fingerprint(&json!({"dsn": dsn}));
        assert_ne!(at("db://one"), at("db://other"), "an address is another account's");
        let with = |password: &str| fingerprint(&json!({"passwd": password}));
        assert_eq!(with("one"), with("other"));
    }

    #[test]
    fn a_secret_is_found_however_deep_it_lies() {
        let found = |config: Value| settings(&config, None).inline_secret();
        for (config, path) in [
            (json!({"host": "a", "password": "x"}), "`config.password`"),
            (json!({"db": {"auth": {"user": "anna"}}}), "`config.db.auth.user`"),
            (json!({"db": [{"pins": 1}, {"api_token": ["x"]}]}), "`config.db.api_token`"),
            (json!({"credentials": 12_345}), "`config.credentials`"),
            (json!({"url": "postgres://u:x@h/d"}), "`config.url`"),
        ] {
            assert_eq!(found(config).as_deref(), Some(path));
        }
        let harmless = json!({
            "password": {"env": "A"}, "credentials": {"key": {"file": "B"}, "on": true}, "token": null,
            "url": "https://example.com/a@b:c", "port": 5432,
        });
        assert_eq!(found(harmless), None);
        let mut settings = settings(&json!({}), None);
        settings.command.push("--api-token=x".to_owned());
        assert_eq!(settings.inline_secret().as_deref(), Some("`command`"));
    }

    #[test]
    fn a_secret_that_is_missing_is_named() {
        let settings = settings(&json!({"password": {"env": "BACKSTITCH_TEST_UNSET"}}), None);
        insta::assert_snapshot!(settings.tap().unwrap_err().render(), @r"
        error: The tap's `password` is missing: `BACKSTITCH_TEST_UNSET` is not set in the environment
        hint: Set it, for example with `export BACKSTITCH_TEST_UNSET=…`
        ");
    }
}
