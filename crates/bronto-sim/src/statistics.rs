//! What the server has done since it started.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Counters of a server, as `GET /sim/stats` answers them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Calls by function, failed ones included.
    pub requests: BTreeMap<String, u64>,
    /// Faults by code, and transport failures by kind.
    pub faults: BTreeMap<String, u64>,
    /// Rows served by table.
    pub rows: BTreeMap<String, u64>,
    /// Bytes of response bodies, after compression.
    pub bytes_out: u64,
    /// Sessions opened.
    pub sessions: u64,
}

impl Stats {
    /// Calls of one function.
    #[must_use]
    pub fn requests_of(&self, operation: &str) -> u64 {
        self.requests.get(operation).copied().unwrap_or(0)
    }

    /// All calls.
    #[must_use]
    pub fn all_requests(&self) -> u64 {
        self.requests.values().sum()
    }
}

/// The counters while they count.
#[derive(Debug, Default)]
pub(crate) struct Statistics(Mutex<Stats>);

impl Statistics {
    pub(crate) fn request(&self, operation: &str) {
        self.change(|stats| *stats.requests.entry(operation.to_owned()).or_default() += 1);
    }

    pub(crate) fn fault(&self, kind: &str) {
        self.change(|stats| *stats.faults.entry(kind.to_owned()).or_default() += 1);
    }

    pub(crate) fn rows(&self, table: &str, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.change(|stats| *stats.rows.entry(table.to_owned()).or_default() += count);
    }

    pub(crate) fn bytes_out(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.change(|stats| stats.bytes_out += count);
    }

    pub(crate) fn snapshot(&self) -> Stats {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
