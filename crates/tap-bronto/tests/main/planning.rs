//! What it costs to read a range, and with how many workers.

use std::collections::{BTreeMap, BTreeSet};

use bronto_sim::{Mutation, SimConfig};
use chrono::TimeDelta;
use serde_json::json;
use tap_bronto::{BrontoStream, SelectedStream, TapConfig};

use crate::{
    account::{Account, Run, at},
    table::Tables,
};

async fn run_with(account: &Account, change: impl FnOnce(&mut TapConfig)) -> Run {
    let mut config = account.config();
    change(&mut config);
    let run = account.run_with(config, &BTreeMap::new(), usize::MAX).await.unwrap();
    assert!(run.failed.is_empty(), "{:?}", run.failed);
    run
}

fn only(stream: BrontoStream) -> Vec<SelectedStream> {
    vec![SelectedStream::all(stream)]
}

fn assert_nothing_came_twice(run: &Run) {
    let lines: BTreeSet<_> = run.rows.iter().map(|row| format!("{row:?}")).collect();
    assert_eq!(lines.len(), run.rows.len());
}

#[tokio::test]
async fn a_busy_month_takes_few_requests() {
    let config = SimConfig {
        contacts: 25_000,
        inbound: 50_000,
        outbound: 10,
        days: 28,
        ..SimConfig::default()
    };
    let account = Account::of(config, &[]).await;
    let start = account.server.now() - TimeDelta::days(29);
    let selection = [BrontoStream::Contact, BrontoStream::InboundActivity].map(SelectedStream::all);
    let run = run_with(&account, |config| {
        config.concurrency = 1;
        config.start_date = Some(start);
        config.selection = selection.into();
    })
    .await;
    let stats = account.server.stats();
    let (contacts, activities) =
        (stats.requests_of("readContacts"), stats.requests_of("readRecentInboundActivities"));
    assert!(contacts <= 20, "two per 2,500 rows: {contacts}");
    assert!(activities * 100 <= 10 * 115, "rows / 5000 and 15 %: {activities}");
    assert_eq!(run.requests(), stats.all_requests());
    assert_nothing_came_twice(&run);
}

#[tokio::test]
async fn an_idle_year_takes_few_requests_and_no_more_logins_than_streams() {
    let config =
        SimConfig { contacts: 0, unsubscribes: 0, inbound: 0, outbound: 0, ..SimConfig::default() };
    for sessions in [1, 8] {
        let account = Account::of(config.clone(), &[]).await;
        run_with(&account, |config| config.concurrency = sessions).await;
        let stats = account.server.stats();
        // A session that is given back serves the next stream.
        assert!(stats.sessions <= 5.min(sessions as u64), "{}", stats.sessions);
        assert!(stats.requests.values().all(|requests| *requests <= 40), "{:?}", stats.requests);
    }
}

#[tokio::test]
async fn a_run_with_nothing_new_asks_little_of_activities() {
    let account = Account::start(&[]).await;
    let first = account.run(&BTreeMap::new()).await;
    let before = account.server.stats();
    account.server.advance_seconds(600);
    let again = account.run(&first.states).await;
    let stats = account.server.stats();
    assert!(stats.sessions - before.sessions <= 4, "a session serves one stream after another");
    for read in ["readRecentInboundActivities", "readRecentOutboundActivities"] {
        let requests = stats.requests_of(read) - before.requests_of(read);
        assert!(requests <= 4, "and a login: {requests}");
    }
    let lookback = |run: &Run| run.states[&"inbound_activity".into()]["full_lookback_at"].clone();
    assert_eq!(lookback(&first), lookback(&again), "the full look-back comes once a day");
}

#[tokio::test]
async fn several_workers_share_a_busy_stream() {
    let config = SimConfig { contacts: 3_000, days: 28, ..SimConfig::default() };
    let account = Account::of(config, &[("page_maximum", "100")]).await;
    let run = run_with(&account, |config| {
        config.concurrency = 3;
        config.selection = only(BrontoStream::Contact);
    })
    .await;
    Tables::of(&run).assert_stream_true(&account, "contact");
    assert_nothing_came_twice(&run);
    assert_eq!(account.server.stats().sessions, 3);
}

#[tokio::test]
async fn a_second_with_very_many_contacts_is_read_whole() {
    let pages = ("page_maximum", "20");
    for leaving in ["0", "3"] {
        let config = SimConfig { contacts: 1_500, days: 1, ..SimConfig::default() };
        let account = Account::of(config, &[pages]).await;
        account.server.mutate(&Mutation { contacts: 1_875, ..Mutation::default() });
        account.server.advance_seconds(600);
        account.server.set_behaviour("mutate_between_pages", leaving).unwrap();
        let run = run_with(&account, |config| config.selection = only(BrontoStream::Contact)).await;
        assert_nothing_came_twice(&run);
        let requests = account.server.stats().requests_of("readContacts");
        // A page of 20 costs one request, and finding the second among all others some more.
        assert!(requests <= 1_875 / 20 * 4, "{requests}");
        account.server.set_behaviour("mutate_between_pages", "0").unwrap();
        account.server.advance_seconds(600);
        let rest = account.run(&run.states).await;
        let mut tables = Tables::of(&run);
        tables.apply(rest.rows);
        tables.assert_stream_true(&account, "contact");
    }
}

#[tokio::test]
async fn whole_days_of_many_contacts_are_read_about_once() {
    for zone in ["America/New_York", "Asia/Kolkata"] {
        let config = SimConfig { contacts: 6_000, days: 20, ..SimConfig::default() };
        let behaviours = [("date_operators", "day"), ("day_zone", zone), ("page_maximum", "50")];
        let account = Account::of(config, &behaviours).await;
        let start = account.server.now() - TimeDelta::days(21);
        let run = run_with(&account, |config| {
            config.concurrency = 2;
            config.start_date = Some(start);
            config.selection = only(BrontoStream::Contact);
        })
        .await;
        Tables::of(&run).assert_stream_true(&account, "contact");
        let served = account.server.stats().rows["contact"];
        assert!(served <= 2 * 6_000, "{zone}: {served} rows were served");
    }
}

#[tokio::test]
async fn the_python_taps_bookmark_is_read_from_earlier_once() {
    let account = Account::start(&[]).await;
    let all = account.run(&BTreeMap::new()).await;
    let bookmark = account.server.now() - TimeDelta::minutes(30);
    let text = bookmark.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let state = json!({"field": "modified", "last_record": text});
    let states = BTreeMap::from([("contact".into(), state)]);
    let modified = |run: &Run| -> BTreeSet<String> {
        let contacts = run.rows.iter().filter(|(stream, _)| stream == "contact");
        contacts.map(|(_, row)| row["modified"].as_str().unwrap().to_owned()).collect()
    };
    let run = account.run(&states).await;
    let mut due = modified(&all);
    due.retain(|date| at(date) >= bookmark - TimeDelta::hours(14));
    assert!(due.iter().any(|date| at(date) < bookmark), "some lie before the bookmark");
    assert_eq!(modified(&run), due);
    assert!(modified(&account.run(&run.states).await).is_empty());
}

#[tokio::test]
async fn requests_of_tries_that_failed_count() {
    let account = Account::start(&[("fail_next", "113:9:readUnsubscribes,101:3")]).await;
    let run = account.run_with(account.config(), &BTreeMap::new(), usize::MAX).await.unwrap();
    assert_eq!(run.failed.len(), 1, "{:?}", run.failed);
    assert_eq!(run.requests(), account.server.stats().all_requests());
}
