//! Requests to a service: one address, one token, deadlines, and a few tries where nothing can be done twice.

use std::time::Duration;

use reqwest::{
    Method, Response, StatusCode, Url,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH, LOCATION,
        RETRY_AFTER,
    },
};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use service::api::shapes::{IntegrationView, Page, ProblemView};

use super::{RemoteError, address::ServerAddress};
use crate::{config::nearest, display, exit::ExitStatus, failure::Failure};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take, but for those that say otherwise.
const USUAL: Duration = Duration::from_secs(60);
/// How long a check of connections may take; the service gives up before.
const CHECK: Duration = Duration::from_secs(150);
/// The largest answer that is read.
const LARGEST: usize = 64 << 20;
/// The most that the service puts on a page.
const PAGE: usize = 500;
/// How long is waited before each further try.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(1_000), Duration::from_millis(3_000)];
/// The longest wait that a service may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Whose certificates are believed.
#[derive(Debug)]
pub(super) enum Trust {
    /// Those of the system.
    System,
    /// Those of the system and these.
    And(Vec<reqwest::Certificate>),
}

impl Trust {
    /// The certificates of a PEM file's content besides those of the system; nothing if it has none.
    pub(super) fn and(pem: &[u8]) -> Result<Option<Self>, reqwest::Error> {
        let found = reqwest::Certificate::from_pem_bundle(pem)?;
        Ok(Some(found).filter(|found| !found.is_empty()).map(Self::And))
    }
}

/// What was answered: as the service wrote it, and as it is understood.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    /// The JSON, for programs.
    pub(crate) json: Value,
    /// Its meaning.
    pub(crate) view: T,
}

/// A service.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    address: ServerAddress,
}

/// A request.
#[derive(Debug)]
struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    /// JSON, which may hold secrets.
    body: Option<SecretString>,
    limit: Duration,
    /// Whether it does nothing twice.
    is_repeatable: bool,
}

impl Client {
    /// Gets ready to ask. Nothing is sent yet.
    ///
    /// # Errors
    /// When the token or a certificate can't be used.
    pub(super) fn new(
        address: ServerAddress,
        token: &SecretString,
        trust: Trust,
    ) -> Result<Self, Failure> {
        let bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret().trim()));
        let mut bearer = bearer.map_err(|_| {
            Failure::configuration("The API token holds characters that no token has")
                .with_hint("Give it alone, as the service showed it")
        })?;
        bearer.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (AUTHORIZATION, bearer),
            (ACCEPT, HeaderValue::from_static("application/json, application/problem+json")),
        ]);
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("backstitch/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT)
            // The token must not travel anywhere but to the address that was named.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // Repeating is decided in one place, which knows what may be repeated.
            .retry(reqwest::retry::never());
        if address.is_loopback() {
            builder = builder.no_proxy();
        }
        let certificates = match trust {
            Trust::System => Vec::new(),
            Trust::And(certificates) => certificates,
        };
        builder = if address.is_encrypted() {
            builder.https_only(true).tls_certs_merge(certificates)
        } else {
            // No TLS, so the system's certificates aren't needed, and needn't be there.
            builder.tls_certs_only(certificates)
        };
        let http = builder.build().map_err(|error| {
            Failure::new(ExitStatus::Configuration, "The connection to the service can't be set up")
                .caused_by(&error)
        })?;
        Ok(Self { http, address })
    }

    /// The service's address, for people.
    pub(crate) fn server(&self) -> String {
        self.address.to_string()
    }

    /// Reads something.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Answer<T>, RemoteError> {
        let mut request = self.request(Method::GET, path, query);
        request.is_repeatable = true;
        self.understood(self.answered(request).await?)
    }

    /// Reads a list, page after page, until it ends or there are as many as wanted.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Answer<Page<T>>, RemoteError> {
        let (mut items, mut views) = (Vec::new(), Vec::new());
        let mut next = cursor.map(str::to_owned);
        loop {
            let mut asked = query.to_vec();
            asked.push(("limit", PAGE.min(limit - views.len()).max(1).to_string()));
            asked.extend(next.take().map(|cursor| ("cursor", cursor)));
            let page: Answer<Page<T>> = self.get(path, &asked).await?;
            let Page { items: found, next: following } = page.view;
            let is_last = found.is_empty() || following.is_none();
            views.extend(found);
            if let Value::Object(mut fields) = page.json
                && let Some(Value::Array(found)) = fields.remove("items")
            {
                items.extend(found);
            }
            next = following;
            if is_last || views.len() >= limit {
                let json = json!({ "items": items, "next": next });
                return Ok(Answer { json, view: Page { items: views, next } });
            }
        }
    }

    /// Has something done.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: SecretString,
    ) -> Result<Answer<T>, RemoteError> {
        let mut request = self.request(Method::POST, path, &[]);
        request.body = Some(body);
        // With a key, the service does it once, however often it is asked.
        let key = HeaderValue::try_from(hex::encode(rand::random::<[u8; 16]>()));
        request.is_repeatable = key.is_ok();
        request.headers.extend(key.ok().map(|key| (IDEMPOTENCY_KEY, key)));
        if path.last().is_some_and(|last| last.ends_with("checks")) {
            request.limit = CHECK;
        }
        self.understood(self.answered(request).await?)
    }

    /// Changes something, where it has versions only if it still is as it was read.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        path: &[&str],
        version: Option<i64>,
        body: SecretString,
    ) -> Result<Answer<T>, RemoteError> {
        let mut request = self.request(Method::PATCH, path, &[]);
        request.body = Some(body);
        let version = version.map(|version| HeaderValue::try_from(format!("\"{version}\"")));
        let version = version.and_then(Result::ok);
        request.headers.extend(version.map(|version| (IF_MATCH, version)));
        self.understood(self.answered(request).await?)
    }

    /// Deletes something.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub(crate) async fn delete(&self, path: &[&str]) -> Result<(), RemoteError> {
        self.answered(self.request(Method::DELETE, path, &[])).await.map(drop)
    }

    /// The integrations, all of them.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub(crate) async fn integrations(&self) -> Result<Answer<Page<IntegrationView>>, RemoteError> {
        self.list(&["integrations"], &[], usize::MAX, None).await
    }

    /// An integration by its name, or by its id.
    ///
    /// # Errors
    /// When there is none, naming one that was perhaps meant; or as in [`RemoteError`].
    pub(crate) async fn integration(&self, name: &str) -> Result<Answer<IntegrationView>, Failure> {
        let Answer { mut json, view } = self.integrations().await?;
        let known = view.items.iter().position(|found| found.name == name);
        let Some(position) = known.or_else(|| view.items.iter().position(|found| found.id == name))
        else {
            let hint = match nearest(name, view.items.iter().map(|found| found.name.as_str())) {
                Some(meant) => format!("Did you mean `{}`?", display::one_line(meant, 200)),
                None => "`backstitch integrations` lists those that there are".to_owned(),
            };
            let message =
                format!("The service has no integration `{}`", display::one_line(name, 200));
            return Err(Failure::configuration(message).with_hint(hint));
        };
        let json = json["items"][position].take();
        let view = view.items.into_iter().nth(position).expect("its position was just found");
        Ok(Answer { json, view })
    }

    /// A stream of server-sent events, after the one with this id if it is given.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub(super) async fn stream(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        after: Option<&str>,
    ) -> Result<Response, RemoteError> {
        let mut builder = self
            .http
            .get(self.address.route(path, query))
            .header(ACCEPT, "text/event-stream, application/problem+json");
        if let Some(after) = after {
            builder = builder.header("last-event-id", after);
        }
        let sent = tokio::time::timeout(USUAL, builder.send()).await;
        let response = sent.map_err(|_| self.timed_out(USUAL))?;
        let response = response.map_err(|error| self.failure(error, USUAL))?;
        if response.status() != StatusCode::OK {
            return Err(self
                .read(response, USUAL)
                .await
                .err()
                .unwrap_or_else(|| self.foreign("no events")));
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return Err(self.foreign("no events"));
        }
        Ok(response)
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> Request {
        Request {
            method,
            url: self.address.route(path, query),
            headers: HeaderMap::new(),
            body: None,
            limit: USUAL,
            is_repeatable: false,
        }
    }

    /// Sends a request, again if that may help and can't hurt, and reads the answer.
    async fn answered(&self, request: Request) -> Result<Value, RemoteError> {
        for pause in PAUSES {
            let (error, asked) = match self.tried(&request).await {
                (Err(error), asked) => (error, asked),
                (result, _) => return result,
            };
            let asked = asked.unwrap_or_default();
            if !request.is_repeatable || !error.is_retriable() || asked > LONGEST_PAUSE {
                return Err(error);
            }
            tokio::time::sleep(pause.max(asked)).await;
        }
        self.tried(&request).await.0
    }

    /// One try, and how long the service asks to wait before the next.
    async fn tried(&self, request: &Request) -> (Result<Value, RemoteError>, Option<Duration>) {
        let mut builder = self
            .http
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone())
            .timeout(request.limit);
        if let Some(body) = &request.body {
            let body = body.expose_secret().to_owned();
            builder = builder.header(CONTENT_TYPE, "application/json").body(body);
        }
        match builder.send().await {
            Err(error) => (Err(self.failure(error, request.limit)), None),
            Ok(response) => {
                let asked = retry_after(response.headers());
                (self.read(response, request.limit).await, asked)
            }
        }
    }

    /// Reads an answer to its end: JSON, nothing, or what is wrong.
    async fn read(&self, mut response: Response, limit: Duration) -> Result<Value, RemoteError> {
        let status = response.status();
        if status.is_redirection() {
            let location = response.headers().get(LOCATION).and_then(|place| place.to_str().ok());
            let target = location.and_then(|location| self.address.target(location));
            let target = display::one_line(target.as_deref().unwrap_or("nowhere"), 200);
            return Err(RemoteError::Redirect { server: self.server(), target });
        }
        let mut bytes = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.failure(error, limit))?
        {
            if bytes.len() + chunk.len() > LARGEST {
                return Err(self.foreign("an answer without end"));
            }
            bytes.extend_from_slice(&chunk);
        }
        let what = || self.foreign(&format!("{status}"));
        if status.is_success() {
            if bytes.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(&bytes).map_err(|_| what());
        }
        match serde_json::from_slice::<ProblemView>(&bytes) {
            Ok(problem) => Err(RemoteError::Problem(Box::new(problem))),
            // A proxy before the service says in its own way that nobody is there.
            Err(_) if matches!(status.as_u16(), 429 | 502..=504) => {
                Err(RemoteError::Problem(Box::new(ProblemView {
                    kind: "about:blank".to_owned(),
                    title: String::new(),
                    status: status.as_u16(),
                    detail: format!("What is before the service answers {status}"),
                    remedy: "Look whether the service runs, then try again".to_owned(),
                    errors: Vec::new(),
                })))
            }
            Err(_) => Err(what()),
        }
    }

    pub(super) fn understood<T: DeserializeOwned>(
        &self,
        json: Value,
    ) -> Result<Answer<T>, RemoteError> {
        // What is embedded in another shape can't be read straight from the text where numbers are kept exactly.
        let view = serde_json::from_value(json.clone())
            .map_err(|error| self.foreign(&display::one_line(&error.to_string(), 200)))?;
        Ok(Answer { json, view })
    }

    /// What an error of the HTTP client means.
    pub(super) fn failure(&self, error: reqwest::Error, limit: Duration) -> RemoteError {
        if error.is_timeout() {
            return self.timed_out(if error.is_connect() { CONNECT } else { limit });
        }
        RemoteError::Unreachable { server: self.server(), source: Box::new(error.without_url()) }
    }

    pub(super) fn timed_out(&self, limit: Duration) -> RemoteError {
        RemoteError::TimedOut { server: self.server(), seconds: limit.as_secs() }
    }

    pub(super) fn foreign(&self, what: &str) -> RemoteError {
        RemoteError::Foreign { server: self.server(), what: what.to_owned() }
    }
}

const IDEMPOTENCY_KEY: reqwest::header::HeaderName =
    reqwest::header::HeaderName::from_static("idempotency-key");

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
