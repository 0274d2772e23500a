//! Replaying rejects: rows that could not be loaded are tried again, once what kept them out is mended.
//!
//! A replay is a small run of its own: it claims the schema, and every unit of it goes through the commit protocol, with
//! balanced books. The rows keep the sequence, the time and the table version of their read, so a row that is newer in the
//! table wins. In the transaction that loads it a reject is marked as replayed; one that can't be loaded now either stays,
//! once, with its new reason. So a reject takes effect once, whenever a replay is killed and however often it is repeated.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    books,
    claim::{Claim, ClaimRequest},
    commit::{CommitError, Committer},
    destination::{Destination, DestinationError, DestinationErrorKind, UnitTransaction},
    event::Reading,
    gather::Unit,
    ledger::{LoadCounts, LoadRecord},
    reject::{ReasonCode, RejectFilter, RejectStanding, StoredReject},
    report::RunError,
    row::{self, Stamps},
    run::{RunContext, keep_claim},
    singer_source::TABLE_VERSION,
    stream::{StreamName, StreamSchema},
    unit::TableLoad,
};

/// How many rejects are replayed in one unit, and about how many bytes of them.
const PAGE: RejectPage = RejectPage { rows: 5_000, bytes: 32 << 20 };

/// How much is read of the stored rejects at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectPage {
    /// So many rows at most.
    pub rows: usize,
    /// So many bytes of records at most, unless the first row alone is larger.
    pub bytes: usize,
}

/// Reads records of rejects as their streams are now.
pub trait RejectDecoder: Send {
    /// Reads rejects of one stream.
    ///
    /// # Errors
    /// Why nothing of the stream can be read, in words; its rejects stay as they are.
    fn decode(&mut self, stream: &StreamName, rejects: &[&StoredReject])
    -> Result<Decoded, String>;
}

/// What a decoder made of rejects.
#[derive(Debug)]
pub struct Decoded {
    /// The stream's schema.
    pub schema: Arc<StreamSchema>,
    /// Its user columns, one row for each reject that could be read, in their order.
    pub rows: RecordBatch,
    /// The others: their position, and why.
    pub faults: BTreeMap<usize, (ReasonCode, String)>,
}

/// What became of the rejects of one table, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayedTable {
    /// How many there were.
    pub found: u64,
    /// Of those, loaded, unchanged and superseded ones: they are marked as replayed. In a preview: that can be read now.
    pub replayed: u64,
    /// That can't be loaded now either, by their reason.
    pub again: BTreeMap<(String, String), u64>,
    /// Of a version that is not the table's any more, and so not brought back.
    pub former_version: u64,
    /// Of a stream that can't be read at all,
    pub unreadable: u64,
    /// because of this.
    pub obstacle: Option<String>,
    /// The figures of the commits; nothing in a preview.
    pub counts: LoadCounts,
}

/// What a replay did, or would do, per table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// By the table's name.
    pub tables: BTreeMap<String, ReplayedTable>,
    /// Whether it was asked to stop before it was through.
    pub interrupted: bool,
}

/// Makes a decoder from the states of the streams.
pub type MakeDecoder<'a> = dyn Fn(&BTreeMap<StreamName, Value>) -> Result<Box<dyn RejectDecoder>, RunError>
    + Send
    + Sync
    + 'a;

/// Says what a replay would do, without a claim and without a change; when it is asked to stop, of those that it has looked
/// at. Whether the destination takes a row shows only when it is tried.
///
/// # Errors
/// When the destination can't be read, or no decoder can be made.
pub async fn preview(
    destination: &dyn Destination,
    decoder: &MakeDecoder<'_>,
    filter: &RejectFilter,
    stop: &CancellationToken,
) -> Result<ReplayReport, RunError> {
    let states = destination.states().await.map_err(RunError::Destination)?;
    let states: BTreeMap<StreamName, Value> = states
        .into_iter()
        .filter(|state| !state.stream.is_empty())
        .filter_map(|state| Some((StreamName::new(state.stream), state.state?)))
        .collect();
    let mut decoder = decoder(&states)?;
    let versions = LiveVersions::read(destination, &states).await?;
    let mut report = ReplayReport::default();
    let mut after = None;
    loop {
        let page = page(destination, filter, after.as_ref()).await?;
        let Some(last) = page.last() else { return Ok(report) };
        after = Some((last.sequence, last.id.clone()));
        for (decoded, rejects) in sort(&mut report, page, &versions, decoder.as_mut()) {
            let table = report.of(&decoded.schema.stream);
            table.replayed += (rejects.len() - decoded.faults.len()) as u64;
            for (code, reason) in decoded.faults.into_values() {
                *table.again.entry((code.to_string(), reason)).or_default() += 1;
            }
        }
        // What has been fetched is counted: who asks learns of some at least, however slow the destination is.
        if stop.is_cancelled() {
            report.interrupted = true;
            return Ok(report);
        }
    }
}

/// Replays rejects. What was committed before a failure stays. When the context asks it to stop, it ends after the unit
/// that is under way.
///
/// # Errors
/// As a run's; the report is lost then, the rows and the marks that were committed are not.
pub async fn replay(
    destination: Arc<dyn Destination>,
    decoder: &MakeDecoder<'_>,
    request: &ClaimRequest,
    filter: &RejectFilter,
    mut context: RunContext,
) -> Result<ReplayReport, RunError> {
    let claim = destination.claim(request).await.map_err(RunError::Destination)?;
    if let Some(observer) = &mut context.committed {
        observer.claimed(&claim);
    }
    let kept = keep_claim(Arc::clone(&destination), claim.clone());
    let result = tokio::select! {
        biased;
        lost = kept => Err(RunError::Destination(lost)),
        result = claimed(&destination, decoder, &claim, filter, context) => result,
    };
    if let Err(error) = destination.release(&claim).await {
        tracing::warn!(error = %error, "The claim could not be released; it ends with its lease");
    }
    result
}

async fn claimed(
    destination: &Arc<dyn Destination>,
    decoder: &MakeDecoder<'_>,
    claim: &Claim,
    filter: &RejectFilter,
    mut context: RunContext,
) -> Result<ReplayReport, RunError> {
    let mut decoder = decoder(&claim.states)?;
    let versions = LiveVersions::read(destination.as_ref(), &claim.states).await?;
    let mut committer =
        Committer::new(Arc::clone(destination), claim.clone(), Arc::clone(&context.clock), false);
    let mut report = ReplayReport::default();
    // Rejects that were stored again under another id: they come behind the others, and had their turn.
    let mut again = BTreeSet::new();
    let mut after = None;
    loop {
        if context.stop.is_cancelled() {
            report.interrupted = true;
            return Ok(report);
        }
        let mut page = page(destination.as_ref(), filter, after.as_ref()).await?;
        let Some(last) = page.last() else { return Ok(report) };
        after = Some((last.sequence, last.id.clone()));
        page.retain(|reject| !again.contains(&reject.id));
        for reject in &page {
            context.progress.update(&reject.stream, |progress| progress.extracted += 1);
        }
        let now = context.clock.now();
        let sorted = sort(&mut report, page, &versions, decoder.as_mut());
        let mut loads = Vec::with_capacity(sorted.len());
        for (decoded, rejects) in sorted {
            loads.push(load(decoded, rejects, now).map_err(RunError::Destination)?);
        }
        if loads.is_empty() {
            continue;
        }
        let committed = committer.commit(unit(loads, now)).await.map_err(|error| match error {
            CommitError::Destination(error) => RunError::Destination(error),
            CommitError::Books(error) => RunError::Books(error),
        })?;
        for reject in committed.rejected_again {
            let id = reject.id();
            if reject.replays.as_ref() != Some(&id) {
                again.insert(id);
            }
            let table = report.of(&reject.stream);
            *table.again.entry((reject.code.to_string(), reject.reason)).or_default() += 1;
        }
        for record in &committed.records {
            report.add(record);
            if record.table == record.stream {
                context.progress.update(&record.stream.as_str().into(), |progress| {
                    progress.loaded += record.counts.received - record.counts.rejected;
                    progress.rejected += record.counts.rejected;
                });
            }
        }
        if let Some(observer) = &mut context.committed {
            observer.loaded(&committed.records);
            for (table, change) in &committed.changes {
                observer.changed(table, change);
            }
        }
    }
}

impl ReplayReport {
    fn of(&mut self, stream: &StreamName) -> &mut ReplayedTable {
        self.tables.entry(stream.to_string()).or_default()
    }

    fn add(&mut self, record: &LoadRecord) {
        let table = self.tables.entry(record.table.clone()).or_default();
        table.counts.add(&record.counts);
        if record.table == record.stream {
            table.replayed += record.counts.received - record.counts.rejected;
        }
    }
}

/// Settles the stored rejects that a load's rows were: those that were loaded are marked; those that are rejects again go,
/// because they stand there anew, unless they are the same as before. Comes before the load's rejects are stored.
pub(crate) async fn mark(
    transaction: &mut dyn UnitTransaction,
    load: &TableLoad,
) -> Result<(), CommitError> {
    let again: BTreeMap<&str, String> = load
        .rejects
        .iter()
        .filter_map(|reject| Some((reject.replays.as_deref()?, reject.id())))
        .collect();
    let ids = load.replayed.iter().map(|stored| &stored.id);
    let done: Vec<String> = ids.filter(|id| !again.contains_key(id.as_str())).cloned().collect();
    let gone = again.iter().filter(|(old, new)| *old != new).map(|(old, _)| (*old).to_owned());
    let gone: Vec<String> = gone.collect();
    let marked = transaction.mark_replayed(&done).await?;
    let removed = transaction.remove_rejects(&gone).await?;
    books::check_replay(load, done.len() + gone.len(), marked + removed)?;
    Ok(())
}

/// The versions that tables have.
struct LiveVersions(BTreeMap<String, i64>);

impl LiveVersions {
    /// A stream's own state tells the version that its tap gave; else the ledger does, by the last one put in place.
    async fn read(
        destination: &dyn Destination,
        states: &BTreeMap<StreamName, Value>,
    ) -> Result<Self, RunError> {
        let totals = destination.totals().await.map_err(RunError::Destination)?;
        let mut versions: BTreeMap<String, i64> =
            totals.into_iter().map(|(table, totals)| (table, totals.table_version)).collect();
        for (stream, state) in states {
            if let Some(version) = state.get(TABLE_VERSION).and_then(Value::as_i64) {
                versions.insert(stream.to_string(), version);
            }
        }
        Ok(Self(versions))
    }

    fn is_former(&self, reject: &StoredReject) -> bool {
        let live = self.0.get(reject.stream.as_str()).copied().unwrap_or_default();
        reject.table_version != live
    }
}

async fn page(
    destination: &dyn Destination,
    filter: &RejectFilter,
    after: Option<&(i64, String)>,
) -> Result<Vec<StoredReject>, RunError> {
    let open = Some(RejectStanding::Open);
    destination.stored_rejects(filter, open, after, PAGE).await.map_err(RunError::Destination)
}

/// Sets rejects aside that are not to be loaded, and decodes the others, stream by stream.
fn sort(
    report: &mut ReplayReport,
    page: Vec<StoredReject>,
    versions: &LiveVersions,
    decoder: &mut dyn RejectDecoder,
) -> Vec<(Decoded, Vec<StoredReject>)> {
    let mut streams: BTreeMap<StreamName, Vec<StoredReject>> = BTreeMap::new();
    for reject in page {
        let table = report.of(&reject.stream);
        table.found += 1;
        if versions.is_former(&reject) {
            table.former_version += 1;
        } else {
            streams.entry(reject.stream.clone()).or_default().push(reject);
        }
    }
    let mut sorted = Vec::new();
    for (stream, rejects) in streams {
        match decoder.decode(&stream, &rejects.iter().collect::<Vec<_>>()) {
            Ok(decoded) => sorted.push((decoded, rejects)),
            Err(obstacle) => {
                let table = report.of(&stream);
                table.unreadable += rejects.len() as u64;
                table.obstacle = Some(obstacle);
            }
        }
    }
    sorted
}

/// A load of replayed rows, each with the stamps of its own read.
fn load(
    decoded: Decoded,
    rejects: Vec<StoredReject>,
    now: DateTime<Utc>,
) -> Result<TableLoad, DestinationError> {
    let Decoded { schema, rows, mut faults } = decoded;
    let mut kept_out = Vec::new();
    let mut origins = Vec::new();
    for (position, reject) in rejects.iter().enumerate() {
        match faults.remove(&position) {
            Some((code, reason)) => kept_out.push(reject.again(code, reason, None)),
            None => origins.push(position),
        }
    }
    let good = || origins.iter().map(|&position| &rejects[position]);
    let stamps = Stamps {
        extracted_at: now,
        extracted_each: Some(TimestampMicrosecondArray::from_iter_values(
            good().map(|reject| reject.extracted_at.timestamp_micros()),
        )),
        received_at: now,
        batched_at: now,
        first_sequence: 0,
        table_version: 0,
    };
    let each = good().map(|reject| (reject.sequence, reject.table_version)).collect();
    let positions = origins.iter().map(|&position| i64::try_from(position).unwrap_or(i64::MAX));
    let positions: ArrayRef = Arc::new(Int64Array::from_iter_values(positions));
    let stamped = row::stamp(&schema, &rows, &stamps)
        .and_then(|batch| row::with_sequences(&schema, &batch, each))
        .and_then(|batch| row::with_origins(&batch, positions))
        .map_err(|error| {
            let message = format!("Rejects of `{}` could not be made a batch", schema.table());
            DestinationError::new(DestinationErrorKind::Bug, message, "Report this defect")
                .caused_by(error)
        })?;
    let received = rejects.len() as u64;
    Ok(TableLoad {
        schema,
        version: None,
        rows: if stamped.num_rows() == 0 { Vec::new() } else { vec![stamped] },
        rejects: kept_out,
        superseded: 0,
        received,
        reading: Reading { read: received, ..Reading::default() },
        max_replication_key: None,
        replayed: rejects.into(),
    })
}

fn unit(loads: Vec<TableLoad>, now: DateTime<Utc>) -> Unit {
    Unit {
        batch_id: uuid::Uuid::now_v7().to_string(),
        started_at: now,
        staged_at: now,
        prepares: loads.iter().map(|load| (Arc::clone(&load.schema), None)).collect(),
        retractions: Vec::new(),
        loads,
        activations: Vec::new(),
        bookmarks: Vec::new(),
        gaps: Vec::new(),
        greatest_sequence: 0,
    }
}
