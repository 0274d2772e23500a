//! Everything that can be wrong with a set-up: a clear message, the right exit code, nothing lost.

use std::{fs, net::TcpListener};

use bronto_sim::RunningServer;

use crate::{
    account::{self, TOKEN_WITHOUT_READ},
    programs::{Ended, Workplace},
    truth,
    warehouse::Warehouse,
};

/// Runs `run` and `check`, which must agree about the exit code, and shows what `run` says, without what varies.
#[track_caller]
fn fails(workplace: &Workplace, code: i32, varying: &[(&str, &str)]) -> String {
    workplace.run(&["check"]).expect(code);
    shown(&workplace.run(&["run"]).expect(code), workplace, varying)
}

fn shown(ended: &Ended, workplace: &Workplace, varying: &[(&str, &str)]) -> String {
    let mut text = ended.failure().replace(&workplace.path().display().to_string(), "[FOLDER]");
    for (found, name) in varying {
        text = text.replace(found, name);
    }
    text
}

fn setting(account: &RunningServer, more: &str) -> String {
    format!("endpoint = \"{}\", max_retries = 0{more}", account.endpoint())
}

fn with_token(workplace: Workplace, token: &str) -> Workplace {
    workplace.with_environment([("BRONTO_TOKEN".to_owned(), token.to_owned())])
}

#[test]
fn the_source_refuses() {
    let account = account::start_sized(10);
    let (first, second) = (Warehouse::duckdb(), Warehouse::duckdb());
    let wrong = with_token(Workplace::new(&account, &first, ""), "C0FFEE02-WRONG");
    let unfit = with_token(Workplace::new(&account, &second, ""), TOKEN_WITHOUT_READ);
    insta::assert_snapshot!(fails(&wrong, 3, &[]), @r"
    error: `login` was answered with fault 102 (`INVALID_TOKEN`): The token is not valid
    hint: Check the SOAP API token under Home > Settings > Data Exchange: it must exist, be active and belong to this account
    ");
    // Which read is refused first varies.
    let shown = fails(&unfit, 3, &[]);
    let (causes, rest): (Vec<&str>, Vec<&str>) =
        shown.lines().partition(|line| line.starts_with("  caused by: "));
    assert!(
        !causes.is_empty()
            && causes.iter().all(|cause| cause.contains("fault 104 (`INVALID_ACCESS`)")),
        "{shown}"
    );
    insta::assert_snapshot!(rest.join("\n"), @r"
    error: `contact`, `inbound_activity`, `list`, `outbound_activity`, `unsubscribe` could not be replicated
    hint: Give the SOAP API token the permission Read, under Home > Settings > Data Exchange
    ");
}

#[test]
fn the_source_is_not_available() {
    let (account, warehouse) = (account::start_sized(10), Warehouse::duckdb());
    let place = account.address().to_string();
    let varying = [(place.as_str(), "[ACCOUNT]")];

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let source = format!("endpoint = \"http://{closed}/v4\", max_retries = 0");
    let closed = closed.to_string();
    let unreachable = Workplace::with_source(&source, &warehouse, "");
    insta::assert_snapshot!(fails(&unreachable, 4, &[(&closed, "[CLOSED]")]), @r"
    error: `contact`, `inbound_activity`, `list`, `outbound_activity`, `unsubscribe` could not be replicated
      caused by: `127.0.0.1` could not be reached
      caused by: error sending request
      caused by: client error (Connect)
      caused by: tcp connect error
      caused by: Connection refused (os error 111)
    hint: Check the endpoint, the name service, firewalls and the proxy settings, and run again
    ");

    let source = setting(&account, "").replace("http://", "https://");
    let tls = Workplace::with_source(&source, &warehouse, "");
    insta::assert_snapshot!(fails(&tls, 4, &varying), @r"
    error: `contact`, `inbound_activity`, `list`, `outbound_activity`, `unsubscribe` could not be replicated
      caused by: No trusted TLS connection to `127.0.0.1` could be made
      caused by: error sending request
      caused by: client error (Connect)
      caused by: received corrupt message of type InvalidContentType
    hint: Check that the endpoint speaks HTTPS, that this machine's clock is right, and that the certificate's issuer is trusted here
    ");

    let workplace = Workplace::with_source(&setting(&account, ""), &warehouse, "");
    account.set_behaviour("html_rate", "1").unwrap();
    insta::assert_snapshot!(fails(&workplace, 4, &varying), @r"
    error: `contact`, `inbound_activity`, `list`, `outbound_activity`, `unsubscribe` could not be replicated
      caused by: `login` was answered with something that can not be used
      caused by: The answer is an HTML page where XML was due
    hint: Check that the endpoint is Bronto's and that no proxy answers in its place, and run again
    ");
    account.set_behaviour("html_rate", "0").unwrap();
    account.set_behaviour("truncate_rate", "1").unwrap();
    insta::assert_snapshot!(fails(&workplace, 4, &varying), @r"
    error: `contact`, `inbound_activity`, `list`, `outbound_activity`, `unsubscribe` could not be replicated
      caused by: `login` was answered with something that can not be used
      caused by: The answer ends in the middle
    hint: Check that the endpoint is Bronto's and that no proxy answers in its place, and run again
    ");
}

#[test]
fn nothing_is_lost_when_the_source_fails_between_two_runs() {
    let (account, warehouse) = (account::start_sized(60), Warehouse::duckdb());
    let source = setting(&account, ", settle_seconds = 0");
    let workplace = Workplace::with_source(&source, &warehouse, "");
    for failure in
        ["html:1", "truncated:1:readContacts", "108:1:readLists", "reset:1:readUnsubscribes"]
    {
        account.set_behaviour("fail_next", failure).unwrap();
        let ended = workplace.run(&["run"]);
        assert!(matches!(ended.code(), Some(0 | 4)), "{}", ended.stderr);
        account.set_behaviour("fail_next", "none").unwrap();
        workplace.run(&["run"]).expect(0);
        truth::assert_equal(&account, &warehouse);
        account::change(&account);
    }
}

#[test]
fn the_destination_refuses() {
    let account = account::start_sized(10);
    let workplace = |destination: &str| {
        let text = format!(
            "[integration.\"Stitch Bronto\"]\nsource = {{ type = \"bronto\", token = \"{}\", endpoint = \"{}\" }}\n\
             destination = {destination}\n",
            account::TOKEN,
            account.endpoint()
        );
        Workplace::with_configuration(&text)
    };
    let taken = workplace("\"duckdb:taken.duckdb\"");
    fs::write(taken.path().join("taken.duckdb"), "this is no database, and it stays as it is")
        .unwrap();
    insta::assert_snapshot!(fails(&taken, 5, &[]), @r#"
    error: `[FOLDER]/taken.duckdb` exists but is not a DuckDB database
      caused by: IO Error: The file "[FOLDER]/taken.duckdb" exists, but it is not a valid DuckDB database file!
      caused by: Error code 1: Unknown error code
    hint: Choose another path; this file was not touched
    "#);
    let kept = fs::read_to_string(taken.path().join("taken.duckdb")).unwrap();
    assert_eq!(kept, "this is no database, and it stays as it is");

    let folder = workplace("\"duckdb:folder\"");
    fs::create_dir(folder.path().join("folder")).unwrap();
    insta::assert_snapshot!(fails(&folder, 5, &[]), @r#"
    error: `[FOLDER]/folder` exists but is not a DuckDB database
      caused by: IO Error: Could not read from file "[FOLDER]/folder": Is a directory
      caused by: Error code 1: Unknown error code
    hint: Choose another path; this file was not touched
    "#);

    let Warehouse::Postgres(cluster) = Warehouse::postgres() else {
        unreachable!("it was made as PostgreSQL")
    };
    let port = format!(":{}", cluster.port());
    let password = |password: &str| [("PGPASSWORD".to_owned(), password.to_owned())];
    let url = cluster.url();
    let missing = format!(
        "\"{}\"",
        url.replace("/postgres", "/nowhere").replace("nowhere://", "postgres://")
    );
    let missing = workplace(&missing).with_environment(password(cluster.password()));
    insta::assert_snapshot!(fails(&missing, 5, &[(&port, ":[PORT]")]), @r#"
    error: The PostgreSQL server at `127.0.0.1:[PORT]` has no database `nowhere`
      caused by: database "nowhere" does not exist (SQLSTATE 3D000)
    hint: Create it (`create database "nowhere"`), or name another in the address
    "#);
    let wrong = workplace(&format!("\"{url}\"")).with_environment(password("hunter2"));
    insta::assert_snapshot!(fails(&wrong, 5, &[(&port, ":[PORT]")]), @r#"
    error: The PostgreSQL server at `127.0.0.1:[PORT]` does not accept the password of `backstitch`
      caused by: password authentication failed for user "backstitch" (SQLSTATE 28P01)
    hint: Look whether the password is right; it is taken from the configuration, else from `PGPASSWORD`, else from the file that `PGPASSFILE` names
    "#);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = workplace(&format!("\"postgres://loader@{closed}/d\""))
        .with_environment(password("hunter2"));
    insta::assert_snapshot!(fails(&gone, 5, &[(&closed.to_string(), "[CLOSED]")]), @r"
    error: Nothing takes connections at `[CLOSED]`
      caused by: Connection refused (os error 111)
    hint: Look whether the server runs, and whether host and port are right
    ");
}

#[test]
fn the_configuration_is_wrong() {
    let message = |lines: &str| {
        let workplace = Workplace::with_configuration(lines);
        fails(&workplace, 2, &[])
    };
    let integration = |source: &str, rest: &str| {
        message(&format!(
            "[integration.Shop]\nsource = {{ type = \"bronto\", token = \"x\", {source} }}\n{rest}\n"
        ))
    };
    let destination = "destination = \"duckdb:w.duckdb\"";
    insta::assert_snapshot!(message(""), @r#"
    error: `backstitch.toml` has no integration
    hint: Add a section such as `[integration."Stitch Bronto"]`
    "#);
    insta::assert_snapshot!(integration("start_date = \"last year\"", destination), @r#"
    error: `start_date` must be an RFC 3339 date-time (backstitch.toml:2:55)
    hint: Write it like `"2025-11-23T00:00:00Z"`
    "#);
    insta::assert_snapshot!(integration("endpoint = \"http://api.bronto.com/v4\"", destination), @r"
    error: `endpoint` can't be used: The endpoint sends the token unencrypted to `api.bronto.com`; use `https`
    hint: Set `endpoint` to `https://api.bronto.com/v4`, or leave it out
    ");
    insta::assert_snapshot!(integration("concurrency = 99", destination), @r"
    error: `concurrency` is not a whole number from 1 to 16
    hint: Correct `concurrency`, or leave it out for the default
    ");
    insta::assert_snapshot!(integration("", &format!("{destination}\nschedule = {{ every = \"5m\" }}")), @r"
    error: `5m` is no frequency (backstitch.toml:4:22)
    hint: Take one of `30m`, `1h`, `3h`, `6h`, `12h`, `24h`
    ");
    insta::assert_snapshot!(integration("", &format!("{destination}\ncolumns = {{ list = [\"labell\"] }}")), @"error: Stream `list` has no column `labell`; did you mean `label`? (backstitch.toml:4:20)");
    insta::assert_snapshot!(integration("", "destination = \"warehouse\""), @r"
    error: The destination's address has no scheme (backstitch.toml:3:15)
    hint: This version writes to `duckdb:PATH` and `postgres://USER@HOST/DATABASE`
    ");
    insta::assert_snapshot!(integration("", "destination = \"postgres://db.example.com\""), @r"
    error: The address of the PostgreSQL database names no user
    hint: Write it as `postgres://USER@HOST:PORT/DATABASE`, without a password
    ");
    // Only the attempt shows that a folder is missing, so `check` finds the unreachable source first.
    let folder =
        Workplace::with_source("endpoint = \"https://127.0.0.1:1/v4\"", &Warehouse::duckdb(), "");
    let path = folder.path().join("backstitch.toml");
    let text = fs::read_to_string(&path).unwrap();
    let lines = text.lines().map(|line| {
        if line.starts_with("dest") { "destination = \"duckdb:none/w.duckdb\"" } else { line }
    });
    fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
    insta::assert_snapshot!(shown(&folder.run(&["run"]).expect(2), &folder, &[]), @r"
    error: The folder of `none/w.duckdb` does not exist
      caused by: No such file or directory (os error 2)
    hint: Create the folder, or check the path
    ");
    insta::assert_snapshot!(integration("", "destination = { url = { env = \"BACKSTITCH_TEST_UNSET\" } }"), @r"
    error: The destination's address is missing: `BACKSTITCH_TEST_UNSET` is not set in the environment (backstitch.toml:3:23)
    hint: Set it, for example with `export BACKSTITCH_TEST_UNSET=postgres://USER@HOST/DATABASE`
    ");
    let missing = Workplace::with_configuration("");
    fs::remove_file(missing.path().join("backstitch.toml")).unwrap();
    insta::assert_snapshot!(fails(&missing, 2, &[]), @r"
    error: The configuration file `backstitch.toml` can't be read
      caused by: No such file or directory (os error 2)
    hint: Write one, or name it with `--config`; `backstitch demo` shows what it looks like
    ");
    let no_token = "[integration.Shop]\nsource = { type = \"bronto\", token = { env = \"BACKSTITCH_TEST_UNSET\" } }\n";
    insta::assert_snapshot!(message(&format!("{no_token}{destination}\n")), @r"
    error: The Bronto token is missing: `BACKSTITCH_TEST_UNSET` is not set in the environment
    hint: Set it, for example with `export BACKSTITCH_TEST_UNSET=…`
    ");
}

#[test]
fn a_failed_run_reports_itself_as_json_too() {
    let workplace = Workplace::with_configuration("");
    let report = workplace.run(&["run", "--json"]).expect(2).json();
    assert_eq!(
        (report["status"].as_str(), report["error"]["exit_code"].as_u64()),
        (Some("failed"), Some(2))
    );
}

#[test]
fn commands_that_look_make_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("duckdb:{}", folder.path().join("none.duckdb").display());
    let workplace = Workplace::with_configuration("");
    for command in ["status", "loads", "rejects"] {
        let ended =
            workplace.run(&[command, "--destination", &address, "--schema", "shop"]).expect(5);
        assert!(ended.failure().contains("does not exist"), "{}", ended.stderr);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    let postgres = Warehouse::postgres();
    let Warehouse::Postgres(cluster) = &postgres else { unreachable!("it was made as PostgreSQL") };
    let workplace =
        workplace.with_environment([("PGPASSWORD".to_owned(), cluster.password().to_owned())]);
    for command in ["status", "loads", "rejects"] {
        let arguments = [command, "--destination", &postgres.address(), "--schema", "shop"];
        let ended = workplace.run(&arguments).expect(0);
        assert!(
            ["Nothing has been loaded yet", "No row"]
                .iter()
                .any(|text| ended.stdout.contains(text)),
            "{ended:?}"
        );
    }
    let schemas = "select count(*) from information_schema.schemata where schema_name = 'shop'";
    assert_eq!(postgres.number(schemas), 0);
}
