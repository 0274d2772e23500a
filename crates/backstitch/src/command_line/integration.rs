//! Which integration a command is about, and commands that look at one: `check`, `schedule` and `audit`.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Datelike, Utc};
use clap::Args;

use super::remote::ServerArguments;
use crate::{
    config::{self, Integration},
    failure::Failure,
    remote,
};

/// Which integration of which file.
#[derive(Debug, Args)]
pub(crate) struct IntegrationArguments {
    /// The integration; may be left out when the file has only one
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The configuration file; `backstitch.toml` unless it is given
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

impl IntegrationArguments {
    /// Whether a service is to be asked instead: it is named, and no configuration is.
    ///
    /// # Errors
    /// When both are named on the command line.
    pub(crate) fn asks(&self, server: &ServerArguments) -> Result<bool, Failure> {
        asks(self.config.is_some(), server)
    }

    /// The integration, read from its file.
    ///
    /// # Errors
    /// When the file can't be read, anything in it is wrong, or the name doesn't decide.
    pub(crate) fn load(&self) -> Result<Integration, Failure> {
        let file = self.config.as_deref().unwrap_or(Path::new(config::FILE));
        config::load(file, self.name.as_deref())
    }
}

/// Whether a service is to be asked, when another place is named or isn't.
pub(super) fn asks(is_local: bool, server: &ServerArguments) -> Result<bool, Failure> {
    if is_local && server.server.is_some() {
        return Err(Failure::configuration(
            "A service can't be asked together with a configuration or a destination",
        )
        .with_hint("Leave out `--server`, or `--config` and `--destination`"));
    }
    Ok(!is_local && remote::is_named(server))
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    pub(crate) integration: IntegrationArguments,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `schedule`.
#[derive(Debug, Args)]
pub(crate) struct ScheduleArguments {
    #[command(flatten)]
    pub(crate) integration: IntegrationArguments,
    /// How many starts
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) next: u16,
    /// Begin after this instant instead of now, such as `2026-10-24T00:00:00Z`
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    pub(crate) after: Option<DateTime<Utc>>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}

/// Reads an instant of these times.
pub(super) fn parse_instant(text: &str) -> Result<DateTime<Utc>, &'static str> {
    let instant: DateTime<Utc> =
        text.parse().map_err(|_| "write it like `2026-10-24T00:00:00Z`")?;
    let is_near = (1970..2100).contains(&instant.year());
    if is_near { Ok(instant) } else { Err("it must be of the years 1970 to 2099") }
}

/// What `audit` does; part of its help.
const AUDIT: &str = "\
An audit compares what was replicated: everything up to the bookmark. Rows that changed since are left out and counted,
and so are rows that stand in `_sdc_rejected`. Columns that move without `modified`, such as counters, are reported as
drift and are no difference. Activities can be read for 30 days only; older ones are counted and not compared. A table
that is read whole by every run, such as `list`, is compared as it is now: what changed since the last run shows.

An audit writes nothing. With `--repair` the days that differ are read again and merged, as a run would do it; nothing
is deleted, so rows that only the destination has stay. Then those days are compared once more.

It ends with exit code 0 if nothing differs, or nothing does any more, and with 7 otherwise.

With `--server` a run of the service compares; its log is shown until it ends, then what it found.";

/// Arguments of `audit`.
#[derive(Debug, Args)]
#[command(after_help = AUDIT)]
pub(crate) struct AuditArguments {
    #[command(flatten)]
    pub(crate) integration: IntegrationArguments,
    /// Compare everything from the start date on
    #[arg(long, conflicts_with_all = ["days", "sample"])]
    pub(crate) all: bool,
    /// Compare the last N days; 7 unless something else is chosen
    #[arg(long, value_name = "N", conflicts_with = "sample", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) days: Option<u32>,
    /// Compare N days drawn by chance
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) sample: Option<u32>,
    /// Draw the days of an earlier audit again: the seed that it printed
    #[arg(long, value_name = "SEED", requires = "sample")]
    pub(crate) seed: Option<u64>,
    /// Compare only this table; may be given several times
    #[arg(long, value_name = "TABLE")]
    pub(crate) table: Vec<String>,
    /// How many differences to list of each table; all are counted
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    /// Read the days that differ again, and merge them
    #[arg(long)]
    pub(crate) repair: bool,
    /// With `--repair`: take the schema even from a run that still holds it
    #[arg(long, requires = "repair")]
    pub(crate) take_over: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}
