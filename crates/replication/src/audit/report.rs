//! What an audit found.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::{event::Gap, source::Span};

/// What was found of one table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableAudit {
    /// The table.
    pub table: String,
    /// The span in which the compared days lie.
    pub span: Span,
    /// The compared days; no day for a table that is compared whole.
    pub days: BTreeMap<Option<NaiveDate>, DayAudit>,
    /// The first differences, by day and key; [`TableAudit::totals`] counts all.
    pub differences: Vec<Difference>,
    /// How many rows differ in each column that moves by itself.
    pub drift: BTreeMap<String, u64>,
    /// What was left out.
    pub excluded: Excluded,
    /// Objects that could not be read as rows, and that are not among the rejects either.
    pub lost_rejects: u64,
    /// Spans that the source can't give again.
    pub gaps: Vec<Gap>,
}

/// What was found of one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DayAudit {
    /// The source's rows.
    pub source: Side,
    /// The destination's.
    pub stored: Side,
    /// Rows that the destination lacks.
    pub missing: u64,
    /// Rows that only the destination has.
    pub extra: u64,
    /// Rows that differ in a column that doesn't move by itself.
    pub different: u64,
    /// Rows that differ in other columns alone.
    pub drifted: u64,
}

impl DayAudit {
    /// Whether both sides hold the same rows, columns that move by themselves aside.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.source == self.stored && self.missing + self.extra + self.different == 0
    }

    fn add(&mut self, other: &Self) {
        self.source.add(&other.source);
        self.stored.add(&other.stored);
        self.missing += other.missing;
        self.extra += other.extra;
        self.different += other.different;
        self.drifted += other.drifted;
    }
}

/// The rows of one side: how many there are, and a digest that doesn't depend on their order. Columns that move by
/// themselves are not in it. Digests can be compared within one audit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Side {
    /// Rows.
    pub rows: u64,
    /// The sum of their digests.
    pub digest: u128,
}

impl Side {
    pub(super) fn count(&mut self, digest: u128) {
        self.rows += 1;
        self.digest = self.digest.wrapping_add(digest);
    }

    pub(super) fn leave_out(&mut self, digest: u128) {
        self.rows = self.rows.saturating_sub(1);
        self.digest = self.digest.wrapping_sub(digest);
    }

    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.digest = self.digest.wrapping_add(other.digest);
    }
}

/// Rows that were left out of the comparison.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Excluded {
    /// Stored rows whose replication key lies after the bookmark.
    pub after_bookmark: u64,
    /// Rows that changed since the bookmark: the next run will bring them up to date.
    pub moved: u64,
    /// The source's rows that stand among the rejects.
    pub rejected: u64,
    /// Stored rows that the source can't give again.
    pub unreadable: u64,
    /// Stored rows without a replication key, by which nobody can ask for them.
    pub undated: u64,
}

/// A row in which the two sides differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Its day.
    pub day: Option<NaiveDate>,
    /// Its key, by column.
    pub key: Map<String, Value>,
    /// How they differ.
    pub kind: DifferenceKind,
}

/// How the two sides differ in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The destination lacks it.
    Missing,
    /// Only the destination has it.
    Extra,
    /// These columns differ.
    Different(Vec<String>),
}

impl TableAudit {
    /// All days together.
    #[must_use]
    pub fn totals(&self) -> DayAudit {
        let mut totals = DayAudit::default();
        self.days.values().for_each(|day| totals.add(day));
        totals
    }

    /// Whether the destination holds what the source gives.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.lost_rejects == 0 && self.days.values().all(DayAudit::is_equal)
    }

    /// The spans whose rows a read of the source can mend; for a table that is compared whole, all of it.
    #[must_use]
    pub fn spans_to_mend(&self) -> Vec<Span> {
        let is_wrong = |day: &DayAudit| day.missing + day.different > 0;
        if self.lost_rejects > 0 || self.days.get(&None).is_some_and(is_wrong) {
            return vec![self.span];
        }
        let mut spans: Vec<Span> = Vec::new();
        for (day, _) in self.days.iter().filter(|(_, day)| is_wrong(day)) {
            let Some(span) = day.and_then(|day| of_day(day, self.span)) else { continue };
            match spans.last_mut() {
                Some(last) if last.before == span.from => last.before = span.before,
                _ => spans.push(span),
            }
        }
        spans
    }
}

/// The part of a day that lies in a span; none if nothing of it does.
pub(super) fn of_day(day: NaiveDate, span: Span) -> Option<Span> {
    let from: DateTime<Utc> = day.and_time(NaiveTime::MIN).and_utc();
    let before = from.checked_add_signed(TimeDelta::days(1))?;
    let part = Span { from: from.max(span.from), before: before.min(span.before) };
    (part.from < part.before).then_some(part)
}
