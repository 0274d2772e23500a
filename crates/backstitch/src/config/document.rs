//! Reading a TOML document with places: where every key and value stands, and which keys nobody asked for.

use std::{ops::Range, path::Path};

use chrono::{DateTime, Utc};
use serde_json::Value;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::failure::Failure;

/// How much alike two names must be (0 to 1) for one to be suggested instead of the other.
const LIKENESS: f64 = 0.6;

/// What is wrong with a configuration file, and where.
#[derive(Debug)]
pub(crate) struct ConfigError {
    message: String,
    place: String,
    hint: String,
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::configuration(format!("{} ({})", error.message, error.place)).with_hint(error.hint)
    }
}

/// A file's text, for telling places in it.
#[derive(Debug)]
pub(crate) struct Document<'d> {
    path: &'d Path,
    text: &'d str,
}

impl<'d> Document<'d> {
    /// The text of the file at `path`.
    pub(crate) fn new(path: &'d Path, text: &'d str) -> Self {
        Self { path, text }
    }

    /// The top level.
    ///
    /// # Errors
    /// When the text is no TOML. The line itself isn't shown, because it may hold a secret.
    pub(crate) fn root(&'d self) -> Result<Section<'d>, ConfigError> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            self.error_at(start, format!("The file is not valid TOML: {}", error.message()), "")
        })?;
        Ok(Section::new(self, String::new(), table.into_inner(), 0))
    }

    /// An error about the file as a whole.
    pub(crate) fn error(&self, message: impl Into<String>, hint: impl Into<String>) -> ConfigError {
        ConfigError {
            message: message.into(),
            place: self.path.display().to_string(),
            hint: hint.into(),
        }
    }

    fn error_at(
        &self,
        offset: usize,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> ConfigError {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let place = format!("{}:{line}:{column}", self.path.display());
        ConfigError { message: message.into(), place, hint: hint.into() }
    }
}

/// A table of the document, whose keys are taken one by one.
#[derive(Debug)]
pub(crate) struct Section<'d> {
    document: &'d Document<'d>,
    name: String,
    start: usize,
    entries: Vec<(String, Range<usize>, Spanned<DeValue<'d>>)>,
    known: Vec<&'static str>,
}

impl<'d> Section<'d> {
    fn new(document: &'d Document<'d>, name: String, table: DeTable<'d>, start: usize) -> Self {
        let mut entries: Vec<_> = table
            .into_iter()
            .map(|(key, value)| (key.get_ref().to_string(), key.span(), value))
            .collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        Self { document, name, start, entries, known: Vec::new() }
    }

    /// Takes a key out of the section, if it is there.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Entry<'d>> {
        self.known.push(key);
        let position = self.entries.iter().position(|(name, ..)| name == key)?;
        let (name, _, value) = self.entries.remove(position);
        Some(Entry { document: self.document, name, value })
    }

    /// Takes a key that must be there.
    ///
    /// # Errors
    /// When it isn't.
    pub(crate) fn demand(
        &mut self,
        key: &'static str,
        hint: &str,
    ) -> Result<Entry<'d>, ConfigError> {
        if let Some(entry) = self.take(key) {
            return Ok(entry);
        }
        let message = format!("{} has no `{key}`", self.title());
        Err(match nearest(key, self.entries.iter().map(|(name, ..)| name.as_str())) {
            Some(misspelt) => self.error(message, format!("Did you mean `{key}` by `{misspelt}`?")),
            None => self.error(message, hint),
        })
    }

    /// Takes everything that is left, for sections whose keys are names.
    pub(crate) fn take_rest(&mut self) -> Vec<Entry<'d>> {
        let document = self.document;
        self.entries.drain(..).map(|(name, _, value)| Entry { document, name, value }).collect()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When a key is left that nobody took; suggests the nearest that is known.
    pub(crate) fn finish(self) -> Result<(), ConfigError> {
        let Some((name, span, _)) = self.entries.first() else { return Ok(()) };
        let hint = nearest(name, self.known.iter().copied()).map_or_else(
            || {
                format!(
                    "Known here: {}",
                    self.known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
                )
            },
            |nearest| format!("Did you mean `{nearest}`?"),
        );
        Err(self.document.error_at(
            span.start,
            format!("Unknown key `{name}` in {}", self.title()),
            hint,
        ))
    }

    /// An error about the section.
    pub(crate) fn error(&self, message: impl Into<String>, hint: impl Into<String>) -> ConfigError {
        self.document.error_at(self.start, message, hint)
    }

    fn title(&self) -> String {
        if self.name.is_empty() { "the file".to_owned() } else { format!("`{}`", self.name) }
    }
}

/// A key with its value.
#[derive(Debug)]
pub(crate) struct Entry<'d> {
    document: &'d Document<'d>,
    name: String,
    value: Spanned<DeValue<'d>>,
}

impl<'d> Entry<'d> {
    /// The key.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// An error about the value. The message must not show it.
    pub(crate) fn error(&self, message: impl Into<String>, hint: impl Into<String>) -> ConfigError {
        self.document.error_at(self.value.span().start, message, hint)
    }

    fn wrong_type(&self, expected: &str) -> ConfigError {
        self.error(format!("`{}` must be {expected}", self.name), "")
    }

    /// The value as text, if it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value as text.
    ///
    /// # Errors
    /// When it isn't.
    pub(crate) fn text(&self) -> Result<&str, ConfigError> {
        self.as_text().ok_or_else(|| self.wrong_type("a string"))
    }

    /// The value as a whole number.
    ///
    /// # Errors
    /// When it isn't one.
    pub(crate) fn integer(&self) -> Result<i64, ConfigError> {
        match self.json() {
            Some(Value::Number(number)) => number.as_i64(),
            _ => None,
        }
        .ok_or_else(|| self.wrong_type("a whole number"))
    }

    /// The value as a list of strings.
    ///
    /// # Errors
    /// When it isn't one.
    pub(crate) fn texts(&self) -> Result<Vec<String>, ConfigError> {
        let expected = || self.wrong_type("a list of strings");
        let DeValue::Array(items) = self.value.get_ref() else { return Err(expected()) };
        items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => Ok(text.to_string()),
                _ => Err(expected()),
            })
            .collect()
    }

    /// The value as `true` or `false`.
    ///
    /// # Errors
    /// When it is neither.
    pub(crate) fn truth(&self) -> Result<bool, ConfigError> {
        match self.value.get_ref() {
            DeValue::Boolean(truth) => Ok(*truth),
            _ => Err(self.wrong_type("`true` or `false`")),
        }
    }

    /// The text of a date-time: a string, or TOML's own date-time. Whether it is one isn't judged.
    ///
    /// # Errors
    /// When it is something else.
    pub(crate) fn date_time_text(&self) -> Result<String, ConfigError> {
        match self.value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Datetime(instant) => Ok(instant.to_string()),
            _ => Err(self.no_instant()),
        }
    }

    /// The value as an instant: an RFC 3339 string, or TOML's own date-time with an offset.
    ///
    /// # Errors
    /// When it is neither.
    pub(crate) fn instant(&self) -> Result<DateTime<Utc>, ConfigError> {
        let instant = DateTime::parse_from_rfc3339(&self.date_time_text()?);
        instant.map(|instant| instant.to_utc()).map_err(|_| self.no_instant())
    }

    fn no_instant(&self) -> ConfigError {
        self.error(
            format!("`{}` must be an RFC 3339 date-time", self.name),
            "Write it like `\"2025-11-23T00:00:00Z\"`",
        )
    }

    /// The value as a section.
    ///
    /// # Errors
    /// When it is no table.
    pub(crate) fn section(self) -> Result<Section<'d>, ConfigError> {
        let start = self.value.span().start;
        let document = self.document;
        match self.value.into_inner() {
            DeValue::Table(table) => Ok(Section::new(document, self.name, table, start)),
            _ => Err(document.error_at(start, format!("`{}` must be a table", self.name), "")),
        }
    }

    /// The value as sections by name.
    ///
    /// # Errors
    /// When it is no table of tables.
    pub(crate) fn named_sections(self) -> Result<Vec<(String, Section<'d>)>, ConfigError> {
        let parent = self.name.clone();
        let named = self.section()?.take_rest().into_iter();
        named
            .map(|entry| {
                let name = entry.name.clone();
                let mut section = entry.section()?;
                section.name = format!("[{parent}.\"{name}\"]");
                Ok((name, section))
            })
            .collect()
    }

    /// The value as JSON: date-times become text. None for tables and for what JSON can't hold.
    pub(crate) fn json(&self) -> Option<Value> {
        to_json(self.value.get_ref())
    }

    /// The value as JSON, tables included. None for what JSON can't hold.
    pub(crate) fn tree(&self) -> Option<Value> {
        to_tree(self.value.get_ref())
    }
}

fn to_tree(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::Table(table) => table
            .iter()
            .map(|(key, value)| Some((key.get_ref().to_string(), to_tree(value.get_ref())?)))
            .collect::<Option<_>>()
            .map(Value::Object),
        DeValue::Array(items) => items.iter().map(|item| to_tree(item.get_ref())).collect(),
        other => to_json(other),
    }
}

fn to_json(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::String(text.to_string())),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::from)
        }
        DeValue::Float(number) => {
            number.as_str().parse::<serde_json::Number>().ok().map(Value::Number)
        }
        DeValue::Boolean(truth) => Some(Value::Bool(*truth)),
        DeValue::Datetime(instant) => Some(Value::String(instant.to_string())),
        DeValue::Array(items) => items.iter().map(|item| to_json(item.get_ref())).collect(),
        DeValue::Table(_) => None,
    }
}

/// The known name that is nearest to `name`, if one is near.
pub(crate) fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(
                    &name.to_lowercase(),
                    &candidate.to_lowercase(),
                ),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}
