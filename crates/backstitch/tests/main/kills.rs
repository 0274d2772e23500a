//! Runs that are killed, in each phase and at any moment: the next run ends at the truth, and settles the books.

use std::time::Duration;

use crate::{
    account,
    programs::{Running, Workplace, pause},
    truth,
    warehouse::Warehouse,
};

/// The places at which a run is held and killed: reading, staging, merging, just before and just after the commit. The
/// number is the visit.
const PLACES: [&str; 7] = [
    "event_received:3",
    "event_received:9",
    "unit_begun",
    "table_merged",
    "table_merged:3",
    "before_commit",
    "after_commit",
];

#[test]
fn duckdb_survives_a_kill_in_every_phase() {
    survives_a_kill_in_every_phase(&Warehouse::duckdb());
}

#[test]
fn postgres_survives_a_kill_in_every_phase() {
    survives_a_kill_in_every_phase(&Warehouse::postgres());
}

#[track_caller]
fn survives_a_kill_in_every_phase(warehouse: &Warehouse) {
    let account = account::start_sized(60);
    let workplace = Workplace::new(&account, warehouse, "");
    for place in PLACES {
        let mut command = workplace.command(&["run"]);
        command.env("BACKSTITCH_HOLD_AT", place);
        let mut held = Running::start(command);
        held.wait_for(&format!("holding at {}", place.split(':').next().unwrap()));
        held.kill();
        let report = workplace.run(&["run", "--json"]).expect(0).json();
        assert_eq!(report["settled"]["balances"], true, "after `{place}`: {report:#}");
        truth::assert_equal(&account, warehouse);
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
