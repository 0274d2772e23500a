//! Whole files, good and bad, and what is said of them.

#![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

use std::path::Path;

use ::service::{
    host::{Secrets, SettingError},
    integration::Origin,
};
use secrecy::ExposeSecret;

use super::*;

const GOOD: &str = r#"
[integration."Stitch Bronto"]
source = { type = "bronto", token = { env = "BRONTO_TOKEN" }, start_date = "2025-11-23T00:00:00Z", concurrency = 4 }
destination = "duckdb:warehouse.duckdb"
schedule = { every = "6h", anchor = 2026-11-23T13:00:00Z }
tables = ["contact"]
columns = { contact = ["email"] }
lease_seconds = 5
"#;

const SCHEDULE: &str = r#"schedule = { every = "6h", anchor = 2026-11-23T13:00:00Z }"#;

fn read(text: &str) -> Vec<Integration> {
    parse(Path::new("/etc/backstitch/backstitch.toml"), text).unwrap()
}

/// The message for the good file with one line, found by its start, replaced.
fn refusal(start: &str, replacement: &str) -> String {
    let lines: Vec<&str> =
        GOOD.lines().map(|line| if line.starts_with(start) { replacement } else { line }).collect();
    assert!(lines.contains(&replacement), "no line starts with `{start}`");
    let error = parse(Path::new("backstitch.toml"), &lines.join("\n")).unwrap_err();
    Failure::from(error).render()
}

#[test]
fn reads_a_whole_integration() {
    let integration = read(GOOD).remove(0);
    assert_eq!(integration.name, "Stitch Bronto");
    assert_eq!(integration.schema.as_str(), "stitch_bronto");
    assert_eq!(integration.destination.to_string(), "duckdb:/etc/backstitch/warehouse.duckdb");
    assert_eq!(integration.schedule.unwrap().to_string(), "every 6h from 2026-11-23T13:00:00Z");
    assert_eq!(integration.source.start_date().unwrap().to_rfc3339(), "2025-11-23T00:00:00+00:00");
    let SourceSettings::Bronto(source) = &integration.source else { panic!("it is Bronto") };
    assert_eq!(source.others["concurrency"], 4);
    assert_eq!(integration.selection.len(), 1);
    assert!(integration.selection[0].has("email") && !integration.selection[0].has("status"));
    assert_eq!(integration.lease.unwrap().num_seconds(), 5);
    assert!(integration.warnings.is_empty());
    let zoned =
        "schedule = { cron = \"0 0 9 ? * 2-6\", zone = \"Europe/Berlin\", catch_up = true }";
    let schedule = read(&GOOD.replace(SCHEDULE, zoned)).remove(0).schedule.unwrap();
    assert_eq!(schedule.to_string(), "cron `0 0 9 ? * 2-6` (Europe/Berlin)");
    assert!(schedule.catches_up());
}

#[test]
fn a_schedule_that_has_run_out_is_warned_about_and_hinders_nothing() {
    for idle in ["0 0 0 ? * * 2025", "0 0 0 30 FEB ?"] {
        let integration =
            read(&GOOD.replace(SCHEDULE, &format!("schedule = {{ cron = \"{idle}\" }}"))).remove(0);
        let [warning] = integration.warnings.as_slice() else { panic!("{idle}") };
        assert!(warning.contains("no start any more"), "{warning}");
    }
}

#[test]
fn an_inline_token_is_warned_about_and_not_shown() {
    let text = GOOD.replace("{ env = \"BRONTO_TOKEN\" }", "\"3D5A2C10-SECRET\"");
    let integration = read(&text).remove(0);
    assert_eq!(integration.warnings.len(), 1);
    assert!(!format!("{integration:?}").contains("SECRET"));
}

/// The integration of a file's text, as it is stored and read again.
fn stored(text: &str, origin: Origin) -> Result<Integration, SettingError> {
    let path = Path::new("/etc/backstitch/backstitch.toml");
    let (integration, declaration) = parse_all(path, text).unwrap().integrations.remove(0);
    let (settings, secrets) = declaration.stored(&integration, false)?;
    let stored = Stored {
        name: &integration.name,
        schema_name: Some(integration.schema.as_str()),
        origin,
        settings: &settings,
        start_date: integration.source.start_date(),
        secrets: &secrets,
    };
    Ok(stored.read(Path::new("/var/lib/backstitch"))?)
}

#[test]
fn what_is_stored_means_what_the_file_says() {
    for text in [
        GOOD.to_owned(),
        GOOD.replace("{ env = \"BRONTO_TOKEN\" }", "\"3D5A2C10-SECRET\""),
        GOOD.replace(
            "\"duckdb:warehouse.duckdb\"",
            "{ url = \"postgres://u@h/d\", password = { file = \"p\" } }",
        ),
        format!(
            "{GOOD}nested = \"native\"\nmethods = {{ contact = \"full-table\" }}\nmax_rejects = \"0.5%\"\nschema = \"other\"\naccept_source = \"x\"\n"
        ),
    ] {
        let file = read(&text).remove(0);
        let stored = stored(&text, Origin::File).unwrap();
        // A schedule is stored apart, and what is sealed is warned of no more.
        let (mut file, mut stored) = (file, stored);
        (file.schedule, stored.schedule) = (None, None);
        (file.warnings, stored.warnings) = (Vec::new(), Vec::new());
        assert_eq!(format!("{file:?}"), format!("{stored:?}"));
    }
}

#[test]
fn what_reaches_into_the_host_is_for_its_file_alone() {
    let refused = |text: &str| stored(text, Origin::Api).map(|_| ()).unwrap_err();
    let inline = GOOD.replace("{ env = \"BRONTO_TOKEN\" }", "\"3D5A2C10-SECRET\"");
    assert!(stored(&inline, Origin::Api).is_ok());
    let error = refused(GOOD);
    assert_eq!(error.pointer, "/settings/source/token");
    for (place, pointer) in [
        ("duckdb:../w.duckdb", "/settings/destination"),
        ("duckdb:/etc/w.duckdb", "/settings/destination"),
        ("duckdb:control.db", "/settings/destination"),
        ("postgres://u@h/d?sslrootcert=/etc/passwd", "/settings/destination"),
        ("postgres://u@h/d?connect_timeout=5&sslroot%63ert=/etc/passwd", "/settings/destination"),
    ] {
        let error = refused(&inline.replace("duckdb:warehouse.duckdb", place));
        assert_eq!(error.pointer, pointer, "{place}");
        assert!(error.message.contains("file") || error.message.contains("folder"), "{error}");
    }
    let within = stored(&inline, Origin::Api).unwrap().destination;
    assert_eq!(within.to_string(), "duckdb:/var/lib/backstitch/warehouse.duckdb");
    let server = inline.replace("duckdb:warehouse.duckdb", "postgres://u@example.com/d");
    let asks = |origin| stored(&server, origin).unwrap().target().unwrap().asks_environment;
    assert!(asks(Origin::File), "the host's own passwords are its own");
    assert!(!asks(Origin::Api), "what a user declares gets no password of the host's");
    let tap = "[integration.Shop]\ndestination = \"duckdb:w.duckdb\"\n\
               source = { type = \"singer\", command = [\"tap-x\"], config = { password = \"hunter2\" } }";
    let error = stored(tap, Origin::File).map(|_| ()).unwrap_err();
    assert!(
        error.message.contains("`config.password`") && !error.message.contains("hunter2"),
        "{error}"
    );
    let error = refused(&tap.replace("\"hunter2\"", "{ env = \"X\" }"));
    assert_eq!(error.pointer, "/settings/source/command");
}

#[test]
fn what_a_tap_is_given_is_sealed_and_put_back() {
    let text = "[integration.Shop]\ndestination = \"duckdb:w.duckdb\"\nsource = { type = \"singer\", account = \"a\", \
                command = [\"tap-x\", \"--key=hunter2\"], config = { db = { pins = [1.50, \"hunter2\"] } } }";
    let path = Path::new("/etc/backstitch/backstitch.toml");
    let (file, declaration) = parse_all(path, text).unwrap().integrations.remove(0);
    let (settings, secrets) = declaration.stored(&file, true).unwrap();
    assert!(!serde_json::Value::Object(settings.clone()).to_string().contains("hunter2"));
    let read = |secrets: &Secrets| {
        let stored = Stored {
            name: &file.name,
            schema_name: Some(file.schema.as_str()),
            origin: Origin::File,
            settings: &settings,
            start_date: None,
            secrets,
        };
        stored.read(Path::new("/var/lib/backstitch"))
    };
    let tap = |integration: &Integration| {
        let SourceSettings::Singer(singer) = &integration.source else { panic!("it is a tap") };
        let tap = singer.tap().unwrap();
        (tap.command, tap.config.expose_secret().to_owned(), tap.fingerprint)
    };
    assert_eq!(tap(&read(&secrets).unwrap()), tap(&file));
    let error = Failure::from(read(&Secrets::new()).map(|_| ()).unwrap_err()).render();
    assert!(error.contains("sealed") && error.contains("key"), "{error}");
}

#[test]
fn reads_how_the_service_goes_about_it() {
    let read = |text: &str| parse_all(Path::new("/etc/b/backstitch.toml"), text);
    let defaults = read("").unwrap().service;
    assert_eq!(defaults.data_folder, Path::new("/etc/b/backstitch-data"));
    assert!(defaults.listen.ip().is_loopback());
    let text = "[service]\ndata_dir = \"/var/lib/b\"\nlisten = \"127.0.0.1:1\"\nconcurrency = 2\nlog_format = \"json\"\n\
                retention = { log_days = 7, load_days = 61 }";
    let settings = read(text).unwrap().service;
    let StoreAddress::File(path) = &settings.store else { panic!("{settings:?}") };
    assert_eq!(path, Path::new("/var/lib/b/control.db"));
    assert_eq!((settings.concurrency, settings.log_form), (2, LogForm::Json));
    assert_eq!(settings.retention.logs.age.num_days(), 7);
    for (wrong, said) in [
        ("lissen = \"x\"", "Did you mean `listen`?"),
        ("listen = \"8720\"", "no address with a port"),
        ("concurrency = 0", "from 1 to 1000"),
        ("retention = { load_days = 30 }", "from 61 to 3660"),
        ("store = \"postgres://u:hunter2@h/d\"", "holds a password"),
        ("store = \"mysql://h/d\"", "can't be there"),
        ("trusted_proxies = [\"proxy\"]", "neither an address nor a network"),
        ("billing_anchor = \"2026-11-01T06:00:00Z\"", "midnight in UTC"),
    ] {
        let error = read(&format!("[service]\n{wrong}")).map(|_| ()).unwrap_err();
        let error = Failure::from(error).render();
        assert!(error.contains(said) && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn names_the_line_and_the_nearest_key() {
    insta::assert_snapshot!(refusal("destination", "destinaton = \"duckdb:w\""), @r#"
    error: `[integration."Stitch Bronto"]` has no `destination` (backstitch.toml:2:1)
    hint: Did you mean `destination` by `destinaton`?
    "#);
    insta::assert_snapshot!(refusal("lease", "colour = 1"), @r#"
    error: Unknown key `colour` in `[integration."Stitch Bronto"]` (backstitch.toml:8:1)
    hint: Known here: `source`, `streams`, `destination`, `schema`, `schedule`, `tables`, `columns`, `methods`, `nested`, `lease_seconds`, `max_rejects`, `accept_source`, `rejects_retention`
    "#);
    insta::assert_snapshot!(
        refusal("source", "source = { type = \"bronto\", tokn = { env = \"X\" }, token = \"x\" }"), @r"
        error: Unknown key `tokn` in `source` (backstitch.toml:3:29)
        hint: Did you mean `token`?
        ");
}

#[test]
fn refuses_methods_that_make_no_sense() {
    insta::assert_snapshot!(refusal("tables", "methods = { list = \"incremental\" }"), @r"
    error: `list` can't be replicated incrementally: Bronto has no date to select lists by, so every run reads them all (backstitch.toml:6:20)
    hint: Leave its method out
    ");
    insta::assert_snapshot!(refusal("tables", "methods = { inbound_activity = \"full-table\" }"), @r"
    error: `inbound_activity` can't be replicated as a full table: Bronto gives the activities of the last 30 days only, and with each run the older ones would go (backstitch.toml:6:32)
    hint: Leave its method out; `--full-refresh` reads again what Bronto still has, and keeps the rest
    ");
    insta::assert_snapshot!(refusal("tables", "methods = { contact = \"FULL_TABLE\" }"), @"error: The method of a table must be `incremental` or `full-table` (backstitch.toml:6:23)");
    insta::assert_snapshot!(refusal("columns", "methods = { list = \"full-table\" }"), @"error: `methods` names the table `list`, which `tables` leaves out (backstitch.toml:7:20)");
}

#[test]
fn refuses_what_is_wrong_with_what_to_do() {
    insta::assert_snapshot!(refusal("schedule", "schedule = { every = \"2h\" }"), @r"
    error: `2h` is no frequency (backstitch.toml:5:22)
    hint: Take one of `30m`, `1h`, `3h`, `6h`, `12h`, `24h`
    ");
    insta::assert_snapshot!(refusal("schedule", "schedule = { cron = \"* * * * *\" }"), @r"
    error: A cron expression has six fields, or seven with a year; this one has 5 (backstitch.toml:5:21)
    hint: Begin with `0` for the seconds, and write `?` in one day field, as in `0 0 9 ? * MON-FRI`
    ");
    insta::assert_snapshot!(refusal("schedule", "schedule = { cron = \"0 99 0 ? * *\" }"), @r"
    error: In the minutes field of the cron expression, `99` is out of range (backstitch.toml:5:21)
    hint: It takes numbers from 0 to 59, `*`, lists, ranges and steps, as in `0/15` or `5-10,30`
    ");
    insta::assert_snapshot!(
        refusal("schedule", "schedule = { cron = \"0 0 9 ? * *\", zone = \"Europe/Berln\" }"), @r"
    error: `Europe/Berln` is no time zone of the IANA database (backstitch.toml:5:43)
    hint: Did you mean `Europe/Berlin`?
    ");
    insta::assert_snapshot!(refusal("schedule", "schedule = { every = \"6h\", catch_up = \"yes\" }"), @"error: `catch_up` must be `true` or `false` (backstitch.toml:5:39)");
    insta::assert_snapshot!(refusal("schedule", "schedule = { every = \"6h\", catchup = true }"), @r"
    error: Unknown key `catchup` in `schedule` (backstitch.toml:5:28)
    hint: Did you mean `catch_up`?
    ");
    insta::assert_snapshot!(refusal("schedule", "schedule = { anchor = \"2026-11-23T13:00:00Z\" }"), @r#"
    error: A schedule needs either `every` (and perhaps `anchor`) or `cron` (backstitch.toml:5:12)
    hint: Write it like `{ every = "6h" }` or `{ cron = "0 0 9 ? * MON-FRI" }`
    "#);
    insta::assert_snapshot!(refusal("schedule", "schedule = { every = \"6h\", anchor = \"noon\" }"), @r#"
    error: `anchor` must be an RFC 3339 date-time (backstitch.toml:5:37)
    hint: Write it like `"2026-11-23T13:00:00Z"`
    "#);
    insta::assert_snapshot!(refusal("destination", "destination = \"postgres://u:hunter2@h/d\""), @r#"
    error: The destination's address holds a password, which anybody who sees it can read (backstitch.toml:4:15)
    hint: Leave it out, and give it in the configuration as `{ url = "…", password = { env = "NAME" } }`, or in PGPASSWORD or PGPASSFILE
    "#);
    insta::assert_snapshot!(
        refusal("destination", "destination = { url = \"postgres://u@h/d\", password = \"hunter2\" }"), @r#"
        error: A password must not stand in the configuration (backstitch.toml:4:54)
        hint: Write `password = { env = "WAREHOUSE_PASSWORD" }` or `password = { file = "PATH" }`
        "#);
    insta::assert_snapshot!(refusal("destination", "destination = \"snowflake://a/b\""), @r"
    error: Destinations of the kind `snowflake` are not in this version (backstitch.toml:4:15)
    hint: This version writes to `duckdb:PATH` and `postgres://USER@HOST/DATABASE`
    ");
    insta::assert_snapshot!(refusal("tables", "tables = [\"contacts\"]"), @r"
    error: There is no table `contacts` (backstitch.toml:6:10)
    hint: Did you mean `contact`?
    ");
    insta::assert_snapshot!(refusal("tables", "tables = [\"list\"]"), @"error: `columns` names the table `contact`, which `tables` leaves out (backstitch.toml:7:23)");
    insta::assert_snapshot!(refusal("lease", "lease_seconds = 1"), @"error: `lease_seconds` must be from 2 to 86400 (backstitch.toml:8:17)");
    insta::assert_snapshot!(refusal("lease", "schema = \"Bronto\""), @"error: The schema name `Bronto` may hold only lower-case letters, digits, `_` and `$` (backstitch.toml:8:10)");
    insta::assert_snapshot!(
        refusal("source", "source = { type = \"bronto\", token = \"x\", start_date = \"yesterday\" }"), @r#"
        error: `start_date` must be an RFC 3339 date-time (backstitch.toml:3:55)
        hint: Write it like `"2025-11-23T00:00:00Z"`
        "#);
}

#[test]
fn a_syntax_error_shows_the_place_but_not_the_line() {
    let shown = refusal("source", "source = { type = \"bronto\", token = \"3D5A2C10-SECRET }");
    assert!(!shown.contains("SECRET"), "{shown}");
    insta::assert_snapshot!(shown, @"error: The file is not valid TOML: missing comma between key-value pairs, expected `,` (backstitch.toml:4:1)");
}

#[test]
fn two_integrations_never_share_a_schema() {
    let twin = GOOD.replace("[integration.\"Stitch Bronto\"]", "[integration.\"stitch-bronto\"]");
    let error = parse(Path::new("backstitch.toml"), &format!("{GOOD}{twin}")).unwrap_err();
    insta::assert_snapshot!(Failure::from(error).render(), @r"
    error: The integrations `Stitch Bronto` and `stitch-bronto` write into the same schema, `stitch_bronto` (backstitch.toml)
    hint: Give one of them another `schema`
    ");
}

#[test]
fn a_singer_tap_may_be_written_as_a_section() {
    let text = r#"
[integration.Shop]
destination = "duckdb:warehouse.duckdb"

[integration.Shop.source]
type = "singer"
command = ["tap-postgres"]
catalog = "shop.catalog.json"
account = "shop production"

[integration.Shop.source.config]
host = "db.example.com"
password = { env = "SHOP_PASSWORD" }
"#;
    let integration = read(text).remove(0);
    assert_eq!(integration.source.title(), "Singer tap tap-postgres");
    assert!(integration.selection.is_empty() && integration.source.start_date().is_none());
}
