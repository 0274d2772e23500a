//! A first run reads the whole account, value for value.

use std::collections::{BTreeMap, BTreeSet};

use bronto_sim::SimConfig;
use tap_bronto::{BrontoStream, NumberForm, SelectedStream, TapConfig};

use crate::{
    account::{Account, at},
    table::Tables,
};

#[tokio::test]
async fn every_row_and_value_arrives() {
    let account = Account::start(&[]).await;
    let run = account.run(&BTreeMap::new()).await;
    Tables::of(&run).assert_true(&account);
    assert!(run.rejects.is_empty());
    assert_eq!(run.activated, 1, "the lists' version");
    // Each row has a sequence of its own, though five streams read at once.
    let sequences: BTreeSet<_> = run.sequences.iter().collect();
    assert_eq!(sequences.len(), run.sequences.len());
}

#[tokio::test]
async fn rows_come_once_and_requests_are_few() {
    let account = Account::start(&[]).await;
    let run = account.run(&BTreeMap::new()).await;
    let lines: BTreeSet<_> =
        run.rows.iter().map(|(stream, row)| format!("{stream} {row:?}")).collect();
    assert_eq!(lines.len(), run.rows.len(), "nothing is emitted twice");
    let repeated: u64 = run.readings.values().map(|reading| reading.repeated).sum();
    assert!(repeated < run.rows.len() as u64 / 20, "little is read twice: {repeated}");
    // Five logins, and a handful of windows per stream.
    assert!(run.requests() < 70, "{}", run.requests());
    assert_eq!(run.requests(), account.server.stats().all_requests());
}

#[tokio::test]
async fn what_can_not_be_read_any_more_is_a_gap() {
    let account = Account::start(&[]).await;
    let run = account.run(&BTreeMap::new()).await;
    let streams: BTreeSet<_> = run.gaps.iter().map(|gap| gap.stream.as_str()).collect();
    assert_eq!(streams, BTreeSet::from(["inbound_activity", "outbound_activity"]));
    for gap in &run.gaps {
        assert_eq!(gap.from, at("2025-11-01T00:00:00Z"));
        assert_eq!((account.server.now() - gap.to).num_days(), 29);
    }
}

#[tokio::test]
async fn bookmarks_end_where_rows_have_settled() {
    let account = Account::start(&[]).await;
    let run = account.run(&BTreeMap::new()).await;
    let settled = account.server.now() - chrono::TimeDelta::seconds(120);
    let expected = settled.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    for stream in ["contact", "inbound_activity", "outbound_activity", "unsubscribe"] {
        assert_eq!(run.states[&stream.into()]["last_record"], expected.as_str(), "{stream}");
    }
    assert_eq!(run.states[&"contact".into()]["field"], "modified");
    assert_eq!(run.states[&"inbound_activity".into()]["activity_id"], "lossless-1");
}

#[tokio::test]
async fn a_large_burst_is_read_whole() {
    let config = SimConfig { contacts: 12_000, inbound: 14_000, days: 60, ..SimConfig::default() };
    let account = Account::of(config, &[("page_maximum", "700")]).await;
    let run = account.run(&BTreeMap::new()).await;
    Tables::of(&run).assert_true(&account);
}

#[tokio::test]
async fn only_what_is_selected_is_read_and_ids_stay_the_same() {
    let account = Account::start(&[]).await;
    let all = account.run(&BTreeMap::new()).await;
    let few =
        SelectedStream::with_columns(BrontoStream::InboundActivity, ["activityType"]).unwrap();
    let config = TapConfig { selection: vec![few], ..account.config() };
    let some = account.run_with(config, &BTreeMap::new(), usize::MAX).await.unwrap();
    let ids = |rows: &[(String, serde_json::Map<String, serde_json::Value>)]| -> BTreeSet<String> {
        rows.iter()
            .filter(|(stream, _)| stream == "inbound_activity")
            .map(|(_, row)| row["id"].to_string())
            .collect()
    };
    assert_eq!(ids(&all.rows), ids(&some.rows));
    let columns: BTreeSet<_> =
        some.rows.iter().flat_map(|(_, row)| row.keys().map(String::as_str)).collect();
    assert_eq!(columns, BTreeSet::from(["id", "createdDate", "activityType"]));
}

#[tokio::test]
async fn decimals_equal_the_lexemes() {
    let account = Account::start(&[]).await;
    let config = TapConfig {
        selection: vec![SelectedStream::all(BrontoStream::Contact)],
        numbers: NumberForm::Decimal,
        ..account.config()
    };
    let decimals = account.run_with(config, &BTreeMap::new(), usize::MAX).await.unwrap();
    let lexemes = account.run(&BTreeMap::new()).await;
    let totals = |rows: &[(String, serde_json::Map<String, serde_json::Value>)],
                  trim: bool|
     -> BTreeMap<String, String> {
        let contacts = rows.iter().filter(|(stream, _)| stream == "contact");
        contacts
            .filter_map(|(_, row)| {
                Some((row["id"].to_string(), row.get("totalRevenue")?.to_string()))
            })
            .map(|(id, text)| {
                let trimmed = text.trim_end_matches('0').trim_end_matches('.').to_owned();
                (id, if trim && text.contains('.') { trimmed } else { text })
            })
            .collect()
    };
    assert!(!totals(&decimals.rows, false).is_empty());
    assert_eq!(totals(&decimals.rows, false), totals(&lexemes.rows, true));
}

#[tokio::test]
async fn an_end_date_bounds_every_stream() {
    let account = Account::start(&[]).await;
    let end = at("2026-11-10T00:00:00Z");
    let config = TapConfig { end_date: Some(end), ..account.config() };
    let run = account.run_with(config, &BTreeMap::new(), usize::MAX).await.unwrap();
    for (stream, column) in
        [("contact", "modified"), ("inbound_activity", "createdDate"), ("unsubscribe", "created")]
    {
        let rows: Vec<_> = run.rows.iter().filter(|(name, _)| name == stream).collect();
        assert!(!rows.is_empty());
        assert!(rows.iter().all(|(_, row)| at(row[column].as_str().unwrap()) < end), "{stream}");
        assert_eq!(run.states[&stream.into()]["last_record"], "2026-11-10T00:00:00Z");
    }
}
