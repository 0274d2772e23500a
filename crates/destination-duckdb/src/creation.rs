//! Making a new file: whole, or not at all.
//!
//! DuckDB writes the header of a new file in place. A process that is killed while it does so would leave a file that is
//! no database, which no later run could open. So the database is made under another name, and gets its own when it is
//! complete.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
    process,
};

use duckdb::{Config, Connection};
use replication::destination::{DestinationError, DestinationErrorKind};

use crate::failure;

/// What the name of a database that is not complete ends with.
const SUFFIX: &str = ".new";

/// Makes an empty database at `path`, unless there is one by then.
pub(crate) fn create(
    path: &Path,
    settings: impl FnOnce() -> duckdb::Result<Config>,
) -> Result<(), DestinationError> {
    let draft = draft(path, process::id());
    discard(&draft);
    discard_those_of_the_dead(path);
    let failed = |error| failure::failed(path, "create the database", error);
    let made = settings().and_then(|settings| Connection::open_with_flags(&draft, settings));
    let connection = made.map_err(failed)?;
    // Open, and thereby locked, until it has its name: nobody else writes a log for it meanwhile.
    let named = name(&draft, path);
    if matches!(named, Ok(Named::Ours)) {
        // The log of a file that was here before and is gone. DuckDB would replay it into the new one.
        discard(&log_of(path));
    }
    let closed = connection.close().map_err(|(_, error)| failed(error));
    discard(&draft);
    discard(&log_of(&draft));
    closed?;
    named.map(drop).map_err(|error| {
        DestinationError::new(
            DestinationErrorKind::Refused,
            format!("File `{}` can't be created", path.display()),
            "Give this user the right to write the file's folder",
        )
        .caused_by(error)
    })
}

/// Whose database has the name now.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    Ours,
    Theirs,
}

/// Gives the database its own name, which must not take the place of a file that has come there meanwhile.
fn name(draft: &Path, path: &Path) -> io::Result<Named> {
    match fs::hard_link(draft, path) {
        Ok(()) => Ok(Named::Ours),
        Err(_) if path.exists() => Ok(Named::Theirs),
        // A file system without links.
        Err(_) => fs::rename(draft, path).map(|()| Named::Ours),
    }
}

/// The log that DuckDB keeps beside a file.
fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".wal");
    PathBuf::from(name)
}

/// The name for a database that is not complete: hidden, and one process's own.
fn draft(path: &Path, process: u32) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{process}{SUFFIX}"));
    path.with_file_name(name)
}

/// Removes what processes that are no more have left half done.
fn discard_those_of_the_dead(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str))
    else {
        return;
    };
    // Without this folder nobody can tell who is alive.
    let Ok(_) = fs::metadata("/proc/self") else { return };
    let prefix = format!(".{name}.");
    let owner = |file: &str| file.strip_prefix(&prefix)?.strip_suffix(SUFFIX)?.parse::<u32>().ok();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_dead = |process| !Path::new("/proc").join(format!("{process}")).exists();
        if entry.file_name().to_str().and_then(owner).is_some_and(is_dead) {
            discard(&entry.path());
        }
    }
}

fn discard(draft: &Path) {
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::debug!(%error, file = %draft.display(), "Could not remove a file that is not needed any more");
        }
        _ => {}
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_a_deleted_file_is_not_replayed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.duckdb");
        // As after a kill: a log that holds everything, taken away before it is folded into its file.
        let kept = folder.path().join("kept.wal");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("create table old (x integer)").unwrap();
        fs::copy(log_of(&path), &kept).unwrap();
        drop(connection);
        fs::remove_file(&path).unwrap();
        fs::rename(&kept, log_of(&path)).unwrap();

        create(&path, || Ok(Config::default())).unwrap();
        let tables: i64 = Connection::open(&path)
            .unwrap()
            .query_row("select count(*) from duckdb_tables()", [], |row| row.get(0))
            .unwrap();
        assert_eq!(tables, 0);
    }

    #[test]
    fn what_a_killed_process_has_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.duckdb");
        // The greatest number that a process can have on any system is smaller.
        for process in [process::id(), u32::MAX] {
            fs::write(draft(&path, process), "half a header").unwrap();
        }
        create(&path, || Ok(Config::default())).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
        Connection::open(&path).unwrap().execute_batch("create table t (x integer)").unwrap();
        create(&path, || Ok(Config::default())).unwrap();
        let rows: i64 = Connection::open(&path)
            .unwrap()
            .query_row("select count(*) from t", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 0, "a database that is there stays");
    }
}
