//! The logs of runs, on their way into the control store.
//!
//! A layer of the program's log sees each event in the span of a run, which every task and thread of the run carries, and
//! puts it into that run's queue. The queue is bounded and never waits: when it is full, lines of the lowest level give way,
//! and are counted. A task of the run's own brings the lines into the store, many at a time.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::Utc;
use secrecy::{ExposeSecret, SecretString};
use service::{
    Store,
    store::{LogLevel, LogLimits, NewLogLine},
};
use tokio::{sync::Notify, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use crate::telemetry::{Body, level_name, location};

/// The name of a run's span. It has the field `run_id`.
pub(crate) const SPAN: &str = "run";
/// The field of a run's span.
const RUN_ID: &str = "run_id";

/// How many lines of a run may wait.
const MOST_LINES: usize = 4_000;
/// How many bytes of them.
const MOST_BYTES: usize = 4 << 20;
/// How many lines are stored at once.
const BATCH: usize = 500;
/// How long lines may wait for others.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the store may take for some lines, and how often they are tried.
const DEADLINE: Duration = Duration::from_secs(30);
const TRIES: u32 = 3;
/// How long the end of a run waits for its last lines.
const LAST_LINES: Duration = Duration::from_secs(10);

/// What a secret is replaced by.
const MASK: &str = "****";
/// The shortest secret that is looked for: shorter ones would take the log apart.
const SHORTEST_SECRET: usize = 6;

/// The logs of the runs that are worked on here.
#[derive(Default)]
pub(crate) struct RunLogs {
    queues: Mutex<HashMap<String, Arc<Queue>>>,
    writers: TaskTracker,
}

/// The log of one run, until it is dropped.
pub(crate) struct RunLog {
    run_id: String,
    logs: Arc<RunLogs>,
    queue: Arc<Queue>,
    written: CancellationToken,
}

/// Lines that wait.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
    secrets: Vec<SecretString>,
    title: String,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<NewLogLine>,
    bytes: usize,
    dropped: u64,
    is_closed: bool,
}

impl RunLogs {
    /// Begins the log of a run: from now on, events in its span are stored. `secrets` appear in none of its lines.
    pub(crate) fn begin(
        self: &Arc<Self>,
        store: &Arc<Store>,
        run_id: &str,
        title: &str,
        secrets: Vec<SecretString>,
        limits: LogLimits,
    ) -> RunLog {
        let secrets = secrets
            .into_iter()
            .filter(|secret| secret.expose_secret().len() >= SHORTEST_SECRET)
            .collect();
        let queue = Arc::new(Queue { secrets, title: title.to_owned(), ..Queue::default() });
        lock(&self.queues).insert(run_id.to_owned(), Arc::clone(&queue));
        let written = CancellationToken::new();
        let writer = Writer {
            store: Arc::clone(store),
            run_id: run_id.to_owned(),
            queue: Arc::clone(&queue),
            limits,
        };
        let done = written.clone().drop_guard();
        self.writers.spawn(async move {
            writer.write().await;
            drop(done);
        });
        RunLog { run_id: run_id.to_owned(), logs: Arc::clone(self), queue, written }
    }

    /// Waits until the lines of runs that are over have been stored, not longer than a deadline.
    pub(crate) async fn drain(&self, deadline: Duration) -> bool {
        self.writers.close();
        timeout(deadline, self.writers.wait()).await.is_ok()
    }
}

impl RunLog {
    /// A line from the service itself.
    pub(crate) fn line(&self, level: LogLevel, body: &str) {
        self.queue.push("main", level, body.to_owned());
    }

    /// Ends the log, and waits a little until all of it is stored.
    pub(crate) async fn end(self) {
        let written = self.written.clone();
        drop(self);
        if timeout(LAST_LINES, written.cancelled()).await.is_err() {
            tracing::warn!("The last lines of a run's log are not stored yet");
        }
    }
}

impl Drop for RunLog {
    fn drop(&mut self) {
        let mut queues = lock(&self.logs.queues);
        // Another attempt at the run may have begun in the meantime.
        if queues.get(&self.run_id).is_some_and(|queue| Arc::ptr_eq(queue, &self.queue)) {
            queues.remove(&self.run_id);
        }
        drop(queues);
        lock(&self.queue.waiting).is_closed = true;
        self.queue.wake.notify_one();
    }
}

impl Queue {
    fn push(&self, location: &str, level: LogLevel, mut body: String) {
        for secret in &self.secrets {
            if body.contains(secret.expose_secret()) {
                body = body.replace(secret.expose_secret(), MASK);
            }
        }
        let line = NewLogLine { logged_at: Utc::now(), location: location.to_owned(), level, body };
        let mut waiting = lock(&self.waiting);
        let is_full = |waiting: &Waiting| {
            waiting.lines.len() >= MOST_LINES || waiting.bytes + line.body.len() > MOST_BYTES
        };
        while is_full(&waiting) {
            let lowest = waiting.lines.iter().map(|waiting| waiting.level).min();
            waiting.dropped += 1;
            if lowest.is_none_or(|lowest| lowest >= level) {
                return;
            }
            let position = waiting.lines.iter().position(|line| Some(line.level) == lowest);
            if let Some(victim) = position.and_then(|position| waiting.lines.remove(position)) {
                waiting.bytes -= victim.body.len();
            }
        }
        waiting.bytes += line.body.len();
        waiting.lines.push_back(line);
        if waiting.lines.len() >= BATCH {
            self.wake.notify_one();
        }
    }

    /// Some lines, in their order; and whether these are the last.
    fn take(&self) -> (Vec<NewLogLine>, bool) {
        let mut waiting = lock(&self.waiting);
        let count = waiting.lines.len().min(BATCH);
        let mut lines: Vec<NewLogLine> = waiting.lines.drain(..count).collect();
        waiting.bytes -= lines.iter().map(|line| line.body.len()).sum::<usize>();
        let dropped = mem::take(&mut waiting.dropped);
        if dropped > 0 {
            lines.push(NewLogLine {
                logged_at: Utc::now(),
                location: "main".to_owned(),
                level: LogLevel::Warning,
                body: format!(
                    "{dropped} lines of this log are missing here: they came faster than they could be stored"
                ),
            });
        }
        (lines, waiting.is_closed && waiting.lines.is_empty())
    }

    fn count_dropped(&self, lines: usize) {
        lock(&self.waiting).dropped += lines as u64;
    }
}

/// Brings the lines of one run into the store.
struct Writer {
    store: Arc<Store>,
    run_id: String,
    queue: Arc<Queue>,
    limits: LogLimits,
}

impl Writer {
    async fn write(&self) {
        loop {
            let (lines, is_last) = self.queue.take();
            if !lines.is_empty() && !self.store(&lines).await {
                self.queue.count_dropped(lines.len());
                if is_last {
                    return;
                }
            }
            if is_last {
                return;
            }
            if lines.len() < BATCH {
                // An end of the pause is as good as a call.
                drop(timeout(PAUSE, self.queue.wake.notified()).await);
            }
        }
    }

    async fn store(&self, lines: &[NewLogLine]) -> bool {
        for tries in 1..=TRIES {
            let stored = self.store.append_log(&self.run_id, lines, &self.limits);
            match timeout(DEADLINE, stored).await {
                Ok(Ok(())) => return true,
                Ok(Err(error)) if !error.is_retriable() => {
                    tracing::debug!(%error, "Lines of a run's log could not be stored");
                    return false;
                }
                _ => tokio::time::sleep(PAUSE * tries).await,
            }
        }
        false
    }
}

/// Sees the events of runs.
pub(crate) struct RunLogLayer {
    logs: Arc<RunLogs>,
}

/// What a span of a run carries.
struct OfRun(Arc<Queue>);

impl RunLogLayer {
    /// Puts events into these logs.
    pub(crate) fn new(logs: Arc<RunLogs>) -> Self {
        Self { logs }
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for RunLogLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != SPAN {
            return;
        }
        let mut run_id = RunId(None);
        attributes.record(&mut run_id);
        let queue = run_id.0.and_then(|run_id| lock(&self.logs.queues).get(&run_id).cloned());
        if let (Some(queue), Some(span)) = (queue, context.span(id)) {
            span.extensions_mut().insert(RunTitle(queue.title.clone()));
            span.extensions_mut().insert(OfRun(queue));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let queue = context.event_scope(event).and_then(|mut scope| {
            scope.find_map(|span| {
                span.extensions().get::<OfRun>().map(|of_run| Arc::clone(&of_run.0))
            })
        });
        let Some(queue) = queue else { return };
        let mut body = Body::default();
        event.record(&mut body);
        let metadata = event.metadata();
        queue.push(location(metadata.target()), level(*metadata.level()), body.text());
    }
}

/// The name of a run for people, which its span carries.
pub(crate) struct RunTitle(pub(crate) String);

struct RunId(Option<String>);

impl Visit for RunId {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == RUN_ID {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

fn level(level: Level) -> LogLevel {
    LogLevel::named(level_name(level)).unwrap_or(LogLevel::Info)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use tracing::Instrument;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn bodies(queue: &Queue) -> Vec<String> {
        let waiting = lock(&queue.waiting);
        waiting.lines.iter().map(|line| line.body.clone()).collect()
    }

    #[test]
    fn the_graver_lines_stay_when_there_are_too_many() {
        let queue = Queue::default();
        queue.push("tap", LogLevel::Debug, "first".to_owned());
        for number in 1..MOST_LINES {
            queue.push("tap", LogLevel::Info, number.to_string());
        }
        queue.push("tap", LogLevel::Info, "displaces the one of a lower level".to_owned());
        queue.push("tap", LogLevel::Info, "finds no room".to_owned());
        queue.push("tap", LogLevel::Error, "finds room".to_owned());
        let bodies = bodies(&queue);
        assert_eq!((bodies.len(), bodies[0].as_str()), (MOST_LINES, "2"));
        assert_eq!(bodies[MOST_LINES - 1], "finds room");
        let mut taken = Vec::new();
        while let (lines, false) = queue.take() {
            if lines.is_empty() {
                break;
            }
            taken.extend(lines);
        }
        assert_eq!(taken.len(), MOST_LINES + 1);
        assert!(taken.iter().any(|line| line.body.starts_with("3 lines of this log are missing")));
    }

    #[test]
    fn a_line_of_any_size_leaves_the_queue_bounded() {
        let queue = Queue::default();
        for _ in 0..100 {
            queue.push("tap", LogLevel::Info, "x".repeat(1 << 20));
        }
        queue.push("tap", LogLevel::Error, "x".repeat(MOST_BYTES + 1));
        let waiting = lock(&queue.waiting);
        assert!(waiting.bytes <= MOST_BYTES && waiting.dropped >= 97, "{}", waiting.dropped);
    }

    #[test]
    fn a_secret_is_in_no_line() {
        let queue = Queue { secrets: vec!["C0FFEE-1".to_owned().into()], ..Queue::default() };
        queue.push("tap", LogLevel::Error, "It was C0FFEE-1, and C0FFEE-1 again".to_owned());
        assert_eq!(bodies(&queue), ["It was ****, and **** again"]);
    }

    #[tokio::test]
    async fn the_events_of_a_run_and_of_its_tasks_are_its_log() {
        let (logs, queue) = (Arc::new(RunLogs::default()), Arc::new(Queue::default()));
        lock(&logs.queues).insert("one".to_owned(), Arc::clone(&queue));
        let subscriber = tracing_subscriber::registry().with(RunLogLayer::new(Arc::clone(&logs)));
        let _guard = tracing::subscriber::set_default(subscriber);
        let span = tracing::info_span!(SPAN, run_id = "one");
        async {
            tracing::info!(target: "tap_bronto::state", "first");
            tokio::spawn(
                async { tracing::warn!(target: "replication", "second") }.in_current_span(),
            )
            .await
            .unwrap();
        }
        .instrument(span)
        .await;
        tracing::info!("of no run");
        let waiting = lock(&queue.waiting);
        let lines: Vec<(&str, LogLevel, &str)> = waiting
            .lines
            .iter()
            .map(|line| (line.location.as_str(), line.level, line.body.as_str()))
            .collect();
        assert_eq!(
            lines,
            [("tap", LogLevel::Info, "first"), ("target", LogLevel::Warning, "second")]
        );
    }
}
