//! Singer taps as children: ours, one written with singer-sdk, and a foreign one that reads PostgreSQL.

use std::{fs, path::Path, process::Command};

use bronto_sim::RunningServer;
use serde_json::{Value, json};

use crate::{
    account::{self, TOKEN},
    peers::peer,
    programs::{Ended, Running, Workplace, until, workspace_program},
    truth,
    warehouse::{Cell, SCHEMA, Warehouse},
};

/// The password that the counting tap gets, and writes into its log.
const PASSWORD: &str = "hunter2-of-the-counter";

/// A folder for the temporary files of the programs, so that a test can look into it.
fn workplace(warehouse: &Warehouse, source: &str, lines: &str) -> Workplace {
    let (destination, environment) = warehouse.configuration();
    let workplace = Workplace::with_configuration(&format!(
        "[integration.\"Stitch Bronto\"]\nsource = {{ type = \"singer\", {source} }}\ndestination = {destination}\n{lines}\n"
    ));
    fs::create_dir(workplace.path().join("tmp")).unwrap();
    let temporary = workplace.path().join("tmp").display().to_string();
    workplace.with_environment(environment).with_environment([
        ("TMPDIR".to_owned(), temporary),
        ("TAP_TOKEN".to_owned(), TOKEN.to_owned()),
        ("COUNTER_PASSWORD".to_owned(), PASSWORD.to_owned()),
    ])
}

fn bronto(account: &RunningServer, warehouse: &Warehouse) -> Workplace {
    let tap = workspace_program("tap-bronto");
    let source = format!(
        "command = [\"{}\"], config = {{ token = {{ env = \"TAP_TOKEN\" }}, endpoint = \"{}\", \
         start_date = \"2025-11-01T00:00:00Z\", settle_seconds = 0 }}",
        tap.display(),
        account.endpoint()
    );
    workplace(warehouse, &source, "")
}

/// The counting tap, with these settings beside its password.
fn counter(warehouse: &Warehouse, settings: &str) -> Workplace {
    let workplace = workplace(warehouse, "command = []", "");
    set_counter(&workplace, settings);
    workplace
}

/// Gives the counting tap other settings.
fn set_counter(workplace: &Workplace, settings: &str) {
    let python = peer("singer-sdk", "python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/tap_counter.py");
    let source = format!(
        "source = {{ type = \"singer\", account = \"counter\", command = [\"{}\", \"{}\"], \
         config = {{ password = {{ env = \"COUNTER_PASSWORD\" }}, {settings} }} }}",
        python.display(),
        script.display()
    );
    let path = workplace.path().join("backstitch.toml");
    let text = fs::read_to_string(&path).unwrap();
    let lines = text.lines().map(|line| if line.starts_with("source") { &source } else { line });
    fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
}

/// Stops the test if anything is left of a tap's files, or a secret was shown.
#[track_caller]
fn assert_clean(workplace: &Workplace, ended: &Ended) {
    let left: Vec<_> = fs::read_dir(workplace.path().join("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    for secret in [TOKEN, PASSWORD] {
        assert!(!format!("{}{}", ended.stdout, ended.stderr).contains(secret), "{}", ended.stderr);
    }
}

/// Stops the test unless both tables hold the numbers up to `last`, each once.
#[track_caller]
fn assert_counted(warehouse: &Warehouse, last: i64) {
    for table in ["keyed", "keyless"] {
        let figure = |figure| format!("select {figure} from {SCHEMA}.{table}");
        let figures = ["count(*)", "count(distinct number)", "min(number)", "max(number)"];
        let found = figures.map(|expression| warehouse.number(&figure(expression)));
        assert_eq!(found, [last, last, 1, last], "`{table}`: rows, numbers, least, greatest");
    }
}

#[test]
fn our_tap_fills_duckdb_as_a_child() {
    our_tap_fills(&Warehouse::duckdb());
}

#[test]
fn our_tap_fills_postgres_as_a_child() {
    our_tap_fills(&Warehouse::postgres());
}

#[track_caller]
fn our_tap_fills(warehouse: &Warehouse) {
    let account = account::start_sized(60);
    let workplace = bronto(&account, warehouse);
    let check = workplace.run(&["check"]).expect(0);
    assert!(check.stdout.contains("`tap-bronto` offers 5 streams"), "{}", check.stdout);
    let first = workplace.run(&["run", "--json"]).expect(0);
    assert_eq!(first.json()["status"], "succeeded");
    assert!(first.stderr.contains("tap - INFO"), "the tap's log is shown: {}", first.stderr);
    truth::assert_equal_after_load(&account, warehouse);
    account::change(&account);
    let second = workplace.run(&["run", "--json"]).expect(0);
    truth::assert_equal_after_load(&account, warehouse);
    assert_clean(&workplace, &second);
    let read = |report: &Value| -> u64 {
        let tables = report["tables"].as_array().unwrap().iter();
        tables.map(|table| table["received"].as_u64().unwrap()).sum()
    };
    assert!(read(&second.json()) < read(&first.json()), "it went on from its state");
}

#[test]
fn duckdb_gets_every_row_once_however_the_tap_dies() {
    gets_every_row_once(&Warehouse::duckdb());
}

#[test]
fn postgres_gets_every_row_once_however_the_tap_dies() {
    gets_every_row_once(&Warehouse::postgres());
}

#[track_caller]
fn gets_every_row_once(warehouse: &Warehouse) {
    let workplace = counter(warehouse, "last = 25");
    let first = workplace.run(&["run"]).expect(0);
    assert_clean(&workplace, &first);
    assert_counted(warehouse, 25);
    // Each death lies some rows behind the last state.
    for (how, words, last) in [
        ("exit", "`python tap_counter.py` ended with exit code 1", 60),
        ("kill", "`python tap_counter.py` was killed by signal 9", 100),
        ("cut", "`python tap_counter.py` ended with exit code 1", 140),
    ] {
        let die_at = last - 7;
        set_counter(&workplace, &format!("last = {last}, die_at = {die_at}, die_how = \"{how}\""));
        let died = workplace.run(&["run"]).expect(4);
        assert!(died.failure().contains(words), "{}", died.stderr);
        assert!(died.failure().contains("Something is wrong with [secret]"), "{}", died.stderr);
        assert_clean(&workplace, &died);
        set_counter(&workplace, &format!("last = {last}"));
        let mended = workplace.run(&["run", "--json"]).expect(0);
        assert_counted(warehouse, last);
        assert_clean(&workplace, &mended);
    }
    // Killed itself, just before and just after rows that no state covers became durable.
    for (place, last) in [("before_commit", 160), ("after_commit", 180)] {
        set_counter(&workplace, &format!("last = {last}, die_at = {}", last - 7));
        let mut command = workplace.command(&["run"]);
        command.env("BACKSTITCH_HOLD_AT", place);
        let mut held = Running::start(command);
        held.wait_for(&format!("holding at {place}"));
        held.kill();
        set_counter(&workplace, &format!("last = {last}"));
        let mended = workplace.run(&["run"]).expect(0);
        assert_counted(warehouse, last);
        assert_clean(&workplace, &mended);
    }
    let idle = workplace.run(&["run", "--json"]).expect(0).json();
    let tables = idle["tables"].as_array().unwrap();
    assert!(tables.iter().all(|table| table["inserted"] == 0), "{idle:#}");
    let balanced = format!(
        "select coalesce(sum(inserted - deleted), 0)::bigint from {SCHEMA}._sdc_loads where table_name = 'keyless'"
    );
    assert_eq!(warehouse.number(&balanced), 180, "the ledger knows what was taken back");
    let taken_back = format!("select sum(deleted)::bigint from {SCHEMA}._sdc_loads");
    assert!(warehouse.number(&taken_back) > 0, "no death has left rows behind a state");
}

#[test]
fn a_signal_ends_the_tap_and_removes_its_files() {
    let warehouse = Warehouse::duckdb();
    let workplace = counter(&warehouse, "last = 50, die_at = 37, die_how = \"hang\"");
    let mut running = Running::start(workplace.command(&["run", "--json"]));
    running.wait_for("Something is wrong");
    running.signal("TERM");
    let ended = running.wait().expect(143);
    assert_eq!(ended.json()["status"], "interrupted");
    assert_clean(&workplace, &ended);
    assert_eq!(taps_at(&workplace), 0, "the tap goes on");
    set_counter(&workplace, "last = 50");
    workplace.run(&["run"]).expect(0);
    assert_counted(&warehouse, 50);
}

#[test]
fn a_second_signal_leaves_no_tap_behind_either() {
    let warehouse = Warehouse::duckdb();
    // A shell that doesn't want to end, so that the first signal takes long.
    let source = "command = [\"sh\", \"-c\", \"trap 'echo INFO still here >&2' TERM; echo INFO ready >&2; while :; do sleep 1; done\"]";
    let workplace = workplace(&warehouse, source, "");
    let mut running = Running::start(workplace.command(&["run"]));
    running.wait_for("ready");
    running.signal("TERM");
    running.wait_for("still here");
    running.signal("INT");
    let ended = running.wait().expect(130);
    assert_clean(&workplace, &ended);
    until("the end of the tap", || taps_at(&workplace) == 0);
}

#[test]
fn a_killed_run_leaves_files_only_until_the_next_one() {
    let warehouse = Warehouse::duckdb();
    let workplace = counter(&warehouse, "last = 50, die_at = 37, die_how = \"hang\"");
    let mut running = Running::start(workplace.command(&["run"]));
    running.wait_for("Something is wrong");
    let left = || fs::read_dir(workplace.path().join("tmp")).unwrap().count();
    assert_eq!(left(), 1);
    running.kill();
    let pattern = workplace.path().join("tmp").display().to_string();
    for process in processes_with(&pattern) {
        crate::programs::signal(process, "KILL");
    }
    set_counter(&workplace, "last = 50");
    let ended = workplace.run(&["run"]).expect(0);
    assert_clean(&workplace, &ended);
    assert_counted(&warehouse, 50);
}

/// How many processes were given a file in the workplace's folder for temporary files.
fn taps_at(workplace: &Workplace) -> usize {
    processes_with(&workplace.path().join("tmp").display().to_string()).len()
}

fn processes_with(text: &str) -> Vec<u32> {
    let is_one = |process: &u32| {
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    };
    let names = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).filter(is_one).collect()
}

#[test]
fn another_account_is_refused_and_a_new_password_is_not() {
    let warehouse = Warehouse::duckdb();
    let source = |host: &str, password: &str| {
        let config = format!("config = {{ host = \"{host}\", password = \"{password}\" }}");
        let schema = r#"{\"type\":\"SCHEMA\",\"stream\":\"s\",\"schema\":{\"properties\":{\"id\":{\"type\":\"integer\"}}},\"key_properties\":[\"id\"]}"#;
        let record = r#"{\"type\":\"RECORD\",\"stream\":\"s\",\"record\":{\"id\":1}}"#;
        format!("command = [\"sh\", \"-c\", \"echo '{schema}'; echo '{record}'\"], {config}")
    };
    let run = |source: &str| workplace(&warehouse, source, "").run(&["run"]);
    run(&source("one", "first")).expect(0);
    run(&source("one", "second")).expect(0);
    let refused = run(&source("two", "second")).expect(8);
    assert!(
        refused.failure().contains("holds rows of another source account"),
        "{}",
        refused.stderr
    );
}

#[test]
fn too_many_rejects_end_a_run_with_their_own_code() {
    let warehouse = Warehouse::duckdb();
    let (folder, lines) = (
        tempfile::tempdir().unwrap(),
        [
            r#"{"type":"SCHEMA","stream":"s","schema":{"properties":{"id":{"type":"integer"}}},"key_properties":["id"]}"#,
            r#"{"type":"RECORD","stream":"s","record":{"id":1}}"#,
            r#"{"type":"RECORD","stream":"s","record":{"id":2}}"#,
            r#"{"type":"RECORD","stream":"s","record":{"id":3}}"#,
            r#"{"type":"RECORD","stream":"s","record":{"id":"x"}}"#,
            r#"{"type":"RECORD","stream":"s","record":{"id":null}}"#,
        ],
    );
    let messages = folder.path().join("messages.jsonl");
    fs::write(&messages, lines.join("\n")).unwrap();
    let source =
        format!("account = \"a\", command = [\"sh\", \"-c\", \"cat '{}'\"]", messages.display());
    let at = |lines: &str| workplace(&warehouse, &source, lines);
    at("max_rejects = \"40%\"").run(&["run"]).expect(0);
    at("max_rejects = 2").run(&["run"]).expect(0);
    let refused = at("max_rejects = \"39.9%\"").run(&["run"]).expect(6);
    insta::assert_snapshot!(refused.failure(), @r"
    error: 2 rows were rejected, more than the 39.9% that are allowed
    hint: Look at them with `backstitch rejects`; mend the cause, or raise `max_rejects`
    ");
    at("max_rejects = 1").run(&["run"]).expect(6);
    assert_eq!(warehouse.rows("s").len(), 3, "what is good is loaded all the same");
    let shown = at("").run(&["rejects", "--json"]).expect(0).json();
    let reasons = shown["reasons"].as_array().unwrap().iter();
    let reasons: Vec<(&str, u64)> = reasons
        .map(|reason| (reason["reason_code"].as_str().unwrap(), reason["rows"].as_u64().unwrap()))
        .collect();
    assert_eq!(reasons, [("missing_key", 1), ("wrong_type", 1)]);
    let limited = at("").run(&["rejects", "--limit", "1"]).expect(0).stdout;
    assert!(limited.contains("Shown are the newest 1 of 2"), "{limited}");
    insta::assert_snapshot!(at("max_rejects = \"1\"").run(&["run"]).expect(2).failure(), @r#"
    error: `max_rejects` is no percentage from 0 to 100 (backstitch.toml:4:15)
    hint: Write a count, as in `max_rejects = 100`, or a percentage, as in `max_rejects = "0.5%"`
    "#);
}

#[test]
fn what_is_wrong_with_a_tap_is_said_before_anything_is_touched() {
    let warehouse = Warehouse::duckdb();
    let message = |source: &str, lines: &str, code: i32| {
        workplace(&warehouse, source, lines).run(&["run"]).expect(code).failure()
    };
    insta::assert_snapshot!(message("command = \"tap-x\"", "", 2), @"error: `command` must be a list of strings (backstitch.toml:2:39)");
    insta::assert_snapshot!(message("command = []", "", 2), @r#"
    error: `command` names no program (backstitch.toml:2:39)
    hint: Write the program and its arguments, as in `command = ["tap-postgres"]`
    "#);
    insta::assert_snapshot!(message("command = [\"./tap-none\"]", "", 2), @r"
    error: The tap `tap-none` can't be started
      caused by: No such file or directory (os error 2)
    hint: Install it, or give its path in `command`; a relative path starts at the configuration's folder
    ");
    insta::assert_snapshot!(message("command = [\"sh\"], catalog = \"none.json\"", "", 2), @r"
    error: The tap's catalog can't be read from `none.json`
      caused by: No such file or directory (os error 2)
    ");
    insta::assert_snapshot!(message("command = [\"sh\"], config = 7", "", 2), @r#"
    error: `config` must be the tap's settings as a table, or the path of a JSON file (backstitch.toml:2:56)
    hint: Write it like `{ host = "db.example.com", password = { env = "TAP_PASSWORD" } }`
    "#);
    insta::assert_snapshot!(message("command = [\"sh\"]", "tables = [\"contact\"]", 2), @r"
    error: `tables` has no effect on a Singer tap (backstitch.toml:4:10)
    hint: Select streams and fields in the tap's catalog, and name that with `catalog` in `source`
    ");
}

#[test]
fn a_tap_can_not_be_told_to_read_again() {
    let warehouse = Warehouse::duckdb();
    let workplace = workplace(&warehouse, "command = [\"true\"]", "");
    insta::assert_snapshot!(workplace.run(&["run", "--full-refresh"]).expect(2).failure(), @r"
    error: A Singer tap keeps its bookmarks in a state of its own form
    hint: Use a new schema, which it fills from its start
    ");
}

#[test]
fn a_foreign_tap_replicates_a_postgres_database() {
    let cluster = postgres_cluster::Cluster::start().unwrap();
    cluster
        .query(
            "create table shop (id bigint primary key, name text, price numeric(12,4), tags text[], at timestamptz); \
             insert into shop select n, 'it''s ' || n, n * 1.0625, array['a', n::text], \
             timestamptz '2026-01-01 00:00:00+01' + n * interval '1 minute' from generate_series(1, 500) n; select 1",
        )
        .unwrap();
    let warehouse = Warehouse::duckdb();
    let tap = peer("pipelinewise", "tap-postgres");
    let url = cluster.url();
    let address = url.split('@').nth(1).unwrap();
    let (host, rest) = address.split_once(':').unwrap();
    let (port, database) = rest.split_once('/').unwrap();
    let config = json!({ "host": host, "port": port.parse::<u16>().unwrap(), "user": "backstitch",
        "password": cluster.password(), "dbname": database, "default_replication_method": "INCREMENTAL" });
    let source = format!(
        "command = [\"{}\"], config = {{ host = \"{host}\", port = {port}, user = \"backstitch\", dbname = \"{database}\", \
         password = {{ env = \"TAP_PG_PASSWORD\" }} }}, catalog = \"catalog.json\"",
        tap.display()
    );
    let workplace = workplace(&warehouse, &source, "")
        .with_environment([("TAP_PG_PASSWORD".to_owned(), cluster.password().to_owned())]);
    write_catalog(&workplace, &tap, &config);

    workplace.run(&["run"]).expect(0);
    let count = format!("select count(*) from {SCHEMA}.\"public-shop\"");
    assert_eq!(warehouse.number(&count), 500);
    cluster
        .query("insert into shop values (501, 'new', 0.0001, '{}', now()); update shop set id = 502 where id = 3; select 1")
        .unwrap();
    let second = workplace.run(&["run", "--json"]).expect(0);
    assert!(!format!("{}{}", second.stdout, second.stderr).contains(cluster.password()));
    let rows = warehouse.rows("public-shop");
    let price = |id: &str| {
        let row = rows.iter().find(|row| row["id"] == Cell::Number(id.to_owned())).unwrap();
        row["price"].clone()
    };
    assert_eq!(price("501"), Cell::Number("0.0001".to_owned()));
    assert_eq!(price("500"), Cell::Number("531.25".to_owned()));
    assert_eq!(rows.len(), 502, "the old key stays, as with every replication by key");
}

/// Lets the tap discover, and selects the table, by its id.
fn write_catalog(workplace: &Workplace, tap: &Path, config: &Value) {
    let path = workplace.path().join("discovery.json");
    fs::write(&path, config.to_string()).unwrap();
    let output = Command::new(tap).arg("--config").arg(&path).arg("--discover").output().unwrap();
    let mut catalog: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let streams = catalog["streams"].as_array_mut().unwrap();
    streams.retain(|stream| stream["table_name"] == "shop");
    assert_eq!(streams.len(), 1);
    let metadata = streams[0]["metadata"].as_array_mut().unwrap();
    for entry in metadata.iter_mut().filter(|entry| entry["breadcrumb"] == json!([])) {
        entry["metadata"]["selected"] = true.into();
        entry["metadata"]["replication-method"] = "INCREMENTAL".into();
        entry["metadata"]["replication-key"] = "id".into();
    }
    fs::write(workplace.path().join("catalog.json"), catalog.to_string()).unwrap();
}

#[test]
fn the_state_of_a_tap_can_be_removed() {
    let account = account::start_sized(30);
    let warehouse = Warehouse::postgres();
    let workplace = bronto(&account, &warehouse);
    let refused = |workplace: &Workplace| {
        workplace.run(&["state", "--remove-tap-state", "--yes"]).expect(2).failure()
    };
    assert!(refused(&workplace).contains("There is no state of a Singer tap"));
    workplace.run(&["run"]).expect(0);
    let state = || workplace.run(&["state", "--json"]).expect(0).json()["singer_state"].clone();
    let kept = state();
    assert!(kept["bookmarks"]["contact"].is_object(), "{kept:#}");
    let preview = workplace.run(&["state", "--remove-tap-state"]).expect(0).stdout;
    assert!(preview.contains("WITHOUT a key come a second time"), "{preview}");
    assert!(preview.contains("Nothing is changed yet"), "{preview}");
    assert_eq!(state(), kept, "a preview changes nothing");
    let done = workplace.run(&["state", "--remove-tap-state", "--yes", "--json"]).expect(0).json();
    assert_eq!((&done["edited"], &done["removed_tap_state"]), (&true.into(), &kept));
    assert_eq!(state(), Value::Null);
    let loads = workplace.run(&["loads", "--json"]).expect(0).json();
    assert_eq!(loads[0]["received"], 0, "the ledger knows of it: {loads:#}");
    let report = workplace.run(&["run", "--json"]).expect(0).json();
    let tables = report["tables"].as_array().unwrap();
    let contact = tables.iter().find(|table| table["table"] == "contact").unwrap();
    let contacts = account.truth(bronto_sim::Table::Contact).len();
    assert_eq!(contact["unchanged"], contacts, "{contact:#}");
    truth::assert_equal_after_load(&account, &warehouse);
    assert_eq!(state()["bookmarks"]["contact"], kept["bookmarks"]["contact"]);
}
