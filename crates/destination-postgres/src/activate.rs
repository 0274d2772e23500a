//! Putting a version of a full table in place of the live rows: by deleting and inserting, so that the table stays the
//! same one to everybody who has a view on it, a grant or an index.

use chrono::{DateTime, Utc};
use replication::{
    destination::{ActivationOutcome, ChildOutcome, DestinationError, VersionCounts},
    stream::StreamSchema,
};

use crate::{
    failure::{Doing, unexpected},
    layout::Layout,
    merge::figures,
    session::Session,
    sql::{
        activation::{self, Replaced},
        scan, tables,
    },
};

impl Session<'_> {
    /// The number of rows that wait in a version, and that are live.
    pub(crate) async fn version_counts(
        &self,
        schema: &StreamSchema,
        version: i64,
        since: Option<DateTime<Utc>>,
    ) -> Result<VersionCounts, DestinationError> {
        let layout = Layout::new(schema, self.nesting)?;
        let waiting = layout.waiting().parent;
        let waiting = if self.is_waiting(&waiting, version).await? {
            self.count(&waiting).await?
        } else {
            None
        };
        let live = match since.and_then(|since| scan::before(schema, since)) {
            Some(before) if self.table_exists(&layout.table).await? => {
                let doing = Doing::work(format!("count the rows of `{}`", layout.table));
                let count = activation::count_others(self.schema, &layout.table, &before);
                let row = self.connection.query_one(&count, &[], &doing).await?;
                let [live] = figures(&row).ok_or_else(|| unexpected(&doing))?;
                Some(live)
            }
            _ => self.count(&layout.table).await?,
        };
        Ok(VersionCounts { waiting: waiting.unwrap_or(0), live: live.unwrap_or(0) })
    }

    /// The number of rows of a table; none if it doesn't exist.
    pub(crate) async fn count(&self, name: &str) -> Result<Option<u64>, DestinationError> {
        if !self.table_exists(name).await? {
            return Ok(None);
        }
        let doing = Doing::work(format!("count the rows of `{name}`"));
        let row = self.connection.query_one(&tables::count(self.schema, name), &[], &doing).await?;
        let [count] = figures(&row).ok_or_else(|| unexpected(&doing))?;
        Ok(Some(count))
    }

    /// Replaces the live rows by those of the version, and drops the tables in which they waited.
    pub(crate) async fn activate(
        &self,
        schema: &StreamSchema,
        version: i64,
        since: Option<DateTime<Utc>>,
    ) -> Result<ActivationOutcome, DestinationError> {
        let layout = Layout::new(schema, self.nesting)?;
        let doing = Doing::work(format!("replace the rows of `{}`", layout.table));
        // A version without a row, whose tables were dropped by hand or never made, still is a version.
        self.prepare(&layout, Some(version)).await?;
        let (waiting, live) = (layout.waiting(), self.live(&layout).await?);
        let before = self.net_rows(&live).await?;
        let replaced = Replaced {
            schema: self.schema,
            layout: &layout,
            waiting: &waiting.parent,
            live: &live.parent,
            before: since.and_then(|since| scan::before(schema, since)),
        };
        let compare = activation::compare(self.schema, &layout, &waiting, &live, &replaced);
        let [inserted, updated, unchanged, deleted] =
            figures(&self.connection.query_one(&compare, &[], &doing).await?)
                .ok_or_else(|| unexpected(&doing))?;
        let mut children = Vec::new();
        for (place, (from, to)) in waiting.children.iter().zip(&live.children).enumerate() {
            let deleted = self.connection.execute(&replaced.clear_child(to), &[], &doing).await?;
            let fill = activation::fill_child(self.schema, &layout, place, from, to);
            let inserted = self.connection.execute(&fill, &[], &doing).await?;
            children.push(ChildOutcome { table: to.clone(), inserted, deleted, growth: 0 });
        }
        for table in &live.children[layout.child_count()..] {
            let deleted =
                self.connection.execute(&replaced.clear_child(table), &[], &doing).await?;
            children.push(ChildOutcome { table: table.clone(), inserted: 0, deleted, growth: 0 });
        }
        self.connection.execute(&replaced.clear_parent(), &[], &doing).await?;
        let fill = activation::fill_parent(self.schema, &layout, &waiting.parent, &live.parent);
        self.connection.execute(&fill, &[], &doing).await?;
        let growth = self.growth(&live, &before, &mut children).await?;
        self.connection.run(&tables::drop_tables(self.schema, waiting.names()), &doing).await?;
        Ok(ActivationOutcome { inserted, updated, unchanged, deleted, growth, children })
    }
}
