//! A Singer tap that runs as a child: its standard output is the source, its standard error goes into our log, its state
//! is kept in the destination.
//!
//! | module | does |
//! |---|---|
//! | `process` | starts the tap in a process group of its own, watches it, ends it |
//! | `folder` | holds its configuration and state, for our eyes only |
//! | `log` | takes its log over, without secrets |
//! | `remains` | cleans up where destructors don't run |
//!
//! The state that a run committed last is handed to the tap with `--state`, so every row takes effect once: rows of keyed
//! tables are merged; rows of keyless ones that no committed state covers, because the run that loaded them broke off, are
//! taken back before the tap sends them again.
//!
//! A tap that ends with exit code 0 has said everything. Any other end (another code, a signal) breaks the stream off:
//! what came before is committed up to where it is whole, no table version is activated by it, and the run fails with
//! the tap's last words.

mod folder;
mod log;
mod process;
mod remains;

#[cfg(test)]
mod tests;

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::{io::AsyncReadExt, process::Command, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::{
    folder::PrivateFolder,
    log::{LastLines, Masks},
    process::{End, TapOutput, TapProcess},
};
use crate::{
    singer_source::SingerSource,
    source::{
        CheckFailure, CheckStep, ExtractContext, ExtractOutcome, Source, SourceError,
        SourceErrorKind,
    },
};

pub use remains::abandon_taps;

/// How long the tap's log may take to end once the tap has.
const LOG_DEADLINE: Duration = Duration::from_secs(3);
/// How long a discovery may take.
const DISCOVERY_DEADLINE: Duration = Duration::from_secs(60);
/// The largest catalog that a discovery may print.
const CATALOG_BYTES: u64 = 64 << 20;
/// What helps against a discovery that is of no use.
const WRITTEN_CATALOG: &str = "Name a catalog that you have written yourself with `catalog`";

/// What to start, and what to give it.
pub struct TapSettings {
    /// The program, and its arguments before ours.
    pub command: Vec<String>,
    /// The folder in which it runs; relative paths of the command start there.
    pub folder: PathBuf,
    /// Its configuration as JSON.
    pub config: SecretString,
    /// What must not be shown of it.
    pub secrets: Vec<SecretString>,
    /// Its catalog, if it gets one.
    pub catalog: Option<PathBuf>,
    /// Identifies the account behind it, without secrets.
    pub fingerprint: String,
}

impl fmt::Debug for TapSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = program_name(&self.command);
        formatter.debug_struct("TapSettings").field("program", &name).finish_non_exhaustive()
    }
}

/// A Singer tap as a source.
#[derive(Debug)]
pub struct SingerTap {
    settings: TapSettings,
}

/// A tap at work. Dropped before its end, it is killed, and its files are removed.
struct Working {
    process: TapProcess,
    log: Log,
    last: LastLines,
    _folder: PrivateFolder,
}

/// The task that takes the log over; ends with its owner.
struct Log(JoinHandle<()>);

impl Drop for Log {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl SingerTap {
    /// A tap that is started when it is needed.
    #[must_use]
    pub fn new(settings: TapSettings) -> Self {
        Self { settings }
    }

    fn name(&self) -> String {
        program_name(&self.settings.command)
    }

    /// Starts the tap with the arguments that `purpose` adds.
    fn start(&self, purpose: &Purpose<'_>) -> Result<(Working, TapOutput), SourceError> {
        let settings = &self.settings;
        let folder = PrivateFolder::create().map_err(|error| no_files(&error))?;
        let write =
            |name: &str, text: &str| folder.write(name, text).map_err(|error| no_files(&error));
        let mut command = Command::new(self.program());
        command.args(settings.command.iter().skip(1));
        if !settings.folder.as_os_str().is_empty() {
            command.current_dir(&settings.folder);
        }
        // Nothing that a tap needs, and all that it must not have.
        command.env_remove("BACKSTITCH_KEY").env_remove("BACKSTITCH_KEY_FILE");
        command.arg("--config").arg(write("config.json", settings.config.expose_secret())?);
        match purpose {
            Purpose::Discover => {
                command.arg("--discover");
            }
            Purpose::Sync { state } => {
                if let Some(catalog) = &settings.catalog {
                    let catalog = std::path::absolute(catalog).unwrap_or_else(|_| catalog.clone());
                    command.arg("--catalog").arg(catalog);
                }
                if let Some(state) = state.filter(|state| !state.is_null()) {
                    command.arg("--state").arg(write("state.json", &state.to_string())?);
                }
            }
        }
        let (process, output, stderr) =
            TapProcess::start(command).map_err(|error| not_started(&self.name(), error))?;
        let last = LastLines::default();
        let masks = Masks::new(&settings.secrets);
        let log = Log(tokio::spawn(log::pass_on(stderr, masks, last.clone()).in_current_span()));
        Ok((Working { process, log, last, _folder: folder }, output))
    }

    /// The program; a path in it starts at the tap's folder.
    fn program(&self) -> PathBuf {
        let program = self.settings.command.first().map_or(Path::new(""), Path::new);
        let is_path = program.components().count() > 1;
        if is_path { absolute(&self.settings.folder.join(program)) } else { program.to_owned() }
    }

    async fn discover(&self) -> Result<Value, SourceError> {
        let (mut working, output) = self.start(&Purpose::Discover)?;
        let mut text = Vec::new();
        let mut output = output.take(CATALOG_BYTES + 1);
        // An error is the tap's end, which is judged below.
        let is_late = timeout(DISCOVERY_DEADLINE, output.read_to_end(&mut text)).await.is_err();
        let is_too_large = text.len() as u64 > CATALOG_BYTES;
        if is_late || is_too_large {
            working.process.stop();
        }
        let end = working.ended().await;
        if is_late {
            let message = format!("The tap `{}` does not end its discovery", self.name());
            let remedy = "Look at its log for what it waits for";
            return Err(SourceError::new(SourceErrorKind::Unavailable, message, remedy));
        }
        if is_too_large {
            let bound = CATALOG_BYTES >> 20;
            let message =
                format!("The tap `{}` prints more than {bound} MiB with `--discover`", self.name());
            return Err(SourceError::new(SourceErrorKind::Malformed, message, WRITTEN_CATALOG));
        }
        if !end.is_complete() {
            return Err(self.death(end, &working.last));
        }
        serde_json::from_slice(&text).map_err(|error| {
            let message =
                format!("What the tap `{}` prints with `--discover` is no JSON", self.name());
            SourceError::new(SourceErrorKind::Malformed, message, WRITTEN_CATALOG).caused_by(error)
        })
    }

    /// The error for a tap that did not end well.
    fn death(&self, end: End, last: &LastLines) -> SourceError {
        let message = format!("The tap `{}` {end}", self.name());
        // What argument parsers answer to options or settings that they don't take; what taps of ours answer.
        let (kind, remedy) = match end.code() {
            Some(2) => (
                SourceErrorKind::Configuration,
                "It does not take its command line or settings; correct `command` or `config`",
            ),
            Some(3) => (SourceErrorKind::Refused, "Its last words tell what it was refused"),
            _ => (
                SourceErrorKind::Unavailable,
                "Its last words tell why; what it had sent up to its last state is stored, and the next run goes on \
                 from there",
            ),
        };
        let error = SourceError::new(kind, message, remedy);
        let words = LastWords(last.lines());
        if words.0.is_empty() { error } else { error.caused_by(words) }
    }

    async fn pass_on(
        &self,
        context: ExtractContext,
        working: &mut Working,
        output: TapOutput,
    ) -> Result<ExtractOutcome, SourceError> {
        let stop = context.stop.clone();
        // The tap is what is asked to stop; reading ends with it, so that its last words and states count.
        let context = ExtractContext { stop: CancellationToken::new(), ..context };
        let source = SingerSource::new(output, self.fingerprint()).that_resumes();
        let mut reading = Box::pin(Box::new(source).extract(context));
        let result = tokio::select! {
            biased;
            result = &mut reading => result,
            () = stop.cancelled() => {
                working.process.stop();
                reading.await
            }
        };
        let error = match result {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        // An input that can't be read is the tap's end, since nothing else breaks a pipe.
        let is_end = error.kind == SourceErrorKind::Unavailable;
        if !is_end {
            working.process.stop();
        }
        let end = working.ended().await;
        if stop.is_cancelled() && (is_end || error.kind == SourceErrorKind::LoaderGone) {
            return Ok(ExtractOutcome { interrupted: true, ..ExtractOutcome::default() });
        }
        Err(if is_end { self.death(end, &working.last) } else { error })
    }
}

impl Working {
    /// Waits for the tap's end, and for what it still had to say.
    async fn ended(&mut self) -> End {
        let end = self.process.wait().await;
        let is_open = !self.log.0.is_finished();
        if is_open && timeout(LOG_DEADLINE, &mut self.log.0).await.is_err() {
            tracing::debug!("The tap's log did not end with the tap");
        }
        end
    }
}

/// What the tap is started for.
enum Purpose<'a> {
    Discover,
    Sync { state: Option<&'a Value> },
}

#[async_trait]
impl Source for SingerTap {
    fn fingerprint(&self) -> String {
        self.settings.fingerprint.clone()
    }

    /// Lets the tap discover its streams, which shows that it starts, takes its settings and reaches its source.
    async fn check(&self) -> Vec<CheckStep> {
        let result = self.discover().await.map(|catalog| {
            let streams = catalog.get("streams").and_then(Value::as_array).map_or(0, Vec::len);
            format!("`{}` offers {streams} streams", self.name())
        });
        let failed = |error: SourceError| {
            let mut failure = CheckFailure::from(&error);
            if let Some(cause) = error.source() {
                failure.message = format!("{}: {cause}", failure.message);
            }
            failure
        };
        let name = "discover the tap's streams".to_owned();
        vec![CheckStep { name, result: result.map_err(failed) }]
    }

    async fn extract(
        self: Box<Self>,
        context: ExtractContext,
    ) -> Result<ExtractOutcome, SourceError> {
        let purpose = Purpose::Sync { state: context.singer_state.as_ref() };
        let (mut working, output) = self.start(&purpose)?;
        tracing::info!("Started the tap `{}`", self.name());
        // The run waits for the channel's end, and then not for long; the tap may need longer.
        let _open = context.events.clone();
        let outcome = self.pass_on(context, &mut working, output).await?;
        working.ended().await;
        Ok(outcome)
    }
}

/// The tap's last lines.
#[derive(Debug, thiserror::Error)]
#[error("Its log ended with: {}", .0.join(" ⏎ "))]
struct LastWords(Vec<String>);

/// The name by which people know the tap: its program's, and its script's where the program is an interpreter.
#[must_use]
pub fn program_name(command: &[String]) -> String {
    let file_name =
        |part: &String| Path::new(part).file_name().map(|name| name.to_string_lossy().into_owned());
    let program = command.first().and_then(file_name).unwrap_or_default();
    let script =
        command.get(1).filter(|argument| !argument.starts_with('-') && argument.contains('.'));
    match script.and_then(file_name) {
        Some(script) => format!("{program} {script}"),
        None => program,
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn not_started(name: &str, error: io::Error) -> SourceError {
    let remedy = if error.kind() == io::ErrorKind::NotFound {
        "Install it, or give its path in `command`; a relative path starts at the configuration's folder"
    } else {
        "Look whether the file is executable, and for this machine"
    };
    let message = format!("The tap `{name}` can't be started");
    SourceError::new(SourceErrorKind::Configuration, message, remedy).caused_by(error)
}

fn no_files(error: &io::Error) -> SourceError {
    SourceError::new(
        SourceErrorKind::Configuration,
        format!(
            "The files for the tap can't be written to `{}`: {error}",
            std::env::temp_dir().display()
        ),
        "Free space there, or name another folder with TMPDIR",
    )
}
