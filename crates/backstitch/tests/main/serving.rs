//! The service as a real process: its schedule starts runs, and what it tells of them is what the destination holds;
//! whatever is done to it.

use std::{fs, path::PathBuf};

use chrono::Utc;
use service::{
    Store,
    integration::{Integration, IntegrationEdit},
    run::{Run, RunState},
    store::{Load, LogLevel, LogLimits, NewLogLine, SchemaEvent, SealedSecret, Start, UsageChoice},
};
use tokio::runtime::Runtime;

use crate::{
    account::{self, TOKEN},
    programs::{INTEGRATION, Running, Workplace, until},
    truth,
    warehouse::{SCHEMA, Warehouse},
};

/// What the service's section has in these tests: leases that lapse soon.
pub(crate) const SERVICE: &str =
    "schedule = { every = \"24h\" }\n[service]\nlease_seconds = 2\nlisten = \"127.0.0.1:0\"\n";

/// The control store of a service, seen from the test.
pub(crate) struct Control {
    runtime: Runtime,
    store: Store,
    path: PathBuf,
}

impl Control {
    /// The SQLite file of a service in this workplace.
    pub(crate) fn of(workplace: &Workplace) -> Self {
        let folder = workplace.path().join("backstitch-data");
        fs::create_dir_all(&folder).unwrap();
        Self::at(folder.join("control.db"))
    }

    /// A SQLite file.
    pub(crate) fn at(path: PathBuf) -> Self {
        let runtime = Runtime::new().unwrap();
        let store = runtime.block_on(Store::sqlite(&path, Utc::now())).unwrap();
        Self { runtime, store, path }
    }

    /// One that is elsewhere.
    pub(crate) fn with(store: impl Future<Output = Store>) -> Self {
        let runtime = Runtime::new().unwrap();
        let store = runtime.block_on(store);
        Self { runtime, store, path: PathBuf::new() }
    }

    pub(crate) fn integration(&self) -> Option<Integration> {
        let all = self.runtime.block_on(self.store.integrations()).unwrap();
        all.into_iter().find(|integration| integration.name == INTEGRATION)
    }

    pub(crate) fn last_run(&self) -> Option<Run> {
        let integration = self.integration()?;
        self.runtime.block_on(self.store.last_run(&integration.id)).unwrap()
    }

    /// Begins a run by hand.
    #[track_caller]
    pub(crate) fn start(&self) -> String {
        let integration = self.integration().unwrap();
        let start = self.store.start_by_hand(&integration.id, Utc::now());
        match self.runtime.block_on(start).unwrap() {
            Start::Begun { run_id } => run_id,
            Start::AlreadyRunning { run_id } => panic!("`{run_id}` is alive"),
        }
    }

    /// Asks for all to be read again from the start date that it has.
    pub(crate) fn reset(&self) {
        let known = self.integration().unwrap();
        let start_date = Some(known.start_date);
        let reset = IntegrationEdit { start_date, ..IntegrationEdit::default() };
        let edit = self.store.edit_integration(&known.id, known.version, &reset, Utc::now());
        self.runtime.block_on(edit).unwrap();
    }

    /// Waits until the last run is so.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&Run) -> bool) -> Run {
        until(what, || self.last_run().is_some_and(|run| is_so(&run)));
        self.last_run().unwrap()
    }

    /// Waits until the last run has ended, well.
    #[track_caller]
    pub(crate) fn succeeded(&self) -> Run {
        let run = self.until("the end of a run", |run| run.ended_at.is_some());
        assert_eq!(run.state, RunState::Succeeded, "{:?}\n{}", run.error, self.log(&run.id));
        run
    }

    /// The lines of a run.
    pub(crate) fn log(&self, run_id: &str) -> String {
        let lines = self.runtime.block_on(self.store.log(run_id, 0, 100_000)).unwrap();
        let line = |line: &service::store::LogLine| {
            let line = &line.line;
            format!("{:>6} - {} {}\n", line.location, line.level.name(), line.body)
        };
        lines.iter().map(line).collect()
    }

    /// Adds lines to the log of a run.
    pub(crate) fn append(&self, run_id: &str, lines: &[NewLogLine], limits: &LogLimits) {
        self.runtime.block_on(self.store.append_log(run_id, lines, limits)).unwrap();
    }

    fn loads(&self, table: &str) -> Vec<Load> {
        let integration = self.integration().unwrap();
        self.runtime.block_on(self.store.loads(&integration.id, table, 100_000)).unwrap()
    }

    /// Stops the test unless the loads and the usage are those of the destination's ledger, and the ledger's rows are those
    /// of the tables.
    #[track_caller]
    pub(crate) fn assert_loads(&self, warehouse: &Warehouse) {
        for table in ["contact", "list", "inbound_activity", "outbound_activity", "unsubscribe"] {
            let ledger = |figure: &str| {
                let sum = format!(
                    "select cast(coalesce(sum({figure}), 0) as bigint) from {SCHEMA}._sdc_loads where table_name = '{table}'"
                );
                warehouse.number(&sum)
            };
            let loads = self.loads(table);
            let mirrored = |figure: fn(&Load) -> u64| {
                i64::try_from(loads.iter().map(figure).sum::<u64>()).unwrap()
            };
            assert_eq!(i64::try_from(loads.len()).unwrap(), ledger("1"), "loads of `{table}`");
            assert_eq!(mirrored(|load| load.counts.inserted), ledger("inserted"), "`{table}`");
            assert_eq!(mirrored(|load| load.counts.updated), ledger("updated"), "`{table}`");
            assert_eq!(mirrored(|load| load.counts.unchanged), ledger("unchanged"), "`{table}`");
            assert_eq!(mirrored(|load| load.counts.rejected), ledger("rejected"), "`{table}`");
            let rows = warehouse.number(&format!("select count(*) from {SCHEMA}.{table}"));
            assert_eq!(ledger("inserted - deleted"), rows, "rows of `{table}`");
            let (from, until) = ("2000-01-01".parse().unwrap(), "2100-01-01".parse().unwrap());
            let choice = UsageChoice { integration_id: None, from, until };
            let usage = self.store.usage(choice, None, 100_000);
            let usage = self.runtime.block_on(usage).unwrap();
            let used = usage.iter().filter(|day| day.table_name == table);
            let used: u64 = used.map(|day| day.counted + day.free).sum();
            assert_eq!(i64::try_from(used).unwrap(), ledger("inserted + updated"), "`{table}`");
        }
    }

    /// What is told of tables that changed, the last first.
    pub(crate) fn schema_events(&self) -> Vec<SchemaEvent> {
        let integration = self.integration().unwrap();
        self.runtime.block_on(self.store.schema_events(&integration.id, 100)).unwrap()
    }

    /// The sealed secrets of the integration.
    pub(crate) fn secrets(&self) -> Vec<SealedSecret> {
        let integration = self.integration().unwrap();
        self.runtime.block_on(self.store.secrets(&integration.id)).unwrap()
    }

    /// Everything that the store's files hold.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let files = ["", "-wal"].map(|end| {
            let path = format!("{}{end}", self.path.display());
            fs::read(path).unwrap_or_default()
        });
        files.concat()
    }
}

/// Starts a service, and waits until it works.
pub(crate) fn serve(workplace: &Workplace) -> Running {
    let mut serve = Running::start(workplace.command(&["serve"]));
    serve.wait_for("Ready");
    serve
}

/// Ends a service as a service manager does.
#[track_caller]
pub(crate) fn terminate(serve: Running) -> String {
    serve.signal("TERM");
    serve.wait().expect(143).stderr
}

#[test]
fn the_schedule_starts_runs_into_duckdb() {
    the_schedule_starts_runs(&Warehouse::duckdb());
}

#[test]
fn the_schedule_starts_runs_into_postgres() {
    the_schedule_starts_runs(&Warehouse::postgres());
}

#[track_caller]
fn the_schedule_starts_runs(warehouse: &Warehouse) {
    let account = account::start_sized(60);
    let workplace = Workplace::new(&account, warehouse, SERVICE);
    let control = Control::of(&workplace);
    let serving = serve(&workplace);
    let command_line = fs::read(format!("/proc/{}/cmdline", serving.id())).unwrap();
    let first = control.succeeded();
    assert_eq!((first.attempt, first.destination_token), (1, Some(1)));
    let progress = first.progress.as_ref().unwrap();
    assert_eq!((progress.percent, progress.rows["contact"]), (Some(100), 60));
    assert!(progress.requests > 5 && progress.tables.values().all(|table| table.is_done));
    account::change(&account);
    control.start();
    let second = control.succeeded();
    assert_ne!(first.id, second.id);
    let said = terminate(serving);
    truth::assert_equal(&account, warehouse);
    control.assert_loads(warehouse);

    let log = control.log(&first.id);
    assert!(log.starts_with("  main - INFO Starting the run "), "{log}");
    assert!(
        log.contains("   tap - INFO State update: adding bookmarks.contact.modified = "),
        "{log}"
    );
    assert!(log.ends_with("  main - INFO Done\n"), "{log}");
    // What comes from the other run's tasks is in the other run's log.
    assert!(!log.contains(&second.id));
    for place in [said.as_bytes(), log.as_bytes(), &command_line, &control.bytes()] {
        assert!(!place.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes()));
    }
}

#[test]
fn a_token_that_is_refused_is_told_with_its_remedy() {
    let account = account::start_sized(20);
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::new(&account, &warehouse, SERVICE);
    let control = Control::of(&workplace);
    let mut command = workplace.command(&["serve"]);
    command.env("BRONTO_TOKEN", "C0FFEE02-5EC2-4E70-ACC0-0B57ACB1E002");
    let serving = Running::start(command);
    let run = control.until("a failure", |run| run.ended_at.is_some());
    let error = run.error.clone().unwrap();
    assert_eq!((run.state, error.code.as_str()), (RunState::Failed, "source_refused"));
    assert!(error.message.contains("token") && !error.remedy.is_empty(), "{error:?}");
    let said = terminate(serving);
    let log = control.log(&run.id);
    assert!(log.lines().last().unwrap().contains(LogLevel::Critical.name()), "{log}");
    for place in [said.as_bytes(), log.as_bytes(), &control.bytes()] {
        assert!(!place.windows(8).any(|part| part == b"C0FFEE02"));
    }
}

#[test]
fn a_signal_ends_it_gracefully_and_the_next_start_goes_on() {
    let account = account::start_sized(60);
    account.set_behaviour("latency_ms", "20").unwrap();
    let warehouse = Warehouse::duckdb();
    let workplace = Workplace::new(&account, &warehouse, SERVICE);
    let control = Control::of(&workplace);
    let mut serving = serve(&workplace);
    serving.wait_for("State update");
    let said = terminate(serving);
    assert!(said.contains("Stopped"), "{said}");
    let run = control.last_run().unwrap();
    assert_eq!((run.state, run.lapses, run.worker.as_ref()), (RunState::Due, 0, None), "{said}");
    let serving = serve(&workplace);
    let run = control.succeeded();
    assert_eq!((run.attempt, run.lapses), (2, 0));
    terminate(serving);
    truth::assert_equal(&account, &warehouse);
    control.assert_loads(&warehouse);
}
