//! What the operating system has to provide.
//!
//! On Debian and its relatives missing packages are installed, as root or through sudo. Elsewhere they are named and left to
//! the user.

use std::{
    fs,
    io::{self, IsTerminal},
    process::Command,
};

use crate::{
    failure::Failure,
    process,
    setup::{Extent, Talk},
};

/// The oldest PostgreSQL that has `merge`, on which the tests rely.
const OLDEST_POSTGRESQL: u32 = 15;

/// Exits with 0 if this Python is new enough and can make virtual environments.
const PYTHON_PROBE: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))";

/// Something the system provides.
struct Need {
    /// What it is, for the person who has to install it.
    what: &'static str,
    is_met: fn() -> bool,
    /// The packages of Debian and Ubuntu that bring it.
    debian: &'static [&'static str],
}

const COMPILER: Need = Need {
    what: "a C compiler and linker, `cc`",
    is_met: || on_path("cc"),
    debian: &["gcc", "libc6-dev"],
};

const NPM: Need = Need {
    what: "the npm client, `npm`, which fetches the DuckDB library",
    is_met: || on_path("npm"),
    debian: &["npm"],
};

const GIT: Need = Need {
    what: "git, which lists the files of the tree",
    is_met: || on_path("git"),
    debian: &["git"],
};

const KILL: Need = Need {
    what: "the program `kill`, with which the tests interrupt others",
    is_met: || on_path("kill"),
    debian: &["procps"],
};

const OPENSSL: Need = Need {
    what: "the program `openssl`, with which the tests make certificates",
    is_met: || on_path("openssl"),
    debian: &["openssl"],
};

const POSTGRESQL: Need = Need {
    what: "PostgreSQL 15 or newer with its server programs on the path (the tests start clusters of their own)",
    is_met: has_postgresql,
    debian: &["postgresql"],
};

const PYTHON: Need = Need {
    what: "Python 3.9 or newer with `venv` and `ensurepip`, as `python3`",
    is_met: has_python,
    debian: &["python3", "python3-venv"],
};

/// Sees to it that the system provides what `extent` needs, and npm if there is something to fetch with it.
pub(crate) fn ensure(extent: Extent, npm: bool, talk: Talk) -> Result<(), Failure> {
    let mut needs = vec![COMPILER];
    if npm {
        needs.push(NPM);
    }
    if extent == Extent::Tests {
        needs.extend([GIT, KILL, OPENSSL, POSTGRESQL, PYTHON]);
    }
    needs.retain(|need| !(need.is_met)());
    if needs.is_empty() {
        talk.in_place("System packages");
        return Ok(());
    }
    if on_path("apt-get") {
        let packages: Vec<&str> = needs.iter().flat_map(|need| need.debian).copied().collect();
        talk.doing(&format!("Installing the system packages {}", packages.join(", ")));
        install(&packages)?;
        needs.retain(|need| !(need.is_met)());
    }
    if needs.is_empty() { Ok(()) } else { Err(unmet(&needs)) }
}

/// Installs Debian packages, without questions.
fn install(packages: &[&str]) -> Result<(), Failure> {
    // Some of a machine's package sources may be out of reach; whether that matters shows at the installation.
    let updated = process::output(apt_get()?.args(["-qq", "update"]));
    let mut install = apt_get()?;
    install.args(["-qq", "-y", "--no-install-recommends", "install"]).args(packages);
    match (process::output(&mut install), updated) {
        (Ok(_), _) => Ok(()),
        (Err(failure), Ok(_)) => Err(failure),
        (Err(failure), Err(update)) => Err(failure.because(update)),
    }
}

/// `apt-get` with the rights to install.
fn apt_get() -> Result<Command, Failure> {
    let mut id = Command::new("id");
    if process::output(id.arg("-u"))?.trim() == "0" {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        return Ok(command);
    }
    if !on_path("sudo") {
        return Err(Failure::new(
            "System packages are missing, and neither root nor `sudo` is there to install them",
        )
        .remedy("Run `cargo xtask setup --tests` as root once, or install what it names by hand"));
    }
    let mut command = Command::new("sudo");
    if !io::stdin().is_terminal() {
        command.arg("--non-interactive");
    }
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    Ok(command)
}

fn unmet(needs: &[Need]) -> Failure {
    let list: Vec<&str> = needs.iter().map(|need| need.what).collect();
    Failure::new(format!("The system lacks {}", list.join("; ")))
        .remedy("Install it with the system's package manager, then repeat the command")
}

fn on_path(program: &str) -> bool {
    process::on_path(program).is_some()
}

fn has_python() -> bool {
    on_path("python3") && process::succeeds(Command::new("python3").args(["-c", PYTHON_PROBE]))
}

/// Whether a new enough server is installed, on the path or where Debian keeps it, which is where the tests look.
fn has_postgresql() -> bool {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut installed = debian
        .filter(|version| version.path().join("bin/initdb").is_file())
        .map(|version| version.file_name().to_string_lossy().into_owned());
    installed.any(|version| is_new_enough(&version))
        || on_path("initdb")
            && process::output(Command::new("initdb").arg("--version"))
                .is_ok_and(|answer| answer.split_whitespace().any(is_new_enough))
}

/// Whether a version such as `15` or `16.4` is one that the tests can use.
fn is_new_enough(version: &str) -> bool {
    version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok())
        .is_some_and(|major: u32| major >= OLDEST_POSTGRESQL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgresql_versions_are_compared_as_numbers() {
        assert!(is_new_enough("15") && is_new_enough("16.4"));
        assert!(!is_new_enough("9.6") && !is_new_enough("14") && !is_new_enough("(PostgreSQL)"));
    }

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let failure = unmet(&[NPM, PYTHON]).to_string();
        assert!(failure.contains("npm client") && failure.contains("Python 3.9"), "{failure}");
    }
}
