//! What can go wrong with the control store, and what to do about it.

/// What went wrong with the control store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached, or didn't answer in time.
    #[error("The control store {place} is not available")]
    Unavailable {
        /// Which store.
        place: String,
        /// The cause.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It refused a statement.
    #[error("The control store {place} refused a statement")]
    Refused {
        /// Which store.
        place: String,
        /// The cause.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It was made by a later version.
    #[error(
        "The control store {place} has version {found} of its tables; this program knows up to {known}"
    )]
    Newer {
        /// Which store.
        place: String,
        /// The version of its tables.
        found: i64,
        /// The latest that is known.
        known: i64,
    },
    /// Something in it can't be read back.
    #[error("The control store holds {what} that can't be read")]
    Corrupt {
        /// What it is.
        what: String,
    },
    /// Nothing of this kind has the id or name.
    #[error("There is no {what} `{name}`")]
    NotFound {
        /// Of what kind.
        what: &'static str,
        /// The id or name.
        name: String,
    },
    /// The name is taken.
    #[error("There is already {what} `{name}`")]
    Taken {
        /// Of what kind.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Somebody else changed it in the meantime.
    #[error("The {what} `{name}` has been changed by somebody else in the meantime")]
    Changed {
        /// Of what kind.
        what: &'static str,
        /// The id or name.
        name: String,
    },
    /// A schedule that would never start anything.
    #[error("The schedule of `{name}` has no start any more")]
    Idle {
        /// The integration.
        name: String,
    },
    /// The service would have no administrator any more.
    #[error("`{name}` is the last administrator")]
    LastAdministrator {
        /// The user.
        name: String,
    },
    /// A run of the integration is alive.
    #[error("A run of the integration is alive: `{run_id}`")]
    AlreadyRunning {
        /// The run.
        run_id: String,
    },
}

impl StoreError {
    pub(super) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    /// Whether the same call may succeed a little later.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// What the operator should do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "See that its database runs, can be reached and has room",
            Self::Refused { .. } => {
                "See that the account may create and change tables; else this is a defect of Backstitch"
            }
            Self::Newer { .. } => "Run the version of Backstitch that made it, or a later one",
            Self::Corrupt { .. } => "Restore it from a backup; the destinations are not affected",
            Self::NotFound { .. } => "Look at the list for those that there are",
            Self::Taken { .. } => "Choose another name",
            Self::Changed { .. } => "Read it again and repeat the change",
            Self::Idle { .. } => "Choose days and a year that come, or leave the schedule out",
            Self::LastAdministrator { .. } => "Make another user an administrator first",
            Self::AlreadyRunning { .. } => "Wait for it, or stop it first",
        }
    }
}
