//! The endpoints under `/sim/`.

use std::collections::BTreeSet;

use bronto_sim::{Mutation, Stats, Table};
use serde_json::{Value, json};

use crate::soap::{Client, Row, assert_same, start};

async fn post(server: &bronto_sim::RunningServer, path: &str, body: &Value) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let address = format!("{}{path}", server.base_url());
    let response = client.post(address).body(body.to_string()).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn keyed(rows: Vec<Row>) -> std::collections::BTreeMap<String, Row> {
    rows.into_iter().map(|row| (row["id"].as_str().unwrap().to_owned(), row)).collect()
}

#[tokio::test]
async fn the_truth_is_served_as_json_lines() {
    let (server, client) = start(&[]).await;
    for table in Table::ALL {
        let address = format!("{}/sim/truth/{table}", server.base_url());
        let answer = client.fetch(&address).await;
        assert_eq!(answer.text, server.truth_lines(table));
    }
    let address = format!("{}/sim/truth/bounce", server.base_url());
    assert_eq!(client.fetch(&address).await.status, 404);
}

#[tokio::test]
async fn stats_count_calls_rows_faults_and_bytes() {
    let (server, client) = start(&[]).await;
    let answer = client.call("readLists", "<filter/><pageNumber>1</pageNumber>").await;
    client.call("readLists", "<filter/><pageNumber>0</pageNumber>").await;
    let address = format!("{}/sim/stats", server.base_url());
    let stats: Stats = serde_json::from_str(&client.fetch(&address).await.text).unwrap();
    assert_eq!(stats, server.stats());
    assert_eq!((stats.requests_of("login"), stats.requests_of("readLists")), (1, 2));
    assert_eq!(stats.rows.get("list"), Some(&25));
    assert_eq!(stats.faults.get("106"), Some(&1));
    assert_eq!(stats.sessions, 1);
    assert!(stats.bytes_out > answer.text.len() as u64);
}

#[tokio::test]
async fn a_mutation_changes_what_it_says_and_nothing_else() {
    let (server, client) = start(&[]).await;
    let before: Vec<Vec<Row>> = Table::ALL.iter().map(|table| server.truth(*table)).collect();
    server.advance_seconds(60);
    let wanted = json!({"contacts": 20, "activities": 9, "unsubscribes": 3, "lists": 3});
    let (status, text) = post(&server, "/sim/mutate", &wanted).await;
    assert_eq!(status, 200, "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    let now = "2026-11-23T13:01:00Z";
    assert_eq!(report["now"], now);
    let names = |key: &str| -> BTreeSet<String> {
        let ids = report[key].as_array().unwrap();
        ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    };

    let (old, new) = (keyed(before[0].clone()), keyed(server.truth(Table::Contact)));
    let changed: BTreeSet<String> =
        old.iter().filter(|(id, row)| new[*id] != **row).map(|(id, _)| id.clone()).collect();
    let added: BTreeSet<String> = new.keys().filter(|id| !old.contains_key(*id)).cloned().collect();
    assert_eq!((&changed, &added), (&names("contacts_changed"), &names("contacts_added")));
    assert_eq!((changed.len(), added.len()), (16, 4));
    assert!(changed.iter().chain(&added).all(|id| new[id]["modified"] == now));
    let kept = |column: &str| changed.iter().all(|id| old[id].get(column) == new[id].get(column));
    assert!(kept("created") && kept("email"));

    for (table, column, count) in [
        (Table::Unsubscribe, "created", 3),
        (Table::InboundActivity, "createdDate", 5),
        (Table::OutboundActivity, "createdDate", 4),
    ] {
        let old = &before[Table::ALL.iter().position(|each| *each == table).unwrap()];
        let (new, older): (Vec<Row>, Vec<Row>) =
            server.truth(table).into_iter().partition(|row| row[column] == now);
        assert_eq!(new.len(), count, "{table}");
        assert_same(table.name(), older, old.clone());
    }

    let (old, new) = (keyed(before[1].clone()), keyed(server.truth(Table::List)));
    let renamed = names("lists_renamed");
    assert!(renamed.iter().all(|id| old[id]["name"] != new[id]["name"]) && renamed.len() == 1);
    assert!(names("lists_added").iter().all(|id| !old.contains_key(id) && new.contains_key(id)));
    assert!(names("lists_removed").iter().all(|id| old.contains_key(id) && !new.contains_key(id)));
    for table in Table::ALL {
        assert_same(table.name(), client.whole(table).await, server.truth(table));
    }
}

#[tokio::test]
async fn what_is_removed_comes_no_more() {
    let (server, client) = start(&[]).await;
    let before = [Table::Contact, Table::Unsubscribe].map(|table| server.truth(table));
    let wanted = json!({"contacts_removed": 7, "unsubscribes_removed": 2});
    let (status, text) = post(&server, "/sim/mutate", &wanted).await;
    assert_eq!(status, 200, "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    let removed: BTreeSet<&str> =
        report["contacts_removed"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!((removed.len(), &report["unsubscribes_removed"]), (7, &json!(2)));
    // Nobody comes back by being changed.
    let changed: Value = {
        let (_, text) = post(&server, "/sim/mutate", &json!({"contacts": 60})).await;
        serde_json::from_str(&text).unwrap()
    };
    let mut touched = changed["contacts_changed"].as_array().unwrap().iter();
    assert!(touched.all(|id| !removed.contains(id.as_str().unwrap())));
    let contacts = keyed(server.truth(Table::Contact));
    let added = changed["contacts_added"].as_array().unwrap().len();
    assert_eq!(contacts.len(), before[0].len() - 7 + added);
    assert!(removed.iter().all(|id| !contacts.contains_key(*id)));
    assert_eq!(server.truth(Table::Unsubscribe).len(), before[1].len() - 2);
    for table in Table::ALL {
        assert_same(table.name(), client.whole(table).await, server.truth(table));
    }
}

#[tokio::test]
async fn the_clock_can_be_moved_both_ways_and_dates_every_answer() {
    let (server, client) = start(&[]).await;
    let date =
        |response: reqwest::Response| response.headers()["date"].to_str().unwrap().to_owned();
    let envelope = client.envelope("readLists", "<filter/><pageNumber>1</pageNumber>");
    let response = client.send(&envelope).await.unwrap();
    assert_eq!(date(response), "Mon, 23 Nov 2026 13:00:00 GMT");
    post(&server, "/sim/mutate", &json!({"advance_seconds": 61})).await;
    let response = client.send("not XML").await.unwrap();
    assert_eq!(date(response), "Mon, 23 Nov 2026 13:01:01 GMT");
    post(&server, "/sim/mutate", &json!({"advance_seconds": -3_600})).await;
    let response = client.send(&envelope).await.unwrap();
    assert_eq!(date(response), "Mon, 23 Nov 2026 12:01:01 GMT");
}

#[tokio::test]
async fn behaviours_change_while_the_server_runs() {
    let (server, client) = start(&[]).await;
    let read = || client.call("readLists", "<filter/><pageNumber>1</pageNumber>");
    let (status, text) = post(&server, "/sim/behaviours", &json!({"page_maximum": 7})).await;
    assert_eq!(status, 200);
    let values: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(values["page_maximum"], "7");
    assert_eq!(values["compression"], "off");
    assert_eq!(read().await.count(), 7);
    let (status, text) = post(&server, "/sim/behaviours", &json!({"colour": "red"})).await;
    assert_eq!(status, 400);
    assert!(text.starts_with("There is no behaviour `colour`"));
    let (status, _) = post(&server, "/sim/mutate", &json!({"contakts": 1})).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_server_answers_while_its_owner_blocks_and_stops_when_dropped() {
    let (server, _client) = start(&[]).await;
    let address = server.address();
    let blocking = std::net::TcpStream::connect(address);
    assert!(blocking.is_ok());
    server.mutate(&Mutation { contacts: 1, ..Mutation::default() });
    let again = Client::new(&server);
    server.shutdown().await;
    assert!(again.send("<a/>").await.is_err());
}

#[tokio::test]
async fn custom_fields_change_and_contents_follow() {
    let (server, client) = start(&[]).await;
    server.advance_seconds(60);
    let text_of = |contact: &Row, id: &str| {
        let fields = contact.get("fields")?.as_array()?;
        let field = fields.iter().find(|field| field["fieldId"] == id)?;
        field["content"].as_str().map(str::to_owned)
    };
    let id_of = |name: &str| {
        let fields = server.custom_fields();
        fields.into_iter().find(|field| field.name == name).map(|field| field.id)
    };
    let points = id_of("loyalty_points").unwrap();
    let before = keyed(server.truth(Table::Contact));
    let changes = json!([
        {"add": {"name": "Email", "type": "date"}},
        {"rename": {"name": "loyalty_points", "to": "points"}},
        {"retype": {"name": "points", "type": "textarea"}},
        {"remove": {"name": "affinity"}},
    ]);
    let affinity = id_of("affinity").unwrap();
    let (status, text) = post(&server, "/sim/fields", &changes).await;
    let ids: Vec<String> = serde_json::from_str(&text).unwrap();
    let added = id_of("Email").unwrap();
    assert_eq!((status, ids), (200, vec![added.clone(), points.clone(), points.clone(), affinity]));
    assert_eq!(id_of("points"), Some(points.clone()));
    assert_eq!((id_of("affinity"), server.custom_fields().len()), (None, 12));
    // Nobody was modified, so nobody has anything new; what was removed is gone everywhere.
    let after = keyed(server.truth(Table::Contact));
    assert!(after.values().all(|contact| text_of(contact, &added).is_none()));
    assert!(after.iter().all(|(id, row)| text_of(row, &points) == text_of(&before[id], &points)));

    server.mutate(&Mutation { contacts: 1_000, ..Mutation::default() });
    let after = server.truth(Table::Contact);
    assert!(after.iter().any(|contact| text_of(contact, &added).is_some()));
    let is_text = |text: String| !text.is_empty() && text.parse::<u64>().is_err();
    assert!(after.iter().filter_map(|contact| text_of(contact, &points)).any(is_text));
    assert_same("contact", client.whole(Table::Contact).await, after);

    let refused = json!([{"add": {"name": "x", "type": "text"}}, {"remove": {"name": "affinity"}}]);
    let (status, text) = post(&server, "/sim/fields", &refused).await;
    assert_eq!((status, text.as_str()), (400, "There is no custom field `affinity`\n"));
    assert_eq!(id_of("x"), None, "all or none");
}
