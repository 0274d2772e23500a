//! What a destination keeps beside its tables: rejected rows, and how far each stream is.
//!
//! What is in a rejected row may be personal data, so it is shown one row at a time, and to nobody who may only look.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::SemaphorePermit;
use utoipa::ToSchema;

use super::{
    Api, Shared,
    body::{Place, Query},
    drafts,
    page::{self, Page},
    problem::{Fault, Kind, Problem},
};
use crate::{
    host::Secrets,
    integration::Integration,
    kept::{Bookmarks, Reject, RejectChoice, RejectReason, RejectStanding, Unreadable},
};

/// Rejected rows of any state.
const ALL: &str = "all";

/// Which reasons.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ReasonsQuery {
    /// Only those of this table.
    #[serde(default)]
    table: Option<String>,
}

/// Which rejected rows.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct RejectsQuery {
    /// Only those of this table.
    #[serde(default)]
    table: Option<String>,
    /// Only those with this reason code, as in `number_range`.
    #[serde(default)]
    reason: Option<String>,
    /// `open` for those that wait, which are listed if nothing is said; `replayed` for those that were replayed; or `all`.
    #[serde(default)]
    state: Option<String>,
    /// From where the page goes on: `next` of the page before.
    #[serde(default)]
    cursor: Option<String>,
    /// How many: 1 to 500, usually 50.
    #[serde(default)]
    limit: Option<u32>,
}

/// A rejected row, without what is in it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RejectView {
    /// Its id.
    pub id: String,
    /// The table that it was meant for.
    pub table: String,
    /// Why, as a code that doesn't change.
    pub reason_code: String,
    /// Why, in words.
    pub reason: String,
    /// When it was read.
    pub extracted_at: DateTime<Utc>,
    /// When it was replayed, if it was: it is loaded, and stays here for a while.
    pub replayed_at: Option<DateTime<Utc>>,
}

/// A rejected row with what is in it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RejectedRowView {
    /// The row, but for what is in it.
    #[serde(flatten)]
    pub reject: RejectView,
    /// The row as it was received; it may hold personal data.
    pub record: String,
}

impl From<Reject> for RejectedRowView {
    fn from(reject: Reject) -> Self {
        let Reject { id, table, reason_code, reason, extracted_at, record, replayed_at, .. } =
            reject;
        let reject = RejectView { id, table, reason_code, reason, extracted_at, replayed_at };
        Self { reject, record }
    }
}

impl From<Unreadable> for Problem {
    fn from(error: Unreadable) -> Self {
        Self::new(Kind::Unavailable, error.message).remedy(error.remedy)
    }
}

/// A look at the destination of an integration: only so many go on at once.
pub(super) struct Look<'a> {
    api: &'a Api,
    pub(super) integration: Integration,
    secrets: Secrets,
    _permit: SemaphorePermit<'a>,
}

impl<'a> Look<'a> {
    pub(super) async fn at(api: &'a Api, id: &str) -> Result<Self, Problem> {
        let integration = drafts::existing(api, id).await?;
        let secrets = drafts::open(api, id).await?;
        let _permit = api.connecting()?;
        Ok(Self { api, integration, secrets, _permit })
    }

    pub(super) fn draft(&self) -> crate::host::Draft<'_> {
        drafts::draft(&self.integration, &self.integration.settings, &self.secrets)
    }
}

pub(super) async fn reasons(
    State(api): State<Shared>,
    Place(id): Place<String>,
    Query(query): Query<ReasonsQuery>,
) -> Result<Json<Page<RejectReason>>, Problem> {
    let look = Look::at(&api, &id).await?;
    let items = look.api.host.reject_reasons(&look.draft(), query.table.as_deref()).await?;
    Ok(Json(Page { items, next: None }))
}

pub(super) async fn rejects(
    State(api): State<Shared>,
    Place(id): Place<String>,
    Query(query): Query<RejectsQuery>,
) -> Result<Json<Page<RejectView>>, Problem> {
    let standing = match query.state.as_deref().unwrap_or(RejectStanding::Open.name()) {
        ALL => None,
        name => Some(RejectStanding::named(name).ok_or_else(|| {
            let detail = "`state` is no state of a rejected row";
            let remedy = "Take `open`, `replayed` or `all`";
            Problem::invalid(vec![Fault::new("?state", detail, remedy)])
        })?),
    };
    let choice = RejectChoice {
        standing,
        table: query.table,
        reason_code: query.reason,
        id: None,
        after: query.cursor.as_deref().map(page::read_numbered_cursor).transpose()?,
        limit: page::limit(query.limit)?,
    };
    let look = Look::at(&api, &id).await?;
    let found = look.api.host.rejects(&look.draft(), &choice).await?;
    let last = found.rejects.last().filter(|_| found.has_more);
    let next = last.map(|last| page::numbered_cursor(last.sequence, &last.id));
    let view = |reject| RejectedRowView::from(reject).reject;
    Ok(Json(Page { items: found.rejects.into_iter().map(view).collect(), next }))
}

pub(super) async fn reject(
    State(api): State<Shared>,
    Place((id, reject_id)): Place<(String, String)>,
) -> Result<Json<RejectedRowView>, Problem> {
    let look = Look::at(&api, &id).await?;
    let choice = RejectChoice { id: Some(reject_id), limit: 1, ..RejectChoice::default() };
    let found = look.api.host.rejects(&look.draft(), &choice).await?;
    let missing = || {
        Problem::new(Kind::NotFound, "There is no such rejected row")
            .remedy("It may have been removed because it was old, or have been rejected anew for another reason")
    };
    Ok(Json(found.rejects.into_iter().next().ok_or_else(missing)?.into()))
}

pub(super) async fn state(
    State(api): State<Shared>,
    Place(id): Place<String>,
) -> Result<Json<Bookmarks>, Problem> {
    let look = Look::at(&api, &id).await?;
    Ok(Json(look.api.host.bookmarks(&look.draft()).await?))
}
