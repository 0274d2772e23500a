//! All five reads against a simulated account: what arrives equals the account's truth, value for
//! value, whatever the server does on the way.

use bronto_client::{
    ACTIVITY, CONTACT, Client, ClientConfig, ClientError, ContactIncludes, Cursor, Direction,
    FIELD, Function, Kind, LIST, ObjectTable, ReadActivities, ReadContacts, ReadFields, ReadLists,
    ReadRequest, ReadUnsubscribes, RowDefect, RowSink, Session, Statistics, UNSUBSCRIBE, decode,
    lexical,
};
use bronto_sim::{ClockMode, RunningServer, SimConfig, Table};
use chrono::{DateTime, Duration, Utc};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::config;

/// Makes of each object what the truth has: absent fields left out, dates in canonical UTC,
/// numbers as their digits.
struct Objects {
    table: &'static ObjectTable,
    rows: Vec<Value>,
    rejected: usize,
    current: Map<String, Value>,
}

impl Objects {
    fn new(table: &'static ObjectTable) -> Self {
        Self { table, rows: Vec::new(), rejected: 0, current: Map::new() }
    }

    fn append(&mut self, name: &str, value: Value) {
        let list = self.current.entry(name).or_insert_with(|| json!([]));
        list.as_array_mut().unwrap().push(value);
    }
}

impl RowSink for Objects {
    fn clear(&mut self) {
        *self = Self::new(self.table);
    }

    fn value(&mut self, field: usize, text: &str) {
        let field = &self.table.fields[field];
        let value = match field.kind {
            Kind::TextList => return self.append(field.name, json!(text)),
            Kind::DateTime => json!(lexical::DateTime::parse(text).unwrap().to_string()),
            Kind::Boolean => json!(lexical::boolean(text).unwrap()),
            Kind::Integer => json!(lexical::integer(text).unwrap().to_string()),
            Kind::Decimal => json!(lexical::decimal(text).unwrap().lexeme()),
            Kind::Float => {
                lexical::float(text).unwrap();
                json!(text)
            }
            Kind::Text => json!(text),
            Kind::CustomFields | Kind::PassedOver => panic!("{} is no value", field.name),
        };
        assert_eq!(self.current.insert(field.name.to_owned(), value), None);
    }

    fn custom_field(&mut self, field_id: &str, content: &str) {
        self.append("fields", json!({"fieldId": field_id, "content": content}));
    }

    fn end_row(&mut self, _raw: &str) {
        self.rows.push(Value::Object(std::mem::take(&mut self.current)));
    }

    fn reject_row(&mut self, raw: &str, _reason: &RowDefect) {
        assert!(raw.starts_with("<return") && raw.ends_with("</return>"), "{raw}");
        self.rejected += 1;
        self.current.clear();
    }
}

/// What was read of one table.
struct Harvest {
    rows: Vec<Value>,
    rejected: usize,
}

/// A reader of a whole account.
struct Walk {
    client: Client,
    session: Session,
    now: DateTime<Utc>,
    custom_fields: Vec<String>,
}

impl Walk {
    async fn begin(server: &RunningServer) -> Self {
        let settings = ClientConfig { max_retries: 12, ..config(&server.endpoint()) };
        let client = Client::new(settings).unwrap();
        let session = client.session().await.unwrap();
        let mut walk = Self { client, session, now: server.now(), custom_fields: Vec::new() };
        let fields = walk.fields().await;
        let text = |field: &Value, name: &str| field[name].as_str().unwrap_or_default().to_owned();
        let (mut found, mut true_fields): (Vec<_>, Vec<_>) = (
            fields.rows.iter().map(|f| ["id", "name", "type"].map(|name| text(f, name))).collect(),
            server.custom_fields().into_iter().map(|f| [f.id, f.name, f.kind]).collect(),
        );
        found.sort();
        true_fields.sort();
        assert_eq!(found, true_fields);
        walk.custom_fields = found.into_iter().map(|[id, ..]| id).collect();
        walk
    }

    /// Reads pages until one is empty.
    async fn pages(&mut self, request: impl Fn(u32) -> ReadRequest) -> Harvest {
        let mut harvest = Harvest { rows: Vec::new(), rejected: 0 };
        for number in 1.. {
            let request = request(number);
            let mut objects = Objects::new(request.object());
            let page = self.session.read(&request, &mut objects).await.unwrap();
            assert_eq!(page.rows, objects.rows.len() + objects.rejected);
            assert_eq!(page.rejected, objects.rejected);
            harvest.rejected += objects.rejected;
            harvest.rows.append(&mut objects.rows);
            if page.rows == 0 {
                break;
            }
        }
        harvest
    }

    async fn contacts(&mut self) -> Harvest {
        let (from, before) = (self.now - Duration::days(4000), self.now + Duration::days(1));
        let fields = self.custom_fields.clone();
        self.pages(|page| {
            ReadRequest::Contacts(ReadContacts {
                modified_from: from,
                modified_before: before,
                page,
                include: ContactIncludes::all(),
                fields: fields.clone(),
            })
        })
        .await
    }

    async fn lists(&mut self) -> Harvest {
        self.pages(|page| ReadRequest::Lists(ReadLists { page, page_size: Some(10) })).await
    }

    async fn fields(&mut self) -> Harvest {
        self.pages(|page| ReadRequest::Fields(ReadFields { page, page_size: Some(10) })).await
    }

    async fn unsubscribes(&mut self) -> Harvest {
        let (start, end) = (self.now - Duration::days(4000), self.now + Duration::days(1));
        self.pages(|page| ReadRequest::Unsubscribes(ReadUnsubscribes { start, end, page })).await
    }

    /// Reads a window of activities, from its start again whenever the cursor is lost.
    async fn activities(&mut self, direction: Direction) -> Harvest {
        for _ in 0..200 {
            match self.window(direction).await {
                Ok(harvest) => return harvest,
                Err(ClientError::CursorLost { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        panic!("the cursor was lost too often");
    }

    async fn window(&mut self, direction: Direction) -> Result<Harvest, ClientError> {
        let mut harvest = Harvest { rows: Vec::new(), rejected: 0 };
        let mut cursor = Cursor::First;
        loop {
            let request = ReadRequest::Activities(ReadActivities {
                direction,
                start: self.now - Duration::days(30),
                end: self.now + Duration::days(1),
                size: 1000,
                cursor,
            });
            let mut objects = Objects::new(request.object());
            let page = self.session.read(&request, &mut objects).await?;
            harvest.rejected += objects.rejected;
            harvest.rows.append(&mut objects.rows);
            if page.end_of_query || page.rows == 0 {
                return Ok(harvest);
            }
            cursor = Cursor::Next;
        }
    }
}

/// Reads a whole account and compares. Gives the client's figures and the number of rejects.
async fn compare(behaviours: &[(&str, &str)]) -> (Statistics, usize) {
    let mut settings = SimConfig {
        clock: ClockMode::Frozen,
        contacts: 700,
        inbound: 1_500,
        outbound: 1_200,
        ..SimConfig::default()
    };
    for (name, value) in behaviours {
        settings = settings.with_behaviour(*name, *value);
    }
    let server = bronto_sim::Server::start(settings).await.unwrap();
    let mut walk = Walk::begin(&server).await;
    let mut rejected = 0;
    for table in [
        Table::Contact,
        Table::List,
        Table::Unsubscribe,
        Table::InboundActivity,
        Table::OutboundActivity,
    ] {
        let harvest = match table {
            Table::Contact => walk.contacts().await,
            Table::List => walk.lists().await,
            Table::Unsubscribe => walk.unsubscribes().await,
            Table::InboundActivity => walk.activities(Direction::Inbound).await,
            Table::OutboundActivity => walk.activities(Direction::Outbound).await,
        };
        rejected += harvest.rejected;
        let truth = server.truth(table).into_iter().map(|row| without_empty(Value::Object(row)));
        let (read, truth) = (sorted(harvest.rows), sorted(truth));
        assert!(!truth.is_empty());
        assert_eq!(read.len(), truth.len(), "{table:?} with {behaviours:?}");
        for (read, truth) in read.iter().zip(&truth) {
            assert_eq!(read, truth, "{table:?} with {behaviours:?}");
        }
    }
    walk.session.logout().await.ok();
    let statistics = walk.client.statistics();
    assert!(statistics.unknown_elements.is_empty(), "{:?}", statistics.unknown_elements);
    (statistics, rejected)
}

/// Rows as texts in one order, since the server's means nothing.
fn sorted(rows: impl IntoIterator<Item = Value>) -> Vec<String> {
    let sort = |row: Value| {
        let Value::Object(fields) = row else { panic!("no object: {row}") };
        let ordered: std::collections::BTreeMap<_, _> = fields.into_iter().collect();
        serde_json::to_string(&ordered).unwrap()
    };
    let mut texts: Vec<_> = rows.into_iter().map(sort).collect();
    texts.sort_unstable();
    texts
}

/// Leaves out what has no value: custom fields without content, lists without items.
fn without_empty(mut row: Value) -> Value {
    if let Some(fields) = row.get_mut("fields").and_then(Value::as_array_mut) {
        fields.retain(|field| field.get("content").is_some());
    }
    let fields = row.as_object_mut().unwrap();
    fields.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
    row
}

#[tokio::test]
async fn a_plain_account() {
    let (statistics, rejected) = compare(&[]).await;
    assert_eq!((statistics.retries, statistics.logins, rejected), (0, 1, 0));
    assert_eq!(statistics.requests[&Function::ReadLists], 4);
}

#[tokio::test]
async fn every_form_of_values() {
    let (statistics, rejected) = compare(&[
        ("returned_zone", "none"),
        ("returned_fraction", "nanos"),
        ("whitespace", "indented"),
        ("float_form", "special"),
        ("control_characters", "references"),
        ("absent_optional_rate", "0.2"),
        ("absent_key_rate", "0.02"),
        ("nil_rate", "0.2"),
        ("row_order", "shuffled"),
        ("compression", "on"),
        ("empty_window", "empty"),
        ("cursor_end", "empty"),
        ("page_maximum", "varying:900"),
    ])
    .await;
    assert_eq!((statistics.retries, rejected), (0, 0));
}

#[tokio::test]
async fn objects_that_no_text_can_hold_are_rejected_alone() {
    for form in ["raw", "references"] {
        let behaviours = [
            ("control_characters", "raw"),
            ("unholdable_characters", form),
            ("date_operators", "day"),
            ("returned_zone", "Asia/Kathmandu"),
            ("returned_fraction", "trimmed"),
        ];
        let (statistics, rejected) = compare(&behaviours).await;
        assert_eq!(statistics.retries, 0);
        assert!(rejected > 5, "{rejected} objects rejected, {form}");
    }
}

#[tokio::test]
async fn a_server_in_trouble() {
    let (statistics, _) = compare(&[
        ("page_maximum", "250"),
        ("session_max_calls", "13"),
        ("stale_session_code", "107"),
        ("fault_detail", "absent"),
        ("fault_101_rate", "0.03"),
        ("fault_103_rate", "0.03"),
        ("fault_108_rate", "0.03"),
        ("fault_113_rate", "0.03"),
        ("http_500_rate", "0.03"),
        ("http_503_rate", "0.03"),
        ("html_rate", "0.03"),
        ("truncate_rate", "0.03"),
        ("reset_rate", "0.03"),
    ])
    .await;
    let met = [statistics.retries, statistics.lost_sessions, statistics.lost_cursors];
    assert!(met.iter().all(|count| *count > 0), "{met:?}");
}

/// One call by HTTP/1.0, whose answer ends where the connection does; gives the body.
async fn body_of(server: &RunningServer, session: &str, function: &str, inside: &str) -> Vec<u8> {
    let envelope = format!(
        "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:b=\"http://api.bronto.com/v4\">\
         <e:Header><b:sessionHeader><sessionId>{session}</sessionId></b:sessionHeader></e:Header>\
         <e:Body><b:{function}>{inside}</b:{function}></e:Body></e:Envelope>"
    );
    let head = "POST /v4 HTTP/1.0\r\nSOAPAction: \"\"\r\nContent-Type: text/xml; charset=utf-8";
    let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{envelope}", envelope.len());
    let mut connection = TcpStream::connect(server.address()).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    answer.split_off(head)
}

#[tokio::test]
async fn no_part_of_an_answer_is_taken_for_the_whole() {
    let config = SimConfig { contacts: 3, lists: 3, fields: 3, inbound: 3, ..SimConfig::default() };
    let server = bronto_sim::Server::start(config).await.unwrap();
    let token = format!("<apiToken>{}</apiToken>", bronto_sim::DEFAULT_TOKEN);
    let login = body_of(&server, "", "login", &token).await;
    let Ok(decode::Answer::Response(session)) = decode::session_id(&login) else { panic!() };
    let session = session.expose_secret();
    let (page, activities) = (
        "<filter/><pageNumber>1</pageNumber>",
        "<filter><size>1000</size><readDirection>FIRST</readDirection></filter>",
    );
    let reads = [
        (Function::ReadContacts, &CONTACT, page),
        (Function::ReadLists, &LIST, page),
        (Function::ReadFields, &FIELD, page),
        (Function::ReadUnsubscribes, &UNSUBSCRIBE, page),
        (Function::ReadRecentInboundActivities, &ACTIVITY, activities),
        // Faults, too.
        (Function::ReadContacts, &CONTACT, "<filter/><pageNumber>none</pageNumber>"),
    ];
    for (function, table, inside) in reads {
        let whole = body_of(&server, session, &function.to_string(), inside).await;
        let decode = |body: &[u8]| decode::rows(function, table, body, &mut Objects::new(table));
        assert!(decode(&whole).is_ok(), "{function}: {}", String::from_utf8_lossy(&whole));
        for end in 0..whole.trim_ascii_end().len() {
            assert!(decode(&whole[..end]).is_err(), "{function} up to byte {end}");
        }
        assert!(decode(&[&whole[..], &whole[..]].concat()).is_err(), "{function} twice");
    }
    for end in 0..login.trim_ascii_end().len() {
        assert!(decode::session_id(&login[..end]).is_err(), "the login up to byte {end}");
    }
}
