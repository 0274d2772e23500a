//! What goes wrong, in words: the server's SQLSTATE decides the kind of failure, and with it whether trying again makes
//! sense. The server's details and contexts, which may hold values of rows, never get into a message.

use std::{error::Error as StdError, fmt, io};

use replication::{
    destination::{DestinationError, DestinationErrorKind as Kind},
    reject::ReasonCode,
};
use tokio_postgres::{Error, error::DbError, error::Severity};

use crate::{
    config::{PASSWORD_REMEDY, PostgresConfig, WRONG_PASSWORD_REMEDY},
    patience::Effort,
};

/// What was being done when something went wrong; completes the sentence "PostgreSQL refused to …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Doing {
    text: String,
    with_rows: bool,
    pub(crate) effort: Effort,
}

impl Doing {
    /// Anything but writing rows, done at once.
    pub(crate) fn task(text: impl Into<String>) -> Self {
        Self { text: text.into(), with_rows: false, effort: Effort::Brief }
    }

    /// Anything but writing rows, which takes the longer the more rows there are.
    pub(crate) fn work(text: impl Into<String>) -> Self {
        Self { effort: Effort::Lasting, ..Self::task(text) }
    }

    /// Writing rows of a table: the one task in which a bad value can be at fault.
    pub(crate) fn rows(table: &str) -> Self {
        Self { with_rows: true, ..Self::work(format!("write rows of `{table}`")) }
    }
}

/// Why a call to the server failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The client reports it, with or without an answer of the server.
    Client(Error),
    /// The host's addresses can't be found, or may not be connected to.
    Address(io::Error),
    /// No answer came in time.
    Deadline,
}

impl Trouble {
    /// Whether the server answered that it did not do what it was asked, and lives on.
    pub(crate) fn is_definite(&self) -> bool {
        let Self::Client(error) = self else { return false };
        error.as_db_error().is_some_and(|answer| {
            let fatal = matches!(answer.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
            !fatal && !matches!(class(answer), "08" | "57" | "58")
        })
    }

    /// Whether the server said it.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::Client(error) if error.as_db_error().is_some())
    }

    /// The failure of a task.
    pub(crate) fn of(self, doing: &Doing) -> DestinationError {
        match self {
            Self::Deadline => DestinationError::new(
                Kind::Unavailable,
                format!("PostgreSQL gave no answer in time when asked to {}", doing.text),
                "Look at the server's load and log; the same work can be tried again",
            ),
            Self::Address(error) => DestinationError::new(
                Kind::Unavailable,
                format!("PostgreSQL can't be reached to {}", doing.text),
                "Look whether the host's name is right",
            )
            .caused_by(error),
            Self::Client(error) => match error.as_db_error() {
                Some(answer) => refusal(answer, doing),
                None => lost(&error, doing),
            },
        }
    }
}

/// An answer that a statement of ours can't have.
pub(crate) fn unexpected(doing: &Doing) -> DestinationError {
    DestinationError::new(
        Kind::Bug,
        format!("PostgreSQL gave an unexpected answer when asked to {}", doing.text),
        "Report this defect",
    )
}

/// A connection that could not be made.
pub(crate) fn connecting(trouble: Trouble, config: &PostgresConfig) -> DestinationError {
    let place = config.place();
    let error = match trouble {
        Trouble::Client(error) => error,
        Trouble::Address(error) => {
            let is_refused = error.kind() == io::ErrorKind::PermissionDenied;
            let kind = if is_refused { Kind::Refused } else { Kind::Unavailable };
            let message = format!("The PostgreSQL server at `{place}` can't be connected to");
            let remedy = "Look whether the name of the host is right, and where it leads";
            return DestinationError::new(kind, message, remedy).caused_by(error);
        }
        Trouble::Deadline => {
            return DestinationError::new(
                Kind::Unavailable,
                format!("The PostgreSQL server at `{place}` gave no answer in time"),
                "Look whether the server runs, and whether a firewall stands between",
            );
        }
    };
    if let Some(answer) = error.as_db_error() {
        return sign_in_refused(answer, config);
    }
    if let Some(cause) = find::<rustls::Error>(&error) {
        return DestinationError::new(
            Kind::Refused,
            format!("The certificate of the PostgreSQL server at `{place}` was not accepted"),
            "Use the host name that the certificate is made for; if a private authority, or the server itself, signed \
             it, name the file with that certificate by `sslrootcert=FILE` in the address",
        )
        .caused_by(cause.clone());
    }
    let reason = error.source().map(ToString::to_string).unwrap_or_default();
    if reason == "password missing" {
        return DestinationError::new(
            Kind::Refused,
            format!(
                "The PostgreSQL server at `{place}` asks for the password of `{}`",
                config.user
            ),
            PASSWORD_REMEDY,
        );
    }
    if reason == "server does not support TLS" {
        return DestinationError::new(
            Kind::Refused,
            format!("The PostgreSQL server at `{place}` does not take TLS"),
            "Switch it on in the server (`ssl = on`); without it, rows and password would pass unprotected",
        );
    }
    let message = match find::<io::Error>(&error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => {
            format!("Nothing takes connections at `{place}`")
        }
        _ => format!("The PostgreSQL server at `{place}` can't be reached"),
    };
    let remedy = "Look whether the server runs, and whether host and port are right";
    DestinationError::new(Kind::Unavailable, message, remedy).caused_by(Cause::of(&error))
}

/// The server's answer to the attempt to sign in.
fn sign_in_refused(answer: &DbError, config: &PostgresConfig) -> DestinationError {
    let (user, database, place) = (&config.user, &config.database, config.place());
    let refused = |message: String, remedy: String| {
        DestinationError::new(Kind::Refused, message, remedy).caused_by(Cause::answer(answer))
    };
    match answer.code().code() {
        "28P01" => refused(
            format!("The PostgreSQL server at `{place}` does not accept the password of `{user}`"),
            WRONG_PASSWORD_REMEDY.to_owned(),
        ),
        "28000" => refused(
            format!("The PostgreSQL server at `{place}` does not let `{user}` sign in to `{database}`"),
            "Create the role with the privilege to log in, and allow it in the server's `pg_hba.conf`".to_owned(),
        ),
        "3D000" => refused(
            format!("The PostgreSQL server at `{place}` has no database `{database}`"),
            format!("Create it (`create database \"{database}\"`), or name another in the address"),
        ),
        "42501" => refused(
            format!("Role `{user}` may not connect to database `{database}` at `{place}`"),
            format!("Grant it (`grant connect on database \"{database}\" to \"{user}\"`)"),
        ),
        _ => refusal(answer, &Doing::task(format!("let `{user}` sign in at `{place}`"))),
    }
}

/// The server's answer to a statement.
fn refusal(answer: &DbError, doing: &Doing) -> DestinationError {
    let (kind, remedy) = judge(answer, doing);
    let message = format!("PostgreSQL refused to {}: {}", doing.text, Cause::answer(answer));
    DestinationError::new(kind, message, remedy)
}

/// The kind of failure that an answer means, and what to do about it.
fn judge(answer: &DbError, doing: &Doing) -> (Kind, &'static str) {
    let code = answer.code().code();
    if let Some(reason) = row_fault(code).filter(|_| doing.with_rows) {
        return (Kind::Row(reason), "Look at the row in `_sdc_rejected`");
    }
    match code {
        "42501" => (
            Kind::Refused,
            "Grant the role what it lacks: to create schemas and temporary tables in the database, or to \
             own the schema that it writes",
        ),
        "25006" => (
            Kind::Refused,
            "Name the primary server: this one is a read-only replica, or set to read-only",
        ),
        "53100" => (Kind::Full, "Make room on the server's disk"),
        "53300" => {
            (Kind::Unavailable, "Wait, or raise the server's `max_connections` or the role's limit")
        }
        "55P03" | "55006" | "40001" | "40P01" => (
            Kind::Busy,
            "Somebody else holds a lock on it; wait until they are done, or end their session",
        ),
        "57014" => (
            Kind::Unavailable,
            "The statement was cancelled, or took longer than allowed; try again",
        ),
        "42P01" | "42703" | "42704" | "3F000" => (
            Kind::Refused,
            "Something was dropped or renamed while the run went on; start it again",
        ),
        "25P03" => (
            Kind::Unavailable,
            "The run stood still within a transaction, as when its process is paused; it can be tried again",
        ),
        "21000" => (Kind::Bug, "Report this defect"),
        _ => match class(answer) {
            "08" | "53" | "57" | "58" => {
                (Kind::Unavailable, "Look at the server's log; try again when it is well")
            }
            "28" => (Kind::Refused, WRONG_PASSWORD_REMEDY),
            "25" | "26" | "34" => (Kind::Bug, "Report this defect"),
            _ => (Kind::Refused, "The server's log tells more"),
        },
    }
}

/// Why a row is to be rejected, by the code with which the server refused to write it. None if rows are not at fault.
fn row_fault(code: &str) -> Option<ReasonCode> {
    match code {
        "22021" | "22P05" => Some(ReasonCode::UnsupportedCharacter),
        "22003" => Some(ReasonCode::NumberRange),
        "22007" | "22008" => Some(ReasonCode::TimestampRange),
        "22P02" | "22030" | "22032" => Some(ReasonCode::WrongType),
        // Copied rows that the server can't read are our encoder's fault, and no row's.
        "22P03" | "22P04" => None,
        _ => match code.get(..2) {
            Some("54") => Some(ReasonCode::TooLarge),
            Some("22" | "23" | "44" | "P0") => Some(ReasonCode::RefusedByDestination),
            _ => None,
        },
    }
}

/// A failure without an answer of the server.
fn lost(error: &Error, doing: &Doing) -> DestinationError {
    if !error.is_closed() && find::<io::Error>(error).is_none() {
        return DestinationError::new(
            Kind::Bug,
            format!(
                "PostgreSQL and this program misunderstood each other on the attempt to {}",
                doing.text
            ),
            "Report this defect",
        )
        .caused_by(Cause::of(error));
    }
    DestinationError::new(
        Kind::Unavailable,
        format!("The connection to PostgreSQL was lost on the attempt to {}", doing.text),
        "Look whether the server was restarted or the network failed; the same work can be tried again",
    )
    .caused_by(Cause::of(error))
}

fn class(answer: &DbError) -> &str {
    answer.code().code().get(..2).unwrap_or_default()
}

fn find<E: StdError + 'static>(error: &Error) -> Option<&E> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error hides what it wraps from `source`.
        let wrapped = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// A cause that can be shown: what the client or the server says, without details that may hold values.
#[derive(Debug)]
struct Cause(String);

impl Cause {
    /// The server's message with its code. Messages about data may quote it, so of those only the code and the place
    /// are told.
    fn answer(answer: &DbError) -> Self {
        let code = answer.code().code();
        if !matches!(class(answer), "22" | "23" | "P0") {
            return Self(format!("{} (SQLSTATE {code})", answer.message()));
        }
        let place = match (answer.constraint(), answer.column()) {
            (Some(constraint), _) => format!(" by constraint `{constraint}`"),
            (None, Some(column)) => format!(" in column `{column}`"),
            (None, None) => String::new(),
        };
        Self(format!("a value was refused{place} (SQLSTATE {code})"))
    }

    fn of(error: &Error) -> Self {
        match (error.as_db_error(), error.source()) {
            (Some(answer), _) => Self::answer(answer),
            (None, Some(source)) => Self(source.to_string()),
            (None, None) => Self(error.to_string()),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl StdError for Cause {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_about_values_make_rejects_and_others_do_not() {
        for (code, reason) in [
            ("22021", Some(ReasonCode::UnsupportedCharacter)),
            ("22003", Some(ReasonCode::NumberRange)),
            ("54000", Some(ReasonCode::TooLarge)),
            ("23514", Some(ReasonCode::RefusedByDestination)),
            ("P0001", Some(ReasonCode::RefusedByDestination)),
            ("53100", None),
            ("40001", None),
            ("42501", None),
        ] {
            assert_eq!(row_fault(code), reason, "{code}");
        }
    }
}
