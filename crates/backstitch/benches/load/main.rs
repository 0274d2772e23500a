//! What it costs to load a Singer tap's output, side by side in one run: ours, other people's targets, and floors that
//! make the same final tables by hand-written SQL. `cargo xtask bench load`.
//!
//! A load, then changes to a fifth of the contacts, then 100 rows. Figures are of the measured process alone; those of
//! the PostgreSQL server are beside them. `--full` takes 200,000 contacts and as many activities instead of 50,000;
//! `--contacts N` and `--activities N` set any size, `--changes N` the second load, and `--ours` leaves other people's
//! programs out. `--memory N` instead loads contacts until there are N, changes a fifth of them, and adds 100.

#![expect(clippy::unwrap_used, reason = "a failed step should stop the benchmark")]

mod contenders;
mod floors;
mod growth;
#[path = "../measure/mod.rs"]
mod measure;
mod messages;
mod native;

use std::{env, fs, path::Path, time::Instant};

use messages::Messages;
use postgres_cluster::Cluster;

use crate::measure::Cost;

/// The sizes of a run.
#[derive(Clone, Copy)]
struct Sizes {
    contacts: u32,
    activities: u32,
    changes: u32,
}

/// One step of a contender.
struct Step {
    cost: Cost,
    /// The processor seconds of the server, where there is one.
    server: Option<f64>,
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    // Test runners start every target, and ask it for tests; there are none here.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let number = |name: &str, otherwise: u32| {
        let place = arguments.iter().position(|argument| argument == name);
        place.map_or(otherwise, |place| arguments[place + 1].parse().unwrap())
    };
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let size = if has("--full") { 200_000 } else { 50_000 };
    let contacts = number("--contacts", size);
    let sizes = Sizes {
        contacts,
        activities: number("--activities", size),
        changes: number("--changes", contacts / 5),
    };
    let others = !has("--ours");
    let folder = tempfile::tempdir().unwrap();
    let messages = Messages::make(sizes, folder.path());
    println!(
        "{contacts} contacts and {} activities ({} MB of messages), then {} changes, then 100\n",
        sizes.activities,
        messages.megabytes(),
        sizes.changes
    );
    println!("| what | step | wall s | client CPU s | server CPU s | peak MiB |");
    println!("|---|---|--:|--:|--:|--:|");
    // The server's own chores would come at any time, and count for whoever is measured then.
    let cluster = Cluster::options()
        .fsync(true)
        .setting("max_wal_size", "4GB")
        .setting("wal_level", "minimal")
        .setting("max_wal_senders", "0")
        .setting("autovacuum", "off")
        .start()
        .unwrap();
    match number("--memory", 0) {
        0 => compare(&cluster, &messages, folder.path(), others),
        rows => growth::measure_both(&cluster, &messages, folder.path(), rows),
    }
}

fn compare(cluster: &Cluster, messages: &Messages, folder: &Path, others: bool) {
    let floor = contenders::ours_into_postgres(cluster, messages, folder);
    native::into_postgres(cluster, messages);
    floor.load(cluster, floors::Format::Csv);
    floor.load(cluster, floors::Format::Binary);
    contenders::ours_into_duckdb(messages, folder);
    native::into_duckdb(messages, folder);
    floors::read_json(messages, folder);
    floors::copy_csv(folder);
    if others {
        contenders::theirs(cluster, messages, folder);
    }
}

fn report(what: &str, step: &str, done: &Step) {
    let server = done.server.map_or_else(|| "–".to_owned(), |server| format!("{server:.2}"));
    let Cost { wall, processor, peak_mib } = done.cost;
    println!("| {what} | {step} | {wall:.2} | {processor:.2} | {server} | {peak_mib:.0} |");
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
