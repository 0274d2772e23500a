//! Audits that are runs: the account is read again and compared with the destination; what differs is mended if that is
//! asked for, and the report stored.

use std::sync::Arc;

use serde_json::json;
use service::{
    integration::{Integration, Origin},
    run::{Run, RunError},
    worker::{Ending, Reports},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    execute::{Executor, Prepared, failed, options, unstored, watched},
    live::Watch,
};
use crate::{
    commands::{
        audit::{Choice, Findings, Sides},
        refresh,
    },
    connect,
    failure::Failure,
};

/// How many differences are told of each table.
const LIMIT: usize = 100;

/// What is asked for.
pub(super) struct Asked<'a> {
    pub(super) tables: &'a [String],
    pub(super) choice: Choice,
    pub(super) repair: bool,
}

impl Executor {
    /// Compares, mends, and compares again. A run whose two sides differ at its end has failed.
    pub(super) async fn audit(
        &self,
        run: &Run,
        prepared: Prepared,
        reports: &Arc<Reports>,
        asked: Asked<'_>,
        alive: AbortOnDropHandle<()>,
    ) -> Result<Ending, RunError> {
        let failed = |failure: Failure| failed(&failure);
        let Prepared { stored, integration, .. } = prepared;
        // A reset that waits is the next run's.
        let stored = Integration { reset_requested_at: None, ..stored };
        let source = connect::rereadable(&integration).map_err(failed)?;
        let tables = refresh::named_or_all(asked.tables, &integration).map_err(failed)?;
        let target = integration.target().map_err(failed)?;
        let destination = connect::destination(&target).map_err(failed)?;
        let sides = Sides {
            owner: match stored.origin {
                Origin::File => &stored.name,
                Origin::Api => &stored.schema_name,
            },
            schema: &integration.schema,
            source: &source,
            destination: Arc::clone(&destination),
            limit: LIMIT,
            stop: reports.stop().clone(),
            progress: Arc::default(),
        };
        // The board shows that it lives, however long it takes.
        let watch = || Watch::new(Arc::clone(&sides.progress));
        drop(alive);
        let comparing = sides.compare(&tables, &asked.choice);
        let found = watched(comparing, "comparing", watch(), reports, &sides.stop).await;
        let found = found.map_err(failed)?;
        if found.is_interrupted {
            return Ok(Ending::Interrupted);
        }
        let spans = found.spans_to_mend();
        let mut left = None;
        if asked.repair && !spans.is_empty() {
            let mending = Box::new(source.clone().only(spans));
            let options = options(run, &stored, &integration);
            let ending =
                Box::pin(self.load(run, &stored, mending, destination, options, reports)).await?;
            if ending == Ending::Interrupted {
                return Ok(ending);
            }
            let comparing = sides.compare_again(&found);
            let again = watched(comparing, "comparing again", watch(), reports, &sides.stop).await;
            let again = again.map_err(failed)?;
            if again.is_interrupted {
                return Ok(Ending::Interrupted);
            }
            left = Some(again);
        }
        let last = left.as_ref().unwrap_or(&found);
        let report = json!({
            "equal": last.is_equal(),
            "tables": found.tables_json(),
            "never_replicated": found.never_replicated(),
            "after_repair": left.as_ref().map(Findings::tables_json),
        });
        reports.report(&report).await.map_err(unstored)?;
        let mending = "Ask for an audit with `repair`: it reads those days again and merges them";
        last.verdict(mending).map_err(failed)?;
        tracing::info!("Everything that was compared is equal");
        Ok(Ending::Complete)
    }
}
