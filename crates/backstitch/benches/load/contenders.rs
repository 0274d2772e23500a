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
    Step, beside,
    floors::Floor,
    measure::{measure, workspace_program},
    messages::Messages,
    report,
};

/// The schema that ours fills, which the floors take as their model.
pub(crate) const OURS: &str = "ours";

/// The packages of `target-duckdb`, which no test needs.
const TARGET_DUCKDB: &str = include_str!("target-duckdb.txt");

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
pub(crate) fn ours_into_postgres(cluster: &Cluster, messages: &Messages, folder: &Path) -> Floor {
    let mut floor = Floor::new(folder);
    for (step, file) in &messages.files {
        let mut command = load(&cluster.url(), file);
        command.env("PGPASSWORD", cluster.password());
        report("`backstitch load`, PostgreSQL", step, &beside(cluster, || measure(command)));
        floor.note(cluster, step);
    }
    floor
}

/// `backstitch load` into DuckDB.
pub(crate) fn ours_into_duckdb(messages: &Messages, folder: &Path) {
    let address = format!("duckdb:{}", folder.join("ours.duckdb").display());
    for (step, file) in &messages.files {
        let cost = measure(load(&address, file));
        report("`backstitch load`, DuckDB", step, &Step { cost, server: None });
    }
}

/// The targets that are installed.
pub(crate) fn theirs(cluster: &Cluster, messages: &Messages, folder: &Path) {
    let target = |program: PathBuf, config: Value| {
        let path = folder.join("target.json");
        move |file: &Path| {
            fs::write(&path, config.to_string()).unwrap();
            let mut command = Command::new(&program);
            command.arg("--config").arg(&path);
            reading(command, file)
        }
    };
    let pipelinewise = target(
        peer("pipelinewise/bin/target-postgres"),
        json!({
            "host": "127.0.0.1", "port": cluster.port(), "user": "backstitch", "password": cluster.password(),
            "dbname": "postgres", "default_target_schema": "pipelinewise", "add_metadata_columns": true,
            "parallelism": 1, "batch_size_rows": 100_000,
        }),
    );
    let meltano = target(
        peer("singer-sdk/bin/target-postgres"),
        json!({
            "host": "127.0.0.1", "port": cluster.port(), "user": "backstitch", "password": cluster.password(),
            "database": "postgres", "default_target_schema": "meltano", "load_method": "upsert",
            "use_copy": true, "validate_records": false, "batch_size_rows": 100_000,
        }),
    );
    for (step, file) in &messages.files {
        let done = beside(cluster, || measure(pipelinewise(file)));
        report("pipelinewise-target-postgres", step, &done);
    }
    for (step, file) in &messages.files {
        report("meltanolabs-target-postgres", step, &beside(cluster, || measure(meltano(file))));
    }
    let duckdb = target(
        install("target-duckdb", TARGET_DUCKDB, folder).join("bin/target-duckdb"),
        json!({
            "path": folder.join("theirs.duckdb"), "filepath": folder.join("theirs.duckdb"), "database": "theirs",
            "default_target_schema": "theirs", "add_metadata_columns": true, "batch_size_rows": 100_000,
        }),
    );
    for (step, file) in &messages.files {
        report("target-duckdb", step, &Step { cost: measure(duckdb(file)), server: None });
    }
}

fn peer(program: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers").join(program);
    assert!(path.exists(), "`{program}` is missing; `cargo xtask setup --tests` installs it");
    path
}

/// A virtual environment with these packages.
fn install(name: &str, packages: &str, folder: &Path) -> PathBuf {
    let place = folder.join(name);
    let requirements = folder.join(format!("{name}.txt"));
    fs::write(&requirements, packages).unwrap();
    let made = Command::new("python3").args(["-m", "venv"]).arg(&place).status();
    assert!(made.unwrap().success(), "no virtual environment could be made");
    let installed = Command::new(place.join("bin/pip"))
        .args(["--quiet", "--disable-pip-version-check", "install", "--no-deps", "--requirement"])
        .arg(&requirements)
        .status();
    assert!(installed.unwrap().success(), "the packages of {name} could not be installed");
    place
}
