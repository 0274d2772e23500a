//! Programs that are killed, at each named place and at any moment: the next run ends at the truth, and settles the
//! books.

use std::{fs, path::PathBuf, time::Duration};

use bronto_sim::RunningServer;
use serde_json::Value;

use crate::{
    account,
    peers::{configure_tap, with_input},
    programs::{Running, Workplace, pause, workspace_program},
    truth,
    warehouse::{SCHEMA, Warehouse},
};

/// The places at which a run is held and killed: every step of the way to a durable unit, and of telling about it. The
/// number is the visit.
const PLACES: [&str; 14] = [
    "claimed",
    "event_received",
    "event_received:7",
    "unit_begun",
    "tables_prepared",
    "table_merged:3",
    "rejects_stored",
    "version_activated",
    "ledger_written",
    "bookmarks_stored",
    "before_commit",
    "after_commit",
    "told",
    "before_release",
];

/// The same of a load, which takes the same steps within a unit.
const PLACES_OF_A_LOAD: [&str; 8] = [
    "claimed",
    "event_received:7",
    "table_merged:3",
    "version_activated",
    "before_commit",
    "after_commit",
    "told",
    "before_release",
];

/// Starts a program that holds at a place, and kills it there. Returns what it had written.
#[track_caller]
pub(crate) fn killed_at(
    place: &str,
    mut command: std::process::Command,
    input: Option<&PathBuf>,
) -> String {
    command.env("BACKSTITCH_HOLD_AT", place);
    let mut held = match input {
        Some(input) => with_input(command, input),
        None => Running::start(command),
    };
    held.wait_for(&format!("holding at {}", place.split(':').next().unwrap()));
    held.kill().stdout
}

#[test]
fn duckdb_survives_a_kill_at_every_place_of_a_run() {
    survives_a_kill_at_every_place_of_a_run(&Warehouse::duckdb());
}

#[test]
fn postgres_survives_a_kill_at_every_place_of_a_run() {
    survives_a_kill_at_every_place_of_a_run(&Warehouse::postgres());
}

#[track_caller]
fn survives_a_kill_at_every_place_of_a_run(warehouse: &Warehouse) {
    let account = account::start_sized(60);
    let workplace = Workplace::new(&account, warehouse, "");
    for place in PLACES {
        killed_at(place, workplace.command(&["run"]), None);
        let report = workplace.run(&["run", "--json"]).expect(0).json();
        assert_eq!(report["settled"]["balances"], true, "after `{place}`: {report:#}");
        truth::assert_equal(&account, warehouse);
        account::change(&account);
    }
}

/// `tap-bronto` piped into `backstitch load`, as an operator restarts them: with the last state that came out.
struct Pipe<'a> {
    account: &'a RunningServer,
    warehouse: &'a Warehouse,
    workplace: Workplace,
    state: Option<Value>,
}

impl<'a> Pipe<'a> {
    fn new(account: &'a RunningServer, warehouse: &'a Warehouse) -> Self {
        let workplace = Workplace::with_configuration("").with_environment(warehouse.password());
        configure_tap(account, &workplace);
        Self { account, warehouse, workplace, state: None }
    }

    /// What the tap writes from the last state on.
    fn messages(&self) -> PathBuf {
        let mut arguments = vec!["--config", "tap.json"];
        if let Some(state) = &self.state {
            fs::write(self.workplace.path().join("state.json"), state.to_string()).unwrap();
            arguments.extend(["--state", "state.json"]);
        }
        let tap = workspace_program("tap-bronto");
        let ended = Running::start(self.workplace.command_of(&tap, &arguments)).wait().expect(0);
        let messages = self.workplace.path().join("messages.jsonl");
        fs::write(&messages, ended.stdout).unwrap();
        messages
    }

    fn load(&self) -> std::process::Command {
        let address = self.warehouse.address();
        self.workplace.command(&["load", "--destination", &address, "--schema", SCHEMA])
    }

    /// Keeps the last whole line that a load has written.
    fn remember(&mut self, stdout: &str) {
        let whole = stdout.rsplit_once('\n').map_or("", |(whole, _)| whole);
        if let Some(line) = whole.lines().last() {
            self.state = Some(serde_json::from_str(line).unwrap());
        }
    }

    /// Runs to the end, which must be the truth.
    #[track_caller]
    fn settle(&mut self) {
        let ended = with_input(self.load(), &self.messages()).wait().expect(0);
        self.remember(&ended.stdout);
        truth::assert_equal_after_load(self.account, self.warehouse);
    }
}

#[test]
fn duckdb_survives_a_kill_at_every_place_of_a_load() {
    survives_a_kill_at_every_place_of_a_load(&Warehouse::duckdb());
}

#[test]
fn postgres_survives_a_kill_at_every_place_of_a_load() {
    survives_a_kill_at_every_place_of_a_load(&Warehouse::postgres());
}

#[track_caller]
fn survives_a_kill_at_every_place_of_a_load(warehouse: &Warehouse) {
    let account = account::start_sized(60);
    let mut pipe = Pipe::new(&account, warehouse);
    for place in PLACES_OF_A_LOAD {
        let said = killed_at(place, pipe.load(), Some(&pipe.messages()));
        pipe.remember(&said);
        pipe.settle();
        account::change(&account);
    }
}

#[test]
fn duckdb_survives_kills_at_any_moment() {
    survives_kills_at_any_moment(&Warehouse::duckdb());
}

#[test]
fn postgres_survives_kills_at_any_moment() {
    survives_kills_at_any_moment(&Warehouse::postgres());
}

#[track_caller]
fn survives_kills_at_any_moment(warehouse: &Warehouse) {
    let account = account::start_sized(60);
    account.set_behaviour("latency_ms", "3").unwrap();
    let workplace = Workplace::new(&account, warehouse, "");
    for round in 0..8u64 {
        let running = Running::start(workplace.command(&["run"]));
        // Spread over the length of a run, differently in every round.
        pause(Duration::from_millis(20 + (round * 197) % 900));
        running.kill();
        if round % 3 == 2 {
            account::change(&account);
        }
    }
    workplace.run(&["run"]).expect(0);
    truth::assert_equal(&account, warehouse);
}

#[test]
fn duckdb_survives_kills_of_loads_at_any_moment() {
    survives_kills_of_loads_at_any_moment(&Warehouse::duckdb());
}

#[test]
fn postgres_survives_kills_of_loads_at_any_moment() {
    survives_kills_of_loads_at_any_moment(&Warehouse::postgres());
}

#[track_caller]
fn survives_kills_of_loads_at_any_moment(warehouse: &Warehouse) {
    let account = account::start_sized(60);
    let mut pipe = Pipe::new(&account, warehouse);
    for round in 0..8u64 {
        let running = with_input(pipe.load(), &pipe.messages());
        pause(Duration::from_millis(10 + (round * 131) % 500));
        let said = running.kill().stdout;
        pipe.remember(&said);
        if round % 3 == 2 {
            account::change(&account);
        }
    }
    pipe.settle();
}

#[test]
fn a_row_that_is_lost_on_the_way_ends_the_run_before_anything_is_committed() {
    for warehouse in [Warehouse::duckdb(), Warehouse::postgres()] {
        let account = account::start_sized(60);
        let workplace = Workplace::new(&account, &warehouse, "");
        for table in ["contact", "inbound_activity", "list"] {
            let mut command = workplace.command(&["run", "--json"]);
            command.env("BACKSTITCH_LOSE_A_ROW", table);
            let ended = Running::start(command).wait().expect(7);
            assert!(ended.failure().contains(&format!("`{table}`")), "{}", ended.stderr);
            workplace.run(&["run"]).expect(0);
            truth::assert_equal(&account, &warehouse);
            account::change(&account);
        }
    }
}

#[test]
fn a_row_that_is_lost_on_the_way_ends_the_load_before_its_state_is_told() {
    for warehouse in [Warehouse::duckdb(), Warehouse::postgres()] {
        let account = account::start_sized(60);
        let mut pipe = Pipe::new(&account, &warehouse);
        let mut command = pipe.load();
        command.env("BACKSTITCH_LOSE_A_ROW", "contact");
        let ended = with_input(command, &pipe.messages()).wait().expect(7);
        assert!(ended.failure().contains("`contact`"), "{}", ended.stderr);
        assert!(!ended.stdout.contains("\"contact\""), "{}", ended.stdout);
        pipe.remember(&ended.stdout);
        pipe.settle();
    }
}
