//! Reading the system tables, for people and for the books.

use std::collections::BTreeMap;

use replication::{
    destination::{DestinationError, LedgerTotals, RejectRecord, StateRow},
    event::Gap,
    ledger::{LoadCounts, LoadRecord},
    stream::StreamName,
    system::{LOADS, REJECTED, STATE},
};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use crate::{claim::broken_state, failure::Doing, session::Session, sql::system};

impl Session<'_> {
    /// The state rows.
    pub(crate) async fn states(&self) -> Result<Vec<StateRow>, DestinationError> {
        let rows = self.read(STATE.name, &system::states(self.schema), &[]).await?;
        let state_row = |row: &Row| {
            let stream: String = row.get(0);
            let state: Option<String> = row.get(1);
            let state = state.map(|state| serde_json::from_str(&state)).transpose();
            let state = state.map_err(|error| {
                broken_state(&format!("of stream `{stream}`"), self.schema, error)
            })?;
            Ok(StateRow {
                stream,
                state,
                token: row.get(2),
                holder: row.get(3),
                lease_expires_at: row.get(4),
                integration_id: row.get(5),
                updated_at: row.get(6),
            })
        };
        rows.iter().map(state_row).collect()
    }

    /// The ledger, newest batch first.
    pub(crate) async fn loads(&self, limit: usize) -> Result<Vec<LoadRecord>, DestinationError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows =
            self.read(LOADS.name, &system::loads(self.schema), &[bigint(&limit)]).await?;
        Ok(rows.iter().map(load_record).collect())
    }

    /// The sums of the ledger.
    pub(crate) async fn totals(&self) -> Result<BTreeMap<String, LedgerTotals>, DestinationError> {
        let rows = self.read(LOADS.name, &system::totals(self.schema), &[]).await?;
        let totals = |row: &Row| LedgerTotals {
            received: count(row, 1),
            inserted: count(row, 2),
            updated: count(row, 3),
            unchanged: count(row, 4),
            superseded: count(row, 5),
            rejected: count(row, 6),
            deleted: count(row, 7),
            last_committed_at: row.get(8),
        };
        Ok(rows.iter().map(|row| (row.get(0), totals(row))).collect())
    }

    /// The rejects, newest first.
    pub(crate) async fn rejects(
        &self,
        table: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RejectRecord>, DestinationError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let parameters = [text(&table), bigint(&limit)];
        let rows = self.read(REJECTED.name, &system::rejects(self.schema), &parameters).await?;
        let reject = |row: &Row| RejectRecord {
            rejected_at: row.get::<_, Option<_>>(0).unwrap_or_default(),
            table: text(row, 1),
            reason: text(row, 2),
            reason_code: text(row, 3),
            id: text(row, 4),
            run_id: text(row, 5),
            record: text(row, 6),
        };
        Ok(rows.iter().map(reject).collect())
    }

    /// The rows of a query about a system table; none if there is no such table yet.
    async fn read(
        &self,
        table: &str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, DestinationError> {
        if !self.table_exists(table).await? {
            return Ok(Vec::new());
        }
        self.connection.query(sql, parameters, &Doing::task(format!("read `{table}`"))).await
    }
}

/// A ledger row, from its columns in their order.
fn load_record(row: &Row) -> LoadRecord {
    let stream = text(row, 3);
    let gap = match (row.get(19), row.get(20)) {
        (Some(from), Some(to)) => {
            Some(Gap { stream: StreamName::new(stream.clone()), from, to, reason: text(row, 21) })
        }
        _ => None,
    };
    LoadRecord {
        batch_id: text(row, 0),
        table: text(row, 1),
        run_id: text(row, 2),
        stream,
        table_version: row.get::<_, Option<i64>>(4).unwrap_or(0),
        counts: LoadCounts {
            read: count(row, 5),
            out_of_window: count(row, 6),
            repeated: count(row, 7),
            received: count(row, 8),
            inserted: count(row, 9),
            updated: count(row, 10),
            unchanged: count(row, 11),
            superseded: count(row, 12),
            rejected: count(row, 13),
            deleted: count(row, 14),
            bytes: count(row, 15),
            requests: count(row, 16),
        },
        bookmark: row.get(17),
        max_replication_key: row.get(18),
        gap,
        started_at: row.get::<_, Option<_>>(22).unwrap_or_default(),
        staged_at: row.get::<_, Option<_>>(23).unwrap_or_default(),
        committed_at: row.get::<_, Option<_>>(24).unwrap_or_default(),
    }
}

fn text(row: &Row, column: usize) -> String {
    row.get::<_, Option<String>>(column).unwrap_or_default()
}

/// A count that we wrote, so it is not negative.
fn count(row: &Row, column: usize) -> u64 {
    row.get::<_, Option<i64>>(column).and_then(|count| u64::try_from(count).ok()).unwrap_or(0)
}
