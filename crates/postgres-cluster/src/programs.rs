//! Where PostgreSQL's programs are.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{ClusterError, account::Account};

/// The folder that holds `initdb`, `postgres` and `psql` of one version.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Looks on the PATH first, then where Debian puts the server's programs, which is never on the PATH; the newest
    /// version wins.
    pub(crate) fn find() -> Result<Self, ClusterError> {
        let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>());
        on_path
            .into_iter()
            .flatten()
            .chain(debian_folders())
            .find(|folder| is_complete(folder))
            .map(|folder| Self { folder })
            .ok_or(ClusterError::MissingPrograms)
    }

    /// A command that runs the program `name`, as `account` if there is one, with none of our environment's settings
    /// for PostgreSQL.
    pub(crate) fn command(&self, name: &str, account: Option<&Account>) -> Command {
        let mut command = Command::new(self.folder.join(name));
        for (variable, _) in env::vars_os() {
            if variable.to_string_lossy().starts_with("PG") {
                command.env_remove(variable);
            }
        }
        command.env("LC_ALL", "C").stdin(Stdio::null());
        if let Some(account) = account {
            account.apply(&mut command);
        }
        command
    }
}

/// Runs a command to its end and returns what it wrote to standard output.
pub(crate) fn run(command: &mut Command) -> Result<String, ClusterError> {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let program = program.to_string_lossy().into_owned();
    let output = command.output().map_err(ClusterError::io(format!("run `{program}`")))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(ClusterError::Program { program, output })
    }
}

fn is_complete(folder: &Path) -> bool {
    ["initdb", "postgres", "psql"].iter().all(|program| folder.join(program).is_file())
}

fn debian_folders() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, folder)| folder).collect()
}
