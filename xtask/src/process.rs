//! Running other programs, with failures that name the command.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use crate::failure::Failure;

/// Runs a command to its end; what it prints goes where ours goes. It gets no standard input, so it cannot wait for an
/// answer.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let status =
        command.stdin(Stdio::null()).status().map_err(|error| not_started(command, error))?;
    succeeded(command, status)
}

/// Runs a command and returns its standard output. What it prints is shown only if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| not_started(command, error))?;
    if !output.status.success() {
        eprint!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    succeeded(command, output.status)?;
    String::from_utf8(output.stdout).map_err(|error| {
        Failure::new(format!("`{}` printed something that is not text", line(command)))
            .because(error)
    })
}

/// Runs a command and returns its standard output however it ends.
pub(crate) fn output_of_any_end(command: &mut Command) -> Result<String, Failure> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| not_started(command, error))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a command starts and ends well. What it prints is thrown away.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
}

/// The failure of a command that could not be started.
pub(crate) fn not_started(command: &Command, error: std::io::Error) -> Failure {
    Failure::new(format!("Could not start `{}`", line(command))).because(error)
}

/// Where a program is, if it is on the path.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let name = format!("{program}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(&name))
        .find(|file| file.is_file())
}

/// A command as one would type it, the program without its folder.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn succeeded(command: &Command, status: ExitStatus) -> Result<(), Failure> {
    if status.success() {
        return Ok(());
    }
    let how = match status.code() {
        Some(code) => format!("exited with {code}"),
        None => "was ended by a signal".to_owned(),
    };
    Err(Failure::new(format!("`{}` {how}", line(command))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_its_exit_code() {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let message =
            output(command.arg("--no-such-option")).map_err(|failure| failure.to_string());
        assert_eq!(message, Err("`cargo --no-such-option` exited with 1".to_owned()));
    }

    #[test]
    fn programs_are_looked_up_on_the_path() {
        assert!(on_path("cargo").is_some());
        assert!(on_path("there-is-no-such-program").is_none());
    }
}
