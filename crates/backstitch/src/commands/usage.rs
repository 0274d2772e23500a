//! `backstitch usage`: rows replicated, by table or day. A service tells which of them count; a destination alone tells how
//! many there were.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate, Utc};
use replication::ledger::LoadRecord;
use serde_json::{Value, json};
use service::api::shapes::{IntegrationView, RowsView, UsageView};

use super::ledger;
use crate::{
    command_line::{UsageArguments, UsageBy, UsagePeriod},
    display::{self, Column},
    exit::ExitStatus,
    failure::Failure,
    remote::{self, Answer, Client, RemoteError},
};

/// How many lines are asked for at once.
const PAGE: u32 = 5_000;

/// How many days a billing period has.
const PERIOD: Days = Days::new(30);

/// Runs the command.
///
/// # Errors
/// When neither the service nor the destination can be asked.
pub(crate) fn execute(arguments: &UsageArguments) -> Result<ExitStatus, Failure> {
    if arguments.schema.asks(&arguments.server)? {
        return remote::ask(&arguments.server, async |client| of_service(client, arguments).await);
    }
    let today = Utc::now().date_naive();
    let tomorrow = today + Days::new(1);
    let (from, until) = match (arguments.from, arguments.period) {
        (Some(from), _) => (from, arguments.until.unwrap_or(tomorrow)),
        (None, UsagePeriod::This) => (tomorrow - PERIOD, tomorrow),
        (None, UsagePeriod::Previous) => (tomorrow - PERIOD - PERIOD, tomorrow - PERIOD),
    };
    let days = ledger::read(&arguments.schema, |loads, is_all| {
        let is_enough =
            is_all || loads.last().is_some_and(|last| last.committed_at.date_naive() < from);
        is_enough.then(|| rows_by_day(loads, from, until))
    })?;
    if arguments.schema.json {
        let day = |((day, table), rows): (&(NaiveDate, String), &Rows)| json!({ "table": table, "day": day, "inserted": rows.inserted, "updated": rows.updated, "unchanged": rows.unchanged });
        let days: Vec<Value> = days.iter().map(day).collect();
        display::print_json(&json!({ "from": from, "until": until, "days": days }))?;
    } else {
        display::print(&ledger_text(&days, arguments.by, from, until))?;
    }
    Ok(ExitStatus::Done)
}

/// Rows of a destination's ledger.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Rows {
    inserted: u64,
    updated: u64,
    unchanged: u64,
}

/// The rows of each day and table in a span.
fn rows_by_day(
    loads: &[LoadRecord],
    from: NaiveDate,
    until: NaiveDate,
) -> BTreeMap<(NaiveDate, String), Rows> {
    let mut days: BTreeMap<(NaiveDate, String), Rows> = BTreeMap::new();
    for load in loads {
        let day = load.committed_at.date_naive();
        if (from..until).contains(&day) && load.counts.received > 0 {
            let rows = days.entry((day, load.table.clone())).or_default();
            rows.inserted += load.counts.inserted;
            rows.updated += load.counts.updated;
            rows.unchanged += load.counts.unchanged;
        }
    }
    days
}

fn ledger_text(
    days: &BTreeMap<(NaiveDate, String), Rows>,
    by: UsageBy,
    from: NaiveDate,
    until: NaiveDate,
) -> String {
    let mut sums: BTreeMap<String, Rows> = BTreeMap::new();
    for ((day, table), rows) in days {
        let key = if by == UsageBy::Day { day.to_string() } else { table.clone() };
        let sum = sums.entry(key).or_default();
        sum.inserted += rows.inserted;
        sum.updated += rows.updated;
        sum.unchanged += rows.unchanged;
    }
    let columns = [
        Column::Text(if by == UsageBy::Day { "Day" } else { "Table" }),
        Column::Figure("Replicated"),
        Column::Figure("Inserted"),
        Column::Figure("Updated"),
        Column::Figure("Read again"),
    ];
    let row = |(key, rows): (&String, &Rows)| {
        let mut row = vec![display::one_line(key, 80)];
        let figures = [rows.inserted + rows.updated, rows.inserted, rows.updated, rows.unchanged];
        row.extend(figures.map(display::count));
        row
    };
    let rows: Vec<Vec<String>> = sums.iter().map(row).collect();
    let title = format!("From {from} until {until}, as the destination has it\n");
    if rows.is_empty() {
        format!("{title}Nothing was replicated\n")
    } else {
        title + &display::table(&columns, &rows)
    }
}

async fn of_service(client: &Client, arguments: &UsageArguments) -> Result<ExitStatus, Failure> {
    let mut query = Vec::new();
    if let Some(name) = &arguments.schema.integration.name {
        query.push(("integration_id", client.integration(name).await?.view.id));
    }
    let mut span: Vec<(&str, NaiveDate)> =
        arguments.from.map(|from| ("from", from)).into_iter().collect();
    span.extend(arguments.until.map(|until| ("until", until)));
    if arguments.period == UsagePeriod::Previous {
        let mut first = query.clone();
        first.push(("limit", "1".to_owned()));
        let this: UsageView = client.get(&["usage"], &first).await?.view;
        span = vec![("from", this.from - PERIOD), ("until", this.from)];
    }
    query.extend(span.into_iter().map(|(name, day)| (name, day.to_string())));
    let usage = whole(client, &query).await?;
    if arguments.schema.json {
        display::print_json(&usage.json)?;
    } else {
        let names = names(client, &usage.view).await?;
        display::print(&text(&usage.view, &names, arguments.by))?;
    }
    Ok(ExitStatus::Done)
}

/// A usage, page after page; its sums are those of all pages.
async fn whole(
    client: &Client,
    query: &[(&str, String)],
) -> Result<Answer<UsageView>, RemoteError> {
    let mut query = query.to_vec();
    query.push(("limit", PAGE.to_string()));
    let mut whole: Answer<UsageView> = client.get(&["usage"], &query).await?;
    while let Some(next) = whole.view.next.take() {
        let mut asked = query.clone();
        asked.push(("cursor", next));
        let mut page: Answer<UsageView> = client.get(&["usage"], &asked).await?;
        whole.view.days.append(&mut page.view.days);
        whole.view.next = page.view.next;
        if let (Some(days), Some(more)) =
            (whole.json["days"].as_array_mut(), page.json["days"].as_array_mut())
        {
            days.append(more);
        }
    }
    whole.json["next"] = Value::Null;
    Ok(whole)
}

/// The names of the integrations in a usage, also of those that are deleted.
async fn names(
    client: &Client,
    usage: &UsageView,
) -> Result<BTreeMap<String, String>, RemoteError> {
    let known = client.integrations().await?.view.items;
    let mut names: BTreeMap<String, String> =
        known.into_iter().map(|found| (found.id, found.name)).collect();
    for day in &usage.days {
        if !names.contains_key(&day.integration_id) {
            let found =
                client.get::<IntegrationView>(&["integrations", &day.integration_id], &[]).await;
            let name = match found {
                Ok(found) => format!("{} (deleted)", found.view.name),
                Err(error) if error.is_not_found() => day.integration_id.clone(),
                Err(error) => return Err(error),
            };
            names.insert(day.integration_id.clone(), name);
        }
    }
    Ok(names)
}

fn text(usage: &UsageView, names: &BTreeMap<String, String>, by: UsageBy) -> String {
    let mut sums: BTreeMap<(String, String), RowsView> = BTreeMap::new();
    for day in &usage.days {
        let key = match by {
            UsageBy::Day => (day.day.to_string(), String::new()),
            UsageBy::Table => {
                let name = names.get(&day.integration_id).unwrap_or(&day.integration_id);
                (display::one_line(name, 80), display::one_line(&day.table, 80))
            }
        };
        let sum = sums.entry(key).or_default();
        sum.counted += day.counted;
        sum.free += day.free;
        sum.reread += day.reread;
    }
    let mut columns = match by {
        UsageBy::Day => vec![Column::Text("Day")],
        UsageBy::Table => vec![Column::Text("Integration"), Column::Text("Table")],
    };
    let keys = columns.len();
    columns.extend([
        Column::Figure("Counted"),
        Column::Figure("Free"),
        Column::Figure("Read again"),
    ]);
    let row = |key: [String; 2], rows: &RowsView| {
        let mut row: Vec<String> = key.into_iter().take(keys).collect();
        row.extend([rows.counted, rows.free, rows.reread].map(display::count));
        row
    };
    let mut rows: Vec<Vec<String>> = sums
        .iter()
        .map(|((first, second), rows)| row([first.clone(), second.clone()], rows))
        .collect();
    let mut text = format!("From {} until {}\n", usage.from, usage.until);
    if rows.is_empty() {
        text.push_str("Nothing was replicated\n");
    } else {
        rows.push(row(["All".to_owned(), String::new()], &usage.total));
        text.push_str(&display::table(&columns, &rows));
    }
    if let Some(budget) = &usage.budget {
        let (used, rows) = (display::count(budget.used), display::count(budget.rows));
        text.push_str(&format!(
            "\nBudget of this billing period: {used} of {rows} rows, {} %\n",
            budget.percent
        ));
        if let Some(warning) = &budget.warning {
            text.push_str(&format!("warning: {}\n", display::one_line(warning, 200)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage() -> UsageView {
        let day = |integration: &str, table: &str, day: &str, counted: u64| json!({ "integration_id": integration, "table": table, "day": day, "counted": counted, "free": 1, "reread": 20 });
        let period = json!({ "from": "2026-11-01T00:00:00Z", "until": "2026-12-01T00:00:00Z" });
        let usage = json!({
            "from": "2026-11-01",
            "until": "2026-11-25",
            "total": { "counted": 1_610, "free": 3, "reread": 60 },
            "budget": { "period": period, "rows": 2_000, "used": 1_610, "percent": 80, "warning_percent": 70,
                "warning": "More than 70 % of the row budget of this billing period is used" },
            "days": [
                day("a", "contact", "2026-11-01", 1_000), day("a", "contact", "2026-11-02", 600),
                day("b", "li\u{9b}st", "2026-11-02", 10),
            ],
        });
        serde_json::from_value(usage).expect("it has every field")
    }

    #[test]
    fn usage_is_added_up_by_table_or_day() {
        let names = BTreeMap::from([("a".to_owned(), "Shop\u{1b}[2J".to_owned())]);
        insta::assert_snapshot!(text(&usage(), &names, UsageBy::Table));
        insta::assert_snapshot!(text(&usage(), &names, UsageBy::Day));
    }
}
