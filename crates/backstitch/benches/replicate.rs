//! What it costs to replicate an account: processor seconds, peak memory and requests of the real programs, against the
//! simulated server and real databases, in one run. `cargo bench -p backstitch --bench replicate`.
//!
//! Figures are of the measured process alone (for PostgreSQL the server's are added, apart); the simulated server works
//! in this process. `BENCH_CONTACTS` sets the size, by default 100,000 contacts and twice as many activities.

#![expect(clippy::unwrap_used, reason = "a failed step should stop the benchmark")]

mod measure;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bronto_sim::{RunningServer, Server, SimConfig};
use postgres_cluster::Cluster;
use serde_json::{Value, json};

use measure::{Cost, account_token, measure, select, workspace_program};

const STREAMS: [&str; 5] =
    ["contact", "inbound_activity", "outbound_activity", "list", "unsubscribe"];

fn main() {
    // Test runners start every target, and ask it for tests; there are none here.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let contacts: u32 =
        std::env::var("BENCH_CONTACTS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let account = Server::start_blocking(&SimConfig {
        contacts,
        lists: 50,
        unsubscribes: contacts / 10,
        inbound: contacts + contacts / 2,
        outbound: contacts / 2,
        ..SimConfig::default()
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    println!("{contacts} contacts, {} activities, {} unsubscribes\n", contacts * 2, contacts / 10);
    println!("| what | rows | wall s | CPU s | rows per CPU s | peak MiB | requests |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    let messages = tap(&account, folder.path());
    duckdb(&account, folder.path(), &messages);
    postgres(&account, folder.path());
}

/// `tap-bronto` into files: contacts, activities, everything. Returns the file with everything.
fn tap(account: &RunningServer, folder: &Path) -> PathBuf {
    let tap = workspace_program("tap-bronto");
    let config = folder.join("tap.json");
    let settings = json!({
        "token": account_token(),
        "endpoint": account.endpoint(),
        "start_date": "2025-11-01T00:00:00Z",
        "settle_seconds": 0
    });
    fs::write(&config, settings.to_string()).unwrap();
    let discovered =
        Command::new(&tap).arg("--discover").arg("--config").arg(&config).output().unwrap();
    let catalog: Value = serde_json::from_slice(&discovered.stdout).unwrap();
    let messages = folder.join("messages.jsonl");
    for (name, streams) in
        [("contacts", &STREAMS[..1]), ("activities", &STREAMS[1..3]), ("all streams", &STREAMS[..])]
    {
        let selected = folder.join("catalog.json");
        fs::write(&selected, select(&catalog, streams).to_string()).unwrap();
        let mut command = Command::new(&tap);
        command.arg("--config").arg(&config).arg("--catalog").arg(&selected);
        command.stdout(File::create(&messages).unwrap()).stderr(Stdio::null());
        let before = requests(account);
        let cost = measure(command);
        let title = format!("`tap-bronto`, {name}, Singer JSON to a file");
        report(&title, records_in(&messages), &cost, Some(requests(account) - before));
    }
    messages
}

fn duckdb(account: &RunningServer, folder: &Path, messages: &Path) {
    let place = folder.join("duckdb");
    configure(account, &place, "\"duckdb:warehouse.duckdb\"");
    for what in ["everything", "nothing new"] {
        let before = requests(account);
        let cost = measure(backstitch(&place, "run"));
        let title = format!("`backstitch run` into DuckDB, {what}");
        report(&title, rows_of_last_run(&place), &cost, Some(requests(account) - before));
    }
    let mut load = Command::new(env!("CARGO_BIN_EXE_backstitch"));
    load.args(["load", "--destination", "duckdb:loaded.duckdb", "--schema", "loaded"]);
    load.current_dir(&place).stdin(File::open(messages).unwrap());
    load.stdout(Stdio::null()).stderr(Stdio::null());
    let cost = measure(load);
    report("`backstitch load` of that file into DuckDB", records_in(messages), &cost, None);
}

/// The number of rows in a file of Singer messages.
fn records_in(messages: &Path) -> usize {
    let text = fs::read(messages).unwrap();
    let lines = text.split(|&byte| byte == b'\n');
    lines.filter(|line| line.starts_with(b"{\"type\":\"RECORD\"")).count()
}

fn postgres(account: &RunningServer, folder: &Path) {
    let cluster = Cluster::options().fsync(true).start().unwrap();
    let place = folder.join("postgres");
    let address =
        format!("{{ url = \"{}\", password = {{ env = \"BENCH_PASSWORD\" }} }}", cluster.url());
    configure(account, &place, &address);
    for what in ["everything", "nothing new"] {
        let (before, server) = (requests(account), cluster.processor_seconds());
        let mut command = backstitch(&place, "run");
        command.env("BENCH_PASSWORD", cluster.password());
        let cost = measure(command);
        let server = cluster.processor_seconds() - server;
        let title =
            format!("`backstitch run` into PostgreSQL, {what} (the server: {server:.2} CPU s)");
        report(&title, rows_of_last_run(&place), &cost, Some(requests(account) - before));
    }
}

fn configure(account: &RunningServer, place: &Path, destination: &str) {
    fs::create_dir_all(place).unwrap();
    let text = format!(
        "[integration.bench]\nsource = {{ type = \"bronto\", token = {{ env = \"BENCH_TOKEN\" }}, endpoint = \"{}\", \
         start_date = \"2025-11-01T00:00:00Z\", settle_seconds = 0 }}\ndestination = {destination}\n",
        account.endpoint()
    );
    fs::write(place.join("backstitch.toml"), text).unwrap();
}

fn backstitch(place: &Path, subcommand: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backstitch"));
    command.args([subcommand, "--json"]).current_dir(place).env("BENCH_TOKEN", account_token());
    command.stdout(File::create(place.join("report.json")).unwrap()).stderr(Stdio::null());
    command
}

fn rows_of_last_run(place: &Path) -> usize {
    let report: Value =
        serde_json::from_slice(&fs::read(place.join("report.json")).unwrap()).unwrap();
    let received = |table: &Value| {
        let is_stream = STREAMS.iter().any(|stream| table["table"] == *stream);
        table["received"].as_u64().filter(|_| is_stream).unwrap_or(0)
    };
    let tables = report["tables"].as_array().unwrap();
    usize::try_from(tables.iter().map(received).sum::<u64>()).unwrap()
}

fn requests(account: &RunningServer) -> u64 {
    let stats = serde_json::to_value(account.stats()).unwrap();
    let requests = stats["requests"].as_object().unwrap();
    requests.values().filter_map(Value::as_u64).sum()
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn report(title: &str, rows: usize, cost: &Cost, requests: Option<u64>) {
    let rate = rows as f64 / cost.processor.max(0.01);
    let requests = requests.map_or_else(|| "–".to_owned(), |requests| requests.to_string());
    println!(
        "| {title} | {rows} | {:.2} | {:.2} | {rate:.0} | {:.0} | {requests} |",
        cost.wall, cost.processor, cost.peak_mib
    );
}
