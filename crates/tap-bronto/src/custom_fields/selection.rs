//! Which custom fields are read.

use super::{CustomField, KnownFields};
use crate::{
    nearest,
    streams::{BrontoStream, UnknownColumn},
};

/// Which custom fields of contacts are read. They are known only once the account was asked, so a selection is a wish
/// until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CustomSelection {
    /// All that there are, also those that will be added.
    All,
    /// These. If there are none, the account is not asked for fields at all.
    Only(Vec<CustomWish>),
}

/// A custom field that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomWish {
    /// The name of its column, or of the field.
    pub name: String,
    /// The field's id, if it is known, for example from a catalog. Then a field that is gone is no mistake.
    pub id: Option<String>,
}

impl CustomWish {
    /// Asks for a field by a name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), id: None }
    }
}

impl CustomSelection {
    /// No custom field.
    pub(crate) const NONE: Self = Self::Only(Vec::new());

    /// Whether no custom field can be selected.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// The fields asked for, of those that there are.
    ///
    /// # Errors
    /// [`UnknownColumn`] for a name that neither a field nor a column has or had.
    pub(crate) fn choose(
        &self,
        mut fields: Vec<CustomField>,
        known: &KnownFields,
    ) -> Result<Vec<CustomField>, UnknownColumn> {
        let Self::Only(wishes) = self else { return Ok(fields) };
        let mut chosen = vec![false; fields.len()];
        for wish in wishes {
            match wish.find(&fields) {
                Some(index) => chosen[index] = true,
                None if wish.id.is_some() || known.has(&wish.name) => tracing::warn!(
                    "The custom field `{}` is selected, but Bronto doesn't have it any more; it is left out",
                    wish.name
                ),
                None => return Err(wish.unknown(&fields)),
            }
        }
        let mut chosen = chosen.into_iter();
        fields.retain(|_| chosen.next() == Some(true));
        Ok(fields)
    }
}

impl CustomWish {
    /// By the id, else by the column's name, which is fixed, else by the name that the field has now.
    fn find(&self, fields: &[CustomField]) -> Option<usize> {
        if let Some(id) = &self.id {
            return fields.iter().position(|field| field.id == *id);
        }
        let by_column = fields.iter().position(|field| field.column == self.name);
        by_column.or_else(|| fields.iter().position(|field| field.name == self.name))
    }

    fn unknown(&self, fields: &[CustomField]) -> UnknownColumn {
        let stream = BrontoStream::Contact;
        let own = stream.columns();
        let names = own.iter().map(|column| column.name);
        let names = names.chain(fields.iter().map(|field| field.column.as_str()));
        UnknownColumn {
            stream: stream.name(),
            column: self.name.clone(),
            nearest: nearest::name(&self.name, names),
        }
    }
}
