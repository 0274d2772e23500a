//! `cargo xtask demo`: build the program and show it.

use std::process::{Command, ExitCode};

use crate::{failure::Failure, process, workspace::Workspace};

/// Builds `backstitch` and becomes `backstitch demo`.
///
/// The build is the one that the gate uses as well. A release is about three times as fast but takes as much longer to
/// compile, and the demonstration is over in seconds either way.
///
/// Returns its exit code only on systems where a program cannot turn into another one.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode, Failure> {
    let mut demo = workspace.cargo();
    demo.args(["run", "--locked", "--package", "backstitch", "--bin", "backstitch", "--", "demo"]);
    demo.args(arguments);
    eprintln!(
        "demo: Unoptimised build, quick to make; `cargo build --release` makes one that is three times as fast"
    );
    become_or_wait(demo)
}

/// Interrupts then reach the demonstration alone, which ends cleanly in its own time.
#[cfg(unix)]
fn become_or_wait(mut command: Command) -> Result<ExitCode, Failure> {
    let error = std::os::unix::process::CommandExt::exec(&mut command);
    Err(process::not_started(&command, error))
}

#[cfg(not(unix))]
fn become_or_wait(mut command: Command) -> Result<ExitCode, Failure> {
    let status = command.status().map_err(|error| process::not_started(&command, error))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
