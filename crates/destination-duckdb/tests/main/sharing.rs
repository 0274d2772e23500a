//! One file and several who want it: in one process, and in several.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use destination_duckdb::{DuckDb, DuckDbConfig};
use replication::{
    destination::{Destination, DestinationErrorKind},
    stream::WinnerRule,
};

use crate::support::{Warehouse, claimed, commit, contact_load, contacts, finish, open, request};

/// A process that has the file open until its standard input ends.
struct Holder {
    process: Child,
    input: Option<ChildStdin>,
}

impl Holder {
    /// Waits until the process has the file.
    fn start(path: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sharing::holds_a_file", "--ignored", "--nocapture"])
            .env("HELD_FILE", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let holds =
            output.lines().map_while(Result::ok).any(|line| line.contains("the file is held"));
        assert!(holds, "the holder could not open the file");
        let input = process.stdin.take();
        Self { process, input }
    }

    fn let_go(&mut self) {
        drop(self.input.take());
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.let_go();
        self.process.wait().unwrap();
    }
}

/// Started by other tests: opens a file, says so, and holds it until standard input ends.
#[tokio::test]
#[ignore = "a part of other tests, which start it in a process of its own"]
async fn holds_a_file() {
    let Ok(path) = std::env::var("HELD_FILE") else { return };
    let destination = open(DuckDbConfig::new(path, "other"));
    let claim = claimed(&destination).await;
    let unit = destination.begin(&claim).await.unwrap();
    println!("the file is held");
    std::io::stdout().flush().unwrap();
    std::io::stdin().lines().for_each(drop);
    unit.rollback().await.unwrap();
    destination.release(&claim).await.unwrap();
    destination.close().await;
}

#[tokio::test]
async fn a_file_that_another_process_has_is_waited_for() {
    let warehouse = Warehouse::new();
    let mut holder = Holder::start(&warehouse.path());
    let impatient = DuckDbConfig { lock_wait: Duration::from_millis(60), ..warehouse.config() };
    for destination in [open(impatient.clone()), DuckDb::open_read_only(impatient).unwrap()] {
        let error = destination.states().await.unwrap_err();
        assert_eq!(error.kind, DestinationErrorKind::Busy);
        let process = format!("(process {})", holder.process.id());
        assert!(error.message.contains("is locked by `main-"), "{error}");
        assert!(error.message.contains(&process), "{error}");
    }
    let patient = warehouse.open();
    let waiting =
        tokio::spawn(
            async move { patient.claim(&request("patient")).await.map(|claim| claim.token) },
        );
    holder.let_go();
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn readers_share_a_file_and_keep_writers_out() {
    let warehouse = Warehouse::new();
    let writer = warehouse.open();
    let claim = claimed(&writer).await;
    writer.release(&claim).await.unwrap();
    writer.close().await;
    let reader = DuckDb::open_read_only(warehouse.config()).unwrap();
    assert_eq!(reader.states().await.unwrap().len(), 1);
    let error = reader.claim(&request("reader")).await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::Bug);
    // In one process a writer takes the place of readers that are not at it right now.
    claimed(&writer).await;
    assert_eq!(reader.states().await.unwrap()[0].token, Some(2));
}

#[tokio::test]
async fn a_file_is_let_go_when_its_time_is_up_but_not_inside_a_unit() {
    let warehouse = Warehouse::new();
    let schema = contacts(WinnerRule::Sequence);
    let config = DuckDbConfig { release_after: Duration::from_millis(1), ..warehouse.config() };
    let destination = open(config);
    let claim = claimed(&destination).await;
    let mut unit = destination.begin(&claim).await.unwrap();
    unit.prepare(&schema, None).await.unwrap();
    // Its time passes while it is inside: the holder, which waits for the file, gets it only after the commit.
    let path = warehouse.path();
    let holder = tokio::task::spawn_blocking(move || Holder::start(&path));
    tokio::time::sleep(Duration::from_millis(50)).await;
    unit.merge(&contact_load(&schema, &[("a", None, None, None)], 1)).await.unwrap();
    assert!(!holder.is_finished());
    finish(unit, &claim, "1").await.unwrap();
    let mut holder = holder.await.unwrap();
    holder.let_go();
    assert_eq!(destination.count("contact").await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_file_is_let_go_when_it_is_closed_or_its_last_user_is_dropped() {
    let warehouse = Warehouse::new();
    let destination = warehouse.open();
    claimed(&destination).await;
    destination.close().await;
    drop(Holder::start(&warehouse.path()));
    assert_eq!(destination.states().await.unwrap().len(), 1, "it opens again when it is needed");
    drop(destination);
    drop(Holder::start(&warehouse.path()));
    assert!(!warehouse.path().with_extension("duckdb.wal").exists(), "closing writes a checkpoint");
}

#[tokio::test]
async fn a_released_claim_leaves_no_log_to_be_read_again() {
    let warehouse = Warehouse::new();
    let schema = contacts(WinnerRule::Sequence);
    let destination = warehouse.open();
    let claim = claimed(&destination).await;
    let rows = contact_load(&schema, &[("a", None, None, None)], 1);
    commit(&destination, &claim, &rows, "1").await.unwrap();
    let log = warehouse.path().with_extension("duckdb.wal");
    assert!(log.exists(), "units go to the log first");
    destination.release(&claim).await.unwrap();
    assert!(!log.exists());
    assert_eq!(destination.count("contact").await.unwrap(), Some(1));
}

/// Two integrations load into one file at once, each many units; whether the file stays open between them or not.
async fn two_integrations(release_after: Duration) {
    let warehouse = Warehouse::new();
    let units = 12;
    let run = |name: &'static str| {
        let config = DuckDbConfig {
            // Two spellings of one path are one file.
            path: if name == "first" {
                warehouse.path()
            } else {
                warehouse.folder.path().join(".").join("warehouse.duckdb")
            },
            release_after,
            ..DuckDbConfig::new("", name)
        };
        async move {
            let schema = contacts(WinnerRule::Sequence);
            let destination = open(config);
            let claim = destination.claim(&request(name)).await.unwrap();
            for unit in 0..units {
                let ids: Vec<String> = (0..50).map(|id| format!("{name}-{unit}-{id}")).collect();
                let rows: Vec<_> =
                    ids.iter().map(|id| (id.as_str(), None, Some(name), None)).collect();
                commit(
                    &destination,
                    &claim,
                    &contact_load(&schema, &rows, unit * 100),
                    &unit.to_string(),
                )
                .await
                .unwrap();
                destination.renew(&claim).await.unwrap();
                assert_eq!(
                    destination.count("contact").await.unwrap(),
                    u64::try_from((unit + 1) * 50).ok()
                );
            }
            destination.release(&claim).await.unwrap();
        }
    };
    let (first, second) = (tokio::spawn(run("first")), tokio::spawn(run("second")));
    first.await.unwrap();
    second.await.unwrap();
    let destination = warehouse.open();
    let sql = "select (select count(distinct id) from first.contact), (select count(distinct id) from second.contact)";
    let (_, counts) = destination.query_text(sql).await.unwrap();
    assert_eq!(counts[0], [Some("600".to_owned()), Some("600".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_integrations_share_an_open_file() {
    two_integrations(Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_integrations_share_a_file_that_closes_after_every_unit() {
    two_integrations(Duration::ZERO).await;
}

#[tokio::test]
async fn a_file_can_be_used_from_several_runtimes() {
    let warehouse = Warehouse::new();
    let destination = warehouse.open();
    claimed(&destination).await;
    let elsewhere = warehouse.open();
    let states = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(elsewhere.states()).unwrap().len()
    });
    assert_eq!(states.await.unwrap(), 1);
    assert_eq!(destination.states().await.unwrap().len(), 1);
}
