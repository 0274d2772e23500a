//! Our tap before other people's targets: their tables hold what the account holds.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bronto_sim::{RunningServer, Table};
use serde_json::{Map, Value, json};

use crate::{
    account,
    contents::{Flat, assert_same, bag, flat},
    peers::{peer, tap_output, with_input},
    programs::Workplace,
    truth::with_columns,
    warehouse::{Warehouse, number_text},
};

const TARGET_SCHEMA: &str = "theirs";

#[test]
fn the_tap_feeds_meltanolabs_target_postgres() {
    let (account, warehouse) = (account::start_sized(150), Warehouse::postgres());
    let workplace = Workplace::with_configuration("");
    let messages = tap_output(&account, &workplace);
    let more = json!({ "database": "postgres", "load_method": "upsert", "use_copy": true });
    load(&workplace, &warehouse, &peer("singer-sdk", "target-postgres"), &more, &messages);
    for table in Table::ALL {
        holds_the_truth(&account, &warehouse, table, |row| row);
    }
}

#[test]
fn the_tap_feeds_pipelinewise_target_postgres() {
    let (account, warehouse) = (account::start_sized(150), Warehouse::postgres());
    let workplace = Workplace::with_configuration("");
    let messages = tap_output(&account, &workplace);
    // This target makes null of an empty text, also in a key, and then fails on its own rule that a key is not null.
    let messages = without(&workplace, &messages, Table::Unsubscribe);
    let more = json!({ "dbname": "postgres", "parallelism": 1 });
    load(&workplace, &warehouse, &peer("pipelinewise", "target-postgres"), &more, &messages);
    for table in Table::ALL.into_iter().filter(|table| *table != Table::Unsubscribe) {
        holds_the_truth(&account, &warehouse, table, as_pipelinewise_stores_it);
    }
}

/// Runs a target into the warehouse's cluster; `more` is what it wants beyond where that is.
fn load(
    workplace: &Workplace,
    warehouse: &Warehouse,
    target: &Path,
    more: &Value,
    messages: &Path,
) {
    let cluster = warehouse.cluster();
    let mut config = json!({
        "host": "127.0.0.1",
        "port": cluster.port(),
        "user": "backstitch",
        "password": cluster.password(),
        "default_target_schema": TARGET_SCHEMA,
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fs::write(workplace.path().join("target.json"), config.to_string()).unwrap();
    with_input(workplace.command_of(target, &["--config", "target.json"]), messages)
        .wait()
        .expect(0);
}

/// The messages that are not about a table.
fn without(workplace: &Workplace, messages: &Path, table: Table) -> PathBuf {
    let text = fs::read_to_string(messages).unwrap();
    let about = format!("\"stream\":\"{table}\"");
    let others = text.lines().filter(|line| !line.contains(&about));
    let path = workplace.path().join("others.jsonl");
    fs::write(&path, others.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    path
}

/// What becomes of texts in this target: control characters and backslashes turn into their escapes, empty texts into
/// null.
fn as_pipelinewise_stores_it(row: Flat) -> Flat {
    let altered = row.into_iter().filter_map(|(name, value)| {
        let Some(text) = value.strip_prefix("text ") else { return Some((name, value)) };
        let escaped = Value::from(text).to_string();
        let escaped = escaped[1..escaped.len() - 1].replace("\\\"", "\"");
        (!escaped.is_empty()).then(|| (name, format!("text {escaped}")))
    });
    altered.collect()
}

/// Stops the test unless the target's table equals the account's, with what the target is known to alter.
#[track_caller]
fn holds_the_truth(
    account: &RunningServer,
    warehouse: &Warehouse,
    table: Table,
    altered: impl Fn(Flat) -> Flat,
) {
    let contents = warehouse.contents(TARGET_SCHEMA, &BTreeMap::new());
    let mut stored: Vec<Flat> = Vec::new();
    for (row, count) in &contents[table.name()] {
        assert_eq!(*count, 1, "{row:?} is there twice");
        let system = |name: &str| name.starts_with("sdc");
        stored.push(row.clone().into_iter().filter(|(name, _)| !system(name)).collect());
    }
    let numbers: Vec<String> = stored
        .iter()
        .flatten()
        .filter(|(_, value)| value.starts_with("number "))
        .map(|(name, _)| name.clone())
        .collect();
    let fields = account.custom_fields();
    let truth: Vec<Flat> = account
        .truth(table)
        .into_iter()
        .map(|row| {
            let mut row = flat(&in_the_tables_terms(table, with_columns(row, &fields)));
            for name in &numbers {
                if let Some(text) = row.get(name).and_then(|value| value.strip_prefix("text ")) {
                    let number = format!("number {}", number_text(text));
                    row.insert(name.clone(), number);
                }
            }
            altered(row)
        })
        .collect();
    match table {
        // Of those that share a key, the target keeps one.
        Table::Unsubscribe => {
            let key = |row: &Flat| -> Vec<Option<String>> {
                ["contactid", "deliveryid", "created"].map(|name| row.get(name).cloned()).to_vec()
            };
            let mut kept: BTreeMap<Vec<Option<String>>, Flat> = BTreeMap::new();
            for row in truth {
                if stored.contains(&row) || !kept.contains_key(&key(&row)) {
                    kept.insert(key(&row), row);
                }
            }
            assert_same(table.name(), &bag(kept.into_values()), &bag(stored));
        }
        Table::InboundActivity | Table::OutboundActivity => {
            for row in &mut stored {
                assert!(row.remove("id").is_some(), "{row:?}");
            }
            assert_same(table.name(), &bag(truth), &bag(stored));
        }
        _ => assert_same(table.name(), &bag(truth), &bag(stored)),
    }
}

fn in_the_tables_terms(table: Table, mut row: Map<String, Value>) -> Map<String, Value> {
    if table == Table::Unsubscribe {
        row.entry("deliveryId").or_insert_with(|| "".into());
    }
    row
}
