//! The control store: what the service remembers. Integrations, runs, slots, logs, loads, usage, users and tokens.
//!
//! It decides who runs, never what is true: bookmarks, rows and the right to write are the destination's. It is a file
//! (SQLite) or a PostgreSQL database; all operations are written once and behave alike on both, which one suite of tests
//! shows.
//!
//! Every operation is one transaction. Where several schedulers or workers meet, the winner is who changes a row that
//! still is as it was read: an integration's `decided_until`, a run's state, or its claim.

mod accounts;
pub(crate) mod database;
mod error;
mod idempotency;
mod integrations;
mod loads;
mod logs;
mod migrations;
mod postgres;
mod reports;
mod retention;
mod runs;
mod secrets;
mod sessions;
mod slots;
mod sqlite;

use std::{fmt, path::Path};

use chrono::{DateTime, Utc};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::database::{Database, Row, Transaction};
pub use self::{
    accounts::{ApiToken, NewToken, Role, Scope, User, UserRecord},
    error::StoreError,
    idempotency::{Admission, Reply},
    integrations::NewSecrets,
    loads::{Load, LoadCounts, Usage, UsageChoice, UsagePlace, UsageTotal},
    logs::{FoundLines, LogLevel, LogLimits, LogLine, NewLogLine},
    migrations::MigrationDue,
    reports::{Period, SchemaChange, SchemaEvent, TableReport},
    retention::Pruned,
    runs::{Figures, RunCursor},
    secrets::SealedSecret,
    sessions::SessionLimits,
    slots::Start,
};

/// The control store.
pub struct Store {
    database: Box<dyn Database>,
}

impl Store {
    /// Opens a file, makes it if it is missing, and brings its tables up to date.
    ///
    /// # Errors
    /// When the file can't be opened, or a later program made it.
    pub async fn sqlite(path: &Path, now: DateTime<Utc>) -> Result<Self, StoreError> {
        Self::open(Box::new(sqlite::Sqlite::open(path).await?), now).await
    }

    /// Opens a PostgreSQL database, in which the schema `backstitch` is made, and brings its tables up to date.
    ///
    /// # Errors
    /// When the database can't be reached, or a later program made its tables.
    pub async fn postgres(
        config: tokio_postgres::Config,
        tls: Option<MakeRustlsConnect>,
        now: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        Self::open(Box::new(postgres::Postgres::new(config, tls)), now).await
    }

    /// Opens a file that is there to look at it: nothing in it is changed, and whoever changes it is not held up. Answers
    /// also whether its tables are older than this program's; then much can't be read.
    ///
    /// # Errors
    /// When the file can't be opened, is no control store, or a later program made it.
    pub async fn look_at_sqlite(path: &Path) -> Result<(Self, Option<MigrationDue>), StoreError> {
        Self::looking(Box::new(sqlite::Sqlite::look(path).await?)).await
    }

    /// Opens a PostgreSQL database to look at it, as [`Store::look_at_sqlite`] does.
    ///
    /// # Errors
    /// When the database can't be reached, or a later program made its tables.
    pub async fn look_at_postgres(
        config: tokio_postgres::Config,
        tls: Option<MakeRustlsConnect>,
    ) -> Result<(Self, Option<MigrationDue>), StoreError> {
        Self::looking(Box::new(postgres::Postgres::look(config, tls))).await
    }

    async fn looking(
        database: Box<dyn Database>,
    ) -> Result<(Self, Option<MigrationDue>), StoreError> {
        let due = migrations::due(database.as_ref()).await?;
        Ok((Self { database }, due))
    }

    async fn open(database: Box<dyn Database>, now: DateTime<Utc>) -> Result<Self, StoreError> {
        migrations::apply(database.as_ref(), now.timestamp_millis()).await?;
        Ok(Self { database })
    }

    /// The store's name for messages.
    #[must_use]
    pub fn place(&self) -> String {
        self.database.place()
    }

    /// Asks the store for nothing, to see whether it answers.
    ///
    /// # Errors
    /// When it doesn't.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.database.rows("select max(version) from store_version", Vec::new()).await.map(drop)
    }

    /// The rows of one statement, as what they are read into.
    async fn read<T>(
        &self,
        sql: &'static str,
        values: Vec<database::Value>,
        read: impl Fn(Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.database.rows(sql, values).await?.into_iter().map(read).collect()
    }

    /// Runs one statement, and says how many rows it changed.
    async fn change(
        &self,
        sql: &'static str,
        values: Vec<database::Value>,
    ) -> Result<u64, StoreError> {
        self.database.change(sql, values).await
    }
}

/// The first row of a statement within a transaction, if it has one.
async fn first(
    transaction: &mut dyn Transaction,
    sql: &'static str,
    values: Vec<database::Value>,
) -> Result<Option<Row>, StoreError> {
    Ok(transaction.rows(sql, values).await?.into_iter().next())
}

/// A new id. Later ones are greater.
fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Store").field("place", &self.place()).finish_non_exhaustive()
    }
}
