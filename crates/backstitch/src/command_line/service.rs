//! Commands on the host of a service: `serve`, `work`, `key`, `user` and `doctor`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

/// What the service is started with.
#[derive(Debug, Args)]
pub(crate) struct ServiceArguments {
    /// The configuration file; `backstitch.toml` if it is there
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The control store: the path of a SQLite file, or `postgres://USER@HOST/DATABASE`, `env:NAME`, `@FILE`
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) store: Option<String>,
    /// Write the log as JSON, one object a line
    #[arg(long)]
    pub(crate) log_json: bool,
}

/// How a service ends; part of its help.
const DRAIN: &str = "\
The first SIGTERM or SIGINT ends it gracefully: no run is begun any more, and those that are alive stop where
nothing is lost; another process goes on with them. That takes at most `drain_seconds` of `[service]`. A second
signal ends it at once, which loses nothing either: the next start goes on from the last commit.";

/// Arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = DRAIN)]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    pub(crate) service: ServiceArguments,
    /// Where to listen, such as `127.0.0.1:8720`
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Confirm that the start date of an integration has changed in the file: its next run reads all tables
    /// again from there. May be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) reset_start_date: Vec<String>,
}

/// Arguments of `work`.
#[derive(Debug, Args)]
#[command(after_help = DRAIN)]
pub(crate) struct WorkArguments {
    #[command(flatten)]
    pub(crate) service: ServiceArguments,
}

/// Arguments of `user`.
#[derive(Debug, Args)]
pub(crate) struct UserArguments {
    #[command(subcommand)]
    pub(crate) command: UserCommand,
}

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make a user; the password comes from BACKSTITCH_PASSWORD or a line of standard input
    New(UserNewArguments),
}

/// Arguments of `user new`.
#[derive(Debug, Args)]
pub(crate) struct UserNewArguments {
    /// The user's name
    pub(crate) name: String,
    /// What the user may do: `administrator`, `member` or `viewer`
    #[arg(long, default_value = "administrator")]
    pub(crate) role: String,
    /// Make a token for the user as well, and print it and nothing else
    #[arg(long)]
    pub(crate) token: bool,
    /// The configuration file; `backstitch.toml` if it is there
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The control store, if it isn't the configured one
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) store: Option<String>,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// The configuration file; `backstitch.toml` if it is there
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The control store, if it isn't the configured one
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) store: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `key`.
#[derive(Debug, Args)]
pub(crate) struct KeyArguments {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key file
    New {
        /// The file; it must not be there yet
        file: PathBuf,
    },
    /// Put a new key before those of a key file, which still open what they sealed
    Rotate {
        /// The file
        file: PathBuf,
    },
}
