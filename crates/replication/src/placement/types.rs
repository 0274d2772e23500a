//! Fields that have several types from the start: each of them has a column, as if the field's type had changed.

use super::{
    ColumnChange, ColumnChangeKind, Origin, SplitRule, StoredColumn, Unplaced,
    dialect::with_suffix,
    plan::{Plan, stored_type},
};
use crate::{
    destination::DestinationError,
    stream::{Column, ColumnType},
};

impl Plan<'_> {
    /// Places the columns of a field of several types, unless that was done before.
    pub(super) fn place_types(&mut self, field: &str) -> Result<(), DestinationError> {
        let is_one = |column: &Column| column.one_type_of.as_deref() == Some(field);
        let columns = &self.source.columns;
        let positions: Vec<usize> =
            (0..columns.len()).filter(|position| is_one(&columns[*position])).collect();
        let is_done = |position: &usize| {
            self.names[*position].is_some()
                || self.unplaced.iter().any(|unplaced| unplaced.position == *position)
        };
        if positions.iter().any(is_done) {
            return Ok(());
        }
        let base = match self.usable_name(&Column::new(field, ColumnType::Text)) {
            Ok(base) => base,
            Err(why) => {
                let unplaced = |position| Unplaced { position, why: why.clone() };
                self.unplaced.extend(positions.into_iter().map(unplaced));
                return Ok(());
            }
        };
        let direct = self.existing.get(&self.dialect.folded(&base)).copied();
        if let Some(stored) = direct {
            self.rename_original(stored, &base)?;
        }
        let stored: Vec<&StoredColumn> = direct.into_iter().chain(self.siblings(&base)).collect();
        let mut has_original = direct.is_some() || self.dialect.split == SplitRule::RenamesOriginal;
        for position in &positions {
            let wanted = self.source.columns[*position].column_type.clone();
            if let Some((stored, origin)) = holder(&stored, &wanted) {
                let name = self.name_from_now_on(stored);
                self.give(*position, name, stored_type(stored)?, origin(*position));
                continue;
            }
            let name = if has_original { with_suffix(&base, &wanted) } else { base.clone() };
            has_original = true;
            if let Some(why) = self.no_room(&name, false) {
                self.unplaced.push(Unplaced { position: *position, why });
                continue;
            }
            if !self.is_new {
                let kind = if stored.is_empty() {
                    ColumnChangeKind::Added
                } else {
                    ColumnChangeKind::Split { from: base.clone() }
                };
                self.changes.push(ColumnChange { column: name.clone(), kind });
            }
            self.count += 1;
            self.give(*position, name, wanted, Origin::Column(*position));
        }
        for stored in stored {
            let name = self.name_from_now_on(stored);
            let is_given = |position: &usize| self.names[*position].as_ref() == Some(&name);
            if !positions.iter().any(is_given) {
                self.columns.push(Column::new(name, stored_type(stored)?));
                self.origins.push(Origin::Nothing);
            }
        }
        Ok(())
    }

    fn name_from_now_on(&self, stored: &StoredColumn) -> String {
        let renamed = self.renames.iter().find(|rename| rename.from == stored.name);
        renamed.map_or(&stored.name, |rename| &rename.to).clone()
    }
}

/// Makes the origin of a stored column from the place of the stream's.
type Placing = fn(usize) -> Origin;

/// The stored column that takes values of a type: one of that type rather than one of numbers, which take integers.
fn holder<'a>(
    stored: &[&'a StoredColumn],
    wanted: &ColumnType,
) -> Option<(&'a StoredColumn, Placing)> {
    let of = |wanted: &ColumnType| {
        stored.iter().copied().find(|stored| stored.column_type.as_ref() == Some(wanted))
    };
    let widened = || {
        let numbers = of(&ColumnType::Number).filter(|_| *wanted == ColumnType::Integer)?;
        Some((numbers, Origin::Widened as Placing))
    };
    of(wanted).map(|stored| (stored, Origin::Column as Placing)).or_else(widened)
}
