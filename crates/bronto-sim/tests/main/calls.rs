//! Login, the reads, their pages, cursors and filters, and the faults they answer with.

use bronto_sim::{DEFAULT_TOKEN, Server, SimConfig, Table, TokenGrant};

use crate::soap::{Client, assert_same, config, returns, start, start_with};

#[tokio::test]
async fn every_read_returns_the_truth() {
    let (server, client) = start(&[]).await;
    for table in Table::ALL {
        assert_same(table.name(), client.whole(table).await, server.truth(table));
    }
}

#[tokio::test]
async fn both_forms_of_the_address_answer_and_only_they_describe() {
    let (server, client) = start(&[]).await;
    let base = server.base_url();
    for address in [format!("{base}/v4?wsdl"), format!("{base}/v4/?WSDL")] {
        let answer = client.fetch(&address).await;
        assert_eq!(answer.status, 200);
        assert!(answer.text.contains(&format!("location=\"{}\"", server.endpoint())));
    }
    assert_eq!(client.fetch(&server.endpoint()).await.status, 405);
}

#[tokio::test]
async fn tokens_and_permissions_are_told_apart() {
    let config = SimConfig {
        tokens: vec![TokenGrant::reading(DEFAULT_TOKEN), TokenGrant::without_read("WRITER")],
        ..config()
    };
    let server = Server::start(config).await.unwrap();
    let mut client = Client::new(&server);
    let answer = client.call("login", "<apiToken>WRONG&amp;</apiToken>").await;
    assert_eq!((answer.status, answer.fault()), (500, Some(102)));
    assert!(answer.text.contains("102: Authentication failed for token: WRONG&amp;"));
    client.log_in("WRITER").await;
    let answer = client.call("readLists", "<filter/><pageNumber>1</pageNumber>").await;
    assert_eq!(answer.fault(), Some(104));
    client.log_in(DEFAULT_TOKEN).await;
    let answer = client.call("readLists", "<filter/><pageNumber>1</pageNumber>").await;
    assert_eq!(answer.count(), 25);
}

#[tokio::test]
async fn a_session_is_needed_and_ends_with_logout_or_idleness() {
    let (server, client) = start(&[]).await;
    let read = || client.call("readLists", "<filter/><pageNumber>1</pageNumber>");
    server.advance_seconds(1_200);
    assert_eq!(read().await.fault(), None);
    server.advance_seconds(1_201);
    assert_eq!(read().await.fault(), Some(103));
    let mut client = client;
    client.log_in(DEFAULT_TOKEN).await;
    assert_eq!(client.call("logout", "").await.fault(), None);
    let answer = client.call("readLists", "<filter/><pageNumber>1</pageNumber>").await;
    assert_eq!(answer.fault(), Some(103));
    client.session = "unknown".to_owned();
    assert_eq!(client.call("logout", "").await.fault(), Some(103));
}

#[tokio::test]
async fn bad_requests_have_their_own_faults() {
    let (_server, client) = start(&[]).await;
    let contacts = |parameters: &'static str| client.call("readContacts", parameters);
    for (code, parameters) in [
        (106, "<filter/><pageNumber>0</pageNumber>"),
        (106, "<filter/><pageNumber>one</pageNumber>"),
        (110, "<filter/>"),
        (112, "<filter><type>XOR</type></filter><pageNumber>1</pageNumber>"),
        (
            106,
            "<filter><modified><value>soon</value></modified></filter><pageNumber>1</pageNumber>",
        ),
        (
            106,
            "<filter><modified><value>2026-01-01T00:00:00Z</value><operator>Near</operator>\
               </modified></filter><pageNumber>1</pageNumber>",
        ),
        (401, "<filter/><fields>0bbc</fields><pageNumber>1</pageNumber>"),
        (107, "<filter/><pageNumber>1</pageNumber><colour>red</colour>"),
        (107, "<filter/><pageNumber>1</pageNumber><pageNumber>2</pageNumber>"),
        (107, "<b:filter/><pageNumber>1</pageNumber>"),
    ] {
        assert_eq!(contacts(parameters).await.fault(), Some(code), "{parameters}");
    }
    let unknown = client.call("readBounces", "<filter/><pageNumber>1</pageNumber>").await;
    assert_eq!(unknown.fault(), Some(107));
    for envelope in ["", "<a/>", "not XML", "<a>", "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>"] {
        let answer = client.post(envelope).await;
        assert_eq!((answer.status, answer.fault()), (500, Some(107)), "{envelope}");
    }
}

#[tokio::test]
async fn requests_are_bounded_in_size_and_depth() {
    let (server, client) = start(&[]).await;
    let too_deep = format!("{}{}", "<a>".repeat(20), "</a>".repeat(20));
    let answer = client.call("readLists", &format!("<filter>{too_deep}</filter>")).await;
    assert_eq!(answer.fault(), Some(107));
    let very_deep = "<a>".repeat(200_000);
    assert_eq!(client.post(&very_deep).await.fault(), Some(107));
    let too_long = format!("<a>{}</a>", " ".repeat(2 << 20));
    let refused = client.send(&too_long).await;
    assert!(refused.is_err() || refused.unwrap().status() == 413);
    // The refusal may close the connection; what is told here is that the server lives.
    let mut other = Client::new(&server);
    other.session.clone_from(&client.session);
    let answer = other.call("readLists", "<filter/><pageNumber>1</pageNumber>").await;
    assert_eq!(answer.count(), 25);
}

#[tokio::test]
async fn elements_come_in_any_order() {
    let (_server, client) = start(&[]).await;
    let (value, operator) = ("<value>2026-06-01T00:00:00Z</value>", "<operator>Before</operator>");
    let mut counts = Vec::new();
    for parameters in [
        format!(
            "<filter><modified>{value}{operator}</modified></filter><pageNumber>1</pageNumber>"
        ),
        format!(
            "<pageNumber>1</pageNumber><filter><modified>{operator}{value}</modified></filter>"
        ),
    ] {
        counts.push(client.call("readContacts", &parameters).await.count());
    }
    assert!(counts[0] > 0);
    assert_eq!(counts[0], counts[1]);
}

#[tokio::test]
async fn contacts_carry_only_what_was_asked_for() {
    let (_server, client) = start(&[]).await;
    let bare = client.call("readContacts", "<filter/><pageNumber>1</pageNumber>").await;
    for absent in ["listIds", "segmentIds", "SMSKeywordIDs", "<fields>", "readOnlyContactData"] {
        assert!(!bare.text.contains(absent), "{absent}");
    }
    for (flag, present, absent) in [
        ("includeLists", "<listIds>", "<segmentIds>"),
        ("includeSegments", "<segmentIds>", "<listIds>"),
        ("includeSMSKeywords", "<SMSKeywordIDs>", "<listIds>"),
        ("includeGeoIPData", "<geoIPCity>", "<operatingSystem>"),
        ("includeTechnologyData", "<operatingSystem>", "<geoIPCity>"),
        ("includeRFMData", "<totalRevenue>", "<lastOpenDate>"),
        ("includeEngagementData", "<lastOpenDate>", "<totalRevenue>"),
    ] {
        let parameters = format!("<filter/><{flag}>1</{flag}><pageNumber>1</pageNumber>");
        let text = client.call("readContacts", &parameters).await.text;
        assert!(text.contains(present) && !text.contains(absent), "{flag}");
    }
    let field = "0bbc03e80000000000000000000000000001";
    let parameters = format!("<filter/><fields>{field}</fields><pageNumber>1</pageNumber>");
    let text = client.call("readContacts", &parameters).await.text;
    assert!(text.contains(&format!("<fieldId>{field}</fieldId>")));
    assert!(!text.contains("<fieldId>0bbc03e80000000000000000000000000002</fieldId>"));
}

#[tokio::test]
async fn filters_combine_by_their_type() {
    let (server, client) = start(&[]).await;
    let truth = server.truth(Table::Contact);
    let ids: Vec<&str> = truth.iter().take(2).map(|row| row["id"].as_str().unwrap()).collect();
    let query = |kind: &str, conditions: String| {
        format!("<filter><type>{kind}</type>{conditions}</filter><pageNumber>1</pageNumber>")
    };
    let both = format!("<id>{}</id><id>{}</id>", ids[0], ids[1]);
    assert_eq!(client.call("readContacts", &query("OR", both.clone())).await.count(), 2);
    assert_eq!(client.call("readContacts", &query("AND", both)).await.count(), 0);
    let active = truth.iter().filter(|row| row["status"] == "active").count();
    let condition = "<status>active</status>".to_owned();
    assert_eq!(client.call("readContacts", &query("AND", condition)).await.count(), active);
    let at_example = |row: &&crate::soap::Row| {
        row.get("email").is_some_and(|email| email.as_str().unwrap().ends_with("@example.com"))
    };
    let expected = truth.iter().filter(at_example).count();
    let condition = "<email><operator>EndsWith</operator><value>@example.com</value></email>";
    let answer = client.call("readContacts", &query("AND", condition.to_owned())).await;
    assert!(expected > 0);
    assert_eq!(answer.count(), expected);
    let name = "<name><operator>Contains</operator><value>news</value></name>";
    let lists = client.call("readLists", &query("AND", name.to_owned())).await.rows();
    assert!(
        !lists.is_empty() && lists.iter().all(|row| row["name"].as_str().unwrap().contains("news"))
    );
}

#[tokio::test]
async fn list_pages_have_the_size_asked_for() {
    let (_server, client) = start(&[]).await;
    let sizes: Vec<usize> = client
        .pages("readLists", "<filter/><pageSize>10</pageSize>")
        .await
        .iter()
        .map(Vec::len)
        .collect();
    assert_eq!(sizes, [10, 10, 5]);
    for (size, code) in [(9, 115), (5_001, 114)] {
        let parameters = format!("<filter/><pageNumber>1</pageNumber><pageSize>{size}</pageSize>");
        assert_eq!(client.call("readLists", &parameters).await.fault(), Some(code));
        assert_eq!(client.call("readFields", &parameters).await.fault(), Some(code));
    }
}

#[tokio::test]
async fn cursors_are_bound_to_session_and_function() {
    let (_server, mut client) = start(&[]).await;
    let (inbound, outbound) = (Table::InboundActivity, Table::OutboundActivity);
    assert_eq!(client.activities(inbound, "", 1_000, "NEXT").await.fault(), Some(113));
    assert_eq!(client.activities(inbound, "", 1_000, "FIRST").await.count(), 1_000);
    assert_eq!(client.activities(outbound, "", 1_000, "NEXT").await.fault(), Some(113));
    assert_eq!(client.activities(outbound, "", 1_000, "FIRST").await.count(), 1_000);
    assert_eq!(client.activities(inbound, "", 1_000, "NEXT").await.count(), 500);
    assert_eq!(client.activities(inbound, "", 1_000, "NEXT").await.fault(), Some(116));
    assert_eq!(client.activities(inbound, "", 1_000, "NEXT").await.fault(), Some(116));
    let first = client.session.clone();
    client.log_in(DEFAULT_TOKEN).await;
    assert_eq!(client.activities(outbound, "", 1_000, "NEXT").await.fault(), Some(113));
    client.session = first;
    assert_eq!(client.activities(outbound, "", 1_000, "NEXT").await.count(), 200);
}

#[tokio::test]
async fn activity_reads_check_their_parameters() {
    let (_server, client) = start(&[]).await;
    let inbound = Table::InboundActivity;
    for (code, filter, size) in [
        (115, "", 999),
        (114, "", 5_001),
        (1201, "<start>long ago</start>", 1_000),
        (1202, "<types>send</types>", 1_000),
    ] {
        let answer = client.activities(inbound, filter, size, "FIRST").await;
        assert_eq!(answer.fault(), Some(code), "{filter} {size}");
    }
    let answer = client.call("readRecentInboundActivities", "").await;
    assert_eq!(answer.fault(), Some(110));
    let answer = client.call("readRecentInboundActivities", "<filter/>").await;
    assert_eq!(answer.fault(), Some(110), "size is required");
}

#[tokio::test]
async fn activities_are_selected_by_type_contact_and_window() {
    let (server, client) = start(&[]).await;
    let client = &client;
    let truth = server.truth(Table::InboundActivity);
    let clicks = truth.iter().filter(|row| row["activityType"] == "click").count();
    let read = |filter: String| async move {
        client.cursor(Table::InboundActivity, &filter).await.concat()
    };
    assert_eq!(read("<types>click</types>".to_owned()).await.len(), clicks);
    let contact = truth.iter().find_map(|row| row.get("contactId")).unwrap().as_str().unwrap();
    let of_contact =
        truth.iter().filter(|row| row.get("contactId").is_some_and(|id| id == contact));
    let found = read(format!("<contactId>{contact}</contactId>")).await;
    assert_eq!(found.len(), of_contact.count());
    let middle = truth[truth.len() / 2]["createdDate"].as_str().unwrap();
    let before = read(format!("<end>{middle}</end>")).await;
    let after = read(format!("<start>{middle}</start>")).await;
    assert_same("two halves", before.into_iter().chain(after), truth.clone());
}

#[tokio::test]
async fn only_thirty_days_can_be_read() {
    let (server, client) = start(&[]).await;
    let all = client.cursor(Table::InboundActivity, "").await.concat().len();
    server.advance_seconds(15 * 86_400);
    let mut client = client;
    client.log_in(DEFAULT_TOKEN).await;
    let start = "<start>2020-01-01T00:00:00Z</start>";
    let rest = client.cursor(Table::InboundActivity, start).await.concat().len();
    assert!(rest > 0 && rest < all);
    server.set_behaviour("too_old_start", "fault").unwrap();
    let answer = client.activities(Table::InboundActivity, start, 1_000, "FIRST").await;
    assert_eq!(answer.fault(), Some(1201));
}

#[tokio::test]
async fn responses_keep_the_order_of_the_schema() {
    let behaviours = [("nil_rate", "0.5"), ("absent_optional_rate", "0.2")];
    let (server, client) = start_with(config(), &behaviours).await;
    let wsdl = client.fetch(&format!("{}?wsdl", server.endpoint())).await.text;
    let wsdl = roxmltree::Document::parse(&wsdl).unwrap();
    let order = |kind: &str| -> Vec<String> {
        let kind = wsdl
            .descendants()
            .find(|node| {
                node.attribute("name") == Some(kind) && node.tag_name().name() == "complexType"
            })
            .unwrap();
        kind.descendants()
            .filter(|node| node.tag_name().name() == "element")
            .filter_map(|node| node.attribute("name"))
            .map(str::to_owned)
            .collect()
    };
    let everything = client.everything().await;
    let contacts =
        client.call("readContacts", &format!("{everything}<pageNumber>1</pageNumber>")).await;
    let lists = client.call("readLists", "<filter/><pageNumber>1</pageNumber>").await;
    let unsubscribes = client.call("readUnsubscribes", "<filter/><pageNumber>1</pageNumber>").await;
    let fields = client.call("readFields", "<filter/><pageNumber>1</pageNumber>").await;
    let inbound = client.activities(Table::InboundActivity, "", 5_000, "FIRST").await;
    let outbound = client.activities(Table::OutboundActivity, "", 5_000, "FIRST").await;
    for (kind, answer) in [
        ("contactObject", contacts),
        ("mailListObject", lists),
        ("unsubscribeObject", unsubscribes),
        ("fieldObject", fields),
        ("recentActivityObject", inbound),
        ("recentActivityObject", outbound),
    ] {
        let order = order(kind);
        let document = roxmltree::Document::parse(&answer.text).unwrap();
        assert!(returns(&document).count() > 0, "{kind}");
        for object in returns(&document) {
            let places: Vec<usize> = object
                .children()
                .map(|field| {
                    let name = field.tag_name().name();
                    order
                        .iter()
                        .position(|known| known == name)
                        .unwrap_or_else(|| panic!("{kind}.{name}"))
                })
                .collect();
            assert!(places.is_sorted(), "{kind}: {places:?}");
        }
    }
}

#[tokio::test]
async fn an_account_has_as_many_custom_fields_as_it_should() {
    for count in [0, 250] {
        let config = SimConfig { fields: count, contacts: 300, ..SimConfig::default() };
        let (server, client) = start_with(config, &[]).await;
        assert_eq!(client.pages("readFields", "<filter/>").await.concat().len(), count as usize);
        assert_same("contact", client.whole(Table::Contact).await, server.truth(Table::Contact));
    }
}

#[tokio::test]
async fn a_custom_field_that_is_gone_is_a_fault_or_nothing() {
    let (server, client) = start(&[]).await;
    let parameters = "<filter/><fields>0bbc03e80000000000000000000000000001</fields>\
                      <fields>gone</fields><pageNumber>1</pageNumber>";
    assert_eq!(client.call("readContacts", parameters).await.fault(), Some(401));
    server.set_behaviour("unknown_field", "ignore").unwrap();
    let answer = client.call("readContacts", parameters).await;
    assert!(answer.text.contains("<fieldId>0bbc03e8") && !answer.text.contains("gone"));
}
