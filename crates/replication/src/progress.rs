//! How far a run is, per stream: written by source and loader, read by whoever shows it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::stream::StreamName;

/// What is known of one stream's progress.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamProgress {
    /// What the source is at, for example the window `2026-01-01T00:00:00Z to 2026-01-08T00:00:00Z`.
    pub activity: String,
    /// Rows emitted by the source.
    pub extracted: u64,
    /// Rows committed in the destination: inserted, updated, unchanged and superseded.
    pub loaded: u64,
    /// Rows rejected.
    pub rejected: u64,
    /// Requests made.
    pub requests: u64,
    /// Requests repeated after a failure.
    pub retries: u64,
    /// The part of the range that is read, from 0 to 1, where the source knows it.
    pub fraction: Option<f64>,
    /// Rows emitted per second so far, where the source measures it.
    pub rows_per_second: Option<f64>,
    /// How long the source will still take, where it can be estimated.
    pub remaining: Option<Duration>,
    /// Whether the source has finished the stream.
    pub done: bool,
}

/// The progress of all streams of a run, in the order of their names.
#[derive(Debug, Default)]
pub struct ProgressBoard {
    streams: Mutex<BTreeMap<StreamName, StreamProgress>>,
}

impl ProgressBoard {
    /// Changes what is known of a stream.
    pub fn update(&self, stream: &StreamName, change: impl FnOnce(&mut StreamProgress)) {
        let mut streams = self.lock();
        if let Some(progress) = streams.get_mut(stream) {
            change(progress);
        } else {
            change(streams.entry(stream.clone()).or_default());
        }
    }

    /// A copy of what is known now.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<StreamName, StreamProgress> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamName, StreamProgress>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
