//! A connection inside an open file, and the blocking threads on which it is used.

use std::path::Path;

use chrono::{DateTime, Utc};
use duckdb::{
    Connection, Row, params_from_iter,
    types::{TimeUnit, Value},
};
use replication::destination::{DestinationError, DestinationErrorKind};
use tokio::{runtime::Handle, sync::OwnedMutexGuard};
use tracing::Span;

use crate::{
    failure,
    file::Pass,
    sql::{self, Place},
};

/// A connection, the schema that it works in, and the place that it takes inside the file. Used on blocking threads only.
/// The fields are dropped in this order: an open transaction is rolled back, then the file may be closed, and only then
/// the next writer gets its turn.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) connection: Connection,
    pub(crate) place: Place,
    pass: Pass,
    _turn: Option<OwnedMutexGuard<()>>,
    path: std::path::PathBuf,
}

impl Session {
    pub(crate) fn new(
        connection: Connection,
        place: Place,
        pass: Pass,
        turn: Option<OwnedMutexGuard<()>>,
        path: &Path,
    ) -> Self {
        Self { connection, place, pass, _turn: turn, path: path.to_owned() }
    }

    /// Runs statements without parameters.
    pub(crate) fn run(&self, sql: &str, doing: &str) -> Result<(), DestinationError> {
        self.connection.execute_batch(sql).map_err(|error| self.failed(doing, error))
    }

    /// Runs a statement and returns how many rows it changed.
    pub(crate) fn execute(
        &self,
        sql: &str,
        parameters: impl IntoIterator<Item = Value>,
        doing: &str,
    ) -> Result<u64, DestinationError> {
        self.connection
            .prepare(sql)
            .and_then(|mut statement| statement.execute(params_from_iter(parameters)))
            .map(|count| count as u64)
            .map_err(|error| self.failed(doing, error))
    }

    /// Runs a query and reads its rows.
    pub(crate) fn rows<T>(
        &self,
        sql: &str,
        parameters: impl IntoIterator<Item = Value>,
        doing: &str,
        read: impl FnMut(&Row<'_>) -> duckdb::Result<T>,
    ) -> Result<Vec<T>, DestinationError> {
        self.connection
            .prepare(sql)
            .and_then(|mut statement| {
                statement.query_map(params_from_iter(parameters), read)?.collect()
            })
            .map_err(|error| self.failed(doing, error))
    }

    /// Runs a query of one row of counts.
    pub(crate) fn counts<const COUNT: usize>(
        &self,
        sql: &str,
        doing: &str,
    ) -> Result<[u64; COUNT], DestinationError> {
        let read = |row: &Row<'_>| {
            let mut counts = [0; COUNT];
            for (position, count) in counts.iter_mut().enumerate() {
                *count = unsigned(row.get(position)?);
            }
            Ok(counts)
        };
        self.connection.query_row(sql, [], read).map_err(|error| self.failed(doing, error))
    }

    /// Whether the schema has this table.
    pub(crate) fn has_table(&self, table: &str) -> Result<bool, DestinationError> {
        let found =
            self.rows(sql::FIND_TABLE, self.place.named(table), "look for a table", |_| Ok(()))?;
        Ok(!found.is_empty())
    }

    /// The number of rows of a table that exists.
    pub(crate) fn count(&self, table: &str) -> Result<u64, DestinationError> {
        let [count] =
            self.counts(&sql::count(&self.place, table), &format!("count the rows of `{table}`"))?;
        Ok(count)
    }

    /// The names of a query's columns and its rows, all of which must be text. The query can't write.
    pub(crate) fn query_text(&self, sql: &str) -> Result<TextTable, DestinationError> {
        self.run(sql::BEGIN_READ_ONLY, "begin a transaction")?;
        let read = || {
            let mut statement = self.connection.prepare(sql)?;
            let mut found = statement.query([])?;
            let names = found.as_ref().map(duckdb::Statement::column_names).unwrap_or_default();
            let mut rows = Vec::new();
            while let Some(row) = found.next()? {
                rows.push(
                    (0..names.len())
                        .map(|position| row.get(position))
                        .collect::<duckdb::Result<_>>()?,
                );
            }
            Ok((names, rows))
        };
        let read = read().map_err(|error| self.failed("answer the query", error));
        self.run(sql::ROLLBACK, "end the query")?;
        read
    }

    /// What an error means; closes the file behind this session if the database is beyond use, and gives it more memory
    /// if that was too little.
    pub(crate) fn failed(&self, doing: &str, error: duckdb::Error) -> DestinationError {
        let text = failure::text(&error);
        if failure::is_fatal(&text) {
            self.pass.condemn();
        }
        if failure::is_out_of_memory(&text) && self.pass.raise_memory() {
            return failure::memory_raised(&self.path, error);
        }
        failure::failed(&self.path, doing, error)
    }

    /// Does work in a transaction of its own, which is rolled back if the work fails.
    pub(crate) fn in_transaction<T>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, DestinationError>,
    ) -> Result<T, DestinationError> {
        self.run(sql::BEGIN, "begin a transaction")?;
        let done = work(self);
        let end = if done.is_ok() {
            self.run(sql::COMMIT, "commit")
        } else {
            self.run(sql::ROLLBACK, "roll back")
        };
        let done = done?;
        end?;
        Ok(done)
    }
}

/// The names of columns, and rows of text.
pub(crate) type TextTable = (Vec<String>, Vec<Vec<Option<String>>>);

/// Runs blocking work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DestinationError> + Send + 'static,
) -> Result<T, DestinationError> {
    let span = Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
        .await
        .unwrap_or_else(|error| Err(defect("A task that used DuckDB did not end").caused_by(error)))
}

/// Drops what may block when it is dropped (a roll-back, a closing checkpoint) where that does no harm.
pub(crate) fn dispose(value: impl Send + 'static) {
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(value))),
        Err(_) => drop(value),
    }
}

/// A defect of this program.
pub(crate) fn defect(message: impl Into<String>) -> DestinationError {
    DestinationError::new(DestinationErrorKind::Bug, message, "Report this defect")
}

/// A text parameter.
pub(crate) fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

/// An optional text parameter.
pub(crate) fn optional_text(value: Option<&String>) -> Value {
    value.map_or(Value::Null, |value| Value::Text(value.clone()))
}

/// An instant as a parameter; DuckDB casts it in the session's time zone, which is UTC.
pub(crate) fn instant(value: DateTime<Utc>) -> Value {
    Value::Timestamp(TimeUnit::Microsecond, value.timestamp_micros())
}

/// A count as a parameter.
pub(crate) fn count(value: u64) -> Value {
    Value::BigInt(i64::try_from(value).unwrap_or(i64::MAX))
}

/// An instant from a column read with `epoch_us`.
pub(crate) fn read_instant(
    row: &Row<'_>,
    position: usize,
) -> duckdb::Result<Option<DateTime<Utc>>> {
    Ok(row.get::<_, Option<i64>>(position)?.and_then(DateTime::from_timestamp_micros))
}

/// A count from a column that may be null.
pub(crate) fn read_count(row: &Row<'_>, position: usize) -> duckdb::Result<u64> {
    Ok(row.get::<_, Option<i64>>(position)?.map_or(0, unsigned))
}

/// A count as DuckDB gives it; counts are never negative.
fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
