//! The section `[service]`: how `backstitch serve` and `backstitch work` go about it. Everything has a default.

use std::{
    fmt,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{NaiveDate, NaiveTime, TimeDelta};
use service::{
    api::{Network, NoNetwork},
    store::{LogLevel, LogLimits},
};

use super::{
    address::{DestinationAddress, ParsedAddress},
    document::{ConfigError, Entry, Section},
    secret::Secret,
    surroundings::Surroundings,
};
use crate::failure::Failure;

/// The folder of what the service keeps, beside the configuration.
const DATA_FOLDER: &str = "backstitch-data";
/// The file of the control store in it.
const STORE_FILE: &str = "control.db";
/// Where the service listens: this machine only.
const LISTEN: &str = "127.0.0.1:8720";

/// How the service goes about it.
#[derive(Debug)]
pub(crate) struct ServiceSettings {
    /// The folder of what it keeps.
    pub(crate) data_folder: PathBuf,
    /// Its control store.
    pub(crate) store: StoreAddress,
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// The file with the key that secrets are sealed with.
    pub(crate) key_file: Option<PathBuf>,
    /// How many runs are worked on at once.
    pub(crate) concurrency: usize,
    /// How long a run is believed to live after it was last heard of.
    pub(crate) lease: TimeDelta,
    /// How long a run may take.
    pub(crate) run_time_limit: TimeDelta,
    /// How long runs may take to stop when the service ends.
    pub(crate) drain: Duration,
    /// How the service's own log looks.
    pub(crate) log_form: LogForm,
    /// The least grave lines that are kept of runs.
    pub(crate) log_level: LogLevel,
    /// Hosts that the service's users may name though they are of this machine or its network.
    pub(crate) allow_hosts: Vec<String>,
    /// How much is kept.
    pub(crate) retention: Retention,
    /// Whether a proxy in front of it speaks TLS.
    pub(crate) is_behind_tls: bool,
    /// Proxies that are believed about where a request comes from.
    pub(crate) trusted_proxies: Vec<Network>,
    /// The certificate with which it speaks TLS itself.
    pub(crate) tls: Option<Tls>,
    /// Rows that may be used in a billing period, if somebody watches that.
    pub(crate) row_budget: Option<u64>,
    /// A day, in UTC, with which a billing period begins, if one is set.
    pub(crate) billing_anchor: Option<NaiveDate>,
}

/// A certificate with its chain, and its key, as files in PEM form.
#[derive(Debug)]
pub(crate) struct Tls {
    /// The certificate.
    pub(crate) certificate: PathBuf,
    /// The key.
    pub(crate) key: PathBuf,
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// Of the logs of runs.
    pub(crate) logs: LogLimits,
    /// For how long runs that have ended and decided slots are kept.
    pub(crate) runs: TimeDelta,
    /// For how long loads and changes of tables are kept.
    pub(crate) loads: TimeDelta,
}

/// Where the control store is.
#[derive(Debug)]
pub(crate) enum StoreAddress {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL database, and its password, if that isn't where PostgreSQL's own programs look.
    Postgres(String, Option<Secret>),
}

/// How a log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogForm {
    /// Lines for people.
    Text,
    /// JSON objects, one a line.
    Json,
}

impl ServiceSettings {
    /// What holds unless something is set.
    pub(crate) fn defaults(folder: &Path) -> Self {
        let data_folder = folder.join(DATA_FOLDER);
        Self {
            store: StoreAddress::File(data_folder.join(STORE_FILE)),
            data_folder,
            listen: LISTEN.parse().expect("it is an address"),
            key_file: None,
            concurrency: 4,
            lease: TimeDelta::seconds(45),
            run_time_limit: TimeDelta::hours(24),
            drain: Duration::from_secs(60),
            log_form: LogForm::Text,
            log_level: LogLevel::Info,
            allow_hosts: Vec::new(),
            retention: Retention {
                logs: LogLimits::default(),
                runs: TimeDelta::days(400),
                loads: TimeDelta::days(92),
            },
            is_behind_tls: false,
            trusted_proxies: Vec::new(),
            tls: None,
            row_budget: None,
            billing_anchor: None,
        }
    }

    /// Reads the section.
    ///
    /// # Errors
    /// When anything in it is wrong.
    pub(super) fn read(mut section: Section<'_>, folder: &Path) -> Result<Self, ConfigError> {
        let mut settings = Self::defaults(folder);
        if let Some(entry) = section.take("data_dir") {
            settings.data_folder = folder.join(entry.text()?);
            settings.store = StoreAddress::File(settings.data_folder.join(STORE_FILE));
        }
        if let Some(entry) = section.take("store") {
            settings.store = StoreAddress::read(entry, folder)?;
        }
        if let Some(entry) = section.take("listen") {
            let address = entry.text()?.parse();
            settings.listen = address.map_err(|_| {
                entry.error(
                    "`listen` is no address with a port",
                    "Write it like `\"127.0.0.1:8720\"`",
                )
            })?;
        }
        if let Some(entry) = section.take("key_file") {
            settings.key_file = Some(folder.join(entry.text()?));
        }
        if let Some(entry) = section.take("concurrency") {
            settings.concurrency = whole(&entry, 1..=1_000)?;
        }
        if let Some(entry) = section.take("lease_seconds") {
            settings.lease = TimeDelta::seconds(whole(&entry, 2..=86_400)?);
        }
        if let Some(entry) = section.take("run_time_limit_hours") {
            settings.run_time_limit = TimeDelta::hours(whole(&entry, 1..=24 * 31)?);
        }
        if let Some(entry) = section.take("drain_seconds") {
            settings.drain = Duration::from_secs(whole(&entry, 0..=86_400)?);
        }
        if let Some(entry) = section.take("log_format") {
            settings.log_form = match entry.text()? {
                "text" => LogForm::Text,
                "json" => LogForm::Json,
                _ => return Err(entry.error("`log_format` must be `text` or `json`", "")),
            };
        }
        if let Some(entry) = section.take("log_level") {
            settings.log_level = match entry.text()? {
                "info" => LogLevel::Info,
                "debug" => LogLevel::Debug,
                _ => return Err(entry.error("`log_level` must be `info` or `debug`", "")),
            };
        }
        if let Some(entry) = section.take("allow_hosts") {
            settings.allow_hosts = entry.texts()?;
        }
        if let Some(entry) = section.take("retention") {
            settings.retention.read(entry.section()?)?;
        }
        settings.is_behind_tls =
            section.take("behind_tls").map(|entry| entry.truth()).transpose()?.unwrap_or_default();
        if let Some(entry) = section.take("trusted_proxies") {
            let parsed: Result<_, NoNetwork> =
                entry.texts()?.iter().map(|text| text.parse()).collect();
            settings.trusted_proxies = parsed.map_err(|_| {
                entry.error(
                    "`trusted_proxies` holds what is neither an address nor a network",
                    "Write it like `[\"127.0.0.1\", \"10.0.0.0/8\"]`",
                )
            })?;
        }
        settings.tls = section.take("tls").map(|entry| Tls::read(entry, folder)).transpose()?;
        let budget = section.take("row_budget");
        settings.row_budget =
            budget.map(|entry| whole(&entry, 1..=i64::MAX.unsigned_abs())).transpose()?;
        settings.billing_anchor =
            section.take("billing_anchor").map(|entry| midnight(&entry)).transpose()?;
        section.finish()?;
        Ok(settings)
    }
}

impl Tls {
    fn read(entry: Entry<'_>, folder: &Path) -> Result<Self, ConfigError> {
        let mut section = entry.section()?;
        let mut path = |name| {
            let hint = "Write `tls = { certificate = \"service.pem\", key = \"service.key\" }`";
            let entry = section.demand(name, hint)?;
            Ok(folder.join(entry.text()?))
        };
        let tls = Self { certificate: path("certificate")?, key: path("key")? };
        section.finish()?;
        Ok(tls)
    }
}

impl Retention {
    fn read(&mut self, mut section: Section<'_>) -> Result<(), ConfigError> {
        if let Some(entry) = section.take("log_days") {
            self.logs.age = TimeDelta::days(whole(&entry, 1..=3_660)?);
        }
        if let Some(entry) = section.take("log_megabytes") {
            self.logs.bytes = whole::<u64>(&entry, 1..=1_000_000)? << 20;
        }
        if let Some(entry) = section.take("log_lines_per_run") {
            self.logs.lines_per_run = whole(&entry, 100..=10_000_000)?;
        }
        if let Some(entry) = section.take("run_days") {
            self.runs = TimeDelta::days(whole(&entry, 1..=3_660)?);
        }
        if let Some(entry) = section.take("load_days") {
            // Two billing periods of 30 days, and the day that is not over.
            self.loads = TimeDelta::days(whole(&entry, 61..=3_660)?);
        }
        section.finish()
    }
}

impl StoreAddress {
    fn read(entry: Entry<'_>, folder: &Path) -> Result<Self, ConfigError> {
        if let Some(text) = entry.as_text() {
            let parsed = Self::parse(text, folder);
            return parsed.map_err(|(message, hint)| entry.error(message, hint));
        }
        let mut section = entry.section()?;
        let around = Surroundings::of_file(folder);
        let url = section
            .demand("url", "Write `{ url = \"postgres://…\", password = { env = \"NAME\" } }`")?;
        let mut parsed =
            Self::parse(url.text()?, folder).map_err(|(message, hint)| url.error(message, hint))?;
        if let (Self::Postgres(_, password), Some(entry)) = (&mut parsed, section.take("password"))
        {
            if entry.as_text().is_some() {
                return Err(entry.error(
                    "A password must not stand in the configuration",
                    "Write `password = { env = \"NAME\" }` or `password = { file = \"PATH\" }`",
                ));
            }
            *password = Some(Secret::parse(entry, &around)?);
        }
        section.finish()?;
        Ok(parsed)
    }

    /// Reads one from the command line: a path, `postgres://…`, `env:NAME` or `@FILE`.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn from_argument(argument: &str) -> Result<Self, Failure> {
        if argument.starts_with("env:") || argument.starts_with('@') {
            let parsed = DestinationAddress::from_argument(argument)?;
            return Self::from_address(parsed)
                .map_err(|(message, hint)| Failure::configuration(message).with_hint(hint));
        }
        Self::parse(argument, Path::new(""))
            .map_err(|(message, hint)| Failure::configuration(message).with_hint(hint))
    }

    fn parse(text: &str, folder: &Path) -> Result<Self, (String, String)> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let parsed = DestinationAddress::parse(text, folder);
            return Self::from_address(parsed.map_err(|error| (error.to_string(), error.hint()))?);
        }
        let path = text.strip_prefix("sqlite:").unwrap_or(text);
        if path.is_empty() || path.contains("://") {
            let hint = "It is a file, such as `control.db`, or `postgres://USER@HOST/DATABASE`";
            return Err(("The control store can't be there".to_owned(), hint.to_owned()));
        }
        Ok(Self::File(folder.join(path)))
    }

    fn from_address(parsed: ParsedAddress) -> Result<Self, (String, String)> {
        match parsed.address {
            DestinationAddress::Postgres(url) => {
                Ok(Self::Postgres(url, parsed.password.map(Secret::Inline)))
            }
            DestinationAddress::DuckDb(_) => Err((
                "The control store can't be a DuckDB file".to_owned(),
                "Name a SQLite file or a PostgreSQL database".to_owned(),
            )),
        }
    }
}

/// A day, as its first instant in UTC.
fn midnight(entry: &Entry<'_>) -> Result<NaiveDate, ConfigError> {
    let at = entry.instant()?;
    if at.time() == NaiveTime::MIN {
        return Ok(at.date_naive());
    }
    Err(entry.error(
        format!("`{}` must be midnight in UTC: usage is kept by days of UTC", entry.name()),
        format!("Write `\"{}T00:00:00Z\"`", at.date_naive()),
    ))
}

/// A whole number within bounds.
fn whole<N: TryFrom<i64> + fmt::Display + PartialOrd>(
    entry: &Entry<'_>,
    bounds: RangeInclusive<N>,
) -> Result<N, ConfigError> {
    let number = N::try_from(entry.integer()?).ok().filter(|number| bounds.contains(number));
    number.ok_or_else(|| {
        let (least, most) = (bounds.start(), bounds.end());
        entry.error(format!("`{}` must be from {least} to {most}", entry.name()), "")
    })
}
