//! Other people's programs at both ends of a pipe.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use bronto_sim::{RunningServer, Table};
use serde_json::{Value, json};

use crate::{
    account::{self, TOKEN},
    programs::{Ended, Running, Workplace, workspace_program},
    truth,
    warehouse::{Cell, Row, SCHEMA, Warehouse},
};

/// A program of a set of peers.
pub(crate) fn peer(set: &str, program: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .with_file_name("peers")
        .join(set)
        .join("bin")
        .join(program);
    assert!(path.exists(), "`{program}` is missing; `cargo xtask setup --tests` installs it");
    path
}

/// Writes the tap's configuration for the account into the workplace, as `tap.json`.
pub(crate) fn configure_tap(account: &RunningServer, workplace: &Workplace) {
    let config = json!({
        "token": TOKEN,
        "endpoint": account.endpoint(),
        "start_date": "2025-11-01T00:00:00Z",
        "settle_seconds": 0,
    });
    fs::write(workplace.path().join("tap.json"), config.to_string()).unwrap();
}

/// What the tap writes about the account, in a file.
pub(crate) fn tap_output(account: &RunningServer, workplace: &Workplace) -> PathBuf {
    configure_tap(account, workplace);
    let tap = workspace_program("tap-bronto");
    let ended =
        Running::start(workplace.command_of(&tap, &["--config", "tap.json"])).wait().expect(0);
    let output = workplace.path().join("messages.jsonl");
    fs::write(&output, ended.stdout).unwrap();
    output
}

/// A program that reads a file on standard input.
pub(crate) fn with_input(mut command: std::process::Command, input: &Path) -> Running {
    command.stdin(Stdio::from(fs::File::open(input).unwrap()));
    Running::start(command)
}

/// `backstitch load` of a file into a schema, to its end.
pub(crate) fn loaded_from(
    workplace: &Workplace,
    warehouse: &Warehouse,
    schema: &str,
    messages: &Path,
) -> Ended {
    let address = warehouse.address();
    let load = workplace.command(&["load", "--destination", &address, "--schema", schema]);
    with_input(load, messages).wait()
}

#[test]
fn the_tap_feeds_load_and_target_jsonl_with_the_same_rows() {
    let (account, warehouse) = (account::start_sized(150), Warehouse::duckdb());
    let workplace = Workplace::with_configuration("");
    let messages = tap_output(&account, &workplace);

    let loaded = loaded_from(&workplace, &warehouse, SCHEMA, &messages).expect(0);
    let last_state: Value = serde_json::from_str(loaded.stdout.lines().last().unwrap()).unwrap();
    assert!(last_state["bookmarks"]["contact"]["last_record"].is_string(), "{last_state}");
    truth::assert_equal_after_load(&account, &warehouse);

    fs::write(
        workplace.path().join("target.json"),
        r#"{"destination_path": "out", "do_timestamp_file": false}"#,
    )
    .unwrap();
    fs::create_dir(workplace.path().join("out")).unwrap();
    let target =
        workplace.command_of(&peer("target-jsonl", "target-jsonl"), &["--config", "target.json"]);
    with_input(target, &messages).wait().expect(0);
    for table in Table::ALL {
        let path = workplace.path().join("out").join(format!("{table}.jsonl"));
        let text = fs::read_to_string(path).unwrap();
        let stored = warehouse.rows(table.name());
        let kinds = truth::column_kinds(&stored);
        // A target that upserts keeps the last row of a key.
        let written: BTreeMap<Vec<Option<Cell>>, Row> = text
            .lines()
            .map(|line| truth::canonical(table, serde_json::from_str(line).unwrap(), &kinds))
            .map(|row| (key(table, &row), row))
            .collect();
        let stored = stored.into_iter().map(truth::without_system_columns).collect();
        truth::assert_same_rows(table, written.into_values().collect(), stored);
    }
}

fn key(table: Table, row: &Row) -> Vec<Option<Cell>> {
    let names: &[&str] =
        if table == Table::Unsubscribe { &["contactId", "deliveryId", "created"] } else { &["id"] };
    names.iter().map(|name| row.get(*name).cloned()).collect()
}

#[test]
fn loading_the_same_messages_twice_changes_nothing() {
    let (account, warehouse) = (account::start_sized(40), Warehouse::postgres());
    let workplace = Workplace::with_configuration("").with_environment(warehouse.password());
    let messages = tap_output(&account, &workplace);
    let config = json!({ "destination": warehouse.address(), "default_target_schema": SCHEMA });
    fs::write(workplace.path().join("target.json"), config.to_string()).unwrap();
    let target = Path::new(env!("CARGO_BIN_EXE_target-backstitch"));
    for _ in 0..2 {
        with_input(workplace.command_of(target, &["--config", "target.json"]), &messages)
            .wait()
            .expect(0);
        truth::assert_equal_after_load(&account, &warehouse);
    }
}

#[test]
fn singer_check_tap_accepts_what_the_tap_writes() {
    let account = account::start_sized(40);
    let workplace = Workplace::with_configuration("");
    let messages = tap_output(&account, &workplace);
    let check = workplace.command_of(&peer("singer-tools", "singer-check-tap"), &[]);
    let ended = with_input(check, &messages).wait().expect(0);
    assert!(
        ended.stdout.contains("The output is valid")
            || ended.stderr.contains("The output is valid"),
        "{ended:?}"
    );
}

#[test]
fn a_malformed_message_ends_the_load_after_what_came_before_it() {
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::with_configuration("");
    let input = workplace.path().join("messages.jsonl");
    fs::write(
        &input,
        "{\"type\":\"SCHEMA\",\"stream\":\"s\",\"schema\":{\"properties\":{\"id\":{\"type\":\"integer\"}}},\"key_properties\":[\"id\"]}\n\
         {\"type\":\"RECORD\",\"stream\":\"s\",\"record\":{\"id\":1}}\n\
         {\"type\":\"STATE\",\"value\":{\"at\":1}}\n\
         {\"type\":\"RECORD\",\"stream\":\"s\",\"record\":{\"id\":\n",
    )
    .unwrap();
    let ended = loaded_from(&workplace, &warehouse, SCHEMA, &input).expect(3);
    assert_eq!(ended.stdout.trim(), "{\"at\":1}");
    assert_eq!(warehouse.rows("s").len(), 1);
}
