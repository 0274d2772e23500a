//! Starting the programs, and what became of them.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use bronto_sim::RunningServer;
use serde_json::Value;
use tempfile::TempDir;

use crate::{account::TOKEN, warehouse::Warehouse};

/// How long any program may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// The name of the integration in all tests.
pub(crate) const INTEGRATION: &str = "Stitch Bronto";

/// A folder with a configuration, and the environment that goes with it.
pub(crate) struct Workplace {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Workplace {
    /// An integration of the account into the warehouse, with further lines for its section.
    pub(crate) fn new(account: &RunningServer, warehouse: &Warehouse, lines: &str) -> Self {
        Self::with_source(
            &format!("endpoint = \"{}\", settle_seconds = 0", account.endpoint()),
            warehouse,
            lines,
        )
    }

    /// An integration whose source has these settings beside its token and start date.
    pub(crate) fn with_source(source: &str, warehouse: &Warehouse, lines: &str) -> Self {
        let (destination, environment) = warehouse.configuration();
        Self::with_configuration(&format!(
            "[integration.\"{INTEGRATION}\"]\n\
             source = {{ type = \"bronto\", token = {{ env = \"BRONTO_TOKEN\" }}, start_date = \"2025-11-01T00:00:00Z\", \
             {source} }}\n\
             destination = {destination}\n{lines}\n"
        ))
        .with_environment(environment)
        .with_environment([("BRONTO_TOKEN".to_owned(), TOKEN.to_owned())])
    }

    /// This configuration.
    pub(crate) fn with_configuration(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("backstitch.toml"), text).unwrap();
        Self { folder, environment: Vec::new() }
    }

    /// The same with further variables in the environment.
    pub(crate) fn with_environment(
        mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        self.environment.extend(variables);
        self
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `backstitch` with these arguments, ready to be started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_backstitch")), arguments)
    }

    /// A program with these arguments, ready to be started.
    pub(crate) fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        let inherited = [
            "PGPASSWORD",
            "PGPASSFILE",
            "BACKSTITCH_LOG",
            "BACKSTITCH_HOLD_AT",
            "BACKSTITCH_SERVER",
            "BACKSTITCH_API_TOKEN",
        ];
        for inherited in inherited {
            command.env_remove(inherited);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs `backstitch` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Running::start(self.command(arguments)).wait()
    }
}

impl Ended {
    /// The exit code; none if a signal ended the program.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Stops the test unless the program ended with this code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in:\n{}", self.stdout))
    }

    /// The lines of standard error that tell of the failure.
    pub(crate) fn failure(&self) -> String {
        let lines = self.stderr.lines().skip_while(|line| !line.starts_with("error: "));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A program that runs; killed if it is dropped.
pub(crate) struct Running {
    child: Owned,
    stdout: thread::JoinHandle<String>,
    lines: Receiver<String>,
    stderr: String,
    started: Instant,
}

/// A child that doesn't outlive its test.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Running {
    /// Starts a program, and reads along with what it says.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let stdout = thread::spawn(move || {
            let mut text = Vec::new();
            stdout.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        });
        let (sender, lines) = sync_channel(64);
        thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n') {
                let Ok(line) = line else { return };
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
        Self { child: Owned(child), stdout, lines, stderr: String::new(), started: Instant::now() }
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// Waits for a line of standard error that holds `text`, and answers it.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        self.wait_for_one_of(&[text])
    }

    /// Waits for a line of standard error that holds one of the texts, and answers it.
    #[track_caller]
    pub(crate) fn wait_for_one_of(&mut self, texts: &[&str]) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(DEADLINE.saturating_sub(self.started.elapsed()))
            else {
                panic!("{texts:?} did not come; standard error:\n{}", self.stderr);
            };
            let found = texts.iter().any(|text| line.contains(text));
            self.stderr.push_str(&line);
            self.stderr.push('\n');
            if found {
                return line;
            }
        }
    }

    /// Sends a signal by its name, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(mut self) -> Ended {
        self.child.0.kill().unwrap();
        self.wait()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let status = loop {
            match self.lines.recv_timeout(Duration::from_millis(5)) {
                Ok(line) => {
                    self.stderr.push_str(&line);
                    self.stderr.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => break self.child.0.wait().unwrap(),
                Err(RecvTimeoutError::Timeout) if self.started.elapsed() > DEADLINE => {
                    self.child.0.kill().unwrap();
                    panic!("the program did not end; standard error:\n{}", self.stderr);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        Ended { status, stdout: self.stdout.join().unwrap(), stderr: self.stderr }
    }
}

/// Lets time pass: for what only time brings about, such as the end of a lease, and between two looks at something.
#[expect(clippy::disallowed_methods, reason = "a test's own thread has nothing else to do")]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}

/// Waits until something is so.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < DEADLINE, "it did not come to {what}");
        pause(Duration::from_millis(5));
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(process: u32, name: &str) {
    let status =
        Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status().unwrap();
    assert!(status.success(), "signal {name} could not be sent");
}

/// A program of the workspace that is no part of this crate, built if it isn't there.
pub(crate) fn workspace_program(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_backstitch")).with_file_name(name);
    if !program.exists() {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", name, "--bin", name])
            .status()
            .unwrap();
        assert!(status.success(), "`{name}` could not be built");
    }
    program
}
