//! The placements of all streams of a run.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    Placement,
    nested::{self, Neighbours},
    plan, verbatim,
};
use crate::{
    destination::{Destination, DestinationError},
    stream::{StreamName, StreamSchema},
};

/// Where the streams of a run lie.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placements {
    of: BTreeMap<StreamName, Arc<Placement>>,
    /// Who has a table or subtable, by its name as the destination compares it.
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
            let taken = self.tables.iter().filter(|(_, owner)| **owner != schema.stream);
            let mut neighbours = Neighbours {
                taken: taken.map(|(name, _)| name.clone()).collect(),
                ..Neighbours::default()
            };
            for column in &schema.columns {
                for (name, _) in nested::of_column(&dialect, dialect.canonical, table, column) {
                    if let Some(stored) = destination.stored_table(&name).await? {
                        neighbours.stored.insert(name, stored);
                    }
                }
            }
            plan::plan(&dialect, schema, stored.as_ref(), &neighbours)?
        } else {
            plan::table_collision(&dialect, table)
        };
        if placement.stored.is_none() {
            self.tables.retain(|_, owner| *owner != schema.stream);
        }
        for column in placement.stored.iter().flat_map(|stored| &stored.columns) {
            for (name, _) in nested::of_column(&dialect, verbatim, table, column) {
                let owner = self.tables.entry(dialect.folded(&name));
                owner.or_insert_with(|| schema.stream.clone());
            }
        }
        self.of.insert(schema.stream.clone(), Arc::new(placement));
        Ok(())
    }
}
