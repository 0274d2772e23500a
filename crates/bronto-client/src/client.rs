//! The client: the token, the way to the service, and the counts of all sessions.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::bodies::Room;
use crate::config::{Backoff, ClientConfig};
use crate::decode::{self, Answer, AnswerDefect, Rows};
use crate::endpoint::Endpoint;
use crate::envelope;
use crate::error::ClientError;
use crate::fault::Fault;
use crate::object::ObjectTable;
use crate::request::Function;
use crate::session::Session;
use crate::statistics::Statistics;
use crate::transport::{Exchange, Transport};

/// The most unknown elements that are remembered.
const MOST_UNKNOWN_ELEMENTS: usize = 100;

/// How many logins go on at once.
const LOGINS_AT_ONCE: usize = 4;

/// A client of one account. Cloning is cheap; clones share connections, counts and the turns
/// to log in.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    transport: Transport,
    token: SecretString,
    max_retries: u32,
    backoff: Backoff,
    /// Held during a login: many at once look like an attack.
    login_turns: Semaphore,
    statistics: Mutex<Statistics>,
    /// The latest `Date` of an answer, in seconds since 1970; before the first, the least number.
    server_second: AtomicI64,
}

/// A failed try, and how long the service asked to wait.
pub(crate) struct Failure {
    pub(crate) error: ClientError,
    pub(crate) retry_after: Option<Duration>,
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let retry_after = None;
        Self { error, retry_after }
    }
}

/// When an answer was asked for, by both clocks, and what it was.
pub(crate) struct Received<T> {
    pub(crate) answer: Answer<T>,
    pub(crate) sent_at: DateTime<Utc>,
    pub(crate) server_date: Option<DateTime<Utc>>,
    pub(crate) retry_after: Option<Duration>,
    /// Its size, after decompression.
    pub(crate) body_bytes: u64,
    /// To be held for as long as what was decoded is in hand.
    pub(crate) room: Room,
}

impl Client {
    /// Makes a client. Nothing is sent yet.
    ///
    /// No process-wide TLS provider is needed: the one that is installed is used, else the HTTP
    /// client's own.
    ///
    /// # Errors
    ///
    /// [`ClientError::BadToken`] and [`ClientError::BadSetting`].
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let token = config.token.expose_secret();
        if token.is_empty() || token.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(ClientError::BadToken);
        }
        let transport = Transport::new(&config)?;
        let ClientConfig { token, max_retries, backoff, .. } = config;
        Ok(Self {
            shared: Arc::new(Shared {
                transport,
                token,
                max_retries,
                backoff,
                login_turns: Semaphore::new(LOGINS_AT_ONCE),
                statistics: Mutex::default(),
                server_second: AtomicI64::new(i64::MIN),
            }),
        })
    }

    /// Logs in. Of all logins of one client, renewals included, only a few go on at once.
    ///
    /// # Errors
    ///
    /// Those of [`Session::read`], but never [`ClientError::CursorLost`].
    pub async fn session(&self) -> Result<Session, ClientError> {
        let mut session = self.idle_session();
        session.log_in().await?;
        Ok(session)
    }

    /// A session that logs in with its first read.
    pub fn idle_session(&self) -> Session {
        Session::idle(self.clone())
    }

    /// The service's clock: the latest `Date` of any answer so far, logins and faults included.
    pub fn server_date(&self) -> Option<DateTime<Utc>> {
        match self.shared.server_second.load(Ordering::Relaxed) {
            i64::MIN => None,
            second => DateTime::from_timestamp(second, 0),
        }
    }

    /// What all sessions of this client and its clones have done so far.
    pub fn statistics(&self) -> Statistics {
        self.shared.statistics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where requests go.
    pub fn endpoint(&self) -> &Endpoint {
        self.shared.transport.endpoint()
    }

    pub(crate) fn max_retries(&self) -> u32 {
        self.shared.max_retries
    }

    pub(crate) fn backoff(&self) -> &Backoff {
        &self.shared.backoff
    }

    /// Changes the counts. The lock is held for no longer than that.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Statistics)) {
        change(&mut self.shared.statistics.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Counts the objects of a page, and says so when some hold elements that are not known.
    pub(crate) fn count_rows(&self, table: &ObjectTable, rows: &Rows) {
        let mut news = Vec::new();
        self.count(|statistics| {
            statistics.rows += rows.count as u64;
            for name in &rows.unknown_elements {
                if statistics.unknown_elements.len() < MOST_UNKNOWN_ELEMENTS
                    && statistics.unknown_elements.insert(format!("{}/{name}", table.name))
                {
                    news.push(name);
                }
            }
        });
        for element in news {
            let object = table.name;
            tracing::warn!(
                object,
                element,
                "Bronto sent an element that is not known and was left out"
            );
        }
    }

    /// One try to log in.
    pub(crate) async fn login(&self) -> Result<SecretString, Failure> {
        let _turn = self.shared.login_turns.acquire().await;
        let envelope = envelope::login(&self.shared.token);
        let received = self.call(Function::Login, "", envelope, None, decode::session_id).await?;
        match received.answer {
            Answer::Response(id) => {
                self.count(|statistics| statistics.logins += 1);
                Ok(id)
            }
            Answer::Fault(fault) => Err(Failure {
                error: ClientError::Fault { function: Function::Login, fault },
                retry_after: received.retry_after,
            }),
        }
    }

    /// One exchange: sends, receives, decodes, counts and logs. `what` is the request in words.
    pub(crate) async fn call<T>(
        &self,
        function: Function,
        what: &str,
        envelope: String,
        session: Option<&SecretString>,
        decode: impl FnOnce(&[u8]) -> Result<Answer<T>, AnswerDefect>,
    ) -> Result<Received<T>, Failure> {
        self.count(|statistics| *statistics.requests.entry(function).or_default() += 1);
        let sent_at = Utc::now();
        let clock = Instant::now();
        let exchange = self.shared.transport.post(function, envelope).await;
        let duration_ms = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (exchange, body) = exchange.inspect_err(|error| {
            tracing::debug!(%function, request = what, duration_ms, %error, "Asked Bronto in vain");
        })?;
        let body_bytes = body.bytes.len() as u64;
        self.count(|statistics| statistics.body_bytes += body_bytes);
        let status = exchange.status.as_u16();
        tracing::debug!(%function, request = what, status, bytes = body_bytes, duration_ms, "Asked Bronto");
        let answer = interpret(function, &exchange, &body.bytes, decode)
            .map_err(|error| Failure { error, retry_after: exchange.retry_after })?;
        // Only Bronto's own answers tell its time; a proxy's page may come from a clock that is ahead.
        if let Some(date) = exchange.server_date {
            self.shared.server_second.fetch_max(date.timestamp(), Ordering::Relaxed);
        }
        Ok(Received {
            answer: self.without_secrets(answer, session),
            sent_at,
            server_date: exchange.server_date,
            retry_after: exchange.retry_after,
            body_bytes,
            room: body.into_room(),
        })
    }

    /// Masks a fault's text, and counts the fault.
    fn without_secrets<T>(&self, answer: Answer<T>, session: Option<&SecretString>) -> Answer<T> {
        let Answer::Fault(fault) = answer else {
            return answer;
        };
        let mut fault: Fault = fault.mask(&self.shared.token);
        if let Some(session) = session {
            fault = fault.mask(session);
        }
        self.count(|statistics| *statistics.faults.entry(fault.code()).or_default() += 1);
        Answer::Fault(fault)
    }
}

/// What an exchange amounts to. Faults come with status 500 as a rule, but any status may carry
/// one; the response itself counts only with a status of success.
fn interpret<T>(
    function: Function,
    exchange: &Exchange,
    body: &[u8],
    decode: impl FnOnce(&[u8]) -> Result<Answer<T>, AnswerDefect>,
) -> Result<Answer<T>, ClientError> {
    if !exchange.status.is_success() {
        return match decode::fault_in(function, body) {
            Some(fault) => Ok(Answer::Fault(fault)),
            None => Err(ClientError::HttpStatus { function, status: exchange.status.as_u16() }),
        };
    }
    let charset = exchange.charset.as_deref();
    let answer = decode(body)
        .and_then(|answer| charset.map_or(Ok(()), decode::require_utf8).map(|()| answer));
    answer.map_err(|source| ClientError::BadAnswer { function, source })
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("endpoint", self.endpoint()).finish_non_exhaustive()
    }
}
