//! Gathering: events become commit units. A unit closes when it is large or old enough, before a schema changes, and
//! after a version is activated.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use arrow::{
    array::{Array, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    error::ArrowError,
};
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::{
    event::{Bookmark, Event, Gap, Reading, RowBatch},
    reject::{Occurrence, ReasonCode, RejectedRow},
    row::{self, Stamps},
    stream::{StreamName, StreamSchema},
    unit::TableLoad,
};

/// When a unit is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitLimits {
    /// After this many rows.
    pub rows: usize,
    /// After this many bytes of rows.
    pub bytes: usize,
    /// When this long has passed since its first event.
    pub interval: Duration,
}

impl Default for UnitLimits {
    /// 50,000 rows, 48 MiB or 30 seconds: large enough that a commit costs little (a DuckDB commit below 50,000 rows
    /// rewrites the row group that it left part-filled), small enough to fit in memory and to lose little when killed.
    fn default() -> Self {
        Self { rows: 50_000, bytes: 48 << 20, interval: Duration::from_secs(30) }
    }
}

impl UnitLimits {
    /// The narrower of two, limit by limit.
    #[must_use]
    pub fn at_most(self, other: Self) -> Self {
        Self {
            rows: self.rows.min(other.rows),
            bytes: self.bytes.min(other.bytes),
            interval: self.interval.min(other.interval),
        }
    }
}

/// A closed unit. Its loads hold every row that came; the committer picks the winners.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) batch_id: String,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) staged_at: DateTime<Utc>,
    pub(crate) prepares: Vec<(Arc<StreamSchema>, Option<i64>)>,
    pub(crate) retractions: Vec<(Arc<StreamSchema>, i64)>,
    pub(crate) loads: Vec<TableLoad>,
    pub(crate) activations: Vec<Activation>,
    pub(crate) bookmarks: Vec<Bookmark>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) greatest_sequence: i64,
}

/// A version that is complete.
#[derive(Debug, Clone)]
pub(crate) struct Activation {
    pub(crate) schema: Arc<StreamSchema>,
    pub(crate) version: i64,
    /// From when on the source was read for it, if not all of it was.
    pub(crate) since: Option<DateTime<Utc>>,
}

/// Why an event can't be taken: the source broke the rules of [`Event`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum Disorder {
    #[error("Rows of `{0}` came before its schema")]
    NoSchema(StreamName),
    #[error("A version of `{0}` began while another one was under construction")]
    VersionOpen(StreamName),
    #[error("Version {version} of `{stream}` was never begun")]
    NoVersion { stream: StreamName, version: i64 },
    #[error("Rows of `{0}` don't follow its schema")]
    Shape(StreamName, #[source] ArrowError),
}

/// What an event demands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Nothing: it was taken.
    Nothing,
    /// That the unit be closed and committed now.
    Close,
}

#[derive(Debug, Default)]
struct Gathered {
    batches: Vec<(RecordBatch, Stamps)>,
    rejects: Vec<RejectedRow>,
    received: u64,
    reading: Reading,
}

/// Gathers events into units, and knows what every stream is at.
#[derive(Debug)]
pub(crate) struct Gatherer {
    limits: UnitLimits,
    schemas: BTreeMap<StreamName, Arc<StreamSchema>>,
    versions: BTreeMap<StreamName, i64>,
    unprepared: BTreeSet<StreamName>,
    tables: BTreeMap<(StreamName, Option<i64>), Gathered>,
    retractions: Vec<(Arc<StreamSchema>, i64)>,
    activations: Vec<Activation>,
    bookmarks: Vec<Bookmark>,
    gaps: Vec<Gap>,
    started_at: Option<DateTime<Utc>>,
    /// When the open unit received its first event, by a clock that is never set.
    opened: Option<Instant>,
    rows: usize,
    bytes: usize,
}

impl Gatherer {
    pub(crate) fn new(limits: UnitLimits) -> Self {
        Self {
            limits,
            schemas: BTreeMap::new(),
            versions: BTreeMap::new(),
            unprepared: BTreeSet::new(),
            tables: BTreeMap::new(),
            retractions: Vec::new(),
            activations: Vec::new(),
            bookmarks: Vec::new(),
            gaps: Vec::new(),
            started_at: None,
            opened: None,
            rows: 0,
            bytes: 0,
        }
    }

    /// Whether the event must wait until the unit that is open has been committed: a schema that changes.
    pub(crate) fn must_close_before(&self, event: &Event) -> bool {
        let Event::Schema(schema) = event else {
            return false;
        };
        let changes = self.schemas.get(&schema.stream).is_some_and(|known| known != schema);
        changes && self.tables.keys().any(|(stream, _)| *stream == schema.stream)
    }

    /// Whether the open unit is due by age.
    pub(crate) fn is_overdue(&self) -> bool {
        self.opened.is_some_and(|opened| opened.elapsed() >= self.limits.interval)
    }

    fn demand(&self) -> Demand {
        let full = self.rows >= self.limits.rows || self.bytes >= self.limits.bytes;
        if full { Demand::Close } else { Demand::Nothing }
    }

    /// Takes an event at `now`.
    pub(crate) fn take(&mut self, event: Event, now: DateTime<Utc>) -> Result<Demand, Disorder> {
        self.started_at.get_or_insert(now);
        self.opened.get_or_insert_with(Instant::now);
        self.bytes += event.weight();
        match event {
            Event::Schema(schema) => {
                if self.schemas.get(&schema.stream) != Some(&schema) {
                    self.unprepared.insert(schema.stream.clone());
                    self.schemas.insert(schema.stream.clone(), schema);
                }
            }
            Event::Batch(batch) => return self.take_batch(batch, now),
            Event::Bookmark(bookmark) => self.bookmarks.push(bookmark),
            Event::Bookmarks(bookmarks) => self.bookmarks.extend(bookmarks),
            Event::Gap(gap) => self.gaps.push(gap),
            Event::Retract { stream, after_sequence } => {
                self.retractions.push((self.schema(&stream)?, after_sequence));
            }
            Event::BeginVersion { stream, version } => {
                if self.versions.insert(stream.clone(), version).is_some() {
                    return Err(Disorder::VersionOpen(stream));
                }
                self.unprepared.insert(stream);
            }
            Event::ActivateVersion { stream, version, since } => {
                let schema = self.schema(&stream)?;
                if self.versions.remove(&stream) != Some(version) {
                    return Err(Disorder::NoVersion { stream, version });
                }
                self.activations.push(Activation { schema, version, since });
                return Ok(Demand::Close);
            }
        }
        Ok(self.demand())
    }

    fn schema(&self, stream: &StreamName) -> Result<Arc<StreamSchema>, Disorder> {
        self.schemas.get(stream).map(Arc::clone).ok_or_else(|| Disorder::NoSchema(stream.clone()))
    }

    fn take_batch(&mut self, batch: RowBatch, now: DateTime<Utc>) -> Result<Demand, Disorder> {
        let stream = batch.schema.stream.clone();
        let schema = self.schema(&stream)?;
        if let Some(version) =
            batch.version.filter(|version| self.versions.get(&stream) != Some(version))
        {
            return Err(Disorder::NoVersion { stream, version });
        }
        let stamps = Stamps {
            extracted_at: batch.extracted_at,
            received_at: now,
            batched_at: now,
            first_sequence: batch.first_sequence,
            table_version: batch.version.unwrap_or(batch.table_version),
            extracted_each: batch.extracted_each,
        };
        if batch.rows.schema().fields() != schema.arrow().fields() {
            let mismatch = ArrowError::SchemaError("Columns or types differ".to_owned());
            return Err(Disorder::Shape(stream, mismatch));
        }
        let gathered = self.tables.entry((stream, batch.version)).or_default();
        gathered.received += (batch.rows.num_rows() + batch.rejects.len()) as u64;
        gathered.reading.add(&batch.reading);
        self.rows += batch.rows.num_rows() + batch.rejects.len();
        gathered.rejects.extend(batch.rejects);
        if batch.rows.num_rows() > 0 {
            gathered.batches.push((batch.rows, stamps));
        }
        Ok(self.demand())
    }

    /// Closes the open unit, if it holds anything.
    pub(crate) fn close(&mut self, now: DateTime<Utc>) -> Result<Option<Unit>, Disorder> {
        let Some(started_at) = self.started_at.take() else {
            return Ok(None);
        };
        (self.rows, self.bytes, self.opened) = (0, 0, None);
        let mut prepares = Vec::new();
        for stream in std::mem::take(&mut self.unprepared) {
            let version = self.versions.get(&stream).copied().or_else(|| {
                self.activations
                    .iter()
                    .find(|activation| activation.schema.stream == stream)
                    .map(|activation| activation.version)
            });
            prepares.push((self.schema(&stream)?, version));
        }
        let mut loads = Vec::new();
        let mut greatest_sequence = 0;
        for ((stream, version), gathered) in std::mem::take(&mut self.tables) {
            let schema = self.schema(&stream)?;
            for (batch, stamps) in &gathered.batches {
                let length = i64::try_from(batch.num_rows()).unwrap_or(i64::MAX);
                greatest_sequence =
                    greatest_sequence.max(stamps.first_sequence.saturating_add(length - 1));
            }
            let load = gathered
                .into_load(&schema, version, now)
                .map_err(|error| Disorder::Shape(stream, error))?;
            loads.push(load);
        }
        Ok(Some(Unit {
            batch_id: uuid::Uuid::now_v7().to_string(),
            started_at,
            staged_at: now,
            prepares,
            retractions: std::mem::take(&mut self.retractions),
            loads,
            activations: std::mem::take(&mut self.activations),
            bookmarks: std::mem::take(&mut self.bookmarks),
            gaps: std::mem::take(&mut self.gaps),
            greatest_sequence,
        }))
    }
}

impl Gathered {
    fn into_load(
        mut self,
        schema: &Arc<StreamSchema>,
        version: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<TableLoad, ArrowError> {
        let mut max_replication_key: Option<String> = None;
        let mut stamped = Vec::with_capacity(self.batches.len());
        for (batch, mut stamps) in std::mem::take(&mut self.batches) {
            stamps.batched_at = now;
            if let Some(position) =
                schema.replication_key.as_ref().and_then(|name| schema.position(name))
            {
                let greatest = row::greatest_key(
                    &schema.columns[position].column_type,
                    batch.column(position),
                );
                max_replication_key = max_replication_key
                    .into_iter()
                    .chain(greatest)
                    .max_by(|left, right| row::compare_keys(left, right));
            }
            let batch = row::stamp(schema, &batch, &stamps)?;
            stamped.push(self.without_null_keys(schema, batch, &stamps)?);
        }
        Ok(TableLoad {
            schema: Arc::clone(schema),
            version,
            rows: stamped,
            rejects: self.rejects,
            superseded: 0,
            received: self.received,
            reading: self.reading,
            max_replication_key,
            replayed: Arc::default(),
        })
    }

    /// A key can't be null: no row may be found again by it. Sources reject such rows themselves; this is the guard.
    fn without_null_keys(
        &mut self,
        schema: &StreamSchema,
        batch: RecordBatch,
        stamps: &Stamps,
    ) -> Result<RecordBatch, ArrowError> {
        let keys: Vec<usize> = schema.key.iter().filter_map(|name| schema.position(name)).collect();
        if keys.iter().all(|&key| batch.column(key).null_count() == 0) {
            return Ok(batch);
        }
        let whole: BooleanArray = (0..batch.num_rows())
            .map(|index| Some(keys.iter().all(|&key| batch.column(key).is_valid(index))))
            .collect();
        for index in (0..batch.num_rows()).filter(|&index| !whole.value(index)) {
            self.rejects.push(RejectedRow {
                stream: schema.stream.clone(),
                code: ReasonCode::MissingKey,
                reason: format!("A key column of `{}` is null", schema.table()),
                record: row::render(schema, &batch, index),
                key_digest: None,
                sequence: row::sequence(schema, &batch, index),
                table_version: stamps.table_version,
                extracted_at: row::extracted_at(schema, &batch, index),
                occurrence: Occurrence::Uncounted,
                replays: None,
            });
        }
        filter_record_batch(&batch, &whole)
    }
}
