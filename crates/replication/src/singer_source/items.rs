//! The objects of an array, for destinations that hold them in tables of their own.
//!
//! Such an array travels as the text that the tap sent, which suits destinations that keep documents. Where its items
//! become rows, every one of them is read first as a record would be, so that one that doesn't fit makes its row a
//! reject.

use std::{
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

use arrow::array::AsArray;
use indexmap::IndexMap;
use serde_json::value::RawValue;
use singer::PropertyType;

use super::{
    column::Column,
    layout::{FieldTarget, FieldTree, Layout, ValueKind},
    record::{self, Fault, UnknownFields},
};
use crate::{reject::ReasonCode, stream::ColumnType};

/// What the objects of an array have.
#[derive(Debug, Clone)]
pub struct Items {
    /// Their fields, nested objects taken apart.
    pub fields: Vec<ItemField>,
    reader: Arc<Reader>,
}

/// A field of the objects of an array.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ItemField {
    /// Its name.
    pub name: String,
    /// Where its value is in an object; the object itself for an empty path, and nowhere for none.
    pub path: Option<Vec<String>>,
    /// The type of its values.
    pub column_type: ColumnType,
}

#[derive(Debug)]
struct Reader {
    layout: Layout,
    warned: OnceLock<()>,
}

impl PartialEq for Items {
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields
    }
}

impl Eq for Items {}

impl Hash for Items {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fields.hash(state);
    }
}

impl Items {
    pub(super) fn of(properties: &IndexMap<String, PropertyType>) -> Self {
        let layout = Layout::of_items(properties);
        let mut paths = vec![Vec::new(); layout.columns.len()];
        note_paths(&layout.fields, &mut Vec::new(), &mut paths);
        let fields = layout.columns.iter().zip(paths).map(|(column, path)| ItemField {
            name: column.name.clone(),
            path: Some(path),
            column_type: column.kind.column_type(),
        });
        let fields = fields.collect();
        Self { fields, reader: Arc::new(Reader { layout, warned: OnceLock::new() }) }
    }

    /// The same objects, read in the same way, with other fields.
    pub(crate) fn with_fields(&self, fields: Vec<ItemField>) -> Self {
        Self { fields, reader: Arc::clone(&self.reader) }
    }

    /// What is wrong with the text of an array, if its items can't be rows.
    pub(crate) fn fault(&self, name: &str, text: &str) -> Option<(ReasonCode, String)> {
        self.check(text).err().map(|fault| (fault.code, format!("In `{name}`: {}", fault.reason)))
    }

    fn check(&self, text: &str) -> Result<(), Fault> {
        let wrong = |what: &str| Fault {
            code: ReasonCode::WrongType,
            reason: format!("The value is not {what}"),
        };
        let Reader { layout, warned } = &*self.reader;
        let items: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|_| wrong("an array of objects"))?;
        let mut columns: Vec<Column> =
            layout.columns.iter().map(|column| Column::new(&column.kind, 0, 0)).collect();
        let mut unknown = UnknownFields::default();
        for (row, item) in items.into_iter().enumerate() {
            match item.get().as_bytes().first() {
                Some(b'n') => {}
                Some(b'{') => record::read(
                    item,
                    &layout.fields,
                    &layout.columns,
                    &mut columns,
                    row,
                    &mut unknown,
                )?,
                _ => return Err(wrong("an array of objects")),
            }
            columns.iter_mut().for_each(|column| column.pad(row + 1));
        }
        if let Some(field) = unknown.take_fresh().first()
            && warned.set(()).is_ok()
        {
            tracing::warn!(
                "Fields of an array's items are not in the schema and are left out, `{field}` for one"
            );
        }
        for (planned, column) in layout.columns.iter().zip(&mut columns) {
            if let ValueKind::Objects(items) = &planned.kind {
                for text in column.take().as_string::<i32>().iter().flatten() {
                    items.check(text)?;
                }
            }
        }
        Ok(())
    }
}

/// Writes down where the value of each column is.
fn note_paths(fields: &FieldTree, path: &mut Vec<String>, paths: &mut [Vec<String>]) {
    for (name, target) in fields.entries() {
        path.push(name.clone());
        match target {
            FieldTarget::Column(column) => paths[*column].clone_from(path),
            FieldTarget::Object(inner) => note_paths(inner, path, paths),
            FieldTarget::OneOf(_) | FieldTarget::Nowhere => {}
        }
        path.pop();
    }
}
