//! Runs that follow one another, and runs that die.

use std::collections::BTreeMap;

use bronto_sim::{Mutation, SimConfig};
use replication::{event::Event, source::SourceErrorKind};
use serde_json::json;
use tap_bronto::{BrontoStream, IdScheme, SelectedStream, TapConfig};

use crate::{
    account::{Account, Next, TABLES},
    table::Tables,
};

const CHANGES: Mutation = Mutation {
    contacts: 30,
    activities: 40,
    unsubscribes: 10,
    lists: 5,
    contacts_removed: 0,
    unsubscribes_removed: 0,
    advance_seconds: 600,
};

#[tokio::test]
async fn a_second_run_after_changes_makes_the_new_truth() {
    let account = Account::start(&[]).await;
    let first = account.run(&BTreeMap::new()).await;
    let mut tables = Tables::of(&first);
    account.server.mutate(&CHANGES);
    account.server.advance_seconds(600);
    let second = account.run(&first.states).await;
    tables.clear("list");
    tables.apply(second.rows);
    tables.assert_true(&account);
}

#[tokio::test]
async fn a_run_with_nothing_new_reads_little() {
    let account = Account::start(&[]).await;
    let first = account.run(&BTreeMap::new()).await;
    let again = account.run(&first.states).await;
    let incremental =
        again.rows.iter().filter(|(stream, _)| stream != "list" && !stream.ends_with("activity"));
    assert_eq!(incremental.count(), 0);
    // Logins, the overlap of activities, and the lists.
    assert!(again.requests() <= 15, "{}", again.requests());
    for stream in ["contact", "unsubscribe"] {
        assert_eq!(first.states[&stream.into()], again.states[&stream.into()]);
    }
    let versions =
        [&first, &again].map(|run| run.states[&"list".into()]["version"].as_i64().unwrap());
    assert!(versions[0] < versions[1]);
}

#[tokio::test]
async fn late_activities_are_caught() {
    let account = Account::start(&[("late_arrivals", "36000")]).await;
    let first = account.run(&BTreeMap::new()).await;
    let mut tables = Tables::of(&first);
    // A day later all have arrived, and the whole look-back is due.
    account.server.advance_seconds(25 * 3600);
    let second = account.run(&first.states).await;
    tables.apply(second.rows);
    for stream in ["inbound_activity", "outbound_activity"] {
        tables.assert_stream_true(&account, stream);
    }
}

#[tokio::test]
async fn a_run_killed_anywhere_loses_nothing() {
    let config = SimConfig {
        contacts: 300,
        inbound: 400,
        outbound: 300,
        unsubscribes: 60,
        ..SimConfig::default()
    };
    let account = Account::of(config, &[("page_maximum", "60")]).await;
    for events in [1, 3, 6, 10, 15, 22, 30, 45, 60, 90] {
        let killed = account.run_with(account.config(), &BTreeMap::new(), events).await.unwrap();
        let mut tables = Tables::of(&killed);
        let rest = account.run(&killed.states).await;
        tables.clear("list");
        tables.apply(rest.rows);
        for (stream, _) in TABLES {
            tables.assert_stream_true(&account, stream);
        }
    }
}

#[tokio::test]
async fn bookmarks_never_pass_what_was_sent() {
    let account = Account::start(&[]).await;
    for events in [5, 12, 20, 35] {
        let killed = account.run_with(account.config(), &BTreeMap::new(), events).await.unwrap();
        for (stream, column) in [("contact", "modified"), ("unsubscribe", "created")] {
            let state = killed.states.get(&stream.into());
            let Some(bookmark) = state.and_then(|state| state["last_record"].as_str()) else {
                continue;
            };
            let bookmark = crate::account::at(bookmark);
            let sent = Tables::of(&killed).lines(stream);
            let due = crate::table::truth(&account, stream);
            let due: Vec<_> = due
                .into_iter()
                .filter(|line| {
                    let row: serde_json::Value = serde_json::from_str(line).unwrap();
                    crate::account::at(row[column].as_str().unwrap()) < bookmark
                })
                .collect();
            assert!(due.iter().all(|line| sent.binary_search(line).is_ok()), "{stream}");
        }
    }
}

#[tokio::test]
async fn another_way_of_making_ids_needs_a_reset() {
    let account = Account::start(&[]).await;
    let first = account.run(&BTreeMap::new()).await;
    let config = TapConfig { activity_id: IdScheme::Compatible, ..account.config() };
    let error = account.run_with(config.clone(), &first.states, usize::MAX).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Configuration);
    // A reset of the two streams is enough.
    let mut states = first.states;
    states.retain(|stream, _| !stream.as_str().ends_with("activity"));
    let run = account.run_with(config, &states, usize::MAX).await.unwrap();
    assert!(run.failed.is_empty());
    assert_eq!(run.states[&"inbound_activity".into()]["activity_id"], "compatible");
}

#[tokio::test]
async fn a_bookmark_in_the_future_is_not_believed() {
    let account = Account::start(&[]).await;
    let state = json!({"field": "modified", "last_record": "2026-11-24T03:00:00Z"});
    let run = account.run(&BTreeMap::from([("contact".into(), state)])).await;
    let bookmark = run.states[&"contact".into()]["last_record"].as_str().unwrap().to_owned();
    assert!(crate::account::at(&bookmark) < account.server.now(), "{bookmark}");
}

#[tokio::test]
async fn one_failing_stream_does_not_stop_the_others() {
    let account = Account::start(&[("fail_next", "104:1:readUnsubscribes")]).await;
    let run = account.run_with(account.config(), &BTreeMap::new(), usize::MAX).await.unwrap();
    let failed: Vec<_> =
        run.failed.iter().map(|(stream, error)| (stream.as_str(), error.kind)).collect();
    assert_eq!(failed, [("unsubscribe", SourceErrorKind::Refused)]);
    assert!(!run.states.contains_key(&"unsubscribe".into()));
    for stream in ["contact", "inbound_activity", "outbound_activity", "list"] {
        Tables::of(&run).assert_stream_true(&account, stream);
    }
}

#[tokio::test]
async fn what_was_sent_before_an_interruption_is_counted() {
    let account = Account::start(&[("latency_ms", "150")]).await;
    // Contacts find, after two answers, that nothing can be read; the others are in the middle of their requests.
    let mut config = account.config();
    config.selection[0] =
        SelectedStream::with_columns(BrontoStream::Contact, ["no_such_field"]).unwrap();
    let mut counted = 0;
    let watch = |event| {
        if let Event::Batch(batch) = event {
            counted += batch.reading.requests;
        }
        Next::GoOn
    };
    account.drive(config, &BTreeMap::new(), watch).await.unwrap_err();
    let sent = account.server.stats().all_requests();
    assert!(counted >= sent, "{counted} of {sent} are in the account");
}

#[tokio::test]
async fn a_stream_that_waits_for_its_turn_sends_nothing_after_the_stop() {
    let account = Account::start(&[]).await;
    // Contacts come first, whatever the order of the selection.
    let selection = [BrontoStream::Unsubscribe, BrontoStream::Contact].map(SelectedStream::all);
    let config = TapConfig { selection: selection.to_vec(), concurrency: 1, ..account.config() };
    let outcome = account.drive(config, &BTreeMap::new(), |_| Next::Stop).await.unwrap();
    assert!(outcome.interrupted && outcome.failed.is_empty());
    assert_eq!(account.server.stats().requests_of("readUnsubscribes"), 0);
}

#[tokio::test]
async fn lists_of_nothing_but_rejects_are_read_to_their_end() {
    let account = Account::start(&[("absent_key_rate", "1"), ("page_maximum", "10")]).await;
    let selection = vec![SelectedStream::all(BrontoStream::List)];
    let config = TapConfig { selection, ..account.config() };
    let run = account.run_with(config, &BTreeMap::new(), usize::MAX).await.unwrap();
    assert!(run.failed.is_empty(), "{:?}", run.failed);
    assert_eq!((run.rows.len(), run.rejects.len()), (0, 25));
}
