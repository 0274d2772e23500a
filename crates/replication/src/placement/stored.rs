//! What a destination has: its tables and their columns, as far as the loader's types can say them.

use crate::stream::ColumnType;

/// A table as the destination has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTable {
    /// Its name as it is spelled there.
    pub name: String,
    /// Its columns, system columns and users' own included; arrays that are held in subtables too.
    pub columns: Vec<StoredColumn>,
    /// The columns of its key, where the destination knows them; empty for a table whose rows are appended.
    pub key: Option<Vec<String>>,
}

/// A column as the destination has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredColumn {
    /// Its name as it is spelled there.
    pub name: String,
    /// Its type; none if it isn't one of those that the loader makes.
    pub column_type: Option<ColumnType>,
    /// Its type in the destination's words.
    pub type_name: String,
}
