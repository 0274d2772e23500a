//! The model: what the tables must hold, too simple to be wrong.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Act, KEYS, Kind, NOTES, Row, Shape, Step};

/// An item: the type and number of its value, and the numbers in the columns that come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) value: (usize, u64),
    pub(super) notes: [Option<u64>; NOTES],
}

type Items = BTreeMap<&'static str, Item>;
type Log = BTreeMap<u64, Shape>;

/// What the tables must hold.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) items: Items,
    /// When each was modified.
    pub(super) people: BTreeMap<&'static str, u64>,
    /// All ranks of each key: the greatest stays.
    pub(super) optouts: BTreeMap<&'static str, BTreeSet<u64>>,
    pub(super) log: Log,
    /// The numbers of rows without the key that they should have.
    pub(super) keyless: BTreeSet<u64>,
    waiting_items: Items,
    waiting_log: Log,
}

impl Truth {
    pub(super) fn of(steps: &[Step]) -> Self {
        let mut truth = Self::default();
        for Step { kind, act } in steps {
            match act {
                Act::Rows { shape, rows, waiting } => {
                    rows.iter().for_each(|row| truth.put(*kind, *shape, row, *waiting));
                }
                // Their replication keys decide, and not their order.
                Act::Crossed { shape, first, last } => {
                    last.iter().chain(first).for_each(|row| truth.put(*kind, *shape, row, false));
                }
                Act::Begin if *kind == Kind::Items => truth.waiting_items.clear(),
                Act::Begin => truth.waiting_log.clear(),
                Act::Activate if *kind == Kind::Items => {
                    truth.items = std::mem::take(&mut truth.waiting_items);
                }
                Act::Activate => truth.log = std::mem::take(&mut truth.waiting_log),
                Act::Bookmark => {}
            }
        }
        truth
    }

    fn put(&mut self, kind: Kind, shape: Shape, row: &Row, waiting: bool) {
        let Some(key) = row.key.map(|key| KEYS[key]) else {
            self.keyless.insert(row.number);
            return;
        };
        match kind {
            Kind::Items => {
                let table = if waiting { &mut self.waiting_items } else { &mut self.items };
                let value = (shape.of, row.number);
                let item = table.entry(key).or_insert(Item { value, notes: [None; NOTES] });
                item.value = value;
                for (note, stored) in item.notes.iter_mut().enumerate() {
                    if shape.has_note(note) {
                        *stored = Some(row.number);
                    }
                }
            }
            Kind::People => {
                let modified = self.people.entry(key).or_default();
                *modified = row.number.max(*modified);
            }
            Kind::Optouts => {
                self.optouts.entry(key).or_default().insert(row.number);
            }
            Kind::Log => {
                let table = if waiting { &mut self.waiting_log } else { &mut self.log };
                table.insert(row.number, shape);
            }
        }
    }
}
