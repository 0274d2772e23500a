//! Throw-away PostgreSQL clusters for tests: a real server in a temporary folder, started from the programs that are
//! installed, reachable by loopback TCP and by a Unix socket, with a password that nobody chose.
//!
//! A [`Cluster`] belongs to the test that started it. It can be killed and restarted in the middle of the test, and is
//! stopped and removed when it goes out of scope.

mod account;
mod cluster;
mod programs;
mod server;

pub use cluster::{Cluster, ClusterOptions};

/// Why a cluster could not be started or asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The server's programs are not installed.
    #[error(
        "PostgreSQL's server programs (`initdb`, `postgres`, `psql`) were found neither on the PATH nor in \
         `/usr/lib/postgresql/*/bin`; `cargo xtask setup --tests` installs them"
    )]
    MissingPrograms,
    /// PostgreSQL refuses to run as root, and there is no other account to run it as.
    #[error(
        "PostgreSQL does not run as root, and there is neither an account `postgres` nor an account `nobody`"
    )]
    MissingAccount,
    /// Something about files or processes.
    #[error("Could not {doing}")]
    Io {
        /// What was tried.
        doing: String,
        /// The cause.
        #[source]
        cause: std::io::Error,
    },
    /// A program ended with a failure.
    #[error("`{program}` failed: {output}")]
    Program {
        /// The program's name.
        program: String,
        /// What it wrote to standard error.
        output: String,
    },
    /// The server ended, or was not ready in time.
    #[error("The PostgreSQL server did not become ready: {log}")]
    NotReady {
        /// The end of its log.
        log: String,
    },
}

impl ClusterError {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |cause| Self::Io { doing, cause }
    }
}
