//! What is old is deleted, now and then, within bounds that the configuration sets.

use std::time::Duration;

use chrono::Utc;
use service::Store;
use tokio::{
    select,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::config::ServiceSettings;

/// How often.
const INTERVAL: Duration = Duration::from_secs(15 * 60);

/// Keeps the store bounded until it is told to stop.
pub(super) async fn keep_house(
    store: &Store,
    settings: &ServiceSettings,
    stop: &CancellationToken,
) {
    let retention = settings.retention;
    let mut rounds = interval(INTERVAL);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        select! {
            () = stop.cancelled() => return,
            _ = rounds.tick() => {}
        }
        let now = Utc::now();
        let pruning = async {
            let logs = store.prune_logs(&retention.logs, now).await;
            (logs, store.prune(now - retention.runs, now - retention.loads).await)
        };
        // It is made of small transactions: what is left has time until the next start.
        let pruned = select! {
            () = stop.cancelled() => return,
            pruned = pruning => pruned,
        };
        match pruned {
            (Ok(logs), Ok(rest)) => {
                tracing::debug!(
                    logs,
                    runs = rest.runs,
                    loads = rest.loads,
                    "What is old is deleted"
                );
            }
            (Err(error), _) | (_, Err(error)) => {
                let (error, remedy) = (&error as &dyn std::error::Error, error.remedy());
                tracing::warn!(error, remedy, "What is old could not be deleted");
            }
        }
    }
}
