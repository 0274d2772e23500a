//! The service over HTTP, as the program serves it: an integration that is made there runs, and its secret is nowhere.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    account::{self, TOKEN},
    programs::{INTEGRATION, Running, Workplace},
    serving::{Control, terminate},
    truth,
    warehouse::Warehouse,
};

/// Who may do everything, over HTTP.
struct Caller {
    address: String,
    token: String,
}

impl Caller {
    /// Sends a request, and answers its status and body.
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let body = body.map(Value::to_string).unwrap_or_default();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            self.token,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, body.to_owned())
    }
}

#[test]
fn an_integration_that_is_made_over_http_runs() {
    let account = account::start_sized(20);
    let warehouse = Warehouse::duckdb();
    let data = warehouse.file().parent().unwrap().to_owned();
    let service = format!(
        "[service]\nlisten = \"127.0.0.1:0\"\nlease_seconds = 2\nkey_file = \"service.key\"\ndata_dir = \"{}\"\n",
        data.display()
    );
    let workplace = Workplace::with_configuration(&service);
    workplace.run(&["key", "new", "service.key"]).expect(0);
    let mut command = workplace.command(&["user", "new", "Ada", "--token"]);
    command.env("BACKSTITCH_PASSWORD", "long enough to be one");
    let token = Running::start(command).wait().expect(0).stdout.trim().to_owned();
    let start = |workplace: &Workplace| {
        let mut serving = Running::start(workplace.command(&["serve"]));
        let line = serving.wait_for("Ready at http://");
        let address = line.split("http://").nth(1).unwrap().split(": ").next().unwrap().to_owned();
        (serving, Caller { address, token: token.clone() })
    };
    let (serving, caller) = start(&workplace);
    assert_eq!(caller.call("GET", "/healthz", None).0, 200);
    let wanted = json!({
        "name": INTEGRATION,
        "settings": {
            "source": { "type": "bronto", "endpoint": account.endpoint(), "settle_seconds": 0 },
            "destination": "duckdb:warehouse.duckdb",
        },
        "secrets": { "token": TOKEN },
        "start_date": "2025-11-01T00:00:00Z",
        "schedule": { "every": "24h" },
    });
    // The account is on this machine, which only its owner can allow.
    let (status, answer) = caller.call("POST", "/api/v1/integrations", Some(&wanted));
    assert!((400..500).contains(&status) && answer.contains("allow_hosts"), "{status} {answer}");
    assert!(!answer.contains(TOKEN));
    terminate(serving);
    let file = workplace.path().join("backstitch.toml");
    std::fs::write(&file, format!("{service}allow_hosts = [\"127.0.0.1\"]\n")).unwrap();

    let (serving, caller) = start(&workplace);
    let (status, answer) = caller.call("POST", "/api/v1/integrations", Some(&wanted));
    assert_eq!(status, 201, "{answer}");
    assert!(!answer.contains(TOKEN));
    let control = Control::at(data.join("control.db"));
    let run = control.succeeded();
    let (status, log) = caller.call("GET", &format!("/api/v1/runs/{}/log", run.id), None);
    assert_eq!(status, 200, "{log}");
    assert!(log.contains("State update: adding bookmarks.contact.modified"), "{log}");
    let said = terminate(serving);
    for place in [said.as_bytes(), log.as_bytes(), &control.bytes()] {
        assert!(!place.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes()));
    }
    truth::assert_equal(&account, &warehouse);
}
