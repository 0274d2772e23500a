//! The two sides of a chunk: the source's rows as marks in memory, and the destination's, which pass over them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arrow::array::{ArrayRef, RecordBatch};
use chrono::NaiveDate;
use tokio::time::timeout;

use super::{
    AuditError, Auditor, StreamPlan,
    chunks::Chunk,
    comparison::Comparison,
    marks::{self, Key, Values},
};
use crate::{
    clock::SystemClock,
    destination::{Destination, DestinationError},
    event::{self, Event, Gap, RowBatch},
    placement::{Nesting, Placement, Placements},
    progress::{ProgressBoard, StreamProgress},
    reject::RejectedRow,
    row,
    run::{END_DEADLINE, Extraction},
    sequence::SequenceClock,
    source::{ExtractContext, Source, SourceError, SourceErrorKind},
    stream::StreamSchema,
};

/// How many bytes of events may wait between source and comparison.
const CHANNEL_BYTES: usize = 8 << 20;

/// Which rows count, by their keys.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    /// One of so many parts of all.
    Part {
        /// Which, from 0.
        part: u64,
        /// How many there are.
        of: u64,
    },
    /// These.
    Keys(HashSet<Key>),
}

impl Wanted {
    fn has(&self, key: &Key) -> bool {
        match self {
            Self::Part { part, of } => {
                let (first, _) = key.split_at(8);
                let number = first.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
                number % of == *part
            }
            Self::Keys(keys) => keys.contains(key),
        }
    }

    /// Whether what has no key counts: once.
    fn has_keyless(&self) -> bool {
        matches!(self, Self::Part { part: 0, .. })
    }
}

/// A column that is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) name: String,
    /// Whether it moves by itself.
    pub(super) is_drifting: bool,
    /// Where it is in the stream's columns as the table has them.
    placed: usize,
    /// Where it is among the columns that are read back; none if the table lacks it.
    stored: Option<usize>,
}

/// A row of the source.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) day: Option<NaiveDate>,
    /// Its key, as a JSON object.
    pub(super) key: Box<str>,
    /// Its values; several where rows of the source share a key.
    pub(super) versions: Vec<Values>,
    /// Which of them the destination has, or stands for what it has instead; none if it has no such row.
    pub(super) stored: Option<usize>,
}

/// The source's rows of a chunk, and how they lie in the destination.
pub(super) struct SourceSide {
    pub(super) columns: Arc<[Compared]>,
    pub(super) rows: HashMap<Key, Known>,
    /// The ids of objects that are no rows.
    pub(super) rejects: Vec<String>,
    pub(super) gaps: Vec<Gap>,
    wanted: Wanted,
    schema: Arc<StreamSchema>,
    placement: Arc<Placement>,
    /// What is read back; none if the destination has no such table.
    scanned: Option<Arc<StreamSchema>>,
    empty_is_null: bool,
}

impl Auditor<'_> {
    /// Reads what a source sends; none if that are more than so many rows.
    pub(super) async fn read(
        &self,
        source: Box<dyn Source>,
        plan: &StreamPlan,
        wanted: Wanted,
        most: usize,
    ) -> Result<Option<SourceSide>, AuditError> {
        let (sender, mut events) = event::channel(CHANNEL_BYTES);
        let context = ExtractContext {
            state: self.states.clone(),
            singer_state: None,
            start_date: None,
            sequence: Arc::new(SequenceClock::new(0)),
            events: sender,
            stop: self.stop.child_token(),
            progress: Arc::new(ProgressBoard::default()),
            clock: Arc::new(SystemClock),
        };
        let mut side =
            SourceSide::new(self.destination.as_ref(), &plan.schema, plan, wanted).await?;
        let mut extraction = Extraction(tokio::spawn(source.extract(context)));
        while let Some(event) = events.receive().await {
            match event {
                Event::Schema(schema) if schema != side.schema => {
                    let wanted = side.wanted.clone();
                    let changed =
                        SourceSide::new(self.destination.as_ref(), &schema, plan, wanted).await?;
                    side = SourceSide {
                        rows: side.rows,
                        rejects: side.rejects,
                        gaps: side.gaps,
                        ..changed
                    };
                }
                Event::Batch(batch) => {
                    let rows = batch.rows.num_rows() as u64;
                    let shown = |progress: &mut StreamProgress| progress.extracted += rows;
                    self.progress.update(&plan.schema.stream, shown);
                    side.take(&batch)?;
                }
                Event::Gap(gap) => side.gaps.push(gap),
                _ => {}
            }
            if side.rows.len() > most {
                return Ok(None);
            }
        }
        match timeout(END_DEADLINE, &mut extraction.0).await {
            Ok(Ok(Ok(outcome))) => {
                if let Some((_, error)) = outcome.failed.into_iter().next() {
                    return Err(error.into());
                }
                if outcome.interrupted { Err(AuditError::Interrupted) } else { Ok(Some(side)) }
            }
            Ok(Ok(Err(error))) => Err(error.into()),
            Ok(Err(panic)) => Err(defect("The source panicked").caused_by(panic).into()),
            Err(_) => Err(defect("The source does not end").into()),
        }
    }

    /// Compares the destination's rows with those of the source.
    pub(super) async fn pass_stored_rows(
        &self,
        plan: &StreamPlan,
        chunk: &Chunk,
        side: &mut SourceSide,
        comparison: &mut Comparison<'_>,
    ) -> Result<(), AuditError> {
        let Some(schema) = side.scanned.clone() else { return Ok(()) };
        let key = schema.replication_key.as_ref().and_then(|key| schema.position(key));
        let spans = if chunk.is_whole {
            vec![None]
        } else {
            chunk.spans.iter().copied().map(Some).collect()
        };
        let mut passed = 0;
        for span in spans {
            let mut scan = self.destination.scan(&schema, span).await?;
            while let Some(batch) = scan.next().await? {
                self.passed(&plan.schema.stream, &batch, &mut passed);
                if self.stop.is_cancelled() {
                    return Err(AuditError::Interrupted);
                }
                for index in 0..batch.num_rows() {
                    let at = key.and_then(|key| {
                        let of = &schema.columns[key].column_type;
                        marks::instant(of, batch.column(key), index)
                    });
                    let is_unreadable =
                        |gap: &Gap| at.is_some_and(|at| gap.from <= at && at < gap.to);
                    let digest = marks::key(&schema, &batch, index);
                    if !side.wanted.has(&digest) {
                        continue;
                    }
                    if side.gaps.iter().any(is_unreadable) {
                        comparison.excluded.unreadable += 1;
                        continue;
                    }
                    let values = side.stored_values(&schema, &batch, index);
                    let day = plan.schema.replication_key.as_ref().and(marks::day(at));
                    let text = || key_text(&schema, &batch, index);
                    comparison.stored(side, digest, day, values, text);
                }
            }
        }
        Ok(())
    }
}

impl SourceSide {
    async fn new(
        destination: &dyn Destination,
        schema: &Arc<StreamSchema>,
        plan: &StreamPlan,
        wanted: Wanted,
    ) -> Result<Self, DestinationError> {
        let mut placements = Placements::default();
        placements.plan(destination, schema).await?;
        let placement = placements.of(schema);
        let dialect = destination.dialect();
        let table = destination.stored_table(schema.table()).await?;
        let stored = placement.stored.as_ref();
        let placed = stored.unwrap_or(schema);
        let is_there = |name: &str| {
            let name = dialect.folded(name);
            table
                .iter()
                .flat_map(|table| &table.columns)
                .any(|column| dialect.folded(&column.name) == name)
        };
        let mut columns = Vec::new();
        let mut scanned = Vec::new();
        for (position, column) in placed.columns.iter().enumerate() {
            let origin = if stored.is_some() { placement.origin(position) } else { Some(position) };
            let Some(origin) = origin else { continue };
            let is_there = is_there(&column.name);
            columns.push(Compared {
                name: column.name.clone(),
                is_drifting: plan.drifting.contains(&schema.columns[origin].name),
                placed: position,
                stored: is_there.then_some(scanned.len()),
            });
            scanned.extend(is_there.then(|| column.clone()));
        }
        let scanned = StreamSchema { columns: scanned, ..(**placed).clone() };
        Ok(Self {
            columns: columns.into(),
            rows: HashMap::new(),
            rejects: Vec::new(),
            gaps: Vec::new(),
            wanted,
            schema: Arc::clone(schema),
            scanned: (table.is_some() && stored.is_some()).then(|| Arc::new(scanned)),
            placement,
            empty_is_null: dialect.nesting == Nesting::Subtables,
        })
    }

    fn take(&mut self, batch: &RowBatch) -> Result<(), AuditError> {
        if self.wanted.has_keyless() {
            self.rejects.extend(batch.rejects.iter().map(RejectedRow::id));
        }
        let schema = &batch.schema;
        let arranged = match &self.placement.stored {
            Some(stored) => self.placement.arranged(stored, &batch.rows),
            None => Ok(batch.rows.columns().to_vec()),
        };
        let arranged = arranged
            .map_err(|error| defect("The source's rows don't fit their schema").caused_by(error))?;
        let placed = Arc::clone(self.placement.stored.as_ref().unwrap_or(&self.schema));
        let day = schema.replication_key.as_ref().and_then(|key| schema.position(key));
        for index in 0..batch.rows.num_rows() {
            let key = marks::key(schema, &batch.rows, index);
            if !self.wanted.has(&key) {
                continue;
            }
            let values = self.columns.iter().map(|column| {
                let of = &placed.columns[column.placed].column_type;
                marks::value(of, &arranged[column.placed], index, self.empty_is_null)
            });
            let values: Values = values.collect();
            let day = day.and_then(|day| {
                let of = &schema.columns[day].column_type;
                marks::day(marks::instant(of, batch.rows.column(day), index))
            });
            let known = self.rows.entry(key).or_insert_with(|| Known {
                day,
                key: key_text(schema, &batch.rows, index),
                versions: Vec::with_capacity(1),
                stored: None,
            });
            if !known.versions.contains(&values) {
                known.versions.push(values);
            }
        }
        Ok(())
    }

    fn stored_values(&self, schema: &StreamSchema, batch: &RecordBatch, index: usize) -> Values {
        let value = |column: &Compared| match column.stored {
            None => marks::nothing(),
            Some(position) => {
                let array: &ArrayRef = batch.column(position);
                marks::value(
                    &schema.columns[position].column_type,
                    array,
                    index,
                    self.empty_is_null,
                )
            }
        };
        self.columns.iter().map(value).collect()
    }

    /// What has to be looked up among the rejects: objects that are no rows, and the keys of rows that the destination
    /// doesn't have.
    pub(super) fn marks(&self) -> Vec<String> {
        let is_open = |known: &Known| known.stored.is_none() || known.versions.len() > 1;
        let open = self.rows.iter().filter(|(_, known)| is_open(known));
        open.map(|(key, _)| hex::encode(key)).chain(self.rejects.iter().cloned()).collect()
    }
}

/// The key of a row as the text of a JSON object.
fn key_text(schema: &StreamSchema, batch: &RecordBatch, index: usize) -> Box<str> {
    let mut object = row::object(schema, batch, index);
    object.retain(|name, _| schema.key.contains(name));
    serde_json::Value::Object(object).to_string().into()
}

fn defect(message: &str) -> SourceError {
    SourceError::new(SourceErrorKind::Bug, message, "Report this defect with the log")
}
