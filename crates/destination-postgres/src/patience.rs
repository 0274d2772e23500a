//! How long an answer of the server's is waited for.
//!
//! Most statements take the same short time however many rows there are, and have a short deadline. Those that may rightly
//! take long are watched meanwhile: a connection of its own asks the server whether it is still at work on them. So a server
//! that hangs, or an answer that got lost on its way, is noticed within minutes, though the network says that all is well.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tokio_postgres::types::Type;

use crate::connection::Connector;

/// By how much our own deadline for a statement lies behind the server's, which tells more.
const GRACE: Duration = Duration::from_secs(15);
/// After how many bad signs in a row an answer isn't waited for any more.
const BAD_SIGNS: u32 = 3;
/// Whether a backend waits for its client to say something, when that waits for an answer.
const WAITS_FOR_CLIENT: &str =
    "select 1 from pg_catalog.pg_stat_activity where pid = $1 and wait_event = 'ClientRead'";

/// How long the server may be at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// As long on a large table as on a small one, but for locks.
    Brief,
    /// The longer, the more rows there are.
    Lasting,
}

/// Waits for the answers of one connection.
pub(crate) struct Patience {
    connector: Arc<Connector>,
    /// The server's number of the connection, once it is known.
    backend: Option<i32>,
    /// An answer was given up: none will be waited for again.
    is_over: AtomicBool,
}

impl Patience {
    pub(crate) fn new(connector: Arc<Connector>) -> Self {
        Self { connector, backend: None, is_over: AtomicBool::new(false) }
    }

    /// Lets lasting statements be watched.
    pub(crate) fn watch(&mut self, backend: i32) {
        self.backend = Some(backend);
    }

    /// Waits for an answer; none if it doesn't come in time. `sent` grows while there is still something to send.
    pub(crate) async fn wait<T>(
        &self,
        effort: Effort,
        sent: &AtomicU64,
        answer: impl Future<Output = T>,
    ) -> Option<T> {
        if self.is_over.load(Relaxed) {
            return None;
        }
        let deadlines = self.connector.config.deadlines;
        let mut answer = pin!(answer);
        let answered = match effort {
            Effort::Brief => timeout(deadlines.answer + deadlines.lock, answer).await.ok(),
            Effort::Lasting => tokio::select! {
                biased;
                answer = &mut answer => Some(answer),
                () = self.despair(sent) => None,
                () = sleep(deadlines.statement + GRACE) => None,
            },
        };
        self.is_over.store(answered.is_none(), Relaxed);
        answered
    }

    /// Returns when there is no hope of an answer.
    async fn despair(&self, sent: &AtomicU64) {
        let (mut bad_signs, mut seen) = (0, 0);
        while bad_signs < BAD_SIGNS {
            sleep(self.connector.config.deadlines.answer).await;
            let goes_on = sent.load(Relaxed) != seen;
            seen = sent.load(Relaxed);
            bad_signs = if goes_on || self.is_at_work().await { 0 } else { bad_signs + 1 };
            tracing::debug!(bad_signs, "Asked PostgreSQL whether it is still at work");
        }
    }

    /// Whether the server says that it is at work, or at least that it lives and can't say.
    async fn is_at_work(&self) -> bool {
        let asked = async {
            let (client, _task) = self.connector.connect().await?;
            let Some(backend) = self.backend else { return Ok(true) };
            let rows = client.query_typed(WAITS_FOR_CLIENT, &[(&backend, Type::INT4)]).await;
            rows.map(|rows| rows.is_empty()).map_err(crate::failure::Trouble::Client)
        };
        match timeout(self.connector.config.deadlines.connect, asked).await {
            Ok(Ok(is_at_work)) => is_at_work,
            Ok(Err(trouble)) => trouble.is_answer(),
            Err(_) => false,
        }
    }
}
