//! `backstitch status`: what is in a schema, how far its bookmarks are, and who holds it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use replication::{
    claim::Holder,
    destination::{Destination, LedgerTotals, StateRow},
};
use serde_json::{Value, json};

use super::tables;
use crate::{
    command_line::StatusArguments,
    connect,
    display::{self, Column},
    exit::ExitStatus,
    failure::Failure,
    pipeline, telemetry,
};

/// What is known of a schema.
#[derive(Debug)]
struct Status {
    place: String,
    claim: Option<StateRow>,
    tables: BTreeMap<String, TableStatus>,
}

/// What is known of one table.
#[derive(Debug, Default)]
struct TableStatus {
    rows: Option<u64>,
    totals: LedgerTotals,
    bookmark: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When the destination can't be read.
pub(crate) fn execute(arguments: &StatusArguments) -> Result<ExitStatus, Failure> {
    if arguments.schema.asks(&arguments.server)? {
        return tables::status(arguments);
    }
    let target = connect::target(&arguments.schema)?;
    telemetry::start(None)?;
    let status = pipeline::block_on(async {
        let destination = connect::existing(&target)?;
        read(destination.as_ref()).await
    })?;
    if arguments.schema.json {
        display::print_json(&status.to_json(Utc::now()))?;
    } else {
        display::print(&status.to_text(Utc::now()))?;
    }
    Ok(ExitStatus::Done)
}

async fn read(destination: &dyn Destination) -> Result<Status, Failure> {
    let states = destination.states().await.map_err(|error| Failure::from(&error))?;
    let totals = destination.totals().await.map_err(|error| Failure::from(&error))?;
    let (claims, streams): (Vec<StateRow>, Vec<StateRow>) =
        states.into_iter().partition(|state| state.stream.is_empty());
    let names: BTreeSet<String> =
        totals.keys().cloned().chain(streams.iter().map(|state| state.stream.clone())).collect();
    let mut tables = BTreeMap::new();
    for name in names {
        let rows = destination.count(&name).await.map_err(|error| Failure::from(&error))?;
        let state = streams
            .iter()
            .find(|state| state.stream == name)
            .and_then(|state| state.state.as_ref());
        let totals = totals.get(&name).copied().unwrap_or_default();
        tables.insert(name, TableStatus { rows, totals, bookmark: state.and_then(bookmark_text) });
    }
    Ok(Status { place: destination.describe(), claim: claims.into_iter().next(), tables })
}

/// A bookmark as people read it: the instant, where the state has one. Full tables have none.
pub(crate) fn bookmark_text(state: &Value) -> Option<String> {
    state.get("last_record").and_then(Value::as_str).map(str::to_owned)
}

impl Status {
    fn to_text(&self, now: DateTime<Utc>) -> String {
        let mut text = format!("{}\n", self.place);
        if self.tables.is_empty() && self.claim.is_none() {
            text.push_str("Nothing has been loaded yet\n");
            return text;
        }
        if let Some(claim) = &self.claim {
            text.push_str(&format!("{}\n", claim_text(claim, now)));
        }
        let columns = [
            Column::Text("Table"),
            Column::Figure("Rows"),
            Column::Figure("Inserted"),
            Column::Figure("Updated"),
            Column::Rare("Deleted"),
            Column::Rare("Rejected"),
            Column::Text("Last commit"),
            Column::Text("Bookmark"),
        ];
        let rows: Vec<Vec<String>> =
            self.tables.iter().map(|(name, table)| table.row(name)).collect();
        text.push_str(&display::table(&columns, &rows));
        text
    }

    fn to_json(&self, now: DateTime<Utc>) -> Value {
        let tables: Vec<Value> =
            self.tables.iter().map(|(name, table)| table.to_json(name)).collect();
        let claim = self.claim.as_ref().map(|claim| {
            let holder = claim.holder.as_deref().and_then(Holder::parse);
            json!({
                "integration": claim.integration_id,
                "token": claim.token,
                "held": is_held(claim, now),
                "run_id": holder.as_ref().map(|holder| holder.run_id.clone()),
                "host": holder.as_ref().map(|holder| holder.host.clone()),
                "pid": holder.as_ref().map(|holder| holder.pid),
                "lease_expires_at": claim.lease_expires_at.map(|until| display::instant(Some(until))),
            })
        });
        json!({ "destination": self.place, "claim": claim, "tables": tables })
    }
}

impl TableStatus {
    fn row(&self, name: &str) -> Vec<String> {
        let totals = &self.totals;
        vec![
            name.to_owned(),
            self.rows.map_or_else(|| "none".to_owned(), display::count),
            display::count(totals.inserted),
            display::count(totals.updated),
            display::count(totals.deleted),
            display::count(totals.rejected),
            display::instant(totals.last_committed_at),
            self.bookmark.clone().unwrap_or_default(),
        ]
    }

    fn to_json(&self, name: &str) -> Value {
        let totals = &self.totals;
        json!({
            "table": name,
            "rows": self.rows,
            "received": totals.received,
            "inserted": totals.inserted,
            "updated": totals.updated,
            "unchanged": totals.unchanged,
            "superseded": totals.superseded,
            "rejected": totals.rejected,
            "deleted": totals.deleted,
            "last_committed_at": totals.last_committed_at.map(|instant| display::instant(Some(instant))),
            "bookmark": self.bookmark,
        })
    }
}

/// Whether a run holds the schema now: it hasn't let go, its lease lasts, and it isn't known to be dead.
pub(crate) fn is_held(claim: &StateRow, now: DateTime<Utc>) -> bool {
    let holder = claim.holder.as_deref().and_then(Holder::parse);
    claim.holder.is_some()
        && claim.lease_expires_at.is_some_and(|until| until > now)
        && !holder.is_some_and(|holder| holder.is_dead())
}

fn claim_text(claim: &StateRow, now: DateTime<Utc>) -> String {
    let owner = claim.integration_id.as_deref().unwrap_or_default();
    let holder = claim.holder.as_deref().map(|stored| {
        Holder::parse(stored).map_or_else(|| stored.to_owned(), |holder| holder.to_string())
    });
    let until = display::instant(claim.lease_expires_at);
    match holder {
        None => format!("Belongs to integration `{owner}`; no run holds it"),
        Some(holder) if is_held(claim, now) => {
            format!("Belongs to integration `{owner}`; held by {holder} until {until}")
        }
        Some(holder) => format!(
            "Belongs to integration `{owner}`; {holder} did not let go, the next run settles its books"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(holder: Option<&str>) -> Status {
        let claim = StateRow {
            stream: String::new(),
            state: None,
            token: Some(3),
            holder: holder.map(str::to_owned),
            lease_expires_at: DateTime::from_timestamp(1_795_438_800, 0),
            integration_id: Some("Stitch Bronto".to_owned()),
            start_date: None,
            updated_at: None,
        };
        let totals = LedgerTotals {
            received: 1_000,
            inserted: 999,
            rejected: 1,
            last_committed_at: DateTime::from_timestamp(1_795_438_800, 0),
            ..LedgerTotals::default()
        };
        let state = json!({ "field": "modified", "last_record": "2026-11-23T12:57:00Z" });
        let contact = TableStatus { rows: Some(999), totals, bookmark: bookmark_text(&state) };
        Status {
            place: "`duckdb:w.duckdb`, schema `stitch_bronto`".to_owned(),
            claim: Some(claim),
            tables: BTreeMap::from([("contact".to_owned(), contact)]),
        }
    }

    #[test]
    fn shows_tables_bookmarks_and_the_holder() {
        let holder = r#"{"host":"h","pid":7,"incarnation":"","run_id":"r1"}"#;
        let before = DateTime::from_timestamp(1_795_438_700, 0).unwrap_or_default();
        insta::assert_snapshot!(status(Some(holder)).to_text(before), @r"
        `duckdb:w.duckdb`, schema `stitch_bronto`
        Belongs to integration `Stitch Bronto`; held by run `r1` (process 7 on `h`) until 2026-11-23T13:00:00Z

         Table     Rows   Inserted   Updated   Rejected   Last commit            Bookmark
        ──────────────────────────────────────────────────────────────────────────────────────────────
         contact    999        999         0          1   2026-11-23T13:00:00Z   2026-11-23T12:57:00Z
        ");
        let claim = status(Some(holder)).to_json(before)["claim"].clone();
        assert_eq!((claim["held"].as_bool(), claim["pid"].as_u64()), (Some(true), Some(7)));
    }

    #[test]
    fn tells_a_lost_holder_from_none() {
        let after = DateTime::from_timestamp(1_795_438_900, 0).unwrap_or_default();
        let first_line = |status: Status| status.to_text(after).lines().nth(1).map(str::to_owned);
        let lost =
            first_line(status(Some(r#"{"host":"h","pid":7,"incarnation":"","run_id":"r1"}"#)));
        assert!(lost.is_some_and(|line| line.contains("did not let go")));
        assert!(first_line(status(None)).is_some_and(|line| line.contains("no run holds it")));
    }
}
