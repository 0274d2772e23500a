//! Tables that are replicated whole by every run: what is gone from the account goes, and nothing else does.

use bronto_sim::{Mutation, RunningServer, Table};
use serde_json::Value;

use crate::{
    account,
    kills::killed_at,
    programs::Workplace,
    truth,
    warehouse::{Cell, SCHEMA, Warehouse},
};

const WHOLE: &str = "methods = { contact = \"full-table\", unsubscribe = \"full-table\" }";

/// Something happens to the account, and contacts are removed from it.
fn remove_contacts(account: &RunningServer, contacts_removed: u32) {
    account.mutate(&Mutation {
        contacts: 12,
        unsubscribes: 4,
        contacts_removed,
        advance_seconds: 600,
        ..Mutation::default()
    });
    account.advance_seconds(60);
}

fn of(report: &Value, table: &str) -> Value {
    let tables = report["tables"].as_array().unwrap().iter();
    tables.clone().find(|found| found["table"] == table).unwrap().clone()
}

/// What is left of tables in which versions wait.
fn waiting(warehouse: &Warehouse) -> i64 {
    warehouse.number(&format!(
        "select count(*) from information_schema.tables \
         where table_schema = '{SCHEMA}' and table_name like '\\_sdc\\_next%' escape '\\'"
    ))
}

#[test]
fn duckdb_loses_what_is_gone() {
    loses_what_is_gone(&Warehouse::duckdb());
}

#[test]
fn postgres_loses_what_is_gone() {
    loses_what_is_gone(&Warehouse::postgres());
}

#[track_caller]
fn loses_what_is_gone(warehouse: &Warehouse) {
    let account = account::start_sized(60);
    let workplace = Workplace::new(&account, warehouse, WHOLE);
    workplace.run(&["run"]).expect(0);
    truth::assert_equal(&account, warehouse);
    warehouse.execute(&format!("create view {SCHEMA}.people as select id from {SCHEMA}.contact"));
    remove_contacts(&account, 7);
    let report = workplace.run(&["run", "--json"]).expect(0).json();
    truth::assert_equal(&account, warehouse);
    let contact = of(&report, "contact");
    assert_eq!(contact["deleted"], 7, "{contact:#}");
    assert!(contact["unchanged"].as_u64() > Some(0), "{contact:#}");
    let seen = warehouse.number(&format!("select count(*) from {SCHEMA}.people"));
    assert_eq!(seen as usize, account.truth(Table::Contact).len(), "the view is still there");
    workplace.run(&["audit", "--all"]).expect(0);
    // Nothing has happened: all is read, and all is as it was.
    let report = workplace.run(&["run", "--json"]).expect(0).json();
    for table in ["contact", "unsubscribe"] {
        let table = of(&report, table);
        assert_eq!(
            (&table["inserted"], &table["updated"], &table["deleted"]),
            (&0.into(), &0.into(), &0.into()),
            "{table:#}"
        );
    }
    assert_eq!(waiting(warehouse), 0);
}

#[test]
fn duckdb_goes_from_one_method_to_the_other_and_back() {
    goes_from_one_method_to_the_other_and_back(&Warehouse::duckdb());
}

#[test]
fn postgres_goes_from_one_method_to_the_other_and_back() {
    goes_from_one_method_to_the_other_and_back(&Warehouse::postgres());
}

#[track_caller]
fn goes_from_one_method_to_the_other_and_back(warehouse: &Warehouse) {
    let account = account::start_sized(60);
    let incremental = Workplace::new(&account, warehouse, "");
    let whole = Workplace::new(&account, warehouse, WHOLE);
    incremental.run(&["run"]).expect(0);
    remove_contacts(&account, 5);
    incremental.run(&["run"]).expect(0);
    let contacts = || warehouse.rows("contact").len();
    assert_eq!(contacts(), account.truth(Table::Contact).len() + 5, "an increment removes nothing");
    whole.run(&["run"]).expect(0);
    truth::assert_equal(&account, warehouse);
    remove_contacts(&account, 3);
    let report = incremental.run(&["run", "--json"]).expect(0).json();
    let received = of(&report, "contact")["received"].as_u64();
    assert!((1..=12).contains(&received.unwrap()), "it goes on at the full table's bookmark");
    assert_eq!(contacts(), account.truth(Table::Contact).len() + 3);
    incremental.run(&["audit", "--all"]).expect(7);
    whole.run(&["run"]).expect(0);
    truth::assert_equal(&account, warehouse);
    // Rows of an increment belong to the version that the table has.
    let versions = format!("select count(distinct _sdc_table_version) from {SCHEMA}.contact");
    remove_contacts(&account, 0);
    incremental.run(&["run"]).expect(0);
    assert_eq!(warehouse.number(&versions), 1);
}

#[test]
fn duckdb_keeps_what_lies_before_the_start_date() {
    keeps_what_lies_before_the_start_date(&Warehouse::duckdb());
}

#[test]
fn postgres_keeps_what_lies_before_the_start_date() {
    keeps_what_lies_before_the_start_date(&Warehouse::postgres());
}

#[track_caller]
fn keeps_what_lies_before_the_start_date(warehouse: &Warehouse) {
    let account = account::start_sized(60);
    let workplace = Workplace::new(&account, warehouse, WHOLE);
    workplace.run(&["run"]).expect(0);
    for (id, modified) in [("old", "2025-10-31T23:59:59Z"), ("gone", "2025-11-01T00:00:00Z")] {
        warehouse.execute(&format!(
            "insert into {SCHEMA}.contact (id, modified) values ('{id}', timestamptz '{modified}')"
        ));
        warehouse.execute(&format!(
            "insert into {SCHEMA}.unsubscribe (\"contactId\", \"deliveryId\", created) \
             values ('{id}', '', '{modified}')"
        ));
    }
    workplace.run(&["run"]).expect(0);
    let left = |table: &str, column: &str| {
        let is_ours =
            |cell: &Cell| ["old", "gone"].iter().any(|id| *cell == Cell::Text((*id).to_owned()));
        let rows = warehouse.rows(table).into_iter().map(|row| row[column].clone());
        rows.filter(is_ours).collect::<Vec<_>>()
    };
    let old = [Cell::Text("old".to_owned())];
    assert_eq!(left("contact", "id"), old);
    assert_eq!(left("unsubscribe", "contactId"), old);
}

#[test]
fn duckdb_is_not_emptied_by_mistake() {
    is_not_emptied_by_mistake(&Warehouse::duckdb());
}

#[test]
fn postgres_is_not_emptied_by_mistake() {
    is_not_emptied_by_mistake(&Warehouse::postgres());
}

#[track_caller]
fn is_not_emptied_by_mistake(warehouse: &Warehouse) {
    let account = account::start_sized(60);
    let workplace = Workplace::new(&account, warehouse, WHOLE);
    workplace.run(&["run"]).expect(0);
    let held = warehouse.rows("contact");
    account.mutate(&Mutation { contacts_removed: 40, advance_seconds: 60, ..Mutation::default() });
    for _ in 0..2 {
        let ended = workplace.run(&["run"]).expect(4);
        assert!(ended.failure().contains("`contact`"), "{}", ended.stderr);
        assert!(ended.failure().contains("--allow-empty"), "{}", ended.stderr);
        assert_eq!(warehouse.rows("contact"), held);
    }
    workplace.run(&["run", "--allow-empty"]).expect(0);
    truth::assert_equal(&account, warehouse);
}

#[test]
fn duckdb_survives_kills_while_a_version_is_read() {
    survives_kills_while_a_version_is_read(&Warehouse::duckdb());
}

#[test]
fn postgres_survives_kills_while_a_version_is_read() {
    survives_kills_while_a_version_is_read(&Warehouse::postgres());
}

#[track_caller]
fn survives_kills_while_a_version_is_read(warehouse: &Warehouse) {
    let account = account::start_sized(60);
    let tables = format!("tables = [\"contact\", \"unsubscribe\"]\n{WHOLE}");
    let every = Workplace::new(&account, warehouse, WHOLE);
    every.run(&["run"]).expect(0);
    let workplace = Workplace::new(&account, warehouse, &tables);
    for place in [
        "event_received:4",
        "tables_prepared",
        "table_merged",
        "table_merged:2",
        "version_activated",
        "bookmarks_stored",
        "before_commit",
        "before_commit:2",
        "after_commit",
        "told",
    ] {
        remove_contacts(&account, 2);
        let held = account.truth(Table::Contact).len();
        killed_at(place, workplace.command(&["run"]), None);
        let rows = warehouse.rows("contact").len();
        assert!(rows == held || rows > 0, "after `{place}`");
        let report = workplace.run(&["run", "--json"]).expect(0).json();
        assert_eq!(report["settled"]["balances"], true, "after `{place}`: {report:#}");
        assert_eq!(waiting(warehouse), 0, "after `{place}`");
        every.run(&["run"]).expect(0);
        truth::assert_equal(&account, warehouse);
    }
}

#[test]
fn a_backfill_is_gone_on_with_beside_a_full_table() {
    let account = account::start_sized(60);
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::new(&account, &warehouse, WHOLE);
    let report = workplace.run(&["run", "--backfill", "2025-06-01..2026-11-01", "--json"]);
    let report = report.expect(0).json();
    truth::assert_equal(&account, &warehouse);
    assert!(of(&report, "contact")["received"].as_u64() > Some(0));
    let path = workplace.path().join("backstitch.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace(
            "settle_seconds = 0",
            "settle_seconds = 0, end_date = \"2026-11-01T00:00:00Z\"",
        ),
    )
    .unwrap();
    insta::assert_snapshot!(workplace.run(&["run"]).expect(2).failure(), @r"
    error: `end_date` and `contact` as a full table exclude each other: rows that are modified after it would go
    hint: Leave `end_date` out, or replicate `contact` incrementally
    ");
}

#[test]
fn a_check_shows_what_every_run_reads_whole() {
    let account = account::start_sized(20);
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::new(&account, &warehouse, WHOLE);
    let shown = workplace.run(&["check"]).expect(0).stdout;
    let lines = shown.lines().filter(|line| line.contains("full table"));
    let lines: Vec<_> = lines.map(str::trim).collect();
    assert_eq!(lines, ["contact", "unsubscribe"].map(|table| format!(
        "✓ read {table}: permitted; a full table: every run reads all of it from the start date on"
    )));
}
