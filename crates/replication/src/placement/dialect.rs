//! What a destination says about names and types: the rules from which placements are planned.

use crate::stream::ColumnType;

/// How a destination names and holds columns.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// The product, for messages.
    pub product: &'static str,
    /// The longest name of a table, in bytes.
    pub table_bytes: usize,
    /// The longest name of a source's column, in bytes: leaves room for a suffix that tells its type.
    pub column_bytes: usize,
    /// The longest name of any column, in bytes.
    pub identifier_bytes: usize,
    /// The most columns of a table, system columns included.
    pub column_count: usize,
    /// Whether names that differ in the case of ASCII letters only are the same name.
    pub folds_case: bool,
    /// What a column's name becomes.
    pub canonical: fn(&str) -> String,
    /// What happens to a column whose type changes.
    pub split: SplitRule,
    /// How arrays are held.
    pub nesting: Nesting,
}

/// What happens to the name of a column when values of another type come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitRule {
    /// It stays; the new values get a column whose name ends in their type.
    KeepsOriginal,
    /// It gets a suffix too. Views follow a column by its number, so they go on.
    RenamesOriginal,
}

/// How arrays are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nesting {
    /// In a column of the table.
    Native,
    /// In a table of their own, named `<table>__<column>`.
    Subtables,
}

/// Names that begin so are the loader's, whatever their letter case.
const RESERVED_PREFIXES: [&str; 2] = ["_sdc", "_rjm"];
/// Columns with such a name that belong to the source all the same: Stitch's own sources send them.
const SOURCE_COLUMNS: [&str; 2] = ["_sdc_deleted_at", "_sdc_replication_id"];
/// Names of columns that end in one of these, behind two underscores, are the loader's.
const RESERVED_SUFFIXES: [&str; 8] = ["bi", "it", "bo", "ti", "do", "de", "st", "js"];
/// The key that a destination makes up for rows without one.
pub(super) const GENERATED_KEY: &str = "__sdc_primary_key";
/// The prefix of the columns in which a subtable holds the key of its parent.
pub const SOURCE_KEY_PREFIX: &str = "_sdc_source_key_";

impl Dialect {
    /// A name as the destination compares it.
    pub(crate) fn folded(&self, name: &str) -> String {
        if self.folds_case { name.to_ascii_lowercase() } else { name.to_owned() }
    }
}

/// The suffix that tells a type, as in `age__bi`.
pub(crate) fn suffix(column_type: &ColumnType) -> String {
    let plain = match column_type {
        ColumnType::Integer => "bi",
        ColumnType::Number => "de",
        ColumnType::Boolean => "bo",
        ColumnType::Timestamp => "ti",
        ColumnType::Text => "st",
        ColumnType::Json | ColumnType::Objects(_) => "js",
        ColumnType::List(item) => return format!("ar_{}", suffix(item)),
    };
    plain.to_owned()
}

/// A column's name with the suffix of a type.
pub(crate) fn with_suffix(name: &str, column_type: &ColumnType) -> String {
    format!("{name}__{}", suffix(column_type))
}

/// Whether a source's table or column may not begin like this.
pub(crate) fn has_reserved_prefix(name: &str) -> bool {
    let name = name.to_lowercase();
    let is_reserved = RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    name == GENERATED_KEY || (is_reserved && !SOURCE_COLUMNS.contains(&name.as_str()))
}

/// Whether a source's column may not end like this.
pub(crate) fn has_reserved_suffix(name: &str) -> bool {
    let name = name.to_lowercase();
    name.rsplit_once("__").is_some_and(|(_, end)| {
        let end = end.strip_prefix("ar_").unwrap_or(end);
        RESERVED_SUFFIXES.contains(&end)
    })
}

/// A name as it is.
#[must_use]
pub fn verbatim(name: &str) -> String {
    name.to_owned()
}
