//! The program `backstitch`: one subcommand per role. Two small programs, `backstitch` and `target-backstitch`, call
//! into this library and hold no logic of their own.
//!
//! A command goes one way: read the command line, read and check the configuration, start the log, start the runtime,
//! do the work, report, and end with a documented exit code (module `exit`). Everything that can be wrong with the set-up is
//! found before anything is touched.
//!
//! Standard output is for data; everything else goes to standard error.

mod command_line;
mod commands;
mod config;
mod connect;
mod display;
mod exit;
mod failure;
mod hosting;
mod interrupt;
mod pipeline;
mod progress_bars;
mod remote;
mod report;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    command_line::{CommandLine, TargetCommandLine},
    exit::ExitStatus,
    failure::Failure,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub use commands::demo::account as demo_account;

/// The program `backstitch`.
#[must_use]
pub fn program() -> ExitCode {
    tap_bronto::allocation::give_memory_back_soon();
    install_cryptography();
    end(CommandLine::parse().command.execute())
}

/// The program `target-backstitch`.
#[must_use]
pub fn singer_target() -> ExitCode {
    install_cryptography();
    end(commands::target::execute(&TargetCommandLine::parse()))
}

/// Chooses the implementation of TLS's cryptography for everything in the process.
fn install_cryptography() {
    let provider = rustls::crypto::ring::default_provider();
    provider.install_default().expect("nothing else has chosen before the program's first line");
}

/// Prints the failure, if there is one, and gives the exit code.
fn end(outcome: Result<ExitStatus, Failure>) -> ExitCode {
    match outcome {
        Ok(status) => status.code(),
        Err(failure) => {
            failure.print();
            failure.exit().code()
        }
    }
}
