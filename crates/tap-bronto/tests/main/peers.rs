//! Foreign programs and our tap: a Singer judge, a Singer target, and the Python tap whose ids `compatible` promises.
//!
//! They run from virtual environments that `cargo xtask setup --tests` makes from `tests/peers` at the root of the
//! workspace, in the folder `peers` under the target folder or the one that `BACKSTITCH_PEERS` names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bronto_sim::{ClockMode, DEFAULT_TOKEN, RunningServer, Server, SimConfig};
use chrono::{DateTime, Days, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use singer::Message;
use tempfile::TempDir;

/// A program of a peer.
fn peer(path: &str) -> PathBuf {
    let folder = std::env::var_os("BACKSTITCH_PEERS").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers"),
        PathBuf::from,
    );
    let program = folder.join(path);
    assert!(
        program.exists(),
        "`{}` is missing: run `cargo xtask setup --tests`",
        program.display()
    );
    program
}

/// A folder with the configuration `c.json` for a server.
fn folder(server: &RunningServer, start: DateTime<Utc>, activity_id: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let config = json!({
        "token": DEFAULT_TOKEN,
        "endpoint": server.endpoint(),
        "start_date": start.to_rfc3339_opts(SecondsFormat::Secs, true),
        "settle_seconds": 0,
        "activity_id": activity_id,
    });
    fs::write(folder.path().join("c.json"), config.to_string()).unwrap();
    folder
}

/// What the tap prints, also left in `out.singer`.
fn our_output(folder: &TempDir) -> String {
    let mut tap = Command::new(env!("CARGO_BIN_EXE_tap-bronto"));
    let output = tap.current_dir(folder).args(["-c", "c.json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(folder.path().join("out.singer"), &output.stdout).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a peer in the folder with what the tap printed on its standard input.
fn read_by(program: PathBuf, folder: &TempDir) -> String {
    let input = fs::File::open(folder.path().join("out.singer")).unwrap();
    let output = Command::new(program).current_dir(folder).stdin(input).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Records by stream.
fn records(output: &str) -> BTreeMap<String, Vec<Map<String, Value>>> {
    let mut rows: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for line in output.lines() {
        if let Ok(Message::Record(record)) = Message::parse(line) {
            let row = serde_json::from_str(record.record.get()).unwrap();
            rows.entry(record.stream.into_owned()).or_default().push(row);
        }
    }
    rows
}

#[test]
fn singer_tools_and_a_target_accept_the_output() {
    let config = SimConfig { clock: ClockMode::Frozen, contacts: 200, ..SimConfig::default() };
    let server = Server::start_blocking(&config).unwrap();
    let folder = folder(&server, server.now() - Days::new(365), "lossless");
    let rows = records(&our_output(&folder));
    let verdict = read_by(peer("singer-tools/bin/singer-check-tap"), &folder);
    assert!(verdict.contains("The output is valid."), "{verdict}");
    read_by(peer("target-jsonl/bin/target-jsonl"), &folder);
    for (stream, rows) in rows {
        let prefix = format!("{stream}-");
        let file = fs::read_dir(&folder)
            .unwrap()
            .flatten()
            .find(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)));
        let written = fs::read_to_string(file.unwrap().path()).unwrap();
        let written: Vec<Map<String, Value>> =
            written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(written.len(), rows.len(), "{stream}");
        let keys = |rows: &[Map<String, Value>]| -> Vec<String> {
            rows.iter().map(|row| format!("{:?}", row.values().next())).collect()
        };
        assert_eq!(keys(&written), keys(&rows), "{stream}");
    }
}

#[test]
fn compatible_ids_are_those_of_the_python_tap() {
    // The Python tap reads up to the machine's clock, so the simulated one must agree with it.
    let config = SimConfig {
        now: Utc::now(),
        contacts: 20,
        inbound: 400,
        outbound: 300,
        ..SimConfig::default()
    }
    .with_behaviour("absent_optional_rate", "0.3");
    let server = Server::start_blocking(&config).unwrap();
    let folder = folder(&server, server.now() - Days::new(29), "compatible");
    let ours = records(&our_output(&folder));
    let theirs = records(&python_taps_output(&server, &folder));
    for stream in ["inbound_activity", "outbound_activity"] {
        let ids = |rows: &[Map<String, Value>]| -> BTreeSet<String> {
            rows.iter().map(|row| row["id"].to_string()).collect()
        };
        assert!(ours[stream].len() > 50);
        assert_eq!(ids(&ours[stream]), ids(&theirs[stream]), "{stream}");
    }
}

/// What the Python tap makes of both streams of activities, with all fields selected.
fn python_taps_output(server: &RunningServer, folder: &TempDir) -> String {
    let launcher =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../bronto-sim/tests/peers/python_tap.py");
    let run = |arguments: &[&str]| {
        let mut python = Command::new(peer("tap-bronto/bin/python"));
        python.current_dir(folder).arg(&launcher).arg(format!("{}?wsdl", server.endpoint()));
        python.args(["-c", "c.json"]).args(arguments).env("NO_PROXY", "*").stdin(Stdio::null());
        let output = python.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let mut catalog: Value = serde_json::from_str(&run(&["-d"])).unwrap();
    for stream in catalog["streams"].as_array_mut().unwrap() {
        let is_wanted = stream["stream"].as_str().unwrap().ends_with("activity");
        for place in stream["metadata"].as_array_mut().unwrap() {
            place["metadata"]["selected"] = is_wanted.into();
        }
    }
    fs::write(folder.path().join("p.json"), catalog.to_string()).unwrap();
    run(&["-p", "p.json"])
}
