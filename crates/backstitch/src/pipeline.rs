//! One replication in the foreground, as `run`, `demo` and `load` do it: bars, signals, the run itself, and its end.

use std::{future::Future, sync::Arc, time::Duration};

use indicatif::MultiProgress;
use replication::{
    claim::Refusal,
    destination::{Destination, DestinationError, DestinationErrorKind},
    run::{CommitObserver, RunContext, RunError, RunOptions, RunReport, replicate},
    source::Source,
};

use crate::{
    exit::ExitStatus,
    failure::Failure,
    interrupt::{Interrupts, Signal},
    progress_bars::ProgressBars,
};

/// How long the runtime may take to end: a read of standard input that never returns must not hold up the process.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(2);

/// How a replication ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What became durable.
    pub(crate) report: RunReport,
    /// Why it failed, if it did.
    pub(crate) failure: Option<Failure>,
    /// The signal that stopped it, if one did.
    pub(crate) signal: Option<Signal>,
    /// Why the schema could not be claimed, if that was it.
    pub(crate) refusal: Option<Refusal>,
}

impl Outcome {
    /// The exit status, or the failure.
    ///
    /// # Errors
    /// The failure, if there is one.
    pub(crate) fn end(self) -> Result<ExitStatus, Failure> {
        match (self.failure, self.signal) {
            (Some(failure), _) => Err(failure),
            (None, Some(signal)) => Ok(ExitStatus::Interrupted(signal)),
            (None, None) => Ok(ExitStatus::Done),
        }
    }
}

/// Replicates once; the first signal ends it at the next checkpoint.
///
/// # Errors
/// When signals can't be handled. A run that failed is an [`Outcome`].
pub(crate) async fn run(
    source: Box<dyn Source>,
    destination: Arc<dyn Destination>,
    options: RunOptions,
    observer: Option<Box<dyn CommitObserver>>,
    screen: Option<MultiProgress>,
) -> Result<Outcome, Failure> {
    let context = RunContext { committed: observer, ..RunContext::default() };
    let interrupts = Interrupts::listen(context.stop.clone())?;
    let bars = screen.map(|screen| ProgressBars::follow(screen, Arc::clone(&context.progress)));
    let result = Box::pin(replicate(source, destination, options, context)).await;
    if let Some(bars) = bars {
        bars.finish().await;
    }
    let (report, error) = match result {
        Ok(report) => (report, None),
        Err(failure) => (*failure.report, Some(failure.error)),
    };
    // A signal that came when everything was done already has interrupted nothing.
    let signal = interrupts.received().filter(|_| report.interrupted);
    let failure = error.as_ref().map(Failure::from);
    Ok(Outcome { report, failure, signal, refusal: error.and_then(refusal) })
}

fn refusal(error: RunError) -> Option<Refusal> {
    match error {
        RunError::Destination(DestinationError {
            kind: DestinationErrorKind::Claim(refusal),
            ..
        }) => Some(refusal),
        _ => None,
    }
}

/// Runs a command's work on a runtime of its own.
///
/// # Errors
/// Those of the work; or when no runtime can be started.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
            Failure::new(ExitStatus::Unexpected, "The runtime can't be started").caused_by(&error)
        })?;
    let result = runtime.block_on(Box::pin(work));
    runtime.shutdown_timeout(SHUTDOWN_DEADLINE);
    result
}
