//! What an audit tells: tables for people, JSON for programs.

use replication::{
    audit::{DayAudit, Difference, DifferenceKind, TableAudit},
    row::instant_text,
};
use serde_json::{Map, Value, json};

use crate::display::{self, Column};

/// How many days that differ are shown of one table; `--json` has them all.
const DAYS_SHOWN: usize = 31;

/// The findings, for people.
pub(super) fn summary(tables: &[TableAudit], never_replicated: &[String]) -> String {
    let columns = [
        Column::Text("Table"),
        Column::Text("From"),
        Column::Text("Before"),
        Column::Figure("Account"),
        Column::Figure("Stored"),
        Column::Figure("Missing"),
        Column::Figure("Extra"),
        Column::Figure("Different"),
        Column::Rare("Drifted"),
        Column::Rare("Rejected"),
        Column::Rare("Changed since"),
    ];
    let rows: Vec<Vec<String>> = tables.iter().map(row).collect();
    let mut text = String::new();
    if !rows.is_empty() {
        text.push_str(&display::table(&columns, &rows));
    }
    for table in tables {
        text.push_str(&details(table));
    }
    for name in never_replicated {
        text.push_str(&format!("\n{name}: never replicated, so there is nothing to compare\n"));
    }
    let verdict = if tables.iter().all(TableAudit::is_equal) {
        "\nEverything that was compared is equal\n"
    } else {
        "\nThe account and the destination differ\n"
    };
    text.push_str(verdict);
    text
}

fn row(table: &TableAudit) -> Vec<String> {
    let totals = table.totals();
    let bound = |at| if is_whole(table) { "whole".to_owned() } else { display::instant(Some(at)) };
    let mut row = vec![table.table.clone(), bound(table.span.from), bound(table.span.before)];
    let figures = [
        totals.source.rows,
        totals.stored.rows,
        totals.missing,
        totals.extra,
        totals.different,
        totals.drifted,
        table.excluded.rejected,
        table.excluded.moved,
    ];
    row.extend(figures.map(display::count));
    row
}

/// Whether the table was compared as one.
fn is_whole(table: &TableAudit) -> bool {
    table.days.keys().any(Option::is_none)
}

fn details(table: &TableAudit) -> String {
    let mut text = String::new();
    let name = &table.table;
    let mut say = |line: String| text.push_str(&format!("  {line}\n"));
    let totals = table.totals();
    let wrong: Vec<_> = table.days.iter().filter(|(_, day)| !day.is_equal()).collect();
    for (day, found) in wrong.iter().take(DAYS_SHOWN) {
        if let Some(day) = day {
            say(format!(
                "{day}: {} in the account, {} stored; {}",
                display::count(found.source.rows),
                display::count(found.stored.rows),
                counts(found)
            ));
        }
    }
    if wrong.len() > DAYS_SHOWN {
        say(format!("… and {} more days", wrong.len() - DAYS_SHOWN));
    }
    table.differences.iter().for_each(|difference| say(line(difference)));
    let all = totals.missing + totals.extra + totals.different;
    let listed = table.differences.len() as u64;
    if listed < all {
        say(format!(
            "… {} more of {}; list more with `--limit`",
            display::count(all.saturating_sub(listed)),
            display::count(all)
        ));
    }
    if table.lost_rejects > 0 {
        say(format!(
            "objects that can't be read as rows and are not among the rejects: {}",
            display::count(table.lost_rejects)
        ));
    }
    if !table.drift.is_empty() {
        let columns = table.drift.iter();
        let columns: Vec<String> =
            columns.map(|(column, rows)| format!("{column} {}", display::count(*rows))).collect();
        say(format!("drift, which is no difference: {}", columns.join(", ")));
    }
    let excluded = &table.excluded;
    for (rows, why) in [
        (excluded.moved, "changed since the bookmark"),
        (excluded.after_bookmark, "lie after the bookmark"),
        (excluded.rejected, "stand among the rejects"),
        (excluded.unreadable, "are too old to be read again"),
        (excluded.undated, "have no replication key"),
    ] {
        if rows > 0 {
            say(format!("not compared, as they {why}: {} rows", display::count(rows)));
        }
    }
    for gap in &table.gaps {
        say(format!(
            "not compared: {} to {}: {}",
            instant_text(gap.from),
            instant_text(gap.to),
            gap.reason
        ));
    }
    if text.is_empty() { text } else { format!("\n{name}\n{text}") }
}

fn counts(day: &DayAudit) -> String {
    let figures = [(day.missing, "missing"), (day.extra, "extra"), (day.different, "different")];
    let shown = figures.iter().filter(|(rows, _)| *rows > 0);
    let shown: Vec<String> =
        shown.map(|(rows, what)| format!("{} {what}", display::count(*rows))).collect();
    if shown.is_empty() { "rows have moved between days".to_owned() } else { shown.join(", ") }
}

fn line(difference: &Difference) -> String {
    let kind = match &difference.kind {
        DifferenceKind::Missing => "missing in the destination".to_owned(),
        DifferenceKind::Extra => "only in the destination".to_owned(),
        DifferenceKind::Different(columns) => format!("different: {}", columns.join(", ")),
    };
    let day = difference.day.map(|day| format!("{day} ")).unwrap_or_default();
    format!("{day}{}: {kind}", key(&difference.key))
}

fn key(key: &Map<String, Value>) -> String {
    let part = |(name, value): (&String, &Value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{name}={}", display::one_line(&text, 80))
    };
    key.iter().map(part).collect::<Vec<_>>().join(" ")
}

/// The findings of one table, for programs.
pub(super) fn table_json(table: &TableAudit) -> Value {
    let mut found = json!({ "table": table.table, "equal": table.is_equal() });
    let is_shown = |day: &DayAudit| day.source.rows + day.stored.rows > 0 || !day.is_equal();
    let days = table.days.iter().filter(|(_, day)| is_shown(day)).map(|(day, found)| {
        let mut found = day_json(found);
        found["day"] = day.map(|day| day.to_string()).into();
        found
    });
    let bound = |at| (!is_whole(table)).then(|| instant_text(at));
    found["from"] = bound(table.span.from).into();
    found["before"] = bound(table.span.before).into();
    if let (Value::Object(found), Value::Object(totals)) = (&mut found, day_json(&table.totals())) {
        found.extend(totals);
    }
    found["days_compared"] = table.days.len().into();
    found["days"] = days.collect::<Vec<_>>().into();
    found["differences"] = table.differences.iter().map(difference_json).collect::<Vec<_>>().into();
    found["drift"] = json!(table.drift);
    found["lost_rejects"] = table.lost_rejects.into();
    let excluded = &table.excluded;
    found["not_compared"] = json!({
        "changed_since_bookmark": excluded.moved,
        "after_bookmark": excluded.after_bookmark,
        "rejected": excluded.rejected,
        "unreadable": excluded.unreadable,
        "without_replication_key": excluded.undated,
    });
    let gaps = table.gaps.iter().map(|gap| {
        json!({ "from": instant_text(gap.from), "to": instant_text(gap.to), "reason": gap.reason })
    });
    found["gaps"] = gaps.collect::<Vec<_>>().into();
    found
}

fn day_json(day: &DayAudit) -> Value {
    json!({
        "source_rows": day.source.rows,
        "stored_rows": day.stored.rows,
        "source_digest": format!("{:032x}", day.source.digest),
        "stored_digest": format!("{:032x}", day.stored.digest),
        "missing": day.missing,
        "extra": day.extra,
        "different": day.different,
        "drifted": day.drifted,
    })
}

fn difference_json(difference: &Difference) -> Value {
    let (kind, columns) = match &difference.kind {
        DifferenceKind::Missing => ("missing", Vec::new()),
        DifferenceKind::Extra => ("extra", Vec::new()),
        DifferenceKind::Different(columns) => ("different", columns.clone()),
    };
    json!({
        "day": difference.day.map(|day| day.to_string()),
        "key": difference.key,
        "kind": kind,
        "columns": columns,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use std::collections::BTreeMap;

    use replication::{
        audit::{Excluded, Side},
        event::Gap,
        source::Span,
    };

    use super::*;

    fn audit(table: &str, days: &[(Option<&str>, DayAudit)]) -> TableAudit {
        let at = |text: &str| text.parse().unwrap();
        TableAudit {
            table: table.to_owned(),
            span: Span { from: at("2026-11-20T00:00:00Z"), before: at("2026-11-23T13:00:00Z") },
            days: days
                .iter()
                .map(|(day, found)| (day.map(|day| day.parse().unwrap()), *found))
                .collect(),
            differences: Vec::new(),
            drift: BTreeMap::new(),
            excluded: Excluded::default(),
            lost_rejects: 0,
            gaps: Vec::new(),
        }
    }

    fn side(rows: u64, digest: u128) -> Side {
        Side { rows, digest }
    }

    fn findings() -> Vec<TableAudit> {
        let equal = DayAudit { source: side(3, 7), stored: side(3, 7), ..DayAudit::default() };
        let wrong = DayAudit {
            source: side(12_345, 8),
            stored: side(12_344, 9),
            missing: 2,
            extra: 1,
            different: 1,
            drifted: 4,
        };
        let mut contacts =
            audit("contact", &[(Some("2026-11-20"), equal), (Some("2026-11-22"), wrong)]);
        let difference = |id: &str, kind| Difference {
            day: "2026-11-22".parse().ok(),
            key: json!({ "id": id }).as_object().unwrap().clone(),
            kind,
        };
        contacts.differences = vec![
            difference("0bbc-1", DifferenceKind::Missing),
            difference(
                "0bbc\u{1b}-2",
                DifferenceKind::Different(vec!["email".into(), "listIds".into()]),
            ),
            difference("0bbc-3", DifferenceKind::Extra),
        ];
        contacts.drift =
            BTreeMap::from([("numOpens".to_owned(), 4), ("numSends".to_owned(), 1_200)]);
        contacts.excluded.moved = 17;
        contacts.lost_rejects = 1;
        let mut inbound = audit("inbound_activity", &[(Some("2026-11-20"), equal)]);
        inbound.excluded.unreadable = 90_000;
        inbound.gaps = vec![Gap {
            stream: "inbound_activity".into(),
            from: "2026-10-23T00:00:00Z".parse().unwrap(),
            to: "2026-10-24T13:01:00Z".parse().unwrap(),
            reason: "Bronto returns only the activities of the last 30 days".to_owned(),
        }];
        vec![contacts, inbound, audit("list", &[(None, equal)])]
    }

    #[test]
    fn what_differs_is_shown_by_table_day_and_key() {
        let unknown = ["unsubscribe".to_owned()];
        insta::assert_snapshot!(summary(&findings(), &unknown), @r"

         Table              From                   Before                 Account   Stored   Missing   Extra   Different   Drifted   Changed since
        ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
         contact            2026-11-20T00:00:00Z   2026-11-23T13:00:00Z    12,348   12,347         2       1           1         4              17
         inbound_activity   2026-11-20T00:00:00Z   2026-11-23T13:00:00Z         3        3         0       0           0         0               0
         list               whole                  whole                        3        3         0       0           0         0               0

        contact
          2026-11-22: 12,345 in the account, 12,344 stored; 2 missing, 1 extra, 1 different
          2026-11-22 id=0bbc-1: missing in the destination
          2026-11-22 id=0bbc\u{1b}-2: different: email, listIds
          2026-11-22 id=0bbc-3: only in the destination
          … 1 more of 4; list more with `--limit`
          objects that can't be read as rows and are not among the rejects: 1
          drift, which is no difference: numOpens 4, numSends 1,200
          not compared, as they changed since the bookmark: 17 rows

        inbound_activity
          not compared, as they are too old to be read again: 90,000 rows
          not compared: 2026-10-23T00:00:00Z to 2026-10-24T13:01:00Z: Bronto returns only the activities of the last 30 days

        unsubscribe: never replicated, so there is nothing to compare

        The account and the destination differ
        ");
    }

    #[test]
    fn programs_get_every_figure() {
        let json = table_json(&findings().remove(2));
        insta::assert_snapshot!(format!("{json:#}"), @r#"
        {
          "table": "list",
          "equal": true,
          "from": null,
          "before": null,
          "source_rows": 3,
          "stored_rows": 3,
          "source_digest": "00000000000000000000000000000007",
          "stored_digest": "00000000000000000000000000000007",
          "missing": 0,
          "extra": 0,
          "different": 0,
          "drifted": 0,
          "days_compared": 1,
          "days": [
            {
              "source_rows": 3,
              "stored_rows": 3,
              "source_digest": "00000000000000000000000000000007",
              "stored_digest": "00000000000000000000000000000007",
              "missing": 0,
              "extra": 0,
              "different": 0,
              "drifted": 0,
              "day": null
            }
          ],
          "differences": [],
          "drift": {},
          "lost_rejects": 0,
          "not_compared": {
            "changed_since_bookmark": 0,
            "after_bookmark": 0,
            "rejected": 0,
            "unreadable": 0,
            "without_replication_key": 0
          },
          "gaps": []
        }
        "#);
    }
}
