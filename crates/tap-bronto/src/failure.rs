//! Failures of reading, in the core's terms.

use std::{error::Error, fmt};

use bronto_client::{Class, ClientError, FaultCode, Function};
use replication::source::{SourceError, SourceErrorKind};

use crate::custom_fields::removed_meanwhile;

/// Why a stream's reading ended early.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The run was asked to stop.
    Interrupted,
    /// The position in the activity window is lost; the window can begin again.
    CursorLost(SourceError),
    /// The server finds the start of an activity window too old; it can begin again, later.
    StartTooOld(SourceError),
    /// It failed.
    Failed(SourceError),
}

impl From<SourceError> for Halt {
    fn from(error: SourceError) -> Self {
        Self::Failed(error)
    }
}

impl From<replication::event::LoaderGone> for Halt {
    fn from(gone: replication::event::LoaderGone) -> Self {
        Self::Failed(gone.into())
    }
}

impl From<ClientError> for Halt {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::CursorLost { .. } => Self::CursorLost(source_error(&error)),
            _ if error.fault().is_some_and(|fault| fault.code() == FaultCode::InvalidStartDate) => {
                Self::StartTooOld(source_error(&error))
            }
            _ if error.fault().is_some_and(|fault| fault.code() == FaultCode::InvalidField) => {
                Self::Failed(removed_meanwhile().caused_by(error))
            }
            _ => Self::Failed(source_error(&error)),
        }
    }
}

/// The client's error in the core's terms.
pub(crate) fn source_error(error: &ClientError) -> SourceError {
    let kind = match error.class() {
        Class::Configuration => SourceErrorKind::Configuration,
        Class::Refused => SourceErrorKind::Refused,
        Class::Unavailable => SourceErrorKind::Unavailable,
    };
    let described = SourceError::new(kind, error.to_string(), error.remedy());
    match Cause::of(error) {
        Some(cause) => described.caused_by(cause),
        None => described,
    }
}

/// Whether the error concerns the account as a whole, so that no other stream can be read either.
pub(crate) fn is_about_the_account(error: &ClientError) -> bool {
    let login =
        |error: &ClientError| matches!(error, ClientError::Fault { function: Function::Login, .. });
    match error {
        ClientError::GaveUp { source, .. } => is_about_the_account(source),
        _ => error.class() == Class::Configuration || login(error),
    }
}

/// The text of an error's causes, so that the chain outlives the error.
#[derive(Debug)]
struct Cause {
    text: String,
    source: Option<Box<Self>>,
}

impl Cause {
    fn of(error: &dyn Error) -> Option<Box<Self>> {
        let source = error.source()?;
        Some(Box::new(Self { text: source.to_string(), source: Self::of(source) }))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
