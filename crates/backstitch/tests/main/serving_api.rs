//! The service over HTTP, as the program serves it: an integration that is made there runs, and its secret is nowhere.

use serde_json::json;

use crate::{
    account::{self, TOKEN},
    served::{Host, integration},
    serving::terminate,
    truth,
    warehouse::Warehouse,
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
