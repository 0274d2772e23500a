//! Reading the definitions of all custom fields.
//!
//! They can't be selected by time, and fields may be added or removed between pages. So they are read as lists are, in
//! passes until two agree (see [`crate::passes`]).

use std::collections::BTreeMap;

use bronto_client::{ClientError, FIELD, ReadFields, ReadRequest, RowDefect, RowSink, Session};
use chrono::{DateTime, Utc};
use replication::source::SourceError;

use crate::passes::{PagedTable, read_whole};

/// A custom field as Bronto defines it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldDefinition {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) bronto_type: String,
}

/// All definitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Definitions {
    /// Those that could be read, by field id.
    pub(super) fields: BTreeMap<String, FieldDefinition>,
    /// Fields that exist, but whose definition could not be read, by id.
    pub(super) unreadable: BTreeMap<String, RowDefect>,
    /// Why a definition's id could not be read either, if that happened: it may be any field's.
    pub(super) nameless: Option<String>,
}

impl Definitions {
    fn append(&mut self, mut page: Self) {
        self.fields.append(&mut page.fields);
        self.unreadable.append(&mut page.unreadable);
        self.nameless = self.nameless.take().or(page.nameless);
    }
}

/// What a read of them came to.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) definitions: Definitions,
    pub(super) bytes: u64,
    /// The server's clock at the first answer. What is added later may be missing.
    pub(super) begun_at: Option<DateTime<Utc>>,
}

/// Why they could not be read.
#[derive(Debug)]
pub(crate) enum ReadFailure {
    Client(ClientError),
    Source(SourceError),
}

impl From<ClientError> for ReadFailure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<SourceError> for ReadFailure {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

/// Reads them whole.
pub(super) async fn read_all(session: &mut Session, page_size: u32) -> Result<Read, ReadFailure> {
    let sink = DefinitionPage::default();
    let mut fields = Fields { session, page_size, sink, bytes: 0, begun_at: None };
    let pages = read_whole(&mut fields).await?;
    let Fields { bytes, begun_at, .. } = fields;
    Ok(Read { definitions: Fields::content(&pages), bytes, begun_at })
}

/// The custom fields of the account, as a session reads them.
struct Fields<'session> {
    session: &'session mut Session,
    page_size: u32,
    sink: DefinitionPage,
    bytes: u64,
    begun_at: Option<DateTime<Utc>>,
}

impl PagedTable for Fields<'_> {
    type Page = Definitions;
    type Content = Definitions;
    type Error = ReadFailure;

    const OBJECTS: &'static str = "custom fields";

    async fn page(&mut self, number: u32) -> Result<Option<Definitions>, ReadFailure> {
        let page_size = Some(self.page_size);
        let request = ReadRequest::Fields(ReadFields { page: number, page_size });
        let answer = self.session.read(&request, &mut self.sink).await?;
        self.bytes += answer.body_bytes;
        self.begun_at = self.begun_at.or(answer.server_date);
        let definitions = self.sink.take();
        Ok((answer.rows > 0).then_some(definitions))
    }

    fn is_same(page: &Definitions, other: &Definitions) -> bool {
        page == other
    }

    fn content(pages: &[Definitions]) -> Definitions {
        let mut content = Definitions::default();
        pages.iter().cloned().for_each(|page| content.append(page));
        content
    }
}

/// Takes the definitions of one page.
#[derive(Debug, Default)]
struct DefinitionPage {
    definitions: Definitions,
    id: String,
    current: FieldDefinition,
}

impl DefinitionPage {
    fn take(&mut self) -> Definitions {
        std::mem::take(&mut self.definitions)
    }

    fn end(&mut self) -> (String, FieldDefinition) {
        (std::mem::take(&mut self.id), std::mem::take(&mut self.current))
    }
}

impl RowSink for DefinitionPage {
    fn clear(&mut self) {
        *self = Self::default();
    }

    fn value(&mut self, field: usize, text: &str) {
        let place = match FIELD.fields.get(field).map(|field| field.name) {
            Some("id") => &mut self.id,
            Some("name") => &mut self.current.name,
            Some("label") => &mut self.current.label,
            Some("type") => &mut self.current.bronto_type,
            _ => return,
        };
        text.clone_into(place);
    }

    fn end_row(&mut self, _raw: &str) {
        let (id, definition) = self.end();
        if id.is_empty() {
            let reason = format!("The definition of `{}` has no id", definition.name);
            self.definitions.nameless.get_or_insert(reason);
        } else {
            self.definitions.fields.insert(id, definition);
        }
    }

    fn reject_row(&mut self, _raw: &str, reason: &RowDefect) {
        let (id, _) = self.end();
        let is_doubtful = *reason == RowDefect::Repeated { field: "id" } || id.contains('\u{fffd}');
        if id.is_empty() || is_doubtful {
            self.definitions.nameless.get_or_insert_with(|| reason.to_string());
        } else {
            self.definitions.unreadable.insert(id, *reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_that_can_not_be_read_is_still_one() {
        let position = |name| FIELD.fields.iter().position(|field| field.name == name);
        let (id, name) = (position("id").unwrap_or_default(), position("name").unwrap_or_default());
        let mut page = DefinitionPage::default();
        page.value(id, "id-1");
        page.value(name, "points");
        page.end_row("");
        page.value(id, "id-2");
        page.reject_row("", &RowDefect::BareAmpersand);
        let definitions = page.take();
        assert_eq!(definitions.fields.keys().collect::<Vec<_>>(), ["id-1"]);
        assert_eq!(definitions.unreadable["id-2"], RowDefect::BareAmpersand);
        assert_eq!(definitions.nameless, None);
        page.value(name, "points");
        page.end_row("");
        assert_eq!(page.take().nameless.as_deref(), Some("The definition of `points` has no id"));
        for (text, reason) in [
            ("", RowDefect::BareAmpersand),
            ("id-\u{fffd}", RowDefect::NotUtf8),
            ("id-3", RowDefect::Repeated { field: "id" }),
        ] {
            page.value(id, text);
            page.reject_row("", &reason);
            let definitions = page.take();
            assert_eq!(definitions.nameless, Some(reason.to_string()));
            assert!(definitions.unreadable.is_empty());
        }
    }
}
