//! Does a run: the same replication as `backstitch run`, under the eyes of the service.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use replication::{
    claim::Refusal,
    destination::{Destination, DestinationErrorKind},
    reject::RejectFilter,
    run::{RunContext, RunOptions, replicate},
    source::{Source, Span},
};
use secrecy::SecretString;
use service::{
    Store, StoreError,
    host::SettingError,
    integration::{Integration, Origin},
    run::{Run, RunError},
    store::{LogLevel, LogLimits},
    task::Task,
    worker::{Ending, Execute, Reports},
};
use tokio::{
    pin, select,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use tracing::Instrument;

use super::{
    audit::Asked,
    host::ServiceHost,
    live::{Watch, keep_alive},
    mirror::{Mirrored, Observer, mirror},
    rewind,
    run_log::{RunLog, RunLogs},
};
use crate::{
    commands::{audit::Choice, backfill::Backfill, refresh},
    config::{self, SourceSettings, Stored},
    connect,
    exit::ExitStatus,
    failure::Failure,
    report,
};

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How long the end of a run waits for its loads to be in the control store.
const MIRROR_DEADLINE: Duration = Duration::from_secs(30);

/// Does runs.
pub(crate) struct Executor {
    pub(super) store: Arc<Store>,
    pub(super) host: Arc<ServiceHost>,
    pub(super) logs: Arc<RunLogs>,
    pub(super) log_limits: LogLimits,
    /// For how long loads are kept.
    pub(super) loads: TimeDelta,
    /// Mirrors, which outlive their runs by a moment.
    pub(super) mirrors: TaskTracker,
}

/// A stored integration, ready to run.
pub(super) struct Prepared {
    pub(super) stored: Integration,
    pub(super) integration: config::Integration,
    secrets: Vec<SecretString>,
}

#[async_trait]
impl Execute for Executor {
    async fn execute(&self, run: &Run, reports: Reports) -> Result<Ending, RunError> {
        let reports = Arc::new(reports);
        let alive = keep_alive(&reports);
        let stored = self.store.integration(&run.integration_id).await.map_err(unstored)?;
        let title = stored.name.clone();
        let (prepared, secrets) = match self.prepare(stored).await {
            Ok(prepared) => {
                let secrets = prepared.secrets.clone();
                (Ok(prepared), secrets)
            }
            Err(error) => (Err(error), Vec::new()),
        };
        let log = self.logs.begin(&self.store, &run.id, &title, secrets, self.log_limits);
        let span =
            tracing::info_span!("run", run_id = run.id.as_str(), integration = title.as_str());
        let result = async {
            let prepared = prepared?;
            tracing::info!(
                "Starting the run {} of `{}`, attempt {}",
                run.id,
                prepared.stored.name,
                run.attempt + 1
            );
            for warning in &prepared.integration.warnings {
                tracing::warn!("{warning}");
            }
            match &run.task {
                Some(Task::Audit { tables, days, repair }) => {
                    let choice = Choice::last(*days);
                    let asked = Asked { tables, choice, repair: *repair };
                    Box::pin(self.audit(run, prepared, &reports, asked, alive)).await
                }
                Some(Task::Replay { table, reason_code, id }) => {
                    let (table, reason, id) = (table.clone(), reason_code.clone(), id.clone());
                    let filter = RejectFilter { table, reason, id };
                    Box::pin(self.replay(run, prepared, &reports, filter, alive)).await
                }
                Some(Task::Backfill { .. } | Task::Rewind { .. }) | None => {
                    Box::pin(self.replicate(run, prepared, &reports, alive)).await
                }
            }
        };
        let result = result.instrument(span).await;
        let _alive = keep_alive(&reports);
        conclude(&log, &result);
        if let Err(RunError { message, remedy, .. }) = &result {
            // In the service's own log; the run's has it already.
            tracing::error!(remedy, run_id = run.id, "A run of `{title}` failed: {message}");
        }
        log.end().await;
        result
    }
}

impl Executor {
    async fn prepare(&self, stored: Integration) -> Result<Prepared, RunError> {
        let sealed = self.store.secrets(&stored.id).await.map_err(unstored)?;
        let secrets = self.host.open_all(&stored.id, &sealed).map_err(unsettled)?;
        let integration = self
            .host
            .read(&Stored {
                name: &stored.name,
                schema_name: Some(&stored.schema_name),
                origin: stored.origin,
                settings: &stored.settings,
                start_date: Some(stored.start_date),
                secrets: &secrets,
            })
            .map_err(unsettled)?;
        self.host.judge(stored.origin, &integration).await.map_err(unsettled)?;
        let secrets = secrets.into_values().chain(integration.secrets()).collect();
        Ok(Prepared { stored, integration, secrets })
    }

    async fn replicate(
        &self,
        run: &Run,
        prepared: Prepared,
        reports: &Arc<Reports>,
        alive: AbortOnDropHandle<()>,
    ) -> Result<Ending, RunError> {
        let Prepared { stored, integration, .. } = prepared;
        let source = connect::source(&integration).map_err(|failure| failed(&failure))?;
        let target = integration.target().map_err(|failure| failed(&failure))?;
        let destination = connect::destination(&target).map_err(|failure| failed(&failure))?;
        let mut options = options(run, &stored, &integration);
        options.accept_source_change = integration.accepts(source.as_ref());
        let fingerprint = source.fingerprint();
        if options.reset_start_date {
            reports.progress(|progress| progress.phase = "resetting".to_owned());
            let tables = integration.selection.iter();
            let tables: Vec<String> =
                tables.map(|selected| selected.stream().name().to_owned()).collect();
            refresh::forget(destination.as_ref(), fingerprint.clone(), &options, &tables)
                .await
                .map_err(|failure| failed(&failure))?;
        }
        match &run.task {
            Some(Task::Backfill { from, before, tables }) => {
                let span = Span { from: *from, before: *before };
                let noted = async {
                    Backfill::new(span, tables, &integration)?
                        .note(destination.as_ref(), &options)
                        .await
                };
                noted.await.map_err(|failure| failed(&failure))?;
            }
            Some(Task::Rewind { .. }) if options.reset_start_date => {
                tracing::warn!(
                    "No bookmark moves: the start date was changed since, so all is read again"
                );
            }
            Some(Task::Rewind { moves, tap_state }) => {
                let request = refresh::request(&options, fingerprint);
                rewind::note(destination.as_ref(), &request, moves, tap_state.as_deref())
                    .await
                    .map_err(|failure| failed(&failure))?;
                let report = rewind::report(moves, tap_state.is_some());
                reports.report(&report).await.map_err(unstored)?;
            }
            Some(Task::Audit { .. } | Task::Replay { .. }) | None => {}
        }
        // From here on the board shows whether it lives.
        drop(alive);
        self.load(run, &stored, source, destination, options, reports).await
    }

    /// What hears of the commits of a run, and the work of bringing them into the control store.
    pub(super) fn mirroring(
        &self,
        run: &Run,
        stored: &Integration,
        destination: &Arc<dyn Destination>,
        reports: &Arc<Reports>,
    ) -> (Observer, JoinHandle<()>) {
        let (observer, mirror) = mirror(
            &run.id,
            Mirrored {
                store: Arc::clone(&self.store),
                destination: Arc::clone(destination),
                integration: stored.clone(),
                reports: Arc::clone(reports),
                kept_from: Utc::now() - self.loads,
            },
        );
        (observer, self.mirrors.spawn(mirror.work().in_current_span()))
    }

    /// Replicates what a source gives, and brings into the control store what is told of it.
    pub(super) async fn load(
        &self,
        run: &Run,
        stored: &Integration,
        source: Box<dyn Source>,
        destination: Arc<dyn Destination>,
        options: RunOptions,
        reports: &Arc<Reports>,
    ) -> Result<Ending, RunError> {
        let fingerprint = source.fingerprint();
        let (observer, mirrored) = self.mirroring(run, stored, &destination, reports);
        let context = RunContext {
            stop: reports.stop().clone(),
            committed: Some(Box::new(observer)),
            ..RunContext::default()
        };
        let watch = Watch::new(Arc::clone(&context.progress));
        let stop = context.stop.clone();
        let replication = replicate(source, destination, options, context);
        let result = watched(replication, "replicating", watch, reports, &stop).await;
        let _alive = keep_alive(reports);
        let result = match result {
            Ok(report) => Ok(report),
            Err(failure) => {
                let mut error = failed(&Failure::from(&failure.error));
                if is_of_another_source(&failure.error) {
                    error.remedy = format!(
                        "Use another schema; if it is the same account with a new token or address, say so with the \
                         setting `accept_source = \"{fingerprint}\"`"
                    );
                }
                Err((failure.report, error))
            }
        };
        mirrored_or_later(mirrored, reports).await;
        match result {
            Ok(report) => {
                report::log(&report);
                Ok(if report.interrupted { Ending::Interrupted } else { Ending::Complete })
            }
            Err((report, error)) => {
                report::log(&report);
                Err(error)
            }
        }
    }
}

/// Waits until all that the run was told of is in the control store; what that lacks then, the next run brings.
pub(super) async fn mirrored_or_later(mirrored: JoinHandle<()>, reports: &Reports) {
    reports.progress(|progress| progress.phase = "writing the reports".to_owned());
    if timeout(MIRROR_DEADLINE, mirrored).await.is_err() {
        tracing::warn!("The run's loads are not all in the control store yet");
    }
}

/// Does what changes the destination, and reports how far that is.
pub(super) async fn watched<T>(
    replication: impl Future<Output = T>,
    doing: &str,
    mut watch: Watch,
    reports: &Reports,
    stop: &CancellationToken,
) -> T {
    pin!(replication);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        select! {
            result = &mut replication => {
                if let Some(progress) = watch.look("done", Utc::now()) {
                    reports.progress(|known| *known = progress);
                }
                return result;
            }
            _ = looks.tick() => {
                let phase = if stop.is_cancelled() { "stopping" } else { doing };
                if let Some(progress) = watch.look(phase, Utc::now()) {
                    reports.progress(|known| *known = progress);
                }
            }
        }
    }
}

pub(super) fn options(
    run: &Run,
    stored: &Integration,
    integration: &config::Integration,
) -> RunOptions {
    // To the destination it is the same integration whatever it is called: in a file its name never changes, and elsewhere
    // its schema doesn't.
    let owner = match stored.origin {
        Origin::File => &stored.name,
        Origin::Api => &stored.schema_name,
    };
    let mut options = RunOptions::new(owner);
    options.run_id.clone_from(&run.id);
    options.max_rejects = integration.max_rejects;
    options.lease = integration.lease.unwrap_or(options.lease);
    if let SourceSettings::Bronto(_) = integration.source {
        let start_date: DateTime<Utc> = stored.start_date;
        options.start_date = Some(start_date);
        options.reset_start_date = stored.reset_requested_at.is_some();
        options.start_date_is_explicit = options.reset_start_date;
    }
    options
}

fn is_of_another_source(error: &replication::run::RunError) -> bool {
    let replication::run::RunError::Destination(error) = error else { return false };
    matches!(error.kind, DestinationErrorKind::Claim(Refusal::OtherSource))
}

/// The last line of a log.
fn conclude(log: &RunLog, result: &Result<Ending, RunError>) {
    match result {
        Ok(Ending::Complete) => log.line(LogLevel::Info, "Done"),
        Ok(Ending::Interrupted) => {
            log.line(LogLevel::Info, "Stopped, as it was asked to; what was extracted is loaded");
        }
        Err(RunError { message, remedy, .. }) if remedy.is_empty() => {
            log.line(LogLevel::Critical, message);
        }
        Err(RunError { message, remedy, .. }) => {
            log.line(LogLevel::Critical, &format!("{message}. {remedy}"));
        }
    }
}

pub(super) fn failed(failure: &Failure) -> RunError {
    RunError {
        code: failure.exit().word().to_owned(),
        message: failure.sentence(),
        remedy: failure.remedy().to_owned(),
    }
}

fn unsettled(error: SettingError) -> RunError {
    RunError {
        code: ExitStatus::Configuration.word().to_owned(),
        message: error.message,
        remedy: error.remedy,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
pub(super) fn unstored(error: StoreError) -> RunError {
    RunError {
        code: "store".to_owned(),
        message: error.to_string(),
        remedy: error.remedy().to_owned(),
    }
}
