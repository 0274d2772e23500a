//! What a client has done so far, in numbers.

use std::collections::{BTreeMap, BTreeSet};

use crate::fault_code::FaultCode;
use crate::request::Function;

/// Counts over all sessions of a client since it was made. A snapshot; see
/// [`Client::statistics`](crate::Client::statistics).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Requests sent per function, retries and logins included.
    pub requests: BTreeMap<Function, u64>,
    /// Requests repeated after a failure, with a pause before each.
    pub retries: u64,
    /// Logins that gave a session.
    pub logins: u64,
    /// Sessions that the server declared invalid.
    pub lost_sessions: u64,
    /// Cursors given up because an answer or a session was lost.
    pub lost_cursors: u64,
    /// SOAP faults received per code, the end of an activity window (116) included.
    pub faults: BTreeMap<FaultCode, u64>,
    /// Bytes of all bodies received, after decompression.
    pub body_bytes: u64,
    /// Objects in the pages read, rejected ones included.
    pub rows: u64,
    /// Elements inside objects that no table holds, as `object/element`. Their content was passed
    /// over.
    pub unknown_elements: BTreeSet<String>,
}

impl Statistics {
    /// All requests together.
    pub fn total_requests(&self) -> u64 {
        self.requests.values().sum()
    }
}
