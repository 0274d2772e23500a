//! The service killed, or paused, at any moment: no run is lost or stuck, the books balance, and the destination holds the
//! truth.

use std::time::Duration;

use chrono::Utc;
use postgres_cluster::Cluster;
use service::{Store, run::RunState};

use crate::{
    account,
    programs::{Running, Workplace, pause},
    serving::{Control, SERVICE, serve},
    truth,
    warehouse::Warehouse,
};

/// How often it is killed, for each destination; `cargo xtask soak service` says more.
const KILLS: &str = "BACKSTITCH_SERVICE_KILLS";

fn kills() -> u64 {
    std::env::var(KILLS).map_or(5, |kills| kills.parse().unwrap())
}

#[test]
fn kills_at_any_moment_lose_no_run_into_duckdb() {
    kills_at_any_moment_lose_no_run(&Warehouse::duckdb());
}

#[test]
fn kills_at_any_moment_lose_no_run_into_postgres() {
    kills_at_any_moment_lose_no_run(&Warehouse::postgres());
}

#[track_caller]
fn kills_at_any_moment_lose_no_run(warehouse: &Warehouse) {
    let account = account::start_sized(60);
    account.set_behaviour("latency_ms", "3").unwrap();
    let workplace = Workplace::new(&account, warehouse, SERVICE);
    let control = Control::of(&workplace);
    let mut serving = serve(&workplace);
    let mut in_the_middle = 0;
    for round in 0..kills() {
        if round > 0 {
            account::change(&account);
            control.start();
        }
        control.until("a run", |run| run.state != RunState::Due);
        // Spread over the length of a run, differently in every round.
        pause(Duration::from_millis((round * 197) % 900));
        serving.kill();
        serving = serve(&workplace);
        let run = control.succeeded();
        assert!(run.lapses <= 1, "{run:?}");
        in_the_middle += run.lapses;
    }
    eprintln!("{} kills, {in_the_middle} of them in the middle of a run", kills());
    assert!(in_the_middle > 0, "every run had ended before the kill");
    serving.signal("TERM");
    serving.wait().expect(143);
    truth::assert_equal(&account, warehouse);
    control.assert_loads(warehouse);
}

/// A control store in a PostgreSQL server of its own.
pub(crate) struct Server(pub(crate) Cluster);

impl Server {
    pub(crate) fn control(&self) -> Control {
        let mut config: tokio_postgres::Config = self.0.url().parse().unwrap();
        config.password(self.0.password());
        Control::with(async { Store::postgres(config, None, Utc::now()).await.unwrap() })
    }

    pub(crate) fn command(&self, workplace: &Workplace, role: &str) -> std::process::Command {
        let mut command = workplace.command(&[role, "--store", &self.0.url()]);
        command.env("PGPASSWORD", self.0.password());
        command
    }
}

#[test]
fn a_worker_that_was_paused_beyond_its_lease_commits_nothing() {
    let account = account::start_sized(200);
    account.set_behaviour("latency_ms", "30").unwrap();
    let warehouse = Warehouse::postgres();
    let workplace = Workplace::new(&account, &warehouse, SERVICE);
    let server = Server(Cluster::start().unwrap());
    let control = server.control();
    let mut first = Running::start(server.command(&workplace, "serve"));
    first.wait_for("State update");
    first.signal("STOP");
    let second = Running::start(server.command(&workplace, "work"));
    let run = control.succeeded();
    assert_eq!((run.attempt, run.destination_token), (2, Some(2)));
    let loads = warehouse.number("select count(*) from stitch_bronto._sdc_loads");
    first.signal("CONT");
    first.wait_for_one_of(&["another worker", "is dropped", "has taken over"]);
    first.signal("TERM");
    first.wait().expect(143);
    second.signal("TERM");
    second.wait().expect(143);
    assert_eq!(warehouse.number("select count(*) from stitch_bronto._sdc_loads"), loads);
    truth::assert_equal(&account, &warehouse);
    control.assert_loads(&warehouse);
}
