//! The API as it is served: connections, their ends, and logs that are followed.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use secrecy::ExposeSecret;
use service::{
    api::{Allowance, ServeOptions, serve},
    run::{RunState, StopReason},
    store::{LogLevel, Role, Scope},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    Service,
    logs::{line, write},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A service that is served on a port of its own.
pub(super) struct Served {
    pub(super) service: Arc<Service>,
    pub(super) port: u16,
    stop: CancellationToken,
    task: JoinHandle<bool>,
}

impl Served {
    async fn with(options: ServeOptions) -> Self {
        Self::of(Service::new().await, options).await
    }

    pub(super) async fn of(service: Service, options: ServeOptions) -> Self {
        let service = Arc::new(service);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = service.stop.clone();
        let task = tokio::spawn(serve(listener, service.router.clone(), options, stop.clone()));
        Self { service, port, stop, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    /// Sends a request, and answers a reader of what comes back.
    async fn get(&self, path: &str, headers: &str) -> BufReader<TcpStream> {
        let mut stream = self.connect().await;
        let token = self.service.tokens[&(Role::Viewer, Scope::Read)].expose_secret();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {token}\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        BufReader::new(stream)
    }
}

/// Reads on until a line holds a text, and answers it.
async fn until(reader: &mut BufReader<TcpStream>, text: &str) -> String {
    let found = async {
        loop {
            let mut line = String::new();
            assert!(reader.read_line(&mut line).await.unwrap() > 0, "no `{text}` came");
            if line.contains(text) {
                return line;
            }
        }
    };
    timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no `{text}` came"))
}

async fn rest(mut reader: BufReader<TcpStream>) -> String {
    let mut rest = Vec::new();
    timeout(PATIENCE, reader.read_to_end(&mut rest)).await.unwrap().unwrap();
    String::from_utf8(rest).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_until_its_run_ends() {
    let served = Served::with(ServeOptions::default()).await;
    let service = &served.service;
    let run_id = service.run(&service.integration("One").await).await;
    let claim =
        service.store.claim(&run_id, "here", TimeDelta::hours(1), service.now()).await.unwrap();
    write(service, &run_id, &[line(service, LogLevel::Info, "one\nevent: end")]).await;
    let path = format!("/api/v1/runs/{run_id}/log/follow");
    let mut reader = served.get(&path, "").await;
    until(&mut reader, "text/event-stream").await;
    until(&mut reader, "event: line").await;
    // Whatever is in it, a line is one event.
    assert!(until(&mut reader, "data: ").await.contains(r#""body":"one\nevent: end""#));
    let lines = [line(service, LogLevel::Info, "two"), line(service, LogLevel::Error, "three")];
    write(service, &run_id, &lines).await;
    assert!(until(&mut reader, "\"number\":2").await.contains("two"));
    // The connection breaks; the browser comes again.
    drop(reader);
    let mut reader = served.get(&path, "Last-Event-ID: 2\r\n").await;
    assert!(until(&mut reader, "data: ").await.contains("three"));
    service.store.finish(&claim.unwrap(), RunState::Succeeded, None, service.now()).await.unwrap();
    until(&mut reader, "event: end").await;
    assert!(until(&mut reader, "data: ").await.contains("\"state\":\"succeeded\""));
    // The end of a body that is sent in parts.
    until(&mut reader, "0\r\n").await;
    let errors = served.get(&format!("{path}?level=ERROR&after=0"), "Connection: close\r\n").await;
    let errors = rest(errors).await;
    assert_eq!(errors.matches("event: line").count(), 1, "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_log_ends_with_the_service() {
    let served = Served::with(ServeOptions::default()).await;
    let service = &served.service;
    let run_id = service.run(&service.integration("One").await).await;
    let mut reader = served.get(&format!("/api/v1/runs/{run_id}/log/follow"), "").await;
    until(&mut reader, "text/event-stream").await;
    served.stop.cancel();
    rest(reader).await;
    assert!(timeout(PATIENCE, served.task).await.unwrap().unwrap());
    service.store.stop(&run_id, StopReason::Hand, service.now()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_is_not_waited_for() {
    let header_time = Duration::from_millis(50);
    let served = Served::with(ServeOptions { header_time, ..ServeOptions::default() }).await;
    for sent in ["", "GET /healthz HTTP/1.1\r\nHost: he"] {
        let mut stream = served.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        // It is told that it was too slow, or nothing.
        let told = rest(BufReader::new(stream)).await;
        assert!(!told.contains("200"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_though_they_are_used() {
    let connection_time = Duration::from_millis(50);
    let served = Served::with(ServeOptions { connection_time, ..ServeOptions::default() }).await;
    let reader = served.get("/healthz", "").await;
    assert!(rest(reader).await.contains("200 OK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_loses_its_connection() {
    let write_time = Duration::from_millis(200);
    let options = ServeOptions { connections: 1, write_time, ..ServeOptions::default() };
    let served = Served::with(options).await;
    // Far more answers than the system keeps for one who doesn't read them.
    let mut greedy = served.connect().await;
    let request = "GET /api/v1/openapi.json HTTP/1.1\r\nHost: here\r\n\r\n";
    greedy.write_all(request.repeat(400).as_bytes()).await.unwrap();
    // There is one place, and it is free again though the client is still there.
    let other = served.get("/healthz", "Connection: close\r\n").await;
    assert!(rest(other).await.contains("200 OK"));
    drop(greedy);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_take_all_connections() {
    let options = ServeOptions { connections_of_one: 2, ..ServeOptions::default() };
    let served = Served::with(options).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut reader = served.get("/healthz", "").await;
        until(&mut reader, "200 OK").await;
        held.push(reader);
    }
    // One more is closed without a word.
    let mut stream = served.connect().await;
    let mut said = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut said)).await.unwrap();
    assert!(read.is_err() || said.is_empty());
    held.pop();
    // The place is free when the server has seen the end of the connection.
    let free = async {
        loop {
            let mut stream = served.connect().await;
            let request = b"GET /healthz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
            let mut said = Vec::new();
            if stream.write_all(request).await.is_ok()
                && stream.read_to_end(&mut said).await.is_ok()
                && said.starts_with(b"HTTP/1.1 200")
            {
                return;
            }
        }
    };
    timeout(PATIENCE, free).await.unwrap();
    // A proxy has the connections of all.
    let proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let options = ServeOptions { connections_of_one: 1, proxies, ..ServeOptions::default() };
    let served = Served::with(options).await;
    for _ in 0..3 {
        let mut reader = served.get("/healthz", "").await;
        until(&mut reader, "200 OK").await;
        held.push(reader);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_does_not_follow_all_logs() {
    let served = Served::with(ServeOptions::default()).await;
    let service = &served.service;
    let run_id = service.run(&service.integration("One").await).await;
    let path = format!("/api/v1/runs/{run_id}/log/follow");
    let mut followers = Vec::new();
    for _ in 0..8 {
        let mut reader = served.get(&path, "").await;
        until(&mut reader, "text/event-stream").await;
        followers.push(reader);
    }
    let refused = rest(served.get(&path, "Connection: close\r\n").await).await;
    assert!(refused.contains(" 429 ") && refused.contains("following too many"), "{refused}");
    // Somebody else still may.
    let token = service.tokens[&(Role::Member, Scope::Read)].expose_secret();
    let mut other = served.connect().await;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {token}\r\n\r\n");
    other.write_all(request.as_bytes()).await.unwrap();
    until(&mut BufReader::new(other), "text/event-stream").await;
}

/// The statuses of attempts to sign in with different names, each with what proxies are said to have told.
async fn signed_in(trusted: &[&str], told: &[&str]) -> Vec<String> {
    let trusted: Vec<_> = trusted.iter().map(|network| network.parse().unwrap()).collect();
    let once = Allowance { burst: 1, every: TimeDelta::hours(1) };
    let service = Service::with(|options| {
        options.trusted_proxies = trusted;
        options.rates.sign_in_address = once;
    });
    let served = Served::of(service.await, ServeOptions::default()).await;
    let mut statuses = Vec::new();
    for (number, told) in told.iter().enumerate() {
        let body = format!("{{\"name\":\"somebody {number}\",\"password\":\"a wrong password\"}}");
        let request = format!(
            "POST /api/v1/session HTTP/1.1\r\nHost: here\r\nX-Forwarded-For: {told}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = served.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = rest(BufReader::new(stream)).await;
        statuses.push(answer.split(' ').nth(1).unwrap().to_owned());
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_each_client_has_an_allowance_of_its_own_and_none_more() {
    let told = ["198.51.100.1", "198.51.100.2", "198.51.100.1", "203.0.113.7, 198.51.100.1"];
    assert_eq!(signed_in(&["127.0.0.1"], &told).await, ["401", "401", "429", "429"]);
    // A client that is no proxy says what it wants, and is not believed.
    assert_eq!(signed_in(&[], &told).await, ["401", "429", "429", "429"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_more_waits_for_another_to_end() {
    let served = Served::with(ServeOptions { connections: 1, ..ServeOptions::default() }).await;
    let mut first = served.get("/healthz", "").await;
    until(&mut first, "200 OK").await;
    let second = served.get("/healthz", "Connection: close\r\n").await;
    drop(first);
    assert!(rest(second).await.contains("200 OK"));
}
