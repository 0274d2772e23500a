//! The log, on standard error: lines in the form of Stitch's extraction logs, for example
//! `2026-11-23 13:00:00,125Z    tap - INFO State update: adding bookmarks.contact.modified = "…"`.
//! While progress bars are on the screen, only warnings are shown, above them.

use std::{
    fmt::{self, Write as _},
    io::{self, Write},
};

use chrono::Utc;
use indicatif::MultiProgress;
use service::store::LogLevel;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::{
    config::LogForm,
    exit::ExitStatus,
    failure::Failure,
    hosting::{RunLogLayer, RunTitle},
};

/// The environment variable that changes what is logged, for example `BACKSTITCH_LOG=debug`.
const VARIABLE: &str = "BACKSTITCH_LOG";

/// What is logged unless the variable says otherwise.
const LINES: &str = "warn,backstitch=info,replication=info,tap_bronto=info,bronto_client=info,singer=info,\
                     destination_duckdb=info,destination_postgres=info";
/// The lines of runs that are kept when all are wanted.
const RUN_LINES_DEBUG: &str = "warn,backstitch=debug,replication=debug,tap_bronto=debug,bronto_client=debug,singer=debug,\
                               destination_duckdb=debug,destination_postgres=debug";
/// What is logged above progress bars.
const ABOVE_BARS: &str = "warn";

/// Crates whose work is the source's side of a run.
const TAP: [&str; 3] = ["tap_bronto", "bronto_client", "singer"];
/// Crates whose work is the destination's side.
const TARGET: [&str; 3] = ["replication", "destination_duckdb", "destination_postgres"];

/// What is logged above progress bars when the command itself tells what the source would warn of.
const ABOVE_BARS_BUT_SOURCE: &str = "warn,tap_bronto=error";

/// Starts the log; above the bars, if there are any.
///
/// # Errors
/// When `BACKSTITCH_LOG` can't be read.
pub(crate) fn start(bars: Option<&MultiProgress>) -> Result<(), Failure> {
    start_with(bars, ABOVE_BARS)
}

/// The same for a command that tells by itself what the source would warn of.
///
/// # Errors
/// When `BACKSTITCH_LOG` can't be read.
pub(crate) fn start_without_source(bars: Option<&MultiProgress>) -> Result<(), Failure> {
    start_with(bars, ABOVE_BARS_BUT_SOURCE)
}

fn start_with(bars: Option<&MultiProgress>, above_bars: &str) -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_env_filter(filter(if bars.is_some() { above_bars } else { LINES })?)
        .event_format(StitchLine)
        .with_writer(StandardError { bars: bars.cloned() })
        .init();
    Ok(())
}

/// Starts the log of the service, which is also where the logs of runs come from.
///
/// # Errors
/// When `BACKSTITCH_LOG` can't be read.
pub(crate) fn start_service(
    form: LogForm,
    runs: RunLogLayer,
    least: LogLevel,
) -> Result<(), Failure> {
    let text = (form == LogForm::Text).then(|| {
        tracing_subscriber::fmt::layer()
            .event_format(StitchLine)
            .with_writer(StandardError { bars: None })
    });
    let json = (form == LogForm::Json).then(|| {
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(io::stderr)
    });
    let of_runs = if least == LogLevel::Debug { RUN_LINES_DEBUG } else { LINES };
    let of_runs = EnvFilter::try_new(of_runs).map_err(|error| {
        Failure::new(ExitStatus::Unexpected, "The log can't be started").caused_by(&error)
    })?;
    tracing_subscriber::registry()
        .with(text.with_filter(filter(LINES)?))
        .with(json.with_filter(filter(LINES)?))
        .with(runs.with_filter(of_runs))
        .init();
    Ok(())
}

fn filter(default: &str) -> Result<EnvFilter, Failure> {
    let directives = std::env::var(VARIABLE).unwrap_or_else(|_| default.to_owned());
    EnvFilter::try_new(directives).map_err(|error| {
        Failure::configuration(format!("The environment variable `{VARIABLE}` is not a log filter"))
            .caused_by(&error)
            .with_hint("Write it like `debug` or `tap_bronto=debug`")
    })
}

/// Formats an event as a line of Stitch's.
#[derive(Debug, Clone, Copy)]
struct StitchLine;

impl<S, N> FormatEvent<S, N> for StitchLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut body = Body::default();
        event.record(&mut body);
        let time = Utc::now().format("%Y-%m-%d %H:%M:%S,%3fZ");
        let metadata = event.metadata();
        let (place, level) = (location(metadata.target()), level_name(*metadata.level()));
        write!(writer, "{time} {place:>6} - {level} ")?;
        // Where several runs are at work at once, each line tells whose it is.
        let mut spans = context.event_scope().into_iter().flatten();
        if let Some(title) =
            spans.find_map(|span| span.extensions().get::<RunTitle>().map(|title| title.0.clone()))
        {
            write!(writer, "{title}: ")?;
        }
        writeln!(writer, "{}", body.text())
    }
}

/// `tap`, `target` or `main`, by the crate that speaks.
pub(crate) fn location(target: &str) -> &'static str {
    let krate = target.split("::").next().unwrap_or_default();
    if TAP.contains(&krate) {
        "tap"
    } else if TARGET.contains(&krate) {
        "target"
    } else {
        "main"
    }
}

pub(crate) fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG | Level::TRACE => "DEBUG",
    }
}

/// The text of an event: its sentence, then its fields; in one line whatever they hold.
#[derive(Debug, Default)]
pub(crate) struct Body {
    message: String,
    fields: String,
}

impl Body {
    /// The whole of it.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.message, self.fields)
    }
}

impl Visit for Body {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}").replace(['\n', '\r'], " ");
        if field.name() == "message" {
            self.message = text;
        } else {
            write!(self.fields, " {}={text}", field.name())
                .expect("writing to a string never fails");
        }
    }
}

/// Standard error; bars on it step aside for each line.
#[derive(Debug, Clone)]
struct StandardError {
    bars: Option<MultiProgress>,
}

impl<'w> MakeWriter<'w> for StandardError {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

impl Write for StandardError {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().lock().write_all(line).map(|()| line.len());
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_have_the_form_of_stitch() {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(StitchLine)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "tap_bronto::state", "State update: adding bookmarks.contact.modified = \"x\"");
            tracing::warn!(target: "destination_duckdb", attempt = 2, "Waiting for\nthe file");
            tracing::error!("Failed");
        });
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        let bodies: Vec<&str> = text.lines().map(|line| &line[24..]).collect();
        assert_eq!(
            bodies,
            [
                "    tap - INFO State update: adding bookmarks.contact.modified = \"x\"",
                " target - WARNING Waiting for the file attempt=2",
                "   main - ERROR Failed",
            ]
        );
        let time = &text[..24];
        assert!(
            chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S,%3fZ").is_ok(),
            "{time}"
        );
    }
}
