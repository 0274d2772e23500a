//! The whole chain, from the simulated account to the database: `backstitch run`, and the Python tap piped into the
//! target that costs its client least.

use std::{
    fs,
    io::pipe,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use bronto_sim::{ClockMode, RunningServer, Server, SimConfig};
use postgres_cluster::Cluster;
use serde_json::{Value, json};

use crate::{
    Sizes, beside, contenders,
    measure::{Cost, account_token, measure, select, workspace_program},
    messages::STREAMS,
    results::{Results, step::EVERYTHING, who},
};

/// Where both begin to read.
const START: &str = "2025-11-01T00:00:00Z";

/// Measures both. Ours reads all fields of a contact, theirs those that it knows to ask for.
pub(crate) fn measure_both(
    cluster: &Cluster,
    sizes: Sizes,
    folder: &Path,
    others: bool,
    results: &mut Results,
) {
    let account = Server::start_blocking(&SimConfig {
        clock: ClockMode::Frozen,
        contacts: sizes.contacts,
        inbound: sizes.activities,
        outbound: 0,
        unsubscribes: 0,
        ..SimConfig::default()
    })
    .unwrap();
    // What is there has settled.
    account.advance_seconds(600);
    let done = beside(cluster, || ours(cluster, &account, folder));
    results.add(who::OUR_CHAIN, EVERYTHING, done);
    if others {
        let tap = python_tap(&account, folder);
        let target = contenders::pipelinewise(cluster, folder, "python_tap");
        let done = beside(cluster, || piped(tap, target));
        results.add(who::THEIR_CHAIN, EVERYTHING, done);
    }
}

fn ours(cluster: &Cluster, account: &RunningServer, folder: &Path) -> Cost {
    let text = format!(
        "[integration.chain]\nsource = {{ type = \"bronto\", token = {{ env = \"BENCH_TOKEN\" }}, endpoint = \"{}\", \
         start_date = \"{START}\" }}\n\
         destination = {{ url = \"{}\", password = {{ env = \"PGPASSWORD\" }} }}\ntables = {STREAMS:?}\n",
        account.endpoint(),
        cluster.url(),
    );
    let file = folder.join("backstitch.toml");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(workspace_program("backstitch"));
    command.args(["run", "--config"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
    command.env("BENCH_TOKEN", account_token()).env("PGPASSWORD", cluster.password());
    measure(command)
}

fn python_tap(account: &RunningServer, folder: &Path) -> Command {
    let config = folder.join("python-tap.json");
    let settings = json!({ "token": account_token(), "start_date": START });
    fs::write(&config, settings.to_string()).unwrap();
    let launcher =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../bronto-sim/tests/peers/python_tap.py");
    let program = || {
        let mut python = Command::new(contenders::peer("tap-bronto/bin/python"));
        python.arg(&launcher).arg(format!("{}?wsdl", account.endpoint()));
        python.arg("-c").arg(&config);
        python.env("NO_PROXY", "*").env("PYTHONDONTWRITEBYTECODE", "1").stderr(Stdio::null());
        python
    };
    let discovered = program().arg("-d").output().unwrap();
    let catalog: Value = serde_json::from_slice(&discovered.stdout).unwrap();
    let selected: PathBuf = folder.join("python-catalog.json");
    fs::write(&selected, select(&catalog, &STREAMS).to_string()).unwrap();
    let mut tap = program();
    tap.arg("-p").arg(&selected);
    tap
}

/// Both ends of a pipe, added up.
fn piped(mut tap: Command, mut target: Command) -> Cost {
    let (reader, writer) = pipe().unwrap();
    tap.stdout(writer);
    target.stdin(reader);
    let tap = thread::spawn(move || measure(tap));
    let target = measure(target);
    let tap = tap.join().unwrap();
    Cost {
        wall: tap.wall.max(target.wall),
        processor: tap.processor + target.processor,
        peak_mib: tap.peak_mib + target.peak_mib,
    }
}
