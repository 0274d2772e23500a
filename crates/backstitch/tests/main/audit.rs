//! Audits: what agrees, what was tampered with, what only moves by itself, and what a repair mends.

use bronto_sim::{Mutation, RunningServer, Table};
use serde_json::Value;

use crate::{
    account,
    programs::Workplace,
    truth,
    warehouse::{SCHEMA, Warehouse},
};

#[test]
fn duckdb_agrees_with_its_account() {
    agrees_with_its_account(&Warehouse::duckdb());
}

#[test]
fn postgres_agrees_with_its_account() {
    agrees_with_its_account(&Warehouse::postgres());
}

#[track_caller]
fn agrees_with_its_account(warehouse: &Warehouse) {
    let account = account::start();
    let workplace = Workplace::new(&account, warehouse, "");
    workplace.run(&["run"]).expect(0);
    let found = workplace.run(&["audit", "--all", "--json"]).expect(0).json();
    assert_eq!(found["equal"], true);
    for table in Table::ALL {
        let found = of(&found, table.name());
        let rows = warehouse.rows(table.name()).len();
        assert_eq!(found["source_rows"], rows, "{found:#}");
        assert_eq!(found["stored_rows"], rows);
        assert_eq!(found["source_digest"], found["stored_digest"]);
        assert_eq!(found["drift"], serde_json::json!({}));
    }
    let collisions = warehouse.rows("_sdc_rejected").len();
    assert!(collisions > 0, "the account has unsubscribes that share a key");
    assert_eq!(of(&found, "unsubscribe")["not_compared"]["rejected"], collisions);

    // What has happened since is the next run's business.
    let mutation = Mutation {
        contacts: 90,
        activities: 50,
        unsubscribes: 20,
        advance_seconds: 600,
        ..Mutation::default()
    };
    account.mutate(&mutation);
    account.advance_seconds(60);
    let found = workplace.run(&["audit", "--all", "--json"]).expect(0).json();
    let contacts = &of(&found, "contact")["not_compared"];
    assert!(contacts["changed_since_bookmark"].as_u64() > Some(0), "{contacts:#}");
    workplace.run(&["run"]).expect(0);
    workplace.run(&["audit", "--all"]).expect(0);
}

fn of<'j>(found: &'j Value, table: &str) -> &'j Value {
    let tables = found["tables"].as_array().unwrap();
    tables.iter().find(|found| found["table"] == table).unwrap()
}

#[test]
fn duckdb_shows_what_was_tampered_with_and_mends_it() {
    shows_what_was_tampered_with_and_mends_it(&Warehouse::duckdb());
}

#[test]
fn postgres_shows_what_was_tampered_with_and_mends_it() {
    shows_what_was_tampered_with_and_mends_it(&Warehouse::postgres());
}

#[track_caller]
fn shows_what_was_tampered_with_and_mends_it(warehouse: &Warehouse) {
    let account = account::start();
    let workplace = Workplace::new(&account, warehouse, "");
    workplace.run(&["run"]).expect(0);
    let ids = contacts_with_lists(&account);
    let [altered, deleted, shuffled, drifted] = [&ids[0], &ids[1], &ids[2], &ids[3]];
    let contact = format!("{SCHEMA}.contact");
    let shuffle = match warehouse {
        Warehouse::DuckDb(..) => {
            format!(
                "update {contact} set \"listIds\" = list_append(\"listIds\", 'x') where id = '{shuffled}'"
            )
        }
        Warehouse::Postgres(_) => format!(
            "update {SCHEMA}.\"contact__listIds\" set value = 'x' where _sdc_source_key_id = '{shuffled}' \
             and _sdc_level_0_id = 0"
        ),
    };
    for sql in [
        format!(
            "update {contact} set email = 'somebody', \"numOpens\" = 77777 where id = '{altered}'"
        ),
        format!("delete from {contact} where id = '{deleted}'"),
        format!("update {contact} set \"numOpens\" = 99999 where id = '{drifted}'"),
        format!(
            "insert into {SCHEMA}.inbound_activity (id, \"createdDate\") \
             select 'made up', max(\"createdDate\") from {SCHEMA}.inbound_activity"
        ),
        format!(
            "delete from {SCHEMA}.unsubscribe where created = (select min(created) from {SCHEMA}.unsubscribe)"
        ),
        shuffle,
    ] {
        warehouse.execute(&sql);
    }

    let ended = workplace.run(&["audit", "--all", "--json"]).expect(7);
    assert!(ended.failure().contains("`--repair` reads those days again"), "{}", ended.stderr);
    let found = ended.json();
    assert_eq!(found["equal"], false);
    let contacts = of(&found, "contact");
    let figures = |found: &Value| {
        ["missing", "extra", "different", "drifted"].map(|figure| found[figure].as_u64().unwrap())
    };
    assert_eq!(figures(contacts), [1, 0, 2, 1], "{contacts:#}");
    assert_eq!(contacts["drift"], serde_json::json!({ "numOpens": 1 }));
    let difference = |id: &str| {
        let all = contacts["differences"].as_array().unwrap();
        all.iter().find(|difference| difference["key"]["id"] == id).unwrap_or(&Value::Null).clone()
    };
    assert_eq!(difference(altered)["columns"], serde_json::json!(["email"]));
    assert_eq!(difference(shuffled)["columns"], serde_json::json!(["listIds"]));
    assert_eq!(difference(deleted)["kind"], "missing");
    assert_eq!(difference(drifted), Value::Null);
    let inbound = of(&found, "inbound_activity");
    assert_eq!(figures(inbound), [0, 1, 0, 0], "{inbound:#}");
    assert_eq!(inbound["differences"][0]["key"]["id"], "made up");
    assert_eq!(figures(of(&found, "unsubscribe"))[0], 1);
    for table in ["outbound_activity", "list"] {
        assert_eq!(of(&found, table)["equal"], true, "{table}");
    }
    let shown = workplace.run(&["audit", "--all", "--limit", "1"]).expect(7).stdout;
    assert!(shown.contains("only in the destination") && shown.contains("2 more of 3"), "{shown}");

    let before = workplace.run(&["state", "--json"]).expect(0).json();
    let rejects = warehouse.rows("_sdc_rejected").len();
    let repaired = workplace.run(&["audit", "--all", "--repair", "--json"]).expect(7);
    assert!(repaired.failure().contains("never deleted"), "{}", repaired.stderr);
    let repaired = repaired.json();
    let left = repaired["after_repair"].as_array().unwrap();
    assert_eq!(left.len(), 3, "{left:#?}");
    let wrong: Vec<&Value> = left.iter().filter(|table| table["equal"] == false).collect();
    assert_eq!(wrong.len(), 1, "{left:#?}");
    assert_eq!((&wrong[0]["table"], &wrong[0]["extra"]), (&"inbound_activity".into(), &1.into()));
    let tables = repaired["repair"]["tables"].as_array().unwrap();
    assert!(tables.iter().all(|table| table["deleted"] == 0 || table["table"] != table["stream"]));
    assert_eq!(workplace.run(&["state", "--json"]).expect(0).json(), before, "no bookmark moved");
    let loads = workplace.run(&["loads", "--json"]).expect(0).json();
    assert_eq!(loads[0]["run_id"], repaired["repair"]["run_id"], "it stands in the ledger");
    assert_eq!(warehouse.rows("_sdc_rejected").len(), rejects, "no reject comes twice");

    warehouse.execute(&format!("delete from {SCHEMA}.inbound_activity where id = 'made up'"));
    workplace.run(&["audit", "--all"]).expect(0);
    // Drift is not mended by itself, but the day's rows came anew.
    warehouse.execute(&format!("update {contact} set \"numOpens\" = null where id = '{drifted}'"));
    workplace.run(&["run", "--full-refresh=contact"]).expect(0);
    truth::assert_equal(&account, warehouse);
}

fn contacts_with_lists(account: &RunningServer) -> Vec<String> {
    let contacts = account.truth(Table::Contact).into_iter();
    let with_lists = contacts.filter(|contact| {
        contact.get("listIds").and_then(Value::as_array).is_some_and(|lists| !lists.is_empty())
    });
    with_lists.map(|contact| contact["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_contact_whose_change_was_lost_is_one_difference() {
    let account = account::start_sized(40);
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::new(&account, &warehouse, "tables = [\"contact\"]");
    workplace.run(&["run"]).expect(0);
    warehouse.execute(&format!(
        "update {SCHEMA}.contact set modified = modified - interval 20 day, status = 'old' \
         where modified = (select max(modified) from {SCHEMA}.contact)"
    ));
    let found = workplace.run(&["audit", "--all", "--json"]).expect(7).json();
    let contacts = of(&found, "contact");
    let figures = ["missing", "extra", "different"].map(|figure| contacts[figure].as_u64());
    assert_eq!(figures, [Some(0), Some(0), Some(1)], "{contacts:#}");
    assert_eq!(contacts["differences"][0]["columns"], serde_json::json!(["status", "modified"]));
    workplace.run(&["audit", "--all", "--repair"]).expect(0);
    workplace.run(&["audit", "--all"]).expect(0);
}

#[test]
fn duckdb_mends_contacts_that_somebody_gave_a_later_date() {
    mends_contacts_that_somebody_gave_a_later_date(&Warehouse::duckdb());
}

#[test]
fn postgres_mends_contacts_that_somebody_gave_a_later_date() {
    mends_contacts_that_somebody_gave_a_later_date(&Warehouse::postgres());
}

/// One within the days that are compared, one behind the bookmark: no later run could change either.
#[track_caller]
fn mends_contacts_that_somebody_gave_a_later_date(warehouse: &Warehouse) {
    let account = account::start_sized(40);
    let workplace = Workplace::new(&account, warehouse, "");
    workplace.run(&["run"]).expect(0);
    for (which, days) in [("min", "1 day"), ("max", "900 day")] {
        warehouse.execute(&format!(
            "update {SCHEMA}.contact set modified = modified + interval '{days}', email = 'somebody' \
             where modified = (select {which}(modified) from {SCHEMA}.contact)"
        ));
    }
    let found = workplace.run(&["audit", "--all", "--json"]).expect(7).json();
    let contacts = of(&found, "contact");
    let figures = ["missing", "extra", "different"].map(|figure| contacts[figure].as_u64());
    assert_eq!(figures, [Some(1), Some(0), Some(1)], "{contacts:#}");
    workplace.run(&["audit", "--all", "--repair"]).expect(0);
    truth::assert_equal(&account, warehouse);
}

#[test]
fn days_can_be_drawn_and_drawn_again() {
    let account = account::start_sized(60);
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::new(&account, &warehouse, "");
    let unknown = workplace.run(&["audit"]).expect(5);
    assert!(unknown.failure().contains("Run the integration first"), "{}", unknown.stderr);
    workplace.run(&["run"]).expect(0);
    let drawn = |arguments: &[&str]| {
        let ended = workplace.run(&[&["audit", "--json", "--sample", "6"], arguments].concat());
        ended.expect(0).json()
    };
    let first = drawn(&[]);
    let seed = first["seed"].to_string();
    assert_eq!(drawn(&["--seed", &seed])["tables"], first["tables"]);
    assert_eq!(of(&first, "contact")["days_compared"], 6);
    let last = workplace.run(&["audit", "--days", "3", "--table", "contact", "--json"]);
    let last = last.expect(0).json();
    assert_eq!(last["tables"].as_array().unwrap().len(), 1);
    assert_eq!(last["tables"][0]["days_compared"], 3);
    insta::assert_snapshot!(workplace.run(&["audit", "--table", "contacts"]).expect(2).failure(), @r"
    error: `contacts` is no table of this integration
    hint: It has `contact`, `inbound_activity`, `outbound_activity`, `list`, `unsubscribe`
    ");
}
