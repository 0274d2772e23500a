//! The store's tables, version by version. A version that was released is never changed; what comes later is added.

use std::cmp::Ordering;

use super::{
    StoreError,
    database::{Database, Dialect, Row, values},
};

/// All versions, the first first.
const VERSIONS: [&str; 5] = [FIRST, SECOND, THIRD, FOURTH, FIFTH];

/// Keeps two programs that start at once from making the tables twice. SQLite has one writer anyway.
const LOCK_POSTGRES: &str = "select pg_advisory_xact_lock(7305798211);
    create schema if not exists backstitch";

const VERSION_TABLE: &str = "create table if not exists store_version (version bigint primary key, applied_at bigint not null)";

const FIRST: &str = "
create table integrations (
    id text primary key,
    name text not null,
    schema_name text not null,
    origin text not null,
    settings text not null,
    schedule text,
    start_date bigint not null,
    version bigint not null,
    created_at bigint not null,
    updated_at bigint not null,
    paused_at bigint,
    paused_by text,
    deleted_at bigint,
    decided_until bigint not null,
    last_run_id text
);
create unique index integrations_by_name on integrations (name) where deleted_at is null;
create unique index integrations_by_schema on integrations (schema_name) where deleted_at is null;

create table runs (
    id text primary key,
    integration_id text not null references integrations (id),
    slot bigint not null,
    started_by text not null,
    state text not null,
    begun_at bigint not null,
    attempt bigint not null,
    lapses bigint not null default 0,
    worker text,
    lease_expires_at bigint,
    claimed_at bigint,
    stop_requested_at bigint,
    stop_reason text,
    destination_token bigint,
    progress text,
    ended_at bigint,
    error_code text,
    error_message text,
    error_remedy text,
    log_lines bigint not null default 0,
    log_bytes bigint not null default 0,
    log_lines_dropped bigint not null default 0,
    unique (integration_id, slot)
);
create unique index runs_alive on runs (integration_id) where ended_at is null;
create index runs_by_integration on runs (integration_id, begun_at);
create index runs_by_begin on runs (begun_at, id);
create index runs_by_state on runs (state, begun_at, id);
create index runs_open on runs (state, begun_at) where ended_at is null;

create table slots (
    integration_id text not null references integrations (id),
    slot bigint not null,
    outcome text not null,
    run_id text,
    first_slot bigint not null,
    slot_count bigint not null,
    recorded_at bigint not null,
    primary key (integration_id, slot)
);

create table log_lines (
    run_id text not null references runs (id),
    line_number bigint not null,
    logged_at bigint not null,
    location text not null,
    level text not null,
    body text not null,
    primary key (run_id, line_number)
);
create index log_lines_grave on log_lines (run_id, line_number) where level in ('WARNING', 'ERROR', 'CRITICAL');

create table loads (
    batch_id text not null,
    table_name text not null,
    integration_id text not null references integrations (id),
    run_id text not null,
    stream text not null,
    table_version bigint not null,
    received bigint not null,
    inserted bigint not null,
    updated bigint not null,
    unchanged bigint not null,
    superseded bigint not null,
    rejected bigint not null,
    deleted bigint not null,
    bytes bigint not null,
    bookmark text,
    started_at bigint not null,
    committed_at bigint not null,
    primary key (integration_id, batch_id, table_name)
);
create index loads_by_table on loads (integration_id, table_name, committed_at);

create table schema_events (
    id text primary key,
    integration_id text not null references integrations (id),
    run_id text not null,
    table_name text not null,
    column_name text not null,
    kind text not null,
    detail text not null,
    happened_at bigint not null
);
create index schema_events_by_integration on schema_events (integration_id, happened_at);

create table secrets (
    integration_id text not null references integrations (id),
    name text not null,
    key_id text not null,
    sealed text not null,
    sealed_at bigint not null,
    primary key (integration_id, name)
);

create table usage_days (
    integration_id text not null references integrations (id),
    table_name text not null,
    day bigint not null,
    rows_counted bigint not null,
    rows_free bigint not null,
    rows_reread bigint not null,
    primary key (integration_id, table_name, day)
);

create table free_windows (
    schema_name text primary key,
    began_at bigint not null
);

create table users (
    id text primary key,
    name text not null unique,
    role text not null,
    password_hash text not null,
    created_at bigint not null,
    disabled_at bigint
);

create table api_tokens (
    id text primary key,
    user_id text not null references users (id),
    name text not null,
    token_hash text not null unique,
    scope text not null,
    created_at bigint not null,
    expires_at bigint,
    last_used_at bigint,
    revoked_at bigint
);
create index api_tokens_by_user on api_tokens (user_id);

create table sessions (
    token_hash text primary key,
    user_id text not null references users (id),
    created_at bigint not null,
    used_at bigint not null,
    expires_at bigint not null
);
create index sessions_by_user on sessions (user_id);

create table idempotency_keys (
    user_id text not null references users (id),
    idempotency_key text not null,
    request_digest text not null,
    created_at bigint not null,
    status bigint,
    headers text,
    body text,
    primary key (user_id, idempotency_key)
);
create index idempotency_keys_by_age on idempotency_keys (created_at);
";

const SECOND: &str = "
alter table integrations add column reset_requested_at bigint;
create index runs_ended on runs (ended_at) where ended_at is not null;
create index loads_committed on loads (committed_at);
";

/// Indexes that hold all that reports ask for, and in their order, so that no read looks through more than it answers.
const THIRD: &str = "
drop index runs_by_integration;
create index runs_by_integration on runs (integration_id, begun_at, id);
create index runs_by_integration_and_state on runs (integration_id, state, begun_at, id);
create index runs_with_log on runs (ended_at, id, log_bytes) where log_lines > 0 and ended_at is not null;
drop index loads_by_table;
create index loads_by_table on loads (integration_id, table_name, committed_at, batch_id, inserted, updated, rejected);
drop index schema_events_by_integration;
create index schema_events_by_integration on schema_events (integration_id, happened_at, id);
create index usage_days_by_day on usage_days (day, rows_counted);
";

const FOURTH: &str = "
alter table integrations add column undeclared_at bigint;
alter table runs add column task text;
alter table runs add column report text;
";

/// The sums of usage, too, are read from an index alone.
const FIFTH: &str = "
drop index usage_days_by_day;
create index usage_days_by_day on usage_days (day, rows_counted, rows_free, rows_reread);
";

/// Tables that are older than this program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrationDue {
    /// The version that they have; 0 where there are none.
    pub found: i64,
    /// The version that this program works on.
    pub known: i64,
}

/// Whether the tables are older than this program's. Changes nothing.
///
/// # Errors
/// When the store can't be read, or a later program made it.
pub(super) async fn due(database: &dyn Database) -> Result<Option<MigrationDue>, StoreError> {
    let is_there = match database.dialect() {
        Dialect::Sqlite => "select count(*) from sqlite_master where name = 'store_version'",
        Dialect::Postgres => {
            "select count(*) from pg_tables where schemaname = 'backstitch' and tablename = 'store_version'"
        }
    };
    let number = |rows: Vec<Row>| rows.into_iter().next().map_or(Ok(0), |mut row| row.integer());
    let found = match number(database.rows(is_there, values![]).await?)? {
        0 => 0,
        _ => number(database.rows(LATEST, values![]).await?)?,
    };
    let known = newest();
    match found.cmp(&known) {
        Ordering::Less => Ok(Some(MigrationDue { found, known })),
        Ordering::Equal => Ok(None),
        Ordering::Greater => Err(StoreError::Newer { place: database.place(), found, known }),
    }
}

const LATEST: &str = "select coalesce(max(version), 0) from store_version";

fn newest() -> i64 {
    i64::try_from(VERSIONS.len()).unwrap_or(i64::MAX)
}

/// Brings the tables up to the latest version, in one transaction.
///
/// # Errors
/// When the store can't be changed, or a later program made it.
pub(super) async fn apply(database: &dyn Database, now: i64) -> Result<(), StoreError> {
    let mut transaction = database.begin().await?;
    if database.dialect() == Dialect::Postgres {
        transaction.script(LOCK_POSTGRES).await?;
    }
    transaction.script(VERSION_TABLE).await?;
    let rows = transaction.rows(LATEST, values![]).await?;
    let found = rows.into_iter().next().map_or(Ok(0), |mut row| row.integer())?;
    let known = newest();
    if found > known {
        return Err(StoreError::Newer { place: database.place(), found, known });
    }
    for (version, script) in (1..).zip(VERSIONS).filter(|(version, _)| *version > found) {
        transaction.script(script).await?;
        let record = "insert into store_version (version, applied_at) values ($1, $2)";
        transaction.change(record, values![version, now]).await?;
    }
    transaction.commit().await
}
