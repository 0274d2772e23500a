//! The account that the server runs as: PostgreSQL refuses to run as root, and containers often are root.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use crate::ClusterError;

/// An unprivileged account of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// The account to run the server as: none if this process isn't root and can run it itself.
    pub(crate) fn needed() -> Result<Option<Self>, ClusterError> {
        let own = fs::metadata("/proc/self").map_or(u32::MAX, |metadata| metadata.uid());
        if own != 0 {
            return Ok(None);
        }
        let accounts =
            fs::read_to_string("/etc/passwd").map_err(ClusterError::io("read `/etc/passwd`"))?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| Self::of(&accounts, name))
            .map(Some)
            .ok_or(ClusterError::MissingAccount)
    }

    /// Makes the command run as this account.
    pub(crate) fn apply(self, command: &mut Command) {
        command.uid(self.user).gid(self.group);
    }

    /// Gives a file or folder to this account.
    pub(crate) fn own(self, path: &Path) -> Result<(), ClusterError> {
        let doing = format!("give `{}` to the server's account", path.display());
        chown(path, Some(self.user), Some(self.group)).map_err(ClusterError::io(doing))
    }

    /// Finds an account in the text of `/etc/passwd`.
    fn of(accounts: &str, name: &str) -> Option<Self> {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(Self { user: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let accounts = "postgres-old:x:7:7::/:/bin/sh\npostgres:x:101:103:,,,:/var/lib:/bin/sh\n";
        assert_eq!(Account::of(accounts, "postgres"), Some(Account { user: 101, group: 103 }));
        assert_eq!(Account::of(accounts, "nobody"), None);
    }
}
