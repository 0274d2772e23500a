//! The program `bronto-sim`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use serde_json::Value;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bronto-sim"))
}

#[tokio::test]
async fn serve_prints_one_line_and_stops_on_a_signal() {
    for signal in ["TERM", "INT"] {
        let mut child = program()
            .args(["serve", "--contacts", "7", "--lists", "3", "--clock", "frozen"])
            .args(["--token", "T", "--token-without-read", "W", "--behaviour", "page_maximum=2"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let endpoint = line.trim_end().strip_prefix("listening on ").unwrap();
        assert!(endpoint.starts_with("http://127.0.0.1:") && endpoint.ends_with("/v4"), "{line}");
        let truth = endpoint.replace("/v4", "/sim/truth/contact");
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let text = client.get(truth).send().await.unwrap().text().await.unwrap();
        assert_eq!(text.lines().count(), 7);
        let kill = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
        assert!(child.wait().unwrap().success(), "{signal}");
    }
}

#[test]
fn behaviours_are_listed_for_people_and_machines() {
    let text = String::from_utf8(program().arg("behaviours").output().unwrap().stdout).unwrap();
    assert!(text.contains("date_operators=instant|day\n"));
    let json = program().args(["behaviours", "--json"]).output().unwrap().stdout;
    let listed: Vec<Value> = serde_json::from_slice(&json).unwrap();
    assert_eq!(listed.len(), bronto_sim::behaviours().len());
    for each in listed {
        for key in ["name", "values", "default", "meaning"] {
            assert!(each[key].is_string(), "{each}");
        }
    }
}

#[test]
fn mistakes_end_with_a_message() {
    let refused = |arguments: &[&str]| {
        let output = program().arg("serve").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(
        refused(&["--behaviour", "date_operators=week"]),
        "ERROR The simulated account could not be set up: Behaviour `date_operators` takes \
         instant|day, not `week`\n"
    );
    assert!(refused(&["--behaviour", "week"]).contains("expected NAME=VALUE"));
    assert!(refused(&["--now", "soon"]).contains("--now"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert!(refused(&["--listen", &address]).contains(&format!("Could not listen on `{address}`")));
}
