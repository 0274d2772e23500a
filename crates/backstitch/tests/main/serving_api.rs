//! The service over HTTP, as the program serves it: an integration that is made there runs, and its secret is nowhere.

use serde_json::{Value, json};
use service::run::RunState;

use crate::{
    account::{self, TOKEN},
    served::{Host, integration},
    serving::terminate,
    truth,
    warehouse::{SCHEMA, Warehouse},
};

#[test]
fn an_integration_that_is_made_over_http_runs() {
    let account = account::start_sized(20);
    let warehouse = Warehouse::duckdb();
    let host = Host::new(&warehouse, "");
    let served = host.serve();
    assert_eq!(served.call("GET", "/healthz", None).0, 200);
    let wanted = integration(&account, &json!(TOKEN));
    // The account is on this machine, which only its owner can allow.
    let (status, answer) = served.call("POST", "/api/v1/integrations", Some(&wanted));
    assert!((400..500).contains(&status) && answer.contains("allow_hosts"), "{status} {answer}");
    assert!(!answer.contains(TOKEN));
    terminate(served.serving);
    host.rewrite("allow_hosts = [\"127.0.0.1\"]");

    let served = host.serve();
    let (status, answer) = served.call("POST", "/api/v1/integrations", Some(&wanted));
    assert_eq!(status, 201, "{answer}");
    assert!(!answer.contains(TOKEN));
    let control = host.control();
    let run = control.succeeded();
    let (status, log) = served.call("GET", &format!("/api/v1/runs/{}/log", run.id), None);
    assert_eq!(status, 200, "{log}");
    assert!(log.contains("State update: adding bookmarks.contact.modified"), "{log}");
    let said = terminate(served.serving);
    for place in [said.as_bytes(), log.as_bytes(), &control.bytes()] {
        assert!(!place.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes()));
    }
    truth::assert_equal(&account, &warehouse);
}

#[test]
fn a_backfill_and_an_audit_are_asked_for_over_http() {
    let account = account::start_sized(40);
    let warehouse = Warehouse::duckdb();
    let host = Host::new(&warehouse, "allow_hosts = [\"127.0.0.1\"]");
    let caller = host.serve();
    let late =
        (account.now() - chrono::TimeDelta::days(3)).format("%Y-%m-%dT00:00:00Z").to_string();
    let mut wanted = integration(&account, &json!(TOKEN));
    wanted["start_date"] = late.as_str().into();
    let (status, answer) = caller.call("POST", "/api/v1/integrations", Some(&wanted));
    assert_eq!(status, 201, "{answer}");
    let made: Value = serde_json::from_str(&answer).unwrap();
    let path = format!("/api/v1/integrations/{}", made["id"].as_str().unwrap());
    let control = host.control();
    let first = control.succeeded();

    let lists = json!({ "from": "2025-11-01T00:00:00Z", "before": late, "tables": ["list"] });
    let (status, answer) = caller.call("POST", &format!("{path}/backfill"), Some(&lists));
    assert!(status == 422 && answer.contains("`list` can't be backfilled"), "{status} {answer}");
    let span = json!({ "from": "2025-11-01T00:00:00Z", "before": late });
    let (status, answer) = caller.call("POST", &format!("{path}/backfill"), Some(&span));
    assert!(status == 201 && answer.contains("\"task\":\"backfill\""), "{status} {answer}");
    let run = control.succeeded();
    assert_ne!(run.id, first.id);
    terminate(caller.serving);
    // All of the account is there, though the first run began late.
    truth::assert_equal(&account, &warehouse);

    // Somebody takes a row away that lies after the start date, from which audits compare.
    warehouse.execute(&format!(
        "delete from {SCHEMA}.contact where id in (select id from {SCHEMA}.contact order by modified desc limit 1)"
    ));
    let caller = host.serve();
    let audit = |repair: bool| {
        let wanted = json!({ "days": 3_660, "repair": repair });
        let (status, answer) = caller.call("POST", &format!("{path}/audit"), Some(&wanted));
        assert_eq!(status, 201, "{answer}");
        let run = control
            .until("the end of an audit", |run| run.ended_at.is_some() && answer.contains(&run.id));
        let (status, report) = caller.call("GET", &format!("/api/v1/runs/{}/report", run.id), None);
        assert_eq!(status, 200, "{report}\n{}", control.log(&run.id));
        (run, serde_json::from_str::<Value>(&report).unwrap()["report"].clone())
    };
    let missing = |report: &Value| {
        let tables = report["tables"].as_array().unwrap();
        let contact = tables.iter().find(|table| table["table"] == "contact");
        contact.unwrap()["missing"].as_u64()
    };
    let (run, report) = audit(false);
    assert_eq!(run.state, RunState::Failed);
    let error = run.error.unwrap();
    assert!(error.message.contains("`contact`") && error.remedy.contains("`repair`"), "{error:?}");
    assert_eq!((&report["equal"], missing(&report)), (&json!(false), Some(1)), "{report:#}");
    let (run, report) = audit(true);
    assert_eq!(run.state, RunState::Succeeded, "{:?}\n{}", run.error, control.log(&run.id));
    assert_eq!((&report["equal"], missing(&report)), (&json!(true), Some(1)), "{report:#}");
    assert!(report["after_repair"].is_array());
    let (run, report) = audit(false);
    assert_eq!((run.state, missing(&report)), (RunState::Succeeded, Some(0)), "{report:#}");
    terminate(caller.serving);
    truth::assert_equal(&account, &warehouse);
}

#[test]
fn rejects_and_bookmarks_are_shown_over_http() {
    let account = account::start_sized(20);
    let warehouse = Warehouse::duckdb();
    let host = Host::new(&warehouse, "allow_hosts = [\"127.0.0.1\"]");
    let served = host.serve();
    let wanted = integration(&account, &json!(TOKEN));
    let (status, answer) = served.call("POST", "/api/v1/integrations", Some(&wanted));
    assert_eq!(status, 201, "{answer}");
    let made: Value = serde_json::from_str(&answer).unwrap();
    let path = format!("/api/v1/integrations/{}", made["id"].as_str().unwrap());
    let run = host.control().succeeded();
    terminate(served.serving);
    for number in 1..=3 {
        warehouse.execute(&format!(
            "insert into {SCHEMA}._sdc_rejected (reject_id, run_id, table_name, stream, reason, reason_code, record, \
             _sdc_rejected_at, _sdc_extracted_at, _sdc_sequence, _sdc_table_version) values ('r{number}', '{}', 'contact', \
             'contact', 'A value is no number', 'wrong_type', '<return>ann@example.com</return>', \
             timestamp '2026-01-01', timestamp '2026-01-01', {number}, 0)",
            run.id
        ));
    }

    let served = host.serve();
    let look = |what: &str| {
        let (status, answer) = served.call("GET", &format!("{path}/{what}"), None);
        assert_eq!(status, 200, "{what}: {answer}");
        assert!(!answer.contains(TOKEN));
        serde_json::from_str::<Value>(&answer).unwrap()
    };
    let reasons = look("reject-reasons");
    let reason = &reasons["items"][0];
    assert_eq!((&reason["reason_code"], &reason["rows"]), (&json!("wrong_type"), &json!(3)));
    let first = look("rejects?table=contact&reason=wrong_type&limit=2");
    let ids: Vec<&Value> =
        first["items"].as_array().unwrap().iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, ["r1", "r2"]);
    assert!(!first.to_string().contains("ann@"), "{first:#}");
    let second = look(&format!(
        "rejects?table=contact&reason=wrong_type&limit=2&cursor={}",
        first["next"].as_str().unwrap()
    ));
    assert_eq!((&second["items"][0]["id"], &second["next"]), (&json!("r3"), &json!(null)));
    assert_eq!(look("rejects?reason=number_range")["items"], json!([]));
    assert_eq!(look("rejects/r2")["record"], "<return>ann@example.com</return>");

    let state = look("state");
    let streams = state["streams"].as_array().unwrap();
    let contact = streams.iter().find(|stream| stream["stream"] == "contact").unwrap();
    assert_eq!(contact["bookmark"], contact["state"]["last_record"], "{state:#}");
    assert!(contact["bookmark"].is_string(), "{state:#}");
    let claim = &state["claim"];
    assert_eq!((&claim["is_held"], &claim["integration"]), (&json!(false), &made["schema_name"]));
    terminate(served.serving);
}
