//! The control store goes away during a run and comes back: the run ends well, and what it loaded is reported once.

use std::{fs, time::Duration};

use postgres_cluster::Cluster;
use service::{run::RunState, store::SchemaChange};

use crate::{
    account,
    programs::{Running, Workplace, pause},
    serving::SERVICE,
    serving_kills::Server,
    serving_singer::{say, saying},
    truth,
    warehouse::Warehouse,
};

/// Takes the store away for so long, once for each length, in the middle of a run each time.
#[track_caller]
fn the_store_goes_away(warehouse: &Warehouse, lease_seconds: u32, lengths: [Duration; 2]) {
    let account = account::start_sized(120);
    account.set_behaviour("latency_ms", "15").unwrap();
    let lease = format!("lease_seconds = {lease_seconds}");
    let workplace =
        Workplace::new(&account, warehouse, &SERVICE.replace("lease_seconds = 2", &lease));
    let mut server = Server(Cluster::start().unwrap());
    let control = server.control();
    let mut serving = Running::start(server.command(&workplace, "serve"));
    for (round, length) in lengths.into_iter().enumerate() {
        if round > 0 {
            account::change(&account);
            control.start();
        }
        let run = control.until("a run", |run| run.state == RunState::Running);
        // It reads, and has committed nothing or something.
        serving.wait_for("State update");
        server.0.stop().unwrap();
        pause(length);
        server.0.restart().unwrap();
        let ended = control.succeeded();
        assert_eq!(ended.id, run.id);
    }
    serving.signal("TERM");
    let said = serving.wait().expect(143).stderr;
    assert!(said.contains("control store"), "nothing noticed that the store was away:\n{said}");
    truth::assert_equal(&account, warehouse);
    control.assert_loads(warehouse);
}

#[test]
fn a_store_that_comes_back_in_time_loses_nothing_from_duckdb() {
    let lengths = [Duration::from_millis(300), Duration::from_secs(2)];
    the_store_goes_away(&Warehouse::duckdb(), 45, lengths);
}

#[test]
fn a_store_that_comes_back_late_loses_nothing_from_postgres() {
    let lengths = [Duration::from_secs(4), Duration::from_secs(9)];
    the_store_goes_away(&Warehouse::postgres(), 2, lengths);
}

/// How a table changed stands nowhere in the destination: it waits until the store is back.
#[test]
fn changes_of_tables_wait_for_the_store() {
    let warehouse = Warehouse::duckdb();
    let workplace = saying(&warehouse);
    let mut server = Server(Cluster::start().unwrap());
    let control = server.control();
    say(&workplace, r#""amount":{"type":"integer"}"#, &[r#"{"id":1,"amount":10}"#]);
    let mut serving = Running::start(server.command(&workplace, "serve"));
    serving.wait_for("Started the tap");
    control.succeeded();
    // The tap says nothing until the store is away.
    let wait = "while [ ! -e go ]; do sleep 0.05; done\ncat messages.jsonl\n";
    fs::write(workplace.path().join("tap.sh"), wait).unwrap();
    say(
        &workplace,
        r#""amount":{"type":"integer"},"note":{"type":"string"}"#,
        &[r#"{"id":2,"note":"new"}"#],
    );
    control.start();
    control.until("a run", |run| run.state == RunState::Running);
    serving.wait_for("Started the tap");
    server.0.stop().unwrap();
    fs::write(workplace.path().join("go"), "").unwrap();
    serving.wait_for("A change of a table could not be written");
    server.0.restart().unwrap();
    control.succeeded();
    let told: Vec<_> = control
        .schema_events()
        .into_iter()
        .map(|event| (event.change, event.table_name, event.column_name))
        .collect();
    assert_eq!(told, [(SchemaChange::Added, "orders".to_owned(), "note".to_owned())]);
    serving.signal("TERM");
    serving.wait().expect(143);
}
