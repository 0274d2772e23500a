//! The ledger records of one unit, filled in as its tables are merged.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{
    destination::{ActivationOutcome, ChildOutcome, MergeOutcome, RetractionOutcome},
    gather::Unit,
    ledger::{LoadCounts, LoadRecord},
    stream::StreamName,
    unit::TableLoad,
};

/// The records of a unit, one per table, made on first use.
#[derive(Debug)]
pub(crate) struct UnitRecords<'unit> {
    unit: &'unit Unit,
    run_id: &'unit str,
    records: BTreeMap<String, LoadRecord>,
}

impl<'unit> UnitRecords<'unit> {
    pub(crate) fn new(unit: &'unit Unit, run_id: &'unit str) -> Self {
        Self { unit, run_id, records: BTreeMap::new() }
    }

    /// Enters what merging a load into its live table did.
    pub(crate) fn merged(&mut self, load: &TableLoad, outcome: &MergeOutcome) {
        let schema = &load.schema;
        let record = self.of(schema.table(), &schema.stream, 0);
        record.counts.add(&LoadCounts {
            inserted: outcome.inserted,
            updated: outcome.updated,
            unchanged: outcome.unchanged,
            superseded: load.superseded + outcome.superseded,
            ..source_counts(load)
        });
        record.max_replication_key.clone_from(&load.max_replication_key);
        self.children(&schema.stream, 0, &outcome.children);
    }

    /// Enters what taking rows back did.
    pub(crate) fn retracted(&mut self, stream: &StreamName, outcome: &RetractionOutcome) {
        if outcome.deleted > 0 {
            self.of(stream.as_str(), stream, 0).counts.deleted += outcome.deleted;
        }
        self.children(stream, 0, &outcome.children);
    }

    /// Enters what activating a version did; `waited` was counted while its rows came.
    pub(crate) fn activated(
        &mut self,
        stream: &StreamName,
        version: i64,
        waited: LoadCounts,
        outcome: &ActivationOutcome,
    ) {
        let record = self.of(stream.as_str(), stream, version);
        record.table_version = version;
        record.counts.add(&LoadCounts {
            inserted: outcome.inserted,
            updated: outcome.updated,
            unchanged: outcome.unchanged,
            deleted: outcome.deleted,
            ..waited
        });
        self.children(stream, version, &outcome.children);
    }

    /// Enters a version that was not put in place: none of its rows has an effect. The table has no new version by it.
    pub(crate) fn kept_out(&mut self, stream: &StreamName, waited: LoadCounts) {
        let superseded = waited.received - waited.rejected;
        let record = self.of(stream.as_str(), stream, 0);
        record.counts.add(&LoadCounts { superseded, ..waited });
    }

    /// Enters the unit's bookmarks and gaps.
    pub(crate) fn bookmarks_and_gaps(&mut self) {
        for bookmark in &self.unit.bookmarks {
            if let (Some(stream), Some(display)) = (&bookmark.stream, &bookmark.display) {
                self.of(stream.as_str(), stream, 0).bookmark = Some(display.clone());
            }
        }
        for gap in &self.unit.gaps {
            let known = &mut self.of(gap.stream.as_str(), &gap.stream, 0).gap;
            *known = Some(known.take().map_or_else(|| gap.clone(), |known| known.joined(gap)));
        }
    }

    /// The records, as sent with the commit.
    pub(crate) fn finish(self, committed_at: DateTime<Utc>) -> Vec<LoadRecord> {
        let stamp = |mut record: LoadRecord| {
            record.committed_at = committed_at;
            record
        };
        self.records.into_values().map(stamp).collect()
    }

    fn children(&mut self, stream: &StreamName, version: i64, children: &[ChildOutcome]) {
        for child in children.iter().filter(|child| child.inserted + child.deleted > 0) {
            let record = self.of(&child.table, stream, version);
            record.counts.received += child.inserted;
            record.counts.inserted += child.inserted;
            record.counts.deleted += child.deleted;
        }
    }

    fn of(&mut self, table: &str, stream: &StreamName, version: i64) -> &mut LoadRecord {
        let (unit, run_id) = (self.unit, self.run_id);
        self.records.entry(table.to_owned()).or_insert_with(|| LoadRecord {
            batch_id: unit.batch_id.clone(),
            table: table.to_owned(),
            run_id: run_id.to_owned(),
            stream: stream.to_string(),
            table_version: version,
            counts: LoadCounts::default(),
            bookmark: None,
            max_replication_key: None,
            gap: None,
            started_at: unit.started_at,
            staged_at: unit.staged_at,
            committed_at: unit.staged_at,
        })
    }
}

/// What was counted of a version that waits, from its merges: goes to the ledger when the version is activated. A row
/// that replaced, or repeated, one that waited already makes one of the two superseded.
pub(crate) fn add_waiting(counts: &mut LoadCounts, load: &TableLoad, outcome: &MergeOutcome) {
    counts.add(&LoadCounts {
        superseded: load.superseded + outcome.updated + outcome.unchanged + outcome.superseded,
        ..source_counts(load)
    });
}

/// The figures that source and loader know before the destination is asked.
fn source_counts(load: &TableLoad) -> LoadCounts {
    LoadCounts {
        read: load.reading.read,
        out_of_window: load.reading.out_of_window,
        repeated: load.reading.repeated,
        received: load.received,
        rejected: load.rejects.len() as u64,
        bytes: load.reading.bytes,
        requests: load.reading.requests,
        ..LoadCounts::default()
    }
}
