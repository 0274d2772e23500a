//! A server outside the model that extraction relies on: a run may fail, but never end well without all rows.

use std::collections::BTreeMap;

use bronto_sim::SimConfig;
use chrono::TimeDelta;
use replication::source::SourceErrorKind;
use tap_bronto::{BrontoStream, SelectedStream, TapConfig};

use crate::{
    account::{Account, Run},
    table::{Tables, truth},
};

/// Contacts and unsubscriptions on several pages of one window, from a server with these behaviours.
async fn start(behaviours: &[(&str, &str)]) -> (Account, TapConfig) {
    let config =
        SimConfig { contacts: 150, unsubscribes: 150, lists: 200, days: 1, ..SimConfig::default() };
    let account = Account::of(config, behaviours).await;
    let streams = [BrontoStream::Contact, BrontoStream::Unsubscribe, BrontoStream::List];
    let config = TapConfig {
        start_date: Some(account.server.now() - TimeDelta::seconds(86_400 + 600)),
        selection: streams.map(SelectedStream::all).into(),
        ..account.config()
    };
    (account, config)
}

/// How many streams have failed loudly, after a look that the others are whole.
fn noticed(account: &Account, run: &Run, what: &str) -> usize {
    for (stream, error) in &run.failed {
        assert_eq!(error.kind, SourceErrorKind::Unsound, "{stream}: {error:?}");
    }
    for stream in ["contact", "unsubscribe", "list"] {
        if run.failed.iter().all(|(failed, _)| failed != stream) {
            let (found, truth) = (Tables::of(run).lines(stream), truth(account, stream));
            assert!(found == truth, "{what}: {} of {} {stream} rows", found.len(), truth.len());
        }
    }
    run.failed.len()
}

#[tokio::test]
async fn another_order_or_page_size_in_every_request_is_noticed() {
    let mut failures = 0;
    for unsteady in ["order", "sizes"] {
        for pages in ["60", "40", "25"] {
            let behaviours = [("page_maximum", pages), ("unsteady_paging", unsteady)];
            let (account, config) = start(&behaviours).await;
            let run = account.run_with(config, &BTreeMap::new(), usize::MAX).await.unwrap();
            failures += noticed(&account, &run, &format!("{unsteady}, pages of {pages}"));
        }
    }
    assert!(failures >= 12, "{failures}");
}

#[tokio::test]
async fn lists_that_are_removed_between_pages_are_noticed_or_do_no_harm() {
    for removed in ["1", "3", "15"] {
        let behaviours = [("page_maximum", "10"), ("remove_lists_between_pages", removed)];
        let (account, config) = start(&behaviours).await;
        let run = account.run_with(config, &BTreeMap::new(), usize::MAX).await.unwrap();
        noticed(&account, &run, removed);
    }
}

/// Reads three pages of contacts in one window, from a server that behaves otherwise once it has served so many rows.
async fn read_while_changing(rows: u64, name: &str, value: &str) -> (Account, Run) {
    let config = SimConfig { contacts: 150, days: 1, ..SimConfig::default() };
    // The pause is for the change to happen between two answers.
    let behaviours = [("page_maximum", "60"), ("latency_ms", "5"), ("row_order", "ascending")];
    let account = Account::of(config, &behaviours).await;
    let config = TapConfig {
        start_date: Some(account.server.now() - TimeDelta::seconds(86_400 + 600)),
        selection: vec![SelectedStream::all(BrontoStream::Contact)],
        ..account.config()
    };
    let change = async {
        while account.server.stats().rows.get("contact").is_none_or(|served| *served < rows) {
            tokio::task::yield_now().await;
        }
        account.server.set_behaviour(name, value).unwrap();
        std::future::pending::<()>().await;
    };
    let states = BTreeMap::new();
    let run = tokio::select! {
        run = account.run_with(config, &states, usize::MAX) => run.unwrap(),
        () = change => unreachable!("it waits for ever"),
    };
    (account, run)
}

#[tokio::test]
async fn contacts_in_another_order_or_on_smaller_pages_are_noticed() {
    let changes = [
        ("row_order", "shuffled"),
        ("row_order", "descending"),
        ("page_maximum", "20"),
        ("page_maximum", "100"),
    ];
    let mut noticed = 0;
    for (name, value) in changes {
        // During the probe for the end, and after each of the pages.
        for rows in [1, 61, 91, 151, 211] {
            let (account, run) = read_while_changing(rows, name, value).await;
            match run.failed.first() {
                Some((_, error)) => {
                    assert_eq!(error.kind, SourceErrorKind::Unsound, "{error:?}");
                    noticed += 1;
                }
                None => {
                    let found = Tables::of(&run).lines("contact");
                    let is_whole = found == truth(&account, "contact");
                    assert!(is_whole, "{name}={value} after {rows} rows: {} found", found.len());
                }
            }
        }
    }
    assert!(noticed >= 6, "{noticed}");
}
