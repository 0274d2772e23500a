//! The command line over the service's API: everything that people and scripts do with a service from elsewhere.

use std::fs;

use serde_json::{Value, json};

use crate::{
    account::{self, TOKEN},
    programs::{INTEGRATION, Running, Workplace},
    served::{Host, Served, integration},
    serving::terminate,
    truth,
    warehouse::{SCHEMA, Warehouse},
};

/// Lines of `[service]` for a service that may reach the simulated account.
pub(crate) const LINES: &str = "allow_hosts = [\"127.0.0.1\"]";

/// Text with what differs from one run to the next made alike: ids, instants, and how long something took.
fn alike(text: &str) -> String {
    let is_shape = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text.chars().zip(shape.chars()).all(|(found, wanted)| match wanted {
                'x' => found.is_ascii_hexdigit(),
                '0' => found.is_ascii_digit(),
                wanted => found == wanted,
            })
    };
    let shapes =
        ["xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "0000-00-00T00:00:00Z", "0000-00-00", "0:00:00"];
    let mut alike = String::new();
    let mut rest = text;
    'text: while let Some(first) = rest.chars().next() {
        for shape in shapes {
            if rest.get(..shape.len()).is_some_and(|found| is_shape(found, shape)) {
                alike.push_str(shape);
                rest = &rest[shape.len()..];
                continue 'text;
            }
        }
        alike.push(first);
        rest = &rest[first.len_utf8()..];
    }
    alike
}

#[test]
fn an_integration_is_made_run_changed_and_deleted_from_elsewhere() {
    let account = account::start_sized(20);
    let warehouse = Warehouse::duckdb();
    let host = Host::new(&warehouse, LINES);
    let served = host.serve();
    let mut seen = String::new();
    let mut ask = |arguments: &[&str], code: i32| {
        let ended = served.ask(&host, arguments).expect(code);
        seen.push_str(&ended.stdout);
        seen.push_str(&ended.stderr);
        ended
    };
    let empty = ask(&["integrations"], 0).stdout;
    insta::assert_snapshot!(empty, @"There is no integration yet; `backstitch integrations create` makes one");

    let wanted = integration(&account, &json!({ "env": "BRONTO_TOKEN" }));
    let file = warehouse.file().with_file_name("wanted.json");
    let named = file.to_str().unwrap().to_owned();
    fs::write(&file, wanted.to_string()).unwrap();
    let checked = ask(&["integrations", "check", "--new", "--from", &named], 0).stdout;
    assert!(checked.ends_with("All is well\n"), "{checked}");
    let made = ask(&["integrations", "create", "--from", &named], 0).stdout;
    assert!(made.starts_with("Made Stitch Bronto, into schema `stitch_bronto`\n"), "{made}");
    let taken = ask(&["integrations", "create", "--from", &named], 2).failure();
    assert!(taken.contains("hint: ") && taken.contains("There is already"), "{taken}");

    let control = host.control();
    control.succeeded();
    let log = ask(&["integrations", "start", INTEGRATION, "--follow"], 0).stdout;
    assert!(
        log.contains(" main - INFO Starting the run ") && log.ends_with(" main - INFO Done\n"),
        "{log}"
    );
    let run = control.last_run().unwrap();
    let listed = ask(&["logs", INTEGRATION], 0).stdout;
    assert_eq!(listed, log);
    assert_eq!(ask(&["logs", &run.id], 0).stdout, log);
    let found =
        ask(&["logs", &run.id, "--search", "starting THE run", "--level", "info"], 0).stdout;
    assert_eq!(found.lines().count(), 1, "{found}");
    let lines = ask(&["logs", &run.id, "--json"], 0).stdout;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), usize::try_from(run.log.lines).unwrap());
    assert!(lines.iter().all(|line| line["number"].is_u64() && line["body"].is_string()));

    insta::assert_snapshot!("integrations", alike(&ask(&["integrations"], 0).stdout));
    insta::assert_snapshot!("runs", alike(&ask(&["runs"], 0).stdout));
    insta::assert_snapshot!("usage_by_table", alike(&ask(&["usage"], 0).stdout));
    let by_day = ask(&["usage", INTEGRATION, "--by", "day"], 0).stdout;
    assert!(by_day.contains("Day") && by_day.contains("All"), "{by_day}");
    insta::assert_snapshot!("status", alike(&ask(&["status"], 0).stdout));
    // How many batches without a row there are depends on how fast the machine is.
    let shown = alike(&ask(&["loads", "--table", "contact"], 0).stdout);
    let shown = shown.lines().filter(|line| !line.contains("0          0         0           0"));
    insta::assert_snapshot!("loads", shown.collect::<Vec<_>>().join("\n"));
    let shown = ask(&["runs", "show", &run.id], 0).stdout;
    assert!(
        shown.contains("State      succeeded") && shown.contains("outbound_activity"),
        "{shown}"
    );
    assert_eq!(ask(&["runs", "show", &run.id, "--json"], 0).json()["state"], "succeeded");
    let usage = ask(&["usage", "--json"], 0).json();
    assert!(usage["days"].as_array().unwrap().len() >= 5);
    assert!(ask(&["usage", "--period", "previous"], 0).stdout.contains("Nothing was replicated"));
    let runs =
        ask(&["runs", INTEGRATION, "--state", "succeeded", "--limit", "1", "--json"], 0).json();
    assert_eq!(runs["items"][0]["id"], run.id);
    let next = runs["next"].as_str().unwrap();
    let rest = ask(&["runs", INTEGRATION, "--cursor", next, "--json"], 0).json();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    let loads = ask(&["loads", "--json"], 0).json();
    assert!(
        loads
            .as_array()
            .unwrap()
            .iter()
            .all(|load| load["table"].is_string() && load["inserted"].is_u64())
    );
    let starts = ask(&["schedule", "--next", "3"], 0).stdout;
    assert_eq!(alike(&starts).matches("0000-00-00T00:00:00Z").count(), 3, "{starts}");

    let edit =
        ["integrations", "edit", INTEGRATION, "--cron", "0 0 9 ? * MON", "--zone", "Europe/Berlin"];
    assert!(ask(&edit, 0).stdout.contains("Europe/Berlin"));
    let edit =
        ["integrations", "edit", INTEGRATION, "--set", "source.page_count=x", "--no-schedule"];
    assert!(ask(&edit, 2).failure().contains("page_count"));
    assert!(ask(&["integrations", "pause", INTEGRATION], 0).stdout.contains("Not Syncing"));
    let shown = ask(&["integrations", "show", INTEGRATION, "--json"], 0).json();
    assert_eq!(
        (&shown["paused"]["by"], &shown["schedule"]["cron"]),
        (&json!("user"), &json!("0 0 9 ? * MON"))
    );
    assert!(ask(&["integrations", "resume", INTEGRATION], 0).stdout.contains("Pending"));
    assert!(ask(&["integrations", "stop", INTEGRATION], 2).failure().contains("is alive"));
    assert!(ask(&["integrations", "check", INTEGRATION], 0).stdout.contains("✓"));

    let reset = ["integrations", "reset", INTEGRATION, "--start-date", "2025-12-01T00:00:00Z"];
    let asked = ask(&reset, 2);
    assert!(asked.stdout.contains("  - ") && asked.failure().contains("--yes"), "{asked:?}");
    let done = ask(&[&reset[..], &["--yes", "--json"]].concat(), 0).json();
    assert_eq!(done["is_done"], true);
    assert!(ask(&["integrations", "delete", INTEGRATION], 2).failure().contains("--yes"));
    assert!(
        ask(&["integrations", "show", "stitch bronto"], 2)
            .failure()
            .contains("Did you mean `Stitch Bronto`?")
    );
    ask(&["integrations", "delete", INTEGRATION, "--yes"], 0);
    assert!(ask(&["integrations", "show", INTEGRATION], 2).failure().contains("no integration"));
    assert!(ask(&["usage"], 0).stdout.contains("Stitch Bronto (deleted)"));

    truth::assert_equal(&account, &warehouse);
    seen.push_str(&terminate(served.serving));
    for secret in [TOKEN, &host.token] {
        assert!(!seen.contains(secret), "a secret is in an output");
    }
}

#[test]
fn who_may_not_is_told_so() {
    let warehouse = Warehouse::duckdb();
    let host = Host::new(&warehouse, "");
    let viewer = host.user("Vera", "viewer");
    let served = host.serve();
    let body = json!({ "name": "reading", "scope": "read" });
    let (status, made) = served.call("POST", "/api/v1/tokens", Some(&body));
    assert_eq!(status, 201, "{made}");
    let made: Value = serde_json::from_str(&made).unwrap();
    let reading = made["token"].as_str().unwrap();
    let create = [
        "integrations",
        "create",
        "Shop",
        "--destination",
        "duckdb:shop.duckdb",
        "--secret",
        "token=env:BRONTO_TOKEN",
    ];
    let ask = |token: &str, arguments: &[&str]| {
        Running::start(host.remote(&served.server(), token, arguments)).wait()
    };
    let marker = "MARKER-0123456789abcdef";
    let unknown = ask(marker, &["integrations"]).expect(3);
    insta::assert_snapshot!(unknown.failure());
    assert!(!format!("{unknown:?}").contains(marker));
    for token in [&viewer, reading] {
        ask(token, &["integrations"]).expect(0);
        let refused = ask(token, &create).expect(3).failure();
        assert!(refused.contains("administrators and members"), "{refused}");
    }
    let mut command = host.remote(&served.server(), "", &["integrations"]);
    command.env_remove("BACKSTITCH_API_TOKEN");
    let missing = Running::start(command).wait().expect(2).failure();
    assert!(
        missing.contains("BACKSTITCH_API_TOKEN") && missing.contains("--token-file"),
        "{missing}"
    );
    let file = host.path().join("api.token");
    fs::write(&file, format!("{}\n", host.token)).unwrap();
    let from_file = ["integrations", "--token-file", file.to_str().unwrap()];
    ask("unused", &from_file).expect(0);
    let split = ask("two\nlines", &["integrations"]).expect(2).failure();
    assert!(split.contains("characters that no token has") && !split.contains("lines"), "{split}");
    let wrong = ask(&host.token, &["integrations", "create", "Shop", "--secret", "token=MARKER"]);
    assert!(!wrong.expect(2).failure().contains("MARKER"));
    terminate(served.serving);
}

#[test]
fn a_destination_alone_tells_of_runs_and_usage() {
    let account = account::start_sized(20);
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::new(&account, &warehouse, "");
    workplace.run(&["run"]).expect(0);
    account::change(&account);
    workplace.run(&["run"]).expect(0);
    let runs = workplace.run(&["runs", "--json"]).expect(0).json();
    let runs = runs.as_array().unwrap();
    assert_eq!(runs.len(), 2);
    let sum = |figure: &str| runs.iter().map(|run| run[figure].as_i64().unwrap()).sum::<i64>();
    let ledger = |figure: &str| {
        warehouse.number(&format!("select cast(sum({figure}) as bigint) from {SCHEMA}._sdc_loads"))
    };
    for figure in ["inserted", "updated", "unchanged", "received"] {
        assert_eq!(sum(figure), ledger(figure), "{figure}");
    }
    let one = workplace.run(&["runs", "--limit", "1", "--json"]).expect(0).json();
    assert_eq!(one.as_array().unwrap()[..], runs[..1]);
    // How many units a run takes depends on how fast the machine is.
    let shown = alike(&workplace.run(&["runs"]).expect(0).stdout);
    let shown = ["1", "2", "3"]
        .iter()
        .fold(shown, |shown, units| shown.replace(&format!("Z       {units}  "), "Z       n  "));
    insta::assert_snapshot!("runs_of_a_ledger", shown);
    insta::assert_snapshot!(
        "usage_of_a_ledger",
        alike(&workplace.run(&["usage"]).expect(0).stdout)
    );
    let usage = workplace.run(&["usage", "--by", "day", "--json"]).expect(0).json();
    let days = usage["days"].as_array().unwrap();
    let used: i64 = days
        .iter()
        .map(|day| day["inserted"].as_i64().unwrap() + day["updated"].as_i64().unwrap())
        .sum();
    assert_eq!(used, ledger("inserted + updated"));
    for arguments in [&["logs", INTEGRATION][..], &["integrations"], &["runs", "--state", "failed"]]
    {
        let failure = workplace.run(arguments).expect(2).failure();
        assert!(failure.contains("--server") && failure.contains("BACKSTITCH_SERVER"), "{failure}");
    }
    let both =
        workplace.run(&["status", "--config", "backstitch.toml", "--server", "https://x.example"]);
    assert!(both.expect(2).failure().contains("Leave out"));
}

/// A service that runs an integration of the account; its first run has succeeded.
pub(crate) fn replicated(account: &bronto_sim::RunningServer, host: &Host) -> Served {
    let served = host.serve();
    let wanted = integration(account, &json!(TOKEN));
    let (status, answer) = served.call("POST", "/api/v1/integrations", Some(&wanted));
    assert_eq!(status, 201, "{answer}");
    host.control().succeeded();
    served
}
