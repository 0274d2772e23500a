//! Clauses on the claim: one writer at a time, and a superseded one writes nothing.

use chrono::TimeDelta;
use serde_json::json;

use super::{
    Subject,
    script::{INTEGRATION, Script, by, people, persons},
};
use crate::{
    claim::{ClaimRequest, Holder, Refusal},
    destination::DestinationErrorKind,
    run::RunError,
    stream::WinnerRule,
};

pub(super) fn request(run_id: &str) -> ClaimRequest {
    ClaimRequest {
        integration_id: INTEGRATION.to_owned(),
        source_fingerprint: "contract:1".to_owned(),
        holder: Holder::current(run_id),
        run_id: run_id.to_owned(),
        lease: TimeDelta::minutes(10),
        take_over: false,
        accept_source_change: false,
        start_date: Some("2025-01-01T00:00:00Z".to_owned()),
        reset_start_date: false,
    }
}

fn load(name: &str) -> Script {
    let schema = people(WinnerRule::Sequence);
    Script::new()
        .schema(&schema)
        .rows(persons(&schema, &[("a", "2026-02-01T08:00:00Z", name, &[])]))
}

/// While a run holds the schema another one is refused, and told by whom; it may take over if it insists.
pub async fn refuses_a_claimed_schema(subject: &dyn Subject) {
    let destination = subject.destination();
    let first = destination.claim(&request("first")).await.expect("a new schema can be claimed");
    assert_eq!(first.start_date.as_deref(), Some("2025-01-01T00:00:00Z"));
    let error = destination.claim(&request("second")).await.expect_err("it is held");
    assert!(matches!(&error.kind, DestinationErrorKind::Claim(Refusal::Held { .. })), "{error:?}");
    assert!(error.to_string().contains("first"), "the holder is named: {error}");
    let failure =
        load("refused").run(subject.destination()).await.expect_err("a run is refused as well");
    assert!(matches!(failure.error, RunError::Destination(_)));
    assert_eq!(subject.rows("people").await, None, "and does nothing");

    // Another attempt at the run that holds it.
    let again = destination.claim(&request("first")).await.expect("it is the same run");
    assert!(again.token > first.token);
    let error = destination.renew(&first).await.expect_err("its former attempt is out");
    assert_eq!(error.kind, DestinationErrorKind::Fenced);

    let mut insistent = request("second");
    insistent.take_over = true;
    insistent.start_date = Some("2026-01-01T00:00:00Z".to_owned());
    let second = destination.claim(&insistent).await.expect("it may insist");
    assert!(second.token > first.token);
    assert_eq!(
        second.start_date.as_deref(),
        Some("2026-01-01T00:00:00Z"),
        "a start date counts from the first row on, and can be mended until then"
    );
    assert_eq!(second.unreleased.as_ref().map(|holder| holder.run_id.as_str()), Some("first"));
    assert_eq!(
        destination.renew(&first).await.expect_err("it was overtaken").kind,
        DestinationErrorKind::Fenced
    );
    destination.release(&first).await.expect("letting go of what is lost does nothing");
    assert!(destination.claim(&request("third")).await.is_err(), "the second still holds it");
    destination.release(&second).await.expect("it can be released");
    let third = destination.claim(&request("third")).await.expect("it is free again");
    assert!(third.unreleased.is_none());
}

/// A run that was overtaken commits nothing: neither rows nor bookmarks.
pub async fn commits_nothing_when_overtaken(subject: &dyn Subject) {
    load("before").bookmark("people", "2026-02-01T08:00:00Z").succeed(subject.destination()).await;
    let destination = subject.destination();
    let first = destination.claim(&request("first")).await.expect("it is free");
    let mut insistent = request("second");
    insistent.take_over = true;
    insistent.start_date = Some("2026-01-01T00:00:00Z".to_owned());
    let second = destination.claim(&insistent).await.expect("it may insist");
    assert_eq!(second.start_date, first.start_date, "the start date of a filled schema stays");
    insistent.reset_start_date = true;
    let third = subject.destination().claim(&insistent).await.expect("it takes over");
    assert_eq!(third.start_date, insistent.start_date, "unless it is reset");

    let memory = first.memory.clone();
    let mut transaction = destination.begin(&first).await.expect("a transaction can be opened");
    let states =
        [(crate::stream::StreamName::from("people"), json!("moved"))].into_iter().collect();
    transaction.bookmark(&states).await.expect("it can be written");
    let error = transaction.fence(&first, &memory).await.expect_err("the token is old");
    assert_eq!(error.kind, DestinationErrorKind::Fenced);
    transaction.rollback().await.expect("it can be rolled back");

    let states = destination.states().await.expect("states can be read");
    let people = states.iter().find(|row| row.stream == "people").expect("there is a bookmark");
    assert_ne!(people.state, Some(json!("moved")));
    destination.release(&third).await.expect("it can be released");
    load("after").succeed(subject.destination()).await;
    assert_eq!(by("id", subject.rows("people").await)["a"]["fullName"], json!("after"));
}

/// A schema belongs to one integration and one source account, from its first row on: a run that brought nothing leaves
/// no mark.
pub async fn refuses_another_integration_and_another_source(subject: &dyn Subject) {
    let mut mistaken = Script::new();
    mistaken.fingerprint = "contract:mistyped".to_owned();
    mistaken.succeed(subject.destination()).await;
    load("mine").succeed(subject.destination()).await;
    let other = load("theirs").with(|options| options.integration_id = "Other".to_owned());
    let failure = other.run(subject.destination()).await.expect_err("the schema has an owner");
    assert!(failure.to_string().contains(INTEGRATION), "the owner is named: {failure}");

    let elsewhere = || {
        let mut script = load("elsewhere");
        script.fingerprint = "contract:2".to_owned();
        script
    };
    let failure =
        elsewhere().run(subject.destination()).await.expect_err("its rows come from elsewhere");
    let RunError::Destination(error) = &failure.error else { panic!("unexpected: {failure:?}") };
    assert_eq!(error.kind, DestinationErrorKind::Claim(Refusal::OtherSource));
    assert_eq!(by("id", subject.rows("people").await)["a"]["fullName"], json!("mine"));
    elsewhere()
        .with(|options| options.accept_source_change = true)
        .succeed(subject.destination())
        .await;
    elsewhere().succeed(subject.destination()).await;
    assert_eq!(by("id", subject.rows("people").await)["a"]["fullName"], json!("elsewhere"));
}

/// A claim whose process is dead doesn't wait for its lease, and the books of its run are settled.
pub async fn settles_the_books_of_a_killed_run(subject: &dyn Subject) {
    load("before").succeed(subject.destination()).await;
    let mut killed = request("killed");
    killed.holder.incarnation = killed.holder.incarnation.rsplit_once('/').map_or_else(
        || panic!("the incarnation has a start time"),
        |(place, _)| format!("{place}/1"),
    );
    subject.destination().claim(&killed).await.expect("it is free");
    let report = load("after").succeed(subject.destination()).await;
    let settled = report.settled.expect("there was something to settle");
    assert!(settled.predecessor.contains("killed"));
    assert!(settled.balances(), "{settled:?}");
    assert!(settled.tables.iter().any(|table| table.table == "people" && table.in_table == 1));
}
