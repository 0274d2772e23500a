//! Statements that put a version that waited in place of the live rows.

use crate::layout::{Layout, Tables};

use super::{
    comma, identifier,
    merge::{Side, child_columns, child_of, differs, same_key},
    nested, own_rows, table,
};

/// Compares the waiting rows `s` with the live rows `t`, and counts: rows whose key is new, rows that differ, rows that
/// don't, and live rows that go because their key doesn't wait. Without a key, every waiting row is new and every live one goes.
pub(crate) fn compare(
    schema: &str,
    layout: &Layout,
    waiting: &Tables,
    live: &Tables,
    replaced: &Replaced<'_>,
) -> String {
    let waiting_table = own_rows(schema, &waiting.parent);
    let live_table = own_rows(schema, &live.parent);
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
    let stays = replaced.before.as_ref().map(|before| format!(" and ({before}) is not true"));
    format!(
        "select count(*) filter (where not {is_known}), count(*) filter (where {is_known} and {differs}), \
         count(*) filter (where {is_known} and not {differs}), \
         (select count(*) from {live_table} t where not exists (select from {waiting_table} s where {same_key}){}) \
         from {waiting_table} s left join {live_table} t on {same_key}",
        stays.unwrap_or_default()
    )
}

/// The number of rows `t` of which this isn't true.
pub(crate) fn count_others(schema: &str, name: &str, before: &str) -> String {
    format!("select count(*) from {} t where ({before}) is not true", own_rows(schema, name))
}

/// Which of the live rows go.
pub(crate) struct Replaced<'r> {
    pub(crate) schema: &'r str,
    pub(crate) layout: &'r Layout,
    pub(crate) waiting: &'r str,
    pub(crate) live: &'r str,
    /// What is true of a row `t` that stays if the version doesn't have its key; none if all go.
    pub(crate) before: Option<String>,
}

impl Replaced<'_> {
    /// Deletes them.
    pub(crate) fn clear_parent(&self) -> String {
        let live = own_rows(self.schema, self.live);
        match self.stays() {
            Some(stays) => format!("delete from {live} t where ({stays}) is not true"),
            None => format!("delete from {live}"),
        }
    }

    /// Deletes what of a subtable belongs to them, which are still there.
    pub(crate) fn clear_child(&self, child: &str) -> String {
        let (live, child) = (own_rows(self.schema, self.live), own_rows(self.schema, child));
        match self.stays() {
            Some(stays) => format!(
                "delete from {child} c where not exists (select from {live} t where {} and {stays})",
                child_of(self.layout, "t")
            ),
            None => format!("delete from {child}"),
        }
    }

    /// What is true of a row `t` that stays.
    fn stays(&self) -> Option<String> {
        let before = self.before.as_ref().filter(|_| self.layout.is_keyed())?;
        let waiting = own_rows(self.schema, self.waiting);
        let same_key = same_key(self.layout, "s", "t");
        Some(format!("{before} and not exists (select from {waiting} s where {same_key})"))
    }
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
        own_rows(schema, waiting)
    )
}
