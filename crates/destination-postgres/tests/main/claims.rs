//! Claims: one writer at a time, whatever happens to the one before.

use std::collections::BTreeMap;

use replication::{
    claim::{ClaimMemory, Refusal},
    destination::{Destination, DestinationErrorKind},
    stream::StreamName,
};
use serde_json::json;

use crate::{
    loads::{commit, contact, contacts, load, merged, request},
    subject::Server,
};

/// Far less than after what the server ends a transaction in which nothing happens.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

#[tokio::test]
async fn of_two_first_runs_at_once_one_gets_the_schema() {
    let server = Server::start();
    let (one, other) = (server.postgres(), server.postgres());
    let (first, second) = (request("first"), request("second"));
    let claims = tokio::join!(one.claim(&first), other.claim(&second));
    let (granted, refused) = match claims {
        (Ok(claim), Err(error)) | (Err(error), Ok(claim)) => (claim, error),
        (first, second) => panic!("{first:?} {second:?}"),
    };
    assert_eq!(granted.token, 1);
    let DestinationErrorKind::Claim(Refusal::Held { holder, .. }) = &refused.kind else {
        panic!("{refused:?}")
    };
    assert!(holder.contains(&format!("run `{}`", granted.run_id)), "{holder}");
}

#[tokio::test]
async fn a_claim_reads_what_was_committed_before_it() {
    let server = Server::start();
    let postgres = server.postgres();
    let mut first = request("first");
    first.start_date = Some("2026-01-01T00:00:00Z".to_owned());
    let claim = postgres.claim(&first).await.unwrap();
    assert_eq!((claim.token, claim.states.len(), &claim.unreleased), (1, 0, &None));
    let state = json!({"field": "modified", "last_record": "2026-01-02T03:04:05Z"});
    let memory = ClaimMemory {
        greatest_sequence: 7,
        last_batch: Some("batch".to_owned()),
        last_run: Some("first".to_owned()),
        singer_state: Some(json!({"opaque": 1.50})),
    };
    let mut unit = postgres.begin(&claim).await.unwrap();
    unit.bookmark(&BTreeMap::from([(StreamName::from("contact"), state.clone())])).await.unwrap();
    unit.fence(&claim, &memory).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(postgres.memory().await.unwrap(), memory);
    postgres.renew(&claim).await.unwrap();
    postgres.release(&claim).await.unwrap();

    let mut second = request("second");
    second.start_date = Some("2020-01-01T00:00:00Z".to_owned());
    let claim = server.postgres().claim(&second).await.unwrap();
    assert_eq!((claim.token, claim.unreleased), (2, None));
    assert_eq!(claim.states[&StreamName::from("contact")], state);
    assert_eq!(claim.memory, memory);
    assert_eq!(claim.start_date.as_deref(), Some("2026-01-01T00:00:00Z"), "the first one stays");
}

#[tokio::test]
async fn taking_over_ends_the_unit_of_a_paused_run_at_once() {
    let server = Server::start();
    let (paused, taker) = (server.postgres(), server.postgres());
    let old = paused.claim(&request("paused")).await.unwrap();
    let rows = load(&contacts(), &[contact("a", "paused", 1)]);
    // Paused with its tables created and its rows merged, none of it committed: every lock is held.
    let (mut unit, _) = merged(&paused, &old, &rows).await.unwrap();

    let mut request = request("taker");
    request.take_over = true;
    let new = taker.claim(&request).await.unwrap();
    assert_eq!(new.token, 2);
    assert_eq!(new.unreleased.as_ref().map(|holder| holder.run_id.as_str()), Some("paused"));
    commit(&taker, &new, &load(&contacts(), &[contact("a", "taker", 2)])).await.unwrap();

    // It wakes up.
    unit.fence(&old, &ClaimMemory::default()).await.unwrap_err();
    drop(unit);
    let error = commit(&paused, &old, &rows).await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::Fenced);
    assert_eq!(paused.renew(&old).await.unwrap_err().kind, DestinationErrorKind::Fenced);
    paused.release(&old).await.unwrap();
    taker.renew(&new).await.unwrap();
    assert_eq!(server.query("select email from contact"), "taker");
}

#[tokio::test]
async fn taking_over_does_not_wait_for_a_run_that_is_paused_before_its_commit() {
    let server = Server::start();
    let (paused, taker) = (server.postgres(), server.postgres());
    let old = paused.claim(&request("paused")).await.unwrap();
    let rows = load(&contacts(), &[contact("a", "paused", 1)]);
    let (mut unit, _) = merged(&paused, &old, &rows).await.unwrap();
    // The claim's own row is locked, too.
    unit.fence(&old, &ClaimMemory::default()).await.unwrap();

    // Whoever may not take over hears so at once.
    let other = request("other");
    let refused = tokio::time::timeout(PATIENCE, taker.claim(&other)).await.unwrap().unwrap_err();
    assert!(matches!(refused.kind, DestinationErrorKind::Claim(Refusal::Held { .. })));
    // Another attempt at the same run.
    let again = request("paused");
    let new = tokio::time::timeout(PATIENCE, taker.claim(&again)).await.unwrap().unwrap();
    assert_eq!(new.token, 2);
    unit.commit().await.unwrap_err();
    commit(&taker, &new, &load(&contacts(), &[contact("a", "taker", 2)])).await.unwrap();
    assert_eq!(server.query("select email from contact"), "taker");
}

#[tokio::test]
async fn memory_waits_for_a_commit_that_is_under_way() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let memory = ClaimMemory { last_batch: Some("under way".to_owned()), ..ClaimMemory::default() };
    let mut unit = postgres.begin(&claim).await.unwrap();
    unit.fence(&claim, &memory).await.unwrap();
    let mut lookup = Box::pin(postgres.memory());
    // The look-up is asked for until the server says that it waits.
    loop {
        tokio::select! {
            biased;
            found = &mut lookup => panic!("{found:?}"),
            () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
        }
        if server.query("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")
            == "1"
        {
            break;
        }
    }
    unit.commit().await.unwrap();
    assert_eq!(lookup.await.unwrap().last_batch.as_deref(), Some("under way"));
}

#[tokio::test]
async fn a_role_that_may_not_create_schemas_can_use_one_that_it_owns() {
    let server = Server::start();
    let password = server.cluster.password();
    server.cluster.query(&format!("create role loader login password '{password}'")).unwrap();
    let config =
        destination_postgres::PostgresConfig::parse(&server.cluster.url_as("loader"), "ready")
            .unwrap();
    let postgres =
        destination_postgres::Postgres::new(config.with_password(password.to_owned().into()))
            .unwrap();
    let error = postgres.claim(&request("run")).await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::Refused);
    insta::assert_snapshot!(
        error,
        @"PostgreSQL refused to create schema `ready`: permission denied for database postgres (SQLSTATE 42501)"
    );
    server.cluster.query("create schema ready authorization loader").unwrap();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let outcome =
        commit(&postgres, &claim, &load(&contacts(), &[contact("a", "x", 1)])).await.unwrap();
    assert_eq!(outcome.inserted, 1);
}
