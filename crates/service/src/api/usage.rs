//! Usage: rows replicated, by integration, table and day, against a budget.

use axum::{Json, extract::State};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    Shared,
    body::Query,
    page::{self, Page},
    problem::{Fault, Problem},
};
use crate::store::{Period, StoreError, Usage, UsageChoice, UsagePlace, UsageTotal};

/// How long a billing period is.
const PERIOD: TimeDelta = TimeDelta::days(30);
/// The longest span that is answered at once.
const LONGEST_DAYS: i64 = 366;
/// How many lines a page has if nothing is said, and the most: they are small.
const USUAL: u32 = 500;
const LARGEST: u32 = 5_000;
/// At how many percent of the budget is warned.
const WARNINGS: [u64; 3] = [70, 90, 100];

/// The billing period in which an instant lies.
pub(super) fn period_of(anchor: NaiveDate, now: DateTime<Utc>) -> Period {
    let length = PERIOD.num_milliseconds();
    let anchor = anchor.and_time(NaiveTime::MIN).and_utc();
    let since = (now - anchor).num_milliseconds().rem_euclid(length);
    Period { from: now - TimeDelta::milliseconds(since), length: PERIOD }
}

/// A billing period.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PeriodView {
    /// Its first instant.
    pub from: DateTime<Utc>,
    /// The first instant after it.
    pub until: DateTime<Utc>,
}

impl From<Period> for PeriodView {
    fn from(period: Period) -> Self {
        Self { from: period.from, until: period.from + period.length }
    }
}

/// Which usage.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct UsageQuery {
    /// The first day, in UTC; that of this billing period if it isn't given.
    #[serde(default)]
    from: Option<NaiveDate>,
    /// The first day after it; the day after today if it isn't given.
    #[serde(default)]
    until: Option<NaiveDate>,
    /// Only that of one integration.
    #[serde(default)]
    integration_id: Option<String>,
    /// From where the page goes on: `next` of the page before.
    #[serde(default)]
    cursor: Option<String>,
    /// How many lines of `days`: 1 to 5000, usually 500.
    #[serde(default)]
    limit: Option<u32>,
}

/// Rows replicated.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UsageView {
    /// The first day.
    pub from: NaiveDate,
    /// The first day after it.
    pub until: NaiveDate,
    /// All of it, also what is on other pages.
    pub total: RowsView,
    /// The budget of this billing period, if there is one.
    pub budget: Option<BudgetView>,
    /// By integration, table and day.
    pub days: Vec<DayView>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// Rows, by how they count.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct RowsView {
    /// Rows inserted and updated.
    pub counted: u64,
    /// Those of the first seven days of a schema, which are free.
    pub free: u64,
    /// Rows that were read again and changed nothing; Stitch counts them, this doesn't.
    pub reread: u64,
}

impl From<UsageTotal> for RowsView {
    fn from(UsageTotal { counted, free, reread }: UsageTotal) -> Self {
        Self { counted, free, reread }
    }
}

/// The usage of a table on a day.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DayView {
    /// The integration.
    pub integration_id: String,
    /// The table.
    pub table: String,
    /// The day, in UTC.
    pub day: NaiveDate,
    /// Rows inserted and updated.
    pub counted: u64,
    /// Those of the first seven days of a schema, which are free.
    pub free: u64,
    /// Rows that were read again and changed nothing.
    pub reread: u64,
}

/// How much of a budget is used.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BudgetView {
    /// The billing period.
    pub period: PeriodView,
    /// Rows that may be used in it.
    pub rows: u64,
    /// Rows that are used, by all integrations.
    pub used: u64,
    /// How much that is.
    pub percent: u64,
    /// The highest of 70, 90 and 100 percent that is reached.
    pub warning_percent: Option<u64>,
    /// What that means.
    pub warning: Option<String>,
}

pub(super) async fn usage(
    State(api): State<Shared>,
    Query(query): Query<UsageQuery>,
) -> Result<Json<UsageView>, Problem> {
    let now = api.now();
    let period = period_of(api.options.billing_anchor, now);
    let from = query.from.unwrap_or(period.from.date_naive());
    let tomorrow = now.date_naive().succ_opt().unwrap_or(now.date_naive());
    let until = query.until.unwrap_or(tomorrow);
    let days = (until - from).num_days();
    if !(0..=LONGEST_DAYS).contains(&days) {
        let detail = format!("`until` must lie 0 to {LONGEST_DAYS} days after `from`");
        return Err(Problem::invalid(vec![Fault::new("?until", detail, "Ask for fewer days")]));
    }
    let limit = page::limit_to(LARGEST, query.limit.unwrap_or(USUAL))?;
    let after = query.cursor.as_deref().map(read_cursor).transpose()?;
    if let Some(id) = &query.integration_id
        && let Err(StoreError::NotFound { .. }) = api.store.integration(id).await
    {
        let detail = "There is no integration of this id";
        let fault = Fault::new("?integration_id", detail, "Look at the list of integrations");
        return Err(Problem::invalid(vec![fault]));
    }
    let choice = UsageChoice { integration_id: query.integration_id.as_deref(), from, until };
    let total = api.store.usage_total(choice).await?.into();
    let found = api.store.usage(choice, after.as_ref(), limit + 1).await?;
    let Page { items, next } = Page::cut(found, limit, cursor);
    let budget = match api.options.row_budget {
        Some(rows) => {
            let used = api.store.rows_counted(period.from.date_naive(), tomorrow).await?;
            Some(budget(rows, used, period))
        }
        None => None,
    };
    let view = |usage: Usage| DayView {
        integration_id: usage.integration_id,
        table: usage.table_name,
        day: usage.day,
        counted: usage.counted,
        free: usage.free,
        reread: usage.reread,
    };
    let days = items.into_iter().map(view).collect();
    Ok(Json(UsageView { from, until, total, budget, days, next }))
}

/// A place in the list: the day as its number, and the two names.
fn cursor(usage: &Usage) -> String {
    let midnight = usage.day.and_time(NaiveTime::MIN).and_utc();
    page::cursor(midnight, &json!([usage.integration_id, usage.table_name]).to_string())
}

fn read_cursor(text: &str) -> Result<UsagePlace, Problem> {
    let (midnight, names) = page::read_cursor(text)?;
    let names = serde_json::from_str::<(String, String)>(&names);
    let (integration_id, table_name) = names.map_err(|_| page::no_cursor())?;
    Ok(UsagePlace { integration_id, table_name, day: midnight.date_naive() })
}

fn budget(rows: u64, used: u64, period: Period) -> BudgetView {
    let percent = (u128::from(used) * 100).checked_div(u128::from(rows)).unwrap_or(100);
    let percent = u64::try_from(percent).unwrap_or(u64::MAX);
    let warning_percent = WARNINGS.into_iter().rfind(|warning| percent >= *warning);
    let warning = warning_percent.map(|warning| match warning {
        100 => "The row budget of this billing period is used up; replication goes on".to_owned(),
        _ => format!("More than {warning} % of the row budget of this billing period is used"),
    });
    BudgetView { period: period.into(), rows, used, percent, warning_percent, warning }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn billing_periods_are_thirty_days_from_an_anchor() {
        let at = |days: i64| DateTime::UNIX_EPOCH + TimeDelta::days(days);
        for (now, from) in [(0, 0), (29, 0), (30, 30), (-1, -30), (61, 60)] {
            let period = period_of(at(0).date_naive(), at(now));
            assert_eq!((period.from, period.length), (at(from), PERIOD), "{now}");
        }
        assert_eq!(period_of(at(1_000).date_naive(), at(10)).from, at(10));
    }

    #[test]
    fn a_budget_warns_three_times() {
        let period = period_of(NaiveDate::default(), DateTime::UNIX_EPOCH);
        let warned = |used| budget(1_000, used, period).warning_percent;
        assert_eq!(
            [0, 699, 700, 899, 900, 999, 1_000, 5_000].map(warned),
            [None, None, Some(70), Some(70), Some(90), Some(90), Some(100), Some(100)]
        );
        assert_eq!(budget(0, 0, period).warning_percent, Some(100));
        assert_eq!(budget(1, u64::MAX, period).warning_percent, Some(100));
    }
}
