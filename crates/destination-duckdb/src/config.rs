//! What a DuckDB destination can be told.

use std::{path::PathBuf, time::Duration};

use replication::destination::{DestinationError, DestinationErrorKind};

/// How much memory DuckDB may use at first unless it is told otherwise: enough for a unit of most tables and what is not
/// yet checkpointed; more makes loading no faster.
pub const DEFAULT_MEMORY_LIMIT: &str = "128MB";

/// Which file and schema to write, and how to share the file with others.
#[derive(Debug, Clone)]
pub struct DuckDbConfig {
    /// The database file. It is created if it is missing; its folder is not.
    pub path: PathBuf,
    /// The schema that holds the integration's tables. Created if it is missing.
    pub schema: String,
    /// How much memory DuckDB may use, in its own notation, for example `1GB`. If it is none: [`DEFAULT_MEMORY_LIMIT`],
    /// and when that turns out to be too little, as much as DuckDB itself would take (80 % of the machine). The process
    /// needs about 128 MiB beside it. All users of one file in a process share the settings of whoever opens it.
    pub memory_limit: Option<String>,
    /// How many threads DuckDB may use; all cores if it is none. One costs the least processor time in sum: the others
    /// mostly wait for it, and wait busily.
    pub threads: Option<usize>,
    /// How long to wait for a file that another process has locked.
    pub lock_wait: Duration,
    /// How long to hold the file. After that it is closed between two units, and opened again when it is needed, so that
    /// other programs get a turn. Each closing writes a checkpoint, so short times cost processor time.
    pub release_after: Duration,
}

impl DuckDbConfig {
    /// A file and a schema, everything else by default: one thread, a minute's wait for a locked file, a minute of
    /// holding it.
    pub fn new(path: impl Into<PathBuf>, schema: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            schema: schema.into(),
            memory_limit: None,
            threads: Some(1),
            lock_wait: Duration::from_secs(60),
            release_after: Duration::from_secs(60),
        }
    }

    /// Refuses what can't work whatever the machine looks like.
    pub(crate) fn validate(&self) -> Result<(), DestinationError> {
        let wrong = |message: String, remedy: &str| {
            Err(DestinationError::new(DestinationErrorKind::Configuration, message, remedy))
        };
        let file = self.path.display();
        if self.path.file_name().is_none() || self.path.as_os_str() == ":memory:" {
            return wrong(
                format!("`{file}` does not name a DuckDB file"),
                "Give the path of a file, for example `duckdb:warehouse.duckdb`",
            );
        }
        if self.schema.is_empty() || self.schema.contains('\0') {
            return wrong(
                format!("`{}` can't be the name of a schema", self.schema.escape_default()),
                "Name a schema, for example `stitch_bronto`",
            );
        }
        if self.threads == Some(0) {
            return wrong(
                "DuckDB can't run on 0 threads".to_owned(),
                "Leave `threads` out, or give at least 1",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_work() {
        let refused = |config: DuckDbConfig| config.validate().err().map(|error| error.message);
        assert_eq!(refused(DuckDbConfig::new("a.duckdb", "s")), None);
        assert_eq!(
            refused(DuckDbConfig::new(":memory:", "s")).as_deref(),
            Some("`:memory:` does not name a DuckDB file")
        );
        assert_eq!(
            refused(DuckDbConfig::new("..", "s")).as_deref(),
            Some("`..` does not name a DuckDB file")
        );
        assert_eq!(
            refused(DuckDbConfig::new("a", "")).as_deref(),
            Some("`` can't be the name of a schema")
        );
        let no_threads = DuckDbConfig { threads: Some(0), ..DuckDbConfig::new("a", "s") };
        assert_eq!(refused(no_threads).as_deref(), Some("DuckDB can't run on 0 threads"));
    }
}
