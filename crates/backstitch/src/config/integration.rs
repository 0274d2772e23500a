//! One integration of the configuration: an account, and the schema that it fills.

use std::ops::RangeInclusive;

use chrono::{DateTime, TimeDelta, Utc};
use replication::{reject_limit::RejectLimit, source::Source};
use schedule::Schedule;
use secrecy::SecretString;
use serde_json::{Map, Value};
use tap_bronto::SelectedStream;

use super::{
    address::{DestinationAddress, ParsedAddress},
    document::{ConfigError, Entry, Section},
    schedule::read_schedule,
    schema_name::SchemaName,
    secret::Secret,
    selection,
    singer::SingerSettings,
    surroundings::{PASSWORD, Surroundings, TOKEN},
};
use crate::{
    connect::{LookUp, Target},
    failure::Failure,
};

/// Settings of the Bronto source that are handed on as they are.
const SOURCE_SETTINGS: [&str; 10] = [
    "end_date",
    "endpoint",
    "concurrency",
    "request_timeout_seconds",
    "max_retries",
    "activity_id",
    "activity_lookback_days",
    "settle_seconds",
    "page_size",
    "user_agent",
];

/// The bounds of `lease_seconds`: shorter and a slow network loses the claim; longer and nobody can take over.
const LEASE_SECONDS: RangeInclusive<i64> = 2..=86_400;
/// How long rejected rows may be kept, in days.
const RETENTION_DAYS: RangeInclusive<i64> = 1..=36_500;

const MEMORY_LIMIT_HINT: &str = "Write it with a unit, for example `memory_limit = \"1GB\"`";

/// An account, and the schema that it fills.
#[derive(Debug)]
pub(crate) struct Integration {
    /// The name, as it stands in the section's title.
    pub(crate) name: String,
    /// The schema.
    pub(crate) schema: SchemaName,
    /// The source.
    pub(crate) source: SourceSettings,
    /// Where the rows go.
    pub(crate) destination: DestinationAddress,
    password: Option<Secret>,
    memory_limit: Option<String>,
    /// When it runs by itself.
    pub(crate) schedule: Option<Schedule>,
    /// The tables and columns that are replicated, each by its method; everything, unless something is named.
    pub(crate) selection: Vec<SelectedStream>,
    /// How arrays are kept, if not in the destination's own way.
    pub(crate) nested: Option<Nested>,
    /// How long the claim on the schema holds after it was last renewed, if it is set.
    pub(crate) lease: Option<TimeDelta>,
    /// How many rows may be rejected before the run ends, if it is set.
    pub(crate) max_rejects: Option<RejectLimit>,
    /// The fingerprint of the source that is known to be the same account as before, with a new token or address.
    accept_source: Option<String>,
    /// Whether it is declared on the host, so that what PostgreSQL's own programs know of passwords there is its own.
    is_of_host: bool,
    /// Finds the addresses that it connects to, where that isn't left to the system.
    pub(crate) look_up: Option<LookUp>,
    /// How long rejected rows are kept, if it is set.
    pub(crate) rejects_retention: Option<TimeDelta>,
    /// What the user should know though the configuration is valid.
    pub(crate) warnings: Vec<String>,
}

/// The settings of a source.
#[derive(Debug)]
pub(crate) enum SourceSettings {
    /// A Bronto account.
    Bronto(BrontoSettings),
    /// A Singer tap that runs as a child.
    Singer(SingerSettings),
}

/// The settings of a Bronto source.
#[derive(Debug)]
pub(crate) struct BrontoSettings {
    /// The API token.
    pub(crate) token: Secret,
    /// From when to read what has no bookmark.
    pub(crate) start_date: Option<DateTime<Utc>>,
    /// Everything else, by the tap's names.
    pub(crate) others: Map<String, Value>,
}

/// How arrays are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Nested {
    /// In a list column.
    Native,
    /// In a table of their own.
    Subtables,
}

impl Integration {
    /// Reads a section `[integration."NAME"]`.
    ///
    /// # Errors
    /// When anything in it is wrong.
    pub(super) fn read(
        name: &str,
        mut section: Section<'_>,
        around: &Surroundings<'_>,
    ) -> Result<Self, ConfigError> {
        let source = section
            .demand(
                "source",
                "Write `source = { type = \"bronto\", token = { env = \"BRONTO_TOKEN\" } }`",
            )?
            .section()?;
        let mut source = SourceSettings::read(source, around)?;
        if let Some(streams) = section.take("streams") {
            source.add_streams(&streams)?;
        }
        let destination =
            section.demand("destination", "Write `destination = \"duckdb:warehouse.duckdb\"`")?;
        let Destination { address: destination, password, memory_limit } =
            Destination::read(destination, around)?;
        let schema = read_schema(name, &mut section)?;
        let schedule =
            section.take("schedule").map(|entry| read_schedule(entry.section()?)).transpose()?;
        let selection = match &source {
            SourceSettings::Bronto(_) => selection::read(&mut section)?,
            SourceSettings::Singer(_) => selection::refuse(&mut section)?,
        };
        let nested = section.take("nested").map(|entry| Nested::read(&entry)).transpose()?;
        let lease = read_lease(&mut section)?;
        let max_rejects = read_max_rejects(&mut section)?;
        let accept_source = section.take("accept_source");
        let accept_source =
            accept_source.map(|entry| entry.text().map(str::to_owned)).transpose()?;
        let rejects_retention = read_retention(&mut section)?;
        section.finish()?;
        let warns = source.has_inline_token() && !around.has_secrets_apart();
        let inline_token = warns.then(|| {
            "The Bronto token stands in the configuration, where anybody who can read the file sees it; \
             better is `token = { env = \"BRONTO_TOKEN\" }`"
                .to_owned()
        });
        // One that has run out hinders nothing but itself.
        let idle =
            schedule.as_ref().is_some_and(|schedule| schedule.is_idle(Utc::now())).then(|| {
                "The schedule has no start any more; choose days and a year that come".to_owned()
            });
        let warnings = inline_token
            .into_iter()
            .chain(schedule.as_ref().and_then(Schedule::warning).map(str::to_owned))
            .chain(idle)
            .collect();
        let name = name.to_owned();
        Ok(Self {
            name,
            schema,
            source,
            destination,
            password,
            memory_limit,
            schedule,
            selection,
            nested,
            lease,
            max_rejects,
            accept_source,
            is_of_host: around.is_host(),
            look_up: None,
            rejects_retention,
            warnings,
        })
    }

    /// Whether a source is said to be the same account as before, though its fingerprint has changed.
    pub(crate) fn accepts(&self, source: &dyn Source) -> bool {
        self.accept_source.as_ref().is_some_and(|accepted| *accepted == source.fingerprint())
    }

    /// The schema that the integration fills, ready to be connected to.
    ///
    /// # Errors
    /// When the destination's password can't be read from where it should be.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        let password = self
            .password
            .as_ref()
            .map(|secret| secret.read("The destination's password"))
            .transpose()?;
        Ok(Target {
            address: self.destination.clone(),
            password,
            asks_environment: self.is_of_host,
            look_up: self.look_up.clone(),
            memory_limit: self.memory_limit.clone(),
            schema: self.schema.clone(),
            nested: self.nested,
        })
    }
}

impl Integration {
    /// The secrets that can be read now, to be kept out of logs.
    pub(crate) fn secrets(&self) -> Vec<SecretString> {
        let token = match &self.source {
            SourceSettings::Bronto(settings) => settings.token.read("The Bronto token").ok(),
            SourceSettings::Singer(_) => None,
        };
        let password = self.password.as_ref().and_then(|password| password.read("").ok());
        token.into_iter().chain(password).collect()
    }
}

impl SourceSettings {
    fn read(mut section: Section<'_>, around: &Surroundings<'_>) -> Result<Self, ConfigError> {
        let kind = section.demand("type", "Write `type = \"bronto\"` or `type = \"singer\"`")?;
        match kind.text()? {
            "bronto" => BrontoSettings::read(section, around).map(Self::Bronto),
            "singer" => SingerSettings::read(section, around).map(Self::Singer),
            _ => Err(kind.error(
                "The source's `type` must be `bronto` or `singer`",
                "Other sources are read by their Singer taps: `type = \"singer\"`",
            )),
        }
    }

    fn add_streams(&mut self, entry: &Entry<'_>) -> Result<(), ConfigError> {
        match self {
            Self::Bronto(settings) => {
                settings.others.insert("streams".to_owned(), entry.texts()?.into());
                Ok(())
            }
            Self::Singer(_) => Err(selection::left_to_catalog(entry)),
        }
    }

    fn has_inline_token(&self) -> bool {
        self.inline_token().is_some()
    }

    /// The token, if it stands in the configuration itself.
    pub(crate) fn inline_token(&self) -> Option<&SecretString> {
        match self {
            Self::Bronto(BrontoSettings { token: Secret::Inline(token), .. }) => Some(token),
            _ => None,
        }
    }

    /// From when to read what has no bookmark, if it is set here.
    pub(crate) fn start_date(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Bronto(settings) => settings.start_date,
            Self::Singer(_) => None,
        }
    }

    /// What people call it.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Bronto(_) => "Bronto".to_owned(),
            Self::Singer(settings) => settings.title(),
        }
    }
}

impl BrontoSettings {
    fn read(mut section: Section<'_>, around: &Surroundings<'_>) -> Result<Self, ConfigError> {
        let token = match (section.take("token"), around.secret(TOKEN)) {
            (Some(entry), _) => Secret::parse(entry, around)?,
            (None, Some(token)) => Secret::Inline(token),
            (None, None) if around.has_secrets_apart() => {
                return Err(section.missing("token", "Give it among the secrets"));
            }
            (None, None) => {
                return Err(section.missing("token", "Write `token = { env = \"BRONTO_TOKEN\" }`"));
            }
        };
        let start_date = section.take("start_date").map(|entry| entry.instant()).transpose()?;
        let mut others = Map::new();
        for name in SOURCE_SETTINGS {
            if let Some(entry) = section.take(name) {
                let value = entry
                    .json()
                    .ok_or_else(|| entry.error(format!("`{name}` must not be a table"), ""))?;
                others.insert(name.to_owned(), value);
            }
        }
        section.finish()?;
        Ok(Self { token, start_date, others })
    }
}

impl Nested {
    fn read(entry: &Entry<'_>) -> Result<Self, ConfigError> {
        let error = || entry.error("`nested` must be `native` or `subtables`", "");
        Self::named(entry.text()?).ok_or_else(error)
    }

    /// The form of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "native" => Some(Self::Native),
            "subtables" => Some(Self::Subtables),
            _ => None,
        }
    }
}

/// What stands under `destination`.
struct Destination {
    address: DestinationAddress,
    password: Option<Secret>,
    memory_limit: Option<String>,
}

impl Destination {
    /// Reads it: an address, or `{ url = …, password = …, memory_limit = … }` with either of the first two in the
    /// environment or a file.
    fn read(entry: Entry<'_>, around: &Surroundings<'_>) -> Result<Self, ConfigError> {
        let apart = || around.secret(PASSWORD).map(Secret::Inline);
        if entry.as_text().is_some() {
            let address = read_url(entry, around)?.address;
            return Ok(Self { address, password: apart(), memory_limit: None });
        }
        let mut section = entry.section()?;
        let url = section.demand("url", "Write `{ url = { env = \"WAREHOUSE_URL\" } }`")?;
        let ParsedAddress { address, password } = read_url(url, around)?;
        let given = section
            .take("password")
            .map(|entry| match entry.as_text() {
                Some(_) if !around.has_secrets_apart() => Err(entry.error(
                    "A password must not stand in the configuration",
                    "Write `password = { env = \"WAREHOUSE_PASSWORD\" }` or `password = { file = \"PATH\" }`",
                )),
                _ => Secret::parse(entry, around),
            })
            .transpose()?;
        let memory_limit = section
            .take("memory_limit")
            .map(|entry| match (&address, entry.as_text()) {
                (DestinationAddress::DuckDb(_), Some(limit)) => Ok(limit.to_owned()),
                (DestinationAddress::DuckDb(_), None) => {
                    Err(entry.error("This is no amount of memory", MEMORY_LIMIT_HINT))
                }
                _ => Err(entry.error("Only DuckDB has a memory limit here", "Leave it out")),
            })
            .transpose()?;
        section.finish()?;
        let password = given.or_else(|| password.map(Secret::Inline)).or_else(apart);
        Ok(Self { address, password, memory_limit })
    }
}

fn read_url(entry: Entry<'_>, around: &Surroundings<'_>) -> Result<ParsedAddress, ConfigError> {
    let folder = around.folder();
    if let Some(text) = entry.as_text() {
        if let Some(path) = text.trim().strip_prefix("duckdb:") {
            around.demand_within(&entry, path)?;
        }
        if may_name_a_certificate(text) {
            around.demand_host(&entry, "A file of certificates")?;
        }
        return DestinationAddress::parse(text, folder)
            .map_err(|error| entry.error(error.to_string(), error.hint()));
    }
    around.demand_host(&entry, "An address from the environment or a file")?;
    let mut section = entry.section()?;
    let parsed = match (section.take("env"), section.take("file")) {
        (Some(name), None) => DestinationAddress::from_environment(name.text()?, folder),
        (None, Some(path)) => {
            let path = folder.join(path.text()?);
            DestinationAddress::from_file(&path, folder)
        }
        _ => return Err(section.error("A destination's `url` needs either `env` or `file`", "")),
    };
    let parsed = parsed.map_err(|error| section.error(error.to_string(), error.hint()))?;
    section.finish()?;
    Ok(parsed)
}

/// Whether an address may name a file of certificates. Names that are written with `%` count as one: what they say is known
/// only when they are read.
fn may_name_a_certificate(text: &str) -> bool {
    let parameters = text.split_once('?').map_or("", |(_, parameters)| parameters);
    let mut names = parameters.split('&').map(|one| one.split('=').next().unwrap_or_default());
    text.contains("sslrootcert") || names.any(|name| name.contains('%'))
}

fn read_schema(name: &str, section: &mut Section<'_>) -> Result<SchemaName, ConfigError> {
    match section.take("schema") {
        Some(entry) => {
            SchemaName::parse(entry.text()?).map_err(|error| entry.error(error.to_string(), ""))
        }
        None => SchemaName::derive(name).map_err(|error| {
            section.error(
                format!("No schema name can be made of the integration's name `{name}`: {error}"),
                "Give one with `schema = \"…\"`",
            )
        }),
    }
}

fn read_max_rejects(section: &mut Section<'_>) -> Result<Option<RejectLimit>, ConfigError> {
    let Some(entry) = section.take("max_rejects") else { return Ok(None) };
    if let Some(text) = entry.as_text() {
        let share = text.parse().map_err(|_| {
            let hint = "Write a count, as in `max_rejects = 100`, or a percentage, as in `max_rejects = \"0.5%\"`";
            entry.error("`max_rejects` is no percentage from 0 to 100", hint)
        })?;
        return Ok(Some(RejectLimit::Share(share)));
    }
    let limit = u64::try_from(entry.integer()?);
    let negative = |_| entry.error("`max_rejects` must not be negative", "");
    limit.map(|limit| Some(RejectLimit::Count(limit))).map_err(negative)
}

/// A number of days, as `90d`: rejects are dated by the second, but nobody counts on less than a day.
fn read_retention(section: &mut Section<'_>) -> Result<Option<TimeDelta>, ConfigError> {
    let Some(entry) = section.take("rejects_retention") else { return Ok(None) };
    let days = entry.text()?.strip_suffix('d').and_then(|days| days.parse::<i64>().ok());
    match days.filter(|days| RETENTION_DAYS.contains(days)) {
        Some(days) => Ok(Some(TimeDelta::days(days))),
        None => {
            let (least, most) = (RETENTION_DAYS.start(), RETENTION_DAYS.end());
            let message =
                format!("`rejects_retention` is no number of days from {least} to {most}");
            Err(entry.error(message, "Write it like `rejects_retention = \"90d\"`"))
        }
    }
}

fn read_lease(section: &mut Section<'_>) -> Result<Option<TimeDelta>, ConfigError> {
    let Some(entry) = section.take("lease_seconds") else { return Ok(None) };
    let seconds = entry.integer()?;
    if !LEASE_SECONDS.contains(&seconds) {
        let (least, most) = (LEASE_SECONDS.start(), LEASE_SECONDS.end());
        return Err(entry.error(format!("`lease_seconds` must be from {least} to {most}"), ""));
    }
    Ok(Some(TimeDelta::seconds(seconds)))
}
