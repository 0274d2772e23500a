//! Figures for Prometheus. Labels are closed sets: routes, methods, statuses; never a name, an id or an address.

use std::{collections::BTreeMap, fmt::Write, sync::Mutex, time::Duration};

use axum::http::StatusCode;

use super::route::{Facts, Method};
use crate::store::Figures;

/// The upper ends of the classes of durations, in seconds.
const CLASSES: [(&str, Duration); 8] = [
    ("0.001", Duration::from_millis(1)),
    ("0.005", Duration::from_millis(5)),
    ("0.025", Duration::from_millis(25)),
    ("0.1", Duration::from_millis(100)),
    ("0.5", Duration::from_millis(500)),
    ("2.5", Duration::from_millis(2_500)),
    ("10", Duration::from_secs(10)),
    ("60", Duration::from_secs(60)),
];

/// What has been counted since the process began.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    requests: Mutex<BTreeMap<(&'static str, Method, u16), u64>>,
    durations: Mutex<BTreeMap<(&'static str, Method), Durations>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Durations {
    /// How many were not longer than each class's end.
    classes: [u64; CLASSES.len()],
    count: u64,
    total: Duration,
}

impl Meters {
    /// Counts a request that was answered.
    pub(super) fn count(&self, facts: &Facts, status: StatusCode, duration: Duration) {
        if let Ok(mut requests) = self.requests.lock() {
            *requests.entry((facts.path, facts.method, status.as_u16())).or_default() += 1;
        }
        if let Ok(mut durations) = self.durations.lock() {
            let entry = durations.entry((facts.path, facts.method)).or_default();
            for (class, (_, end)) in entry.classes.iter_mut().zip(CLASSES) {
                *class += u64::from(duration <= end);
            }
            entry.count += 1;
            entry.total += duration;
        }
    }

    /// All of it, with what the store holds, in Prometheus' form.
    pub(super) fn text(&self, figures: &Figures) -> String {
        let mut text = String::new();
        let active = figures.integrations.saturating_sub(figures.paused);
        gauge(
            &mut text,
            "backstitch_integrations_active",
            "Integrations that are not paused",
            active,
        );
        gauge(
            &mut text,
            "backstitch_integrations_paused",
            "Integrations that are paused",
            figures.paused,
        );
        gauge(
            &mut text,
            "backstitch_integrations_failing",
            "Integrations whose last run did not succeed",
            figures.last_run_bad,
        );
        gauge(&mut text, "backstitch_runs_due", "Runs that wait for a worker", figures.runs_due);
        gauge(&mut text, "backstitch_runs_running", "Runs that a worker has", figures.runs_running);
        head(&mut text, "backstitch_http_requests_total", "Requests that were answered", "counter");
        if let Ok(requests) = self.requests.lock() {
            for ((path, method, status), count) in requests.iter() {
                let method = method.name();
                line(
                    &mut text,
                    format_args!(
                        "backstitch_http_requests_total{{route=\"{path}\",method=\"{method}\",status=\"{status}\"}} {count}"
                    ),
                );
            }
        }
        let name = "backstitch_http_request_duration_seconds";
        head(&mut text, name, "How long requests took until their answer began", "histogram");
        if let Ok(durations) = self.durations.lock() {
            for ((path, method), found) in durations.iter() {
                let labels = format!("route=\"{path}\",method=\"{}\"", method.name());
                let Durations { classes, count, total } = found;
                for ((end, _), class) in CLASSES.iter().zip(classes) {
                    line(&mut text, format_args!("{name}_bucket{{{labels},le=\"{end}\"}} {class}"));
                }
                line(&mut text, format_args!("{name}_bucket{{{labels},le=\"+Inf\"}} {count}"));
                let (seconds, rest) = (total.as_secs(), total.subsec_micros());
                line(&mut text, format_args!("{name}_sum{{{labels}}} {seconds}.{rest:06}"));
                line(&mut text, format_args!("{name}_count{{{labels}}} {count}"));
            }
        }
        text
    }
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    line(text, format_args!("# HELP {name} {help}"));
    line(text, format_args!("# TYPE {name} {kind}"));
}

fn gauge(text: &mut String, name: &str, help: &str, value: u64) {
    head(text, name, help, "gauge");
    line(text, format_args!("{name} {value}"));
}

/// Writing into a text can't fail.
fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _written = writeln!(text, "{line}");
}
