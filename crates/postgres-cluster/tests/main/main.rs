//! Clusters start, answer, survive being killed, and leave nothing behind.
#![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

use postgres_cluster::Cluster;

#[test]
fn what_was_committed_survives_a_kill() {
    let mut cluster = Cluster::start().unwrap();
    cluster.query("create table kept (n integer); insert into kept values (1), (2)").unwrap();
    cluster.kill();
    assert!(cluster.query("select 1").is_err());
    cluster.restart().unwrap();
    assert_eq!(cluster.query("select count(*), sum(n) from kept").unwrap(), "2|3");
    cluster.stop().unwrap();
    assert!(cluster.query("select 1").is_err());
}

#[test]
fn the_password_is_asked_for_and_kept_to_itself() {
    let cluster = Cluster::start().unwrap();
    assert!(!format!("{cluster:?} {}", cluster.url()).contains(cluster.password()));
    let hba = cluster.query("select distinct auth_method from pg_hba_file_rules").unwrap();
    assert_eq!(hba, "scram-sha-256");
}
