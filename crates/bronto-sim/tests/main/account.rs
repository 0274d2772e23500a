//! The account: the same every time, like a real one, and with partners for every join.

use std::collections::{BTreeMap, BTreeSet};

use bronto_sim::{RunningServer, Server, SimConfig, Table};
use serde_json::Value;

use crate::soap::{Row, config};

fn small() -> SimConfig {
    SimConfig { contacts: 500, ..config() }
}

async fn served(config: SimConfig) -> RunningServer {
    Server::start(config).await.unwrap()
}

fn texts(rows: &[Row], column: &str) -> BTreeSet<String> {
    rows.iter()
        .filter_map(|row| row.get(column))
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn the_same_configuration_gives_the_same_bytes() {
    let (first, again) = (served(small()).await, served(small()).await);
    let other = served(SimConfig { seed: 2, ..small() }).await;
    for table in Table::ALL {
        assert_eq!(first.truth_lines(table), again.truth_lines(table), "{table}");
        assert_ne!(first.truth_lines(table), other.truth_lines(table), "{table}");
    }
}

#[tokio::test]
async fn every_join_finds_rows_in_a_small_account() {
    let server = served(small()).await;
    let (inbound, outbound) =
        (server.truth(Table::InboundActivity), server.truth(Table::OutboundActivity));
    let joins = |left: &[Row], left_column: &str, right: &[Row], right_column: &str| {
        texts(left, left_column).intersection(&texts(right, right_column)).count()
    };
    let (contacts, lists) = (server.truth(Table::Contact), server.truth(Table::List));
    for activities in [&inbound, &outbound] {
        assert!(joins(&contacts, "id", activities, "contactId") > 0);
        assert!(joins(&lists, "id", activities, "listId") > 0);
    }
    for column in [
        "contactId",
        "deliveryId",
        "listId",
        "keywordId",
        "messageId",
        "orderId",
        "segmentId",
        "workflowId",
    ] {
        assert!(joins(&inbound, column, &outbound, column) > 0, "{column}");
    }
}

#[tokio::test]
async fn references_point_to_what_exists() {
    let server = served(small()).await;
    let contacts = texts(&server.truth(Table::Contact), "id");
    let lists = texts(&server.truth(Table::List), "id");
    for table in [Table::InboundActivity, Table::OutboundActivity, Table::Unsubscribe] {
        let rows = server.truth(table);
        assert!(texts(&rows, "contactId").is_subset(&contacts), "{table}");
        assert!(texts(&rows, "listId").is_subset(&lists), "{table}");
    }
}

#[tokio::test]
async fn an_account_has_the_troubles_of_a_real_one() {
    let server = served(SimConfig { contacts: 3_000, unsubscribes: 400, ..config() }).await;
    let contacts = server.truth(Table::Contact);
    let has = |column: &str| contacts.iter().filter(|row| row.contains_key(column)).count();
    assert!((50..300).contains(&(contacts.len() - has("email"))), "some have no address");
    for column in
        ["listIds", "segmentIds", "SMSKeywordIDs", "fields", "customSource", "totalRevenue"]
    {
        assert!((1..contacts.len()).contains(&has(column)), "{column} is sparse");
    }
    let deleted = contacts.iter().filter(|row| row["deleted"] == true).count();
    assert!(deleted > 0);
    let all = server.truth_lines(Table::Contact);
    for sample in ["&", "<", "é", "さ", "Ш", "ل", "🛒", "\\n"] {
        assert!(all.contains(sample), "no {sample} anywhere");
    }

    let inbound = server.truth_lines(Table::InboundActivity);
    let mut seen = BTreeSet::new();
    assert!(inbound.lines().any(|line| !seen.insert(line)), "rows alike in every field");
    assert!(inbound.lines().any(|line| line.len() > 2_500), "long links");
    let mut per_second: BTreeMap<&str, usize> = BTreeMap::new();
    let outbound = server.truth(Table::OutboundActivity);
    for row in &outbound {
        *per_second.entry(&row["createdDate"].as_str().unwrap()[..19]).or_default() += 1;
    }
    assert!(per_second.values().any(|count| *count >= 20), "bursts within one second");
}

#[tokio::test]
async fn some_unsubscribes_share_a_key_and_differ() {
    let server = served(small()).await;
    let mut by_key: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in server.truth(Table::Unsubscribe) {
        let key = ["contactId", "deliveryId", "created"].map(|column| row.get(column).cloned());
        let rest = ["method", "complaint"].map(|column| row.get(column).cloned());
        by_key.entry(format!("{key:?}")).or_default().insert(format!("{rest:?}"));
    }
    assert!(by_key.values().any(|rests| rests.len() > 1));
    assert!(by_key.keys().any(|key| key.contains("None")), "some have no delivery");
}

#[tokio::test]
async fn everything_lies_in_its_days_and_before_now() {
    let server = served(SimConfig { days: 90, ..small() }).await;
    let now = server.now();
    let within = |table: Table, column: &str, days: i64| {
        for row in server.truth(table) {
            let instant: chrono::DateTime<chrono::Utc> =
                row[column].as_str().unwrap().parse().unwrap();
            assert!(instant < now, "{table} {instant}");
            assert!(instant > now - chrono::Duration::days(days), "{table} {instant}");
        }
    };
    within(Table::Contact, "modified", 90);
    within(Table::Unsubscribe, "created", 90);
    within(Table::InboundActivity, "createdDate", 30);
    within(Table::OutboundActivity, "createdDate", 30);
}

#[tokio::test]
async fn an_empty_account_and_a_tiny_one_are_served() {
    let empty =
        SimConfig { contacts: 0, lists: 0, unsubscribes: 0, inbound: 0, outbound: 0, ..config() };
    let server = served(empty).await;
    assert!(Table::ALL.iter().all(|table| server.truth(*table).is_empty()));
    let tiny = SimConfig {
        days: 1,
        contacts: 0,
        lists: 0,
        unsubscribes: 5,
        inbound: 20,
        outbound: 0,
        ..config()
    };
    let server = served(tiny).await;
    assert_eq!(server.truth(Table::InboundActivity).len(), 20);
    assert_eq!(server.truth(Table::Unsubscribe).len(), 5);
}
