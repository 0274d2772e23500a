//! What the configuration file declares to the service, and the keys and folders of its host.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use service::integration::PausedBy;

use crate::{
    account::{self, TOKEN},
    programs::{INTEGRATION, Running, Workplace},
    serving::{Control, SERVICE, serve, terminate},
    truth,
    warehouse::{SCHEMA, Warehouse},
};

/// Changes the configuration file.
fn rewrite(workplace: &Workplace, from: &str, to: &str) {
    let path = workplace.path().join("backstitch.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(&path, text.replace(from, to)).unwrap();
}

#[test]
fn a_token_in_the_file_is_sealed_and_keys_can_be_changed() {
    let account = account::start_sized(20);
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::new(&account, &warehouse, SERVICE);
    rewrite(&workplace, "{ env = \"BRONTO_TOKEN\" }", &format!("\"{TOKEN}\""));
    rewrite(&workplace, "[service]", "[service]\nkey_file = \"service.key\"");
    let said = workplace.run(&["serve"]).expect(2);
    assert!(said.failure().contains("backstitch key new"), "{}", said.stderr);
    workplace.run(&["key", "new", "service.key"]).expect(0);
    let again = workplace.run(&["key", "new", "service.key"]).expect(2);
    assert!(again.failure().contains("backstitch key rotate"), "{}", again.stderr);

    let control = Control::of(&workplace);
    let serving = serve(&workplace);
    control.succeeded();
    let said = terminate(serving);
    for place in [said.as_bytes(), &control.bytes()] {
        assert!(!place.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes()));
    }
    let sealed = control.secrets();
    assert_eq!((sealed.len(), sealed[0].name.as_str()), (1, "token"));

    workplace.run(&["key", "rotate", "service.key"]).expect(0);
    let serving = serve(&workplace);
    assert_ne!(control.secrets()[0].key_id, sealed[0].key_id);
    terminate(serving);
    // What all is sealed with now is enough.
    let file = workplace.path().join("service.key");
    let keys = fs::read_to_string(&file).unwrap();
    assert_eq!(keys.lines().count(), 2);
    fs::write(&file, keys.lines().next().unwrap()).unwrap();
    control.start();
    let serving = serve(&workplace);
    control.succeeded();
    terminate(serving);
    truth::assert_equal(&account, &warehouse);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let said = workplace.run(&["serve"]).expect(2);
    assert!(said.failure().contains("chmod 600"), "{}", said.stderr);
}

#[test]
fn another_start_date_is_taken_only_when_it_is_confirmed() {
    let account = account::start_sized(60);
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::new(&account, &warehouse, SERVICE);
    let control = Control::of(&workplace);
    let serving = serve(&workplace);
    control.succeeded();
    terminate(serving);
    let before = control.integration().unwrap();
    rewrite(&workplace, "2025-11-01T00:00:00Z", "2025-10-01T00:00:00Z");
    let serving = serve(&workplace);
    let said = terminate(serving);
    assert!(said.contains("--reset-start-date") && said.contains("Nothing is deleted"), "{said}");
    assert_eq!(control.integration().unwrap(), before);

    control.start();
    let mut serving =
        Running::start(workplace.command(&["serve", "--reset-start-date", INTEGRATION]));
    serving.wait_for("Ready");
    control.succeeded();
    terminate(serving);
    let after = control.integration().unwrap();
    assert_eq!(after.start_date.to_rfc3339(), "2025-10-01T00:00:00+00:00");
    assert_eq!(after.reset_requested_at, None);
    let start_date = format!(
        "select count(*) from {SCHEMA}._sdc_state where stream = '' and start_date like '2025-10-01%'"
    );
    assert_eq!(warehouse.number(&start_date), 1);
    let again = format!(
        "select cast(sum(unchanged) as bigint) from {SCHEMA}._sdc_loads where table_name = 'inbound_activity'"
    );
    assert!(warehouse.number(&again) >= 100, "all activities are read again");
    control.assert_loads(&warehouse);
    // It is the stored one now, and asked for once.
    let said = terminate(serve(&workplace));
    assert!(!said.contains("start date"), "{said}");
    control.start();
    let serving = serve(&workplace);
    control.succeeded();
    terminate(serving);
    truth::assert_equal(&account, &warehouse);
}

#[test]
fn what_the_file_no_longer_has_is_paused_and_can_come_back() {
    let account = account::start_sized(20);
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::new(&account, &warehouse, SERVICE);
    let control = Control::of(&workplace);
    let serving = serve(&workplace);
    control.succeeded();
    terminate(serving);
    let declared = fs::read_to_string(workplace.path().join("backstitch.toml")).unwrap();
    fs::write(workplace.path().join("backstitch.toml"), "[service]\nlisten = \"127.0.0.1:0\"\n")
        .unwrap();
    terminate(serve(&workplace));
    let paused = control.integration().unwrap();
    assert_eq!(paused.paused.map(|(_, by)| by), Some(PausedBy::System));
    fs::write(workplace.path().join("backstitch.toml"), declared).unwrap();
    terminate(serve(&workplace));
    let back = control.integration().unwrap();
    assert_eq!((back.paused, back.id), (None, paused.id));
}

#[test]
fn the_doctor_finds_what_is_wrong() {
    let account = account::start_sized(20);
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::new(&account, &warehouse, SERVICE);
    workplace.run(&["key", "new", "service.key"]).expect(0);
    rewrite(&workplace, "[service]", "[service]\nkey_file = \"service.key\"");
    let said = workplace.run(&["doctor"]).expect(0);
    assert!(said.stdout.ends_with("All is well\n"), "{}", said.stdout);
    assert!(!workplace.path().join("backstitch-data").exists(), "it makes nothing");
    let control = Control::of(&workplace);
    let mut serving = serve(&workplace);
    serving.wait_for("Reading");
    serving.kill();
    let key = workplace.path().join("service.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    control.until("the end of a lease", |run| {
        run.ended_at.is_some() || run.lease_expires_at.is_some_and(|end| end < chrono::Utc::now())
    });
    rewrite(&workplace, &warehouse.address(), "duckdb:nowhere/at/all.duckdb");
    let said = workplace.run(&["doctor"]).expect(2);
    assert!(
        said.stdout.contains("✗ Key: ") && said.stdout.contains("chmod 600"),
        "{}",
        said.stdout
    );
    let said = workplace.run(&["doctor", "--json"]).expect(2).json();
    let findings = said["findings"].as_array().unwrap();
    let bad = findings.iter().filter(|finding| finding["verdict"] == "bad");
    let exits: Vec<i64> = bad.filter_map(|finding| finding["exit_code"].as_i64()).collect();
    assert_eq!(exits, [2, 5], "{said:#}");
    assert!(
        findings.iter().all(|finding| finding["verdict"] == "good" || finding["hint"].is_string())
    );
    assert!(Path::new(&workplace.path().join("backstitch-data")).exists());
    rewrite(&workplace, "lease_seconds", "leese_seconds");
    let said = workplace.run(&["doctor"]).expect(2);
    assert!(said.stdout.contains("lease_seconds"), "{}", said.stdout);
}
