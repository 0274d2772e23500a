//! The password is where it is needed and nowhere else.

use destination_postgres::Postgres;
use postgres_cluster::Cluster;
use replication::destination::Destination;

use crate::{
    loads::{commit, contact, contacts, load, request},
    subject::Server,
};

#[tokio::test]
async fn the_password_appears_nowhere() {
    let server = Server::start_with(Cluster::options().setting("log_statement", "all"));
    let config = server.config();
    let mut seen = format!("{config:?}");
    let postgres = Postgres::new(config).unwrap();
    seen.push_str(&postgres.describe());
    for step in postgres.check().await {
        seen.push_str(&format!("{step:?}"));
    }
    let claim = postgres.claim(&request("run")).await.unwrap();
    seen.push_str(&format!("{claim:?}"));
    commit(&postgres, &claim, &load(&contacts(), &[contact("a", "x", 1)])).await.unwrap();
    seen.push_str(&format!("{:?}", postgres.states().await.unwrap()));
    seen.push_str(&server.query("select * from pg_stat_activity"));
    seen.push_str(&server.query("select * from _sdc_state"));
    seen.push_str(&server.cluster.log());
    assert!(seen.contains("application_name") || seen.contains("backstitch"));
    assert!(!seen.contains(server.cluster.password()));
}
