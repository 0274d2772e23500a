//! The rows of `_sdc_rejected`.

use std::{
    collections::{BTreeSet, HashSet},
    iter,
    sync::Arc,
};

use arrow::{
    array::{
        ArrayRef, Int64Array, Int64Builder, LargeStringBuilder, RecordBatch,
        TimestampMicrosecondArray, TimestampMicrosecondBuilder,
    },
    datatypes::{DataType, Field, Schema, TimeUnit},
    error::ArrowError,
};
use chrono::{DateTime, Utc};
use duckdb::{Row, types::Value};
use replication::{
    destination::{DestinationError, RejectReason, RejectRecord},
    reject::{RejectFilter, RejectStanding, RejectedRow, StoredReject},
    replay::RejectPage,
    stream::StreamName,
    system::{REJECTED, SystemType},
};

use crate::{
    batch::Offer,
    session::{Session, count, defect, instant, optional_text, read_count, read_instant, text},
    sql,
};

/// How many rejects go in one statement. Their records may be large, so this bounds the copy that is made of them.
const CHUNK: usize = 2_000;

/// Adds the rejects that are not there yet, and renews those that are there and stand for another read; returns how many
/// those were.
pub(crate) fn add(
    session: &Session,
    run_id: &str,
    rejects: &[RejectedRow],
    now: DateTime<Utc>,
) -> Result<u64, DestinationError> {
    let mut seen = HashSet::new();
    let mut added = 0;
    for chunk in rejects.chunks(CHUNK) {
        let fresh: Vec<(String, &RejectedRow)> = chunk
            .iter()
            .map(|reject| (reject.id(), reject))
            .filter(|(id, _)| seen.insert(id.clone()))
            .collect();
        let batch = batch(run_id, &fresh, now)
            .map_err(|error| defect("Rejected rows could not be made a batch").caused_by(error))?;
        let offer = Offer::new([batch]);
        for statement in [
            sql::rejects::renew(&session.place, &offer.table()),
            sql::rejects::insert(&session.place, &offer.table()),
        ] {
            added += session.execute(&statement, [], "store rejected rows")?;
        }
    }
    Ok(added)
}

/// How many of these rejects are there.
pub(crate) fn count_known(session: &Session, ids: &[String]) -> Result<u64, DestinationError> {
    let mut known = 0;
    for chunk in ids.chunks(CHUNK) {
        let sql = sql::rejects::count(&session.place, chunk.len());
        let ids = chunk.iter().map(text);
        let found =
            session.rows(&sql, ids, "count rejected rows", |row| row.get::<_, Option<i64>>(0))?;
        known += found.first().copied().flatten().map_or(0, i64::unsigned_abs);
    }
    Ok(known)
}

/// Rejects, in the order of their read.
pub(crate) fn stored(
    session: &Session,
    filter: &RejectFilter,
    standing: Option<RejectStanding>,
    after: Option<&(i64, String)>,
    page: RejectPage,
) -> Result<Vec<StoredReject>, DestinationError> {
    if !session.has_table(REJECTED.name)? {
        return Ok(Vec::new());
    }
    let read = |row: &Row<'_>| {
        let text = |position| -> duckdb::Result<String> {
            Ok(row.get::<_, Option<String>>(position)?.unwrap_or_default())
        };
        Ok(StoredReject {
            id: text(0)?,
            stream: StreamName::new(text(1)?),
            reason_code: text(2)?,
            reason: text(3)?,
            record: text(4)?,
            sequence: row.get(5)?,
            table_version: row.get(6)?,
            extracted_at: read_instant(row, 7)?.unwrap_or_default(),
            replayed_at: read_instant(row, 8)?,
        })
    };
    let parameters = [
        optional_text(filter.table.as_ref()),
        optional_text(filter.reason.as_ref()),
        optional_text(filter.id.as_ref()),
        after.map_or(Value::Null, |(sequence, _)| Value::BigInt(*sequence)),
        optional_text(after.map(|(_, id)| id)),
        count(page.rows as u64),
        count(page.bytes as u64),
        standing.map_or(Value::Null, |standing| (standing == RejectStanding::Replayed).into()),
    ];
    session.rows(&sql::rejects::stored(&session.place), parameters, "read the rejects", read)
}

/// Marks rejects as replayed.
pub(crate) fn mark_replayed(
    session: &Session,
    ids: &[String],
    now: DateTime<Utc>,
) -> Result<u64, DestinationError> {
    ids.chunks(CHUNK).try_fold(0, |marked, ids| {
        let sql = sql::rejects::mark_replayed(&session.place, ids.len());
        let parameters = iter::once(instant(now)).chain(ids.iter().map(text));
        Ok(marked + session.execute(&sql, parameters, "mark replayed rejects")?)
    })
}

/// Removes rejects.
pub(crate) fn remove(session: &Session, ids: &[String]) -> Result<u64, DestinationError> {
    ids.chunks(CHUNK).try_fold(0, |removed, ids| {
        let sql = sql::rejects::remove(&session.place, ids.len());
        Ok(removed + session.execute(&sql, ids.iter().map(text), "remove rejects")?)
    })
}

/// Removes rejects that are old.
pub(crate) fn expire(
    session: &Session,
    rejected_before: DateTime<Utc>,
    replayed_before: DateTime<Utc>,
    most: u32,
) -> Result<u64, DestinationError> {
    let parameters = [instant(rejected_before), instant(replayed_before), count(most.into())];
    session.execute(&sql::rejects::expire(&session.place), parameters, "remove old rejects")
}

/// Why rows were rejected.
pub(crate) fn reasons(
    session: &Session,
    table: Option<&str>,
) -> Result<Vec<RejectReason>, DestinationError> {
    if !session.has_table(REJECTED.name)? {
        return Ok(Vec::new());
    }
    let read = |row: &Row<'_>| {
        let text = |position| -> duckdb::Result<String> {
            Ok(row.get::<_, Option<String>>(position)?.unwrap_or_default())
        };
        Ok(RejectReason {
            table: text(0)?,
            reason_code: text(1)?,
            reason: text(2)?,
            rows: read_count(row, 3)?,
            first_rejected_at: read_instant(row, 4)?.unwrap_or_default(),
            last_rejected_at: read_instant(row, 5)?.unwrap_or_default(),
        })
    };
    let parameters = [table.map_or(Value::Null, text)];
    session.rows(
        &sql::rejects::reasons(&session.place),
        parameters,
        "sum up the rejected rows",
        read,
    )
}

/// The rejects, newest first.
pub(crate) fn list(
    session: &Session,
    table: Option<&str>,
    limit: usize,
) -> Result<Vec<RejectRecord>, DestinationError> {
    if !session.has_table(REJECTED.name)? {
        return Ok(Vec::new());
    }
    let read = |row: &Row<'_>| {
        let mut texts = [const { String::new() }; 6];
        for (position, slot) in texts.iter_mut().enumerate() {
            *slot = row.get::<_, Option<String>>(position + 1)?.unwrap_or_default();
        }
        let [table, reason, reason_code, id, run_id, record] = texts;
        let rejected_at = read_instant(row, 0)?.unwrap_or_default();
        Ok(RejectRecord { rejected_at, table, reason, reason_code, id, run_id, record })
    };
    let parameters = [table.map_or(Value::Null, text), count(limit as u64)];
    session.rows(&sql::rejects::newest(&session.place), parameters, "read the rejected rows", read)
}

/// Those of the marks that are the id or the key digest of a reject.
pub(crate) fn among(
    session: &Session,
    table: &str,
    marks: &[String],
) -> Result<BTreeSet<String>, DestinationError> {
    let mut found = BTreeSet::new();
    if marks.is_empty() || !session.has_table(REJECTED.name)? {
        return Ok(found);
    }
    let read =
        |row: &Row<'_>| Ok([row.get::<_, Option<String>>(0)?, row.get::<_, Option<String>>(1)?]);
    for chunk in marks.chunks(CHUNK) {
        let sql = sql::rejects::among(&session.place, chunk.len());
        let marks = || chunk.iter().map(text);
        let parameters = std::iter::once(text(table)).chain(marks()).chain(marks());
        let rejects = session.rows(&sql, parameters, "look for rejected rows", read)?;
        found.extend(rejects.into_iter().flatten().flatten().filter(|mark| chunk.contains(mark)));
    }
    Ok(found)
}

/// Rejects in the columns of [`REJECTED`].
fn batch(
    run_id: &str,
    rejects: &[(String, &RejectedRow)],
    now: DateTime<Utc>,
) -> Result<RecordBatch, ArrowError> {
    let texts = |value: &dyn Fn(&str, &RejectedRow) -> Option<String>| -> ArrayRef {
        let mut builder = LargeStringBuilder::new();
        for (id, reject) in rejects {
            builder.append_option(value(id, reject));
        }
        Arc::new(builder.finish())
    };
    let instants = |value: &dyn Fn(&RejectedRow) -> Option<DateTime<Utc>>| -> ArrayRef {
        let mut builder = TimestampMicrosecondBuilder::new().with_timezone("UTC");
        for (_, reject) in rejects {
            builder.append_option(value(reject).map(|at| at.timestamp_micros()));
        }
        Arc::new(builder.finish())
    };
    let numbers = |value: &dyn Fn(&RejectedRow) -> i64| -> ArrayRef {
        let mut builder = Int64Builder::new();
        rejects.iter().for_each(|(_, reject)| builder.append_value(value(reject)));
        Arc::new(builder.finish())
    };
    let columns: Vec<ArrayRef> = REJECTED
        .columns
        .iter()
        .map(|(name, system_type)| match *name {
            "_sdc_rejected_at" => instants(&|_| Some(now)),
            "table_name" | "stream" => texts(&|_, reject| Some(reject.stream.to_string())),
            "reason" => texts(&|_, reject| Some(reject.reason.clone())),
            "record" => texts(&|_, reject| Some(reject.record.clone())),
            "reason_code" => texts(&|_, reject| Some(reject.code.to_string())),
            "reject_id" => texts(&|id, _| Some(id.to_owned())),
            "run_id" => texts(&|_, _| Some(run_id.to_owned())),
            "key_digest" => texts(&|_, reject| reject.key_digest.clone()),
            "_sdc_sequence" => numbers(&|reject| reject.sequence),
            "_sdc_table_version" => numbers(&|reject| reject.table_version),
            "_sdc_extracted_at" => instants(&|reject| Some(reject.extracted_at)),
            _ => nulls(*system_type, rejects.len()),
        })
        .collect();
    let fields: Vec<Field> = REJECTED
        .columns
        .iter()
        .map(|(name, system_type)| {
            let data_type = match system_type {
                SystemType::Text => DataType::LargeUtf8,
                SystemType::Bigint => DataType::Int64,
                SystemType::Timestamp => {
                    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
                }
            };
            Field::new(*name, data_type, true)
        })
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// A column that this version leaves empty.
fn nulls(system_type: SystemType, count: usize) -> ArrayRef {
    match system_type {
        SystemType::Text => {
            let mut builder = LargeStringBuilder::new();
            builder.append_nulls(count);
            Arc::new(builder.finish())
        }
        SystemType::Bigint => Arc::new(Int64Array::new_null(count)),
        SystemType::Timestamp => {
            Arc::new(TimestampMicrosecondArray::new_null(count).with_timezone("UTC"))
        }
    }
}
