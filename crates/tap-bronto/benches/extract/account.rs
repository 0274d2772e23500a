//! A simulated account, and runs of `tap-bronto` against it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use bronto_sim::{ClockMode, DEFAULT_TOKEN, RunningServer, Server, SimConfig};
use process_cost::Cost;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server whose clock stands still, and a folder for the files of the programs that read it.
pub(crate) struct Account {
    pub(crate) server: RunningServer,
    folder: TempDir,
}

/// What one run of a tap cost.
pub(crate) struct Run {
    pub(crate) cost: Cost,
    pub(crate) records: u64,
    /// Calls by function, logins apart.
    pub(crate) requests: BTreeMap<String, u64>,
}

impl Run {
    pub(crate) fn seconds(&self) -> f64 {
        self.cost.processor.as_secs_f64()
    }

    /// Records per second of processor time.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub(crate) fn rate(&self) -> f64 {
        self.records as f64 / self.seconds().max(0.01)
    }

    pub(crate) fn peak_mib(&self) -> u64 {
        self.cost.peak_bytes >> 20
    }

    pub(crate) fn all_requests(&self) -> u64 {
        self.requests.values().sum()
    }

    pub(crate) fn requests_of(&self, function: &str) -> u64 {
        self.requests.get(function).copied().unwrap_or(0)
    }
}

impl Account {
    pub(crate) fn of(config: SimConfig, behaviours: &[(&str, &str)]) -> Self {
        let mut config = SimConfig { clock: ClockMode::Frozen, ..config };
        for (name, value) in behaviours {
            config = config.with_behaviour(*name, *value);
        }
        let server = Server::start_blocking(&config).unwrap();
        // What is there has settled.
        server.advance_seconds(600);
        Self { server, folder: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Reads the streams with `tap-bronto`, all fields, from as many days ago; settings are laid over the usual ones.
    pub(crate) fn tap(&self, streams: &[&str], days: u64, settings: &Value) -> Run {
        self.tap_without(&[], streams, days, settings)
    }

    /// The same without some fields.
    pub(crate) fn tap_without(
        &self,
        fields: &[&str],
        streams: &[&str],
        days: u64,
        settings: &Value,
    ) -> Run {
        self.configure(days, settings);
        self.select(&tap_bronto::catalog::discover(&[]).to_json(), streams, fields);
        self.run()
    }

    /// The same with the account's custom fields.
    pub(crate) fn tap_with_custom_fields(
        &self,
        streams: &[&str],
        days: u64,
        settings: &Value,
    ) -> Run {
        self.configure(days, settings);
        let discovered = self.program().arg("--discover").output().unwrap();
        self.select(str::from_utf8(&discovered.stdout).unwrap(), streams, &[]);
        self.run()
    }

    fn program(&self) -> Command {
        let mut tap = Command::new(env!("CARGO_BIN_EXE_tap-bronto"));
        tap.current_dir(&self.folder).args(["-c", "config.json"]);
        tap
    }

    fn run(&self) -> Run {
        let mut tap = self.program();
        tap.args(["-p", "catalog.json"]);
        if self.path("state.json").exists() {
            tap.args(["-s", "state.json"]);
        }
        self.measure(&mut tap)
    }

    /// Keeps the last state that a tap wrote, for the next run.
    pub(crate) fn keep_state(&self) {
        let lines = BufReader::new(File::open(self.path("output.jsonl")).unwrap()).lines();
        let states =
            lines.map(Result::unwrap).filter(|line| line.starts_with("{\"type\":\"STATE\""));
        let last: Value = serde_json::from_str(&states.last().unwrap()).unwrap();
        fs::write(self.path("state.json"), last["value"].to_string()).unwrap();
    }

    /// Writes a configuration that both taps understand.
    pub(crate) fn configure(&self, days: u64, settings: &Value) {
        let start = self.server.now() - chrono::Days::new(days);
        let mut config = json!({
            "token": DEFAULT_TOKEN,
            "endpoint": self.server.endpoint(),
            "start_date": start.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        });
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        fs::write(self.path("config.json"), config.to_string()).unwrap();
    }

    /// Writes a catalog that selects all fields of these streams but some, and nothing else.
    pub(crate) fn select(&self, catalog: &str, streams: &[&str], without: &[&str]) {
        let mut catalog: Value = serde_json::from_str(catalog).unwrap();
        for entry in catalog["streams"].as_array_mut().unwrap() {
            let wanted = streams.iter().any(|stream| entry["stream"] == *stream);
            for place in entry["metadata"].as_array_mut().unwrap() {
                let is_left_out = without.iter().any(|field| place["breadcrumb"][1] == *field);
                place["metadata"]["selected"] = (wanted && !is_left_out).into();
            }
        }
        fs::write(self.path("catalog.json"), catalog.to_string()).unwrap();
    }

    /// Runs a program that prints Singer messages, into a file.
    pub(crate) fn measure(&self, program: &mut Command) -> Run {
        let output = self.path("output.jsonl");
        program.stdin(Stdio::null()).stdout(File::create(&output).unwrap());
        program.stderr(File::create(self.path("log.txt")).unwrap());
        let before = self.server.stats().requests;
        let cost = process_cost::measure(program).unwrap_or_else(|error| {
            panic!("{error}\n{}", fs::read_to_string(self.path("log.txt")).unwrap())
        });
        let mut requests = self.server.stats().requests;
        requests.retain(|function, n| {
            *n -= before.get(function).copied().unwrap_or(0);
            *n > 0 && function != "login" && function != "logout"
        });
        let lines = BufReader::new(File::open(output).unwrap()).split(b'\n').map(Result::unwrap);
        let is_record = |line: &Vec<u8>| {
            let start = &line[..line.len().min(20)];
            start.windows(8).any(|window| window == b"\"RECORD\"")
        };
        let records = lines.filter(is_record).count() as u64;
        Run { cost, records, requests }
    }
}

/// Prints a table's head.
pub(crate) fn head(columns: &[&str]) {
    println!("| {} |", columns.join(" | "));
    println!("|{}", "---|".repeat(columns.len()));
}

/// Prints a row of a table.
pub(crate) fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}
