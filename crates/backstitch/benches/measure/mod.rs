//! What the benchmarks have in common: programs that are run to their end and measured, and the tap's catalog.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// The kernel's clock ticks per second, in which `/proc` counts processor time on every Linux that Rust supports.
pub(crate) const TICKS: f64 = 100.0;

/// What a program took.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: f64,
    pub(crate) processor: f64,
    pub(crate) peak_mib: f64,
}

/// A catalog in which these streams are selected, and no others.
pub(crate) fn select(catalog: &Value, streams: &[&str]) -> Value {
    let mut catalog = catalog.clone();
    for entry in catalog["streams"].as_array_mut().unwrap() {
        let selected = streams.iter().any(|stream| entry["tap_stream_id"] == *stream);
        for metadata in entry["metadata"].as_array_mut().unwrap() {
            if metadata["breadcrumb"].as_array().is_some_and(Vec::is_empty) {
                metadata["metadata"]["selected"] = selected.into();
            }
        }
    }
    catalog
}

/// A token that may read the simulated account.
pub(crate) fn account_token() -> &'static str {
    bronto_sim::DEFAULT_TOKEN
}

/// A program of the workspace: built as this one was, or of another version, from the folder that `BENCH_PROGRAMS` names.
pub(crate) fn workspace_program(name: &str) -> PathBuf {
    if let Ok(folder) = env::var("BENCH_PROGRAMS") {
        return Path::new(&folder).join(name);
    }
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--package", name])
        .status();
    assert!(built.unwrap().success(), "`{name}` can be built");
    Path::new(env!("CARGO_BIN_EXE_backstitch")).with_file_name(name)
}

/// Runs a program to its end. Its processor time is read when it has ended and nobody has asked how.
#[expect(clippy::disallowed_methods, reason = "a process's memory can only be sampled")]
pub(crate) fn measure(mut command: Command) -> Cost {
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut peak_kib = 0.0_f64;
    let processor = loop {
        let (state, processor) = processor_of(&child);
        if state == 'Z' {
            break processor;
        }
        peak_kib = peak_kib.max(peak_of(&child));
        thread::sleep(Duration::from_millis(5));
    };
    let wall = started.elapsed().as_secs_f64();
    let status = child.wait().unwrap();
    assert!(status.success(), "{command:?} ended with {status}");
    Cost { wall, processor, peak_mib: peak_kib / 1024.0 }
}

fn processor_of(child: &Child) -> (char, f64) {
    let text = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    (fields[0].chars().next().unwrap(), ticks / TICKS)
}

fn peak_of(child: &Child) -> f64 {
    let text = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}
