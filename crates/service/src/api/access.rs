//! Who may use a route.

use crate::store::{Role, Scope};

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Who has a role or a higher one, with a scope or a wider one.
    Caller {
        /// The least role.
        role: Role,
        /// The least scope.
        scope: Scope,
    },
}

/// Looking: every role, every scope.
pub(super) const LOOK: Access = Access::Caller { role: Role::Viewer, scope: Scope::Read };
/// Looking at what may hold personal data: members and administrators, every scope.
pub(super) const INSPECT: Access = Access::Caller { role: Role::Member, scope: Scope::Read };
/// Changing what is one's own: every role.
pub(super) const OWN: Access = Access::Caller { role: Role::Viewer, scope: Scope::Write };
/// Changing what is replicated: members and administrators.
pub(super) const CHANGE: Access = Access::Caller { role: Role::Member, scope: Scope::Write };
/// Looking at users.
pub(super) const OVERSEE: Access = Access::Caller { role: Role::Administrator, scope: Scope::Read };
/// Changing users.
pub(super) const ADMINISTER: Access =
    Access::Caller { role: Role::Administrator, scope: Scope::Write };

impl Access {
    /// Whether a caller may use the route.
    #[must_use]
    pub fn admits(self, role: Role, scope: Scope) -> bool {
        match self {
            Self::Public => true,
            // Roles are listed from the highest, scopes from the narrowest.
            Self::Caller { role: least, scope: narrowest } => role <= least && scope >= narrowest,
        }
    }

    /// Who is meant, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Public => "everybody",
            Self::Caller { role: Role::Viewer, scope: Scope::Read } => "every user and token",
            Self::Caller { role: Role::Viewer, scope: Scope::Write } => {
                "every user, and tokens with the scope `write`"
            }
            Self::Caller { role: Role::Member, scope: Scope::Read } => {
                "administrators and members, and their tokens"
            }
            Self::Caller { role: Role::Member, scope: Scope::Write } => {
                "administrators and members, and their tokens with the scope `write`"
            }
            Self::Caller { role: Role::Administrator, scope: Scope::Read } => {
                "administrators and their tokens"
            }
            Self::Caller { role: Role::Administrator, scope: Scope::Write } => {
                "administrators, and their tokens with the scope `write`"
            }
        }
    }
}
