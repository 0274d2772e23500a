//! Statements about `_sdc_rejected`.

use replication::system::REJECTED;

use super::{LOADED, Place, STORED, list, quoted};

/// Adds the rows of `source` to the rejects, but for those that are there already.
pub(crate) fn insert(place: &Place, source: &str) -> String {
    let names = list(REJECTED.columns.iter().map(|(name, _)| quoted(name)));
    let table = place.table(REJECTED.name);
    format!(
        "insert into {table} ({names}) select {names} from {source} as {LOADED}\n\
         where not exists (select 1 from {table} as {STORED} where {STORED}.reject_id = {LOADED}.reject_id)"
    )
}

/// Counts the rejects with these ids; parameters: the ids, so many.
pub(crate) fn count(place: &Place, ids: usize) -> String {
    let places = places(ids);
    format!("select count(*) from {} where reject_id in ({places})", place.table(REJECTED.name))
}

/// Why rows were rejected, the commonest reason first; parameter: the table or null for all.
pub(crate) fn reasons(place: &Place) -> String {
    format!(
        "select table_name, reason_code, reason, count(*), epoch_us(min(_sdc_rejected_at)), \
         epoch_us(max(_sdc_rejected_at)) from {} where replayed_at is null and table_name = coalesce(?, table_name) \
         group by table_name, reason_code, reason order by count(*) desc, table_name, reason_code, reason",
        place.table(REJECTED.name)
    )
}

/// The rejects, newest first; parameters: the table or null for all, how many rows.
pub(crate) fn newest(place: &Place) -> String {
    format!(
        "select epoch_us(_sdc_rejected_at), table_name, reason, reason_code, reject_id, run_id, record from {} \
         where replayed_at is null and table_name = coalesce(?, table_name) order by _sdc_rejected_at desc, reject_id limit ?",
        place.table(REJECTED.name)
    )
}

/// Makes rejects that are there stand for the new read in `source`, where they were replayed, are of another table version,
/// have another reason or are more than a day old.
pub(crate) fn renew(place: &Place, source: &str) -> String {
    let anew = [
        "_sdc_rejected_at",
        "reason",
        "run_id",
        "_sdc_sequence",
        "_sdc_table_version",
        "_sdc_extracted_at",
        "replayed_at",
    ];
    format!(
        "update {} as {STORED} set {} from {source} as {LOADED} where {STORED}.reject_id = {LOADED}.reject_id\n\
         and ({STORED}.replayed_at is not null\n\
         or {STORED}._sdc_table_version is distinct from {LOADED}._sdc_table_version\n\
         or {STORED}.reason is distinct from {LOADED}.reason\n\
         or {STORED}._sdc_rejected_at < {LOADED}._sdc_rejected_at - interval 1 day)",
        place.table(REJECTED.name),
        list(anew.iter().map(|name| format!("{name} = {LOADED}.{name}"))),
    )
}

/// Rejects in the order of their read; parameters: table, reason and id, each null for all; the sequence and id behind which
/// to begin, null for the start; how many rows; how many bytes of records, unless one row has more; whether they were
/// replayed, null for both.
pub(crate) fn stored(place: &Place) -> String {
    format!(
        "select reject_id, stream, reason_code, reason, record, place, coalesce(_sdc_table_version, 0), \
         epoch_us(_sdc_extracted_at), epoch_us(replayed_at) from \
         (select *, sum(strlen(record)) over (order by place, reject_id) as bytes, \
         row_number() over (order by place, reject_id) as row from \
         (select *, coalesce(_sdc_sequence, 0) as place from {} where ($8::boolean is null or (replayed_at is not null) = $8) \
         and table_name = coalesce($1, table_name) and reason_code = coalesce($2, reason_code) \
         and reject_id = coalesce($3, reject_id) \
         and ($4::bigint is null or coalesce(_sdc_sequence, 0) > $4 or \
         (coalesce(_sdc_sequence, 0) = $4 and reject_id > $5)) \
         order by coalesce(_sdc_sequence, 0), reject_id limit $6)) where bytes <= $7 or row = 1 \
         order by place, reject_id",
        place.table(REJECTED.name)
    )
}

/// Marks rejects as replayed; parameters: when, and the ids, so many.
pub(crate) fn mark_replayed(place: &Place, ids: usize) -> String {
    format!(
        "update {} set replayed_at = ? where replayed_at is null and reject_id in ({})",
        place.table(REJECTED.name),
        places(ids)
    )
}

/// Removes rejects; parameters: the ids, so many.
pub(crate) fn remove(place: &Place, ids: usize) -> String {
    format!("delete from {} where reject_id in ({})", place.table(REJECTED.name), places(ids))
}

/// Removes the oldest rejects; parameters: rejected before, replayed before, how many.
pub(crate) fn expire(place: &Place) -> String {
    let rejects = place.table(REJECTED.name);
    format!(
        "delete from {rejects} where reject_id in (select reject_id from {rejects} \
         where _sdc_rejected_at < ? or replayed_at < ? order by _sdc_rejected_at limit ?)"
    )
}

fn places(count: usize) -> String {
    list((0..count).map(|_| "?".to_owned()))
}

/// The ids and key digests of a table's rejects that are among so many marks; parameters: the table, the marks, and the
/// marks again.
pub(crate) fn among(place: &Place, count: usize) -> String {
    let marks = list((0..count).map(|_| "?".to_owned()));
    format!(
        "select reject_id, case when replayed_at is null then key_digest end from {} \
         where table_name = ? and (reject_id in ({marks}) or key_digest in ({marks}))",
        place.table(REJECTED.name)
    )
}
