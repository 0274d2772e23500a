//! The rows of `_sdc_state`: the claim on the schema, and the bookmarks.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use duckdb::{Row, types::Value as Parameter};
use replication::{
    claim::{self, Claim, ClaimMemory, ClaimRequest, ClaimRow},
    destination::{DestinationError, DestinationErrorKind, StateRow},
    stream::StreamName,
    system::{self, NEXT_VERSION_PREFIX, STATE},
};
use serde_json::Value;

use crate::{
    session::{Session, instant, optional_text, read_instant, text},
    sql,
};

/// A row of `_sdc_state` as it is stored.
struct Stored {
    stream: String,
    state: Option<String>,
    token: Option<i64>,
    holder: Option<String>,
    lease_expires_at: Option<DateTime<Utc>>,
    integration_id: Option<String>,
    source_fingerprint: Option<String>,
    start_date: Option<String>,
    updated_at: Option<DateTime<Utc>>,
}

/// Creates what is missing and claims the schema, within the session's transaction.
pub(crate) fn claim(
    session: &Session,
    request: &ClaimRequest,
    now: DateTime<Utc>,
) -> Result<Claim, DestinationError> {
    session.run(&sql::create_schema(&session.place), "create the schema")?;
    for table in system::TABLES {
        session.run(
            &sql::create_system_table(&session.place, table),
            &format!("create the table `{}`", table.name),
        )?;
    }
    let stored = stored(session)?;
    let before = stored.iter().find(|row| row.stream.is_empty());
    let memory = before.map_or(Ok(ClaimMemory::default()), memory_of)?;
    let bookmarks = bookmarks(&stored)?;
    let is_filled = memory.is_of_a_filled_schema() || !bookmarks.is_empty();
    let unreleased = before
        .map_or(Ok(None), |row| claim::decide(&row.claim(is_filled), request, now))
        .map_err(|refusal| DestinationError::claim_refused(refusal, session.place.schema()))?;
    let token = before.and_then(|row| row.token).unwrap_or(0) + 1;
    let start_date = before
        .filter(|_| is_filled && !request.reset_start_date)
        .and_then(|row| row.start_date.clone())
        .or_else(|| request.start_date.clone());
    let write = if before.is_some() { sql::update_claim } else { sql::insert_claim };
    let parameters = [
        Parameter::BigInt(token),
        text(request.holder.stored()),
        instant(now + request.lease),
        text(&request.integration_id),
        text(&request.source_fingerprint),
        optional_text(start_date.as_ref()),
        instant(now),
    ];
    session.execute(&write(&session.place), parameters, "claim the schema")?;
    drop_waiting_tables(session)?;
    Ok(Claim {
        token,
        run_id: request.run_id.clone(),
        lease: request.lease,
        states: bookmarks,
        memory,
        start_date,
        unreleased,
    })
}

/// Renews the lease.
pub(crate) fn renew(
    session: &Session,
    claim: &Claim,
    now: DateTime<Utc>,
) -> Result<(), DestinationError> {
    let parameters = [instant(now + claim.lease), instant(now), Parameter::BigInt(claim.token)];
    let count =
        session.execute(&sql::renew_claim(&session.place), parameters, "renew the claim")?;
    held(session, count)
}

/// Lets the claim go, if it is still this one.
pub(crate) fn release(
    session: &Session,
    claim: &Claim,
    now: DateTime<Utc>,
) -> Result<(), DestinationError> {
    let parameters = [instant(now), Parameter::BigInt(claim.token)];
    session.execute(&sql::release_claim(&session.place), parameters, "release the claim")?;
    Ok(())
}

/// Renews the lease and stores the memory.
pub(crate) fn fence(
    session: &Session,
    claim: &Claim,
    memory: &ClaimMemory,
    now: DateTime<Utc>,
) -> Result<(), DestinationError> {
    let memory = serde_json::to_string(memory).map_err(|error| {
        crate::session::defect("The claim's memory can't be written as JSON").caused_by(error)
    })?;
    let parameters =
        [instant(now + claim.lease), text(memory), instant(now), Parameter::BigInt(claim.token)];
    let count = session.execute(&sql::fence(&session.place), parameters, "check the claim")?;
    held(session, count)
}

/// Stores bookmarks.
pub(crate) fn bookmark(
    session: &Session,
    states: &BTreeMap<StreamName, Value>,
    now: DateTime<Utc>,
) -> Result<(), DestinationError> {
    for (stream, state) in states {
        let parameters = [text(stream.as_str()), text(state.to_string()), instant(now)];
        session.execute(&sql::put_state(&session.place), parameters, "store a bookmark")?;
    }
    Ok(())
}

/// What the claim row remembers.
pub(crate) fn memory(session: &Session) -> Result<ClaimMemory, DestinationError> {
    let stored = stored_if_any(session)?;
    stored.iter().find(|row| row.stream.is_empty()).map_or(Ok(ClaimMemory::default()), memory_of)
}

/// The state rows, for people.
pub(crate) fn states(session: &Session) -> Result<Vec<StateRow>, DestinationError> {
    let rows = stored_if_any(session)?;
    rows.into_iter()
        .map(|row| {
            Ok(StateRow {
                state: row.state.as_deref().map(|state| parse(&row.stream, state)).transpose()?,
                stream: row.stream,
                token: row.token,
                holder: row.holder,
                lease_expires_at: row.lease_expires_at,
                integration_id: row.integration_id,
                start_date: row.start_date,
                updated_at: row.updated_at,
            })
        })
        .collect()
}

impl Stored {
    fn read(row: &Row<'_>) -> duckdb::Result<Self> {
        Ok(Self {
            stream: row.get(0)?,
            state: row.get(1)?,
            token: row.get(2)?,
            holder: row.get(3)?,
            lease_expires_at: read_instant(row, 4)?,
            integration_id: row.get(5)?,
            source_fingerprint: row.get(6)?,
            start_date: row.get(7)?,
            updated_at: read_instant(row, 8)?,
        })
    }

    fn claim(&self, is_filled: bool) -> ClaimRow {
        ClaimRow {
            token: self.token.unwrap_or(0),
            holder: self.holder.clone(),
            lease_expires_at: self.lease_expires_at,
            integration_id: self.integration_id.clone(),
            source_fingerprint: self.source_fingerprint.clone(),
            is_filled,
        }
    }
}

/// The claim's token must have matched one row.
fn held(session: &Session, count: u64) -> Result<(), DestinationError> {
    if count == 1 { Ok(()) } else { Err(DestinationError::fenced(session.place.schema())) }
}

fn stored(session: &Session) -> Result<Vec<Stored>, DestinationError> {
    session.rows(&sql::states(&session.place), [], "read the bookmarks", Stored::read)
}

fn stored_if_any(session: &Session) -> Result<Vec<Stored>, DestinationError> {
    if session.has_table(STATE.name)? { stored(session) } else { Ok(Vec::new()) }
}

fn bookmarks(stored: &[Stored]) -> Result<BTreeMap<StreamName, Value>, DestinationError> {
    let rows = stored.iter().filter(|row| !row.stream.is_empty());
    rows.filter_map(|row| Some((row, row.state.as_deref()?)))
        .map(|(row, state)| Ok((StreamName::new(&row.stream), parse(&row.stream, state)?)))
        .collect()
}

fn memory_of(row: &Stored) -> Result<ClaimMemory, DestinationError> {
    let Some(state) = &row.state else { return Ok(ClaimMemory::default()) };
    serde_json::from_str(state).map_err(|error| unreadable("", error))
}

fn parse(stream: &str, state: &str) -> Result<Value, DestinationError> {
    serde_json::from_str(state).map_err(|error| unreadable(stream, error))
}

fn unreadable(stream: &str, error: serde_json::Error) -> DestinationError {
    DestinationError::new(
        DestinationErrorKind::Refused,
        format!("The state of stream `{stream}` in `{}` is not JSON", STATE.name),
        "Somebody has changed it by hand; mend the row, or delete it to read that stream from its start",
    )
    .caused_by(error)
}

/// Drops what a run that ended early left of versions that were never activated.
fn drop_waiting_tables(session: &Session) -> Result<(), DestinationError> {
    let doing = "look for waiting tables";
    let parameters = session.place.named(NEXT_VERSION_PREFIX);
    let tables: Vec<String> =
        session.rows(sql::FIND_WAITING_TABLES, parameters, doing, |row| row.get(0))?;
    for table in tables {
        session
            .run(&sql::drop_table(&session.place, &table), &format!("drop the table `{table}`"))?;
    }
    Ok(())
}
