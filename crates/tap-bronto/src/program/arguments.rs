//! The command line: that of singer-python's taps, with what the Meltano SDK adds.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::{exit::Exit, log};

/// Replicates a Bronto account as a Singer tap: messages on standard output, the log on standard error.
///
/// Without a catalog, every stream and column is read. Each setting can also be given in the environment, as
/// TAP_BRONTO_ and its name in capitals, which wins over files.
///
/// Exit codes: 0 done; 1 unexpected; 2 configuration, catalog or state; 3 refused by Bronto; 4 Bronto unavailable or
/// unsound; 5 the reader of standard output went away; 130 and 143 interrupted, after a last state.
#[derive(Debug, Parser)]
#[command(name = "tap-bronto", version, after_help = "Settings: see `tap-bronto --about`")]
pub(crate) struct Arguments {
    /// A JSON file with settings; given again, later files win. `ENV` stands for the environment alone.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Vec<PathBuf>,

    /// The catalog with the selection, as `--discover` writes it.
    #[arg(long, value_name = "FILE")]
    pub(crate) catalog: Option<PathBuf>,

    /// The older name of `--catalog`.
    #[arg(short, long, value_name = "FILE", conflicts_with = "catalog")]
    pub(crate) properties: Option<PathBuf>,

    /// The last state of the run before.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,

    /// Writes the catalog and ends. The account is asked for its custom fields; with `--state` their columns have the
    /// names that they have got already.
    #[arg(short, long, conflicts_with_all = ["check", "about"])]
    pub(crate) discover: bool,

    /// Selects every stream and column, whatever the catalog says.
    #[arg(short = 'S', long)]
    pub(crate) select_all: bool,

    /// Tries whether the account can be read, and ends.
    #[arg(long, conflicts_with = "about")]
    pub(crate) check: bool,

    /// Describes the tap and its settings, and ends.
    #[arg(long)]
    pub(crate) about: bool,

    /// The format of `--about`.
    #[arg(long, value_enum, default_value_t = AboutFormat::Markdown, requires = "about")]
    pub(crate) format: AboutFormat,
}

/// A format of `--about`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AboutFormat {
    /// For programs.
    Json,
    /// For people.
    Markdown,
}

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    About(AboutFormat),
    Discover,
    Check,
    Sync,
}

impl Arguments {
    /// Reads the command line. Help and version are printed here.
    ///
    /// # Errors
    /// How the program ends when there is nothing more to do: well after help, badly after a mistake.
    pub(crate) fn from_command_line() -> Result<Self, Exit> {
        Self::try_parse().map_err(|error| {
            if !error.use_stderr() {
                return error.print().map_or(Exit::ReaderGone, |()| Exit::Done);
            }
            for line in error.to_string().lines().filter(|line| !line.is_empty()) {
                log::critical(line);
            }
            Exit::Usage
        })
    }

    pub(crate) fn action(&self) -> Action {
        if self.about {
            Action::About(self.format)
        } else if self.discover {
            Action::Discover
        } else if self.check {
            Action::Check
        } else {
            Action::Sync
        }
    }

    /// The catalog under either name.
    pub(crate) fn catalog_file(&self) -> Option<&PathBuf> {
        self.catalog.as_ref().or(self.properties.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn singer_pythons_flags_are_understood() {
        let short = Arguments::parse_from(["tap", "-c", "a", "-c", "b", "-s", "s", "-p", "p"]);
        assert_eq!((short.config.len(), short.action()), (2, Action::Sync));
        assert_eq!(short.catalog_file(), Some(&PathBuf::from("p")));
        let discover = Arguments::parse_from(["tap", "--config", "a", "-d", "-S"]);
        assert_eq!((discover.action(), discover.select_all), (Action::Discover, true));
        let about = Arguments::parse_from(["tap", "--about", "--format", "json"]);
        assert_eq!(about.action(), Action::About(AboutFormat::Json));
        assert!(Arguments::try_parse_from(["tap", "-p", "p", "--catalog", "c"]).is_err());
    }
}
