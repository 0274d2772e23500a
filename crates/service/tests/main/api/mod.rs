//! The API, called as its router: who may do what, what is answered, and that no secret ever is.

mod access;
mod accounts;
mod documents;
mod foreign;
mod host;
mod idempotency;
mod integrations;
mod kept;
mod logs;
mod problems;
mod reports;
mod runs;
mod serving;
mod sessions;
mod tasks;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
};
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use service::{
    Store,
    api::{ApiOptions, ApiState, passwords, router},
    store::{Role, Scope},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use self::host::Workshop;
use crate::at;

/// The password of every user of these tests.
const PASSWORD: &str = "correct horse battery";

/// A secret that must be found in no answer.
const MARKER: &str = "MARKER-7f3a9c";

/// A service whose clock stands still until it is moved.
struct Service {
    router: Router,
    store: Arc<Store>,
    host: Arc<Workshop>,
    now: Arc<Mutex<DateTime<Utc>>>,
    wakes: Arc<AtomicUsize>,
    stop: CancellationToken,
    tokens: HashMap<(Role, Scope), SecretString>,
    _folder: tempfile::TempDir,
}

/// An answer that was read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Service {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut ApiOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let from = at("2026-05-01 12:00");
        let path = folder.path().join("control.db");
        let store = Arc::new(Store::sqlite(&path, from).await.unwrap());
        let now = Arc::new(Mutex::new(from));
        let told = Arc::clone(&now);
        let wakes = Arc::new(AtomicUsize::new(0));
        let woken = Arc::clone(&wakes);
        let host = Arc::new(Workshop::default());
        let stop = CancellationToken::new();
        let mut options = ApiOptions::default();
        change(&mut options);
        let router = router(ApiState {
            store: Arc::clone(&store),
            host: Arc::<Workshop>::clone(&host),
            clock: Arc::new(move || *told.lock().unwrap()),
            wake: Arc::new(move || {
                woken.fetch_add(1, Ordering::Relaxed);
            }),
            stop: stop.clone(),
            options,
        });
        let hash = passwords::hash(&PASSWORD.into()).unwrap();
        let mut tokens = HashMap::new();
        for role in [Role::Administrator, Role::Member, Role::Viewer] {
            let user = store.create_user(role.name(), role, &hash, from).await.unwrap();
            for scope in [Scope::Read, Scope::Write] {
                let made = store.create_token(&user.id, "test", scope, None, from).await.unwrap();
                tokens.insert((role, scope), made.text);
            }
        }
        Self { router, store, host, now, wakes, stop, tokens, _folder: folder }
    }

    fn pass(&self, time: TimeDelta) {
        *self.now.lock().unwrap() += time;
    }

    fn now(&self) -> DateTime<Utc> {
        *self.now.lock().unwrap()
    }

    /// A request of a role with the wider scope.
    fn request(&self, role: Role, method: &str, path: &str) -> Call<'_> {
        let token = self.tokens[&(role, Scope::Write)].expose_secret();
        self.anonymous(method, path).header("authorization", &format!("Bearer {token}"))
    }

    fn administrator(&self, method: &str, path: &str) -> Call<'_> {
        self.request(Role::Administrator, method, path)
    }

    fn member(&self, method: &str, path: &str) -> Call<'_> {
        self.request(Role::Member, method, path)
    }

    fn anonymous(&self, method: &str, path: &str) -> Call<'_> {
        let builder = Request::builder().method(Method::try_from(method).unwrap()).uri(path);
        Call { service: self, builder, body: String::new() }
    }

    /// Makes an integration, and answers its id.
    async fn integration(&self, name: &str) -> String {
        let body = json!({
            "name": name,
            "settings": { "endpoint": "https://one.example" },
            "secrets": { "token": MARKER },
        });
        let answer = self.member("POST", "/api/v1/integrations").json(&body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.value()["id"].as_str().unwrap().to_owned()
    }

    /// Starts a run by hand, and answers its id.
    async fn run(&self, integration_id: &str) -> String {
        let path = format!("/api/v1/integrations/{integration_id}/runs");
        let answer = self.member("POST", &path).send().await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.value()["id"].as_str().unwrap().to_owned()
    }
}

/// A request that is being made.
struct Call<'s> {
    service: &'s Service,
    builder: axum::http::request::Builder,
    body: String,
}

impl Call<'_> {
    fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    fn text(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    async fn json(self, body: &Value) -> Answer {
        self.header("content-type", "application/json").text(&body.to_string()).send().await
    }

    async fn send(self) -> Answer {
        let request = self.builder.body(Body::from(self.body)).unwrap();
        let response = self.service.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 10 << 20).await.unwrap();
        let body = String::from_utf8(bytes.to_vec()).unwrap();
        // Whatever is asked, no secret is told.
        assert!(!body.contains(MARKER), "a secret in {body}");
        for value in parts.headers.values() {
            assert!(!value.to_str().unwrap().contains(MARKER));
        }
        Answer { status: parts.status, headers: parts.headers, body }
    }
}

impl Answer {
    fn value(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that it is a problem of a kind, and answers it.
    fn problem(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.value();
        assert_eq!(problem["type"], format!("urn:backstitch:problem:{kind}"), "{problem}");
        assert_eq!(problem["status"], status);
        for field in ["title", "detail", "remedy"] {
            assert!(!problem[field].as_str().unwrap().is_empty(), "{problem}");
        }
        problem
    }

    /// The places of the faults of a problem.
    fn pointers(&self) -> Vec<String> {
        let problem = self.problem(422, "invalid");
        let faults = problem["errors"].as_array().unwrap();
        faults.iter().map(|fault| fault["pointer"].as_str().unwrap().to_owned()).collect()
    }
}
