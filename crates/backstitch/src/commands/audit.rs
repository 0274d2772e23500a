//! `backstitch audit`: reads spans of the account again, compares them with the destination, and mends what differs if
//! that is asked for.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use replication::{
    audit::{AuditError, Auditor, DayChoice, StreamPlan, TableAudit},
    destination::{Destination, StateRow},
    run::RunOptions,
    source::Span,
    stream::StreamName,
};
use serde_json::{Value, json};
use tap_bronto::{BrontoSource, BrontoStream, rereading::RereadableStream};
use tokio_util::sync::CancellationToken;

use super::{audit_report as report, refresh};
use crate::{
    command_line::AuditArguments,
    config::Integration,
    connect, display,
    exit::ExitStatus,
    failure::Failure,
    interrupt::Interrupts,
    pipeline::{self, Outcome},
    report::Subject,
    telemetry,
};

/// How many days are compared unless something is chosen.
const DAYS: u32 = 7;

/// What is compared, and how it is chosen.
struct Choice {
    days: DayChoice,
    /// How many days at the end; none for everything.
    last: Option<u32>,
    seed: Option<u64>,
}

/// What came of an audit.
struct Findings {
    tables: Vec<TableAudit>,
    /// Tables that were never replicated.
    unknown: Vec<String>,
    signal: Option<crate::interrupt::Signal>,
}

/// Runs the command.
///
/// # Errors
/// When something can't be read, or the two sides differ.
pub(crate) fn execute(arguments: &AuditArguments) -> Result<ExitStatus, Failure> {
    let chosen = &arguments.integration;
    let integration = chosen.load()?;
    telemetry::start(None)?;
    let source = connect::rereadable(&integration)?;
    let tables = refresh::named_or_all(&arguments.table, &integration)?;
    let choice = Choice::of(arguments);
    pipeline::block_on(async {
        let plan = |state: &Schema| plans(&source, &tables, state, &choice);
        let found = audit(&integration, &source, plan, arguments.limit).await?;
        if let Some(signal) = found.signal {
            return Ok(ExitStatus::Interrupted(signal));
        }
        let (repaired, left) = if arguments.repair && !found.is_equal() {
            let outcome = repair(&integration, &source, arguments, &found).await?;
            if outcome.failure.is_some() || outcome.signal.is_some() {
                return outcome.end();
            }
            let plan = |state: &Schema| Ok((again(&source, state, &found)?, Vec::new()));
            let left = audit(&integration, &source, plan, arguments.limit).await?;
            (Some(outcome), Some(left))
        } else {
            (None, None)
        };
        show(arguments, &integration, &choice, &found, repaired.as_ref(), left.as_ref())?;
        if let Some(signal) = left.as_ref().and_then(|left| left.signal) {
            return Ok(ExitStatus::Interrupted(signal));
        }
        end(left.as_ref().unwrap_or(&found))
    })
}

impl Choice {
    fn of(arguments: &AuditArguments) -> Self {
        if let Some(days) = arguments.sample {
            // Any number will do, as long as it is printed.
            let seed = arguments
                .seed
                .unwrap_or_else(|| Utc::now().timestamp_micros().unsigned_abs() % 1_000_000);
            let days =
                DayChoice::Sample { days: usize::try_from(days).unwrap_or(usize::MAX), seed };
            return Self { days, last: None, seed: Some(seed) };
        }
        let last = (!arguments.all).then(|| arguments.days.unwrap_or(DAYS));
        Self { days: DayChoice::All, last, seed: None }
    }
}

impl Findings {
    fn is_equal(&self) -> bool {
        self.tables.iter().all(TableAudit::is_equal)
    }
}

/// What the schema remembers.
struct Schema {
    states: BTreeMap<StreamName, Value>,
    start_date: Option<DateTime<Utc>>,
}

impl Schema {
    async fn read(
        destination: &dyn Destination,
        integration: &Integration,
    ) -> Result<Self, Failure> {
        let rows = destination.states().await.map_err(|error| Failure::from(&error))?;
        let (claims, streams): (Vec<StateRow>, Vec<StateRow>) =
            rows.into_iter().partition(|row| row.stream.is_empty());
        let claim = claims.into_iter().next();
        let owner = claim.as_ref().and_then(|claim| claim.integration_id.clone());
        if let Some(owner) = owner.filter(|owner| *owner != integration.name) {
            return Err(Failure::new(
                ExitStatus::Claimed,
                format!("Schema `{}` belongs to the integration `{owner}`", integration.schema),
            ));
        }
        let start_date = claim.and_then(|claim| claim.start_date);
        let start_date = start_date.and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
        let state = |row: StateRow| Some((StreamName::new(row.stream), row.state?));
        Ok(Self {
            states: streams.into_iter().filter_map(state).collect(),
            start_date: start_date.map(|date| date.to_utc()),
        })
    }
}

/// Compares what `plan` says.
async fn audit(
    integration: &Integration,
    source: &BrontoSource,
    plan: impl Fn(&Schema) -> Result<(Vec<StreamPlan>, Vec<String>), Failure>,
    limit: usize,
) -> Result<Findings, Failure> {
    let destination = connect::existing(&integration.target()?)?;
    let schema = Schema::read(destination.as_ref(), integration).await?;
    let (plans, unknown) = plan(&schema)?;
    let stop = CancellationToken::new();
    let interrupts = Interrupts::listen(stop.clone())?;
    let auditor = Auditor::new(source, Arc::clone(&destination), schema.states, limit, stop);
    let mut tables = Vec::new();
    for plan in &plans {
        tracing::info!("Comparing {}", plan.schema.stream);
        match Box::pin(auditor.audit(plan)).await {
            Ok(table) => tables.push(table),
            Err(error) => {
                if let Some(signal) = interrupts.received() {
                    return Ok(Findings { tables, unknown, signal: Some(signal) });
                }
                return Err(failure(&error));
            }
        }
    }
    Ok(Findings { tables, unknown, signal: None })
}

fn failure(error: &AuditError) -> Failure {
    match error {
        AuditError::Source(error) => error.into(),
        AuditError::Destination(error) => error.into(),
        AuditError::Interrupted => Failure::new(ExitStatus::Unexpected, error.to_string()),
    }
}

/// What of each table is compared, and the tables of which nothing can be.
fn plans(
    source: &BrontoSource,
    tables: &[String],
    schema: &Schema,
    choice: &Choice,
) -> Result<(Vec<StreamPlan>, Vec<String>), Failure> {
    let now = Utc::now();
    let streams = rereadable(source, schema, now)?;
    let start = schema.start_date.unwrap_or_else(|| tap_bronto::default_start_date(now));
    let (mut plans, mut unknown) = (Vec::new(), Vec::new());
    for stream in streams {
        let name = stream.schema.table().to_owned();
        if !tables.contains(&name) {
            continue;
        }
        let is_known = schema.states.contains_key(&stream.schema.stream);
        let before = if stream.is_whole && is_known { Some(now) } else { stream.bookmark };
        let Some(before) = before else {
            unknown.push(name);
            continue;
        };
        let from = match choice.last {
            None => start,
            Some(days) => {
                let last = before - TimeDelta::seconds(1);
                let midnight = last.date_naive().and_time(NaiveTime::MIN).and_utc();
                (midnight - TimeDelta::days(i64::from(days) - 1)).max(start)
            }
        };
        let span = Span { from: from.min(before), before };
        plans.push(plan(stream, span, choice.days.clone()));
    }
    Ok((plans, unknown))
}

/// The days that differ, to be compared again.
fn again(
    source: &BrontoSource,
    schema: &Schema,
    found: &Findings,
) -> Result<Vec<StreamPlan>, Failure> {
    let streams = rereadable(source, schema, Utc::now())?;
    let differing = found.tables.iter().filter(|table| !table.is_equal());
    let plans = differing.filter_map(|table| {
        let stream = streams.iter().find(|stream| stream.schema.table() == table.table)?.clone();
        let wrong = table.days.iter().filter(|(_, day)| !day.is_equal());
        let days = wrong.filter_map(|(day, _)| *day).collect();
        let days = if table.lost_rejects > 0 { DayChoice::All } else { DayChoice::These(days) };
        Some(plan(stream, table.span, days))
    });
    Ok(plans.collect())
}

fn rereadable(
    source: &BrontoSource,
    schema: &Schema,
    now: DateTime<Utc>,
) -> Result<Vec<RereadableStream>, Failure> {
    source.rereadable(&schema.states, now).map_err(|error| Failure::from(&error))
}

fn plan(stream: RereadableStream, span: Span, days: DayChoice) -> StreamPlan {
    StreamPlan {
        schema: Arc::new(stream.schema),
        drifting: stream.drifting,
        span,
        days,
        readable_since: stream.readable_since,
    }
}

/// Reads the days that differ again, and merges them: a run of its own, which moves no bookmark.
async fn repair(
    integration: &Integration,
    source: &BrontoSource,
    arguments: &AuditArguments,
    found: &Findings,
) -> Result<Outcome, Failure> {
    let spans = found.tables.iter().filter_map(|table| {
        let spans = table.spans_to_mend();
        (!spans.is_empty()).then_some((BrontoStream::named(&table.table)?, spans))
    });
    let spans: BTreeMap<BrontoStream, Vec<Span>> = spans.collect();
    let days: usize = spans.values().map(Vec::len).sum();
    tracing::info!("Reading again what differs: {days} spans");
    let mut options = RunOptions::new(&integration.name);
    options.take_over = arguments.take_over;
    options.max_rejects = integration.max_rejects;
    options.lease = integration.lease.unwrap_or(options.lease);
    let destination = connect::destination(&integration.target()?)?;
    let source = Box::new(source.clone().only(spans));
    pipeline::run(source, destination, options, None, None).await
}

fn show(
    arguments: &AuditArguments,
    integration: &Integration,
    choice: &Choice,
    found: &Findings,
    repaired: Option<&Outcome>,
    left: Option<&Findings>,
) -> Result<(), Failure> {
    let subject = Subject {
        integration: integration.name.clone(),
        destination: integration.destination.to_string(),
        schema: integration.schema.to_string(),
    };
    if arguments.json {
        let tables = |found: &Findings| -> Value {
            found.tables.iter().map(report::table_json).collect::<Vec<_>>().into()
        };
        return display::print_json(&json!({
            "integration": subject.integration,
            "destination": subject.destination,
            "schema": subject.schema,
            "equal": left.unwrap_or(found).is_equal(),
            "seed": choice.seed,
            "tables": tables(found),
            "never_replicated": found.unknown,
            "repair": repaired.map(|outcome| subject.report(outcome)),
            "after_repair": left.map(tables),
        }));
    }
    let mut text = report::summary(&found.tables, &found.unknown);
    if let Some(seed) = choice.seed {
        text.push_str(&format!("\nThe days were drawn with the seed {seed}\n"));
    }
    if let (Some(outcome), Some(left)) = (repaired, left) {
        text.push_str("\nRepaired:\n");
        text.push_str(&crate::report::summary(&outcome.report));
        text.push_str("\nAfter the repair, of the days that differed:\n");
        text.push_str(&report::summary(&left.tables, &[]));
    }
    display::print(&text)
}

fn end(found: &Findings) -> Result<ExitStatus, Failure> {
    if found.is_equal() {
        return Ok(ExitStatus::Done);
    }
    let differing = found.tables.iter().filter(|table| !table.is_equal());
    let names: Vec<String> = differing.clone().map(|table| format!("`{}`", table.table)).collect();
    let message = format!("{} and the account differ", names.join(", "));
    let can_mend = differing.clone().any(|table| !table.spans_to_mend().is_empty());
    let hint = if can_mend {
        "`--repair` reads those days again and merges them"
    } else {
        "Rows that only the destination has are never deleted; look at who wrote them"
    };
    Err(Failure::new(ExitStatus::Books, message).with_hint(hint))
}
