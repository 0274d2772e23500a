//! What comparing the chunks of a table has come to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use chrono::NaiveDate;
use serde_json::{Map, Value};

use super::{
    StreamPlan, chunks,
    marks::{self, Key, Values},
    report::{DayAudit, Difference, DifferenceKind, Excluded, TableAudit},
    side::{Compared, SourceSide},
};
use crate::event::Gap;

/// How many rows that only one side has are remembered, to tell those that have moved. Further ones are differences.
const CANDIDATES: usize = 50_000;

/// The findings so far.
pub(super) struct Comparison<'a> {
    plan: &'a StreamPlan,
    limit: usize,
    columns: Arc<[Compared]>,
    days: BTreeMap<Option<NaiveDate>, DayAudit>,
    differences: Vec<Difference>,
    drift: BTreeMap<String, u64>,
    pub(super) excluded: Excluded,
    lost_rejects: u64,
    gaps: Vec<Gap>,
    missing: HashMap<Key, Candidate>,
    extra: HashMap<Key, Candidate>,
    /// Rows of the source's that stand among the rejects.
    rejected: HashSet<Key>,
}

/// A row that only one side has, as far as is known.
struct Candidate {
    day: Option<NaiveDate>,
    key: Box<str>,
    values: Values,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(plan: &'a StreamPlan, limit: usize) -> Self {
        Self {
            plan,
            limit,
            columns: Arc::new([]),
            days: BTreeMap::new(),
            differences: Vec::new(),
            drift: BTreeMap::new(),
            excluded: Excluded::default(),
            lost_rejects: 0,
            gaps: Vec::new(),
            missing: HashMap::new(),
            extra: HashMap::new(),
            rejected: HashSet::new(),
        }
    }

    /// These days are compared, whether either side has rows there or not.
    pub(super) fn expect(&mut self, days: &[NaiveDate]) {
        self.days.extend(days.iter().map(|day| (Some(*day), DayAudit::default())));
    }

    pub(super) fn has_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    pub(super) fn has_extra(&self) -> bool {
        !self.extra.is_empty()
    }

    /// The keys of rows that only the destination has.
    pub(super) fn extra(&self) -> HashSet<Key> {
        self.extra.keys().copied().collect()
    }

    /// Takes a row of the destination's.
    pub(super) fn stored(
        &mut self,
        side: &mut SourceSide,
        key: Key,
        day: Option<NaiveDate>,
        values: Values,
        text: impl FnOnce() -> Box<str>,
    ) {
        self.columns = Arc::clone(&side.columns);
        let digest = self.digest(&key, &values);
        self.days.entry(day).or_default().stored.count(digest);
        let Some(known) = side.rows.get_mut(&key) else {
            self.only(Only::Stored, key, Candidate { day, key: text(), values });
            return;
        };
        if let Some(version) = known.versions.iter().position(|version| *version == values) {
            known.stored = Some(version);
            return;
        }
        let differing = |version: &Values| {
            let pairs = side.columns.iter().zip(version.iter().zip(&values));
            pairs
                .filter(|(_, (one, other))| one != other)
                .map(|(column, _)| column.clone())
                .collect()
        };
        let all: Vec<Vec<Compared>> = known.versions.iter().map(differing).collect();
        let is_drift = |columns: &Vec<Compared>| columns.iter().all(|column| column.is_drifting);
        let day = known.day;
        if let Some(version) = all.iter().position(is_drift) {
            known.stored = Some(version);
            self.days.entry(day).or_default().drifted += 1;
            for column in &all[version] {
                *self.drift.entry(column.name.clone()).or_default() += 1;
            }
        } else {
            known.stored = Some(0);
            let columns = all.into_iter().next().unwrap_or_default();
            let key = known.key.clone();
            self.different(day, &key, columns);
        }
    }

    fn different(&mut self, day: Option<NaiveDate>, key: &str, columns: Vec<Compared>) {
        self.days.entry(day).or_default().different += 1;
        let steady = columns.into_iter().filter(|column| !column.is_drifting);
        let names = steady.map(|column| column.name).collect();
        self.list(day, key, DifferenceKind::Different(names));
    }

    /// Takes the source's rows, over which all of the destination's have passed.
    pub(super) fn take(&mut self, side: SourceSide, rejected: &BTreeSet<String>) {
        self.columns = Arc::clone(&side.columns);
        let (known, lost): (Vec<&String>, Vec<&String>) =
            side.rejects.iter().partition(|id| rejected.contains(*id));
        self.excluded.rejected += known.len() as u64;
        self.lost_rejects += lost.len() as u64;
        for gap in side.gaps {
            if !self.gaps.contains(&gap) {
                self.gaps.push(gap);
            }
        }
        for (key, known) in side.rows {
            let is_rejected = rejected.contains(&hex::encode(key));
            let others = known.versions.len().saturating_sub(1) as u64;
            if others > 0 && is_rejected {
                self.excluded.rejected += others;
            } else if others > 0 {
                // Rows that share a key: one stands in the table, the others should stand among the rejects.
                self.days.entry(known.day).or_default().missing += others;
                self.list(known.day, &known.key, DifferenceKind::Missing);
            }
            match known.stored {
                None if is_rejected => {
                    self.excluded.rejected += 1;
                    if self.rejected.len() < CANDIDATES {
                        self.rejected.insert(key);
                    }
                }
                stored => {
                    let mut versions = known.versions;
                    let values = versions.swap_remove(stored.unwrap_or(0));
                    let digest = self.digest(&key, &values);
                    self.days.entry(known.day).or_default().source.count(digest);
                    if stored.is_none() {
                        let candidate = Candidate { day: known.day, key: known.key, values };
                        self.only(Only::Source, key, candidate);
                    }
                }
            }
        }
    }

    /// Rows that stand at different places on the two sides are one row that differs.
    pub(super) fn join(&mut self) {
        self.leave_out_superseded_by_rejects();
        let both: Vec<Key> =
            self.missing.keys().filter(|key| self.extra.contains_key(*key)).copied().collect();
        for key in both {
            let (Some(source), Some(stored)) = (self.missing.remove(&key), self.extra.remove(&key))
            else {
                continue;
            };
            let pairs = self.columns.iter().zip(source.values.iter().zip(&stored.values));
            let differing = pairs.filter(|(_, (one, other))| one != other);
            let columns = differing.map(|(column, _)| column.clone()).collect();
            self.different(source.day, &source.key, columns);
        }
    }

    /// Stored rows whose newer version is a reject are as they should be.
    fn leave_out_superseded_by_rejects(&mut self) {
        for key in std::mem::take(&mut self.rejected) {
            if let Some(candidate) = self.extra.remove(&key) {
                let digest = self.digest(&key, &candidate.values);
                self.days.entry(candidate.day).or_default().stored.leave_out(digest);
            }
        }
    }

    /// Stored rows that the source has moved since the bookmark are no difference.
    pub(super) fn leave_out_moved_in_source(&mut self, since: &SourceSide) {
        for key in since.rows.keys() {
            if let Some(candidate) = self.extra.remove(key) {
                let digest = self.digest(key, &candidate.values);
                self.days.entry(candidate.day).or_default().stored.leave_out(digest);
                self.excluded.moved += 1;
            }
        }
    }

    /// A row of the source's that the destination has moved since the bookmark is none either.
    pub(super) fn leave_out_moved(&mut self, key: Key) {
        if let Some(candidate) = self.missing.remove(&key) {
            let digest = self.digest(&key, &candidate.values);
            self.days.entry(candidate.day).or_default().source.leave_out(digest);
            self.excluded.moved += 1;
        }
    }

    /// The findings.
    pub(super) fn finish(mut self) -> TableAudit {
        for (only, candidates) in [
            (Only::Source, std::mem::take(&mut self.missing)),
            (Only::Stored, std::mem::take(&mut self.extra)),
        ] {
            let mut candidates: Vec<Candidate> = candidates.into_values().collect();
            candidates.sort_by(|one, other| (one.day, &one.key).cmp(&(other.day, &other.key)));
            for candidate in candidates {
                self.settle(only, &candidate);
            }
        }
        self.differences.sort_by_cached_key(|difference| {
            (difference.day, Value::Object(difference.key.clone()).to_string())
        });
        TableAudit {
            table: self.plan.schema.table().to_owned(),
            span: chunks::readable(self.plan),
            days: self.days,
            differences: self.differences,
            drift: self.drift,
            excluded: self.excluded,
            lost_rejects: self.lost_rejects,
            gaps: self.gaps,
        }
    }

    fn only(&mut self, only: Only, key: Key, candidate: Candidate) {
        let candidates = match only {
            Only::Source => &mut self.missing,
            Only::Stored => &mut self.extra,
        };
        if candidates.len() < CANDIDATES {
            candidates.insert(key, candidate);
        } else {
            self.settle(only, &candidate);
        }
    }

    fn settle(&mut self, only: Only, candidate: &Candidate) {
        let day = self.days.entry(candidate.day).or_default();
        let kind = match only {
            Only::Source => {
                day.missing += 1;
                DifferenceKind::Missing
            }
            Only::Stored => {
                day.extra += 1;
                DifferenceKind::Extra
            }
        };
        self.list(candidate.day, &candidate.key, kind);
    }

    fn list(&mut self, day: Option<NaiveDate>, key: &str, kind: DifferenceKind) {
        if self.differences.len() < self.limit {
            let key: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
            self.differences.push(Difference { day, key, kind });
        }
    }

    fn digest(&self, key: &Key, values: &[u64]) -> u128 {
        let counts =
            |column: usize| self.columns.get(column).is_some_and(|column| !column.is_drifting);
        marks::row_digest(key, values, counts)
    }
}

/// The side that has a row which the other lacks.
#[derive(Clone, Copy)]
enum Only {
    Source,
    Stored,
}
