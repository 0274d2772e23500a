//! Merging a load: look its rows up, copy the new ones, judge and update the others, and let the database count.

use replication::{
    destination::{ChildOutcome, DestinationError, MergeOutcome, RetractionOutcome},
    stream::StreamSchema,
    unit::TableLoad,
};
use serde_json::{Map, Value};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use crate::{
    connection::bigint,
    encode::{Encoder, Picked, Rows},
    failure::{Doing, unexpected},
    layout::{Layout, List, Origin, Scalar, Tables},
    lookup::{Found, Spot, disturbed},
    session::Session,
    sql::{
        merge::{Merge, STAGE, drop_stages},
        nested, tables,
    },
};

impl Session<'_> {
    /// Merges a load into its table.
    pub(crate) async fn merge(&self, load: &TableLoad) -> Result<MergeOutcome, DestinationError> {
        let layout = Layout::new(&load.schema, self.nesting)?;
        let tables = match load.version {
            Some(_) => layout.waiting(),
            None if layout.is_keyed() => self.live_of_fields(&layout).await?,
            None => layout.live(),
        };
        let sql = Merge { schema: self.schema, layout: &layout, tables: &tables };
        let rows = Rows::new(&layout, &load.rows);
        let before = self.net_rows(&tables).await?;
        if !layout.is_keyed() {
            let inserted = self.copy_new(&sql, &rows, Picked::All).await?;
            let growth = self.growth(&tables, &before, &mut []).await?;
            return Ok(MergeOutcome { inserted, growth, ..MergeOutcome::default() });
        }
        let found = self.look_up(&sql, &rows).await?;
        let mut stages = found.stages();
        let mut outcome = MergeOutcome::default();
        if !found.new.is_empty() {
            outcome.inserted = self.copy_new(&sql, &rows, found.picked()).await?;
        }
        // Arrays of objects are taken apart by the server, so the rows that are new must be there as well.
        let staged = match (found.known.is_empty(), layout.nested.is_empty()) {
            (_, false) => Some(Picked::All),
            (false, true) => Some(Picked::These(&found.known)),
            (true, true) => None,
        };
        let mut changed = Vec::new();
        if let Some(staged) = staged {
            self.stage(&sql, &rows, staged, &found.spots).await?;
            stages.push(STAGE);
        }
        if !found.known.is_empty() {
            changed = self.update(&sql, &found, &mut outcome).await?;
        }
        outcome.children = self.write_items(&sql, &rows, &found, changed).await?;
        outcome.growth = self.growth(&tables, &before, &mut outcome.children).await?;
        if !stages.is_empty() {
            self.connection.run(&drop_stages(&stages), &Doing::rows(&layout.table)).await?;
        }
        Ok(outcome)
    }

    /// Copies rows that are new into the table, and counts them.
    async fn copy_new(
        &self,
        sql: &Merge<'_>,
        rows: &Rows<'_>,
        picked: Picked<'_>,
    ) -> Result<u64, DestinationError> {
        let rows = Encoder::for_table(rows, picked);
        self.connection.copy(&sql.copy_into_table(), rows, &Doing::rows(&sql.layout.table)).await
    }

    /// Judges the staged rows that the table has and updates it. Returns for each array where the table had the rows that
    /// were written and whose array changes: the items of the others are what they should be.
    async fn update(
        &self,
        sql: &Merge<'_>,
        found: &Found,
        outcome: &mut MergeOutcome,
    ) -> Result<Vec<Vec<Spot>>, DestinationError> {
        let doing = Doing::rows(&sql.layout.table);
        let row = self.connection.query_one(&sql.update(), &[], &doing).await?;
        let [unchanged, superseded, to_update, updated] =
            figures(&row).ok_or_else(|| unexpected(&doing))?;
        let judged = unchanged + superseded + to_update;
        if usize::try_from(judged) != Ok(found.known.len()) || to_update != updated {
            return Err(disturbed(&sql.layout.table));
        }
        (outcome.unchanged, outcome.superseded, outcome.updated) = (unchanged, superseded, updated);
        let spots = |column| row.get::<_, Option<Vec<Spot>>>(column).unwrap_or_default();
        Ok((4..).take(sql.layout.lists.len()).map(spots).collect())
    }

    /// Puts the items of the rows that are new, and of those whose arrays changed, into the subtables, in place of those
    /// that were there.
    async fn write_items(
        &self,
        sql: &Merge<'_>,
        rows: &Rows<'_>,
        found: &Found,
        changed: Vec<Vec<Spot>>,
    ) -> Result<Vec<ChildOutcome>, DestinationError> {
        let layout = sql.layout;
        let mut children = Vec::new();
        let mut changed = changed.into_iter();
        for (position, child) in sql.tables.children.iter().enumerate() {
            let doing = Doing::rows(child);
            let list = layout.lists.get(position);
            // Somebody may have deleted the parents of rows that are new, and not their items.
            let replaced = found.new_and(changed.next().unwrap_or_default());
            let mut deleted = 0;
            if found.filled.get(position + 1) == Some(&true) {
                if found.has_keys && !replaced.is_empty() {
                    let places: Vec<i32> =
                        replaced.iter().map(|place| place.cast_signed()).collect();
                    let places = [(&places as &(dyn ToSql + Sync), Type::INT4_ARRAY)];
                    let delete = sql.delete_items_at(child);
                    deleted += self.connection.execute(&delete, &places, &doing).await?;
                }
                if list.is_none() && !found.known.is_empty() {
                    deleted +=
                        self.connection.execute(&sql.delete_items(child), &[], &doing).await?;
                }
            }
            let inserted = if let Some(list) = list {
                self.copy_items(sql, child, list, rows, &replaced).await?
            } else if let Some(nested) = layout.nested.get(position - layout.lists.len()) {
                let insert = nested::insert_items(self.schema, child, layout, nested, STAGE);
                self.connection.execute(&insert, &[], &doing).await?
            } else {
                // Its array is none of the stream's any more.
                0
            };
            children.push(ChildOutcome { table: child.clone(), inserted, deleted, growth: 0 });
        }
        Ok(children)
    }

    /// Copies the items of these rows' arrays into their subtable.
    async fn copy_items(
        &self,
        sql: &Merge<'_>,
        child: &str,
        list: &List,
        rows: &Rows<'_>,
        places: &[u32],
    ) -> Result<u64, DestinationError> {
        if places.is_empty() {
            return Ok(0);
        }
        let items = Encoder::for_items(rows, Picked::These(places), list);
        self.connection.copy(&sql.copy_items(child), items, &Doing::rows(child)).await
    }

    /// The rows of the table that share a key with a row of the load and differ from it.
    pub(crate) async fn rivals(
        &self,
        load: &TableLoad,
    ) -> Result<Vec<Map<String, Value>>, DestinationError> {
        let layout = Layout::new(&load.schema, self.nesting)?;
        if !layout.is_keyed() {
            return Ok(Vec::new());
        }
        let tables = layout.tables(load.version);
        let sql = Merge { schema: self.schema, layout: &layout, tables: &tables };
        let doing = Doing::rows(&layout.table);
        let rows = Rows::new(&layout, &load.rows);
        self.stage(&sql, &rows, Picked::All, &vec![None; rows.count()]).await?;
        let rows = self.connection.query(&sql.rivals(), &[], &doing).await?;
        self.connection.run(&drop_stages(&[STAGE]), &doing).await?;
        let rivals = rows.iter().map(|row| rival(&load.schema, &layout, row.get(0)));
        rivals.collect::<Option<_>>().ok_or_else(|| unexpected(&doing))
    }

    /// Deletes the rows whose sequence is greater, with the items of their arrays, which carry it too.
    pub(crate) async fn retract(
        &self,
        schema: &StreamSchema,
        after_sequence: i64,
    ) -> Result<RetractionOutcome, DestinationError> {
        let layout = Layout::new(schema, self.nesting)?;
        let live = self.live(&layout).await?;
        let doing = Doing::work(format!("take rows of `{}` back", layout.table));
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
        rows: &Rows<'_>,
        picked: Picked<'_>,
        spots: &[Option<Spot>],
    ) -> Result<(), DestinationError> {
        let doing = Doing::rows(&sql.layout.table);
        self.connection.run(&sql.create_stage(), &doing).await?;
        let count = match picked {
            Picked::All => rows.count(),
            Picked::These(places) => places.len(),
        };
        let rows = Encoder::for_stage(rows, picked, spots);
        let staged = self.connection.copy(&sql.copy_into_stage(), rows, &doing).await?;
        // The books would show it as well; here it can be told where the rows went.
        if usize::try_from(staged) == Ok(count) { Ok(()) } else { Err(unexpected(&doing)) }
    }

    /// How many rows each table has gained, up to a constant, in the order of [`Tables::names`].
    pub(crate) async fn net_rows(&self, tables: &Tables) -> Result<Vec<i64>, DestinationError> {
        let doing = Doing::work(format!("count the rows of `{}`", tables.parent));
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
    let user = names.into_iter().map(|(position, name)| {
        Some((schema.columns.get(position)?.name.clone(), stored.get(name)?.clone()))
    });
    let mut rival: Map<String, Value> = user.collect::<Option<_>>()?;
    for Scalar { name, .. } in &layout.system {
        rival.insert(name.clone(), stored.remove(name)?);
    }
    Some(rival)
}
