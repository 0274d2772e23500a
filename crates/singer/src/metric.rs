//! The metric lines in a tap's log.
//!
//! `INFO METRIC: {"type": "counter", "metric": "record_count", "value": 42, "tags": {…}}`
//!
//! Runners add up counters and watch timers by reading these lines from standard error. They look
//! for `INFO METRIC: ` at the very start of a line, so a log that puts a time there hides them.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use indexmap::IndexMap;
use serde::Deserialize;

use crate::json;

/// What the line of a metric starts with, after the log level.
const PREFIX: &str = "METRIC: ";

/// One measurement.
///
/// ```
/// use singer::Metric;
///
/// let metric = Metric::counter("record_count", 42).tag("endpoint", "contact");
/// assert_eq!(
///     metric.to_string(),
///     r#"METRIC: {"type":"counter","metric":"record_count","value":42,"tags":{"endpoint":"contact"}}"#
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    name: Cow<'static, str>,
    value: MetricValue,
    tags: IndexMap<Cow<'static, str>, String>,
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricValue {
    /// How many since the last line of the same counter; lines are to be summed.
    Counter(u64),
    /// How long something took.
    Timer(Duration),
}

impl Metric {
    /// A counter, as the growth since the last one. `name` is made of `[A-Za-z0-9_-]`.
    #[must_use]
    pub fn counter(name: &'static str, value: u64) -> Self {
        Self::new(name, MetricValue::Counter(value))
    }

    /// A timer. `name` is made of `[A-Za-z0-9_-]`.
    #[must_use]
    pub fn timer(name: &'static str, value: Duration) -> Self {
        Self::new(name, MetricValue::Timer(value))
    }

    fn new(name: &'static str, value: MetricValue) -> Self {
        debug_assert!(is_name(name), "metric names are plain");
        Self { name: Cow::Borrowed(name), value, tags: IndexMap::new() }
    }

    /// Adds a tag; standard keys are `endpoint`, `http_status_code`, `job_type` and `status`.
    #[must_use]
    pub fn tag(mut self, key: &'static str, value: impl Into<String>) -> Self {
        debug_assert!(is_name(key), "tag keys are plain");
        self.tags.insert(Cow::Borrowed(key), value.into());
        self
    }

    /// What was measured.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How much.
    #[must_use]
    pub fn value(&self) -> MetricValue {
        self.value
    }

    /// The value of a tag.
    #[must_use]
    pub fn tag_value(&self, key: &str) -> Option<&str> {
        self.tags.get(key).map(String::as_str)
    }

    /// Reads a log line; `None` if it is no metric.
    ///
    /// A timer may be written as any number of seconds; what is beyond floating point is cut off.
    #[must_use]
    pub fn parse_line(line: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Written {
            r#type: String,
            metric: String,
            value: serde_json::Number,
            #[serde(default)]
            tags: serde_json::Map<String, serde_json::Value>,
        }
        let text = line.strip_prefix("INFO ")?.strip_prefix(PREFIX)?;
        let written: Written = serde_json::from_str(text).ok()?;
        let value = match written.r#type.as_str() {
            "counter" => MetricValue::Counter(written.value.as_u64()?),
            "timer" => MetricValue::Timer(seconds(written.value.as_str())?),
            _ => return None,
        };
        let tags = written.tags.into_iter().map(|(key, value)| {
            let value = match value {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            (Cow::Owned(key), value)
        });
        Some(Self { name: Cow::Owned(written.metric), value, tags: tags.collect() })
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let string = |text: &str| {
            let mut rendered = Vec::new();
            json::push_string(&mut rendered, text);
            String::from_utf8(rendered).expect("a rendered string is UTF-8")
        };
        let name = string(&self.name);
        match self.value {
            MetricValue::Counter(value) => write!(
                formatter,
                r#"{PREFIX}{{"type":"counter","metric":{name},"value":{value},"tags":{{"#
            )?,
            MetricValue::Timer(value) => write!(
                formatter,
                r#"{PREFIX}{{"type":"timer","metric":{name},"value":{}.{:06},"tags":{{"#,
                value.as_secs(),
                value.subsec_micros()
            )?,
        }
        for (index, (key, value)) in self.tags.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(formatter, "{comma}{}:{}", string(key), string(value))?;
        }
        formatter.write_str("}}")
    }
}

/// A duration written as a number of seconds. A measurement is no amount: a float is good enough.
fn seconds(lexeme: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(lexeme.parse().ok()?).ok()
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    #[test]
    fn t40_counters_and_timers() {
        let timer = Metric::timer("http_request_duration", Duration::from_micros(1_250_030))
            .tag("endpoint", "read\"Contacts")
            .tag("status", "succeeded");
        insta::assert_snapshot!(timer, @r#"METRIC: {"type":"timer","metric":"http_request_duration","value":1.250030,"tags":{"endpoint":"read\"Contacts","status":"succeeded"}}"#);
        assert_eq!(Metric::parse_line(&format!("INFO {timer}")).unwrap(), timer);
        let counter = Metric::counter("record_count", u64::MAX);
        assert_eq!(Metric::parse_line(&format!("INFO {counter}")).unwrap(), counter);
        assert_eq!(counter.name(), "record_count");
    }

    #[test]
    fn t41_only_the_start_of_a_line_counts() {
        let line = r#"INFO METRIC: {"type": "counter", "metric": "record_count", "value": 3, "tags": {"http_status_code": 200}}"#;
        let metric = Metric::parse_line(line).unwrap();
        assert_eq!(metric.value(), MetricValue::Counter(3));
        assert_eq!(metric.tag_value("http_status_code"), Some("200"));
        assert_eq!(Metric::parse_line(&format!("2026-01-01 {line}")), None);
        assert_eq!(Metric::parse_line("INFO METRIC: nonsense"), None);
        assert_eq!(
            Metric::parse_line(r#"INFO METRIC: {"type":"timer","metric":"t","value":-1}"#),
            None
        );
    }
}
