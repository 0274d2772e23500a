//! Exit codes, and the lines that come before those that are not zero.

use std::{error::Error, io, process::ExitCode};

use replication::source::{SourceError, SourceErrorKind};
use singer::{CatalogError, SelectionError, StateError};
use tap_bronto::config::ConfigError;

use super::log;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything selected was read.
    Done,
    /// A defect of this program.
    Bug,
    /// The command line, configuration, catalog or state is wrong.
    Usage,
    /// Bronto refused.
    Refused,
    /// Bronto could not be reached, or not be relied on.
    Unavailable,
    /// The reader of standard output went away.
    ReaderGone,
    /// Interrupted from the terminal, after a last state.
    Interrupted,
    /// Told to end, after a last state.
    Terminated,
}

impl Exit {
    /// The code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Bug => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Unavailable => 4,
            Self::ReaderGone => 5,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// Of several exits the one to end with: what needs a person comes before what another run may get over, and a defect
    /// before all. So a scheduler that repeats a run after code 4 never repeats one that can't succeed.
    fn severity(self) -> u8 {
        match self {
            Self::Bug => 6,
            Self::Usage => 5,
            Self::Refused => 4,
            Self::ReaderGone => 3,
            Self::Unavailable => 2,
            Self::Terminated | Self::Interrupted => 1,
            Self::Done => 0,
        }
    }

    /// The exit that a failure of the source leads to.
    pub(crate) fn of(kind: SourceErrorKind) -> Self {
        match kind {
            SourceErrorKind::Configuration | SourceErrorKind::Malformed => Self::Usage,
            SourceErrorKind::Refused => Self::Refused,
            SourceErrorKind::Unavailable | SourceErrorKind::Unsound => Self::Unavailable,
            SourceErrorKind::LoaderGone => Self::ReaderGone,
            SourceErrorKind::Bug => Self::Bug,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why the program can't do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// One line for each thing that is wrong, and each cause.
    lines: Vec<String>,
    remedies: Vec<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { exit, lines: vec![message.into()], remedies: vec![remedy.into()] }
    }

    /// Several failures, ending as the most severe, which is told first.
    pub(crate) fn all(failures: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut failures: Vec<_> = failures.into_iter().collect();
        failures.sort_by(|one, other| {
            let severity = |failure: &Self| std::cmp::Reverse(failure.exit.severity());
            severity(one).cmp(&severity(other)).then_with(|| one.lines.cmp(&other.lines))
        });
        failures.into_iter().reduce(|mut first, other| {
            first.lines.extend(other.lines);
            first.remedies.extend(other.remedies);
            first
        })
    }

    /// The failure with its message put in context.
    pub(crate) fn within(mut self, context: &str) -> Self {
        if let Some(first) = self.lines.first_mut() {
            *first = format!("{context}: {first}");
        }
        self
    }

    /// Says what is wrong and what to do. Says nothing if nobody reads any more.
    pub(crate) fn report(self) -> Exit {
        if self.exit != Exit::ReaderGone {
            for line in &self.lines {
                log::critical(line);
            }
            let mut remedies = self.remedies;
            remedies.dedup();
            for remedy in remedies {
                log::critical(&format!("What to do: {remedy}"));
            }
        }
        self.exit
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let mut lines = vec![error.to_string()];
        let mut cause = error.source();
        while let Some(error) = cause {
            lines.push(format!("Because: {error}"));
            cause = error.source();
        }
        Self { exit: Exit::of(error.kind), lines, remedies: vec![error.remedy] }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let (lines, remedies) =
            error.problems.into_iter().map(|problem| (problem.message, problem.remedy)).collect();
        Self { exit: Exit::Usage, lines, remedies }
    }
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Self::new(Exit::Usage, error.to_string(), error.remedy())
    }
}

impl From<SelectionError> for Failure {
    fn from(error: SelectionError) -> Self {
        Self::new(Exit::Usage, error.to_string(), error.remedy())
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::new(Exit::Usage, error.to_string(), error.remedy())
    }
}

/// Standard output failed: as a rule because its reader went away, which is not ours to complain about.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::ReaderGone, "The reader went away", ""),
            _ => Self::new(
                Exit::ReaderGone,
                format!("Standard output can't be written: {error}"),
                "Check where standard output goes, for example whether the disk is full",
            )
            .loud(),
        }
    }
}

impl Failure {
    /// A failure to write that is worth a word: the code of the reader's, but said.
    fn loud(self) -> Self {
        for line in self.lines.iter().chain(&self.remedies) {
            log::critical(line);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_failures_end_as_the_most_severe_in_whatever_order_they_came() {
        let failure = |exit, stream: &str| Failure::new(exit, format!("{stream}: failed"), stream);
        let failures = |reversed: bool| {
            let mut all = vec![
                failure(Exit::Unavailable, "contact"),
                failure(Exit::Refused, "unsubscribe"),
                failure(Exit::Refused, "list"),
            ];
            if reversed {
                all.reverse();
            }
            Failure::all(all).map(|failure| (failure.exit, failure.lines))
        };
        let lines = ["list: failed", "unsubscribe: failed", "contact: failed"];
        let expected = Some((Exit::Refused, lines.map(str::to_owned).to_vec()));
        assert_eq!((failures(false), failures(true)), (expected.clone(), expected));
        assert!(Failure::all([]).is_none());
    }
}
