//! Custom fields of contacts as columns of both destinations, while they change in Bronto.

use bronto_sim::{
    ClockMode, CustomField, FieldChange, Mutation, RunningServer, Server, SimConfig, TokenGrant,
};

use crate::{
    account::{self, TOKEN},
    programs::Workplace,
    truth,
    warehouse::{Cell, SCHEMA, Warehouse},
};

#[test]
fn duckdb_keeps_the_columns() {
    columns_stay_whatever_becomes_of_fields(&Warehouse::duckdb());
}

#[test]
fn postgres_keeps_the_columns() {
    columns_stay_whatever_becomes_of_fields(&Warehouse::postgres());
}

fn change(account: &RunningServer, changes: &[FieldChange], contacts: u32) {
    account.change_fields(changes).unwrap();
    account.mutate(&Mutation { contacts, advance_seconds: 1_200, ..Mutation::default() });
    account.advance_seconds(60);
}

#[track_caller]
fn columns_stay_whatever_becomes_of_fields(warehouse: &Warehouse) {
    let account = account::start();
    let workplace = Workplace::new(&account, warehouse, "");
    workplace.run(&["run"]).expect(0);
    truth::assert_equal(&account, warehouse);
    let filled = |column: &str| {
        let sql = format!("select count(\"{column}\") from {SCHEMA}.contact");
        warehouse.number(&sql)
    };
    let (points, affinities) = (filled("loyalty_points"), filled("affinity"));
    assert!(points > 0 && affinities > 0);

    let add = |name: &str, kind: &str| FieldChange::Add { name: name.into(), kind: kind.into() };
    let changes = [
        FieldChange::Rename { name: "loyalty_points".into(), to: "points".into() },
        FieldChange::Remove { name: "affinity".into() },
        add("Email", "checkbox"),
        add("Größe_cm", "integer"),
        add("LOYALTY_points", "text"),
    ];
    // Some are modified while nobody looks, then all of them.
    change(&account, &changes, 50);
    let second = workplace.run(&["run"]).expect(0);
    change(&account, &[], 500);
    let third = workplace.run(&["run"]).expect(0);
    let columns = [
        ("loyalty_points", "points"),
        ("Email_0000000d", "Email"),
        ("LOYALTY_points_0000000f", "LOYALTY_points"),
    ];
    let now = account.custom_fields().into_iter().map(|field| {
        let column = columns.iter().find(|(_, name)| field.name == *name);
        CustomField { name: column.map_or(field.name, |(column, _)| (*column).to_owned()), ..field }
    });
    truth::assert_equal_with(&account, warehouse, &now.collect::<Vec<_>>());
    for (column, _) in columns {
        assert!(filled(column) > 0, "{column}");
    }
    assert!(filled("Größe_cm") > 0);
    assert_eq!(filled("affinity"), affinities, "what is stored of a field that is gone stays");
    let told = "The custom field `affinity` is gone from Bronto";
    assert!(second.stderr.contains(told) && !third.stderr.contains(told), "said once");
}

#[test]
fn columns_stay_when_contacts_are_read_from_their_start() {
    let warehouse = Warehouse::duckdb();
    let account = account::start();
    let workplace = Workplace::new(&account, &warehouse, "");
    workplace.run(&["run"]).expect(0);
    let changes = [
        FieldChange::Rename { name: "loyalty_points".into(), to: "points".into() },
        FieldChange::Remove { name: "affinity".into() },
        FieldChange::Add { name: "affinity".into(), kind: "integer".into() },
    ];
    change(&account, &changes, 500);
    let columns = || {
        let contacts = warehouse.rows("contact");
        let names = contacts.iter().flat_map(|contact| contact.keys().cloned());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let held = columns();
    workplace.run(&["run", "--full-refresh=contact"]).expect(0);
    let new: Vec<String> = columns().difference(&held).cloned().collect();
    assert!(
        matches!(&new[..], [one] if one.starts_with("affinity_")),
        "a renamed field keeps its column, and the name of one that is gone stays taken: {new:?}"
    );
}

#[test]
fn a_type_that_changes_makes_rejects_and_loses_nothing() {
    let warehouse = Warehouse::duckdb();
    let account = account::start();
    let workplace = Workplace::new(&account, &warehouse, "");
    workplace.run(&["run"]).expect(0);
    let retype = FieldChange::Retype { name: "store_credit".into(), kind: "textarea".into() };
    change(&account, &[retype], 500);
    let ran = workplace.run(&["run"]).expect(0);
    assert!(
        ran.stderr.contains("`store_credit` changed its type from `currency` to `textarea`"),
        "{}",
        ran.stderr
    );
    let rejected = warehouse.rows("_sdc_rejected");
    let of_contacts: Vec<_> = rejected
        .iter()
        .filter(|row| row["table_name"] == Cell::Text("contact".to_owned()))
        .collect();
    assert!(!of_contacts.is_empty());
    for row in of_contacts {
        assert_eq!(row["reason"], Cell::Text("`store_credit` is no number".to_owned()));
    }
}

#[test]
fn two_hundred_fields_fit_both_destinations() {
    let config = SimConfig {
        clock: ClockMode::Frozen,
        fields: 210,
        contacts: 300,
        lists: 2,
        unsubscribes: 2,
        inbound: 20,
        outbound: 20,
        tokens: vec![TokenGrant::reading(TOKEN)],
        ..SimConfig::default()
    };
    let account = Server::start_blocking(&config).unwrap();
    for warehouse in [Warehouse::duckdb(), Warehouse::postgres()] {
        Workplace::new(&account, &warehouse, "").run(&["run"]).expect(0);
        truth::assert_equal(&account, &warehouse);
    }
}

#[test]
fn columns_can_name_custom_fields() {
    let account = account::start();
    let warehouse = Warehouse::duckdb();
    let columns = |names: &str| {
        Workplace::new(&account, &warehouse, &format!("columns = {{ contact = [{names}] }}"))
    };
    let refused = columns("\"email\", \"loyalty_pionts\"").run(&["run"]).expect(2);
    let message = "Stream `contact` has no column `loyalty_pionts`; did you mean `loyalty_points`?";
    assert!(refused.stderr.contains(message), "{}", refused.stderr);
    columns("\"email\", \"loyalty_points\"").run(&["run"]).expect(0);
    let contacts = warehouse.rows("contact");
    assert!(contacts.iter().any(|row| matches!(row.get("loyalty_points"), Some(Cell::Number(_)))));
    assert!(contacts.iter().all(|row| !row.contains_key("firstname")));
}
