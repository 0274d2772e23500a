//! A server of its own for every test, with a destination on an empty schema.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use destination_postgres::{Postgres, PostgresConfig};
use postgres_cluster::{Cluster, ClusterOptions};
use replication::{
    contract::Subject, destination::Destination, placement::Nesting, row::instant_text,
};
use serde_json::{Map, Value};
use tokio_postgres::{Client, Config, NoTls, Row, types::Type};

/// The schema that tests write.
pub(crate) const SCHEMA: &str = "stitch_bronto";

/// A server, and how to get at it.
pub(crate) struct Server {
    pub(crate) cluster: Cluster,
    pub(crate) nesting: Nesting,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(Cluster::options())
    }

    pub(crate) fn start_with(options: ClusterOptions) -> Self {
        Self { cluster: options.start().unwrap(), nesting: Nesting::Subtables }
    }

    /// The same with arrays in columns.
    pub(crate) fn with_native_arrays() -> Self {
        Self { nesting: Nesting::Native, ..Self::start() }
    }

    pub(crate) fn config(&self) -> PostgresConfig {
        let config = PostgresConfig::parse(&self.cluster.url(), SCHEMA).unwrap();
        config.with_password(self.cluster.password().to_owned().into()).with_nesting(self.nesting)
    }

    pub(crate) fn postgres(&self) -> Postgres {
        Postgres::new(self.config()).unwrap()
    }

    /// What a query about the schema gives: one line a row, `|` between columns.
    pub(crate) fn query(&self, sql: &str) -> String {
        self.cluster.query(&format!("set search_path = {SCHEMA}; {sql}")).unwrap()
    }

    async fn client(&self) -> Client {
        let mut config = Config::new();
        config.user("backstitch").dbname("postgres").host("127.0.0.1").port(self.cluster.port());
        let (client, connection) =
            config.password(self.cluster.password()).connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

#[async_trait]
impl Subject for Server {
    fn destination(&self) -> Arc<dyn Destination> {
        Arc::new(self.postgres())
    }

    async fn rows(&self, table: &str) -> Option<Vec<Map<String, Value>>> {
        let client = self.client().await;
        let name = format!("\"{SCHEMA}\".\"{}\"", table.replace('"', "\"\""));
        let exists =
            client.query_one("select to_regclass($1) is not null", &[&name]).await.unwrap();
        if !exists.get::<_, bool>(0) {
            return None;
        }
        let columns = client
            .query(
                "select column_name::text, data_type in ('numeric', 'json'), udt_name in ('_numeric', '_json') \
                 from information_schema.columns \
                 where table_schema = $1 and table_name = $2 order by ordinal_position",
                &[&SCHEMA, &table],
            )
            .await
            .unwrap();
        let columns: Vec<String> = columns
            .iter()
            .map(|column| {
                let name = column.get::<_, String>(0).replace('"', "\"\"");
                let cast = match (column.get(1), column.get(2)) {
                    (true, _) => "::text",
                    (_, true) => "::text[]",
                    _ => "",
                };
                format!("\"{name}\"{cast}")
            })
            .collect();
        let rows =
            client.query(&format!("select {} from {name}", columns.join(", ")), &[]).await.unwrap();
        Some(rows.iter().map(object).collect())
    }

    fn has_subtables(&self) -> bool {
        self.nesting == Nesting::Subtables
    }
}

fn object(row: &Row) -> Map<String, Value> {
    let value = |position: usize, of: &Type| -> Value {
        match *of {
            Type::INT8 => row.get::<_, Option<i64>>(position).into(),
            Type::BOOL => row.get::<_, Option<bool>>(position).into(),
            Type::TIMESTAMPTZ => {
                row.get::<_, Option<DateTime<Utc>>>(position).map(instant_text).into()
            }
            Type::INT8_ARRAY => row.get::<_, Option<Vec<Option<i64>>>>(position).into(),
            Type::BOOL_ARRAY => row.get::<_, Option<Vec<Option<bool>>>>(position).into(),
            Type::TIMESTAMPTZ_ARRAY => row
                .get::<_, Option<Vec<Option<DateTime<Utc>>>>>(position)
                .map(|items| items.into_iter().map(|at| at.map(instant_text)).collect::<Vec<_>>())
                .into(),
            Type::TEXT_ARRAY => row.get::<_, Option<Vec<Option<String>>>>(position).into(),
            _ => row.get::<_, Option<String>>(position).into(),
        }
    };
    row.columns()
        .iter()
        .enumerate()
        .map(|(position, column)| (column.name().to_owned(), value(position, column.type_())))
        .collect()
}
