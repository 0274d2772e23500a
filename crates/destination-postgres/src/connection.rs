//! Connections: opened with deadlines for everything, owned by whoever uses them, thrown away when in doubt.

use std::{
    future::Future,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::SinkExt;
use replication::destination::{DestinationError, DestinationErrorKind};
use secrecy::ExposeSecret;
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::timeout,
};
use tokio_postgres::{
    Client, Config, NoTls, Row,
    config::SslMode,
    types::{ToSql, Type},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    config::{Host, PostgresConfig},
    failure::{self, Doing, Trouble},
    patience::{Effort, Patience},
    sql,
};

/// How our sessions are called in `pg_stat_activity`.
const APPLICATION_NAME: &str = "backstitch";

/// A parameter of a statement, with its type, so that the statement need not be prepared first.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A text parameter; the value may be optional.
pub(crate) fn text<'a>(value: &'a (dyn ToSql + Sync)) -> Parameter<'a> {
    (value, Type::TEXT)
}

/// A list of texts as a parameter.
pub(crate) fn texts<'a>(values: &'a (dyn ToSql + Sync)) -> Parameter<'a> {
    (values, Type::TEXT_ARRAY)
}

/// A 64-bit integer parameter.
pub(crate) fn bigint(value: &i64) -> Parameter<'_> {
    (value, Type::INT8)
}

/// A boolean parameter.
pub(crate) fn boolean(value: &bool) -> Parameter<'_> {
    (value, Type::BOOL)
}

/// Opens connections to one database.
pub(crate) struct Connector {
    pub(crate) config: PostgresConfig,
    tls: Option<MakeRustlsConnect>,
}

impl Connector {
    pub(crate) fn new(config: PostgresConfig, tls: Option<MakeRustlsConnect>) -> Self {
        Self { config, tls }
    }

    /// Opens a connection and sets it up.
    pub(crate) async fn open(self: &Arc<Self>) -> Result<Connection, DestinationError> {
        let deadlines = self.config.deadlines;
        let opened =
            timeout(deadlines.connect, self.connect()).await.unwrap_or(Err(Trouble::Deadline));
        let (client, task) =
            opened.map_err(|trouble| failure::connecting(trouble, &self.config))?;
        let patience = Patience::new(Arc::clone(self));
        let mut connection = Connection { client, _task: task, patience };
        let doing = Doing::task("set up a session");
        connection.run(&sql::session(&deadlines), &doing).await?;
        if connection.try_run(sql::NOTICE_VANISHED_CLIENT, Effort::Brief).await.is_err() {
            tracing::debug!("The server notices only between statements when a client has gone");
        }
        let backend = connection.query_one(sql::BACKEND, &[], &doing).await?;
        connection.patience.watch(backend.get(0));
        Ok(connection)
    }

    /// Opens a connection as it is.
    pub(crate) async fn connect(&self) -> Result<(Client, AbortOnDropHandle<()>), Trouble> {
        let mut config = client_config(&self.config);
        if let (Some(resolver), Host::Tcp(host)) = (&self.config.resolver, &self.config.host)
            && host.parse::<IpAddr>().is_err()
        {
            let found = resolver.find(host).await.map_err(Trouble::Address)?;
            // Each is tried in turn, under the name of the host that its certificate has.
            for (position, address) in found.into_iter().enumerate() {
                if position > 0 {
                    config.host(host);
                }
                config.hostaddr(address);
            }
        }
        let (client, task) = match &self.tls {
            Some(tls) => {
                let (client, connection) =
                    config.connect(tls.clone()).await.map_err(Trouble::Client)?;
                (client, tokio::spawn(drive(connection)))
            }
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(Trouble::Client)?;
                (client, tokio::spawn(drive(connection)))
            }
        };
        Ok((client, AbortOnDropHandle::new(task)))
    }
}

/// The client library's form of a configuration.
pub(crate) fn client_config(config: &PostgresConfig) -> Config {
    let mut client = Config::new();
    client
        .user(&config.user)
        .dbname(&config.database)
        .port(config.port)
        .application_name(APPLICATION_NAME)
        .connect_timeout(config.deadlines.connect)
        // A server that is gone is noticed within a minute, however long a statement may take.
        .keepalives_idle(Duration::from_secs(30))
        .keepalives_interval(Duration::from_secs(10))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_secs(60))
        .ssl_mode(if config.tls { SslMode::Require } else { SslMode::Disable });
    match &config.host {
        Host::Tcp(host) => client.host(host),
        // A host that starts with a slash is a socket's folder to the client library.
        Host::Unix(folder) => client.host(folder.to_string_lossy()),
    };
    if let Some(password) = &config.password {
        client.password(password.expose_secret());
    }
    client
}

/// Moves bytes until the connection ends. Whoever waits for an answer is told why it ended; this task need not.
async fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        tracing::debug!(is_closed = error.is_closed(), "A connection to PostgreSQL ended");
    }
}

/// A connection. Dropped, it is cut: the server rolls back what is open.
pub(crate) struct Connection {
    client: Client,
    _task: AbortOnDropHandle<()>,
    patience: Patience,
}

impl Connection {
    /// Runs statements that return nothing of interest.
    pub(crate) async fn run(&self, sql: &str, doing: &Doing) -> Result<(), DestinationError> {
        self.try_run(sql, doing.effort).await.map_err(|trouble| trouble.of(doing))
    }

    /// As [`Connection::run`], for those who must know how it failed.
    pub(crate) async fn try_run(&self, sql: &str, effort: Effort) -> Result<(), Trouble> {
        self.bounded(effort, self.client.batch_execute(sql)).await
    }

    /// Runs one statement and returns the number of rows that it wrote.
    pub(crate) async fn execute(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        doing: &Doing,
    ) -> Result<u64, DestinationError> {
        let written = self.client.execute_typed(sql, parameters);
        self.bounded(doing.effort, written).await.map_err(|trouble| trouble.of(doing))
    }

    /// Runs one statement and returns its rows.
    pub(crate) async fn query(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        doing: &Doing,
    ) -> Result<Vec<Row>, DestinationError> {
        let rows = self.client.query_typed(sql, parameters);
        self.bounded(doing.effort, rows).await.map_err(|trouble| trouble.of(doing))
    }

    /// Runs one statement that returns one row.
    pub(crate) async fn query_one(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        doing: &Doing,
    ) -> Result<Row, DestinationError> {
        let rows = self.query(sql, parameters, doing).await?;
        rows.into_iter().next().ok_or_else(|| failure::unexpected(doing))
    }

    /// Sends data for a `copy … from stdin` statement, and returns the number of rows that the server took.
    pub(crate) async fn copy(
        &self,
        sql: &str,
        chunks: impl Iterator<Item = Result<Bytes, DestinationError>> + Send,
        doing: &Doing,
    ) -> Result<u64, DestinationError> {
        let sent = AtomicU64::new(0);
        let copied = self.patience.wait(doing.effort, &sent, async {
            let sink = self.client.copy_in::<_, Bytes>(sql).await;
            let sink = sink.map_err(|error| Trouble::Client(error).of(doing))?;
            let mut sink = std::pin::pin!(sink);
            for chunk in chunks {
                let chunk = chunk?;
                // A refusal shows when the copy is finished; here the connection may only be seen to have ended it.
                if sink.as_mut().feed(chunk).await.is_err() {
                    break;
                }
                sent.fetch_add(1, Relaxed);
            }
            sink.finish().await.map_err(|error| Trouble::Client(error).of(doing))
        });
        copied.await.unwrap_or_else(|| Err(Trouble::Deadline.of(doing)))
    }

    /// Whether the server answers.
    async fn is_alive(&self, deadline: Duration) -> bool {
        matches!(timeout(deadline, self.client.check_connection()).await, Ok(Ok(())))
    }

    async fn bounded<T>(
        &self,
        effort: Effort,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Trouble> {
        match self.patience.wait(effort, &AtomicU64::new(0), answer).await {
            Some(answer) => answer.map_err(Trouble::Client),
            None => Err(Trouble::Deadline),
        }
    }
}

/// Room for one connection that is kept for its next user.
#[derive(Default)]
pub(crate) struct Slot {
    connection: Arc<Mutex<Option<Connection>>>,
}

impl Slot {
    /// Takes the connection, which is opened anew if it is missing or broken. Only one caller has it at a time.
    pub(crate) async fn take(&self, connector: &Arc<Connector>) -> Result<Taken, DestinationError> {
        let lock = connector.config.deadlines.lock;
        let room = timeout(lock, Arc::clone(&self.connection).lock_owned()).await.map_err(|_| {
            DestinationError::new(
                DestinationErrorKind::Busy,
                "Another part of this program has been using the connection to PostgreSQL for too long",
                "Try again; if it lasts, look at the statements that run on the server",
            )
        })?;
        Taken::fill(room, connector).await
    }

    /// As [`Slot::take`], unless somebody has it.
    pub(crate) async fn take_if_free(
        &self,
        connector: &Arc<Connector>,
    ) -> Result<Option<Taken>, DestinationError> {
        let Ok(room) = Arc::clone(&self.connection).try_lock_owned() else { return Ok(None) };
        Taken::fill(room, connector).await.map(Some)
    }

    /// Whether nothing is kept here, and nobody is about to keep anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.connection.try_lock().is_ok_and(|room| room.is_none())
    }
}

/// A connection taken from its [`Slot`]. Dropped, it is cut, and the slot's next user opens another; so nobody ever
/// meets a transaction that a cancelled caller left open.
pub(crate) struct Taken {
    pub(crate) connection: Connection,
    room: OwnedMutexGuard<Option<Connection>>,
}

impl Taken {
    async fn fill(
        mut room: OwnedMutexGuard<Option<Connection>>,
        connector: &Arc<Connector>,
    ) -> Result<Self, DestinationError> {
        let kept = room.take();
        let connection = match kept {
            Some(kept) if kept.is_alive(connector.config.deadlines.connect).await => kept,
            _ => connector.open().await?,
        };
        Ok(Self { connection, room })
    }

    /// Keeps the connection for its next user. Only for connections that are known to be between transactions.
    pub(crate) fn put_back(mut self) {
        *self.room = Some(self.connection);
    }
}
