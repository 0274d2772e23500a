//! What an account truly holds, in the form in which it is compared.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tap_bronto::IdScheme;

use super::case::Case;
use crate::{
    account::{Account, at},
    table::{Row, canonical, true_rows},
};

/// The fields by which the Python tap tells activities apart, besides the second of their date.
const COMPATIBLE: [&str; 6] =
    ["activityType", "contactId", "listId", "segmentId", "keywordId", "messageId"];

/// A row of the account.
#[derive(Debug)]
pub(super) struct TrueRow {
    /// Its replication key.
    pub(super) at: Option<DateTime<Utc>>,
    pub(super) line: String,
    pub(super) token: String,
    /// Whether a column or key can't hold it, so that it has to be rejected.
    pub(super) is_unfit: bool,
    pub(super) row: Row,
}

/// The column that bookmarks of a stream are about.
pub(super) fn replication_key(stream: &str) -> Option<&'static str> {
    match stream {
        "contact" => Some("modified"),
        "unsubscribe" => Some("created"),
        "list" => None,
        _ => Some("createdDate"),
    }
}

/// The instant of a row.
pub(super) fn instant(stream: &str, row: &Row) -> Option<DateTime<Utc>> {
    row.get(replication_key(stream)?).and_then(Value::as_str).map(at)
}

/// By what a row is told apart from others: all its values, but for ids that can't tell more apart than the Python tap.
pub(super) fn token(stream: &str, row: &Row, scheme: IdScheme) -> String {
    let mut row = row.clone();
    if stream.ends_with("activity") {
        row.shift_remove("id");
        if scheme == IdScheme::Compatible {
            let second = instant(stream, &row).map(|date| date.timestamp());
            let fields = COMPATIBLE.map(|field| row.get(field).and_then(Value::as_str));
            return format!("{second:?} {fields:?}");
        }
    }
    canonical(row)
}

/// The rows of a stream's table that a case's runs are asked for, by replication key.
pub(super) fn truth_of(case: &Case, account: &Account, stream: &str) -> Vec<TrueRow> {
    let rows = true_rows(account, stream).into_iter();
    let mut rows: Vec<_> = rows
        .map(|row| TrueRow {
            at: instant(stream, &row),
            token: token(stream, &row, case.activity_id),
            line: canonical(row.clone()),
            is_unfit: is_unfit(stream, &row),
            row,
        })
        .collect();
    rows.retain(|row| row.at.is_none_or(|at| at >= case.start_date));
    rows.sort_by_key(|row| row.at);
    rows
}

fn is_unfit(stream: &str, row: &Row) -> bool {
    let key: &[&str] = match stream {
        "unsubscribe" => &["contactId", "created"],
        "contact" | "list" => &["id"],
        _ => &[],
    };
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    // Date-time columns hold microseconds, and number columns hold neither `NaN` nor `INF`.
    let is_too_fine = stream != "unsubscribe"
        && replication_key(stream).and_then(text).is_some_and(|date| date.len() > 27);
    let is_no_number = text("conversionAmount").is_some_and(|text| text.contains(['N', 'I']));
    is_too_fine || is_no_number || key.iter().any(|name| !row.contains_key(*name))
}
