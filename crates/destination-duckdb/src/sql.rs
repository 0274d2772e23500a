//! Every statement that this crate sends, and the one function that quotes identifiers.

pub(crate) mod rejects;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use duckdb::types::Value;
use replication::{
    scan::text_bound,
    source::Span,
    stream::{Column, ColumnType, NUMBER_PRECISION, NUMBER_SCALE, StreamSchema, WinnerRule},
    system::{self, LOADS, NEXT_VERSION_PREFIX, STATE, SystemTable, SystemType},
};

/// Begins a transaction.
pub(crate) const BEGIN: &str = "begin transaction";
/// Begins one that can't write.
pub(crate) const BEGIN_READ_ONLY: &str = "begin transaction read only";
/// Commits it.
pub(crate) const COMMIT: &str = "commit";
/// Rolls it back.
pub(crate) const ROLLBACK: &str = "rollback";

/// Sets how much memory may be used back to DuckDB's own default.
pub(crate) const RESET_MEMORY_LIMIT: &str = "reset global memory_limit";
/// How much memory may be used.
pub(crate) const MEMORY_LIMIT: &str = "select current_setting('memory_limit')";

/// Sets it.
pub(crate) fn set_memory_limit(limit: &str) -> String {
    format!("set global memory_limit = '{}'", limit.replace('\'', "''"))
}

/// Finds a table whatever its case; parameters: database, schema, table.
pub(crate) const FIND_TABLE: &str = "select table_name from duckdb_tables() \
     where database_name = ? and lower(schema_name) = lower(?) and lower(table_name) = lower(?)";
/// The columns of a table, with the spelling of its name; parameters as for [`FIND_TABLE`].
pub(crate) const FIND_COLUMNS: &str = "select table_name, column_name, data_type from duckdb_columns() \
     where database_name = ? and lower(schema_name) = lower(?) and lower(table_name) = lower(?) order by column_index";
/// Finds a column called like DuckDB's row numbers, which hides them; parameters as for [`FIND_TABLE`].
pub(crate) const FIND_OWN_ROWID: &str = "select 1 from duckdb_columns() \
     where database_name = ? and lower(schema_name) = lower(?) and lower(table_name) = lower(?) \
     and lower(column_name) = 'rowid'";
/// The comment of a table; parameters: database, schema, and the table as it is spelled.
pub(crate) const FIND_COMMENT: &str = "select comment from duckdb_tables() \
     where database_name = ? and lower(schema_name) = lower(?) and table_name = ? and comment is not null";
/// The waiting tables of a schema; parameters: database, schema, prefix.
pub(crate) const FIND_WAITING_TABLES: &str = "select table_name from duckdb_tables() \
     where database_name = ? and lower(schema_name) = lower(?) and starts_with(table_name, ?)";

/// The tables that have an index: schema, table.
pub(crate) const FIND_INDEXED_TABLES: &str = "select schema_name, table_name from duckdb_indexes() \
     where database_name = current_database() union select schema_name, table_name from duckdb_constraints() \
     where database_name = current_database() and constraint_type in ('PRIMARY KEY', 'UNIQUE')";

/// The name under which the rows being loaded go in a statement, and that of the rows in the table.
const LOADED: &str = "loaded";
const STORED: &str = "stored";

/// An identifier, quoted: whatever it holds, it is one name.
pub(crate) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// Where an integration's tables are. Names are always given in full: a schema called like the database would be
/// ambiguous otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    catalog: String,
    schema: String,
}

impl Place {
    /// A schema of a database.
    pub(crate) fn new(catalog: impl Into<String>, schema: impl Into<String>) -> Self {
        Self { catalog: catalog.into(), schema: schema.into() }
    }

    /// The schema's plain name.
    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// The parameters of the statements that look something up in the catalog.
    pub(crate) fn named(&self, name: &str) -> [Value; 3] {
        [&self.catalog, &self.schema, name].map(|name: &str| Value::Text(name.to_owned()))
    }

    fn table(&self, table: &str) -> String {
        format!("{}.{}.{}", quoted(&self.catalog), quoted(&self.schema), quoted(table))
    }
}

/// The table in which a stream's next version waits.
pub(crate) fn waiting_table(table: &str) -> String {
    format!("{NEXT_VERSION_PREFIX}{table}")
}

/// A column's type, as DuckDB spells it in its catalog but for the case.
pub(crate) fn type_name(column_type: &ColumnType) -> String {
    match column_type {
        ColumnType::Text => "varchar".to_owned(),
        ColumnType::Integer => "bigint".to_owned(),
        ColumnType::Number => format!("decimal({NUMBER_PRECISION},{NUMBER_SCALE})"),
        ColumnType::Boolean => "boolean".to_owned(),
        ColumnType::Timestamp => "timestamp with time zone".to_owned(),
        ColumnType::Json | ColumnType::Objects(_) => "json".to_owned(),
        ColumnType::List(item) => format!("{}[]", type_name(item)),
    }
}

/// The column type that DuckDB spells like this in its catalog; none if it isn't one of ours.
pub(crate) fn column_type(type_name: &str) -> Option<ColumnType> {
    if let Some(item) = type_name.strip_suffix("[]") {
        let item = column_type(item)?;
        return (!matches!(item, ColumnType::List(_))).then(|| ColumnType::List(Box::new(item)));
    }
    let plain = [
        ColumnType::Text,
        ColumnType::Integer,
        ColumnType::Number,
        ColumnType::Boolean,
        ColumnType::Timestamp,
        ColumnType::Json,
    ];
    plain.into_iter().find(|plain| self::type_name(plain).eq_ignore_ascii_case(type_name))
}

pub(crate) fn create_schema(place: &Place) -> String {
    format!("create schema if not exists {}.{}", quoted(&place.catalog), quoted(&place.schema))
}

pub(crate) fn create_system_table(place: &Place, table: &SystemTable) -> String {
    let columns = table.columns.iter().map(|(name, system_type)| {
        let type_name = match system_type {
            SystemType::Text => "varchar",
            SystemType::Bigint => "bigint",
            SystemType::Timestamp => "timestamp with time zone",
        };
        format!("{} {type_name}", quoted(name))
    });
    let key = list(table.key.iter().map(|name| quoted(name)));
    format!(
        "create table if not exists {} ({}, primary key ({key}))",
        place.table(table.name),
        list(columns)
    )
}

pub(crate) fn create_table<'column>(
    place: &Place,
    table: &str,
    columns: impl Iterator<Item = &'column Column>,
) -> String {
    let columns = list(
        columns
            .map(|column| format!("{} {}", quoted(&column.name), type_name(&column.column_type))),
    );
    format!("create table {} ({columns})", place.table(table))
}

/// Writes down the key of a table, as Stitch does where a database has none: in its comment.
pub(crate) fn note_key(place: &Place, table: &str, key: &[String]) -> String {
    let note = serde_json::json!({ "primary_keys": key }).to_string();
    format!("comment on table {} is '{}'", place.table(table), note.replace('\'', "''"))
}

/// Reads what [`note_key`] wrote; none if the comment is somebody's own.
pub(crate) fn noted_key(comment: &str) -> Option<Vec<String>> {
    let note: serde_json::Value = serde_json::from_str(comment).ok()?;
    let key = note.get("primary_keys")?.as_array()?;
    key.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

/// A table that is created only to see whether that is possible.
pub(crate) fn create_trial_table(place: &Place, table: &str) -> String {
    format!("create table {} (trial bigint)", place.table(table))
}

pub(crate) fn add_column(place: &Place, table: &str, column: &Column) -> String {
    let (name, type_name) = (quoted(&column.name), type_name(&column.column_type));
    format!("alter table {} add column {name} {type_name}", place.table(table))
}

pub(crate) fn drop_table(place: &Place, table: &str) -> String {
    format!("drop table {}", place.table(table))
}

pub(crate) fn count(place: &Place, table: &str) -> String {
    format!("select count(*) from {}", place.table(table))
}

/// The column of offered rows that counts them.
pub(crate) const PLACE: &str = "_sdc_place";
/// Marks rows that stay though a version doesn't have their keys.
const STAYS: &str = "_sdc_stays";
/// The column of offered rows that tells which stored row each is, by its `rowid`; null for a row that is new.
pub(crate) const SPOT: &str = "_sdc_spot";

/// Merges the rows of `source`, which has the column [`SPOT`], into a table; returns for each row that it changed whether
/// it was inserted. `by_number`: whether [`SPOT`] holds row numbers.
pub(crate) fn merge(
    place: &Place,
    table: &str,
    schema: &StreamSchema,
    source: &str,
    by_number: bool,
) -> String {
    let names = column_names(schema);
    let updates = list(names.iter().map(|name| format!("{name} = {LOADED}.{name}")));
    let values = list(names.iter().map(|name| format!("{LOADED}.{name}")));
    // Joined by number, parts of the table that have none of the rows aren't read.
    let same_row = if by_number {
        format!("({LOADED}.{SPOT} = {STORED}.rowid)")
    } else {
        same_key(schema, LOADED, STORED)
    };
    format!(
        "merge into {table} as {STORED} using {source} as {LOADED} on {same_row}\n\
         when matched and ({differs}) and ({wins}) then update set {updates}\n\
         when not matched then insert ({names}) values ({values})\n\
         returning merge_action = 'INSERT'",
        table = place.table(table),
        differs = differs(schema, LOADED, STORED),
        wins = wins(schema),
        names = names.join(", "),
    )
}

/// Appends the rows of `source` to a table.
pub(crate) fn append(place: &Place, table: &str, schema: &StreamSchema, source: &str) -> String {
    let names = column_names(schema).join(", ");
    format!("insert into {} ({names}) select {names} from {source}", place.table(table))
}

/// The rows of `source`, which has the column [`PLACE`], whose key is in the table: the place of each, and the number of the
/// stored row, or 0 if rows aren't told `by_number`.
pub(crate) fn find(
    place: &Place,
    table: &str,
    schema: &StreamSchema,
    source: &str,
    by_number: bool,
) -> String {
    let number = if by_number { format!("{STORED}.rowid") } else { "0".to_owned() };
    format!(
        "select {LOADED}.{PLACE}, {number}::bigint from {source} as {LOADED} join {} as {STORED} on {}",
        place.table(table),
        same_key(schema, LOADED, STORED),
    )
}

/// After a merge: counts the rows of `source` whose key is in the table, and those among them that may have lost. A row
/// that beats the stored one and isn't stored can't differ from it, else the merge would have stored it; a row that is
/// stored is known by its system columns. So this reads a few columns only, and mostly makes [`compare`] unnecessary.
pub(crate) fn recount(place: &Place, table: &str, schema: &StreamSchema, source: &str) -> String {
    let stored = [system::SEQUENCE, system::BATCHED_AT]
        .map(quoted)
        .map(|name| format!("{LOADED}.{name} is not distinct from {STORED}.{name}"));
    format!(
        "select count(*), count(*) filter (where ({}) is not true and not ({}))\n\
         from {source} as {LOADED} join {} as {STORED} on {}",
        wins(schema),
        stored.join(" and "),
        place.table(table),
        same_key(schema, LOADED, STORED),
    )
}

/// Counts the rows of `source` that stand in the table as they are, and those that stand in it otherwise.
pub(crate) fn compare(place: &Place, table: &str, schema: &StreamSchema, source: &str) -> String {
    let differs = differs(schema, LOADED, STORED);
    format!(
        "select count(*) filter (where not ({differs})), count(*) filter (where {differs})\n\
         from {source} as {LOADED} join {} as {STORED} on {}",
        place.table(table),
        same_key(schema, LOADED, STORED),
    )
}

/// The stored rows' user columns, where a row of `source` has the same key and differs.
pub(crate) fn rivals(place: &Place, table: &str, schema: &StreamSchema, source: &str) -> String {
    format!(
        "select {} from {source} as {LOADED} join {} as {STORED} on {} where {}",
        list(column_names(schema).iter().map(|name| format!("{STORED}.{name}"))),
        place.table(table),
        same_key(schema, LOADED, STORED),
        differs(schema, LOADED, STORED),
    )
}

/// The user columns of a table's rows, of all of them or of those whose replication key lies in a span.
pub(crate) fn scan(place: &Place, schema: &StreamSchema, span: Option<Span>) -> String {
    let columns = list(schema.columns.iter().map(|column| quoted(&column.name)));
    let from = format!("select {columns} from {}", place.table(schema.table()));
    let (Some(span), Some((key, of))) = (span, replication_key(schema)) else { return from };
    let (start, end) = (second(of, span.from), second(of, span.before));
    format!("{from} where {key} >= {start} and {key} < {end}")
}

/// Whether the replication key of a row lies before this second. Null if there is none.
pub(crate) fn before(schema: &StreamSchema, at: DateTime<Utc>) -> Option<String> {
    let (key, of) = replication_key(schema)?;
    Some(format!("{key} < {}", second(of, at)))
}

fn replication_key(schema: &StreamSchema) -> Option<(String, &ColumnType)> {
    let key = schema.position(schema.replication_key.as_ref()?)?;
    let Column { name, column_type, .. } = &schema.columns[key];
    Some((quoted(name), column_type))
}

/// What replication keys of this type are compared with.
fn second(of: &ColumnType, at: DateTime<Utc>) -> String {
    match of {
        ColumnType::Timestamp => format!("to_timestamp({})", at.timestamp()),
        _ => format!("'{}'", text_bound(at)),
    }
}

/// The number of rows of which this isn't true.
pub(crate) fn count_others(place: &Place, table: &str, before: &str) -> String {
    format!("select count(*) from {} where ({before}) is not true", place.table(table))
}

/// Deletes the rows of a waiting table that belong to another version; parameter: the version.
pub(crate) fn delete_other_versions(place: &Place, waiting: &str) -> String {
    let version = quoted(system::TABLE_VERSION);
    format!("delete from {} where {version} is distinct from ?", place.table(waiting))
}

/// Deletes the rows of a table whose sequence is greater; parameter: the sequence.
pub(crate) fn delete_after(place: &Place, table: &str) -> String {
    format!("delete from {} where {} > ?", place.table(table), quoted(system::SEQUENCE))
}

/// Compares a waiting table with the live one by key: new rows, rows that differ, rows that don't, rows that are gone.
pub(crate) fn compare_versions(
    place: &Place,
    waiting: &str,
    live: &str,
    schema: &StreamSchema,
    stays: Option<&str>,
) -> String {
    let differs = differs(schema, LOADED, STORED);
    // A mark of our own: anything else, a key or DuckDB's `rowid`, may be a column of somebody's that holds null.
    let mark = quoted(PLACE);
    let stay = quoted(STAYS);
    let marked = |table: &str| {
        let stays = stays.map_or("false".to_owned(), |stays| format!("({stays}) is true"));
        format!("(select *, true as {mark}, {stays} as {stay} from {})", place.table(table))
    };
    let both = format!("{LOADED}.{mark} and {STORED}.{mark}");
    format!(
        "select count(*) filter (where {STORED}.{mark} is null),\n\
         count(*) filter (where {both} and ({differs})),\n\
         count(*) filter (where {both} and not ({differs})),\n\
         count(*) filter (where {LOADED}.{mark} is null and not {STORED}.{stay})\n\
         from {} as {LOADED} full join {} as {STORED} on {}",
        marked(waiting),
        marked(live),
        same_key(schema, LOADED, STORED),
    )
}

/// Deletes nothing, which makes DuckDB read the indexes of a table.
pub(crate) fn bind_indexes(place: &Place, table: &str) -> String {
    format!("delete from {} where false", place.table(table))
}

/// Deletes the live rows that a version replaces: those of which `before` isn't true, and those whose keys wait.
pub(crate) fn delete_replaced(
    place: &Place,
    waiting: &str,
    live: &str,
    schema: &StreamSchema,
    before: &str,
) -> String {
    format!(
        "delete from {} as {STORED} where ({before}) is not true\n\
         or exists (select 1 from {} as {LOADED} where {})",
        place.table(live),
        place.table(waiting),
        same_key(schema, LOADED, STORED),
    )
}

pub(crate) fn delete_all(place: &Place, table: &str) -> String {
    format!("delete from {}", place.table(table))
}

/// Copies the rows of a waiting table into the live one.
pub(crate) fn copy_version(
    place: &Place,
    waiting: &str,
    live: &str,
    schema: &StreamSchema,
) -> String {
    append(place, live, schema, &place.table(waiting))
}

/// All columns of a system table in order, timestamps as microseconds since 1970.
fn system_columns(table: &SystemTable) -> String {
    list(table.columns.iter().map(|(name, system_type)| match system_type {
        SystemType::Timestamp => format!("epoch_us({})", quoted(name)),
        SystemType::Text | SystemType::Bigint => quoted(name),
    }))
}

/// The state rows, the claim's first.
pub(crate) fn states(place: &Place) -> String {
    format!("select {} from {} order by stream", system_columns(&STATE), place.table(STATE.name))
}

/// Claims the schema for the first time; parameters as for [`update_claim`].
pub(crate) fn insert_claim(place: &Place) -> String {
    format!(
        "insert into {} (token, holder, lease_expires_at, integration_id, source_fingerprint, start_date, updated_at, \
         stream) values (?, ?, ?, ?, ?, ?, ?, '')",
        place.table(STATE.name)
    )
}

/// Claims the schema again; parameters: token, holder, lease end, integration, fingerprint, start date, now.
pub(crate) fn update_claim(place: &Place) -> String {
    format!(
        "update {} set token = ?, holder = ?, lease_expires_at = ?, integration_id = ?, source_fingerprint = ?, \
         start_date = ?, updated_at = ? where stream = ''",
        place.table(STATE.name)
    )
}

/// Renews the lease; parameters: its new end, now, the token.
pub(crate) fn renew_claim(place: &Place) -> String {
    format!(
        "update {} set lease_expires_at = ?, updated_at = ? where stream = '' and token = ?",
        place.table(STATE.name)
    )
}

/// Lets the claim go; parameters: now, the token.
pub(crate) fn release_claim(place: &Place) -> String {
    format!(
        "update {} set holder = null, lease_expires_at = null, updated_at = ? where stream = '' and token = ?",
        place.table(STATE.name)
    )
}

/// Renews the lease and stores the memory; parameters: the lease's end, the memory, now, the token.
pub(crate) fn fence(place: &Place) -> String {
    format!(
        "update {} set lease_expires_at = ?, state = ?, updated_at = ? where stream = '' and token = ?",
        place.table(STATE.name)
    )
}

/// Stores a bookmark; parameters: stream, state, now.
pub(crate) fn put_state(place: &Place) -> String {
    format!(
        "insert into {} (stream, state, updated_at) values (?, ?, ?) \
         on conflict (stream) do update set state = excluded.state, updated_at = excluded.updated_at",
        place.table(STATE.name)
    )
}

/// Adds a row to the ledger; parameters: all its columns in order.
pub(crate) fn insert_load(place: &Place) -> String {
    let places = list(LOADS.columns.iter().map(|_| "?".to_owned()));
    format!("insert into {} values ({places})", place.table(LOADS.name))
}

/// The ledger, newest batch first; parameter: how many rows.
pub(crate) fn loads(place: &Place) -> String {
    format!(
        "select {} from {} order by committed_at desc, batch_id desc, table_name limit ?",
        system_columns(&LOADS),
        place.table(LOADS.name)
    )
}

/// The sums of the ledger by table.
pub(crate) fn totals(place: &Place) -> String {
    let sums =
        ["received", "inserted", "updated", "unchanged", "superseded", "rejected", "deleted"]
            .map(|name| format!("sum({name})::bigint"));
    format!(
        "select table_name, {}, epoch_us(max(committed_at)), coalesce(max(table_version), 0) from {} group by table_name",
        list(sums.into_iter()),
        place.table(LOADS.name)
    )
}

/// Any query with its columns as text.
pub(crate) fn as_text(query: &str) -> String {
    format!("select cast(columns(*) as varchar) from (\n{}\n)", query.trim().trim_end_matches(';'))
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// All columns of a stream's table, quoted, in order.
fn column_names(schema: &StreamSchema) -> Vec<String> {
    let system = system::row_columns();
    schema.columns.iter().chain(&system).map(|column| quoted(&column.name)).collect()
}

/// Whether two rows have the same key.
fn same_key(schema: &StreamSchema, left: &str, right: &str) -> String {
    let columns = schema
        .key
        .iter()
        .map(|name| quoted(name))
        .map(|name| format!("{left}.{name} = {right}.{name}"));
    format!("({})", columns.collect::<Vec<_>>().join(" and "))
}

/// Whether two rows of the same key differ in a user column.
fn differs(schema: &StreamSchema, left: &str, right: &str) -> String {
    let conditions: Vec<String> = schema
        .columns
        .iter()
        .filter(|column| !schema.key.contains(&column.name))
        .map(|column| quoted(&column.name))
        .map(|name| format!("{left}.{name} is distinct from {right}.{name}"))
        .collect();
    if conditions.is_empty() { "false".to_owned() } else { conditions.join(" or ") }
}

/// Whether a loaded row beats the stored one. A stored row without a sequence was put there by somebody else, and loses.
fn wins(schema: &StreamSchema) -> String {
    let sequence = quoted(system::SEQUENCE);
    let newer = format!("{LOADED}.{sequence} > coalesce({STORED}.{sequence}, -1)");
    match (&schema.winner, &schema.replication_key) {
        (WinnerRule::Sequence, _) | (WinnerRule::ReplicationKey, None) => newer,
        (WinnerRule::ReplicationKey, Some(key)) => {
            let key = quoted(key);
            format!(
                "{LOADED}.{key} > {STORED}.{key} or ({LOADED}.{key} is not null and {STORED}.{key} is null) \
                 or ({LOADED}.{key} is not distinct from {STORED}.{key} and {newer})"
            )
        }
        (WinnerRule::Greatest(_), _) => "true".to_owned(),
    }
}
