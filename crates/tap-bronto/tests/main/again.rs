//! Spans that are read again: for somebody who wants to see them, and for a backfill.

use std::collections::{BTreeMap, BTreeSet};

use bronto_sim::{Mutation, SimConfig};
use replication::{source::Span, stream::StreamName};
use serde_json::{Map, Value};
use tap_bronto::{BrontoSource, BrontoStream, TapConfig};

use crate::{
    account::{Account, Run, TABLES, at},
    table::Tables,
};

fn span(from: &str, before: &str) -> Span {
    Span { from: at(from), before: at(before) }
}

/// The rows of a stream, each as text, by its replication key.
fn rows_of(run: &Run, stream: BrontoStream) -> impl Iterator<Item = &Map<String, Value>> {
    run.rows.iter().filter(move |(of, _)| of == stream.name()).map(|(_, row)| row)
}

fn keyed(row: &Map<String, Value>, stream: BrontoStream) -> chrono::DateTime<chrono::Utc> {
    at(row[stream.replication_key().unwrap()].as_str().unwrap())
}

#[tokio::test]
async fn only_the_spans_are_read_and_no_bookmark_moves() {
    let account = Account::start(&[]).await;
    let first = account.run(&BTreeMap::new()).await;
    let now = first.states[&"contact".into()]["last_record"].as_str().unwrap();
    let days = |from: i64, before: i64| Span {
        from: at(now) - chrono::TimeDelta::days(from),
        before: at(now) - chrono::TimeDelta::days(before),
    };
    let spans = vec![days(20, 18), days(9, 3), days(2, 1)];
    let asked: BTreeMap<_, _> =
        BrontoStream::ALL.into_iter().map(|stream| (stream, spans.clone())).collect();
    let source = BrontoSource::new(account.config()).unwrap().only(asked);
    let again = account.run_source(source, &first.states, usize::MAX).await.unwrap();
    assert!(again.failed.is_empty(), "{:?}", again.failed);
    assert_eq!((again.bookmarks, again.activated), (0, 0));
    for stream in BrontoStream::ALL {
        let is_asked = |row: &&Map<String, Value>| {
            stream == BrontoStream::List
                || spans.iter().any(|span| span.contains(keyed(row, stream)))
        };
        let text = |row: &Map<String, Value>| Value::Object(row.clone()).to_string();
        let due: BTreeSet<String> = rows_of(&first, stream).filter(is_asked).map(text).collect();
        let read: BTreeSet<String> = rows_of(&again, stream).map(text).collect();
        assert!(!due.is_empty(), "{} has something to read", stream.name());
        assert_eq!(read, due, "{}", stream.name());
    }
}

#[tokio::test]
async fn a_span_that_can_not_be_read_is_a_gap() {
    let account = Account::start(&[]).await;
    let stream = BrontoStream::InboundActivity;
    let asked =
        BTreeMap::from([(stream, vec![span("2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z")])]);
    let source = BrontoSource::new(account.config()).unwrap().only(asked);
    let run = account.run_source(source, &BTreeMap::new(), usize::MAX).await.unwrap();
    assert_eq!((run.rows.len(), run.gaps.len()), (0, 1));
    assert_eq!(
        (run.gaps[0].from, run.gaps[0].to),
        (at("2020-01-01T00:00:00Z"), at("2020-02-01T00:00:00Z"))
    );
}

/// A config whose first run leaves history behind.
fn late(account: &Account) -> TapConfig {
    let start = account.server.now() - chrono::TimeDelta::days(5);
    TapConfig { start_date: Some(start), ..account.config() }
}

/// The states after a run, with a backfill of all that came before.
fn backfill(account: &Account, run: &Run) -> BTreeMap<StreamName, Value> {
    let now = account.server.now();
    let span = Span { from: at("2025-11-01T00:00:00Z"), before: now - chrono::TimeDelta::days(4) };
    let source = BrontoSource::new(late(account)).unwrap();
    let mut states = run.states.clone();
    states.extend(source.with_backfill(&BrontoStream::ALL, &states, span).unwrap());
    assert!(source.with_backfill(&BrontoStream::ALL, &states, span).unwrap().is_empty());
    states
}

#[tokio::test]
async fn a_backfill_makes_the_table_whole_and_leaves_the_bookmark_alone() {
    let account = Account::start(&[]).await;
    let first = account.run_with(late(&account), &BTreeMap::new(), usize::MAX).await.unwrap();
    let states = backfill(&account, &first);
    let second = account.run_with(late(&account), &states, usize::MAX).await.unwrap();
    assert!(second.failed.is_empty(), "{:?}", second.failed);
    let mut tables = Tables::of(&first);
    tables.clear("list");
    tables.apply(second.rows.iter().cloned());
    for (stream, _) in TABLES {
        tables.assert_stream_true(&account, stream);
        let of = |run: &Run| run.states[&stream.into()].get("last_record").cloned();
        assert_eq!(of(&first), of(&second), "{stream}");
        assert!(second.states[&stream.into()].get("backfill").is_none(), "{stream}");
    }
    let gap = |run: &Run, stream: &str| run.gaps.iter().any(|gap| gap.stream.as_str() == stream);
    assert!(gap(&second, "inbound_activity") && gap(&second, "outbound_activity"));
}

#[tokio::test]
async fn a_backfill_that_is_killed_anywhere_is_gone_on_with_by_any_run() {
    let config = SimConfig {
        contacts: 300,
        inbound: 400,
        outbound: 300,
        unsubscribes: 60,
        ..SimConfig::default()
    };
    let account = Account::of(config, &[("page_maximum", "20")]).await;
    let first = account.run_with(late(&account), &BTreeMap::new(), usize::MAX).await.unwrap();
    account.server.mutate(&Mutation {
        contacts: 20,
        activities: 20,
        unsubscribes: 5,
        advance_seconds: 600,
        ..Mutation::default()
    });
    account.server.advance_seconds(600);
    let mut unfinished = 0;
    for events in [1, 4, 9, 16, 25, 36, 60, 100] {
        let states = backfill(&account, &first);
        let killed = account.run_with(late(&account), &states, events).await.unwrap();
        let is_open = |state: &Value| state.get("backfill").is_some();
        unfinished += usize::from(killed.states.values().any(is_open));
        let rest = account.run_with(late(&account), &killed.states, usize::MAX).await.unwrap();
        assert!(rest.failed.is_empty(), "{:?}", rest.failed);
        let mut tables = Tables::of(&first);
        tables.apply(killed.rows);
        tables.clear("list");
        tables.apply(rest.rows);
        for (stream, _) in TABLES {
            tables.assert_stream_true(&account, stream);
        }
        assert!(!rest.states.values().any(is_open), "{:?}", rest.states);
    }
    assert!(unfinished >= 3, "only {unfinished} of the backfills were cut off");
}

#[tokio::test]
async fn what_is_new_does_not_wait_for_a_backfill() {
    let account = Account::start(&[("page_maximum", "5")]).await;
    let first = account.run_with(late(&account), &BTreeMap::new(), usize::MAX).await.unwrap();
    let known = at(first.states[&"unsubscribe".into()]["last_record"].as_str().unwrap());
    let span =
        Span { from: at("1990-01-01T00:00:00Z"), before: known - chrono::TimeDelta::days(4) };
    let source = BrontoSource::new(late(&account)).unwrap();
    let mut states = first.states.clone();
    states.extend(source.with_backfill(&[BrontoStream::Unsubscribe], &states, span).unwrap());
    let mutation = Mutation { unsubscribes: 7, advance_seconds: 60, ..Mutation::default() };
    let mut has_changed = false;
    let mut order = Vec::new();
    account
        .drive(late(&account), &states, |event| {
            match event {
                replication::event::Event::Bookmark(bookmark)
                    if bookmark.stream == Some("unsubscribe".into()) =>
                {
                    if bookmark.state.get("backfill").is_some() && !has_changed {
                        account.server.mutate(&mutation);
                        account.server.advance_seconds(600);
                        has_changed = true;
                    }
                    let reached = at(bookmark.state["last_record"].as_str().unwrap());
                    order.push((bookmark.state.get("backfill").is_some(), reached > known));
                }
                _ => {}
            }
            crate::account::Next::GoOn
        })
        .await
        .unwrap();
    let new_rows = order.iter().position(|(_, is_new)| *is_new).unwrap();
    let end = order.iter().rposition(|(is_open, _)| *is_open).unwrap();
    assert!(new_rows < end, "new rows came in between: {order:?}");
}

#[tokio::test]
async fn a_backfill_comes_past_a_second_in_which_very_much_was_changed() {
    let config = SimConfig { contacts: 1_000, ..SimConfig::default() };
    let account = Account::of(config, &[("page_maximum", "5")]).await;
    account.server.mutate(&Mutation { contacts: 800, advance_seconds: 60, ..Mutation::default() });
    account.server.advance_seconds(6 * 86_400);
    let first = account.run_with(late(&account), &BTreeMap::new(), usize::MAX).await.unwrap();
    assert_eq!(rows_of(&first, BrontoStream::Contact).count(), 0);
    let dense = densest(&account.run(&BTreeMap::new()).await);
    // Also from the second itself on, which leaves nothing before it by which the backfill could come on.
    for from in [dense, dense - chrono::TimeDelta::days(3)] {
        let source = BrontoSource::new(late(&account)).unwrap();
        let before = account.server.now() - chrono::TimeDelta::days(1);
        let mut states = first.states.clone();
        let backfill =
            source.with_backfill(&[BrontoStream::Contact], &states, Span { from, before });
        states.extend(backfill.unwrap());
        let run = account.run_with(late(&account), &states, 20_000).await.unwrap();
        assert!(run.states[&"contact".into()].get("backfill").is_none(), "it is complete");
        let read = rows_of(&run, BrontoStream::Contact)
            .filter(|row| keyed(row, BrontoStream::Contact) == dense)
            .count();
        assert!(read >= 800, "{read}");
    }
}

/// The second in which most contacts were modified.
fn densest(run: &Run) -> chrono::DateTime<chrono::Utc> {
    let mut seconds = BTreeMap::<_, usize>::new();
    for row in rows_of(run, BrontoStream::Contact) {
        *seconds.entry(keyed(row, BrontoStream::Contact)).or_default() += 1;
    }
    *seconds.iter().max_by_key(|(_, count)| **count).unwrap().0
}
