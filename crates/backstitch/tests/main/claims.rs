//! One writer at a time.

use std::time::Duration;

use bronto_sim::RunningServer;

use crate::{
    account,
    programs::{Running, Workplace, pause, until},
    truth,
    warehouse::Warehouse,
};

/// Starts a run and waits until it holds the schema and reads.
fn start_slowly(account: &RunningServer, workplace: &Workplace) -> Running {
    account.set_behaviour("latency_ms", "400").unwrap();
    let running = Running::start(workplace.command(&["run", "--json"]));
    until("a claim", || workplace.run(&["status", "--json"]).json()["claim"]["held"] == true);
    running
}

#[test]
fn a_second_run_is_refused_and_told_who_runs() {
    let (account, warehouse) = (account::start_sized(40), Warehouse::postgres());
    let workplace = Workplace::new(&account, &warehouse, "");
    let first = start_slowly(&account, &workplace);
    let second = workplace.run(&["run", "--json"]).expect(8);
    assert!(second.failure().contains(&format!("(process {} on", first.id())), "{}", second.stderr);
    assert_eq!(second.json()["error"]["exit_code"], 8);
    account.set_behaviour("latency_ms", "0").unwrap();
    let first = first.wait().expect(0).json();
    assert!(second.failure().contains(first["run_id"].as_str().unwrap()), "{}", second.stderr);
    truth::assert_equal(&account, &warehouse);
}

#[test]
fn a_paused_run_that_was_overtaken_commits_nothing_when_it_wakes() {
    let (account, warehouse) = (account::start_sized(40), Warehouse::postgres());
    let workplace = Workplace::new(&account, &warehouse, "lease_seconds = 2");
    let paused = start_slowly(&account, &workplace);
    paused.signal("STOP");
    pause(Duration::from_millis(2_500));
    account.set_behaviour("latency_ms", "0").unwrap();
    workplace.run(&["run"]).expect(0);
    truth::assert_equal(&account, &warehouse);
    let ledger = || warehouse.number("select count(*) from stitch_bronto._sdc_loads");
    let before = ledger();
    account::change(&account);
    paused.signal("CONT");
    let overtaken = paused.wait().expect(8);
    assert!(overtaken.failure().contains("taken over"), "{}", overtaken.stderr);
    assert_eq!(ledger(), before, "the overtaken run has committed something");
    workplace.run(&["run"]).expect(0);
    truth::assert_equal(&account, &warehouse);
}

#[test]
fn a_run_can_be_taken_over_on_demand() {
    let (account, warehouse) = (account::start_sized(40), Warehouse::postgres());
    let workplace = Workplace::new(&account, &warehouse, "");
    let first = start_slowly(&account, &workplace);
    account.set_behaviour("latency_ms", "0").unwrap();
    first.signal("STOP");
    workplace.run(&["run", "--take-over"]).expect(0);
    first.signal("CONT");
    first.wait().expect(8);
    truth::assert_equal(&account, &warehouse);
}

#[test]
fn a_schema_belongs_to_one_integration_and_account() {
    let (account, warehouse) = (account::start_sized(20), Warehouse::duckdb());
    let workplace = Workplace::new(&account, &warehouse, "");
    workplace.run(&["run"]).expect(0);
    let text = std::fs::read_to_string(workplace.path().join("backstitch.toml")).unwrap();
    let other = Workplace::with_configuration(&text.replace("Stitch Bronto", "stitch-bronto"))
        .with_environment([("BRONTO_TOKEN".to_owned(), account::TOKEN.to_owned())]);
    let refused = other.run(&["run"]).expect(8);
    assert!(
        refused.failure().contains("belongs to the integration `Stitch Bronto`"),
        "{}",
        refused.stderr
    );
}
