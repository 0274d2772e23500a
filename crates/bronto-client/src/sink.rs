//! Where decoded objects go.

/// Receives the objects of a page, value by value, in the order of the document.
///
/// The decoder calls straight into the sink and keeps nothing, so a sink that appends to columns
/// gets them without a copy in between. For one object the calls are any number of
/// [`value`](Self::value) and [`custom_field`](Self::custom_field), then exactly one of
/// [`end_row`](Self::end_row) and [`reject_row`](Self::reject_row).
pub trait RowSink {
    /// A try begins: forget everything of this page received so far. Called again when a page
    /// fails for good, so that no part of it can be taken for the whole.
    fn clear(&mut self);

    /// An answer of so many bytes is about to be decoded: what is made of it is about as large. A sink may hold so much more
    /// memory only if the answer [has room](crate::Room::NOT_UP_TO).
    fn expect(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// A present value that is not nil, of the field at that index of the object's table.
    ///
    /// The text is as received, after XML's own rules (references resolved, line ends
    /// normalised); an empty element is `""`; surrounding white space is kept. Called once per
    /// repetition for lists, at most once for all other fields.
    fn value(&mut self, field: usize, text: &str);

    /// A value as [`value`](Self::value) gets it that needs no escape in most notations. Almost all are such.
    #[inline]
    fn plain_value(&mut self, field: usize, text: PlainText<'_>) {
        self.value(field, text.as_str());
    }

    /// A custom field of a contact: its id and its content, both as received. Content is text
    /// whatever the field's type. A pair whose content is absent or nil has no value and isn't
    /// reported.
    fn custom_field(&mut self, field_id: &str, content: &str) {
        let _ = (field_id, content);
    }

    /// The object is complete. `raw` is its XML text as received, from `<return>` to `</return>`.
    fn end_row(&mut self, raw: &str);

    /// The object can't be decoded: what it delivered before is to be dropped. `raw` is its XML
    /// text as received, with U+FFFD in place of bytes that are no UTF-8.
    fn reject_row(&mut self, raw: &str, reason: &RowDefect);
}

/// A text without control characters (below U+0020), quotes (`"`) and backslashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainText<'a> {
    /// What it stands in.
    pub(crate) document: &'a str,
    pub(crate) start: usize,
    pub(crate) length: usize,
}

impl<'a> PlainText<'a> {
    /// The first bytes of `content`, so many, if they are such a text.
    pub fn new(content: &'a str, length: usize) -> Option<Self> {
        let is_plain = |byte| byte >= b' ' && byte != b'"' && byte != b'\\';
        let text = content.get(..length)?;
        text.bytes().all(is_plain).then_some(Self { document: content, start: 0, length })
    }

    /// The text.
    #[inline]
    pub fn as_str(self) -> &'a str {
        &self.document[self.start..self.start + self.length]
    }

    /// The text and what follows it in the document, and how many of these bytes are the text. Texts are short, and it
    /// costs less to copy some bytes more than to look how many there are.
    #[inline]
    pub fn with_what_follows(self) -> (&'a [u8], usize) {
        (&self.document.as_bytes()[self.start..], self.length)
    }
}

/// Why an object can't be decoded. Never contains values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowDefect {
    /// A reference to a surrogate or a number that is no character.
    #[error("A character reference names no character that a text can hold")]
    CharacterReference,
    /// A reference such as `&nbsp;`, which neither XML nor the answer defines.
    #[error("An entity reference has no definition")]
    UnknownEntity,
    /// An `&` that begins no reference.
    #[error("An ampersand begins no reference")]
    BareAmpersand,
    /// Bytes that are no UTF-8.
    #[error("The text has bytes that are not UTF-8")]
    NotUtf8,
    /// A field that is no list came more than once.
    #[error("The field `{field}` came more than once")]
    Repeated {
        /// The field's name.
        field: &'static str,
    },
    /// An element inside an element that holds text.
    #[error("The field `{field}` holds elements where text was due")]
    NestedElement {
        /// The field's name.
        field: &'static str,
    },
    /// A nil element with content.
    #[error("The field `{field}` is marked nil but has content")]
    NilWithContent {
        /// The field's name.
        field: &'static str,
    },
    /// Text between elements.
    #[error("Text stands where an element was due")]
    StrayText,
    /// A custom field with content but without its id.
    #[error("A custom field has content but no id")]
    NamelessCustomField,
    /// A value longer than the decoder takes, see [`MAX_TEXT_BYTES`](crate::decode::MAX_TEXT_BYTES).
    #[error("The field `{field}` is longer than {limit} bytes")]
    TooLong {
        /// The field's name.
        field: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
}

impl RowDefect {
    /// A short name that doesn't change, for records and figures.
    pub fn code(&self) -> &'static str {
        match self {
            Self::CharacterReference => "character_reference",
            Self::UnknownEntity => "unknown_entity",
            Self::BareAmpersand => "bare_ampersand",
            Self::NotUtf8 => "not_utf8",
            Self::Repeated { .. } => "repeated_field",
            Self::NestedElement { .. } => "nested_element",
            Self::NilWithContent { .. } => "nil_with_content",
            Self::StrayText => "stray_text",
            Self::NamelessCustomField => "nameless_custom_field",
            Self::TooLong { .. } => "too_long",
        }
    }
}
