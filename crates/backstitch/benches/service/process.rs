//! `backstitch serve` as a process of its own, and what it takes.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A service that runs; ended when it is dropped.
pub(crate) struct Serving {
    child: Child,
    /// Where it listens.
    pub(crate) address: String,
    /// From its start until it said that it is ready.
    pub(crate) start: Duration,
}

impl Serving {
    /// Starts it in a folder that holds its configuration, and waits until it is ready.
    pub(crate) fn start(folder: &Path, environment: &[(String, String)]) -> Self {
        let begun = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_backstitch"))
            .arg("serve")
            .current_dir(folder)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let line = line_with(&mut stderr, "Ready at http://");
        let start = begun.elapsed();
        let (_, address) = line.split_once("http://").unwrap();
        let address = address.split_once(": ").unwrap().0.to_owned();
        // Whoever writes into a full pipe waits.
        thread::spawn(move || io::copy(&mut stderr, &mut io::sink()));
        Self { child, address, start }
    }

    /// The processor time of all its threads, to the nanosecond. Those that have ended don't count, and none ends soon.
    pub(crate) fn processor_time(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanoseconds = threads.filter_map(|thread| {
            let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// The processor time of all threads that it has and had, to the hundredth of a second.
    pub(crate) fn all_processor_time(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // The kernel counts 100 in a second on every Linux that Rust supports.
        Duration::from_millis(ticks * 10)
    }

    /// The memory that is resident, in MiB: all of it, and what is the process's alone.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
        };
        (kibibytes("VmRSS:") / 1_024, kibibytes("RssAnon:") / 1_024)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn line_with(stderr: &mut BufReader<ChildStderr>, text: &str) -> String {
    loop {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "the service ended before `{text}`");
        if line.contains(text) {
            return line;
        }
    }
}
