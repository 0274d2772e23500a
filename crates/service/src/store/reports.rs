//! Loading reports: what has been loaded into each table, and how the tables have changed.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Store, StoreError,
    database::{Row, values},
    new_id,
};
use crate::name::closed_names;

/// The span over which usage is billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Its first instant.
    pub from: DateTime<Utc>,
    /// How long it is, and the one before it.
    pub length: TimeDelta,
}

/// What has been loaded into a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    /// The table.
    pub table_name: String,
    /// Rows inserted and updated in the last 24 hours.
    pub last_day: u64,
    /// Those of this period.
    pub this_period: u64,
    /// Those of the period before.
    pub previous_period: u64,
    /// Rows that could not be loaded, in this period.
    pub rejected: u64,
    /// When it was loaded last.
    pub last_load_at: DateTime<Utc>,
    /// The bookmark of that load; none where there is none.
    pub bookmark: Option<String>,
}

closed_names! {
    /// How a table changed.
    SchemaChange {
        /// A column was added.
        Added = "column added",
        /// A column was split, because values of another type came.
        Split = "column split",
        /// A column was widened.
        Widened = "column widened",
    }
}

/// A change of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaEvent {
    /// The run.
    pub run_id: String,
    /// The table.
    pub table_name: String,
    /// The column.
    pub column_name: String,
    /// How it changed.
    pub change: SchemaChange,
    /// From what to what.
    pub detail: String,
    /// When.
    pub happened_at: DateTime<Utc>,
}

impl Store {
    /// What has been loaded into each table of an integration, by table.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn table_reports(
        &self,
        integration_id: &str,
        period: Period,
        now: DateTime<Utc>,
    ) -> Result<Vec<TableReport>, StoreError> {
        let sql = "select table_name, \
                   cast(sum(case when committed_at > $1 then inserted + updated else 0 end) as bigint), \
                   cast(sum(case when committed_at >= $2 then inserted + updated else 0 end) as bigint), \
                   cast(sum(case when committed_at >= $3 and committed_at < $4 then inserted + updated else 0 end) as bigint), \
                   cast(sum(case when committed_at >= $5 then rejected else 0 end) as bigint), \
                   max(committed_at), \
                   (select l.bookmark from loads l where l.integration_id = $6 and l.table_name = loads.table_name \
                    and l.bookmark is not null order by l.committed_at desc, l.batch_id desc limit 1) \
                   from loads where integration_id = $7 group by table_name order by table_name";
        let values = values![
            now - TimeDelta::hours(24),
            period.from,
            period.from - period.length,
            period.from,
            period.from,
            integration_id,
            integration_id,
        ];
        let read = |mut row: Row| {
            Ok(TableReport {
                table_name: row.text()?,
                last_day: row.count()?,
                this_period: row.count()?,
                previous_period: row.count()?,
                rejected: row.count()?,
                last_load_at: row.instant()?,
                bookmark: row.optional_text()?,
            })
        };
        self.read(sql, values, read).await
    }

    /// Records changes of tables.
    ///
    /// # Errors
    /// When there is no such integration.
    pub async fn record_schema_events(
        &self,
        integration_id: &str,
        events: &[SchemaEvent],
    ) -> Result<(), StoreError> {
        let mut transaction = self.database.begin().await?;
        for event in events {
            let insert = "insert into schema_events (id, integration_id, run_id, table_name, column_name, kind, detail, \
                          happened_at) values ($1, $2, $3, $4, $5, $6, $7, $8)";
            let values = values![
                new_id(),
                integration_id,
                &event.run_id,
                &event.table_name,
                &event.column_name,
                event.change.name(),
                &event.detail,
                event.happened_at,
            ];
            transaction.change(insert, values).await?;
        }
        transaction.commit().await
    }

    /// Changes of tables of an integration, the last first, at most so many.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn schema_events(
        &self,
        integration_id: &str,
        limit: u32,
    ) -> Result<Vec<SchemaEvent>, StoreError> {
        let sql = "select run_id, table_name, column_name, kind, detail, happened_at from schema_events \
                   where integration_id = $1 order by happened_at desc, id desc limit $2";
        let read = |mut row: Row| {
            Ok(SchemaEvent {
                run_id: row.text()?,
                table_name: row.text()?,
                column_name: row.text()?,
                change: row.named(SchemaChange::named)?,
                detail: row.text()?,
                happened_at: row.instant()?,
            })
        };
        self.read(sql, values![integration_id, limit], read).await
    }
}
