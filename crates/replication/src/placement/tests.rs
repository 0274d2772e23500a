//! The rules of placing, on two dialects.

use super::{
    nested::Neighbours,
    plan::{self, plan},
    *,
};
use crate::stream::{Column, ColumnType, Method, WinnerRule};

const RENAMING: Dialect = Dialect {
    product: "Renaming",
    table_bytes: 20,
    column_bytes: 12,
    identifier_bytes: 20,
    column_count: 12,
    folds_case: false,
    canonical: letters,
    split: SplitRule::RenamesOriginal,
    nesting: Nesting::Subtables,
};

const KEEPING: Dialect = Dialect {
    product: "Keeping",
    folds_case: true,
    canonical: verbatim,
    split: SplitRule::KeepsOriginal,
    nesting: Nesting::Native,
    ..RENAMING
};

fn letters(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

fn stream(columns: &[(&str, ColumnType)]) -> Arc<StreamSchema> {
    let id = std::iter::once(Column::new("id", ColumnType::Text));
    let others = columns.iter().map(|(name, of)| Column::new(*name, of.clone()));
    Arc::new(StreamSchema {
        stream: "t".into(),
        columns: id.chain(others).collect(),
        key: vec!["id".to_owned()],
        replication_key: None,
        method: Method::Incremental,
        winner: WinnerRule::Sequence,
    })
}

fn table(columns: &[(&str, ColumnType)]) -> StoredTable {
    let stored = |(name, of): &(&str, ColumnType)| StoredColumn {
        name: (*name).to_owned(),
        column_type: Some(of.clone()),
        type_name: "SOME".to_owned(),
    };
    let id = [("id", ColumnType::Text)];
    StoredTable {
        name: "t".to_owned(),
        columns: id.iter().chain(columns).map(stored).collect(),
        key: None,
    }
}

/// Names, origins, renames: `age__bi=- age__de=age; age>age__bi`.
fn shown(dialect: &Dialect, schema: &Arc<StreamSchema>, stored: &StoredTable) -> String {
    let placement =
        plan(dialect, schema, Some(stored), &Neighbours::default()).expect("there is a place");
    let Some(as_stored) = &placement.stored else {
        return format!("refused: {}", placement.refusal.expect("there is a reason").reason);
    };
    let columns = as_stored.columns.iter().zip(&placement.origins).skip(1);
    let columns = columns.map(|(column, origin)| {
        let origin = match origin {
            Origin::Column(position) => schema.columns[*position].name.clone(),
            Origin::Widened(position) => format!("{} widened", schema.columns[*position].name),
            Origin::Nothing => "-".to_owned(),
        };
        format!("{}={origin}", column.name)
    });
    let mut parts: Vec<String> = columns.collect();
    parts.extend(placement.renames.iter().map(|rename| format!("{}>{}", rename.from, rename.to)));
    parts.extend(placement.unplaced.iter().map(|unplaced| format!("! {}", unplaced.why.reason)));
    parts.join("; ")
}

#[test]
fn a_type_that_changes_splits_its_column() {
    use ColumnType::{Boolean, Integer, Number, Text};
    let schema = stream(&[("age", Number), ("magic", Text)]);
    let stored = table(&[("age", Integer), ("magic", Boolean)]);
    assert_eq!(
        shown(&RENAMING, &schema, &stored),
        "age__de=age; magic__st=magic; age__bi=-; magic__bo=-; age>age__bi; magic>magic__bo"
    );
    assert_eq!(shown(&KEEPING, &schema, &stored), "age__de=age; magic__st=magic; age=-; magic=-");
}

#[test]
fn a_split_column_takes_each_type_where_it_lies() {
    use ColumnType::{Boolean, Integer, Number, Text};
    let stored = table(&[("a__bi", Integer), ("a__st", Text)]);
    assert_eq!(shown(&RENAMING, &stream(&[("a", Text)]), &stored), "a__st=a; a__bi=-");
    assert_eq!(shown(&RENAMING, &stream(&[("a", Integer)]), &stored), "a__bi=a; a__st=-");
    assert_eq!(shown(&RENAMING, &stream(&[("a", Boolean)]), &stored), "a__bo=a; a__bi=-; a__st=-");
    let kept = table(&[("a", Integer), ("a__st", Text)]);
    assert_eq!(shown(&KEEPING, &stream(&[("A", Text)]), &kept), "a__st=A; a=-");
    assert_eq!(shown(&KEEPING, &stream(&[("A", Integer)]), &kept), "a=A; a__st=-");
    assert_eq!(shown(&KEEPING, &stream(&[("a", Number)]), &kept), "a__de=a; a=-; a__st=-");
}

#[test]
fn integers_widen_into_numbers() {
    use ColumnType::{Integer, Number};
    let stored = table(&[("a", Number)]);
    assert_eq!(shown(&RENAMING, &stream(&[("a", Integer)]), &stored), "a=a widened");
    let both = table(&[("a__de", Number), ("a__bi", Integer)]);
    assert_eq!(shown(&RENAMING, &stream(&[("a", Integer)]), &both), "a__bi=a; a__de=-");
}

#[test]
fn arrays_and_scalars_of_one_name_stand_apart() {
    use ColumnType::Text;
    let list = || ColumnType::List(Box::new(Text));
    let numbers = || ColumnType::List(Box::new(ColumnType::Number));
    let stored = table(&[("a", list())]);
    assert_eq!(shown(&RENAMING, &stream(&[("a", Text)]), &stored), "a__st=a; a=-");
    assert_eq!(shown(&RENAMING, &stream(&[("a", numbers())]), &stored), "a__ar_de=a; a=-");
    let stored = table(&[("a", Text)]);
    assert_eq!(
        shown(&RENAMING, &stream(&[("a", list())]), &stored),
        "a__ar_st=a; a__st=-; a>a__st"
    );
}

#[test]
fn names_that_can_not_be_are_named() {
    use ColumnType::Text;
    let empty = table(&[]);
    let one = |name: &str| shown(&RENAMING, &stream(&[(name, Text)]), &empty);
    assert_eq!(one("cu!st om"), "custom=cu!st om");
    assert_eq!(one("!"), "! `!` can't be the name of a column");
    assert_eq!(one("_SDC_x"), "! Column name `_SDC_x` begins with a prefix that is reserved");
    assert_eq!(
        one("_sdc_deleted_at").split('=').next(),
        Some("! Column name `_sdc_deleted_at` is too long for Renaming")
    );
    assert_eq!(
        one("a__ST"),
        "! Column names from client should not include reserved datatype suffix on `a__ST`"
    );
    assert_eq!(
        one("a__st!"),
        "! Column names from client should not include reserved datatype suffix on `a__st!`"
    );
    assert_eq!(one("!_sdc_x"), "! Column name `!_sdc_x` begins with a prefix that is reserved");
    assert_eq!(one("abcdefghijklm"), "! Column name `abcdefghijklm` is too long for Renaming");
    let two = stream(&[("a!", Text), ("a", Text)]);
    assert_eq!(shown(&RENAMING, &two, &empty), "a=a!; ! Field collision on `a`");
    let stored = table(&[("a", Text)]);
    assert_eq!(shown(&RENAMING, &two, &stored), "a=a; ! Field collision on `a!`");
    let cases = stream(&[("Id", Text), ("a", Text), ("A", Text)]);
    assert_eq!(
        shown(&KEEPING, &cases, &empty),
        "a=a; ! Field collision on `Id`; ! Field collision on `A`"
    );
    assert_eq!(shown(&RENAMING, &cases, &empty), "Id=Id; a=a; A=A");
    let many: Vec<String> = (0..13).map(|number| format!("c{number}")).collect();
    let many: Vec<(&str, ColumnType)> = many.iter().map(|name| (name.as_str(), Text)).collect();
    assert!(shown(&RENAMING, &stream(&many), &empty).contains("Too many columns: `c11`"));
    let list = ColumnType::List(Box::new(Text));
    assert!(shown(&RENAMING, &stream(&[("a", list)]), &table(&[])).starts_with("a=a"));
}

#[test]
fn a_stream_that_can_not_be_a_table_is_refused_whole() {
    let named = |name: &str, of: &[(&str, ColumnType)]| {
        Arc::new(StreamSchema { stream: name.into(), ..(*stream(of)).clone() })
    };
    let refusal = |name: &str| plan::refused_name(&RENAMING, name).map(|why| why.reason);
    assert_eq!(refusal("ok"), None);
    assert!(refusal("").is_some() && refusal("a\0").is_some());
    assert_eq!(
        refusal("_Sdc_state").as_deref(),
        Some("Table name `_Sdc_state` begins with a prefix that is reserved")
    );
    assert_eq!(
        refusal("abcdefghijklmnopqrstu").as_deref(),
        Some("Table name `abcdefghijklmnopqrstu` is too long for Renaming")
    );
    assert!(shown(&KEEPING, &named("T", &[]), &table(&[])).starts_with("refused: Table collision"));
}

#[test]
fn a_key_never_splits() {
    let schema = stream(&[]);
    let mut stored = table(&[]);
    stored.columns[0].column_type = Some(ColumnType::Integer);
    let error = plan(&KEEPING, &schema, Some(&stored), &Neighbours::default())
        .expect_err("the key has another type");
    assert!(error.message.starts_with("Key column `id` of `t`"), "{error}");
}

#[test]
fn a_column_without_room_leaves_no_old_value_beside_a_row_that_has_none() {
    use ColumnType::{Number, Text};
    let others: Vec<String> = (0..10).map(|number| format!("c{number}")).collect();
    let others = others.iter().map(|name| (name.as_str(), Text));
    let stored: Vec<(&str, ColumnType)> = std::iter::once(("a", Text)).chain(others).collect();
    assert_eq!(
        shown(&RENAMING, &stream(&[("a", Number)]), &table(&stored)),
        "a__st=-; a>a__st; ! Too many columns: `a__de` would be more than the 12 of a table in Renaming"
    );
}
