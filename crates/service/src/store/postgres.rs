//! A control store in PostgreSQL, which several schedulers and workers may share.
//!
//! A few connections are kept for the next transaction. One that failed, or whose transaction was dropped in the middle,
//! is thrown away: the server rolls back what it left.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::BytesMut;
use futures::future::try_join_all;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_postgres::{
    Client, Config, NoTls, Statement,
    types::{IsNull, ToSql, Type, to_sql_checked},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use super::{
    StoreError,
    database::{Database, Dialect, Row, Transaction, Value},
};

/// How many transactions run at once.
const CONNECTIONS: usize = 8;
/// How long a free connection, or a new one, is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Our own deadline for a statement, behind the server's, which tells more.
const DEADLINE: Duration = Duration::from_secs(45);

const SESSION: &str =
    "set search_path = backstitch; set statement_timeout = '30s'; set lock_timeout = '20s';
    set idle_in_transaction_session_timeout = '60s'; set client_min_messages = warning";

/// A database of a server.
pub(crate) struct Postgres {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    place: String,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Session>>>,
}

/// A connection and the statements that it has prepared.
struct Session {
    client: Client,
    _driver: AbortOnDropHandle<()>,
    statements: HashMap<&'static str, Statement>,
}

impl Postgres {
    /// The database that a configuration names. Without `tls` the connection is plain.
    pub(crate) fn new(config: Config, tls: Option<MakeRustlsConnect>) -> Self {
        let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
        Self {
            place: format!("in the PostgreSQL database `{database}`"),
            config,
            tls,
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
            idle: Arc::new(Mutex::new(Vec::new())),
        }
    }

    /// The same for who only looks: the server refuses whatever would change something.
    pub(crate) fn look(mut config: Config, tls: Option<MakeRustlsConnect>) -> Self {
        let options = config.get_options().unwrap_or_default();
        let options = format!("{options} -c default_transaction_read_only=on");
        config.options(options.trim());
        Self::new(config, tls)
    }

    async fn open(&self) -> Result<Session, tokio_postgres::Error> {
        let (client, driver) = match &self.tls {
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                (client, tokio::spawn(drive(connection)))
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                (client, tokio::spawn(drive(connection)))
            }
        };
        let session =
            Session { client, _driver: AbortOnDropHandle::new(driver), statements: HashMap::new() };
        session.client.batch_execute(SESSION).await?;
        Ok(session)
    }

    fn late(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::Unavailable { place: self.place.clone(), cause: cause.into() }
    }
}

/// Moves bytes until the connection ends. Whoever waits for an answer is told why.
async fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        tracing::debug!(is_closed = error.is_closed(), "A connection to the control store ended");
    }
}

impl Postgres {
    /// Takes a connection, for a transaction or a statement.
    async fn take(&self) -> Result<PostgresTransaction, StoreError> {
        let waiting = timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned()).await;
        let permit =
            waiting.map_err(|late| self.late(late))?.map_err(|closed| self.late(closed))?;
        let kept = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        let session = match kept.filter(|session| !session.client.is_closed()) {
            Some(session) => session,
            None => {
                let opened =
                    timeout(PATIENCE, self.open()).await.map_err(|late| self.late(late))?;
                opened.map_err(|error| failure(error, &self.place))?
            }
        };
        let (place, idle) = (self.place.clone(), Arc::clone(&self.idle));
        Ok(PostgresTransaction { place, session, idle, _permit: permit })
    }
}

#[async_trait]
impl Database for Postgres {
    async fn rows(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let mut taken = self.take().await?;
        let rows = taken.rows(sql, values).await?;
        taken.give_back();
        Ok(rows)
    }

    async fn change(&self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        let mut taken = self.take().await?;
        let changed = taken.change(sql, values).await?;
        taken.give_back();
        Ok(changed)
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        let mut transaction = self.take().await?;
        transaction.script("begin").await?;
        Ok(Box::new(transaction))
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}

/// A transaction, or a single statement, which has a connection to itself.
struct PostgresTransaction {
    place: String,
    session: Session,
    idle: Arc<Mutex<Vec<Session>>>,
    _permit: OwnedSemaphorePermit,
}

impl PostgresTransaction {
    async fn prepared(&mut self, sql: &'static str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.session.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = bounded(self.session.client.prepare(sql), &self.place).await?;
        self.session.statements.insert(sql, statement.clone());
        Ok(statement)
    }
}

impl PostgresTransaction {
    /// Keeps the connection for the next, with no transaction open.
    fn give_back(self) {
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(self.session);
        }
    }
}

/// An answer of the server, waited for with a deadline.
async fn bounded<T>(
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    place: &str,
) -> Result<T, StoreError> {
    match timeout(DEADLINE, answer).await {
        Ok(answer) => answer.map_err(|error| failure(error, place)),
        Err(late) => Err(StoreError::Unavailable { place: place.to_owned(), cause: late.into() }),
    }
}

#[async_trait]
impl Transaction for PostgresTransaction {
    async fn rows(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let statement = self.prepared(sql).await?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        let rows = bounded(self.session.client.query(&statement, &values), &self.place).await?;
        rows.iter().map(columns).collect()
    }

    async fn change(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        let statement = self.prepared(sql).await?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        bounded(self.session.client.execute(&statement, &values), &self.place).await
    }

    async fn change_each(
        &mut self,
        sql: &'static str,
        values: Vec<Vec<Value>>,
    ) -> Result<u64, StoreError> {
        let statement = self.prepared(sql).await?;
        let client = &self.session.client;
        // All are sent before the first is answered.
        let changes = values.iter().map(|values| {
            let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
            client.execute_raw(&statement, values)
        });
        let changed = bounded(try_join_all(changes), &self.place).await?;
        Ok(changed.into_iter().sum())
    }

    async fn script(&mut self, sql: &'static str) -> Result<(), StoreError> {
        bounded(self.session.client.batch_execute(sql), &self.place).await
    }

    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        self.script("commit").await?;
        self.give_back();
        Ok(())
    }
}

fn columns(row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    let unreadable = |_| StoreError::corrupt("a column of an unknown type");
    let column = |(position, column): (usize, &tokio_postgres::Column)| {
        Ok(if *column.type_() == Type::INT8 {
            row.try_get::<_, Option<i64>>(position).map_err(unreadable)?.into()
        } else {
            row.try_get::<_, Option<String>>(position).map_err(unreadable)?.into()
        })
    };
    Ok(Row::new(row.columns().iter().enumerate().map(column).collect::<Result<_, StoreError>>()?))
}

impl ToSql for Value {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) => number.to_sql_checked(kind, out),
            Self::Text(text) => text.to_sql_checked(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn failure(error: tokio_postgres::Error, place: &str) -> StoreError {
    let place = place.to_owned();
    // Classes of the SQL standard: connection, resources, intervention, system, and transactions to be repeated.
    let passes = error.code().is_none_or(|state| {
        ["08", "53", "55", "57", "58", "40"].iter().any(|class| state.code().starts_with(class))
    });
    if passes {
        StoreError::Unavailable { place, cause: error.into() }
    } else {
        StoreError::Refused { place, cause: error.into() }
    }
}
