//! `backstitch check`: tries the source and the destination step by step, and says what is wrong and how to mend it.

use chrono::Utc;
use replication::source::{CheckFailure, CheckStep};
use serde_json::{Value, json};

use super::schedule::next_starts;
use crate::{
    command_line::CheckArguments, config::Integration, connect, display, exit::ExitStatus,
    failure::Failure, pipeline, telemetry,
};

/// How many of the next starts are shown.
const PREVIEW: usize = 3;

/// The steps of one side.
#[derive(Debug)]
struct Side {
    title: String,
    steps: Vec<CheckStep>,
    failed: fn(&CheckFailure) -> ExitStatus,
}

impl Side {
    /// How the command ends if this side's first failure decides.
    fn exit(&self) -> Option<ExitStatus> {
        self.steps.iter().find_map(|step| step.result.as_ref().err()).map(self.failed)
    }
}

/// Runs the command.
///
/// # Errors
/// When the check can't be made. A step that failed is part of what is shown, and decides the exit status.
pub(crate) fn execute(arguments: &CheckArguments) -> Result<ExitStatus, Failure> {
    let integration = arguments.integration.load()?;
    telemetry::start(None)?;
    let sides = pipeline::block_on(try_both(&integration))?;
    let exit = sides.iter().find_map(Side::exit).unwrap_or(ExitStatus::Done);
    if arguments.json {
        display::print_json(&to_json(&integration, &sides))?;
    } else {
        display::print(&to_text(&integration, &sides))?;
    }
    Ok(exit)
}

async fn try_both(integration: &Integration) -> Result<[Side; 2], Failure> {
    let source = connect::source(integration)?;
    let destination = connect::destination(&integration.target()?)?;
    Ok([
        Side {
            title: format!("Source: {}", integration.source.title()),
            steps: source.check().await,
            failed: source_exit,
        },
        Side {
            title: format!("Destination: {}", destination.describe()),
            steps: destination.check().await,
            failed: |_| ExitStatus::Destination,
        },
    ])
}

fn source_exit(failure: &CheckFailure) -> ExitStatus {
    if failure.retriable { ExitStatus::SourceUnavailable } else { ExitStatus::SourceRefused }
}

fn to_text(integration: &Integration, sides: &[Side; 2]) -> String {
    let mut text = format!("{}, into schema `{}`", integration.name, integration.schema);
    if let Some(schedule) = &integration.schedule {
        text.push_str(&format!(", {schedule}"));
    }
    text.push('\n');
    if let Some(schedule) = &integration.schedule {
        let starts = next_starts(schedule, Utc::now(), PREVIEW);
        let starts: Vec<String> =
            starts.into_iter().map(|start| display::instant(Some(start))).collect();
        if !starts.is_empty() {
            text.push_str(&format!("Next starts: {}\n", starts.join(", ")));
        }
    }
    for warning in &integration.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    for side in sides {
        text.push_str(&format!("{}\n", side.title));
        for step in &side.steps {
            match &step.result {
                Ok(found) => text.push_str(&format!("  ✓ {}: {found}\n", step.name)),
                Err(failure) => {
                    text.push_str(&format!("  ✗ {}: {}\n", step.name, failure.message));
                    text.push_str(&format!("    hint: {}\n", failure.remedy));
                }
            }
        }
    }
    text
}

fn to_json(integration: &Integration, [source, destination]: &[Side; 2]) -> Value {
    let steps = |side: &Side| -> Vec<Value> {
        let step = |step: &CheckStep| match &step.result {
            Ok(found) => json!({ "step": step.name, "ok": true, "found": found }),
            Err(failure) => {
                json!({ "step": step.name, "ok": false, "message": failure.message, "hint": failure.remedy })
            }
        };
        side.steps.iter().map(step).collect()
    };
    json!({
        "integration": integration.name,
        "schema": integration.schema.as_str(),
        "schedule": integration.schedule.as_ref().map(ToString::to_string),
        "next_starts": integration.schedule.as_ref().map(|schedule| next_starts(schedule, Utc::now(), PREVIEW)),
        "warnings": integration.warnings,
        "source": steps(source),
        "destination": steps(destination),
    })
}
