//! The rows of `_sdc_loads`.

use std::collections::BTreeMap;

use duckdb::{Row, types::Value};
use replication::{
    destination::{DestinationError, DestinationErrorKind, LedgerTotals},
    event::Gap,
    ledger::{LoadCounts, LoadRecord},
    stream::StreamName,
    system::LOADS,
};

use crate::{
    session::{Session, count, defect, instant, optional_text, read_count, read_instant, text},
    sql,
};

/// Adds rows to the ledger.
pub(crate) fn record(session: &Session, loads: &[LoadRecord]) -> Result<(), DestinationError> {
    for load in loads {
        let doing = format!("add batch `{}` of `{}` to the ledger", load.batch_id, load.table);
        session.execute(&sql::insert_load(&session.place), parameters(load), &doing).map_err(
            |error| {
                // The only values that DuckDB can refuse here are a batch and a table that are there already.
                if error.kind == DestinationErrorKind::Bug {
                    defect(format!(
                        "Batch `{}` of `{}` is in the ledger already",
                        load.batch_id, load.table
                    ))
                } else {
                    error
                }
            },
        )?;
    }
    Ok(())
}

/// The ledger, newest batch first.
pub(crate) fn loads(session: &Session, limit: usize) -> Result<Vec<LoadRecord>, DestinationError> {
    if !session.has_table(LOADS.name)? {
        return Ok(Vec::new());
    }
    session.rows(&sql::loads(&session.place), [count(limit as u64)], "read the ledger", read)
}

/// The sums of the ledger, per table.
pub(crate) fn totals(
    session: &Session,
) -> Result<BTreeMap<String, LedgerTotals>, DestinationError> {
    if !session.has_table(LOADS.name)? {
        return Ok(BTreeMap::new());
    }
    let read = |row: &Row<'_>| {
        let totals = LedgerTotals {
            received: read_count(row, 1)?,
            inserted: read_count(row, 2)?,
            updated: read_count(row, 3)?,
            unchanged: read_count(row, 4)?,
            superseded: read_count(row, 5)?,
            rejected: read_count(row, 6)?,
            deleted: read_count(row, 7)?,
            last_committed_at: read_instant(row, 8)?,
            table_version: row.get(9)?,
        };
        Ok((row.get(0)?, totals))
    };
    Ok(session
        .rows(&sql::totals(&session.place), [], "sum up the ledger", read)?
        .into_iter()
        .collect())
}

/// A ledger row in the order of its columns.
fn parameters(load: &LoadRecord) -> [Value; LOADS.columns.len()] {
    let counts = &load.counts;
    let gap = load.gap.as_ref();
    [
        text(&load.batch_id),
        text(&load.table),
        text(&load.run_id),
        text(&load.stream),
        Value::BigInt(load.table_version),
        count(counts.read),
        count(counts.out_of_window),
        count(counts.repeated),
        count(counts.received),
        count(counts.inserted),
        count(counts.updated),
        count(counts.unchanged),
        count(counts.superseded),
        count(counts.rejected),
        count(counts.deleted),
        count(counts.bytes),
        count(counts.requests),
        optional_text(load.bookmark.as_ref()),
        optional_text(load.max_replication_key.as_ref()),
        gap.map_or(Value::Null, |gap| instant(gap.from)),
        gap.map_or(Value::Null, |gap| instant(gap.to)),
        optional_text(gap.map(|gap| &gap.reason)),
        instant(load.started_at),
        instant(load.staged_at),
        instant(load.committed_at),
    ]
}

/// A ledger row from the columns of [`LOADS`] in order.
fn read(row: &Row<'_>) -> duckdb::Result<LoadRecord> {
    let stream: String = row.get::<_, Option<String>>(3)?.unwrap_or_default();
    let gap = match (read_instant(row, 19)?, read_instant(row, 20)?) {
        (Some(from), Some(to)) => {
            let reason = row.get::<_, Option<String>>(21)?.unwrap_or_default();
            Some(Gap { stream: StreamName::new(&stream), from, to, reason })
        }
        _ => None,
    };
    Ok(LoadRecord {
        batch_id: row.get(0)?,
        table: row.get(1)?,
        run_id: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
        stream,
        table_version: row.get::<_, Option<i64>>(4)?.unwrap_or_default(),
        counts: LoadCounts {
            read: read_count(row, 5)?,
            out_of_window: read_count(row, 6)?,
            repeated: read_count(row, 7)?,
            received: read_count(row, 8)?,
            inserted: read_count(row, 9)?,
            updated: read_count(row, 10)?,
            unchanged: read_count(row, 11)?,
            superseded: read_count(row, 12)?,
            rejected: read_count(row, 13)?,
            deleted: read_count(row, 14)?,
            bytes: read_count(row, 15)?,
            requests: read_count(row, 16)?,
        },
        bookmark: row.get(17)?,
        max_replication_key: row.get(18)?,
        gap,
        started_at: read_instant(row, 22)?.unwrap_or_default(),
        staged_at: read_instant(row, 23)?.unwrap_or_default(),
        committed_at: read_instant(row, 24)?.unwrap_or_default(),
    })
}
