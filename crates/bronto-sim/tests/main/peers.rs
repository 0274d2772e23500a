//! Foreign programs against the simulated server: what they make of it must be the truth.
//!
//! They run from virtual environments that `cargo xtask setup` creates from the requirements in
//! `tests/peers` at the root of the workspace. The folder of the environments is `peers` under the target
//! folder, or the one that `BACKSTITCH_PEERS` names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bronto_sim::{ClockMode, DEFAULT_TOKEN, Server, SimConfig, Table};
use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::soap::{Row, assert_same, canonical};

/// Runs a script of `tests/peers` with a peer's Python, and answers what it printed.
fn run(peer: &str, script: &str, arguments: &[&str]) -> String {
    let folder = std::env::var_os("BACKSTITCH_PEERS").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers"),
        PathBuf::from,
    );
    let python = folder.join(peer).join("bin/python");
    assert!(
        python.exists(),
        "The peer `{peer}` is not at `{}`: run `cargo xtask setup --tests`",
        python.display()
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(script);
    let output = Command::new(python)
        .arg(script)
        .args(arguments)
        .env_remove("PYTHONPATH")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONIOENCODING", "utf-8")
        .env("NO_PROXY", "*")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    let end = log.len().saturating_sub(4_000);
    assert!(output.status.success(), "{}", log.get(end..).unwrap_or(&log));
    String::from_utf8(output.stdout).unwrap()
}

/// A row without empty texts: zeep reads an empty element as no value.
fn without_empty_texts(row: Row) -> Row {
    let kept = |value: Value| match value {
        Value::Object(inner) => Value::Object(without_empty_texts(inner)),
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::Object(inner) => Value::Object(without_empty_texts(inner)),
                other => other,
            })
            .collect(),
        other => other,
    };
    row.into_iter()
        .filter(|(_, value)| value != "")
        .map(|(name, value)| (name, kept(value)))
        .collect()
}

#[tokio::test]
async fn zeep_walks_every_operation_and_gets_the_truth() {
    let config = SimConfig { clock: ClockMode::Frozen, contacts: 400, ..SimConfig::default() }
        .with_behaviour("page_maximum", "170")
        .with_behaviour("nil_rate", "0.2")
        .with_behaviour("compression", "on");
    let server = Server::start(config).await.unwrap();
    let wsdl = format!("{}?wsdl", server.endpoint());
    let (start, end) = ("2025-01-01T00:00:00+00:00", "2026-11-24T00:00:00+05:30");
    let printed = run("zeep", "zeep_walk.py", &[&wsdl, DEFAULT_TOKEN, start, end]);
    let mut rows: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for line in printed.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let row = line["row"].as_object().unwrap().clone();
        rows.entry(line["table"].as_str().unwrap().to_owned()).or_default().push(row);
    }
    for table in Table::ALL {
        let truth = server.truth(table).into_iter().map(without_empty_texts);
        let read = rows.remove(table.name()).unwrap_or_default();
        assert_same(table.name(), read.into_iter().map(without_empty_texts), truth);
    }
    let stats = server.stats();
    for operation in ["login", "logout", "readFields"] {
        assert!(stats.requests_of(operation) > 0, "{operation}");
    }
}

/// Columns that the Python tap never fills, each with the defect of its version 1.0.2.
const LOST_COLUMNS: &[(&str, &[&str])] = &[
    (
        "contact extras are never asked for: the arguments of `project` are swapped",
        &[
            "geoIPCity",
            "geoIPStateRegion",
            "geoIPZip",
            "geoIPCountry",
            "geoIPCountryCode",
            "primaryBrowser",
            "mobileBrowser",
            "primaryEmailClient",
            "mobileEmailClient",
            "operatingSystem",
            "firstOrderDate",
            "lastOrderDate",
            "lastOrderTotal",
            "totalOrders",
            "totalRevenue",
            "averageOrderValue",
            "lastDeliveryDate",
            "lastOpenDate",
            "lastClickDate",
        ],
    ),
    ("custom fields are never asked for", &["fields"]),
    ("segments are never asked for", &["segmentIds"]),
    (
        "columns that the API has and the tap's schemas lack",
        &["consentDate", "consentIp", "lastUnsubscribeDate", "webformType", "visibility"],
    ),
];

/// Date columns, from which the Python tap cuts the fraction.
const DATES: &[&str] = &["created", "modified", "createdDate", "deliveryStart"];

/// A row of the truth as the Python tap is known to write it.
fn with_known_defects(row: Row) -> Row {
    let lost = |name: &str| LOST_COLUMNS.iter().any(|(_, columns)| columns.contains(&name));
    without_empty_texts(row)
        .into_iter()
        .filter(|(name, _)| !lost(name))
        .map(|(name, value)| {
            let value = match value.as_str() {
                Some(text) if DATES.contains(&name.as_str()) => without_fraction(text).into(),
                _ => value,
            };
            (name, value)
        })
        .collect()
}

fn without_fraction(date: &str) -> String {
    let seconds = date.split('.').next().unwrap_or(date).trim_end_matches('Z');
    format!("{seconds}Z")
}

/// A record of the Python tap in the form of the truth.
fn as_truth(record: &Row) -> Row {
    let mut row = Row::new();
    for (name, value) in record {
        let value = match value {
            Value::Null => continue,
            Value::Array(items) if items.is_empty() => continue,
            Value::String(text) if text.is_empty() => continue,
            Value::String(text) if DATES.contains(&name.as_str()) => canonical(text).into(),
            Value::Number(number) => number.to_string().into(),
            other => other.clone(),
        };
        row.insert(name.clone(), value);
    }
    row
}

/// Selects everything in a discovered catalog.
fn select_all(catalog: &str) -> Value {
    let mut catalog: Value = serde_json::from_str(catalog).unwrap();
    for stream in catalog["streams"].as_array_mut().unwrap() {
        for entry in stream["metadata"].as_array_mut().unwrap() {
            entry["metadata"]["selected"] = Value::Bool(true);
        }
    }
    catalog
}

#[tokio::test]
async fn the_python_tap_reads_a_whole_account_but_for_its_known_defects() {
    // This tap takes the end of its windows from the machine's clock, so the account lives in the present.
    let now = Utc::now();
    let config = SimConfig {
        now,
        days: 4,
        contacts: 200,
        inbound: 800,
        outbound: 700,
        unsubscribes: 100,
        ..SimConfig::default()
    };
    let server = Server::start(config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, content.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let start = (now - chrono::Duration::days(5)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let config = file("config.json", &json!({"token": DEFAULT_TOKEN, "start_date": start}));
    let wsdl = format!("{}?wsdl", server.endpoint());
    let tap = |arguments: &[&str]| {
        let arguments = [&[wsdl.as_str(), "--config", config.as_str()], arguments].concat();
        run("tap-bronto", "python_tap.py", &arguments)
    };
    let catalog = file("catalog.json", &select_all(&tap(&["--discover"])));
    let printed = tap(&["--properties", catalog.as_str()]);

    let mut records: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for line in printed.lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        if message["type"] == "RECORD" {
            let record = message["record"].as_object().unwrap().clone();
            records.entry(message["stream"].as_str().unwrap().to_owned()).or_default().push(record);
        }
    }
    for table in Table::ALL {
        let read = records.get(table.name()).cloned().unwrap_or_default();
        let is_activity = matches!(table, Table::InboundActivity | Table::OutboundActivity);
        let rows = read.iter().map(as_truth).map(|mut row| {
            if is_activity {
                // Made up by the tap; the API has none.
                row.remove("id");
            }
            row
        });
        let truth = server.truth(table).into_iter().map(with_known_defects);
        assert_same(table.name(), rows, truth);
        if table == Table::InboundActivity {
            assert_ids_collide(&read);
        }
    }
}

/// The tap's digest leaves out deliveryId, linkUrl, orderId and more, so different rows get one id.
fn assert_ids_collide(records: &[Row]) {
    let ids: BTreeSet<String> = records.iter().map(|record| record["id"].to_string()).collect();
    let different: BTreeSet<String> =
        records.iter().map(|record| Value::Object(record.clone()).to_string()).collect();
    assert!(ids.len() < different.len(), "{} ids, {} rows", ids.len(), different.len());
}
