//! What it costs to load a Singer tap's output, side by side in one run: ours, other people's targets, and floors that
//! make the same final tables by hand-written SQL. `cargo xtask bench load`.
//!
//! A load, then changes to a fifth of the contacts, then 100 rows; then the whole chain from the simulated account.
//! Figures are of the measured process alone; those of the PostgreSQL server are beside them. Each table is followed by
//! the bars that it is held against.
//!
//! `--full` takes 200,000 contacts and as many activities instead of 50,000; `--contacts N` and `--activities N` set any
//! size, `--changes N` the second load, and `--ours` leaves other people's programs out. `--memory N` instead loads
//! contacts until there are N, changes a fifth of them, and adds 100. `--all` does everything: the comparison with other
//! people's programs, the full size without them, and the memory at 1,000,000 and 2,000,000 rows.

#![expect(clippy::unwrap_used, reason = "a failed step should stop the benchmark")]

// The allocator of the program, for what is measured in this process.
use backstitch as _;

mod bars;
mod chain;
mod contenders;
mod floors;
mod growth;
#[path = "../measure/mod.rs"]
mod measure;
mod messages;
mod native;
mod results;

use std::{env, fs, time::Instant};

use messages::Messages;
use postgres_cluster::Cluster;

use crate::{
    measure::Cost,
    results::{Results, Step},
};

/// The sizes of a run.
#[derive(Clone, Copy)]
struct Sizes {
    contacts: u32,
    activities: u32,
    changes: u32,
}

impl Sizes {
    fn of(rows: u32) -> Self {
        Self { contacts: rows, activities: rows, changes: rows / 5 }
    }
}

/// How many contacts and activities there are where nothing else is said, and with `--full`.
const ROWS: u32 = 50_000;
const FULL: u32 = 200_000;

/// At how many rows the memory is looked at.
const MEMORY_AT: [u32; 2] = [1_000_000, 2_000_000];

fn main() {
    let arguments: Vec<String> = env::args().collect();
    // Test runners start every target, and ask it for tests; there are none here.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let number = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        Some(arguments[place + 1].parse::<u32>().unwrap())
    };
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if has("--all") {
        compare(Sizes::of(ROWS), true);
        compare(Sizes::of(FULL), false);
        memory(&MEMORY_AT);
        return;
    }
    if let Some(rows) = number("--memory") {
        memory(&[rows]);
        return;
    }
    let usual = Sizes::of(if has("--full") { FULL } else { ROWS });
    let contacts = number("--contacts").unwrap_or(usual.contacts);
    let activities = number("--activities").unwrap_or(usual.activities);
    let changes = number("--changes").unwrap_or(contacts / 5);
    compare(Sizes { contacts, activities, changes }, !has("--ours"));
}

/// A server whose own chores, which would come at any time and count for whoever is measured then, are off.
fn quiet_server() -> Cluster {
    Cluster::options()
        .fsync(true)
        .setting("max_wal_size", "4GB")
        .setting("wal_level", "minimal")
        .setting("max_wal_senders", "0")
        .setting("autovacuum", "off")
        .start()
        .unwrap()
}

fn compare(sizes: Sizes, others: bool) {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let messages = Messages::make(sizes, folder);
    let Sizes { contacts, activities, changes } = sizes;
    let megabytes = messages.megabytes();
    let mut results = Results::begin(&format!(
        "{contacts} contacts and {activities} activities ({megabytes} MB of messages), then {changes} changes, then 100"
    ));
    let cluster = quiet_server();
    let floor = contenders::ours_into_postgres(&cluster, &messages, folder, &mut results);
    native::into_postgres(&cluster, &messages, &mut results);
    floor.load(&cluster, floors::Format::Csv, &mut results);
    floor.load(&cluster, floors::Format::Binary, &mut results);
    contenders::ours_into_duckdb(&messages, folder, &mut results);
    native::into_duckdb(&messages, folder, &mut results);
    floors::read_json(&messages, folder, &mut results);
    floors::copy_csv(folder, &mut results);
    if others {
        contenders::theirs(&cluster, &messages, folder, &mut results);
    }
    chain::measure_both(&cluster, sizes, folder, others, &mut results);
    bars::of_comparison(&results);
}

fn memory(sizes: &[u32]) {
    let place = tempfile::tempdir().unwrap();
    let few = Sizes { activities: 0, ..Sizes::of(ROWS) };
    let messages = Messages::make(few, place.path());
    let mut results = Results::begin("Growing tables of contacts");
    for &rows in sizes {
        growth::measure_both(&quiet_server(), &messages, place.path(), rows, &mut results);
    }
    bars::of_memory(&results, sizes);
}

/// What something takes that happens in the server while `act` waits for it.
fn beside(cluster: &Cluster, act: impl FnOnce() -> Cost) -> Step {
    // So that everybody pays alike for the pages that are written the first time after a checkpoint.
    cluster.query("checkpoint").unwrap();
    let before = settled_seconds(cluster);
    let cost = act();
    Step { cost, server: Some(settled_seconds(cluster) - before) }
}

/// The processor time of the server, sessions that have ended included.
fn settled_seconds(cluster: &Cluster) -> f64 {
    let others = "select count(*) from pg_stat_activity \
         where backend_type = 'client backend' and pid <> pg_backend_pid()";
    while cluster.query(others).unwrap().trim() != "0" {}
    cluster.processor_seconds()
}

/// What something takes that this process does itself.
fn by_myself(act: impl FnOnce()) -> Step {
    let (begun, before) = (Instant::now(), own_processor_seconds());
    act();
    let processor = own_processor_seconds() - before;
    let cost = Cost { wall: begun.elapsed().as_secs_f64(), processor, peak_mib: 0.0 };
    Step { cost, server: None }
}

/// The kernel's clock ticks per second, in which `/proc` counts processor time on every Linux that Rust supports.
const TICKS: f64 = 100.0;

/// The processor time of this process, in seconds.
fn own_processor_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS
}
