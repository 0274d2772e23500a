//! Commands about a schema of a destination: `status`, `state`, `loads` and `rejects`.

use clap::Args;

use super::{
    integration::{IntegrationArguments, asks},
    remote::ServerArguments,
};
use crate::failure::Failure;

/// Which schema of which destination: an integration's, or one that is named directly.
#[derive(Debug, Args)]
pub(crate) struct SchemaArguments {
    #[command(flatten)]
    pub(crate) integration: IntegrationArguments,
    /// The destination, without a configuration: `duckdb:PATH`, `postgres://…`, `env:NAME` or `@FILE`
    #[arg(long, value_name = "ADDRESS", requires = "schema", conflicts_with_all = ["name", "config"])]
    pub(crate) destination: Option<String>,
    /// The schema in it
    #[arg(long, value_name = "SCHEMA", requires = "destination")]
    pub(crate) schema: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl SchemaArguments {
    /// Whether a service is to be asked instead of the destination: it is named, and no other place is.
    ///
    /// # Errors
    /// When both are named on the command line.
    pub(crate) fn asks(&self, server: &ServerArguments) -> Result<bool, Failure> {
        let is_local = self.destination.is_some() || self.integration.config.is_some();
        asks(is_local, server)
    }
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    pub(crate) schema: SchemaArguments,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}

/// What `state` does; part of its help.
const STATE_EDITS: &str = "\
A bookmark says that everything before it has been read. Moved back, the next run reads those rows again and
changes only the ones that differ. Moved forward, what lies between and hasn't been read never will be.

Without `--yes` an edit only says what it would mean. With it, the schema is claimed first, so that an edit is
refused (exit code 8) while a run lives. Edits stand in `backstitch loads`, as batches without rows.

With `--server` a run of the service moves the bookmarks, as the preview said, and reads on from there at once; its log
is shown until it ends.";

/// Arguments of `state`.
#[derive(Debug, Args)]
#[command(after_help = STATE_EDITS)]
pub(crate) struct StateArguments {
    #[command(flatten)]
    pub(crate) schema: SchemaArguments,
    /// Set a stream's bookmark, as in `contact=2026-01-02T03:04:05Z`
    #[arg(long, value_name = "STREAM=INSTANT")]
    pub(crate) set: Vec<String>,
    /// Move a stream's bookmark back, as in `contact=7d` (or `12h`, `30m`, `90s`)
    #[arg(long, value_name = "STREAM=SPAN")]
    pub(crate) rewind: Vec<String>,
    /// Remove a stream's bookmark, so that it is read from the start date again
    #[arg(long, value_name = "STREAM")]
    pub(crate) remove: Vec<String>,
    /// Remove the state that a Singer tap keeps, so that the tap starts from its beginning
    #[arg(long)]
    pub(crate) remove_tap_state: bool,
    /// Do it, instead of only saying what it would mean
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}

/// Arguments of `loads`.
#[derive(Debug, Args)]
pub(crate) struct LoadsArguments {
    #[command(flatten)]
    pub(crate) schema: SchemaArguments,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    /// Only those of one table
    #[arg(long, value_name = "TABLE")]
    pub(crate) table: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}

/// What `rejects --replay` does; part of its help.
const REPLAYS: &str = "\
A replay loads rejected rows after what kept them out is mended: the type of a column, a constraint, a name, or a
newer version of this program. The rows keep the sequence and the time of their read, so one that is newer in the
table stays. Each takes effect once; one that still can't be loaded stays among the rejects, with its new reason.
Rows of a full table that has been replaced since are not brought back: the newer read has what is true.

Without `--yes` it only says what it would mean. With it, the schema is claimed first, so it is refused (exit code 8)
while a run lives; what it loads stands in `backstitch loads`.

With `--server` rows are listed without what is in them; `--id` shows one whole. A run of the service replays; its log is
shown until it ends, then what it did.";

/// Arguments of `rejects`.
#[derive(Debug, Args)]
#[command(after_help = REPLAYS)]
pub(crate) struct RejectsArguments {
    #[command(flatten)]
    pub(crate) schema: SchemaArguments,
    /// Only those of one table
    #[arg(long, value_name = "TABLE")]
    pub(crate) table: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
    /// Load them, as far as that is possible now
    #[arg(long)]
    pub(crate) replay: bool,
    /// Replay only those that were rejected for this reason, as in `number_range`; or list them, of a service
    #[arg(long, value_name = "CODE")]
    pub(crate) reason: Option<String>,
    /// Replay only this one; or show it, of a service
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// List those of a service that are `open`, `replayed` or `all`; open ones unless it is given
    #[arg(long, value_name = "STATE", conflicts_with = "replay")]
    pub(crate) state: Option<String>,
    /// Do it, instead of only saying what it would mean
    #[arg(long, requires = "replay")]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}
