//! Being told to stop: the first signal ends the run at the next safe point, after a last state; the second at once.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{
    exit::{Exit, Failure},
    log,
};

/// Listens for SIGINT and SIGTERM for as long as it lives.
#[derive(Debug)]
pub(crate) struct Signals {
    stop: CancellationToken,
    code: Arc<AtomicU8>,
    listener: tokio::task::JoinHandle<()>,
}

impl Signals {
    /// Starts to listen.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let open = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(
                    Exit::Bug,
                    format!("Signals can't be received: {error}"),
                    "Check the limits of the system",
                )
            })
        };
        let (interrupt, terminate) =
            (open(SignalKind::interrupt())?, open(SignalKind::terminate())?);
        let (stop, code) = (CancellationToken::new(), Arc::new(AtomicU8::new(0)));
        let listener = tokio::spawn(listen(interrupt, terminate, stop.clone(), Arc::clone(&code)));
        Ok(Self { stop, code, listener })
    }

    /// What is cancelled by the first signal.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// How a run that was interrupted ends.
    pub(crate) fn exit(&self) -> Exit {
        match self.code.load(Ordering::Relaxed) {
            code if code == Exit::Terminated.code() => Exit::Terminated,
            _ => Exit::Interrupted,
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn listen(
    mut interrupt: Signal,
    mut terminate: Signal,
    stop: CancellationToken,
    code: Arc<AtomicU8>,
) {
    for is_first in [true, false] {
        let exit = tokio::select! {
            _ = interrupt.recv() => Exit::Interrupted,
            _ = terminate.recv() => Exit::Terminated,
        };
        if !is_first {
            log::critical("Interrupted again, before a last state could be written");
            exit_at_once(exit);
        }
        code.store(exit.code(), Ordering::Relaxed);
        tracing::warn!("Interrupted: stopping at the next safe point");
        stop.cancel();
    }
}

/// The main thread may be blocked on a pipe that nobody reads, so it can't be asked to return.
#[expect(clippy::disallowed_methods, reason = "the second signal ends the program at once")]
fn exit_at_once(exit: Exit) -> ! {
    std::process::exit(exit.code().into())
}
