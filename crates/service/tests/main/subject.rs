//! Stores to be tested: a file in a temporary folder, or a database of a server that the test started. Each has two
//! handles, as two processes would.

use postgres_cluster::Cluster;
use rusqlite::Connection;
use service::{Store, StoreError, store::MigrationDue};
use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};

use crate::at;

/// A store, and another handle to the same.
pub(crate) struct Subject {
    pub(crate) store: Store,
    pub(crate) other: Store,
    backing: Backing,
}

enum Backing {
    File(TempDir),
    Server { cluster: Cluster, database: String },
}

impl Subject {
    pub(crate) async fn sqlite() -> Self {
        Self::open(Backing::File(tempfile::tempdir().unwrap())).await
    }

    pub(crate) async fn postgres(cluster: Cluster, database: &str) -> Self {
        cluster.query(&format!("create database {database}")).unwrap();
        Self::open(Backing::Server { cluster, database: database.to_owned() }).await
    }

    async fn open(backing: Backing) -> Self {
        let (store, other) = tokio::join!(backing.open(), backing.open());
        Self { store: store.unwrap(), other: other.unwrap(), backing }
    }

    /// One more handle.
    pub(crate) async fn reopen(&self) -> Result<Store, StoreError> {
        self.backing.open().await
    }

    /// One more handle that only looks.
    pub(crate) async fn look(&self) -> Result<(Store, Option<MigrationDue>), StoreError> {
        match &self.backing {
            Backing::File(folder) => Store::look_at_sqlite(&folder.path().join("control.db")).await,
            Backing::Server { cluster, database } => {
                Store::look_at_postgres(config(cluster, database), None).await
            }
        }
    }

    /// A session of the test's own; of PostgreSQL alone.
    pub(crate) async fn session(&self) -> Client {
        let Backing::Server { cluster, database } = &self.backing else {
            panic!("SQLite has one writer");
        };
        let (client, connection) = config(cluster, database).connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("set search_path = backstitch").await.unwrap();
        client
    }

    /// Runs a statement behind the store's back, and answers its first column, one line a row.
    pub(crate) async fn query(&self, sql: &str) -> String {
        let rows: Vec<String> = match &self.backing {
            Backing::File(folder) => {
                let connection = Connection::open(folder.path().join("control.db")).unwrap();
                let mut statement = connection.prepare(sql).unwrap();
                let rows = statement.query_map((), |row| row.get(0)).unwrap();
                rows.map(Result::unwrap).collect()
            }
            Backing::Server { .. } => {
                let rows = self.session().await.query(sql, &[]).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
        };
        rows.join("\n")
    }

    /// The server, to be used again.
    pub(crate) fn into_cluster(self) -> Option<Cluster> {
        match self.backing {
            Backing::Server { cluster, .. } => Some(cluster),
            Backing::File(_) => None,
        }
    }
}

impl Backing {
    async fn open(&self) -> Result<Store, StoreError> {
        let now = at("2026-01-01 00:00");
        match self {
            Self::File(folder) => Store::sqlite(&folder.path().join("control.db"), now).await,
            Self::Server { cluster, database } => {
                Store::postgres(config(cluster, database), None, now).await
            }
        }
    }
}

fn config(cluster: &Cluster, database: &str) -> Config {
    let mut config: Config = cluster.url().parse().unwrap();
    config.dbname(database).password(cluster.password());
    config
}
