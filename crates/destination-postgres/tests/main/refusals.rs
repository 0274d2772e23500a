//! Servers that can't be used: each time a message that says what is wrong, and what to do about it.

use std::error::Error;

use destination_postgres::{Postgres, PostgresConfig};
use postgres_cluster::Cluster;
use replication::destination::{Destination, DestinationErrorKind};

use crate::{
    loads::request,
    subject::{SCHEMA, Server},
};

/// The failure to claim by an address: message, cause, remedy, with the port made constant.
async fn failure(
    server: &Server,
    url: &str,
    password: Option<&str>,
    kind: DestinationErrorKind,
) -> String {
    let config = PostgresConfig::parse(url, SCHEMA).unwrap();
    let config = match password {
        Some(password) => config.with_password(password.to_owned().into()),
        None => config,
    };
    let error = Postgres::new(config).unwrap().claim(&request("run")).await.unwrap_err();
    assert_eq!(error.kind, kind, "{error:?}");
    let cause = error.source().map(|cause| format!(" ({cause})")).unwrap_or_default();
    let text = format!("{error}{cause}\n{}", error.remedy);
    assert!(!text.contains(server.cluster.password()) && !text.contains("hunter2"), "{text}");
    assert!(!format!("{error:?}").contains("hunter2"));
    text.replace(&server.cluster.port().to_string(), "PORT")
}

#[tokio::test]
async fn whoever_can_not_sign_in_is_told_why() {
    let server = Server::start();
    let refused = DestinationErrorKind::Refused;
    let password = Some(server.cluster.password());
    let url = server.cluster.url();
    insta::assert_snapshot!(failure(&server, &url, Some("hunter2"), refused.clone()).await, @r#"
        The PostgreSQL server at `127.0.0.1:PORT` does not accept the password of `backstitch` (password authentication failed for user "backstitch" (SQLSTATE 28P01))
        Look whether the password is right; it is taken from the configuration, else from `PGPASSWORD`, else from the file that `PGPASSFILE` names
    "#);
    insta::assert_snapshot!(failure(&server, &url, None, refused.clone()).await, @"
        The PostgreSQL server at `127.0.0.1:PORT` asks for the password of `backstitch`
        Give the password outside the address: in the environment variable `PGPASSWORD`, as `env:NAME` or `@file` in the configuration, or in the file that `PGPASSFILE` names
    ");
    let nobody = server.cluster.url_as("nobody");
    insta::assert_snapshot!(failure(&server, &nobody, password, refused.clone()).await, @r#"
        The PostgreSQL server at `127.0.0.1:PORT` does not accept the password of `nobody` (password authentication failed for user "nobody" (SQLSTATE 28P01))
        Look whether the password is right; it is taken from the configuration, else from `PGPASSWORD`, else from the file that `PGPASSFILE` names
    "#);
    let missing = url.replace("/postgres", "/warehouse");
    insta::assert_snapshot!(failure(&server, &missing, password, refused.clone()).await, @r#"
        The PostgreSQL server at `127.0.0.1:PORT` has no database `warehouse` (database "warehouse" does not exist (SQLSTATE 3D000))
        Create it (`create database "warehouse"`), or name another in the address
    "#);
    server.cluster.query("revoke connect on database postgres from public").unwrap();
    server
        .cluster
        .query(&format!("create role outsider login password '{}'", server.cluster.password()))
        .unwrap();
    let outsider = server.cluster.url_as("outsider");
    insta::assert_snapshot!(failure(&server, &outsider, password, refused.clone()).await, @r#"
        Role `outsider` may not connect to database `postgres` at `127.0.0.1:PORT` (permission denied for database "postgres" (SQLSTATE 42501))
        Grant it (`grant connect on database "postgres" to "outsider"`)
    "#);
    let tls = format!("{url}?sslmode=require");
    insta::assert_snapshot!(failure(&server, &tls, password, refused).await, @"
        The PostgreSQL server at `127.0.0.1:PORT` does not take TLS
        Switch it on in the server (`ssl = on`); without it, rows and password would pass unprotected
    ");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unavailable() {
    let mut server = Server::start();
    server.cluster.stop().unwrap();
    let url = server.cluster.url();
    insta::assert_snapshot!(failure(&server, &url, None, DestinationErrorKind::Unavailable).await, @"
        Nothing takes connections at `127.0.0.1:PORT` (Connection refused (os error 111))
        Look whether the server runs, and whether host and port are right
    ");
    // Somebody who takes the connection and says nothing.
    let listener = std::net::TcpListener::bind(("127.0.0.1", server.cluster.port())).unwrap();
    let silent = format!("{url}?connect_timeout=1");
    insta::assert_snapshot!(failure(&server, &silent, None, DestinationErrorKind::Unavailable).await, @"
        The PostgreSQL server at `127.0.0.1:PORT` gave no answer in time
        Look whether the server runs, and whether a firewall stands between
    ");
    drop(listener);
}

#[tokio::test]
async fn tls_is_verified() {
    let server = Server::start_with(Cluster::options().tls(true));
    let other = Server::start_with(Cluster::options().tls(true));
    let root = server.cluster.root_certificate().unwrap();
    let other_root = other.cluster.root_certificate().unwrap();
    let verified = format!("{}?sslmode=verify-full", server.cluster.url());
    let trusting_another = format!("{verified}&sslrootcert={}", other_root.display());
    let password = server.cluster.password();
    let refused = DestinationErrorKind::Refused;
    insta::assert_snapshot!(
        failure(&server, &trusting_another, Some(password), refused).await,
        @"
            The certificate of the PostgreSQL server at `127.0.0.1:PORT` was not accepted (invalid peer certificate: BadSignature)
            Use the host name that the certificate is made for; if a private authority, or the server itself, signed it, name the file with that certificate by `sslrootcert=FILE` in the address
        "
    );
    let config = PostgresConfig::parse(&verified, SCHEMA).unwrap().with_root_certificates(&root);
    let postgres = Postgres::new(config.with_password(password.to_owned().into())).unwrap();
    postgres.claim(&request("run")).await.unwrap();
    let encrypted = "select bool_and(s.ssl) from pg_stat_ssl s join pg_stat_activity a using (pid) \
                     where application_name = 'backstitch'";
    assert_eq!(server.query(encrypted), "t");
    // The certificate is good, but not made for this name.
    let misnamed =
        format!("{}&sslrootcert={}", verified, root.display()).replace("127.0.0.1", "127.0.0.2");
    let config = PostgresConfig::parse(&misnamed, SCHEMA).unwrap();
    Postgres::new(config).unwrap().claim(&request("run")).await.unwrap_err();
}

#[tokio::test]
async fn a_check_names_its_steps_and_leaves_nothing_behind() {
    let server = Server::start();
    let steps = server.postgres().check().await;
    let results: Vec<String> = steps
        .iter()
        .map(|step| format!("{}: {}", step.name, step.result.as_ref().unwrap()))
        .collect();
    assert_eq!(results.len(), 3);
    assert_eq!(results[2], "write into the schema: `stitch_bronto` can be created");
    assert_eq!(
        server
            .cluster
            .query("select count(*) from pg_namespace where nspname like 'stitch%'")
            .unwrap(),
        "0"
    );
    server.postgres().claim(&request("run")).await.unwrap();
    let steps = server.postgres().check().await;
    assert_eq!(steps[2].result.as_ref().unwrap(), "`stitch_bronto` exists");
    assert_eq!(server.query("select to_regclass('_sdc_check') is null"), "t");

    server.cluster.query("create database latin encoding 'LATIN1' template template0").unwrap();
    let config =
        PostgresConfig::parse(&server.cluster.url().replace("/postgres", "/latin"), SCHEMA)
            .unwrap();
    let config = config.with_password(server.cluster.password().to_owned().into());
    let steps = Postgres::new(config).unwrap().check().await;
    assert_eq!(steps.len(), 2);
    let failure = steps[1].result.as_ref().unwrap_err();
    assert!(failure.message.contains("LATIN1") && !failure.retriable, "{failure:?}");
}
