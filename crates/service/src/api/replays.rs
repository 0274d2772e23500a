//! Replays: rows that could not be loaded are loaded again by a run of their own, after what kept them out is mended.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    Shared,
    body::{Body, Place},
    drafts,
    kept::Look,
    lifecycle,
    problem::{Kind, Problem},
    tasks,
    view::RunView,
};
use crate::{
    kept::{RejectChoice, RejectStanding, ReplayPreview, TableReplay},
    task::Task,
};

/// Which rejected rows are to be replayed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ReplayBody {
    /// Only those of this table.
    #[serde(default)]
    pub table: Option<String>,
    /// Only those with this reason code, as in `number_range`.
    #[serde(default)]
    pub reason: Option<String>,
    /// Only the one with this id.
    #[serde(default)]
    pub id: Option<String>,
    /// The `confirm` of the answer that told what it would do. Without it nothing is done.
    #[serde(default)]
    pub confirm: Option<String>,
}

/// What a replay would do, or the run that does it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReplayView {
    /// Whether a run was started for it.
    pub is_started: bool,
    /// What it would do, by table; nothing once it is started, when the run's report will tell.
    pub tables: Vec<TableReplay>,
    /// What it means.
    pub consequences: Vec<String>,
    /// What to send to have it done; nothing if there is nothing to replay.
    pub confirm: Option<String>,
    /// The run.
    pub run: Option<RunView>,
}

pub(super) async fn replay(
    State(api): State<Shared>,
    Place(id): Place<String>,
    Body(body): Body<ReplayBody>,
) -> Result<Json<ReplayView>, Problem> {
    let ReplayBody { table, reason: reason_code, id: reject_id, confirm } = body;
    let choice = RejectChoice {
        standing: Some(RejectStanding::Open),
        table: table.clone(),
        reason_code: reason_code.clone(),
        id: reject_id.clone(),
        ..RejectChoice::default()
    };
    let task = Task::Replay { table, reason_code, id: reject_id };
    let token = |integration| lifecycle::confirmation(integration, json!(task));
    tasks::admitted(&api, &id, &task).await?;
    if let Some(confirm) = confirm {
        if confirm != token(&drafts::existing(&api, &id).await?) {
            let detail = "The integration was changed since, or another replay was confirmed";
            return Err(Problem::new(Kind::NotConfirmed, detail));
        }
        let run = Some(lifecycle::begun(&api, &id, Some(&task)).await?);
        let (tables, consequences) = (Vec::new(), Vec::new());
        let view = ReplayView { is_started: true, tables, consequences, confirm: None, run };
        return Ok(Json(view));
    }
    let look = Look::at(&api, &id).await?;
    let preview = api.host.preview_replay(&look.draft(), &choice).await?;
    let is_something = preview.tables.iter().any(|table| table.found > 0);
    Ok(Json(ReplayView {
        is_started: false,
        consequences: consequences(&preview),
        tables: preview.tables,
        confirm: is_something.then(|| token(&look.integration)),
        run: None,
    }))
}

/// What a replay means, for who is to confirm it.
fn consequences(preview: &ReplayPreview) -> Vec<String> {
    if preview.tables.iter().all(|table| table.found == 0) {
        return vec!["There is nothing to replay.".to_owned()];
    }
    let mut sentences = Vec::new();
    for TableReplay {
        table, found, readable, rejected_again, former_version, unreadable, ..
    } in &preview.tables
    {
        sentences
            .push(format!("Of {found} rejected rows of `{table}`, {readable} can be read now."));
        let again: u64 = rejected_again.iter().map(|again| again.rows).sum();
        for (rows, what) in [
            (again, "would be rejected again, with their new reason"),
            (
                *former_version,
                "are of a version that the table doesn't have any more: they are not brought back",
            ),
            (*unreadable, "can't be read at all, and stay as they are"),
        ] {
            if rows > 0 {
                sentences.push(format!("Of those of `{table}`, {rows} {what}."));
            }
        }
    }
    if !preview.is_whole {
        sentences.push("There are more than could be looked at for this answer.".to_owned());
    }
    sentences.extend(
        [
            "Whether the destination takes a row shows only when it is loaded.",
            "Rows keep the sequence of their read: one that is newer in its table stays.",
            "A run is started for it, which reads nothing else.",
        ]
        .map(str::to_owned),
    );
    sentences
}
