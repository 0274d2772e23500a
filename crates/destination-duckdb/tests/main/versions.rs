//! Versions of full tables.

use std::sync::Arc;

use destination_duckdb::DuckDb;
use replication::{
    claim::Claim,
    destination::{ActivationOutcome, Destination, DestinationErrorKind, VersionCounts},
    stream::{StreamSchema, WinnerRule},
};

use crate::support::{
    Contact, Warehouse, claimed, column, commit, contact_load, contact_rows, contacts, figures,
    finish, load, request, stamped,
};

const EMAILS: &str = "select id, email from stitch_bronto.contact";

async fn stage(
    destination: &DuckDb,
    claim: &Claim,
    schema: &Arc<StreamSchema>,
    version: i64,
    rows: &[Contact<'_>],
) -> [u64; 4] {
    let batch = stamped(schema, &contact_rows(schema, rows), version * 100, version);
    let load = load(schema, Some(version), vec![batch]);
    figures(&commit(destination, claim, &load, &format!("{version}")).await.unwrap())
}

#[tokio::test]
async fn a_version_waits_beside_the_table_and_then_replaces_it() {
    let warehouse = Warehouse::new();
    let schema = contacts(WinnerRule::Sequence);
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    let rows =
        [("a", None, Some("a"), None), ("b", None, Some("b"), None), ("c", None, Some("c"), None)];
    commit(&destination, &claim, &contact_load(&schema, &rows, 1), "1").await.unwrap();

    let figures = stage(
        &destination,
        &claim,
        &schema,
        2,
        &[("a", None, Some("a"), None), ("b", None, Some("B"), None)],
    )
    .await;
    assert_eq!(figures, [2, 0, 0, 0]);
    let figures = stage(
        &destination,
        &claim,
        &schema,
        2,
        &[("b", None, Some("B"), None), ("d", None, None, None)],
    )
    .await;
    assert_eq!(figures, [1, 0, 1, 0], "a second page that repeats a row");
    assert_eq!(column(&destination, EMAILS).await.len(), 3, "nothing shows before the activation");

    let mut unit = destination.begin(&claim).await.unwrap();
    unit.prepare(&schema, Some(2)).await.unwrap();
    assert_eq!(
        unit.version_counts(&schema, 2, None).await.unwrap(),
        VersionCounts { waiting: 3, live: 3 }
    );
    let outcome = unit.activate(&schema, 2, None).await.unwrap();
    let expected = ActivationOutcome {
        inserted: 1,
        updated: 1,
        unchanged: 1,
        deleted: 1,
        growth: 0,
        children: vec![],
    };
    assert_eq!(outcome, expected);
    assert_eq!(
        unit.version_counts(&schema, 2, None).await.unwrap(),
        VersionCounts { waiting: 0, live: 3 }
    );
    finish(unit, &claim, "4").await.unwrap();
    let emails = column(&destination, EMAILS).await;
    assert_eq!(emails.keys().collect::<Vec<_>>(), ["a", "b", "d"]);
    assert_eq!(emails["b"].as_deref(), Some("B"));
    let versions =
        column(&destination, "select id, _sdc_table_version from stitch_bronto.contact").await;
    assert!(versions.values().all(|version| version.as_deref() == Some("2")), "{versions:?}");
    assert_eq!(destination.count("_sdc_next_contact").await.unwrap(), None);
}

#[tokio::test]
async fn views_and_indexes_survive_an_activation() {
    let warehouse = Warehouse::new();
    let schema = contacts(WinnerRule::Sequence);
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    commit(&destination, &claim, &contact_load(&schema, &[("a", None, Some("a"), None)], 1), "1")
        .await
        .unwrap();
    destination.close().await;
    // What people do in their own session, while the file is free.
    let people = duckdb::Connection::open(warehouse.path()).unwrap();
    people
        .execute_batch(
            "create view stitch_bronto.emails as select email from stitch_bronto.contact;
             create unique index by_id on stitch_bronto.contact (id);",
        )
        .unwrap();
    drop(people);
    for version in 2..5 {
        let rows = [("a", None, Some("A"), Some([Some("l")].as_slice())), ("b", None, None, None)];
        stage(&destination, &claim, &schema, version, &rows).await;
        let mut unit = destination.begin(&claim).await.unwrap();
        unit.activate(&schema, version, None).await.unwrap();
        finish(unit, &claim, "x").await.unwrap();
        let changed = contact_load(&schema, &[("a", None, Some("again"), None)], version * 1_000);
        assert_eq!(
            figures(&commit(&destination, &claim, &changed, "y").await.unwrap()),
            [0, 1, 0, 0]
        );
    }
    let (_, rows) =
        destination.query_text("select count(email) from stitch_bronto.emails").await.unwrap();
    assert_eq!(rows[0][0].as_deref(), Some("1"));
    let (_, rows) = destination
        .query_text("select count(*) from duckdb_indexes() where index_name = 'by_id'")
        .await
        .unwrap();
    assert_eq!(rows[0][0].as_deref(), Some("1"));
}

#[tokio::test]
async fn a_column_called_like_the_row_number_hides_no_row() {
    let warehouse = Warehouse::new();
    let schema = contacts(WinnerRule::Sequence);
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    let rows = [("a", None, Some("a"), None), ("b", None, Some("b"), None)];
    commit(&destination, &claim, &contact_load(&schema, &rows, 1), "1").await.unwrap();
    destination.close().await;
    let people = duckdb::Connection::open(warehouse.path()).unwrap();
    people.execute_batch("alter table stitch_bronto.contact add column RowId bigint").unwrap();
    drop(people);
    // Somebody's own column, which holds null: rows are found all the same.
    let again =
        [("a", None, Some("A"), None), ("b", None, Some("b"), None), ("c", None, None, None)];
    let outcome = commit(&destination, &claim, &contact_load(&schema, &again, 10), "2").await;
    assert_eq!(figures(&outcome.unwrap()), [1, 1, 1, 0]);
    stage(
        &destination,
        &claim,
        &schema,
        3,
        &[("a", None, Some("A"), None), ("d", None, None, None)],
    )
    .await;
    let mut unit = destination.begin(&claim).await.unwrap();
    let outcome = unit.activate(&schema, 3, None).await.unwrap();
    finish(unit, &claim, "3").await.unwrap();
    assert_eq!((outcome.inserted, outcome.updated, outcome.unchanged), (1, 0, 1));
    assert_eq!((outcome.deleted, outcome.growth), (2, -1));
}

#[tokio::test]
async fn without_a_key_everything_is_new() {
    let warehouse = Warehouse::new();
    let schema =
        Arc::new(StreamSchema { key: Vec::new(), ..(*contacts(WinnerRule::Sequence)).clone() });
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    let rows = [("a", None, Some("a"), None), ("a", None, Some("a"), None)];
    commit(&destination, &claim, &contact_load(&schema, &rows, 1), "1").await.unwrap();
    assert_eq!(
        stage(&destination, &claim, &schema, 2, &[("a", None, Some("a"), None)]).await,
        [1, 0, 0, 0]
    );
    let mut unit = destination.begin(&claim).await.unwrap();
    let outcome = unit.activate(&schema, 2, None).await.unwrap();
    assert_eq!((outcome.inserted, outcome.deleted, outcome.growth), (1, 2, -1));
    finish(unit, &claim, "2").await.unwrap();
    assert_eq!(destination.count("contact").await.unwrap(), Some(1));
}

#[tokio::test]
async fn versions_that_were_given_up_leave_no_rows() {
    let warehouse = Warehouse::new();
    let schema = contacts(WinnerRule::Sequence);
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    stage(&destination, &claim, &schema, 2, &[("a", None, None, None), ("b", None, None, None)])
        .await;
    assert_eq!(
        stage(&destination, &claim, &schema, 3, &[("a", None, None, None)]).await,
        [1, 0, 0, 0]
    );
    assert_eq!(
        destination.count("_sdc_next_contact").await.unwrap(),
        Some(1),
        "a new version starts anew"
    );

    let mislabelled = load(
        &schema,
        Some(3),
        vec![stamped(&schema, &contact_rows(&schema, &[("z", None, None, None)]), 1, 2)],
    );
    let error = commit(&destination, &claim, &mislabelled, "x").await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::Bug);

    destination.release(&claim).await.unwrap();
    destination.claim(&request("next")).await.unwrap();
    assert_eq!(
        destination.count("_sdc_next_contact").await.unwrap(),
        None,
        "the next claim drops it"
    );
    assert_eq!(destination.count("contact").await.unwrap(), Some(0));
}
