//! Claiming a schema: one transaction that makes it ready, decides, and reads the bookmarks.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use replication::{
    claim::{Claim, ClaimMemory, ClaimRequest, ClaimRow, Holder, decide},
    destination::{DestinationError, DestinationErrorKind},
    stream::StreamName,
    system::{self as names, NEXT_VERSION_PREFIX},
};
use serde_json::Value;
use tokio_postgres::Row;

use crate::{
    connection::{bigint, boolean, text},
    failure::Doing,
    layout::digest,
    ledger::lease_micros,
    session::Session,
    sql::{
        self,
        system::{self, Lock},
        tables,
    },
};

/// What a claim that may be taken is taken with.
struct Decided {
    unreleased: Option<Holder>,
    memory: ClaimMemory,
    states: BTreeMap<StreamName, Value>,
    is_filled: bool,
}

impl Session<'_> {
    /// Claims the schema within the transaction that is open.
    pub(crate) async fn claim(&self, request: &ClaimRequest) -> Result<Claim, DestinationError> {
        let doing = Doing::task(format!("claim schema `{}`", self.schema));
        // Two first runs at once would both try to create the schema; this one waits, and finds it.
        self.connection.run(&sql::exclude_claims(digest(self.schema)), &doing).await?;
        self.create_what_is_missing().await?;
        self.connection.execute(&system::insert_claim(self.schema), &[], &doing).await?;

        let free = system::find_claim(self.schema, Lock::IfFree);
        let row = match self.connection.query(&free, &[], &doing).await?.into_iter().next() {
            Some(row) => row,
            None => {
                // Somebody is about to commit. Who may be overtaken is not waited for, perhaps paused and for long.
                let seen = system::find_claim(self.schema, Lock::None);
                let seen = self.connection.query_one(&seen, &[], &doing).await?;
                self.decided(&seen, request, &doing).await?;
                self.connection.run(&sql::end_units(digest(self.schema)), &doing).await?;
                let locked = system::find_claim(self.schema, Lock::Wait);
                self.connection.query_one(&locked, &[], &doing).await?
            }
        };
        let Decided { unreleased, memory, states, is_filled } =
            self.decided(&row, request, &doing).await?;

        let keeps_start_date = is_filled && !request.reset_start_date;
        let (holder, lease) = (request.holder.stored(), lease_micros(request.lease));
        let parameters = [
            text(&holder),
            bigint(&lease),
            text(&request.integration_id),
            text(&request.source_fingerprint),
            text(&request.start_date),
            boolean(&keeps_start_date),
        ];
        let taken = self
            .connection
            .query_one(&system::take_claim(self.schema), &parameters, &doing)
            .await?;
        self.connection.run(&sql::end_units(digest(self.schema)), &doing).await?;
        self.drop_unfinished_versions().await?;
        Ok(Claim {
            token: taken.get(0),
            run_id: request.run_id.clone(),
            lease: request.lease,
            states,
            memory,
            start_date: taken.get(1),
            unreleased,
        })
    }

    /// Decides about a claim on the row that was found.
    async fn decided(
        &self,
        row: &Row,
        request: &ClaimRequest,
        doing: &Doing,
    ) -> Result<Decided, DestinationError> {
        let memory = memory_of(row.get(5), self.schema)?;
        let states = self.bookmarks().await?;
        let is_filled = memory.is_of_a_filled_schema() || !states.is_empty();
        let found = ClaimRow {
            token: row.get::<_, Option<i64>>(0).unwrap_or(0),
            holder: row.get(1),
            lease_expires_at: row.get(2),
            integration_id: row.get(3),
            source_fingerprint: row.get(4),
            is_filled,
        };
        // After the lock: waiting for it took its time.
        let now: DateTime<Utc> =
            self.connection.query_one("select clock_timestamp()", &[], doing).await?.get(0);
        let unreleased = decide(&found, request, now)
            .map_err(|refusal| DestinationError::claim_refused(refusal, self.schema))?;
        Ok(Decided { unreleased, memory, states, is_filled })
    }

    /// What the claim row remembers; nothing if there is none.
    pub(crate) async fn memory(&self) -> Result<ClaimMemory, DestinationError> {
        if !self.table_exists(names::STATE.name).await? {
            return Ok(ClaimMemory::default());
        }
        let doing = Doing::task("read the claim");
        let rows = self.connection.query(&system::memory(self.schema), &[], &doing).await?;
        rows.first()
            .map_or_else(|| Ok(ClaimMemory::default()), |row| memory_of(row.get(0), self.schema))
    }

    /// Creates schema and system tables, or what they lack.
    async fn create_what_is_missing(&self) -> Result<(), DestinationError> {
        let doing = Doing::task(format!("create schema `{}`", self.schema));
        let parameters = [text(&self.schema)];
        // Asked first: `if not exists` wants the privilege to create even where there is nothing to create.
        if self.connection.query(tables::SCHEMA_EXISTS, &parameters, &doing).await?.is_empty() {
            self.connection.run(&tables::create_schema(self.schema), &doing).await?;
        }
        for table in names::TABLES {
            self.fit_system_table(table).await?;
        }
        Ok(())
    }

    /// The bookmarks as last committed.
    async fn bookmarks(&self) -> Result<BTreeMap<StreamName, Value>, DestinationError> {
        let doing = Doing::task("read the bookmarks");
        let rows = self.connection.query(&system::bookmarks(self.schema), &[], &doing).await?;
        let mut bookmarks = BTreeMap::new();
        for row in rows {
            let (stream, state): (String, Option<String>) = (row.get(0), row.get(1));
            let Some(state) = state else { continue };
            let state = serde_json::from_str(&state).map_err(|error| {
                broken_state(&format!("of stream `{stream}`"), self.schema, error)
            })?;
            bookmarks.insert(StreamName::new(stream), state);
        }
        Ok(bookmarks)
    }

    /// Drops tables in which versions wait that will never be complete: their run is over.
    async fn drop_unfinished_versions(&self) -> Result<(), DestinationError> {
        let doing = Doing::work("drop unfinished versions");
        let parameters = [text(&self.schema), text(&NEXT_VERSION_PREFIX)];
        let rows = self.connection.query(tables::NAMES_BY_PREFIX, &parameters, &doing).await?;
        let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        if names.is_empty() {
            return Ok(());
        }
        self.connection.run(&tables::drop_tables(self.schema, &names), &doing).await
    }

    /// Renews the lease.
    pub(crate) async fn renew(&self, claim: &Claim) -> Result<(), DestinationError> {
        let doing = Doing::task("renew the claim");
        let lease = lease_micros(claim.lease);
        let parameters = [bigint(&claim.token), bigint(&lease)];
        match self
            .connection
            .execute(&system::renew_claim(self.schema), &parameters, &doing)
            .await?
        {
            0 => Err(DestinationError::fenced(self.schema)),
            _ => Ok(()),
        }
    }

    /// Lets the claim go, unless somebody else has it.
    pub(crate) async fn release(&self, claim: &Claim) -> Result<(), DestinationError> {
        let doing = Doing::task("release the claim");
        let parameters = [bigint(&claim.token)];
        self.connection
            .execute(&system::release_claim(self.schema), &parameters, &doing)
            .await
            .map(drop)
    }
}

fn memory_of(state: Option<String>, schema: &str) -> Result<ClaimMemory, DestinationError> {
    let Some(state) = state else { return Ok(ClaimMemory::default()) };
    serde_json::from_str(&state).map_err(|error| broken_state("of the claim", schema, error))
}

/// A state that can't be read. Reading on without it could repeat or skip rows, so the run stops here.
pub(crate) fn broken_state(
    whose: &str,
    schema: &str,
    error: serde_json::Error,
) -> DestinationError {
    DestinationError::new(
        DestinationErrorKind::Refused,
        format!(
            "The state {whose} in `{schema}._sdc_state` is not the JSON that was written there"
        ),
        "Put it right, or delete the row to read that stream from its start date",
    )
    .caused_by(error)
}
