//! What a selection leaves out is left alone.

use std::collections::BTreeMap;

use bronto_sim::Table;

use crate::{
    account,
    programs::Workplace,
    warehouse::{Cell, Row, Warehouse},
};

/// Rows by their id.
fn contacts(warehouse: &Warehouse) -> BTreeMap<Cell, Row> {
    let rows = warehouse.rows("contact").into_iter();
    rows.map(|row| (row["id"].clone(), row)).collect()
}

#[test]
fn duckdb_keeps_what_is_no_longer_selected() {
    keeps_what_is_no_longer_selected(&Warehouse::duckdb());
}

#[test]
fn postgres_keeps_what_is_no_longer_selected() {
    keeps_what_is_no_longer_selected(&Warehouse::postgres());
}

#[track_caller]
fn keeps_what_is_no_longer_selected(warehouse: &Warehouse) {
    let account = account::start_sized(60);
    Workplace::new(&account, warehouse, "").run(&["run"]).expect(0);
    let before = contacts(warehouse);
    let others = || {
        let others = Table::ALL.into_iter().filter(|table| *table != Table::Contact);
        others.map(|table| warehouse.rows(table.name())).collect::<Vec<_>>()
    };
    let others_before = others();

    account::change(&account);
    let narrow = "tables = [\"contact\"]\ncolumns = { contact = [\"email\"] }";
    let report =
        Workplace::new(&account, warehouse, narrow).run(&["run", "--json"]).expect(0).json();
    assert!(report["tables"].as_array().unwrap().iter().all(|table| table["stream"] == "contact"));
    assert_eq!(others(), others_before, "tables that are left out");

    let after = contacts(warehouse);
    let is_selected =
        |name: &str| ["id", "email", "modified"].contains(&name) || name.starts_with("_sdc_");
    let kept = |row: &Row| -> Row {
        let kept = row.iter().filter(|(name, _)| !is_selected(name));
        kept.map(|(name, cell)| (name.clone(), cell.clone())).collect()
    };
    let mut changed = 0;
    for (id, old) in &before {
        let new = &after[id];
        assert_eq!(kept(new), kept(old), "columns that are left out");
        changed += usize::from(new["modified"] != old["modified"]);
    }
    assert!(changed > 0, "some contacts have changed");
    for (_, new) in after.iter().filter(|(id, _)| !before.contains_key(*id)) {
        assert_eq!(kept(new), Row::new(), "a new contact has what is selected");
    }
}
