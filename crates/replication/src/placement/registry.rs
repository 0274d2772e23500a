//! The placements of all streams of a run.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Placement, plan};
use crate::{
    destination::{Destination, DestinationError},
    stream::{StreamName, StreamSchema},
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
            plan::plan(&dialect, schema, stored.as_ref())?
        } else {
            plan::table_collision(&dialect, table)
        };
        self.of.insert(schema.stream.clone(), Arc::new(placement));
        Ok(())
    }
}
