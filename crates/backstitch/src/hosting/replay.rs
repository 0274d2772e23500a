//! Replays that are runs: rejected rows are loaded again, and nothing else is read.

use std::sync::Arc;

use replication::{reject::RejectFilter, replay, run::RunContext};
use service::{
    integration::Integration,
    run::{Run, RunError},
    worker::{Ending, Reports},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    execute::{Executor, Prepared, failed, mirrored_or_later, options, unstored, watched},
    live::{Watch, keep_alive},
};
use crate::{
    commands::{refresh, replay::to_json},
    connect, display,
    failure::Failure,
};

impl Executor {
    /// Replays; what became of the rows is the run's report. When the process ends in between, another attempt replays what
    /// is left, and its report is of that.
    pub(super) async fn replay(
        &self,
        run: &Run,
        prepared: Prepared,
        reports: &Arc<Reports>,
        filter: RejectFilter,
        alive: AbortOnDropHandle<()>,
    ) -> Result<Ending, RunError> {
        let failed = |failure: Failure| failed(&failure);
        let Prepared { stored, integration, .. } = prepared;
        // A reset that waits is the next run's.
        let stored = Integration { reset_requested_at: None, ..stored };
        let source = connect::source(&integration).map_err(failed)?;
        let decoder = connect::decoder(Some(&integration)).map_err(failed)?;
        let target = integration.target().map_err(failed)?;
        let destination = connect::destination(&target).map_err(failed)?;
        let mut options = options(run, &stored, &integration);
        options.accept_source_change = integration.accepts(source.as_ref());
        let request = refresh::request(&options, source.fingerprint());
        let (observer, mirrored) = self.mirroring(run, &stored, &destination, reports);
        let stop = reports.stop().clone();
        let context = RunContext {
            stop: stop.clone(),
            committed: Some(Box::new(observer)),
            ..RunContext::default()
        };
        let watch = Watch::new(Arc::clone(&context.progress));
        // From here on the board shows whether it lives.
        drop(alive);
        let replaying = replay::replay(destination, decoder.as_ref(), &request, &filter, context);
        let result = watched(replaying, "replaying", watch, reports, &stop).await;
        let _alive = keep_alive(reports);
        mirrored_or_later(mirrored, reports).await;
        let report = result.map_err(|error| failed(Failure::from(&error)))?;
        for (name, table) in &report.tables {
            let again: u64 = table.again.values().sum();
            tracing::info!(
                "{name}: of {} rejected rows {} are replayed, {} rejected again",
                display::count(table.found),
                display::count(table.replayed),
                display::count(again)
            );
        }
        let mut json = to_json(&report, true);
        json["attempt"] = (run.attempt + 1).into();
        reports.report(&json).await.map_err(unstored)?;
        Ok(if report.interrupted { Ending::Interrupted } else { Ending::Complete })
    }
}
