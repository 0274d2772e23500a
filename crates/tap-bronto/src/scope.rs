//! What an extraction reads: what is new, or spans that were read before.

use std::collections::BTreeMap;

use replication::source::Span;

use crate::streams::BrontoStream;

/// What an extraction reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What is new, and what is left of backfills: those that the state knows, and these.
    New(BTreeMap<BrontoStream, Span>),
    /// These spans and nothing else.
    Only(BTreeMap<BrontoStream, Vec<Span>>),
}

impl Default for Scope {
    fn default() -> Self {
        Self::New(BTreeMap::new())
    }
}
