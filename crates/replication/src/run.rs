//! A run: claim, extract and load at once, checkpoint, release.

use std::{fmt, io, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, interval_at, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    claim::{Claim, ClaimRequest, Holder},
    clock::{Clock, SystemClock},
    commit::{CommitError, Committer, Retention},
    destination::{Destination, DestinationError, DestinationErrorKind},
    event::{self, Bookmark, Event, EventReceiver, Gap},
    gather::{Demand, Disorder, Gatherer},
    hold::{self, HoldPoint},
    ledger::LoadRecord,
    placement::ColumnChange,
    progress::ProgressBoard,
    reject_limit::RejectLimit,
    report::{SettledTable, Tally},
    sequence::SequenceClock,
    source::{ExtractContext, ExtractOutcome, Source, SourceError, SourceErrorKind},
    stream::StreamName,
};

pub use crate::{
    gather::UnitLimits,
    report::{RunError, RunFailure, RunReport, Settlement, TableReport},
};

/// How long a source may take to reach a safe point once it has been asked to stop.
const STOP_DEADLINE: Duration = Duration::from_secs(60);
/// How long a source may take to end when nobody listens any more.
pub(crate) const END_DEADLINE: Duration = Duration::from_secs(5);
/// How many rows of the ledger are looked through for what a run that was killed had rejected.
const SETTLED_LOADS: usize = 10_000;
/// How long the claim's release may take; another integration may be writing into the same file meanwhile.
const RELEASE_DEADLINE: Duration = Duration::from_secs(30);

/// How long replayed rejects are kept: long enough to see what a replay did.
pub const REPLAYED_RETENTION: TimeDelta = TimeDelta::days(30);

/// How a run is done.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The integration that the schema belongs to.
    pub integration_id: String,
    /// The run.
    pub run_id: String,
    /// How long the claim on the schema holds after it was last renewed. It is renewed three times as often.
    pub lease: TimeDelta,
    /// Takes the schema even from a live run.
    pub take_over: bool,
    /// Accepts that the source's account has another fingerprint than the one that the schema was filled from.
    pub accept_source_change: bool,
    /// From when to read; stored at the first run, and the stored one counts from then on.
    pub start_date: Option<DateTime<Utc>>,
    /// Whether somebody chose the start date, so that another one than the stored must not be ignored.
    pub start_date_is_explicit: bool,
    /// Stores the start date in place of the stored one.
    pub reset_start_date: bool,
    /// When a unit is closed at the latest; the destination may want it sooner.
    pub limits: UnitLimits,
    /// How many bytes of events may wait between source and loader: these, or a third of a unit if that is less.
    pub channel_bytes: usize,
    /// Lets a full table become empty, or shrink to less than half.
    pub allow_empty: bool,
    /// Ends the run when more rows were rejected; those up to there are stored.
    pub max_rejects: Option<RejectLimit>,
    /// How long rejected rows are kept; replayed ones at most [`REPLAYED_RETENTION`].
    pub rejects_retention: TimeDelta,
}

impl RunOptions {
    /// The defaults, for an integration: a lease of two minutes, 32 MiB between source and loader, a new run id, rejects
    /// kept for half a year.
    pub fn new(integration_id: impl Into<String>) -> Self {
        Self {
            integration_id: integration_id.into(),
            run_id: uuid::Uuid::now_v7().to_string(),
            lease: TimeDelta::seconds(120),
            take_over: false,
            accept_source_change: false,
            start_date: None,
            start_date_is_explicit: false,
            reset_start_date: false,
            limits: UnitLimits::default(),
            channel_bytes: 32 << 20,
            allow_empty: false,
            max_rejects: None,
            rejects_retention: TimeDelta::days(180),
        }
    }
}

/// Hears what became durable, right after it did.
pub trait CommitObserver: Send {
    /// Takes a Singer tap's states that a commit made durable, in the order in which they came. Bookmarks of single
    /// streams are the loader's own and are not among them.
    ///
    /// # Errors
    /// When they can't be passed on; ends the run.
    fn committed(&mut self, bookmarks: &[Bookmark]) -> io::Result<()> {
        let _ = bookmarks;
        Ok(())
    }

    /// Takes the claim, once the destination has granted it.
    fn claimed(&mut self, claim: &Claim) {
        let _ = claim;
    }

    /// Takes the ledger rows of a unit that is durable. They may never come, when the process ends between the two; the
    /// destination has them.
    fn loaded(&mut self, records: &[LoadRecord]) {
        let _ = records;
    }

    /// Takes what changed in a table, once it is durable.
    fn changed(&mut self, table: &str, change: &ColumnChange) {
        let _ = (table, change);
    }
}

/// What surrounds a run.
pub struct RunContext {
    /// Our clock.
    pub clock: Arc<dyn Clock>,
    /// Where progress is shown.
    pub progress: Arc<ProgressBoard>,
    /// Asks the run to stop, leaving a true checkpoint.
    pub stop: CancellationToken,
    /// Who is told of commits.
    pub committed: Option<Box<dyn CommitObserver>>,
}

impl Default for RunContext {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            progress: Arc::default(),
            stop: CancellationToken::new(),
            committed: None,
        }
    }
}

impl fmt::Debug for RunContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RunContext").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// Replicates once: everything that is new in the source since the destination's bookmarks.
///
/// # Errors
/// [`RunFailure`], with the report of what became durable all the same.
pub async fn replicate(
    source: Box<dyn Source>,
    destination: Arc<dyn Destination>,
    options: RunOptions,
    context: RunContext,
) -> Result<RunReport, RunFailure> {
    let started_at = context.clock.now();
    let request = ClaimRequest {
        integration_id: options.integration_id.clone(),
        source_fingerprint: source.fingerprint(),
        holder: Holder::current(&options.run_id),
        run_id: options.run_id.clone(),
        lease: options.lease,
        take_over: options.take_over,
        accept_source_change: options.accept_source_change,
        start_date: options.start_date.map(crate::row::instant_text),
        reset_start_date: options.reset_start_date,
    };
    let mut run = Run {
        destination: Arc::clone(&destination),
        gatherer: Gatherer::new(options.limits.at_most(destination.unit_limits())),
        tally: Tally::default(),
        gaps: Vec::new(),
        units: 0,
        failed: Vec::new(),
        context,
        started_at,
        run_id: options.run_id.clone(),
        settled: None,
        interrupted: false,
        expired_rejects: 0,
    };
    let claim = match destination.claim(&request).await {
        Ok(claim) => claim,
        Err(error) => return Err(run.failure(RunError::Destination(error))),
    };
    hold::reach(HoldPoint::Claimed);
    if let Some(observer) = &mut run.context.committed {
        observer.claimed(&claim);
    }
    let result = run.claimed(source, &claim, &options).await;
    hold::reach(HoldPoint::BeforeRelease);
    match timeout(RELEASE_DEADLINE, destination.release(&claim)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "The claim could not be released; it ends with its lease");
        }
        Err(_) => tracing::warn!("The claim could not be released in time; it ends with its lease"),
    }
    match result {
        Ok(()) => Ok(run.report()),
        Err(error) => Err(run.failure(error)),
    }
}

struct Run {
    destination: Arc<dyn Destination>,
    gatherer: Gatherer,
    tally: Tally,
    gaps: Vec<Gap>,
    units: u64,
    failed: Vec<(StreamName, SourceError)>,
    context: RunContext,
    started_at: DateTime<Utc>,
    run_id: String,
    settled: Option<Settlement>,
    interrupted: bool,
    expired_rejects: u64,
}

/// A task that ends with its owner.
pub(crate) struct Extraction(pub(crate) JoinHandle<Result<ExtractOutcome, SourceError>>);

impl Drop for Extraction {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Run {
    /// Everything that is done under the claim, which is renewed all the while, also during a long commit.
    async fn claimed(
        &mut self,
        source: Box<dyn Source>,
        claim: &Claim,
        options: &RunOptions,
    ) -> Result<(), RunError> {
        let kept = keep_claim(Arc::clone(&self.destination), claim.clone());
        let worked = async {
            self.settle(claim).await.map_err(RunError::Destination)?;
            check_start_date(claim, options)?;
            self.extract_and_load(source, claim, options).await
        };
        tokio::select! {
            biased;
            lost = kept => Err(RunError::Destination(lost)),
            result = worked => result,
        }
    }

    async fn extract_and_load(
        &mut self,
        source: Box<dyn Source>,
        claim: &Claim,
        options: &RunOptions,
    ) -> Result<(), RunError> {
        let start_date = claim.start_date.as_deref();
        let start_date = start_date.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        let unit_bytes = options.limits.at_most(self.destination.unit_limits()).bytes;
        let (sender, receiver) = event::channel(options.channel_bytes.min(unit_bytes / 3));
        let stop = self.context.stop.child_token();
        let extract = ExtractContext {
            state: claim.states.clone(),
            singer_state: claim.memory.singer_state.clone(),
            start_date: start_date.map(|date| date.to_utc()).or(options.start_date),
            sequence: Arc::new(SequenceClock::new(claim.memory.greatest_sequence)),
            events: sender,
            stop: stop.clone(),
            progress: Arc::clone(&self.context.progress),
            clock: Arc::clone(&self.context.clock),
        };
        let mut committer = Committer::new(
            Arc::clone(&self.destination),
            claim.clone(),
            Arc::clone(&self.context.clock),
            options.allow_empty,
        );
        committer.expire(self.retention(options));
        let mut extraction = Extraction(tokio::spawn(source.extract(extract).in_current_span()));
        self.load(receiver, &mut committer, options).await?;
        // Nobody listens any more: a source that is still at work is to end now.
        stop.cancel();
        let asked = self.context.stop.is_cancelled();
        let outcome = match timeout(END_DEADLINE, &mut extraction.0).await {
            Ok(Ok(Err(error))) if asked && error.kind == SourceErrorKind::LoaderGone => None,
            Ok(Ok(outcome)) => Some(outcome.map_err(RunError::Source)?),
            Ok(Err(panic)) => {
                return Err(RunError::Source(bug("The source panicked").caused_by(panic)));
            }
            Err(_) if asked => None,
            Err(_) => return Err(RunError::Source(bug("The source does not end"))),
        };
        self.interrupted = outcome.as_ref().is_none_or(|outcome| outcome.interrupted);
        self.failed.extend(outcome.into_iter().flat_map(|outcome| outcome.failed));
        if self.failed.is_empty() {
            self.check_rejects(options, true)
        } else {
            Err(RunError::Streams(std::mem::take(&mut self.failed)))
        }
    }

    /// Compares the ledger with the tables after a run that did not let go of its claim.
    async fn settle(&mut self, claim: &Claim) -> Result<(), DestinationError> {
        let Some(predecessor) = &claim.unreleased else {
            return Ok(());
        };
        let mut tables = Vec::new();
        for (table, totals) in self.destination.totals().await? {
            let in_table = self.destination.count(&table).await?.unwrap_or_default();
            tables.push(SettledTable {
                table,
                in_ledger: signed(totals.inserted).saturating_sub(signed(totals.deleted)),
                in_table: signed(in_table),
            });
        }
        let loads = self.destination.loads(SETTLED_LOADS).await?;
        let of_run = loads.iter().filter(|load| load.run_id == predecessor.run_id);
        let rejected = of_run.map(|load| load.counts.rejected).sum();
        let settlement = Settlement { predecessor: predecessor.to_string(), tables, rejected };
        if rejected > 0 {
            tracing::warn!(
                "{predecessor}, which did not end by itself, had rejected {rejected} rows"
            );
        }
        if settlement.balances() {
            tracing::info!(
                "Settled the books of {predecessor}, which did not end by itself: they balance"
            );
        } else {
            for table in settlement.tables.iter().filter(|table| table.in_ledger != table.in_table)
            {
                tracing::warn!(
                    "After {predecessor}, which did not end by itself, `{}` has {} rows, the ledger accounts for {}",
                    table.table,
                    table.in_table,
                    table.in_ledger
                );
            }
        }
        self.settled = Some(settlement);
        Ok(())
    }

    async fn load(
        &mut self,
        mut events: EventReceiver,
        committer: &mut Committer,
        options: &RunOptions,
    ) -> Result<(), RunError> {
        let asked = self.context.stop.clone();
        let overstayed = async move {
            asked.cancelled().await;
            sleep(STOP_DEADLINE).await;
        };
        tokio::pin!(overstayed);
        let mut look = interval(Duration::from_secs(1));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut overstayed => {
                    tracing::warn!("The source did not stop in time; what it had sent is kept");
                    break;
                }
                event = events.receive() => match event {
                    Some(event) => self.take(event, committer, options).await?,
                    None => break,
                },
                _ = look.tick() => {
                    if self.gatherer.is_overdue() {
                        self.commit(committer, options).await?;
                    }
                }
            }
        }
        self.commit(committer, options).await
    }

    async fn take(
        &mut self,
        event: Event,
        committer: &mut Committer,
        options: &RunOptions,
    ) -> Result<(), RunError> {
        hold::reach(HoldPoint::EventReceived);
        if self.gatherer.must_close_before(&event) {
            self.commit(committer, options).await?;
        }
        if self.is_void(&event) {
            return Ok(());
        }
        let demand = self.gatherer.take(event, self.context.clock.now()).map_err(disorder)?;
        if demand == Demand::Close || self.gatherer.is_overdue() {
            self.commit(committer, options).await?;
        }
        Ok(())
    }

    /// Whether the event is a bookmark that a failed stream has made untrue: it would say that rows are stored which
    /// are not. A Singer tap's state speaks for all of its streams.
    fn is_void(&self, event: &Event) -> bool {
        let is_void = |bookmark: &Bookmark| match &bookmark.stream {
            None => !self.failed.is_empty(),
            Some(stream) => self.failed.iter().any(|(failed, _)| failed == stream),
        };
        match event {
            Event::Bookmark(bookmark) => is_void(bookmark),
            Event::Bookmarks(bookmarks) => bookmarks.iter().any(is_void),
            _ => false,
        }
    }

    async fn commit(
        &mut self,
        committer: &mut Committer,
        options: &RunOptions,
    ) -> Result<(), RunError> {
        let Some(unit) = self.gatherer.close(self.context.clock.now()).map_err(disorder)? else {
            return Ok(());
        };
        let committed = committer.commit(unit).await.map_err(|error| match error {
            CommitError::Destination(error) => RunError::Destination(error),
            CommitError::Books(error) => RunError::Books(error),
        })?;
        self.units += 1;
        if committed.expired > 0 {
            tracing::info!("{} rejects were removed because they were old", committed.expired);
        }
        self.expired_rejects += committed.expired;
        for record in &committed.records {
            self.tally.add(record);
            let counts = &record.counts;
            self.context.progress.update(&StreamName::new(record.stream.as_str()), |progress| {
                if record.table == record.stream {
                    progress.loaded +=
                        counts.inserted + counts.updated + counts.unchanged + counts.superseded;
                    progress.rejected += counts.rejected;
                }
            });
        }
        self.gaps.extend(committed.gaps);
        for kept in committed.kept {
            self.failed.push((
                kept.stream.clone(),
                SourceError::new(
                    SourceErrorKind::Unsound,
                    format!(
                        "Read only {} rows of `{}`, which holds {}; the old ones were kept",
                        kept.waiting, kept.stream, kept.live
                    ),
                    "Run again; if that many rows are really gone from the source, run once with `--allow-empty`",
                ),
            ));
        }
        if let Some(observer) = &mut self.context.committed {
            observer.loaded(&committed.records);
            for (table, change) in &committed.changes {
                observer.changed(table, change);
            }
            let mut states = committed.bookmarks;
            states.retain(|bookmark| bookmark.stream.is_none());
            observer.committed(&states).map_err(RunError::Observer)?;
        }
        hold::reach(HoldPoint::Told);
        self.check_rejects(options, false)
    }

    /// Which rejects are old. None of this run's is: it has yet to report them. Every earlier run has reported its own, or
    /// this one has while it settled that one's books.
    fn retention(&self, options: &RunOptions) -> Retention {
        let before = |kept: TimeDelta| {
            self.started_at.checked_sub_signed(kept).unwrap_or(DateTime::<Utc>::MIN_UTC)
        };
        Retention {
            rejected_before: before(options.rejects_retention),
            replayed_before: before(options.rejects_retention.min(REPLAYED_RETENTION)),
        }
    }

    /// Ends the run when too many rows were rejected.
    fn check_rejects(&self, options: &RunOptions, is_over: bool) -> Result<(), RunError> {
        let (rejected, received) = (self.tally.rejected(), self.tally.received());
        match options.max_rejects {
            Some(limit) if limit.is_exceeded(rejected, received, is_over) => {
                Err(RunError::Rejects { rejected, limit })
            }
            _ => Ok(()),
        }
    }

    fn report(&self) -> RunReport {
        RunReport {
            run_id: self.run_id.clone(),
            interrupted: self.interrupted,
            units: self.units,
            started_at: self.started_at,
            finished_at: self.context.clock.now(),
            tables: self.tally.reports(),
            gaps: self.gaps.clone(),
            settled: self.settled.clone(),
            expired_rejects: self.expired_rejects,
        }
    }

    fn failure(&self, error: RunError) -> RunFailure {
        RunFailure { error, report: Box::new(self.report()) }
    }
}

/// Renews the claim for as long as it is polled, three times as often as it must; ends only when the claim is lost. A
/// destination that can't be reached for a while endangers the lease, but not the data: every commit checks the fence.
pub(crate) async fn keep_claim(
    destination: Arc<dyn Destination>,
    claim: Claim,
) -> DestinationError {
    let beat = (claim.lease / 3).to_std().unwrap_or(Duration::from_secs(30));
    let beat = beat.max(Duration::from_millis(200));
    let mut heartbeat = interval_at(Instant::now() + beat, beat);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        heartbeat.tick().await;
        match destination.renew(&claim).await {
            Ok(()) => {}
            Err(error) if error.kind == DestinationErrorKind::Fenced => return error,
            Err(error) => {
                tracing::warn!(error = %error, "The claim could not be renewed; trying again");
            }
        }
    }
}

/// A start date that is changed later would be ignored in silence, or mean more than was meant.
fn check_start_date(claim: &Claim, options: &RunOptions) -> Result<(), RunError> {
    let wanted = options.start_date.map(crate::row::instant_text);
    match (&claim.start_date, wanted) {
        (Some(stored), Some(wanted)) if options.start_date_is_explicit && *stored != wanted => {
            Err(RunError::Source(SourceError::new(
                SourceErrorKind::Configuration,
                format!("The start date is {wanted} now, but the first run started at {stored}"),
                format!(
                    "Put {stored} back; or run once with `--reset-start-date`, which reads all tables again from the new \
                     date. Nothing is deleted by that, and it may take as long as a first run"
                ),
            )))
        }
        _ => Ok(()),
    }
}

fn bug(message: &str) -> SourceError {
    SourceError::new(SourceErrorKind::Bug, message, "Report this defect with the run's log")
}

fn disorder(error: Disorder) -> RunError {
    let message = error.to_string();
    RunError::Source(
        SourceError::new(
            SourceErrorKind::Malformed,
            message,
            "The source breaks the order of events; report it",
        )
        .caused_by(error),
    )
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
