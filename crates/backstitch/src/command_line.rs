//! The command line. Its help is the reference that users read first.

use std::{net::SocketAddr, path::PathBuf};

use chrono::{DateTime, Datelike, Utc};
use clap::{
    Args, Parser, Subcommand,
    builder::styling::{AnsiColor, Effects, Styles},
};

use replication::source::Span;

use crate::{commands, exit::ExitStatus, failure::Failure};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .usage(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .literal(AnsiColor::Cyan.on_default().effects(Effects::BOLD))
    .placeholder(AnsiColor::Cyan.on_default());

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  unexpected: a defect of Backstitch
  2  the command line or the configuration is wrong
  3  the source refused
  4  the source was not available, after all retries
  5  the destination refused or was not available
  6  more rows were rejected than the configuration allows
  7  the books don't balance, or an audit found differences
  8  the schema is claimed by another run
  130, 143  interrupted, after a clean checkpoint";

/// Replicates a Bronto account into a database: no row lost, none duplicated, none altered
#[derive(Debug, Parser)]
#[command(name = "backstitch", version, styles = STYLES, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Replicate a simulated account into a DuckDB file, and see what comes out
    Demo(DemoArguments),
    /// Replicate an integration once
    Run(RunArguments),
    /// Load what a Singer tap writes on standard input
    Load(LoadArguments),
    /// Test the source and the destination of an integration
    Check(CheckArguments),
    /// Show when an integration starts by its schedule
    Schedule(ScheduleArguments),
    /// Show what is in an integration's schema, and who holds it
    Status(StatusArguments),
    /// Show how far each stream is, and move it
    State(StateArguments),
    /// Show the ledger of an integration's loads, newest first
    Loads(LoadsArguments),
    /// Show the rows that could not be loaded, and load them when they can be
    Rejects(RejectsArguments),
    /// Run the service: integrations by their schedules, with their logs and reports, until a signal ends it
    Serve(ServeArguments),
    /// Run a further worker of a service whose control store is a PostgreSQL database
    Work(WorkArguments),
    /// Make the key that the service seals secrets with
    Key(KeyArguments),
    /// Read spans of the account again and compare them with the destination, value by value
    Audit(AuditArguments),
    /// Make a user of the service
    User(UserArguments),
    /// Find out what is wrong with an installation of the service, and how to mend it
    Doctor(DoctorArguments),
}

impl Command {
    /// Does it.
    pub(crate) fn execute(self) -> Result<ExitStatus, Failure> {
        match self {
            Self::Demo(arguments) => commands::demo::execute(&arguments),
            Self::Run(arguments) => commands::run::execute(&arguments),
            Self::Load(arguments) => commands::load::execute(&arguments),
            Self::Check(arguments) => commands::check::execute(&arguments),
            Self::Schedule(arguments) => commands::schedule::execute(&arguments),
            Self::Status(arguments) => commands::status::execute(&arguments),
            Self::State(arguments) => commands::state::execute(&arguments),
            Self::Loads(arguments) => commands::loads::execute(&arguments),
            Self::Rejects(arguments) => commands::rejects::execute(&arguments),
            Self::Serve(arguments) => commands::serve::execute(&arguments),
            Self::Work(arguments) => commands::serve::work(&arguments),
            Self::Key(arguments) => commands::key::execute(&arguments),
            Self::Audit(arguments) => commands::audit::execute(&arguments),
            Self::User(arguments) => commands::user::execute(&arguments),
            Self::Doctor(arguments) => commands::doctor::execute(&arguments),
        }
    }
}

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

/// Which integration of which file.
#[derive(Debug, Args)]
pub(crate) struct IntegrationArguments {
    /// The integration; may be left out when the file has only one
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "backstitch.toml")]
    pub(crate) config: PathBuf,
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
    /// A JSON file with `destination` and `schema` (or `default_target_schema`), and perhaps `integration`
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: PathBuf,
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
}

fn parse_instant(text: &str) -> Result<DateTime<Utc>, &'static str> {
    let instant: DateTime<Utc> =
        text.parse().map_err(|_| "write it like `2026-10-24T00:00:00Z`")?;
    let is_near = (1970..2100).contains(&instant.year());
    if is_near { Ok(instant) } else { Err("it must be of the years 1970 to 2099") }
}

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

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    pub(crate) schema: SchemaArguments,
}

/// What `state` does; part of its help.
const STATE_EDITS: &str = "\
A bookmark says that everything before it has been read. Moved back, the next run reads those rows again and
changes only the ones that differ. Moved forward, what lies between and hasn't been read never will be.

Without `--yes` an edit only says what it would mean. With it, the schema is claimed first, so that an edit is
refused (exit code 8) while a run lives. Edits stand in `backstitch loads`, as batches without rows.";

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
}

/// Arguments of `loads`.
#[derive(Debug, Args)]
pub(crate) struct LoadsArguments {
    #[command(flatten)]
    pub(crate) schema: SchemaArguments,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
}

/// What `rejects --replay` does; part of its help.
const REPLAYS: &str = "\
A replay loads rejected rows after what kept them out is mended: the type of a column, a constraint, a name, or a
newer version of this program. The rows keep the sequence and the time of their read, so one that is newer in the
table stays. Each takes effect once; one that still can't be loaded stays among the rejects, with its new reason.
Rows of a full table that has been replaced since are not brought back: the newer read has what is true.

Without `--yes` it only says what it would mean. With it, the schema is claimed first, so it is refused (exit code 8)
while a run lives; what it loads stands in `backstitch loads`.";

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
    /// Replay only those that were rejected for this reason, as in `number_range`
    #[arg(long, value_name = "CODE", requires = "replay")]
    pub(crate) reason: Option<String>,
    /// Replay only this one
    #[arg(long, value_name = "ID", requires = "replay")]
    pub(crate) id: Option<String>,
    /// Do it, instead of only saying what it would mean
    #[arg(long, requires = "replay")]
    pub(crate) yes: bool,
}

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

/// What `audit` does; part of its help.
const AUDIT: &str = "\
An audit compares what was replicated: everything up to the bookmark. Rows that changed since are left out and counted,
and so are rows that stand in `_sdc_rejected`. Columns that move without `modified`, such as counters, are reported as
drift and are no difference. Activities can be read for 30 days only; older ones are counted and not compared. A table
that is read whole by every run, such as `list`, is compared as it is now: what changed since the last run shows.

An audit writes nothing. With `--repair` the days that differ are read again and merged, as a run would do it; nothing
is deleted, so rows that only the destination has stay. Then those days are compared once more.

It ends with exit code 0 if nothing differs, or nothing does any more, and with 7 otherwise.";

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
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_lines_are_sound() {
        CommandLine::command().debug_assert();
        TargetCommandLine::command().debug_assert();
    }

    /// The help of a command and of those below it, as Markdown.
    fn reference(command: &mut clap::Command, path: &str, text: &mut String) {
        let path = format!("{path} {}", command.get_name());
        let help = command.clone().bin_name(path.trim()).styles(Styles::plain()).render_long_help();
        text.push_str(&format!(
            "## `{}`\n\n```text\n{}\n```\n\n",
            path.trim(),
            help.to_string().trim_end()
        ));
        for below in command.get_subcommands_mut().filter(|below| below.get_name() != "help") {
            reference(below, &path, text);
        }
    }

    #[test]
    fn the_documentation_of_the_commands_is_their_help() {
        let mut text =
            "# Commands\n\nWhat `--help` says of each; this page is generated.\n\n".to_owned();
        reference(&mut CommandLine::command(), "", &mut text);
        reference(&mut TargetCommandLine::command(), "", &mut text);
        let text = format!("{}\n", text.trim_end());
        let text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
        if std::env::var_os("BACKSTITCH_WRITE_DOCS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            page == text,
            "`BACKSTITCH_WRITE_DOCS=1 cargo nextest run documentation` writes it anew"
        );
    }

    #[test]
    fn the_help_of_load_states_the_delivery_promise() {
        let mut command = CommandLine::command();
        let load =
            command.find_subcommand_mut("load").map(|load| load.render_long_help().to_string());
        assert!(load.is_some_and(|help| help.contains("loaded at least once")));
    }
}
