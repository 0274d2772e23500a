//! Bookmarks, shown and moved: what the preview says, what the next run does, and what is refused.

use serde_json::{Value, json};

use crate::{
    account,
    programs::{Running, Workplace},
    truth,
    warehouse::Warehouse,
};

#[test]
fn duckdb_reads_again_what_a_bookmark_moved_back_over() {
    reads_again_what_a_bookmark_moved_back_over(&Warehouse::duckdb());
}

#[test]
fn postgres_reads_again_what_a_bookmark_moved_back_over() {
    reads_again_what_a_bookmark_moved_back_over(&Warehouse::postgres());
}

#[track_caller]
fn reads_again_what_a_bookmark_moved_back_over(warehouse: &Warehouse) {
    let account = account::start_sized(60);
    let workplace = Workplace::new(&account, warehouse, "");
    workplace.run(&["run"]).expect(0);
    let before = bookmarks(&workplace);
    let contacts = account.truth(bronto_sim::Table::Contact).len() as u64;

    let preview = workplace.run(&["state", "--rewind", "contact=900d", "--json"]).expect(0).json();
    assert_eq!(preview["edited"], false);
    let again = preview["changes"][0]["rows_again_at_most"].as_u64().unwrap();
    assert!(again >= contacts, "{preview:#}");
    assert_eq!(bookmarks(&workplace), before, "a preview changes nothing");

    let done = workplace.run(&["state", "--rewind", "contact=900d", "--yes"]).expect(0);
    assert!(done.stdout.contains("`contact` moves back to") && done.stdout.ends_with("Done\n"));
    let after = bookmarks(&workplace);
    assert_ne!(after["contact"]["last_record"], before["contact"]["last_record"]);
    assert_eq!(after["list"], before["list"]);
    let loads = workplace.run(&["loads", "--limit", "1", "--json"]).expect(0).json();
    assert_eq!((&loads[0]["table"], &loads[0]["received"]), (&json!("contact"), &json!(0)));
    assert!(loads[0]["bookmark"].is_string(), "the ledger knows of the edit: {loads:#}");

    let report = workplace.run(&["run", "--json"]).expect(0).json();
    let tables = report["tables"].as_array().unwrap();
    let contact = tables.iter().find(|table| table["table"] == "contact").unwrap();
    assert_eq!(contact["unchanged"].as_u64(), Some(contacts), "{contact:#}");
    assert_eq!((&contact["inserted"], &contact["updated"]), (&json!(0), &json!(0)));
    truth::assert_equal(&account, warehouse);

    let removed = ["unsubscribe", "contact", "inbound_activity"];
    let arguments = removed.iter().flat_map(|stream| ["--remove", stream]);
    workplace.run(&["state", "--yes"].into_iter().chain(arguments).collect::<Vec<_>>()).expect(0);
    let left = &bookmarks(&workplace)["contact"];
    assert_eq!(left, &json!({"fields": before["contact"]["fields"]}), "columns stay what they are");
    workplace.run(&["run"]).expect(0);
    truth::assert_equal(&account, warehouse);
    assert_eq!(bookmarks(&workplace)["contact"], before["contact"]);
}

/// The states of all streams, as `state --json` shows them.
fn bookmarks(workplace: &Workplace) -> Value {
    workplace.run(&["state", "--json"]).expect(0).json()["streams"].clone()
}

#[test]
fn bookmarks_do_not_move_while_a_run_lives() {
    let account = account::start_sized(20);
    let warehouse = Warehouse::postgres();
    let workplace = Workplace::new(&account, &warehouse, "");
    workplace.run(&["run"]).expect(0);
    account::change(&account);
    let mut command = workplace.command(&["run"]);
    command.env("BACKSTITCH_HOLD_AT", "unit_begun");
    let mut held = Running::start(command);
    held.wait_for("holding at unit_begun");
    let refused = workplace.run(&["state", "--rewind", "contact=1d", "--yes"]).expect(8);
    assert!(refused.failure().contains("is claimed by run"), "{}", refused.stderr);
    assert!(refused.failure().contains("bookmarks move while it lives"), "{}", refused.stderr);
    held.kill();
    workplace.run(&["state", "--rewind", "contact=1d", "--yes"]).expect(0);
    workplace.run(&["run"]).expect(0);
    truth::assert_equal(&account, &warehouse);
}

#[test]
fn what_an_edit_would_mean_is_said_first() {
    let account = account::start_sized(20);
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::new(&account, &warehouse, "");
    assert_eq!(workplace.run(&["state"]).expect(5).stdout, "");
    workplace.run(&["run"]).expect(0);
    let shown = workplace.run(&["state"]).expect(0).stdout;
    for stream in ["contact", "inbound_activity", "list", "unsubscribe"] {
        assert!(shown.contains(stream), "{shown}");
    }
    let text = |arguments: &[&str]| {
        let arguments: Vec<&str> = [&["state"], arguments].concat();
        workplace.run(&arguments).expect(0).stdout
    };
    workplace.run(&["state", "--set", "contact=2025-12-01T00:00:00Z", "--yes"]).expect(0);
    insta::assert_snapshot!(text(&["--set", "contact=2026-01-01T00:00:00Z"]), @r"
    `contact` moves FORWARD from 2025-12-01T00:00:00Z to 2026-01-01T00:00:00Z: what lies between and hasn't been read will never be
    Nothing is changed yet; repeat the command with `--yes`
    ");
    let refused = |arguments: &[&str]| {
        let arguments: Vec<&str> = [&["state"], arguments].concat();
        workplace.run(&arguments).expect(2).failure()
    };
    insta::assert_snapshot!(refused(&["--rewind", "contact=1w"]), @r"
    error: `1w` is no span
    hint: Write it like `7d`, `12h`, `30m` or `90s`
    ");
    insta::assert_snapshot!(refused(&["--set", "contact"]), @r"
    error: `--set contact` has no `=`
    hint: Write it like `--set contact=2026-01-02T03:04:05Z`
    ");
    insta::assert_snapshot!(refused(&["--set", "contact=2026-01-01T00:00:00.5Z"]), @r"
    error: `2026-01-01T00:00:00.5Z` has a fraction of a second, and bookmarks are whole seconds
    hint: Write it like `2026-01-02T03:04:05Z`
    ");
    insta::assert_snapshot!(refused(&["--remove", "contact", "--rewind", "contact=1d"]), @r"
    error: `contact` is to be edited twice
    hint: Give one of `--set`, `--rewind` and `--remove` for it
    ");
    let address = warehouse.address();
    let direct = ["--destination", address.as_str(), "--schema", "stitch_bronto"];
    assert!(text(&direct).contains("contact"));
    insta::assert_snapshot!(refused(&[&direct[..], &["--remove", "contact"]].concat()), @r"
    error: Bookmarks can only be edited through their integration
    hint: Name it, with `--config` if need be: the edit claims its schema
    ");
}
