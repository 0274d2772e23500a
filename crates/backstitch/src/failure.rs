//! What a command that failed tells its user: one message, its causes, and what to do. This is the only place where
//! errors are printed.

use std::{
    error::Error,
    io::{self, Write},
};

use replication::{
    destination::{DestinationError, DestinationErrorKind},
    run::RunError,
    source::{SourceError, SourceErrorKind},
    stream::StreamName,
};
use serde_json::{Value, json};

use crate::exit::ExitStatus;

/// Where defects are reported; shown with every failure that is one.
const REPORT_DEFECT: &str = "This is a defect of Backstitch; please report it with the lines above";

/// A command's failure.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: ExitStatus,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    /// A failure that ends the process with `exit`.
    pub(crate) fn new(exit: ExitStatus, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), causes: Vec::new(), hint: None }
    }

    /// The command line or the configuration is wrong.
    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self::new(ExitStatus::Configuration, message)
    }

    /// Adds what the user should do.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into()).filter(|hint: &String| !hint.is_empty());
        self
    }

    /// Adds an error and its causes to the chain.
    pub(crate) fn caused_by(mut self, error: &dyn Error) -> Self {
        let mut next = Some(error);
        while let Some(cause) = next {
            self = self.and(cause.to_string());
            next = cause.source();
        }
        self
    }

    /// Adds a line to what is wrong, unless the line above says the same already.
    pub(crate) fn and(mut self, line: String) -> Self {
        let above = self.causes.last().unwrap_or(&self.message);
        if !line.is_empty() && !above.contains(&line) {
            self.causes.push(line);
        }
        self
    }

    /// What is wrong, with its causes, in one line.
    pub(crate) fn sentence(&self) -> String {
        std::iter::once(&self.message).chain(&self.causes).cloned().collect::<Vec<_>>().join(": ")
    }

    /// What to do about it; empty if there is nothing to say.
    pub(crate) fn remedy(&self) -> &str {
        self.hint.as_deref().unwrap_or_default()
    }

    /// How the process ends.
    pub(crate) fn exit(&self) -> ExitStatus {
        self.exit
    }

    /// The failure as part of a JSON report.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "exit_code": self.exit.number(),
            "message": self.message,
            "causes": self.causes,
            "hint": self.hint,
        })
    }

    /// The failure as text: the message, one line per cause, and the hint.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("error: {}\n", self.message);
        for cause in &self.causes {
            text.push_str(&format!("  caused by: {cause}\n"));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("hint: {hint}\n"));
        }
        text
    }

    /// Prints the failure on standard error.
    pub(crate) fn print(&self) {
        // Nobody is left to tell when standard error is closed.
        io::stderr().lock().write_all(self.render().as_bytes()).unwrap_or_default();
    }
}

impl From<&SourceError> for Failure {
    fn from(error: &SourceError) -> Self {
        Self::new(source_exit(error.kind), &error.message)
            .with_hint(source_hint(error))
            .caused_by(error)
    }
}

impl From<&DestinationError> for Failure {
    fn from(error: &DestinationError) -> Self {
        let hint = match error.kind {
            DestinationErrorKind::Bug => REPORT_DEFECT,
            _ => &error.remedy,
        };
        Self::new(destination_exit(&error.kind), &error.message).with_hint(hint).caused_by(error)
    }
}

impl From<&RunError> for Failure {
    fn from(error: &RunError) -> Self {
        match error {
            RunError::Source(error) => error.into(),
            RunError::Destination(error) => error.into(),
            RunError::Streams(failed) => streams(error, failed),
            RunError::Books(_) => Self::new(ExitStatus::Books, error.to_string())
                .with_hint(error.remedy())
                .caused_by(error),
            RunError::Rejects { .. } => Self::new(ExitStatus::Rejects, error.to_string())
                .with_hint(error.remedy())
                .caused_by(error),
            RunError::Observer(_) => Self::new(ExitStatus::Unexpected, error.to_string())
                .with_hint(error.remedy())
                .caused_by(error),
        }
    }
}

/// Streams that failed, each on its own. If all of them say the same, it is said once.
fn streams(error: &RunError, failed: &[(StreamName, SourceError)]) -> Failure {
    let mut failed: Vec<&(StreamName, SourceError)> = failed.iter().collect();
    failed.sort_by_key(|(stream, _)| stream.as_str());
    let exit = error.source_kind().map_or(ExitStatus::Unexpected, source_exit);
    let Some((first, cause)) = failed.first() else { return Failure::new(exit, error.to_string()) };
    let names: Vec<String> = failed.iter().map(|(stream, _)| format!("`{stream}`")).collect();
    let failure = Failure::new(exit, format!("{} could not be replicated", names.join(", ")));
    if failed.iter().all(|(_, error)| error.message == cause.message) {
        return failure.with_hint(source_hint(cause)).caused_by(cause);
    }
    let decisive = failed
        .iter()
        .find(|(_, error)| source_exit(error.kind) == exit)
        .map_or(first, |(stream, _)| stream);
    let mut failure = failure;
    for (stream, error) in failed {
        if stream == decisive {
            failure = failure.with_hint(source_hint(error));
        }
        failure = failure.and(format!("`{stream}`: {error}"));
    }
    failure
}

/// The exit code for a source's failure.
fn source_exit(kind: SourceErrorKind) -> ExitStatus {
    match kind {
        SourceErrorKind::Configuration => ExitStatus::Configuration,
        SourceErrorKind::Refused | SourceErrorKind::Malformed => ExitStatus::SourceRefused,
        SourceErrorKind::Unavailable | SourceErrorKind::Unsound => ExitStatus::SourceUnavailable,
        SourceErrorKind::LoaderGone | SourceErrorKind::Bug => ExitStatus::Unexpected,
    }
}

fn source_hint(error: &SourceError) -> &str {
    match error.kind {
        SourceErrorKind::Bug => REPORT_DEFECT,
        _ => &error.remedy,
    }
}

/// The exit code for a destination's failure.
fn destination_exit(kind: &DestinationErrorKind) -> ExitStatus {
    match kind {
        DestinationErrorKind::Configuration => ExitStatus::Configuration,
        DestinationErrorKind::Claim(_) | DestinationErrorKind::Fenced => ExitStatus::Claimed,
        DestinationErrorKind::Bug => ExitStatus::Unexpected,
        DestinationErrorKind::Refused
        | DestinationErrorKind::Unavailable
        | DestinationErrorKind::Busy
        | DestinationErrorKind::Row(_)
        | DestinationErrorKind::CommitUnknown
        | DestinationErrorKind::Full => ExitStatus::Destination,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_message_the_causes_and_the_hint() {
        let cause = io::Error::other("Connection refused (os error 111)");
        let error = SourceError::new(
            SourceErrorKind::Unavailable,
            "Bronto could not be reached at `https://api.bronto.com/v4`",
            "Check the network, then run again",
        )
        .caused_by(cause);
        let failure = Failure::from(&error);
        assert_eq!(failure.exit(), ExitStatus::SourceUnavailable);
        insta::assert_snapshot!(failure.render(), @r"
        error: Bronto could not be reached at `https://api.bronto.com/v4`
          caused by: Connection refused (os error 111)
        hint: Check the network, then run again
        ");
    }

    #[test]
    fn a_claim_held_by_another_run_ends_with_its_own_code() {
        let refusal = replication::claim::Refusal::OtherIntegration { owner: "Shop".to_owned() };
        let failure = Failure::from(&DestinationError::claim_refused(refusal, "stitch_bronto"));
        assert_eq!(failure.exit().number(), 8);
    }
}
