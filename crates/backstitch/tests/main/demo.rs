//! `backstitch demo`: what everybody tries first.

use std::{path::Path, process::Command};

use crate::{
    programs::{Ended, Running},
    replication::assert_joins_return_rows,
    truth,
    warehouse::Warehouse,
};

fn demo(folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backstitch"));
    command
        .args(["demo", "--rows", "500", "--dir"])
        .arg(folder)
        .args(arguments)
        .env_remove("BACKSTITCH_LOG");
    Running::start(command).wait()
}

#[test]
fn equals_the_account_that_it_simulates() {
    let warehouse = Warehouse::duckdb_named("backstitch-demo.duckdb");
    demo(warehouse.file().parent().unwrap(), &[]).expect(0);
    let account = bronto_sim::Server::start_blocking(&backstitch::demo_account(500)).unwrap();
    truth::assert_equal(&account, &warehouse);
    assert_joins_return_rows(&warehouse);
}

#[test]
fn fills_a_file_shows_it_and_finds_nothing_new_the_second_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = demo(folder.path(), &["--json"]).expect(0).json();
    assert_eq!(first["rows"]["contact"], 500);
    assert_eq!(first["rows"]["inbound_activity"], 1000);
    assert!(!first["join"].as_array().unwrap().is_empty());
    assert!(!first["rejects"].as_array().unwrap().is_empty(), "unsubscribes that share a key");
    for reject in first["rejects"].as_array().unwrap() {
        assert_eq!(
            (reject["table"].as_str(), reject["reason_code"].as_str()),
            (Some("unsubscribe"), Some("key_collision"))
        );
    }
    let again = demo(folder.path(), &[]).expect(0);
    assert!(again.stdout.contains("Nothing new"), "{}", again.stdout);
    assert!(again.stdout.contains("What next"), "{}", again.stdout);
    let third = demo(folder.path(), &["--json"]).expect(0).json();
    assert_eq!((&third["rows"], &third["rejects"]), (&first["rows"], &first["rejects"]));
}

#[test]
fn a_demo_of_another_size_is_not_mixed_in() {
    let folder = tempfile::tempdir().unwrap();
    demo(folder.path(), &[]).expect(0);
    let mut command = Command::new(env!("CARGO_BIN_EXE_backstitch"));
    command.args(["demo", "--rows", "600", "--dir"]).arg(folder.path());
    let refused = Running::start(command).wait().expect(8);
    assert!(
        refused.failure().contains("holds something else than a demo of this size"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_folder_that_does_not_exist_is_made_and_one_that_cannot_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("some").join("where");
    demo(&new, &[]).expect(0);
    assert!(new.join("backstitch-demo.duckdb").is_file());

    std::fs::write(folder.path().join("file"), "").unwrap();
    let failed = demo(&folder.path().join("file").join("none"), &[]).expect(5);
    assert!(failed.failure().contains("can't be created"), "{}", failed.stderr);
}
