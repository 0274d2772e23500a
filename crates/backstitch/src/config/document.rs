//! Reading settings with places: where every key and value stands, and which keys nobody asked for.
//!
//! There are two readers, of a TOML file and of the JSON object that the service stores, and one tree between them and all
//! that judges settings: what is allowed in the one, and what it means, can't differ in the other.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::{Map, Number, Value};
use service::host::SettingError;
use toml::de::{DeTable, DeValue};

use crate::failure::Failure;

/// How much alike two names must be (0 to 1) for one to be suggested instead of the other.
const LIKENESS: f64 = 0.6;

/// What is wrong with settings, and where.
#[derive(Debug)]
pub(crate) struct ConfigError {
    message: String,
    place: String,
    pointer: String,
    hint: String,
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::configuration(format!("{} ({})", error.message, error.place)).with_hint(error.hint)
    }
}

impl From<ConfigError> for SettingError {
    fn from(error: ConfigError) -> Self {
        Self {
            pointer: format!("/settings{}", error.pointer),
            message: error.message,
            remedy: error.hint,
        }
    }
}

/// Where settings stand.
#[derive(Debug)]
pub(crate) enum Document<'d> {
    /// In a file: its path and its text, for telling lines.
    File(&'d Path, &'d str),
    /// In the service's store, of an integration.
    Stored(&'d str),
}

impl<'d> Document<'d> {
    /// The top level of a TOML file.
    ///
    /// # Errors
    /// When the text is no TOML. The line itself isn't shown, because it may hold a secret.
    pub(crate) fn root(&'d self) -> Result<Section<'d>, ConfigError> {
        let text = match self {
            Self::File(_, text) => *text,
            Self::Stored(_) => "",
        };
        let table = DeTable::parse(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let message = format!("The file is not valid TOML: {}", error.message());
            self.error_at(&Place { offset: start, pointer: String::new() }, message, "")
        })?;
        let table = from_toml_table(table.get_ref());
        Ok(Section::new(self, String::new(), table, Place::default()))
    }

    /// A JSON object.
    pub(crate) fn object(&'d self, object: &Map<String, Value>) -> Section<'d> {
        Section::new(self, String::new(), from_json_object(object), Place::default())
    }

    /// An error about all of it.
    pub(crate) fn error(&self, message: impl Into<String>, hint: impl Into<String>) -> ConfigError {
        let place = match self {
            Self::File(path, _) => path.display().to_string(),
            Self::Stored(name) => format!("the integration `{name}`"),
        };
        ConfigError { message: message.into(), place, pointer: String::new(), hint: hint.into() }
    }

    fn error_at(
        &self,
        place: &Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> ConfigError {
        let mut error = self.error(message, hint);
        error.pointer.clone_from(&place.pointer);
        match self {
            Self::File(_, text) => {
                let before = text.get(..place.offset).unwrap_or(text);
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                error.place = format!("{}:{line}:{column}", error.place);
            }
            Self::Stored(_) => error.place = format!("{}, `{}`", error.place, place.pointer),
        }
        error
    }
}

/// A place in a document: where it is in the text, and its JSON pointer.
#[derive(Debug, Clone, Default)]
struct Place {
    offset: usize,
    pointer: String,
}

/// A value, and where it starts in the text.
#[derive(Debug)]
struct Node {
    start: usize,
    value: NodeValue,
}

#[derive(Debug)]
enum NodeValue {
    Text(String),
    /// TOML's own date-time.
    Instant(String),
    Number(Number),
    /// A number that JSON can't hold.
    Unspeakable,
    Truth(bool),
    List(Vec<Node>),
    Table(Table),
}

/// Keys with where they start, and their values.
type Table = Vec<(String, usize, Node)>;

fn from_toml(value: &DeValue<'_>, start: usize) -> Node {
    let or_unspeakable =
        |number: Option<Number>| number.map_or(NodeValue::Unspeakable, NodeValue::Number);
    let value = match value {
        DeValue::String(text) => NodeValue::Text(text.to_string()),
        DeValue::Integer(number) => or_unspeakable(
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(Number::from),
        ),
        DeValue::Float(number) => or_unspeakable(number.as_str().parse().ok()),
        DeValue::Boolean(truth) => NodeValue::Truth(*truth),
        DeValue::Datetime(instant) => NodeValue::Instant(instant.to_string()),
        DeValue::Array(items) => NodeValue::List(
            items.iter().map(|item| from_toml(item.get_ref(), item.span().start)).collect(),
        ),
        DeValue::Table(table) => NodeValue::Table(from_toml_table(table)),
    };
    Node { start, value }
}

fn from_toml_table(table: &DeTable<'_>) -> Table {
    let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        (name.to_string(), key.span().start, from_toml(value.get_ref(), value.span().start))
    };
    let mut entries: Table = table.iter().map(entry).collect();
    entries.sort_by_key(|(_, start, _)| *start);
    entries
}

fn from_json(value: &Value) -> Node {
    let value = match value {
        Value::String(text) => NodeValue::Text(text.clone()),
        Value::Number(number) => NodeValue::Number(number.clone()),
        Value::Bool(truth) => NodeValue::Truth(*truth),
        Value::Array(items) => NodeValue::List(items.iter().map(from_json).collect()),
        Value::Object(object) => NodeValue::Table(from_json_object(object)),
        Value::Null => NodeValue::Unspeakable,
    };
    Node { start: 0, value }
}

/// What is null isn't there.
fn from_json_object(object: &Map<String, Value>) -> Table {
    let given = object.iter().filter(|(_, value)| !value.is_null());
    given.map(|(name, value)| (name.clone(), 0, from_json(value))).collect()
}

/// A table of the document, whose keys are taken one by one.
#[derive(Debug)]
pub(crate) struct Section<'d> {
    document: &'d Document<'d>,
    name: String,
    place: Place,
    entries: Table,
    known: Vec<&'static str>,
}

impl<'d> Section<'d> {
    fn new(document: &'d Document<'d>, name: String, entries: Table, place: Place) -> Self {
        Self { document, name, place, entries, known: Vec::new() }
    }

    fn entry(&self, name: String, node: Node) -> Entry<'d> {
        let key = name.replace('~', "~0").replace('/', "~1");
        let pointer = format!("{}/{key}", self.place.pointer);
        Entry { document: self.document, name, place: Place { offset: node.start, pointer }, node }
    }

    /// Takes a key out of the section, if it is there.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Entry<'d>> {
        self.known.push(key);
        let position = self.entries.iter().position(|(name, ..)| name == key)?;
        let (name, _, node) = self.entries.remove(position);
        Some(self.entry(name, node))
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
        Err(self.missing(key, hint))
    }

    /// The error of a key that must be there and isn't.
    pub(crate) fn missing(&self, key: &str, hint: &str) -> ConfigError {
        let message = format!("{} has no `{key}`", self.title());
        match nearest(key, self.entries.iter().map(|(name, ..)| name.as_str())) {
            Some(misspelt) => self.error(message, format!("Did you mean `{key}` by `{misspelt}`?")),
            None => self.error(message, hint),
        }
    }

    /// Takes everything that is left, for sections whose keys are names.
    pub(crate) fn take_rest(&mut self) -> Vec<Entry<'d>> {
        let rest = std::mem::take(&mut self.entries);
        rest.into_iter().map(|(name, _, node)| self.entry(name, node)).collect()
    }

    /// Everything that is there, as JSON. None for what JSON can't hold.
    pub(crate) fn object(&self) -> Option<Map<String, Value>> {
        to_object(&self.entries)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When a key is left that nobody took; suggests the nearest that is known.
    pub(crate) fn finish(self) -> Result<(), ConfigError> {
        let Some((name, start, _)) = self.entries.first() else { return Ok(()) };
        let hint = nearest(name, self.known.iter().copied()).map_or_else(
            || {
                format!(
                    "Known here: {}",
                    self.known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
                )
            },
            |nearest| format!("Did you mean `{nearest}`?"),
        );
        let place = Place { offset: *start, pointer: format!("{}/{name}", self.place.pointer) };
        let message = format!("Unknown key `{name}` in {}", self.title());
        Err(self.document.error_at(&place, message, hint))
    }

    /// An error about the section.
    pub(crate) fn error(&self, message: impl Into<String>, hint: impl Into<String>) -> ConfigError {
        self.document.error_at(&self.place, message, hint)
    }

    fn title(&self) -> String {
        match (self.name.as_str(), self.document) {
            ("", Document::File(..)) => "the file".to_owned(),
            ("", Document::Stored(_)) => "the settings".to_owned(),
            (name, _) => format!("`{name}`"),
        }
    }
}

/// A key with its value.
#[derive(Debug)]
pub(crate) struct Entry<'d> {
    document: &'d Document<'d>,
    name: String,
    place: Place,
    node: Node,
}

impl<'d> Entry<'d> {
    /// The key.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// An error about the value. The message must not show it.
    pub(crate) fn error(&self, message: impl Into<String>, hint: impl Into<String>) -> ConfigError {
        self.document.error_at(&self.place, message, hint)
    }

    fn wrong_type(&self, expected: &str) -> ConfigError {
        self.error(format!("`{}` must be {expected}", self.name), "")
    }

    /// The value as text, if it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.node.value {
            NodeValue::Text(text) => Some(text),
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
        match &self.node.value {
            NodeValue::Number(number) => number.as_i64(),
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
        let NodeValue::List(items) = &self.node.value else { return Err(expected()) };
        items
            .iter()
            .map(|item| match &item.value {
                NodeValue::Text(text) => Ok(text.clone()),
                _ => Err(expected()),
            })
            .collect()
    }

    /// The value as `true` or `false`.
    ///
    /// # Errors
    /// When it is neither.
    pub(crate) fn truth(&self) -> Result<bool, ConfigError> {
        match &self.node.value {
            NodeValue::Truth(truth) => Ok(*truth),
            _ => Err(self.wrong_type("`true` or `false`")),
        }
    }

    /// The text of a date-time: a string, or TOML's own date-time. Whether it is one isn't judged.
    ///
    /// # Errors
    /// When it is something else.
    pub(crate) fn date_time_text(&self) -> Result<String, ConfigError> {
        match &self.node.value {
            NodeValue::Text(text) | NodeValue::Instant(text) => Ok(text.clone()),
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
        match self.node.value {
            NodeValue::Table(table) => {
                Ok(Section::new(self.document, self.name, table, self.place))
            }
            _ => {
                let message = format!("`{}` must be a table", self.name);
                Err(self.document.error_at(&self.place, message, ""))
            }
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
        match &self.node.value {
            NodeValue::Table(_) => None,
            value => to_json(value),
        }
    }

    /// The value as JSON, tables included. None for what JSON can't hold.
    pub(crate) fn tree(&self) -> Option<Value> {
        to_json(&self.node.value)
    }
}

fn to_json(value: &NodeValue) -> Option<Value> {
    Some(match value {
        NodeValue::Text(text) | NodeValue::Instant(text) => Value::String(text.clone()),
        NodeValue::Number(number) => Value::Number(number.clone()),
        NodeValue::Unspeakable => return None,
        NodeValue::Truth(truth) => Value::Bool(*truth),
        NodeValue::List(items) => {
            items.iter().map(|item| to_json(&item.value)).collect::<Option<_>>()?
        }
        NodeValue::Table(table) => Value::Object(to_object(table)?),
    })
}

fn to_object(table: &Table) -> Option<Map<String, Value>> {
    table.iter().map(|(name, _, node)| Some((name.clone(), to_json(&node.value)?))).collect()
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
