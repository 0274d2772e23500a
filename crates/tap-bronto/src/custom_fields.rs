//! Custom fields of contacts: a column for each, stable whatever becomes of the field in Bronto.
//!
//! Accounts define fields of their own. Bronto tells their definitions (`readFields`), and returns their contents only for
//! the ids that a contact read asks for; every content is a text. Fields are renamed, removed, added and change their type
//! while the table that holds their contents must stay what it is. So the name and the type of a field's column are
//! fixed when the field is first seen, by the field's id, and kept in the stream's state (`known`):
//!
//! - The **name** is the field's name as Bronto has it. Where that is taken, also by a name that differs only in case, the
//!   end of the id follows (`naming`).
//! - The **type** follows the field's type: a number for `integer`, `float` and `currency`, a boolean for `checkbox`, text
//!   for all others ([`FieldKind`]).
//! - A **renamed** field keeps its column. A **removed** one is left out from then on; what is stored stays. An **added**
//!   one is a new column, which contacts get as they are modified. A field whose **type changes** keeps its column's
//!   type; a content that doesn't fit makes a reject, never an altered value.

mod columns;
mod definition;
mod known;
mod naming;
mod selection;

use bronto_client::Session;
use chrono::{DateTime, Utc};
use replication::{
    source::{SourceError, SourceErrorKind},
    stream::ColumnType,
};

pub(crate) use columns::{CustomColumns, CustomFiller};
pub(crate) use definition::ReadFailure;
pub(crate) use known::{FIELDS, KnownFields};
pub use selection::{CustomSelection, CustomWish};

/// What a custom field's column holds, fixed when the field is first seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Texts as they are.
    Text,
    /// Texts; a content that is an instant in its canonical form, any other as it is.
    Date,
    /// Exact numbers.
    Number,
    /// Booleans.
    Boolean,
}

impl FieldKind {
    const ALL: [Self; 4] = [Self::Text, Self::Date, Self::Number, Self::Boolean];

    /// What suits a field of this type in Bronto. Types that nobody has heard of are texts.
    fn of(bronto_type: &str) -> Self {
        match bronto_type.trim().to_ascii_lowercase().as_str() {
            "integer" | "float" | "currency" => Self::Number,
            "checkbox" => Self::Boolean,
            "date" => Self::Date,
            _ => Self::Text,
        }
    }

    /// Its name in the state.
    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Date => "date",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether a column of this kind can hold every content.
    fn holds_any_text(self) -> bool {
        matches!(self, Self::Text | Self::Date)
    }

    /// The type of its column.
    pub(crate) fn column_type(self) -> ColumnType {
        match self {
            Self::Text | Self::Date => ColumnType::Text,
            Self::Number => ColumnType::Number,
            Self::Boolean => ColumnType::Boolean,
        }
    }
}

/// A custom field that Bronto has, with the column that was fixed for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomField {
    /// The field's id; never changes.
    pub id: String,
    /// The column's name.
    pub column: String,
    /// What the column holds.
    pub kind: FieldKind,
    /// The field's name in Bronto now.
    pub name: String,
    /// The field's type in Bronto now.
    pub bronto_type: String,
    /// The name that customers see.
    pub label: String,
}

impl CustomField {
    /// What the column means.
    pub(crate) fn documentation(&self) -> String {
        let label = if self.label.is_empty() { &self.name } else { &self.label };
        format!("Custom field of type {}: {label}", self.bronto_type)
    }
}

/// The custom fields that Bronto has now, in the order of their ids.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) fields: Vec<CustomField>,
    /// Whether there is something new to keep in the state.
    pub(crate) is_news: bool,
    pub(crate) bytes: u64,
    /// The server's clock when it was begun.
    pub(crate) begun_at: Option<DateTime<Utc>>,
}

/// Reads the definitions, and brings what is known up to date with them. What is new is said in the log; `is_resumed`
/// says whether contacts were read before.
pub(crate) async fn survey(
    session: &mut Session,
    page_size: u32,
    known: &mut KnownFields,
    is_resumed: bool,
) -> Result<Survey, ReadFailure> {
    let read = definition::read_all(session, page_size).await?;
    let before = known.clone();
    let news = known.update(&read.definitions, is_resumed).map_err(ReadFailure::Source)?;
    for item in &news {
        item.log();
    }
    Ok(Survey {
        fields: known.present(&read.definitions),
        is_news: *known != before,
        bytes: read.bytes,
        begun_at: read.begun_at,
    })
}

/// A custom field was removed between the reading of the definitions and that of contacts.
pub(crate) fn removed_meanwhile() -> SourceError {
    SourceError::new(
        SourceErrorKind::Unavailable,
        "A custom field was removed in Bronto while contacts were being read",
        "Run again: the field is left out then, and reading goes on where it ended",
    )
}
