//! Servers that die: what was committed stays, what was not is gone, and the same destination goes on afterwards.

use replication::{
    claim::ClaimMemory,
    destination::{Destination, DestinationErrorKind},
};

use crate::{
    loads::{commit, contact, contacts, load, merged, request},
    subject::Server,
};

#[tokio::test]
async fn a_server_killed_within_a_unit_keeps_all_of_it_or_nothing() {
    let mut server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    commit(&postgres, &claim, &load(&contacts(), &[contact("a", "x", 1)])).await.unwrap();

    let second = load(&contacts(), &[contact("a", "y", 2).lists(&["l"]), contact("b", "y", 2)]);
    let (mut unit, _) = merged(&postgres, &claim, &second).await.unwrap();
    let memory = ClaimMemory { last_batch: Some("second".to_owned()), ..ClaimMemory::default() };
    unit.fence(&claim, &memory).await.unwrap();
    server.cluster.kill();
    let error = unit.commit().await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::CommitUnknown);
    let error = postgres.memory().await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::Unavailable, "{error}");

    server.cluster.restart().unwrap();
    assert_eq!(postgres.memory().await.unwrap().last_batch, None, "the commit did not take place");
    assert_eq!(server.query("select id, email from contact"), "a|x");
    let outcome = commit(&postgres, &claim, &second).await.unwrap();
    assert_eq!((outcome.inserted, outcome.updated), (1, 1));

    server.cluster.kill();
    server.cluster.restart().unwrap();
    assert_eq!(server.query("select id, email from contact order by id"), "a|y\nb|y");
    assert_eq!(server.query("select value from \"contact__listIds\""), "l");
}

#[tokio::test]
async fn a_server_killed_within_a_step_makes_the_unit_worth_another_try() {
    let mut server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let mut unit = postgres.begin(&claim).await.unwrap();
    unit.prepare(&contacts(), None).await.unwrap();
    server.cluster.kill();
    let rows = load(&contacts(), &[contact("a", "x", 1)]);
    let error = unit.merge(&rows).await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::Unavailable, "{error}");
    unit.rollback().await.unwrap_err();
    server.cluster.restart().unwrap();
    commit(&postgres, &claim, &rows).await.unwrap();
    assert_eq!(postgres.count("contact").await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_session_ended_by_an_administrator_is_replaced() {
    let server = Server::start();
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let rows = load(&contacts(), &[contact("a", "x", 1)]);
    commit(&postgres, &claim, &rows).await.unwrap();
    server.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'backstitch'");
    assert_eq!(commit(&postgres, &claim, &rows).await.unwrap().unchanged, 1);
    postgres.renew(&claim).await.unwrap();
}
