//! One object of the API on its way out, as XML or as the truth.
//!
//! Accounts describe their objects once, field by field, in schema order. Whether the result is a SOAP
//! response or a line of the truth is the [`Sink`]'s affair, so the two can't drift apart. [`Row`] stands
//! between them and applies the behaviours that change what an object holds.

use std::borrow::Cow;

use crate::account::ids::ObjectId;
use crate::chance::{Chance, Subject};
use crate::instant::UtcInstant;
use crate::settings::{FieldDates, FloatForm, Forbidden, Settings};

/// Where the fields of an object go.
pub(crate) trait Sink {
    fn text(&mut self, name: &str, value: &str);
    /// A text with a character that UTF-8 can't hold at its end.
    fn unholdable_text(&mut self, name: &str, value: &str);
    fn number(&mut self, name: &str, lexeme: &str);
    fn boolean(&mut self, name: &str, value: bool);
    fn instant(&mut self, name: &str, value: UtcInstant);
    /// A nil element of a repeated field.
    fn nil(&mut self, name: &str);
    fn open_list(&mut self, name: &str);
    fn list_text(&mut self, name: &str, value: &str);
    fn list_field(&mut self, name: &str, id: ObjectId, content: Option<&str>);
    fn close_list(&mut self);
    fn open_group(&mut self, name: &str);
    fn close_group(&mut self, name: &str);
}

/// What a contact has in one custom field.
pub(crate) struct FieldContent {
    pub(crate) id: ObjectId,
    /// None if the contact has the field without content.
    pub(crate) content: Option<String>,
    /// Whether people typed it, so that anything may stand in it.
    pub(crate) is_free_text: bool,
}

/// Fields of one object, changed by the behaviours on their way to a sink.
pub(crate) struct Row<'a, S> {
    sink: &'a mut S,
    settings: &'a Settings,
    seed: u64,
    /// What makes the chances of this object its own; equal for objects that are equal.
    identity: u64,
}

impl<'a, S: Sink> Row<'a, S> {
    pub(crate) fn new(sink: &'a mut S, settings: &'a Settings, seed: u64, identity: u64) -> Self {
        Self { sink, settings, seed, identity }
    }

    /// How the one `float` of the API is written.
    pub(crate) fn float_form(&self) -> FloatForm {
        self.settings.float_form
    }

    /// How dates in custom fields are written.
    pub(crate) fn field_dates(&self) -> FieldDates {
        self.settings.field_dates
    }

    /// A text that is part of a primary key.
    pub(crate) fn key(&mut self, name: &str, value: &str) {
        if !self.misses(name, self.settings.absent_key_rate) {
            self.sink.text(name, value);
        }
    }

    /// An instant that is part of a key.
    pub(crate) fn key_instant(&mut self, name: &str, value: UtcInstant) {
        if !self.misses(name, self.settings.absent_key_rate) {
            self.put_instant(name, value);
        }
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        if !self.misses(name, self.settings.absent_optional_rate) {
            self.sink.text(name, value);
        }
    }

    pub(crate) fn maybe_text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    pub(crate) fn id(&mut self, name: &str, value: Option<ObjectId>) {
        if let Some(value) = value {
            self.text(name, value.as_str());
        }
    }

    /// A text that people typed or machines quoted: here control characters turn up.
    pub(crate) fn free_text(&mut self, name: &str, value: &str) {
        if self.misses(name, self.settings.absent_optional_rate) {
            return;
        }
        let value = self.with_control_character(name, value);
        if self.settings.unholdable_characters != Forbidden::None
            && self.chance(Subject::Unholdable, name).percent(2)
        {
            self.sink.unholdable_text(name, &value);
        } else {
            self.sink.text(name, &value);
        }
    }

    pub(crate) fn number(&mut self, name: &str, lexeme: &str) {
        if !self.misses(name, self.settings.absent_optional_rate) {
            self.sink.number(name, lexeme);
        }
    }

    pub(crate) fn boolean(&mut self, name: &str, value: bool) {
        if !self.misses(name, self.settings.absent_optional_rate) {
            self.sink.boolean(name, value);
        }
    }

    pub(crate) fn instant(&mut self, name: &str, value: UtcInstant) {
        if !self.misses(name, self.settings.absent_optional_rate) {
            self.put_instant(name, value);
        }
    }

    /// A repeated, nillable text.
    pub(crate) fn ids(&mut self, name: &str, values: &[ObjectId]) {
        let nil_at = self.nil_position(name, values.len());
        self.repeated(name, values.len(), nil_at, |sink, index| {
            sink.list_text(name, values[index].as_str());
        });
    }

    /// The custom fields of a contact.
    pub(crate) fn custom_fields(&mut self, name: &str, values: &[FieldContent]) {
        let nil_at = self.nil_position(name, values.len());
        let contents: Vec<Option<Cow<'_, str>>> = values
            .iter()
            .map(|value| {
                let content = value.content.as_deref()?;
                Some(if value.is_free_text {
                    self.with_control_character(value.id.as_str(), content)
                } else {
                    Cow::Borrowed(content)
                })
            })
            .collect();
        self.repeated(name, values.len(), nil_at, |sink, index| {
            sink.list_field(name, values[index].id, contents[index].as_deref());
        });
    }

    /// Fields inside an element of their own, which is left out when they all are.
    pub(crate) fn group(&mut self, name: &str, fields: impl FnOnce(&mut Self)) {
        self.sink.open_group(name);
        fields(self);
        self.sink.close_group(name);
    }

    fn put_instant(&mut self, name: &str, value: UtcInstant) {
        let value = self.settings.returned_fraction.cut(value);
        self.sink.instant(name, value);
    }

    fn repeated(
        &mut self,
        name: &str,
        count: usize,
        nil_at: Option<usize>,
        mut put: impl FnMut(&mut S, usize),
    ) {
        if count == 0 {
            if nil_at.is_some() {
                self.sink.nil(name);
            }
            return;
        }
        self.sink.open_list(name);
        for index in 0..count {
            if nil_at == Some(index) {
                self.sink.nil(name);
            }
            put(self.sink, index);
        }
        if nil_at == Some(count) {
            self.sink.nil(name);
        }
        self.sink.close_list();
    }

    fn nil_position(&self, name: &str, count: usize) -> Option<usize> {
        if self.settings.nil_rate <= 0.0 {
            return None;
        }
        let mut chance = self.chance(Subject::Nil, name);
        let places = u32::try_from(count + 1).unwrap_or(u32::MAX);
        chance.rate(self.settings.nil_rate).then(|| chance.below(places) as usize)
    }

    fn with_control_character<'t>(&self, name: &str, value: &'t str) -> Cow<'t, str> {
        if self.settings.control_characters == Forbidden::None {
            return Cow::Borrowed(value);
        }
        let mut chance = self.chance(Subject::ControlCharacter, name);
        if !chance.percent(10) {
            return Cow::Borrowed(value);
        }
        let characters: &[char] = if self.settings.nul_characters.is_on() {
            &['\u{1}', '\u{8}', '\u{b}', '\u{c}', '\u{1b}', '\u{1f}', '\u{0}']
        } else {
            &['\u{1}', '\u{8}', '\u{b}', '\u{c}', '\u{1b}', '\u{1f}']
        };
        let middle = value.char_indices().nth(value.chars().count() / 2);
        let at = middle.map_or(value.len(), |(at, _)| at);
        let mut changed = String::with_capacity(value.len() + 1);
        changed.push_str(&value[..at]);
        changed.push(chance.pick(characters));
        changed.push_str(&value[at..]);
        Cow::Owned(changed)
    }

    fn misses(&self, name: &str, rate: f64) -> bool {
        rate > 0.0 && self.chance(Subject::Absence, name).rate(rate)
    }

    fn chance(&self, subject: Subject, name: &str) -> Chance {
        let name = name
            .bytes()
            .fold(0_u64, |hash, byte| hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
        Chance::of(self.seed, subject, self.identity.wrapping_add(name))
    }
}
