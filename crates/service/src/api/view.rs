//! What is shown of integrations and runs.

use std::{borrow::Cow, collections::BTreeMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::schedules::ScheduleBody;
use crate::{
    Paused, PendingReason, Status,
    integration::{Integration, Origin, PausedBy},
    run::{Progress, Run},
    status,
};

/// An integration.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct IntegrationView {
    /// The id.
    pub id: String,
    /// The name, as people read it.
    pub name: String,
    /// The schema that it fills; never changed.
    pub schema_name: String,
    /// Where it is declared: `api`, or `file`, which is read-only here.
    pub origin: Cow<'static, str>,
    /// The settings of its source and destination, without secrets.
    #[schema(value_type = Object)]
    pub settings: Map<String, Value>,
    /// When it runs by itself, if it does.
    pub schedule: Option<ScheduleBody>,
    /// Why its schedule can't be read, if it can't: then no run starts by itself until it is set anew.
    pub schedule_fault: Option<String>,
    /// From when to read what has no bookmark.
    pub start_date: DateTime<Utc>,
    /// Since when the next run is to read all tables again, because the start date was changed.
    pub reset_requested_at: Option<DateTime<Utc>>,
    /// Raised by every change; the `ETag` of the answer.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
    /// Since when it is paused, and by whom.
    pub paused: Option<PausedView>,
    /// Since when the file that declared it doesn't any more: then it may be deleted here.
    pub undeclared_at: Option<DateTime<Utc>>,
    /// When it was deleted; its runs and figures stay.
    pub deleted_at: Option<DateTime<Utc>>,
    /// Its state, in Stitch's words.
    pub status: StatusView,
    /// The run that was begun last.
    pub last_run: Option<RunView>,
    /// What its owner should know though it is valid.
    pub warnings: Vec<String>,
}

/// A pause.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PausedView {
    /// Since when.
    pub since: DateTime<Utc>,
    /// `user` or `system`.
    pub by: Cow<'static, str>,
}

/// A state.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// `Pending`, `In Progress` or `Not Syncing`.
    pub label: Cow<'static, str>,
    /// Why, as a word that doesn't change.
    pub reason: Cow<'static, str>,
    /// Why, in a sentence.
    pub explanation: Cow<'static, str>,
    /// When the next run is expected to start.
    pub expected_start: Option<DateTime<Utc>>,
    /// Since when the run is worked on.
    pub since: Option<DateTime<Utc>>,
}

/// A run.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// The id; later runs have greater ones.
    pub id: String,
    /// The integration.
    pub integration_id: String,
    /// The slot, or the instant of a manual start.
    pub slot: DateTime<Utc>,
    /// `schedule` or `hand`.
    pub started_by: Cow<'static, str>,
    /// What it is for beyond what is new: `backfill`, `audit`, `replay` or `rewind`.
    #[serde(default)]
    pub task: Option<Cow<'static, str>>,
    /// Whether it has a report.
    #[serde(default)]
    pub has_report: bool,
    /// `due`, `running`, `succeeded`, `failed`, `stopped`, `timed out` or `lost`.
    pub state: Cow<'static, str>,
    /// When it was made due.
    pub begun_at: DateTime<Utc>,
    /// When a worker took it last.
    pub claimed_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// How many workers have taken it.
    pub attempt: i64,
    /// Why it was asked to stop: `hand` or `time limit`.
    pub stop: Option<Cow<'static, str>>,
    /// The token that the destination gave it.
    pub destination_token: Option<i64>,
    /// How far it is.
    pub progress: Option<ProgressView>,
    /// What went wrong.
    pub error: Option<RunErrorView>,
    /// What is kept of its log.
    pub log: LogSizeView,
}

/// How far a run is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProgressView {
    /// What it is doing.
    pub phase: String,
    /// Requests that were made.
    pub requests: u64,
    /// Rows that were loaded.
    pub rows: u64,
    /// Rows a second: those that are read, where that is measured, else those that were loaded.
    pub rows_per_second: Option<u64>,
    /// How much of all that is to be read has been, where that is known.
    pub percent: Option<u8>,
    /// When it is expected to end, where that can be estimated.
    pub estimated_end: Option<DateTime<Utc>>,
    /// How far it is, by table.
    pub tables: BTreeMap<String, TableProgressView>,
}

/// How far a run is with one table.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TableProgressView {
    /// What the source is at, in words.
    pub activity: String,
    /// Rows that were read.
    pub extracted: u64,
    /// Rows that were loaded.
    pub loaded: u64,
    /// Rows that could not be loaded.
    pub rejected: u64,
    /// Requests that were made.
    pub requests: u64,
    /// Requests that were repeated after a failure.
    pub retries: u64,
    /// How much has been read, where that is known.
    pub percent: Option<u8>,
    /// Whether all has been read.
    pub is_done: bool,
}

/// What went wrong with a run.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RunErrorView {
    /// The kind, in one word.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// What is kept of a log.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LogSizeView {
    /// Lines.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lines that were not kept, because the run had too many or they were too old.
    pub dropped: u64,
}

/// What is shown of an integration.
pub(super) fn integration(
    integration: Integration,
    last_run: Option<Run>,
    now: DateTime<Utc>,
) -> IntegrationView {
    let status = state(status(&integration, last_run.as_ref(), now));
    let schedule_warning = integration.schedule.as_ref().and_then(schedule::Schedule::warning);
    IntegrationView {
        id: integration.id,
        name: integration.name,
        schema_name: integration.schema_name,
        origin: integration.origin.name().into(),
        settings: shown(integration.origin, integration.settings),
        schedule: integration.schedule.map(|schedule| schedule.fields().into()),
        schedule_fault: integration.schedule_fault,
        start_date: integration.start_date,
        reset_requested_at: integration.reset_requested_at,
        version: integration.version,
        created_at: integration.created_at,
        updated_at: integration.updated_at,
        paused: integration.paused.map(|(since, by)| PausedView { since, by: by.name().into() }),
        undeclared_at: integration.undeclared_at,
        deleted_at: integration.deleted_at,
        status,
        last_run: last_run.map(|last| run(last, now)),
        warnings: schedule_warning.map(str::to_owned).into_iter().collect(),
    }
}

/// The settings without what programs on the host are given, which may hold secrets that nothing tells from other values,
/// and without where the host keeps its files.
fn shown(origin: Origin, mut settings: Map<String, Value>) -> Map<String, Value> {
    if origin == Origin::File {
        settings.remove("folder");
    }
    let source = settings.get_mut("source").and_then(Value::as_object_mut);
    if let Some(source) = source.filter(|_| origin == Origin::File) {
        for hidden in ["command", "config", "tap"] {
            source.remove(hidden);
        }
    }
    settings
}

fn state(status: Status) -> StatusView {
    let label = status.label();
    let (reason, explanation, expected_start, since) = match status {
        Status::Pending { reason, expected_start } => {
            let (reason, explanation) = match reason {
                PendingReason::FirstRun => ("first_run", "It is new; its first run is to start"),
                PendingReason::NextStart => {
                    ("next_start", "It waits for the next start of its schedule")
                }
                PendingReason::Worker => {
                    ("worker", "Its run is due, and no worker has taken it yet")
                }
                PendingReason::AnotherAttempt => {
                    ("another_attempt", "Its worker disappeared; the run is begun again")
                }
                PendingReason::Hand => ("hand", "It has no schedule: runs are started by hand"),
                PendingReason::NoFurtherStart => {
                    ("no_further_start", "Its schedule has no start any more")
                }
            };
            (reason, explanation, expected_start, None)
        }
        Status::InProgress { since } => ("running", "A run is being worked on", None, Some(since)),
        Status::NotSyncing(Paused::By(PausedBy::User)) => {
            ("paused_by_user", "It is paused; runs start only by hand", None, None)
        }
        Status::NotSyncing(Paused::By(PausedBy::System)) => (
            "paused_by_system",
            "Its file doesn't declare it any more; runs start only by hand",
            None,
            None,
        ),
        Status::NotSyncing(Paused::Deleted) => ("deleted", "It is deleted", None, None),
    };
    StatusView {
        label: label.into(),
        reason: reason.into(),
        explanation: explanation.into(),
        expected_start,
        since,
    }
}

/// What is shown of a run.
pub(super) fn run(run: Run, now: DateTime<Utc>) -> RunView {
    let since = run.claimed_at.map(|claimed| run.ended_at.unwrap_or(now) - claimed);
    let progress = run.progress.map(|progress| shown_progress(progress, since));
    RunView {
        id: run.id,
        integration_id: run.integration_id,
        slot: run.slot,
        started_by: run.started_by.name().into(),
        task: run.task.as_ref().map(|task| task.kind().into()),
        has_report: run.has_report,
        state: run.state.name().into(),
        begun_at: run.begun_at,
        claimed_at: run.claimed_at,
        ended_at: run.ended_at,
        attempt: run.attempt,
        stop: run.stop.map(|reason| reason.name().into()),
        destination_token: run.destination_token,
        progress,
        error: run.error.map(|error| RunErrorView {
            code: error.code,
            message: error.message,
            remedy: error.remedy,
        }),
        log: LogSizeView { lines: run.log.lines, bytes: run.log.bytes, dropped: run.log.dropped },
    }
}

/// What is shown of a progress, so long after the run was claimed.
fn shown_progress(progress: Progress, since: Option<TimeDelta>) -> ProgressView {
    let mut tables: BTreeMap<String, TableProgressView> = BTreeMap::new();
    for (table, found) in progress.tables {
        let view = TableProgressView {
            activity: found.activity,
            extracted: found.extracted,
            loaded: 0,
            rejected: found.rejected,
            requests: found.requests,
            retries: found.retries,
            percent: found.percent,
            is_done: found.is_done,
        };
        tables.insert(table, view);
    }
    let rows = progress.rows.values().sum();
    for (table, loaded) in progress.rows {
        tables.entry(table).or_default().loaded = loaded;
    }
    let seconds = since.and_then(|since| u64::try_from(since.num_seconds()).ok());
    let loaded_per_second = seconds.and_then(|seconds| u64::checked_div(rows, seconds));
    ProgressView {
        phase: progress.phase,
        requests: progress.requests,
        rows,
        rows_per_second: progress.rows_per_second.or(loaded_per_second),
        percent: progress.percent,
        estimated_end: progress.estimated_end,
        tables,
    }
}
