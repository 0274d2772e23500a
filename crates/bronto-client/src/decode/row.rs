//! One object: from its elements to calls on the sink.

use std::borrow::Cow;

use quick_xml::events::{BytesStart, Event};

use super::document::Document;
use super::pull::{Leaf, LeafDefect, Pull, is_layout, is_nil};
use super::soap::{Form, ITEM_END, ITEM_START, Item};
use super::tags::{PlainElement, Tags};
use super::{AnswerDefect, MAX_TEXT_BYTES, MAX_UNKNOWN_NAMES, Rows};
use crate::object::{Kind, ObjectTable, Place};
use crate::sink::{PlainText, RowDefect, RowSink};

/// The longest name of an unknown element that is kept.
const LONGEST_NAME: usize = 80;

/// Reads objects of one kind into a sink.
pub(super) struct RowReader<'d, 'b, 's, S> {
    table: &'static ObjectTable,
    tags: Tags,
    document: &'d Document<'b>,
    sink: &'s mut S,
    rows: Rows,
    /// Replaced bytes that stand in rejected objects.
    spoiled: usize,
    /// The group around the current element.
    group: Option<&'static str>,
    /// Where to look for the next element's field.
    next_field: usize,
    /// One bit per field that has come.
    seen: u64,
    defect: Option<RowDefect>,
}

impl<'d, 'b, 's, S: RowSink> RowReader<'d, 'b, 's, S> {
    pub(super) fn new(
        table: &'static ObjectTable,
        document: &'d Document<'b>,
        sink: &'s mut S,
    ) -> Self {
        Self {
            table,
            tags: Tags::new(table),
            document,
            sink,
            rows: Rows::default(),
            spoiled: 0,
            group: None,
            next_field: 0,
            seen: 0,
            defect: None,
        }
    }

    /// Reads one object to its end.
    pub(super) fn read(&mut self, pull: &mut Pull<'_>, item: &Item) -> Result<(), AnswerDefect> {
        self.group = None;
        self.next_field = 0;
        self.seen = 0;
        self.defect = None;
        match item.form {
            Form::Ahead => self.plain_object(pull)?,
            Form::Open => self.elements(pull)?,
            Form::Empty => {}
        }
        if pull.take_bare_ampersand() {
            self.reject(RowDefect::BareAmpersand);
        }
        let end = pull.position();
        let spoiled = self.document.spoiled_between(item.start, end);
        if spoiled > 0 {
            self.spoiled += spoiled;
            self.reject(RowDefect::NotUtf8);
        }
        // Both positions come from the parser, which cuts at markup.
        let raw = self.document.text().get(item.start..end).unwrap_or_default();
        self.rows.count += 1;
        match &self.defect {
            None => self.sink.end_row(raw),
            Some(defect) => {
                self.rows.rejected += 1;
                self.sink.reject_row(raw, defect);
            }
        }
        Ok(())
    }

    /// What was read, once the document is at its end.
    pub(super) fn finish(self) -> Result<Rows, AnswerDefect> {
        if self.spoiled < self.document.spoiled() {
            self.document.require_utf8()?;
        }
        Ok(self.rows)
    }

    /// Reads the elements of the object and of its groups.
    fn elements(&mut self, pull: &mut Pull<'_>) -> Result<(), AnswerDefect> {
        loop {
            if let Some(text) = pull.plain_text() {
                let length = self.plain_elements(text, 0);
                pull.pass(length);
            }
            match pull.next()? {
                Event::Start(tag) => self.element(pull, &tag)?,
                Event::Text(text) if is_layout(&text) => {}
                Event::Empty(tag) => self.empty_element(pull, &tag)?,
                Event::End(_) if self.group.is_some() => self.group = None,
                Event::End(_) => return Ok(()),
                Event::Comment(_) | Event::PI(_) => {}
                Event::DocType(_) | Event::Decl(_) => {
                    return Err(pull.malformed("a declaration inside the document"));
                }
                Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) | Event::Eof => {
                    self.reject(RowDefect::StrayText);
                }
            }
        }
    }

    /// Reads an object whose start tag was not read yet, past the parser as long as its elements have their plainest
    /// form. If some have not, the parser reads the tags that are open, and goes on where the first of those is.
    fn plain_object(&mut self, pull: &mut Pull<'_>) -> Result<(), AnswerDefect> {
        let text = pull.plain_text().unwrap_or_default();
        // The tags that are open: that of the object, and that of the group.
        let mut read = ITEM_START.len();
        let mut group_tag = None;
        let mut at = read;
        loop {
            at = self.plain_elements(text, at);
            let rest = text.get(at..).unwrap_or_default();
            match self.group {
                None if rest.starts_with(ITEM_END) => {
                    pull.pass(at + ITEM_END.len());
                    return Ok(());
                }
                None => {
                    let Some((index, length)) = self.tags.group(rest) else { break };
                    group_tag = Some(at..at + length);
                    self.enter(index);
                    at += length;
                }
                Some(group) => {
                    let Some(length) = self.tags.group_end(rest, group) else { break };
                    group_tag = None;
                    self.group = None;
                    at += length;
                }
            }
        }
        pull.next()?;
        if let Some(tag) = group_tag {
            pull.pass(tag.start - read);
            pull.next()?;
            read = tag.end;
        }
        pull.pass(at - read);
        self.elements(pull)
    }

    /// Goes on with the members of a group, of which the first is that field.
    fn enter(&mut self, index: usize) {
        self.next_field = index;
        self.group = self.table.fields[index].group;
    }

    /// Reads elements in their plainest form, as many as come one after the other, and gives where they end.
    #[inline(always)]
    fn plain_elements(&mut self, text: &str, from: usize) -> usize {
        let group = self.tags.group_number(self.group);
        let (mut at, mut next) = (from, self.next_field);
        while let Some(element) = self.tags.plain_element(text.as_bytes(), at, next, group) {
            let PlainElement { index, is_repeated, start, length, is_plain, end } = element;
            if length > MAX_TEXT_BYTES {
                break;
            }
            at = end;
            next = self.mark_as(index, is_repeated);
            if is_plain && self.defect.is_none() {
                self.sink.plain_value(index, PlainText { document: text, start, length });
            } else {
                self.value(index, &text[start..start + length]);
            }
        }
        self.next_field = next;
        at
    }

    /// Where an element belongs. Prefixes don't matter, but hardly any element has one.
    #[inline]
    fn place(&self, tag: &BytesStart<'_>) -> Option<Place> {
        let locate = |name| self.table.locate(name, self.group, self.next_field);
        let place = locate(tag.name().into_inner());
        place.or_else(|| locate(tag.local_name().into_inner()))
    }

    fn element(&mut self, pull: &mut Pull<'_>, tag: &BytesStart<'_>) -> Result<(), AnswerDefect> {
        match self.place(tag) {
            Some(Place::Field(index)) => {
                let nil = is_nil(tag).map_err(|()| pull.bad_attribute())?;
                self.field(pull, index, nil)
            }
            Some(Place::Group(index)) => {
                self.enter(index);
                Ok(())
            }
            None => {
                self.unknown(tag.local_name().into_inner());
                pull.skip()
            }
        }
    }

    fn empty_element(&mut self, pull: &Pull<'_>, tag: &BytesStart<'_>) -> Result<(), AnswerDefect> {
        match self.place(tag) {
            Some(Place::Field(index)) => {
                self.mark(index);
                let nil = is_nil(tag).map_err(|()| pull.bad_attribute())?;
                let is_text =
                    !matches!(self.table.fields[index].kind, Kind::CustomFields | Kind::PassedOver);
                if !nil && is_text {
                    self.value(index, "");
                }
            }
            Some(Place::Group(index)) => self.next_field = index,
            None => self.unknown(tag.local_name().into_inner()),
        }
        Ok(())
    }

    #[inline]
    fn field(&mut self, pull: &mut Pull<'_>, index: usize, nil: bool) -> Result<(), AnswerDefect> {
        self.mark(index);
        let field = &self.table.fields[index];
        match field.kind {
            Kind::CustomFields => return self.custom_field(pull, field.name),
            Kind::PassedOver => return pull.skip(),
            _ => {}
        }
        match pull.leaf()? {
            Leaf::Text(text) if nil => self.nil(text, field.name),
            Leaf::Gathered if nil => self.nil(pull.gathered(), field.name),
            Leaf::Text(text) => self.value(index, text),
            Leaf::Gathered => self.value(index, pull.gathered()),
            Leaf::Defect(defect) => self.reject(row_defect(defect, field.name)),
        }
        Ok(())
    }

    /// Reads a pair of field id and content, whose start tag was read.
    fn custom_field(
        &mut self,
        pull: &mut Pull<'_>,
        name: &'static str,
    ) -> Result<(), AnswerDefect> {
        let mut id = None;
        let mut content = None;
        loop {
            match pull.next()? {
                Event::Start(tag) => {
                    let nil = is_nil(&tag).map_err(|()| pull.bad_attribute())?;
                    let part = match tag.local_name().into_inner() {
                        "fieldId" => &mut id,
                        "content" => &mut content,
                        other => {
                            self.unknown(other);
                            pull.skip()?;
                            continue;
                        }
                    };
                    if part.is_some() {
                        self.reject(RowDefect::Repeated { field: name });
                    }
                    match pull.leaf()? {
                        _ if nil => {}
                        Leaf::Text(text) => *part = Some(Cow::Borrowed(text)),
                        Leaf::Gathered => *part = Some(Cow::Owned(pull.gathered().to_owned())),
                        Leaf::Defect(defect) => self.reject(row_defect(defect, name)),
                    }
                }
                Event::Empty(tag) => {
                    let nil = is_nil(&tag).map_err(|()| pull.bad_attribute())?;
                    let part = match tag.local_name().into_inner() {
                        "fieldId" => &mut id,
                        "content" => &mut content,
                        other => {
                            self.unknown(other);
                            continue;
                        }
                    };
                    if part.is_some() {
                        self.reject(RowDefect::Repeated { field: name });
                    }
                    if !nil {
                        *part = Some(Cow::Borrowed(""));
                    }
                }
                Event::End(_) => break,
                Event::Text(text) if is_layout(&text) => {}
                Event::Comment(_) | Event::PI(_) => {}
                _ => self.reject(RowDefect::StrayText),
            }
        }
        match (id, content) {
            (Some(id), Some(content)) if self.defect.is_none() => {
                self.sink.custom_field(&id, &content);
            }
            (None, Some(_)) => self.reject(RowDefect::NamelessCustomField),
            _ => {}
        }
        Ok(())
    }

    /// Hands a value on, unless the object is lost already.
    #[inline]
    fn value(&mut self, index: usize, text: &str) {
        if self.defect.is_none() {
            self.sink.value(index, text);
        }
    }

    /// Checks that a nil element has no content that would get lost.
    fn nil(&mut self, content: &str, field: &'static str) {
        if !is_layout(content) {
            self.reject(RowDefect::NilWithContent { field });
        }
    }

    /// Takes note that a field has come.
    fn mark(&mut self, index: usize) {
        self.next_field = self.mark_as(index, self.table.fields[index].kind.is_repeated());
    }

    /// The same, and gives where to look for the next one.
    #[inline(always)]
    fn mark_as(&mut self, index: usize, is_repeated: bool) -> usize {
        if is_repeated {
            return index;
        }
        // No table has more than 64 fields.
        let bit = 1_u64 << index;
        if self.seen & bit != 0 {
            self.reject(RowDefect::Repeated { field: self.table.fields[index].name });
        }
        self.seen |= bit;
        index + 1
    }

    /// Gives the object up; the first defect is the one that is told.
    fn reject(&mut self, defect: RowDefect) {
        self.defect.get_or_insert(defect);
    }

    /// Takes note of an element that the table doesn't hold.
    #[cold]
    fn unknown(&mut self, name: &str) {
        let names = &mut self.rows.unknown_elements;
        let name = name.get(..name.floor_char_boundary(LONGEST_NAME)).unwrap_or_default();
        if names.len() < MAX_UNKNOWN_NAMES && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
}

/// What the lack of a text means for its object.
fn row_defect(defect: LeafDefect, field: &'static str) -> RowDefect {
    match defect {
        LeafDefect::CharacterReference => RowDefect::CharacterReference,
        LeafDefect::UnknownEntity => RowDefect::UnknownEntity,
        LeafDefect::NestedElement => RowDefect::NestedElement { field },
        LeafDefect::TooLong => RowDefect::TooLong { field, limit: MAX_TEXT_BYTES },
    }
}
