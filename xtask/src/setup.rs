//! Puts in place what the sources don't hold: system packages, the DuckDB library, and what the tests talk to.
//!
//! Everything is done once: a second run looks, finds all in place and is over at once.

use crate::{cargo_deny, duckdb, failure::Failure, peers, system_packages, workspace::Workspace};

/// How much is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Extent {
    /// What a build needs.
    Build,
    /// What a build and the tests need.
    Tests,
}

/// What set-up says, on standard error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Talk {
    /// What it does and what it finds done.
    Everything,
    /// Only what it does.
    WorkOnly,
}

impl Talk {
    /// Says that something has to be done and is begun.
    pub(crate) fn doing(self, what: &str) {
        eprintln!("setup: {what} …");
    }

    /// Says that something is there already.
    pub(crate) fn in_place(self, what: &str) {
        if self == Self::Everything {
            eprintln!("setup: {what}: in place");
        }
    }
}

/// Sets up what `extent` covers.
pub(crate) fn run(workspace: &Workspace, extent: Extent, talk: Talk) -> Result<(), Failure> {
    let library = duckdb::wanted(workspace)?;
    system_packages::ensure(extent, library.is_missing(), talk)?;
    library.ensure(talk)?;
    if extent == Extent::Tests {
        peers::ensure(workspace, talk)?;
        cargo_deny::ensure(workspace, talk)?;
    }
    Ok(())
}
