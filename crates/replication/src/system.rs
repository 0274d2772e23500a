//! The columns and tables that Backstitch adds to a schema. Names, order and meaning are a contract with the people who
//! query them, so every destination builds them from this page. Column names follow Stitch's where Stitch has them.

use crate::stream::{Column, ColumnType};

/// When the row was read from the source.
pub const EXTRACTED_AT: &str = "_sdc_extracted_at";
/// When the row reached the loader.
pub const RECEIVED_AT: &str = "_sdc_received_at";
/// When the unit that carried the row was closed for loading.
pub const BATCHED_AT: &str = "_sdc_batched_at";
/// The order of versions of one row; greater is newer.
pub const SEQUENCE: &str = "_sdc_sequence";
/// The version of the table that the row belongs to.
pub const TABLE_VERSION: &str = "_sdc_table_version";

/// The system columns that end every row of every user table, in order.
#[must_use]
pub fn row_columns() -> [Column; 5] {
    [
        Column::new(EXTRACTED_AT, ColumnType::Timestamp),
        Column::new(RECEIVED_AT, ColumnType::Timestamp),
        Column::new(BATCHED_AT, ColumnType::Timestamp),
        Column::new(SEQUENCE, ColumnType::Integer),
        Column::new(TABLE_VERSION, ColumnType::Integer),
    ]
}

/// A system table: its name, columns and key.
#[derive(Clone, Debug)]
pub struct SystemTable {
    /// The table's name.
    pub name: &'static str,
    /// Column names and types, in order.
    pub columns: &'static [(&'static str, SystemType)],
    /// The columns that are its primary key.
    pub key: &'static [&'static str],
}

/// The types that system tables use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemType {
    /// Text.
    Text,
    /// A 64-bit integer.
    Bigint,
    /// A timestamp with time zone.
    Timestamp,
}

use SystemType::{Bigint, Text, Timestamp};

/// Bookmarks per stream; the row of the empty stream is the claim on the schema.
pub const STATE: SystemTable = SystemTable {
    name: "_sdc_state",
    columns: &[
        ("stream", Text),
        ("state", Text),
        ("token", Bigint),
        ("holder", Text),
        ("lease_expires_at", Timestamp),
        ("integration_id", Text),
        ("source_fingerprint", Text),
        ("start_date", Text),
        ("updated_at", Timestamp),
    ],
    key: &["stream"],
};

/// The ledger: one row per batch and table.
pub const LOADS: SystemTable = SystemTable {
    name: "_sdc_loads",
    columns: &[
        ("batch_id", Text),
        ("table_name", Text),
        ("run_id", Text),
        ("stream", Text),
        ("table_version", Bigint),
        ("read", Bigint),
        ("out_of_window", Bigint),
        ("repeated", Bigint),
        ("received", Bigint),
        ("inserted", Bigint),
        ("updated", Bigint),
        ("unchanged", Bigint),
        ("superseded", Bigint),
        ("rejected", Bigint),
        ("deleted", Bigint),
        ("bytes", Bigint),
        ("requests", Bigint),
        ("bookmark", Text),
        ("max_replication_key", Text),
        ("gap_from", Timestamp),
        ("gap_to", Timestamp),
        ("gap_reason", Text),
        ("started_at", Timestamp),
        ("staged_at", Timestamp),
        ("committed_at", Timestamp),
    ],
    key: &["batch_id", "table_name"],
};

/// Rows that could not be loaded, whole, each with its reason.
pub const REJECTED: SystemTable = SystemTable {
    name: "_sdc_rejected",
    columns: &[
        ("_sdc_rejected_at", Timestamp),
        ("table_name", Text),
        ("reason", Text),
        ("record", Text),
        ("reason_code", Text),
        ("reject_id", Text),
        ("run_id", Text),
        ("stream", Text),
        ("key_digest", Text),
        ("_sdc_sequence", Bigint),
        ("_sdc_table_version", Bigint),
        ("_sdc_extracted_at", Timestamp),
        ("schema_digest", Text),
        ("replayed_at", Timestamp),
    ],
    key: &["reject_id"],
};

/// All system tables of a schema.
pub const TABLES: [&SystemTable; 3] = [&STATE, &LOADS, &REJECTED];

/// The prefix of the tables in which a new version of a full table waits beside the live one.
pub const NEXT_VERSION_PREFIX: &str = "_sdc_next_";
