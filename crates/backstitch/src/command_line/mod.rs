//! The command line, a module per family of commands. Its help is the reference that users read first.

mod accounts;
mod integration;
mod remote;
mod replication;
mod schema;
mod service;

use clap::{
    Parser, Subcommand,
    builder::styling::{AnsiColor, Effects, Styles},
};

pub(crate) use self::{
    accounts::{TokensArguments, TokensCommand, UsersArguments, UsersCommand},
    integration::{AuditArguments, CheckArguments, ScheduleArguments},
    remote::{
        CheckDraftArguments, CloneArguments, CreateArguments, DeleteArguments, DraftArguments,
        EditArguments, IntegrationsArguments, IntegrationsCommand, ListedIntegration,
        LogsArguments, NamedIntegration, ResetArguments, RunsArguments, RunsCommand,
        ServerArguments, StartArguments, UsageArguments, UsageBy, UsagePeriod,
    },
    replication::{DemoArguments, LoadArguments, RunArguments, TargetCommandLine},
    schema::{LoadsArguments, RejectsArguments, SchemaArguments, StateArguments, StatusArguments},
    service::{
        DoctorArguments, KeyArguments, KeyCommand, ServeArguments, ServiceArguments, UserArguments,
        UserCommand, UserNewArguments, WorkArguments,
    },
};
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
  3  the source refused; or a service, which doesn't know the token or doesn't allow it
  4  the source, or a service that was asked, was not available after all retries
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
    /// Show the runs of an integration or a service, newest first
    Runs(RunsArguments),
    /// Show the log of a run of a service, and follow it
    Logs(LogsArguments),
    /// Show how many rows were replicated, by table or day
    Usage(UsageArguments),
    /// Show the rows that could not be loaded, and load them when they can be
    Rejects(RejectsArguments),
    /// List, make, change and start the integrations of a service
    Integrations(IntegrationsArguments),
    /// Run the service: integrations by their schedules, with their logs and reports, until a signal ends it
    Serve(ServeArguments),
    /// Run a further worker of a service whose control store is a PostgreSQL database
    Work(WorkArguments),
    /// Make the key that the service seals secrets with
    Key(KeyArguments),
    /// Read spans of the account again and compare them with the destination, value by value
    Audit(AuditArguments),
    /// Make a user of the service, on its host; the first one is made so
    User(UserArguments),
    /// List, make, change and disable the users of a service
    Users(UsersArguments),
    /// List, make and revoke API tokens of a service
    Tokens(TokensArguments),
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
            Self::Runs(arguments) => commands::runs::execute(&arguments),
            Self::Logs(arguments) => commands::logs::execute(&arguments),
            Self::Usage(arguments) => commands::usage::execute(&arguments),
            Self::Integrations(arguments) => commands::integrations::execute(&arguments),
            Self::Rejects(arguments) => commands::rejects::execute(&arguments),
            Self::Serve(arguments) => commands::serve::execute(&arguments),
            Self::Work(arguments) => commands::serve::work(&arguments),
            Self::Key(arguments) => commands::key::execute(&arguments),
            Self::Audit(arguments) => commands::audit::execute(&arguments),
            Self::User(arguments) => commands::user::execute(&arguments),
            Self::Users(arguments) => commands::accounts::users(&arguments),
            Self::Tokens(arguments) => commands::accounts::tokens(&arguments),
            Self::Doctor(arguments) => commands::doctor::execute(&arguments),
        }
    }
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
