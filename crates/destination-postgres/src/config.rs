//! Where the database is and who signs in: the address, which never holds the password.

use std::{
    fmt, future::Future, io, net::IpAddr, path::PathBuf, pin::Pin, sync::Arc, time::Duration,
};

use replication::{
    destination::{DestinationError, DestinationErrorKind},
    placement::Nesting,
};
use secrecy::SecretString;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{connection, password, tls};

/// What a URL for PostgreSQL looks like; part of every remedy about one.
const FORM: &str = "Write it as `postgres://USER@HOST:PORT/DATABASE`, without a password";
/// How the password is given instead; part of every remedy about one.
pub(crate) const PASSWORD_REMEDY: &str = "Give the password outside the address: in the environment variable \
     `PGPASSWORD`, as `env:NAME` or `@file` in the configuration, or in the file that `PGPASSFILE` names";
/// What to do about a password that was given and is wrong.
pub(crate) const WRONG_PASSWORD_REMEDY: &str = "Look whether the password is right; it is taken \
     from the configuration, else from `PGPASSWORD`, else from the file that `PGPASSFILE` names";
/// The longest identifier that PostgreSQL keeps whole, in bytes.
pub(crate) const IDENTIFIER_BYTES: usize = 63;

/// Where to find a database, and one schema in it.
///
/// TLS is used, and the server's certificate verified, unless the host is a Unix socket or a loopback address; there
/// `sslmode=require` asks for it. `sslrootcert` names a file with the certificates to trust in place of the system's.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    pub(crate) user: String,
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) database: String,
    pub(crate) schema: String,
    pub(crate) tls: bool,
    pub(crate) root_certificates: Option<PathBuf>,
    pub(crate) password: Option<SecretString>,
    pub(crate) deadlines: Deadlines,
    pub(crate) resolver: Option<Resolver>,
    pub(crate) nesting: Nesting,
}

/// Addresses that are being looked up.
type Found = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Finds the addresses of the host, each time a connection is made: whoever may not connect anywhere judges there the very
/// addresses that are connected to.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Fn(String) -> Found + Send + Sync>);

impl Resolver {
    /// One that asks `find` for the addresses of a name.
    pub fn new(find: impl Fn(String) -> Found + Send + Sync + 'static) -> Self {
        Self(Arc::new(find))
    }

    pub(crate) async fn find(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = (self.0)(host.to_owned()).await?;
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "The host has no address"));
        }
        Ok(found)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Resolver").finish_non_exhaustive()
    }
}

/// A host as the address names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// A name or an IP address.
    Tcp(String),
    /// The folder of a Unix socket.
    Unix(PathBuf),
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    /// For a connection, including signing in.
    pub(crate) connect: Duration,
    /// For a statement that takes the same short time however many rows there are, beside the wait for locks. So often the
    /// server is asked whether it is at work on one that takes longer.
    pub(crate) answer: Duration,
    /// For one statement.
    pub(crate) statement: Duration,
    /// For a lock that somebody else holds.
    pub(crate) lock: Duration,
    /// After which the server ends a transaction of ours in which nothing happens, so that a paused run doesn't keep
    /// its locks. Shorter than the wait for a lock, so that the run that takes over gets them.
    pub(crate) idle_transaction: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            answer: Duration::from_secs(60),
            statement: Duration::from_secs(1_800),
            lock: Duration::from_secs(120),
            idle_transaction: Duration::from_secs(60),
        }
    }
}

impl PostgresConfig {
    /// Reads an address such as `postgres://loader@db.example.com:5432/warehouse?sslrootcert=/etc/db-ca.pem`, and the
    /// name of the schema to write. Parts are percent-encoded where they hold reserved characters; a host that starts
    /// with `%2F` is the folder of a Unix socket. Parameters: `sslmode`, `sslrootcert`, `connect_timeout` (seconds).
    ///
    /// # Errors
    /// When the address can't be read, or holds a password. The message never repeats the address.
    pub fn parse(url: &str, schema: &str) -> Result<Self, DestinationError> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or_else(|| {
                malformed("The address of a PostgreSQL database starts with `postgres://`")
            })?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        if user.contains(':') {
            return Err(password_inside());
        }
        let (host, port) = split_port(place)?;
        let host = decode(host)?;
        let host = if host.starts_with('/') { Host::Unix(host.into()) } else { Host::Tcp(host) };
        let mut config = Self {
            user: decode(user)?,
            tls: !host.is_local(),
            host,
            port,
            database: decode(database)?,
            schema: schema.to_owned(),
            root_certificates: None,
            password: None,
            deadlines: Deadlines::default(),
            resolver: None,
            nesting: Nesting::Subtables,
        };
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            config.apply(parameter)?;
        }
        config.validate()?;
        Ok(config)
    }

    /// Signs in with this password.
    #[must_use]
    pub fn with_password(mut self, password: SecretString) -> Self {
        self.password = Some(password);
        self
    }

    /// Signs in with the password that the environment gives: `PGPASSWORD`, else the entry for this server in the file
    /// that `PGPASSFILE` names, else in `~/.pgpass`. If there is none, signs in without a password.
    ///
    /// # Errors
    /// When a password file exists that can't be read or that others can read.
    pub fn password_from_environment(mut self) -> Result<Self, DestinationError> {
        if let Some(password) = password::find(&self, |name| std::env::var_os(name))? {
            self.password = Some(password);
        }
        Ok(self)
    }

    /// Has the host's addresses found by this, in place of the system.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// Keeps arrays there: in subtables, which is the default, or in columns. A schema stays as it was begun.
    #[must_use]
    pub fn with_nesting(mut self, nesting: Nesting) -> Self {
        self.nesting = nesting;
        self
    }

    /// Trusts the certificates in this file, in PEM form, in place of the system's.
    #[must_use]
    pub fn with_root_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.root_certificates = Some(file.into());
        self
    }

    /// How long to wait for a connection; 20 seconds by default.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.deadlines.connect = timeout;
        self
    }

    /// How long one statement may take; 30 minutes by default.
    #[must_use]
    pub fn with_statement_timeout(mut self, timeout: Duration) -> Self {
        self.deadlines.statement = timeout;
        self
    }

    /// How long to wait for an answer that needs no work; one minute by default. So often, too, the server is asked by a
    /// connection of its own whether it is still at work on a statement that takes long; if it three times says nothing,
    /// or says that it isn't, the statement is given up.
    #[must_use]
    pub fn with_answer_timeout(mut self, timeout: Duration) -> Self {
        self.deadlines.answer = timeout;
        self
    }

    /// How long to wait for a lock that somebody else holds; two minutes by default. A transaction of ours in which
    /// nothing happens for half that time is ended by the server.
    #[must_use]
    pub fn with_lock_timeout(mut self, timeout: Duration) -> Self {
        self.deadlines.lock = timeout;
        self.deadlines.idle_transaction = timeout / 2;
        self
    }

    /// What the client library needs to connect to the same database for something else, such as the service's own store.
    ///
    /// # Errors
    /// When the certificates to trust can't be read.
    pub fn client(
        &self,
    ) -> Result<(tokio_postgres::Config, Option<MakeRustlsConnect>), DestinationError> {
        Ok((connection::client_config(self), tls::connector(self)?))
    }

    /// The name or address of the host; none of a Unix socket.
    #[must_use]
    pub fn host_name(&self) -> Option<&str> {
        match &self.host {
            Host::Tcp(host) => Some(host),
            Host::Unix(_) => None,
        }
    }

    /// `host:port`, or the path of the socket's folder.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.host {
            Host::Tcp(host) if host.contains(':') => format!("[{host}]:{}", self.port),
            Host::Tcp(host) => format!("{host}:{}", self.port),
            Host::Unix(folder) => format!("{}:{}", folder.display(), self.port),
        }
    }

    fn apply(&mut self, parameter: &str) -> Result<(), DestinationError> {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        match name.as_str() {
            "password" => return Err(password_inside()),
            "sslmode" => self.tls = self.tls_by(&value)?,
            "sslrootcert" => self.root_certificates = Some(value.into()),
            "connect_timeout" => {
                let seconds = value.parse().ok().filter(|seconds| *seconds > 0).ok_or_else(|| {
                    malformed("The parameter `connect_timeout` of the address is not a number of seconds")
                })?;
                self.deadlines.connect = Duration::from_secs(seconds);
            }
            // A misplaced `?` may make a parameter of a password's end, which must not be repeated.
            _ if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') => {
                return Err(malformed("The address has a malformed parameter"));
            }
            _ => {
                return Err(DestinationError::new(
                    DestinationErrorKind::Configuration,
                    format!("The address has an unknown parameter `{name}`"),
                    "Known are `sslmode`, `sslrootcert` and `connect_timeout`",
                ));
            }
        }
        Ok(())
    }

    /// Whether to use TLS by a mode in PostgreSQL's terms. TLS without verification protects against nobody who can
    /// change what passes, so the modes without it mean verified TLS here, or none where the traffic stays on the
    /// machine.
    fn tls_by(&self, mode: &str) -> Result<bool, DestinationError> {
        match mode {
            "disable" if !self.host.is_local() => Err(DestinationError::new(
                DestinationErrorKind::Configuration,
                format!(
                    "`sslmode=disable` would send rows and password unprotected to `{}`",
                    self.place()
                ),
                "Remove it; a server with a certificate of its own can be trusted by `sslrootcert=FILE`",
            )),
            "disable" => Ok(false),
            "allow" | "prefer" => Ok(!self.host.is_local()),
            "require" | "verify-ca" | "verify-full" if matches!(self.host, Host::Unix(_)) => {
                Ok(false)
            }
            "require" | "verify-ca" | "verify-full" => Ok(true),
            _ => Err(DestinationError::new(
                DestinationErrorKind::Configuration,
                format!("The address has an unknown `sslmode` `{mode}`"),
                "Known are `disable` (for this machine only), `prefer`, `require`, `verify-ca` and `verify-full`",
            )),
        }
    }

    fn validate(&self) -> Result<(), DestinationError> {
        let missing = [
            ("user", self.user.is_empty()),
            ("host", self.host == Host::Tcp(String::new())),
            ("database", self.database.is_empty()),
        ];
        if let Some((part, _)) = missing.iter().find(|(_, missing)| *missing) {
            return Err(malformed(&format!(
                "The address of the PostgreSQL database names no {part}"
            )));
        }
        let parts = [&self.user, &self.database, &self.schema];
        if self.place().contains(',') || parts.iter().any(|part| part.contains('\0')) {
            return Err(malformed(
                "The address must name one host, and no part may hold a NUL character",
            ));
        }
        let reserved = self.schema.starts_with("pg_") || self.schema == "information_schema";
        if self.schema.is_empty() || reserved || self.schema.len() > IDENTIFIER_BYTES {
            return Err(DestinationError::new(
                DestinationErrorKind::Configuration,
                format!("`{}` can't be the name of a schema in PostgreSQL", self.schema),
                format!(
                    "Choose a name of at most {IDENTIFIER_BYTES} bytes that does not start with `pg_`"
                ),
            ));
        }
        Ok(())
    }
}

impl Host {
    /// Whether traffic to it stays on this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(host) => {
                host.eq_ignore_ascii_case("localhost")
                    || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

/// Splits `host:port`, `[v6]:port` or either without the port, which then is 5432.
fn split_port(place: &str) -> Result<(&str, u16), DestinationError> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').unwrap_or(rest)),
        None => place.rsplit_once(':').unwrap_or((place, "")),
    };
    if port.is_empty() {
        return Ok((host, 5432));
    }
    let port = port.parse().ok().filter(|port| *port != 0);
    port.map(|port| (host, port)).ok_or_else(|| malformed("The port in the address is not a port"))
}

fn decode(text: &str) -> Result<String, DestinationError> {
    let broken = || malformed("The address holds a broken percent-encoding");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else { return Err(broken()) };
        let digit =
            |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (Some(high), Some(low)) = (digit(high), digit(low)) else { return Err(broken()) };
        bytes.push(high << 4 | low);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| broken())
}

fn malformed(message: &str) -> DestinationError {
    DestinationError::new(DestinationErrorKind::Configuration, message, FORM)
}

fn password_inside() -> DestinationError {
    DestinationError::new(
        DestinationErrorKind::Configuration,
        "The address of the PostgreSQL database holds a password",
        PASSWORD_REMEDY,
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed parse should stop the test")]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<PostgresConfig, DestinationError> {
        PostgresConfig::parse(url, "stitch_bronto")
    }

    fn refusal(url: &str) -> String {
        let error = parse(url).unwrap_err();
        assert_eq!(error.kind, DestinationErrorKind::Configuration);
        format!("{error}. {}", error.remedy)
    }

    #[test]
    fn an_address_has_all_its_parts() {
        let config =
            parse("postgresql://load%40er@db.example.com:6543/ware%20house?sslmode=verify-full")
                .unwrap();
        assert_eq!(config.user, "load@er");
        assert_eq!(config.host, Host::Tcp("db.example.com".to_owned()));
        assert_eq!((config.port, config.database.as_str(), config.tls), (6543, "ware house", true));
        assert_eq!(parse("postgres://u@[::1]/d").unwrap().place(), "[::1]:5432");
        let socket = parse("postgres://u@%2Frun%2Fpostgresql/d").unwrap();
        assert_eq!((socket.host, socket.tls), (Host::Unix("/run/postgresql".into()), false));
    }

    #[test]
    fn traffic_that_leaves_the_machine_is_protected() {
        for url in [
            "postgres://u@h/d",
            "postgres://u@h/d?sslmode=prefer",
            "postgres://u@10.0.0.1/d?sslmode=allow",
        ] {
            assert!(parse(url).unwrap().tls, "{url}");
        }
        for url in [
            "postgres://u@127.0.0.1/d",
            "postgres://u@LOCALHOST/d?sslmode=prefer",
            "postgres://u@[::1]/d",
        ] {
            assert!(!parse(url).unwrap().tls, "{url}");
        }
        assert!(parse("postgres://u@localhost/d?sslmode=require").unwrap().tls);
        insta::assert_snapshot!(
            refusal("postgres://u@db.example.com/d?sslmode=disable"),
            @"`sslmode=disable` would send rows and password unprotected to `db.example.com:5432`. Remove it; a server with a certificate of its own can be trusted by `sslrootcert=FILE`"
        );
    }

    #[test]
    fn a_password_in_the_address_is_refused_and_not_repeated() {
        for url in
            ["postgres://u:hunter2@h/d", "postgres://u:@h/d", "postgres://u@h/d?password=hunter2"]
        {
            let refusal = refusal(url);
            assert!(
                refusal.starts_with("The address of the PostgreSQL database holds a password. "),
                "{refusal}"
            );
            assert!(refusal.contains("PGPASSWORD") && !refusal.contains("hunter2"), "{refusal}");
        }
        // Not a password to us, but surely one to whoever wrote it.
        assert!(!refusal("postgres://u@h/d?passwort=hunter2").contains("hunter2"));
        assert!(!refusal("mysql://u:hunter2@h/d").contains("hunter2"));
        assert!(!refusal("postgres://u@h:hunter2/d").contains("hunter2"));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (url, part) in [
            ("postgres://h/d", "user"),
            ("postgres://u@/d", "host"),
            ("postgres://u@h", "database"),
        ] {
            assert!(refusal(url).contains(&format!("names no {part}")), "{}", refusal(url));
        }
        for url in [
            "postgres://u@h:0/d",
            "postgres://u@a,b/d",
            "postgres://u@h/%4",
            "postgres://u@h/%ff",
            "u@h/d",
        ] {
            parse(url).unwrap_err();
        }
        for schema in ["", "pg_catalog", "information_schema", &"s".repeat(64)] {
            PostgresConfig::parse("postgres://u@h/d", schema).unwrap_err();
        }
    }
}
