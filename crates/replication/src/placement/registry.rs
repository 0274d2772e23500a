//! The placements of all streams of a run.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Nesting, Placement, nested, plan};
use crate::{
    destination::{Destination, DestinationError},
    stream::{ColumnType, StreamName, StreamSchema},
};

/// Where the streams of a run lie.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placements {
    of: BTreeMap<StreamName, Arc<Placement>>,
    /// Who has a table, by its name as the destination compares it.
    tables: HashMap<String, StreamName>,
}

impl Placements {
    /// The placement of a stream, which must have been planned.
    pub(crate) fn of(&self, schema: &StreamSchema) -> Arc<Placement> {
        let known = self.of.get(&schema.stream).map(Arc::clone);
        known.unwrap_or_else(|| Arc::new(Placement::of_new_table(schema)))
    }

    /// Plans a stream anew.
    pub(crate) async fn plan(
        &mut self,
        destination: &dyn Destination,
        schema: &Arc<StreamSchema>,
    ) -> Result<(), DestinationError> {
        let dialect = destination.dialect();
        let table = schema.table();
        let owner = self.tables.entry(dialect.folded(table));
        let placement = if let Some(why) = plan::refused_name(&dialect, table) {
            plan::refused(why)
        } else if *owner.or_insert_with(|| schema.stream.clone()) == schema.stream {
            let stored = destination.stored_table(table).await?;
            let mut subtables = HashMap::new();
            for column in schema.columns.iter().filter(|_| dialect.nesting == Nesting::Subtables) {
                let ColumnType::Objects(items) = &column.column_type else { continue };
                let name = nested::subtable(table, &(dialect.canonical)(&column.name));
                for name in nested::names(dialect.canonical, &name, items) {
                    if let Some(stored) = destination.stored_table(&name).await? {
                        subtables.insert(name, stored);
                    }
                }
            }
            plan::plan(&dialect, schema, stored.as_ref(), &subtables)?
        } else {
            plan::table_collision(&dialect, table)
        };
        self.of.insert(schema.stream.clone(), Arc::new(placement));
        Ok(())
    }
}
