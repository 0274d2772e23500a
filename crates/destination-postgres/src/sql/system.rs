//! Statements about the system tables: claim, bookmarks, ledger, rejects.

use replication::system::{LOADS, REJECTED, STATE, SystemTable};

use super::{comma, identifier, table};

/// Makes sure that the claim's row is there. One that is there isn't tried: an insert would wait for whoever changes it.
pub(crate) fn insert_claim(schema: &str) -> String {
    let table = table(schema, STATE.name);
    format!(
        "insert into {table} (stream, token, updated_at) select '', 0, clock_timestamp() \
         where not exists (select from {table} where stream = '') on conflict (stream) do nothing"
    )
}

/// Whether a row is locked that is read, until the end of the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// It isn't: it is read as it was committed last.
    None,
    /// It is, and is not found if somebody else has locked it.
    IfFree,
    /// It is, and whoever else has locked it is waited for.
    Wait,
}

/// Reads the claim's row.
pub(crate) fn find_claim(schema: &str, lock: Lock) -> String {
    let lock = match lock {
        Lock::None => "",
        Lock::IfFree => " for update skip locked",
        Lock::Wait => " for update",
    };
    format!(
        "select token, holder, lease_expires_at, integration_id, source_fingerprint, state from {} \
         where stream = ''{lock}",
        table(schema, STATE.name)
    )
}

/// Takes the claim: holder `$1`, lease `$2` in microseconds, integration `$3`, fingerprint `$4`, start date `$5` unless
/// one is stored and `$6`, it counts. Returns token and start date.
pub(crate) fn take_claim(schema: &str) -> String {
    format!(
        "update {} set token = coalesce(token, 0) + 1, holder = $1, lease_expires_at = {LEASE_FROM_2}, \
         integration_id = $3, source_fingerprint = $4, \
         start_date = case when $6 then coalesce(start_date, $5) else $5 end, \
         updated_at = clock_timestamp() where stream = '' returning token, start_date",
        table(schema, STATE.name)
    )
}

/// Renews the lease by `$2` microseconds where the token is `$1`.
pub(crate) fn renew_claim(schema: &str) -> String {
    format!(
        "update {} set lease_expires_at = {LEASE_FROM_2}, updated_at = clock_timestamp() \
         where stream = '' and token = $1",
        table(schema, STATE.name)
    )
}

/// Renews the lease and stores the memory `$3`, where the token is `$1`.
pub(crate) fn fence(schema: &str) -> String {
    format!(
        "update {} set lease_expires_at = {LEASE_FROM_2}, state = $3, updated_at = clock_timestamp() \
         where stream = '' and token = $1",
        table(schema, STATE.name)
    )
}

/// Lets the claim go, where the token is `$1`.
pub(crate) fn release_claim(schema: &str) -> String {
    format!(
        "update {} set holder = null, lease_expires_at = null, updated_at = clock_timestamp() \
         where stream = '' and token = $1",
        table(schema, STATE.name)
    )
}

/// What the claim's row remembers. Waits for a transaction that is about to change it, so that a commit whose reply was
/// lost is either over or undone when this answers.
pub(crate) fn memory(schema: &str) -> String {
    format!("select state::text from {} where stream = '' for share", table(schema, STATE.name))
}

/// The bookmarks.
pub(crate) fn bookmarks(schema: &str) -> String {
    format!("select stream, state from {} where stream <> ''", table(schema, STATE.name))
}

/// Stores the state `$2` of the stream `$1`.
pub(crate) fn store_bookmark(schema: &str) -> String {
    format!(
        "insert into {} (stream, state, updated_at) values ($1, $2, clock_timestamp()) \
         on conflict (stream) do update set state = excluded.state, updated_at = excluded.updated_at",
        table(schema, STATE.name)
    )
}

/// The state rows, the claim first.
pub(crate) fn states(schema: &str) -> String {
    format!(
        "select stream, state, token, holder, lease_expires_at, integration_id, updated_at, start_date from {} \
         order by stream collate \"C\"",
        table(schema, STATE.name)
    )
}

/// Inserts `count` rows into a system table: all its columns, in its order.
pub(crate) fn insert_rows(schema: &str, system_table: &SystemTable, count: usize) -> String {
    let width = system_table.columns.len();
    let row = |row: usize| {
        let parameters = (1..=width).map(|column| format!("${}", row * width + column));
        format!("({})", comma(parameters))
    };
    let columns = system_table.columns.iter().map(|(name, _)| identifier(name));
    format!(
        "insert into {} ({}) values {}",
        table(schema, system_table.name),
        comma(columns),
        comma((0..count).map(row)),
    )
}

/// As [`insert_rows`] for rejects. One that is there stays, unless it was replayed, is of another table version, has
/// another reason or is more than a day old: then it stands for the new read.
pub(crate) fn insert_rejects(schema: &str, count: usize) -> String {
    let anew = [
        "_sdc_rejected_at",
        "reason",
        "run_id",
        "_sdc_sequence",
        "_sdc_table_version",
        "_sdc_extracted_at",
        "replayed_at",
    ];
    let stored = table(schema, REJECTED.name);
    format!(
        "{} on conflict (reject_id) do update set {} where {stored}.replayed_at is not null \
         or {stored}._sdc_table_version is distinct from excluded._sdc_table_version \
         or {stored}.reason is distinct from excluded.reason \
         or {stored}._sdc_rejected_at < excluded._sdc_rejected_at - interval '1 day'",
        insert_rows(schema, &REJECTED, count),
        comma(anew.iter().map(|name| format!("{name} = excluded.{name}"))),
    )
}

/// Counts the rejects whose ids are in `$1`.
pub(crate) fn count_rejects(schema: &str) -> String {
    format!("select count(*) from {} where reject_id = any($1)", table(schema, REJECTED.name))
}

/// Those of the marks `$2` that are the id or the key digest of a reject of table `$1`.
pub(crate) fn rejected_among(schema: &str) -> String {
    let rejected = table(schema, REJECTED.name);
    format!(
        "select reject_id from {rejected} where table_name = $1 and reject_id = any($2) \
         union select key_digest from {rejected} where table_name = $1 and key_digest = any($2) and replayed_at is null"
    )
}

/// The ledger, newest batch first, at most `$1` rows, in the columns' order.
pub(crate) fn loads(schema: &str) -> String {
    format!(
        "select {} from {} order by committed_at desc, batch_id desc, table_name limit $1",
        comma(LOADS.columns.iter().map(|(name, _)| identifier(name))),
        table(schema, LOADS.name)
    )
}

/// The sums of the ledger, per table.
pub(crate) fn totals(schema: &str) -> String {
    let figures =
        ["received", "inserted", "updated", "unchanged", "superseded", "rejected", "deleted"];
    let sums = figures.iter().map(|figure| format!("coalesce(sum({figure}), 0)::bigint"));
    format!(
        "select table_name, {}, max(committed_at), coalesce(max(table_version), 0) from {} group by table_name",
        comma(sums),
        table(schema, LOADS.name)
    )
}

/// Why rows were rejected, the commonest reason first, of table `$1` unless that is null.
pub(crate) fn reject_reasons(schema: &str) -> String {
    format!(
        "select table_name, reason_code, reason, count(*), min(_sdc_rejected_at), max(_sdc_rejected_at) from {} \
         where replayed_at is null and ($1::text is null or table_name = $1) group by table_name, reason_code, reason \
         order by count(*) desc, table_name, reason_code, reason",
        table(schema, REJECTED.name)
    )
}

/// The rejects, newest first, of table `$1` unless that is null, at most `$2`.
pub(crate) fn rejects(schema: &str) -> String {
    format!(
        "select _sdc_rejected_at, table_name, reason, reason_code, reject_id, run_id, record from {} \
         where replayed_at is null and ($1::text is null or table_name = $1) order by _sdc_rejected_at desc, reject_id limit $2",
        table(schema, REJECTED.name)
    )
}

/// Rejects in the order of their read: of table `$1`, reason `$2` and id `$3` unless those are null, from behind the sequence
/// `$4` and id `$5` on unless those are null; at most `$6` rows, and at most `$7` bytes of records or one row; replayed ones
/// or others by `$8`, unless that is null.
pub(crate) fn stored_rejects(schema: &str) -> String {
    let place = "coalesce(_sdc_sequence, 0)";
    format!(
        "select reject_id, stream, reason_code, reason, record, place, _sdc_table_version, _sdc_extracted_at, replayed_at from \
         (select *, sum(octet_length(record)) over (order by place, id) as bytes, row_number() over (order by place, id) as row \
         from (select *, {place} as place, reject_id collate \"C\" as id from {} \
         where ($8::boolean is null or (replayed_at is not null) = $8) and ($1::text is null or table_name = $1) and ($2::text is null or reason_code = $2) \
         and ($3::text is null or reject_id = $3) \
         and ($4::bigint is null or {place} > $4 or ({place} = $4 and reject_id collate \"C\" > $5)) \
         order by {place}, reject_id collate \"C\" limit $6) page) measured \
         where bytes <= $7 or row = 1 order by place, id",
        table(schema, REJECTED.name)
    )
}

/// Marks the rejects whose ids are in `$1` as replayed.
pub(crate) fn mark_replayed(schema: &str) -> String {
    format!(
        "update {} set replayed_at = clock_timestamp() where reject_id = any($1) and replayed_at is null",
        table(schema, REJECTED.name)
    )
}

/// Removes the rejects whose ids are in `$1`.
pub(crate) fn remove_rejects(schema: &str) -> String {
    format!("delete from {} where reject_id = any($1)", table(schema, REJECTED.name))
}

/// Removes the oldest rejects that were rejected before `$1` or replayed before `$2`, at most `$3`.
pub(crate) fn expire_rejects(schema: &str) -> String {
    let rejects = table(schema, REJECTED.name);
    format!(
        "delete from {rejects} where reject_id in (select reject_id from {rejects} \
         where _sdc_rejected_at < $1 or replayed_at < $2 order by _sdc_rejected_at limit $3)"
    )
}

/// The end of a lease of `$2` microseconds by the server's clock.
const LEASE_FROM_2: &str = "clock_timestamp() + $2 * interval '1 microsecond'";
