//! What DuckDB's errors mean. DuckDB tells them apart by text only, so this is the one place that reads that text.

use std::path::Path;

use replication::{
    destination::{DestinationError, DestinationErrorKind},
    reject::ReasonCode,
};

/// Errors whose text may quote a row's values. They are told by their class only, without the text, also where another
/// error wraps them.
const VALUE_ERRORS: [&str; 5] = [
    "Conversion Error",
    "Invalid Input Error",
    "Out of Range Error",
    "Constraint Error",
    "Mismatch Type Error",
];

/// How the description of a merge begins.
pub(crate) const MERGING: &str = "merge rows into";

/// Texts by which operating systems say that there is no space.
const NO_SPACE: [&str; 4] =
    ["No space left on device", "Disk quota exceeded", "File too large", "max_temp_directory_size"];

/// After these, DuckDB answers nothing more until the file is closed and opened again.
const FATAL: [&str; 3] = ["FATAL Error", "INTERNAL Error", "has been invalidated"];

/// The error of something that was tried on a file; `doing` finishes the sentence "DuckDB could not …".
pub(crate) fn failed(path: &Path, doing: &str, error: duckdb::Error) -> DestinationError {
    let text = text(&error);
    let file = path.display();
    if let Some(holder) = lock_holder(&text) {
        return DestinationError::new(
            DestinationErrorKind::Busy,
            format!("File `{file}` is locked by {holder}"),
            "End that program or let it close the file; DuckDB lets one program at a time write a file",
        );
    }
    if value_error(&text).is_some() && !text.contains(crate::batch::FUNCTION) {
        return refused_value(path, doing, &text);
    }
    let (kind, message, remedy) = meaning(&text, &file.to_string()).unwrap_or_else(|| {
        let kind = if is_fatal(&text) {
            DestinationErrorKind::Unavailable
        } else {
            DestinationErrorKind::Refused
        };
        (kind, format!("DuckDB could not {doing} (file `{file}`)"), "See DuckDB's message below")
    });
    DestinationError::new(kind, message, remedy).caused_by(error)
}

/// Whether the database must be closed and opened again before it works again.
pub(crate) fn is_fatal(text: &str) -> bool {
    FATAL.iter().any(|mark| text.contains(mark))
}

/// Whether DuckDB had too little memory.
pub(crate) fn is_out_of_memory(text: &str) -> bool {
    text.contains("Out of Memory Error")
}

/// What was tried with too little memory, and may succeed now that there is more.
pub(crate) fn memory_raised(path: &Path, error: duckdb::Error) -> DestinationError {
    DestinationError::new(
        DestinationErrorKind::Busy,
        format!(
            "DuckDB needs more memory for file `{}` than it is given at first; now it may have it",
            path.display()
        ),
        "Nothing; set `memory_limit` if it takes too much",
    )
    .caused_by(error)
}

/// DuckDB's own text, which its crate wraps.
pub(crate) fn text(error: &duckdb::Error) -> String {
    match error {
        duckdb::Error::DuckDBFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    }
}

/// The errors that have a reason of their own, in an operator's words.
fn meaning(text: &str, file: &str) -> Option<(DestinationErrorKind, String, &'static str)> {
    use DestinationErrorKind::{Configuration, Full, Refused, Unavailable};
    let has = |marks: &[&str]| marks.iter().any(|mark| text.contains(mark));
    let found = if has(&NO_SPACE) {
        (
            Full,
            format!("There is no space left for file `{file}`"),
            "Make space on its disk, then run again",
        )
    } else if is_out_of_memory(text) {
        (
            Configuration,
            format!("DuckDB ran out of the memory that it may use for file `{file}`"),
            "Raise `memory_limit`, or leave it out",
        )
    } else if has(&["not a valid DuckDB database file", "Is a directory"]) {
        (
            Refused,
            format!("`{file}` exists but is not a DuckDB database"),
            "Choose another path; this file was not touched",
        )
    } else if has(&["Corrupt database file", "Could not read enough bytes"]) {
        (
            Refused,
            format!("File `{file}` is damaged"),
            "Restore it from a backup, or replicate into a new file; a damaged file is not written",
        )
    } else if has(&["version number", "storage version", "Failed to read WAL of version"]) {
        (
            Refused,
            format!(
                "File `{file}` was written by a version of DuckDB that this program can't read"
            ),
            "Update Backstitch, or export the file with the DuckDB that wrote it and import it into a new one",
        )
    } else if has(&[
        "Permission denied",
        "Read-only file system",
        "Operation not permitted",
        "read-only mode!",
    ]) {
        (
            Refused,
            format!("File `{file}` can't be written"),
            "Give this user the right to write the file and its folder (DuckDB keeps its log beside the file)",
        )
    } else if has(&["database does not exist"]) {
        (
            Refused,
            format!("File `{file}` does not exist"),
            "Replicate something into it first, or check the path",
        )
    } else if has(&["No such file or directory"]) {
        (
            Configuration,
            format!("The folder of `{file}` does not exist"),
            "Create the folder, or check the path",
        )
    } else if has(&["Failed to parse memory limit", "Unknown unit for memory", "memory_limit"]) {
        (
            Configuration,
            "`memory_limit` is not an amount of memory that DuckDB understands".to_owned(),
            "Write it like `512MB` or `2GB`",
        )
    } else if has(&["TransactionContext Error"]) && has(&["onflict", "altered"]) {
        (
            Unavailable,
            format!(
                "Another program in this process changed the same table of `{file}` at the same time"
            ),
            "Run again",
        )
    } else {
        return None;
    };
    Some(found)
}

fn value_error(text: &str) -> Option<&'static str> {
    VALUE_ERRORS.into_iter().find(|class| text.contains(class))
}

fn refused_value(path: &Path, doing: &str, text: &str) -> DestinationError {
    DestinationError::new(
        // Only rows that are merged are a source's; a value of our own that is refused is our defect.
        if doing.starts_with(MERGING) {
            DestinationErrorKind::Row(ReasonCode::RefusedByDestination)
        } else {
            DestinationErrorKind::Bug
        },
        format!(
            "DuckDB could not {doing} (file `{}`): {}",
            path.display(),
            value_error(text).unwrap_or("Error")
        ),
        "See the rejected rows; their values don't fit the table",
    )
}

/// Who holds a file, from DuckDB's text: `… Conflicting lock is held in PROGRAM (PID n). See also …`.
fn lock_holder(text: &str) -> Option<String> {
    if !text.contains("Could not set lock on file") {
        return None;
    }
    let named = || {
        let (_, held) = text.split_once("Conflicting lock is held in ")?;
        let (program, rest) = held.split_once("(PID ")?;
        let (pid, _) = rest.split_once(')')?;
        let program = program.trim();
        let name =
            Path::new(program).file_name().map_or(program.into(), |name| name.to_string_lossy());
        Some(format!("`{name}` (process {pid})"))
    };
    Some(named().unwrap_or_else(|| "another program".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> DestinationError {
        let error = duckdb::Error::DuckDBFailure(duckdb::ffi::Error::new(1), Some(text.to_owned()));
        failed(Path::new("w.duckdb"), "merge rows into `contact`", error)
    }

    #[test]
    fn a_lock_names_its_holder() {
        let error = told(
            "IO Error: Could not set lock on file \"/srv/w.duckdb\": Conflicting lock is held in /usr/bin/python3.11 \
             (PID 20643). See also https://duckdb.org/docs/stable/connect/concurrency",
        );
        assert_eq!(error.kind, DestinationErrorKind::Busy);
        assert_eq!(error.message, "File `w.duckdb` is locked by `python3.11` (process 20643)");
        let error = told(
            "IO Error: Could not set lock on file \"/srv/w.duckdb\": Resource temporarily unavailable",
        );
        assert_eq!(error.message, "File `w.duckdb` is locked by another program");
    }

    #[test]
    fn a_refused_value_is_not_told() {
        let error = told(
            "Conversion Error: Malformed JSON at byte 1 of input: unexpected character.  Input: \"secret\"",
        );
        assert_eq!(error.kind, DestinationErrorKind::Row(ReasonCode::RefusedByDestination));
        assert_eq!(
            error.message,
            "DuckDB could not merge rows into `contact` (file `w.duckdb`): Conversion Error"
        );
        assert!(error.cause.is_none());
    }

    #[test]
    fn failures_are_told_apart() {
        let kind = |text: &str| told(text).kind;
        assert_eq!(
            kind("IO Error: Could not write file: No space left on device"),
            DestinationErrorKind::Full
        );
        assert_eq!(
            kind("Out of Memory Error: could not allocate block"),
            DestinationErrorKind::Configuration
        );
        assert_eq!(
            kind(
                "IO Error: Trying to read a database file with version number 99, but we can only read versions"
            ),
            DestinationErrorKind::Refused
        );
        assert_eq!(
            kind(
                "TransactionContext Error: Transaction conflict: it has been altered by a different transaction"
            ),
            DestinationErrorKind::Unavailable
        );
        assert_eq!(
            kind("IO Error: Corrupt database file: computed checksum 1 does not"),
            DestinationErrorKind::Refused
        );
        assert_eq!(
            kind("Catalog Error: Table with name contact does not exist!"),
            DestinationErrorKind::Refused
        );
        assert_eq!(
            kind("FATAL Error: Failed: database has been invalidated"),
            DestinationErrorKind::Unavailable
        );
    }
}
