//! Statements that bring a load's rows from a stage into a table.
//!
//! A load goes through two temporary tables. The stage holds its rows as they came, numbered; arrays are arrays there.
//! The verdicts hold, for each staged row whose key the table has already, whether the two differ and whether the
//! staged one wins. Everything after that reads the two.

use crate::layout::{ITEM, LEVEL, Layout, List, Scalar, SqlType, Tables, Winner, source_key};

use super::{all_of, comma, identifier, join, table};

/// The number of a row in its stage.
pub(crate) const ROW: &str = "_sdc_row";
const SEQUENCE: &str = replication::system::SEQUENCE;

/// The statements about one load.
pub(crate) struct Merge<'a> {
    pub(crate) schema: &'a str,
    pub(crate) layout: &'a Layout,
    pub(crate) tables: &'a Tables,
    /// Tells this load's temporary tables from those of others in the transaction.
    pub(crate) number: u32,
}

impl Merge<'_> {
    /// Creates the stage.
    pub(crate) fn create_stage(&self) -> String {
        let mut columns = vec![format!("{} bigint", identifier(ROW))];
        let scalars = self.layout.columns();
        columns.extend(scalars.map(|column| format!("{} {}", identifier(&column.name), column.sql_type.name())));
        let lists = self.layout.lists.iter();
        columns.extend(lists.map(|list| format!("{} {}[]", identifier(&list.name), list.item.name())));
        format!("create temporary table {} ({}) on commit drop", self.stage(), comma(columns))
    }

    /// Fills the stage.
    pub(crate) fn copy_into_stage(&self) -> String {
        let row = std::iter::once(identifier(ROW));
        let scalars = self.layout.columns().map(|column| identifier(&column.name));
        let lists = self.layout.lists.iter().map(|list| identifier(&list.name));
        format!(
            "copy {} ({}) from stdin with (format binary)",
            self.stage(),
            comma(row.chain(scalars).chain(lists))
        )
    }

    /// Fills the table itself, for rows without a key.
    pub(crate) fn copy_into_table(&self) -> String {
        let columns = comma(self.layout.columns().map(|column| identifier(&column.name)));
        format!("copy {} ({columns}) from stdin with (format binary)", self.target())
    }

    /// Judges the staged rows whose keys the table has.
    pub(crate) fn create_verdicts(&self) -> String {
        format!(
            "create temporary table {} on commit drop as \
             select s.{row}, {differs} as differs, {wins} as wins from {stage} s join {target} t on {same_key}",
            self.verdicts(),
            row = identifier(ROW),
            differs = self.differs(),
            wins = wins(&self.layout.winner, "s"),
            stage = self.stage(),
            target = self.target(),
            same_key = self.same_key("t"),
        )
    }

    /// Counts the judged rows: those that don't differ, and those that lose.
    pub(crate) fn count_verdicts(&self) -> String {
        format!(
            "select count(*) filter (where not differs), count(*) filter (where differs and not wins) from {}",
            self.verdicts()
        )
    }

    /// Inserts and updates, and counts both.
    pub(crate) fn merge(&self) -> String {
        let columns: Vec<String> = self.layout.columns().map(|column| identifier(&column.name)).collect();
        let changed = self.layout.values().chain(&self.layout.system);
        let sets = changed.map(|column| {
            let name = identifier(&column.name);
            format!("{name} = excluded.{name}")
        });
        format!(
            "with merged as (insert into {target} as t ({columns}) select {staged} from {stage} s where {is_merged} \
             on conflict ({key}) do update set {sets} where {wins} returning t.xmax = 0 as is_new) \
             select count(*) filter (where is_new), count(*) filter (where not is_new) from merged",
            target = self.target(),
            columns = comma(&columns),
            staged = comma(columns.iter().map(|column| format!("s.{column}"))),
            stage = self.stage(),
            is_merged = self.is_merged(),
            key = comma(self.layout.key().map(|column| identifier(&column.name))),
            sets = comma(sets),
            wins = wins(&self.layout.winner, "excluded"),
        )
    }

    /// Deletes the items of the rows that were inserted (somebody may have deleted their parents) or updated.
    pub(crate) fn delete_items(&self, child: &str) -> String {
        format!(
            "delete from {} c using {} s where {} and {}",
            table(self.schema, child),
            self.stage(),
            child_of(self.layout, "s"),
            self.is_merged(),
        )
    }

    /// Inserts the items of the rows that were inserted or updated.
    pub(crate) fn insert_items(&self, child: &str, list: &List) -> String {
        let keys = self.layout.key().map(|column| format!("s.{}", identifier(&column.name)));
        let system = self.layout.system.iter().map(|column| format!("s.{}", identifier(&column.name)));
        let values = keys.chain(["u.position - 1".to_owned(), "u.item".to_owned()]).chain(system);
        format!(
            "insert into {} ({}) select {} from {} s \
             cross join lateral unnest(s.{}) with ordinality as u(item, position) where {}",
            table(self.schema, child),
            comma(child_columns(self.layout)),
            comma(values),
            self.stage(),
            identifier(&list.name),
            self.is_merged(),
        )
    }

    /// The rows of the table that share a key with a staged row and differ from it, each as one JSON text.
    pub(crate) fn rivals(&self) -> String {
        let scalars = self.layout.scalars.iter().map(|column| {
            let name = identifier(&column.name);
            format!("{} as {name}", json_value(&format!("t.{name}"), column.sql_type))
        });
        let lists = self.layout.lists.iter().zip(&self.tables.children).map(|(list, child)| {
            let item = json_value(&format!("c.{}", identifier(ITEM)), list.item);
            let items = items(self.schema, child, self.layout, "t", "json_agg", &item);
            format!("{items} as {}", identifier(&list.name))
        });
        format!(
            "select row_to_json(r)::text from (select {} from {} s join {} t on {} where {}) r",
            comma(scalars.chain(lists)),
            self.stage(),
            self.target(),
            self.same_key("t"),
            self.differs(),
        )
    }

    /// Drops the temporary tables, before the end of the transaction would.
    pub(crate) fn drop_stage(&self) -> String {
        format!("drop table if exists {}, {}", self.stage(), self.verdicts())
    }

    fn differs(&self) -> String {
        differs(self.schema, self.layout, ("s", Side::Staged), ("t", Side::Stored(&self.tables.children)))
    }

    fn same_key(&self, other: &str) -> String {
        same_key(self.layout, "s", other)
    }

    /// Whether a staged row `s` is inserted or updates: it has no verdict, or a good one.
    fn is_merged(&self) -> String {
        let row = identifier(ROW);
        format!(
            "not exists (select from {} v where v.{row} = s.{row} and not (v.differs and v.wins))",
            self.verdicts()
        )
    }

    fn target(&self) -> String {
        table(self.schema, &self.tables.parent)
    }

    fn stage(&self) -> String {
        table("pg_temp", &format!("_sdc_stage_{}", self.number))
    }

    fn verdicts(&self) -> String {
        table("pg_temp", &format!("_sdc_verdicts_{}", self.number))
    }
}

/// Where a row's arrays are.
#[derive(Clone, Copy)]
pub(crate) enum Side<'a> {
    /// In the row itself.
    Staged,
    /// In these subtables.
    Stored(&'a [String]),
}

/// Whether two rows of one key, under these aliases, differ in a column that isn't part of it.
pub(crate) fn differs(schema: &str, layout: &Layout, left: (&str, Side<'_>), right: (&str, Side<'_>)) -> String {
    let row = |alias: &str| comma(layout.values().map(|column| comparable(alias, column)));
    let mut conditions = Vec::new();
    if layout.values().next().is_some() {
        conditions.push(format!("row({}) is distinct from row({})", row(left.0), row(right.0)));
    }
    for (position, list) in layout.lists.iter().enumerate() {
        let array = |(alias, side): (&str, Side<'_>)| {
            let cast = if list.item == SqlType::Json { "::text" } else { "" };
            match side {
                Side::Staged if cast.is_empty() => format!("{alias}.{}", identifier(&list.name)),
                Side::Staged => format!("{alias}.{}{cast}[]", identifier(&list.name)),
                Side::Stored(children) => {
                    let item = format!("c.{}{cast}", identifier(ITEM));
                    items(schema, &children[position], layout, alias, "array_agg", &item)
                }
            }
        };
        conditions.push(format!("{} is distinct from {}", array(left), array(right)));
    }
    if conditions.is_empty() { "false".to_owned() } else { format!("({})", join(conditions, " or ")) }
}

/// Whether two rows under these aliases have the same key.
pub(crate) fn same_key(layout: &Layout, left: &str, right: &str) -> String {
    all_of(layout.key().map(|column| {
        let name = identifier(&column.name);
        format!("{left}.{name} = {right}.{name}")
    }))
}

/// The columns of a subtable.
pub(crate) fn child_columns(layout: &Layout) -> Vec<String> {
    let keys = layout.key().map(|column| identifier(&source_key(&column.name)));
    let system = layout.system.iter().map(|column| identifier(&column.name));
    keys.chain([identifier(LEVEL), identifier(ITEM)]).chain(system).collect()
}

/// The items of a row's array, put together again; null where there are none.
fn items(schema: &str, child: &str, layout: &Layout, parent: &str, aggregate: &str, item: &str) -> String {
    format!(
        "(select {aggregate}({item} order by c.{}) from {} c where {})",
        identifier(LEVEL),
        table(schema, child),
        child_of(layout, parent),
    )
}

/// Whether `c`, a row of a subtable, belongs to the row under this alias.
fn child_of(layout: &Layout, parent: &str) -> String {
    all_of(layout.key().map(|column| {
        format!("c.{} = {parent}.{}", identifier(&source_key(&column.name)), identifier(&column.name))
    }))
}

/// Whether the row under the alias `incoming` wins against the stored row `t`.
fn wins(winner: &Winner, incoming: &str) -> String {
    let sequence = identifier(SEQUENCE);
    let newer = format!("{incoming}.{sequence} > t.{sequence}");
    match winner {
        Winner::Incoming => "true".to_owned(),
        Winner::Sequence => newer,
        Winner::Later { column, sql_type } => {
            let (ours, theirs) = (format!("{incoming}.{}", identifier(column)), format!("t.{}", identifier(column)));
            // By code point, as everywhere else, and not by the rules of the database's language.
            let collation = if *sql_type == SqlType::Text { " collate \"C\"" } else { "" };
            format!(
                "case when {ours} is not distinct from {theirs} then {newer} when {theirs} is null then true \
                 when {ours} is null then false else {ours}{collation} > {theirs}{collation} end"
            )
        }
    }
}

/// A column in a form that can be compared: documents by their text.
fn comparable(alias: &str, column: &Scalar) -> String {
    let cast = if column.sql_type == SqlType::Json { "::text" } else { "" };
    format!("{alias}.{}{cast}", identifier(&column.name))
}

/// A value in a form that becomes JSON as the core writes it: instants in UTC with `Z` and no trailing zeros.
fn json_value(value: &str, sql_type: SqlType) -> String {
    match sql_type {
        SqlType::Timestamptz => format!(
            "rtrim(rtrim(to_char({value} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), '0'), '.') || 'Z'"
        ),
        SqlType::Text | SqlType::Bigint | SqlType::Numeric | SqlType::Boolean | SqlType::Json => value.to_owned(),
    }
}
