//! What the service costs: reads over a store of some weeks, idling, starting, and storing the logs of runs.
//! `cargo xtask bench service`.
//!
//! Parts are `reads`, `idle` and `logs`; all by default. `--postgres` keeps the control store in PostgreSQL instead of a
//! file, `--integrations N`, `--runs N` and `--lines N` set how much it holds.

#![expect(clippy::unwrap_used, reason = "a failed step should stop the benchmark")]

mod fill;
mod idle;
mod logs;
mod process;
mod reads;

use std::{env, fs};

use chrono::Utc;
use fill::Amounts;
use postgres_cluster::Cluster;
use process::Serving;

fn main() {
    let arguments: Vec<String> = env::args().collect();
    // Test runners start every target, and ask it for tests; there are none here.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let number = |name: &str, otherwise: u64| {
        let place = arguments.iter().position(|argument| argument == name);
        place.map_or(otherwise, |place| arguments[place + 1].parse().unwrap())
    };
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let all = !["reads", "idle", "logs"].into_iter().any(has);
    if all || has("reads") || has("idle") {
        let amounts = Amounts {
            integrations: number("--integrations", 500),
            runs: number("--runs", 200_000),
            lines: number("--lines", 1_000_000),
        };
        full_store(amounts, has("--postgres"), all || has("reads"), all || has("idle"));
    }
    if all || has("logs") {
        logs::measure();
    }
}

/// What a store that holds so much costs.
fn full_store(amounts: Amounts, in_postgres: bool, reads: bool, idle: bool) {
    let Amounts { integrations, runs, lines } = amounts;
    let place = if in_postgres { "PostgreSQL" } else { "a file" };
    println!(
        "{integrations} integrations, {runs} runs, {} loads and {lines} log lines in {place}\n",
        runs * 5
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut service = "[service]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    let cluster = in_postgres.then(|| Cluster::start().unwrap());
    let (filled, environment) = match &cluster {
        Some(cluster) => {
            service.push_str(&format!("store = \"{}\"\n", cluster.url()));
            let filled = runtime.block_on(fill::postgres(cluster, amounts, Utc::now()));
            (filled, vec![("PGPASSWORD".to_owned(), cluster.password().to_owned())])
        }
        None => {
            let data = folder.path().join("backstitch-data");
            fs::create_dir_all(&data).unwrap();
            let path = data.join("control.db");
            (runtime.block_on(fill::sqlite(&path, amounts, Utc::now())), Vec::new())
        }
    };
    fs::write(folder.path().join("backstitch.toml"), service).unwrap();
    let serving = Serving::start(folder.path(), &environment);
    if idle {
        idle::measure(&serving);
    }
    if reads {
        reads::measure(&serving, &filled);
        println!();
    }
    if idle {
        idle::after(&serving);
    }
}
