//! Editing the bookmarks that a schema remembers. An edit is a small run of its own: it claims the schema, so that no run
//! lives meanwhile, writes in one transaction, and stands in the ledger.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    claim::{Claim, ClaimMemory, ClaimRequest},
    destination::{Destination, DestinationError, DestinationErrorKind},
    ledger::{LoadCounts, LoadRecord},
    stream::StreamName,
};

/// The bookmark in the ledger of a stream whose bookmark was removed: no unit that moves none has it.
pub const NO_BOOKMARK: &str = "";

/// What is to be written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StateEdit {
    /// The new state of streams; null for one that is read from its start again.
    pub states: BTreeMap<StreamName, Value>,
    /// The new bookmarks as people read them, for the ledger; [`NO_BOOKMARK`] where one is removed.
    pub displays: BTreeMap<StreamName, String>,
    /// Whether the opaque state of a Singer tap is forgotten, so that the tap starts without one.
    pub forgets_tap_state: bool,
}

/// Claims the schema, lets `decide` make the edit from what is stored, writes it, and lets the schema go.
///
/// # Errors
/// When the claim is refused, `decide` refuses, or the destination fails; nothing is changed then.
pub async fn edit_states(
    destination: &dyn Destination,
    request: &ClaimRequest,
    now: DateTime<Utc>,
    decide: impl FnOnce(&Claim) -> Result<StateEdit, DestinationError> + Send,
) -> Result<(), DestinationError> {
    let claim = destination.claim(request).await?;
    let result = match decide(&claim) {
        Ok(edit) => write(destination, &claim, edit, now).await,
        Err(error) => Err(error),
    };
    if let Err(error) = destination.release(&claim).await {
        tracing::warn!(error = %error, "The claim could not be released; it ends with its lease");
    }
    result
}

/// The error for a state that is not what the edit was made for.
#[must_use]
pub fn changed_meanwhile() -> DestinationError {
    DestinationError::new(
        DestinationErrorKind::Refused,
        "The bookmarks have changed since they were shown; nothing was edited",
        "Look at them again",
    )
}

async fn write(
    destination: &dyn Destination,
    claim: &Claim,
    edit: StateEdit,
    now: DateTime<Utc>,
) -> Result<(), DestinationError> {
    let batch_id = uuid::Uuid::now_v7().to_string();
    let memory = ClaimMemory {
        last_batch: Some(batch_id.clone()),
        last_run: Some(claim.run_id.clone()),
        singer_state: claim.memory.singer_state.clone().filter(|_| !edit.forgets_tap_state),
        ..claim.memory.clone()
    };
    let mut edited: BTreeSet<String> = edit.states.keys().map(ToString::to_string).collect();
    if edit.forgets_tap_state {
        // It is about every table that the tap has filled.
        edited.extend(destination.totals().await?.into_keys());
    }
    // A tap's own state is the bookmark of all its tables.
    let removed = edit.forgets_tap_state.then(|| NO_BOOKMARK.to_owned());
    let records: Vec<LoadRecord> = edited
        .into_iter()
        .map(|table| LoadRecord {
            batch_id: batch_id.clone(),
            run_id: claim.run_id.clone(),
            stream: table.clone(),
            table_version: 0,
            counts: LoadCounts::default(),
            bookmark: edit.displays.get(&table.as_str().into()).cloned().or(removed.clone()),
            table,
            max_replication_key: None,
            gap: None,
            started_at: now,
            staged_at: now,
            committed_at: now,
        })
        .collect();
    let mut transaction = destination.begin(claim).await?;
    transaction.record(&records).await?;
    transaction.bookmark(&edit.states).await?;
    transaction.fence(claim, &memory).await?;
    match transaction.commit().await {
        Err(error) if error.kind == DestinationErrorKind::CommitUnknown => {
            let is_there = destination.memory().await?.last_batch == Some(batch_id);
            if is_there { Ok(()) } else { Err(error) }
        }
        other => other,
    }
}
