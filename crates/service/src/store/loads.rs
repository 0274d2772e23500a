//! Loads, mirrored from the destinations' ledgers, and the usage that follows from them.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Store, StoreError,
    database::{Row, values},
    first, integrations,
};

/// How long the rows of a schema are free, from the first load into it.
const FREE: TimeDelta = TimeDelta::days(7);

/// The columns in the order in which [`usage`] reads them.
macro_rules! usage {
    ($rest:literal) => {
        concat!(
            "select integration_id, table_name, day, rows_counted, rows_free, rows_reread from usage_days ",
            $rest
        )
    };
}

/// The sums in the order in which they are read.
macro_rules! total {
    ($rest:literal) => {
        concat!(
            "select cast(coalesce(sum(rows_counted), 0) as bigint), cast(coalesce(sum(rows_free), 0) as bigint), \
             cast(coalesce(sum(rows_reread), 0) as bigint) from usage_days ",
            $rest
        )
    };
}

/// One table's part of a commit unit, as the destination's ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// The unit's id.
    pub batch_id: String,
    /// The table.
    pub table_name: String,
    /// The run.
    pub run_id: String,
    /// The stream.
    pub stream: String,
    /// The version of the table.
    pub table_version: i64,
    /// What was counted.
    pub counts: LoadCounts,
    /// The bookmark as people read it, behind its column's name where that is known; empty where it was removed.
    pub bookmark: Option<String>,
    /// When the unit was begun.
    pub started_at: DateTime<Utc>,
    /// When it was committed.
    pub committed_at: DateTime<Utc>,
}

/// The figures of a load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoadCounts {
    /// Rows that came.
    pub received: u64,
    /// Rows that were new.
    pub inserted: u64,
    /// Rows that were changed.
    pub updated: u64,
    /// Rows that were there already, just so.
    pub unchanged: u64,
    /// Rows that lost against a better version.
    pub superseded: u64,
    /// Rows that could not be loaded.
    pub rejected: u64,
    /// Rows that were deleted.
    pub deleted: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The usage of one table on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The integration.
    pub integration_id: String,
    /// The table.
    pub table_name: String,
    /// The day, in UTC.
    pub day: NaiveDate,
    /// Rows inserted and updated.
    pub counted: u64,
    /// Rows inserted and updated within the free days.
    pub free: u64,
    /// Rows that were read again and changed nothing. Stitch would have counted them.
    pub reread: u64,
}

/// Which usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageChoice<'c> {
    /// That of this integration, or of all.
    pub integration_id: Option<&'c str>,
    /// The first day, in UTC.
    pub from: NaiveDate,
    /// The first day after it.
    pub until: NaiveDate,
}

/// A place in a list of usage: behind this day of this table of this integration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsagePlace {
    /// The integration.
    pub integration_id: String,
    /// The table.
    pub table_name: String,
    /// The day, in UTC.
    pub day: NaiveDate,
}

/// The sums of usage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageTotal {
    /// Rows inserted and updated.
    pub counted: u64,
    /// Rows inserted and updated within the free days.
    pub free: u64,
    /// Rows that were read again and changed nothing.
    pub reread: u64,
}

impl Store {
    /// Mirrors loads. One that is there already is left alone and not counted again, so a report may be sent twice.
    /// Answers how many were new.
    ///
    /// # Errors
    /// When there is no such integration.
    pub async fn record_loads(
        &self,
        integration_id: &str,
        loads: &[Load],
    ) -> Result<u64, StoreError> {
        let mut transaction = self.database.begin().await?;
        let schema = "select schema_name from integrations where id = $1";
        let row = first(transaction.as_mut(), schema, values![integration_id]).await?;
        let schema_name = row.ok_or_else(|| integrations::not_found(integration_id))?.text()?;
        let Some(first_load) = loads.iter().map(|load| load.committed_at).min() else {
            transaction.commit().await?;
            return Ok(0);
        };
        // They are free once, whatever is deleted and made again.
        let begin = "insert into free_windows (schema_name, began_at) values ($1, $2) on conflict do nothing";
        transaction.change(begin, values![&schema_name, first_load]).await?;
        let window = "select began_at from free_windows where schema_name = $1";
        let began_at = first(transaction.as_mut(), window, values![&schema_name]).await?;
        let free_until = began_at.map_or(Ok(first_load), |mut row| row.instant())? + FREE;
        let mut recorded = 0;
        for load in loads {
            let insert = "insert into loads (batch_id, table_name, integration_id, run_id, stream, table_version, received, \
                          inserted, updated, unchanged, superseded, rejected, deleted, bytes, bookmark, started_at, \
                          committed_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
                          on conflict do nothing";
            let values = values![
                &load.batch_id,
                &load.table_name,
                integration_id,
                &load.run_id,
                &load.stream,
                load.table_version,
                load.counts.received,
                load.counts.inserted,
                load.counts.updated,
                load.counts.unchanged,
                load.counts.superseded,
                load.counts.rejected,
                load.counts.deleted,
                load.counts.bytes,
                load.bookmark.as_ref(),
                load.started_at,
                load.committed_at,
            ];
            if transaction.change(insert, values).await? == 0 {
                continue;
            }
            recorded += 1;
            let rows = load.counts.inserted + load.counts.updated;
            let (counted, free) =
                if load.committed_at < free_until { (0, rows) } else { (rows, 0) };
            let add = "insert into usage_days (integration_id, table_name, day, rows_counted, rows_free, rows_reread) \
                       values ($1, $2, $3, $4, $5, $6) on conflict (integration_id, table_name, day) do update set \
                       rows_counted = usage_days.rows_counted + excluded.rows_counted, \
                       rows_free = usage_days.rows_free + excluded.rows_free, \
                       rows_reread = usage_days.rows_reread + excluded.rows_reread";
            let day = day_number(load.committed_at.date_naive());
            let values = values![
                integration_id,
                &load.table_name,
                day,
                counted,
                free,
                load.counts.unchanged
            ];
            transaction.change(add, values).await?;
        }
        transaction.commit().await?;
        Ok(recorded)
    }

    /// Whether a batch of an integration is there.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn has_batch(
        &self,
        integration_id: &str,
        batch_id: &str,
    ) -> Result<bool, StoreError> {
        let sql = "select batch_id from loads where integration_id = $1 and batch_id = $2 limit 1";
        let found = self.read(sql, values![integration_id, batch_id], |mut row| row.text()).await?;
        Ok(!found.is_empty())
    }

    /// The loads of one table, the last first, at most so many.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn loads(
        &self,
        integration_id: &str,
        table_name: &str,
        limit: u32,
    ) -> Result<Vec<Load>, StoreError> {
        let always = DateTime::UNIX_EPOCH..DateTime::<Utc>::MAX_UTC;
        self.loads_between(integration_id, table_name, always, None, limit).await
    }

    /// The loads of one table that were committed in a span, the last first, at most so many; those before a load if its
    /// commit and batch are given.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn loads_between(
        &self,
        integration_id: &str,
        table_name: &str,
        span: std::ops::Range<DateTime<Utc>>,
        before: Option<(DateTime<Utc>, &str)>,
        limit: u32,
    ) -> Result<Vec<Load>, StoreError> {
        let sql = "select batch_id, table_name, run_id, stream, table_version, received, inserted, updated, unchanged, \
                   superseded, rejected, deleted, bytes, bookmark, started_at, committed_at from loads \
                   where integration_id = $1 and table_name = $2 and committed_at >= $3 and committed_at < $4 \
                   and (committed_at < $5 or (committed_at = $6 and batch_id < $7)) \
                   order by committed_at desc, batch_id desc limit $8";
        let (before_at, before_batch) = before.unwrap_or((DateTime::<Utc>::MAX_UTC, ""));
        let read = |mut row: Row| {
            Ok(Load {
                batch_id: row.text()?,
                table_name: row.text()?,
                run_id: row.text()?,
                stream: row.text()?,
                table_version: row.integer()?,
                counts: LoadCounts {
                    received: row.count()?,
                    inserted: row.count()?,
                    updated: row.count()?,
                    unchanged: row.count()?,
                    superseded: row.count()?,
                    rejected: row.count()?,
                    deleted: row.count()?,
                    bytes: row.count()?,
                },
                bookmark: row.optional_text()?,
                started_at: row.instant()?,
                committed_at: row.instant()?,
            })
        };
        let values = values![
            integration_id,
            table_name,
            span.start,
            span.end,
            before_at,
            before_at,
            before_batch,
            limit
        ];
        self.read(sql, values, read).await
    }

    /// Usage by integration, table and day, behind a place if it is given, at most so many.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn usage(
        &self,
        choice: UsageChoice<'_>,
        after: Option<&UsagePlace>,
        limit: u32,
    ) -> Result<Vec<Usage>, StoreError> {
        let (from, until) = (day_number(choice.from), day_number(choice.until));
        let start = UsagePlace::default();
        let UsagePlace { integration_id, table_name, day } = after.unwrap_or(&start);
        let day = day_number(*day);
        let Some(only) = choice.integration_id else {
            // The sign keeps databases from going by the day, and sorting all that they find.
            let sql = usage!(
                "where +day >= $1 and +day < $2 and (integration_id, table_name, day) > ($3, $4, $5) \
                 order by integration_id, table_name, day limit $6"
            );
            let values = values![from, until, integration_id, table_name, day, limit];
            return self.read(sql, values, usage).await;
        };
        let sql = usage!(
            "where integration_id = $1 and day >= $2 and day < $3 and (table_name, day) > ($4, $5) \
             order by table_name, day limit $6"
        );
        self.read(sql, values![only, from, until, table_name, day, limit], usage).await
    }

    /// The sums of usage.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn usage_total(&self, choice: UsageChoice<'_>) -> Result<UsageTotal, StoreError> {
        let (from, until) = (day_number(choice.from), day_number(choice.until));
        let read = |mut row: Row| {
            Ok(UsageTotal { counted: row.count()?, free: row.count()?, reread: row.count()? })
        };
        let found = match choice.integration_id {
            None => {
                let sql = total!("where day >= $1 and day < $2");
                self.read(sql, values![from, until], read).await?
            }
            Some(only) => {
                let sql = total!("where integration_id = $1 and day >= $2 and day < $3");
                self.read(sql, values![only, from, until], read).await?
            }
        };
        found.into_iter().next().ok_or_else(|| StoreError::corrupt("a sum"))
    }

    /// The rows of all integrations that count, from one day until before another.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn rows_counted(&self, from: NaiveDate, until: NaiveDate) -> Result<u64, StoreError> {
        let sql = "select cast(coalesce(sum(rows_counted), 0) as bigint) from usage_days where day >= $1 and day < $2";
        let values = values![day_number(from), day_number(until)];
        let sums = self.read(sql, values, |mut row| row.count()).await?;
        Ok(sums.into_iter().sum())
    }
}

fn usage(mut row: Row) -> Result<Usage, StoreError> {
    let (integration_id, table_name) = (row.text()?, row.text()?);
    let day = TimeDelta::try_days(row.integer()?)
        .and_then(|days| NaiveDate::default().checked_add_signed(days))
        .ok_or_else(|| StoreError::corrupt("a day beyond the calendar"))?;
    let (counted, free, reread) = (row.count()?, row.count()?, row.count()?);
    Ok(Usage { integration_id, table_name, day, counted, free, reread })
}

/// Days since 1970, which is chrono's default date.
fn day_number(day: NaiveDate) -> i64 {
    (day - NaiveDate::default()).num_days()
}
