//! Metric lines in the log, once a minute and at the end.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use replication::event::RowBatch;
use singer::Metric;

/// How often counters are written: runners expect them at least this often.
pub(crate) const INTERVAL: Duration = Duration::from_secs(60);

/// Counts since the last lines.
#[derive(Debug)]
pub(crate) struct Metrics {
    started: Instant,
    streams: BTreeMap<String, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    records: u64,
    requests: u64,
    rejects: u64,
}

impl Metrics {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), streams: BTreeMap::new() }
    }

    /// Counts a batch.
    pub(crate) fn count(&mut self, batch: &RowBatch) {
        let counts = self.streams.entry(batch.schema.stream.as_str().to_owned()).or_default();
        counts.records += batch.rows.num_rows() as u64;
        counts.requests += batch.reading.requests;
        counts.rejects += batch.rejects.len() as u64;
    }

    /// Writes the counters that have grown.
    pub(crate) fn write_counters(&mut self) {
        for (stream, counts) in std::mem::take(&mut self.streams) {
            for (name, value) in [
                ("record_count", counts.records),
                ("http_request_count", counts.requests),
                ("reject_count", counts.rejects),
            ] {
                if value > 0 {
                    tracing::info!(
                        "{}",
                        Metric::counter(name, value).tag("endpoint", stream.as_str())
                    );
                }
            }
        }
    }

    /// Writes the last counters and how long it all took.
    pub(crate) fn finish(mut self, succeeded: bool) {
        self.write_counters();
        let status = if succeeded { "succeeded" } else { "failed" };
        let duration = Metric::timer("job_duration", self.started.elapsed());
        tracing::info!("{}", duration.tag("job_type", "sync").tag("status", status));
    }
}
