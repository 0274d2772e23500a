//! From JSON values to the fields of a configuration, gathering everything that is wrong on the way.

use std::time::Duration;

use bronto_client::Endpoint;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::{ConfigError, Problem, TapConfig, settings::list_of_names};
use crate::{activity_id::IdScheme, nearest, streams::BrontoStream};

/// Reads values and gathers what is wrong with them.
pub(super) struct Reader {
    values: Map<String, Value>,
    problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(values: Map<String, Value>) -> Self {
        Self { values, problems: Vec::new() }
    }

    /// The configuration, or all that is wrong with it.
    pub(super) fn config(mut self) -> Result<TapConfig, ConfigError> {
        let token = self.token();
        let mut config = TapConfig::new(token);
        config.start_date = self.instant("start_date");
        config.end_date = self.instant("end_date");
        if let Some(endpoint) = self.endpoint() {
            config.endpoint = endpoint;
        }
        if let Some(seconds) = self.number("request_timeout_seconds", 1, 86_400) {
            config.request_timeout = Duration::from_secs(seconds.into());
        }
        if let Some(workers) = self.number("concurrency", 1, 16) {
            config.concurrency = usize::try_from(workers).unwrap_or(1);
        }
        for (key, target, least, most) in [
            ("max_retries", &mut config.max_retries, 0, 100),
            ("activity_lookback_days", &mut config.activity_lookback_days, 0, 30),
            ("settle_seconds", &mut config.settle_seconds, 0, 86_400),
            ("page_size", &mut config.page_size, 10, 5_000),
        ] {
            if let Some(value) = self.number(key, least, most) {
                *target = value;
            }
        }
        if let Some(scheme) = self.activity_id() {
            config.activity_id = scheme;
        }
        if let Some(agent) = self.text("user_agent") {
            config.user_agent = agent;
        }
        self.check_streams();
        if self.problems.is_empty()
            && let Err(problem) = config.validate()
        {
            self.problems.push(problem);
        }
        if self.problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { problems: self.problems })
        }
    }

    /// A value that is there and isn't null.
    fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    fn problem(&mut self, message: String, remedy: impl Into<String>) {
        self.problems.push(Problem::new(message, remedy));
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.value(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            _ => {
                self.problem(
                    format!("`{key}` is not a text"),
                    format!("Set `{key}` to a text in quotes"),
                );
                None
            }
        }
    }

    fn token(&mut self) -> SecretString {
        let remedy = "Set `token` in the configuration, or `TAP_BRONTO_TOKEN` in the environment, to a SOAP API token \
                      (Bronto: Home > Settings > Data Exchange > SOAP API Tokens)";
        match self.value("token") {
            None => self.problem("`token` is missing".to_owned(), remedy),
            Some(Value::String(text)) if !text.trim().is_empty() => {
                return text.trim().to_owned().into();
            }
            Some(_) => self.problem("`token` is not a text, or is empty".to_owned(), remedy),
        }
        SecretString::default()
    }

    fn instant(&mut self, key: &str) -> Option<DateTime<Utc>> {
        let text = self.text(key)?;
        match DateTime::parse_from_rfc3339(&text) {
            Ok(instant) => Some(instant.to_utc()),
            Err(_) => {
                self.problem(
                    format!("`{key}` is not an RFC 3339 date-time with an offset"),
                    format!("Write `{key}` like `2026-01-02T00:00:00Z`, with `Z` or an offset such as `-05:00`"),
                );
                None
            }
        }
    }

    fn endpoint(&mut self) -> Option<Endpoint> {
        let text = self.text("endpoint")?;
        match text.parse::<Endpoint>() {
            Ok(endpoint) => Some(endpoint),
            Err(error) => {
                let remedy = "Set `endpoint` to `https://api.bronto.com/v4`, or leave it out";
                self.problem(format!("`endpoint` can't be used: {error}"), remedy);
                None
            }
        }
    }

    /// A whole number; as text too, because the Python tap's configurations often have it so.
    fn number(&mut self, key: &str, least: u32, most: u32) -> Option<u32> {
        let number = match self.value(key)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.and_then(|number| u32::try_from(number).ok());
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Some(number),
            None => {
                let message = format!("`{key}` is not a whole number from {least} to {most}");
                self.problem(message, format!("Correct `{key}`, or leave it out for the default"));
                None
            }
        }
    }

    fn activity_id(&mut self) -> Option<IdScheme> {
        let text = self.text("activity_id")?;
        let known = [IdScheme::Lossless, IdScheme::Compatible];
        let scheme = known.into_iter().find(|scheme| scheme.name() == text);
        if scheme.is_none() {
            let message = "`activity_id` is neither `lossless` nor `compatible`".to_owned();
            self.problem(
                message,
                "Leave it out, or set it to `compatible` to keep the Python tap's ids",
            );
        }
        scheme
    }

    /// The five streams are always there, and no further ones exist yet; so the names are only checked.
    fn check_streams(&mut self) {
        let Some(value) = self.value("streams") else { return };
        let names = match value {
            Value::String(text) => list_of_names(text),
            other => other.clone(),
        };
        let Ok(names) = serde_json::from_value::<Vec<String>>(names) else {
            self.problem(
                "`streams` is not a list of texts".to_owned(),
                "Write it like `[\"contact\"]`",
            );
            return;
        };
        for name in names.iter().filter(|name| BrontoStream::named(name).is_none()) {
            let nearest = nearest::name(name, BrontoStream::ALL.map(BrontoStream::name));
            let suggestion = nearest::suggestion(nearest.as_deref());
            self.problem(
                format!("`streams` names `{name}`, which is no stream{suggestion}"),
                "`--discover` lists the streams",
            );
        }
    }
}
