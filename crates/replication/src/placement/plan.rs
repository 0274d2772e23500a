//! Planning where the columns of a stream go.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    ColumnChange, ColumnChangeKind, Dialect, Nesting, Origin, Placement, Refusal, Rename,
    SOURCE_KEY_PREFIX, SplitRule, StoredColumn, StoredTable, Unplaced,
    dialect::{GENERATED_KEY, has_reserved_prefix, has_reserved_suffix, with_suffix},
    nested::{Neighbours, subtable},
};
use crate::{
    destination::{DestinationError, DestinationErrorKind},
    reject::ReasonCode,
    stream::{Column, ColumnType, StreamSchema, WinnerRule},
    system,
};

/// Plans the placement of a stream in a table, which may be there already.
///
/// # Errors
/// When the table was changed by somebody else in a way that leaves no place for the values, or its key is another one.
pub(crate) fn plan(
    dialect: &Dialect,
    schema: &Arc<StreamSchema>,
    stored: Option<&StoredTable>,
    neighbours: &Neighbours,
) -> Result<Placement, DestinationError> {
    let table = schema.table();
    let is_subtable =
        |table: &StoredTable| table.columns.iter().any(|column| column.name == "_sdc_level_0_id");
    if stored.is_some_and(|stored| stored.name != table || is_subtable(stored)) {
        return Ok(table_collision(dialect, table));
    }
    if let Some(key) = stored.and_then(|stored| stored.key.as_ref()) {
        check_key(dialect, schema, key)?;
    }
    let mut plan = Plan::new(dialect, schema, stored, neighbours);
    for position in plan.order() {
        match &schema.columns[position].one_type_of {
            Some(field) => plan.place_types(field)?,
            None => plan.place(position)?,
        }
    }
    plan.finish()
}

/// A key never changes under the rows that it tells apart: merged by another one, rows that differ would become one, or
/// one would become several.
fn check_key(
    dialect: &Dialect,
    schema: &StreamSchema,
    stored: &[String],
) -> Result<(), DestinationError> {
    let sorted = |names: &mut dyn Iterator<Item = String>| {
        let mut names: Vec<String> = names.map(|name| dialect.folded(&name)).collect();
        names.sort();
        names
    };
    let source = sorted(&mut schema.key.iter().map(|name| (dialect.canonical)(name)));
    let stored_key = sorted(&mut stored.iter().cloned());
    if source == stored_key || (source.is_empty() && stored_key == [GENERATED_KEY]) {
        return Ok(());
    }
    let named = |key: &[String]| {
        if key.is_empty() { "none".to_owned() } else { format!("(`{}`)", key.join("`, `")) }
    };
    Err(DestinationError::new(
        DestinationErrorKind::Refused,
        format!(
            "The key of `{}` is {}, but that of the stream is {} now",
            schema.table(),
            named(stored),
            named(&schema.key)
        ),
        "Drop the table and replicate it from the start, or deselect the stream",
    ))
}

/// The placement of a stream that can't be held under its name.
pub(crate) fn refused(why: Refusal) -> Placement {
    Placement {
        stored: None,
        origins: Vec::new(),
        renames: Vec::new(),
        subtable_renames: Vec::new(),
        unplaced: Vec::new(),
        refusal: Some(why),
        changes: Vec::new(),
    }
}

/// Two streams whose tables would have one name.
pub(crate) fn table_collision(dialect: &Dialect, table: &str) -> Placement {
    let reason = format!(
        "Table collision on `{table}`: {} doesn't tell its name from another stream's",
        dialect.product
    );
    refused(Refusal::new(ReasonCode::FieldCollision, reason))
}

/// Why no table can have this name.
pub(super) fn refused_name(dialect: &Dialect, table: &str) -> Option<Refusal> {
    let product = dialect.product;
    if table.is_empty() || table.contains('\0') {
        let reason = format!("`{}` can't be the name of a table", table.escape_default());
        return Some(Refusal::new(ReasonCode::UnusableName, reason));
    }
    if has_reserved_prefix(table) {
        let reason = format!("Table name `{table}` begins with a prefix that is reserved");
        return Some(Refusal::new(ReasonCode::ReservedName, reason));
    }
    if table.len() > dialect.table_bytes {
        let reason = format!("Table name `{table}` is too long for {product}");
        return Some(Refusal::new(ReasonCode::NameTooLong, reason));
    }
    None
}

pub(super) struct Plan<'a> {
    pub(super) dialect: &'a Dialect,
    pub(super) source: &'a StreamSchema,
    pub(super) neighbours: &'a Neighbours,
    /// The subtables that have a name.
    pub(super) claimed_tables: HashSet<String>,
    /// The columns that the table has, by their name as the destination compares it.
    pub(super) existing: HashMap<String, &'a StoredColumn>,
    pub(super) is_new: bool,
    /// The names that are given, as the destination compares them.
    pub(super) claimed: HashSet<String>,
    /// How many columns the table has so far.
    pub(super) count: usize,
    pub(super) columns: Vec<Column>,
    pub(super) origins: Vec<Origin>,
    /// The stored name of each of the stream's columns.
    pub(super) names: Vec<Option<String>>,
    pub(super) renames: Vec<Rename>,
    pub(super) subtable_renames: Vec<(StreamSchema, Vec<Rename>)>,
    pub(super) unplaced: Vec<Unplaced>,
    pub(super) changes: Vec<ColumnChange>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        dialect: &'a Dialect,
        source: &'a StreamSchema,
        stored: Option<&'a StoredTable>,
        neighbours: &'a Neighbours,
    ) -> Self {
        let columns = stored.map_or(&[][..], |table| &table.columns);
        let takes_room = |column: &&StoredColumn| {
            dialect.nesting == Nesting::Native
                || !matches!(column.column_type, Some(ColumnType::List(_)))
        };
        let is_own = |column: &&StoredColumn| {
            let table = || subtable(source.table(), &column.name);
            !is_list(column) || !neighbours.taken.contains(&dialect.folded(&table()))
        };
        let existing = columns.iter().filter(is_own);
        let system = system::row_columns();
        let count = match stored {
            Some(_) => columns.iter().filter(takes_room).count(),
            None => system.len() + usize::from(!source.is_keyed()),
        };
        Self {
            dialect,
            source,
            neighbours,
            claimed_tables: HashSet::new(),
            existing: existing.map(|column| (dialect.folded(&column.name), column)).collect(),
            is_new: stored.is_none(),
            claimed: HashSet::new(),
            count,
            columns: Vec::new(),
            origins: Vec::new(),
            names: vec![None; source.columns.len()],
            renames: Vec::new(),
            subtable_renames: Vec::new(),
            unplaced: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// The stream's columns in the order in which they choose their names: those that the table has under exactly their
    /// own name come first, so that a new column can't take a name from one that has it.
    fn order(&self) -> Vec<usize> {
        let lacks_own = |position: &usize| {
            let name = &self.source.columns[*position].name;
            self.existing.get(&self.dialect.folded(name)).is_none_or(|stored| stored.name != *name)
        };
        let mut order: Vec<usize> = (0..self.source.columns.len()).collect();
        order.sort_by_key(lacks_own);
        order
    }

    pub(super) fn place(&mut self, position: usize) -> Result<(), DestinationError> {
        let mut column = Cow::Borrowed(&self.source.columns[position]);
        let base = match self.usable_name(&column) {
            Ok(base) => base,
            Err(why) => {
                self.unplaced.push(Unplaced { position, why });
                return Ok(());
            }
        };
        if let ColumnType::Objects(items) = &column.column_type {
            match self.nested(&base, items)? {
                Some(items) => {
                    let existing = self.existing.get(&self.dialect.folded(&base)).copied();
                    if let Some(stored) = existing.filter(|stored| !is_list(stored)) {
                        self.rename_original(stored, &base)?;
                    }
                    self.give(
                        position,
                        base.clone(),
                        ColumnType::Objects(items),
                        Origin::Column(position),
                    );
                    return self.clear_others(position, &base);
                }
                None => column.to_mut().column_type = ColumnType::Json,
            }
        }
        let existing = self.existing.get(&self.dialect.folded(&base)).copied();
        if self.dialect.nesting == Nesting::Subtables
            && let Some(stored) = existing
            && is_native_array(stored, &column)
        {
            return Err(began_with_native_arrays(stored));
        }
        match self.choose(&column, &base)? {
            Choice::Existing(stored, origin) => {
                let (name, column_type) = (stored.name.clone(), stored_type(stored)?);
                if let Some(why) = self.table_is_taken(&name, &column_type) {
                    self.unplaced.push(Unplaced { position, why });
                    return Ok(());
                }
                self.give(position, name, column_type, origin(position));
            }
            Choice::New(name) => {
                let is_array = matches!(column.column_type, ColumnType::List(_));
                let why = self.no_room(&name, is_array);
                if let Some(why) = why.or_else(|| self.table_is_taken(&name, &column.column_type)) {
                    self.unplaced.push(Unplaced { position, why });
                    return self.clear_others(position, &base);
                }
                if !self.is_new {
                    let kind = if name == base {
                        ColumnChangeKind::Added
                    } else {
                        ColumnChangeKind::Split { from: base.clone() }
                    };
                    self.changes.push(ColumnChange { column: name.clone(), kind });
                }
                self.count +=
                    usize::from(!(is_array && self.dialect.nesting == Nesting::Subtables));
                self.give(position, name, column.column_type.clone(), Origin::Column(position));
            }
        }
        self.clear_others(position, &base)
    }

    /// The name that the column would have without regard to types.
    pub(super) fn usable_name(&mut self, column: &Column) -> Result<String, Refusal> {
        let (name, product) = (&column.name, self.dialect.product);
        let base = (self.dialect.canonical)(name);
        // What is left of a name may be reserved, too: `age__bi!` becomes `age__bi`.
        if has_reserved_prefix(name) || has_reserved_prefix(&base) {
            let reason = format!("Column name `{name}` begins with a prefix that is reserved");
            return Err(Refusal::new(ReasonCode::ReservedName, reason));
        }
        if has_reserved_suffix(name) || has_reserved_suffix(&base) {
            let reason = format!(
                "Column names from client should not include reserved datatype suffix on `{name}`"
            );
            return Err(Refusal::new(ReasonCode::ReservedName, reason));
        }
        if base.is_empty() || base.contains('\0') {
            let reason = format!("`{}` can't be the name of a column", name.escape_default());
            return Err(Refusal::new(ReasonCode::UnusableName, reason));
        }
        if base.len() > self.dialect.column_bytes {
            let reason = format!("Column name `{name}` is too long for {product}");
            return Err(Refusal::new(ReasonCode::NameTooLong, reason));
        }
        let is_system =
            || system::row_columns().iter().any(|system| system.name.eq_ignore_ascii_case(&base));
        if is_system() || !self.claimed.insert(self.dialect.folded(&base)) {
            let reason = format!("Field collision on `{name}`");
            return Err(Refusal::new(ReasonCode::FieldCollision, reason));
        }
        Ok(base)
    }

    /// Chooses among the columns of that name that the table has, or a new one.
    fn choose(&mut self, column: &Column, base: &str) -> Result<Choice<'a>, DestinationError> {
        let wanted = &column.column_type;
        let is_key = self.source.key.contains(&column.name);
        let holds = |stored: &StoredColumn| -> Option<fn(usize) -> Origin> {
            match (stored.column_type.as_ref()?, wanted) {
                (stored, wanted) if stored == wanted => Some(Origin::Column),
                (ColumnType::Number, ColumnType::Integer) => Some(Origin::Widened),
                _ => None,
            }
        };
        let direct = self.existing.get(&self.dialect.folded(base)).copied();
        if let Some(stored) = direct {
            if let Some(origin) = holds(stored) {
                return Ok(Choice::Existing(stored, origin));
            }
            if is_key {
                return Err(key_type_changed(self.source.table(), stored));
            }
            self.rename_original(stored, base)?;
        }
        let mut siblings = self.siblings(base);
        siblings.sort_by_key(|stored| stored.column_type.as_ref() != Some(wanted));
        if let Some((stored, origin)) =
            siblings.iter().find_map(|stored| Some((*stored, holds(stored)?)))
            && !is_key
        {
            return Ok(Choice::Existing(stored, origin));
        }
        let is_split = direct.is_some() || !siblings.is_empty();
        Ok(Choice::New(if is_split && !is_key {
            with_suffix(base, wanted)
        } else {
            base.to_owned()
        }))
    }

    /// A column whose values will go elsewhere gets a suffix too, where that is the rule.
    pub(super) fn rename_original(
        &mut self,
        stored: &StoredColumn,
        base: &str,
    ) -> Result<(), DestinationError> {
        let stored_type = stored_type(stored)?;
        let is_subtable = self.dialect.nesting == Nesting::Subtables
            && matches!(stored_type, ColumnType::List(_));
        if self.dialect.split == SplitRule::KeepsOriginal || is_subtable {
            return Ok(());
        }
        let rename = Rename { from: stored.name.clone(), to: with_suffix(base, &stored_type) };
        if self.existing.contains_key(&self.dialect.folded(&rename.to)) {
            return Err(foreign(stored));
        }
        let kind = ColumnChangeKind::Renamed { from: rename.from.clone() };
        self.changes.push(ColumnChange { column: rename.to.clone(), kind });
        self.renames.push(rename);
        Ok(())
    }

    /// The columns that hold values of the same name in other types.
    pub(super) fn siblings(&self, base: &str) -> Vec<&'a StoredColumn> {
        let all = self.existing.iter().filter(|(folded, stored)| {
            stored.column_type.as_ref().is_some_and(|stored_type| {
                **folded == self.dialect.folded(&with_suffix(base, stored_type))
            })
        });
        let mut siblings: Vec<_> = all.map(|(_, stored)| *stored).collect();
        siblings.sort_by(|left, right| left.name.cmp(&right.name));
        siblings
    }

    /// A value goes to exactly one of the columns of its name: in the others, rows that are written hold nothing.
    fn clear_others(&mut self, position: usize, base: &str) -> Result<(), DestinationError> {
        let direct = self.existing.get(&self.dialect.folded(base)).copied();
        for stored in direct.into_iter().chain(self.siblings(base)) {
            let renamed = self.renames.iter().find(|rename| rename.from == stored.name);
            let name = renamed.map_or(&stored.name, |rename| &rename.to).clone();
            if self.names[position].as_ref() == Some(&name) {
                // Lists and objects of one name share their subtable.
                continue;
            }
            self.columns.push(Column::new(name, stored_type(stored)?));
            self.origins.push(Origin::Nothing);
        }
        Ok(())
    }

    /// Claims the subtable of a list, where lists have one. Why it can't be had, if it can't.
    fn table_is_taken(&mut self, name: &str, column_type: &ColumnType) -> Option<Refusal> {
        let table = subtable(self.source.table(), name);
        let is_subtable = self.dialect.nesting == Nesting::Subtables
            && matches!(column_type, ColumnType::List(_));
        (is_subtable && !self.claim(vec![(table.clone(), 1)])).then(|| {
            let reason =
                format!("Field collision on `{name}`: the table `{table}` holds something else");
            Refusal::new(ReasonCode::FieldCollision, reason)
        })
    }

    pub(super) fn no_room(&self, name: &str, is_array: bool) -> Option<Refusal> {
        let product = self.dialect.product;
        if is_array && self.dialect.nesting == Nesting::Subtables {
            let table = format!("{}__{name}", self.source.table());
            if table.len() > self.dialect.table_bytes {
                let reason = format!("Table name `{table}` is too long for {product}");
                return Some(Refusal::new(ReasonCode::NameTooLong, reason));
            }
            let key =
                self.source.key.iter().find(|key| {
                    SOURCE_KEY_PREFIX.len() + key.len() > self.dialect.identifier_bytes
                });
            return key.map(|key| {
                let reason =
                    format!("Column name `{SOURCE_KEY_PREFIX}{key}` is too long for {product}");
                Refusal::new(ReasonCode::NameTooLong, reason)
            });
        }
        if name.len() > self.dialect.identifier_bytes {
            let reason = format!("Column name `{name}` is too long for {product}");
            return Some(Refusal::new(ReasonCode::NameTooLong, reason));
        }
        (self.count >= self.dialect.column_count).then(|| {
            let reason = format!(
                "Too many columns: `{name}` would be more than the {} of a table in {product}",
                self.dialect.column_count
            );
            Refusal::new(ReasonCode::TooManyColumns, reason)
        })
    }

    pub(super) fn give(
        &mut self,
        position: usize,
        name: String,
        column_type: ColumnType,
        origin: Origin,
    ) {
        self.names[position] = Some(name.clone());
        let object = self.source.columns[position].object.as_deref().map(self.dialect.canonical);
        let mut column = Column::new(name, column_type).within(object);
        column.one_type_of.clone_from(&self.source.columns[position].one_type_of);
        self.columns.push(column);
        self.origins.push(origin);
    }

    fn finish(mut self) -> Result<Placement, DestinationError> {
        let source = self.source;
        let of_key =
            |unplaced: &&Unplaced| source.key.contains(&source.columns[unplaced.position].name);
        if let Some(key) = self.unplaced.iter().find(of_key) {
            return Ok(refused(key.why.clone()));
        }
        self.in_source_order();
        let name = |column: &String| {
            source.position(column).and_then(|position| self.names[position].clone())
        };
        let key: Option<Vec<String>> = source.key.iter().map(name).collect();
        let Some(key) = key else {
            return Err(DestinationError::new(
                DestinationErrorKind::Refused,
                format!("A key column of `{}` is not among its columns", source.table()),
                "Select the column",
            ));
        };
        let winner = match &source.winner {
            WinnerRule::Greatest(columns) => {
                WinnerRule::Greatest(columns.iter().filter_map(name).collect())
            }
            other => other.clone(),
        };
        let stored = StreamSchema {
            stream: source.stream.clone(),
            columns: self.columns,
            key,
            replication_key: source.replication_key.as_ref().and_then(name),
            method: source.method,
            winner,
        };
        Ok(Placement {
            stored: Some(Arc::new(stored)),
            origins: self.origins,
            renames: self.renames,
            subtable_renames: self.subtable_renames,
            unplaced: self.unplaced,
            refusal: None,
            changes: self.changes,
        })
    }

    /// Puts the columns in the order of the stream, those that hold nothing last.
    fn in_source_order(&mut self) {
        let columns = std::mem::take(&mut self.columns);
        let origins = std::mem::take(&mut self.origins);
        let mut placed: Vec<(Origin, Column)> = origins.into_iter().zip(columns).collect();
        placed.sort_by_key(|(origin, _)| match origin {
            Origin::Column(position) | Origin::Widened(position) => *position,
            Origin::Nothing => usize::MAX,
        });
        (self.origins, self.columns) = placed.into_iter().unzip();
    }
}

/// The column that takes values.
enum Choice<'a> {
    Existing(&'a StoredColumn, fn(usize) -> Origin),
    New(String),
}

fn is_list(stored: &StoredColumn) -> bool {
    matches!(stored.column_type, Some(ColumnType::List(_)))
}

/// Whether an array stands in a column where arrays are to be subtables.
fn is_native_array(stored: &StoredColumn, column: &Column) -> bool {
    matches!(column.column_type, ColumnType::List(_))
        && stored.column_type.is_none()
        && stored.type_name.ends_with("[]")
}

/// Neither form of a table's arrays is made from the other: what is in the old one would stay there, and grow stale.
fn began_with_native_arrays(stored: &StoredColumn) -> DestinationError {
    DestinationError::new(
        DestinationErrorKind::Refused,
        format!(
            "Column `{}` is {}: the schema was begun with arrays in columns, and can't go on with subtables",
            stored.name,
            stored.type_name.to_lowercase()
        ),
        "Set `nested = \"native\"`, or choose another schema, which will be filled from the start",
    )
}

pub(super) fn stored_type(stored: &StoredColumn) -> Result<ColumnType, DestinationError> {
    stored.column_type.clone().ok_or_else(|| foreign(stored))
}

fn foreign(stored: &StoredColumn) -> DestinationError {
    DestinationError::new(
        DestinationErrorKind::Refused,
        format!(
            "Column `{}` is of the type {}, which holds no values of this stream",
            stored.name,
            stored.type_name.to_lowercase()
        ),
        "Rename the column in the database; a new one will be made",
    )
}

fn key_type_changed(table: &str, stored: &StoredColumn) -> DestinationError {
    DestinationError::new(
        DestinationErrorKind::Refused,
        format!(
            "Key column `{}` of `{table}` is {}, but the source now sends keys of another type",
            stored.name,
            stored.type_name.to_lowercase()
        ),
        "Drop the table and replicate it from the start, or deselect the stream",
    )
}
