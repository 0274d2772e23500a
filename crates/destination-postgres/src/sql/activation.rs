//! Statements that put a version that waited in place of the live rows.

use crate::layout::{Layout, Tables};

use super::{
    comma, identifier,
    merge::{Side, child_columns, differs, same_key},
    nested, table,
};

/// Compares the waiting rows `s` with the live rows `t`, and counts: rows whose key is new, rows that differ, rows that
/// don't, and live rows whose key doesn't wait. Without a key, every waiting row is new and every live one goes.
pub(crate) fn compare(schema: &str, layout: &Layout, waiting: &Tables, live: &Tables) -> String {
    let (waiting_table, live_table) = (table(schema, &waiting.parent), table(schema, &live.parent));
    let Some(key) = layout.key().next() else {
        return format!(
            "select (select count(*) from {waiting_table}), 0::bigint, 0::bigint, (select count(*) from {live_table})"
        );
    };
    let is_known = format!("t.{} is not null", identifier(&key.name));
    let differs = differs(
        schema,
        layout,
        ("s", Side::Stored(&waiting.children)),
        ("t", Side::Stored(&live.children)),
    );
    let same_key = same_key(layout, "s", "t");
    format!(
        "select count(*) filter (where not {is_known}), count(*) filter (where {is_known} and {differs}), \
         count(*) filter (where {is_known} and not {differs}), \
         (select count(*) from {live_table} t where not exists (select from {waiting_table} s where {same_key})) \
         from {waiting_table} s left join {live_table} t on {same_key}"
    )
}

/// Deletes every row of a table.
pub(crate) fn clear(schema: &str, name: &str) -> String {
    format!("delete from {}", table(schema, name))
}

/// Moves the waiting rows.
pub(crate) fn fill_parent(schema: &str, layout: &Layout, waiting: &str, live: &str) -> String {
    fill(schema, &comma(layout.columns().map(|column| identifier(&column.name))), waiting, live)
}

/// Moves the items of the waiting rows, for the subtable at this place of [`Tables::children`].
pub(crate) fn fill_child(
    schema: &str,
    layout: &Layout,
    place: usize,
    waiting: &str,
    live: &str,
) -> String {
    let columns = match place.checked_sub(layout.lists.len()) {
        None => child_columns(layout),
        Some(place) => nested::column_names(layout, &layout.nested[place]),
    };
    fill(schema, &comma(columns), waiting, live)
}

fn fill(schema: &str, columns: &str, waiting: &str, live: &str) -> String {
    format!(
        "insert into {} ({columns}) select {columns} from {}",
        table(schema, live),
        table(schema, waiting)
    )
}
