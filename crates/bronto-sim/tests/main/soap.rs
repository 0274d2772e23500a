//! A small SOAP client for the tests, independent of both the server and `bronto-client`.

use bronto_sim::{ClockMode, RunningServer, Server, SimConfig, Table};
use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use roxmltree::{Document, Node};
use serde_json::{Map, Value};

/// A row in the form of the truth.
pub(crate) type Row = Map<String, Value>;

/// A frozen account of a size that tests like.
pub(crate) fn config() -> SimConfig {
    SimConfig {
        clock: ClockMode::Frozen,
        contacts: 300,
        inbound: 1_500,
        outbound: 1_200,
        ..SimConfig::default()
    }
}

/// A server with these behaviours, and a client that is logged in.
pub(crate) async fn start(behaviours: &[(&str, &str)]) -> (RunningServer, Client) {
    start_with(config(), behaviours).await
}

pub(crate) async fn start_with(
    mut config: SimConfig,
    behaviours: &[(&str, &str)],
) -> (RunningServer, Client) {
    for (name, value) in behaviours {
        config = config.with_behaviour(*name, *value);
    }
    let token = config.token().to_owned();
    let server = Server::start(config).await.unwrap();
    let mut client = Client::new(&server);
    client.log_in(&token).await;
    (server, client)
}

/// What came back from a call.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    /// The code of the fault, from the fault string.
    pub(crate) fn fault(&self) -> Option<u16> {
        let document = Document::parse(&self.text).ok()?;
        let said = document.descendants().find(|node| node.has_tag_name("faultstring"))?;
        said.text()?.split(':').next()?.parse().ok()
    }

    /// The returned objects as rows in the form of the truth.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let document = Document::parse(&self.text).unwrap();
        assert_eq!(self.fault(), None, "{}", self.text);
        returns(&document).map(row).collect()
    }

    /// How many objects were returned.
    pub(crate) fn count(&self) -> usize {
        let document = Document::parse(&self.text).unwrap();
        returns(&document).count()
    }
}

pub(crate) fn returns<'a>(document: &'a Document<'a>) -> impl Iterator<Item = Node<'a, 'a>> {
    document.descendants().filter(|node| node.has_tag_name("return"))
}

const LISTS: [&str; 3] = ["listIds", "segmentIds", "SMSKeywordIDs"];
const DATES: [&str; 9] = [
    "created",
    "modified",
    "createdDate",
    "deliveryStart",
    "firstOrderDate",
    "lastOrderDate",
    "lastDeliveryDate",
    "lastOpenDate",
    "lastClickDate",
];

fn row(object: Node<'_, '_>) -> Row {
    let mut row = Row::new();
    for field in object.children().filter(Node::is_element) {
        let name = field.tag_name().name();
        let text = field.text().unwrap_or("");
        let is_nil = field.attributes().any(|attribute| attribute.name() == "nil");
        if is_nil {
            continue;
        }
        let mut append = |value: Value| {
            let list = row.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            list.as_array_mut().unwrap().push(value);
        };
        match name {
            "readOnlyContactData" => {
                let inner = self::row(field);
                row.extend(inner);
            }
            "fields" => append(Value::Object(self::row(field))),
            list if LISTS.contains(&list) => append(text.into()),
            "deleted" => {
                row.insert(name.to_owned(), Value::Bool(text == "true"));
            }
            date if DATES.contains(&date) => {
                row.insert(name.to_owned(), canonical(text).into());
            }
            _ => {
                row.insert(name.to_owned(), text.into());
            }
        }
    }
    row
}

/// The canonical text of a date in any form.
pub(crate) fn canonical(text: &str) -> String {
    let utc = match DateTime::parse_from_rfc3339(text) {
        Ok(instant) => instant.with_timezone(&Utc),
        Err(_) => text.parse::<NaiveDateTime>().unwrap().and_utc(),
    };
    let nanos = utc.to_rfc3339_opts(SecondsFormat::Nanos, true);
    let trimmed = nanos.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    format!("{trimmed}Z")
}

pub(crate) struct Client {
    http: reqwest::Client,
    endpoint: String,
    pub(crate) session: String,
}

impl Client {
    pub(crate) fn new(server: &RunningServer) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self { http, endpoint: server.endpoint(), session: String::new() }
    }

    pub(crate) async fn log_in(&mut self, token: &str) {
        let answer = self.call("login", &format!("<apiToken>{token}</apiToken>")).await;
        let document = Document::parse(&answer.text).unwrap();
        let id = returns(&document).next().and_then(|node| node.text());
        self.session = id.unwrap_or_else(|| panic!("{}", answer.text)).to_owned();
    }

    /// Calls an operation with these parameters in the client's session.
    pub(crate) async fn call(&self, operation: &str, parameters: &str) -> Answer {
        self.post(&self.envelope(operation, parameters)).await
    }

    pub(crate) fn envelope(&self, operation: &str, parameters: &str) -> String {
        format!(
            "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:b=\"http://api.bronto.com/v4\"><e:Header><b:sessionHeader><sessionId>{}\
             </sessionId></b:sessionHeader></e:Header><e:Body><b:{operation}>{parameters}\
             </b:{operation}></e:Body></e:Envelope>",
            self.session
        )
    }

    pub(crate) async fn post(&self, envelope: &str) -> Answer {
        let response = self.send(envelope).await.unwrap();
        Answer { status: response.status().as_u16(), text: response.text().await.unwrap() }
    }

    pub(crate) async fn send(&self, envelope: &str) -> reqwest::Result<reqwest::Response> {
        self.http
            .post(&self.endpoint)
            .header("SOAPAction", "\"\"")
            .header("Content-Type", "text/xml; charset=utf-8")
            .body(envelope.to_owned())
            .send()
            .await
    }

    pub(crate) async fn fetch(&self, address: &str) -> Answer {
        let response = self.http.get(address).send().await.unwrap();
        Answer { status: response.status().as_u16(), text: response.text().await.unwrap() }
    }

    /// Every page of a paged read until an empty one.
    pub(crate) async fn pages(&self, operation: &str, parameters: &str) -> Vec<Vec<Row>> {
        let mut pages = Vec::new();
        for number in 1.. {
            let page = format!("{parameters}<pageNumber>{number}</pageNumber>");
            let rows = self.call(operation, &page).await.rows();
            if rows.is_empty() {
                break;
            }
            pages.push(rows);
        }
        pages
    }

    /// Every page of an activity cursor until fault 116 or an empty answer.
    pub(crate) async fn cursor(&self, table: Table, filter: &str) -> Vec<Vec<Row>> {
        let mut pages = Vec::new();
        for direction in std::iter::once("FIRST").chain(std::iter::repeat("NEXT")) {
            let answer = self.activities(table, filter, 1_000, direction).await;
            if answer.fault() == Some(116) {
                break;
            }
            let rows = answer.rows();
            if rows.is_empty() {
                break;
            }
            pages.push(rows);
        }
        pages
    }

    pub(crate) async fn activities(
        &self,
        table: Table,
        filter: &str,
        size: u32,
        direction: &str,
    ) -> Answer {
        let operation = match table {
            Table::InboundActivity => "readRecentInboundActivities",
            _ => "readRecentOutboundActivities",
        };
        let parameters = format!(
            "<filter>{filter}<size>{size}</size><readDirection>{direction}</readDirection></filter>"
        );
        self.call(operation, &parameters).await
    }

    /// Everything that the API says about a table.
    pub(crate) async fn whole(&self, table: Table) -> Vec<Row> {
        let pages = match table {
            Table::Contact => self.pages("readContacts", &self.everything().await).await,
            Table::List => self.pages("readLists", "<filter/>").await,
            Table::Unsubscribe => self.pages("readUnsubscribes", "<filter/>").await,
            Table::InboundActivity | Table::OutboundActivity => self.cursor(table, "").await,
        };
        pages.into_iter().flatten().collect()
    }

    /// Parameters that ask for all of every contact.
    pub(crate) async fn everything(&self) -> String {
        let fields = self.pages("readFields", "<filter/>").await;
        let mut parameters = String::from("<filter/>");
        for field in fields.iter().flatten() {
            let id = field["id"].as_str().unwrap();
            parameters.push_str(&format!("<fields>{id}</fields>"));
        }
        for flag in [
            "Lists",
            "SMSKeywords",
            "GeoIPData",
            "TechnologyData",
            "RFMData",
            "EngagementData",
            "Segments",
        ] {
            parameters.push_str(&format!("<include{flag}>true</include{flag}>"));
        }
        parameters
    }
}

/// Rows as sorted lines, for comparison without regard to order.
pub(crate) fn sorted(rows: impl IntoIterator<Item = Row>) -> Vec<String> {
    let mut lines: Vec<String> = rows
        .into_iter()
        .map(|row| {
            let ordered: std::collections::BTreeMap<_, _> = row.into_iter().collect();
            serde_json::to_string(&ordered).unwrap()
        })
        .collect();
    lines.sort();
    lines
}

/// Asserts that two sets of rows are equal, telling the first differences.
#[track_caller]
pub(crate) fn assert_same(
    name: &str,
    actual: impl IntoIterator<Item = Row>,
    expected: impl IntoIterator<Item = Row>,
) {
    let (actual, expected) = (sorted(actual), sorted(expected));
    if actual == expected {
        return;
    }
    let surplus = actual.iter().find(|line| expected.binary_search(line).is_err());
    let missing = expected.iter().find(|line| actual.binary_search(line).is_err());
    panic!(
        "{name}: {} rows, expected {}\nfirst surplus: {surplus:?}\nfirst missing: {missing:?}",
        actual.len(),
        expected.len()
    );
}
