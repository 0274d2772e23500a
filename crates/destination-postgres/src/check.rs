//! Trying whether a database can be written, step by step, leaving nothing behind.

use std::{error::Error, sync::Arc};

use replication::{
    destination::DestinationError,
    source::{CheckFailure, CheckStep},
};

use crate::{
    connection::{Connection, Connector, text},
    failure::Doing,
    sql::{self, tables},
};

/// The oldest version that has everything we use.
const OLDEST_VERSION: i32 = 120_000;

/// Connects, looks at the server, and writes into the schema in a transaction that is rolled back.
pub(crate) async fn check(connector: &Arc<Connector>) -> Vec<CheckStep> {
    let mut steps = Vec::new();
    let connection = match connector.open().await {
        Ok(connection) => connection,
        Err(error) => {
            steps.push(step("connect", Err(failure(&error))));
            return steps;
        }
    };
    let config = &connector.config;
    let protection =
        if config.tls { "TLS, certificate verified" } else { "no TLS, on this machine" };
    let connected = format!("`{}` as `{}`, {protection}", config.place(), config.user);
    steps.push(step("connect", Ok(connected)));
    let server = look_at_server(&connection).await;
    let is_well = server.is_ok();
    steps.push(step("look at the server", server));
    if is_well {
        let written = write(&connection, &config.schema).await.map_err(|error| failure(&error));
        steps.push(step("write into the schema", written));
    }
    steps
}

async fn look_at_server(connection: &Connection) -> Result<String, CheckFailure> {
    let sql = "select current_setting('server_version_num')::integer, current_setting('server_version'), \
               current_setting('server_encoding')";
    let row = connection.query_one(sql, &[], &Doing::task("tell its version")).await;
    let row = row.map_err(|error| failure(&error))?;
    let (number, version, encoding): (i32, String, String) = (row.get(0), row.get(1), row.get(2));
    if number < OLDEST_VERSION {
        return Err(CheckFailure {
            message: format!("PostgreSQL {version} is too old"),
            remedy: format!("Use version {} or later", OLDEST_VERSION / 10_000),
            retriable: false,
        });
    }
    if encoding != "UTF8" {
        return Err(CheckFailure {
            message: format!(
                "The database's encoding is {encoding}, which can't hold every character"
            ),
            remedy: "Create a database with `encoding 'UTF8'`".to_owned(),
            retriable: false,
        });
    }
    Ok(format!("PostgreSQL {version}, encoding {encoding}"))
}

/// Does what a claim and a unit do to a schema, in small.
async fn write(connection: &Connection, schema: &str) -> Result<String, DestinationError> {
    let doing = Doing::task(format!("write into schema `{schema}`"));
    connection.run(sql::BEGIN, &doing).await?;
    let parameters = [text(&schema)];
    let exists = !connection.query(tables::SCHEMA_EXISTS, &parameters, &doing).await?.is_empty();
    if !exists {
        connection.run(&tables::create_schema(schema), &doing).await?;
    }
    connection.run(&tables::create_for_check(schema), &doing).await?;
    connection.run("rollback", &doing).await?;
    Ok(format!("`{schema}` {}", if exists { "exists" } else { "can be created" }))
}

fn step(name: &str, result: Result<String, CheckFailure>) -> CheckStep {
    CheckStep { name: name.to_owned(), result }
}

fn failure(error: &DestinationError) -> CheckFailure {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    CheckFailure {
        message: format!("{error}{cause}"),
        remedy: error.remedy.clone(),
        retriable: error.kind.is_retriable(),
    }
}
