//! What an extraction reads: what is new, or spans that were read before.

use std::collections::BTreeMap;

use replication::source::Span;

use crate::streams::BrontoStream;

/// What an extraction reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What is new, and what the state says is left of backfills.
    #[default]
    New,
    /// These spans and nothing else.
    Only(BTreeMap<BrontoStream, Vec<Span>>),
}
