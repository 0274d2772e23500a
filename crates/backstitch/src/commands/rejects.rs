//! `backstitch rejects`: the rows that could not be loaded, with the reason for each.

use std::collections::BTreeMap;

use replication::destination::RejectRecord;
use serde_json::Value;

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
    let target = connect::target(&arguments.schema)?;
    telemetry::start(None)?;
    let rejects = pipeline::block_on(async {
        let destination = connect::existing(&target)?;
        let table = arguments.table.as_deref();
        destination.rejects(table, arguments.limit).await.map_err(|error| Failure::from(&error))
    })?;
    if arguments.schema.json {
        display::print_json(&rejects.iter().map(report::reject_json).collect::<Value>())?;
    } else if rejects.is_empty() {
        display::print("No row was rejected\n")?;
    } else {
        let closing = if rejects.len() == arguments.limit {
            format!(
                "\nShown are the newest {}; more with `--limit`\n",
                display::count(count(rejects.len()))
            )
        } else {
            String::new()
        };
        display::print(&format!("{}\n{}{closing}", by_reason(&rejects), rows(&rejects)))?;
    }
    Ok(ExitStatus::Done)
}

/// A table of reasons, the commonest first.
pub(super) fn by_reason(rejects: &[RejectRecord]) -> String {
    let mut reasons: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for reject in rejects {
        *reasons.entry((&reject.table, &reject.reason_code, &reject.reason)).or_default() += 1;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
    let columns = [
        Column::Text("Table"),
        Column::Figure("Rows"),
        Column::Text("Code"),
        Column::Text("Reason"),
    ];
    let row = |((table, code, reason), rows): &((&str, &str, &str), usize)| {
        vec![
            (*table).to_owned(),
            display::count(count(*rows)),
            (*code).to_owned(),
            display::one_line(reason, 200),
        ]
    };
    display::table(&columns, &reasons.iter().map(row).collect::<Vec<_>>())
}

/// The rows, each in one line of its own.
fn rows(rejects: &[RejectRecord]) -> String {
    let line = |reject: &RejectRecord| {
        let time = display::instant(Some(reject.rejected_at));
        let record = display::one_line(&reject.record, RECORD_LENGTH);
        format!("{time} {} {}: {record}\n", reject.table, reject.reason_code)
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
        let reject = |table: &str, code: &str, record: &str| RejectRecord {
            rejected_at: chrono::DateTime::from_timestamp(1_795_438_800, 0).unwrap_or_default(),
            table: table.to_owned(),
            reason: "Another row has the same key".to_owned(),
            reason_code: code.to_owned(),
            id: record.to_owned(),
            run_id: "r1".to_owned(),
            record: record.to_owned(),
        };
        let rejects = [
            reject("contact", "wrong_type", "<return>\u{1b}</return>"),
            reject("unsubscribe", "key_collision", "{\"contactId\":\"a\"}"),
            reject("unsubscribe", "key_collision", "{\"contactId\":\"b\"}"),
        ];
        insta::assert_snapshot!(format!("{}\n{}", by_reason(&rejects), rows(&rejects)), @r#"
         Table         Rows   Code            Reason
        ───────────────────────────────────────────────────────────────────
         unsubscribe      2   key_collision   Another row has the same key
         contact          1   wrong_type      Another row has the same key

        2026-11-23T13:00:00Z contact wrong_type: <return>\u{1b}</return>
        2026-11-23T13:00:00Z unsubscribe key_collision: {"contactId":"a"}
        2026-11-23T13:00:00Z unsubscribe key_collision: {"contactId":"b"}
        "#);
    }
}
