//! Rewinds that are runs: bookmarks are moved as it was told, once, and the run reads from there.

use chrono::Utc;
use replication::{
    claim::{Claim, ClaimRequest},
    destination::{Destination, DestinationError, DestinationErrorKind},
    edit::{self, StateEdit},
};
use serde_json::{Value, json};
use service::task::{self, BookmarkMove};

use crate::{
    commands::state_edit::{self, Edits},
    failure::Failure,
};

/// Moves bookmarks, unless an earlier attempt of the run has: what a run commits first is this.
///
/// # Errors
/// When the schema can't be claimed, a bookmark is elsewhere than it was when this was confirmed, or the destination fails.
/// Nothing has moved then.
pub(super) async fn note(
    destination: &dyn Destination,
    request: &ClaimRequest,
    moves: &[BookmarkMove],
    tap_state: Option<&str>,
) -> Result<(), Failure> {
    let mut is_done_before = false;
    let decide = |claim: &Claim| {
        if claim.memory.last_run.as_ref() == Some(&request.run_id) {
            is_done_before = true;
            return Ok(StateEdit::default());
        }
        let mut changes = Vec::new();
        for BookmarkMove { stream, from, to } in moves {
            let moved = Edits::one(stream, *to).apply(&claim.states, Utc::now());
            changes.extend(moved.map_err(|failure| {
                let kind = DestinationErrorKind::Configuration;
                DestinationError::new(kind, failure.sentence(), failure.remedy())
            })?);
            if changes.last().is_some_and(|change| change.old != *from) {
                return Err(edit::changed_meanwhile());
            }
        }
        let kept = claim.memory.singer_state.as_ref().map(task::digest_of_state);
        if tap_state.is_some_and(|shown| kept.as_deref() != Some(shown)) {
            return Err(edit::changed_meanwhile());
        }
        Ok(state_edit::edit(changes, tap_state.is_some()))
    };
    edit::edit_states(destination, request, Utc::now(), decide)
        .await
        .map_err(|error| Failure::from(&error))?;
    if is_done_before {
        tracing::info!("An earlier attempt has moved the bookmarks");
        return Ok(());
    }
    for BookmarkMove { stream, from, to } in moves {
        match to {
            Some(to) => tracing::info!("The bookmark of {stream} moved from {from} to {to}"),
            None => tracing::info!("The bookmark of {stream} is removed; it was {from}"),
        }
    }
    if tap_state.is_some() {
        tracing::info!("The tap's own state is removed");
    }
    Ok(())
}

/// What the run's report says.
pub(super) fn report(moves: &[BookmarkMove], forgets_tap_state: bool) -> Value {
    json!({ "moves": moves, "removed_tap_state": forgets_tap_state })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use destination_duckdb::{DuckDb, DuckDbConfig};
    use replication::{run::RunOptions, stream::StreamName};

    use super::*;
    use crate::commands::refresh;

    fn request(run_id: &str) -> ClaimRequest {
        let options = RunOptions { run_id: run_id.to_owned(), ..RunOptions::new("pets") };
        refresh::request(&options, "account".to_owned())
    }

    async fn bookmark(destination: &dyn Destination) -> Value {
        let states = destination.states().await.unwrap();
        let state = states.into_iter().find(|state| state.stream == "contact").unwrap();
        state.state.unwrap()["last_record"].take()
    }

    #[tokio::test]
    async fn bookmarks_move_once_and_only_from_where_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pets.duckdb");
        let destination = DuckDb::new(DuckDbConfig::new(&file, "pets")).unwrap();
        let state = json!({ "field": "modified", "last_record": "2026-01-08T00:00:00Z" });
        let first = |_: &Claim| {
            let states = [(StreamName::new("contact"), state)].into();
            Ok(StateEdit { states, ..StateEdit::default() })
        };
        edit::edit_states(&destination, &request("r0"), Utc::now(), first).await.unwrap();
        let moves = |from: &str| {
            let (from, to) = (from.parse().unwrap(), Some("2026-01-01T00:00:00Z".parse().unwrap()));
            [BookmarkMove { stream: "contact".to_owned(), from, to }]
        };
        let elsewhere = moves("2026-01-07T00:00:00Z");
        let refused = note(&destination, &request("r1"), &elsewhere, None).await.unwrap_err();
        assert!(refused.sentence().contains("have changed since"), "{refused:?}");
        assert_eq!(bookmark(&destination).await, "2026-01-08T00:00:00Z");
        let moves = moves("2026-01-08T00:00:00Z");
        let refused = note(&destination, &request("r1"), &moves, Some("")).await.unwrap_err();
        assert!(refused.sentence().contains("have changed since"), "there is no tap's state");
        note(&destination, &request("r1"), &moves, None).await.unwrap();
        assert_eq!(bookmark(&destination).await, "2026-01-01T00:00:00Z");
        // Another attempt of the run finds it done; another run finds the bookmark elsewhere.
        note(&destination, &request("r1"), &moves, None).await.unwrap();
        assert_eq!(bookmark(&destination).await, "2026-01-01T00:00:00Z");
        note(&destination, &request("r2"), &moves, None).await.unwrap_err();
    }
}
