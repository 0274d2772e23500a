//! Rejected rows that are replayed, as operators do it.

use std::fs;

use serde_json::Value;

use crate::{
    account,
    kills::killed_at,
    peers::loaded_from,
    programs::{Ended, Workplace},
    truth,
    warehouse::{SCHEMA, Warehouse},
};

/// Every step of a replay that is not there in any other run, or that makes it durable.
const PLACES: [&str; 8] = [
    "unit_begun",
    "table_merged",
    "rejects_replayed",
    "rejects_stored",
    "ledger_written",
    "bookmarks_stored",
    "before_commit",
    "after_commit",
];

fn schema(age: &str) -> String {
    format!(
        r#"{{"type":"SCHEMA","stream":"pets","key_properties":[],"schema":{{"properties":{{"name":{{"type":"string"}},"age":{{"type":"{age}"}}}}}}}}"#
    )
}

fn pet(name: &str, age: &str) -> String {
    format!(r#"{{"type":"RECORD","stream":"pets","record":{{"name":"{name}","age":{age}}}}}"#)
}

/// Files of messages, loaded into a schema of a warehouse.
struct Pets<'a> {
    workplace: Workplace,
    warehouse: &'a Warehouse,
}

impl<'a> Pets<'a> {
    fn new(warehouse: &'a Warehouse) -> Self {
        let workplace = Workplace::with_configuration("").with_environment(warehouse.password());
        Self { workplace, warehouse }
    }

    #[track_caller]
    fn load(&self, messages: &[String]) {
        let file = self.workplace.path().join("messages.jsonl");
        fs::write(&file, messages.join("\n")).unwrap();
        loaded_from(&self.workplace, self.warehouse, SCHEMA, &file).expect(0);
    }

    fn arguments<'s>(&'s self, address: &'s str, more: &[&'s str]) -> Vec<&'s str> {
        let mut arguments = vec!["rejects", "--destination", address, "--schema", SCHEMA];
        arguments.extend(more);
        arguments
    }

    fn rejects(&self, more: &[&str]) -> Ended {
        let address = self.warehouse.address();
        self.workplace.run(&self.arguments(&address, more))
    }

    fn rows(&self) -> usize {
        self.warehouse.rows("pets").len()
    }

    #[track_caller]
    fn left(&self) -> usize {
        let listed = self.rejects(&["--json"]).expect(0).json();
        listed["rejects"].as_array().map_or(0, Vec::len)
    }
}

#[test]
fn duckdb_replays_once_wherever_it_is_killed() {
    replays_once_wherever_it_is_killed(&Warehouse::duckdb());
}

#[test]
fn postgres_replays_once_wherever_it_is_killed() {
    replays_once_wherever_it_is_killed(&Warehouse::postgres());
}

#[track_caller]
fn replays_once_wherever_it_is_killed(warehouse: &Warehouse) {
    let pets = Pets::new(warehouse);
    let old = "99999999999999999999";
    pets.load(&[schema("integer"), pet("a", "1"), pet("b", old), pet("b", old), pet("c", "\"x\"")]);
    assert_eq!((pets.rows(), pets.left()), (1, 3));

    let preview = pets.rejects(&["--replay", "--json"]).expect(0).json();
    assert_eq!(preview["replayed"], false);
    assert_eq!((pets.rows(), pets.left()), (1, 3), "a preview changes nothing");
    pets.load(&[schema("number"), pet("d", "2")]);

    let address = warehouse.address();
    let command = || pets.workplace.command(&pets.arguments(&address, &["--replay", "--yes"]));
    for place in PLACES {
        killed_at(place, command(), None);
        let is_durable = place == "after_commit";
        let expected = if is_durable { (4, 1) } else { (2, 3) };
        assert_eq!((pets.rows(), pets.left()), expected, "killed at `{place}`");
    }
    let report = pets.rejects(&["--replay", "--yes", "--json"]).expect(0).json();
    let table = &report["tables"][0];
    assert_eq!((&table["found"], &table["replayed"]), (&1.into(), &0.into()), "{report:#}");
    assert_eq!((pets.rows(), pets.left()), (4, 1));
    let sequences =
        warehouse.number(&format!("select count(distinct _sdc_sequence) from {SCHEMA}.pets"));
    assert_eq!(sequences, 4, "each row has the sequence of its own read");
}

#[test]
fn a_row_that_the_destination_refused_is_loaded_when_it_no_longer_does() {
    let warehouse = Warehouse::postgres();
    let account = account::start_sized(30);
    let workplace = Workplace::new(&account, &warehouse, "");
    workplace.run(&["run"]).expect(0);
    let cluster = warehouse.cluster();
    let victim = cluster
        .query(&format!("select id from {SCHEMA}.contact order by id limit 1"))
        .unwrap()
        .trim()
        .to_owned();
    cluster.query(&format!("delete from {SCHEMA}.contact where id = '{victim}'")).unwrap();
    cluster
        .query(&format!("alter table {SCHEMA}.contact add constraint no check (id <> '{victim}')"))
        .unwrap();
    workplace.run(&["run", "--full-refresh=contact"]).expect(0);
    let listed = workplace.run(&["rejects", "--table", "contact", "--json"]).expect(0).json();
    assert_eq!(listed["reasons"][0]["reason_code"], "refused_by_destination");

    let again = workplace
        .run(&["rejects", "--table", "contact", "--replay", "--yes", "--json"])
        .expect(0)
        .json();
    assert_eq!(again["tables"][0]["rejected_again"][0]["rows"], 1, "{again:#}");
    cluster.query(&format!("alter table {SCHEMA}.contact drop constraint no")).unwrap();
    let shown = workplace.run(&["rejects", "--table", "contact", "--replay"]).expect(0).stdout;
    assert!(shown.contains("repeat the command with `--yes`"), "{shown}");
    let report = workplace
        .run(&["rejects", "--table", "contact", "--replay", "--yes", "--json"])
        .expect(0)
        .json();
    let counts = &report["tables"][0]["counts"];
    assert_eq!((&counts["received"], &counts["inserted"]), (&1.into(), &1.into()), "{report:#}");
    truth::assert_equal(&account, &warehouse);
    let listed = workplace.run(&["rejects", "--table", "contact", "--json"]).expect(0).json();
    assert_eq!(listed["rejects"], Value::Array(Vec::new()));
}

#[test]
fn an_object_that_could_not_be_decoded_is_loaded_when_it_can_be() {
    let warehouse = Warehouse::postgres();
    let account = account::start_sized(300);
    let workplace = Workplace::new(&account, &warehouse, "");
    account.set_behaviour("float_form", "special").unwrap();
    workplace.run(&["run"]).expect(0);
    let cluster = warehouse.cluster();
    let count =
        |sql: &str| warehouse.number(&sql.replace("REJECTED", &format!("{SCHEMA}._sdc_rejected")));
    let xml = count("select count(*) from REJECTED where reason_code = 'number_range'");
    assert!(xml > 0, "the account gave numbers that are none");
    cluster
        .query(&format!(
            "update {SCHEMA}._sdc_rejected set record = regexp_replace(record, '>(NaN|-?INF)<', '>1.5<')"
        ))
        .unwrap();
    let report = workplace
        .run(&["rejects", "--replay", "--yes", "--json", "--reason", "number_range"])
        .expect(0)
        .json();
    let replayed: u64 = report["tables"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|table| table["replayed"].as_u64())
        .sum();
    assert_eq!(i64::try_from(replayed).unwrap(), xml, "{report:#}");
    assert_eq!(
        count(
            "select count(*) from REJECTED where reason_code = 'number_range' and replayed_at is null"
        ),
        0
    );
}
