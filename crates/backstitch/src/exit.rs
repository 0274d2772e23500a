//! How a command ends. The codes are a contract with scripts and schedulers.

use std::process::ExitCode;

use crate::interrupt::Signal;

/// The documented ends of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// Done.
    Done,
    /// Something that should not happen: a defect of this program.
    Unexpected,
    /// The command line or the configuration is wrong.
    Configuration,
    /// The source refused: token, permission, or input that breaks the protocol.
    SourceRefused,
    /// The source could not be reached, or kept failing after all retries.
    SourceUnavailable,
    /// The service that was asked doesn't know the token, or doesn't allow what was asked.
    ServiceRefused,
    /// The service that was asked could not be reached, or could not answer.
    ServiceUnavailable,
    /// The destination refused or could not be reached.
    Destination,
    /// More rows were rejected than are allowed.
    Rejects,
    /// The books don't balance, and nothing of that unit was committed; or an audit found differences.
    Books,
    /// The schema is claimed by another run.
    Claimed,
    /// Stopped by a signal, after a clean checkpoint.
    Interrupted(Signal),
}

impl ExitStatus {
    /// The code that the process ends with.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unexpected => 1,
            Self::Configuration => 2,
            Self::SourceRefused | Self::ServiceRefused => 3,
            Self::SourceUnavailable | Self::ServiceUnavailable => 4,
            Self::Destination => 5,
            Self::Rejects => 6,
            Self::Books => 7,
            Self::Claimed => 8,
            Self::Interrupted(signal) => signal.exit_code(),
        }
    }

    /// The kind of failure in one word, as it is stored with a run.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unexpected => "unexpected",
            Self::Configuration => "configuration",
            Self::SourceRefused => "source_refused",
            Self::SourceUnavailable => "source_unavailable",
            Self::ServiceRefused => "service_refused",
            Self::ServiceUnavailable => "service_unavailable",
            Self::Destination => "destination",
            Self::Rejects => "rejects",
            Self::Books => "books",
            Self::Claimed => "claimed",
            Self::Interrupted(_) => "interrupted",
        }
    }

    /// How a run ended whose kind of failure is stored as this word; a word that isn't known is of a later version.
    pub(crate) fn of_word(word: &str) -> Self {
        let known = [
            Self::Configuration,
            Self::SourceRefused,
            Self::SourceUnavailable,
            Self::Destination,
            Self::Rejects,
            Self::Books,
            Self::Claimed,
        ];
        known.into_iter().find(|exit| exit.word() == word).unwrap_or(Self::Unexpected)
    }

    /// The code in the form that `main` returns.
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(self.number())
    }
}
