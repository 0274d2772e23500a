//! Commands about a service that may run elsewhere: `integrations`, `runs`, `logs`, `usage`; and which one is asked.

use std::path::PathBuf;

use ::replication::source::Span;
use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Subcommand, ValueEnum};

use super::{integration::parse_instant, schema::SchemaArguments};
use crate::commands;

/// Which service is asked.
#[derive(Debug, Args)]
#[command(next_help_heading = "Service")]
pub(crate) struct ServerArguments {
    /// Ask the service at this address, such as `https://backstitch.example.com`; also from BACKSTITCH_SERVER
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) server: Option<String>,
    /// The file that holds the API token; without it, the token comes from BACKSTITCH_API_TOKEN
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// Trust the certificates of this PEM file besides those of the system
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) ca_file: Option<PathBuf>,
    /// Let the token travel unencrypted: `http` to another machine
    #[arg(long, global = true)]
    pub(crate) allow_http: bool,
}

/// What a file of `integrations create` holds; part of its help.
const FILES: &str = "\
A file given by `--from` is what the API takes, with secrets that may be elsewhere; options come before it:

  { \"name\": \"Shop\",
    \"settings\": { \"source\": { \"type\": \"bronto\" }, \"destination\": \"duckdb:shop.duckdb\" },
    \"secrets\": { \"token\": { \"env\": \"BRONTO_TOKEN\" }, \"password\": { \"file\": \"password.txt\" } },
    \"start_date\": \"2025-11-23T00:00:00Z\",
    \"schedule\": { \"every\": \"6h\" } }

Secrets are never given on the command line, which others on the machine can read: `--secret token=env:BRONTO_TOKEN`
takes one from the environment, `--secret token=@FILE` from a file, `--secret token=-` from a line of standard input.";

/// Arguments of `integrations`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = false)]
pub(crate) struct IntegrationsArguments {
    /// What to do; all integrations are listed if nothing is said
    #[command(subcommand)]
    pub(crate) command: Option<IntegrationsCommand>,
    /// Print JSON, as the API answers it
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}

/// What to do with integrations.
#[derive(Debug, Subcommand)]
pub(crate) enum IntegrationsCommand {
    /// List the integrations with their states, next starts and last runs
    List,
    /// Show an integration: its state, its settings, its last run
    Show(NamedIntegration),
    /// Make an integration
    #[command(after_help = FILES)]
    Create(CreateArguments),
    /// Change an integration: what is given is changed
    #[command(after_help = FILES)]
    Edit(EditArguments),
    /// Pause an integration: runs start only by hand
    Pause(NamedIntegration),
    /// Resume an integration at its next slot
    Resume(NamedIntegration),
    /// Make a copy of an integration, which is paused; its secrets are given anew
    #[command(after_help = FILES)]
    Clone(CloneArguments),
    /// List what became of the slots of a schedule, the last first: started, skipped or missed
    Slots(ListedIntegration),
    /// List how the tables of an integration changed, the last first
    SchemaEvents(ListedIntegration),
    /// Start a run now
    Start(StartArguments),
    /// Ask the run that is alive to stop; what it has extracted is loaded
    Stop(NamedIntegration),
    /// Try the source and the destination of an integration, or of one that isn't made yet
    #[command(after_help = FILES)]
    Check(CheckDraftArguments),
    /// Change the start date, so that all tables are read again from there; says what that means, and asks
    Reset(ResetArguments),
    /// Delete an integration; its data stays in the destination
    Delete(DeleteArguments),
}

/// An integration of the service.
#[derive(Debug, Args)]
pub(crate) struct NamedIntegration {
    /// The integration's name or id
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// An integration of the service, and how much of a list.
#[derive(Debug, Args)]
pub(crate) struct ListedIntegration {
    #[command(flatten)]
    pub(crate) integration: NamedIntegration,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
}

/// Arguments of `integrations clone`.
#[derive(Debug, Args)]
pub(crate) struct CloneArguments {
    #[command(flatten)]
    pub(crate) integration: NamedIntegration,
    /// The name of the copy
    #[arg(value_name = "NEW_NAME")]
    pub(crate) new_name: String,
    /// The schema that the copy fills, for ever; made from its name unless it is given
    #[arg(long, value_name = "SCHEMA")]
    pub(crate) schema: Option<String>,
    /// A JSON file with `settings` and `secrets`; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Another destination: `duckdb:PATH` or `postgres://USER@HOST/DATABASE`
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) destination: Option<String>,
    /// Another setting, as in `source.endpoint=https://…`; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// A secret's place, as in `token=env:BRONTO_TOKEN`, `token=@FILE` or `token=-`; may be given several times
    #[arg(long, value_name = "NAME=PLACE")]
    pub(crate) secret: Vec<String>,
}

impl CloneArguments {
    /// What the copy is to be.
    pub(crate) fn draft(&self) -> DraftArguments {
        DraftArguments {
            from: self.from.clone(),
            destination: self.destination.clone(),
            set: self.set.clone(),
            secret: self.secret.clone(),
            ..DraftArguments::default()
        }
    }
}

/// What an integration is to be.
#[derive(Debug, Default, Args)]
pub(crate) struct DraftArguments {
    /// A JSON file with all of it, or a part; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// The destination: `duckdb:PATH` or `postgres://USER@HOST/DATABASE`
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) destination: Option<String>,
    /// A setting, as in `source.endpoint=https://…`; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// A secret's place, as in `token=env:BRONTO_TOKEN`, `token=@FILE` or `token=-`; may be given several times
    #[arg(long, value_name = "NAME=PLACE")]
    pub(crate) secret: Vec<String>,
    /// Start every `30m`, `1h`, `3h`, `6h`, `12h` or `24h`
    #[arg(long, value_name = "FREQUENCY", conflicts_with = "cron")]
    pub(crate) every: Option<String>,
    /// With `--every`: start at this instant plus and minus multiples of it
    #[arg(long, value_name = "INSTANT", requires = "every")]
    pub(crate) anchor: Option<String>,
    /// Start by an expression in Quartz' form, such as `0 0 9 ? * MON-FRI`
    #[arg(long, value_name = "EXPRESSION")]
    pub(crate) cron: Option<String>,
    /// The IANA time zone of the schedule; UTC unless it is given
    #[arg(long, value_name = "ZONE")]
    pub(crate) zone: Option<String>,
    /// Make up for a slot that was missed while the service was down
    #[arg(long)]
    pub(crate) catch_up: bool,
}

/// Arguments of `integrations create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// The name, if the file has none
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The schema that it fills, for ever; made from the name unless it is given
    #[arg(long, value_name = "SCHEMA")]
    pub(crate) schema: Option<String>,
    /// From when to read; a year back unless it is given
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    pub(crate) start_date: Option<DateTime<Utc>>,
    #[command(flatten)]
    pub(crate) draft: DraftArguments,
}

/// Arguments of `integrations edit`.
#[derive(Debug, Args)]
pub(crate) struct EditArguments {
    #[command(flatten)]
    pub(crate) integration: NamedIntegration,
    /// A new name; the schema keeps its own
    #[arg(long, value_name = "NAME")]
    pub(crate) rename: Option<String>,
    /// Take the schedule away: runs start only by hand
    #[arg(long, conflicts_with_all = ["every", "cron"])]
    pub(crate) no_schedule: bool,
    #[command(flatten)]
    pub(crate) draft: DraftArguments,
}

/// Arguments of `integrations start`.
#[derive(Debug, Args)]
pub(crate) struct StartArguments {
    #[command(flatten)]
    pub(crate) integration: NamedIntegration,
    /// Follow its log until it ends, and end as it does, with its exit code
    #[arg(long)]
    pub(crate) follow: bool,
    /// Read a span beside what is new, as in `2025-01-01..2025-04-01` (the last day is not part of it)
    #[arg(long, value_name = "FROM..TO", value_parser = commands::backfill::parse_span)]
    pub(crate) backfill: Option<Span>,
    /// Backfill only this table; may be given several times
    #[arg(long, value_name = "TABLE", requires = "backfill")]
    pub(crate) table: Vec<String>,
}

/// Arguments of `integrations check`.
#[derive(Debug, Args)]
pub(crate) struct CheckDraftArguments {
    /// The integration; or the name of the one that isn't made yet
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Try what `integrations create` would make with the same options, and make nothing
    #[arg(long)]
    pub(crate) new: bool,
    /// The schema that it would fill
    #[arg(long, value_name = "SCHEMA", requires = "new")]
    pub(crate) schema: Option<String>,
    #[command(flatten)]
    pub(crate) draft: DraftArguments,
}

/// Arguments of `integrations reset`.
#[derive(Debug, Args)]
pub(crate) struct ResetArguments {
    #[command(flatten)]
    pub(crate) integration: NamedIntegration,
    /// From when to read again
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    pub(crate) start_date: DateTime<Utc>,
    /// Do it without asking
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Arguments of `integrations delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    #[command(flatten)]
    pub(crate) integration: NamedIntegration,
    /// Do it without asking
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Arguments of `runs`.
#[derive(Debug, Args)]
pub(crate) struct RunsArguments {
    #[command(subcommand)]
    pub(crate) command: Option<RunsCommand>,
    #[command(flatten)]
    pub(crate) schema: SchemaArguments,
    /// Only those in this state: `due`, `running`, `succeeded`, `failed`, `stopped`, `timed out` or `lost`
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// Go on after an earlier list: its `next`
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}

/// What else to do with runs.
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// Show a run, and how far it is with each table
    Show {
        /// The run's id
        #[arg(value_name = "ID")]
        id: String,
        /// Print JSON, as the API answers it
        #[arg(long)]
        json: bool,
    },
    /// Print the report of an audit, a replay or a rewind as JSON
    Report {
        /// The run's id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Ask a run to stop; what it has extracted is loaded
    Stop {
        /// The run's id
        #[arg(value_name = "ID")]
        id: String,
        /// Print JSON, as the API answers it
        #[arg(long)]
        json: bool,
    },
}

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    /// A run's id; or an integration, whose last run is meant
    #[arg(value_name = "RUN|NAME")]
    pub(crate) name: String,
    /// Show lines as they are written, until the run ends
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only lines of this level or graver: `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`
    #[arg(long, value_name = "LEVEL", ignore_case = true)]
    pub(crate) level: Option<String>,
    /// Only lines that hold this text, whatever the case of its letters
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// Print JSON, as the API answers it, one line of the log a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}

/// By what usage is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UsageBy {
    /// By integration and table
    Table,
    /// By day
    Day,
}

/// A billing period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UsagePeriod {
    /// The one that goes on
    This,
    /// The one before
    Previous,
}

/// Arguments of `usage`.
#[derive(Debug, Args)]
pub(crate) struct UsageArguments {
    #[command(flatten)]
    pub(crate) schema: SchemaArguments,
    /// How to add it up
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) by: UsageBy,
    /// The billing period; a destination alone knows of none, and shows the last 30 days or the 30 before
    #[arg(long, value_enum, default_value = "this", conflicts_with_all = ["from", "until"])]
    pub(crate) period: UsagePeriod,
    /// The first day, in UTC, such as `2026-11-01`
    #[arg(long, value_name = "DAY")]
    pub(crate) from: Option<NaiveDate>,
    /// The first day after it; tomorrow unless it is given
    #[arg(long, value_name = "DAY", requires = "from")]
    pub(crate) until: Option<NaiveDate>,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}
