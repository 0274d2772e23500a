//! `backstitch load`: a Singer target. Any tap's output on standard input goes into a schema; each state comes out on
//! standard output once it is durable.

use std::io::{self, Write};

use replication::{
    event::Bookmark,
    run::{CommitObserver, RunOptions},
    singer_source::SingerSource,
};

use crate::{
    command_line::LoadArguments,
    config::{DestinationAddress, SchemaName},
    connect::{self, SINGER_FINGERPRINT, Target},
    exit::ExitStatus,
    failure::Failure,
    pipeline, report, telemetry,
};

/// Runs the command.
///
/// # Errors
/// When the load can't start, or fails.
pub(crate) fn execute(arguments: &LoadArguments) -> Result<ExitStatus, Failure> {
    let schema = SchemaName::parse(&arguments.schema)
        .map_err(|error| Failure::configuration(error.to_string()))?;
    let parsed = DestinationAddress::from_argument(&arguments.destination)?;
    let target = Target { nested: arguments.nested, ..Target::at(parsed, schema) };
    let integration = arguments.integration.clone().unwrap_or_else(|| target.schema.to_string());
    let mut options = RunOptions::new(integration);
    options.take_over = arguments.take_over;
    options.allow_empty = arguments.allow_empty;
    load(&target, options)
}

/// Loads standard input until it ends.
///
/// # Errors
/// When the load can't start, or fails.
pub(super) fn load(target: &Target, options: RunOptions) -> Result<ExitStatus, Failure> {
    telemetry::start(None)?;
    let outcome = pipeline::block_on(async {
        let destination = connect::destination(target)?;
        // What account is behind the tap, its stream doesn't tell.
        let source = Box::new(SingerSource::new(tokio::io::stdin(), SINGER_FINGERPRINT));
        pipeline::run(source, destination, options, Some(Box::new(StateWriter)), None).await
    })?;
    report::log(&outcome.report);
    outcome.end()
}

/// Writes durable states to standard output, one per line, as Singer wants it.
#[derive(Debug)]
struct StateWriter;

impl CommitObserver for StateWriter {
    fn committed(&mut self, bookmarks: &[Bookmark]) -> io::Result<()> {
        let mut output = io::stdout().lock();
        for bookmark in bookmarks {
            writeln!(output, "{}", bookmark.state)?;
        }
        output.flush()
    }
}
