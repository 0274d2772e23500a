//! Making tables fit their streams: created whole, or widened by the columns they lack. Nothing is ever dropped or
//! retyped.

use std::collections::BTreeMap;

use replication::{
    destination::{DestinationError, DestinationErrorKind},
    placement::{Nesting, Rename, StoredColumn, StoredTable},
    stream::ColumnType,
    system::SystemTable,
};

use crate::{
    connection::{text, texts},
    failure::Doing,
    layout::{GENERATED_KEY, Layout, SqlType, Tables, child_table, source_key},
    session::Session,
    sql::{nested, tables},
};

/// A relation as the database has it.
#[derive(Debug, Default)]
struct Relation {
    kind: String,
    /// Whether other tables inherit from it.
    has_heirs: bool,
    columns: BTreeMap<String, RelationColumn>,
}

/// A column as the database has it.
#[derive(Debug)]
struct RelationColumn {
    type_name: String,
    is_key: bool,
}

impl Session<'_> {
    /// Makes the live tables fit; with a version, also those in which it waits. Tables in which another version waits
    /// are dropped: it will never be activated.
    pub(crate) async fn prepare(
        &self,
        layout: &Layout,
        version: Option<i64>,
    ) -> Result<(), DestinationError> {
        self.fit(layout, &layout.live()).await?;
        let Some(version) = version else { return Ok(()) };
        let waiting = layout.waiting();
        if self.is_waiting(&waiting.parent, version).await? {
            return self.fit(layout, &waiting).await;
        }
        let doing = Doing::work(format!("prepare table `{}`", waiting.parent));
        self.connection.run(&tables::drop_tables(self.schema, waiting.names()), &doing).await?;
        self.fit(layout, &waiting).await?;
        let mark = tables::mark_version(self.schema, &waiting.parent, version);
        self.connection.run(&mark, &doing).await
    }

    /// Gives columns other names: in the live table, and in the one in which a version waits if it has them.
    pub(crate) async fn rename(
        &self,
        layout: &Layout,
        renames: &[Rename],
    ) -> Result<(), DestinationError> {
        for name in [layout.live().parent, layout.waiting().parent] {
            let names = Tables { parent: name, children: Vec::new() };
            let relations = self.relations(&names).await?;
            let doing = Doing::task(format!("rename columns of table `{}`", names.parent));
            for Rename { from, to } in renames {
                let has = |relation: &Relation| relation.columns.contains_key(from);
                if relations.get(&names.parent).is_some_and(has) {
                    let rename = tables::rename_column(self.schema, &names.parent, from, to);
                    self.connection.run(&rename, &doing).await?;
                }
            }
        }
        Ok(())
    }

    /// A table as the database has it, its arrays, which are subtables, included.
    pub(crate) async fn stored(
        &self,
        table: &str,
    ) -> Result<Option<StoredTable>, DestinationError> {
        let doing = Doing::task(format!("look at table `{table}`"));
        let parameters = [text(&self.schema), text(&table)];
        let rows = self.connection.query(tables::STORED_COLUMNS, &parameters, &doing).await?;
        let mut stored = StoredTable { name: table.to_owned(), columns: Vec::new(), key: None };
        let mut key = Vec::new();
        let is_native = self.nesting == Nesting::Native;
        for row in &rows {
            let (array, name): (Option<String>, Option<String>) = (row.get(0), row.get(1));
            let (Some(type_name), Some(name)) = (row.get::<_, Option<String>>(2), name) else {
                continue;
            };
            if let Some(array) = array.as_ref().filter(|_| is_native) {
                return Err(began_with_subtables(&child_table(table, array)));
            }
            let sql_type = match type_name.strip_suffix("[]") {
                Some(item) if is_native => SqlType::named(item).map(SqlType::array),
                _ => SqlType::named(&type_name),
            };
            let column_type = sql_type.map(SqlType::column_type);
            if row.get(3) {
                key.push(name.clone());
            }
            stored.columns.push(match array {
                None => StoredColumn { name, column_type, type_name },
                Some(array) => {
                    let column_type = column_type.map(|item| ColumnType::List(Box::new(item)));
                    StoredColumn { name: array, column_type, type_name }
                }
            });
        }
        if rows.is_empty() {
            return Ok(None);
        }
        if is_native {
            // Arrays of objects that hold no plain items have subtables without the column that these were found by.
            let parameters = [text(&self.schema), text(&table)];
            let rows = self.connection.query(tables::ANY_SUBTABLE, &parameters, &doing).await?;
            if let Some(row) = rows.first() {
                return Err(began_with_subtables(row.get(0)));
            }
        }
        stored.key = Some(key);
        Ok(Some(stored))
    }

    /// The live tables, with the subtables that the stream's arrays had when they were others.
    pub(crate) async fn live(&self, layout: &Layout) -> Result<Tables, DestinationError> {
        let mut live = layout.live();
        let others = self.others(layout, &live).await?;
        live.children.extend(others.into_iter().map(|other| other.name));
        Ok(live)
    }

    /// The subtables that the layout lacks.
    async fn others(&self, layout: &Layout, live: &Tables) -> Result<Vec<Other>, DestinationError> {
        let doing = Doing::task(format!("look for subtables of `{}`", layout.table));
        let mut keys: Vec<String> = layout.key().map(|column| source_key(&column.name)).collect();
        if keys.is_empty() {
            keys.push(source_key(GENERATED_KEY));
        }
        keys.sort_unstable();
        let parameters =
            [text(&self.schema), text(&layout.table), texts(&keys), texts(&live.children)];
        let rows = self.connection.query(tables::OTHER_SUBTABLES, &parameters, &doing).await?;
        Ok(rows.iter().map(|row| Other { name: row.get(0), is_deep: row.get(1) }).collect())
    }

    /// The live tables of rows that come again. The items in the subtables that a field had when it was of another shape are
    /// stale then; those of fields that the stream hasn't any more, or that aren't selected, stay, as the values of columns
    /// do.
    pub(crate) async fn live_of_fields(&self, layout: &Layout) -> Result<Tables, DestinationError> {
        let mut live = layout.live();
        let others = self.others(layout, &live).await?;
        live.children.extend(of_fields(layout, &others));
        Ok(live)
    }

    /// Whether a version waits in a table.
    pub(crate) async fn is_waiting(
        &self,
        name: &str,
        version: i64,
    ) -> Result<bool, DestinationError> {
        let doing = Doing::task(format!("look at table `{name}`"));
        let parameters = [text(&self.schema), text(&name)];
        let rows = self.connection.query(tables::COMMENT, &parameters, &doing).await?;
        let mark = tables::version_mark(version);
        Ok(rows
            .first()
            .and_then(|row| row.get::<_, Option<String>>(0))
            .is_some_and(|comment| comment == mark))
    }

    /// Whether a table exists.
    pub(crate) async fn table_exists(&self, name: &str) -> Result<bool, DestinationError> {
        let doing = Doing::task(format!("look for table `{name}`"));
        let names = vec![name];
        let parameters = [text(&self.schema), texts(&names)];
        Ok(!self.connection.query(tables::EXISTING, &parameters, &doing).await?.is_empty())
    }

    async fn fit(&self, layout: &Layout, names: &Tables) -> Result<(), DestinationError> {
        let mut relations = self.relations(names).await?;
        if let Some(table) = relations.get_mut(&names.parent)
            && layout.has_generated_key()
            && table.lacks_any_key()
        {
            // The stream had no array until now.
            let doing = Doing::work(format!("give the rows of table `{}` a key", names.parent));
            let add = tables::add_generated_key(self.schema, &names.parent);
            self.connection.run(&add, &doing).await?;
            let key = RelationColumn { type_name: SqlType::Text.name().to_owned(), is_key: true };
            table.columns.insert(GENERATED_KEY.to_owned(), key);
        }
        let wanted: Vec<(String, SqlType)> =
            layout.columns().map(|column| (column.name.clone(), column.sql_type)).collect();
        let key: Vec<&str> = layout.key().map(|column| column.name.as_str()).collect();
        let create = || tables::create_parent(self.schema, &names.parent, layout);
        self.fit_one(&names.parent, relations.get(&names.parent), &wanted, &key, create).await?;
        for (list, child) in layout.lists.iter().zip(&names.children) {
            let wanted = tables::child_columns(layout, list);
            let key: Vec<&str> =
                wanted[..=key.len()].iter().map(|(name, _)| name.as_str()).collect();
            let create = || tables::create_child(self.schema, child, layout, list);
            self.fit_one(child, relations.get(child), &wanted, &key, create).await?;
        }
        for (nested, child) in layout.nested.iter().zip(&names.children[layout.lists.len()..]) {
            let wanted = nested::columns(layout, nested);
            let key = nested::key_columns(layout, nested);
            let key: Vec<&str> = key.iter().map(|(name, _)| name.as_str()).collect();
            let create = || tables::create_nested(self.schema, child, &wanted, &key);
            self.fit_one(child, relations.get(child), &wanted, &key, create).await?;
        }
        Ok(())
    }

    /// Makes one table fit; `create` gives the statement that makes it from nothing.
    async fn fit_one(
        &self,
        name: &str,
        relation: Option<&Relation>,
        wanted: &[(String, SqlType)],
        key: &[&str],
        create: impl FnOnce() -> String,
    ) -> Result<(), DestinationError> {
        let Some(relation) = relation else {
            let doing = Doing::task(format!("create table `{name}`"));
            return self.connection.run(&create(), &doing).await;
        };
        relation.check(name, wanted, key)?;
        let missing: Vec<&(String, SqlType)> =
            wanted.iter().filter(|(column, _)| !relation.columns.contains_key(column)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let doing = Doing::task(format!("add columns to table `{name}`"));
        self.connection.run(&tables::add_columns(self.schema, name, &missing), &doing).await
    }

    /// Makes a system table fit.
    pub(crate) async fn fit_system_table(
        &self,
        table: &SystemTable,
    ) -> Result<(), DestinationError> {
        let names = Tables { parent: table.name.to_owned(), children: Vec::new() };
        let relations = self.relations(&names).await?;
        let create = || tables::create_system_table(self.schema, table);
        self.fit_one(
            table.name,
            relations.get(table.name),
            &tables::system_columns(table),
            table.key,
            create,
        )
        .await
    }

    async fn relations(
        &self,
        names: &Tables,
    ) -> Result<BTreeMap<String, Relation>, DestinationError> {
        let doing = Doing::task(format!("look at table `{}`", names.parent));
        let wanted: Vec<&String> = names.names().collect();
        let parameters = [text(&self.schema), texts(&wanted)];
        let mut relations: BTreeMap<String, Relation> = BTreeMap::new();
        for row in self.connection.query(tables::COLUMNS, &parameters, &doing).await? {
            let relation = relations.entry(row.get(0)).or_default();
            relation.kind = row.get(1);
            relation.has_heirs = row.get(5);
            if let (Some(column), Some(type_name)) = (row.get::<_, Option<String>>(2), row.get(3)) {
                relation.columns.insert(column, RelationColumn { type_name, is_key: row.get(4) });
            }
        }
        Ok(relations)
    }
}

impl Relation {
    /// Whether it is a table without a primary key and without the column of a generated one.
    fn lacks_any_key(&self) -> bool {
        let is_key =
            |(name, column): (&String, &RelationColumn)| column.is_key || name == GENERATED_KEY;
        self.kind == "r" && !self.columns.iter().any(is_key)
    }

    /// Whether rows can be merged into it without loss.
    fn check(
        &self,
        name: &str,
        wanted: &[(String, SqlType)],
        key: &[&str],
    ) -> Result<(), DestinationError> {
        if self.kind != "r" {
            return Err(refused(
                format!("`{name}` exists, but is no ordinary table"),
                "Rename it, so that the table can be created",
            ));
        }
        if self.has_heirs {
            // Their rows show in it, under numbers of their own, and its key says nothing about them.
            return Err(refused(
                format!(
                    "Other tables inherit from `{name}`, so its rows can't be told from theirs"
                ),
                "Let them not (`alter table … no inherit`), and put a view over all of them",
            ));
        }
        for (column, sql_type) in wanted {
            let stored = self.columns.get(column).map(|stored| stored.type_name.as_str());
            if let Some(stored) = stored.filter(|stored| *stored != sql_type.name()) {
                return Err(refused(
                    format!(
                        "Column `{column}` of `{name}` is `{stored}`, but its values are `{}`",
                        sql_type.name()
                    ),
                    "Rename the column in the database; a new one will be made",
                ));
            }
        }
        let stored =
            self.columns.iter().filter(|(_, column)| column.is_key).map(|(name, _)| name.as_str());
        let mut wanted: Vec<&str> = key.to_vec();
        wanted.sort_unstable();
        if !wanted.is_empty() && !stored.eq(wanted.iter().copied()) {
            let columns = key.join("`, `");
            return Err(refused(
                format!("The primary key of `{name}` is not (`{columns}`)"),
                "Put it back, or drop the table and replicate it from the start",
            ));
        }
        Ok(())
    }
}

/// A subtable that the layout lacks.
struct Other {
    name: String,
    /// Whether its array lies within an array's items.
    is_deep: bool,
}

/// Those of the subtables that a field of the stream had when it was of another shape, with all below them. Which array an
/// inner one belongs to, its name doesn't say for sure: `foo__x__y` may be of `foo` or of a field `foo__x`. It is taken to be
/// of the longest name that is there.
fn of_fields(layout: &Layout, others: &[Other]) -> Vec<String> {
    let is_within = |name: &str, other: &str| {
        name.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with("__"))
    };
    let lists = layout.lists.iter().map(|list| &list.name);
    let columns = layout.scalars.iter().chain(&layout.documents).map(|column| &column.name);
    let subtable = |column: &String| child_table(&layout.table, column);
    let fields: Vec<String> = columns.chain(lists).map(subtable).collect();
    let of_objects: Vec<(String, String)> = layout
        .of_objects
        .iter()
        .map(|(object, field)| (subtable(object), subtable(field)))
        .collect();
    let outer: Vec<&String> = others
        .iter()
        .filter(|other| !other.is_deep)
        .map(|other| &other.name)
        .chain(&fields)
        .collect();
    let is_of_field = |array: &String| {
        // The object, or one within it, was an array once; a field of its own that is called like one was not.
        let is_object = |(object, field): &(String, String)| {
            is_within(array, object) && is_within(field, array)
        };
        fields.contains(array) || of_objects.iter().any(is_object)
    };
    let is_stale = |other: &&Other| {
        let arrays = outer.iter().copied().filter(|array| is_within(&other.name, array));
        let array =
            if other.is_deep { arrays.max_by_key(|array| array.len()) } else { Some(&other.name) };
        array.is_some_and(is_of_field)
    };
    others.iter().filter(is_stale).map(|other| other.name.clone()).collect()
}

/// Neither form of a table's arrays is made from the other: what is in the old one would stay there, and grow stale.
fn began_with_subtables(subtable: &str) -> DestinationError {
    refused(
        format!(
            "The schema holds `{subtable}`: it was begun with arrays in subtables, and can't go on without"
        ),
        "Set `nested = \"subtables\"`, or choose another schema, which will be filled from the start",
    )
}

fn refused(message: String, remedy: &str) -> DestinationError {
    DestinationError::new(DestinationErrorKind::Refused, message, remedy)
}
