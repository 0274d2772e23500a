//! Backfills: spans that are read beside what is new, whatever happens to the run.

use bronto_sim::Table;
use serde_json::Value;

use crate::{
    account,
    programs::{Running, Workplace},
    truth,
    warehouse::Warehouse,
};

#[test]
fn duckdb_is_filled_before_its_start_date() {
    is_filled_before_its_start_date(&Warehouse::duckdb());
}

#[test]
fn postgres_is_filled_before_its_start_date() {
    is_filled_before_its_start_date(&Warehouse::postgres());
}

/// The account's days before the first run's start date come with a backfill, also when that is killed.
#[track_caller]
fn is_filled_before_its_start_date(warehouse: &Warehouse) {
    let account = account::start_sized(60);
    let workplace = Workplace::new(&account, warehouse, "");
    let late = account.now() - chrono::TimeDelta::days(3);
    let late = late.format("%Y-%m-%dT00:00:00Z").to_string();
    let path = workplace.path().join("backstitch.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("2025-11-01T00:00:00Z", &late)).unwrap();
    workplace.run(&["run"]).expect(0);
    let all = account.truth(Table::Contact).len();
    let few = warehouse.rows("contact").len();
    assert!(few < all, "{few} of {all}");
    let bookmarks = bookmarks(&workplace);

    let backfill = ["run", "--backfill", "2025-11-01..2099-01-01", "--json"];
    let mut command = workplace.command(&backfill);
    command.env("BACKSTITCH_HOLD_AT", "before_commit");
    let mut held = Running::start(command);
    held.wait_for("holding at before_commit");
    held.kill();
    assert_eq!(warehouse.rows("contact").len(), few, "nothing was committed");

    let mut command = workplace.command(&backfill);
    command.env("BACKSTITCH_HOLD_AT", "after_commit");
    let mut held = Running::start(command);
    held.wait_for("holding at after_commit");
    held.kill();
    // Whatever was committed, the next run knows what is left.
    let report = workplace.run(&["run", "--json"]).expect(0).json();
    assert_eq!(warehouse.rows("contact").len(), all, "{report:#}");
    truth::assert_equal(&account, warehouse);
    assert_eq!(self::bookmarks(&workplace), bookmarks, "bookmarks stay where they are");
    assert!(!workplace.run(&["state", "--json"]).expect(0).stdout.contains("backfill"));

    // Once more, it changes nothing.
    let again = workplace.run(&backfill).expect(0).json();
    let tables = again["tables"].as_array().unwrap();
    assert!(
        tables.iter().all(|table| table["inserted"] == 0 && table["updated"] == 0),
        "{tables:#?}"
    );
    let contact = tables.iter().find(|table| table["table"] == "contact").unwrap();
    assert!(contact["unchanged"].as_u64() >= Some(all as u64), "{contact:#}");
    let gaps = again["gaps"].as_array().unwrap();
    assert!(gaps.iter().any(|gap| gap["stream"] == "inbound_activity"), "{gaps:#?}");
    truth::assert_equal(&account, warehouse);
}

/// Where each stream is.
fn bookmarks(workplace: &Workplace) -> Vec<(String, Value)> {
    let states = workplace.run(&["state", "--json"]).expect(0).json()["streams"].clone();
    let states = states.as_object().unwrap().iter();
    states.map(|(stream, state)| (stream.clone(), state["last_record"].clone())).collect()
}

#[test]
fn what_can_not_be_backfilled_is_refused() {
    let account = account::start_sized(20);
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::new(&account, &warehouse, "");
    let refused = |arguments: &[&str]| {
        let ended = workplace.run(&[&["run", "--backfill"], arguments].concat()).expect(2);
        ended.failure()
    };
    insta::assert_snapshot!(refused(&["2025-01-01..2025-02-01", "--table", "list"]), @r"
    error: `list` can't be backfilled
    hint: Every run reads it whole
    ");
    insta::assert_snapshot!(refused(&["2025-01-01..2025-02-01", "--table", "lists"]), @r"
    error: `lists` is no table of this integration
    hint: It has `contact`, `inbound_activity`, `outbound_activity`, `list`, `unsubscribe`
    ");
    assert!(refused(&["2025-02-01..2025-01-01"]).contains("its end must lie after its beginning"));
    assert!(refused(&["yesterday"]).contains("write it like `2025-01-01..2025-04-01`"));
}
