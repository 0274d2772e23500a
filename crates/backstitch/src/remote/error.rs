//! What can go wrong between this program and a service, and what to do about it.

use reqwest::StatusCode;
use service::api::shapes::ProblemView;

use crate::{display, exit::ExitStatus, failure::Failure};

/// The longest text of an answer that is shown.
const LONGEST: usize = 2_000;

/// Why a service could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    /// No connection, or it broke.
    #[error("The service at `{server}` can't be reached")]
    Unreachable {
        /// The service.
        server: String,
        /// How.
        source: Box<reqwest::Error>,
    },
    /// No answer in time.
    #[error("The service at `{server}` did not answer within {seconds} seconds")]
    TimedOut {
        /// The service.
        server: String,
        /// How long was waited.
        seconds: u64,
    },
    /// It sends its callers elsewhere, where the token doesn't go.
    #[error(
        "The service at `{server}` sends its callers to `{target}`, and the token doesn't go there"
    )]
    Redirect {
        /// The service.
        server: String,
        /// The other host.
        target: String,
    },
    /// Something else than a service of ours.
    #[error(
        "What answers at `{server}` is no service of Backstitch that this version understands ({what})"
    )]
    Foreign {
        /// The address.
        server: String,
        /// What was answered.
        what: String,
    },
    /// The service said what is wrong.
    #[error("{}", display::one_line(&.0.detail, LONGEST))]
    Problem(Box<ProblemView>),
}

impl RemoteError {
    /// Whether it may go well the next time.
    pub(super) fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::Redirect { .. } | Self::Foreign { .. } => false,
            Self::Problem(problem) => is_busy(problem.status),
        }
    }

    /// Whether the thing that was asked for isn't there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Problem(problem) if problem.status == StatusCode::NOT_FOUND)
    }

    fn exit(&self) -> ExitStatus {
        let problem = match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => {
                return ExitStatus::ServiceUnavailable;
            }
            Self::Redirect { .. } | Self::Foreign { .. } => return ExitStatus::Configuration,
            Self::Problem(problem) => problem,
        };
        match problem.status {
            401 | 403 => ExitStatus::ServiceRefused,
            409 if problem.kind == "urn:backstitch:problem:already-running" => ExitStatus::Claimed,
            500 => ExitStatus::Unexpected,
            status if is_busy(status) => ExitStatus::ServiceUnavailable,
            _ => ExitStatus::Configuration,
        }
    }

    fn remedy(&self) -> &str {
        match self {
            Self::Unreachable { .. } => {
                "Check the address and whether the service runs; a certificate of your own is trusted by `--ca-file FILE`"
            }
            Self::TimedOut { .. } => "Look whether the service is well, then try again",
            Self::Redirect { .. } => "Give the service's own address by `--server`",
            Self::Foreign { .. } => "Check the address that is given by `--server`",
            // The service speaks of headers, which nobody sends by hand here.
            Self::Problem(problem) if problem.status == StatusCode::UNAUTHORIZED => {
                "Give a token that is valid in BACKSTITCH_API_TOKEN or by `--token-file FILE`; the service makes them at `/api/v1/tokens`"
            }
            Self::Problem(problem) => &problem.remedy,
        }
    }
}

fn is_busy(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        let remedy = display::one_line(error.remedy(), LONGEST);
        let mut failure = Self::new(error.exit(), error.to_string()).with_hint(remedy);
        match &error {
            RemoteError::Unreachable { source, .. } => failure.caused_by(source.as_ref()),
            RemoteError::Problem(problem) if problem.errors.len() > 1 => {
                for fault in &problem.errors {
                    let line = format!("`{}`: {}: {}", fault.pointer, fault.detail, fault.remedy);
                    failure = failure.and(display::one_line(&line, LONGEST));
                }
                failure
            }
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use service::api::shapes::Fault;

    use super::*;

    fn problem(status: u16, slug: &str) -> RemoteError {
        RemoteError::Problem(Box::new(ProblemView {
            kind: format!("urn:backstitch:problem:{slug}"),
            title: "A title".to_owned(),
            status,
            detail: "What happened\u{1b}[2J".to_owned(),
            remedy: "What to do".to_owned(),
            errors: Vec::new(),
        }))
    }

    #[test]
    fn every_problem_ends_with_a_documented_code() {
        for (status, slug, exit) in [
            (401, "unauthenticated", 3),
            (403, "forbidden", 3),
            (404, "not-found", 2),
            (409, "already-running", 8),
            (409, "taken", 2),
            (412, "changed", 2),
            (422, "invalid", 2),
            (429, "too-many", 4),
            (500, "unexpected", 1),
            (503, "unavailable", 4),
        ] {
            assert_eq!(problem(status, slug).exit().number(), exit, "{status} {slug}");
        }
    }

    #[test]
    fn a_problem_is_one_message_with_its_remedy() {
        insta::assert_snapshot!(Failure::from(problem(409, "taken")).render(), @r"
        error: What happened\u{1b}[2J
        hint: What to do
        ");
        let RemoteError::Problem(mut several) = problem(422, "invalid") else { return };
        let fault = |pointer: &str| Fault {
            pointer: pointer.to_owned(),
            detail: "It is wrong".to_owned(),
            remedy: "Mend it".to_owned(),
        };
        several.errors = vec![fault("/name"), fault("/schedule/cron")];
        insta::assert_snapshot!(Failure::from(RemoteError::Problem(several)).render(), @r"
        error: What happened\u{1b}[2J
          caused by: `/name`: It is wrong: Mend it
          caused by: `/schedule/cron`: It is wrong: Mend it
        hint: What to do
        ");
    }
}
