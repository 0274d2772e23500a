//! Units: what a merge changes and what it leaves alone, and what becomes of a unit that is not committed.

use std::{slice, sync::Arc, time::Duration};

use replication::{
    destination::{ChildOutcome, Destination, DestinationErrorKind, MergeOutcome},
    reject::ReasonCode,
    stream::{StreamSchema, WinnerRule},
};

use crate::{
    loads::{commit, contact, contacts, load, merged, request, schema},
    subject::Server,
};

#[tokio::test]
async fn only_rows_that_differ_and_win_are_touched() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let contacts = contacts();
    let first = load(
        &contacts,
        &[
            contact("same", "a", 10).lists(&["x"]),
            contact("newer", "a", 10).lists(&["x", "y"]),
            contact("older", "a", 10),
            contact("other lists", "a", 10).lists(&["x"]),
        ],
    );
    commit(&postgres, &claim, &first).await.unwrap();
    let versions = "select id, xmin from contact where id in ('same', 'older') order by id";
    let before = server.query(versions);

    let mut relisted = contact("other lists", "a", 20);
    relisted.modified = Some(10);
    let second = load(
        &contacts,
        &[
            contact("same", "a", 20).lists(&["x"]),
            contact("newer", "b", 20).lists(&["z"]),
            contact("older", "b", 5),
            relisted,
            contact("new", "c", 20).lists(&[]),
        ],
    );
    // The same content with a later sequence is the same row; a later replication key is another.
    let mut same = second.clone();
    same.rows = vec![
        load(
            &contacts,
            &[{
                let mut same = contact("same", "a", 20).lists(&["x"]);
                same.modified = Some(10);
                same
            }],
        )
        .rows[0]
            .clone(),
        second.rows[0].slice(1, 4),
    ];
    let outcome = commit(&postgres, &claim, &same).await.unwrap();
    assert_eq!(
        outcome,
        MergeOutcome {
            inserted: 1,
            updated: 2,
            unchanged: 1,
            superseded: 1,
            growth: 1,
            children: vec![ChildOutcome {
                table: "contact__listIds".to_owned(),
                inserted: 1,
                deleted: 3,
                growth: -2,
            }],
        }
    );
    assert_eq!(server.query(versions), before, "untouched rows are the same tuples");
    assert_eq!(
        server.query("select id, email, _sdc_sequence from contact order by id"),
        "new|c|20\nnewer|b|20\nolder|a|10\nother lists|a|20\nsame|a|10"
    );
    assert_eq!(
        server
            .query("select * from \"contact__listIds\" order by 1, 2")
            .lines()
            .map(|line| { line.split('|').take(3).collect::<Vec<_>>().join("|") })
            .collect::<Vec<_>>(),
        ["newer|0|z", "same|0|x"]
    );
}

#[tokio::test]
async fn an_array_that_is_the_same_keeps_its_items() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let contacts = contacts();
    let first = load(
        &contacts,
        &[
            contact("kept", "a", 10).lists(&["x", "y"]),
            contact("turned", "a", 10).lists(&["x", "y"]),
            contact("emptied", "a", 10).lists(&["x"]),
            contact("loser", "a", 30).lists(&["x"]),
        ],
    );
    commit(&postgres, &claim, &first).await.unwrap();
    let tuples = "select value, xmin from \"contact__listIds\" where _sdc_source_key_id = 'kept'";
    let before = server.query(tuples);
    let second = load(
        &contacts,
        &[
            contact("kept", "b", 20).lists(&["x", "y"]),
            contact("turned", "b", 20).lists(&["y", "x"]),
            contact("emptied", "b", 20).lists(&[]),
            contact("loser", "b", 20).lists(&["z"]),
            contact("new", "b", 20).lists(&["z"]),
        ],
    );
    let outcome = commit(&postgres, &claim, &second).await.unwrap();
    assert_eq!((outcome.inserted, outcome.updated, outcome.superseded), (1, 3, 1));
    let child = &outcome.children[0];
    assert_eq!((child.inserted, child.deleted, child.growth), (3, 3, 0));
    assert_eq!(server.query(tuples), before, "they are the same tuples");
    let items = "select _sdc_source_key_id, value from \"contact__listIds\" \
                 order by _sdc_source_key_id, _sdc_level_0_id";
    assert_eq!(server.query(items), "kept|x\nkept|y\nloser|x\nnew|z\nturned|y\nturned|x");
}

#[tokio::test]
async fn an_older_version_never_comes_back_by_either_rule() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let by_key = contacts();
    let by_sequence = Arc::new(StreamSchema {
        winner: WinnerRule::Sequence,
        ..(*schema("plain", &["id"])).clone()
    });
    let row = |email: &str, modified: Option<i64>, sequence: i64| {
        let mut row = contact("c", email, sequence);
        row.modified = modified;
        row
    };
    // Each row, and whether it wins by the replication key, and by the sequence.
    for (row, by_the_key, by_the_sequence) in [
        (row("first", None, 50), true, true),
        (row("null loses", None, 40), false, false),
        (row("any key beats none", Some(100), 30), true, false),
        (row("late arrival", Some(90), 60), false, true),
        (row("same key, greater sequence", Some(100), 70), true, true),
        (row("same key and sequence", Some(100), 70), false, false),
        (row("none loses against any", None, 80), false, true),
    ] {
        for (schema, wins) in [(&by_key, by_the_key), (&by_sequence, by_the_sequence)] {
            let outcome =
                commit(&postgres, &claim, &load(schema, slice::from_ref(&row))).await.unwrap();
            let expected = if wins { (1, 0) } else { (0, 1) };
            let counts = (outcome.inserted + outcome.updated, outcome.superseded);
            assert_eq!(counts, expected, "{:?} in `{}`", row.email, schema.table());
        }
    }
    assert_eq!(server.query("select email from contact"), "same key, greater sequence");
    assert_eq!(server.query("select email from plain"), "none loses against any");
}

#[tokio::test]
async fn rows_without_a_key_are_appended_with_their_items() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let load =
        load(&schema("log", &[]), &[contact("a", "x", 1).lists(&["p", "q"]), contact("a", "x", 1)]);
    for round in 1..=2 {
        let outcome = commit(&postgres, &claim, &load).await.unwrap();
        assert_eq!(
            (outcome.inserted, outcome.growth, outcome.children[0].inserted),
            (2, 2, 2),
            "{round}"
        );
    }
    let joined = "select count(*), count(distinct l.__sdc_primary_key) from log l \
                  join \"log__listIds\" i on i._sdc_source_key___sdc_primary_key = l.__sdc_primary_key";
    assert_eq!(server.query(joined), "4|2");
}

#[tokio::test]
async fn items_whose_row_somebody_deleted_do_not_come_back_with_it() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let first = [
        contact("gone", "a", 1).lists(&["x", "y"]),
        contact("gone, and empty", "a", 1).lists(&["x"]),
        contact("stays", "a", 1).lists(&["x"]),
    ];
    commit(&postgres, &claim, &load(&contacts(), &first)).await.unwrap();
    server.query("delete from contact where id like 'gone%'");
    let second = [
        contact("gone", "b", 2).lists(&["z"]),
        contact("gone, and empty", "b", 2).lists(&[]),
        contact("stays", "b", 2).lists(&["x", "z"]),
    ];
    let outcome = commit(&postgres, &claim, &load(&contacts(), &second)).await.unwrap();
    assert_eq!((outcome.inserted, outcome.updated), (2, 1));
    let items = "select _sdc_source_key_id, value from \"contact__listIds\" order by 1, 2";
    assert_eq!(server.query(items), "gone|z\nstays|x\nstays|z");

    // All of them, so that the table is empty and its subtable isn't.
    server.query("delete from contact");
    let third = [contact("stays", "c", 3).lists(&[])];
    commit(&postgres, &claim, &load(&contacts(), &third)).await.unwrap();
    assert_eq!(server.query(items), "gone|z");
}

#[tokio::test]
async fn rows_that_somebody_keeps_from_being_updated_are_no_rows_at_fault() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let rows = |text, sequence| {
        load(&contacts(), &[contact("a", text, sequence), contact("b", text, sequence)])
    };
    commit(&postgres, &claim, &rows("x", 1)).await.unwrap();
    server.query(
        "create function keep() returns trigger language plpgsql as 'begin return null; end'; \
         create trigger keep before update on contact for each row when (old.id = 'b') execute function keep()",
    );
    let error = merged(&postgres, &claim, &rows("y", 2)).await.err().unwrap();
    assert!(error.kind.is_retriable(), "{error}");
    assert_eq!(
        error.to_string(),
        "Somebody else changed rows of `contact` while they were written"
    );
}

#[tokio::test]
async fn a_dropped_unit_leaves_no_transaction_behind() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let load = load(&contacts(), &[contact("a", "x", 1)]);
    let (unit, _) = merged(&postgres, &claim, &load).await.unwrap();
    drop(unit);
    // The next unit would wait for the dropped one's locks if they were still held.
    let outcome = commit(&postgres, &claim, &load).await.unwrap();
    assert_eq!(outcome.inserted, 1);

    // Cancelled in the middle of a step, which waits for a lock here.
    let mut locker = merged(&postgres, &claim, &load).await.unwrap().0;
    locker.fence(&claim, &claim.memory).await.unwrap();
    let other = server.postgres();
    let mut unit = other.begin(&claim).await.unwrap();
    let fence = tokio::time::timeout(Duration::from_millis(50), unit.fence(&claim, &claim.memory));
    fence.await.unwrap_err();
    let error = unit.commit().await.unwrap_err();
    assert_eq!(
        error.kind,
        DestinationErrorKind::Bug,
        "a unit with an unfinished step can't be committed"
    );
    locker.rollback().await.unwrap();
    commit(&other, &claim, &load).await.unwrap();
}

#[tokio::test]
async fn a_unit_with_a_failed_step_can_not_be_committed() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    commit(&postgres, &claim, &load(&contacts(), &[contact("a", "x", 1)])).await.unwrap();
    server.query("alter table contact add constraint polite check (email <> 'rude')");
    let (mut unit, _) =
        merged(&postgres, &claim, &load(&contacts(), &[contact("b", "y", 2)])).await.unwrap();
    let error = unit.merge(&load(&contacts(), &[contact("c", "rude", 3)])).await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::Row(ReasonCode::RefusedByDestination));
    insta::assert_snapshot!(
        error,
        @"PostgreSQL refused to write rows of `contact`: a value was refused by constraint `polite` (SQLSTATE 23514)"
    );
    // The server would answer `commit` with a rollback, and without an error.
    assert_eq!(unit.commit().await.unwrap_err().kind, DestinationErrorKind::Bug);
    assert_eq!(server.query("select count(*) from contact"), "1");
}

#[tokio::test]
async fn somebody_elses_lock_is_waited_for_with_a_deadline() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let load = load(&contacts(), &[contact("a", "x", 1)]);
    let (unit, _) = merged(&postgres, &claim, &load).await.unwrap();
    let config = server.config().with_lock_timeout(Duration::from_millis(100));
    let other = destination_postgres::Postgres::new(config).unwrap();
    let error = merged(&other, &claim, &load).await.err().unwrap();
    assert_eq!(error.kind, DestinationErrorKind::Busy, "{error}");
    assert!(error.kind.is_retriable());
    unit.rollback().await.unwrap();
}
