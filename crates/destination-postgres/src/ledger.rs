//! Writing the system tables within a unit: rejects, ledger, bookmarks, fence.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use replication::{
    claim::{Claim, ClaimMemory},
    destination::{DestinationError, DestinationErrorKind},
    ledger::LoadRecord,
    reject::RejectedRow,
    stream::StreamName,
    system::{LOADS, REJECTED, SystemTable},
};
use serde_json::Value;
use tokio_postgres::types::Type;

use crate::{
    connection::{Parameter, bigint, text, texts},
    failure::{Doing, unexpected},
    merge::figures,
    session::Session,
    sql::system,
};

/// How many rejects, and how many bytes of them, go into one statement at most, about.
const REJECT_ROWS: usize = 500;
const REJECT_BYTES: usize = 8 << 20;

/// A value for a column of a system table.
enum Cell {
    Text(Option<String>),
    Bigint(Option<i64>),
    Instant(Option<DateTime<Utc>>),
}

impl Cell {
    /// Text, in which U+0000 is written as `\u0000`, since PostgreSQL stores no such character.
    fn text(text: &str) -> Self {
        Self::Text(Some(text.replace('\0', "\\u0000")))
    }

    fn optional(text: Option<&String>) -> Self {
        text.map_or(Self::Text(None), |text| Self::text(text))
    }

    /// A count. None in this world exceeds 63 bits.
    fn count(count: u64) -> Self {
        Self::Bigint(Some(i64::try_from(count).unwrap_or(i64::MAX)))
    }

    fn parameter(&self) -> Parameter<'_> {
        match self {
            Self::Text(text) => (text, Type::TEXT),
            Self::Bigint(number) => (number, Type::INT8),
            Self::Instant(instant) => (instant, Type::TIMESTAMPTZ),
        }
    }
}

impl Session<'_> {
    /// Adds rejects that are not there yet, and returns how many were added.
    pub(crate) async fn reject(
        &self,
        run_id: &str,
        rejects: &[RejectedRow],
    ) -> Result<u64, DestinationError> {
        let now = Utc::now();
        let mut added = 0;
        let mut seen = HashSet::new();
        let mut rest = rejects;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |reject: &&RejectedRow| {
                bytes += reject.record.len();
                bytes <= REJECT_BYTES
            };
            let count = rest.iter().take(REJECT_ROWS).take_while(fits).count().max(1);
            let (now_rejected, later) = rest.split_at(count);
            // One statement must not meet an id twice.
            let fresh = now_rejected.iter().filter(|reject| seen.insert(reject.id()));
            let rows: Vec<_> = fresh.map(|reject| reject_cells(run_id, reject, now)).collect();
            rest = later;
            if rows.is_empty() {
                continue;
            }
            let sql = system::insert_rejects(self.schema, rows.len());
            added += self.insert(&REJECTED, &sql, &rows).await?;
        }
        Ok(added)
    }

    /// How many of these rejects are there.
    pub(crate) async fn count_rejects(&self, ids: &[String]) -> Result<u64, DestinationError> {
        let doing = Doing::work(format!("count the rows of `{}`", REJECTED.name));
        let sql = system::count_rejects(self.schema);
        let row = self.connection.query_one(&sql, &[texts(&ids)], &doing).await?;
        let [count] = figures(&row).ok_or_else(|| unexpected(&doing))?;
        Ok(count)
    }

    /// Marks rejects as replayed.
    pub(crate) async fn mark_replayed(&self, ids: &[String]) -> Result<u64, DestinationError> {
        let doing = Doing::work("mark replayed rejects");
        self.connection.execute(&system::mark_replayed(self.schema), &[texts(&ids)], &doing).await
    }

    /// Removes rejects.
    pub(crate) async fn remove_rejects(&self, ids: &[String]) -> Result<u64, DestinationError> {
        let doing = Doing::work("remove rejects");
        self.connection.execute(&system::remove_rejects(self.schema), &[texts(&ids)], &doing).await
    }

    /// Removes rejects that are old.
    pub(crate) async fn expire_rejects(
        &self,
        rejected_before: DateTime<Utc>,
        replayed_before: DateTime<Utc>,
        most: u32,
    ) -> Result<u64, DestinationError> {
        let doing = Doing::work("remove old rejects");
        let most = i64::from(most);
        let parameters: [Parameter<'_>; 3] = [
            (&rejected_before, Type::TIMESTAMPTZ),
            (&replayed_before, Type::TIMESTAMPTZ),
            bigint(&most),
        ];
        self.connection.execute(&system::expire_rejects(self.schema), &parameters, &doing).await
    }

    /// Adds rows to the ledger.
    pub(crate) async fn record(&self, loads: &[LoadRecord]) -> Result<(), DestinationError> {
        let rows: Vec<_> = loads.iter().map(load_cells).collect();
        for rows in rows.chunks(REJECT_ROWS) {
            let sql = system::insert_rows(self.schema, &LOADS, rows.len());
            self.insert(&LOADS, &sql, rows).await?;
        }
        Ok(())
    }

    /// Stores bookmarks.
    pub(crate) async fn bookmark(
        &self,
        states: &BTreeMap<StreamName, Value>,
    ) -> Result<(), DestinationError> {
        for (stream, state) in states {
            let doing = Doing::task(format!("store the bookmark of `{stream}`"));
            let (stream, state) = (stream.as_str(), state.to_string());
            let parameters = [text(&stream), text(&state)];
            self.connection
                .execute(&system::store_bookmark(self.schema), &parameters, &doing)
                .await?;
        }
        Ok(())
    }

    /// Renews the claim and stores what its row remembers.
    pub(crate) async fn fence(
        &self,
        claim: &Claim,
        memory: &ClaimMemory,
    ) -> Result<(), DestinationError> {
        let doing = Doing::task("renew the claim");
        let memory = serde_json::to_string(memory).map_err(|error| {
            DestinationError::new(
                DestinationErrorKind::Bug,
                "The claim's memory is no JSON",
                "Report this defect",
            )
            .caused_by(error)
        })?;
        let lease = lease_micros(claim.lease);
        let parameters = [bigint(&claim.token), bigint(&lease), text(&memory)];
        let renewed =
            self.connection.execute(&system::fence(self.schema), &parameters, &doing).await?;
        if renewed == 1 { Ok(()) } else { Err(DestinationError::fenced(self.schema)) }
    }

    async fn insert<const WIDTH: usize>(
        &self,
        table: &SystemTable,
        sql: &str,
        rows: &[[Cell; WIDTH]],
    ) -> Result<u64, DestinationError> {
        let doing = Doing::work(format!("write `{}`", table.name));
        let parameters: Vec<_> = rows.iter().flatten().map(Cell::parameter).collect();
        self.connection.execute(sql, &parameters, &doing).await
    }
}

/// A lease in the unit in which it is sent.
pub(crate) fn lease_micros(lease: TimeDelta) -> i64 {
    lease.num_microseconds().unwrap_or(i64::MAX / 2)
}

/// A row of `_sdc_rejected`, in the order of its columns.
fn reject_cells(
    run_id: &str,
    reject: &RejectedRow,
    now: DateTime<Utc>,
) -> [Cell; REJECTED.columns.len()] {
    [
        Cell::Instant(Some(now)),
        Cell::text(reject.stream.as_str()),
        Cell::text(&reject.reason),
        Cell::text(&reject.record),
        Cell::text(reject.code.as_str()),
        Cell::text(&reject.id()),
        Cell::text(run_id),
        Cell::text(reject.stream.as_str()),
        Cell::optional(reject.key_digest.as_ref()),
        Cell::Bigint(Some(reject.sequence)),
        Cell::Bigint(Some(reject.table_version)),
        Cell::Instant(Some(reject.extracted_at)),
        Cell::Text(None),
        Cell::Instant(None),
    ]
}

/// A row of `_sdc_loads`, in the order of its columns.
fn load_cells(load: &LoadRecord) -> [Cell; LOADS.columns.len()] {
    let counts = &load.counts;
    let gap = load.gap.as_ref();
    [
        Cell::text(&load.batch_id),
        Cell::text(&load.table),
        Cell::text(&load.run_id),
        Cell::text(&load.stream),
        Cell::Bigint(Some(load.table_version)),
        Cell::count(counts.read),
        Cell::count(counts.out_of_window),
        Cell::count(counts.repeated),
        Cell::count(counts.received),
        Cell::count(counts.inserted),
        Cell::count(counts.updated),
        Cell::count(counts.unchanged),
        Cell::count(counts.superseded),
        Cell::count(counts.rejected),
        Cell::count(counts.deleted),
        Cell::count(counts.bytes),
        Cell::count(counts.requests),
        Cell::optional(load.bookmark.as_ref()),
        Cell::optional(load.max_replication_key.as_ref()),
        Cell::Instant(gap.map(|gap| gap.from)),
        Cell::Instant(gap.map(|gap| gap.to)),
        Cell::optional(gap.map(|gap| &gap.reason)),
        Cell::Instant(Some(load.started_at)),
        Cell::Instant(Some(load.staged_at)),
        Cell::Instant(Some(load.committed_at)),
    ]
}
