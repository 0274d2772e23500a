//! The log on standard error, in singer-python's form: `LEVEL body`. Runners look for `INFO METRIC: ` and `CRITICAL ` at
//! the start of a line, so nothing comes before the level.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// The crates whose events are people's business at any level.
const OURS: [&str; 4] = ["tap_bronto", "bronto_client", "replication", "singer"];

/// Starts logging at the level of `TAP_BRONTO_LOGLEVEL`, else of `LOGLEVEL`, else INFO.
pub(crate) fn start() {
    let named =
        ["TAP_BRONTO_LOGLEVEL", "LOGLEVEL"].into_iter().find_map(|name| std::env::var(name).ok());
    let level = named.as_deref().and_then(level).unwrap_or(LevelFilter::INFO);
    let others = level.min(LevelFilter::WARN);
    let filter =
        Targets::new().with_default(others).with_targets(OURS.map(|target| (target, level)));
    let lines =
        tracing_subscriber::fmt::layer().event_format(SingerLines).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(filter).with(lines).init();
}

/// A level by Python's name.
fn level(name: &str) -> Option<LevelFilter> {
    Some(match name.trim().to_ascii_uppercase().as_str() {
        "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "INFO" => LevelFilter::INFO,
        "WARNING" | "WARN" => LevelFilter::WARN,
        "ERROR" => LevelFilter::ERROR,
        "CRITICAL" | "FATAL" => LevelFilter::OFF,
        _ => return None,
    })
}

/// Writes a line of the level that ends a run, whatever is filtered.
pub(crate) fn critical(body: &str) {
    // If even standard error is gone, there is nobody to tell.
    drop(writeln!(std::io::stderr(), "CRITICAL {body}"));
}

/// `LEVEL body`, with the fields behind the sentence.
struct SingerLines;

impl<S, N> FormatEvent<S, N> for SingerLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut body = Body::default();
        event.record(&mut body);
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        let Body { sentence, fields } = body;
        match fields.as_str() {
            "" => writeln!(writer, "{level} {sentence}"),
            fields => writeln!(writer, "{level} {sentence} ({fields})"),
        }
    }
}

#[derive(Default)]
struct Body {
    sentence: String,
    fields: String,
}

impl Body {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let target = if field.name() == "message" { &mut self.sentence } else { &mut self.fields };
        let result = if field.name() == "message" {
            target.write_fmt(value)
        } else {
            let separator = if target.is_empty() { "" } else { ", " };
            write!(target, "{separator}{}: {value}", field.name())
        };
        result.expect("writing into a string never fails");
    }
}

impl Visit for Body {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        self.add(field, format_args!("{text}"));
    }
}
