//! The contract that every destination keeps.

use replication::{destination::Destination, placement::Nesting};

use crate::subject::Server;

replication::contract_tests!(Server::start());

/// The same with arrays in columns of the tables.
mod native_arrays {
    use crate::subject::Server;

    replication::contract_tests!(Server::with_native_arrays());
}

#[tokio::test]
async fn a_schema_begun_with_subtables_refuses_native_arrays() {
    let mut server = Server::start();
    server.cluster.query("create schema stitch_bronto").unwrap();
    let key = "\"_sdc_source_key_id\" text, \"_sdc_level_0_id\" bigint";
    server.query("create table contact (id text primary key)");
    server.query(&format!("create table \"contact__listIds\" ({key}, value text)"));
    assert!(server.postgres().stored_table("contact").await.unwrap().is_some());
    server.nesting = Nesting::Native;
    let error = server.postgres().stored_table("contact").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "The schema holds `contact__listIds`: it was begun with arrays in subtables, and can't go on without"
    );
}
