//! The workspace's own chores: set-up, the demonstration, the gate, and what takes longer than the gate.
//!
//! This is the first thing a newcomer compiles, so it depends on one small crate (for digests) and on none of the
//! workspace's: it has to work before the DuckDB library is there.

mod cargo_deny;
mod command_line;
mod demo;
mod duckdb;
mod failure;
mod fuzz;
mod gate;
mod integrity;
mod json_text;
mod measurements;
mod peers;
mod process;
mod setup;
mod stamp;
mod system_packages;
mod workspace;

use std::process::ExitCode;

use command_line::Command;
use failure::Failure;
use setup::{Extent, Talk};
use workspace::Workspace;

fn main() -> ExitCode {
    let command = match Command::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(failure) => {
            failure.report();
            return ExitCode::from(2);
        }
    };
    match perform(command) {
        Ok(code) => code,
        Err(failure) => {
            failure.report();
            ExitCode::FAILURE
        }
    }
}

/// Carries out one command. Only the demonstration has an exit code of its own to pass on.
fn perform(command: Command) -> Result<ExitCode, Failure> {
    let workspace = Workspace::of_this_program()?;
    match command {
        Command::Help => print!("{}", command_line::HELP),
        Command::Setup { extent } => setup::run(&workspace, extent, Talk::Everything)?,
        Command::Demo { arguments } => {
            setup::run(&workspace, Extent::Build, Talk::WorkOnly)?;
            return demo::run(&workspace, &arguments);
        }
        Command::Check { steps } => gate::run(&workspace, &steps)?,
        Command::SoakExtract { cases, seed } => {
            setup::run(&workspace, Extent::Build, Talk::WorkOnly)?;
            measurements::soak_extract(&workspace, cases, seed)?;
        }
        Command::SoakService { kills } => {
            setup::run(&workspace, Extent::Tests, Talk::WorkOnly)?;
            measurements::soak_service(&workspace, kills)?;
        }
        Command::Bench { benchmark, arguments } => {
            setup::run(&workspace, Extent::Tests, Talk::WorkOnly)?;
            benchmark.run(&workspace, &arguments)?;
        }
        Command::Fuzz { target, seconds } => fuzz::run(&workspace, target.as_deref(), seconds)?,
        Command::Advisories => cargo_deny::check_advisories(&workspace)?,
    }
    Ok(ExitCode::SUCCESS)
}
