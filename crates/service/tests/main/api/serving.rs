//! The API as it is served: connections, their ends, and logs that are followed.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use secrecy::ExposeSecret;
use service::{
    api::{ServeOptions, serve},
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
async fn one_connection_more_waits_for_another_to_end() {
    let served = Served::with(ServeOptions { connections: 1, ..ServeOptions::default() }).await;
    let mut first = served.get("/healthz", "").await;
    until(&mut first, "200 OK").await;
    let second = served.get("/healthz", "Connection: close\r\n").await;
    drop(first);
    assert!(rest(second).await.contains("200 OK"));
}
