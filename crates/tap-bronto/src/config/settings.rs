//! Settings as text: from JSON files and the environment to a [`TapConfig`].

use serde_json::{Map, Value, json};

use super::{ConfigError, Problem, TapConfig, reading::Reader};
use crate::nearest;

/// What environment variables begin with.
const PREFIX: &str = "TAP_BRONTO_";
/// The variable that is no setting: how much is logged.
const LOG_LEVEL: &str = "TAP_BRONTO_LOGLEVEL";

/// One key of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub name: &'static str,
    /// The type in JSON Schema.
    pub json_type: &'static str,
    /// The format in JSON Schema, if it has one.
    pub format: Option<&'static str>,
    /// Whether it must be set.
    pub is_required: bool,
    /// Whether its value is secret.
    pub is_secret: bool,
    /// The default, as people read it.
    pub default: Option<&'static str>,
    /// What it does.
    pub documentation: &'static str,
}

const fn setting(
    name: &'static str,
    json_type: &'static str,
    default: Option<&'static str>,
    documentation: &'static str,
) -> Setting {
    Setting {
        name,
        json_type,
        format: None,
        is_required: false,
        is_secret: false,
        default,
        documentation,
    }
}

/// Every key, in the order in which they are documented.
pub const SETTINGS: [Setting; 13] = [
    Setting {
        is_required: true,
        is_secret: true,
        ..setting(
            "token",
            "string",
            None,
            "The SOAP API token; reading needs only its permission Read.",
        )
    },
    Setting {
        format: Some("date-time"),
        ..setting(
            "start_date",
            "string",
            Some("one year ago, at midnight UTC"),
            "From when to read streams that have no bookmark.",
        )
    },
    Setting {
        format: Some("date-time"),
        ..setting(
            "end_date",
            "string",
            None,
            "Up to when to read, exclusive; for backfills and repeatable tests.",
        )
    },
    setting(
        "endpoint",
        "string",
        Some("https://api.bronto.com/v4"),
        "Where requests go. Plain `http` only to this machine.",
    ),
    setting(
        "concurrency",
        "integer",
        Some("4"),
        "How many sessions are open at once, over all streams. More than one may read the same stream.",
    ),
    setting("request_timeout_seconds", "integer", Some("180"), "The longest wait for one answer."),
    setting("max_retries", "integer", Some("5"), "How often one request is tried again."),
    setting(
        "activity_id",
        "string",
        Some("lossless"),
        "How activities get their ids: `lossless`, or `compatible` with the Python tap, whose ids can collide.",
    ),
    setting(
        "activity_lookback_days",
        "integer",
        Some("3"),
        "How many days of activities are read again once in 24 hours, because some are recorded late.",
    ),
    setting(
        "settle_seconds",
        "integer",
        Some("120"),
        "Nothing younger than this, by the server's clock, is read.",
    ),
    setting(
        "page_size",
        "integer",
        Some("5000"),
        "The page size of reads that have one, 10 to 5000; activities use at least 1000.",
    ),
    setting(
        "streams",
        "array",
        Some("[]"),
        "Further streams to offer, by name. The five streams are always offered.",
    ),
    setting(
        "user_agent",
        "string",
        Some("tap-bronto and its version"),
        "What the tap calls itself to the service.",
    ),
];

/// Settings gathered from several places, later ones over earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    values: Map<String, Value>,
    warnings: Vec<String>,
}

impl Settings {
    /// Lays a JSON object over what is there.
    ///
    /// # Errors
    /// [`ConfigError`] when the text is no JSON object; the text itself isn't repeated.
    pub fn add_json(&mut self, text: &str) -> Result<(), ConfigError> {
        let problem = |message: String| ConfigError {
            problems: vec![Problem::new(
                message,
                "The configuration is a JSON object such as `{\"token\": \"…\"}`",
            )],
        };
        let value: Value = serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            problem(format!("The configuration is not valid JSON at line {line}, column {column}"))
        })?;
        let Value::Object(values) = value else {
            return Err(problem("The configuration is not a JSON object".to_owned()));
        };
        for (key, value) in values {
            if is_known(&key) {
                self.values.insert(key, value);
            } else {
                self.warn_of_unknown("setting", &key, &key, "");
            }
        }
        Ok(())
    }

    /// Lays environment variables `TAP_BRONTO_<NAME>` over what is there.
    pub fn add_environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        for (variable, text) in variables {
            let Some(name) = variable.strip_prefix(PREFIX).filter(|_| variable != LOG_LEVEL) else {
                continue;
            };
            let key = name.to_ascii_lowercase();
            if is_known(&key) {
                let value =
                    if key == "streams" { list_of_names(&text) } else { Value::String(text) };
                self.values.insert(key, value);
            } else {
                self.warn_of_unknown("environment variable", &variable, &key, PREFIX);
            }
        }
    }

    fn warn_of_unknown(&mut self, kind: &str, shown: &str, key: &str, prefix: &str) {
        let nearest = nearest::name(key, SETTINGS.iter().map(|setting| setting.name));
        let nearest = nearest.map(|name| match prefix {
            "" => name,
            prefix => format!("{prefix}{}", name.to_ascii_uppercase()),
        });
        let suggestion = nearest::suggestion(nearest.as_deref());
        self.warnings
            .push(format!("The {kind} `{shown}` is unknown and has no effect{suggestion}"));
    }

    /// What is odd without being wrong.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The configuration.
    ///
    /// # Errors
    /// [`ConfigError`] with every setting that can't be used.
    pub fn into_config(self) -> Result<TapConfig, ConfigError> {
        Reader::new(self.values).config()
    }

    /// The settings as JSON Schema.
    #[must_use]
    pub fn json_schema() -> Value {
        let properties: Map<String, Value> = SETTINGS
            .iter()
            .map(|setting| {
                let mut property =
                    json!({"type": setting.json_type, "description": setting.documentation});
                if let Some(format) = setting.format {
                    property["format"] = format.into();
                }
                if let Some(default) = setting.default {
                    property["description"] =
                        format!("{} Default: {default}.", setting.documentation).into();
                }
                if setting.is_secret {
                    property["secret"] = true.into();
                }
                if setting.json_type == "array" {
                    property["items"] = json!({"type": "string"});
                }
                (setting.name.to_owned(), property)
            })
            .collect();
        let required: Vec<&str> = SETTINGS
            .iter()
            .filter(|setting| setting.is_required)
            .map(|setting| setting.name)
            .collect();
        json!({"type": "object", "properties": properties, "required": required})
    }
}

fn is_known(key: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.name == key)
}

/// A list from the environment: JSON, or names with commas between them.
pub(super) fn list_of_names(text: &str) -> Value {
    serde_json::from_str::<Vec<String>>(text).map_or_else(
        |_| {
            text.split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .collect::<Vec<_>>()
                .into()
        },
        Value::from,
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use std::time::Duration;

    use secrecy::ExposeSecret;

    use super::*;
    use crate::activity_id::IdScheme;

    fn read(
        texts: &[&str],
        variables: &[(&str, &str)],
    ) -> (Result<TapConfig, ConfigError>, Vec<String>) {
        let mut settings = Settings::default();
        for text in texts {
            settings.add_json(text).unwrap();
        }
        settings.add_environment(
            variables.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())),
        );
        let warnings = settings.warnings().to_vec();
        (settings.into_config(), warnings)
    }

    fn problems(text: &str) -> Vec<String> {
        let error = read(&[text], &[]).0.unwrap_err();
        assert!(error.problems.iter().all(|problem| !problem.remedy.is_empty()));
        error.problems.into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn later_files_and_the_environment_win() {
        let (config, warnings) = read(
            &[
                r#"{"token": "first", "settle_seconds": 5, "concurrency": "3"}"#,
                r#"{"token": "second"}"#,
            ],
            &[("TAP_BRONTO_SETTLE_SECONDS", "7"), ("TAP_BRONTO_LOGLEVEL", "DEBUG"), ("HOME", "/")],
        );
        let config = config.unwrap();
        assert_eq!(config.token.expose_secret(), "second");
        assert_eq!((config.settle_seconds, config.concurrency), (7, 3));
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn every_setting_is_read() {
        let text = r#"{"token": " t ", "start_date": "2026-01-02T00:00:00-05:00", "end_date": "2026-02-01T00:00:00Z",
            "endpoint": "http://127.0.0.1:9/v4", "concurrency": 2, "request_timeout_seconds": 30, "max_retries": 0,
            "activity_id": "compatible", "activity_lookback_days": 0, "settle_seconds": 0, "page_size": 10,
            "streams": ["contact"], "user_agent": "x (a@example.com)"}"#;
        let config = read(&[text], &[]).0.unwrap();
        assert_eq!(config.start_date.unwrap().to_rfc3339(), "2026-01-02T05:00:00+00:00");
        assert_eq!(config.endpoint.to_string(), "http://127.0.0.1:9/v4");
        assert_eq!((config.request_timeout, config.max_retries), (Duration::from_secs(30), 0));
        assert_eq!((config.activity_id, config.page_size), (IdScheme::Compatible, 10));
        assert_eq!(
            (config.activity_page_size(), config.user_agent.as_str()),
            (1000, "x (a@example.com)")
        );
    }

    #[test]
    fn every_bad_value_has_one_message() {
        let text = r#"{"token": 5, "start_date": "2026-01-02", "end_date": "soon", "endpoint": "http://x.example/",
            "concurrency": 0, "request_timeout_seconds": "x", "max_retries": -1, "activity_id": "md5",
            "settle_seconds": 1.5, "page_size": 5001, "streams": ["contacts"], "user_agent": ""}"#;
        insta::assert_snapshot!(problems(text).join("\n"), @r"
        `token` is not a text, or is empty
        `start_date` is not an RFC 3339 date-time with an offset
        `end_date` is not an RFC 3339 date-time with an offset
        `endpoint` can't be used: The endpoint sends the token unencrypted to `x.example`; use `https`
        `request_timeout_seconds` is not a whole number from 1 to 86400
        `concurrency` is not a whole number from 1 to 16
        `max_retries` is not a whole number from 0 to 100
        `settle_seconds` is not a whole number from 0 to 86400
        `page_size` is not a whole number from 10 to 5000
        `activity_id` is neither `lossless` nor `compatible`
        `user_agent` is not a text
        `streams` names `contacts`, which is no stream; did you mean `contact`?
        ");
    }

    #[test]
    fn a_missing_token_is_said_once() {
        assert_eq!(problems("{}"), ["`token` is missing"]);
        assert_eq!(problems(r#"{"token": null}"#), ["`token` is missing"]);
        assert_eq!(problems(r#"{"token": "  "}"#), ["`token` is not a text, or is empty"]);
    }

    #[test]
    fn dates_must_be_in_order() {
        let text = r#"{"token": "t", "start_date": "2026-01-02T00:00:00Z", "end_date": "2026-01-02T00:00:00Z"}"#;
        assert_eq!(problems(text), ["`end_date` is not after `start_date`"]);
    }

    #[test]
    fn unknown_keys_warn_with_the_nearest_name() {
        let (config, warnings) =
            read(&[r#"{"token": "t", "start-date": "x"}"#], &[("TAP_BRONTO_TOKN", "secret-value")]);
        assert!(config.is_ok());
        assert_eq!(
            warnings,
            [
                "The setting `start-date` is unknown and has no effect; did you mean `start_date`?",
                "The environment variable `TAP_BRONTO_TOKN` is unknown and has no effect; did you mean \
                 `TAP_BRONTO_TOKEN`?",
            ]
        );
    }

    #[test]
    fn broken_json_is_located_and_not_repeated() {
        let error = Settings::default().add_json("{\"token\": \"hunter2\",,}").unwrap_err();
        assert_eq!(error.to_string(), "The configuration is not valid JSON at line 1, column 21");
        assert!(Settings::default().add_json("[]").is_err());
    }

    #[test]
    fn the_token_is_not_shown() {
        let (config, _) = read(&[r#"{"token": "hunter2"}"#], &[]);
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn the_schema_names_every_setting() {
        let schema = Settings::json_schema();
        assert_eq!(schema["required"], json!(["token"]));
        assert_eq!(schema["properties"].as_object().unwrap().len(), SETTINGS.len());
    }
}
