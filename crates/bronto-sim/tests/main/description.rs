//! The WSDL against the facts of the API, written down here once more.

use std::collections::BTreeMap;

use roxmltree::{Document, Node};

use crate::soap::start;

/// Operations, and whether they need a session.
const OPERATIONS: &[(&str, bool)] = &[
    ("login", false),
    ("logout", true),
    ("readContacts", true),
    ("readFields", true),
    ("readLists", true),
    ("readRecentInboundActivities", true),
    ("readRecentOutboundActivities", true),
    ("readUnsubscribes", true),
];

/// Types: name, base, elements in order. An element is `name type`, with `!` if required, `*` if repeated
/// and `0` if nillable.
const TYPES: &[(&str, &str, &str)] = &[
    ("ApiException", "", "errorCode int !0"),
    ("sessionHeader", "", "sessionId string, disableHistory boolean"),
    ("login", "", "apiToken string"),
    ("loginResponse", "", "return string"),
    ("logout", "", ""),
    ("logoutResponse", "", "return writeResult"),
    ("writeResult", "", "errors int *0, results resultItem *0"),
    (
        "resultItem",
        "",
        "id string, isNew boolean, isError boolean, errorCode int !, errorString string",
    ),
    (
        "readContacts",
        "",
        "filter contactFilter, includeLists boolean, fields string *, pageNumber int !, \
         includeSMSKeywords boolean, includeGeoIPData boolean, includeTechnologyData boolean, \
         includeRFMData boolean, includeEngagementData boolean, includeSegments boolean",
    ),
    ("readContactsResponse", "", "return contactObject *"),
    (
        "contactFilter",
        "",
        "type filterType, id string *0, email stringValue *0, mobileNumber stringValue *0, \
         status string *0, created dateValue *0, modified dateValue *0, listId string *0, \
         segmentId string *0, SMSKeywordID string *0, msgPref string *0, source string *0, \
         customSource stringValue *0",
    ),
    ("stringValue", "", "operator filterOperator, value string"),
    ("dateValue", "", "value dateTime, operator filterOperator"),
    (
        "contactObject",
        "",
        "id string, email string, mobileNumber string, status string, msgPref string, source string, \
         customSource string, created dateTime, modified dateTime, deleted boolean, listIds string *0, \
         segmentIds string *0, fields contactField *0, SMSKeywordIDs string *0, numSends long, \
         numBounces long, numOpens long, numClicks long, numConversions long, conversionAmount float, \
         readOnlyContactData readOnlyContactData, consentDate string, consentIp string, \
         lastUnsubscribeDate string",
    ),
    ("contactField", "", "fieldId string, content string"),
    (
        "readOnlyContactData",
        "",
        "geoIPCity string, geoIPStateRegion string, geoIPZip string, geoIPCountry string, \
         geoIPCountryCode string, primaryBrowser string, mobileBrowser string, \
         primaryEmailClient string, mobileEmailClient string, operatingSystem string, \
         firstOrderDate dateTime, lastOrderDate dateTime, lastOrderTotal decimal, totalOrders long, \
         totalRevenue decimal, averageOrderValue decimal, lastDeliveryDate dateTime, \
         lastOpenDate dateTime, lastClickDate dateTime",
    ),
    ("readFields", "", "filter fieldsFilter, pageNumber int !, pageSize int"),
    ("readFieldsResponse", "", "return fieldObject *"),
    ("fieldsFilter", "", "type filterType, id string *0, name stringValue *0"),
    (
        "fieldObject",
        "",
        "id string, name string, label string, type string, visibility string, \
         options fieldOptionObject *0",
    ),
    ("fieldOptionObject", "", "label string, value string, isDefault boolean !"),
    ("readLists", "", "filter mailListFilter, pageNumber int !, pageSize int"),
    ("readListsResponse", "", "return mailListObject *"),
    ("mailListFilter", "", "type filterType, id string *0, name stringValue *0"),
    (
        "mailListObject",
        "",
        "id string, name string, label string, activeCount long, status string, visibility string",
    ),
    ("readUnsubscribes", "", "filter unsubscribeFilter, pageNumber int !"),
    ("readUnsubscribesResponse", "", "return unsubscribeObject *"),
    ("unsubscribeFilter", "", "contactId string, deliveryId string, start dateTime, end dateTime"),
    (
        "unsubscribeObject",
        "",
        "contactId string, deliveryId string, method string, complaint string, created dateTime",
    ),
    ("readRecentInboundActivities", "", "filter recentInboundActivitySearchRequest"),
    ("readRecentInboundActivitiesResponse", "", "return recentActivityObject *"),
    ("readRecentOutboundActivities", "", "filter recentOutboundActivitySearchRequest"),
    ("readRecentOutboundActivitiesResponse", "", "return recentActivityObject *"),
    (
        "recentActivitySearchRequest",
        "",
        "start dateTime, end dateTime, contactId string, deliveryId string, size int !, \
         readDirection readDirection",
    ),
    ("recentInboundActivitySearchRequest", "recentActivitySearchRequest", "types string *0"),
    ("recentOutboundActivitySearchRequest", "recentActivitySearchRequest", "types string *0"),
    (
        "recentActivityObject",
        "",
        "createdDate dateTime, contactId string, listId string, segmentId string, keywordId string, \
         messageId string, deliveryId string, workflowId string, activityType string, \
         emailAddress string, mobileNumber string, contactStatus string, messageName string, \
         deliveryType string, deliveryStart dateTime, workflowName string, segmentName string, \
         listName string, listLabel string, automatorName string, smsKeywordName string, \
         bounceType string, bounceReason string, skipReason string, linkName string, linkUrl string, \
         orderId string, unsubscribeMethod string, ftafEmails string, socialNetwork string, \
         socialActivity string, webformType string, webformAction string, webformName string, \
         webformId string",
    ),
];

const ENUMERATIONS: &[(&str, &str)] = &[
    ("filterType", "AND OR"),
    ("readDirection", "NEXT FIRST"),
    (
        "filterOperator",
        "EqualTo NotEqualTo StartsWith EndsWith DoesNotStartWith DoesNotEndWith GreaterThan LessThan \
         GreaterThanEqualTo LessThanEqualTo Contains DoesNotContain SameYear NotSameYear SameDay \
         NotSameDay Before After BeforeOrSameDay AfterOrSameDay",
    ),
];

fn named<'a>(document: &'a Document<'a>, tag: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    document.descendants().filter(move |node| node.tag_name().name() == tag)
}

fn name<'a>(node: Node<'a, 'a>) -> &'a str {
    node.attribute("name").unwrap_or("")
}

fn unprefixed(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

fn element(node: Node<'_, '_>) -> String {
    let mut flags = String::new();
    if node.attribute("minOccurs") != Some("0") {
        flags.push('!');
    }
    if node.attribute("maxOccurs") == Some("unbounded") {
        flags.push('*');
    }
    if node.attribute("nillable") == Some("true") {
        flags.push('0');
    }
    let kind = unprefixed(node.attribute("type").unwrap_or(""));
    format!("{} {kind} {flags}", name(node)).trim_end().to_owned()
}

#[tokio::test]
async fn types_are_those_of_the_api() {
    let (server, client) = start(&[]).await;
    let text = client.fetch(&format!("{}?wsdl", server.endpoint())).await.text;
    let document = Document::parse(&text).unwrap();
    let served: BTreeMap<String, (String, String)> = named(&document, "complexType")
        .map(|kind| {
            let within = |tag: &'static str| {
                kind.descendants().filter(move |node| node.tag_name().name() == tag)
            };
            let base = within("extension").next().and_then(|node| node.attribute("base"));
            let elements: Vec<String> = within("element").map(element).collect();
            let base = unprefixed(base.unwrap_or("")).to_owned();
            (name(kind).to_owned(), (base, elements.join(", ")))
        })
        .collect();
    let expected: BTreeMap<String, (String, String)> = TYPES
        .iter()
        .map(|(name, base, elements)| {
            ((*name).to_owned(), ((*base).to_owned(), (*elements).to_owned()))
        })
        .collect();
    assert_eq!(served.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, facts) in &expected {
        assert_eq!(&served[name], facts, "{name}");
    }
    let words: BTreeMap<&str, String> = named(&document, "simpleType")
        .map(|kind| {
            let values: Vec<&str> =
                kind.descendants().filter_map(|node| node.attribute("value")).collect();
            (name(kind), values.join(" "))
        })
        .collect();
    let expected: BTreeMap<&str, String> =
        ENUMERATIONS.iter().map(|(name, values)| (*name, (*values).to_owned())).collect();
    assert_eq!(words, expected);
}

#[tokio::test]
async fn operations_are_bare_documents_with_a_session_header() {
    let (server, client) = start(&[]).await;
    let text = client.fetch(&format!("{}?wsdl", server.endpoint())).await.text;
    let document = Document::parse(&text).unwrap();
    let binding = named(&document, "binding").find(|node| node.has_attribute("type")).unwrap();
    assert_eq!(name(binding), "BrontoSoapApiImplServiceSoapBinding");
    let operations: Vec<(&str, bool)> = binding
        .children()
        .filter(|node| node.tag_name().name() == "operation")
        .map(|node| {
            let has_header = node.descendants().any(|inner| inner.tag_name().name() == "header");
            let action = node.descendants().find_map(|inner| inner.attribute("soapAction"));
            assert_eq!(action, Some(""));
            (name(node), has_header)
        })
        .collect();
    assert_eq!(operations, OPERATIONS);
    let schema = named(&document, "schema").next().unwrap();
    assert_eq!(schema.attribute("elementFormDefault"), Some("unqualified"));
    assert_eq!(schema.attribute("targetNamespace"), Some("http://api.bronto.com/v4"));
    let address = named(&document, "address").next().unwrap();
    assert_eq!(address.attribute("location"), Some(server.endpoint().as_str()));
}
