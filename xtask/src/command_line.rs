//! What can be asked of `cargo xtask`.

use crate::{
    failure::Failure,
    gate::{self, Step},
    setup::Extent,
};

/// The text of `cargo xtask help`.
pub(crate) const HELP: &str = "\
Usage: cargo xtask COMMAND

Commands:
  demo [ARGUMENTS…]        Set up what a build needs, then run `backstitch demo ARGUMENTS…`
  check [--only STEPS]     The gate: set up, then run every check, stopping at the first failure.
                           STEPS is a list such as `fmt,clippy`; the steps are tree, fmt, deny,
                           clippy, docs, build, doctests and tests
  setup [--tests]          Set up what a build needs; with `--tests` also what the tests need
  advisories               Look for known vulnerabilities in the dependencies (needs the network)
  help                     This text
";

/// One command with what it was given.
pub(crate) enum Command {
    /// Print [`HELP`].
    Help,
    /// Put in place what the workspace needs.
    Setup {
        /// How much of it.
        extent: Extent,
    },
    /// Run the demonstration.
    Demo {
        /// Handed on to `backstitch demo` as they are.
        arguments: Vec<String>,
    },
    /// Run the gate.
    Check {
        /// The steps to run, in the gate's order.
        steps: Vec<&'static Step>,
    },
    /// Compare the dependencies with the database of known vulnerabilities.
    Advisories,
}

impl Command {
    /// Reads the arguments that follow the program's name. A failure means wrong usage.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, Failure> {
        let mut arguments = arguments.into_iter();
        let Some(name) = arguments.next() else {
            return Ok(Self::Help);
        };
        let rest: Vec<String> = arguments.collect();
        let rest_as_text: Vec<&str> = rest.iter().map(String::as_str).collect();
        match (name.as_str(), rest_as_text.as_slice()) {
            ("help" | "--help" | "-h", _)
            | ("setup" | "check" | "advisories", ["--help" | "-h"]) => Ok(Self::Help),
            ("demo", _) => Ok(Self::Demo { arguments: rest }),
            ("setup", []) => Ok(Self::Setup { extent: Extent::Build }),
            ("setup", ["--tests"]) => Ok(Self::Setup { extent: Extent::Tests }),
            ("check", []) => Ok(Self::Check { steps: gate::STEPS.iter().collect() }),
            ("check", ["--only", names]) => Ok(Self::Check { steps: select(names)? }),
            ("advisories", []) => Ok(Self::Advisories),
            ("setup" | "check" | "advisories", given) => {
                Err(usage(format!("`{name}` does not take `{}`", given.join(" "))))
            }
            _ => Err(usage(format!("There is no command `{name}`"))),
        }
    }
}

/// The gate's steps that the comma-separated `names` ask for, in the gate's order.
fn select(names: &str) -> Result<Vec<&'static Step>, Failure> {
    let wanted: Vec<&str> = names.split(',').map(str::trim).collect();
    if let Some(unknown) =
        wanted.iter().find(|name| gate::STEPS.iter().all(|step| step.name != **name))
    {
        return Err(usage(format!("The gate has no step `{unknown}`")));
    }
    Ok(gate::STEPS.iter().filter(|step| wanted.contains(&step.name)).collect())
}

fn usage(message: String) -> Failure {
    Failure::new(message).remedy("`cargo xtask help` lists the commands and the gate's steps")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed parse should stop the test")]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, Failure> {
        Command::parse(line.split_whitespace().map(str::to_owned))
    }

    fn step_names(line: &str) -> Vec<&'static str> {
        match parse(line).unwrap() {
            Command::Check { steps } => steps.iter().map(|step| step.name).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn selected_steps_run_in_the_order_of_the_gate() {
        assert_eq!(step_names("check --only clippy,fmt"), ["fmt", "clippy"]);
        assert_eq!(step_names("check").len(), gate::STEPS.len());
    }

    #[test]
    fn an_unknown_step_is_named() {
        let failure = parse("check --only fmt,lint").err().unwrap();
        assert_eq!(failure.to_string(), "The gate has no step `lint`");
    }

    #[test]
    fn unknown_commands_and_arguments_are_named() {
        assert_eq!(parse("test").err().unwrap().to_string(), "There is no command `test`");
        assert_eq!(
            parse("setup --all x").err().unwrap().to_string(),
            "`setup` does not take `--all x`"
        );
    }

    #[test]
    fn the_demonstration_gets_its_arguments_untouched() {
        let Command::Demo { arguments } = parse("demo --rows 10 --help").unwrap() else {
            panic!("not a demonstration")
        };
        assert_eq!(arguments, ["--rows", "10", "--help"]);
    }

    #[test]
    fn the_help_names_every_step_in_order() {
        let listed =
            HELP.split_once("the steps are ").unwrap().1.split_once("\n  setup").unwrap().0;
        let names: Vec<&str> = listed
            .split([',', ' ', '\n'])
            .filter(|word| !word.is_empty() && *word != "and")
            .collect();
        assert_eq!(names, gate::STEPS.iter().map(|step| step.name).collect::<Vec<_>>());
    }
}
