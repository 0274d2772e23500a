//! Everything that can go wrong, and for each: try again or not, whose fault, what to do.

use std::time::Duration;

use crate::decode::AnswerDefect;
use crate::endpoint::EndpointError;
use crate::fault::Fault;
use crate::fault_code::{Blame, FaultCode, Retry};
use crate::request::Function;

/// Why a call failed.
///
/// Messages name the function or host and never hold values, tokens or sessions; causes are in
/// the chain of sources.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The endpoint is no address that a token may be sent to.
    #[error("The endpoint can not be used")]
    BadEndpoint(#[from] EndpointError),
    /// The token is empty or holds characters that no token has.
    #[error("The token is empty or holds white space or control characters")]
    BadToken,
    /// A certificate to trust can't be read.
    #[error("The certificate to trust is not a certificate in PEM form")]
    BadCertificate {
        /// What the TLS library said.
        source: Option<Box<reqwest::Error>>,
    },
    /// The HTTP client can't be made from the settings.
    #[error("The connection to `{host}` can not be set up")]
    BadSetting {
        /// The endpoint's host.
        host: String,
        /// What the HTTP client said.
        source: Box<reqwest::Error>,
    },
    /// The service answered with a fault.
    #[error("`{function}` was answered with {fault}")]
    Fault {
        /// The function called.
        function: Function,
        /// The fault.
        fault: Fault,
    },
    /// The position in an activity window is lost: begin the window again with
    /// [`Cursor::First`](crate::Cursor::First). The session is renewed by then if need be.
    #[error("The position in the activity window is lost")]
    CursorLost {
        /// What went wrong; none when this session has no such query open.
        source: Option<Box<ClientError>>,
    },
    /// Several tries failed, the last one with the source.
    #[error("Gave up after {tries} tries")]
    GaveUp {
        /// How many.
        tries: u32,
        /// The last failure.
        source: Box<ClientError>,
    },
    /// No connection could be made.
    #[error("`{host}` could not be reached")]
    Unreachable {
        /// The endpoint's host.
        host: String,
        /// What the HTTP client said.
        source: Box<reqwest::Error>,
    },
    /// The connection or the answer took too long.
    #[error("`{host}` did not answer `{function}` within {} s", limit.as_secs_f64())]
    Timeout {
        /// The endpoint's host.
        host: String,
        /// The function called.
        function: Function,
        /// The time it was given.
        limit: Duration,
    },
    /// The connection broke before the answer was complete.
    #[error("The connection to `{host}` broke before the answer to `{function}` was complete")]
    Reset {
        /// The endpoint's host.
        host: String,
        /// The function called.
        function: Function,
        /// What the HTTP client said.
        source: Box<reqwest::Error>,
    },
    /// No encrypted connection could be made, or the server could not prove who it is.
    #[error("No trusted TLS connection to `{host}` could be made")]
    Tls {
        /// The endpoint's host.
        host: String,
        /// What the TLS library said.
        source: Box<reqwest::Error>,
    },
    /// The server points elsewhere. Redirects are never followed with a token.
    #[error("`{host}` redirects `{function}` to `{target}`, and redirects are not followed")]
    Redirect {
        /// The endpoint's host.
        host: String,
        /// The function called.
        function: Function,
        /// The host it points to.
        target: String,
    },
    /// An HTTP error without a SOAP fault.
    #[error("`{function}` was answered with HTTP status {status}")]
    HttpStatus {
        /// The function called.
        function: Function,
        /// The status.
        status: u16,
    },
    /// The body is not the whole answer to what was asked.
    #[error("`{function}` was answered with something that can not be used")]
    BadAnswer {
        /// The function called.
        function: Function,
        /// What is wrong with it.
        source: AnswerDefect,
    },
    /// The body is larger than allowed.
    #[error("The answer to `{function}` is larger than {limit} bytes")]
    TooLarge {
        /// The function called.
        function: Function,
        /// The limit.
        limit: usize,
    },
}

/// How a failure looks to who runs the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The settings can't work; nothing was sent.
    Configuration,
    /// The service refuses: token, permission or request. Trying again changes nothing.
    Refused,
    /// The service can't be used now, tries included.
    Unavailable,
}

impl ClientError {
    /// Whether to send the request again. The client has done so already where it may.
    pub fn retry(&self) -> Retry {
        match self {
            Self::BadEndpoint(_)
            | Self::BadToken
            | Self::BadCertificate { .. }
            | Self::BadSetting { .. }
            | Self::CursorLost { .. }
            | Self::GaveUp { .. }
            | Self::Tls { .. }
            | Self::Redirect { .. }
            | Self::TooLarge { .. } => Retry::No,
            Self::Fault { fault, .. } => fault.code().retry(),
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Reset { .. } => Retry::Soon,
            Self::HttpStatus { status, .. } if is_passing(*status) => Retry::Soon,
            Self::BadAnswer { source, .. } if source.is_passing() => Retry::Soon,
            Self::HttpStatus { .. } | Self::BadAnswer { .. } => Retry::No,
        }
    }

    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::BadEndpoint(_)
            | Self::BadToken
            | Self::BadCertificate { .. }
            | Self::BadSetting { .. }
            | Self::Redirect { .. } => Blame::Operator,
            Self::Fault { fault, .. } => fault.code().blame(),
            Self::CursorLost { source: Some(source) } | Self::GaveUp { source, .. } => {
                source.blame()
            }
            Self::CursorLost { source: None } => Blame::Program,
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Reset { .. } => Blame::Network,
            Self::Tls { .. } => Blame::Network,
            Self::HttpStatus { status, .. } if is_passing(*status) => Blame::Service,
            Self::HttpStatus { .. } => Blame::Operator,
            Self::BadAnswer { .. } | Self::TooLarge { .. } => Blame::Service,
        }
    }

    /// What kind of failure it is for who runs the program.
    pub fn class(&self) -> Class {
        match self {
            Self::BadEndpoint(_)
            | Self::BadToken
            | Self::BadCertificate { .. }
            | Self::BadSetting { .. } => Class::Configuration,
            _ if self.is_stale_session() => Class::Unavailable,
            Self::CursorLost { source: Some(source) } | Self::GaveUp { source, .. } => {
                source.class()
            }
            Self::Fault { fault, .. } => match fault.code().retry() {
                // Only a session that never worked gets 107 for good: the request is at fault.
                Retry::No => Class::Refused,
                _ if fault.code() == FaultCode::InvalidRequest => Class::Refused,
                _ => Class::Unavailable,
            },
            Self::HttpStatus { status, .. } if !is_passing(*status) => Class::Refused,
            Self::Redirect { .. } => Class::Refused,
            Self::CursorLost { source: None }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Reset { .. }
            | Self::Tls { .. }
            | Self::HttpStatus { .. }
            | Self::BadAnswer { .. }
            | Self::TooLarge { .. } => Class::Unavailable,
        }
    }

    /// What the operator should do, in a sentence without a full stop.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::BadEndpoint(_) => {
                "Set the endpoint to `https://api.bronto.com/v4`, or leave it out"
            }
            Self::BadToken => "Set the token to a SOAP API token, without quotes or line ends",
            Self::BadCertificate { .. } => "Name a file with certificates in PEM form",
            Self::BadSetting { .. } => {
                "Install the system's certificates (on Debian the package `ca-certificates`)"
            }
            Self::Fault { fault, .. } => fault.code().remedy(),
            _ if self.is_stale_session() => FaultCode::InvalidSessionToken.remedy(),
            Self::CursorLost { source: Some(source) } | Self::GaveUp { source, .. } => {
                source.remedy()
            }
            Self::CursorLost { source: None } => "Read the activity window from its start",
            Self::Unreachable { .. } => {
                "Check the endpoint, the name service, firewalls and the proxy settings, and run again"
            }
            Self::Timeout { .. } => "Run again later, or allow more time per request",
            Self::Reset { .. } => "Check the network and any proxy, and run again",
            Self::Tls { .. } => {
                "Check that the endpoint speaks HTTPS, that this machine's clock is right, and that \
                 the certificate's issuer is trusted here"
            }
            Self::Redirect { .. } => "Set the endpoint to the address that is meant",
            Self::HttpStatus { status, .. } if is_passing(*status) => "Run again later",
            Self::HttpStatus { .. } => "Check the endpoint and any proxy before it",
            Self::BadAnswer { source, .. } if source.is_passing() => {
                "Check that the endpoint is Bronto's and that no proxy answers in its place, and run \
                 again"
            }
            Self::BadAnswer { .. } => "Check that the endpoint is Bronto's API, version 4",
            Self::TooLarge { .. } => "Raise the largest answer accepted, or lower the page size",
        }
    }

    /// Whether it is a 107 behind retries or a lost cursor. Those come only where the session had worked before, and then
    /// 107 says that it has died (see the table of faults), and not that the request is wrong.
    fn is_stale_session(&self) -> bool {
        let (Self::CursorLost { source: Some(source) } | Self::GaveUp { source, .. }) = self else {
            return false;
        };
        source.fault().is_some_and(|fault| fault.code() == FaultCode::InvalidRequest)
    }

    /// The fault behind the failure, through retries and lost cursors.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Fault { fault, .. } => Some(fault),
            Self::CursorLost { source: Some(source) } | Self::GaveUp { source, .. } => {
                source.fault()
            }
            _ => None,
        }
    }
}

/// Whether an HTTP status without a fault may be another one next time.
fn is_passing(status: u16) -> bool {
    // 408 and 429 ask for it in so many words.
    matches!(status, 408 | 429 | 500..=599)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(number: u32) -> ClientError {
        ClientError::Fault {
            function: Function::ReadLists,
            fault: Fault::received(Some(number), ""),
        }
    }

    #[test]
    fn faults_are_classed_by_what_they_ask_for() {
        for number in [102, 104, 105, 106, 107, 109, 110, 111, 112, 114, 115, 302, 1201, 4711] {
            assert_eq!(fault(number).class(), Class::Refused, "{number}");
        }
        for number in [101, 103, 108, 113] {
            assert_eq!(fault(number).class(), Class::Unavailable, "{number}");
        }
    }

    #[test]
    fn wrapping_keeps_class_blame_remedy_and_fault() {
        let inner = fault(108);
        let (class, blame, remedy) = (inner.class(), inner.blame(), inner.remedy());
        let source = Box::new(ClientError::GaveUp { tries: 6, source: Box::new(inner) });
        let wrapped = ClientError::CursorLost { source: Some(source) };
        assert_eq!((wrapped.class(), wrapped.blame(), wrapped.remedy()), (class, blame, remedy));
        assert_eq!(wrapped.fault().map(Fault::code), Some(FaultCode::ShardOffline));
        assert_eq!(wrapped.retry(), Retry::No);
    }

    #[test]
    fn http_statuses_without_a_fault() {
        let error = |status| ClientError::HttpStatus { function: Function::Login, status };
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(
                (error(status).retry(), error(status).class()),
                (Retry::Soon, Class::Unavailable)
            );
        }
        for status in [400, 401, 403, 404, 405, 415] {
            assert_eq!((error(status).retry(), error(status).class()), (Retry::No, Class::Refused));
        }
    }
}
