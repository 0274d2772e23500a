//! `backstitch run`: replicates an integration once.

use chrono::Utc;
use replication::run::RunOptions;

use super::{backfill::Backfill, refresh};
use crate::{
    command_line::RunArguments,
    config::SourceSettings,
    connect, display,
    exit::ExitStatus,
    failure::Failure,
    pipeline::{self, Outcome},
    progress_bars,
    report::{self, Subject},
    telemetry,
};

/// Runs the command.
///
/// # Errors
/// When the run can't start, or fails.
pub(crate) fn execute(arguments: &RunArguments) -> Result<ExitStatus, Failure> {
    let result = replicate(arguments);
    match &result {
        Ok((subject, outcome)) if arguments.json => display::print_json(&subject.report(outcome))?,
        Ok((subject, outcome)) => display::print(&closing_words(subject, outcome))?,
        Err(failure) if arguments.json => display::print_json(&report::stillborn(failure))?,
        Err(_) => {}
    }
    result?.1.end()
}

fn replicate(arguments: &RunArguments) -> Result<(Subject, Outcome), Failure> {
    let integration = arguments.integration.load()?;
    let screen = progress_bars::screen(!arguments.no_progress);
    telemetry::start(screen.as_ref())?;
    for warning in &integration.warnings {
        tracing::warn!("{warning}");
    }
    let subject = Subject {
        integration: integration.name.clone(),
        destination: integration.destination.to_string(),
        schema: integration.schema.to_string(),
    };
    let mut options = RunOptions::new(&integration.name);
    options.take_over = arguments.take_over;
    options.accept_source_change = arguments.accept_source_change;
    options.allow_empty = arguments.allow_empty;
    options.max_rejects = integration.max_rejects;
    options.rejects_retention = integration.rejects_retention.unwrap_or(options.rejects_retention);
    options.lease = integration.lease.unwrap_or(options.lease);
    // It counts only at the first run, which stores it.
    let start_date = integration.source.start_date();
    options.start_date_is_explicit = start_date.is_some();
    options.start_date = match integration.source {
        SourceSettings::Bronto(_) => {
            start_date.or_else(|| Some(tap_bronto::default_start_date(Utc::now())))
        }
        SourceSettings::Singer(_) => None,
    };
    options.reset_start_date = arguments.reset_start_date;
    let tables = refresh::tables(arguments, &integration)?;
    let backfill = Backfill::of(arguments, &integration)?;
    let outcome = pipeline::block_on(async {
        let source = connect::source(&integration)?;
        options.accept_source_change |= integration.accepts(source.as_ref());
        let destination = connect::destination(&integration.target()?)?;
        if let Some(tables) = tables {
            refresh::forget(destination.as_ref(), source.fingerprint(), &options, &tables).await?;
        }
        if let Some(backfill) = backfill {
            backfill.note(destination.as_ref(), &options).await?;
        }
        pipeline::run(source, destination, options, None, screen).await
    })?;
    Ok((subject, outcome))
}

fn closing_words(subject: &Subject, outcome: &Outcome) -> String {
    let report = &outcome.report;
    let summary = report::summary(report);
    let place = format!(
        "`{}` into `{}`, schema `{}`",
        subject.integration, subject.destination, subject.schema
    );
    let seconds = report::seconds(report);
    let verdict = match (&outcome.failure, outcome.signal) {
        (Some(_), _) => return summary,
        (None, Some(_)) => format!(
            "Interrupted replicating {place}; what is shown is committed, the next run goes on"
        ),
        (None, None) if changes(outcome) == 0 => {
            format!("Nothing new for {place}, in {seconds:.1} s")
        }
        (None, None) => format!("Replicated {place}, in {seconds:.1} s"),
    };
    format!("{summary}{verdict}\n")
}

/// How many rows the run changed.
pub(super) fn changes(outcome: &Outcome) -> u64 {
    let tables = outcome.report.tables.iter();
    tables.map(|table| table.counts.inserted + table.counts.updated + table.counts.deleted).sum()
}
