//! The destination itself: who may enter the file, how long they wait, and what they do there.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chrono::Utc;
use replication::{
    claim::{Claim, ClaimMemory, ClaimRequest},
    destination::{
        Destination, DestinationError, DestinationErrorKind, LedgerTotals, RejectReason,
        RejectRecord, StateRow, UnitTransaction,
    },
    ledger::LoadRecord,
    placement::{Dialect, Nesting, SplitRule, StoredTable, verbatim},
    reject::{RejectFilter, RejectStanding, StoredReject},
    replay::RejectPage,
    run::UnitLimits,
    scan::{NoRows, RowScan},
    source::{CheckStep, Span},
    stream::StreamSchema,
};
use tokio::sync::OwnedMutexGuard;

use crate::{
    check, claim,
    config::DuckDbConfig,
    file::{Access, User},
    ledger, rejects,
    scan::Scan,
    session::{Session, blocking, dispose},
    sql::{self, Place},
    table,
    transaction::DuckDbTransaction,
};

/// What one unit may hold. A commit of fewer rows would rewrite the row group that it left part-filled, again and again.
const UNIT_LIMITS: UnitLimits =
    UnitLimits { rows: 50_000, bytes: 40 << 20, interval: Duration::from_secs(30) };

/// How long a writer waits for the other writers of its own process. They are at work, and each has its own deadlines, so
/// this only has to end what would never end.
const TURN_DEADLINE: Duration = Duration::from_secs(600);

/// The pauses between tries to open a file that is locked: short at first, for those who only look something up.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A schema of a DuckDB file.
///
/// Several of them, in one process, share the file; each may be used by several tasks. The file is opened when it is first
/// needed.
#[derive(Debug)]
pub struct DuckDb {
    handle: Arc<Handle>,
}

/// What a [`DuckDb`] and its transactions share.
#[derive(Debug)]
pub(crate) struct Handle {
    config: DuckDbConfig,
    access: Access,
    user: Mutex<Option<Arc<User>>>,
}

impl DuckDb {
    /// A schema to be written. Touches no file yet.
    ///
    /// # Errors
    /// [`DestinationErrorKind::Configuration`] when the configuration can't work.
    pub fn new(config: DuckDbConfig) -> Result<Self, DestinationError> {
        Self::with_access(config, Access::Write)
    }

    /// A schema that is only read, so that other programs can read the file at the same time. While one writes it, every
    /// read waits as configured and then fails, naming that program.
    ///
    /// # Errors
    /// As [`DuckDb::new`].
    pub fn open_read_only(config: DuckDbConfig) -> Result<Self, DestinationError> {
        Self::with_access(config, Access::Read)
    }

    /// Lets the file go, after a checkpoint, unless others in this process are using it. Whatever is asked of this
    /// destination later opens it again.
    pub async fn close(&self) {
        let user = self.handle.user().take();
        // Dropping a user can't fail; a runtime that is shutting down drops it all the same.
        drop(tokio::task::spawn_blocking(move || drop(user)).await);
    }

    /// The result of any query as text: the names of its columns, and its rows. For people; it can't write.
    ///
    /// # Errors
    /// When the file doesn't exist or can't be read, or the query is wrong.
    pub async fn query_text(
        &self,
        sql: &str,
    ) -> Result<(Vec<String>, Vec<Vec<Option<String>>>), DestinationError> {
        if !self.handle.exists().await {
            return Err(DestinationError::new(
                DestinationErrorKind::Refused,
                format!("File `{}` does not exist", self.handle.path().display()),
                "Replicate something into it first, or check the path",
            ));
        }
        let sql = sql::as_text(sql);
        self.handle.look(move |session| session.query_text(&sql)).await
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    fn with_access(config: DuckDbConfig, access: Access) -> Result<Self, DestinationError> {
        config.validate()?;
        Ok(Self { handle: Arc::new(Handle { config, access, user: Mutex::default() }) })
    }
}

impl Handle {
    /// What the claim row remembers; see [`Destination::memory`].
    pub(crate) async fn memory(&self) -> Result<ClaimMemory, DestinationError> {
        self.read(claim::memory).await
    }

    pub(crate) fn path(&self) -> &Path {
        &self.config.path
    }

    /// Whether the file is there. One that can't be looked at is left to DuckDB, whose message tells why.
    pub(crate) async fn exists(&self) -> bool {
        tokio::fs::try_exists(self.path()).await.unwrap_or(true)
    }

    /// Whether the file may be written.
    pub(crate) fn is_writable(&self) -> bool {
        self.access == Access::Write
    }

    /// Reads something; nothing, from a file that doesn't exist: looking at it must not create it.
    async fn read<T: Default + Send + 'static>(
        &self,
        read: impl Fn(&Session) -> Result<T, DestinationError> + Send + 'static,
    ) -> Result<T, DestinationError> {
        if self.exists().await { self.look(read).await } else { Ok(T::default()) }
    }

    /// Writes something in a transaction of its own.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        write: impl Fn(&Session) -> Result<T, DestinationError> + Send + 'static,
    ) -> Result<T, DestinationError> {
        let turn = self.turn().await?;
        self.work(Access::Write, Some(turn), move |session| session.in_transaction(&write)).await
    }

    /// Does work that need not be able to write.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl Fn(&Session) -> Result<T, DestinationError> + Send + 'static,
    ) -> Result<T, DestinationError> {
        self.work(Access::Read, None, look).await
    }

    /// Does work in a transaction that is rolled back.
    pub(crate) async fn try_out(
        &self,
        work: impl Fn(&Session) -> Result<(), DestinationError> + Send + 'static,
    ) -> Result<(), DestinationError> {
        let turn = self.turn().await?;
        let tried = move |session: &Session| {
            session.run(sql::BEGIN, "begin a transaction")?;
            let done = work(session);
            session.run(sql::ROLLBACK, "roll back")?;
            done
        };
        self.work(Access::Write, Some(turn), tried).await
    }

    async fn work<T: Send + 'static>(
        &self,
        access: Access,
        turn: Option<OwnedMutexGuard<()>>,
        work: impl Fn(&Session) -> Result<T, DestinationError> + Send + 'static,
    ) -> Result<T, DestinationError> {
        let session = self.session(access, turn).await?;
        let worked = move || match work(&session) {
            // Inside the file nothing else is worth another try than what lacked memory, and may have more now.
            Err(error) if error.kind == DestinationErrorKind::Busy => work(&session),
            done => done,
        };
        blocking(worked).await
    }

    /// Waits for the turn to write the file.
    async fn turn(&self) -> Result<OwnedMutexGuard<()>, DestinationError> {
        if !self.is_writable() {
            return Err(crate::session::defect(
                "A destination that was opened to be read was asked to write",
            ));
        }
        let turn = self.joined().await?.turn();
        tokio::time::timeout(TURN_DEADLINE, turn.lock_owned()).await.map_err(|_| {
            DestinationError::new(
                DestinationErrorKind::Busy,
                format!(
                    "Another integration of this process has been writing file `{}` for {} seconds",
                    self.path().display(),
                    TURN_DEADLINE.as_secs()
                ),
                "Run again when that is done; give integrations with long loads files of their own",
            )
        })
    }

    /// A session inside the file, which is opened if need be; waits for another process that has it locked.
    async fn session(
        &self,
        access: Access,
        turn: Option<OwnedMutexGuard<()>>,
    ) -> Result<Session, DestinationError> {
        let user = self.joined().await?;
        // A reader that may write opens the file for writing at once, so that it needn't be opened again.
        let access = if self.is_writable() { Access::Write } else { access };
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        let (connection, catalog, pass) = loop {
            let (config, entering) = (self.config.clone(), Arc::clone(&user));
            let error = match blocking(move || entering.enter(&config, access)).await {
                Ok(entered) => break entered,
                Err(error) => error,
            };
            let left = self.config.lock_wait.saturating_sub(begun.elapsed());
            if error.kind != DestinationErrorKind::Busy || left.is_zero() {
                return Err(error);
            }
            if pause == FIRST_PAUSE {
                let longest_wait_seconds = self.config.lock_wait.as_secs();
                tracing::warn!(%error, longest_wait_seconds, "Waiting for the DuckDB file");
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        Ok(Session::new(
            connection,
            Place::new(catalog, &self.config.schema),
            pass,
            turn,
            self.path(),
        ))
    }

    /// The file that all users of its path share.
    async fn joined(&self) -> Result<Arc<User>, DestinationError> {
        if let Some(user) = self.user().as_ref() {
            return Ok(Arc::clone(user));
        }
        let path = self.config.path.clone();
        let user = Arc::new(blocking(move || User::join(&path)).await?);
        Ok(Arc::clone(self.user().get_or_insert(user)))
    }

    fn user(&self) -> MutexGuard<'_, Option<Arc<User>>> {
        self.user.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(user) = self.user().take() {
            dispose(user);
        }
    }
}

#[async_trait]
impl Destination for DuckDb {
    fn describe(&self) -> String {
        let config = &self.handle.config;
        format!("duckdb:{}, schema {}", config.path.display(), config.schema)
    }

    async fn check(&self) -> Vec<CheckStep> {
        check::check(&self.handle).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, DestinationError> {
        let request = request.clone();
        self.handle.write(move |session| claim::claim(session, &request, Utc::now())).await
    }

    async fn renew(&self, claim: &Claim) -> Result<(), DestinationError> {
        let claim = claim.clone();
        self.handle.write(move |session| claim::renew(session, &claim, Utc::now())).await
    }

    async fn release(&self, claim: &Claim) -> Result<(), DestinationError> {
        let claim = claim.clone();
        self.handle.write(move |session| claim::release(session, &claim, Utc::now())).await?;
        // Now, and not when the process ends, which waits for nobody: without a checkpoint, everybody who opens the file
        // next would first have to read the log again.
        self.close().await;
        Ok(())
    }

    fn dialect(&self) -> Dialect {
        Dialect {
            product: "DuckDB",
            table_bytes: usize::MAX,
            column_bytes: usize::MAX,
            identifier_bytes: usize::MAX,
            column_count: usize::MAX,
            folds_case: true,
            canonical: verbatim,
            split: SplitRule::KeepsOriginal,
            nesting: Nesting::Native,
        }
    }

    async fn stored_table(&self, table: &str) -> Result<Option<StoredTable>, DestinationError> {
        let table = table.to_owned();
        self.handle.read(move |session| table::stored(session, &table)).await
    }

    fn unit_limits(&self) -> UnitLimits {
        UNIT_LIMITS
    }

    async fn begin(&self, _claim: &Claim) -> Result<Box<dyn UnitTransaction>, DestinationError> {
        let turn = self.handle.turn().await?;
        let session = self.handle.session(Access::Write, Some(turn)).await?;
        Ok(Box::new(DuckDbTransaction::begin(session, Arc::clone(&self.handle)).await?))
    }

    async fn memory(&self) -> Result<ClaimMemory, DestinationError> {
        self.handle.memory().await
    }

    async fn count(&self, table: &str) -> Result<Option<u64>, DestinationError> {
        let table = table.to_owned();
        let read = move |session: &Session| {
            session.has_table(&table)?.then(|| session.count(&table)).transpose()
        };
        self.handle.read(read).await
    }

    async fn states(&self) -> Result<Vec<StateRow>, DestinationError> {
        self.handle.read(claim::states).await
    }

    async fn loads(&self, limit: usize) -> Result<Vec<LoadRecord>, DestinationError> {
        self.handle.read(move |session| ledger::loads(session, limit)).await
    }

    async fn totals(&self) -> Result<BTreeMap<String, LedgerTotals>, DestinationError> {
        self.handle.read(ledger::totals).await
    }

    async fn reject_reasons(
        &self,
        table: Option<&str>,
    ) -> Result<Vec<RejectReason>, DestinationError> {
        let table = table.map(str::to_owned);
        self.handle.read(move |session| rejects::reasons(session, table.as_deref())).await
    }

    async fn rejects(
        &self,
        table: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RejectRecord>, DestinationError> {
        let table = table.map(str::to_owned);
        self.handle.read(move |session| rejects::list(session, table.as_deref(), limit)).await
    }

    async fn scan(
        &self,
        schema: &Arc<StreamSchema>,
        span: Option<Span>,
    ) -> Result<Box<dyn RowScan>, DestinationError> {
        if !self.handle.exists().await {
            return Ok(Box::new(NoRows));
        }
        let session = self.handle.session(Access::Read, None).await?;
        Ok(Box::new(Scan::start(session, Arc::clone(schema), span)))
    }

    async fn rejected_among(
        &self,
        table: &str,
        marks: &[String],
    ) -> Result<BTreeSet<String>, DestinationError> {
        let (table, marks) = (table.to_owned(), marks.to_vec());
        self.handle.read(move |session| rejects::among(session, &table, &marks)).await
    }

    async fn stored_rejects(
        &self,
        filter: &RejectFilter,
        standing: Option<RejectStanding>,
        after: Option<&(i64, String)>,
        page: RejectPage,
    ) -> Result<Vec<StoredReject>, DestinationError> {
        let (filter, after) = (filter.clone(), after.cloned());
        let read = move |session: &Session| {
            rejects::stored(session, &filter, standing, after.as_ref(), page)
        };
        self.handle.read(read).await
    }
}
