//! Rewinds: bookmarks are moved by a run, which then reads from there. Where they move is decided when it is told what that
//! means; if one is elsewhere by the time that the run holds the schema, none moves.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    Shared,
    body::{Body, Place},
    kept::Look,
    lifecycle,
    problem::{Fault, Kind, Problem},
    view::RunView,
};
use crate::{
    kept::{PreviewedMove, Refused, RewindPreview, RewindWish},
    task::{self, Task},
};

/// Where bookmarks are to be; one wish for each stream.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct RewindBody {
    /// The instants, in whole seconds, up to which streams are to count as read, by stream.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub set: BTreeMap<String, DateTime<Utc>>,
    /// How far bookmarks are to move back, such as `7d`, `12h`, `30m` or `90s`, by stream.
    #[serde(default)]
    pub rewind: BTreeMap<String, String>,
    /// Streams that are to lose their bookmarks, and so to be read from the start date again.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Whether a Singer tap's own state is to go, so that the tap starts from its beginning.
    #[serde(default)]
    pub remove_tap_state: bool,
    /// The `confirm` of the answer that told what it means. Without it nothing is done.
    #[serde(default)]
    pub confirm: Option<String>,
}

/// What a rewind means, and the run that does it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RewindView {
    /// Whether a run was started for it.
    pub is_started: bool,
    /// How the bookmarks move.
    pub moves: Vec<PreviewedMove>,
    /// The Singer tap's own state that goes.
    #[schema(value_type = Option<Object>)]
    pub removed_tap_state: Option<Value>,
    /// What it means.
    pub consequences: Vec<String>,
    /// What to send to have it done.
    pub confirm: Option<String>,
    /// The run.
    pub run: Option<RunView>,
}

impl From<Refused> for Problem {
    fn from(error: Refused) -> Self {
        match error {
            Refused::Unreadable(error) => error.into(),
            Refused::Setting(error) => Self::invalid(vec![error.into()]),
        }
    }
}

pub(super) async fn rewind(
    State(api): State<Shared>,
    Place(id): Place<String>,
    Body(body): Body<RewindBody>,
) -> Result<Json<RewindView>, Problem> {
    let RewindBody { set, rewind, remove, remove_tap_state, confirm } = body;
    if set.is_empty() && rewind.is_empty() && remove.is_empty() && !remove_tap_state {
        let remedy = "Give `set`, `rewind`, `remove` or `remove_tap_state`";
        return Err(Problem::invalid(vec![Fault::new("", "No bookmark is to move", remedy)]));
    }
    let wish = RewindWish { set, rewind, remove, remove_tap_state };
    let look = Look::at(&api, &id).await?;
    if look.integration.reset_requested_at.is_some() {
        let detail = "The next run reads everything from the start date, as was confirmed before";
        let remedy = "Let it start, then move bookmarks";
        return Err(Problem::new(Kind::NotConfirmed, detail).remedy(remedy));
    }
    // Again when it is confirmed: where a bookmark is, only the destination knows.
    let RewindPreview { moves, tap_state, consequences } =
        api.host.preview_rewind(&look.draft(), &wish).await?;
    let rewind = Task::Rewind {
        moves: moves.iter().map(|previewed| previewed.change.clone()).collect(),
        tap_state: tap_state.as_ref().filter(|_| remove_tap_state).map(task::digest_of_state),
    };
    let token = lifecycle::confirmation(&look.integration, json!(rewind));
    let run = match confirm {
        None => None,
        Some(confirm) if confirm == token => {
            Some(lifecycle::begun(&api, &id, Some(&rewind)).await?)
        }
        Some(_) => {
            let detail = "A bookmark has moved since, the integration was changed, or other moves were confirmed";
            return Err(Problem::new(Kind::NotConfirmed, detail));
        }
    };
    Ok(Json(RewindView {
        is_started: run.is_some(),
        moves,
        removed_tap_state: tap_state,
        consequences,
        confirm: run.is_none().then_some(token),
        run,
    }))
}
