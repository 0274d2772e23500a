//! What a service does beyond replicating, asked for from elsewhere: backfills, audits, replays, moved bookmarks, copies,
//! users and tokens.

use crate::{
    account,
    programs::{INTEGRATION, Running},
    remote::{LINES, replicated},
    served::Host,
    serving::terminate,
    truth,
    warehouse::{SCHEMA, Warehouse},
};

#[test]
fn bookmarks_and_rejects_are_shown_moved_and_replayed_from_elsewhere() {
    let warehouse = Warehouse::duckdb();
    let account = account::start_sized(60);
    let host = Host::new(&warehouse, LINES);
    let served = replicated(&account, &host);
    let ask = |arguments: &[&str], code: i32| served.ask(&host, arguments).expect(code);
    let shown = ask(&["state"], 0).stdout;
    assert!(shown.contains("contact") && shown.contains("Backfill left"), "{shown}");
    let state = ask(&["state", INTEGRATION, "--json"], 0).json();
    assert!(state["streams"][0]["bookmark"].is_string(), "{state:#}");
    let preview = ask(&["state", "--rewind", "contact=900d"], 0).stdout;
    assert!(preview.contains("moves back to") && preview.contains("repeat the command"));
    let told = ask(&["state", "--rewind", "contact=900d", "--json"], 0).json();
    assert_eq!(
        (&told["is_started"], told["moves"].as_array().map(Vec::len)),
        (&false.into(), Some(1))
    );
    let moved = ask(&["state", "--rewind", "contact=900d", "--yes"], 0).stdout;
    assert!(moved.contains("The bookmark of contact moved from"), "{moved}");
    assert!(moved.ends_with(" main - INFO Done\n"), "{moved}");
    let report = ask(&["state", "--remove", "unsubscribe", "--yes", "--json"], 0).json();
    assert_eq!(report["report"]["moves"][0]["stream"], "unsubscribe", "{report:#}");
    ask(&["runs", "report", report["run_id"].as_str().unwrap()], 0).json();
    let refused = ask(&["state", "--remove", "list"], 2).failure();
    assert!(refused.contains("no bookmark that could be moved"), "{refused}");

    assert_eq!(ask(&["rejects", "--table", "contact"], 0).stdout, "No row was rejected\n");
    assert_eq!(
        ask(&["rejects", "--table", "contact", "--replay", "--yes"], 0).stdout,
        "There is nothing to replay\n"
    );
    let backfill = ["integrations", "start", INTEGRATION, "--follow", "--backfill"];
    let span = [&backfill[..], &["2025-01-01..2025-02-01", "--table", "contact"]].concat();
    assert!(ask(&span, 0).stdout.ends_with(" main - INFO Done\n"));
    terminate(served.serving);
    truth::assert_equal(&account, &warehouse);

    // A row is taken away, and one stands among the rejects that can be read.
    warehouse.execute(&format!(
        "insert into {SCHEMA}._sdc_rejected (reject_id, run_id, table_name, stream, reason, reason_code, record, \
         _sdc_rejected_at, _sdc_extracted_at, _sdc_sequence, _sdc_table_version) values ('r1', 'x', 'contact', 'contact', \
         'A value is no number', 'wrong_type', '<return><id>new</id><email>ann@example.com</email>\
         <modified>2026-01-01T00:00:00Z</modified></return>', timestamp '2026-01-01', timestamp '2026-01-01', 1, 0)"
    ));
    warehouse.execute(&format!(
        "delete from {SCHEMA}.contact where id = (select min(id) from {SCHEMA}.contact)"
    ));
    let served = host.serve();
    let ask = |arguments: &[&str], code: i32| served.ask(&host, arguments).expect(code);
    let listed = ask(&["rejects"], 0).stdout;
    assert!(listed.contains("wrong_type") && !listed.contains("ann@"), "{listed}");
    assert!(ask(&["rejects", "--id", "r1"], 0).stdout.contains("ann@example.com"));
    let preview = ask(&["rejects", "--id", "r1", "--replay"], 0).stdout;
    assert!(preview.contains("Can be read") && preview.contains("`--yes`"), "{preview}");
    let done = ask(&["rejects", "--id", "r1", "--replay", "--yes"], 0).stdout;
    assert!(done.contains("Replayed") && done.contains(" main - INFO Done\n"), "{done}");
    let replayed =
        ask(&["rejects", "--table", "contact", "--state", "replayed", "--json"], 0).json();
    assert_eq!(replayed["rejects"][0]["id"], "r1", "{replayed:#}");
    assert_eq!(replayed["reasons"].as_array().map(Vec::len), Some(0));

    let audit = served.ask(&host, &["audit", "--table", "contact", "--days", "3000"]).expect(7);
    assert!(audit.stdout.contains("The account and the destination differ"), "{}", audit.stdout);
    assert!(audit.failure().contains("`repair`"), "{}", audit.stderr);
    let mended = ask(&["audit", "--table", "unsubscribe", "--json"], 0).json();
    assert_eq!((&mended["kind"], &mended["report"]["equal"]), (&"audit".into(), &true.into()));
    assert!(ask(&["audit", "--all"], 2).failure().contains("--days"));
    terminate(served.serving);
}

#[test]
fn a_copy_slots_users_and_tokens_are_made_and_listed_from_elsewhere() {
    let warehouse = Warehouse::duckdb();
    let account = account::start_sized(10);
    let host = Host::new(&warehouse, LINES);
    let served = replicated(&account, &host);
    let ask = |arguments: &[&str], code: i32| served.ask(&host, arguments).expect(code);
    let missing = ask(&["integrations", "clone", INTEGRATION, "Copy"], 2).failure();
    assert!(missing.contains("token"), "secrets are given anew: {missing}");
    let clone =
        ["integrations", "clone", INTEGRATION, "Copy", "--secret", "token=env:BRONTO_TOKEN"];
    let made = ask(&clone, 0).stdout;
    assert!(
        made.starts_with("Made Copy, into schema `copy`\n") && made.contains("Paused"),
        "{made}"
    );
    let slots = ask(&["integrations", "slots", INTEGRATION], 0).stdout;
    assert!(slots.contains("started"), "{slots}");
    let slots = ask(&["integrations", "slots", INTEGRATION, "--json"], 0).json();
    assert_eq!(slots["items"][0]["outcome"], "started", "{slots:#}");
    assert_eq!(
        ask(&["integrations", "slots", "Copy"], 0).stdout,
        "No slot of its schedule has come yet\n"
    );
    ask(&["integrations", "schema-events", INTEGRATION], 0);
    let run = host.control().last_run().unwrap();
    assert!(ask(&["runs", "stop", &run.id], 0).stdout.contains("succeeded"), "it is over already");

    let with_password = |arguments: &[&str]| {
        let mut command = host.remote(&served.server(), &host.token, arguments);
        command.env("BACKSTITCH_PASSWORD", "another long one");
        Running::start(command).wait()
    };
    let made = with_password(&["users", "create", "Bob", "--role", "member"]).expect(0).stdout;
    assert!(made.starts_with("Bob, member: "), "{made}");
    assert!(
        with_password(&["users", "create", "Bob"]).expect(2).failure().contains("There is already")
    );
    assert!(
        ask(&["users", "edit", "Bob", "--role", "viewer"], 0).stdout.starts_with("Bob, viewer")
    );
    with_password(&["users", "edit", "Bob", "--password"]).expect(0);
    assert!(ask(&["users", "edit", "Bob"], 2).failure().contains("Nothing is to be changed"));
    let token = ask(&["tokens", "create", "of a script", "--user", "Bob"], 0).stdout;
    let as_bob = |arguments: &[&str]| {
        Running::start(host.remote(&served.server(), token.trim(), arguments)).wait()
    };
    as_bob(&["integrations"]).expect(0);
    as_bob(&["users"]).expect(3);
    let tokens = ask(&["tokens", "--user", "Bob", "--json"], 0).json();
    let id = tokens["items"][0]["id"].as_str().unwrap();
    let shown = as_bob(&["tokens"]).expect(0).stdout;
    assert!(shown.contains("of a script") && shown.contains("read"), "{shown}");
    assert!(!shown.contains(token.trim()));
    ask(&["tokens", "revoke", id], 0);
    as_bob(&["integrations"]).expect(3);
    assert!(ask(&["users", "disable", "Bob"], 2).failure().contains("--yes"));
    assert!(ask(&["users", "disable", "Bob", "--yes"], 0).stdout.contains("Disabled Bob"));
    let users = ask(&["users"], 0).stdout;
    assert!(users.contains("Ada") && users.contains("Bob"), "{users}");
    assert!(ask(&["users", "disable", "Ada", "--yes"], 2).failure().contains("administrator"));
    terminate(served.serving);
}
