//! Custom fields of contacts, while they change in Bronto.

use std::collections::{BTreeMap, BTreeSet};

use bronto_sim::{CustomField, FieldChange, Mutation, SimConfig};
use replication::{
    event::Event,
    source::{ExtractOutcome, SourceErrorKind},
    stream::{ColumnType, StreamName},
};
use serde_json::{Value, json};
use tap_bronto::{BrontoStream, NumberForm, SelectedStream, TapConfig};

use crate::{
    account::{Account, Next, Run, rows_of},
    table::{Row, Tables, canonical, true_rows, true_rows_with},
};

type States = BTreeMap<StreamName, Value>;

/// Contacts alone, with these columns or all.
fn contacts(account: &Account, columns: Option<&[&str]>) -> TapConfig {
    let contact = BrontoStream::Contact;
    let selected = match columns {
        Some(names) => SelectedStream::with_columns(contact, names.iter().copied()).unwrap(),
        None => SelectedStream::all(contact),
    };
    TapConfig { selection: vec![selected], ..account.config() }
}

/// The columns that a run announces, with their types.
async fn columns(
    config: TapConfig,
    account: &Account,
    states: &States,
) -> Vec<(String, ColumnType)> {
    let config = TapConfig { numbers: NumberForm::Decimal, ..config };
    let mut columns = Vec::new();
    let watch = |event| {
        if let Event::Schema(schema) = event {
            columns =
                schema.columns.iter().map(|c| (c.name.clone(), c.column_type.clone())).collect();
        }
        Next::GoOn
    };
    let outcome = account.drive(config, states, watch).await.unwrap();
    assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
    columns
}

/// A run of contacts with all columns.
async fn run(account: &Account, states: &States) -> Run {
    let run = account.run_with(contacts(account, None), states, usize::MAX).await.unwrap();
    assert!(run.failed.is_empty(), "{:?}", run.failed);
    run
}

/// The columns of custom fields as a state fixed them.
fn fixed(states: &States) -> Vec<CustomField> {
    let fields = states[&"contact".into()]["fields"].as_object().unwrap();
    let field = |(id, field): (&String, &Value)| CustomField {
        id: id.clone(),
        name: field["name"].as_str().unwrap().to_owned(),
        kind: match field["type"].as_str().unwrap() {
            "number" => "integer".to_owned(),
            "boolean" => "checkbox".to_owned(),
            other => other.to_owned(),
        },
    };
    fields.iter().map(field).collect()
}

fn change_all(account: &Account) {
    account.server.advance_seconds(600);
    account.server.mutate(&Mutation { contacts: 1_250, ..Mutation::default() });
    account.server.advance_seconds(600);
}

fn by_id(rows: impl IntoIterator<Item = Row>) -> BTreeMap<String, String> {
    rows.into_iter().map(|row| (row["id"].as_str().unwrap().to_owned(), canonical(row))).collect()
}

#[tokio::test]
async fn columns_stay_whatever_becomes_of_fields() {
    let account = Account::start(&[]).await;
    let first = run(&account, &States::new()).await;
    Tables::of(&first).assert_stream_true(&account, "contact");
    let rename = |name: &str, to: &str| FieldChange::Rename { name: name.into(), to: to.into() };
    let retype =
        |name: &str, kind: &str| FieldChange::Retype { name: name.into(), kind: kind.into() };
    let add = |name: &str, kind: &str| FieldChange::Add { name: name.into(), kind: kind.into() };
    let remove = |name: &str| FieldChange::Remove { name: name.into() };
    let changes = [
        rename("loyalty_points", "points"),
        rename("firstname", "lastname "),
        retype("store_credit", "textarea"),
        retype("legacy_id", "integer"),
        remove("affinity"),
        add("affinity", "select"),
        add("Email", "date"),
        add("_sdc_sequence", "checkbox"),
        add("size", "float"),
    ];
    account.server.change_fields(&changes).unwrap();
    change_all(&account);
    let before = columns(contacts(&account, None), &account, &States::new()).await;
    let after = columns(contacts(&account, None), &account, &first.states).await;
    let type_of = |columns: &[(String, ColumnType)], name: &str| {
        columns.iter().find(|(column, _)| column == name).map(|(_, kind)| kind.clone())
    };
    for (name, kind) in [
        ("loyalty_points", ColumnType::Number),
        ("firstname", ColumnType::Text),
        ("store_credit", ColumnType::Number),
        ("legacy_id", ColumnType::Text),
        ("affinity_0000000d", ColumnType::Text),
        ("Email_0000000e", ColumnType::Text),
        ("field_sdc_sequence_0000000f", ColumnType::Boolean),
        ("size", ColumnType::Number),
    ] {
        assert_eq!(type_of(&after, name), Some(kind), "{name}");
    }
    assert_eq!(type_of(&after, "affinity"), None, "what is gone is left out");
    assert_eq!(type_of(&after, "points"), None);
    let anew = [type_of(&before, "points"), type_of(&before, "store_credit")];
    assert_eq!(anew, [Some(ColumnType::Number), Some(ColumnType::Text)], "fixed at first sight");

    // The second run reads everybody again: true, or rejected for what doesn't fit.
    let second = run(&account, &first.states).await;
    let fields = fixed(&second.states);
    let truth = by_id(true_rows_with(&account, "contact", &fields.iter().collect::<Vec<_>>()));
    let read = by_id(second.rows.into_iter().map(|(_, row)| row));
    assert!(read.iter().all(|(id, line)| truth[id] == *line));
    assert!(read.values().any(|line| line.contains("\"Email_0000000e\"")));
    assert_eq!(read.len() + second.rejects.len(), truth.len());
    assert!(second.rejects.len() > 20, "{}", second.rejects.len());
    for reject in &second.rejects {
        assert_eq!(reject.reason, "`store_credit` is no number");
        assert!(reject.record.contains("<content>"));
    }
    // What was fixed once is fixed: nothing is new to a third run.
    let third = run(&account, &second.states).await;
    assert_eq!(fixed(&third.states), fields);
    assert_eq!(
        third.states[&"contact".into()]["fields"]["0bbc03e80000000000000000000000000004"],
        json!({"name": "loyalty_points", "type": "number", "bronto_name": "points", "bronto_type": "integer"})
    );
}

#[tokio::test]
async fn what_is_fixed_outlives_a_run_that_is_killed() {
    let account = Account::start(&[]).await;
    let killed = account.run_with(contacts(&account, None), &States::new(), 1).await.unwrap();
    assert_eq!(fixed(&killed.states).len(), 12);
    assert_eq!(killed.states[&"contact".into()].get("last_record"), None);
    let change = FieldChange::Rename { name: "notes".into(), to: "remarks".into() };
    account.server.change_fields(&[change]).unwrap();
    let rest = run(&account, &killed.states).await;
    Tables::of(&rest).assert_stream_true(&account, "contact");
    assert!(rest.rows.iter().any(|(_, row)| row.contains_key("notes")));
}

#[tokio::test]
async fn two_hundred_fields_are_read_over_many_pages() {
    let config = SimConfig { fields: 230, contacts: 700, ..SimConfig::default() };
    let account = Account::of(config, &[("page_maximum", "60"), ("row_order", "shuffled")]).await;
    let read = run(&account, &States::new()).await;
    Tables::of(&read).assert_stream_true(&account, "contact");
    let filled: BTreeSet<&String> = read.rows.iter().flat_map(|(_, row)| row.keys()).collect();
    assert!(filled.len() > 230, "{}", filled.len());
}

#[tokio::test]
async fn dates_with_an_offset_are_instants() {
    let account = Account::start(&[("field_dates", "instant")]).await;
    let read = run(&account, &States::new()).await;
    Tables::of(&read).assert_stream_true(&account, "contact");
    let birthdays = read.rows.iter().filter_map(|(_, row)| row.get("birthday")?.as_str());
    let mut birthdays = birthdays.peekable();
    assert!(birthdays.peek().is_some() && birthdays.all(|date| date.ends_with("T05:00:00Z")));
}

#[tokio::test]
async fn only_selected_fields_are_asked_for() {
    let account = Account::start(&[]).await;
    let custom = async |names: Option<&[&str]>| {
        let columns = columns(contacts(&account, names), &account, &States::new()).await;
        let own = BrontoStream::Contact.columns();
        let is_own = |name: &String| own.iter().any(|column| column.name == name);
        let names = columns.into_iter().map(|(name, _)| name);
        names.filter(|name| !is_own(name)).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(custom(Some(&["email"])).await, none);
    assert_eq!(account.server.stats().requests_of("readFields"), 0);
    let some: &[&str] = &["opt_in", "email", "birthday"];
    assert_eq!(custom(Some(some)).await, ["birthday", "opt_in"], "in the order of the fields");
    assert_eq!(account.server.stats().requests_of("readFields"), 2);
    let none = States::new();
    let read = account.run_with(contacts(&account, Some(some)), &none, usize::MAX).await.unwrap();
    let expected = true_rows(&account, "contact").into_iter().map(|mut row| {
        row.retain(|name, _| {
            ["id", "modified"].contains(&name.as_str()) || some.contains(&name.as_str())
        });
        row
    });
    assert_eq!(by_id(read.rows.into_iter().map(|(_, row)| row)), by_id(expected));
    assert_eq!(custom(None).await.len(), 12);
}

#[tokio::test]
async fn an_account_without_custom_fields_has_none() {
    let config = SimConfig { fields: 0, contacts: 100, ..SimConfig::default() };
    let account = Account::of(config, &[]).await;
    let read = run(&account, &States::new()).await;
    Tables::of(&read).assert_stream_true(&account, "contact");
    assert_eq!(read.states[&"contact".into()].get("fields"), None);
}

#[tokio::test]
async fn a_name_that_nothing_has_is_refused_before_anything_is_read() {
    let account = Account::start(&[]).await;
    let refusal = async |name: &str, states: &States| {
        let config = contacts(&account, Some(&[name]));
        let outcome = account.run_with(config, states, usize::MAX).await;
        outcome.err().map(|error| (error.kind, error.to_string()))
    };
    let none = States::new();
    for (name, nearest) in
        [("birthdy", "`birthday`"), ("Emial", "`email`"), ("Birthday", "`birthday`")]
    {
        let message = format!("Stream `contact` has no column `{name}`; did you mean {nearest}?");
        assert_eq!(refusal(name, &none).await, Some((SourceErrorKind::Configuration, message)));
    }
    assert_eq!(account.server.stats().requests_of("readContacts"), 0);
    // A field that was there once is no mistake, and one that was renamed goes by both names.
    let first = run(&account, &none).await;
    let rename = FieldChange::Rename { name: "notes".into(), to: "remarks".into() };
    account
        .server
        .change_fields(&[rename, FieldChange::Remove { name: "affinity".into() }])
        .unwrap();
    for name in ["notes", "remarks", "affinity"] {
        assert_eq!(refusal(name, &first.states).await, None, "{name}");
    }
    assert!(refusal("remarks", &none).await.is_none() && refusal("notes", &none).await.is_some());
    // Nor is one that was renamed before it was removed.
    let renamed = run(&account, &first.states).await;
    account.server.change_fields(&[FieldChange::Remove { name: "remarks".into() }]).unwrap();
    for name in ["notes", "remarks"] {
        assert_eq!(refusal(name, &renamed.states).await, None, "{name}");
    }
}

#[tokio::test]
async fn what_is_known_of_fields_and_can_not_be_read_stops_contacts_alone() {
    let account = Account::start(&[]).await;
    let states = States::from([("contact".into(), json!({"fields": []}))]);
    let run = account.run_with(account.config(), &states, usize::MAX).await.unwrap();
    let failed: Vec<_> =
        run.failed.iter().map(|(name, error)| (name.as_str(), error.kind)).collect();
    assert_eq!(failed, [("contact", SourceErrorKind::Configuration)]);
    Tables::of(&run).assert_stream_true(&account, "unsubscribe");
    assert_eq!(run.states[&"contact".into()], states[&"contact".into()]);
}

#[tokio::test]
async fn a_field_that_goes_while_contacts_are_read_ends_the_run_and_not_the_next() {
    let account = Account::start(&[]).await;
    let remove = [FieldChange::Remove { name: "affinity".into() }];
    let mut states = States::new();
    let mut read = Vec::new();
    let watch = |event: Event| {
        match event {
            Event::Schema(_) => {
                account.server.change_fields(&remove).unwrap();
            }
            Event::Bookmark(bookmark) => {
                states.insert(bookmark.stream.unwrap(), bookmark.state);
            }
            Event::Batch(batch) => read.extend(rows_of(&batch)),
            _ => {}
        }
        Next::GoOn
    };
    let outcome = account.drive(contacts(&account, None), &States::new(), watch).await.unwrap();
    let ExtractOutcome { failed, .. } = outcome;
    let failed: Vec<_> = failed.iter().map(|(_, error)| (error.kind, error.to_string())).collect();
    let message = "A custom field was removed in Bronto while contacts were being read".to_owned();
    assert_eq!(failed, [(SourceErrorKind::Unavailable, message)]);
    let next = run(&account, &states).await;
    let mut tables = Tables::of(&next);
    tables.apply(read.into_iter().map(|row| ("contact".to_owned(), row)));
    tables.assert_stream_true(&account, "contact");
}
