//! What the store needs of a database: transactions of plain statements.
//!
//! SQLite and PostgreSQL understand the same statements as long as these hold nothing but texts and 64-bit integers, so
//! all that the store does is written once, over these two traits. Instants are milliseconds since 1970, truths 0 and 1,
//! and structures JSON. The few statements that differ are in [`Dialect`].

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::StoreError;

/// A parameter or a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Text(String),
}

/// Which database it is, where it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// A database that holds a control store.
#[async_trait]
pub(crate) trait Database: Send + Sync {
    /// The rows of one statement by itself.
    async fn rows(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError>;

    /// Runs one statement by itself, and says how many rows it changed.
    async fn change(&self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError>;

    /// Begins a transaction. It is rolled back unless it is committed.
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError>;

    fn dialect(&self) -> Dialect;

    /// The store's name for messages, without anything secret.
    fn place(&self) -> String;
}

/// A transaction. Dropped, it is rolled back, which may cost the connection: one that changed nothing is committed.
#[async_trait]
pub(crate) trait Transaction: Send {
    /// The rows of a statement, whose parameters are `$1`, `$2` and so on.
    async fn rows(&mut self, sql: &'static str, values: Vec<Value>)
    -> Result<Vec<Row>, StoreError>;

    /// Runs a statement, and says how many rows it changed.
    async fn change(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError>;

    /// Runs a statement once for each of these, without a pause between any two, and says how many rows they changed.
    async fn change_each(
        &mut self,
        sql: &'static str,
        values: Vec<Vec<Value>>,
    ) -> Result<u64, StoreError>;

    /// Runs statements without parameters.
    async fn script(&mut self, sql: &'static str) -> Result<(), StoreError>;

    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// A row, whose columns are taken in the order of the statement.
#[derive(Debug)]
pub(crate) struct Row {
    columns: std::vec::IntoIter<Value>,
}

impl Row {
    pub(crate) fn new(columns: Vec<Value>) -> Self {
        Self { columns: columns.into_iter() }
    }

    fn next(&mut self) -> Value {
        self.columns.next().unwrap_or(Value::Null)
    }

    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        self.optional_text()?.ok_or_else(|| StoreError::corrupt("a text that is missing"))
    }

    pub(crate) fn optional_text(&mut self) -> Result<Option<String>, StoreError> {
        match self.next() {
            Value::Text(text) => Ok(Some(text)),
            Value::Null => Ok(None),
            Value::Integer(_) => Err(StoreError::corrupt("a number in the place of a text")),
        }
    }

    pub(crate) fn integer(&mut self) -> Result<i64, StoreError> {
        self.optional_integer()?.ok_or_else(|| StoreError::corrupt("a number that is missing"))
    }

    pub(crate) fn optional_integer(&mut self) -> Result<Option<i64>, StoreError> {
        match self.next() {
            Value::Integer(number) => Ok(Some(number)),
            Value::Null => Ok(None),
            Value::Text(_) => Err(StoreError::corrupt("a text in the place of a number")),
        }
    }

    pub(crate) fn count(&mut self) -> Result<u64, StoreError> {
        u64::try_from(self.integer()?).map_err(|_| StoreError::corrupt("a negative count"))
    }

    pub(crate) fn instant(&mut self) -> Result<DateTime<Utc>, StoreError> {
        self.optional_instant()?.ok_or_else(|| StoreError::corrupt("an instant that is missing"))
    }

    pub(crate) fn optional_instant(&mut self) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.optional_integer()?
            .map(|milliseconds| {
                DateTime::from_timestamp_millis(milliseconds)
                    .ok_or_else(|| StoreError::corrupt("an instant beyond the calendar"))
            })
            .transpose()
    }

    /// A name of a closed set.
    pub(crate) fn named<T>(&mut self, read: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
        let text = self.text()?;
        read(&text).ok_or_else(|| StoreError::corrupt(format!("the unknown name `{text}`")))
    }

    /// A structure.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, StoreError> {
        serde_json::from_str(&self.text()?)
            .map_err(|error| StoreError::corrupt(format!("JSON ({error})")))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

impl From<String> for Value {
    /// PostgreSQL's texts hold no NUL, so it is replaced on its way into any store.
    fn from(text: String) -> Self {
        Self::Text(if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text })
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(i64::from(number))
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Integer(i64::from(truth))
    }
}

impl From<u64> for Value {
    /// Counts are far below the limit, which they meet rather than wrap at.
    fn from(count: u64) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl From<DateTime<Utc>> for Value {
    fn from(instant: DateTime<Utc>) -> Self {
        Self::Integer(instant.timestamp_millis())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The parameters of a statement, each made into a [`Value`].
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::database::Value::from($value)),*] };
}
pub(crate) use values;
