//! Foreign programs from PyPI that the tests talk to, each in a virtual environment of its own.
//!
//! `tests/peers/NAME.txt` pins every package of a set; set-up installs it into `peers/NAME` under the target folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    failure::Failure, integrity, process, setup::Talk, stamp::Stamp, workspace::Workspace,
};

/// What builds the packages that come as sources. They are pinned here and not left to pip, which would take the newest.
const BUILD_TOOLS: [&str; 2] = ["setuptools==80.9.0", "wheel==0.45.1"];

/// One set of packages, installed together.
struct PeerSet {
    name: String,
    requirements: PathBuf,
    /// The virtual environment.
    folder: PathBuf,
    stamp: Stamp,
}

/// Installs every set that is missing or whose file has changed.
pub(crate) fn ensure(workspace: &Workspace, talk: Talk) -> Result<(), Failure> {
    let environments = workspace.target()?.join("peers");
    for file in requirement_files(&workspace.root().join("tests/peers"))? {
        let set = PeerSet::read(file, &environments)?;
        if set.is_in_place() {
            talk.in_place(&format!("Python peer {}", set.name));
        } else {
            talk.doing(&format!("Installing the Python peer {}", set.name));
            set.install()?;
        }
    }
    Ok(())
}

/// The files `*.txt` of a folder, in the order of their names.
fn requirement_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error| Failure::file("Could not read", folder, error);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

impl PeerSet {
    fn read(requirements: PathBuf, environments: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(&requirements)
            .map_err(|error| Failure::file("Could not read", &requirements, error))?;
        if let Some(line) = unpinned(&text) {
            return Err(Failure::new(format!(
                "`{}` does not pin `{line}`",
                requirements.display()
            ))
            .remedy(
                "Write `NAME==VERSION` for every package of the set (`pip freeze` lists them)",
            ));
        }
        let name = requirements.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let folder = environments.join(&name);
        let origin = format!("{} {}\n", integrity::of(text.as_bytes()), BUILD_TOOLS.join(" "));
        let stamp = Stamp::new(folder.join("stamp"), origin);
        Ok(Self { name, requirements, folder, stamp })
    }

    /// Whether the environment is whole. Its interpreter is a link, which breaks when the system's Python goes.
    fn is_in_place(&self) -> bool {
        self.stamp.is_current() && self.python().exists()
    }

    fn python(&self) -> PathBuf {
        self.folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
    }

    /// Makes the environment anew. The stamp comes last, so an interrupted installation is repeated.
    fn install(&self) -> Result<(), Failure> {
        self.stamp.remove()?;
        process::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&self.folder))?;
        self.pip(|pip| pip.args(BUILD_TOOLS))?;
        // With every package pinned there is nothing to resolve, so old packages may be paired with newer ones than
        // their makers foresaw. That none is forgotten is checked afterwards.
        self.pip(|pip| {
            pip.arg("--no-build-isolation").arg("--requirement").arg(&self.requirements)
        })?;
        let mut check = Command::new(self.python());
        check.args(["-m", "pip", "--disable-pip-version-check", "check"]);
        let forgotten = process::output_of_any_end(&mut check)?;
        if let Some(line) = forgotten.lines().find(|line| line.ends_with("which is not installed."))
        {
            return Err(Failure::new(format!(
                "`{}` forgets a package: {line}",
                self.requirements.display()
            ))
            .remedy("Add it to the file, with its version"));
        }
        self.stamp.set()
    }

    /// Installs exactly what `packages` adds to the command.
    fn pip(&self, packages: impl FnOnce(&mut Command) -> &mut Command) -> Result<(), Failure> {
        let mut pip = Command::new(self.python());
        pip.args([
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-input",
            "--quiet",
            "install",
            "--no-deps",
        ]);
        process::run(packages(&mut pip)).map_err(|failure| {
            failure.remedy("The packages come from PyPI; is it reachable from here, and is this Python one they work on?")
        })
    }
}

/// The first requirement of a file that leaves the version open. A requirement may go on in further lines with the
/// digests that pip is to hold its package against.
fn unpinned(requirements: &str) -> Option<&str> {
    requirements
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim().trim_end_matches('\\').trim())
        .find(|line| !line.is_empty() && !is_digest(line) && !is_pinned(line))
}

/// Whether a line is the digest of a package's file, which the line before it names.
fn is_digest(line: &str) -> bool {
    line.strip_prefix("--hash=sha256:").is_some_and(|digest| {
        digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Whether a requirement reads `NAME==VERSION`, with nothing that pip would take for a pattern.
fn is_pinned(requirement: &str) -> bool {
    requirement.split_once("==").is_some_and(|(name, version)| {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.[]".contains(&byte);
        let is_version = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+!".contains(&byte);
        !name.is_empty()
            && name.bytes().all(is_name)
            && !version.is_empty()
            && version.bytes().all(is_version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_has_to_be_pinned() {
        assert_eq!(unpinned("# a set\n\nzeep==4.3.1\nlxml==6.0 # parser\n"), None);
        let digest = format!("--hash=sha256:{}", "0a".repeat(32));
        assert_eq!(unpinned(&format!("zeep==4.3.1 \\\n    {digest} \\\n    {digest}\n")), None);
        assert_eq!(unpinned("zeep==4.3.1 \\\n  --hash=sha256:0a\n"), Some("--hash=sha256:0a"));
        for open in ["zeep", "zeep>=4", "zeep==4.*", "-r other.txt", "==4", "zeep=="] {
            let text = format!("lxml==6.0\n{open}\n");
            assert_eq!(unpinned(&text), Some(open));
        }
    }

    #[test]
    fn the_sets_of_the_tree_are_pinned() -> Result<(), Failure> {
        let workspace = Workspace::of_this_program()?;
        let files = requirement_files(&workspace.root().join("tests/peers"))?;
        assert!(!files.is_empty());
        for file in files {
            PeerSet::read(file, Path::new("environments"))?;
        }
        Ok(())
    }
}
