//! Unsubscriptions that share a key but differ: all are emitted, and a warning says how many, because a target that
//! merges by key keeps only one.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use arrow::array::{Array, AsArray, RecordBatch};
use chrono::{DateTime, Utc};
use replication::stream::StreamSchema;

/// The most keys that are remembered; they take some 10 MiB.
const MOST_KEYS: usize = 1 << 18;

/// The keys of the open windows, several of which can be read at once. The date is part of the key, so rows that collide
/// lie in one window, and nothing is remembered from before the bookmark.
#[derive(Debug, Default)]
pub(crate) struct Collisions {
    /// By the second of `created`, and a digest of the key.
    rows: BTreeMap<(i64, u64), u64>,
    count: u64,
    /// Whether there were more keys than are remembered, so that the count may be too low.
    is_partial: bool,
}

impl Collisions {
    /// Looks at a batch of unsubscriptions.
    pub(crate) fn look(&mut self, schema: &StreamSchema, batch: &RecordBatch) {
        let keys: Vec<usize> = schema.key.iter().filter_map(|name| schema.position(name)).collect();
        let created = schema.replication_key.as_ref().and_then(|name| schema.position(name));
        let all: Vec<usize> = (0..batch.num_columns()).collect();
        for row in 0..batch.num_rows() {
            let second = created.and_then(|column| instant(text(batch, column, row)?));
            let key = (second.unwrap_or_default(), digest(batch, &keys, row));
            let content = digest(batch, &all, row);
            if let Some(first) = self.rows.get(&key) {
                self.count += u64::from(*first != content);
            } else if self.rows.len() < MOST_KEYS {
                self.rows.insert(key, content);
            } else {
                self.is_partial = true;
            }
        }
    }

    /// Everything before the bookmark is complete.
    pub(crate) fn forget(&mut self, bookmark: &str) {
        if let Some(second) = instant(bookmark) {
            self.rows = self.rows.split_off(&(second, 0));
        }
    }

    /// Says how many there were.
    pub(crate) fn warn(&self) {
        if self.count > 0 {
            let at_least = if self.is_partial { "At least " } else { "" };
            tracing::warn!(
                "{at_least}{} unsubscriptions share contactId, deliveryId and created with another one that differs; a \
                 target that merges by this key keeps one of each",
                self.count
            );
        }
    }
}

fn instant(text: &str) -> Option<i64> {
    text.parse::<DateTime<Utc>>().ok().map(|instant| instant.timestamp())
}

fn text(batch: &RecordBatch, column: usize, row: usize) -> Option<&str> {
    let array = batch.column(column).as_string_opt::<i32>()?;
    array.is_valid(row).then(|| array.value(row))
}

/// A digest of some columns of a row; all are texts.
fn digest(batch: &RecordBatch, columns: &[usize], row: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    for &column in columns {
        text(batch, column, row).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray};
    use tap_bronto::{BrontoStream, NumberForm, SelectedStream};

    use super::*;

    /// Looks at an unsubscription of that instant.
    fn look(collisions: &mut Collisions, created: &str, method: &str) {
        let schema = SelectedStream::all(BrontoStream::Unsubscribe).schema(NumberForm::Lexeme);
        let columns = schema.columns.iter().map(|column| {
            let text = match column.name.as_str() {
                "created" => created,
                "method" => method,
                _ => "same",
            };
            Arc::new(StringArray::from(vec![text])) as ArrayRef
        });
        let batch = RecordBatch::try_new(schema.arrow(), columns.collect()).unwrap();
        collisions.look(&schema, &batch);
    }

    #[test]
    fn a_bookmark_forgets_only_what_is_before_it() {
        let mut collisions = Collisions::default();
        for day in 1..=3 {
            look(&mut collisions, &format!("2026-01-0{day}T00:00:00.5Z"), "email");
        }
        // The window of the first day is complete while those of the others are still open.
        collisions.forget("2026-01-02T00:00:00Z");
        assert_eq!(collisions.rows.len(), 2);
        look(&mut collisions, "2026-01-02T00:00:00.5Z", "bulk");
        look(&mut collisions, "2026-01-03T00:00:00.5Z", "email");
        assert_eq!((collisions.count, collisions.is_partial), (1, false));
    }
}
