//! Which days are compared, and which of them together.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hasher},
    sync::Arc,
};

use chrono::{Datelike, NaiveDate};

use super::{AuditError, Auditor, StreamPlan, comparison::Comparison, marks, report::of_day};
use crate::{source::Span, stream::StreamSchema};

/// Which days of a span are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DayChoice {
    /// Every day.
    All,
    /// These.
    These(Vec<NaiveDate>),
    /// So many, by chance: the same ones for the same seed.
    Sample {
        /// How many.
        days: usize,
        /// What they are drawn by.
        seed: u64,
    },
}

impl DayChoice {
    fn of(&self, mut days: Vec<NaiveDate>) -> Vec<NaiveDate> {
        let (count, seed) = match self {
            Self::All => return days,
            Self::These(these) => {
                days.retain(|day| these.contains(day));
                return days;
            }
            Self::Sample { days, seed } => (*days, *seed),
        };
        days.sort_by_cached_key(|day| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(seed);
            hasher.write_i32(day.num_days_from_ce());
            hasher.finish()
        });
        days.truncate(count);
        days.sort_unstable();
        days
    }
}

/// Days that are compared together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    /// They adjoin where they can, and don't overlap.
    pub(super) spans: Vec<Span>,
    /// Whether it is a table that can't be read in parts.
    pub(super) is_whole: bool,
}

impl Auditor<'_> {
    /// Divides what is to be compared by what the destination holds of each day.
    pub(super) async fn chunks(
        &self,
        plan: &StreamPlan,
        comparison: &mut Comparison<'_>,
    ) -> Result<Vec<Chunk>, AuditError> {
        let Some(key) = &plan.schema.replication_key else {
            return Ok(vec![Chunk { spans: vec![plan.span], is_whole: true }]);
        };
        let span = readable(plan);
        let stored = self.stored_days(plan, key, span, comparison).await?;
        let all = span.from.date_naive().iter_days().take_while(|day| of_day(*day, span).is_some());
        let days = plan.days.of(all.collect());
        comparison.expect(&days);
        Ok(divided(&days, span, &stored, self.rows))
    }

    /// How many rows of each day the destination holds.
    async fn stored_days(
        &self,
        plan: &StreamPlan,
        key: &str,
        readable: Span,
        comparison: &mut Comparison<'_>,
    ) -> Result<BTreeMap<NaiveDate, usize>, AuditError> {
        let columns = plan.schema.columns.iter().filter(|column| column.name == key);
        let schema = Arc::new(StreamSchema {
            columns: columns.cloned().collect(),
            key: Vec::new(),
            ..(*plan.schema).clone()
        });
        let mut days = BTreeMap::new();
        let Some(column) = schema.columns.first() else { return Ok(days) };
        if self.destination.stored_table(plan.schema.table()).await?.is_none() {
            return Ok(days);
        }
        let mut scan = self.destination.scan(&schema, None).await?;
        let mut passed = 0;
        while let Some(batch) = scan.next().await? {
            self.passed(&plan.schema.stream, &batch, &mut passed);
            for row in 0..batch.num_rows() {
                let excluded = &mut comparison.excluded;
                match marks::instant(&column.column_type, batch.column(0), row) {
                    None => excluded.undated += 1,
                    Some(at) if at >= plan.span.before => excluded.after_bookmark += 1,
                    Some(at) if at < plan.span.from => {}
                    Some(at) if at < readable.from => excluded.unreadable += 1,
                    Some(at) => *days.entry(at.date_naive()).or_default() += 1,
                }
            }
        }
        Ok(days)
    }
}

/// The part of the plan's span that the source may still give.
pub(super) fn readable(plan: &StreamPlan) -> Span {
    let since = plan.readable_since.map_or(plan.span.from, |since| since.max(plan.span.from));
    Span { from: since.min(plan.span.before), before: plan.span.before }
}

/// Days in chunks of at most so many rows, or of one day.
fn divided(
    days: &[NaiveDate],
    span: Span,
    stored: &BTreeMap<NaiveDate, usize>,
    most: usize,
) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut rows = 0;
    for day in days {
        let Some(part) = of_day(*day, span) else { continue };
        let more = stored.get(day).copied().unwrap_or(0);
        rows += more;
        match chunks.last_mut() {
            Some(chunk) if rows <= most => match chunk.spans.last_mut() {
                Some(last) if last.before == part.from => last.before = part.before,
                _ => chunk.spans.push(part),
            },
            _ => {
                chunks.push(Chunk { spans: vec![part], is_whole: false });
                rows = more;
            }
        }
    }
    chunks
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    fn day(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 1, day).unwrap()
    }

    #[test]
    fn days_go_together_as_long_as_their_rows_fit() {
        let span = Span {
            from: "2026-01-01T06:00:00Z".parse().unwrap(),
            before: "2026-01-09T12:00:00Z".parse().unwrap(),
        };
        let days = [1, 2, 3, 5, 6, 9].map(day);
        let stored = BTreeMap::from([(day(1), 40), (day(2), 50), (day(3), 500), (day(9), 1)]);
        let texts: Vec<Vec<String>> = divided(&days, span, &stored, 100)
            .iter()
            .map(|chunk| {
                let text = |span: &Span| {
                    format!("{} {}", span.from.format("%dT%H"), span.before.format("%dT%H"))
                };
                chunk.spans.iter().map(text).collect()
            })
            .collect();
        assert_eq!(
            texts,
            [vec!["01T06 03T00"], vec!["03T00 04T00"], vec!["05T00 07T00", "09T00 09T12"]]
        );
    }

    #[test]
    fn a_sample_is_the_same_for_the_same_seed() {
        let all: Vec<NaiveDate> = (1..=31).map(day).collect();
        let sample = |seed| DayChoice::Sample { days: 5, seed }.of(all.clone());
        assert_eq!(sample(7), sample(7));
        assert_ne!(sample(7), sample(8));
        assert_eq!(sample(7).len(), 5);
        assert!(sample(7).is_sorted());
        assert_eq!(DayChoice::Sample { days: 99, seed: 1 }.of(all.clone()), all);
    }
}
