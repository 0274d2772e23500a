//! The transaction of one commit unit. The statements are in the modules of the tables that they are about; this one
//! carries them to a blocking thread and back.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use replication::{
    claim::{Claim, ClaimMemory},
    destination::{
        ActivationOutcome, DestinationError, DestinationErrorKind, MergeOutcome, RetractionOutcome,
        UnitTransaction, VersionCounts,
    },
    ledger::LoadRecord,
    placement::Rename,
    reject::RejectedRow,
    stream::{StreamName, StreamSchema},
    unit::TableLoad,
};
use serde_json::{Map, Value};

use crate::{
    claim,
    destination::Handle,
    ledger, rejects,
    session::{Session, blocking, defect, dispose},
    sql,
    table::{self, Rows},
    version,
};

/// An open transaction.
#[derive(Debug)]
pub(crate) struct DuckDbTransaction {
    /// Absent while it is at work on a blocking thread, and for good if it was lost there.
    session: Option<Session>,
    handle: Arc<Handle>,
    /// The batch that the fence has written.
    sealed: Option<String>,
}

impl DuckDbTransaction {
    /// Opens a transaction in a session that has the turn to write.
    pub(crate) async fn begin(
        session: Session,
        handle: Arc<Handle>,
    ) -> Result<Self, DestinationError> {
        let session =
            blocking(move || session.run(sql::BEGIN, "begin a transaction").map(|()| session))
                .await?;
        Ok(Self { session: Some(session), handle, sealed: None })
    }

    fn take(&mut self) -> Result<Session, DestinationError> {
        self.session
            .take()
            .ok_or_else(|| defect("A transaction was used after a step of it was abandoned"))
    }

    /// Does work with the session on a blocking thread. If the caller goes away meanwhile, the session ends there, and the
    /// transaction is rolled back.
    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Session) -> Result<T, DestinationError> + Send + 'static,
    ) -> Result<T, DestinationError> {
        let session = self.take()?;
        let (session, done) = blocking(move || {
            let done = work(&session);
            Ok((session, done))
        })
        .await?;
        self.session = Some(session);
        done
    }
}

impl Drop for DuckDbTransaction {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            dispose(session);
        }
    }
}

#[async_trait]
impl UnitTransaction for DuckDbTransaction {
    async fn rename(
        &mut self,
        schema: &StreamSchema,
        _renames: &[Rename],
    ) -> Result<(), DestinationError> {
        // The dialect says that columns keep their names.
        Err(defect(format!("Columns of `{}` were to be renamed", schema.table())))
    }

    async fn prepare(
        &mut self,
        schema: &Arc<StreamSchema>,
        version: Option<i64>,
    ) -> Result<(), DestinationError> {
        let schema = Arc::clone(schema);
        self.with(move |session| table::prepare(session, &schema, version)).await
    }

    async fn rivals(
        &mut self,
        load: &TableLoad,
    ) -> Result<Vec<Map<String, Value>>, DestinationError> {
        let rows = Rows::of(load);
        self.with(move |session| table::rivals(session, &rows)).await
    }

    async fn merge(&mut self, load: &TableLoad) -> Result<MergeOutcome, DestinationError> {
        let rows = Rows::of(load);
        self.with(move |session| table::merge(session, &rows)).await
    }

    async fn retract(
        &mut self,
        schema: &StreamSchema,
        after_sequence: i64,
    ) -> Result<RetractionOutcome, DestinationError> {
        let table = schema.table().to_owned();
        self.with(move |session| table::retract(session, &table, after_sequence)).await
    }

    async fn version_counts(
        &mut self,
        schema: &StreamSchema,
        _version: i64,
        since: Option<DateTime<Utc>>,
    ) -> Result<VersionCounts, DestinationError> {
        let schema = schema.clone();
        self.with(move |session| version::counts(session, &schema, since)).await
    }

    async fn activate(
        &mut self,
        schema: &StreamSchema,
        _version: i64,
        since: Option<DateTime<Utc>>,
    ) -> Result<ActivationOutcome, DestinationError> {
        let schema = schema.clone();
        self.with(move |session| version::activate(session, &schema, since)).await
    }

    async fn reject(
        &mut self,
        run_id: &str,
        rejects: &[RejectedRow],
    ) -> Result<u64, DestinationError> {
        let (run_id, rejects) = (run_id.to_owned(), rejects.to_vec());
        self.with(move |session| rejects::add(session, &run_id, &rejects, Utc::now())).await
    }

    async fn count_rejects(&mut self, ids: &[String]) -> Result<u64, DestinationError> {
        let ids = ids.to_vec();
        self.with(move |session| rejects::count_known(session, &ids)).await
    }

    async fn mark_replayed(&mut self, ids: &[String]) -> Result<u64, DestinationError> {
        let ids = ids.to_vec();
        self.with(move |session| rejects::mark_replayed(session, &ids, Utc::now())).await
    }

    async fn remove_rejects(&mut self, ids: &[String]) -> Result<u64, DestinationError> {
        let ids = ids.to_vec();
        self.with(move |session| rejects::remove(session, &ids)).await
    }

    async fn expire_rejects(
        &mut self,
        rejected_before: DateTime<Utc>,
        replayed_before: DateTime<Utc>,
        most: u32,
    ) -> Result<u64, DestinationError> {
        self.with(move |session| rejects::expire(session, rejected_before, replayed_before, most))
            .await
    }

    async fn record(&mut self, loads: &[LoadRecord]) -> Result<(), DestinationError> {
        let loads = loads.to_vec();
        self.with(move |session| ledger::record(session, &loads)).await
    }

    async fn bookmark(
        &mut self,
        states: &BTreeMap<StreamName, Value>,
    ) -> Result<(), DestinationError> {
        let states = states.clone();
        self.with(move |session| claim::bookmark(session, &states, Utc::now())).await
    }

    async fn fence(&mut self, claim: &Claim, memory: &ClaimMemory) -> Result<(), DestinationError> {
        let (claim, memory) = (claim.clone(), memory.clone());
        self.sealed.clone_from(&memory.last_batch);
        self.with(move |session| claim::fence(session, &claim, &memory, Utc::now())).await
    }

    async fn commit(mut self: Box<Self>) -> Result<(), DestinationError> {
        let session = self.take()?;
        let Err(error) = blocking(move || session.run(sql::COMMIT, "commit")).await else {
            return Ok(());
        };
        // DuckDB rolls back what it can't commit. Should its log have reached the disk all the same, the claim row tells.
        match self.handle.memory().await {
            Ok(memory) if self.sealed.is_some() && memory.last_batch == self.sealed => Ok(()),
            Ok(_) => Err(error),
            Err(_) => Err(DestinationError { kind: DestinationErrorKind::CommitUnknown, ..error }),
        }
    }

    async fn rollback(mut self: Box<Self>) -> Result<(), DestinationError> {
        let session = self.take()?;
        blocking(move || session.run(sql::ROLLBACK, "roll back")).await
    }
}
