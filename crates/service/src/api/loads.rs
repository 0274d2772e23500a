//! Loading reports: all tables, one table by day, and how tables changed.

use std::{borrow::Cow, collections::BTreeMap};

use axum::{Json, extract::State};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Fault, Problem};
use super::{
    Shared,
    body::{Place, Query},
    page::{self, Page},
    runs::PageQuery,
    usage::{PeriodView, period_of},
};
use crate::store::{Load, LoadCounts, TableReport};

/// What is shown where there is no bookmark, in Stitch's words.
const NO_BOOKMARK: &str = "Bookmark Unavailable";

/// What has been loaded into the tables of an integration.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TablesView {
    /// The billing period that goes on.
    pub this_period: PeriodView,
    /// The one before.
    pub previous_period: PeriodView,
    /// The tables, by name; subtables stand within theirs.
    pub tables: Vec<TableView>,
}

/// What has been loaded into a table.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(no_recursion)]
pub struct TableView {
    /// The table.
    pub name: String,
    /// Rows inserted and updated in the last 24 hours.
    pub rows_last_day: u64,
    /// Those of this billing period.
    pub rows_this_period: u64,
    /// Those of the billing period before.
    pub rows_previous_period: u64,
    /// Rows that could not be loaded, in this billing period.
    pub rows_rejected: u64,
    /// When it was loaded last.
    pub last_load_at: DateTime<Utc>,
    /// The bookmark as it was moved last, `column: value`; or `Bookmark Unavailable`.
    pub bookmark: String,
    /// The tables made from its lists.
    pub subtables: Vec<TableView>,
}

pub(super) async fn tables(
    State(api): State<Shared>,
    Place(id): Place<String>,
) -> Result<Json<TablesView>, Problem> {
    api.store.integration(&id).await?;
    let now = api.now();
    let period = period_of(api.options.billing_anchor, now);
    let reports = api.store.table_reports(&id, period, now).await?;
    let before = crate::store::Period { from: period.from - period.length, length: period.length };
    Ok(Json(TablesView {
        this_period: period.into(),
        previous_period: before.into(),
        tables: nested(reports),
    }))
}

/// Puts subtables into the tables that they belong to: `contact__listIds` into `contact`.
fn nested(reports: Vec<TableReport>) -> Vec<TableView> {
    let mut tables: BTreeMap<String, TableView> = BTreeMap::new();
    // By name, a table comes before its subtables.
    for report in reports {
        let name = report.table_name.clone();
        let view = table(report);
        let parent = name
            .match_indices("__")
            .map(|(end, _)| &name[..end])
            .find(|parent| tables.contains_key(*parent));
        match parent.map(str::to_owned).and_then(|parent| tables.get_mut(&parent)) {
            Some(parent) => parent.subtables.push(view),
            None => {
                tables.insert(name, view);
            }
        }
    }
    tables.into_values().collect()
}

fn table(report: TableReport) -> TableView {
    TableView {
        name: report.table_name,
        rows_last_day: report.last_day,
        rows_this_period: report.this_period,
        rows_previous_period: report.previous_period,
        rows_rejected: report.rejected,
        last_load_at: report.last_load_at,
        bookmark: bookmark(report.bookmark),
        subtables: Vec::new(),
    }
}

/// What is shown of a bookmark: where it was removed, the ledger has an empty one.
fn bookmark(stored: Option<String>) -> String {
    stored.filter(|text| !text.is_empty()).unwrap_or_else(|| NO_BOOKMARK.to_owned())
}

/// Which loads.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct LoadsQuery {
    /// Only those of this day, in UTC: `2026-05-01`.
    #[serde(default)]
    day: Option<NaiveDate>,
    /// From where the page goes on: `next` of the page before.
    #[serde(default)]
    cursor: Option<String>,
    /// How many: 1 to 500, usually 50.
    #[serde(default)]
    limit: Option<u32>,
}

/// A load of a table.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LoadView {
    /// The id of the unit in which it was committed.
    pub batch_id: String,
    /// The table.
    pub table: String,
    /// The run.
    pub run_id: String,
    /// The stream.
    pub stream: String,
    /// The version of the table.
    pub table_version: i64,
    /// When the unit was begun.
    pub started_at: DateTime<Utc>,
    /// When it was committed.
    pub committed_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: i64,
    /// What was counted.
    #[serde(flatten)]
    pub counts: LoadCounts,
    /// The bookmark, `column: value`; or `Bookmark Unavailable`.
    pub bookmark: String,
}

impl From<Load> for LoadView {
    fn from(load: Load) -> Self {
        Self {
            duration_ms: (load.committed_at - load.started_at).num_milliseconds(),
            batch_id: load.batch_id,
            table: load.table_name,
            run_id: load.run_id,
            stream: load.stream,
            table_version: load.table_version,
            started_at: load.started_at,
            committed_at: load.committed_at,
            counts: load.counts,
            bookmark: bookmark(load.bookmark),
        }
    }
}

pub(super) async fn of_table(
    State(api): State<Shared>,
    Place((id, table)): Place<(String, String)>,
    Query(query): Query<LoadsQuery>,
) -> Result<Json<Page<LoadView>>, Problem> {
    api.store.integration(&id).await?;
    let limit = page::limit(query.limit)?;
    let cursor = query.cursor.as_deref().map(page::read_cursor).transpose()?;
    let before = cursor.as_ref().map(|(at, batch)| (*at, batch.as_str()));
    let span = query.day.map_or(DateTime::UNIX_EPOCH..DateTime::<Utc>::MAX_UTC, |day| {
        let midnight = day.and_time(NaiveTime::MIN).and_utc();
        midnight..midnight.checked_add_signed(TimeDelta::days(1)).unwrap_or(midnight)
    });
    let loads = api.store.loads_between(&id, &table, span, before, limit + 1).await?;
    let page = Page::cut(loads, limit, |load| page::cursor(load.committed_at, &load.batch_id));
    Ok(Json(page.map(LoadView::from)))
}

/// How a table changed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SchemaEventView {
    /// The run.
    pub run_id: String,
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
    /// `column added`, `column split` or `column widened`.
    pub change: Cow<'static, str>,
    /// From what to what.
    pub detail: String,
    /// When.
    pub happened_at: DateTime<Utc>,
}

pub(super) async fn schema_events(
    State(api): State<Shared>,
    Place(id): Place<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<SchemaEventView>>, Problem> {
    api.store.integration(&id).await?;
    if query.cursor.is_some() {
        let remedy = "Ask for more by `limit`";
        let fault = Fault::new("?cursor", "This list has one page", remedy);
        return Err(Problem::invalid(vec![fault]));
    }
    let events = api.store.schema_events(&id, page::limit(query.limit)?).await?;
    let view = |event: crate::store::SchemaEvent| SchemaEventView {
        run_id: event.run_id,
        table: event.table_name,
        column: event.column_name,
        change: event.change.name().into(),
        detail: event.detail,
        happened_at: event.happened_at,
    };
    Ok(Json(Page { items: events.into_iter().map(view).collect(), next: None }))
}
