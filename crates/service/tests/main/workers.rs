//! Workers of this process: they claim, report, hear of a stop, lose what they don't report about, and drain.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use service::{
    Dispatch, Scheduler, SchedulerLimits, Store,
    run::{Run, RunError, RunState, StopReason},
    store::Start,
    worker::{Clock, Ending, Execute, LocalWorkers, Reports, WorkerOptions},
};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::{at, new_integration};

const PATIENCE: Duration = Duration::from_secs(60);

/// What the test tells a run to do.
enum Order {
    Report(u64),
    End(Result<Ending, RunError>),
    AwaitStop,
    Break,
}

/// A run that does what it is told, attempt by attempt.
struct Puppet {
    orders: Mutex<Vec<Receiver<Order>>>,
    done: Sender<&'static str>,
}

#[async_trait::async_trait]
impl Execute for Puppet {
    async fn execute(&self, _run: &Run, reports: Reports) -> Result<Ending, RunError> {
        let mut orders = self.orders.lock().unwrap().remove(0);
        self.done.send("begun").await.unwrap();
        loop {
            match orders.recv().await.unwrap() {
                Order::Report(rows) => {
                    reports.progress(|progress| {
                        progress.phase = "extracting".to_owned();
                        progress.rows.insert("contact".to_owned(), rows);
                    });
                    assert!(reports.destination_token(7).await.unwrap());
                    self.done.send("reported").await.unwrap();
                }
                Order::AwaitStop => {
                    reports.stop().cancelled().await;
                    self.done.send("asked to stop").await.unwrap();
                }
                Order::Break => panic!("a defect"),
                Order::End(result) => return result,
            }
        }
    }
}

/// A store with one run that is due, workers, and a clock.
struct Stage {
    store: Arc<Store>,
    workers: LocalWorkers<Puppet>,
    now: Arc<Mutex<DateTime<Utc>>>,
    run_id: String,
    orders: Vec<Sender<Order>>,
    done: Receiver<&'static str>,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let now = Arc::new(Mutex::new(at("2026-05-01 12:00")));
        let told = Arc::clone(&now);
        Self::on_clock(now, Arc::new(move || *told.lock().unwrap()), 2).await
    }

    /// On the clock of the runtime, which is paused: it moves on when everything waits.
    async fn paused(concurrency: usize) -> Self {
        let (from, begun) = (at("2026-05-01 12:00"), tokio::time::Instant::now());
        let clock = move || from + TimeDelta::from_std(begun.elapsed()).unwrap();
        Self::on_clock(Arc::new(Mutex::new(from)), Arc::new(clock), concurrency).await
    }

    async fn on_clock(now: Arc<Mutex<DateTime<Utc>>>, clock: Clock, concurrency: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let from = at("2026-05-01 12:00");
        let store = Arc::new(Store::sqlite(&folder.path().join("control.db"), from).await.unwrap());
        let one = store.create_integration(&new_integration("One", None), from).await.unwrap();
        let Start::Begun { run_id } = store.start_by_hand(&one.id, from).await.unwrap() else {
            panic!("a run is alive");
        };
        let (orders, received): (Vec<_>, Vec<_>) = (0..2).map(|_| channel(10)).unzip();
        let (sender, done) = channel(10);
        let puppet = Puppet { orders: Mutex::new(received), done: sender };
        let options =
            WorkerOptions { name: "here".to_owned(), concurrency, lease: TimeDelta::seconds(40) };
        let workers = LocalWorkers::new(Arc::clone(&store), puppet, clock, options);
        Self { store, workers, now, run_id, orders, done, _folder: folder }
    }

    fn pass(&self, seconds: i64) {
        *self.now.lock().unwrap() += TimeDelta::seconds(seconds);
    }

    async fn run(&self) -> Run {
        self.store.run(&self.run_id).await.unwrap()
    }

    /// Offers the run, and waits until it is begun.
    async fn begin(&mut self) {
        self.workers.dispatch(&self.run().await).await;
        self.hear("begun").await;
    }

    async fn order(&self, attempt: usize, order: Order) {
        assert!(self.orders[attempt].send(order).await.is_ok());
    }

    async fn hear(&mut self, expected: &str) {
        let heard = tokio::time::timeout(PATIENCE, self.done.recv()).await.unwrap();
        assert_eq!(heard, Some(expected));
    }

    /// Waits until the ledger says so.
    async fn until(&self, is_so: impl Fn(&Run) -> bool) -> Run {
        let found = async {
            loop {
                let run = self.run().await;
                if is_so(&run) {
                    return run;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_renews_the_lease_and_the_end_is_written() {
    let mut stage = Stage::new().await;
    stage.begin().await;
    // Too soon after the claim to be worth writing.
    stage.order(0, Order::Report(5)).await;
    stage.hear("reported").await;
    let run = stage.until(|run| run.destination_token == Some(7)).await;
    assert_eq!(
        (run.lease_expires_at, run.progress),
        (Some(at("2026-05-01 12:00") + TimeDelta::seconds(40)), None)
    );
    stage.pass(30);
    stage.order(0, Order::Report(9)).await;
    stage.hear("reported").await;
    let run = stage.until(|run| run.progress.is_some()).await;
    assert_eq!(run.lease_expires_at, Some(at("2026-05-01 12:01") + TimeDelta::seconds(10)));
    stage.order(0, Order::Report(12)).await;
    stage.order(0, Order::End(Ok(Ending::Complete))).await;
    let run = stage.until(|run| run.ended_at.is_some()).await;
    assert_eq!((run.state, run.progress.unwrap().rows["contact"]), (RunState::Succeeded, 12));
    assert!(stage.workers.drain(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_with_its_remedy() {
    let mut stage = Stage::new().await;
    stage.begin().await;
    let error = RunError {
        code: "source_refused".to_owned(),
        message: "The token is not valid".to_owned(),
        remedy: "Make a new one".to_owned(),
    };
    stage.order(0, Order::End(Err(error.clone()))).await;
    let run = stage.until(|run| run.ended_at.is_some()).await;
    assert_eq!((run.state, run.error), (RunState::Failed, Some(error)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_defect_ends_the_run_and_nothing_else() {
    let mut stage = Stage::new().await;
    stage.begin().await;
    stage.order(0, Order::Break).await;
    let run = stage.until(|run| run.ended_at.is_some()).await;
    assert_eq!((run.state, run.error.unwrap().code.as_str()), (RunState::Failed, "unexpected"));
    assert!(stage.workers.drain(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_heard_with_the_next_report() {
    let mut stage = Stage::new().await;
    stage.begin().await;
    stage.store.stop(&stage.run_id, StopReason::Hand, at("2026-05-01 12:00")).await.unwrap();
    stage.pass(30);
    stage.order(0, Order::Report(9)).await;
    stage.hear("reported").await;
    stage.order(0, Order::AwaitStop).await;
    stage.hear("asked to stop").await;
    stage.order(0, Order::End(Ok(Ending::Interrupted))).await;
    let run = stage.until(|run| run.ended_at.is_some()).await;
    assert_eq!((run.state, run.progress.unwrap().rows["contact"]), (RunState::Stopped, 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_hangs_is_begun_again_and_changes_nothing_any_more() {
    let mut stage = Stage::new().await;
    stage.begin().await;
    stage.pass(41);
    let now = *stage.now.lock().unwrap();
    let limits = SchedulerLimits::default();
    let tick = Scheduler::new(&stage.store, &stage.workers, limits).tick(now).await.unwrap();
    assert_eq!(tick.recovered, [stage.run_id.clone()]);
    stage.hear("begun").await;
    // The first awakes, and ends as if nothing had been.
    stage.order(0, Order::End(Ok(Ending::Complete))).await;
    stage.pass(15);
    stage.order(1, Order::Report(3)).await;
    stage.hear("reported").await;
    let run = stage.until(|run| run.progress.is_some()).await;
    assert_eq!((run.state, run.attempt, run.ended_at), (RunState::Running, 2, None));
    stage.order(1, Order::End(Ok(Ending::Complete))).await;
    let run = stage.until(|run| run.ended_at.is_some()).await;
    assert_eq!((run.state, run.progress.unwrap().rows["contact"]), (RunState::Succeeded, 3));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_hangs_makes_room_for_the_next_attempt() {
    let mut stage = Stage::paused(1).await;
    stage.begin().await;
    tokio::time::sleep(Duration::from_secs(41)).await;
    let now = at("2026-05-01 12:00") + TimeDelta::seconds(42);
    let limits = SchedulerLimits::default();
    let tick = Scheduler::new(&stage.store, &stage.workers, limits).tick(now).await.unwrap();
    assert_eq!(tick.recovered, [stage.run_id.clone()]);
    stage.hear("begun").await;
    // Nobody listens to the first any more.
    assert!(stage.orders[0].send(Order::Report(1)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_report_that_came_too_soon_renews_the_lease_later() {
    let mut stage = Stage::paused(1).await;
    stage.begin().await;
    stage.order(0, Order::Report(5)).await;
    stage.hear("reported").await;
    assert_eq!(stage.run().await.progress, None);
    tokio::time::sleep(Duration::from_secs(11)).await;
    let run = stage.run().await;
    assert_eq!(run.progress.unwrap().rows["contact"], 5);
    // A twelfth of the lease after the claim, a new one begins.
    assert!(run.lease_expires_at.unwrap() >= at("2026-05-01 12:00") + TimeDelta::seconds(43));
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_heard_without_a_report_and_does_not_renew_the_lease() {
    let mut stage = Stage::paused(1).await;
    stage.begin().await;
    let before = stage.run().await.lease_expires_at;
    stage.store.stop(&stage.run_id, StopReason::Hand, at("2026-05-01 12:00")).await.unwrap();
    stage.order(0, Order::AwaitStop).await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(stage.run().await.lease_expires_at, before);
    stage.hear("asked to stop").await;
    stage.order(0, Order::End(Ok(Ending::Interrupted))).await;
    let ended = stage.until(|run| run.ended_at.is_some()).await;
    assert_eq!(ended.state, RunState::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_gives_runs_back_and_takes_no_more() {
    let mut stage = Stage::new().await;
    stage.begin().await;
    stage.order(0, Order::AwaitStop).await;
    stage.order(0, Order::End(Ok(Ending::Interrupted))).await;
    assert!(stage.workers.drain(PATIENCE).await);
    let run = stage.run().await;
    assert_eq!((run.state, run.worker.as_ref(), run.lapses), (RunState::Due, None, 0));
    stage.workers.dispatch(&run).await;
    assert!(stage.workers.drain(PATIENCE).await);
    assert_eq!(stage.run().await.attempt, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_does_not_stop_is_not_waited_for_for_ever() {
    let mut stage = Stage::new().await;
    stage.begin().await;
    assert!(!stage.workers.drain(Duration::from_millis(1)).await);
    assert_eq!(stage.run().await.state, RunState::Running);
    stage.order(0, Order::End(Ok(Ending::Complete))).await;
    assert_eq!(stage.until(|run| run.ended_at.is_some()).await.state, RunState::Succeeded);
}
