//! Which rows of a stream without a key a stored state covers, so that the others can be taken back when the tap sends
//! them again.
//!
//! A unit may be committed between two states. If the run breaks off then, the tap goes on from the state before, and
//! sends the rows after it a second time. Rows with a key are recognised. For those without, the stream's own state holds
//! the greatest `_sdc_sequence` that came before the tap's state; both are stored in one transaction.

use serde_json::Value;

use crate::sequence::SequenceClock;

/// The key under which a stream's own state holds the sequence.
pub(super) const COVERED: &str = "covered_sequence";
/// Stored while a version replaces the whole table, which leaves nothing to be taken back.
const EVERYTHING: i64 = i64::MAX;

/// How far the rows of one stream are covered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coverage {
    /// The last sequence that was sent.
    sent: i64,
    /// The last one that came before the tap's newest state.
    covered: i64,
    stored: Option<i64>,
}

impl Coverage {
    /// The coverage of a stream with this state of its own; where it has none, everything up to now is covered.
    pub(super) fn begin(stored: Option<&Value>, sequence: &SequenceClock) -> Self {
        let stored = stored.and_then(Value::as_i64);
        let covered = stored.filter(|stored| *stored != EVERYTHING);
        let covered = covered.unwrap_or_else(|| sequence.last());
        Self { sent: covered, covered, stored }
    }

    /// The sequence behind which rows are to be taken back, if there can be any.
    pub(super) fn retract_after(&self) -> Option<i64> {
        self.stored.filter(|stored| *stored != EVERYTHING)
    }

    /// Rows up to this sequence were sent.
    pub(super) fn sent(&mut self, last_sequence: i64) {
        self.sent = self.sent.max(last_sequence);
    }

    /// A state came that covers everything that was sent.
    pub(super) fn cover(&mut self) {
        self.covered = self.sent;
    }

    /// A version is about to replace the table.
    pub(super) fn cover_everything(&mut self) {
        self.covered = EVERYTHING;
    }

    /// What to store, if that is news.
    pub(super) fn news(&mut self) -> Option<i64> {
        (self.stored != Some(self.covered)).then(|| self.store())
    }

    /// What to store, news or not.
    pub(super) fn store(&mut self) -> i64 {
        self.stored = Some(self.covered);
        self.covered
    }
}
