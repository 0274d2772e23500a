//! The walk through envelope, body and response, and all that makes an answer whole.

use quick_xml::events::{BytesDecl, BytesStart, Event};
use quick_xml::name::{Namespace, NamespaceResolver, ResolveResult};

use super::document::Document;
use super::pull::{Pull, is_layout};
use super::{AnswerDefect, fault};
use crate::fault::Fault;
use crate::request::Function;

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const BRONTO: &str = "http://api.bronto.com/v4";

/// The longest element name that is quoted.
const LONGEST_NAME: usize = 80;

/// The tags of an item in their plainest form.
pub(super) const ITEM_START: &str = "<return>";
pub(super) const ITEM_END: &str = "</return>";

/// A `return` element of the response.
pub(super) struct Item {
    /// Where it begins in the document.
    pub(super) start: usize,
    pub(super) form: Form,
}

/// What is still to be read of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// All of it: its start tag has its plainest form, and it can be tried to read it without the parser.
    Ahead,
    /// All but its start tag.
    Open,
    /// Nothing: it is an empty-element tag.
    Empty,
}

impl Item {
    /// Reads its start tag, unless that was read, and tells whether anything follows.
    pub(super) fn open(&self, pull: &mut Pull<'_>) -> Result<bool, AnswerDefect> {
        if self.form == Form::Ahead {
            pull.next()?;
        }
        Ok(self.form != Form::Empty)
    }
}

/// Reads a whole answer to `function`, calling `on_item` for each `return` element, which must
/// read it to its end. Gives the fault, if the answer is one.
pub(super) fn walk<'a, F>(
    document: &'a Document<'_>,
    function: Function,
    mut on_item: F,
) -> Result<Option<Fault>, AnswerDefect>
where
    F: FnMut(&mut Pull<'a>, &Item) -> Result<(), AnswerDefect>,
{
    let mut walk = Walk {
        pull: Pull::new(document.text()),
        namespaces: NamespaceResolver::default(),
        function,
    };
    walk.root()?;
    let fault = walk.envelope(&mut on_item)?;
    walk.epilogue()?;
    if fault.is_none() {
        walk.no_bare_ampersand()?;
    }
    Ok(fault)
}

struct Walk<'a> {
    pull: Pull<'a>,
    /// The declarations of envelope, body and response. Everything inside is unqualified, and its
    /// declarations don't matter.
    namespaces: NamespaceResolver,
    function: Function,
}

impl<'a> Walk<'a> {
    /// Reads up to the start tag of the envelope.
    fn root(&mut self) -> Result<(), AnswerDefect> {
        let mut anything = false;
        loop {
            match self.pull.next_or_end()? {
                Event::Start(tag) => return self.check_root(&tag),
                Event::Empty(tag) => {
                    self.check_root(&tag)?;
                    return Err(self.pull.malformed("an envelope without a body"));
                }
                Event::Decl(declaration) => self.declaration(&declaration)?,
                Event::Text(text) if is_layout(&text) => continue,
                Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) | Event::End(_) => {
                    return Err(AnswerDefect::PlainText);
                }
                Event::DocType(name) if begins_with_html(&name) => return Err(AnswerDefect::Html),
                Event::DocType(_) => {
                    return Err(self.pull.malformed("a document type, which SOAP forbids"));
                }
                Event::Comment(_) | Event::PI(_) => {}
                Event::Eof if anything => return Err(AnswerDefect::Truncated),
                Event::Eof => return Err(AnswerDefect::Empty),
            }
            anything = true;
        }
    }

    fn check_root(&mut self, tag: &BytesStart<'_>) -> Result<(), AnswerDefect> {
        if begins_with_html(tag.local_name().into_inner()) {
            return Err(AnswerDefect::Html);
        }
        self.declare(tag)?;
        if self.is(tag, SOAP, "Envelope") { Ok(()) } else { Err(AnswerDefect::NotSoap) }
    }

    /// Checks the XML declaration, whose encoding the parser doesn't look at.
    fn declaration(&mut self, declaration: &BytesDecl<'_>) -> Result<(), AnswerDefect> {
        let unreadable = "an XML declaration that is not well-formed";
        let version = declaration.xml_version().map_err(|_| self.pull.malformed(unreadable))?;
        self.pull.set_version(version);
        match declaration.encoding() {
            None => Ok(()),
            Some(Ok(name)) => require_utf8(&name),
            Some(Err(_)) => Err(self.pull.malformed(unreadable)),
        }
    }

    /// Reads the rest of the envelope: perhaps a header, then exactly one body.
    fn envelope<F>(&mut self, on_item: &mut F) -> Result<Option<Fault>, AnswerDefect>
    where
        F: FnMut(&mut Pull<'a>, &Item) -> Result<(), AnswerDefect>,
    {
        let mut body = None;
        loop {
            match self.pull.next()? {
                Event::Start(tag) => {
                    self.declare(&tag)?;
                    if self.is(&tag, SOAP, "Body") && body.is_none() {
                        body = Some(self.body(on_item)?);
                    } else if self.is(&tag, SOAP, "Header") && body.is_none() {
                        self.pull.skip()?;
                    } else {
                        return Err(self.pull.malformed("an element that no envelope has"));
                    }
                    self.namespaces.pop();
                }
                Event::Empty(tag) => {
                    self.declare(&tag)?;
                    if !self.is(&tag, SOAP, "Header") {
                        return Err(self.pull.malformed("an empty element where a body was due"));
                    }
                    self.namespaces.pop();
                }
                Event::End(_) => break,
                event => self.only_layout(&event)?,
            }
        }
        body.ok_or_else(|| self.pull.malformed("an envelope without a body"))
    }

    /// Reads the rest of the body: exactly one element, a fault or the response.
    fn body<F>(&mut self, on_item: &mut F) -> Result<Option<Fault>, AnswerDefect>
    where
        F: FnMut(&mut Pull<'a>, &Item) -> Result<(), AnswerDefect>,
    {
        let mut answer = None;
        loop {
            let event = self.pull.next()?;
            match &event {
                Event::Start(_) | Event::Empty(_) if answer.is_some() => {
                    return Err(self.pull.malformed("a second element in the body"));
                }
                Event::Start(tag) => {
                    self.declare(tag)?;
                    answer = Some(if self.is(tag, SOAP, "Fault") {
                        Some(fault::read(&mut self.pull)?)
                    } else {
                        self.check_response(tag)?;
                        self.response(on_item)?;
                        None
                    });
                    self.namespaces.pop();
                }
                Event::Empty(tag) => {
                    self.declare(tag)?;
                    self.check_response(tag)?;
                    self.namespaces.pop();
                    answer = Some(None);
                }
                Event::End(_) => break,
                other => self.only_layout(other)?,
            }
        }
        answer.ok_or_else(|| self.pull.malformed("an empty body"))
    }

    /// Reads the rest of the response: any number of `return` elements.
    fn response<F>(&mut self, on_item: &mut F) -> Result<(), AnswerDefect>
    where
        F: FnMut(&mut Pull<'a>, &Item) -> Result<(), AnswerDefect>,
    {
        loop {
            let start = self.pull.position();
            if self.pull.plain_text().is_some_and(|text| text.starts_with(ITEM_START)) {
                self.no_bare_ampersand()?;
                on_item(&mut self.pull, &Item { start, form: Form::Ahead })?;
                continue;
            }
            let event = self.pull.next()?;
            let (tag, form) = match &event {
                Event::Start(tag) => (tag, Form::Open),
                Event::Empty(tag) => (tag, Form::Empty),
                Event::End(_) => return Ok(()),
                other => {
                    self.only_layout(other)?;
                    continue;
                }
            };
            if tag.local_name().into_inner() != "return" {
                return Err(self.pull.malformed("an element beside the objects of the response"));
            }
            self.no_bare_ampersand()?;
            on_item(&mut self.pull, &Item { start, form })?;
        }
    }

    /// Reads what follows the envelope, which must be nothing.
    fn epilogue(&mut self) -> Result<(), AnswerDefect> {
        loop {
            match self.pull.next_or_end()? {
                Event::Eof => return Ok(()),
                Event::Start(_) | Event::Empty(_) => {
                    return Err(self.pull.malformed("a second root element"));
                }
                event => self.only_layout(&event)?,
            }
        }
    }

    /// Ampersands that begin no reference are the affair of the object around them.
    fn no_bare_ampersand(&mut self) -> Result<(), AnswerDefect> {
        if self.pull.take_bare_ampersand() {
            return Err(self.pull.malformed("a bare ampersand outside of an object"));
        }
        Ok(())
    }

    fn check_response(&self, tag: &BytesStart<'_>) -> Result<(), AnswerDefect> {
        let name = tag.local_name().into_inner();
        if self.function.is_answered_by(name) && self.is(tag, BRONTO, name) {
            return Ok(());
        }
        let found = tag.name().into_inner();
        let end = found.floor_char_boundary(LONGEST_NAME);
        Err(AnswerDefect::WrongOperation {
            expected: self.function,
            found: found.get(..end).unwrap_or_default().to_owned(),
        })
    }

    /// Takes up the namespace declarations of a start tag, until they are popped.
    fn declare(&mut self, tag: &BytesStart<'_>) -> Result<(), AnswerDefect> {
        self.namespaces.push(tag).map_err(|_| self.pull.bad_attribute())
    }

    fn is(&self, tag: &BytesStart<'_>, namespace: &str, name: &str) -> bool {
        let (found, local) = self.namespaces.resolve_element(tag.name());
        local.into_inner() == name && found == ResolveResult::Bound(Namespace(namespace))
    }

    /// Accepts what may stand between elements.
    fn only_layout(&self, event: &Event<'_>) -> Result<(), AnswerDefect> {
        match event {
            Event::Comment(_) | Event::PI(_) => Ok(()),
            Event::Text(text) if is_layout(text) => Ok(()),
            _ => Err(self.pull.malformed("text outside of an object")),
        }
    }
}

/// Refuses every encoding but UTF-8 and its subset ASCII.
pub(crate) fn require_utf8(name: &str) -> Result<(), AnswerDefect> {
    let known = ["utf-8", "utf8", "us-ascii", "ascii"];
    if known.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    let shown = name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME);
    Err(AnswerDefect::Encoding { encoding: shown.collect() })
}

/// Whether a document type or root is that of a web page.
fn begins_with_html(name: &str) -> bool {
    name.as_bytes().get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"html"))
}
