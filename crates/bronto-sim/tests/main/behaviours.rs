//! What the documentation leaves open: each reading can be switched on, and the truth follows it.

use std::time::{Duration, Instant};

use bronto_sim::{SimConfig, Table};

use crate::soap::{Row, assert_same, config, start, start_with};

#[tokio::test]
async fn a_patient_reader_gets_the_truth_under_every_reading() {
    for behaviours in [
        &[("returned_zone", "Z"), ("returned_fraction", "none")][..],
        &[("returned_zone", "none"), ("returned_fraction", "zeros")],
        &[("returned_zone", "Asia/Kolkata"), ("returned_fraction", "trimmed")],
        &[("returned_zone", "Europe/London"), ("returned_fraction", "micros")],
        &[("returned_fraction", "nanos"), ("whitespace", "indented")],
        &[("row_order", "descending"), ("page_maximum", "61")],
        &[("row_order", "shuffled"), ("page_maximum", "varying")],
        &[("page_maximum", "varying:40"), ("cursor_end", "empty"), ("empty_window", "empty")],
        &[("nil_rate", "0.4"), ("absent_optional_rate", "0.3"), ("absent_key_rate", "0.1")],
        &[("float_form", "java"), ("deleted_contacts", "hidden")],
        &[("float_form", "special"), ("compression", "on")],
        &[("window_end", "inclusive"), ("date_operators", "day"), ("cursor_scope", "session")],
    ] {
        let config = SimConfig { contacts: 150, inbound: 500, outbound: 400, ..config() };
        let (server, client) = start_with(config, behaviours).await;
        for table in Table::ALL {
            let name = format!("{table} under {behaviours:?}");
            assert_same(&name, client.whole(table).await, server.truth(table));
        }
    }
}

#[tokio::test]
async fn deleted_contacts_are_shown_or_hidden() {
    let (server, _client) = start_with(SimConfig { contacts: 2_000, ..config() }, &[]).await;
    let deleted = |rows: Vec<Row>| rows.iter().filter(|row| row["deleted"] == true).count();
    assert!(deleted(server.truth(Table::Contact)) > 0);
    server.set_behaviour("deleted_contacts", "hidden").unwrap();
    assert_eq!(deleted(server.truth(Table::Contact)), 0);
}

#[tokio::test]
async fn same_day_operators_take_instants_or_days() {
    let (server, client) = start(&[]).await;
    let truth = server.truth(Table::Contact);
    let noon = "2026-11-20T12:00:00-05:00";
    let parameters = format!(
        "<filter><modified><value>{noon}</value><operator>AfterOrSameDay</operator></modified>\
         </filter><pageNumber>1</pageNumber>"
    );
    let since = |instant: &str| {
        truth.iter().filter(|row| row["modified"].as_str().unwrap() >= instant).count()
    };
    let by_instant = client.call("readContacts", &parameters).await.count();
    assert_eq!(by_instant, since("2026-11-20T17:00:00"));
    server.set_behaviour("date_operators", "day").unwrap();
    let by_day = client.call("readContacts", &parameters).await.count();
    assert_eq!(by_day, since("2026-11-20T05:00:00"));
    server.set_behaviour("day_zone", "Pacific/Auckland").unwrap();
    let elsewhere = client.call("readContacts", &parameters).await.count();
    assert_eq!(elsewhere, since("2026-11-20T11:00:00"));
    assert!(by_day > by_instant);
}

#[tokio::test]
async fn the_ends_of_windows_belong_to_them_or_not() {
    let (server, client) = start(&[("returned_fraction", "none")]).await;
    let truth = server.truth(Table::Unsubscribe);
    let (start, end) = (&truth[40]["created"], &truth[80]["created"]);
    let (start, end) = (start.as_str().unwrap(), end.as_str().unwrap());
    let parameters = format!("<filter><start>{start}</start><end>{end}</end></filter>");
    for (start_bound, end_bound) in [
        ("inclusive", "exclusive"),
        ("inclusive", "inclusive"),
        ("exclusive", "exclusive"),
        ("exclusive", "inclusive"),
    ] {
        server.set_behaviour("window_start", start_bound).unwrap();
        server.set_behaviour("window_end", end_bound).unwrap();
        let expected = truth.iter().filter(|row| {
            let created = row["created"].as_str().unwrap();
            (created > start || (created == start && start_bound == "inclusive"))
                && (created < end || (created == end && end_bound == "inclusive"))
        });
        let rows = client.pages("readUnsubscribes", &parameters).await.concat();
        assert_same(&format!("{start_bound} {end_bound}"), rows, expected.cloned());
    }
}

#[tokio::test]
async fn empty_windows_and_missing_cursors_answer_as_told() {
    let (server, client) = start(&[]).await;
    let nothing = "<start>2026-11-23T12:59:59.5Z</start>";
    let read =
        |filter, direction| client.activities(Table::InboundActivity, filter, 1_000, direction);
    assert_eq!(read(nothing, "FIRST").await.fault(), Some(116));
    server.set_behaviour("empty_window", "empty").unwrap();
    let answer = read(nothing, "FIRST").await;
    assert_eq!((answer.fault(), answer.count()), (None, 0));
    assert_eq!(read("", "NEXT").await.fault(), Some(116), "the empty query is open");
    server.set_behaviour("cursor_scope", "session").unwrap();
    client.activities(Table::OutboundActivity, "", 1_000, "FIRST").await;
    for code in ["116", "113", "107"] {
        server.set_behaviour("next_without_cursor", code).unwrap();
        assert_eq!(read("", "NEXT").await.fault(), code.parse().ok());
    }
    server.set_behaviour("next_without_cursor", "empty").unwrap();
    let answer = read("", "NEXT").await;
    assert_eq!((answer.fault(), answer.count()), (None, 0));
}

#[tokio::test]
async fn an_own_fault_for_activity_sizes() {
    let (_server, client) = start(&[("activity_size_fault", "1203")]).await;
    let answer = client.activities(Table::OutboundActivity, "", 10, "FIRST").await;
    assert_eq!(answer.fault(), Some(1203));
}

#[tokio::test]
async fn pages_keep_to_their_maximum() {
    let (server, client) = start(&[("page_maximum", "64")]).await;
    let sizes = |pages: Vec<Vec<Row>>| pages.iter().map(Vec::len).collect::<Vec<_>>();
    let fixed = sizes(client.pages("readContacts", "<filter/>").await);
    assert_eq!(fixed, [64, 64, 64, 64, 44]);
    let cursor = sizes(client.cursor(Table::OutboundActivity, "").await);
    assert!(cursor.iter().all(|size| *size <= 64));
    server.set_behaviour("page_maximum", "varying:64").unwrap();
    let varying = sizes(client.pages("readContacts", "<filter/>").await);
    assert_eq!(varying.iter().sum::<usize>(), 300);
    assert!(varying.iter().collect::<std::collections::BTreeSet<_>>().len() > 2, "{varying:?}");
}

#[tokio::test]
async fn contacts_that_change_while_they_are_read_slip_through_a_naive_reader() {
    let behaviours = [("mutate_between_pages", "5"), ("page_maximum", "50")];
    let (server, client) = start(&behaviours).await;
    server.advance_seconds(10);
    // The window ends before now, so what changes leaves it and pulls later rows up a page.
    let window = "<filter><modified><value>2026-11-23T13:00:00Z</value>\
                  <operator>Before</operator></modified></filter>";
    let read: Vec<Row> = client.pages("readContacts", window).await.concat();
    let changed = server.truth(Table::Contact);
    let changed = changed.iter().filter(|row| row["modified"] == "2026-11-23T13:00:10Z").count();
    assert!((10..=30).contains(&changed), "{changed} changed");
    assert!(read.len() < 300, "{} read", read.len());
}

#[tokio::test]
async fn late_activities_arrive_in_time() {
    let (server, client) = start(&[("late_arrivals", "86400")]).await;
    let arrived = client.whole(Table::InboundActivity).await;
    assert_same("inbound", arrived.clone(), server.truth(Table::InboundActivity));
    assert!(arrived.len() < 1_500, "{} arrived", arrived.len());
    server.advance_seconds(86_400);
    assert_eq!(server.truth(Table::InboundActivity).len(), 1_500);
}

#[tokio::test]
async fn an_account_changes_by_itself() {
    let (server, _client) = start(&[("mutate_per_second", "50")]).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.truth(Table::Contact).len() == 300 {
        assert!(Instant::now() < deadline, "nothing changed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn control_characters_are_raw_or_references_and_in_the_truth() {
    let has_control = |text: &str| text.chars().any(|c| c < ' ' && !"\t\n\r".contains(c));
    for (form, raw) in [("raw", true), ("references", false)] {
        let (server, client) =
            start(&[("control_characters", form), ("nul_characters", "on")]).await;
        let everything = client.everything().await;
        let parameters = format!("{everything}<pageNumber>1</pageNumber>");
        let contacts = client.call("readContacts", &parameters).await.text;
        let inbound = client.activities(Table::InboundActivity, "", 5_000, "FIRST").await.text;
        let unsubscribes =
            client.call("readUnsubscribes", "<filter/><pageNumber>1</pageNumber>").await.text;
        for text in [&contacts, &inbound, &unsubscribes] {
            assert_eq!(has_control(text), raw, "{form}");
            assert_eq!(text.contains("&#x"), !raw, "{form}");
        }
        let truth =
            server.truth_lines(Table::Contact) + &server.truth_lines(Table::InboundActivity);
        for escape in ["\\u0001", "\\u0000", "\\u000b"] {
            assert!(truth.contains(escape), "{escape}");
        }
    }
}

#[tokio::test]
async fn rows_that_no_text_can_hold_are_not_in_the_truth() {
    let (server, client) = start(&[]).await;
    let clean = server.truth(Table::InboundActivity).len();
    server.set_behaviour("unholdable_characters", "references").unwrap();
    let inbound = client.activities(Table::InboundActivity, "", 5_000, "FIRST").await.text;
    let broken = inbound.matches("&#xD800;").count();
    assert!(broken > 0);
    assert_eq!(server.truth(Table::InboundActivity).len(), clean - broken);
}

#[tokio::test]
async fn bodies_are_compressed_for_those_who_offer_it() {
    let (server, client) = start(&[("compression", "on")]).await;
    let envelope = client.envelope("readContacts", "<filter/><pageNumber>1</pageNumber>");
    let plain = reqwest::Client::builder().no_proxy().no_gzip().build().unwrap();
    let post = |offer: &'static str| {
        plain.post(server.endpoint()).header("Accept-Encoding", offer).body(envelope.clone()).send()
    };
    let whole = post("identity").await.unwrap();
    assert!(!whole.headers().contains_key("content-encoding"));
    let whole = whole.bytes().await.unwrap();
    let packed = post("deflate, gzip").await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let packed = packed.bytes().await.unwrap();
    assert!(packed.len() * 3 < whole.len());
    let mut unpacked = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&packed[..]);
    std::io::Read::read_to_end(&mut decoder, &mut unpacked).unwrap();
    assert_eq!(unpacked, whole);
}
