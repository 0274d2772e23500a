//! Signals: the first one asks the run to stop at a clean checkpoint, the second one ends the process at once.

use std::sync::{Arc, OnceLock};

use tokio::{
    signal::unix::{Signal as SignalStream, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{exit::ExitStatus, failure::Failure};

/// A signal that asks a process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// `SIGINT`: Ctrl-C.
    Interrupt,
    /// `SIGTERM`: what service managers and containers send.
    Terminate,
}

impl Signal {
    /// The exit code that shells give a process ended by this signal.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Does work that may be left at any point, until it is done or a signal ends it.
///
/// # Errors
/// Those of the work; or when the operating system doesn't let us handle signals.
pub(crate) async fn unless_interrupted(
    work: impl Future<Output = Result<ExitStatus, Failure>>,
) -> Result<ExitStatus, Failure> {
    let (mut interrupt, mut terminate) = signals()?;
    tokio::select! {
        result = work => result,
        signal = next(&mut interrupt, &mut terminate) => Ok(ExitStatus::Interrupted(signal)),
    }
}

fn signals() -> Result<(SignalStream, SignalStream), Failure> {
    let refused = |error: std::io::Error| {
        Failure::new(ExitStatus::Unexpected, "Signals can't be handled here").caused_by(&error)
    };
    let interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    Ok((interrupt, signal(SignalKind::terminate()).map_err(refused)?))
}

/// Listens for signals while a run lasts.
#[derive(Debug)]
pub(crate) struct Interrupts {
    received: Arc<OnceLock<Signal>>,
    listener: JoinHandle<()>,
}

impl Interrupts {
    /// Listens from now on; the first signal cancels `stop`.
    ///
    /// # Errors
    /// When the operating system doesn't let us handle signals.
    pub(crate) fn listen(stop: CancellationToken) -> Result<Self, Failure> {
        let (mut interrupt, mut terminate) = signals()?;
        let received = Arc::new(OnceLock::new());
        let first = Arc::clone(&received);
        let listener = tokio::spawn(async move {
            let signal = next(&mut interrupt, &mut terminate).await;
            first.get_or_init(|| signal);
            stop.cancel();
            tracing::warn!("Stopping at the next checkpoint; a second signal stops at once");
            let again = next(&mut interrupt, &mut terminate).await;
            exit_at_once(again)
        });
        Ok(Self { received, listener })
    }

    /// The signal that has arrived, if any.
    pub(crate) fn received(&self) -> Option<Signal> {
        self.received.get().copied()
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Ends the process without cleaning up: that is what a second signal asks for. The destination rolls back by itself.
#[expect(clippy::disallowed_methods, reason = "nothing is to be waited for, destructors included")]
fn exit_at_once(signal: Signal) -> ! {
    replication::singer_tap::abandon_taps();
    std::process::exit(i32::from(signal.exit_code()))
}

async fn next(interrupt: &mut SignalStream, terminate: &mut SignalStream) -> Signal {
    tokio::select! {
        _ = interrupt.recv() => Signal::Interrupt,
        _ = terminate.recv() => Signal::Terminate,
    }
}
