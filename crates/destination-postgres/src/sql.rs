//! Every statement that is sent to the server. One function quotes identifiers, one quotes text.

pub(crate) mod activation;
pub(crate) mod merge;
pub(crate) mod nested;
pub(crate) mod scan;
pub(crate) mod system;
pub(crate) mod tables;

use crate::config::Deadlines;

/// The space of advisory locks for claims, and the one for units: a claim excludes other claims, units announce
/// themselves to claims. The numbers are the letters `bstc` and `bstu`.
const CLAIM_LOCKS: i32 = 0x6273_7463;
const UNIT_LOCKS: i32 = 0x6273_7475;

/// Quotes an identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes text. Sessions have `standard_conforming_strings` on, so a backslash is no special character.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A table in a schema.
pub(crate) fn table(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

/// The rows of a table that are its own: none of a table that inherits from it, which may be made while a run lives.
pub(crate) fn own_rows(schema: &str, name: &str) -> String {
    format!("only {}", table(schema, name))
}

/// Parts in a list.
fn comma<T: AsRef<str>>(parts: impl IntoIterator<Item = T>) -> String {
    join(parts, ", ")
}

/// Conditions of which all must hold.
fn all_of<T: AsRef<str>>(conditions: impl IntoIterator<Item = T>) -> String {
    join(conditions, " and ")
}

fn join<T: AsRef<str>>(parts: impl IntoIterator<Item = T>, separator: &str) -> String {
    let mut text = String::new();
    for (position, part) in parts.into_iter().enumerate() {
        if position > 0 {
            text.push_str(separator);
        }
        text.push_str(part.as_ref());
    }
    text
}

/// Sets a session up: deadlines, one form for instants, no just-in-time compiler (it takes seconds to compile our wide
/// statements, which run for less), and commits that wait until they are durable even where the
/// server's default is not to.
pub(crate) fn session(deadlines: &Deadlines) -> String {
    format!(
        "set statement_timeout = {}; set lock_timeout = {}; \
         set idle_in_transaction_session_timeout = {}; \
         set standard_conforming_strings = on; set timezone = 'UTC'; set jit = off; \
         select pg_catalog.set_config('synchronous_commit', 'on', false) \
         where pg_catalog.current_setting('synchronous_commit') = 'off'",
        deadlines.statement.as_millis(),
        deadlines.lock.as_millis(),
        deadlines.idle_transaction.as_millis(),
    )
}

/// Lets the server notice in the middle of a statement that we have gone. Not every server can.
pub(crate) const NOTICE_VANISHED_CLIENT: &str = "set client_connection_check_interval = 5000";

/// The server's number of the connection.
pub(crate) const BACKEND: &str = "select pg_catalog.pg_backend_pid()";

/// Begins a transaction whatever the server's defaults are.
pub(crate) const BEGIN: &str = "begin transaction isolation level read committed read write";

/// Waits until no other claim on the schema is being decided, until the end of the transaction.
pub(crate) fn exclude_claims(schema_digest: u32) -> String {
    format!(
        "select pg_catalog.pg_advisory_xact_lock({CLAIM_LOCKS}, {})",
        schema_digest.cast_signed()
    )
}

/// Announces the transaction of a unit to whoever claims the schema after its owner.
pub(crate) fn announce_unit(schema_digest: u32) -> String {
    format!(
        "select pg_catalog.pg_advisory_xact_lock_shared({UNIT_LOCKS}, {})",
        schema_digest.cast_signed()
    )
}

/// Ends the sessions of units that an earlier claim left open. They can't commit any more, but hold locks.
pub(crate) fn end_units(schema_digest: u32) -> String {
    format!(
        "select pg_catalog.pg_terminate_backend(l.pid) from pg_catalog.pg_locks l \
         join pg_catalog.pg_stat_activity a on a.pid = l.pid \
         where l.locktype = 'advisory' and l.classid = {UNIT_LOCKS} and l.objid = {schema_digest} and l.objsubid = 2 \
         and l.pid <> pg_catalog.pg_backend_pid() and a.datname = current_database() and a.usename = current_user"
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A statement in lines of readable length, for snapshots.
    pub(crate) fn in_lines(sql: &str) -> String {
        let mut lines = String::new();
        let mut length = 0;
        for word in sql.split(' ') {
            if length > 0 {
                length += word.len() + 1;
                lines.push(if length > 76 { '\n' } else { ' ' });
            }
            if length == 0 || length > 76 {
                length = word.len();
            }
            lines.push_str(word);
        }
        lines
    }

    #[test]
    fn quotes_can_not_be_escaped() {
        assert_eq!(identifier("a\"; drop table b; --"), "\"a\"\"; drop table b; --\"");
        assert_eq!(literal("it's \\"), "'it''s \\'");
        assert_eq!(table("s", "Listé"), "\"s\".\"Listé\"");
    }
}
