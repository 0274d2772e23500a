//! The connection check: whether the file can be written, found out without leaving anything behind.

use std::{
    path::Path,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use replication::{
    destination::DestinationError,
    source::{CheckFailure, CheckStep},
};

use crate::{
    config::DuckDbConfig,
    destination::{DuckDb, Handle},
    session::{Session, blocking},
    sql,
};

/// The name of the schema that is created, and rolled back, to see whether that is possible.
const TRIAL: &str = "_sdc_check";

/// Tries the steps in order, up to the first that fails.
pub(crate) async fn check(handle: &Handle) -> Vec<CheckStep> {
    let opened = open(handle).await;
    let failed = opened.is_err();
    let mut steps = vec![step("open the file", opened)];
    if !failed && handle.is_writable() {
        steps.push(step("write to it", write(handle).await));
    }
    steps
}

/// Opens the file; a file that doesn't exist is left to the next step.
async fn open(handle: &Handle) -> Result<String, DestinationError> {
    let file = handle.path().display().to_string();
    if !handle.exists().await {
        return Ok(format!("`{file}` does not exist yet; the first run creates it"));
    }
    handle.look(|session| session.run("select 1", "read from the database")).await?;
    Ok(format!("opened `{file}`"))
}

/// Creates a schema and a table in a transaction that is rolled back; beside the file, if it doesn't exist yet.
async fn write(handle: &Handle) -> Result<String, DestinationError> {
    if handle.exists().await {
        handle.try_out(trial).await?;
        return Ok("created a schema and a table, and rolled back".to_owned());
    }
    static TRIALS: AtomicU32 = AtomicU32::new(0);
    let number = TRIALS.fetch_add(1, Ordering::Relaxed);
    let beside =
        handle.path().with_file_name(format!(".backstitch-check-{}-{number}", process::id()));
    let trial_file = DuckDb::new(DuckDbConfig::new(&beside, TRIAL))?;
    let tried = trial_file.handle().try_out(trial).await;
    trial_file.close().await;
    let removed = blocking(move || Ok(remove(&beside))).await?;
    tried?;
    removed.map_err(|error| {
        DestinationError::new(
            replication::destination::DestinationErrorKind::Refused,
            "The file made to try the folder can't be removed",
            "Remove the file whose name begins with `.backstitch-check`",
        )
        .caused_by(error)
    })?;
    Ok("created a database in its folder, and removed it".to_owned())
}

fn trial(session: &Session) -> Result<(), DestinationError> {
    session.run(&sql::create_schema(&session.place), "create a schema")?;
    session.run(&sql::create_trial_table(&session.place, TRIAL), "create a table")
}

/// Removes the trial file, and the log that DuckDB keeps beside it until the file is closed.
fn remove(path: &Path) -> std::io::Result<()> {
    let log = path
        .with_file_name(format!("{}.wal", path.file_name().unwrap_or_default().to_string_lossy()));
    for path in [path, log.as_path()] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn step(name: &str, result: Result<String, DestinationError>) -> CheckStep {
    let result = result.map_err(|error| CheckFailure {
        retriable: error.kind.is_retriable(),
        message: error.message,
        remedy: error.remedy,
    });
    CheckStep { name: name.to_owned(), result }
}
