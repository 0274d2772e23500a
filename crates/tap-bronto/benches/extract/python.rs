//! The Python tap 1.0.2, from the environment that `cargo xtask setup --tests` makes.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

use crate::account::{Account, Run};

/// Reads the streams with all fields.
pub(crate) fn tap(account: &Account, streams: &[&str], days: u64) -> Run {
    account.configure(days, &json!({}));
    let catalog = command(account, &["-d"]).output().unwrap();
    assert!(catalog.status.success(), "{}", String::from_utf8_lossy(&catalog.stderr));
    account.select(std::str::from_utf8(&catalog.stdout).unwrap(), streams, &[]);
    account.measure(&mut command(account, &["-p", "catalog.json"]))
}

fn command(account: &Account, arguments: &[&str]) -> Command {
    let launcher =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../bronto-sim/tests/peers/python_tap.py");
    let mut python = Command::new(interpreter());
    python.arg(launcher).arg(format!("{}?wsdl", account.server.endpoint()));
    python.args(["-c"]).arg(account.path("config.json")).args(arguments);
    python.current_dir(account.path(".")).env("NO_PROXY", "*").env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

fn interpreter() -> PathBuf {
    let peers = std::env::var_os("BACKSTITCH_PEERS").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers"),
        PathBuf::from,
    );
    let python = peers.join("tap-bronto/bin/python");
    assert!(python.exists(), "`{}` is missing: run `cargo xtask setup --tests`", python.display());
    python
}
