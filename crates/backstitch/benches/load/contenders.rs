//! The programs that load messages: ours, and other people's as `cargo xtask setup --tests` and this benchmark install
//! them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use postgres_cluster::Cluster;
use serde_json::{Value, json};

use crate::{
    beside,
    floors::Floor,
    measure::{measure, workspace_program},
    messages::Messages,
    results::{Results, Step, who},
};

/// The schema that ours fills, which the floors take as their model.
pub(crate) const OURS: &str = "ours";

/// The packages of those that no test needs.
const TARGET_DUCKDB: &str = include_str!("target-duckdb.txt");
const DLT: &str = include_str!("dlt.txt");
/// What feeds dlt.
const DLT_LOADER: &str = include_str!("dlt_loader.py");

pub(crate) fn load(destination: &str, messages: &Path) -> Command {
    let mut command = Command::new(workspace_program("backstitch"));
    command.args(["load", "--destination", destination, "--schema", OURS]);
    reading(command, messages)
}

fn reading(mut command: Command, messages: &Path) -> Command {
    command.stdin(File::open(messages).unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// `backstitch load` into PostgreSQL. Returns what the floors have to load to do the same.
pub(crate) fn ours_into_postgres(
    cluster: &Cluster,
    messages: &Messages,
    folder: &Path,
    results: &mut Results,
) -> Floor {
    let mut floor = Floor::new(folder);
    for (step, file) in &messages.files {
        let mut command = load(&cluster.url(), file);
        command.env("PGPASSWORD", cluster.password());
        results.add(who::OURS_POSTGRES, step, beside(cluster, || measure(command)));
        floor.note(cluster, step);
    }
    floor
}

/// `backstitch load` into DuckDB.
pub(crate) fn ours_into_duckdb(messages: &Messages, folder: &Path, results: &mut Results) {
    let address = format!("duckdb:{}", folder.join("ours.duckdb").display());
    for (step, file) in &messages.files {
        let cost = measure(load(&address, file));
        results.add(who::OURS_DUCKDB, step, Step { cost, server: None });
    }
}

/// The others.
pub(crate) fn theirs(cluster: &Cluster, messages: &Messages, folder: &Path, results: &mut Results) {
    for (step, file) in &messages.files {
        let command = reading(pipelinewise(cluster, folder, "pipelinewise"), file);
        results.add(who::PIPELINEWISE, step, beside(cluster, || measure(command)));
    }
    for (step, file) in &messages.files {
        let command = reading(meltano(cluster, folder), file);
        results.add(who::MELTANO, step, beside(cluster, || measure(command)));
    }
    let program = install("target-duckdb", TARGET_DUCKDB).join("bin/target-duckdb");
    let path = folder.join("theirs.duckdb");
    let config = json!({
        "path": path, "filepath": path, "database": "theirs", "default_target_schema": "theirs",
        "add_metadata_columns": true, "batch_size_rows": 100_000,
    });
    for (step, file) in &messages.files {
        let cost = measure(reading(target(&program, folder, &config), file));
        results.add(who::TARGET_DUCKDB, step, Step { cost, server: None });
    }
    let python = install("dlt", DLT).join("bin/python");
    let loader = folder.join("dlt_loader.py");
    fs::write(&loader, DLT_LOADER).unwrap();
    for (step, file) in &messages.files {
        let mut command = Command::new(&python);
        command.arg(&loader).arg(folder.join("dlt.duckdb")).arg(folder.join("dlt"));
        let cost = measure(reading(command, file));
        results.add(who::DLT, step, Step { cost, server: None });
    }
}

/// `pipelinewise-target-postgres`, which fills this schema.
pub(crate) fn pipelinewise(cluster: &Cluster, folder: &Path, schema: &str) -> Command {
    let config = json!({
        "host": "127.0.0.1", "port": cluster.port(), "user": "backstitch", "password": cluster.password(),
        "dbname": "postgres", "default_target_schema": schema, "add_metadata_columns": true,
        "parallelism": 1, "batch_size_rows": 100_000,
    });
    target(&peer("pipelinewise/bin/target-postgres"), folder, &config)
}

/// `meltanolabs-target-postgres`, with COPY.
fn meltano(cluster: &Cluster, folder: &Path) -> Command {
    let config = json!({
        "host": "127.0.0.1", "port": cluster.port(), "user": "backstitch", "password": cluster.password(),
        "database": "postgres", "default_target_schema": "meltano", "load_method": "upsert",
        "use_copy": true, "validate_records": false, "batch_size_rows": 100_000,
    });
    target(&peer("singer-sdk/bin/target-postgres"), folder, &config)
}

fn target(program: &Path, folder: &Path, config: &Value) -> Command {
    let path = folder.join("target.json");
    fs::write(&path, config.to_string()).unwrap();
    let mut command = Command::new(program);
    command.arg("--config").arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A program of the peers.
pub(crate) fn peer(program: &str) -> PathBuf {
    let path = peers().join(program);
    assert!(path.exists(), "`{program}` is missing; `cargo xtask setup --tests` installs it");
    path
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers")
}

/// A virtual environment with these packages, beside the peers; made anew when they change.
fn install(name: &str, packages: &str) -> PathBuf {
    let place = peers().join(format!("bench-{name}"));
    let requirements = place.join("requirements.txt");
    if fs::read_to_string(&requirements).is_ok_and(|installed| installed == packages) {
        return place;
    }
    let made = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place).status();
    assert!(made.unwrap().success(), "no virtual environment could be made");
    let wanted = place.join("wanted.txt");
    fs::write(&wanted, packages).unwrap();
    let installed = Command::new(place.join("bin/pip"))
        .args(["--quiet", "--disable-pip-version-check", "install", "--no-deps", "--requirement"])
        .arg(&wanted)
        .status();
    assert!(installed.unwrap().success(), "the packages of {name} could not be installed");
    fs::rename(wanted, requirements).unwrap();
    place
}
