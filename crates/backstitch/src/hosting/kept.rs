//! Looks at destinations for the service's users: rejected rows, and how far each stream is.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use replication::{
    claim::Holder,
    destination::{Destination, StateRow},
    reject::{RejectFilter, RejectStanding, StoredReject},
    replay::{self, MakeDecoder, RejectPage as Extent, ReplayedTable},
};
use serde_json::Value;
use service::{
    api::LOOK_DEADLINE,
    host::{Draft, SettingError},
    kept::{
        BackfillLeft, Bookmarks, ClaimState, PreviewedMove, Refused, Reject, RejectChoice,
        RejectPage, RejectReason, RejectedAgain, ReplayPreview, RewindPreview, StreamState,
        TableReplay, Unreadable,
    },
    task::BookmarkMove,
};
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::host::{ServiceHost, stored};
use crate::{
    commands::{
        state::{Preview, kept_by_tap, preview, tap_state, without_tap_state},
        state_edit::{Edits, Move},
        status::{bookmark_text, is_held},
    },
    connect,
    exit::ExitStatus,
    failure::Failure,
};

/// How long a look may take: it ends, and says so, before the request does that asked for it.
const DEADLINE: Duration = LOOK_DEADLINE.saturating_sub(Duration::from_secs(10));

/// How many bytes of rejected rows are read at once.
const PAGE_BYTES: usize = 8 << 20;

impl ServiceHost {
    /// Reads something in the destination of an integration.
    ///
    /// # Errors
    /// When it can't be read, may not be connected to, or takes too long.
    pub(super) async fn look<T, Reading, Refusal: From<Unreadable>>(
        &self,
        draft: &Draft<'_>,
        read: impl FnOnce(Arc<dyn Destination>) -> Reading,
        refused: impl Fn(&Failure) -> Refusal,
    ) -> Result<T, Refusal>
    where
        Reading: Future<Output = Result<T, Failure>>,
    {
        let looked = async {
            let destination = self.looked_at(draft).await?;
            read(destination).await.map_err(|failure| refused(&failure))
        };
        timeout(DEADLINE, looked).await.unwrap_or_else(|_| {
            Err(Refusal::from(Unreadable {
                message: format!(
                    "The destination did not answer within {} seconds",
                    DEADLINE.as_secs()
                ),
                remedy:
                    "Try again a little later; a connection check shows whether it can be reached"
                        .to_owned(),
            }))
        })
    }

    async fn looked_at(&self, draft: &Draft<'_>) -> Result<Arc<dyn Destination>, Unreadable> {
        let refused = |SettingError { message, remedy, .. }| Unreadable { message, remedy };
        let integration = self.read(&stored(draft)).map_err(refused)?;
        self.judge(draft.origin, &integration).await.map_err(refused)?;
        let opened = integration.target().and_then(|target| connect::existing(&target));
        opened.map_err(|failure| unreadable(&failure))
    }
}

/// A failure to read a destination.
pub(super) fn unreadable(failure: &Failure) -> Unreadable {
    Unreadable { message: failure.sentence(), remedy: failure.remedy().to_owned() }
}

/// A failure to read a destination, or what makes no sense of what was asked.
pub(super) fn refused(failure: &Failure) -> Refused {
    match failure.exit() {
        ExitStatus::Configuration => Refused::Setting(SettingError {
            pointer: String::new(),
            message: failure.sentence(),
            remedy: failure.remedy().to_owned(),
        }),
        _ => Refused::Unreadable(unreadable(failure)),
    }
}

/// Why rows are rejected.
pub(super) async fn reasons(
    destination: Arc<dyn Destination>,
    table: Option<&str>,
) -> Result<Vec<RejectReason>, Failure> {
    let found = destination.reject_reasons(table).await.map_err(|error| Failure::from(&error))?;
    let shown = found.into_iter().map(|found| RejectReason {
        table: found.table,
        reason_code: found.reason_code,
        reason: found.reason,
        rows: found.rows,
        first_rejected_at: found.first_rejected_at,
        last_rejected_at: found.last_rejected_at,
    });
    Ok(shown.collect())
}

/// A page of rejects.
pub(super) async fn rejects(
    destination: Arc<dyn Destination>,
    choice: &RejectChoice,
) -> Result<RejectPage, Failure> {
    let filter = filter(choice);
    let standing = choice.standing.map(|standing| match standing {
        service::kept::RejectStanding::Open => RejectStanding::Open,
        service::kept::RejectStanding::Replayed => RejectStanding::Replayed,
    });
    let rows = usize::try_from(choice.limit).unwrap_or(usize::MAX);
    let extent = Extent { rows, bytes: PAGE_BYTES };
    let found = destination.stored_rejects(&filter, standing, choice.after.as_ref(), extent).await;
    let found = found.map_err(|error| Failure::from(&error))?;
    let Some(last) = found.last() else { return Ok(RejectPage::default()) };
    // A page may end at its bytes, so its length doesn't tell.
    let place = (last.sequence, last.id.clone());
    let one = Extent { rows: 1, bytes: 1 };
    let next = destination.stored_rejects(&filter, standing, Some(&place), one).await;
    let has_more = !next.map_err(|error| Failure::from(&error))?.is_empty();
    Ok(RejectPage { rejects: found.into_iter().map(reject).collect(), has_more })
}

fn filter(choice: &RejectChoice) -> RejectFilter {
    RejectFilter {
        table: choice.table.clone(),
        reason: choice.reason_code.clone(),
        id: choice.id.clone(),
    }
}

/// What a replay would do with the rejects that are meant, as far as they can be looked at in time.
pub(super) async fn preview_replay(
    destination: Arc<dyn Destination>,
    decoder: Box<MakeDecoder<'static>>,
    choice: &RejectChoice,
) -> Result<ReplayPreview, Failure> {
    let stop = CancellationToken::new();
    let _enough = AbortOnDropHandle::new(tokio::spawn({
        let stop = stop.clone();
        async move {
            sleep(DEADLINE / 2).await;
            stop.cancel();
        }
    }));
    let filter = filter(choice);
    let report = replay::preview(destination.as_ref(), decoder.as_ref(), &filter, &stop).await;
    let report = report.map_err(|error| Failure::from(&error))?;
    let table = |(table, replayed): (String, ReplayedTable)| TableReplay {
        table,
        found: replayed.found,
        readable: replayed.replayed,
        rejected_again: replayed
            .again
            .into_iter()
            .map(|((reason_code, reason), rows)| RejectedAgain { reason_code, reason, rows })
            .collect(),
        former_version: replayed.former_version,
        unreadable: replayed.unreadable,
        obstacle: replayed.obstacle,
    };
    Ok(ReplayPreview {
        tables: report.tables.into_iter().map(table).collect(),
        is_whole: !report.interrupted,
    })
}

/// What it would mean to move bookmarks.
pub(super) async fn preview_rewind(
    destination: Arc<dyn Destination>,
    edits: Edits,
    removes_tap_state: bool,
) -> Result<RewindPreview, Failure> {
    let failed = |error| Failure::from(&error);
    let stored = destination.states().await.map_err(failed)?;
    let loads = destination.loads(usize::MAX).await.map_err(failed)?;
    let previews = preview(&edits, &stored, &loads)?;
    let tap_state = removes_tap_state.then(|| tap_state(&stored)).transpose()?;
    let mut consequences: Vec<String> = previews.iter().map(Preview::sentence).collect();
    consequences.extend(tap_state.as_ref().map(without_tap_state));
    let moved = |preview: Preview| PreviewedMove {
        rows_again_at_most: preview.rows,
        skips: preview.change.skipped().is_some(),
        change: BookmarkMove {
            from: preview.change.old,
            to: match preview.change.change {
                Move::To(new) => Some(new),
                Move::Removed => None,
            },
            stream: preview.change.stream,
        },
    };
    Ok(RewindPreview { moves: previews.into_iter().map(moved).collect(), tap_state, consequences })
}

fn reject(found: StoredReject) -> Reject {
    Reject {
        id: found.id,
        table: found.stream.to_string(),
        reason_code: found.reason_code,
        reason: found.reason,
        sequence: found.sequence,
        extracted_at: found.extracted_at,
        replayed_at: found.replayed_at,
        record: found.record,
    }
}

/// How far each stream is, and who holds the schema.
pub(super) async fn bookmarks(
    destination: Arc<dyn Destination>,
    now: DateTime<Utc>,
) -> Result<Bookmarks, Failure> {
    let rows = destination.states().await.map_err(|error| Failure::from(&error))?;
    let singer_state = kept_by_tap(&rows).cloned();
    let (claims, mut streams): (Vec<StateRow>, Vec<StateRow>) =
        rows.into_iter().partition(|row| row.stream.is_empty());
    streams.sort_by(|one, other| one.stream.cmp(&other.stream));
    let claim = claims.first().map(|claim| {
        let holder = claim.holder.as_deref().and_then(Holder::parse);
        ClaimState {
            integration: claim.integration_id.clone(),
            is_held: is_held(claim, now),
            run_id: holder.as_ref().map(|holder| holder.run_id.clone()),
            host: holder.as_ref().map(|holder| holder.host.clone()),
            pid: holder.as_ref().map(|holder| holder.pid),
            lease_expires_at: claim.lease_expires_at,
        }
    });
    Ok(Bookmarks { streams: streams.into_iter().map(stream).collect(), singer_state, claim })
}

fn stream(row: StateRow) -> StreamState {
    let StateRow { stream, state, updated_at, .. } = row;
    let text = |span: &Value, name: &str| {
        span.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let spans = state.as_ref().and_then(|state| state.get("backfill")).and_then(Value::as_array);
    let left = |span| BackfillLeft { from: text(span, "from"), before: text(span, "before") };
    StreamState {
        bookmark: state.as_ref().and_then(bookmark_text),
        backfill: spans.into_iter().flatten().map(left).collect(),
        stream,
        state,
        updated_at,
    }
}
