//! Remembering what something was made from, so that set-up does nothing the second time.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
};

use crate::failure::Failure;

/// A small file beside something that was made, holding a text that changes whenever it has to be made again.
pub(crate) struct Stamp {
    file: PathBuf,
    origin: String,
}

impl Stamp {
    /// The stamp `file`, for something that is to be made from `origin`.
    pub(crate) fn new(file: PathBuf, origin: impl Into<String>) -> Self {
        Self { file, origin: origin.into() }
    }

    /// Whether the thing beside the stamp was made from the same origin, to its end.
    pub(crate) fn is_current(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|found| found == self.origin)
    }

    /// Takes the stamp away, before the thing is made again.
    pub(crate) fn remove(&self) -> Result<(), Failure> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::file("Could not remove", &self.file, error))
            }
            _ => Ok(()),
        }
    }

    /// Sets the stamp, after the thing was made.
    pub(crate) fn set(&self) -> Result<(), Failure> {
        write_whole(&self.file, &self.origin)
    }
}

/// Writes a file so that another program sees either the old one or the whole new one.
fn write_whole(file: &Path, text: &str) -> Result<(), Failure> {
    let partial = file.with_extension(format!("partial-{}", process::id()));
    fs::write(&partial, text).map_err(|error| Failure::file("Could not write", &partial, error))?;
    fs::rename(&partial, file).map_err(|error| Failure::file("Could not write", file, error))
}
