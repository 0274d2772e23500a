//! Other people's taps before our loader: our tables hold what theirs hold.

use std::{collections::BTreeMap, fs, path::Path};

use postgres_cluster::Cluster;
use serde_json::{Value, json};

use crate::{
    contents::{assert_same, bag, flat},
    peers::{loaded_from, peer},
    programs::{Running, Workplace},
    warehouse::Warehouse,
};

const SHOP: &str = r#"
create schema shop;
create table shop.orders (
    id bigint primary key, customer text not null, note text, total numeric(20,4), big numeric, paid boolean,
    placed timestamptz, due date, at_time time, tags text[], detail jsonb, ref uuid, small smallint, born timestamp
);
insert into shop.orders values
    (1, 'Ada', E'line\nback\\slash\t"quote", comma', 12345.6789, 12345678901234567890.123456789, true,
     '2026-01-02 03:04:05.123456+02', '2026-02-03', '23:59:59', '{a,"b c","\"","\\"}', '{"size": "L", "gift": true}',
     '00000000-0000-0000-0000-00000000000a', 3, '1999-12-31 23:59:59.999999'),
    (2, '', null, -0.0001, null, false, null, '0001-01-01', null, '{}', null, null, null, '0001-01-01 00:00:00'),
    (9223372036854775807, U&'\00e9', U&'e\0301', null, 0, null, '2026-12-31 23:59:59.999999+00', '2026-12-31',
     '00:00:00.000001', null, '{"size": null}', 'ffffffff-ffff-ffff-ffff-ffffffffffff', -32768, null);
create table shop.events (id int primary key, updated timestamptz not null, what text);
insert into shop.events
    select i, timestamptz '2026-01-01 00:00:00+00' + i * interval '1 minute', 'event ' || i from generate_series(1, 500) i;
create table shop.log (line text, number int);
insert into shop.log select 'line ' || i / 2, i / 2 from generate_series(1, 21) i;
"#;

const CHANGES: &str = r#"
update shop.orders set note = 'changed', tags = '{z}' where id = 1;
delete from shop.orders where id = 2;
insert into shop.orders (id, customer) values (3, 'Grace'), (4, 'Edsger');
update shop.events set what = 'again', updated = '2026-06-01 00:00:00+00' where id <= 40;
insert into shop.events values (501, '2026-06-02 00:00:00+00', 'new');
insert into shop.log values ('line 0', 0);
"#;

#[test]
fn pipelinewise_tap_postgres_is_loaded_into_duckdb() {
    pipelinewise_tap_postgres_is_loaded(&Cluster::start().unwrap(), &Warehouse::duckdb());
}

#[test]
fn pipelinewise_tap_postgres_is_loaded_into_postgres() {
    pipelinewise_tap_postgres_is_loaded(&Cluster::start().unwrap(), &Warehouse::postgres());
}

fn pipelinewise_tap_postgres_is_loaded(source: &Cluster, warehouse: &Warehouse) {
    source.query(SHOP).unwrap();
    let workplace = Workplace::with_configuration("").with_environment(warehouse.password());
    let config = json!({
        "host": "127.0.0.1",
        "port": source.port(),
        "user": "backstitch",
        "password": source.password(),
        "dbname": "postgres",
        "filter_schemas": "shop",
    });
    fs::write(workplace.path().join("tap.json"), config.to_string()).unwrap();
    let tap = peer("pipelinewise", "tap-postgres");
    let run = |arguments: &[&str]| {
        let arguments = [&["--config", "tap.json"], arguments].concat();
        Running::start(workplace.command_of(&tap, &arguments)).wait().expect(0)
    };
    let catalog = selected(&run(&["--discover"]).json());
    fs::write(workplace.path().join("catalog.json"), catalog.to_string()).unwrap();
    let messages = workplace.path().join("messages.jsonl");

    fs::write(&messages, run(&["--properties", "catalog.json"]).stdout).unwrap();
    let loaded = loaded_from(&workplace, warehouse, "copy", &messages).expect(0);
    holds_the_shop(source, warehouse);

    source.query(CHANGES).unwrap();
    fs::write(workplace.path().join("state.json"), loaded.stdout.lines().last().unwrap()).unwrap();
    let again = run(&["--properties", "catalog.json", "--state", "state.json"]);
    fs::write(&messages, again.stdout).unwrap();
    loaded_from(&workplace, warehouse, "copy", &messages).expect(0);
    holds_the_shop(source, warehouse);
}

/// Everything selected, the events from where they were left.
fn selected(catalog: &Value) -> Value {
    let mut catalog = catalog.clone();
    for stream in catalog["streams"].as_array_mut().unwrap() {
        let is_incremental = stream["table_name"] == "events";
        for entry in stream["metadata"].as_array_mut().unwrap() {
            let is_stream = entry["breadcrumb"].as_array().is_some_and(Vec::is_empty);
            let metadata = entry["metadata"].as_object_mut().unwrap();
            metadata.insert("selected".to_owned(), true.into());
            if is_stream && is_incremental {
                metadata.insert("replication-method".to_owned(), "INCREMENTAL".into());
                metadata.insert("replication-key".to_owned(), "updated".into());
            } else if is_stream {
                metadata.insert("replication-method".to_owned(), "FULL_TABLE".into());
            }
        }
    }
    catalog
}

#[track_caller]
fn holds_the_shop(source: &Cluster, warehouse: &Warehouse) {
    assert_eq!(warehouse.rejected("copy"), BTreeMap::new());
    let found = warehouse.contents("copy", &BTreeMap::new());
    for table in ["orders", "events", "log"] {
        let lines = source
            .query(&format!("set timezone to 'UTC'; select row_to_json(t) from shop.{table} t"))
            .unwrap();
        let rows = lines.lines().map(|line| flat(&serde_json::from_str(line).unwrap()));
        let name = format!("shop-{table}");
        assert_same(&name, &bag(rows), &found[&name]);
    }
}

/// What the tap in this folder is to send: hostile texts, numbers that no float holds, dates at the edges.
fn orders() -> Vec<Value> {
    let texts = [
        "",
        " ",
        "\\",
        "\"",
        "\\n",
        "line\nline\r\n\ttab",
        "'; drop table orders; --",
        "\u{feff}mark",
        "e\u{301}",
        "\u{1F9F5}",
    ];
    let order = |(number, text): (usize, &&str)| {
        json!({
            "id": number,
            "updated_at": format!("2026-03-01T00:00:{number:02}.5+02:00"),
            "text": text,
            "amount": serde_json::from_str::<Value>(&format!("1234567890{number}.000000001")).unwrap(),
            "tags": vec![text; number % 3],
            "customer": {"name": text, "vip": number % 2 == 0},
            "note": if number % 2 == 0 { Value::Null } else { (*text).into() },
        })
    };
    texts.iter().enumerate().map(order).collect()
}

#[test]
fn a_tap_of_singer_sdk_is_loaded_into_duckdb() {
    a_tap_of_singer_sdk_is_loaded(&Warehouse::duckdb());
}

#[test]
fn a_tap_of_singer_sdk_is_loaded_into_postgres() {
    a_tap_of_singer_sdk_is_loaded(&Warehouse::postgres());
}

fn a_tap_of_singer_sdk_is_loaded(warehouse: &Warehouse) {
    let workplace = Workplace::with_configuration("").with_environment(warehouse.password());
    let place = |name: &str| workplace.path().join(name);
    let put = |orders: &[Value]| {
        let lines: String = orders.iter().map(|order| format!("{order}\n")).collect();
        fs::write(place("orders.jsonl"), lines).unwrap();
    };
    fs::write(place("tap.json"), json!({ "path": place("orders.jsonl") }).to_string()).unwrap();
    let python = peer("singer-sdk", "python");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/tap_orders.py");
    let run = |arguments: &[&str]| {
        let arguments = [&[program.to_str().unwrap(), "--config", "tap.json"], arguments].concat();
        let output = Running::start(workplace.command_of(&python, &arguments)).wait().expect(0);
        fs::write(place("messages.jsonl"), output.stdout).unwrap();
        loaded_from(&workplace, warehouse, "copy", &place("messages.jsonl")).expect(0)
    };
    let holds = |orders: &[Value]| {
        assert_eq!(warehouse.rejected("copy"), BTreeMap::new());
        let rows = orders.iter().map(|order| flat(order.as_object().unwrap()));
        assert_same("orders", &bag(rows), &warehouse.contents("copy", &BTreeMap::new())["orders"]);
    };
    let mut orders = orders();
    put(&orders);
    let loaded = run(&[]);
    holds(&orders);

    orders[1]["text"] = "changed".into();
    orders[1]["tags"] = json!([]);
    orders[1]["updated_at"] = "2026-03-02T00:00:00Z".into();
    put(&orders);
    fs::write(place("state.json"), loaded.stdout.lines().last().unwrap()).unwrap();
    run(&["--state", "state.json"]);
    holds(&orders);
}
