//! `backstitch rejects`: the rows that could not be loaded, with the reason for each.

use replication::destination::{DestinationError, RejectReason, RejectRecord};
use serde_json::{Value, json};

use super::{replay, tasks};
use crate::{
    command_line::RejectsArguments,
    connect,
    display::{self, Column},
    exit::ExitStatus,
    failure::Failure,
    pipeline, report, telemetry,
};

/// How much of a row is shown to people; `--json` shows it whole.
const RECORD_LENGTH: usize = 160;

/// Runs the command.
///
/// # Errors
/// When the destination can't be read.
pub(crate) fn execute(arguments: &RejectsArguments) -> Result<ExitStatus, Failure> {
    if arguments.schema.asks(&arguments.server)? {
        return tasks::rejects(arguments);
    }
    if arguments.replay {
        return replay::execute(arguments);
    }
    if arguments.reason.is_some() || arguments.id.is_some() || arguments.state.is_some() {
        return Err(Failure::configuration(
            "`--reason`, `--id` and `--state` choose rows of a service, or what `--replay` loads",
        )
        .with_hint("Leave them out, add `--replay`, or give a service by `--server`"));
    }
    let target = connect::target(&arguments.schema)?;
    telemetry::start(None)?;
    let table = arguments.table.as_deref();
    let (reasons, rejects) = pipeline::block_on(async {
        let destination = connect::existing(&target)?;
        let reasons = destination.reject_reasons(table).await;
        let rejects = destination.rejects(table, arguments.limit).await;
        let failed = |error: DestinationError| Failure::from(&error);
        Ok((reasons.map_err(failed)?, rejects.map_err(failed)?))
    })?;
    if arguments.schema.json {
        let reasons: Value = reasons.iter().map(reason_json).collect();
        let rejects: Value = rejects.iter().map(report::reject_json).collect();
        display::print_json(&json!({ "reasons": reasons, "rejects": rejects }))?;
    } else if reasons.is_empty() {
        display::print("No row was rejected\n")?;
    } else {
        let total: u64 = reasons.iter().map(|reason| reason.rows).sum();
        let closing = if count(rejects.len()) < total {
            format!(
                "\nShown are the newest {} of {}; more with `--limit`\n",
                display::count(count(rejects.len())),
                display::count(total)
            )
        } else {
            String::new()
        };
        display::print(&format!("{}\n{}{closing}", by_reason(&reasons), rows(&rejects)))?;
    }
    Ok(ExitStatus::Done)
}

/// A table of reasons, the commonest first.
pub(super) fn by_reason(reasons: &[RejectReason]) -> String {
    let columns = [
        Column::Text("Table"),
        Column::Figure("Rows"),
        Column::Text("Code"),
        Column::Text("Reason"),
        Column::Text("Last"),
    ];
    let row = |reason: &RejectReason| {
        vec![
            reason.table.clone(),
            display::count(reason.rows),
            reason.reason_code.clone(),
            display::one_line(&reason.reason, 200),
            display::instant(Some(reason.last_rejected_at)),
        ]
    };
    display::table(&columns, &reasons.iter().map(row).collect::<Vec<_>>())
}

fn reason_json(reason: &RejectReason) -> Value {
    json!({
        "table": reason.table,
        "reason_code": reason.reason_code,
        "reason": reason.reason,
        "rows": reason.rows,
        "first_rejected_at": display::instant(Some(reason.first_rejected_at)),
        "last_rejected_at": display::instant(Some(reason.last_rejected_at)),
    })
}

/// The rows, each in one line of its own.
fn rows(rejects: &[RejectRecord]) -> String {
    let line = |reject: &RejectRecord| {
        let time = display::instant(Some(reject.rejected_at));
        let record = display::one_line(&reject.record, RECORD_LENGTH);
        format!("{time} {} {} {}: {record}\n", reject.id, reject.table, reject.reason_code)
    };
    rejects.iter().map(line).collect()
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_by_reason_and_shows_the_rows() {
        let at = chrono::DateTime::from_timestamp(1_795_438_800, 0).unwrap_or_default();
        let reason = |table: &str, code: &str, rows| RejectReason {
            table: table.to_owned(),
            reason_code: code.to_owned(),
            reason: "Another row has the same key".to_owned(),
            rows,
            first_rejected_at: at,
            last_rejected_at: at,
        };
        let reasons =
            [reason("unsubscribe", "key_collision", 1_200), reason("contact", "wrong_type", 1)];
        let rejects = [RejectRecord {
            rejected_at: at,
            table: "contact".to_owned(),
            reason: "A value has another type".to_owned(),
            reason_code: "wrong_type".to_owned(),
            id: "1".to_owned(),
            run_id: "r1".to_owned(),
            record: "<return>\u{1b}</return>".to_owned(),
        }];
        insta::assert_snapshot!(format!("{}\n{}", by_reason(&reasons), rows(&rejects)), @r"

         Table          Rows   Code            Reason                         Last
        ───────────────────────────────────────────────────────────────────────────────────────────
         unsubscribe   1,200   key_collision   Another row has the same key   2026-11-23T13:00:00Z
         contact           1   wrong_type      Another row has the same key   2026-11-23T13:00:00Z

        2026-11-23T13:00:00Z 1 contact wrong_type: <return>\u{1b}</return>
        ");
    }
}
