//! Arrays of objects, where these become subtables: their fields are placed as the columns of a stream would be.

use std::collections::{HashMap, HashSet};

use super::{
    Dialect, Nesting, Origin, SOURCE_KEY_PREFIX, StoredTable, dialect::GENERATED_KEY, plan::Plan,
    verbatim,
};
use crate::{
    destination::DestinationError,
    stream::{Column, ColumnType, ItemField, Items, Method, StreamName, StreamSchema, WinnerRule},
    system,
};

/// The column of a subtable that holds a plain item.
const ITEM: &str = "value";

/// The subtable of a field.
pub(super) fn subtable(table: &str, field: &str) -> String {
    format!("{table}__{field}")
}

/// The subtables that arrays of objects become, however deep, if all of them can be, each with its number of levels.
pub(super) fn names(
    canonical: fn(&str) -> String,
    table: &str,
    levels: usize,
    items: &Items,
) -> Vec<(String, usize)> {
    let mut names = vec![(table.to_owned(), levels)];
    for field in &items.fields {
        let inner = subtable(table, &canonical(&field.name));
        match &field.column_type {
            ColumnType::Objects(items) => {
                names.extend(self::names(canonical, &inner, levels + 1, items));
            }
            ColumnType::List(_) => names.push((inner, levels + 1)),
            _ => {}
        }
    }
    names
}

/// The subtables of a column; none where arrays lie in columns.
pub(super) fn of_column(
    dialect: &Dialect,
    canonical: fn(&str) -> String,
    table: &str,
    column: &Column,
) -> Vec<(String, usize)> {
    let name = subtable(table, &canonical(&column.name));
    match &column.column_type {
        _ if dialect.nesting == Nesting::Native => Vec::new(),
        ColumnType::Objects(items) => names(canonical, &name, 1, items),
        ColumnType::List(_) => vec![(name, 1)],
        _ => Vec::new(),
    }
}

/// The tables that bear names which a stream's subtables might have.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    /// Those that the destination has, by name.
    pub(super) stored: HashMap<String, StoredTable>,
    /// Names that other streams of the run have, for their tables or subtables.
    pub(super) taken: HashSet<String>,
}

impl Neighbours {
    /// Whether a subtable of a stream with so many levels can have this name: nobody else has it, and what bears it is
    /// such a subtable.
    fn admit(&self, dialect: &Dialect, stream: &StreamSchema, table: &str, levels: usize) -> bool {
        let fits = |stored: &StoredTable| {
            let names = || stored.columns.iter().map(|column| column.name.as_str());
            let mut keys: Vec<&str> =
                names().filter_map(|name| name.strip_prefix(SOURCE_KEY_PREFIX)).collect();
            let mut wanted: Vec<String> =
                stream.key.iter().map(|key| (dialect.canonical)(key)).collect();
            if wanted.is_empty() {
                wanted.push(GENERATED_KEY.to_owned());
            }
            keys.sort_unstable();
            wanted.sort_unstable();
            keys == wanted && names().filter(|name| is_level(name)).count() == levels
        };
        !self.taken.contains(&dialect.folded(table)) && self.stored.get(table).is_none_or(fits)
    }
}

fn is_level(column: &str) -> bool {
    let depth = column.strip_prefix("_sdc_level_").and_then(|end| end.strip_suffix("_id"));
    depth.is_some_and(|depth| depth.parse::<usize>().is_ok())
}

/// Whether no statement can name the way to a field: text in SQL can't hold U+0000.
fn is_out_of_reach(field: &ItemField) -> bool {
    field.path.iter().flatten().any(|name| name.contains('\0'))
}

impl Plan<'_> {
    /// The items of a column as its subtables hold them. None where they can't: then the array stays one document, which
    /// loses nothing.
    pub(super) fn nested(
        &mut self,
        base: &str,
        items: &Items,
    ) -> Result<Option<Items>, DestinationError> {
        let key_is_too_long =
            |key: &String| SOURCE_KEY_PREFIX.len() + key.len() > self.dialect.identifier_bytes;
        if self.dialect.nesting == Nesting::Native
            || !self.source.is_keyed()
            || self.source.key.iter().any(key_is_too_long)
        {
            return Ok(None);
        }
        let table = subtable(self.source.table(), base);
        let mut renames = Vec::new();
        let placed = self.placed_items(&table, 1, items, &mut renames)?;
        let placed = placed.filter(|items| self.claim(names(verbatim, &table, 1, items)));
        if placed.is_some() {
            self.subtable_renames.extend(renames);
        }
        Ok(placed)
    }

    /// Claims the names of subtables, each with its number of levels: all of them or none.
    pub(super) fn claim(&mut self, subtables: Vec<(String, usize)>) -> bool {
        let mut claimed = self.claimed_tables.clone();
        let is_free = subtables.into_iter().all(|(table, levels)| {
            self.neighbours.admit(self.dialect, self.source, &table, levels)
                && claimed.insert(table)
        });
        if is_free {
            self.claimed_tables = claimed;
        }
        is_free
    }

    /// Places the items of a subtable so many levels deep.
    fn placed_items(
        &self,
        table: &str,
        levels: usize,
        items: &Items,
        renames: &mut Vec<(StreamSchema, Vec<super::Rename>)>,
    ) -> Result<Option<Items>, DestinationError> {
        if table.len() > self.dialect.table_bytes || items.fields.iter().any(is_out_of_reach) {
            return Ok(None);
        }
        let is_plain = |field: &&ItemField| {
            !matches!(field.column_type, ColumnType::List(_) | ColumnType::Objects(_))
        };
        let (plain, arrays): (Vec<&ItemField>, Vec<&ItemField>) =
            items.fields.iter().partition(is_plain);
        let schema = StreamSchema {
            stream: StreamName::new(table),
            columns: plain
                .iter()
                .map(|field| Column::new(&field.name, field.column_type.clone()))
                .collect(),
            key: Vec::new(),
            replication_key: None,
            method: Method::Incremental,
            winner: WinnerRule::Sequence,
        };
        let mut plan =
            Plan::new(self.dialect, &schema, self.neighbours.stored.get(table), self.neighbours);
        if plan.is_new {
            plan.count = system::row_columns().len() + self.source.key.len() + levels;
        }
        for position in 0..plain.len() {
            plan.place(position)?;
        }
        if !plan.unplaced.is_empty() {
            return Ok(None);
        }
        let mut fields: Vec<ItemField> = plan
            .columns
            .iter()
            .zip(&plan.origins)
            .map(|(column, origin)| ItemField {
                name: column.name.clone(),
                path: match *origin {
                    Origin::Column(position) | Origin::Widened(position) => {
                        plain[position].path.clone()
                    }
                    Origin::Nothing => None,
                },
                column_type: column.column_type.clone(),
            })
            .collect();
        for field in arrays {
            let column = Column::new(&field.name, field.column_type.clone());
            let Ok(name) = plan.usable_name(&column) else { return Ok(None) };
            let inner = match &field.column_type {
                ColumnType::Objects(inner) => inner.clone(),
                ColumnType::List(item) => items.with_fields(vec![ItemField {
                    name: ITEM.to_owned(),
                    path: Some(Vec::new()),
                    column_type: (**item).clone(),
                }]),
                _ => continue,
            };
            let table = subtable(table, &name);
            let Some(inner) = self.placed_items(&table, levels + 1, &inner, renames)? else {
                return Ok(None);
            };
            fields.push(ItemField {
                name,
                path: field.path.clone(),
                column_type: ColumnType::Objects(inner),
            });
        }
        if !plan.renames.is_empty() {
            renames.push((schema.clone(), std::mem::take(&mut plan.renames)));
        }
        Ok(Some(items.with_fields(fields)))
    }
}
