//! PostgreSQL that goes away, and connections that break, at the worst moments: the run gets over it, or ends with a
//! clear message, and in the end the tables hold the truth.

use std::{fs, time::Duration};

use bronto_sim::RunningServer;

use crate::{
    account,
    peers::{loaded_from, tap_output},
    programs::{Ended, Running, Workplace},
    proxy::{Mishap, Moment, Proxy},
    truth,
    warehouse::{SCHEMA, Warehouse},
};

/// An account, a warehouse, and a proxy on the way to it.
struct Way {
    account: RunningServer,
    warehouse: Warehouse,
    proxy: Proxy,
    workplace: Workplace,
}

impl Way {
    fn new() -> Self {
        let (account, warehouse) = (account::start_sized(60), Warehouse::postgres());
        let proxy = Proxy::start(warehouse.cluster().port());
        let workplace =
            Workplace::new(&account, &warehouse, "").with_environment(warehouse.password());
        let path = workplace.path().join("backstitch.toml");
        let text = fs::read_to_string(&path).unwrap();
        let direct = format!(":{}/", warehouse.cluster().port());
        assert!(text.contains(&direct), "{text}");
        fs::write(&path, text.replace(&direct, &format!(":{}/", proxy.port()))).unwrap();
        Self { account, warehouse, proxy, workplace }
    }

    fn run(&self) -> Ended {
        self.workplace.run(&["run", "--json"])
    }

    /// The address by way of the proxy.
    fn address(&self) -> String {
        let direct = self.warehouse.cluster().port().to_string();
        self.warehouse.address().replace(&direct, &self.proxy.port().to_string())
    }

    #[track_caller]
    fn holds_the_truth(&self) {
        truth::assert_equal(&self.account, &self.warehouse);
    }
}

#[test]
fn a_connection_may_be_cut_anywhere() {
    let way = Way::new();
    for moment in [Moment::Rows, Moment::Merge, Moment::Commit] {
        for mishap in [Mishap::CutBefore, Mishap::CutReply] {
            if (moment, mishap) == (Moment::Rows, Mishap::CutReply) {
                // Rows have no reply of their own.
                continue;
            }
            way.proxy.arm(moment, mishap);
            let ended = way.run().expect(0);
            assert!(way.proxy.has_struck(), "{moment:?} did not come");
            let is_unknown = ended.stderr.contains("The reply to a commit was lost");
            assert_eq!(is_unknown, moment == Moment::Commit, "{}", ended.stderr);
            way.holds_the_truth();
            account::change(&way.account);
        }
    }
}

#[test]
fn a_commit_whose_reply_is_lost_is_not_done_again() {
    let way = Way::new();
    way.run().expect(0);
    account::change(&way.account);
    way.proxy.arm(Moment::Commit, Mishap::CutReply);
    let report = way.run().expect(0).json();
    assert!(way.proxy.has_struck());
    way.holds_the_truth();
    // What the run says that it did is what the ledger has of it, and it is there once.
    let run = report["run_id"].as_str().unwrap();
    for table in report["tables"].as_array().unwrap() {
        let name = table["table"].as_str().unwrap();
        let stored = way.warehouse.number(&format!(
            "select coalesce(sum(received), 0)::bigint from {SCHEMA}._sdc_loads where run_id = '{run}' and table_name = '{name}'"
        ));
        assert_eq!(table["received"].as_i64(), Some(stored), "{name}");
    }
}

#[test]
fn a_load_gets_over_a_lost_reply_and_tells_its_states_once() {
    let way = Way::new();
    let messages = tap_output(&way.account, &way.workplace);
    let direct = loaded_from(&way.workplace, &Warehouse::duckdb(), SCHEMA, &messages).expect(0);
    way.proxy.arm(Moment::Commit, Mishap::CutReply);
    let load =
        way.workplace.command(&["load", "--destination", &way.address(), "--schema", SCHEMA]);
    let ended = crate::peers::with_input(load, &messages).wait().expect(0);
    assert!(way.proxy.has_struck());
    assert_eq!(ended.stdout, direct.stdout);
    truth::assert_equal_after_load(&way.account, &way.warehouse);
}

#[test]
fn a_slow_connection_changes_nothing() {
    let way = Way::new();
    way.proxy.slow_down(Duration::from_millis(15));
    way.run().expect(0);
    way.holds_the_truth();
}

#[test]
fn a_server_that_is_killed_and_comes_back_is_waited_for() {
    let mut way = Way::new();
    for moment in [Moment::Rows, Moment::Merge, Moment::Commit] {
        way.proxy.arm(moment, Mishap::Tell);
        let running = Running::start(way.workplace.command(&["run", "--json"]));
        way.proxy.wait();
        let Warehouse::Postgres(cluster) = &mut way.warehouse else {
            unreachable!("it is PostgreSQL")
        };
        cluster.kill();
        way.proxy.go_on();
        cluster.restart().unwrap();
        running.wait().expect(0);
        way.holds_the_truth();
        account::change(&way.account);
    }
}

#[test]
fn a_server_that_is_killed_and_stays_away_ends_the_run_with_a_clear_message() {
    let mut way = Way::new();
    way.run().expect(0);
    account::change(&way.account);
    way.proxy.arm(Moment::Merge, Mishap::Tell);
    let running = Running::start(way.workplace.command(&["run"]));
    way.proxy.wait();
    let Warehouse::Postgres(cluster) = &mut way.warehouse else { unreachable!("it is PostgreSQL") };
    cluster.kill();
    way.proxy.go_on();
    let ended = running.wait().expect(5);
    assert!(ended.failure().contains("PostgreSQL"), "{}", ended.stderr);
    assert!(ended.failure().contains("hint: "), "{}", ended.stderr);
    cluster.restart().unwrap();
    way.run().expect(0);
    way.holds_the_truth();
}

#[test]
fn a_full_disk_of_the_server_is_named_and_got_over() {
    let way = Way::new();
    way.run().expect(0);
    account::change(&way.account);
    // The server's own answer when its disk is full, given by a trigger.
    let full = "create function full_disk() returns trigger language plpgsql as \
                $$ begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$;";
    let cluster = way.warehouse.cluster();
    cluster.query(full).unwrap();
    cluster
        .query(&format!(
            "create trigger full_disk before insert or update on {SCHEMA}.contact for each row execute function full_disk()"
        ))
        .unwrap();
    let ended = way.run().expect(5);
    assert!(ended.stderr.contains("Make room on the server's disk"), "{}", ended.stderr);
    cluster.query(&format!("drop trigger full_disk on {SCHEMA}.contact")).unwrap();
    way.run().expect(0);
    way.holds_the_truth();
}
