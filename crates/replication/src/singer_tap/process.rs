//! A tap's process: started in a group of its own, watched, and ended with everything that it started.

use std::{
    fmt, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    pin::Pin,
    process::{ExitStatus, Stdio},
    sync::Mutex,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process_group},
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    process::{Child, ChildStderr, ChildStdout, Command},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::remains;

/// How long a tap that was asked to stop may take.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// How long what a tap has started may hold its output open once the tap itself has ended.
const LINGER: Duration = Duration::from_secs(2);
/// How long what left the tap's group, and so isn't killed with it, may hold the output open after that.
const ESCAPE: Duration = Duration::from_secs(1);
/// How long a tap may go on once it has closed its output.
const END_DEADLINE: Duration = Duration::from_secs(30);

/// The group of processes that a tap and what it starts belong to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group(Pid);

impl Group {
    /// Asks all of them to end.
    fn terminate(self) {
        self.send(Signal::TERM);
    }

    /// Ends all of them.
    pub(super) fn kill(self) {
        self.send(Signal::KILL);
    }

    fn send(self, signal: Signal) {
        // An error means that nobody is left to signal.
        kill_process_group(self.0, signal).unwrap_or_default();
    }
}

/// How a tap ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    status: Option<ExitStatus>,
    /// Whether it was asked to: then nothing says that it is complete, whatever its exit code.
    was_asked: bool,
    /// Whether what it had started still held its output open, and so may have had more to write.
    was_outlived: bool,
    /// Whether that could not even be killed, because it had left the tap's group.
    has_escaped: bool,
}

impl End {
    /// Whether the tap says that it has written everything.
    pub(super) fn is_complete(self) -> bool {
        !self.was_asked && !self.was_outlived && self.status.is_some_and(|status| status.success())
    }

    /// The exit code; none if a signal ended it.
    pub(super) fn code(self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status.map(|status| (status.code(), status.signal())) {
            Some((Some(code), _)) => write!(formatter, "ended with exit code {code}"),
            Some((None, Some(signal))) => write!(formatter, "was killed by signal {signal}"),
            _ => formatter.write_str("ended, nobody knows how"),
        }?;
        if self.was_outlived {
            formatter.write_str(", but what it had started still held its output open and ")?;
            formatter.write_str(if self.has_escaped {
                "has left its process group, so that it runs on: end it yourself"
            } else {
                "was killed"
            })?;
        }
        Ok(())
    }
}

/// A tap that runs. Dropped before its end, it is killed.
#[derive(Debug)]
pub(super) struct TapProcess {
    stop: CancellationToken,
    end: watch::Receiver<Option<End>>,
    _watcher: Watcher,
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Watcher(JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl TapProcess {
    /// Starts it. Its standard input is empty.
    ///
    /// # Errors
    /// When there is no such program, or it can't be started.
    pub(super) fn start(mut command: Command) -> io::Result<(Self, TapOutput, ChildStderr)> {
        command.process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let missing = || io::Error::other("The process has no output");
        let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let group = Armed::new(Group(pid.ok_or_else(missing)?));
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let (sender, end) = watch::channel(None);
        let (stop, closed) = (CancellationToken::new(), CancellationToken::new());
        let abandoned = CancellationToken::new();
        let writers = Writers(stdout.as_fd().try_clone_to_owned()?);
        let watched = Watched { child, group, writers };
        let watcher =
            tokio::spawn(watched.watch(stop.clone(), closed.clone(), abandoned.clone(), sender));
        let process = Self { stop: stop.clone(), end: end.clone(), _watcher: Watcher(watcher) };
        let awaited = Mutex::new(Box::pin(ended(stop, end)) as Awaited);
        let abandoned = Mutex::new(Box::pin(abandoned.cancelled_owned()) as Pin<Box<_>>);
        Ok((process, TapOutput { stdout, closed, abandoned, awaited }, stderr))
    }

    /// Asks it to end; kills it when it takes too long.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for its end, which comes within a while even if it has to be killed.
    pub(super) async fn wait(&self) -> End {
        ended(self.stop.clone(), self.end.clone()).await
    }
}

/// A group that is killed when its watcher goes before the tap does.
struct Armed {
    group: Group,
    is_over: bool,
    _remains: remains::Entry,
}

impl Armed {
    fn new(group: Group) -> Self {
        Self { group, is_over: false, _remains: remains::group(group) }
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        if !self.is_over {
            self.group.kill();
        }
    }
}

/// Those who hold the tap's output open, seen from its reading end.
struct Writers(OwnedFd);

impl Writers {
    /// Whether there are any. What they have written may still wait to be read.
    fn are_there(&self) -> bool {
        let mut output = [PollFd::new(&self.0, PollFlags::empty())];
        let is_known = poll(&mut output, Some(&Timespec::default())).is_ok();
        !(is_known && output.iter().all(|output| output.revents().contains(PollFlags::HUP)))
    }
}

/// What is watched over.
struct Watched {
    child: Child,
    group: Armed,
    writers: Writers,
}

impl Watched {
    async fn watch(
        self,
        stop: CancellationToken,
        closed: CancellationToken,
        abandoned: CancellationToken,
        end: watch::Sender<Option<End>>,
    ) {
        let Self { mut child, group: mut armed, writers } = self;
        let group = armed.group;
        let status = tokio::select! {
            status = child.wait() => status,
            () = stop.cancelled() => {
                group.terminate();
                if let Ok(status) = timeout(STOP_DEADLINE, child.wait()).await {
                    status
                } else {
                    tracing::warn!("The tap did not stop within {} seconds and is killed", STOP_DEADLINE.as_secs());
                    group.kill();
                    child.wait().await
                }
            }
        };
        let ended = End {
            status: status.ok(),
            was_asked: stop.is_cancelled(),
            was_outlived: false,
            has_escaped: false,
        };
        end.send_replace(Some(ended));
        tokio::select! {
            () = closed.cancelled() => {}
            () = sleep(LINGER) => {
                // Said before they are killed, since the output's end is judged by it. Output that is only read late,
                // because the loader is busy, has no writers any more and is whole.
                let is_outlived = writers.are_there();
                let ended = End { was_outlived: is_outlived, ..ended };
                if is_outlived {
                    tracing::debug!("What the tap had started outlived it and is killed");
                    end.send_replace(Some(ended));
                }
                group.kill();
                if is_outlived && timeout(ESCAPE, closed.cancelled()).await.is_err() && writers.are_there() {
                    end.send_replace(Some(End { has_escaped: true, ..ended }));
                    abandoned.cancel();
                }
            }
        }
        armed.is_over = true;
    }
}

async fn ended(stop: CancellationToken, mut end: watch::Receiver<Option<End>>) -> End {
    let unknown = End { status: None, was_asked: false, was_outlived: false, has_escaped: false };
    if let Ok(end) = timeout(END_DEADLINE, end.wait_for(Option::is_some)).await {
        return end.ok().and_then(|end| *end).unwrap_or(unknown);
    }
    tracing::warn!("The tap has closed its output and goes on; it is stopped");
    stop.cancel();
    end.wait_for(Option::is_some).await.ok().and_then(|end| *end).unwrap_or(unknown)
}

type Awaited = Pin<Box<dyn Future<Output = End> + Send>>;

/// A tap's output. It ends as such only when the tap says, by its exit code, that it is complete; otherwise its end is
/// an error, so that a line that was cut off isn't taken for a whole one, nor half a table for a table.
pub(super) struct TapOutput {
    stdout: ChildStdout,
    closed: CancellationToken,
    /// Ready when nobody waits any longer for the output's end.
    abandoned: Mutex<Pin<Box<WaitForCancellationFutureOwned>>>,
    awaited: Mutex<Awaited>,
}

/// Why a tap's output broke off.
#[derive(Debug, thiserror::Error)]
#[error("The tap {0}")]
struct BrokenOff(End);

impl AsyncRead for TapOutput {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let output = self.get_mut();
        let before = buffer.filled().len();
        if !output.closed.is_cancelled() {
            let abandoned = output.abandoned.get_mut();
            let abandoned = abandoned.unwrap_or_else(std::sync::PoisonError::into_inner);
            if abandoned.as_mut().poll(context).is_pending() {
                ready!(Pin::new(&mut output.stdout).poll_read(context, buffer))?;
                if buffer.filled().len() > before {
                    return Poll::Ready(Ok(()));
                }
            }
            output.closed.cancel();
        }
        let awaited = output.awaited.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let end = ready!(awaited.as_mut().poll(context));
        if end.is_complete() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Ready(Err(io::Error::other(BrokenOff(end))))
        }
    }
}

impl fmt::Debug for TapOutput {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TapOutput").field("stdout", &self.stdout).finish_non_exhaustive()
    }
}
