//! A server that answers as it was told, and remembers what it was asked.

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use bronto_client::{Backoff, ClientConfig, RowDefect, RowSink};
use futures::StreamExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The token of every client here. It must never be seen anywhere.
pub(crate) const TOKEN: &str = "3D5A2C10-7B1E-4E0B-8F44-19D0A7C2B6EE";

/// An answer to a call that is no login.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A page with objects of these ids.
    Page(&'static [&'static str]),
    /// A fault with that code, in the usual form with status 500.
    Fault(u32),
    /// A fault with that text and without detail.
    BareFault(&'static str),
    /// Anything, with status and headers.
    Raw(u16, &'static [(&'static str, &'static str)], Vec<u8>),
    /// A page that ends early, while the connection closes in order.
    Truncated,
    /// A page that breaks off with its connection.
    Broken,
    /// The first half of a page, and then nothing for ever.
    Stalled,
    /// A page, or the answer to a login, byte by byte.
    Trickle(&'static [&'static str]),
    /// Nothing, ever.
    Silence,
}

/// A call as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: String,
    pub(crate) session: String,
    pub(crate) body: String,
    pub(crate) headers: HeaderMap,
}

#[derive(Default)]
struct Script {
    replies: VecDeque<Reply>,
    logins: VecDeque<Reply>,
    calls: Vec<Call>,
    sessions: u32,
    logins_at_once: u32,
    most_logins_at_once: u32,
}

/// A running server; it stops when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts a server that gives these answers, one each, and status 418 after the last. Logins
    /// succeed.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::with_logins(replies, []).await
    }

    /// The same, with answers to the first logins.
    pub(crate) async fn with_logins(
        replies: impl IntoIterator<Item = Reply>,
        logins: impl IntoIterator<Item = Reply>,
    ) -> Self {
        let script = Script {
            replies: replies.into_iter().collect(),
            logins: logins.into_iter().collect(),
            ..Script::default()
        };
        let script = Arc::new(Mutex::new(script));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&script));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, script, task }
    }

    /// Gives these answers to the next logins.
    pub(crate) fn next_logins(&self, logins: impl IntoIterator<Item = Reply>) {
        self.script.lock().unwrap().logins.extend(logins);
    }

    pub(crate) fn config(&self) -> ClientConfig {
        config(&format!("http://{}/v4", self.address))
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.script.lock().unwrap().calls.clone()
    }

    /// The functions called, with the session's number, in order.
    pub(crate) fn log(&self) -> Vec<String> {
        let shown = |call: &Call| format!("{} {}", call.function, call.session);
        self.calls().iter().map(|call| shown(call).trim().to_owned()).collect()
    }

    pub(crate) fn most_logins_at_once(&self) -> u32 {
        self.script.lock().unwrap().most_logins_at_once
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Settings with short pauses.
pub(crate) fn config(endpoint: &str) -> ClientConfig {
    ClientConfig {
        endpoint: endpoint.parse().unwrap(),
        request_timeout: Duration::from_secs(20),
        max_retries: 3,
        backoff: Backoff {
            first: Duration::from_millis(1),
            factor: 2,
            cap: Duration::from_millis(4),
        },
        ..ClientConfig::new(TOKEN.into())
    }
}

async fn answer(
    State(script): State<Arc<Mutex<Script>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let function = between(&body, "<v4:", ">", "<soapenv:Body>");
    let session = between(&body, "<sessionId>", "</sessionId>", "");
    let call = Call { function: function.clone(), session, body, headers };
    let login = function == "login";
    let reply = {
        let mut script = script.lock().unwrap();
        script.calls.push(call);
        if login {
            script.logins_at_once += 1;
            script.most_logins_at_once = script.most_logins_at_once.max(script.logins_at_once);
            script.logins.pop_front()
        } else {
            let over = Reply::Raw(418, &[], b"the script is over".to_vec());
            Some(script.replies.pop_front().unwrap_or(over))
        }
    };
    if login {
        // Others would come in between, if they could.
        tokio::task::yield_now().await;
        let mut script = script.lock().unwrap();
        script.logins_at_once -= 1;
        if reply.is_none() {
            script.sessions += 1;
            let id = format!("<return>S{}</return>", script.sessions);
            return soap(200, &response("login", &id));
        }
    }
    match reply.unwrap() {
        Reply::Page(ids) => soap(200, &page(&function, ids)),
        Reply::Fault(code) => soap(500, &fault(code)),
        Reply::BareFault(text) => soap(500, &bare_fault(text)),
        Reply::Raw(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            response.body(Body::from(body)).unwrap()
        }
        Reply::Truncated => {
            let whole = page(&function, &["lost"]);
            soap(200, &whole[..whole.len() - 30])
        }
        Reply::Broken => {
            let whole = page(&function, &["lost"]);
            let half = Bytes::from(whole[..whole.len() / 2].to_owned());
            let pieces = [Ok(half), Err(std::io::Error::other("broken"))];
            Response::new(Body::from_stream(futures::stream::iter(pieces)))
        }
        Reply::Stalled => {
            let whole = page(&function, &["lost"]);
            let half = Bytes::from(whole[..whole.len() / 2].to_owned());
            let half = futures::stream::iter([Ok::<_, std::io::Error>(half)]);
            Response::new(Body::from_stream(half.chain(futures::stream::pending())))
        }
        Reply::Trickle(ids) => {
            let whole = if login {
                response(&function, "<return>S1</return>")
            } else {
                page(&function, ids)
            };
            let bytes = whole.into_bytes().into_iter().map(|byte| vec![byte]);
            let pieces = bytes.map(|byte| Ok::<_, std::io::Error>(Bytes::from(byte)));
            Response::new(Body::from_stream(futures::stream::iter(pieces)))
        }
        Reply::Silence => std::future::pending().await,
    }
}

fn soap(status: u16, body: &str) -> Response<Body> {
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header("content-type", "text/xml;charset=UTF-8")
        .body(Body::from(body.to_owned()))
        .unwrap()
}

/// The text between two marks, after a third.
fn between(text: &str, start: &str, end: &str, after: &str) -> String {
    let rest = text.split_once(after).map_or(text, |(_, rest)| rest);
    let rest = rest.split_once(start).map_or("", |(_, rest)| rest);
    rest.split_once(end).map_or("", |(inside, _)| inside).to_owned()
}

fn envelope(content: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\">\
         <soap:Body>{content}</soap:Body></soap:Envelope>"
    )
}

pub(crate) fn response(function: &str, content: &str) -> String {
    envelope(&format!(
        "<ns2:{function}Response xmlns:ns2=\"http://api.bronto.com/v4\">{content}\
         </ns2:{function}Response>"
    ))
}

pub(crate) fn page(function: &str, ids: &[&str]) -> String {
    let name = if function.contains("Activities") { "contactId" } else { "id" };
    let objects = ids.iter().map(|id| format!("<return><{name}>{id}</{name}></return>"));
    response(function, &objects.collect::<String>())
}

/// A fault as Bronto words it; the texts of 102 and 111 hold the token.
pub(crate) fn fault(code: u32) -> String {
    envelope(&format!(
        "<soap:Fault><faultcode>soap:Server</faultcode>\
         <faultstring>{code}: About token {TOKEN}.</faultstring>\
         <detail><ns2:ApiException xmlns:ns2=\"http://api.bronto.com/v4\">\
         <errorCode>{code}</errorCode></ns2:ApiException></detail></soap:Fault>"
    ))
}

pub(crate) fn bare_fault(text: &str) -> String {
    envelope(&format!(
        "<soap:Fault><faultcode>soap:Server</faultcode><faultstring>{text}</faultstring></soap:Fault>"
    ))
}

pub(crate) fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// Collects the first value of each object.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    pub(crate) ids: Vec<String>,
    pub(crate) clears: usize,
    current: Option<String>,
}

impl RowSink for Ids {
    fn clear(&mut self) {
        self.ids.clear();
        self.current = None;
        self.clears += 1;
    }

    fn value(&mut self, _field: usize, text: &str) {
        self.current.get_or_insert(text.to_owned());
    }

    fn end_row(&mut self, _raw: &str) {
        self.ids.push(self.current.take().unwrap_or_default());
    }

    fn reject_row(&mut self, _raw: &str, _reason: &RowDefect) {
        self.current = None;
    }
}
