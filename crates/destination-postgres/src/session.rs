//! A connection at work on one schema. What it can do is spread over the modules of the commit protocol's steps.

use replication::placement::Nesting;

use crate::connection::Connection;

/// A connection, and the schema that it works on.
#[derive(Clone, Copy)]
pub(crate) struct Session<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) schema: &'a str,
    /// Where arrays lie in it.
    pub(crate) nesting: Nesting,
}
