//! The HTTP server, and the handle of one that runs.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::runtime::Runtime;

use crate::account::Table;
use crate::account::custom_field::{CustomField, FieldChange, UnknownField};
use crate::account::mutation::{Mutation, MutationReport};
use crate::behaviour::BehaviourError;
use crate::config::SimConfig;
use crate::control;
use crate::fault::Fault;
use crate::request::{Envelope, REQUEST_LIMIT, parse_document};
use crate::response::{Reply, set_date};
use crate::service::Service;
use crate::settings::{Failure, Presence, Settings, Switch};
use crate::statistics::Stats;

/// Why a server could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A behaviour was not understood.
    #[error("The simulated account could not be set up")]
    Behaviour(#[from] BehaviourError),
    /// The address could not be listened on.
    #[error("Could not listen on `{address}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The threads of the server could not be started.
    #[error("The threads of the server could not be started")]
    Threads(#[source] std::io::Error),
}

/// Starts simulated servers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Makes the account and serves it until the handle is dropped or shut down.
    ///
    /// The server has threads of its own, so it answers even while the caller blocks its runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`] if a behaviour is unknown or the address is taken.
    ///
    /// # Example
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let server = bronto_sim::Server::start(bronto_sim::SimConfig::default()).await?;
    /// assert!(server.endpoint().ends_with("/v4"));
    /// assert_eq!(server.truth(bronto_sim::Table::List).len(), 25);
    /// # Ok::<(), bronto_sim::StartError>(()) }).unwrap();
    /// ```
    pub async fn start(config: SimConfig) -> Result<RunningServer, StartError> {
        let started = tokio::task::spawn_blocking(move || Self::start_blocking(&config)).await;
        started.map_err(|error| StartError::Threads(std::io::Error::other(error)))?
    }

    /// As [`Server::start`], for callers without a runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`] if a behaviour is unknown or the address is taken.
    pub fn start_blocking(config: &SimConfig) -> Result<RunningServer, StartError> {
        let service = Arc::new(Service::new(config)?);
        let listen_error = |source| StartError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).map_err(listen_error)?;
        listener.set_nonblocking(true).map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("bronto-sim")
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(listen_error)?
        };
        let running = RunningServer { service, address, runtime: Some(runtime) };
        running.serve(listener);
        Ok(running)
    }
}

/// A simulated server that runs; dropping it stops it.
#[derive(Debug)]
pub struct RunningServer {
    service: Arc<Service>,
    address: SocketAddr,
    /// The server's threads; gone once it is shut down.
    runtime: Option<Runtime>,
}

impl RunningServer {
    /// The address of the API: `http://ADDRESS/v4`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        endpoint(self.address)
    }

    /// The address of the server: `http://ADDRESS`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", reachable(self.address))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The simulated clock's now.
    #[must_use]
    pub fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.service.now().to_utc()
    }

    /// Every row of a table as it is now, by column name; see [`RunningServer::truth_lines`].
    #[must_use]
    pub fn truth(&self, table: Table) -> Vec<Map<String, Value>> {
        self.truth_lines(table)
            .lines()
            .map(|line| serde_json::from_str(line).expect("the truth is JSON lines"))
            .collect()
    }

    /// Every row of a table as it is now, one JSON object a line, by replication key.
    ///
    /// Absent fields are left out, dates are canonical UTC, numbers are texts with the digits that the API
    /// serves. Rows that no UTF-8 text can hold are left out.
    #[must_use]
    pub fn truth_lines(&self, table: Table) -> String {
        let settings = self.service.behaviours.settings();
        let account = self.service.account_copy();
        let numbers = account.readable(table, &settings, self.service.now());
        let mut out = Vec::with_capacity(numbers.len() * 700);
        account.write_truth(table, &numbers, &settings, &mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    /// What the server has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.service.stats()
    }

    /// Changes the account at the clock's now.
    pub fn mutate(&self, mutation: &Mutation) -> MutationReport {
        self.service.mutate(mutation)
    }

    /// The custom fields that contacts can have now, by id.
    #[must_use]
    pub fn custom_fields(&self) -> Vec<CustomField> {
        self.service.custom_fields()
    }

    /// Changes custom fields at the clock's now, all or none of them; answers the fields' ids.
    ///
    /// # Errors
    ///
    /// [`UnknownField`] if a change is about a name that no field has.
    pub fn change_fields(&self, changes: &[FieldChange]) -> Result<Vec<String>, UnknownField> {
        self.service.change_fields(changes)
    }

    /// Moves the simulated clock, backwards if negative.
    pub fn advance_seconds(&self, seconds: i64) {
        self.service.mutate(&Mutation { advance_seconds: seconds, ..Mutation::default() });
    }

    /// Sets a behaviour from the next call on.
    ///
    /// # Errors
    ///
    /// [`BehaviourError`] if there is no such behaviour or it doesn't take the value.
    pub fn set_behaviour(&self, name: &str, value: &str) -> Result<(), BehaviourError> {
        self.service.behaviours.set(name, value)
    }

    /// Stops the server and waits until its threads are gone.
    pub async fn shutdown(mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for threads would block the caller's runtime.
            let stopped = tokio::task::spawn_blocking(move || {
                runtime.shutdown_timeout(Duration::from_secs(5));
            });
            // The task can't fail: shutting down doesn't panic, and nobody aborts it.
            drop(stopped.await);
        }
    }

    fn serve(&self, listener: tokio::net::TcpListener) {
        let Some(runtime) = &self.runtime else {
            return;
        };
        let app = router(&self.service, self.address);
        let listener = listener.tap_io(|stream| {
            // Without this, small answers wait for the client's delayed acknowledgement.
            if let Err(error) = stream.set_nodelay(true) {
                eprintln!("WARNING Could not turn off delayed sending: {error}");
            }
        });
        runtime.spawn(async move { axum::serve(listener, app).await });
        runtime.spawn(mutate_by_itself(Arc::clone(&self.service)));
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A server on all interfaces is reached on the loopback one.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
    } else {
        address
    }
}

fn endpoint(address: SocketAddr) -> String {
    format!("http://{}/v4", reachable(address))
}

#[derive(Clone)]
struct Api {
    service: Arc<Service>,
    wsdl: Arc<str>,
}

fn router(service: &Arc<Service>, address: SocketAddr) -> Router {
    let api =
        Api { service: Arc::clone(service), wsdl: crate::wsdl::render(&endpoint(address)).into() };
    Router::new()
        .route("/v4", get(describe).post(call))
        .route("/v4/", get(describe).post(call))
        .with_state(api)
        .merge(control::router(Arc::clone(service)))
        .layer(DefaultBodyLimit::max(REQUEST_LIMIT))
        .layer(middleware::from_fn_with_state(Arc::clone(service), date_of_the_account))
}

/// Every answer carries the account's time, not the machine's.
async fn date_of_the_account(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if !response.headers().contains_key(header::DATE) {
        set_date(&mut response, service.now());
    }
    response
}

async fn describe(State(api): State<Api>, uri: Uri) -> Response {
    let wants_wsdl = uri.query().is_some_and(|query| query.eq_ignore_ascii_case("wsdl"));
    if wants_wsdl {
        let content_type = [(header::CONTENT_TYPE, "text/xml;charset=UTF-8")];
        return (content_type, api.wsdl.to_string()).into_response();
    }
    let hint = "This is a SOAP endpoint; its description is at ?wsdl\n";
    (StatusCode::METHOD_NOT_ALLOWED, hint).into_response()
}

async fn call(State(api): State<Api>, headers: HeaderMap, body: Bytes) -> Response {
    let service = api.service;
    let settings = service.behaviours.settings();
    let pause = |milliseconds: u32| Duration::from_millis(u64::from(milliseconds));
    tokio::time::sleep(pause(settings.latency_ms)).await;
    let slow = pause(settings.slow_ms);
    let gzip = settings.compression == Switch::On && offers_gzip(&headers);
    // Making a page takes milliseconds, too long for a thread that serves connections.
    let worker = Arc::clone(&service);
    let reply = tokio::task::spawn_blocking(move || {
        let mut reply = reply_to(&worker, &body, &settings);
        if gzip {
            reply.gzip()?;
        }
        worker.statistics.bytes_out(reply.body_length());
        Ok::<_, std::io::Error>(reply)
    })
    .await;
    match reply {
        Ok(Ok(reply)) => reply.send(service.now(), slow).await,
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn offers_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("gzip"))
}

fn reply_to(service: &Service, body: &[u8], settings: &Settings) -> Reply {
    let with_detail = settings.fault_detail == Presence::Present;
    let fault_reply = |fault: &Fault| {
        service.statistics.fault(&fault.code().to_string());
        Reply::xml(StatusCode::INTERNAL_SERVER_ERROR, fault.envelope(with_detail))
    };
    let Ok(text) = std::str::from_utf8(body) else {
        return fault_reply(&Fault::new(107));
    };
    let document = match parse_document(text) {
        Ok(document) => document,
        Err(fault) => return fault_reply(&fault),
    };
    let envelope = match Envelope::read(&document) {
        Ok(envelope) => envelope,
        Err(fault) => return fault_reply(&fault),
    };
    service.statistics.request(envelope.operation.name());
    let failure = service.weigh_failure(envelope.operation, settings);
    if let Some(Failure::Fault(code)) = failure {
        return fault_reply(&service.failing(code, &envelope));
    }
    if let Some(failure) = failure {
        service.statistics.fault(failure.name());
        if let Some(reply) = Reply::in_place_of_answer(failure) {
            return reply;
        }
    }
    let mut reply = match service.answer(&envelope, settings) {
        Ok(body) => Reply::xml(StatusCode::OK, body),
        Err(fault) => fault_reply(&fault),
    };
    if let Some(failure) = failure {
        reply.damage(failure);
    }
    reply
}

/// Lets the account change by itself while the behaviour asks for it.
async fn mutate_by_itself(service: Arc<Service>) {
    const STEPS_PER_SECOND: u32 = 5;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / STEPS_PER_SECOND);
    let mut owed: u32 = 0;
    loop {
        ticks.tick().await;
        let rate = service.behaviours.settings().mutate_per_second;
        if rate == 0 {
            continue;
        }
        owed = rate.saturating_add(owed);
        let count = owed / STEPS_PER_SECOND;
        owed %= STEPS_PER_SECOND;
        if count > 0 {
            let contacts = count.div_ceil(2);
            let activities = (count - contacts).div_ceil(2);
            service.mutate(&Mutation {
                contacts,
                activities,
                unsubscribes: count - contacts - activities,
                ..Mutation::default()
            });
        }
    }
}
