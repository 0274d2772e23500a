//! Reading tables again from their start: what comes anew, and what stays because the source can't give it again.

use bronto_sim::{Mutation, RunningServer, Table};
use serde_json::Value;

use crate::{
    account,
    programs::Workplace,
    truth,
    warehouse::{SCHEMA, Warehouse},
};

const DAY: i64 = 86_400;

#[test]
fn duckdb_keeps_activities_that_can_not_be_read_again() {
    keeps_activities_that_can_not_be_read_again(&Warehouse::duckdb());
}

#[test]
fn postgres_keeps_activities_that_can_not_be_read_again() {
    keeps_activities_that_can_not_be_read_again(&Warehouse::postgres());
}

/// Ninety days of activities are in the tables; the source gives the last thirty. Whatever is read again, the others stay.
#[track_caller]
fn keeps_activities_that_can_not_be_read_again(warehouse: &Warehouse) {
    let account = account::start_sized(60);
    let workplace = Workplace::new(&account, warehouse, "");
    workplace.run(&["run"]).expect(0);
    for _ in 0..3 {
        pass(&account, 20 * DAY);
        workplace.run(&["run"]).expect(0);
    }
    let days = format!(
        "select cast(date_part('day', max(\"createdDate\") - min(\"createdDate\")) as bigint) from {SCHEMA}.inbound_activity"
    );
    assert!(warehouse.number(&days) > 80, "the tables reach back {} days", warehouse.number(&days));

    assert_all_stays(&account, &workplace, warehouse, &["run", "--full-refresh", "--json"]);
    let span = ["run", "--backfill", "2025-06-01..2099-01-01", "--json"];
    assert_all_stays(&account, &workplace, warehouse, &span);
    let path = workplace.path().join("backstitch.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("2025-11-01T00:00:00Z", "2025-10-01T00:00:00Z")).unwrap();
    assert_all_stays(&account, &workplace, warehouse, &["run", "--reset-start-date", "--json"]);
}

/// Runs this, which reads everything again, and stops the test if anything is altered or gone by that.
#[track_caller]
fn assert_all_stays(
    account: &RunningServer,
    workplace: &Workplace,
    warehouse: &Warehouse,
    arguments: &[&str],
) {
    let held = ["inbound_activity", "outbound_activity"].map(|table| warehouse.rows(table).len());
    let report = workplace.run(arguments).expect(0).json();
    let table = |name: &str| -> Value {
        let tables = report["tables"].as_array().unwrap().iter();
        tables.clone().find(|table| table["table"] == name).unwrap().clone()
    };
    let inbound = table("inbound_activity");
    let read_again = inbound["unchanged"].as_u64().unwrap() as usize;
    assert!(read_again > 0 && read_again < held[0], "{inbound:#}");
    for name in ["contact", "inbound_activity", "outbound_activity", "unsubscribe"] {
        let table = table(name);
        assert_eq!(
            (&table["inserted"], &table["updated"], &table["deleted"]),
            (&0.into(), &0.into(), &0.into()),
            "{table:#}"
        );
    }
    let gaps = report["gaps"].as_array().unwrap();
    assert!(gaps.iter().any(|gap| gap["stream"] == "inbound_activity"), "{gaps:#?}");
    let left = ["inbound_activity", "outbound_activity"].map(|table| warehouse.rows(table).len());
    assert_eq!(left, held, "history stays");
    let contacts = account.truth(Table::Contact).len() as u64;
    assert!(
        table("contact")["unchanged"].as_u64() >= Some(contacts),
        "every contact was read again"
    );
}

/// Time passes, in which something happens.
fn pass(account: &RunningServer, seconds: i64) {
    let mutation = Mutation {
        contacts: 5,
        activities: 60,
        unsubscribes: 3,
        advance_seconds: 3_600,
        ..Mutation::default()
    };
    account.mutate(&mutation);
    account.advance_seconds(seconds);
    account.mutate(&mutation);
    account.advance_seconds(60);
}

#[test]
fn another_start_date_is_refused_until_it_is_confirmed() {
    let account = account::start_sized(40);
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::new(&account, &warehouse, "");
    workplace.run(&["run"]).expect(0);
    let path = workplace.path().join("backstitch.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("2025-11-01T00:00:00Z", "2025-09-01T00:00:00Z")).unwrap();
    insta::assert_snapshot!(workplace.run(&["run"]).expect(2).failure(), @r"
    error: The start date is 2025-09-01T00:00:00Z now, but the first run started at 2025-11-01T00:00:00Z
    hint: Put 2025-11-01T00:00:00Z back; or run once with `--reset-start-date`, which reads all tables again from the new date. Nothing is deleted by that, and it may take as long as a first run
    ");
    let report = workplace.run(&["run", "--reset-start-date", "--json"]).expect(0).json();
    let gaps = report["gaps"].as_array().unwrap();
    assert!(gaps.iter().any(|gap| gap["from"] == "2025-09-01T00:00:00Z"), "{gaps:#?}");
    truth::assert_equal(&account, &warehouse);
    workplace.run(&["run"]).expect(0);
}

#[test]
fn tables_that_can_not_be_read_again_are_named() {
    let account = account::start_sized(20);
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::new(&account, &warehouse, "tables = [\"contact\"]");
    insta::assert_snapshot!(workplace.run(&["run", "--full-refresh=list"]).expect(2).failure(), @r"
    error: `list` is no table of this integration
    hint: It has `contact`
    ");
    workplace.run(&["run", "--full-refresh=contact"]).expect(0);
}
