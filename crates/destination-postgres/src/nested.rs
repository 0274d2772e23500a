//! Arrays of objects: each is a subtable, and so is every array within its objects. The stage holds the array as the
//! document that came; the server takes it apart. What is in it was checked before, so every cast below is exact.

use replication::stream::{ColumnType, ItemField};

use crate::layout::SqlType;

/// A subtable of an array of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nested {
    /// The live subtable.
    pub(crate) table: String,
    /// The column of the stage that holds the document.
    pub(crate) document: String,
    /// The way to the array: in the document for the first level, and in an item of the level before for each further
    /// one. There are as many levels as steps.
    pub(crate) steps: Vec<Vec<String>>,
    /// The columns that the items have.
    pub(crate) columns: Vec<NestedColumn>,
}

/// A column of such a subtable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NestedColumn {
    pub(crate) name: String,
    pub(crate) sql_type: SqlType,
    /// The way to its value in an item; none if nothing comes for it.
    pub(crate) path: Option<Vec<String>>,
}

/// The column that holds the position at a level, from 0.
pub(crate) fn level(depth: usize) -> String {
    format!("_sdc_level_{depth}_id")
}

/// The subtables of an array of objects with these fields, the outermost first.
pub(crate) fn subtables(
    table: &str,
    document: &str,
    steps: &[Vec<String>],
    fields: &[ItemField],
) -> Vec<Nested> {
    let columns = fields.iter().filter_map(|field| {
        let sql_type = SqlType::of(&field.column_type)?;
        Some(NestedColumn { name: field.name.clone(), sql_type, path: field.path.clone() })
    });
    let outermost = Nested {
        table: table.to_owned(),
        document: document.to_owned(),
        steps: steps.to_vec(),
        columns: columns.collect(),
    };
    let mut found = vec![outermost];
    for field in fields {
        let (ColumnType::Objects(items), Some(path)) = (&field.column_type, &field.path) else {
            continue;
        };
        let mut steps = steps.to_vec();
        steps.push(path.clone());
        let inner = format!("{table}__{}", field.name);
        found.extend(subtables(&inner, document, &steps, &items.fields));
    }
    found
}
