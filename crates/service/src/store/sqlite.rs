//! A control store in a file: SQLite in WAL mode, for one machine.
//!
//! One connection writes, one transaction after the other; a few others read, and wait for no writer. Each statement runs
//! on a thread that may block. Other processes may have the file open, so a transaction takes the lock for writing at once
//! and waits for it with a deadline.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OpenFlags, params_from_iter, types};
use tokio::{
    sync::{Mutex, OwnedMutexGuard, Semaphore},
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    StoreError,
    database::{Database, Dialect, Row, Transaction, Value},
};

/// How long another process's lock, or another task's transaction, is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// When a lock that SQLite itself does not wait for is asked for again.
const RETRY: Duration = Duration::from_millis(5);

/// A commit that was answered for must outlast a power failure.
const SESSION: &str = "pragma journal_mode = wal;
    pragma synchronous = full;
    pragma foreign_keys = on;";

/// How many reads go on at once.
const READERS: usize = 4;

/// A file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    path: PathBuf,
    connection: Arc<Mutex<Connection>>,
    access: OpenFlags,
    /// Connections for single reads; each is opened when it is first needed.
    readers: Readers,
}

#[derive(Debug)]
struct Readers {
    permits: Semaphore,
    idle: std::sync::Mutex<Vec<Connection>>,
}

impl Sqlite {
    /// Opens a file, or makes it.
    ///
    /// SQLite waits for a lock almost everywhere, but not where several programs give a new file its log at the same time:
    /// all but one are told at once that it is busy. So they ask again.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let path = path.to_path_buf();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let opened = {
                let path = path.clone();
                spawn_blocking(move || connect(&path)).await
            };
            if matches!(&opened, Ok(Err(error)) if is_busy(error)) && Instant::now() < deadline {
                sleep(RETRY).await;
                continue;
            }
            let connection = joined(opened, &place(&path))?;
            return Ok(Self::of(path, connection, OpenFlags::default()));
        }
    }

    /// Opens a file that is there, without changing anything.
    pub(crate) async fn look(path: &Path) -> Result<Self, StoreError> {
        let path = path.to_path_buf();
        let access = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = {
            let path = path.clone();
            spawn_blocking(move || connect_to_read(&path, access)).await
        };
        let connection = joined(opened, &place(&path))?;
        Ok(Self::of(path, connection, access))
    }

    fn of(path: PathBuf, connection: Connection, access: OpenFlags) -> Self {
        let idle = std::sync::Mutex::new(Vec::new());
        let readers = Readers { permits: Semaphore::new(READERS), idle };
        Self { path, connection: Arc::new(Mutex::new(connection)), access, readers }
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    make_private(path);
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.execute_batch(SESSION)?;
    Ok(connection)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Makes a file that is missing so that nobody else can read it: it holds sealed secrets and digests. SQLite gives its
/// other files the same rights, and complains itself where a file can't be made.
fn make_private(path: &Path) {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let _made_or_there_already = options.open(path);
}

fn place(path: &Path) -> String {
    format!("`{}`", path.display())
}

impl Sqlite {
    /// Takes the connection, for a transaction or a statement.
    async fn take(&self) -> Result<SqliteTransaction, StoreError> {
        let waiting = Arc::clone(&self.connection).lock_owned();
        let connection = timeout(PATIENCE, waiting)
            .await
            .map_err(|late| StoreError::Unavailable { place: self.place(), cause: late.into() })?;
        Ok(SqliteTransaction { place: self.place(), connection: Some(Held(connection)) })
    }
}

impl Sqlite {
    /// Reads what was committed last, whoever writes at the moment.
    async fn read(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let late = |cause| StoreError::Unavailable { place: self.place(), cause };
        let waiting = timeout(PATIENCE, self.readers.permits.acquire()).await;
        let _permit =
            waiting.map_err(|error| late(error.into()))?.map_err(|error| late(error.into()))?;
        let idle = self.readers.idle.lock().ok().and_then(|mut idle| idle.pop());
        let (path, access) = (self.path.clone(), self.access);
        let blocking = spawn_blocking(move || {
            let connection = match idle {
                Some(connection) => connection,
                None => connect_to_read(&path, access)?,
            };
            let rows = query(&connection, sql, &values)?;
            Ok((connection, rows))
        });
        let (connection, rows) = joined(blocking.await, &self.place())?;
        if let Ok(mut idle) = self.readers.idle.lock() {
            idle.push(connection);
        }
        Ok(rows)
    }
}

/// Opens one more connection to a file that is there.
fn connect_to_read(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch("pragma query_only = on")?;
    Ok(connection)
}

/// The rows of a statement.
fn query(connection: &Connection, sql: &str, values: &[Value]) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(&numbered(sql))?;
    let width = statement.column_count();
    let mut found = statement.query(params_from_iter(values.iter().map(parameter)))?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let columns = (0..width).map(|position| column(row.get_ref(position)?));
        rows.push(Row::new(columns.collect::<rusqlite::Result<_>>()?));
    }
    Ok(rows)
}

#[async_trait]
impl Database for Sqlite {
    async fn rows(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        // Some statements change rows and return them.
        if sql.starts_with("select ") {
            return self.read(sql, values).await;
        }
        self.take().await?.rows(sql, values).await
    }

    async fn change(&self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        self.take().await?.change(sql, values).await
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        let mut transaction = self.take().await?;
        transaction.script("begin immediate").await?;
        Ok(Box::new(transaction))
    }

    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn place(&self) -> String {
        place(&self.path)
    }
}

/// The connection, which rolls back what is open when it is let go: also by a statement that nobody waits for any more.
struct Held(OwnedMutexGuard<Connection>);

impl Drop for Held {
    fn drop(&mut self) {
        if !self.0.is_autocommit()
            && let Err(error) = self.0.execute_batch("rollback")
        {
            tracing::error!(%error, "A transaction of the control store could not be rolled back");
        }
    }
}

/// A transaction, or a single statement, which has the connection to itself.
struct SqliteTransaction {
    place: String,
    /// None only while a statement has it.
    connection: Option<Held>,
}

impl SqliteTransaction {
    /// Does something with the connection on a thread that may block.
    async fn run<T: Send + 'static>(
        &mut self,
        task: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Some(connection) = self.connection.take() else {
            return Err(StoreError::corrupt("a transaction that was interrupted"));
        };
        let blocking = spawn_blocking(move || {
            let result = task(&connection.0);
            Ok((connection, result))
        });
        let (connection, result) = joined(blocking.await, &self.place)?;
        self.connection = Some(connection);
        result.map_err(|error| failure(error, &self.place))
    }
}

#[async_trait]
impl Transaction for SqliteTransaction {
    async fn rows(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        self.run(move |connection| query(connection, sql, &values)).await
    }

    async fn change(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        self.change_each(sql, vec![values]).await
    }

    async fn change_each(
        &mut self,
        sql: &'static str,
        values: Vec<Vec<Value>>,
    ) -> Result<u64, StoreError> {
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(&numbered(sql))?;
            let mut changed = 0_u64;
            for values in &values {
                let rows = statement.execute(params_from_iter(values.iter().map(parameter)))?;
                changed = changed.saturating_add(u64::try_from(rows).unwrap_or(u64::MAX));
            }
            Ok(changed)
        })
        .await
    }

    async fn script(&mut self, sql: &'static str) -> Result<(), StoreError> {
        self.run(move |connection| connection.execute_batch(sql)).await
    }

    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        self.run(|connection| connection.execute_batch("commit")).await
    }
}

/// `$1` is a name to SQLite, and `?1` a number.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

fn parameter(value: &Value) -> types::Value {
    match value {
        Value::Null => types::Value::Null,
        Value::Integer(number) => types::Value::Integer(*number),
        Value::Text(text) => types::Value::Text(text.clone()),
    }
}

fn column(value: types::ValueRef<'_>) -> rusqlite::Result<Value> {
    match value {
        types::ValueRef::Null => Ok(Value::Null),
        types::ValueRef::Integer(number) => Ok(Value::Integer(number)),
        types::ValueRef::Text(text) => Ok(Value::Text(String::from_utf8_lossy(text).into_owned())),
        types::ValueRef::Real(_) | types::ValueRef::Blob(_) => {
            Err(rusqlite::Error::InvalidColumnType(0, String::new(), value.data_type()))
        }
    }
}

fn joined<T>(
    joined: Result<rusqlite::Result<T>, tokio::task::JoinError>,
    place: &str,
) -> Result<T, StoreError> {
    match joined {
        Ok(result) => result.map_err(|error| failure(error, place)),
        Err(error) => Err(StoreError::Unavailable { place: place.to_owned(), cause: error.into() }),
    }
}

fn failure(error: rusqlite::Error, place: &str) -> StoreError {
    let place = place.to_owned();
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::CannotOpen
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure,
        ) => StoreError::Unavailable { place, cause: error.into() },
        _ => StoreError::Refused { place, cause: error.into() },
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn programs_that_make_the_file_at_once_all_get_it() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("control.db");
            let opened = (0..8).map(|_| {
                let path = path.clone();
                tokio::spawn(async move { Sqlite::open(&path).await })
            });
            for opened in futures::future::join_all(opened).await {
                opened.unwrap().unwrap();
            }
        }
    }

    #[tokio::test]
    async fn reads_wait_for_no_writer_and_see_what_is_committed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&folder.path().join("control.db")).await.unwrap();
        store.change("create table t (n bigint)", Vec::new()).await.unwrap();
        let mut writer = store.begin().await.unwrap();
        writer.change("insert into t values (1)", Vec::new()).await.unwrap();
        let count = || store.rows("select count(*) from t", Vec::new());
        let seen = |mut rows: Vec<Row>| rows.pop().unwrap().integer().unwrap();
        let counts = futures::future::join_all((0..20).map(|_| count())).await;
        assert!(counts.into_iter().all(|rows| seen(rows.unwrap()) == 0));
        writer.commit().await.unwrap();
        assert_eq!(seen(count().await.unwrap()), 1);
        assert!(store.rows("select n from nothing", Vec::new()).await.is_err());
    }

    #[tokio::test]
    async fn commits_are_flushed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&folder.path().join("control.db")).await.unwrap();
        let row = store.rows("pragma synchronous", Vec::new()).await.unwrap().pop();
        assert_eq!(row.unwrap().integer().unwrap(), 2);
    }
}
