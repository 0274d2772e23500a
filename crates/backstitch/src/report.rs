//! What a run says at its end: a table for people, a JSON document for programs.

use replication::{
    destination::RejectRecord,
    edit::NO_BOOKMARK,
    event::Gap,
    ledger::{LoadCounts, LoadRecord},
    run::{RunReport, Settlement, TableReport},
};
use serde_json::{Value, json};

use crate::{
    display::{self, Column},
    failure::Failure,
    pipeline::Outcome,
};

/// What a run was about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject {
    /// The integration.
    pub(crate) integration: String,
    /// The destination's address, without secrets.
    pub(crate) destination: String,
    /// The schema.
    pub(crate) schema: String,
}

impl Subject {
    /// The report of a run.
    pub(crate) fn report(&self, outcome: &Outcome) -> Value {
        let status = match (&outcome.failure, outcome.signal) {
            (Some(_), _) => "failed",
            (None, Some(_)) => "interrupted",
            (None, None) => "succeeded",
        };
        let report = &outcome.report;
        json!({
            "status": status,
            "integration": self.integration,
            "destination": self.destination,
            "schema": self.schema,
            "run_id": report.run_id,
            "started_at": display::instant(Some(report.started_at)),
            "finished_at": display::instant(Some(report.finished_at)),
            "seconds": seconds(report),
            "units": report.units,
            "tables": report.tables.iter().map(table_json).collect::<Vec<_>>(),
            "gaps": report.gaps.iter().map(gap_json).collect::<Vec<_>>(),
            "settled": report.settled.as_ref().map(settlement_json),
            "expired_rejects": report.expired_rejects,
            "error": outcome.failure.as_ref().map(Failure::to_json),
        })
    }
}

/// The report of a run that failed before it began.
pub(crate) fn stillborn(failure: &Failure) -> Value {
    json!({ "status": "failed", "tables": [], "gaps": [], "error": failure.to_json() })
}

/// How long a run took, in seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "a duration of a run in milliseconds is far below 2^52"
)]
pub(crate) fn seconds(report: &RunReport) -> f64 {
    (report.finished_at - report.started_at).num_milliseconds() as f64 / 1000.0
}

/// The table that ends a run, and a line per gap and settlement.
pub(crate) fn summary(report: &RunReport) -> String {
    let mut text = String::new();
    if !report.tables.is_empty() {
        let columns =
            [&[Column::Text("Table")], &FIGURES[..], &[Column::Text("Bookmark")]].concat();
        let rows: Vec<Vec<String>> = report.tables.iter().map(table_row).collect();
        text.push_str(&display::table(&columns, &rows));
        text.push('\n');
    }
    let mut gaps: Vec<&Gap> = report.gaps.iter().collect();
    gaps.sort_by(|one, other| (&one.stream, one.from).cmp(&(&other.stream, other.from)));
    for gap in gaps {
        let (from, to) = (display::instant(Some(gap.from)), display::instant(Some(gap.to)));
        text.push_str(&format!(
            "Gap in {}: {from} to {to} can't be read: {}\n",
            gap.stream, gap.reason
        ));
    }
    if let Some(settled) = &report.settled {
        let verdict = if settled.balances() {
            "its books balance"
        } else {
            "its books do NOT balance; see the log"
        };
        text.push_str(&format!("Settled after {}: {verdict}\n", settled.predecessor));
    }
    text
}

/// The figures of a run in the log, a line per table.
pub(crate) fn log(report: &RunReport) {
    for table in &report.tables {
        let counts = &table.counts;
        tracing::info!(
            "{}: {} received, {} inserted, {} updated, {} unchanged, {} rejected",
            table.table,
            counts.received,
            counts.inserted,
            counts.updated,
            counts.unchanged,
            counts.rejected
        );
    }
}

/// What people are shown of what was loaded; [`figures`] fills it.
pub(crate) const FIGURES: [Column; 7] = [
    Column::Figure("Received"),
    Column::Figure("Inserted"),
    Column::Figure("Updated"),
    Column::Figure("Unchanged"),
    Column::Rare("Superseded"),
    Column::Rare("Rejected"),
    Column::Rare("Deleted"),
];

/// The figures of [`FIGURES`].
pub(crate) fn figures(counts: &LoadCounts) -> [String; 7] {
    let figures = [
        counts.received,
        counts.inserted,
        counts.updated,
        counts.unchanged,
        counts.superseded,
        counts.rejected,
        counts.deleted,
    ];
    figures.map(display::count)
}

fn table_row(table: &TableReport) -> Vec<String> {
    let mut row = vec![table.table.clone()];
    row.extend(figures(&table.counts));
    row.push(table.bookmark.clone().unwrap_or_default());
    row
}

fn table_json(table: &TableReport) -> Value {
    let mut value = json!({ "stream": table.stream, "table": table.table });
    add_counts(&mut value, &table.counts);
    value["bookmark"] = json!(table.bookmark);
    value["max_replication_key"] = json!(table.max_replication_key);
    value
}

/// The figures of a ledger row.
pub(crate) fn counts_json(counts: &LoadCounts) -> Value {
    let mut value = json!({});
    add_counts(&mut value, counts);
    value
}

/// Adds the figures of a ledger row, under the names of its columns.
pub(crate) fn add_counts(value: &mut Value, counts: &LoadCounts) {
    let figures = [
        ("read", counts.read),
        ("out_of_window", counts.out_of_window),
        ("repeated", counts.repeated),
        ("received", counts.received),
        ("inserted", counts.inserted),
        ("updated", counts.updated),
        ("unchanged", counts.unchanged),
        ("superseded", counts.superseded),
        ("rejected", counts.rejected),
        ("deleted", counts.deleted),
        ("bytes", counts.bytes),
        ("requests", counts.requests),
    ];
    for (name, figure) in figures {
        value[name] = figure.into();
    }
}

fn gap_json(gap: &Gap) -> Value {
    json!({
        "stream": gap.stream.as_str(),
        "from": display::instant(Some(gap.from)),
        "to": display::instant(Some(gap.to)),
        "reason": gap.reason,
    })
}

fn settlement_json(settled: &Settlement) -> Value {
    let tables = settled.tables.iter().map(|table| {
        json!({ "table": table.table, "in_ledger": table.in_ledger, "in_table": table.in_table })
    });
    json!({
        "predecessor": settled.predecessor,
        "balances": settled.balances(),
        "rejected": settled.rejected,
        "tables": tables.collect::<Vec<_>>(),
    })
}

/// A row of the ledger.
pub(crate) fn load_json(load: &LoadRecord) -> Value {
    let mut value = json!({
        "batch_id": load.batch_id,
        "table": load.table,
        "run_id": load.run_id,
        "stream": load.stream,
        "table_version": load.table_version,
    });
    add_counts(&mut value, &load.counts);
    value["bookmark"] = json!(load.bookmark.as_ref().filter(|bookmark| *bookmark != NO_BOOKMARK));
    value["max_replication_key"] = json!(load.max_replication_key);
    value["gap"] = load.gap.as_ref().map_or(Value::Null, gap_json);
    value["started_at"] = display::instant(Some(load.started_at)).into();
    value["staged_at"] = display::instant(Some(load.staged_at)).into();
    value["committed_at"] = display::instant(Some(load.committed_at)).into();
    value
}

/// A rejected row.
pub(crate) fn reject_json(reject: &RejectRecord) -> Value {
    json!({
        "reject_id": reject.id,
        "table": reject.table,
        "reason_code": reject.reason_code,
        "reason": reject.reason,
        "run_id": reject.run_id,
        "rejected_at": display::instant(Some(reject.rejected_at)),
        "record": reject.record,
    })
}
