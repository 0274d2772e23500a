//! Reading tables again from their start: `run --full-refresh` and `run --reset-start-date`. Both forget bookmarks, as an
//! edit of its own, before the run begins; so a run that breaks off is simply gone on with.
//!
//! Nothing is deleted by it. Rows that the source gives again are merged, so people can query the tables all the while;
//! rows that it can't give any more, such as activities of more than 30 days ago, stay.

use chrono::Utc;
use replication::{
    claim::{Claim, ClaimRequest, Holder},
    destination::Destination,
    edit::{self, NO_BOOKMARK, StateEdit},
    run::RunOptions,
};

use super::state_edit;
use crate::{
    command_line::RunArguments,
    config::{Integration, SourceSettings},
    failure::Failure,
};

/// The tables to read again, if any: none named means all of them.
///
/// # Errors
/// When a table isn't replicated, or the source keeps its bookmarks itself.
pub(super) fn tables(
    arguments: &RunArguments,
    integration: &Integration,
) -> Result<Option<Vec<String>>, Failure> {
    let wanted = match &arguments.full_refresh {
        Some(named) => named.clone(),
        None if arguments.reset_start_date => Vec::new(),
        None => return Ok(None),
    };
    if matches!(integration.source, SourceSettings::Singer(_)) {
        let message = "A Singer tap keeps its bookmarks in a state of its own form";
        let hint = "Use a new schema, which it fills from its start";
        return Err(Failure::configuration(message).with_hint(hint));
    }
    named_or_all(&wanted, integration).map(Some)
}

/// The tables that are named, or all that the integration has.
///
/// # Errors
/// When it doesn't have one of them.
pub(crate) fn named_or_all(
    wanted: &[String],
    integration: &Integration,
) -> Result<Vec<String>, Failure> {
    let known: Vec<&str> =
        integration.selection.iter().map(|selected| selected.stream().name()).collect();
    if let Some(unknown) = wanted.iter().find(|table| !known.contains(&table.as_str())) {
        let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        return Err(Failure::configuration(format!("`{unknown}` is no table of this integration"))
            .with_hint(format!("It has {}", names.join(", "))));
    }
    let all = || known.iter().map(|name| (*name).to_owned()).collect();
    Ok(if wanted.is_empty() { all() } else { wanted.to_vec() })
}

/// Forgets the bookmarks of tables.
///
/// # Errors
/// When the schema can't be claimed, or the destination fails.
pub(crate) async fn forget(
    destination: &dyn Destination,
    source_fingerprint: String,
    options: &RunOptions,
    tables: &[String],
) -> Result<(), Failure> {
    let request = request(options, source_fingerprint);
    let decide = |claim: &Claim| {
        let stored = claim.states.iter().filter(|(stream, state)| {
            tables.iter().any(|table| table == stream.as_str()) && state_edit::has_bookmark(state)
        });
        let mut edit = StateEdit::default();
        for (stream, state) in stored {
            edit.states.insert(stream.clone(), state_edit::forgotten(state));
            edit.displays.insert(stream.clone(), NO_BOOKMARK.to_owned());
        }
        Ok(edit)
    };
    edit::edit_states(destination, &request, Utc::now(), decide)
        .await
        .map_err(|error| Failure::from(&error))?;
    tracing::info!(
        "Reading again from the start date: {}. Rows that the source can't give any more stay",
        tables.join(", ")
    );
    Ok(())
}

/// The claim for what is done to a schema beside its runs, or before a run with these options.
pub(crate) fn request(options: &RunOptions, source_fingerprint: String) -> ClaimRequest {
    ClaimRequest {
        integration_id: options.integration_id.clone(),
        source_fingerprint,
        holder: Holder::current(&options.run_id),
        run_id: options.run_id.clone(),
        lease: options.lease,
        take_over: options.take_over,
        accept_source_change: options.accept_source_change,
        start_date: None,
        reset_start_date: false,
    }
}
