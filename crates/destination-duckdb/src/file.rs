//! One open database per file and process.
//!
//! DuckDB locks a file against other processes, but two openings in one process both succeed, and the commits of the
//! second are lost. Opening the file by any other means, even to copy it, drops the lock. So everybody in this process
//! gets connections from the one [`SharedFile`] of a path, and nothing here opens the file except DuckDB.
//!
//! The file is open while somebody is inside. It stays open for a while after that, because opening and closing cost a
//! checkpoint; it is closed when its time is up and nobody is inside, or when its last user has gone.

use std::{
    cell::Cell,
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use duckdb::{AccessMode, Config, Connection};
use replication::destination::{DestinationError, DestinationErrorKind};
use tokio::{runtime::Handle, task::AbortHandle};

use crate::{
    batch,
    config::{DEFAULT_MEMORY_LIMIT, DuckDbConfig},
    creation, failure,
    sql::{self, Place},
};

static FILES: LazyLock<Mutex<HashMap<PathBuf, Arc<SharedFile>>>> = LazyLock::new(Mutex::default);

/// How many bytes of log DuckDB collects before it writes them into the file. Each checkpoint rewrites the part-filled
/// row groups of every table, so with DuckDB's own 16 MB nearly every unit would pay for one. Rows that are not yet
/// checkpointed take memory, so it isn't larger.
const CHECKPOINT_THRESHOLD: &str = "64MB";

/// Links followed before a path is given up.
const LINK_LIMIT: usize = 40;

/// What a user wants from a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// To read it, sharing it with readers in other processes.
    Read,
    /// To write it.
    Write,
}

/// A file, whether it is open or not.
#[derive(Debug)]
pub(crate) struct SharedFile {
    path: PathBuf,
    state: Mutex<State>,
    /// Whose turn it is to write: DuckDB would fail the slower of two transactions that touch the same rows.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    users: usize,
    open: Option<Open>,
    openings: u64,
}

/// How much memory a database may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// What the operator said.
    Fixed,
    /// [`DEFAULT_MEMORY_LIMIT`], until that is too little: wide tables and large rows need more.
    Frugal,
    /// As much as DuckDB itself would take.
    Raised,
}

/// An open database. Only blocking threads wait for the lock around it.
#[derive(Debug)]
struct Open {
    /// The connection that the others are cloned from; the database closes with the last of them.
    root: Connection,
    catalog: String,
    access: Access,
    /// Which file it was, to notice when somebody puts another one in its place.
    identity: Option<(u64, u64)>,
    /// Counts openings.
    number: u64,
    /// How many sessions are inside.
    sessions: usize,
    /// Its time is up: the last session closes it.
    expired: bool,
    /// How much memory it may use.
    memory: Memory,
    /// It failed: nobody else is let in, and the last session closes it.
    broken: bool,
    timer: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

/// A user of a file. The file is closed when the last one is dropped.
#[derive(Debug)]
pub(crate) struct User {
    file: Arc<SharedFile>,
}

/// A place inside an open file. Held beside the connection and dropped after it.
#[derive(Debug)]
pub(crate) struct Pass {
    user: Arc<User>,
    /// How much memory the database might use when that was last looked at from here.
    memory: Cell<Memory>,
}

impl User {
    /// Becomes a user of the file at `path`, which need not exist. Blocks.
    pub(crate) fn join(path: &Path) -> Result<Self, DestinationError> {
        let path = canonical(path, LINK_LIMIT).map_err(|error| path_failed(path, error))?;
        let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        let file = Arc::clone(files.entry(path.clone()).or_insert_with(|| {
            Arc::new(SharedFile { path, state: Mutex::default(), turn: Arc::default() })
        }));
        drop(files);
        file.state().users += 1;
        Ok(Self { file })
    }

    /// Whose turn it is to write the file.
    pub(crate) fn turn(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.file.turn)
    }

    /// A further connection to the file, which is opened if it isn't. Blocks. Besides the connection returns the name by
    /// which the database calls itself.
    ///
    /// # Errors
    /// [`DestinationErrorKind::Busy`] when the file is locked.
    pub(crate) fn enter(
        self: &Arc<Self>,
        config: &DuckDbConfig,
        access: Access,
    ) -> Result<(Connection, String, Pass), DestinationError> {
        let file = &self.file;
        let mut state = file.state();
        if state.open.as_ref().is_some_and(|open| !file.serves(open, access)) {
            if state.open.as_ref().is_some_and(|open| open.sessions > 0) {
                return Err(DestinationError::new(
                    DestinationErrorKind::Busy,
                    format!("File `{}` is still in use in this process", file.path.display()),
                    "Run again when that is done",
                ));
            }
            state.open = None;
        }
        let open = match &mut state.open {
            Some(open) => open,
            None => {
                state.openings += 1;
                let opened = file.open(config, access, state.openings)?;
                state.open.insert(opened)
            }
        };
        let connection = open
            .root
            .try_clone()
            .map_err(|error| failure::failed(&file.path, "connect to the database", error))?;
        open.sessions += 1;
        let pass = Pass { user: Arc::clone(self), memory: Cell::new(open.memory) };
        Ok((connection, open.catalog.clone(), pass))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut state = self.file.state();
        state.users -= 1;
        if state.users == 0 {
            state.open = None;
        }
    }
}

impl Pass {
    /// Closes the database when the last session has left: it doesn't work any more.
    pub(crate) fn condemn(&self) {
        if let Some(open) = &mut self.user.file.state().open {
            open.broken = true;
        }
    }

    /// Gives the database as much memory as DuckDB itself would take, and tells whether that is more than it had when this
    /// place was taken: another session, with which this one ran out of memory, may have been the first to say so.
    pub(crate) fn raise_memory(&self) -> bool {
        let mut state = self.user.file.state();
        let Some(open) = state.open.as_mut() else { return false };
        let before = self.memory.replace(Memory::Raised);
        if open.memory != Memory::Frugal {
            return before == Memory::Frugal && open.memory == Memory::Raised;
        }
        tracing::info!(file = %self.user.file.path.display(), "DuckDB needs more memory for this file, and gets it");
        let raise = || {
            // `reset` alone changes the setting, and not what holds to it.
            open.root.execute_batch(sql::RESET_MEMORY_LIMIT)?;
            let limit: String = open.root.query_row(sql::MEMORY_LIMIT, [], |row| row.get(0))?;
            open.root.execute_batch(&sql::set_memory_limit(&limit))
        };
        let is_raised = raise().is_ok();
        if is_raised {
            open.memory = Memory::Raised;
        }
        is_raised
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.user.file.state();
        let Some(open) = &mut state.open else { return };
        open.sessions -= 1;
        if open.sessions == 0 && (open.expired || open.broken) {
            state.open = None;
        }
    }
}

impl SharedFile {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an open database will do for a newcomer.
    fn serves(&self, open: &Open, access: Access) -> bool {
        let allowed = open.access == Access::Write || access == Access::Read;
        allowed && !open.broken && open.identity == identity(&self.path)
    }

    fn open(
        self: &Arc<Self>,
        config: &DuckDbConfig,
        access: Access,
        number: u64,
    ) -> Result<Open, DestinationError> {
        let failed = |error| failure::failed(&self.path, "open the database", error);
        let mut memory = if config.memory_limit.is_some() { Memory::Fixed } else { Memory::Frugal };
        if access == Access::Write && !self.path.exists() {
            creation::create(&self.path, || settings(config, access, memory))?;
        }
        let connect = |memory| {
            settings(config, access, memory)
                .and_then(|settings| Connection::open_with_flags(&self.path, settings))
        };
        let root = connect(memory).or_else(|error| {
            // A long log is read when a file is opened.
            if memory != Memory::Frugal || !failure::is_out_of_memory(&failure::text(&error)) {
                return Err(error);
            }
            memory = Memory::Raised;
            connect(memory)
        });
        let root = root.map_err(failed)?;
        // Timestamps are cast from and to text in the session's zone; ours are UTC.
        root.execute_batch("set global timezone = 'UTC'").map_err(failed)?;
        batch::register(&root).map_err(failed)?;
        let catalog: String =
            root.query_row("select current_database()", [], |row| row.get(0)).map_err(failed)?;
        if access == Access::Write {
            bind_indexes(&root, &catalog).map_err(failed)?;
        }
        let identity = identity(&self.path);
        let timer = Handle::current()
            .spawn(release(Arc::clone(self), number, config.release_after))
            .abort_handle();
        tracing::debug!(file = %self.path.display(), "Opened the DuckDB file");
        Ok(Open {
            root,
            catalog,
            access,
            memory,
            identity,
            number,
            sessions: 0,
            expired: false,
            broken: false,
            timer,
        })
    }

    /// The time of an opening is up.
    fn expire(&self, number: u64) {
        let mut state = self.state();
        let Some(open) = state.open.as_mut().filter(|open| open.number == number) else { return };
        open.expired = true;
        if open.sessions == 0 {
            state.open = None;
            tracing::debug!(file = %self.path.display(), "Let the DuckDB file go");
        }
    }
}

/// Waits until an opening's time is up, and ends it. Stopped when the file is closed before that.
async fn release(file: Arc<SharedFile>, number: u64, after: Duration) {
    tokio::time::sleep(after).await;
    // A runtime that shuts down takes its files down with their users.
    drop(tokio::task::spawn_blocking(move || file.expire(number)));
}

/// Makes DuckDB read the indexes that people put on tables. It does so by itself only when a table is first written, and
/// too late for that transaction: one that deletes a key and inserts it again, as an update of a list does, would fail on
/// a unique index.
fn bind_indexes(root: &Connection, catalog: &str) -> duckdb::Result<()> {
    let mut statement = root.prepare(sql::FIND_INDEXED_TABLES)?;
    let tables =
        statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    for table in tables {
        let (schema, table) = table?;
        // Somebody else's table may have an index of a kind that isn't built in; that is no reason to fail here.
        if let Err(error) =
            root.execute_batch(&sql::bind_indexes(&Place::new(catalog, schema), &table))
        {
            tracing::debug!(%error, table, "Could not read the indexes of a table");
        }
    }
    Ok(())
}

fn settings(config: &DuckDbConfig, access: Access, memory: Memory) -> duckdb::Result<Config> {
    let limit = match memory {
        Memory::Fixed => config.memory_limit.as_deref(),
        Memory::Frugal => Some(DEFAULT_MEMORY_LIMIT),
        Memory::Raised => None,
    };
    let mut settings = Config::default()
        .access_mode(match access {
            Access::Read => AccessMode::ReadOnly,
            Access::Write => AccessMode::ReadWrite,
        })?
        // Everything that is used is built in; nothing is fetched behind the operator's back.
        .enable_autoload_extension(false)?
        .with("autoinstall_known_extensions", "false")?
        .with("checkpoint_threshold", CHECKPOINT_THRESHOLD)?
        // A few rows that are looked for are known before the table is read, so that most of it needn't be.
        .with("dynamic_or_filter_threshold", "2000")?
        // Tables have no order; not keeping one needs less memory.
        .with("preserve_insertion_order", "false")?;
    if let Some(limit) = limit {
        settings = settings.with("memory_limit", limit)?;
    }
    if let Some(threads) = config.threads {
        settings = settings.with("threads", threads.to_string())?;
    }
    Ok(settings)
}

/// The one path of a file, which need not exist yet; its folder must.
fn canonical(path: &Path, links: usize) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => return done,
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // A link to a file that DuckDB is going to create: later openings will find the file by its own name.
    if let Ok(target) = fs::read_link(path).and_then(|target| {
        if links == 0 { Err(io::Error::other("too many links")) } else { Ok(folder.join(target)) }
    }) {
        return canonical(&target, links - 1);
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(fs::canonicalize(folder)?.join(name))
}

fn path_failed(path: &Path, error: io::Error) -> DestinationError {
    let (kind, message, remedy) = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => (
            DestinationErrorKind::Configuration,
            format!("The folder of `{}` does not exist", path.display()),
            "Create the folder, or check the path",
        ),
        _ => (
            DestinationErrorKind::Refused,
            format!("File `{}` can't be reached", path.display()),
            "Give this user the right to read and write the file and its folder",
        ),
    };
    DestinationError::new(kind, message, remedy).caused_by(error)
}

/// Device and number of a file, without opening it.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Not known on this system.
#[cfg(not(unix))]
fn identity(_path: &Path) -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sessions_that_run_out_of_memory_together_all_try_again_with_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.duckdb");
        let config = DuckDbConfig::new(&path, "s");
        let user = Arc::new(User::join(&path).unwrap());
        let enter = || user.enter(&config, Access::Write).unwrap().2;
        let (first, second) = (enter(), enter());
        assert!(first.raise_memory(), "there is more");
        assert!(second.raise_memory(), "somebody else was a moment faster");
        assert!(!first.raise_memory() && !second.raise_memory(), "there is no more");
        assert!(!enter().raise_memory(), "who comes later has it from the start");
    }

    #[test]
    fn every_name_of_a_file_is_one_path() {
        let folder = tempfile::tempdir().unwrap();
        let place = fs::canonicalize(folder.path()).unwrap();
        let path = |name: &str| canonical(&place.join(name), LINK_LIMIT);
        fs::create_dir(place.join("sub")).unwrap();
        assert_eq!(path("sub/../w.duckdb").unwrap(), place.join("w.duckdb"));
        std::os::unix::fs::symlink("w.duckdb", place.join("link")).unwrap();
        assert_eq!(path("link").unwrap(), place.join("w.duckdb"), "before the file exists");
        fs::write(place.join("w.duckdb"), "").unwrap();
        assert_eq!(path("link").unwrap(), place.join("w.duckdb"), "and after");
        std::os::unix::fs::symlink("loop", place.join("loop")).unwrap();
        assert!(path("loop").is_err());
        assert!(path("none/w.duckdb").is_err());
    }
}
