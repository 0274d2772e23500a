//! The destination itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use replication::{
    claim::{Claim, ClaimMemory, ClaimRequest},
    destination::{
        Destination, DestinationError, LedgerTotals, RejectReason, RejectRecord, StateRow,
        UnitTransaction, UnsupportedRow,
    },
    ledger::LoadRecord,
    placement::{Dialect, Nesting, StoredTable},
    reject::{RejectFilter, RejectStanding, StoredReject},
    replay::RejectPage,
    run::UnitLimits,
    scan::RowScan,
    source::{CheckStep, Span},
    stream::StreamSchema,
    unit::TableLoad,
};

use crate::{
    check,
    config::PostgresConfig,
    connection::{Connector, Slot, Taken},
    failure::Doing,
    layout, limits, scan,
    session::Session,
    sql, tls,
    unit::Unit,
};

/// What one unit may hold: more rows would cost memory and save no processor time that can be measured.
const UNIT_LIMITS: UnitLimits =
    UnitLimits { rows: 20_000, bytes: 12 << 20, interval: Duration::from_secs(30) };

/// One schema of a PostgreSQL database.
///
/// Keeps a connection for the transactions of units. Claims, and what is read in between, use it too until it is needed
/// for both at once: then they get one of their own.
pub struct Postgres {
    connector: Arc<Connector>,
    units: Slot,
    side: Slot,
}

impl Postgres {
    /// Makes the destination ready without connecting.
    ///
    /// # Errors
    /// When TLS is needed and the certificates to trust can't be read.
    pub fn new(config: PostgresConfig) -> Result<Self, DestinationError> {
        let tls = tls::connector(&config)?;
        Ok(Self {
            connector: Arc::new(Connector::new(config, tls)),
            units: Slot::default(),
            side: Slot::default(),
        })
    }

    fn schema(&self) -> &str {
        &self.connector.config.schema
    }

    fn nesting(&self) -> Nesting {
        self.connector.config.nesting
    }

    async fn side(&self) -> Result<Taken, DestinationError> {
        if self.side.is_empty()
            && let Some(taken) = self.units.take_if_free(&self.connector).await?
        {
            return Ok(taken);
        }
        self.side.take(&self.connector).await
    }

    fn session<'a>(&'a self, taken: &'a Taken) -> Session<'a> {
        Session { connection: &taken.connection, schema: self.schema(), nesting: self.nesting() }
    }
}

// In every method below, an error drops the connection that was taken, so that its next user gets a fresh one.
#[async_trait]
impl Destination for Postgres {
    fn describe(&self) -> String {
        let config = &self.connector.config;
        format!(
            "`postgres://{}@{}/{}`, schema `{}`",
            config.user,
            config.place(),
            config.database,
            config.schema
        )
    }

    fn unit_limits(&self) -> UnitLimits {
        UNIT_LIMITS
    }

    async fn check(&self) -> Vec<CheckStep> {
        check::check(&self.connector).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claim, DestinationError> {
        let doing = Doing::task(format!("claim schema `{}`", self.schema()));
        let taken = self.side().await?;
        taken.connection.run(sql::BEGIN, &doing).await?;
        let claimed = self.session(&taken).claim(request).await;
        let end = if claimed.is_ok() { "commit" } else { "rollback" };
        match (claimed, taken.connection.run(end, &doing).await) {
            (Ok(claim), Ok(())) => {
                taken.put_back();
                Ok(claim)
            }
            (Ok(_), Err(error)) => Err(error),
            (Err(error), ended) => {
                if ended.is_ok() {
                    taken.put_back();
                }
                Err(error)
            }
        }
    }

    async fn renew(&self, claim: &Claim) -> Result<(), DestinationError> {
        let taken = self.side().await?;
        self.session(&taken).renew(claim).await?;
        taken.put_back();
        Ok(())
    }

    async fn release(&self, claim: &Claim) -> Result<(), DestinationError> {
        let taken = self.side().await?;
        self.session(&taken).release(claim).await?;
        taken.put_back();
        Ok(())
    }

    fn dialect(&self) -> Dialect {
        layout::dialect(self.nesting())
    }

    async fn stored_table(&self, table: &str) -> Result<Option<StoredTable>, DestinationError> {
        let taken = self.side().await?;
        let stored = self.session(&taken).stored(table).await?;
        taken.put_back();
        Ok(stored)
    }

    async fn begin(&self, _claim: &Claim) -> Result<Box<dyn UnitTransaction>, DestinationError> {
        let taken = self.units.take(&self.connector).await?;
        Ok(Box::new(Unit::begin(taken, self.schema(), self.nesting()).await?))
    }

    fn unsupported(&self, load: &TableLoad) -> Vec<UnsupportedRow> {
        limits::unsupported(load)
    }

    async fn memory(&self) -> Result<ClaimMemory, DestinationError> {
        let taken = self.side().await?;
        let memory = self.session(&taken).memory().await?;
        taken.put_back();
        Ok(memory)
    }

    async fn count(&self, table: &str) -> Result<Option<u64>, DestinationError> {
        let taken = self.side().await?;
        let count = self.session(&taken).count(table).await?;
        taken.put_back();
        Ok(count)
    }

    async fn states(&self) -> Result<Vec<StateRow>, DestinationError> {
        let taken = self.side().await?;
        let states = self.session(&taken).states().await?;
        taken.put_back();
        Ok(states)
    }

    async fn loads(&self, limit: usize) -> Result<Vec<LoadRecord>, DestinationError> {
        let taken = self.side().await?;
        let loads = self.session(&taken).loads(limit).await?;
        taken.put_back();
        Ok(loads)
    }

    async fn totals(&self) -> Result<BTreeMap<String, LedgerTotals>, DestinationError> {
        let taken = self.side().await?;
        let totals = self.session(&taken).totals().await?;
        taken.put_back();
        Ok(totals)
    }

    async fn reject_reasons(
        &self,
        table: Option<&str>,
    ) -> Result<Vec<RejectReason>, DestinationError> {
        let taken = self.side().await?;
        let reasons = self.session(&taken).reject_reasons(table).await?;
        taken.put_back();
        Ok(reasons)
    }

    async fn rejects(
        &self,
        table: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RejectRecord>, DestinationError> {
        let taken = self.side().await?;
        let rejects = self.session(&taken).rejects(table, limit).await?;
        taken.put_back();
        Ok(rejects)
    }

    async fn scan(
        &self,
        schema: &Arc<StreamSchema>,
        span: Option<Span>,
    ) -> Result<Box<dyn RowScan>, DestinationError> {
        let connection = self.connector.open().await?;
        scan::open(connection, self.schema(), self.nesting(), schema, span).await
    }

    async fn rejected_among(
        &self,
        table: &str,
        marks: &[String],
    ) -> Result<BTreeSet<String>, DestinationError> {
        let taken = self.side().await?;
        let found = self.session(&taken).rejected_among(table, marks).await?;
        taken.put_back();
        Ok(found)
    }

    async fn stored_rejects(
        &self,
        filter: &RejectFilter,
        standing: Option<RejectStanding>,
        after: Option<&(i64, String)>,
        page: RejectPage,
    ) -> Result<Vec<StoredReject>, DestinationError> {
        let taken = self.side().await?;
        let rejects = self.session(&taken).stored_rejects(filter, standing, after, page).await?;
        taken.put_back();
        Ok(rejects)
    }
}
