//! Floors: the same final tables by the database's own means, as somebody would write them by hand. What the psql floor
//! copies is made ready beforehand from the tables that ours has filled, and that is not counted.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use destination_duckdb::DEFAULT_MEMORY_LIMIT;
use duckdb::{Config, Connection};
use postgres_cluster::Cluster;

use crate::{
    beside, by_myself,
    contenders::OURS,
    measure::measure,
    messages::{Messages, STREAMS},
    results::{Results, step::EVERYTHING, who},
};

/// The schema that the floors in DuckDB fill.
const FLOOR: &str = "by_hand";

/// In which form psql copies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// As text, which people use.
    Csv,
    /// As the server itself has written it: the least that any client can cost.
    Binary,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Binary => "binary",
        }
    }

    fn floor(self) -> &'static str {
        match self {
            Self::Csv => who::CSV_FLOOR,
            Self::Binary => who::BINARY_FLOOR,
        }
    }
}

/// What ours has loaded, step by step, in files that psql copies: `\copy` into a stage, `insert … on conflict` from there,
/// and the arrays into their subtables.
pub(crate) struct Floor {
    folder: PathBuf,
    tables: Vec<Table>,
    steps: Vec<&'static str>,
    /// The greatest sequence of the steps so far.
    sequence: String,
}

impl Floor {
    pub(crate) fn new(folder: &Path) -> Self {
        let sequence = "-1".to_owned();
        Self { folder: folder.to_owned(), tables: Vec::new(), steps: Vec::new(), sequence }
    }

    /// Writes out what a step of ours has written.
    pub(crate) fn note(&mut self, cluster: &Cluster, step: &'static str) {
        if self.tables.is_empty() {
            self.tables = STREAMS.map(|name| Table::of(cluster, name)).into();
        }
        let rows = format!("_sdc_sequence > {}", self.sequence);
        for table in &self.tables {
            for format in [Format::Csv, Format::Binary] {
                table.write_out(cluster, &rows, &self.file(table, step, format), format);
            }
        }
        let greatest =
            STREAMS.map(|name| format!("select max(_sdc_sequence) as m from {OURS}.{name}"));
        let greatest = format!("select max(m) from ({}) as s", greatest.join(" union all "));
        self.sequence = cluster.query(&greatest).unwrap().trim().to_owned();
        self.steps.push(step);
    }

    fn file(&self, table: &Table, step: &str, format: Format) -> PathBuf {
        self.folder.join(format!("{} {step}.{}", table.name, format.name()))
    }

    /// Loads all that.
    pub(crate) fn load(&self, cluster: &Cluster, format: Format, results: &mut Results) {
        let schema = format!("by_hand_{}", format.name());
        cluster.query(&format!("create schema {schema}")).unwrap();
        for table in &self.tables {
            table.create_like(cluster, &schema);
        }
        for step in &self.steps {
            let mut script = String::from("begin;\n");
            for table in &self.tables {
                script.push_str(&table.load(&schema, &self.file(table, step, format), format));
            }
            script.push_str("commit;\n");
            let path = self.folder.join("floor.sql");
            fs::write(&path, script).unwrap();
            let done = beside(cluster, || measure(psql_command(cluster, &path)));
            results.add(format.floor(), step, done);
        }
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
        let lists =
            subtables.iter().map(|table| table.strip_prefix(&prefix).unwrap().to_owned()).collect();
        Self { name, columns, lists }
    }

    /// Makes empty tables like ours.
    fn create_like(&self, cluster: &Cluster, schema: &str) {
        let subtables = self.lists.iter().map(|list| format!("{}__{list}", self.name));
        for table in subtables.chain([self.name.to_owned()]) {
            let like = format!(
                "create table {schema}.\"{table}\" (like {OURS}.\"{table}\" including all)"
            );
            cluster.query(&like).unwrap();
        }
    }

    fn quoted(names: &[String]) -> String {
        names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    }

    /// Writes rows into a file: the columns, then the arrays.
    fn write_out(&self, cluster: &Cluster, rows: &str, file: &Path, format: Format) {
        let name = self.name;
        let lists = self.lists.iter().map(|list| {
            format!(
                ", (select array_agg(value order by _sdc_level_0_id) from {OURS}.\"{name}__{list}\" c \
                 where c._sdc_source_key_id = t.id)"
            )
        });
        let query = format!(
            "\\copy (select {}{} from {OURS}.\"{name}\" t where {rows}) to '{}' with (format {})\n",
            Self::quoted(&self.columns),
            lists.collect::<String>(),
            file.display(),
            format.name(),
        );
        let script = file.with_extension("sql");
        fs::write(&script, query).unwrap();
        assert!(psql_command(cluster, &script).status().unwrap().success());
    }

    /// The statements that load such a file.
    fn load(&self, schema: &str, file: &Path, format: Format) -> String {
        let name = self.name;
        let columns = Self::quoted(&self.columns);
        let set = self.columns.iter().filter(|column| *column != "id");
        let set = set.map(|column| format!("\"{column}\" = excluded.\"{column}\""));
        let set = set.collect::<Vec<_>>().join(", ");
        let lists: String =
            self.lists.iter().map(|list| format!(", null::text[] as \"{list}\"")).collect();
        let mut script = format!(
            "create temporary table stage on commit drop as select {columns}{lists} from {schema}.\"{name}\" limit 0;\n\
             \\copy stage from '{}' with (format {})\n\
             insert into {schema}.\"{name}\" ({columns}) select {columns} from stage \
             on conflict (id) do update set {set};\n",
            file.display(),
            format.name(),
        );
        let system: Vec<String> =
            self.columns.iter().filter(|column| column.starts_with("_sdc_")).cloned().collect();
        let system = Self::quoted(&system);
        for list in &self.lists {
            let child = format!("{schema}.\"{name}__{list}\"");
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
pub(crate) fn read_json(messages: &Messages, folder: &Path, results: &mut Results) {
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
        results.add(who::READ_JSON, step, done);
    }
}

/// DuckDB's own reader of CSV, into tables without keys that have the shape of ours, with the memory and the thread that
/// ours has: nothing is looked up, compared or counted.
pub(crate) fn copy_csv(folder: &Path, results: &mut Results) {
    let file = |name: &str| folder.join(format!("{name} duckdb.csv")).display().to_string();
    let path = folder.join("keyless.duckdb");
    let attach = format!("attach '{}' as ours (read_only)", folder.join("ours.duckdb").display());
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(&attach).unwrap();
    for name in STREAMS {
        connection
            .execute_batch(&format!(
                "create table \"{name}\" as select * from ours.{OURS}.\"{name}\" limit 0; \
                 copy ours.{OURS}.\"{name}\" to '{}' (header)",
                file(name)
            ))
            .unwrap();
    }
    drop(connection);
    let done = by_myself(|| {
        let settings = Config::default()
            .with("memory_limit", DEFAULT_MEMORY_LIMIT)
            .and_then(|settings| settings.with("threads", "1"))
            .unwrap();
        let connection = Connection::open_with_flags(&path, settings).unwrap();
        for name in STREAMS {
            let copy = format!("copy \"{name}\" from '{}' (header)", file(name));
            connection.execute_batch(&copy).unwrap();
        }
        connection.close().map_err(|(_, error)| error).unwrap();
    });
    results.add(who::KEYLESS_COPY, EVERYTHING, done);
}
