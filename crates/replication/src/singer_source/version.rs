//! Which version of its table a stream's rows belong to.
//!
//! A tap numbers the versions of a table: rows carry the number, and ACTIVATE_VERSION says that rows of lower numbers
//! are to go. The first number seen becomes the table's own, and its rows are merged as they come. Rows of a greater one
//! wait beside the table until it is activated, so a read that breaks off leaves the table as it was.
//!
//! A tap that starts over sends ACTIVATE_VERSION before the first row of the new version and may send none at the end.
//! The version is activated at the end of the input then.

/// The key under which a stream's own state holds the version of its table.
pub(crate) const TABLE_VERSION: &str = "table_version";

/// The versions of one stream.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Versions {
    /// The version that the table holds.
    active: Option<i64>,
    /// The version whose rows wait.
    waiting: Option<Waiting>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    version: i64,
    has_rows: bool,
    is_activation_asked: bool,
}

/// What a row or an activation changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VersionChange {
    /// Nothing.
    None,
    /// The table has this version from here on, rows and all that it held before included.
    Adopted(i64),
    /// Rows of this version wait from here on.
    Begun(i64),
    /// The version's rows replace the table.
    Activated(i64),
}

/// The tap broke the order of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum VersionError {
    /// Versions only grow.
    #[error("Version {version} came after version {active} was activated")]
    Outdated { version: i64, active: i64 },
    /// One version at a time.
    #[error("Version {version} began before version {waiting} was activated")]
    Overlapping { version: i64, waiting: i64 },
}

impl Versions {
    /// A stream whose table holds this version, if any.
    pub(super) fn new(active: Option<i64>) -> Self {
        Self { active, waiting: None }
    }

    /// The version that the table holds.
    pub(super) fn active(&self) -> Option<i64> {
        self.active
    }

    /// Places a row: the change to announce before it, and the version that it waits in.
    pub(super) fn place(
        &mut self,
        version: Option<i64>,
    ) -> Result<(VersionChange, Option<i64>), VersionError> {
        let Some(version) = version else { return Ok((VersionChange::None, None)) };
        if self.active == Some(version) {
            return Ok((VersionChange::None, None));
        }
        let change = self.meet(version)?;
        if let Some(waiting) = &mut self.waiting {
            waiting.has_rows = true;
        }
        Ok((change, self.waiting.map(|waiting| waiting.version)))
    }

    /// Takes an ACTIVATE_VERSION.
    pub(super) fn activate(&mut self, version: i64) -> Result<VersionChange, VersionError> {
        let change = self.meet(version)?;
        let Some(waiting) = &mut self.waiting else { return Ok(change) };
        if waiting.version == version && waiting.has_rows {
            return Ok(self.activate_waiting(version));
        }
        waiting.is_activation_asked |= waiting.version == version;
        Ok(change)
    }

    /// Ends the input: activates what was asked for.
    ///
    /// # Errors
    /// The version whose rows still wait, because nobody asked.
    pub(super) fn finish(&mut self) -> Result<VersionChange, i64> {
        match self.waiting {
            None => Ok(VersionChange::None),
            Some(Waiting { version, is_activation_asked: true, .. }) => {
                Ok(self.activate_waiting(version))
            }
            Some(Waiting { version, .. }) => Err(version),
        }
    }

    fn activate_waiting(&mut self, version: i64) -> VersionChange {
        *self = Self::new(Some(version));
        VersionChange::Activated(version)
    }

    /// Meets a version, for the first time or again.
    fn meet(&mut self, version: i64) -> Result<VersionChange, VersionError> {
        match (self.active, self.waiting) {
            (None, _) => {
                self.active = Some(version);
                Ok(VersionChange::Adopted(version))
            }
            (Some(active), _) if version == active => Ok(VersionChange::None),
            (Some(active), _) if version < active => {
                Err(VersionError::Outdated { version, active })
            }
            (_, Some(waiting)) if version != waiting.version => {
                Err(VersionError::Overlapping { version, waiting: waiting.version })
            }
            (_, Some(_)) => Ok(VersionChange::None),
            (_, None) => {
                self.waiting =
                    Some(Waiting { version, has_rows: false, is_activation_asked: false });
                Ok(VersionChange::Begun(version))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{VersionChange::*, *};

    #[test]
    fn a01_the_first_version_is_the_tables_own() {
        let mut versions = Versions::new(Option::None);
        assert_eq!(versions.activate(7), Ok(Adopted(7)));
        assert_eq!(versions.place(Some(7)), Ok((None, Option::None)));
        assert_eq!(versions.activate(7), Ok(None));
        assert_eq!(versions.finish(), Ok(None));
    }

    #[test]
    fn a03_rows_of_a_new_version_wait_until_it_is_activated() {
        let mut versions = Versions::new(Some(7));
        assert_eq!(versions.place(Some(8)), Ok((Begun(8), Some(8))));
        assert_eq!(versions.place(Some(8)), Ok((None, Some(8))));
        assert_eq!(versions.place(Some(7)), Ok((None, Option::None)));
        assert_eq!(versions.place(Option::None), Ok((None, Option::None)));
        assert_eq!(versions.activate(8), Ok(Activated(8)));
        assert_eq!(versions.place(Some(8)), Ok((None, Option::None)));
        assert_eq!(versions, Versions::new(Some(8)));
    }

    #[test]
    fn a02_an_activation_before_the_rows_counts_at_the_end() {
        let mut versions = Versions::new(Some(7));
        assert_eq!(versions.activate(8), Ok(Begun(8)));
        assert_eq!(versions.activate(8), Ok(None));
        assert_eq!(versions.place(Some(8)), Ok((None, Some(8))));
        assert_eq!(versions.finish(), Ok(Activated(8)));
    }

    #[test]
    fn a02_versions_only_grow_and_come_one_at_a_time() {
        let mut versions = Versions::new(Some(7));
        assert_eq!(versions.activate(6), Err(VersionError::Outdated { version: 6, active: 7 }));
        assert_eq!(versions.place(Some(6)), Err(VersionError::Outdated { version: 6, active: 7 }));
        assert_eq!(versions.place(Some(8)), Ok((Begun(8), Some(8))));
        assert_eq!(
            versions.place(Some(9)),
            Err(VersionError::Overlapping { version: 9, waiting: 8 })
        );
        assert_eq!(versions.finish(), Err(8));
    }
}
