//! `cargo-deny`, which judges the dependencies: licences, bans and sources in the gate, known vulnerabilities on request.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{failure::Failure, process, setup::Talk, workspace::Workspace};

/// The version that `deny.toml` is written for.
const VERSION: &str = "0.20.2";

/// Installs the tool under the target folder, unless it is there or on the path in the right version.
pub(crate) fn ensure(workspace: &Workspace, talk: Talk) -> Result<PathBuf, Failure> {
    let tools = workspace.target()?.join("tools");
    if let Some(program) = installed(&tools) {
        talk.in_place(&format!("cargo-deny {VERSION}"));
        return Ok(program);
    }
    talk.doing(&format!("Building cargo-deny {VERSION}, a minute or two"));
    let build = tools.join("build");
    let mut install = workspace.cargo();
    // Built without optimisation: it takes half the time, and the tool has a few hundred packages to read.
    install.env("CARGO_PROFILE_DEV_DEBUG", "0");
    install.args(["install", "--quiet", "--debug", "--locked", "--version", VERSION]);
    install.arg("--root").arg(&tools).arg("--target-dir").arg(&build).arg("cargo-deny");
    process::run(&mut install)?;
    // Only the program is wanted; that its parts cannot be removed is no reason to fail.
    fs::remove_dir_all(&build).ok();
    installed(&tools).ok_or_else(|| {
        Failure::new(format!("cargo-deny {VERSION} was installed but does not start"))
    })
}

/// Licences, bans and sources, from what is on this machine.
pub(crate) fn check_offline(workspace: &Workspace) -> Result<(), Failure> {
    let program = ensure(workspace, Talk::WorkOnly)?;
    // The manifests of all platforms' dependencies have to be on the machine; a build fetches only its own.
    process::run(workspace.cargo().args(["fetch", "--quiet", "--locked"]))?;
    let mut check = Command::new(program);
    // `cargo deny check bans` by hand also shows the warnings, which are about crates that come in two versions.
    check.current_dir(workspace.root()).args(["--locked", "--offline", "--log-level", "error"]);
    process::run(check.args(["check", "bans", "licenses", "sources"]))
}

/// Known vulnerabilities, from a database that is fetched.
pub(crate) fn check_advisories(workspace: &Workspace) -> Result<(), Failure> {
    let program = ensure(workspace, Talk::WorkOnly)?;
    let mut check = Command::new(program);
    process::run(check.current_dir(workspace.root()).args(["--locked", "check", "advisories"]))
}

/// The program in the right version, from the folder of tools or the path.
fn installed(tools: &Path) -> Option<PathBuf> {
    let own = tools.join("bin").join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX));
    let has_right_version = |program: &PathBuf| {
        process::output(Command::new(program).arg("--version"))
            .is_ok_and(|version| version.trim() == format!("cargo-deny {VERSION}"))
    };
    Some(own)
        .filter(|program| program.is_file())
        .into_iter()
        .chain(process::on_path("cargo-deny"))
        .find(has_right_version)
}
