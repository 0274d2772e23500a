//! How a table that is there already changes for a stream.

use std::fmt;

/// A change of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnChange {
    /// The column, as it is called from now on.
    pub column: String,
    /// How it changes.
    pub kind: ColumnChangeKind,
}

/// How a column changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnChangeKind {
    /// It is new.
    Added,
    /// It is new, because the values of another have a different type from now on.
    Split {
        /// The other.
        from: String,
    },
    /// It had another name, because it was split from.
    Renamed {
        /// That name.
        from: String,
    },
}

impl fmt::Display for ColumnChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = &self.column;
        match &self.kind {
            ColumnChangeKind::Added => write!(formatter, "column `{column}` is new"),
            ColumnChangeKind::Split { from } => write!(
                formatter,
                "`{from}` has another type from now on: its values go to the new column `{column}`"
            ),
            ColumnChangeKind::Renamed { from } => {
                write!(formatter, "column `{from}` is called `{column}` now")
            }
        }
    }
}
