//! Tables: made, widened, replaced, and never taken from under anybody.

use std::sync::Arc;

use replication::{
    destination::{
        ActivationOutcome, ChildOutcome, Destination, DestinationErrorKind, VersionCounts,
    },
    stream::{Column, ColumnType, StreamSchema, WinnerRule},
    unit::TableLoad,
};

use crate::{
    loads::{Contact, commit, contact, contacts, load, merged, request, schema},
    subject::Server,
};

fn version(number: i64, rows: &[Contact]) -> TableLoad {
    TableLoad { version: Some(number), ..load(&contacts(), rows) }
}

#[tokio::test]
async fn an_activated_version_takes_the_place_of_the_rows_and_of_nothing_else() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let live = [
        contact("same", "x", 1).lists(&["l"]),
        contact("changed", "x", 1),
        contact("relisted", "x", 1).lists(&["l"]),
        contact("gone", "x", 1).lists(&["l", "m"]),
    ];
    commit(&postgres, &claim, &load(&contacts(), &live)).await.unwrap();
    server.cluster.query("create role reader").unwrap();
    server.query(
        "create view emails as select id, email, i.value from contact c \
         left join \"contact__listIds\" i on i._sdc_source_key_id = c.id; \
         create index by_email on contact (email); grant select on contact to reader",
    );

    let waiting = [
        contact("same", "x", 1).lists(&["l"]),
        contact("changed", "y", 1),
        contact("relisted", "x", 1).lists(&["k", "l"]),
        contact("new", "z", 1),
    ];
    let (unit, outcome) = merged(&postgres, &claim, &version(7, &waiting)).await.unwrap();
    assert_eq!((outcome.inserted, outcome.growth), (4, 4));
    unit.commit().await.unwrap();
    assert_eq!(server.query("select count(*) from contact where email = 'y'"), "0", "it waits");

    let mut unit = postgres.begin(&claim).await.unwrap();
    let counts = unit.version_counts(&contacts(), 7, None).await.unwrap();
    assert_eq!(counts, VersionCounts { waiting: 4, live: 4 });
    assert_eq!(
        unit.version_counts(&contacts(), 8, None).await.unwrap().waiting,
        0,
        "another version"
    );
    let outcome = unit.activate(&contacts(), 7, None).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(
        outcome,
        ActivationOutcome {
            inserted: 1,
            updated: 2,
            unchanged: 1,
            deleted: 1,
            growth: 0,
            children: vec![ChildOutcome {
                table: "contact__listIds".to_owned(),
                inserted: 3,
                deleted: 4,
                growth: -1,
            }],
        }
    );
    assert_eq!(
        server.query("select * from emails order by id, value"),
        "changed|y|\nnew|z|\nrelisted|x|k\nrelisted|x|l\nsame|x|l"
    );
    assert_eq!(server.query("select has_table_privilege('reader', 'contact', 'select')"), "t");
    assert_eq!(
        server.query("select indexname from pg_indexes where indexname = 'by_email'"),
        "by_email"
    );
    assert_eq!(
        server.query("select count(*) from pg_class where relname like '\\_sdc\\_next%'"),
        "0"
    );
}

#[tokio::test]
async fn a_version_that_follows_an_unfinished_one_starts_empty() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    for number in [1, 2] {
        let rows = [contact(&format!("of version {number}"), "x", 1).lists(&["l"])];
        let (unit, _) = merged(&postgres, &claim, &version(number, &rows)).await.unwrap();
        unit.commit().await.unwrap();
    }
    assert_eq!(server.query("select id from _sdc_next_contact"), "of version 2");
    let mut request = request("next");
    request.take_over = true;
    postgres.claim(&request).await.unwrap();
    assert_eq!(
        server.query("select count(*) from pg_class where relname like '\\_sdc\\_next%'"),
        "0"
    );
}

#[tokio::test]
async fn tables_get_the_columns_that_they_lack() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    server.query(
        "create table contact (id text constraint contact_pkey primary key, mine text default 'kept'); \
         insert into contact values ('a')",
    );
    // A row that has no sequence, because somebody else put it there, is older than any of ours.
    let by_sequence =
        Arc::new(StreamSchema { winner: WinnerRule::Sequence, ..(*contacts()).clone() });
    let rows = [contact("a", "x", 1), contact("b", "x", 1)];
    let outcome = commit(&postgres, &claim, &load(&by_sequence, &rows)).await.unwrap();
    assert_eq!((outcome.inserted, outcome.updated, outcome.superseded), (1, 1, 0));
    assert_eq!(
        server.query("select id, mine, email from contact order by id"),
        "a|kept|x\nb|kept|x"
    );
    let columns = "select column_name, data_type from information_schema.columns \
                   where table_name = 'contact' order by ordinal_position";
    insta::assert_snapshot!(server.query(columns), @"
        id|text
        mine|text
        email|text
        amount|numeric
        modified|timestamp with time zone
        _sdc_extracted_at|timestamp with time zone
        _sdc_received_at|timestamp with time zone
        _sdc_batched_at|timestamp with time zone
        _sdc_sequence|bigint
        _sdc_table_version|bigint
    ");
}

#[tokio::test]
async fn tables_that_do_not_fit_are_refused_by_name() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let rows = load(&contacts(), &[contact("a", "x", 1)]);
    commit(&postgres, &claim, &rows).await.unwrap();
    let mut refusals = Vec::new();
    for change in [
        "alter table contact drop constraint contact_pkey",
        "alter table contact add constraint contact_pkey primary key (id), alter column email type varchar(10)",
        "alter table contact rename column email to short; alter table contact add email text; \
         create table heir () inherits (contact); insert into heir (id, email) values ('a', 'theirs')",
        "create table items () inherits (\"contact__listIds\"); \
         drop table heir",
        "drop table contact; create view contact as select 1 as id",
    ] {
        server.query(change);
        let error = merged(&postgres, &claim, &rows).await.err().unwrap();
        assert_eq!(error.kind, DestinationErrorKind::Refused);
        refusals.push(format!("{error}. {}", error.remedy));
    }
    insta::assert_snapshot!(refusals.join("\n"), @"
        The primary key of `contact` is not (`id`). Put it back, or drop the table and replicate it from the start
        Column `email` of `contact` is `character varying(10)`, but its values are `text`. Rename the column in the database; a new one will be made
        Other tables inherit from `contact`, so its rows can't be told from theirs. Let them not (`alter table … no inherit`), and put a view over all of them
        Other tables inherit from `contact__listIds`, so its rows can't be told from theirs. Let them not (`alter table … no inherit`), and put a view over all of them
        `contact` exists, but is no ordinary table. Rename it, so that the table can be created
    ");
    let long = Arc::new(StreamSchema {
        columns: vec![Column::new("c".repeat(60), ColumnType::Text)],
        key: Vec::new(),
        ..(*contacts()).clone()
    });
    let mut unit = postgres.begin(&claim).await.unwrap();
    let error = unit.prepare(&long, None).await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::Refused);
}

/// The rows of tables that inherit from ours show in it. They aren't ours to change, whenever the heirs come.
#[tokio::test]
async fn heirs_that_come_while_a_run_lives_keep_their_rows() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let first = [contact("a", "x", 1).lists(&["l"]), contact("b", "x", 1).lists(&["l"])];
    commit(&postgres, &claim, &load(&contacts(), &first)).await.unwrap();
    server.query(
        "create table heir () inherits (contact); \
         insert into heir (id, email, modified) select id, 'theirs', modified from only contact; \
         create table items () inherits (\"contact__listIds\"); \
         insert into items select * from only \"contact__listIds\"",
    );
    let theirs = "select id, email, ctid, xmin from heir order by 1; \
                  select \"_sdc_source_key_id\", value, ctid, xmin from items order by 1";
    let before = server.query(theirs);
    let newer = [contact("a", "y", 9).lists(&["m"]), contact("c", "y", 9)];
    let mut unit = postgres.begin(&claim).await.unwrap();
    let outcome = unit.merge(&load(&contacts(), &newer)).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!((outcome.inserted, outcome.updated, outcome.growth), (1, 1, 1));
    assert_eq!(server.query(theirs), before);
    let ours = "select id, email from only contact order by 1; \
                select \"_sdc_source_key_id\", value from only \"contact__listIds\" order by 1";
    assert_eq!(server.query(ours), "a|y\nb|x\nc|y\na|m\nb|l");
    let mut unit = postgres.begin(&claim).await.unwrap();
    let outcome = unit.retract(&contacts(), 5).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!((outcome.deleted, outcome.growth), (2, -2));
    assert_eq!(server.query(theirs), before);
}

#[tokio::test]
async fn rows_that_are_taken_back_take_items_of_an_array_along_that_the_stream_has_no_more() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let stream = schema("log", &[]);
    let rows = [contact("a", "x", 1).lists(&["l"]), contact("b", "x", 9).lists(&["l", "m"])];
    commit(&postgres, &claim, &load(&stream, &rows)).await.unwrap();
    let mut without = (*stream).clone();
    without.columns.pop();
    let mut unit = postgres.begin(&claim).await.unwrap();
    let outcome = unit.retract(&without, 5).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!((outcome.deleted, outcome.children[0].deleted), (1, 2));
    assert_eq!(server.query("select count(*) from \"log__listIds\""), "1");
}

#[tokio::test]
async fn system_tables_that_somebody_altered_are_named() {
    let server = Server::start();
    let postgres = server.postgres();
    assert!(postgres.states().await.unwrap().is_empty(), "there is no schema yet");
    let claim = postgres.claim(&request("run")).await.unwrap();
    postgres.release(&claim).await.unwrap();
    server.query("alter table _sdc_state alter column token type numeric, drop column start_date");
    let error = postgres.states().await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::Refused);
    assert!(error.to_string().contains("`_sdc_state`"), "{error}");
    let error = postgres.claim(&request("run")).await.unwrap_err();
    assert!(error.to_string().contains("Column `token` of `_sdc_state` is `numeric`"), "{error}");
    server.query("alter table _sdc_state alter column token type bigint");
    assert_eq!(postgres.claim(&request("run")).await.unwrap().token, 2);
}
