//! What bookmarks promise: everything before them is out.

use std::collections::BTreeMap;

use super::{
    case::Case,
    replica::Replica,
    truth::{TrueRow, replication_key, truth_of},
};
use crate::account::{Account, TABLES};

/// The rows that a run's bookmarks will pass, by stream.
#[derive(Debug)]
pub(super) struct Due(BTreeMap<&'static str, Rows>);

#[derive(Debug)]
struct Rows {
    rows: Vec<TrueRow>,
    /// How many of them bookmarks have passed.
    passed: usize,
}

impl Due {
    /// What there is as a run begins.
    pub(super) fn at_start(case: &Case, account: &Account, replica: &Replica) -> Self {
        let has_late_ones = case.account.get("late_arrivals").is_some_and(|value| value != "0");
        let due = TABLES.into_iter().filter_map(|(stream, _)| {
            replication_key(stream)?;
            let bookmark = replica.bookmark(stream);
            // What arrives behind a bookmark is for the look-back of some later run.
            if has_late_ones && bookmark.is_some() && stream.ends_with("activity") {
                return None;
            }
            let rows = truth_of(case, account, stream);
            let passed = rows.partition_point(|row| row.at.is_none() || row.at < bookmark);
            Some((stream, Rows { rows, passed }))
        });
        Self(due.collect())
    }

    /// A stream has a new bookmark: all rows before it are held, as often as they are there.
    pub(super) fn assert_held(
        &mut self,
        stream: &str,
        case: &Case,
        account: &Account,
        replica: &Replica,
    ) {
        let Some(Rows { rows, passed }) = self.0.get_mut(stream) else { return };
        let bookmark = replica.bookmark(stream);
        let end = rows.partition_point(|row| row.at < bookmark).max(*passed);
        let mut missing = lacking(stream, case, replica, &rows[*passed..end]);
        *passed = end;
        if !missing.is_empty() {
            // Contacts that have changed meanwhile lie behind the bookmark.
            let now = truth_of(case, account, stream);
            missing.retain(|lost| now.iter().any(|row| row.token == lost.token));
        }
        assert!(
            missing.is_empty(),
            "{stream}: the bookmark {bookmark:?} passes {} rows that never came: {:#?}",
            missing.len(),
            missing.iter().take(3).map(|row| &row.line).collect::<Vec<_>>()
        );
    }
}

/// The rows that a replica holds less often than the account.
fn lacking<'a>(
    stream: &str,
    case: &Case,
    replica: &Replica,
    rows: &'a [TrueRow],
) -> Vec<&'a TrueRow> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let due = rows.iter().filter(|row| !row.is_unfit && !replica.is_in_gap(stream, row.at));
    let tells_apart = stream.ends_with("activity") && case.tells_activities_apart();
    due.filter(|row| {
        let times = times.entry(&row.token).or_default();
        *times = if tells_apart { *times + 1 } else { 1 };
        replica.times_held(stream, &row.token) < *times
    })
    .collect()
}
