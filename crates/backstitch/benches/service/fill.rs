//! A control store as it is after some weeks: filled by plain SQL that both kinds of store take, because the service's own
//! way of writing, a flushed transaction each, would take hours.

use std::path::Path;

use chrono::{DateTime, Utc};
use postgres_cluster::Cluster;
use rusqlite::Connection;
use secrecy::ExposeSecret;
use service::{
    Store,
    store::{Role, Scope},
};

/// How much there is.
#[derive(Clone, Copy)]
pub(crate) struct Amounts {
    pub(crate) integrations: u64,
    pub(crate) runs: u64,
    pub(crate) lines: u64,
}

/// What is asked for in the store.
pub(crate) struct Filled {
    /// An integration of many.
    pub(crate) integration: String,
    /// A run of many.
    pub(crate) run: String,
    /// The run with the longest log.
    pub(crate) long_run: String,
    /// The day of the last loads.
    pub(crate) day: String,
    /// Tokens of users of their own: a caller may ask only so much at once.
    pub(crate) tokens: Vec<String>,
}

/// How many callers there are.
const CALLERS: usize = 60;

/// The lines of the longest log, as many as a run may have.
const LONGEST_LOG: u64 = 100_000;

/// How many runs have a log beside it.
const LOGS: u64 = 2_000;

/// What a run that is over has told of its tables.
const PROGRESS: &str = r#"{"phase":"done","requests":1234,"rows":{"contact":51234,"inbound_activity":91234,"list":40,"outbound_activity":812345,"unsubscribe":321},"tables":{"contact":{"activity":"contacts modified until 2026-11-24T10:00:00Z","extracted":51234,"rejected":0,"requests":11,"retries":0,"percent":100,"is_done":true},"inbound_activity":{"activity":"activities until 2026-11-24T10:00:00Z","extracted":91234,"rejected":0,"requests":92,"retries":1,"percent":100,"is_done":true},"list":{"activity":"all lists","extracted":40,"rejected":0,"requests":2,"retries":0,"percent":100,"is_done":true},"outbound_activity":{"activity":"activities until 2026-11-24T10:00:00Z","extracted":812345,"rejected":0,"requests":1120,"retries":2,"percent":100,"is_done":true},"unsubscribe":{"activity":"unsubscribes until 2026-11-24T10:00:00Z","extracted":321,"rejected":0,"requests":9,"retries":0,"percent":100,"is_done":true}},"rows_per_second":12345,"percent":100,"estimated_end":null}"#;

/// The statements, in their order. Each integration runs every hour; the last runs began an hour ago, and the next come
/// tomorrow, so that nothing starts in the meantime.
fn statements(amounts: Amounts, now: DateTime<Utc>) -> [String; 6] {
    let Amounts { integrations, runs, lines } = amounts;
    let now = now.timestamp_millis();
    let hour = 3_600_000;
    let first = now - i64::try_from(runs.div_ceil(integrations)).unwrap_or(0) * hour;
    let many = |count: u64| {
        format!(
            "with recursive n (i) as (select cast(0 as bigint) union all select i + 1 from n where i + 1 < {count})"
        )
    };
    let run_id = |number: &str| format!("'run-' || ({number} + 10000000)");
    let integration_id = |number: &str| format!("'integration-' || ({number} + 100000)");
    let short_lines = lines.saturating_sub(LONGEST_LOG);
    let per_log = (short_lines / LOGS).max(1);
    let long = runs - 1;
    [
        format!(
            "{} insert into integrations (id, name, schema_name, origin, settings, schedule, start_date, version, created_at, \
             updated_at, decided_until, last_run_id) select {}, 'Account ' || (i + 100000), 'account_' || (i + 100000), 'api', \
             '{{\"source\":{{\"type\":\"bronto\",\"endpoint\":\"https://api.bronto.com/v4\",\"concurrency\":4}},\
             \"destination\":{{\"url\":\"postgres://loader@warehouse.example.com/analytics\"}}}}', \
             '{{\"every\":\"24h\"}}', {first}, 3, {first}, {first}, {now}, {} from n",
            many(integrations),
            integration_id("i"),
            run_id(&format!("i + {}", runs - integrations)),
        ),
        format!(
            "{} insert into runs (id, integration_id, slot, started_by, state, begun_at, attempt, worker, claimed_at, \
             destination_token, progress, ended_at, error_code, error_message, error_remedy, log_lines, log_bytes) \
             select {}, {}, {first} + i / {integrations} * {hour}, 'schedule', \
             case when i % 50 = 7 then 'failed' else 'succeeded' end, {first} + i / {integrations} * {hour}, 1, \
             'host/4711/e43d4a', {first} + i / {integrations} * {hour} + 500, i / {integrations}, '{PROGRESS}', \
             {first} + i / {integrations} * {hour} + 240000, case when i % 50 = 7 then 'source_unavailable' end, \
             case when i % 50 = 7 then 'The account can not be read at the moment' end, \
             case when i % 50 = 7 then 'Nothing: the next start tries again' end, \
             case when i = {long} then {LONGEST_LOG} when i >= {} then {per_log} else 0 end, \
             case when i = {long} then {LONGEST_LOG} when i >= {} then {per_log} else 0 end * 150 from n",
            many(runs),
            run_id("i"),
            integration_id(&format!("i % {integrations}")),
            runs.saturating_sub(LOGS + 1),
            runs.saturating_sub(LOGS + 1),
        ),
        lines_of(&many(LONGEST_LOG), &run_id(&long.to_string()), "i", now),
        lines_of(
            &many(short_lines),
            &run_id(&format!("{} + i / {per_log}", runs.saturating_sub(LOGS + 1))),
            &format!("i % {per_log}"),
            now,
        ),
        format!(
            "{} insert into loads (batch_id, table_name, integration_id, run_id, stream, table_version, received, inserted, \
             updated, unchanged, superseded, rejected, deleted, bytes, bookmark, started_at, committed_at) \
             select 'batch-' || (i + 10000000), t.name, {}, {}, t.name, 0, 1000, 600, 300, 100, 0, 0, 0, 250000, \
             '2026-11-24T10:00:00Z', {first} + i / {integrations} * {hour} + 200000, \
             {first} + i / {integrations} * {hour} + 201500 \
             from n, (select 'contact' as name union all select 'list' union all select 'inbound_activity' \
             union all select 'outbound_activity' union all select 'unsubscribe') t",
            many(runs),
            integration_id(&format!("i % {integrations}")),
            run_id("i"),
        ),
        "insert into usage_days (integration_id, table_name, day, rows_counted, rows_free, rows_reread) \
         select integration_id, table_name, committed_at / 86400000, sum(inserted + updated), 0, sum(unchanged) \
         from loads group by integration_id, table_name, committed_at / 86400000"
            .to_owned(),
    ]
}

fn lines_of(many: &str, run: &str, number: &str, now: i64) -> String {
    format!(
        "{many} insert into log_lines (run_id, line_number, logged_at, location, level, body) \
         select {run}, {number} + 1, {now} - 3600000 + {number} * 10, 'tap', \
         case when i % 1000 = 999 then 'ERROR' when i % 100 = 99 then 'WARNING' else 'INFO' end, \
         'Read page ' || ({number}) || ' of outbound_activity from 2026-11-24T09:00:00Z until 2026-11-24T10:00:00Z: 1000 rows' \
         from n"
    )
}

/// Fills a store that is a file.
pub(crate) async fn sqlite(path: &Path, amounts: Amounts, now: DateTime<Utc>) -> Filled {
    let store = Store::sqlite(path, now).await.unwrap();
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("pragma cache_size = -500000; begin").unwrap();
    for statement in statements(amounts, now) {
        connection.execute_batch(&statement).unwrap();
    }
    connection.execute_batch("commit").unwrap();
    with_callers(&store, amounts, now).await
}

/// Fills a store in a PostgreSQL database.
pub(crate) async fn postgres(cluster: &Cluster, amounts: Amounts, now: DateTime<Utc>) -> Filled {
    let mut config: tokio_postgres::Config = cluster.url().parse().unwrap();
    config.password(cluster.password());
    let store = Store::postgres(config, None, now).await.unwrap();
    for statement in statements(amounts, now) {
        cluster.query(&format!("set search_path = backstitch; {statement}")).unwrap();
    }
    // As the server does by itself after a while.
    cluster.query("vacuum analyze").unwrap();
    with_callers(&store, amounts, now).await
}

async fn with_callers(store: &Store, amounts: Amounts, now: DateTime<Utc>) -> Filled {
    let mut tokens = Vec::new();
    for number in 0..CALLERS {
        let name = format!("caller {number}");
        let hash = "nobody signs in".to_owned().into();
        let user = store.create_user(&name, Role::Viewer, &hash, now).await.unwrap();
        let token = store.create_token(&user.id, "first", Scope::Read, None, now).await.unwrap();
        tokens.push(token.text.expose_secret().to_owned());
    }
    Filled {
        integration: format!("integration-{}", 100_000 + amounts.integrations / 2),
        run: format!("run-{}", 10_000_000 + amounts.runs / 2),
        long_run: format!("run-{}", 10_000_000 + amounts.runs - 1),
        day: (now - chrono::TimeDelta::hours(26)).date_naive().to_string(),
        tokens,
    }
}
