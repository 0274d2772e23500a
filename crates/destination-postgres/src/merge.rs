//! Merging a load: stage, judge, write, and let the database count.

use replication::{
    destination::{ChildOutcome, DestinationError, MergeOutcome, RetractionOutcome},
    stream::StreamSchema,
    unit::TableLoad,
};
use serde_json::{Map, Value};
use tokio_postgres::Row;

use crate::{
    connection::bigint,
    encode::Encoder,
    failure::{Doing, unexpected},
    layout::{Layout, Origin, Tables},
    session::Session,
    sql::{
        merge::{DROP_STAGE, Merge, STAGE},
        nested, tables,
    },
};

impl Session<'_> {
    /// Merges a load into its table.
    pub(crate) async fn merge(&self, load: &TableLoad) -> Result<MergeOutcome, DestinationError> {
        let layout = Layout::new(&load.schema)?;
        let tables = match load.version {
            Some(_) => layout.waiting(),
            None if layout.is_keyed() => self.live(&layout).await?,
            None => layout.live(),
        };
        let sql = Merge { schema: self.schema, layout: &layout, tables: &tables };
        let doing = Doing::rows(&layout.table);
        let before = self.net_rows(&tables).await?;
        if !layout.is_keyed() {
            let rows = Encoder::for_table(&layout, &load.rows);
            let inserted = self.connection.copy(&sql.copy_into_table(), rows, &doing).await?;
            let growth = self.growth(&tables, &before, &mut []).await?;
            return Ok(MergeOutcome { inserted, growth, ..MergeOutcome::default() });
        }
        self.stage(&sql, load, &doing).await?;
        let [unchanged, superseded] =
            figures(&self.connection.query_one(&sql.judge(), &[], &doing).await?)
                .ok_or_else(|| unexpected(&doing))?;
        let [inserted, updated] =
            figures(&self.connection.query_one(&sql.merge(), &[], &doing).await?)
                .ok_or_else(|| unexpected(&doing))?;
        let mut children = Vec::new();
        for (list, child) in layout.lists.iter().zip(&tables.children) {
            let doing = Doing::rows(child);
            let deleted = self.connection.execute(&sql.delete_items(child), &[], &doing).await?;
            let inserted =
                self.connection.execute(&sql.insert_items(child, list), &[], &doing).await?;
            children.push(ChildOutcome { table: child.clone(), inserted, deleted, growth: 0 });
        }
        for (nested, child) in layout.nested.iter().zip(&tables.children[layout.lists.len()..]) {
            let doing = Doing::rows(child);
            let deleted = self.connection.execute(&sql.delete_items(child), &[], &doing).await?;
            let insert = nested::insert_items(self.schema, child, &layout, nested, STAGE);
            let inserted = self.connection.execute(&insert, &[], &doing).await?;
            children.push(ChildOutcome { table: child.clone(), inserted, deleted, growth: 0 });
        }
        for child in &tables.children[layout.child_count()..] {
            let doing = Doing::rows(child);
            let deleted = self.connection.execute(&sql.delete_items(child), &[], &doing).await?;
            children.push(ChildOutcome { table: child.clone(), inserted: 0, deleted, growth: 0 });
        }
        let growth = self.growth(&tables, &before, &mut children).await?;
        self.connection.run(DROP_STAGE, &doing).await?;
        Ok(MergeOutcome { inserted, updated, unchanged, superseded, growth, children })
    }

    /// The rows of the table that share a key with a row of the load and differ from it.
    pub(crate) async fn rivals(
        &self,
        load: &TableLoad,
    ) -> Result<Vec<Map<String, Value>>, DestinationError> {
        let layout = Layout::new(&load.schema)?;
        if !layout.is_keyed() {
            return Ok(Vec::new());
        }
        let tables = layout.tables(load.version);
        let sql = Merge { schema: self.schema, layout: &layout, tables: &tables };
        let doing = Doing::rows(&layout.table);
        self.stage(&sql, load, &doing).await?;
        let rows = self.connection.query(&sql.rivals(), &[], &doing).await?;
        self.connection.run(DROP_STAGE, &doing).await?;
        let rivals = rows.iter().map(|row| rival(&load.schema, &layout, row.get(0)));
        rivals.collect::<Option<_>>().ok_or_else(|| unexpected(&doing))
    }

    /// Deletes the rows whose sequence is greater, with the items of their arrays, which carry it too.
    pub(crate) async fn retract(
        &self,
        schema: &StreamSchema,
        after_sequence: i64,
    ) -> Result<RetractionOutcome, DestinationError> {
        let layout = Layout::new(schema)?;
        let live = self.live(&layout).await?;
        let doing = Doing::task(format!("take rows of `{}` back", layout.table));
        let before = self.net_rows(&live).await?;
        let delete = async |table: &str| {
            let sql = tables::delete_after(self.schema, table);
            self.connection.execute(&sql, &[bigint(&after_sequence)], &doing).await
        };
        let mut children = Vec::new();
        for table in &live.children {
            let deleted = delete(table).await?;
            children.push(ChildOutcome { table: table.clone(), inserted: 0, deleted, growth: 0 });
        }
        let deleted = delete(&live.parent).await?;
        let growth = self.growth(&live, &before, &mut children).await?;
        Ok(RetractionOutcome { deleted, growth, children })
    }

    async fn stage(
        &self,
        sql: &Merge<'_>,
        load: &TableLoad,
        doing: &Doing,
    ) -> Result<(), DestinationError> {
        self.connection.run(&sql.create_stage(), doing).await?;
        let rows = Encoder::for_stage(sql.layout, &load.rows);
        let staged = self.connection.copy(&sql.copy_into_stage(), rows, doing).await?;
        // The books would show it as well; here it can be told where the rows went.
        if u64::try_from(load.row_count()) == Ok(staged) { Ok(()) } else { Err(unexpected(doing)) }
    }

    /// How many rows each table has gained, up to a constant, in the order of [`Tables::names`].
    pub(crate) async fn net_rows(&self, tables: &Tables) -> Result<Vec<i64>, DestinationError> {
        let doing = Doing::task(format!("count the rows of `{}`", tables.parent));
        let sql = tables::net_rows(self.schema, tables.names());
        let row = self.connection.query_one(&sql, &[], &doing).await?;
        Ok((0..row.len()).map(|column| row.get(column)).collect())
    }

    /// By how much the table grew since an earlier call of [`Session::net_rows`]; writes down the same of its
    /// subtables.
    pub(crate) async fn growth(
        &self,
        tables: &Tables,
        before: &[i64],
        children: &mut [ChildOutcome],
    ) -> Result<i64, DestinationError> {
        let after = self.net_rows(tables).await?;
        let mut growth = after.iter().zip(before).map(|(after, before)| after - before);
        let of_parent = growth.next().unwrap_or(0);
        for (child, growth) in children.iter_mut().zip(growth) {
            child.growth = growth;
        }
        Ok(of_parent)
    }
}

/// The counts in a row. None if it doesn't hold that many, or one is negative.
pub(crate) fn figures<const COUNT: usize>(row: &Row) -> Option<[u64; COUNT]> {
    let figures = (0..COUNT).map(|column| u64::try_from(row.try_get::<_, i64>(column).ok()?).ok());
    figures.collect::<Option<Vec<u64>>>()?.try_into().ok()
}

/// A stored row by the stream's own column names.
fn rival(schema: &StreamSchema, layout: &Layout, text: &str) -> Option<Map<String, Value>> {
    let mut stored: Map<String, Value> = serde_json::from_str(text).ok()?;
    let scalars = layout.scalars.iter().filter_map(|column| match column.origin {
        Origin::Batch(position) => Some((position, column.name.as_str())),
        Origin::Generated => None,
    });
    let lists = layout.lists.iter().map(|list| (list.position, list.name.as_str()));
    let mut names: Vec<(usize, &str)> = scalars.chain(lists).collect();
    names.sort_unstable();
    names
        .into_iter()
        .map(|(position, name)| {
            Some((schema.columns.get(position)?.name.clone(), stored.remove(name)?))
        })
        .collect()
}
