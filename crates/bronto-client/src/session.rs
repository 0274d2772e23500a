//! A session: one worker's calls, with retries, renewals and the cursor that lives in it.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use crate::bodies::Room;
use crate::client::{Client, Failure};
use crate::decode::{self, Answer, Rows};
use crate::envelope;
use crate::error::ClientError;
use crate::fault::Fault;
use crate::fault_code::{FaultCode, Retry};
use crate::request::{Cursor, Function, ReadActivities, ReadRequest};
use crate::sink::RowSink;

/// A session with the service, for one worker.
///
/// It keeps itself alive: when the service declares it invalid it logs in again, and repeats what
/// may be repeated. Dropping it is fine; the service forgets sessions after 20 idle minutes.
pub struct Session {
    client: Client,
    /// None while the session must be renewed.
    id: Option<SecretString>,
    /// Whether this id has ever got an answer. Fault 107 means a stale session only then.
    proven: bool,
    /// The activity query whose cursor this session has open, as far as is known.
    open_query: Option<ReadActivities>,
    /// Cursors lost since one last moved.
    setbacks: u32,
    /// What the next read must wait, after a cursor was lost.
    pause: Duration,
    cost: SessionCost,
    /// The memory that the page read last may take.
    room: Room,
}

/// What a session has cost so far, whether its reads succeeded or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCost {
    /// Requests sent, failed tries and logins included.
    pub requests: u64,
    /// Requests repeated after a failure, and cursors begun again.
    pub retries: u64,
}

/// A page that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Objects in the page, those handed to [`RowSink::reject_row`] included.
    pub rows: usize,
    /// Objects handed to [`RowSink::reject_row`].
    pub rejected: usize,
    /// The service said that the activity window is at its end (fault 116); there are no rows.
    pub end_of_query: bool,
    /// The size of the answer, after decompression.
    pub body_bytes: u64,
    /// The requests that this page cost, failed tries and logins included.
    pub requests: u32,
    /// When the successful request was sent, by this machine's clock.
    pub sent_at: DateTime<Utc>,
    /// When it was answered, by the service's clock.
    pub server_date: Option<DateTime<Utc>>,
    /// Names of elements inside objects that the object's table doesn't hold. Their content was
    /// passed over.
    pub unknown_elements: Vec<String>,
}

/// What a page has cost so far.
#[derive(Default)]
struct Tally {
    requests: u32,
    failures: u32,
    /// The last failure was answered by a renewal that didn't count.
    renewed: bool,
}

impl Session {
    /// A session that isn't open yet.
    pub(crate) fn idle(client: Client) -> Self {
        Self {
            client,
            id: None,
            proven: false,
            open_query: None,
            setbacks: 0,
            pause: Duration::ZERO,
            cost: SessionCost::default(),
            room: Room::default(),
        }
    }

    /// Logs in if need be, retrying what may be retried. The first read would do so too.
    ///
    /// # Errors
    ///
    /// Those of [`Session::read`], but never [`ClientError::CursorLost`].
    pub async fn log_in(&mut self) -> Result<(), ClientError> {
        let mut tally = Tally::default();
        while let Err(failure) = self.ensure_id(&mut tally).await {
            self.recover(failure, &mut tally).await?;
        }
        Ok(())
    }

    /// What the session has cost so far.
    pub fn cost(&self) -> SessionCost {
        self.cost
    }

    /// Sends one read, retrying what may be retried, and decodes its page into `sink`.
    ///
    /// Each try begins with [`RowSink::clear`]; after an error the sink is clear too. Waits are
    /// those of [`ClientConfig`](crate::ClientConfig): the time per request, and pauses between
    /// tries. Dropping the future is safe; it only gives up an open cursor.
    ///
    /// How much memory the pages of all sessions may take together is limited. A page counts until
    /// its session reads the next one, or is [put aside](Session::put_aside).
    ///
    /// # Errors
    ///
    /// [`ClientError::CursorLost`] for a [`Cursor::Next`] that can't be sent or whose answer was
    /// lost: begin the window again with [`Cursor::First`]. A bound on how often is the caller's;
    /// the read after a lost cursor waits as a retry would. All other errors are final for this
    /// request.
    pub async fn read<S: RowSink>(
        &mut self,
        request: &ReadRequest,
        sink: &mut S,
    ) -> Result<Page, ClientError> {
        self.put_aside();
        let next = request.activities().filter(|read| read.cursor == Cursor::Next);
        if next.is_some_and(|read| !self.has_open(read)) {
            sink.clear();
            return Err(ClientError::CursorLost { source: None });
        }
        tokio::time::sleep(std::mem::take(&mut self.pause)).await;
        let what = request.to_string();
        let mut tally = Tally::default();
        loop {
            sink.clear();
            let failure = match self.try_read(request, &what, sink, &mut tally).await {
                Ok(page) => return Ok(page),
                Err(failure) => failure,
            };
            let recovered = match next {
                // The server may have moved on, so the same request would skip a page.
                Some(_) => Err(self.lose_cursor(failure)),
                None => self.recover(failure, &mut tally).await,
            };
            if let Err(error) = recovered {
                sink.clear();
                return Err(error);
            }
        }
    }

    /// What was read last is no longer in hand, so other sessions can have its memory.
    pub fn put_aside(&mut self) {
        self.room = Room::default();
    }

    /// Hands the room of the page that was read last over: what was made of the page counts until that is dropped, and no
    /// longer until the session reads the next one.
    pub fn hand_over_room(&mut self) -> Room {
        std::mem::take(&mut self.room)
    }

    /// Ends the session. Best effort: one try, and nothing depends on it.
    ///
    /// # Errors
    ///
    /// Whatever went wrong; the session is gone for this program all the same.
    pub async fn logout(mut self) -> Result<(), ClientError> {
        let Some(id) = self.id.take() else {
            return Ok(());
        };
        let function = Function::Logout;
        let envelope = envelope::logout(&id);
        let decode = decode::acknowledgement;
        let call = self.client.call(function, "", envelope, Some(&id), decode);
        match call.await.map_err(|failure| failure.error)?.answer {
            Answer::Response(()) => Ok(()),
            Answer::Fault(fault) => Err(ClientError::Fault { function, fault }),
        }
    }

    /// One try: logs in if need be, sends the request, decodes the answer.
    async fn try_read<S: RowSink>(
        &mut self,
        request: &ReadRequest,
        what: &str,
        sink: &mut S,
        tally: &mut Tally,
    ) -> Result<Page, Failure> {
        let id = self.ensure_id(tally).await?;
        if request.activities().is_some() {
            // Until the answer is here, nothing is known of the cursor.
            self.open_query = None;
        }
        let (function, table) = (request.function(), request.object());
        let envelope = envelope::read(&id, request);
        let decode = |body: &[u8]| {
            sink.expect(body.len());
            decode::rows(function, table, body, sink)
        };
        tally.requests += 1;
        self.cost.requests += 1;
        let call = self.client.call(function, what, envelope, Some(&id), decode);
        let received = call.await?;
        self.room = received.room;
        let (rows, end_of_query) = match received.answer {
            Answer::Response(rows) => (rows, false),
            Answer::Fault(fault) if is_end(function, &fault) => (Rows::default(), true),
            Answer::Fault(fault) => {
                return Err(Failure {
                    error: ClientError::Fault { function, fault },
                    retry_after: received.retry_after,
                });
            }
        };
        self.proven = true;
        if let Some(read) = request.activities() {
            self.keep_cursor(read, end_of_query);
        }
        self.client.count_rows(table, &rows);
        Ok(Page {
            rows: rows.count,
            rejected: rows.rejected,
            end_of_query,
            body_bytes: received.body_bytes,
            requests: tally.requests,
            sent_at: received.sent_at,
            server_date: received.server_date,
            unknown_elements: rows.unknown_elements,
        })
    }

    /// The id of the session, which is opened first if there is none.
    async fn ensure_id(&mut self, tally: &mut Tally) -> Result<SecretString, Failure> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        tally.requests += 1;
        self.cost.requests += 1;
        let id = self.client.login().await?;
        self.proven = false;
        self.id = Some(id.clone());
        Ok(id)
    }

    /// Whether the cursor of that query is open here.
    fn has_open(&self, read: &ReadActivities) -> bool {
        self.open_query.as_ref().is_some_and(|open| open.is_same_query(read))
    }

    /// Takes note of where the cursor is after an answer.
    fn keep_cursor(&mut self, read: &ReadActivities, end_of_query: bool) {
        if !end_of_query {
            self.open_query = Some(read.clone());
        }
        if end_of_query || read.cursor == Cursor::Next {
            self.setbacks = 0;
        }
    }

    /// Makes of a failed try what it means: an error, or a pause and another try.
    async fn recover(&mut self, failure: Failure, tally: &mut Tally) -> Result<(), ClientError> {
        let Failure { error, retry_after } = failure;
        let retry = self.retry(&error);
        match retry {
            Retry::No => return Err(error),
            Retry::AfterLogin => {
                self.forget();
                // The session's end is no failure of the request, unless it ends again at once.
                if !std::mem::replace(&mut tally.renewed, true) {
                    return Ok(());
                }
            }
            Retry::Soon | Retry::Slowly => tally.renewed = false,
        }
        tally.failures += 1;
        let tries = tally.failures;
        if tries > self.client.max_retries() {
            let source = Box::new(error);
            return Err(if tries == 1 { *source } else { ClientError::GaveUp { tries, source } });
        }
        let pause = self.client.backoff().pause(tries, retry, retry_after);
        log_retry(&error, tries, pause);
        self.client.count(|statistics| statistics.retries += 1);
        self.cost.retries += 1;
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Makes of a failed try to move the cursor what it means. The pause is left to the read that
    /// begins the window again.
    fn lose_cursor(&mut self, failure: Failure) -> ClientError {
        let Failure { error, retry_after } = failure;
        let retry = self.retry(&error);
        if retry == Retry::No {
            return error;
        }
        self.setbacks += 1;
        let backoff = self.client.backoff();
        let pause = backoff.pause(self.setbacks, retry, retry_after);
        if retry == Retry::AfterLogin {
            self.forget();
        }
        // A session's end asks for no pause, unless it comes again before the cursor has moved.
        if retry != Retry::AfterLogin || self.setbacks > 1 {
            self.pause = pause;
        }
        self.client.count(|statistics| statistics.lost_cursors += 1);
        self.cost.retries += 1;
        ClientError::CursorLost { source: Some(Box::new(error)) }
    }

    /// Whether a failure of this session may be tried again.
    fn retry(&self, error: &ClientError) -> Retry {
        match error {
            // The request itself is at fault when the session is not.
            ClientError::Fault { fault, .. }
                if fault.code() == FaultCode::InvalidRequest && !self.proven =>
            {
                Retry::No
            }
            _ => error.retry(),
        }
    }

    /// Gives up the id, and with it the cursor.
    fn forget(&mut self) {
        if self.id.take().is_some() {
            self.client.count(|statistics| statistics.lost_sessions += 1);
        }
        self.proven = false;
        self.open_query = None;
    }
}

/// Says that a request failed and that another try follows.
fn log_retry(error: &ClientError, tries: u32, pause: Duration) {
    let cause: &(dyn std::error::Error + 'static) = error;
    let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    tracing::warn!(error = cause, tries, pause_ms, "A request failed and is tried again");
}

/// Whether a fault only says that the activity window is at its end.
fn is_end(function: Function, fault: &Fault) -> bool {
    function.ends_with_fault() && fault.code() == FaultCode::EndOfQuery
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Session").field("client", &self.client).finish_non_exhaustive()
    }
}
