//! Floors: the same final tables by the database's own means, as somebody would write them by hand. What the psql floor
//! copies is made ready beforehand from the tables that ours has filled, and that is not counted.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use duckdb::Connection;
use postgres_cluster::Cluster;

use crate::{
    beside, by_myself,
    contenders::OURS,
    measure::measure,
    messages::{Messages, STREAMS},
    report,
};

/// The schema that the floor fills.
const FLOOR: &str = "by_hand";

/// `\copy` of CSV into a stage, `insert … on conflict` from there, and the arrays into their subtables: all rows, then a
/// fifth of them again.
pub(crate) fn psql(cluster: &Cluster, folder: &Path) {
    cluster.query(&format!("create schema {FLOOR}")).unwrap();
    let tables: Vec<Table> = STREAMS.map(|name| Table::of(cluster, name)).into();
    let steps = [("everything", "true"), ("a fifth again", "hashtext(id) % 5 = 0")];
    for (step, rows) in steps {
        let mut script = String::from("begin;\n");
        for table in &tables {
            let file = folder.join(format!("{}.csv", table.name));
            table.write_out(cluster, rows, &file);
            script.push_str(&table.load(&file));
        }
        script.push_str("commit;\n");
        let path = folder.join("floor.sql");
        fs::write(&path, script).unwrap();
        report(
            "`psql`: CSV and SQL",
            step,
            &beside(cluster, || measure(psql_command(cluster, &path))),
        );
    }
}

fn psql_command(cluster: &Cluster, script: &Path) -> Command {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(script).arg(cluster.url());
    command.env("PGPASSWORD", cluster.password()).stdout(Stdio::null());
    command
}

/// A table that ours has filled.
struct Table {
    name: &'static str,
    columns: Vec<String>,
    /// The columns of arrays, each of which has a subtable.
    lists: Vec<String>,
}

impl Table {
    /// Makes an empty one like ours.
    fn of(cluster: &Cluster, name: &'static str) -> Self {
        let texts = |sql: &str| -> Vec<String> {
            cluster.query(sql).unwrap().lines().map(str::to_owned).collect()
        };
        let columns = texts(&format!(
            "select column_name from information_schema.columns where table_schema = '{OURS}' and table_name = '{name}' \
             order by ordinal_position"
        ));
        let subtables = texts(&format!(
            "select table_name from information_schema.tables where table_schema = '{OURS}' and table_name like '{name}\\_\\_%'"
        ));
        let prefix = format!("{name}__");
        for table in subtables.iter().map(String::as_str).chain([name]) {
            let like =
                format!("create table {FLOOR}.\"{table}\" (like {OURS}.\"{table}\" including all)");
            cluster.query(&like).unwrap();
        }
        let lists =
            subtables.iter().map(|table| table.strip_prefix(&prefix).unwrap().to_owned()).collect();
        Self { name, columns, lists }
    }

    fn quoted(names: &[String]) -> String {
        names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    }

    /// Writes rows into a file: the columns, then the arrays.
    fn write_out(&self, cluster: &Cluster, rows: &str, file: &Path) {
        let name = self.name;
        let lists = self.lists.iter().map(|list| {
            format!(
                ", (select array_agg(value order by _sdc_level_0_id) from {OURS}.\"{name}__{list}\" c \
                 where c._sdc_source_key_id = t.id)"
            )
        });
        let query = format!(
            "\\copy (select {}{} from {OURS}.\"{name}\" t where {rows}) to '{}' with (format csv)\n",
            Self::quoted(&self.columns),
            lists.collect::<String>(),
            file.display()
        );
        let script = file.with_extension("sql");
        fs::write(&script, query).unwrap();
        assert!(psql_command(cluster, &script).status().unwrap().success());
    }

    /// The statements that load such a file.
    fn load(&self, file: &Path) -> String {
        let name = self.name;
        let columns = Self::quoted(&self.columns);
        let set = self.columns.iter().filter(|column| *column != "id");
        let set = set.map(|column| format!("\"{column}\" = excluded.\"{column}\""));
        let set = set.collect::<Vec<_>>().join(", ");
        let lists: String =
            self.lists.iter().map(|list| format!(", null::text[] as \"{list}\"")).collect();
        let mut script = format!(
            "create temporary table stage on commit drop as select {columns}{lists} from {FLOOR}.\"{name}\" limit 0;\n\
             \\copy stage from '{}' with (format csv)\n\
             insert into {FLOOR}.\"{name}\" ({columns}) select {columns} from stage \
             on conflict (id) do update set {set};\n",
            file.display()
        );
        let system: Vec<String> =
            self.columns.iter().filter(|column| column.starts_with("_sdc_")).cloned().collect();
        let system = Self::quoted(&system);
        for list in &self.lists {
            let child = format!("{FLOOR}.\"{name}__{list}\"");
            script.push_str(&format!(
                "delete from {child} c using stage s where c._sdc_source_key_id = s.id;\n\
                 insert into {child} (_sdc_source_key_id, _sdc_level_0_id, value, {system}) \
                 select s.id, u.place - 1, u.item, {system} from stage s \
                 cross join lateral unnest(s.\"{list}\") with ordinality as u(item, place);\n"
            ));
        }
        script.push_str("drop table stage;\n");
        script
    }
}

/// DuckDB's own reader of JSON, and a merge into the same table as ours.
pub(crate) fn read_json(messages: &Messages, folder: &Path) {
    let connection = Connection::open(folder.join("floor.duckdb")).unwrap();
    let ours = folder.join("ours.duckdb");
    connection
        .execute_batch(&format!(
            "attach '{}' as ours (read_only); create schema {FLOOR};",
            ours.display()
        ))
        .unwrap();
    let mut records: Vec<(&str, String)> = Vec::new();
    for name in STREAMS {
        let mut statement = connection
            .prepare(&format!(
                "select column_name, data_type from duckdb_columns() where database_name = 'ours' \
                 and schema_name = '{OURS}' and table_name = '{name}' and column_name not like '\\_sdc\\_%' escape '\\' \
                 order by column_index"
            ))
            .unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let columns: Vec<(String, String)> = rows.map(Result::unwrap).collect();
        let fields: Vec<String> =
            columns.iter().map(|(name, of)| format!("\"{name}\" {of}")).collect();
        records.push((name, format!("STRUCT({})", fields.join(", "))));
        connection
            .execute_batch(&format!(
                "create table {FLOOR}.\"{name}\" as select * from ours.{OURS}.\"{name}\" limit 0; "
            ))
            .unwrap();
    }
    connection.execute_batch("detach ours").unwrap();
    for (step, file) in &messages.files {
        let done = by_myself(|| {
            for (name, record) in &records {
                let merge = format!(
                    "merge into {FLOOR}.\"{name}\" as t using (\
                     select r.*, now() as _sdc_extracted_at, now() as _sdc_received_at, now() as _sdc_batched_at, \
                     row_number() over () as _sdc_sequence, 0 as _sdc_table_version from (\
                     select unnest(record) from read_json('{}', format = 'newline_delimited', \
                     columns = {{type: 'VARCHAR', stream: 'VARCHAR', record: '{record}'}}) \
                     where type = 'RECORD' and stream = '{name}') as r) as s \
                     on t.id = s.id when matched then update when not matched then insert",
                    file.display()
                );
                connection.execute_batch(&merge).unwrap();
            }
            connection.execute_batch("checkpoint").unwrap();
        });
        report("DuckDB: `read_json` and a merge", step, &done);
    }
}
