//! Failures, ordered and by chance.

use std::time::{Duration, Instant};

use bronto_sim::{DEFAULT_TOKEN, Table};

use crate::soap::{Client, start};

const LISTS: &str = "<filter/><pageNumber>1</pageNumber>";

#[tokio::test]
async fn ordered_faults_come_once_and_a_103_ends_the_session() {
    let (server, mut client) = start(&[("fail_next", "101:1,113:2,103:1")]).await;
    for code in [101, 113, 113, 103, 103] {
        let answer = client.call("readLists", LISTS).await;
        assert_eq!((answer.status, answer.fault()), (500, Some(code)));
    }
    client.log_in(DEFAULT_TOKEN).await;
    assert_eq!(client.call("readLists", LISTS).await.count(), 25);
    server.set_behaviour("fail_next", "108:1:login").unwrap();
    assert_eq!(client.call("readLists", LISTS).await.count(), 25);
    let token = format!("<apiToken>{DEFAULT_TOKEN}</apiToken>");
    assert_eq!(client.call("login", &token).await.fault(), Some(108));
    assert_eq!(client.call("login", &token).await.fault(), None);
    assert_eq!(server.stats().faults.get("113"), Some(&2));
}

#[tokio::test]
async fn ordered_transport_failures_come_in_every_kind() {
    let (server, client) = start(&[]).await;
    let envelope = client.envelope("readLists", LISTS);
    for (kind, status) in [
        ("http500", 500),
        ("http503", 503),
        ("html", 200),
        ("empty", 200),
        ("truncated", 200),
        ("deep", 200),
        ("redirect", 307),
    ] {
        server.set_behaviour("fail_next", &format!("{kind}:1")).unwrap();
        let answer = client.post(&envelope).await;
        assert_eq!(answer.status, status, "{kind}");
        let document = roxmltree::Document::parse(&answer.text);
        let is_soap = document.is_ok_and(|document| {
            document
                .root_element()
                .has_tag_name(("http://schemas.xmlsoap.org/soap/envelope/", "Envelope"))
        });
        assert!(!is_soap, "{kind}");
        assert_eq!(server.stats().faults.get(kind), Some(&1), "{kind}");
        assert_eq!(client.call("readLists", LISTS).await.count(), 25, "{kind} is over");
    }
    server.set_behaviour("fail_next", "reset:1").unwrap();
    let response = client.send(&envelope).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.text().await.is_err(), "the connection closes in the middle");
    assert_eq!(client.call("readLists", LISTS).await.count(), 25);
}

#[tokio::test]
async fn an_endless_body_can_be_left() {
    let (server, client) = start(&[("fail_next", "endless:1")]).await;
    let mut response = client.send(&client.envelope("readLists", LISTS)).await.unwrap();
    let mut seen = 0;
    while seen < 4 << 20 {
        seen += response.chunk().await.unwrap().unwrap().len();
    }
    drop(response);
    assert_eq!(
        Client::new(&server).fetch(&format!("{}/sim/stats", server.base_url())).await.status,
        200
    );
}

#[tokio::test]
async fn a_lost_answer_has_moved_the_cursor_on() {
    let (server, client) = start(&[("fail_next", "truncated:1")]).await;
    let read = |direction| client.activities(Table::InboundActivity, "", 1_000, direction);
    let first = read("FIRST").await;
    assert!(roxmltree::Document::parse(&first.text).is_err());
    assert_eq!(read("NEXT").await.count(), 500, "the first thousand are gone");
    assert_eq!(server.stats().rows.get("inbound_activity"), Some(&1_500));
}

#[tokio::test]
async fn chance_strikes_at_its_rate_and_the_same_way_each_time() {
    let behaviours = [("fault_113_rate", "0.3"), ("http_503_rate", "0.2")];
    let mut courses = Vec::new();
    for _ in 0..2 {
        let (server, client) = start(&[]).await;
        for (name, rate) in behaviours {
            server.set_behaviour(name, rate).unwrap();
        }
        let mut course = Vec::new();
        for _ in 0..60 {
            let answer = client.call("readLists", LISTS).await;
            course.push((answer.status, answer.fault()));
        }
        courses.push(course);
    }
    assert_eq!(courses[0], courses[1]);
    let count = |wanted| courses[0].iter().filter(|seen| **seen == wanted).count();
    assert!((5..35).contains(&count((500, Some(113)))));
    assert!((3..25).contains(&count((503, None))));
    assert!(count((200, None)) > 10);
}

#[tokio::test]
async fn sessions_die_after_their_calls_with_either_code() {
    for (code, text) in [(103, "103"), (107, "107")] {
        let behaviours = [("session_max_calls", "2"), ("stale_session_code", text)];
        let (_server, client) = start(&behaviours).await;
        assert_eq!(client.call("readLists", LISTS).await.count(), 25);
        assert_eq!(client.call("readLists", LISTS).await.count(), 25);
        assert_eq!(client.call("readLists", LISTS).await.fault(), Some(code));
    }
}

#[tokio::test]
async fn faults_can_come_without_detail_and_at_every_login() {
    let (server, client) = start(&[("fault_detail", "absent")]).await;
    let answer = client.call("readLists", "<filter/><pageNumber>0</pageNumber>").await;
    assert_eq!(answer.fault(), Some(106));
    assert!(!answer.text.contains("detail"));
    server.set_behaviour("login_fault", "111").unwrap();
    let token = format!("<apiToken>{DEFAULT_TOKEN}</apiToken>");
    for _ in 0..2 {
        let answer = client.call("login", &token).await;
        assert_eq!(answer.fault(), Some(111));
        assert!(answer.text.contains(DEFAULT_TOKEN), "this message names the token");
    }
}

#[tokio::test]
async fn answers_can_be_late_and_slow() {
    let (server, client) = start(&[]).await;
    for name in ["latency_ms", "slow_ms"] {
        server.set_behaviour(name, "150").unwrap();
        let asked = Instant::now();
        assert_eq!(client.call("readLists", LISTS).await.count(), 25);
        assert!(asked.elapsed() >= Duration::from_millis(150), "{name}");
        server.set_behaviour(name, "0").unwrap();
    }
}
