//! The target test streams that ship inside the `singer-sdk` package, read from the installed package: each loads or
//! fails as its own test there demands, and what is stored, or rejected with its reason, is what was sent.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::{
    contents::{Bag, assert_same, bag, flat, plain},
    peers::{loaded_from, peer},
    programs::{Ended, Workplace},
    warehouse::Warehouse,
};

/// What the streams' own tests want of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// That all is loaded.
    Loads,
    /// That the target ends with a failure. Ours says that the tap is at fault.
    Fails,
    /// That the row is not loaded. Ours is rejected, and the load goes on.
    Rejects,
}

/// The streams that are not simply to be loaded.
const EXCEPTIONS: [(&str, Demand); 3] = [
    ("invalid_schema", Demand::Fails),
    ("record_before_schema", Demand::Fails),
    ("record_missing_key_property", Demand::Rejects),
];

/// The streams that go on where another one ended.
const SEQUELS: [(&str, &str); 2] = [
    ("no_primary_keys", "no_primary_keys_append"),
    ("user_location_data", "user_location_upsert_data"),
];

/// The rows that the messages ask for, and the keys of their streams.
#[derive(Default)]
struct Asked {
    keys: BTreeMap<String, Vec<String>>,
    rows: BTreeMap<String, Vec<Map<String, Value>>>,
    states: Vec<Value>,
}

impl Asked {
    fn read(&mut self, file: &Path) {
        for line in fs::read_to_string(file).unwrap().lines().filter(|line| !line.trim().is_empty())
        {
            let message: Value = serde_json::from_str(line).unwrap();
            let stream = || message["stream"].as_str().unwrap().to_owned();
            match message["type"].as_str().unwrap() {
                "SCHEMA" => {
                    let key = message["key_properties"].as_array().cloned().unwrap_or_default();
                    let key = key.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
                    self.keys.insert(stream(), key);
                    self.rows.entry(stream()).or_default();
                }
                "RECORD" => {
                    let record = message["record"].as_object().unwrap().clone();
                    let key = &self.keys[&stream()];
                    let key_of = |row: &Map<String, Value>| -> Vec<Value> {
                        key.iter().map(|name| row.get(name).cloned().unwrap_or_default()).collect()
                    };
                    let rows = self.rows.get_mut(&stream()).unwrap();
                    if !key.is_empty() {
                        rows.retain(|row| key_of(row) != key_of(&record));
                    }
                    rows.push(record);
                }
                "STATE" => self.states.push(message["value"].clone()),
                other => panic!("a message of type {other}"),
            }
        }
    }
}

fn streams() -> Vec<PathBuf> {
    let python = peer("singer-sdk", "python");
    let library = python.parent().unwrap().with_file_name("lib");
    let version = fs::read_dir(library).unwrap().next().unwrap().unwrap().path();
    let folder = version.join("site-packages/singer_sdk/testing/target_test_streams");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "singer"))
        .collect();
    files.sort();
    assert!(files.len() >= 20, "{files:?}");
    files
}

fn name_of(file: &Path) -> String {
    file.file_stem().unwrap().to_string_lossy().into_owned()
}

#[test]
fn duckdb_loads_the_streams_of_singer_sdk() {
    loads_the_streams_of_singer_sdk(&Warehouse::duckdb());
}

#[test]
fn postgres_loads_the_streams_of_singer_sdk() {
    loads_the_streams_of_singer_sdk(&Warehouse::postgres());
}

#[track_caller]
fn loads_the_streams_of_singer_sdk(warehouse: &Warehouse) {
    let workplace = Workplace::with_configuration("").with_environment(warehouse.password());
    let files = streams();
    for file in &files {
        let name = name_of(file);
        if SEQUELS.iter().any(|(_, sequel)| *sequel == name) {
            continue;
        }
        let schema = format!("from_{name}");
        let load = |file: &Path| loaded_from(&workplace, warehouse, &schema, file);
        let demand = EXCEPTIONS.iter().find(|(exception, _)| *exception == name);
        let demand = demand.map_or(Demand::Loads, |(_, demand)| *demand);
        if demand == Demand::Fails {
            let ended = load(file).expect(3);
            assert!(ended.failure().contains("hint: "), "{name}: {}", ended.stderr);
            continue;
        }
        let mut asked = Asked::default();
        asked.read(file);
        relays(&name, &asked, &load(file).expect(0));
        holds(warehouse, &schema, &asked, demand);
        if let Some((_, sequel)) = SEQUELS.iter().find(|(first, _)| *first == name) {
            let file = file.with_file_name(format!("{sequel}.singer"));
            asked.read(&file);
            load(&file).expect(0);
            holds(warehouse, &schema, &asked, demand);
        }
    }
}

/// Every state came out, each once and in order.
#[track_caller]
fn relays(name: &str, asked: &Asked, ended: &Ended) {
    let states: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(states, asked.states, "{name}");
}

/// The tables hold what was asked, but for rows that were rejected for a reason.
#[track_caller]
fn holds(warehouse: &Warehouse, schema: &str, asked: &Asked, demand: Demand) {
    let found = warehouse.contents(schema, &asked.keys);
    let rejected = warehouse.rejected(schema);
    let mut rejects = 0;
    for (stream, rows) in &asked.rows {
        let named = |name: &&String| plain(name) == plain(stream);
        let table = found
            .keys()
            .find(named)
            .unwrap_or_else(|| panic!("{schema}: no table for `{stream}`: {found:?}"));
        let kept_out = rejected
            .iter()
            .find(|(name, _)| named(name))
            .map(|(_, rows)| rows.clone())
            .unwrap_or_default();
        for record in &kept_out {
            rejects += 1;
            let has_nul = Value::Object(record.clone()).to_string().contains("\\u0000");
            let lacks_key = asked.keys[stream].iter().any(|name| !record.contains_key(name));
            let is_bad = match demand {
                Demand::Rejects => lacks_key,
                // PostgreSQL has no place for this character.
                _ => has_nul && matches!(warehouse, Warehouse::Postgres(_)),
            };
            assert!(is_bad, "{schema}: {record:?} should not have been rejected");
        }
        let expected: Bag = bag(rows.iter().map(flat));
        let mut found = found[table].clone();
        for record in &kept_out {
            *found.entry(flat(record)).or_default() += 1;
        }
        assert_same(&format!("`{stream}` in {schema}"), &expected, &found);
    }
    assert_eq!(
        demand == Demand::Rejects,
        rejects > 0 && found.values().all(Bag::is_empty),
        "{schema}"
    );
}
