//! The server process: started, waited for, killed.

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::ClusterError;

/// How long a start or a stop may take, crash recovery included.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often the server is asked whether it is ready, or gone.
const INTERVAL: Duration = Duration::from_millis(10);

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
}

impl Server {
    /// Starts a server on the data in `data`, its log in `log`, and waits until it takes connections.
    pub(crate) fn start(
        command: &mut Command,
        data: &Path,
        log: &Path,
    ) -> Result<Self, ClusterError> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.map_err(ClusterError::io("open the server's log"))?;
        let process = command
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(ClusterError::io("start `postgres`"))?;
        let mut server = Self { process };
        let deadline = Instant::now() + DEADLINE;
        while !server.is_ready(data) {
            let ended = server.process.try_wait().map_err(ClusterError::io("watch `postgres`"))?;
            if ended.is_some() || Instant::now() > deadline {
                return Err(ClusterError::NotReady { log: end_of(log) });
            }
            pause();
        }
        Ok(server)
    }

    /// The processor time of the server and of its processes, also of those that have ended, from `/proc`.
    pub(crate) fn processor_seconds(&self) -> f64 {
        let server = self.process.id();
        let children = children_of(server).into_iter().map(|child| ticks_of(child, &[11, 12]));
        let ticks: u64 = children.chain([ticks_of(server, &[11, 12, 13, 14])]).sum();
        // The kernel counts in hundredths of a second on every Linux that Rust supports.
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let seconds = ticks as f64 / 100.0;
        seconds
    }

    /// Kills the server and its processes with SIGKILL, as a crash of the machine would. What it had committed is
    /// there after the next start; nothing else is.
    pub(crate) fn kill(mut self) {
        self.kill_now();
    }

    /// Stops the server, ending its connections, and waits until it has gone.
    pub(crate) fn stop(mut self) -> Result<(), ClusterError> {
        let deadline = Instant::now() + DEADLINE;
        signal("INT", &[self.process.id()]);
        loop {
            let ended = self.process.try_wait().map_err(ClusterError::io("watch `postgres`"))?;
            if ended.is_some_and(|status| status.success() || status.signal().is_some()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(ClusterError::NotReady { log: "it did not stop in time".to_owned() });
            }
            pause();
        }
    }

    /// Whether the server has written into its lock file that it takes connections. A file that an earlier server left
    /// behind names another process.
    fn is_ready(&self, data: &Path) -> bool {
        let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else { return false };
        let mut lines = text.lines();
        let own = lines.next().and_then(|line| line.trim().parse().ok()) == Some(self.process.id());
        own && lines.nth(6).is_some_and(|status| status.trim() == "ready")
    }

    fn kill_now(&mut self) {
        // Stopped before its sessions are listed, so that it starts no further one. Orphans would hold the shared memory,
        // and the next server would refuse to start; so it is waited for their end as well.
        signal("STOP", &[self.process.id()]);
        let sessions = children_of(self.process.id());
        if self.process.kill().is_ok() {
            signal("KILL", &sessions);
        }
        // It is dead or was dead already; either way there is nothing more to do about it.
        drop(self.process.wait());
        let deadline = Instant::now() + DEADLINE;
        while sessions.iter().any(|&session| is_alive(session)) && Instant::now() < deadline {
            pause();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.kill_now();
        }
    }
}

/// Waits a moment. This is a test's own thread, which has nothing else to do than to see how another process is.
#[expect(clippy::disallowed_methods, reason = "no event tells when another process is ready")]
fn pause() {
    thread::sleep(INTERVAL);
}

/// Sends a signal. A process that has gone already needs none, so failures don't matter.
fn signal(name: &str, processes: &[u32]) {
    if !processes.is_empty() {
        let processes = processes.iter().map(u32::to_string);
        drop(
            Command::new("kill")
                .arg(format!("-{name}"))
                .args(processes)
                .stderr(Stdio::null())
                .status(),
        );
    }
}

/// Whether a process is there, and not only waiting for somebody to ask how it ended.
fn is_alive(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = status.rsplit_once(')').map(|(_, fields)| fields.trim_start());
    state.is_some_and(|fields| !fields.starts_with(['Z', 'X']))
}

fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let process: u32 = entry.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The program's name stands in parentheses and may hold anything; the parent is the second field after it.
            let fields = status.rsplit_once(')')?.1;
            let is_child = fields.split_whitespace().nth(1)?.parse() == Ok(parent);
            is_child.then_some(process)
        })
        .collect()
}

fn end_of(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("; ")
}

/// The sum of fields of `/proc/PID/stat` that count processor time: 11 and 12 are the process's own, 13 and 14 those of
/// its children that have ended.
fn ticks_of(process: u32, fields: &[usize]) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let Some((_, rest)) = text.rsplit_once(')') else { return 0 };
    let values: Vec<&str> = rest.split_whitespace().collect();
    fields.iter().filter_map(|&field| values.get(field)?.parse::<u64>().ok()).sum()
}
