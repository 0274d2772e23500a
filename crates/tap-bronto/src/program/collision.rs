//! Unsubscriptions that share a key but differ: all are emitted, and a warning says how many, because a target that
//! merges by key keeps only one.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use arrow::array::{Array, AsArray, RecordBatch};
use replication::stream::StreamSchema;

/// The keys of the open window. The date is part of the key, so rows that collide lie in one window.
#[derive(Debug, Default)]
pub(crate) struct Collisions {
    rows: HashMap<u64, u64>,
    count: u64,
}

impl Collisions {
    /// Looks at a batch of unsubscriptions.
    pub(crate) fn look(&mut self, schema: &StreamSchema, batch: &RecordBatch) {
        let keys: Vec<usize> = schema.key.iter().filter_map(|name| schema.position(name)).collect();
        for row in 0..batch.num_rows() {
            let key = digest(batch, &keys, row);
            let all: Vec<usize> = (0..batch.num_columns()).collect();
            let content = digest(batch, &all, row);
            let first = *self.rows.entry(key).or_insert(content);
            self.count += u64::from(first != content);
        }
    }

    /// The window is complete.
    pub(crate) fn forget(&mut self) {
        self.rows.clear();
    }

    /// Says how many there were.
    pub(crate) fn warn(&self) {
        if self.count > 0 {
            tracing::warn!(
                "{} unsubscriptions share contactId, deliveryId and created with another one that differs; a target \
                 that merges by this key keeps one of each",
                self.count
            );
        }
    }
}

/// A digest of some columns of a row; all are texts.
fn digest(batch: &RecordBatch, columns: &[usize], row: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    for &column in columns {
        let text = batch.column(column).as_string_opt::<i32>();
        text.filter(|array| array.is_valid(row)).map(|array| array.value(row)).hash(&mut hasher);
    }
    hasher.finish()
}
