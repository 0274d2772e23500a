//! Versions of tables that wait: what was counted of them, and every column that they have had. A stream's columns may change
//! while a version waits; its rows keep what they held in those that are gone, as rows of a table do.

use std::sync::Arc;

use crate::{
    ledger::LoadCounts,
    placement::{Placement, Rename},
    singer_source::{ItemField, Items},
    stream::{Column, ColumnType, StreamSchema},
};

/// A version that waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting {
    pub(crate) counts: LoadCounts,
    columns: Vec<Column>,
}

impl Waiting {
    /// The tables in which it waits were made to fit a stream.
    pub(crate) fn prepared(&mut self, placement: &Placement) {
        for Rename { from, to } in &placement.renames {
            for column in self.columns.iter_mut().filter(|column| column.name == *from) {
                column.name.clone_from(to);
            }
        }
        for column in placement.stored.iter().flat_map(|stored| &stored.columns) {
            match self.columns.iter_mut().find(|known| known.name == column.name) {
                Some(known) => known.column_type = joined(&known.column_type, &column.column_type),
                None => self.columns.push(column.clone()),
            }
        }
    }

    /// The stream with all columns that the version has.
    pub(crate) fn whole(&self, schema: &Arc<StreamSchema>) -> Arc<StreamSchema> {
        let mut whole = StreamSchema::clone(schema);
        for known in &self.columns {
            match whole.columns.iter_mut().find(|column| column.name == known.name) {
                Some(column) => column.column_type = known.column_type.clone(),
                None => whole.columns.push(known.clone()),
            }
        }
        if whole == **schema { Arc::clone(schema) } else { Arc::new(whole) }
    }
}

/// The newer type of a column, with the fields of its items that only the older one has.
fn joined(older: &ColumnType, newer: &ColumnType) -> ColumnType {
    match (older, newer) {
        (ColumnType::Objects(older), ColumnType::Objects(newer)) => {
            ColumnType::Objects(joined_items(older, newer))
        }
        _ => newer.clone(),
    }
}

fn joined_items(older: &Items, newer: &Items) -> Items {
    let mut fields = newer.fields.clone();
    for old in &older.fields {
        match fields.iter_mut().find(|field| field.name == old.name) {
            Some(field) => field.column_type = joined(&old.column_type, &field.column_type),
            None => fields.push(ItemField { path: None, ..old.clone() }),
        }
    }
    newer.with_fields(fields)
}
