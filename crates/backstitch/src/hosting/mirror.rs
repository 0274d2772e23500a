//! Brings what the destination's ledger says into the control store: each load once, by its batch.
//!
//! The destination knows first. Its loads come here in their order, and the control store always has a beginning of them:
//! when one can't be stored, what follows is left, too. So what is missing, because a store was away or a process was killed
//! between the two, is what came after the last one that is known, and is read from the destination at the next claim.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use replication::{
    claim::Claim,
    destination::Destination,
    edit::NO_BOOKMARK,
    ledger::LoadRecord,
    placement::{ColumnChange, ColumnChangeKind},
    run::CommitObserver,
};
use service::{
    Store, StoreError,
    integration::Integration,
    store::{Load, LoadCounts, SchemaChange, SchemaEvent},
    worker::Reports,
};
use tap_bronto::BrontoStream;
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{sleep, timeout},
};

/// How many messages may wait; one that finds no room is read from the destination later.
const ROOM: usize = 256;
/// How many rows of the destination's ledger are looked at first for what is missing; twice as many, each time.
const FIRST_PAGE: usize = 64;
/// More are not read at once.
const LARGEST_PAGE: usize = 1 << 17;
/// How many loads are stored in one transaction.
const SLICE: usize = 500;
/// How often a store that is away is tried, and how long is waited in between.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// How many changes of tables may wait for a store that is away, and how often it is tried for them in the end.
const MOST_CHANGES: usize = 10_000;
const LAST_TRIES: u32 = 5;
/// How long the destination may take to tell what is missing.
const LOOK: Duration = Duration::from_secs(120);

/// What is heard of a run.
enum Heard {
    Claimed {
        token: i64,
    },
    Loaded(Vec<Load>),
    /// Tables changed; how stands in [`Changes`].
    Changed,
}

/// Changes of tables that are not stored yet. The destination doesn't keep them, so none gives way to anything.
type Changes = Arc<Mutex<Vec<SchemaEvent>>>;

/// Hears of what became durable, and never waits.
pub(super) struct Observer {
    sender: Sender<Heard>,
    missed: Arc<AtomicBool>,
    changes: Changes,
    run_id: String,
}

/// Stores what the observer hears.
pub(super) struct Mirror {
    receiver: Receiver<Heard>,
    missed: Arc<AtomicBool>,
    changes: Changes,
    store: Arc<Store>,
    destination: Arc<dyn Destination>,
    integration: Integration,
    reports: Arc<Reports>,
    kept_from: DateTime<Utc>,
}

/// What a mirror is of.
pub(super) struct Mirrored {
    pub(super) store: Arc<Store>,
    pub(super) destination: Arc<dyn Destination>,
    pub(super) integration: Integration,
    pub(super) reports: Arc<Reports>,
    /// Loads from before are not kept, and so not mirrored.
    pub(super) kept_from: DateTime<Utc>,
}

/// A mirror, and what it is told by.
pub(super) fn mirror(run_id: &str, of: Mirrored) -> (Observer, Mirror) {
    let (sender, receiver) = channel(ROOM);
    let missed = Arc::new(AtomicBool::new(false));
    let changes = Changes::default();
    let observer = Observer {
        sender,
        missed: Arc::clone(&missed),
        changes: Arc::clone(&changes),
        run_id: run_id.to_owned(),
    };
    let Mirrored { store, destination, integration, reports, kept_from } = of;
    let kept_from = kept_from.max(integration.created_at);
    let mirror =
        Mirror { receiver, missed, changes, store, destination, integration, reports, kept_from };
    (observer, mirror)
}

impl Observer {
    fn tell(&self, heard: Heard) {
        if self.sender.try_send(heard).is_err() {
            self.missed.store(true, Ordering::Release);
        }
    }
}

impl CommitObserver for Observer {
    fn claimed(&mut self, claim: &Claim) {
        self.tell(Heard::Claimed { token: claim.token });
    }

    fn loaded(&mut self, records: &[LoadRecord]) {
        self.tell(Heard::Loaded(records.iter().map(load).collect()));
    }

    fn changed(&mut self, table: &str, change: &ColumnChange) {
        let kind = match &change.kind {
            ColumnChangeKind::Added => SchemaChange::Added,
            ColumnChangeKind::Split { .. } | ColumnChangeKind::Renamed { .. } => {
                SchemaChange::Split
            }
        };
        let event = SchemaEvent {
            run_id: self.run_id.clone(),
            table_name: table.to_owned(),
            column_name: change.column.clone(),
            change: kind,
            detail: change.to_string(),
            happened_at: Utc::now(),
        };
        let mut changes = lock(&self.changes);
        if changes.len() >= MOST_CHANGES {
            tracing::warn!("So many tables changed that not all of it can be told");
            return;
        }
        changes.push(event);
        drop(changes);
        // Where there is no room, another message or the end has it stored.
        drop(self.sender.try_send(Heard::Changed));
    }
}

impl Mirror {
    /// Works until nothing more can come.
    pub(super) async fn work(mut self) {
        while let Some(heard) = self.receiver.recv().await {
            match heard {
                Heard::Claimed { token } => {
                    let recorded = insist(|| self.reports.destination_token(token)).await;
                    self.note(recorded.map(drop), "The destination's token");
                    // The claim has the new start date, and the bookmarks were forgotten before it.
                    if let Some(requested_at) = self.integration.reset_requested_at {
                        let (store, id) = (&self.store, &self.integration.id);
                        let done = insist(|| store.reset_done(id, requested_at)).await;
                        self.note(done, "The end of the reset");
                    }
                    self.catch_up().await;
                }
                // What follows a load that is missing waits for it.
                Heard::Loaded(_) if self.missed.load(Ordering::Acquire) => {}
                Heard::Loaded(loads) => {
                    let (store, id) = (&self.store, &self.integration.id);
                    let recorded = insist(|| store.record_loads(id, &loads)).await;
                    if recorded.is_err() {
                        self.missed.store(true, Ordering::Release);
                    }
                    self.note(recorded.map(drop), "A load");
                }
                Heard::Changed => {
                    self.store_changes().await;
                }
            }
        }
        for _ in 0..LAST_TRIES {
            if self.store_changes().await {
                break;
            }
        }
        if self.missed.load(Ordering::Acquire) {
            self.catch_up().await;
        }
    }

    /// Stores the changes of tables that wait. Whether none does any more.
    async fn store_changes(&self) -> bool {
        let waiting = lock(&self.changes).clone();
        if waiting.is_empty() {
            return true;
        }
        let (store, id) = (&self.store, &self.integration.id);
        let recorded = insist(|| store.record_schema_events(id, &waiting)).await;
        let is_recorded = recorded.is_ok();
        if is_recorded {
            // What came in the meantime stands behind them.
            lock(&self.changes).drain(..waiting.len());
        }
        self.note(recorded, "A change of a table");
        is_recorded
    }

    fn note(&self, result: Result<(), StoreError>, what: &str) {
        if let Err(error) = result {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "{what} could not be written into the control store");
        }
    }

    /// Stores what the destination has and the control store hasn't.
    async fn catch_up(&self) {
        // What is missed from now on may not be found here.
        self.missed.store(false, Ordering::Release);
        if !self.caught_up().await {
            // Until all is here, what comes later waits: else the gap would never be seen again.
            self.missed.store(true, Ordering::Release);
        }
    }

    /// Whether all was stored.
    async fn caught_up(&self) -> bool {
        let found = match timeout(LOOK, self.missing()).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::warn!("Loads that may be missing can't be looked for: {error}");
                return false;
            }
            Err(_) => {
                tracing::warn!("Loads that may be missing could not be looked for in time");
                return false;
            }
        };
        let mut found = found;
        // The oldest first: were this to break off, what is stored would still be a beginning.
        found.reverse();
        let mut begun = 0;
        while begun < found.len() {
            // A batch is not torn.
            let mut end = (begun + SLICE).min(found.len());
            while end < found.len() && found[end].batch_id == found[end - 1].batch_id {
                end += 1;
            }
            let slice = found.get(begun..end).unwrap_or_default();
            let recorded = insist(|| self.store.record_loads(&self.integration.id, slice)).await;
            if let Err(error) = recorded {
                self.note(Err(error), "Loads");
                return false;
            }
            begun = end;
        }
        true
    }

    /// The loads from the newest to the first that is known, the newest first.
    async fn missing(&self) -> Result<Vec<Load>, Box<dyn std::error::Error + Send + Sync>> {
        let mut limit = FIRST_PAGE;
        loop {
            let page = self.destination.loads(limit).await?;
            let is_whole = page.len() < limit || limit >= LARGEST_PAGE;
            let count = page.len();
            let mut found: Vec<Load> = Vec::new();
            for record in &page {
                let batch_id = &record.batch_id;
                let is_next = found.last().is_none_or(|last| last.batch_id != *batch_id);
                let is_known =
                    is_next && self.store.has_batch(&self.integration.id, batch_id).await?;
                if is_known || record.committed_at < self.kept_from {
                    return Ok(found);
                }
                found.push(load(record));
            }
            if is_whole {
                return Ok(found);
            }
            limit = (count * 4).min(LARGEST_PAGE);
        }
    }
}

fn lock(changes: &Mutex<Vec<SchemaEvent>>) -> MutexGuard<'_, Vec<SchemaEvent>> {
    changes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Repeats a call to the store while it is away, a few times.
async fn insist<T, F: Future<Output = Result<T, StoreError>>>(
    call: impl Fn() -> F,
) -> Result<T, StoreError> {
    let mut tries = 1;
    loop {
        match call().await {
            Err(error) if error.is_retriable() && tries < TRIES => tries += 1,
            result => return result,
        }
        sleep(PAUSE).await;
    }
}

/// A bookmark behind its column's name, as Stitch shows it: `modified: 2026-01-01T00:00:00Z`. Where the stream is none of
/// ours, nobody knows the column; where the bookmark was removed, there is none to be named.
fn named(stream: &str, bookmark: &str) -> String {
    let column = BrontoStream::named(stream).and_then(BrontoStream::replication_key);
    match column.filter(|_| bookmark != NO_BOOKMARK) {
        Some(column) => format!("{column}: {bookmark}"),
        None => bookmark.to_owned(),
    }
}

/// A row of the destination's ledger as the control store keeps it.
fn load(record: &LoadRecord) -> Load {
    let counts = &record.counts;
    Load {
        batch_id: record.batch_id.clone(),
        table_name: record.table.clone(),
        run_id: record.run_id.clone(),
        stream: record.stream.clone(),
        table_version: record.table_version,
        counts: LoadCounts {
            received: counts.received,
            inserted: counts.inserted,
            updated: counts.updated,
            unchanged: counts.unchanged,
            superseded: counts.superseded,
            rejected: counts.rejected,
            deleted: counts.deleted,
            bytes: counts.bytes,
        },
        bookmark: record.bookmark.as_deref().map(|bookmark| named(&record.stream, bookmark)),
        started_at: record.started_at,
        committed_at: record.committed_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bookmarks_have_the_names_of_their_columns() {
        let at = "2026-01-01T00:00:00Z";
        assert_eq!(named("contact", at), "modified: 2026-01-01T00:00:00Z");
        assert_eq!(named("inbound_activity", at), "createdDate: 2026-01-01T00:00:00Z");
        assert_eq!(named("unsubscribe", at), "created: 2026-01-01T00:00:00Z");
        assert_eq!(named("contact", NO_BOOKMARK), NO_BOOKMARK);
        assert_eq!(named("pets", "7"), "7");
    }
}
