//! Statements about subtables of arrays of objects.

use crate::{
    layout::{Layout, SqlType, source_key},
    nested::{Nested, NestedColumn, level},
};

use super::{comma, identifier, literal, merge::child_of, own_rows, table};

/// The columns of a subtable that hold its key, with their types.
pub(crate) fn key_columns(layout: &Layout, nested: &Nested) -> Vec<(String, SqlType)> {
    let keys = layout.key().map(|column| (source_key(&column.name), column.sql_type));
    let levels = (0..nested.steps.len()).map(|depth| (level(depth), SqlType::Bigint));
    keys.chain(levels).collect()
}

/// All columns of a subtable, with their types.
pub(crate) fn columns(layout: &Layout, nested: &Nested) -> Vec<(String, SqlType)> {
    let values = nested.columns.iter().map(|column| (column.name.clone(), column.sql_type));
    let system = layout.system.iter().map(|column| (column.name.clone(), column.sql_type));
    key_columns(layout, nested).into_iter().chain(values).chain(system).collect()
}

/// The names of all columns of a subtable, quoted.
pub(crate) fn column_names(layout: &Layout, nested: &Nested) -> Vec<String> {
    columns(layout, nested).iter().map(|(name, _)| identifier(name)).collect()
}

/// Inserts the items of the rows in a stage, which is known as `s`.
pub(crate) fn insert_items(
    schema: &str,
    child: &str,
    layout: &Layout,
    nested: &Nested,
    stage: &str,
) -> String {
    let of_row = |name: &String| format!("s.{}", identifier(name));
    let keys = layout.key().map(|column| of_row(&column.name));
    let values = nested.columns.iter().map(|column| value(column, nested));
    let system = layout.system.iter().map(|column| of_row(&column.name));
    format!(
        "insert into {} ({}) select {} from {stage} s cross join lateral {}",
        table(schema, child),
        comma(column_names(layout, nested)),
        comma(keys.chain(positions(nested)).chain(values).chain(system)),
        elements(nested, "s"),
    )
}

/// The items of a staged row, each with its positions, as one array of texts.
pub(crate) fn staged_items(nested: &Nested, alias: &str) -> String {
    let values = nested.columns.iter().map(|column| value(column, nested));
    let order = (0..nested.steps.len()).map(|depth| format!("l{depth}.place"));
    format!(
        "(select array_agg(row({})::text order by {}) from {})",
        comma(positions(nested).chain(values)),
        comma(order),
        elements(nested, alias),
    )
}

/// The same of a row whose items are in a subtable.
pub(crate) fn stored_items(
    schema: &str,
    child: &str,
    layout: &Layout,
    nested: &Nested,
    alias: &str,
) -> String {
    let column = |name: &str| format!("c.{}", identifier(name));
    let levels = || (0..nested.steps.len()).map(|depth| column(&level(depth)));
    let values = nested.columns.iter().map(|nested| column(&nested.name));
    format!(
        "(select array_agg(row({})::text order by {}) from {} c where {})",
        comma(levels().chain(values)),
        comma(levels()),
        own_rows(schema, child),
        child_of(layout, alias),
    )
}

/// The positions of an item, from 0.
fn positions(nested: &Nested) -> impl Iterator<Item = String> {
    (0..nested.steps.len()).map(|depth| format!("l{depth}.place - 1"))
}

/// The items in the document of the row under this alias: `l0` for the outermost level, and so on.
fn elements(nested: &Nested, alias: &str) -> String {
    let mut from = String::new();
    for (depth, path) in nested.steps.iter().enumerate() {
        let array = if depth == 0 {
            format!("{alias}.{}", identifier(&nested.document))
        } else {
            format!("(l{}.item #> {})", depth - 1, path_literal(path))
        };
        if depth > 0 {
            from.push_str(" cross join lateral ");
        }
        // What is no array is null: it has no items.
        from.push_str(&format!(
            "json_array_elements(case when json_typeof({array}) = 'array' then {array} end) \
             with ordinality as l{depth}(item, place)"
        ));
    }
    from
}

/// The value of a column in an item of the innermost level.
fn value(column: &NestedColumn, nested: &Nested) -> String {
    let Some(path) = &column.path else { return format!("null::{}", column.sql_type.name()) };
    let text = format!("(l{}.item #>> {})", nested.steps.len() - 1, path_literal(path));
    match column.sql_type {
        SqlType::Text => text,
        // A whole number may be written as `1.0` or `1e3`.
        SqlType::Bigint => format!("{text}::numeric::bigint"),
        SqlType::Json => {
            let document = format!("(l{}.item #> {})", nested.steps.len() - 1, path_literal(path));
            format!("case when {text} is not null then {document} end")
        }
        other => format!("{text}::{}", other.name()),
    }
}

fn path_literal(path: &[String]) -> String {
    if path.is_empty() {
        return "'{}'::text[]".to_owned();
    }
    format!("array[{}]::text[]", comma(path.iter().map(|name| literal(name))))
}
