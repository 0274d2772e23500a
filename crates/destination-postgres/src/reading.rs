//! Reading the system tables, for people and for the books.

use std::collections::{BTreeMap, BTreeSet};

use replication::{
    destination::{
        DestinationError, DestinationErrorKind, LedgerTotals, RejectReason, RejectRecord, StateRow,
    },
    event::Gap,
    ledger::{LoadCounts, LoadRecord},
    reject::{RejectFilter, RejectStanding, StoredReject},
    replay::RejectPage,
    stream::StreamName,
    system::{LOADS, REJECTED, STATE},
};
use tokio_postgres::{Error, Row, types::Type};

use crate::{
    claim::broken_state,
    connection::{Parameter, bigint, text, texts},
    failure::Doing,
    session::Session,
    sql::system,
};

impl Session<'_> {
    /// The state rows.
    pub(crate) async fn states(&self) -> Result<Vec<StateRow>, DestinationError> {
        let rows = self.read(STATE.name, &system::states(self.schema), &[], state_row).await?;
        let parse = |(mut row, state): (StateRow, Option<String>)| {
            let state = state.map(|state| serde_json::from_str(&state)).transpose();
            row.state = state.map_err(|error| {
                broken_state(&format!("of stream `{}`", row.stream), self.schema, error)
            })?;
            Ok(row)
        };
        rows.into_iter().map(parse).collect()
    }

    /// The ledger, newest batch first.
    pub(crate) async fn loads(&self, limit: usize) -> Result<Vec<LoadRecord>, DestinationError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = system::loads(self.schema);
        self.read(LOADS.name, &sql, &[bigint(&limit)], load_record).await
    }

    /// The sums of the ledger.
    pub(crate) async fn totals(&self) -> Result<BTreeMap<String, LedgerTotals>, DestinationError> {
        let rows = self.read(LOADS.name, &system::totals(self.schema), &[], totals_row).await?;
        Ok(rows.into_iter().collect())
    }

    /// Why rows were rejected.
    pub(crate) async fn reject_reasons(
        &self,
        table: Option<&str>,
    ) -> Result<Vec<RejectReason>, DestinationError> {
        let sql = system::reject_reasons(self.schema);
        self.read(REJECTED.name, &sql, &[text(&table)], reject_reason).await
    }

    /// The rejects, newest first.
    pub(crate) async fn rejects(
        &self,
        table: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RejectRecord>, DestinationError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let parameters = [text(&table), bigint(&limit)];
        self.read(REJECTED.name, &system::rejects(self.schema), &parameters, reject_record).await
    }

    /// Those of the marks that are the id or the key digest of a reject.
    pub(crate) async fn rejected_among(
        &self,
        table: &str,
        marks: &[String],
    ) -> Result<BTreeSet<String>, DestinationError> {
        let sql = system::rejected_among(self.schema);
        let parameters = [text(&table), texts(&marks)];
        let rows = self.read(REJECTED.name, &sql, &parameters, |row| row.try_get(0)).await?;
        Ok(rows.into_iter().collect())
    }

    /// Rejects, in the order of their read.
    pub(crate) async fn stored_rejects(
        &self,
        filter: &RejectFilter,
        standing: Option<RejectStanding>,
        after: Option<&(i64, String)>,
        page: RejectPage,
    ) -> Result<Vec<StoredReject>, DestinationError> {
        let rows = i64::try_from(page.rows).unwrap_or(i64::MAX);
        let bytes = i64::try_from(page.bytes).unwrap_or(i64::MAX);
        let (sequence, id) = after.cloned().unzip();
        let is_replayed = standing.map(|standing| standing == RejectStanding::Replayed);
        let parameters = [
            text(&filter.table),
            text(&filter.reason),
            text(&filter.id),
            (&sequence as _, Type::INT8),
            text(&id),
            bigint(&rows),
            bigint(&bytes),
            (&is_replayed as _, Type::BOOL),
        ];
        let sql = system::stored_rejects(self.schema);
        self.read(REJECTED.name, &sql, &parameters, stored_reject).await
    }

    /// The rows of a query about a system table; none if there is no such table yet.
    async fn read<T>(
        &self,
        table: &str,
        sql: &str,
        parameters: &[Parameter<'_>],
        convert: fn(&Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, DestinationError> {
        if !self.table_exists(table).await? {
            return Ok(Vec::new());
        }
        let doing = Doing::work(format!("read `{table}`"));
        let rows = self.connection.query(sql, parameters, &doing).await?;
        rows.iter().map(convert).collect::<Result<_, _>>().map_err(|_| {
            DestinationError::new(
                DestinationErrorKind::Refused,
                format!(
                    "The columns of `{table}` are no longer of the types that they were made with"
                ),
                "Put their types back",
            )
        })
    }
}

/// A state row, and its state as text.
fn state_row(row: &Row) -> Result<(StateRow, Option<String>), Error> {
    let state_row = StateRow {
        stream: row.try_get(0)?,
        state: None,
        token: row.try_get(2)?,
        holder: row.try_get(3)?,
        lease_expires_at: row.try_get(4)?,
        integration_id: row.try_get(5)?,
        updated_at: row.try_get(6)?,
        start_date: row.try_get(7)?,
    };
    Ok((state_row, row.try_get(1)?))
}

/// A ledger row, from its columns in their order.
fn load_record(row: &Row) -> Result<LoadRecord, Error> {
    let stream = text_in(row, 3)?;
    let gap = match (row.try_get(19)?, row.try_get(20)?) {
        (Some(from), Some(to)) => Some(Gap {
            stream: StreamName::new(stream.clone()),
            from,
            to,
            reason: text_in(row, 21)?,
        }),
        _ => None,
    };
    Ok(LoadRecord {
        batch_id: text_in(row, 0)?,
        table: text_in(row, 1)?,
        run_id: text_in(row, 2)?,
        stream,
        table_version: row.try_get::<_, Option<i64>>(4)?.unwrap_or(0),
        counts: LoadCounts {
            read: count_in(row, 5)?,
            out_of_window: count_in(row, 6)?,
            repeated: count_in(row, 7)?,
            received: count_in(row, 8)?,
            inserted: count_in(row, 9)?,
            updated: count_in(row, 10)?,
            unchanged: count_in(row, 11)?,
            superseded: count_in(row, 12)?,
            rejected: count_in(row, 13)?,
            deleted: count_in(row, 14)?,
            bytes: count_in(row, 15)?,
            requests: count_in(row, 16)?,
        },
        bookmark: row.try_get(17)?,
        max_replication_key: row.try_get(18)?,
        gap,
        started_at: row.try_get::<_, Option<_>>(22)?.unwrap_or_default(),
        staged_at: row.try_get::<_, Option<_>>(23)?.unwrap_or_default(),
        committed_at: row.try_get::<_, Option<_>>(24)?.unwrap_or_default(),
    })
}

fn totals_row(row: &Row) -> Result<(String, LedgerTotals), Error> {
    let totals = LedgerTotals {
        received: count_in(row, 1)?,
        inserted: count_in(row, 2)?,
        updated: count_in(row, 3)?,
        unchanged: count_in(row, 4)?,
        superseded: count_in(row, 5)?,
        rejected: count_in(row, 6)?,
        deleted: count_in(row, 7)?,
        last_committed_at: row.try_get(8)?,
        table_version: row.try_get(9)?,
    };
    Ok((text_in(row, 0)?, totals))
}

fn reject_reason(row: &Row) -> Result<RejectReason, Error> {
    Ok(RejectReason {
        table: text_in(row, 0)?,
        reason_code: text_in(row, 1)?,
        reason: text_in(row, 2)?,
        rows: count_in(row, 3)?,
        first_rejected_at: row.try_get::<_, Option<_>>(4)?.unwrap_or_default(),
        last_rejected_at: row.try_get::<_, Option<_>>(5)?.unwrap_or_default(),
    })
}

fn reject_record(row: &Row) -> Result<RejectRecord, Error> {
    Ok(RejectRecord {
        rejected_at: row.try_get::<_, Option<_>>(0)?.unwrap_or_default(),
        table: text_in(row, 1)?,
        reason: text_in(row, 2)?,
        reason_code: text_in(row, 3)?,
        id: text_in(row, 4)?,
        run_id: text_in(row, 5)?,
        record: text_in(row, 6)?,
    })
}

fn stored_reject(row: &Row) -> Result<StoredReject, Error> {
    Ok(StoredReject {
        id: text_in(row, 0)?,
        stream: StreamName::new(text_in(row, 1)?),
        reason_code: text_in(row, 2)?,
        reason: text_in(row, 3)?,
        record: text_in(row, 4)?,
        sequence: row.try_get::<_, Option<i64>>(5)?.unwrap_or_default(),
        table_version: row.try_get::<_, Option<i64>>(6)?.unwrap_or_default(),
        extracted_at: row.try_get::<_, Option<_>>(7)?.unwrap_or_default(),
        replayed_at: row.try_get(8)?,
    })
}

fn text_in(row: &Row, column: usize) -> Result<String, Error> {
    Ok(row.try_get::<_, Option<String>>(column)?.unwrap_or_default())
}

/// A count that we wrote, so it is not negative.
fn count_in(row: &Row, column: usize) -> Result<u64, Error> {
    Ok(row
        .try_get::<_, Option<i64>>(column)?
        .and_then(|count| u64::try_from(count).ok())
        .unwrap_or(0))
}
