//! Where settings become a source and a destination. The only module that knows which kinds there are.

use std::{fmt, io, net::IpAddr, pin::Pin, sync::Arc};

use bronto_sim::{DEFAULT_TOKEN, RunningServer};
use destination_duckdb::{DuckDb, DuckDbConfig};
use destination_postgres::{Postgres, PostgresConfig};
use replication::{
    destination::{Destination, DestinationError},
    placement::Nesting,
    replay::MakeDecoder,
    run::RunError,
    singer_source::SingerRejects,
    singer_tap::SingerTap,
    source::Source,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use tap_bronto::{BrontoRejects, BrontoSource, TapConfig, config::Settings};

use crate::{
    command_line::SchemaArguments,
    config::{
        BrontoSettings, DestinationAddress, Integration, Nested, ParsedAddress, SchemaName,
        SourceSettings,
    },
    exit::ExitStatus,
    failure::Failure,
};

/// The account behind a tap that is piped in: its stream doesn't tell.
pub(crate) const SINGER_FINGERPRINT: &str = "singer";

/// A schema of a destination, ready to be connected to.
#[derive(Debug)]
pub(crate) struct Target {
    /// The destination.
    pub(crate) address: DestinationAddress,
    /// Its password, if it doesn't come from where PostgreSQL's own programs take it.
    pub(crate) password: Option<SecretString>,
    /// Whether it may come from there. What the service's users declare gets no password of the host's.
    pub(crate) asks_environment: bool,
    /// Finds the server's addresses, where that isn't left to the system.
    pub(crate) look_up: Option<LookUp>,
    /// The schema.
    pub(crate) schema: SchemaName,
    /// How arrays are kept, if not in the destination's own way.
    pub(crate) nested: Option<Nested>,
    /// How much memory DuckDB may use, if not its default here.
    pub(crate) memory_limit: Option<String>,
}

/// Addresses that are being looked up.
pub(crate) type Found = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Finds the addresses of a host when it is connected to.
#[derive(Clone)]
pub(crate) struct LookUp(Arc<dyn Fn(String) -> Found + Send + Sync>);

impl LookUp {
    /// One that asks `find` for the addresses of a name.
    pub(crate) fn new(find: impl Fn(String) -> Found + Send + Sync + 'static) -> Self {
        Self(Arc::new(find))
    }

    /// The addresses of a name.
    pub(crate) fn find(&self, host: String) -> Found {
        (self.0)(host)
    }
}

impl fmt::Debug for LookUp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LookUp").finish_non_exhaustive()
    }
}

impl Target {
    /// A schema at an address, everything else as it is by default.
    pub(crate) fn at(parsed: ParsedAddress, schema: SchemaName) -> Self {
        let ParsedAddress { address, password } = parsed;
        Self {
            address,
            password,
            asks_environment: true,
            look_up: None,
            schema,
            nested: None,
            memory_limit: None,
        }
    }
}

/// The schema that a command is about: an integration's, or the one named on the command line.
///
/// # Errors
/// When the configuration or the address is wrong.
pub(crate) fn target(arguments: &SchemaArguments) -> Result<Target, Failure> {
    let (Some(address), Some(schema)) = (&arguments.destination, &arguments.schema) else {
        let chosen = &arguments.integration;
        return chosen.load()?.target();
    };
    let schema =
        SchemaName::parse(schema).map_err(|error| Failure::configuration(error.to_string()))?;
    let parsed = DestinationAddress::from_argument(address)?;
    Ok(Target::at(parsed, schema))
}

/// What the destination is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To load rows.
    Load,
    /// To look only: nothing is made or changed, and others may look at the same time.
    Look,
}

/// The destination, for loading.
///
/// # Errors
/// When the address is wrong, or a setting doesn't fit it.
pub(crate) fn destination(target: &Target) -> Result<Arc<dyn Destination>, Failure> {
    open(target, Purpose::Load)
}

/// The destination of a command that only looks.
///
/// # Errors
/// When the address is wrong, or there is nothing to look at.
pub(crate) fn existing(target: &Target) -> Result<Arc<dyn Destination>, Failure> {
    if let DestinationAddress::DuckDb(path) = &target.address
        && !path.exists()
    {
        let message = format!("The DuckDB file `{}` does not exist", path.display());
        return Err(
            Failure::new(ExitStatus::Destination, message).with_hint("Run the integration first")
        );
    }
    open(target, Purpose::Look)
}

fn open(target: &Target, purpose: Purpose) -> Result<Arc<dyn Destination>, Failure> {
    let failed = |error: DestinationError| Failure::from(&error);
    let schema = target.schema.as_str();
    match &target.address {
        DestinationAddress::DuckDb(path) => {
            if target.nested == Some(Nested::Subtables) {
                return Err(Failure::configuration(
                    "DuckDB keeps arrays in list columns; subtables are for PostgreSQL",
                )
                .with_hint("Leave out `nested`, or write `nested = \"native\"`"));
            }
            let mut config = DuckDbConfig::new(path, schema);
            if let Some(limit) = &target.memory_limit {
                config.memory_limit = Some(limit.clone());
            }
            let destination = match purpose {
                Purpose::Load => DuckDb::new(config),
                Purpose::Look => DuckDb::open_read_only(config),
            };
            Ok(Arc::new(destination.map_err(failed)?))
        }
        DestinationAddress::Postgres(url) => {
            let config = PostgresConfig::parse(url, schema).map_err(failed)?;
            let config = match target.nested {
                Some(Nested::Native) => config.with_nesting(Nesting::Native),
                Some(Nested::Subtables) | None => config,
            };
            let config = match &target.password {
                Some(password) => config.with_password(password.clone()),
                None if target.asks_environment => {
                    config.password_from_environment().map_err(failed)?
                }
                None => config,
            };
            let config = match target.look_up.clone() {
                Some(look_up) => {
                    let find = destination_postgres::Resolver::new(move |host| look_up.find(host));
                    config.with_resolver(find)
                }
                None => config,
            };
            Ok(Arc::new(Postgres::new(config).map_err(failed)?))
        }
    }
}

/// The source of an integration.
///
/// # Errors
/// When a secret is missing, or a setting is wrong.
pub(crate) fn source(integration: &Integration) -> Result<Box<dyn Source>, Failure> {
    match &integration.source {
        SourceSettings::Bronto(settings) => Ok(Box::new(bronto(settings, integration)?)),
        SourceSettings::Singer(settings) => Ok(Box::new(SingerTap::new(settings.tap()?))),
    }
}

/// What reads an integration's rejects again; without an integration they are a Singer tap's.
///
/// # Errors
/// When a secret is missing, or a setting is wrong.
pub(crate) fn decoder(
    integration: Option<&Integration>,
) -> Result<Box<MakeDecoder<'static>>, Failure> {
    let config = match integration.map(|integration| (integration, &integration.source)) {
        Some((integration, SourceSettings::Bronto(settings))) => {
            Some(bronto_config(settings, integration)?)
        }
        Some((_, SourceSettings::Singer(_))) | None => None,
    };
    Ok(Box::new(move |states| match &config {
        Some(config) => Ok(Box::new(BrontoRejects::new(config, states).map_err(RunError::Source)?)),
        None => Ok(Box::new(SingerRejects::new(states))),
    }))
}

/// The source of an integration that can read spans again.
///
/// # Errors
/// As [`source`]; and for a Singer tap, which can't.
pub(crate) fn rereadable(integration: &Integration) -> Result<BrontoSource, Failure> {
    match &integration.source {
        SourceSettings::Bronto(settings) => bronto(settings, integration),
        SourceSettings::Singer(_) => {
            Err(Failure::configuration("A Singer tap can't be asked for a span of time again")
                .with_hint("Use a new schema, which it fills from its start"))
        }
    }
}

fn bronto(settings: &BrontoSettings, integration: &Integration) -> Result<BrontoSource, Failure> {
    bronto_source(bronto_config(settings, integration)?)
}

fn bronto_config(
    settings: &BrontoSettings,
    integration: &Integration,
) -> Result<TapConfig, Failure> {
    let token = settings.token.read("The Bronto token")?;
    let mut values = settings.others.clone();
    values.insert("token".to_owned(), token.expose_secret().into());
    if let Some(start_date) = settings.start_date {
        values.insert("start_date".to_owned(), start_date.to_rfc3339().into());
    }
    let mut config = tap_config(values)?;
    config.selection.clone_from(&integration.selection);
    config.resolver = integration
        .look_up
        .clone()
        .map(|look_up| tap_bronto::config::Resolver::new(move |host| look_up.find(host)));
    Ok(config)
}

/// Where an integration sends its secrets.
#[derive(Debug)]
pub(crate) struct Places {
    /// The source, where it is one that we connect to.
    pub(crate) source: Option<Place>,
    /// The destination, where it is a server.
    pub(crate) destination: Option<Place>,
}

/// A server.
#[derive(Debug)]
pub(crate) struct Place {
    /// Its host; empty where it is this machine without a name.
    pub(crate) host: String,
    /// The address in full, for people.
    pub(crate) address: String,
}

/// Where an integration sends its secrets. Nothing is connected to.
///
/// # Errors
/// When a secret is missing, or a setting is wrong.
pub(crate) fn places(integration: &Integration) -> Result<Places, Failure> {
    let source = match &integration.source {
        SourceSettings::Bronto(settings) => {
            let endpoint = bronto_config(settings, integration)?.endpoint;
            Some(Place { host: endpoint.host().to_owned(), address: endpoint.to_string() })
        }
        SourceSettings::Singer(_) => None,
    };
    let destination = match &integration.destination {
        DestinationAddress::DuckDb(_) => None,
        DestinationAddress::Postgres(url) => {
            let config = PostgresConfig::parse(url, integration.schema.as_str())
                .map_err(|error| Failure::from(&error))?;
            let host = config.host_name().unwrap_or_default().to_owned();
            Some(Place { host, address: config.place() })
        }
    };
    Ok(Places { source, destination })
}

/// The source of a simulated account. Its clock stands still, so nothing in it needs time to settle.
///
/// # Errors
/// When the settings don't fit each other.
pub(crate) fn simulated(account: &RunningServer) -> Result<Box<dyn Source>, Failure> {
    let values =
        json!({ "token": DEFAULT_TOKEN, "endpoint": account.endpoint(), "settle_seconds": 0 });
    Ok(Box::new(bronto_source(tap_config(values.as_object().cloned().unwrap_or_default())?)?))
}

fn tap_config(values: Map<String, Value>) -> Result<TapConfig, Failure> {
    let mut settings = Settings::default();
    let config =
        settings.add_json(&Value::Object(values).to_string()).and_then(|()| settings.into_config());
    config.map_err(|error| {
        let mut problems = error.problems.into_iter();
        let (message, hint) =
            problems.next().map(|first| (first.message, first.remedy)).unwrap_or_default();
        problems.fold(Failure::configuration(message).with_hint(hint), |failure, problem| {
            failure.and(problem.message)
        })
    })
}

fn bronto_source(config: TapConfig) -> Result<BrontoSource, Failure> {
    BrontoSource::new(config).map_err(|error| Failure::from(&error))
}
