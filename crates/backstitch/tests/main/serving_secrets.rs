//! What a Singer tap is given through the service's file: sealed at rest, however deep it lies, and never taken without a
//! key.

use std::{fs, path::Path};

use postgres_cluster::Cluster;

use crate::{
    peers::peer,
    programs::{INTEGRATION, Running, Workplace},
    serving::{Control, SERVICE, terminate},
    serving_kills::Server,
    warehouse::{SCHEMA, Warehouse},
};

/// Starts all that is secret here.
const MARKER: &str = "MARKER-7f3a9c";

/// The counting tap with secrets in its settings, and a service with a key.
fn workplace(warehouse: &Warehouse) -> Workplace {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/tap_counter.py");
    let workplace = Workplace::with_configuration(&format!(
        "[integration.\"{INTEGRATION}\"]\n\
         source = {{ type = \"singer\", account = \"counter\", command = [\"{}\", \"{}\"], config = {{ last = 5, \
         password = \"{MARKER}-1\", db = {{ auth = {{ user = \"{MARKER}-2\", pins = [\"{MARKER}-3\"] }} }}, \
         headers = [{{ name = \"X-Key\", value = \"{MARKER}-4\" }}] }} }}\n\
         destination = \"{}\"\n{SERVICE}key_file = \"service.key\"\n",
        peer("singer-sdk", "python").display(),
        script.display(),
        warehouse.address(),
    ));
    workplace.run(&["key", "new", "service.key"]).expect(0);
    workplace
}

fn rows(warehouse: &Warehouse) -> i64 {
    warehouse.number(&format!("select count(*) from {SCHEMA}.keyed"))
}

fn holds_a_marker(place: &[u8]) -> bool {
    place.windows(MARKER.len()).any(|part| part == MARKER.as_bytes())
}

#[test]
fn what_a_tap_is_given_is_sealed_in_sqlite() {
    let warehouse = Warehouse::duckdb();
    let workplace = workplace(&warehouse);
    let control = Control::of(&workplace);
    let mut serving = Running::start(workplace.command(&["serve"]));
    serving.wait_for("Ready");
    control.succeeded();
    let said = terminate(serving);
    assert_eq!(rows(&warehouse), 5);
    for place in [said.as_bytes(), &control.bytes()] {
        assert!(!holds_a_marker(place));
    }
    assert_eq!(control.secrets().len(), 1);
    assert!(fs::metadata(workplace.path().join("backstitch-data/control.db")).unwrap().len() > 0);
}

#[test]
fn what_a_tap_is_given_is_sealed_in_postgres() {
    let warehouse = Warehouse::duckdb();
    let workplace = workplace(&warehouse);
    let server = Server(Cluster::start().unwrap());
    let control = server.control();
    let mut serving = Running::start(server.command(&workplace, "serve"));
    serving.wait_for("Ready");
    control.succeeded();
    terminate(serving);
    assert_eq!(rows(&warehouse), 5);
    let tables =
        "select table_name from information_schema.tables where table_schema = 'backstitch'";
    let tables = server.0.query(tables).unwrap();
    let dump =
        |table| server.0.query(&format!("select t::text from backstitch.{table} t")).unwrap();
    let held: String = tables.lines().map(dump).collect();
    assert!(held.contains("counter") && !holds_a_marker(held.as_bytes()), "{held}");
}

#[test]
fn without_a_key_it_is_refused_and_what_was_there_goes_on() {
    let warehouse = Warehouse::duckdb();
    let workplace = workplace(&warehouse);
    let file = workplace.path().join("backstitch.toml");
    let with_secrets = fs::read_to_string(&file).unwrap();
    let (before, secrets) = with_secrets.split_once(" password = ").unwrap();
    let (_, after) = secrets.split_once("}] } }").unwrap();
    let keyless = |text: &str| text.replace("key_file = \"service.key\"\n", "");
    let reference = "password = { env = \"COUNTER_PASSWORD\" } } }";
    fs::write(&file, keyless(&format!("{before} {reference}{after}"))).unwrap();
    let control = Control::of(&workplace);
    let start = || {
        let mut command = workplace.command(&["serve"]);
        command.env("COUNTER_PASSWORD", format!("{MARKER}-5"));
        let mut serving = Running::start(command);
        serving.wait_for("Ready");
        serving
    };
    let serving = start();
    control.succeeded();
    terminate(serving);
    let known = control.integration().unwrap();

    fs::write(&file, keyless(&with_secrets)).unwrap();
    let serving = start();
    control.start();
    control.succeeded();
    let said = terminate(serving);
    assert!(said.contains("`config.password`") && said.contains("backstitch key new"), "{said}");
    assert!(!holds_a_marker(said.as_bytes()) && !holds_a_marker(&control.bytes()));
    // It is declared all the same, with what it had.
    let now = control.integration().unwrap();
    assert_eq!((now.paused, now.settings), (None, known.settings));
    assert_eq!(rows(&warehouse), 5);
}
