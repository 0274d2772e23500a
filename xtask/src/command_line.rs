//! What can be asked of `cargo xtask`.

use crate::{
    failure::Failure,
    fuzz,
    gate::{self, Step},
    measurements::{BENCHMARKS, Benchmark},
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
  soak extract [--cases N] [--seed S]
                           Play N random cases of extraction (1000 by default) and report what they met
  soak service [--kills N] Kill the service N times during runs into each destination (25 by default)
  bench extract [PARTS…]   Measure extraction: processor time, requests and memory, as Markdown
  bench load [SIZES…]      Measure loading beside other people's targets and floors, as Markdown
  bench service [PARTS…]   Measure the service: reads of a large store, idling, logs, as Markdown
  fuzz [TARGET] [--seconds N]
                           Fuzz one target, or all, for N seconds each (60 by default); needs
                           nightly and cargo-fuzz
  advisories               Look for known vulnerabilities in the dependencies (needs the network)
  help                     This text
";

/// The commands that refuse arguments which they do not know; `demo` hands its own on.
const COMMANDS: [&str; 6] = ["setup", "check", "advisories", "soak", "bench", "fuzz"];

/// What a soak plays unless told otherwise; the seeds are others than those of the gate.
const SOAK_CASES: u64 = 1_000;
const SOAK_SEED: u64 = 1_000_000;
/// How often a soak kills the service, for each destination.
const SOAK_KILLS: u64 = 25;

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
    /// Kill the service during runs.
    SoakService {
        /// How often, for each destination.
        kills: u64,
    },
    /// Play random cases of extraction.
    SoakExtract {
        /// How many.
        cases: u64,
        /// The seed of the first; the others follow.
        seed: u64,
    },
    /// Measure something.
    Bench {
        /// What.
        benchmark: &'static Benchmark,
        /// Handed on to it as they are.
        arguments: Vec<String>,
    },
    /// Fuzz what reads foreign input.
    Fuzz {
        /// One target, or all.
        target: Option<String>,
        /// For how long each.
        seconds: u32,
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
            ("help" | "--help" | "-h", _) => Ok(Self::Help),
            (name, ["--help" | "-h"]) if COMMANDS.contains(&name) => Ok(Self::Help),
            ("demo", _) => Ok(Self::Demo { arguments: rest }),
            ("setup", []) => Ok(Self::Setup { extent: Extent::Build }),
            ("setup", ["--tests"]) => Ok(Self::Setup { extent: Extent::Tests }),
            ("check", []) => Ok(Self::Check { steps: gate::STEPS.iter().collect() }),
            ("check", ["--only", names]) => Ok(Self::Check { steps: select(names)? }),
            ("advisories", []) => Ok(Self::Advisories),
            ("soak", ["extract", options @ ..]) => {
                let [cases, seed] = numbers("soak extract", options, ["--cases", "--seed"])?;
                Ok(Self::SoakExtract {
                    cases: cases.unwrap_or(SOAK_CASES),
                    seed: seed.unwrap_or(SOAK_SEED),
                })
            }
            ("soak", ["service", options @ ..]) => {
                let [kills] = numbers("soak service", options, ["--kills"])?;
                Ok(Self::SoakService { kills: kills.unwrap_or(SOAK_KILLS) })
            }
            ("bench", [wanted, arguments @ ..]) => {
                let benchmark = BENCHMARKS.iter().find(|benchmark| benchmark.name == *wanted);
                let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
                benchmark
                    .map(|benchmark| Self::Bench { benchmark, arguments })
                    .ok_or_else(|| usage(format!("There is no benchmark `{wanted}`")))
            }
            ("fuzz", given) => {
                let (target, options) = match given {
                    [target, options @ ..] if !target.starts_with('-') => (Some(*target), options),
                    options => (None, options),
                };
                let [seconds] = numbers("fuzz", options, ["--seconds"])?;
                let seconds = seconds.unwrap_or(fuzz::SECONDS.into());
                if seconds == 0 {
                    // To the fuzzer it would mean without end.
                    return Err(usage("`--seconds` takes 1 or more".to_owned()));
                }
                let seconds = u32::try_from(seconds)
                    .map_err(|_| usage(format!("`{seconds}` seconds are too many")))?;
                Ok(Self::Fuzz { target: target.map(str::to_owned), seconds })
            }
            (name, given) if COMMANDS.contains(&name) => {
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

/// The numbers behind options, each of which may be there once and in any order.
fn numbers<const N: usize>(
    command: &str,
    given: &[&str],
    names: [&str; N],
) -> Result<[Option<u64>; N], Failure> {
    let mut values = [None; N];
    let mut rest = given;
    while let [name, value, others @ ..] = rest {
        let place = names.iter().position(|known| known == name);
        let number = value.parse().ok();
        match (place, number) {
            (Some(place), Some(number)) if values[place].is_none() => values[place] = Some(number),
            _ => break,
        }
        rest = others;
    }
    if rest.is_empty() {
        Ok(values)
    } else {
        Err(usage(format!("`{command}` does not take `{}`", rest.join(" "))))
    }
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
    fn options_with_numbers_come_in_any_order() {
        let soak = |line: &str| match parse(line) {
            Ok(Command::SoakExtract { cases, seed }) => (cases, seed),
            _ => panic!("no soak: {line}"),
        };
        assert_eq!(soak("soak extract"), (SOAK_CASES, SOAK_SEED));
        assert_eq!(soak("soak extract --seed 7 --cases 3"), (3, 7));
        assert!(matches!(parse("soak service --kills 3"), Ok(Command::SoakService { kills: 3 })));
        let fuzz = |line: &str| match parse(line) {
            Ok(Command::Fuzz { target, seconds }) => (target, seconds),
            _ => panic!("no fuzzing: {line}"),
        };
        assert_eq!(fuzz("fuzz"), (None, 60));
        assert_eq!(fuzz("fuzz answers --seconds 5"), (Some("answers".to_owned()), 5));
        for wrong in [
            "soak extract --cases",
            "soak extract --cases x",
            "soak extract --cases 1 --cases 2",
            "soak load",
            "fuzz --seconds 0",
            "fuzz --seconds 9999999999",
            "fuzz answers state",
            "bench",
            "bench sleep",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_benchmark_gets_its_arguments_untouched() {
        let Command::Bench { benchmark, arguments } = parse("bench extract requests").unwrap()
        else {
            panic!("not a benchmark")
        };
        assert_eq!(
            (benchmark.name, arguments.as_slice()),
            ("extract", &["requests".to_owned()][..])
        );
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
