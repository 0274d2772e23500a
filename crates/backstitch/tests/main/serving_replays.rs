//! Replays and rewinds over HTTP: what they would do is told first, a run does it, and its report says what came of it.

use std::fs;

use serde_json::{Value, json};
use service::run::{Run, RunState};

use crate::{
    account,
    remote::{LINES, replicated},
    served::{Host, Served},
    serving::{Control, terminate},
    truth,
    warehouse::{SCHEMA, Warehouse},
};

/// Asks for something of the integration that there is, and answers what was told.
#[track_caller]
fn told(served: &Served, control: &Control, what: &str, body: &Value) -> Value {
    let path = format!("/api/v1/integrations/{}/{what}", control.integration().unwrap().id);
    let (status, answer) = served.call("POST", &path, Some(body));
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str(&answer).unwrap()
}

/// Asks for something, confirms it, and answers what was told, and the run that did it with its report.
#[track_caller]
fn done(served: &Served, control: &Control, what: &str, body: &Value) -> (Value, Run, Value) {
    let before = told(served, control, what, body);
    assert_eq!((&before["is_started"], &before["run"]), (&json!(false), &Value::Null));
    let mut confirmed = body.clone();
    confirmed["confirm"] = before["confirm"].clone();
    let begun = told(served, control, what, &confirmed);
    let id = begun["run"]["id"].as_str().unwrap().to_owned();
    let run = control.until("the end of the run", |run| run.id == id && run.ended_at.is_some());
    assert_eq!(run.state, RunState::Succeeded, "{:?}\n{}", run.error, control.log(&id));
    let (status, report) = served.call("GET", &format!("/api/v1/runs/{id}/report"), None);
    assert_eq!(status, 200, "{report}");
    (before, run, serde_json::from_str::<Value>(&report).unwrap()["report"].clone())
}

#[test]
fn rejected_rows_are_replayed_over_http() {
    let warehouse = Warehouse::duckdb();
    let account = account::start_sized(300);
    account.set_behaviour("float_form", "special").unwrap();
    let host = Host::new(&warehouse, LINES);
    let served = replicated(&account, &host);
    terminate(served.serving);
    let count = |sql: &str| {
        let sql = sql.replace("REJECTED", &format!("{SCHEMA}._sdc_rejected"));
        u64::try_from(warehouse.number(&sql)).unwrap()
    };
    let found = count("select count(*) from REJECTED where reason_code = 'number_range'");
    assert!(found > 1, "the account gave numbers that are none");
    // All but one are mended.
    warehouse.execute(&format!(
        "update {SCHEMA}._sdc_rejected set record = regexp_replace(record, '>(NaN|-?INF)<', '>1.5<') \
         where reject_id <> (select min(reject_id) from {SCHEMA}._sdc_rejected where reason_code = 'number_range')"
    ));

    let served = host.serve();
    let control = host.control();
    let none = told(&served, &control, "replay", &json!({ "reason": "missing_key" }));
    assert_eq!((&none["tables"], &none["confirm"]), (&json!([]), &Value::Null), "{none:#}");
    let wish = json!({ "reason": "number_range" });
    let (before, run, report) = done(&served, &control, "replay", &wish);
    let sum = |tables: &Value, figure: &str| -> u64 {
        tables.as_array().unwrap().iter().filter_map(|table| table[figure].as_u64()).sum()
    };
    let (tables, replayed) = (&before["tables"], found - 1);
    assert_eq!((sum(tables, "found"), sum(tables, "readable")), (found, replayed), "{before:#}");
    let tables = &report["tables"];
    assert_eq!((sum(tables, "found"), sum(tables, "replayed")), (found, replayed), "{report:#}");
    assert_eq!(report["interrupted"], false);
    assert!(run.destination_token.is_some(), "{run:?}");
    let log = control.log(&run.id);
    assert!(log.contains("rejected again") && log.contains("Done"), "{log}");

    let path = format!(
        "/api/v1/integrations/{}/rejects?limit=500&reason=number_range",
        run.integration_id
    );
    let listed = |state: &str| {
        let (status, answer) = served.call("GET", &format!("{path}&state={state}"), None);
        assert_eq!(status, 200, "{answer}");
        let page: Value = serde_json::from_str(&answer).unwrap();
        page["items"].as_array().unwrap().clone()
    };
    let stands = listed("replayed");
    assert_eq!(stands.len() as u64, replayed);
    assert!(stands.iter().all(|row| row["replayed_at"].is_string()), "{stands:?}");
    assert_eq!((listed("open").len(), listed("all").len() as u64), (1, found));
    terminate(served.serving);
    control.assert_loads(&warehouse);
}

#[test]
fn bookmarks_move_over_http() {
    let warehouse = Warehouse::duckdb();
    let account = account::start_sized(60);
    let host = Host::new(&warehouse, LINES);
    let served = replicated(&account, &host);
    let control = host.control();
    let id = control.integration().unwrap().id;
    let bookmark = || {
        let (status, answer) =
            served.call("GET", &format!("/api/v1/integrations/{id}/state"), None);
        assert_eq!(status, 200, "{answer}");
        let state: Value = serde_json::from_str(&answer).unwrap();
        let streams = state["streams"].as_array().unwrap().clone();
        streams.into_iter().find(|stream| stream["stream"] == "contact").unwrap()["bookmark"]
            .clone()
    };
    let first = bookmark();
    let (before, run, report) =
        done(&served, &control, "rewind", &json!({ "rewind": { "contact": "900d" } }));
    let moved = &before["moves"][0];
    assert_eq!((&moved["stream"], &moved["from"]), (&json!("contact"), &first));
    assert!(moved["rows_again_at_most"].as_u64() >= Some(60), "{before:#}");
    assert!(before["consequences"][0].as_str().unwrap().contains("moves back"), "{before:#}");
    assert_eq!(report["moves"][0]["to"], moved["to"]);
    let log = control.log(&run.id);
    assert!(log.contains("The bookmark of contact moved from "), "{log}");
    assert_eq!(bookmark(), first, "the run has read it all again");

    let (before, ..) = done(&served, &control, "rewind", &json!({ "remove": ["contact"] }));
    assert!(before["consequences"][0].as_str().unwrap().contains("from the start date"));
    assert_eq!(bookmark(), first);
    let path = format!("/api/v1/integrations/{id}/rewind");
    for wrong in [
        json!({ "rewind": { "contact": "1w" } }),
        json!({ "remove": ["contacts"] }),
        json!({ "remove": ["list"] }),
        json!({ "set": { "contact": "2999-01-01T00:00:00Z" } }),
        json!({ "set": { "contact": "2026-01-01T00:00:00.5Z" } }),
        json!({ "remove": ["contact"], "rewind": { "contact": "1d" } }),
        json!({ "remove_tap_state": true }),
    ] {
        let (status, answer) = served.call("POST", &path, Some(&wrong));
        assert_eq!(status, 422, "{wrong} {answer}");
    }

    terminate(served.serving);
    truth::assert_equal(&account, &warehouse);
    control.assert_loads(&warehouse);
}

/// What a Singer tap keeps is forgotten only if it is what was shown.
#[test]
fn a_taps_state_goes_only_as_it_was_shown() {
    let warehouse = Warehouse::duckdb();
    let (destination, _) = warehouse.configuration();
    let host = Host::new(
        &warehouse,
        &format!(
            "[integration.\"Stitch Bronto\"]\ndestination = {destination}\nschedule = {{ every = \"24h\" }}\n\
             source = {{ type = \"singer\", command = [\"sh\", \"tap.sh\"] }}"
        ),
    );
    let says = |page: u8| {
        let state = json!({ "type": "STATE", "value": { "page": page } });
        fs::write(host.path().join("tap.sh"), format!("echo '{state}'")).unwrap();
    };
    says(1);
    let control = host.control();
    let served = host.serve();
    control.succeeded();
    let wish = json!({ "remove_tap_state": true });
    let shown = told(&served, &control, "rewind", &wish);
    assert_eq!(shown["removed_tap_state"], json!({ "page": 1 }));
    says(2);
    control.start();
    control.succeeded();
    let path = format!("/api/v1/integrations/{}/rewind", control.integration().unwrap().id);
    let mut late = wish.clone();
    late["confirm"] = shown["confirm"].clone();
    let (status, answer) = served.call("POST", &path, Some(&late));
    assert_eq!(status, 409, "{answer}");
    let (before, run, report) = done(&served, &control, "rewind", &wish);
    assert_eq!(before["removed_tap_state"], json!({ "page": 2 }));
    assert_eq!(report["removed_tap_state"], true);
    assert!(control.log(&run.id).contains("The tap's own state is removed"));
    terminate(served.serving);
}
