//! What the benchmarks have in common: programs that are run to their end and measured, and the tap's catalog.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// What a program took.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: f64,
    pub(crate) processor: f64,
    pub(crate) peak_mib: f64,
}

/// A catalog in which these streams are selected with all their fields, and no others.
pub(crate) fn select(catalog: &Value, streams: &[&str]) -> Value {
    let mut catalog = catalog.clone();
    for entry in catalog["streams"].as_array_mut().unwrap() {
        let selected = streams.iter().any(|stream| entry["tap_stream_id"] == *stream);
        for metadata in entry["metadata"].as_array_mut().unwrap() {
            metadata["metadata"]["selected"] = selected.into();
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
    if name == "backstitch" {
        return env!("CARGO_BIN_EXE_backstitch").into();
    }
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--package", name])
        .status();
    assert!(built.unwrap().success(), "`{name}` can be built");
    Path::new(env!("CARGO_BIN_EXE_backstitch")).with_file_name(name)
}

/// Runs a program to its end.
pub(crate) fn measure(mut command: Command) -> Cost {
    let cost = process_cost::measure(&mut command).unwrap();
    Cost {
        wall: cost.wall.as_secs_f64(),
        processor: cost.processor.as_secs_f64(),
        peak_mib: mebibytes(cost.peak_bytes),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
