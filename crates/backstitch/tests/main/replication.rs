//! Whole replications into both destinations, and what later runs make of them.

use bronto_sim::{RunningServer, Table};
use serde_json::Value;

use crate::{
    account,
    programs::{Running, Workplace, until},
    truth,
    warehouse::{SCHEMA, Warehouse},
};

#[test]
fn duckdb_equals_the_account_run_after_run() {
    equals_the_account_run_after_run(&Warehouse::duckdb());
}

#[test]
fn postgres_equals_the_account_run_after_run() {
    equals_the_account_run_after_run(&Warehouse::postgres());
}

#[track_caller]
fn equals_the_account_run_after_run(warehouse: &Warehouse) {
    let account = account::start();
    let workplace = Workplace::new(&account, warehouse, "");
    let first = workplace.run(&["run", "--json"]).expect(0).json();
    assert_eq!(first["status"], "succeeded");
    truth::assert_equal(&account, warehouse);
    assert_joins_return_rows(warehouse);

    let before = written(warehouse);
    let idle = workplace.run(&["run", "--json"]).expect(0).json();
    assert_eq!(changes(&idle), 0, "{idle:#}");
    truth::assert_equal(&account, warehouse);
    assert_eq!(before, written(warehouse), "a run with nothing new wrote rows again");

    account::change(&account);
    let third = workplace.run(&["run", "--json"]).expect(0).json();
    assert!(changes(&third) > 0, "{third:#}");
    truth::assert_equal(&account, warehouse);
    assert_shown(&workplace, &account);
}

/// What changes when a row is written again, for all tables but `list`, which every run replaces.
fn written(warehouse: &Warehouse) -> Vec<String> {
    let kept = Table::ALL.iter().filter(|table| **table != Table::List);
    kept.map(|table| warehouse.system_columns(table.name())).collect()
}

/// Rows that a run inserted, updated or deleted, by its report.
fn changes(report: &Value) -> u64 {
    let tables = report["tables"].as_array().unwrap();
    let figure = |table: &Value, name: &str| table[name].as_u64().unwrap();
    tables
        .iter()
        .map(|table| {
            figure(table, "inserted") + figure(table, "updated") + figure(table, "deleted")
        })
        .sum()
}

/// Every join that Stitch's documentation of Bronto names.
#[track_caller]
pub(crate) fn assert_joins_return_rows(warehouse: &Warehouse) {
    let join = |left: &str, right: &str, condition: &str| {
        let sql = format!(
            "select count(*) from {SCHEMA}.{left} l join {SCHEMA}.{right} r on {condition}"
        );
        assert!(warehouse.number(&sql) > 0, "{sql}");
    };
    for activity in ["inbound_activity", "outbound_activity"] {
        join("contact", activity, "l.id = r.\"contactId\"");
        join("list", activity, "l.id = r.\"listId\"");
    }
    let shared = [
        "contactId",
        "deliveryId",
        "listId",
        "keywordId",
        "messageId",
        "orderId",
        "segmentId",
        "workflowId",
    ];
    for column in shared {
        join("inbound_activity", "outbound_activity", &format!("l.\"{column}\" = r.\"{column}\""));
    }
}

/// What `status`, `loads` and `rejects` say agrees with the account.
#[track_caller]
fn assert_shown(workplace: &Workplace, account: &RunningServer) {
    let status = workplace.run(&["status", "--json"]).expect(0).json();
    assert_eq!(status["claim"]["held"], false);
    assert_eq!(status["claim"]["integration"], "Stitch Bronto");
    let tables = status["tables"].as_array().unwrap();
    let contact = tables.iter().find(|table| table["table"] == "contact").unwrap();
    assert_eq!(contact["rows"].as_u64().unwrap(), account.truth(Table::Contact).len() as u64);
    assert!(contact["bookmark"].is_string(), "{contact:#}");

    let loads = workplace.run(&["loads", "--limit", "1000", "--json"]).expect(0).json();
    let inserted: u64 = loads
        .as_array()
        .unwrap()
        .iter()
        .filter(|load| load["table"] == "contact")
        .map(|load| load["inserted"].as_u64().unwrap())
        .sum();
    assert_eq!(Some(inserted), contact["inserted"].as_u64());

    let rejects = workplace.run(&["rejects", "--table", "unsubscribe", "--json"]).expect(0).json();
    let shown = rejects["rejects"].as_array().unwrap();
    let counted: u64 = rejects["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| reason["rows"].as_u64().unwrap())
        .sum();
    assert!(!shown.is_empty() && counted == shown.len() as u64, "{rejects:#}");
    for human in [["status"], ["loads"], ["rejects"]] {
        assert!(workplace.run(&human).expect(0).stdout.lines().count() > 2);
    }
    let check = workplace.run(&["check"]).expect(0);
    assert!(check.stdout.contains('✓') && !check.stdout.contains('✗'), "{}", check.stdout);
}

#[test]
fn only_what_is_selected_is_replicated() {
    let account = account::start_sized(40);
    let warehouse = Warehouse::duckdb();
    let lines = "tables = [\"contact\", \"list\"]\ncolumns = { contact = [\"email\"] }";
    let workplace = Workplace::new(&account, &warehouse, lines);
    workplace.run(&["run"]).expect(0);
    let tables = format!(
        "select count(*) from information_schema.tables where table_schema = '{SCHEMA}' and table_name not like '\\_sdc%' \
         escape '\\'"
    );
    assert_eq!(warehouse.number(&tables), 2);
    let users =
        |row: &crate::warehouse::Row| row.keys().filter(|name| !name.starts_with("_sdc_")).count();
    assert!(warehouse.rows("contact").iter().all(|row| users(row) <= 3), "id, modified and email");
}

#[test]
fn a_signal_leaves_a_checkpoint_from_which_the_next_run_goes_on() {
    let account = account::start();
    account.set_behaviour("latency_ms", "150").unwrap();
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::new(&account, &warehouse, "");
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut running = Running::start(workplace.command(&["run", "--json"]));
        wait_for_requests(&account);
        running.signal(signal);
        running.wait_for("Stopping at the next checkpoint");
        let report = running.wait().expect(code).json();
        assert_eq!(report["status"], "interrupted");
    }
    account.set_behaviour("latency_ms", "0").unwrap();
    workplace.run(&["run"]).expect(0);
    truth::assert_equal(&account, &warehouse);
}

#[test]
fn a_second_signal_ends_the_run_at_once() {
    let account = account::start_sized(20);
    account.set_behaviour("latency_ms", "3000").unwrap();
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::new(&account, &warehouse, "");
    let mut running = Running::start(workplace.command(&["run", "--json"]));
    running.wait_for("Reading contact");
    running.signal("INT");
    running.wait_for("Stopping at the next checkpoint");
    running.signal("TERM");
    let ended = running.wait().expect(143);
    assert_eq!(ended.stdout, "", "it has not waited for a report");
    account.set_behaviour("latency_ms", "0").unwrap();
    workplace.run(&["run"]).expect(0);
    truth::assert_equal(&account, &warehouse);
}

/// Waits until the account has been asked for something more.
fn wait_for_requests(account: &RunningServer) {
    let requests = || account.stats().requests.values().sum::<u64>();
    let before = requests();
    until("further requests", || requests() >= before + 3);
}
