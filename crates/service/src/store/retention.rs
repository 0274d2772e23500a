//! What is old is deleted, a little at a time, so that the store is bounded and nobody waits long.

use chrono::{DateTime, Utc};

use super::{Store, StoreError, database::values};

/// How many rows are deleted in one transaction.
const SLICE: i64 = 500;

/// How much was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Runs, with what was left of their logs.
    pub runs: u64,
    /// Decided slots.
    pub slots: u64,
    /// Loads.
    pub loads: u64,
    /// Changes of tables.
    pub schema_events: u64,
}

impl Store {
    /// Deletes runs that ended, and slots that were decided about, before one instant, and loads and changes of tables from
    /// before another. The last run of an integration stays, and so do the days of usage, which are few.
    ///
    /// # Errors
    /// When the store can't be changed; what was deleted until then is.
    pub async fn prune(
        &self,
        runs_before: DateTime<Utc>,
        loads_before: DateTime<Utc>,
    ) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        let old = "select r.id from runs r join integrations i on i.id = r.integration_id \
                   where r.ended_at < $1 and (i.last_run_id is null or i.last_run_id <> r.id) order by r.ended_at limit $2";
        loop {
            let ids = self.read(old, values![runs_before, SLICE], |mut row| row.text()).await?;
            for id in &ids {
                let mut transaction = self.database.begin().await?;
                transaction.change("delete from log_lines where run_id = $1", values![id]).await?;
                transaction.change("delete from runs where id = $1", values![id]).await?;
                transaction.commit().await?;
            }
            pruned.runs += ids.len() as u64;
            if ids.is_empty() {
                break;
            }
        }
        let slots = "delete from slots where (integration_id, slot) in \
                     (select integration_id, slot from slots where recorded_at < $1 limit $2)";
        pruned.slots = self.delete_all(slots, runs_before).await?;
        let loads = "delete from loads where (integration_id, batch_id, table_name) in \
                     (select integration_id, batch_id, table_name from loads where committed_at < $1 limit $2)";
        pruned.loads = self.delete_all(loads, loads_before).await?;
        let events = "delete from schema_events where id in \
                      (select id from schema_events where happened_at < $1 limit $2)";
        pruned.schema_events = self.delete_all(events, loads_before).await?;
        Ok(pruned)
    }

    /// Repeats a deletion of a slice until nothing is left of what was before an instant.
    async fn delete_all(
        &self,
        sql: &'static str,
        before: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let slice = self.change(sql, values![before, SLICE]).await?;
            deleted += slice;
            if slice == 0 {
                return Ok(deleted);
            }
        }
    }
}
