//! `backstitch audit`: reads spans of the account again, compares them with the destination, and mends what differs if
//! that is asked for.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use replication::{
    audit::{AuditError, Auditor, DayChoice, StreamPlan, TableAudit},
    destination::{Destination, StateRow},
    progress::ProgressBoard,
    run::RunOptions,
    source::Span,
    stream::StreamName,
};
use serde_json::{Value, json};
use tap_bronto::{BrontoSource, BrontoStream, rereading::RereadableStream};
use tokio_util::sync::CancellationToken;

use super::{audit_report as report, refresh, tasks};
use crate::{
    command_line::AuditArguments,
    config::{Integration, SchemaName},
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
pub(crate) struct Choice {
    days: DayChoice,
    /// How many days at the end; none for everything.
    last: Option<u32>,
    seed: Option<u64>,
}

/// What came of an audit.
pub(crate) struct Findings {
    tables: Vec<TableAudit>,
    /// Tables that were never replicated.
    unknown: Vec<String>,
    /// Whether it was stopped before it was done.
    pub(crate) is_interrupted: bool,
}

/// What is compared with what.
pub(crate) struct Sides<'s> {
    /// To whom the schema must belong.
    pub(crate) owner: &'s str,
    /// The schema.
    pub(crate) schema: &'s SchemaName,
    /// The account.
    pub(crate) source: &'s BrontoSource,
    /// The destination.
    pub(crate) destination: Arc<dyn Destination>,
    /// How many differences are told of each table.
    pub(crate) limit: usize,
    /// Ends it.
    pub(crate) stop: CancellationToken,
    /// Where it is shown how far it is.
    pub(crate) progress: Arc<ProgressBoard>,
}

/// Runs the command.
///
/// # Errors
/// When something can't be read, or the two sides differ.
pub(crate) fn execute(arguments: &AuditArguments) -> Result<ExitStatus, Failure> {
    let chosen = &arguments.integration;
    if chosen.asks(&arguments.server)? {
        return tasks::audit(arguments);
    }
    let integration = chosen.load()?;
    telemetry::start(None)?;
    let source = connect::rereadable(&integration)?;
    let tables = refresh::named_or_all(&arguments.table, &integration)?;
    let choice = Choice::of(arguments);
    pipeline::block_on(async {
        let stop = CancellationToken::new();
        let sides = || -> Result<_, Failure> {
            Ok(Sides {
                owner: &integration.name,
                schema: &integration.schema,
                source: &source,
                destination: connect::existing(&integration.target()?)?,
                limit: arguments.limit,
                stop: stop.clone(),
                progress: Arc::default(),
            })
        };
        let interrupts = Interrupts::listen(stop.clone())?;
        let found = sides()?.compare(&tables, &choice).await?;
        if let Some(signal) = interrupts.received().filter(|_| found.is_interrupted) {
            return Ok(ExitStatus::Interrupted(signal));
        }
        let (repaired, left) = if arguments.repair && !found.is_equal() {
            let outcome = repair(&integration, &source, arguments, &found).await?;
            if outcome.failure.is_some() || outcome.signal.is_some() {
                return outcome.end();
            }
            (Some(outcome), Some(sides()?.compare_again(&found).await?))
        } else {
            (None, None)
        };
        show(arguments, &integration, &choice, &found, repaired.as_ref(), left.as_ref())?;
        let was_stopped = left.as_ref().is_some_and(|left| left.is_interrupted);
        if let Some(signal) = interrupts.received().filter(|_| was_stopped) {
            return Ok(ExitStatus::Interrupted(signal));
        }
        let found = left.as_ref().unwrap_or(&found);
        found
            .verdict("`--repair` reads those days again and merges them")
            .map(|()| ExitStatus::Done)
    })
}

impl Choice {
    /// All of so many days at the end.
    pub(crate) const fn last(days: u32) -> Self {
        Self { days: DayChoice::All, last: Some(days), seed: None }
    }

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
    /// Whether nothing differs of what was compared.
    pub(crate) fn is_equal(&self) -> bool {
        self.tables.iter().all(TableAudit::is_equal)
    }

    /// What would mend what differs when it is read again.
    pub(crate) fn spans_to_mend(&self) -> BTreeMap<BrontoStream, Vec<Span>> {
        let spans = self.tables.iter().filter_map(|table| {
            let spans = table.spans_to_mend();
            (!spans.is_empty()).then_some((BrontoStream::named(&table.table)?, spans))
        });
        spans.collect()
    }

    /// The tables, for programs.
    pub(crate) fn tables_json(&self) -> Value {
        self.tables.iter().map(report::table_json).collect::<Vec<_>>().into()
    }

    /// The tables of which nothing could be compared.
    pub(crate) fn never_replicated(&self) -> &[String] {
        &self.unknown
    }

    /// Whether all is well. `mending` says how what differs can be mended, where it can.
    ///
    /// # Errors
    /// When something differs.
    pub(crate) fn verdict(&self, mending: &str) -> Result<(), Failure> {
        if self.is_equal() {
            return Ok(());
        }
        let differing = self.tables.iter().filter(|table| !table.is_equal());
        let names: Vec<String> = differing.map(|table| format!("`{}`", table.table)).collect();
        let message = format!("{} and the account differ", names.join(", "));
        let hint = if self.spans_to_mend().is_empty() {
            "Rows that only the destination has are never deleted; look at who wrote them"
        } else {
            mending
        };
        Err(Failure::new(ExitStatus::Books, message).with_hint(hint))
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
        owner: &str,
        schema: &SchemaName,
    ) -> Result<Self, Failure> {
        let rows = destination.states().await.map_err(|error| Failure::from(&error))?;
        let (claims, streams): (Vec<StateRow>, Vec<StateRow>) =
            rows.into_iter().partition(|row| row.stream.is_empty());
        let claim = claims.into_iter().next();
        let found = claim.as_ref().and_then(|claim| claim.integration_id.clone());
        if let Some(other) = found.filter(|found| found != owner) {
            return Err(Failure::new(
                ExitStatus::Claimed,
                format!("Schema `{schema}` belongs to the integration `{other}`"),
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

impl Sides<'_> {
    /// Compares what is chosen of some tables.
    ///
    /// # Errors
    /// When one of the two can't be read, or the schema is another's.
    pub(crate) async fn compare(
        &self,
        tables: &[String],
        choice: &Choice,
    ) -> Result<Findings, Failure> {
        self.planned(|schema| plans(self.source, tables, schema, choice)).await
    }

    /// Compares again what differed.
    ///
    /// # Errors
    /// As [`Sides::compare`].
    pub(crate) async fn compare_again(&self, found: &Findings) -> Result<Findings, Failure> {
        self.planned(|schema| Ok((again(self.source, schema, found)?, Vec::new()))).await
    }

    async fn planned(
        &self,
        plan: impl Fn(&Schema) -> Result<(Vec<StreamPlan>, Vec<String>), Failure>,
    ) -> Result<Findings, Failure> {
        let destination = &self.destination;
        let schema = Schema::read(destination.as_ref(), self.owner, self.schema).await?;
        let (plans, unknown) = plan(&schema)?;
        let (states, stop) = (schema.states, self.stop.clone());
        let auditor = Auditor::new(self.source, Arc::clone(destination), states, self.limit, stop)
            .with_progress(Arc::clone(&self.progress));
        let mut tables = Vec::new();
        for plan in &plans {
            tracing::info!("Comparing {}", plan.schema.stream);
            match Box::pin(auditor.audit(plan)).await {
                Ok(table) => tables.push(table),
                Err(_) if self.stop.is_cancelled() => {
                    return Ok(Findings { tables, unknown, is_interrupted: true });
                }
                Err(error) => return Err(failure(&error)),
            }
        }
        Ok(Findings { tables, unknown, is_interrupted: false })
    }
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
    let spans = found.spans_to_mend();
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
        return display::print_json(&json!({
            "integration": subject.integration,
            "destination": subject.destination,
            "schema": subject.schema,
            "equal": left.unwrap_or(found).is_equal(),
            "seed": choice.seed,
            "tables": found.tables_json(),
            "never_replicated": found.unknown,
            "repair": repaired.map(|outcome| subject.report(outcome)),
            "after_repair": left.map(Findings::tables_json),
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
