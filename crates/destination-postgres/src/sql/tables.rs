//! Statements that make tables.

use replication::system::{SEQUENCE, SystemTable, SystemType};

use crate::{
    config::IDENTIFIER_BYTES,
    layout::{GENERATED_KEY, ITEM, LEVEL, Layout, List, Origin, Scalar, SqlType, source_key},
};

use super::{comma, identifier, literal, own_rows, table};

/// Whether the schema `$1` exists.
pub(crate) const SCHEMA_EXISTS: &str = "select 1 from pg_catalog.pg_namespace where nspname = $1";

/// The relations of schema `$1` whose names are in `$2`, by column: name, kind, column, type, whether in the primary
/// key, whether other tables inherit from it.
pub(crate) const COLUMNS: &str = "\
    select c.relname::text, c.relkind::text, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), \
    coalesce((select a.attnum = any(i.indkey) from pg_catalog.pg_index i \
    where i.indrelid = c.oid and i.indisprimary), false), \
    exists (select from pg_catalog.pg_inherits h where h.inhparent = c.oid) \
    from pg_catalog.pg_class c \
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
    where n.nspname = $1 and c.relname::text = any($2)";

/// The columns of table `$2` of schema `$1`: none, column, type, whether in the primary key. Then those of its subtables
/// that hold an item: array, column, type.
pub(crate) const STORED_COLUMNS: &str = "\
    select null::text, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), \
    coalesce((select a.attnum = any(i.indkey) from pg_catalog.pg_index i \
    where i.indrelid = c.oid and i.indisprimary), false), a.attnum \
    from pg_catalog.pg_class c \
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
    where n.nspname = $1 and c.relname::text = $2 \
    union all \
    select substr(c.relname::text, length($2::text) + 3), a.attname::text, \
    pg_catalog.format_type(a.atttypid, a.atttypmod), false, a.attnum \
    from pg_catalog.pg_class c \
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'value' and not a.attisdropped \
    join pg_catalog.pg_attribute l on l.attrelid = c.oid and l.attname = '_sdc_level_0_id' and not l.attisdropped \
    where n.nspname = $1 and c.relkind = 'r' and pg_catalog.starts_with(c.relname::text, $2 || '__') \
    and not exists (select from pg_catalog.pg_attribute d \
    where d.attrelid = c.oid and d.attname = '_sdc_level_1_id' and not d.attisdropped) \
    order by 1 nulls first, 5";

/// The subtables of table `$2` of schema `$1`, however deep, but those named in `$4`: tables that hold the positions of
/// items and the key columns `$3`, sorted, of their rows; and whether it is of an array within an array's items. What may as well belong to a stream of a longer name is left out.
pub(crate) const OTHER_SUBTABLES: &str = "\
    select c.relname::text, exists (select from pg_catalog.pg_attribute a \
    where a.attrelid = c.oid and a.attname = '_sdc_level_1_id' and not a.attisdropped) from pg_catalog.pg_class c \
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where n.nspname = $1 and c.relkind = 'r' and pg_catalog.starts_with(c.relname::text, $2 || '__') \
    and c.relname::text <> all($4) \
    and exists (select from pg_catalog.pg_attribute a \
    where a.attrelid = c.oid and a.attname = '_sdc_level_0_id' and not a.attisdropped) \
    and (select array_agg(a.attname::text order by a.attname::text collate \"C\") from pg_catalog.pg_attribute a \
    where a.attrelid = c.oid and not a.attisdropped \
    and pg_catalog.starts_with(a.attname::text, '_sdc_source_key_')) = $3::text[] \
    and not exists (select from pg_catalog.pg_class s where s.relnamespace = c.relnamespace and s.relkind = 'r' \
    and pg_catalog.starts_with(s.relname::text, $2 || '__') \
    and pg_catalog.starts_with(c.relname::text, s.relname::text || '__') \
    and not exists (select from pg_catalog.pg_attribute a \
    where a.attrelid = s.oid and a.attname = '_sdc_level_0_id' and not a.attisdropped)) \
    order by 1";

/// A subtable of table `$2` of schema `$1`, if it has one.
pub(crate) const ANY_SUBTABLE: &str = "\
    select c.relname::text from pg_catalog.pg_class c \
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = '_sdc_level_0_id' and not a.attisdropped \
    where n.nspname = $1 and c.relkind = 'r' and pg_catalog.starts_with(c.relname::text, $2 || '__') \
    order by 1 limit 1";

/// Whether the table `$2` of schema `$1` exists, and its comment, which tells the version that waits in it.
pub(crate) const COMMENT: &str = "\
    select pg_catalog.obj_description(c.oid, 'pg_class') from pg_catalog.pg_class c \
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where n.nspname = $1 and c.relname = $2 and c.relkind = 'r'";

/// The tables of schema `$1` whose names start with `$2`.
pub(crate) const NAMES_BY_PREFIX: &str = "\
    select c.relname::text from pg_catalog.pg_class c \
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where n.nspname = $1 and c.relkind = 'r' and pg_catalog.starts_with(c.relname::text, $2) order by 1";

/// The tables of schema `$1` whose names are in `$2`.
pub(crate) const EXISTING: &str = "\
    select c.relname::text from pg_catalog.pg_class c \
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where n.nspname = $1 and c.relkind in ('r', 'p') and c.relname::text = any($2)";

/// Where a key made up for a row comes from when the row comes without: the stream has no array any more.
/// PostgreSQL 12 has no `gen_random_uuid`.
const GENERATED: &str = "default md5(random()::text || clock_timestamp()::text)::uuid::text";

/// Creates the schema.
pub(crate) fn create_schema(schema: &str) -> String {
    format!("create schema {}", identifier(schema))
}

/// Creates a stream's table.
pub(crate) fn create_parent(schema: &str, name: &str, layout: &Layout) -> String {
    let columns = layout.columns().map(definition).collect();
    let key: Vec<String> = layout.key().map(|column| identifier(&column.name)).collect();
    create(schema, name, columns, &key)
}

/// Creates the subtable of an array.
pub(crate) fn create_child(schema: &str, name: &str, layout: &Layout, list: &List) -> String {
    let keys: Vec<String> =
        layout.key().map(|column| identifier(&source_key(&column.name))).collect();
    let types = layout.key().map(|column| column.sql_type.name());
    let mut columns: Vec<String> =
        keys.iter().zip(types).map(|(name, of)| format!("{name} {of} not null")).collect();
    columns.push(format!("{} bigint not null", identifier(LEVEL)));
    columns.push(format!("{} {}", identifier(ITEM), list.item.name()));
    columns.extend(layout.system.iter().map(definition));
    let mut key = keys;
    key.push(identifier(LEVEL));
    create(schema, name, columns, &key)
}

/// Creates a subtable of an array of objects.
pub(crate) fn create_nested(
    schema: &str,
    name: &str,
    columns: &[(String, SqlType)],
    key: &[&str],
) -> String {
    let columns = columns.iter().map(|(name, of)| {
        let not_null = if key.contains(&name.as_str()) { " not null" } else { "" };
        format!("{} {}{not_null}", identifier(name), of.name())
    });
    let key: Vec<String> = key.iter().map(|name| identifier(name)).collect();
    create(schema, name, columns.collect(), &key)
}

/// The columns that a subtable must have, with their types.
pub(crate) fn child_columns(layout: &Layout, list: &List) -> Vec<(String, SqlType)> {
    let keys = layout.key().map(|column| (source_key(&column.name), column.sql_type));
    let items = [(LEVEL.to_owned(), SqlType::Bigint), (ITEM.to_owned(), list.item)];
    let system = layout.system.iter().map(|column| (column.name.clone(), column.sql_type));
    keys.chain(items).chain(system).collect()
}

/// Adds columns to a table.
pub(crate) fn add_columns(schema: &str, name: &str, columns: &[&(String, SqlType)]) -> String {
    let added =
        columns.iter().map(|(name, of)| format!("add column {} {}", identifier(name), of.name()));
    format!("alter table {} {}", table(schema, name), comma(added))
}

/// Adds the key that rows without one get: to rows that are there, too.
pub(crate) fn add_generated_key(schema: &str, name: &str) -> String {
    format!(
        "alter table {} add column {} text {GENERATED} primary key",
        table(schema, name),
        identifier(GENERATED_KEY)
    )
}

/// Gives a column another name.
pub(crate) fn rename_column(schema: &str, name: &str, from: &str, to: &str) -> String {
    format!(
        "alter table {} rename column {} to {}",
        table(schema, name),
        identifier(from),
        identifier(to)
    )
}

/// Writes down which version waits in a table.
pub(crate) fn mark_version(schema: &str, name: &str, version: i64) -> String {
    format!("comment on table {} is {}", table(schema, name), literal(&version_mark(version)))
}

/// The comment of a table in which a version waits.
pub(crate) fn version_mark(version: i64) -> String {
    format!("Version {version}, waiting to become the table")
}

/// Drops tables.
pub(crate) fn drop_tables<'name>(
    schema: &str,
    names: impl IntoIterator<Item = &'name String>,
) -> String {
    format!("drop table if exists {}", comma(names.into_iter().map(|name| table(schema, name))))
}

/// Creates a system table if it is missing, and adds columns that an earlier version of this program did not have.
pub(crate) fn create_system_table(schema: &str, system_table: &SystemTable) -> String {
    let columns = system_table.columns.iter().map(|(name, of)| {
        let not_null = if system_table.key.contains(name) { " not null" } else { "" };
        format!("{} {}{not_null}", identifier(name), system_type(*of))
    });
    let key: Vec<String> = system_table.key.iter().map(|name| identifier(name)).collect();
    create(schema, system_table.name, columns.collect(), &key)
}

/// The columns of a system table, with their types.
pub(crate) fn system_columns(system_table: &SystemTable) -> Vec<(String, SqlType)> {
    let sql_type = |of: SystemType| match of {
        SystemType::Text => SqlType::Text,
        SystemType::Bigint => SqlType::Bigint,
        SystemType::Timestamp => SqlType::Timestamptz,
    };
    system_table.columns.iter().map(|(name, of)| ((*name).to_owned(), sql_type(*of))).collect()
}

/// How many rows each of the tables has gained in this transaction so far, up to a constant, by the server's own
/// statistics; where it keeps none, the number of its rows. The difference of two readings is what a table grew by in
/// between.
pub(crate) fn net_rows<'name>(
    schema: &str,
    names: impl IntoIterator<Item = &'name String>,
) -> String {
    let net = names.into_iter().map(|name| {
        let table = table(schema, name);
        let relation = format!("{}::regclass", literal(&table));
        format!(
            "case when current_setting('track_counts')::boolean \
             then pg_catalog.pg_stat_get_xact_tuples_inserted({relation}) \
             - pg_catalog.pg_stat_get_xact_tuples_deleted({relation}) \
             else (select count(*) from only {table}) end"
        )
    });
    format!("select {}", comma(net))
}

/// Writes a table and a temporary table, to try whether that is allowed.
pub(crate) fn create_for_check(schema: &str) -> String {
    let table = table(schema, "_sdc_check");
    format!(
        "create table {table} (n bigint primary key); insert into {table} values (1); \
         create temporary table _sdc_check_stage (n bigint) on commit drop"
    )
}

/// The number of rows of a table.
pub(crate) fn count(schema: &str, name: &str) -> String {
    format!("select count(*) from {}", table(schema, name))
}

/// Deletes the rows of a table whose sequence is greater than `$1`.
pub(crate) fn delete_after(schema: &str, name: &str) -> String {
    format!("delete from {} where {} > $1", own_rows(schema, name), identifier(SEQUENCE))
}

fn create(schema: &str, name: &str, mut columns: Vec<String>, key: &[String]) -> String {
    if !key.is_empty() {
        // A name that would be cut off might be another's; then the server finds one.
        let constraint = format!("{name}_pkey");
        let constraint = if constraint.len() <= IDENTIFIER_BYTES {
            format!("constraint {} ", identifier(&constraint))
        } else {
            String::new()
        };
        columns.push(format!("{constraint}primary key ({})", comma(key)));
    }
    format!("create table {} ({})", table(schema, name), comma(columns))
}

fn definition(column: &Scalar) -> String {
    let not_null = if column.is_key { " not null" } else { "" };
    let default = match column.origin {
        Origin::Generated => format!(" {GENERATED}"),
        Origin::Batch(_) => String::new(),
    };
    format!("{} {}{default}{not_null}", identifier(&column.name), column.sql_type.name())
}

fn system_type(of: SystemType) -> &'static str {
    match of {
        SystemType::Text => "text",
        SystemType::Bigint => "bigint",
        SystemType::Timestamp => "timestamp with time zone",
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use replication::{
        placement::Nesting,
        stream::{Column, ColumnType, Method, StreamSchema, WinnerRule},
        system::STATE,
    };

    use super::*;
    use crate::sql::tests::in_lines;

    #[test]
    fn tables_are_made_like_this() {
        let layout = Layout::new(
            &StreamSchema {
                stream: "unsubscribe".into(),
                columns: vec![
                    Column::new("contactId", ColumnType::Text),
                    Column::new("created", ColumnType::Timestamp),
                    Column::new("tags", ColumnType::List(Box::new(ColumnType::Number))),
                ],
                key: vec!["contactId".to_owned(), "created".to_owned()],
                replication_key: None,
                method: Method::Incremental,
                winner: WinnerRule::Sequence,
            },
            Nesting::Subtables,
        )
        .unwrap();
        let child = create_child("s", "unsubscribe__tags", &layout, &layout.lists[0]);
        insta::assert_snapshot!(in_lines(&create_parent("s", "unsubscribe", &layout)), @r#"
            create table "s"."unsubscribe" ("contactId" text not null, "created"
            timestamp with time zone not null, "_sdc_extracted_at" timestamp with time
            zone, "_sdc_received_at" timestamp with time zone, "_sdc_batched_at"
            timestamp with time zone, "_sdc_sequence" bigint, "_sdc_table_version"
            bigint, constraint "unsubscribe_pkey" primary key ("contactId", "created"))
        "#);
        insta::assert_snapshot!(in_lines(&child), @r#"
            create table "s"."unsubscribe__tags" ("_sdc_source_key_contactId" text not
            null, "_sdc_source_key_created" timestamp with time zone not null,
            "_sdc_level_0_id" bigint not null, "value" numeric, "_sdc_extracted_at"
            timestamp with time zone, "_sdc_received_at" timestamp with time zone,
            "_sdc_batched_at" timestamp with time zone, "_sdc_sequence" bigint,
            "_sdc_table_version" bigint, constraint "unsubscribe__tags_pkey" primary key
            ("_sdc_source_key_contactId", "_sdc_source_key_created", "_sdc_level_0_id"))
        "#);
        insta::assert_snapshot!(in_lines(&create_system_table("s", &STATE)), @r#"
            create table "s"."_sdc_state" ("stream" text not null, "state" text, "token"
            bigint, "holder" text, "lease_expires_at" timestamp with time zone,
            "integration_id" text, "source_fingerprint" text, "start_date" text,
            "updated_at" timestamp with time zone, constraint "_sdc_state_pkey" primary
            key ("stream"))
        "#);
    }

    #[test]
    fn a_constraint_whose_name_would_be_cut_off_is_named_by_the_server() {
        let key = ["\"id\"".to_owned()];
        assert!(create("s", &"t".repeat(58), Vec::new(), &key).contains("_pkey"));
        assert!(!create("s", &"t".repeat(59), Vec::new(), &key).contains("constraint"));
    }
}
