//! The pull parser, with what it leaves to its user: ends of input, depth, pieces of text.

use std::borrow::Cow;
use std::io::BufRead;

use quick_xml::XmlVersion;
use quick_xml::errors::{Error, IllFormedError, SyntaxError};
use quick_xml::escape::{EscapeError, ParseCharRefError};
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;

use super::{AnswerDefect, MAX_DEPTH, MAX_TEXT_BYTES};

/// A reader of one document.
pub(super) struct Pull<'a> {
    reader: Reader<&'a [u8]>,
    text: &'a str,
    version: XmlVersion,
    /// Whether line ends may need normalising at all; most documents have no carriage return.
    mixed_line_ends: bool,
    /// An ampersand that begins no reference was passed.
    bare_ampersand: bool,
    /// Whether the parser stands behind a tag or the like, where anything may follow.
    behind_markup: bool,
    gathered: String,
}

/// The content of an element that holds text only.
pub(super) enum Leaf<'a> {
    /// In one piece, as it stands in the document.
    Text(&'a str),
    /// In several pieces, now in [`Pull::gathered`].
    Gathered,
    /// No text that can be had.
    Defect(LeafDefect),
}

/// Why an element has no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeafDefect {
    CharacterReference,
    UnknownEntity,
    NestedElement,
    TooLong,
}

impl<'a> Pull<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            reader: Reader::from_str(text),
            text,
            version: XmlVersion::Implicit1_0,
            mixed_line_ends: memchr::memchr(b'\r', text.as_bytes()).is_some(),
            bare_ampersand: false,
            behind_markup: false,
            gathered: String::new(),
        }
    }

    /// Takes note of the document's version of XML, which decides what a line end is.
    pub(super) fn set_version(&mut self, version: XmlVersion) {
        self.mixed_line_ends |= matches!(version, XmlVersion::Explicit1_1);
        self.version = version;
    }

    /// Where the next event begins.
    pub(super) fn position(&self) -> usize {
        self.text.len() - self.reader.get_ref().len()
    }

    /// The text that [`Leaf::Gathered`] announced.
    pub(super) fn gathered(&self) -> &str {
        &self.gathered
    }

    /// Whether a bare ampersand was passed since the last call.
    pub(super) fn take_bare_ampersand(&mut self) -> bool {
        std::mem::take(&mut self.bare_ampersand)
    }

    /// The next event of a document that isn't over: its end is a truncation.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Event<'a>, AnswerDefect> {
        match self.next_or_end()? {
            Event::Eof => Err(AnswerDefect::Truncated),
            event => Ok(event),
        }
    }

    /// The next event, the end of the document included.
    #[inline(always)]
    pub(super) fn next_or_end(&mut self) -> Result<Event<'a>, AnswerDefect> {
        let event = self.reader.read_event().or_else(|error| self.go_on(error))?;
        self.behind_markup = !matches!(event, Event::Text(_));
        Ok(event)
    }

    /// The text in front of the parser, if elements in their plainest form can be read from it without the parser: where
    /// anything may follow, and line ends are what they are. It is told afterwards what was read, by
    /// [`Pull::pass`].
    ///
    /// Almost every element of an answer has this form, and reading it as three events costs several times as much.
    #[inline]
    pub(super) fn plain_text(&self) -> Option<&'a str> {
        let is_plain = self.behind_markup && !self.mixed_line_ends;
        self.text.get(self.position()..).filter(|_| is_plain)
    }

    /// Goes on behind whole elements that were read without the parser, so many bytes of them.
    #[inline]
    pub(super) fn pass(&mut self, length: usize) {
        self.reader.stream().consume(length);
    }

    /// The next event after an error that the parser can go on behind. So can everything but the
    /// object around a bare ampersand; all other errors are final.
    #[cold]
    fn go_on(&mut self, error: Error) -> Result<Event<'a>, AnswerDefect> {
        let mut error = error;
        loop {
            match error {
                Error::IllFormed(IllFormedError::UnclosedReference) => self.bare_ampersand = true,
                other => return Err(self.defect(&other)),
            }
            match self.reader.read_event() {
                Ok(event) => return Ok(event),
                Err(next) => error = next,
            }
        }
    }

    /// Reads the rest of an element whose start tag was read, and all in it, without recursion.
    pub(super) fn skip(&mut self) -> Result<(), AnswerDefect> {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.next()? {
                Event::Start(_) if depth == MAX_DEPTH => return Err(AnswerDefect::TooDeep),
                Event::Start(_) => depth += 1,
                Event::End(_) => depth -= 1,
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the rest of an element that holds text, its start tag having been read.
    ///
    /// The usual case is one piece of text between two tags, which is borrowed. References, CDATA
    /// sections and comments split text into pieces; only then is it copied.
    #[inline]
    pub(super) fn leaf(&mut self) -> Result<Leaf<'a>, AnswerDefect> {
        let first = match self.next()? {
            Event::Text(text) => text,
            Event::End(_) => return Ok(Leaf::Text("")),
            other => return self.gather("", other),
        };
        let text =
            if self.mixed_line_ends { first.xml_content(self.version) } else { first.into_inner() };
        match (self.next()?, text) {
            (Event::End(_), Cow::Borrowed(text)) if text.len() <= MAX_TEXT_BYTES => {
                Ok(Leaf::Text(text))
            }
            (event, text) => self.gather(&text, event),
        }
    }

    /// Collects the pieces of a text, up to the end tag of its element.
    #[inline(never)]
    fn gather(&mut self, first: &str, event: Event<'a>) -> Result<Leaf<'a>, AnswerDefect> {
        self.gathered.clear();
        self.gathered.push_str(first);
        let mut defect = None;
        let mut depth = 0_usize;
        let mut event = event;
        loop {
            if self.gathered.len() > MAX_TEXT_BYTES {
                self.gathered.clear();
                defect = defect.or(Some(LeafDefect::TooLong));
            }
            let found = match event {
                Event::End(_) if depth == 0 => break,
                Event::End(_) => {
                    depth -= 1;
                    None
                }
                Event::Start(_) if depth == MAX_DEPTH => return Err(AnswerDefect::TooDeep),
                Event::Start(_) => {
                    depth += 1;
                    Some(LeafDefect::NestedElement)
                }
                Event::Empty(_) => Some(LeafDefect::NestedElement),
                Event::Text(text) => {
                    self.gathered.push_str(&text.xml_content(self.version));
                    None
                }
                Event::CData(text) => {
                    self.gathered.push_str(&text.xml_content(self.version));
                    None
                }
                Event::GeneralRef(reference) => self.gather_reference(&reference).err(),
                Event::DocType(_) => {
                    return Err(self.malformed("a document type inside the document"));
                }
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) | Event::Eof => None,
            };
            defect = defect.or(found);
            event = self.next()?;
        }
        Ok(defect.map_or(Leaf::Gathered, Leaf::Defect))
    }

    /// Appends what a reference stands for.
    fn gather_reference(&mut self, reference: &BytesRef<'_>) -> Result<(), LeafDefect> {
        match reference.resolve_char_ref() {
            // Control characters that XML 1.0 forbids are kept: the service may well send them.
            Ok(Some(character)) => self.gathered.push(character),
            Ok(None) => match quick_xml::escape::resolve_xml_entity(reference) {
                Some(text) => self.gathered.push_str(text),
                None => return Err(LeafDefect::UnknownEntity),
            },
            // So is U+0000, which comes raw as well.
            Err(Error::Escape(EscapeError::InvalidCharRef(
                ParseCharRefError::IllegalCharacter(0),
            ))) => self.gathered.push('\0'),
            Err(_) => return Err(LeafDefect::CharacterReference),
        }
        Ok(())
    }

    /// The defect at the place just read.
    pub(super) fn malformed(&self, reason: &'static str) -> AnswerDefect {
        let position = self.position();
        AnswerDefect::Malformed { position, reason }
    }

    /// The parser's errors in our terms. Its own texts are left out: they quote the document.
    fn defect(&self, error: &Error) -> AnswerDefect {
        let position = usize::try_from(self.reader.error_position()).unwrap_or(usize::MAX);
        let malformed = |reason| AnswerDefect::Malformed { position, reason };
        match error {
            Error::Syntax(SyntaxError::InvalidBangMarkup) if position + 9 < self.text.len() => {
                malformed("markup that begins with `<!` but is nothing known")
            }
            // All others say that the input ended before some markup did.
            Error::Syntax(_) => AnswerDefect::Truncated,
            Error::IllFormed(IllFormedError::MismatchedEndTag { .. }) => {
                malformed("an end tag that does not fit its start tag")
            }
            Error::IllFormed(IllFormedError::UnmatchedEndTag(_)) => {
                malformed("an end tag without a start tag")
            }
            Error::InvalidAttr(_) => malformed("an attribute that is not well-formed"),
            Error::Namespace(_) => malformed("a namespace declaration that is not allowed"),
            _ => malformed("text that is not well-formed"),
        }
    }

    /// The defect of an attribute that can't be read.
    pub(super) fn bad_attribute(&self) -> AnswerDefect {
        self.malformed("an attribute that is not well-formed")
    }
}

/// Whether a start tag says `xsi:nil="true"`, under any prefix.
pub(super) fn is_nil(tag: &BytesStart<'_>) -> Result<bool, ()> {
    if tag.attributes_raw().is_empty() {
        return Ok(false);
    }
    for attribute in tag.attributes().with_checks(false) {
        let attribute = attribute.map_err(|_| ())?;
        let (name, prefix) = attribute.key.decompose();
        if name.into_inner() == "nil" && prefix.is_some() {
            return Ok(matches!(attribute.value.trim(), "true" | "1"));
        }
    }
    Ok(false)
}

/// Whether a text between elements is only layout.
pub(super) fn is_layout(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
}
