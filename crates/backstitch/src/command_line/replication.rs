//! Commands that replicate: `demo`, `run`, `load` and the program `target-backstitch`.

use std::path::PathBuf;

use ::replication::source::Span;
use clap::{Args, Parser};

use super::{STYLES, integration::IntegrationArguments};
use crate::{commands, config::Nested};

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// The folder for `backstitch-demo.duckdb`
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// The number of contacts; the other tables grow with it
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rows: u32,
    /// End with a JSON report
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) integration: IntegrationArguments,
    /// End with a JSON report on standard output, also when the run fails or is interrupted
    #[arg(long)]
    pub(crate) json: bool,
    /// Take the schema even from a run that still holds it; that run can't commit any more
    #[arg(long)]
    pub(crate) take_over: bool,
    /// Accept that the account's token or address has changed
    #[arg(long)]
    pub(crate) accept_source_change: bool,
    /// Let a full table become empty, or shrink to less than half
    #[arg(long)]
    pub(crate) allow_empty: bool,
    /// Read tables again from the start date: those named, as in `--full-refresh=contact,list`, or all.
    /// Nothing is deleted by it, but for rows of `list` that are gone, as in every run
    #[arg(long, value_name = "TABLE", num_args = 0.., require_equals = true, value_delimiter = ',')]
    pub(crate) full_refresh: Option<Vec<String>>,
    /// Accept that the configuration has another start date than the first run had: read all tables again
    /// from there. Rows that are older, or that the source can't give any more, stay
    #[arg(long)]
    pub(crate) reset_start_date: bool,
    /// Read a span beside what is new, as in `2025-01-01..2025-04-01` (the last day is not part of it). It may lie
    /// before the start date. Bookmarks stay where they are; nothing is deleted. If the run is stopped or killed,
    /// the next one goes on with it
    #[arg(long, value_name = "FROM..TO", value_parser = commands::backfill::parse_span)]
    pub(crate) backfill: Option<Span>,
    /// Backfill only this table; may be given several times
    #[arg(long, value_name = "TABLE", requires = "backfill")]
    pub(crate) table: Vec<String>,
    /// Show log lines instead of progress bars
    #[arg(long)]
    pub(crate) no_progress: bool,
}

/// What `load` promises; part of its help.
const DELIVERY: &str = "\
Delivery: each state value is written to standard output once everything before it is durable in the
destination, and not earlier. Tables with a key take effect once: rows that come again change nothing.
Tables without a key are loaded at least once: when a load is killed between a commit and the tap's
next start from an older state, their rows come twice.

The password of a PostgreSQL destination comes from PGPASSWORD or PGPASSFILE.";

/// Arguments of `load`.
#[derive(Debug, Args)]
#[command(after_help = DELIVERY)]
pub(crate) struct LoadArguments {
    /// The destination: `duckdb:PATH`, `postgres://USER@HOST/DATABASE`, `env:NAME` or `@FILE`
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) destination: String,
    /// The schema that the rows go into
    #[arg(long, value_name = "SCHEMA")]
    pub(crate) schema: String,
    /// The integration that the schema belongs to; the schema's name unless given
    #[arg(long, value_name = "NAME")]
    pub(crate) integration: Option<String>,
    /// How arrays are kept, `native` or `subtables`; the destination's own way unless given
    #[arg(long, value_name = "FORM")]
    pub(crate) nested: Option<Nested>,
    /// Take the schema even from a run that still holds it; that run can't commit any more
    #[arg(long)]
    pub(crate) take_over: bool,
    /// Let a full table become empty, or shrink to less than half
    #[arg(long)]
    pub(crate) allow_empty: bool,
}

/// The command line of `target-backstitch`.
#[derive(Debug, Parser)]
#[command(name = "target-backstitch", version, styles = STYLES, after_help = DELIVERY, max_term_width = 100)]
#[command(
    about = "Loads what a Singer tap writes on standard input; `backstitch load` for Singer runners"
)]
pub(crate) struct TargetCommandLine {
    /// A JSON file with `destination` and `schema` (or `default_target_schema`), and perhaps `integration` and `nested`
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: PathBuf,
}
