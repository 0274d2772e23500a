//! The token and the database's password: given to the program, and seen nowhere again.

use std::{fs, path::Path};

use crate::{
    account::{self, TOKEN},
    programs::{Running, Workplace},
    warehouse::Warehouse,
};

#[test]
fn no_secret_is_seen_in_anything_that_duckdb_runs_leave() {
    no_secret_is_seen(&Warehouse::duckdb(), &[TOKEN]);
}

#[test]
fn no_secret_is_seen_in_anything_that_postgres_runs_leave() {
    let warehouse = Warehouse::postgres();
    let password = match &warehouse {
        Warehouse::Postgres(cluster) => cluster.password().to_owned(),
        Warehouse::DuckDb(..) => unreachable!("it was made as PostgreSQL"),
    };
    no_secret_is_seen(&warehouse, &[TOKEN, &password]);
}

fn no_secret_is_seen(warehouse: &Warehouse, secrets: &[&str]) {
    let account = account::start_sized(40);
    account.set_behaviour("latency_ms", "20").unwrap();
    let workplace = Workplace::new(&account, warehouse, "");
    let mut seen = String::new();

    let mut command = workplace.command(&["run", "--json"]);
    command.env("BACKSTITCH_LOG", "trace");
    let running = Running::start(command);
    seen.push_str(&fs::read_to_string(format!("/proc/{}/cmdline", running.id())).unwrap());
    let ended = running.wait().expect(0);
    seen.push_str(&ended.stdout);
    seen.push_str(&ended.stderr);

    for arguments in [&["check"][..], &["status"], &["loads"], &["rejects"], &["rejects", "--json"]]
    {
        let ended = workplace.run(arguments).expect(0);
        seen.push_str(&ended.stdout);
        seen.push_str(&ended.stderr);
    }
    account.set_behaviour("login_fault", "102").unwrap();
    let mut command = workplace.command(&["run", "--json"]);
    command.env("BACKSTITCH_LOG", "trace");
    let failed = Running::start(command).wait();
    assert_ne!(failed.code(), Some(0));
    seen.push_str(&failed.stdout);
    seen.push_str(&failed.stderr);
    seen.push_str(&warehouse.dump());

    let mut files = String::new();
    read_all(workplace.path(), &mut files);
    if let Warehouse::DuckDb(folder, _) = warehouse {
        read_all(folder.path(), &mut files);
    }
    for secret in secrets {
        assert!(!seen.contains(secret), "a secret is in an output");
        assert!(!files.contains(secret), "a secret is in a file");
    }
    assert!(seen.len() > 1_000 && !files.is_empty(), "something was looked at");
}

fn read_all(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, into);
        } else {
            into.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
        }
    }
}
