//! Leases of runs: kept while a run waits for its destination, and not waited for when its process is known to be dead.

use chrono::TimeDelta;
use tokio::runtime::Runtime;

use crate::{
    account,
    programs::Workplace,
    serving::{Control, SERVICE, serve, terminate},
    truth,
    warehouse::Warehouse,
};

#[test]
fn a_reset_that_waits_for_its_destination_keeps_its_lease() {
    let account = account::start_sized(20);
    let warehouse = Warehouse::postgres();
    let workplace = Workplace::new(&account, &warehouse, SERVICE);
    let control = Control::of(&workplace);
    let serving = serve(&workplace);
    control.succeeded();
    // Somebody else holds the row that the reset has to change.
    let runtime = Runtime::new().unwrap();
    let cluster = warehouse.cluster();
    let mut config: tokio_postgres::Config = cluster.url().parse().unwrap();
    config.password(cluster.password());
    let holder = runtime.block_on(async {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let hold = "begin; select token from stitch_bronto._sdc_state where stream = '' for update";
        client.batch_execute(hold).await.unwrap();
        client
    });
    control.reset();
    control.start();
    let lease = TimeDelta::seconds(2);
    control.until("a lease that was renewed again and again", |run| {
        let (claimed, end) = (run.claimed_at, run.lease_expires_at);
        claimed.zip(end).is_some_and(|(claimed, end)| end - claimed > lease * 3)
    });
    runtime.block_on(holder.batch_execute("commit")).unwrap();
    let run = control.succeeded();
    assert_eq!((run.attempt, run.lapses), (1, 0));
    assert_eq!(control.integration().unwrap().reset_requested_at, None);
    terminate(serving);
    truth::assert_equal(&account, &warehouse);
    control.assert_loads(&warehouse);
}

#[test]
fn the_next_start_does_not_wait_for_the_lease_of_a_process_that_was_killed() {
    let account = account::start_sized(60);
    account.set_behaviour("latency_ms", "20").unwrap();
    let warehouse = Warehouse::duckdb();
    let service = SERVICE.replace("lease_seconds = 2", "lease_seconds = 86400");
    let workplace = Workplace::new(&account, &warehouse, &service);
    let control = Control::of(&workplace);
    let mut serving = serve(&workplace);
    serving.wait_for("State update");
    serving.kill();
    let serving = serve(&workplace);
    let run = control.succeeded();
    assert_eq!((run.attempt, run.lapses), (2, 1));
    terminate(serving);
    truth::assert_equal(&account, &warehouse);
    control.assert_loads(&warehouse);
}
