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
