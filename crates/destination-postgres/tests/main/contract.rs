//! The contract that every destination keeps.

use replication::{
    contract::Subject,
    destination::Destination,
    placement::Nesting,
    run::{self, RunContext, RunError, RunFailure, RunOptions, RunReport},
    singer_source::SingerSource,
};

use crate::subject::Server;

replication::contract_tests!(Server::start());

/// The same with arrays in columns of the tables.
mod native_arrays {
    use crate::subject::Server;

    replication::contract_tests!(Server::with_native_arrays());
}

#[tokio::test]
async fn a_schema_begun_with_native_arrays_refuses_subtables() {
    let mut server = Server::with_native_arrays();
    load(&server).await.unwrap();
    server.nesting = Nesting::Subtables;
    let RunError::Destination(error) = load(&server).await.unwrap_err().error else {
        panic!("it is the destination's to refuse")
    };
    assert_eq!(
        (error.to_string().as_str(), error.remedy.as_str()),
        (
            "Column `tags` is text[]: the schema was begun with arrays in columns, and can't go on with subtables",
            "Set `nested = \"native\"`, or choose another schema, which will be filled from the start"
        )
    );
    server.nesting = Nesting::Native;
    load(&server).await.unwrap();
}

/// A version that waits never becomes the table once its run is over, in whatever form its arrays are.
#[tokio::test]
async fn versions_that_wait_in_the_other_form_are_dropped() {
    for (first, then) in
        [(Nesting::Native, Nesting::Subtables), (Nesting::Subtables, Nesting::Native)]
    {
        let mut server = Server::start();
        server.nesting = first;
        let unfinished = format!("{SCHEMA}\n{RECORD}\n");
        let waits = |text: &str| text.replace("\"record\"", "\"version\": 5, \"record\"");
        read(&server, &waits(&unfinished)).await.unwrap();
        // The table itself is empty, as after a run that broke off while its first version was read.
        server.query("drop table if exists people, \"people__tags\"");
        server.query("create table \"_sdc_next_people\" (id text)");
        server
            .query("create table \"_sdc_next_people__tags\" (_sdc_level_0_id bigint, value text)");
        server.nesting = then;
        let complete = "{\"type\": \"ACTIVATE_VERSION\", \"stream\": \"people\", \"version\": 6}\n";
        let newer = waits(&unfinished).replace("5, ", "6, ");
        read(&server, &(newer + complete)).await.unwrap();
        assert_eq!(server.rows("people").await.map(|rows| rows.len()), Some(1));
        let left = server.rows("people__tags").await.is_some();
        assert_eq!(left, then == Nesting::Subtables);
        for waiting in ["_sdc_next_people", "_sdc_next_people__tags"] {
            assert!(server.rows(waiting).await.is_none(), "`{waiting}` is left");
        }
    }
}

const SCHEMA: &str = r#"{"type": "SCHEMA", "stream": "people", "key_properties": ["id"], "schema": {"properties": {"id": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}}}}"#;
const RECORD: &str =
    r#"{"type": "RECORD", "stream": "people", "record": {"id": "a", "tags": ["x", "y"]}}"#;

async fn load(server: &Server) -> Result<RunReport, RunFailure> {
    read(server, &format!("{SCHEMA}\n{RECORD}\n")).await
}

async fn read(server: &Server, messages: &str) -> Result<RunReport, RunFailure> {
    let messages = std::io::Cursor::new(messages.to_owned().into_bytes());
    let source = Box::new(SingerSource::new(messages, "singer"));
    let (options, context) = (RunOptions::new("contract"), RunContext::default());
    run::replicate(source, server.destination(), options, context).await
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
