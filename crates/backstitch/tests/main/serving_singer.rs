//! Singer taps under the service: declared in the file, started by the schedule, kept by their state; and what the service
//! tells of tables that change.

use std::{fs, path::Path};

use service::{run::RunState, store::SchemaChange};

use crate::{
    peers::peer,
    programs::Workplace,
    serving::{Control, SERVICE, serve, terminate},
    warehouse::{SCHEMA, Warehouse},
};

/// The password that the counting tap gets, and writes into its log.
const PASSWORD: &str = "hunter2-of-the-counter";

/// Has the file declare the counting tap, which has its temporary files where the test can see them.
fn counter(warehouse: &Warehouse, settings: &str) -> Workplace {
    let workplace = Workplace::with_configuration("");
    fs::create_dir(workplace.path().join("tmp")).unwrap();
    declare(&workplace, warehouse, settings);
    let (_, environment) = warehouse.configuration();
    let temporary = workplace.path().join("tmp").display().to_string();
    workplace.with_environment(environment).with_environment([
        ("TMPDIR".to_owned(), temporary),
        ("COUNTER_PASSWORD".to_owned(), PASSWORD.to_owned()),
    ])
}

fn declare(workplace: &Workplace, warehouse: &Warehouse, settings: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/tap_counter.py");
    let (python, (destination, _)) = (peer("singer-sdk", "python"), warehouse.configuration());
    let text = format!(
        "[integration.\"Stitch Bronto\"]\ndestination = {destination}\n\
         source = {{ type = \"singer\", account = \"counter\", command = [\"{}\", \"{}\"], \
         config = {{ password = {{ env = \"COUNTER_PASSWORD\" }}, {settings} }} }}\n{SERVICE}",
        python.display(),
        script.display()
    );
    fs::write(workplace.path().join("backstitch.toml"), text).unwrap();
}

/// Stops the test unless both tables hold the numbers up to `last`, each once.
#[track_caller]
fn assert_counted(warehouse: &Warehouse, last: i64) {
    for table in ["keyed", "keyless"] {
        let figures = ["count(*)", "count(distinct number)", "min(number)", "max(number)"];
        let found = figures
            .map(|figure| warehouse.number(&format!("select {figure} from {SCHEMA}.{table}")));
        assert_eq!(found, [last, last, 1, last], "`{table}`: rows, numbers, least, greatest");
    }
}

#[track_caller]
fn assert_nothing_left(workplace: &Workplace) {
    let left: Vec<_> = fs::read_dir(workplace.path().join("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_tap_runs_by_its_schedule_into_duckdb() {
    a_tap_runs_by_its_schedule(&Warehouse::duckdb());
}

#[test]
fn a_tap_runs_by_its_schedule_into_postgres() {
    a_tap_runs_by_its_schedule(&Warehouse::postgres());
}

#[track_caller]
fn a_tap_runs_by_its_schedule(warehouse: &Warehouse) {
    let workplace = counter(warehouse, "last = 30");
    let control = Control::of(&workplace);
    let serving = serve(&workplace);
    let first = control.succeeded();
    assert_counted(warehouse, 30);
    assert_nothing_left(&workplace);
    let log = control.log(&first.id);
    assert!(log.contains("   tap - INFO ") && log.ends_with("  main - INFO Done\n"), "{log}");
    terminate(serving);

    // Something goes wrong in the middle: it is told in the run's log, without the password that the tap writes down.
    declare(&workplace, warehouse, "last = 60, die_at = 45");
    let serving = serve(&workplace);
    control.start();
    let failed = control.until("a failure", |run| run.ended_at.is_some());
    assert_eq!(failed.state, RunState::Failed, "{failed:?}");
    let log = control.log(&failed.id);
    let line = log.lines().find(|line| line.starts_with("   tap - ERROR ")).unwrap();
    assert!(line.ends_with("Something is wrong with [secret]"), "{log}");
    assert_nothing_left(&workplace);
    terminate(serving);

    // It goes on from the state that was stored with the rows; a row without a key is there once.
    declare(&workplace, warehouse, "last = 60");
    let serving = serve(&workplace);
    control.start();
    control.succeeded();
    assert_counted(warehouse, 60);
    assert_nothing_left(&workplace);
    let said = terminate(serving);
    for place in [said.as_bytes(), &control.bytes()] {
        assert!(!place.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes()));
    }
}

/// A tap that says what stands in a file.
pub(crate) fn saying(warehouse: &Warehouse) -> Workplace {
    let (destination, environment) = warehouse.configuration();
    let workplace = Workplace::with_configuration(&format!(
        "[integration.\"Stitch Bronto\"]\ndestination = {destination}\n\
         source = {{ type = \"singer\", command = [\"sh\", \"tap.sh\"] }}\n{SERVICE}"
    ));
    fs::write(workplace.path().join("tap.sh"), "cat messages.jsonl\n").unwrap();
    workplace.with_environment(environment)
}

/// Has it say these records, and a state.
pub(crate) fn say(workplace: &Workplace, properties: &str, records: &[&str]) {
    let mut messages = format!(
        "{{\"type\":\"SCHEMA\",\"stream\":\"orders\",\"key_properties\":[\"id\"],\
         \"schema\":{{\"properties\":{{\"id\":{{\"type\":\"integer\"}},{properties}}}}}}}\n"
    );
    for record in records {
        let record = format!("{{\"type\":\"RECORD\",\"stream\":\"orders\",\"record\":{record}}}\n");
        messages.push_str(&record);
    }
    messages.push_str("{\"type\":\"STATE\",\"value\":{}}\n");
    fs::write(workplace.path().join("messages.jsonl"), messages).unwrap();
}

#[test]
fn tables_that_change_are_told_of_from_duckdb() {
    tables_that_change_are_told_of(&Warehouse::duckdb());
}

#[test]
fn tables_that_change_are_told_of_from_postgres() {
    tables_that_change_are_told_of(&Warehouse::postgres());
}

#[track_caller]
fn tables_that_change_are_told_of(warehouse: &Warehouse) {
    let workplace = saying(warehouse);
    say(&workplace, r#""amount":{"type":["null","integer"]}"#, &[r#"{"id":1,"amount":10}"#]);
    let control = Control::of(&workplace);
    let serving = serve(&workplace);
    control.succeeded();
    // A table that is made is no table that changes.
    assert_eq!(control.schema_events(), []);

    say(
        &workplace,
        r#""amount":{"type":["null","string"]},"note":{"type":["null","string"]}"#,
        &[r#"{"id":2,"amount":"many","note":"new"}"#],
    );
    let run_id = control.start();
    control.succeeded();
    let events = control.schema_events();
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.change, event.table_name.as_str(), event.column_name.as_str()))
        .collect();
    assert!(told.contains(&(SchemaChange::Added, "orders", "note")), "{events:?}");
    let split = events.iter().find(|event| event.change == SchemaChange::Split);
    let split = split.unwrap_or_else(|| panic!("{events:?}"));
    assert!(split.column_name.starts_with("amount"), "{events:?}");
    assert!(split.detail.contains("amount__"), "{events:?}");
    assert!(events.iter().all(|event| event.run_id == run_id), "{events:?}");
    let count = events.len();

    // What stays as it is is told of once.
    control.start();
    control.succeeded();
    assert_eq!(control.schema_events().len(), count);
    terminate(serving);
}
