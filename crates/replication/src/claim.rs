//! The claim on a schema: one writer at a time, decided by the destination itself.
//!
//! A run claims its schema before it reads a bookmark. The claim is one row of `_sdc_state`; taking it raises the row's
//! token, and every commit updates that row where the token is still its own. So a run that was paused past its lease,
//! and overtaken, commits nothing when it wakes: its token is old.

use std::{collections::BTreeMap, fmt, fs, process};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stream::StreamName;

/// What a run asks for when it claims a schema.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// The integration that the schema belongs to.
    pub integration_id: String,
    /// The account that its rows come from; see [`crate::source::Source::fingerprint`].
    pub source_fingerprint: String,
    /// Who asks.
    pub holder: Holder,
    /// The run that asks. An earlier attempt at the same run is taken over, alive or not.
    pub run_id: String,
    /// How long the claim holds after it was last renewed.
    pub lease: TimeDelta,
    /// Takes the schema even from a live holder.
    pub take_over: bool,
    /// Accepts that the source's fingerprint has changed.
    pub accept_source_change: bool,
    /// The start date to store if none is stored yet; RFC 3339.
    pub start_date: Option<String>,
    /// Stores it in place of the one that is stored.
    pub reset_start_date: bool,
}

/// A granted claim.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The fencing token.
    pub token: i64,
    /// The run that holds it.
    pub run_id: String,
    /// How long it holds after each renewal.
    pub lease: TimeDelta,
    /// The state of each stream as last committed.
    pub states: BTreeMap<StreamName, Value>,
    /// What the claim row remembers beside the states.
    pub memory: ClaimMemory,
    /// The start date that is stored, from the first run on.
    pub start_date: Option<String>,
    /// The holder that was there before and had not let go, if any: its run was killed, or overtaken.
    pub unreleased: Option<Holder>,
}

/// What the claim row keeps in its `state` column, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClaimMemory {
    /// The greatest `_sdc_sequence` committed in this schema.
    #[serde(default)]
    pub greatest_sequence: i64,
    /// The last batch committed, and how a lost reply to a commit is looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_batch: Option<String>,
    /// The run that committed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<String>,
    /// A Singer tap's opaque state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub singer_state: Option<Value>,
}

impl ClaimMemory {
    /// Whether it tells of anything that was committed into the schema: rows, or a tap's state.
    #[must_use]
    pub fn is_of_a_filled_schema(&self) -> bool {
        self.greatest_sequence > 0 || self.singer_state.is_some()
    }
}

/// Who holds a claim: readable for people, and exact enough to tell on the same machine whether it is still alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The host's name.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// What tells this process from another one with its number: machine, boot, process namespace and start time.
    pub incarnation: String,
    /// The run.
    pub run_id: String,
}

impl Holder {
    /// This process, for a run.
    #[must_use]
    pub fn current(run_id: &str) -> Self {
        let pid = process::id();
        Self {
            host: host_name(),
            pid,
            incarnation: incarnation(pid).map(|found| found.to_string()).unwrap_or_default(),
            run_id: run_id.to_owned(),
        }
    }

    /// Reads the text of the `holder` column; see [`Holder::stored`].
    #[must_use]
    pub fn parse(stored: &str) -> Option<Self> {
        serde_json::from_str(stored).ok()
    }

    /// The text for the `holder` column.
    #[must_use]
    pub fn stored(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether the holder is known to be dead: it ran on this machine, in an earlier boot or in this process namespace,
    /// and no longer does. A holder elsewhere is never known to be dead; only its lease tells.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        let (Some(here), Some(there)) =
            (incarnation(process::id()), Incarnation::parse(&self.incarnation))
        else {
            return false;
        };
        if here.machine.is_empty() || here.machine != there.machine || self.host != host_name() {
            return false;
        }
        if here.boot != there.boot {
            return true;
        }
        // Where other people's processes are hidden, a process that can't be seen may well be alive.
        let all_are_visible = fs::metadata("/proc/1/stat").is_ok();
        here.namespace == there.namespace
            && all_are_visible
            && incarnation(self.pid).is_none_or(|now| now.start != there.start)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "run `{}` (process {} on `{}`)", self.run_id, self.pid, self.host)
    }
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown host".to_owned())
}

/// What tells a process from every other one, of any machine and any boot.
#[derive(Debug, PartialEq, Eq)]
struct Incarnation {
    machine: String,
    boot: String,
    namespace: String,
    start: String,
}

impl Incarnation {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/').map(str::to_owned);
        let parsed = Self {
            machine: parts.next()?,
            boot: parts.next()?,
            namespace: parts.next()?,
            start: parts.next()?,
        };
        parts.next().is_none().then_some(parsed)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}/{}", self.machine, self.boot, self.namespace, self.start)
    }
}

/// The incarnation of a process, from `/proc`; none where there is no such process, or no `/proc`. A zombie counts as
/// gone: it holds no connection and commits nothing. A machine without an id of its own is known by its boot.
fn incarnation(pid: u32) -> Option<Incarnation> {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned());
    let boot = read("/proc/sys/kernel/random/boot_id").ok()?;
    let machine = read("/etc/machine-id").ok().filter(|id| !id.is_empty());
    let machine = machine.unwrap_or_else(|| boot.clone());
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    let status = read(&format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in parentheses, may hold spaces; the fields after it don't. The state is the first of them,
    // the start time the twentieth.
    let fields: Vec<&str> = status.rsplit_once(')')?.1.split_whitespace().collect();
    if matches!(fields.first(), Some(&("Z" | "X"))) {
        return None;
    }
    let start = (*fields.get(19)?).to_owned();
    Some(Incarnation { machine, boot, namespace: namespace.display().to_string(), start })
}

/// What was found in the claim row, for a destination to decide by [`decide`].
#[derive(Debug, Clone)]
pub struct ClaimRow {
    /// The token.
    pub token: i64,
    /// The holder column; none when the claim was released.
    pub holder: Option<String>,
    /// When the lease ends.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// The integration that the schema belongs to.
    pub integration_id: Option<String>,
    /// The account that it belongs to.
    pub source_fingerprint: Option<String>,
    /// Whether anything was ever committed: rows, or a bookmark. Until then the schema belongs to nobody, so that a
    /// first run with a mistyped token or start date leaves nothing behind that the corrected one trips over.
    pub is_filled: bool,
}

/// Why a claim is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A live holder has it.
    Held {
        /// Who.
        holder: String,
        /// Until when, if it doesn't renew.
        until: DateTime<Utc>,
    },
    /// The schema belongs to another integration.
    OtherIntegration {
        /// Which.
        owner: String,
    },
    /// The schema's rows come from another account.
    OtherSource,
}

/// Decides a claim on an existing row at `now`, the destination's time.
///
/// # Errors
/// The [`Refusal`]; see there. On success returns the holder that had not let go, if there was one.
pub fn decide(
    row: &ClaimRow,
    request: &ClaimRequest,
    now: DateTime<Utc>,
) -> Result<Option<Holder>, Refusal> {
    let owner = row.integration_id.as_ref().filter(|_| row.is_filled);
    if let Some(owner) = owner.filter(|owner| **owner != request.integration_id) {
        return Err(Refusal::OtherIntegration { owner: owner.clone() });
    }
    let source = row.source_fingerprint.as_ref().filter(|_| row.is_filled);
    let other_source = source.is_some_and(|stored| *stored != request.source_fingerprint);
    if other_source && !request.accept_source_change {
        return Err(Refusal::OtherSource);
    }
    let Some(stored) = &row.holder else {
        return Ok(None);
    };
    let holder = Holder::parse(stored);
    let until = row.lease_expires_at.unwrap_or(now);
    let alive = until > now && !holder.as_ref().is_some_and(Holder::is_dead);
    // Another attempt at the run that holds it: whoever keeps a ledger of runs begins a run again only when its former
    // worker is out of it, and that one is fenced off.
    let is_same_run = holder.as_ref().is_some_and(|holder| holder.run_id == request.run_id);
    if alive && !request.take_over && !is_same_run {
        let holder = holder.map_or_else(|| stored.clone(), |holder| holder.to_string());
        return Err(Refusal::Held { holder, until });
    }
    Ok(holder)
}
