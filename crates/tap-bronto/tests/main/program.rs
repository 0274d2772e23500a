//! The program itself: what it prints, where, and how it ends.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use bronto_sim::{ClockMode, FieldChange, RunningServer, Server, SimConfig, TokenGrant};
use serde_json::{Value, json};
use singer::{Message, Metric};
use tempfile::TempDir;

/// A token to look for in everything that is written.
const TOKEN: &str = "7E57ED00-TOKEN-4444-MARKER";

/// A simulated account, a folder for files, and the program to run on them.
struct Tap {
    server: RunningServer,
    folder: TempDir,
    config: Value,
}

/// What a run of the program left behind.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Tap {
    fn start(behaviours: &[(&str, &str)]) -> Self {
        let mut config = SimConfig {
            clock: ClockMode::Frozen,
            contacts: 200,
            inbound: 300,
            outbound: 200,
            tokens: vec![TokenGrant::reading(TOKEN)],
            ..SimConfig::default()
        };
        for (name, value) in behaviours {
            config = config.with_behaviour(*name, *value);
        }
        let server = Server::start_blocking(&config).unwrap();
        server.advance_seconds(600);
        let config = json!({
            "token": TOKEN,
            "endpoint": server.endpoint(),
            "start_date": "2025-11-01T00:00:00Z",
            "max_retries": 0,
        });
        Self { server, folder: TempDir::new().unwrap(), config }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tap-bronto"));
        command.args(arguments).env_remove("LOGLEVEL");
        command
    }

    /// Runs with the configuration and these further arguments.
    fn run(&self, arguments: &[&str]) -> Ran {
        let config = self.file("config.json", &self.config.to_string());
        let mut command = self.command(&["--config", config.to_str().unwrap()]);
        Ran::of(command.args(arguments).output().unwrap())
    }

    fn run_with_file(&self, flag: &str, content: &str) -> Ran {
        let file = self.file("given.json", content);
        self.run(&[flag, file.to_str().unwrap()])
    }

    fn spawn(&self) -> Child {
        let config = self.file("config.json", &self.config.to_string());
        let mut command = self.command(&["--config", config.to_str().unwrap()]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

impl Ran {
    fn of(output: Output) -> Self {
        let ran = Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!ran.stdout.contains(TOKEN) && !ran.stderr.contains(TOKEN), "the token is shown");
        ran
    }

    /// Ended with a code, a CRITICAL line with `message`, and nothing on standard output.
    fn assert_refused(&self, code: i32, message: &str) {
        assert_eq!(self.code, code, "{}", self.stderr);
        let found =
            self.stderr.lines().any(|line| line.starts_with("CRITICAL ") && line.contains(message));
        assert!(found, "`{message}` is not in:\n{}", self.stderr);
        assert!(self.stderr.contains("CRITICAL What to do: "), "{}", self.stderr);
    }

    /// The last state.
    fn state(&self) -> Value {
        let last =
            self.stdout.lines().rfind(|line| line.starts_with("{\"type\":\"STATE\"")).unwrap();
        serde_json::from_str::<Value>(last).unwrap()["value"].clone()
    }

    /// How many records there are by stream, every line being a valid message.
    fn records(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for line in self.stdout.lines() {
            if let Message::Record(record) = Message::parse(line).unwrap() {
                *counts.entry(record.stream.into_owned()).or_default() += 1;
            }
        }
        counts
    }

    /// The columns of a stream.
    fn schema_of(&self, stream: &str) -> serde_json::Map<String, Value> {
        let mut schemas =
            self.stdout.lines().filter_map(|line| match Message::parse(line).unwrap() {
                Message::Schema(schema) if schema.stream == stream => Some(schema.schema),
                _ => None,
            });
        let schema = schemas.next_back().unwrap_or_else(|| panic!("{}", self.stderr));
        schema["properties"].as_object().unwrap().clone()
    }

    fn kinds(&self) -> Vec<&str> {
        self.stdout.lines().map(|line| line.split('"').nth(3).unwrap()).collect()
    }
}

#[test]
fn a_sync_speaks_singer() {
    let tap = Tap::start(&[]);
    let ran = tap.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.kinds().last(), Some(&"STATE"));
    let counts = ran.records();
    let truth = |table| tap.server.truth(table).len();
    assert_eq!(counts["contact"], truth(bronto_sim::Table::Contact));
    assert_eq!(counts["inbound_activity"], truth(bronto_sim::Table::InboundActivity));
    assert_eq!(counts["outbound_activity"], truth(bronto_sim::Table::OutboundActivity));
    assert_eq!(counts["list"], truth(bronto_sim::Table::List));
    assert_eq!(counts["unsubscribe"], truth(bronto_sim::Table::Unsubscribe));
    let mut known = BTreeMap::new();
    for line in ran.stdout.lines() {
        match Message::parse(line).unwrap() {
            Message::Schema(schema) => {
                assert!(!schema.keys().is_empty());
                known.insert(schema.stream, schema.schema["properties"].as_object().unwrap().len());
            }
            Message::Record(record) => {
                let row: serde_json::Map<String, Value> =
                    serde_json::from_str(record.record.get()).unwrap();
                assert_eq!(
                    row.len(),
                    known[record.stream.as_ref()],
                    "every column of the schema, absent ones null"
                );
                assert!(record.time_extracted.is_some());
                assert_eq!(record.version.is_some(), record.stream == "list");
            }
            _ => {}
        }
    }
    assert_eq!(known.len(), 5);
    assert_eq!(ran.kinds().iter().filter(|kind| **kind == "ACTIVATE_VERSION").count(), 1);
}

#[test]
fn a_catalog_chooses_full_tables() {
    let mut tap = Tap::start(&[]);
    let asking = |tap: &Tap, stream: &str, method: &str| {
        let mut catalog: Value = serde_json::from_str(&tap.run(&["--discover"]).stdout).unwrap();
        for entry in catalog["streams"].as_array_mut().unwrap() {
            let name = entry["stream"].as_str().unwrap().to_owned();
            let mark = &mut entry["metadata"][0]["metadata"];
            mark["selected"] = ["contact", stream].contains(&name.as_str()).into();
            if name == stream {
                mark["replication-method"] = method.into();
            }
        }
        tap.run_with_file("--catalog", &catalog.to_string())
    };
    let ran = asking(&tap, "contact", "FULL_TABLE");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let mut records = Vec::new();
    let mut activated = None;
    for line in ran.stdout.lines() {
        match Message::parse(line).unwrap() {
            Message::Record(record) => records.push(record.version),
            Message::ActivateVersion { version, .. } => activated = Some(version),
            _ => {}
        }
    }
    assert_eq!(records.len(), tap.server.truth(bronto_sim::Table::Contact).len());
    assert!(activated.is_some() && records.iter().all(|version| *version == activated));
    asking(&tap, "list", "INCREMENTAL")
        .assert_refused(2, "as replication method of `list`: Bronto has no date");
    asking(&tap, "inbound_activity", "FULL_TABLE").assert_refused(2, "the last 30 days only");
    // By default it begins a year ago, and in a target rows would go as time passes.
    tap.config.as_object_mut().unwrap().remove("start_date");
    asking(&tap, "contact", "FULL_TABLE").assert_refused(2, "needs `start_date`");
    assert_eq!(asking(&tap, "contact", "INCREMENTAL").code, 0);
}

#[test]
fn money_keeps_its_digits_and_times_have_one_form() {
    let tap = Tap::start(&[]);
    let ran = tap.run(&[]);
    let truth = tap.server.truth(bronto_sim::Table::Contact);
    let with_zero = truth.iter().find(|row| {
        row.get("lastOrderTotal").is_some_and(|total| {
            total.as_str().is_some_and(|text| text.ends_with('0') && text.contains('.'))
        })
    });
    let contact = with_zero.unwrap();
    let id = format!("\"id\":{}", contact["id"]);
    let line = ran
        .stdout
        .lines()
        .find(|line| line.contains("\"stream\":\"contact\"") && line.contains(&id))
        .unwrap();
    let total = format!("\"lastOrderTotal\":{},", contact["lastOrderTotal"].as_str().unwrap());
    assert!(line.contains(&total), "{total} is not in {line}");
    let modified = line.split("\"modified\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!((modified.len(), modified.ends_with('Z')), (27, true), "{modified}");
}

#[test]
fn the_log_is_singers_and_its_metrics_add_up() {
    let tap = Tap::start(&[]);
    let ran = tap.run(&[]);
    let levels = ["INFO ", "WARNING ", "ERROR ", "DEBUG ", "CRITICAL "];
    assert!(
        ran.stderr.lines().all(|line| levels.iter().any(|level| line.starts_with(level))),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains(
        "INFO State update: adding bookmarks.contact.modified = \"2026-11-23T13:08:00Z\""
    ));
    assert!(
        ran.stderr
            .lines()
            .any(|line| line.starts_with("WARNING inbound_activity can't be read from 2025-11-01"))
    );
    let metrics: Vec<Metric> = ran.stderr.lines().filter_map(Metric::parse_line).collect();
    let sum = |name: &str| -> u64 {
        let counters = metrics.iter().filter(|metric| metric.name() == name);
        counters
            .map(|metric| match metric.value() {
                singer::metric::MetricValue::Counter(value) => value,
                singer::metric::MetricValue::Timer(_) => 0,
            })
            .sum()
    };
    assert_eq!(sum("record_count"), ran.records().values().sum::<usize>() as u64);
    assert_eq!(sum("http_request_count"), tap.server.stats().all_requests());
    let job = metrics.iter().find(|metric| metric.name() == "job_duration").unwrap();
    assert_eq!(job.tag_value("status"), Some("succeeded"));
}

#[test]
fn the_last_state_is_accepted_back_and_further_keys_stay() {
    let tap = Tap::start(&[]);
    let mut state = tap.run(&[]).state();
    state["mine"] = json!({"a": 1.10});
    state["bookmarks"]["contact"]["note"] = json!("x");
    state["currently_syncing"] = json!("contact");
    let again = tap.run_with_file("--state", &state.to_string());
    assert_eq!(again.code, 0, "{}", again.stderr);
    let counts = again.records();
    assert_eq!((counts.get("contact"), counts["list"]), (None, 25));
    assert!(
        again.stderr.contains("INFO found current bookmark for contact:  2026-11-23T13:08:00Z")
    );
    let last = again.state();
    assert_eq!((&last["mine"], &last["currently_syncing"]), (&state["mine"], &Value::Null));
    assert_eq!(last["bookmarks"]["contact"], state["bookmarks"]["contact"]);
}

#[test]
fn the_python_taps_state_is_read() {
    let mut tap = Tap::start(&[]);
    let state = json!({"bookmarks": {
        "contact": {"field": "modified", "last_record": "2026-11-20T00:00:00Z"},
        "inbound_activity": {"field": "createdDate", "last_record": "2026-11-20T00:00:00Z"},
    }});
    let refused = tap.run_with_file("-s", &state.to_string());
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("The ids of `inbound_activity` were made as `compatible`"));
    tap.config["activity_id"] = "compatible".into();
    let ran = tap.run_with_file("-s", &state.to_string());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.records()["contact"] < 200);
    assert_eq!(tap.run_with_file("-s", "").code, 0, "an empty file is an empty state");
}

#[test]
fn discovery_is_deterministic_and_accepted_back() {
    let tap = Tap::start(&[]);
    let (one, two) = (tap.run(&["--discover"]), tap.run(&["-d"]));
    assert_eq!((one.code, &one.stdout), (0, &two.stdout));
    assert_eq!(tap.server.stats().all_requests(), 6, "a login, and the custom fields");
    let ran = tap.run_with_file("--catalog", &one.stdout);
    assert_eq!((ran.code, ran.records().len()), (0, 5), "{}", ran.stderr);
    let all: Value = serde_json::from_str(&tap.run(&["-d", "--select-all"]).stdout).unwrap();
    assert_eq!(all["streams"][0]["metadata"][0]["metadata"]["selected"], true);
}

#[test]
fn custom_fields_are_offered_and_can_be_left_out() {
    let tap = Tap::start(&[]);
    let mut catalog: Value = serde_json::from_str(&tap.run(&["-d"]).stdout).unwrap();
    let contact = &mut catalog["streams"][0];
    let points = contact["schema"]["properties"]["loyalty_points"].clone();
    let description = "Custom field of type integer: Loyalty points";
    assert_eq!(points, json!({"type": ["null", "number"], "description": description}));
    let places = contact["metadata"].as_array_mut().unwrap();
    let id = tap.server.custom_fields()[3].id.clone();
    for place in places.iter_mut().filter(|place| place["breadcrumb"][1] == "loyalty_points") {
        assert_eq!(place["metadata"]["bronto-field-id"], id.as_str());
        place["metadata"]["selected"] = false.into();
    }
    // A new name doesn't matter to a catalog, and neither do fields that came or went.
    let rename = |name: &str, to: &str| FieldChange::Rename { name: name.into(), to: to.into() };
    let add = FieldChange::Add { name: "size".into(), kind: "text".into() };
    let remove = FieldChange::Remove { name: "affinity".into() };
    tap.server.change_fields(&[rename("birthday", "born"), add, remove]).unwrap();
    let ran = tap.run_with_file("--catalog", &catalog.to_string());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let contacts = ran.schema_of("contact");
    let has = |name: &str| contacts.contains_key(name);
    assert!(has("born") && has("store_credit"), "{contacts:?}");
    assert!(!has("loyalty_points") && !has("size") && !has("affinity"), "{contacts:?}");
    assert!(
        ran.stderr.contains(
            "WARNING The custom field `affinity` is selected, but Bronto doesn't have it"
        )
    );
    assert_eq!(contacts["opt_in"], json!({"type": ["null", "boolean"]}));
    assert_eq!(contacts["store_credit"], json!({"type": ["null", "number"]}));
    // With the state, discovery shows the columns as they were fixed.
    tap.server.change_fields(&[rename("born", "date of birth")]).unwrap();
    let state = tap.file("state.json", &ran.state().to_string());
    let again = tap.run(&["-d", "--state", state.to_str().unwrap()]);
    let again: Value = serde_json::from_str(&again.stdout).unwrap();
    assert!(again["streams"][0]["schema"]["properties"].get("born").is_some());
    let everything = tap.run_with_file("-Sp", &catalog.to_string());
    assert!(everything.schema_of("contact").contains_key("size"), "{}", everything.stderr);
}

#[test]
fn a_column_that_no_contact_has_is_refused_with_the_nearest() {
    let tap = Tap::start(&[]);
    let catalog = json!({"streams": [{"stream": "contact", "schema": {"properties": {"loyalty_point": {}}}}]});
    let ran = tap.run_with_file("--catalog", &catalog.to_string());
    let message = "Stream `contact` has no column `loyalty_point`; did you mean `loyalty_points`?";
    ran.assert_refused(2, message);
    assert_eq!(ran.records().len(), 0);
}

#[test]
fn discovery_needs_the_account_unless_none_is_named() {
    let tap = Tap::start(&[("fail_next", "http503:1:readFields")]);
    let down = tap.run(&["--discover"]);
    down.assert_refused(4, "503");
    assert_eq!(down.stdout, "");
    let refused = Tap::start(&[("login_fault", "102")]).run(&["--discover"]);
    refused.assert_refused(3, "102");
    let offline = Ran::of(tap.command(&["--discover"]).output().unwrap());
    assert_eq!(offline.code, 0);
    assert!(offline.stderr.contains("WARNING Without `--config`"), "{}", offline.stderr);
    assert!(!offline.stdout.contains("loyalty_points"));
}

#[test]
fn the_selection_decides() {
    let tap = Tap::start(&[]);
    let mut catalog: Value = serde_json::from_str(&tap.run(&["-d"]).stdout).unwrap();
    for stream in catalog["streams"].as_array_mut().unwrap() {
        stream["metadata"][0]["metadata"]["selected"] = (stream["stream"] == "list").into();
    }
    let label = catalog["streams"][3]["metadata"].as_array_mut().unwrap();
    for place in label {
        if place["breadcrumb"] == json!(["properties", "label"]) {
            place["metadata"]["selected"] = false.into();
        }
    }
    let ran = tap.run_with_file("--properties", &catalog.to_string());
    assert_eq!((ran.code, ran.records()), (0, BTreeMap::from([("list".to_owned(), 25)])));
    assert!(!ran.stdout.contains("\"label\""));
    catalog["streams"][3]["metadata"][0]["metadata"]["selected"] = false.into();
    let nothing = tap.run_with_file("--catalog", &catalog.to_string());
    nothing.assert_refused(2, "The catalog selects no stream");
    assert_eq!(nothing.stdout, "");
}

#[test]
fn bad_input_is_named() {
    let tap = Tap::start(&[]);
    let stream = |text: &str| format!(r#"{{"streams": [{text}]}}"#);
    for (flag, content, message) in [
        ("--catalog", "{", "The catalog is not valid JSON"),
        ("--catalog", "{}", "no list `streams`"),
        ("--catalog", &stream(r#"{"stream": "contcat", "schema": {}}"#), "did you mean `contact`?"),
        (
            "--catalog",
            &stream(r#"{"stream": "list", "schema": {"properties": {"labell": {}}}}"#),
            "Stream `list` has no field `labell`; did you mean `label`?",
        ),
        ("--state", "[1]", "The state is not a JSON object"),
        (
            "--state",
            r#"{"bookmarks": {"contact": {"last_record": "yesterday"}}}"#,
            "`last_record` in the state of `contact`",
        ),
        ("--config", "nonsense", "The configuration is not valid JSON"),
        ("--config", r#"{"token": null}"#, "`token` is missing"),
        (
            "--config",
            r#"{"start_date": "2026-01-02"}"#,
            "`start_date` is not an RFC 3339 date-time",
        ),
        ("--config", r#"{"endpoint": "http://api.bronto.com/v4"}"#, "sends the token unencrypted"),
    ] {
        let ran = tap.run_with_file(flag, content);
        ran.assert_refused(2, message);
        assert_eq!(ran.stdout, "", "{flag} {content}");
    }
    tap.run(&["--state", "/nowhere/state.json"])
        .assert_refused(2, "The state `/nowhere/state.json` can't be read");
    assert_eq!(tap.run(&["--bogus"]).code, 2);
    assert_eq!(tap.server.stats().all_requests(), 0, "nothing was asked of the account");
}

#[test]
fn settings_come_from_the_environment_and_unknown_ones_warn() {
    let tap = Tap::start(&[]);
    let mut command = tap.command(&["--check", "--config", "ENV"]);
    command.env("TAP_BRONTO_TOKEN", TOKEN).env("TAP_BRONTO_ENDPOINT", tap.server.endpoint());
    let ran = Ran::of(command.env("TAP_BRONTO_SETLE_SECONDS", "1").output().unwrap());
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("did you mean `TAP_BRONTO_SETTLE_SECONDS`?"), "{}", ran.stderr);
    assert!(ran.stderr.contains("INFO Check: read unsubscribe: permitted"), "{}", ran.stderr);
}

#[test]
fn failures_of_the_source_have_their_codes() {
    let mut tap = Tap::start(&[]);
    tap.config["token"] = "no such token".replace(' ', "-").into();
    tap.run(&[]).assert_refused(3, "102");
    tap.run(&["--check"]).assert_refused(3, "log in");
    tap.config["token"] = TOKEN.into();
    tap.config["endpoint"] = "http://127.0.0.1:1/v4".into();
    tap.run(&[]).assert_refused(4, "`127.0.0.1` could not be reached");

    let html = Tap::start(&[("html_rate", "1")]);
    html.run(&[]).assert_refused(4, "answered with something that can not be used");
    let truncated = Tap::start(&[("fail_next", "truncated:1:readLists")]);
    let ran = truncated.run(&[]);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert!(ran.state()["bookmarks"].get("list").is_none(), "the list was not read whole");
}

#[test]
fn unsubscriptions_that_share_a_key_are_all_emitted() {
    let tap = Tap::start(&[]);
    let ran = tap.run(&[]);
    let shared = {
        let mut by_key: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for row in tap.server.truth(bronto_sim::Table::Unsubscribe) {
            let key =
                format!("{} {:?} {}", row["contactId"], row.get("deliveryId"), row["created"]);
            by_key.entry(key).or_default().push(Value::Object(row));
        }
        by_key.values().any(|rows| rows.iter().any(|row| *row != rows[0]))
    };
    assert!(shared, "the account has such rows");
    assert!(
        ran.stderr.contains("unsubscriptions share contactId, deliveryId and created"),
        "{}",
        ran.stderr
    );
}

#[test]
fn signals_end_the_run_with_a_true_state() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut tap = Tap::start(&[("latency_ms", "300")]);
        // One stream after the other: when the first state is out, most of the account is still to be read.
        tap.config["concurrency"] = 1.into();
        let mut child = tap.spawn();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let (mut stdout, mut line) = (String::new(), String::new());
        while !line.contains("\"STATE\"") {
            line.clear();
            assert_ne!(reader.read_line(&mut line).unwrap(), 0);
            stdout.push_str(&line);
        }
        // From here on an answer takes so long that the signal comes first.
        tap.server.set_behaviour("latency_ms", "1500").unwrap();
        let killed =
            Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        std::io::Read::read_to_string(&mut reader, &mut stdout).unwrap();
        let mut output = child.wait_with_output().unwrap();
        output.stdout = stdout.into_bytes();
        let ran = Ran::of(output);
        ran.assert_refused(code, "The run was interrupted");
        assert_eq!(ran.kinds().last(), Some(&"STATE"));
        // What is left is read by the next run.
        tap.server.set_behaviour("latency_ms", "0").unwrap();
        let rest = tap.run_with_file("--state", &ran.state().to_string());
        let total = |stream: &str| {
            [&ran, &rest]
                .map(|run| run.records().get(stream).copied().unwrap_or_default())
                .iter()
                .sum::<usize>()
        };
        assert!(total("contact") >= 200 && total("inbound_activity") >= 300);
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    let mut tap = Tap::start(&[]);
    tap.config["page_size"] = 1000.into();
    let mut child = tap.spawn();
    drop(child.stdout.take());
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(!ran.stderr.contains("CRITICAL") && !ran.stderr.contains("panicked"), "{}", ran.stderr);
}

#[test]
fn about_and_version_need_no_configuration() {
    let tap = Tap::start(&[]);
    let output = |arguments: &[&str]| Ran::of(tap.command(arguments).output().unwrap());
    let version = output(&["--version"]);
    assert_eq!(
        (version.code, version.stdout.trim()),
        (0, concat!("tap-bronto ", env!("CARGO_PKG_VERSION")))
    );
    let about: Value =
        serde_json::from_str(&output(&["--about", "--format", "json"]).stdout).unwrap();
    assert_eq!(about["settings"]["required"], json!(["token"]));
    assert!(output(&["--about"]).stdout.starts_with("# tap-bronto "));
    assert_eq!(output(&["--discover"]).code, 0);
    let mut closed = tap.command(&["--discover"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(closed.stdout.take());
    assert_eq!(closed.wait().unwrap().code(), Some(5));
    std::io::stdout().flush().unwrap();
}
