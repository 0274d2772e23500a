//! Custom fields: their definitions, which change while the account lives, and what contacts have in them.

use serde::{Deserialize, Serialize};

use crate::account::contact::{Contact, Identity};
use crate::account::ids::{IdKind, ObjectId};
use crate::account::words;
use crate::chance::{Chance, Subject};
use crate::instant::UtcInstant;
use crate::row::FieldContent;
use crate::settings::FieldDates;

/// The types of the fields beyond those that every account has, in turn.
const TYPES: [&str; 10] = [
    "text", "integer", "select", "checkbox", "date", "currency", "textarea", "float", "radio",
    "password",
];

/// A change of the account's custom fields. Fields are named by their current names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FieldChange {
    /// A new field. Contacts have contents in it once they are modified.
    Add {
        /// Its name.
        name: String,
        /// Its type.
        #[serde(rename = "type")]
        kind: String,
    },
    /// Another name for a field.
    Rename {
        /// The field.
        name: String,
        /// Its new name.
        to: String,
    },
    /// Another type for a field. Contacts have contents of the new type once they are modified.
    Retype {
        /// The field.
        name: String,
        /// Its new type.
        #[serde(rename = "type")]
        kind: String,
    },
    /// A field goes, with all contents.
    Remove {
        /// The field.
        name: String,
    },
}

/// A custom field that an account has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CustomField {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
}

/// No field has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("There is no custom field `{0}`")]
pub struct UnknownField(String);

/// What is kept of a custom field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldRecord {
    pub(crate) name: String,
    pub(crate) label: String,
    /// Its types, each with the instant from which contacts have contents of it.
    kinds: Vec<(UtcInstant, String)>,
    removed: bool,
}

impl FieldRecord {
    /// The first fields of an account.
    pub(crate) fn generate(count: u32) -> Vec<Self> {
        (0..count).map(Self::original).collect()
    }

    fn original(number: u32) -> Self {
        let (name, label, kind) = match words::FIELDS.get(number as usize) {
            Some((name, label, kind)) => ((*name).to_owned(), (*label).to_owned(), *kind),
            None => {
                let kind = TYPES[number as usize % TYPES.len()];
                (format!("{kind}_{number:03}"), format!("A {kind}, number {number}"), kind)
            }
        };
        Self { name, label, kinds: vec![(UtcInstant::MIN, kind.to_owned())], removed: false }
    }

    pub(crate) fn kind(&self) -> &str {
        self.kinds.last().map_or("", |(_, kind)| kind)
    }

    pub(crate) fn visibility(number: u32) -> &'static str {
        if number.is_multiple_of(3) { "private" } else { "public" }
    }

    /// The choices of a field that has any.
    pub(crate) fn options(&self) -> &'static [&'static str] {
        match (self.name.as_str(), self.kind()) {
            ("salutation", _) => &["Frau", "Herr", "—"],
            ("language", _) => &["en", "de", "fr"],
            (_, "select" | "radio") => words::STORES,
            _ => &[],
        }
    }

    /// The type of what a contact has that was last modified at an instant.
    fn kind_at(&self, modified: UtcInstant) -> Option<&str> {
        let earlier = self.kinds.iter().rev().find(|(since, _)| *since <= modified);
        earlier.map(|(_, kind)| kind.as_str())
    }
}

pub(crate) fn id(number: u32) -> ObjectId {
    ObjectId::new(IdKind::Field, number)
}

/// Numbers of the fields that exist.
pub(crate) fn existing(fields: &[FieldRecord]) -> impl Iterator<Item = u32> {
    (0_u32..).zip(fields).filter(|(_, field)| !field.removed).map(|(number, _)| number)
}

/// Makes a change at `now`; answers the number of the field.
pub(crate) fn change(
    fields: &mut Vec<FieldRecord>,
    change: &FieldChange,
    now: UtcInstant,
) -> Result<u32, UnknownField> {
    let find = |fields: &[FieldRecord], name: &str| {
        let found = existing(fields).find(|number| fields[*number as usize].name == name);
        found.ok_or_else(|| UnknownField(name.to_owned()))
    };
    let (FieldChange::Add { name, .. }
    | FieldChange::Rename { name, .. }
    | FieldChange::Retype { name, .. }
    | FieldChange::Remove { name }) = change;
    if let FieldChange::Add { name, kind } = change {
        let kinds = vec![(now, kind.clone())];
        let (name, label) = (name.clone(), format!("Label of {name}"));
        fields.push(FieldRecord { name, label, kinds, removed: false });
        return Ok(u32::try_from(fields.len() - 1).expect("few fields"));
    }
    let number = find(fields, name)?;
    let field = &mut fields[number as usize];
    match change {
        FieldChange::Rename { to, .. } => field.name.clone_from(to),
        FieldChange::Retype { kind, .. } => field.kinds.push((now, kind.clone())),
        FieldChange::Remove { .. } => field.removed = true,
        FieldChange::Add { .. } => {}
    }
    Ok(number)
}

/// What a contact has in the wanted fields; most contacts have few.
pub(crate) fn contents(
    contact: &Contact<'_>,
    identity: &Identity,
    wanted: &[u32],
    dates: FieldDates,
) -> Vec<FieldContent> {
    wanted
        .iter()
        .filter_map(|number| {
            let kind = contact.fields.get(*number as usize)?.kind_at(contact.record.modified)?;
            let content = content(contact, identity, *number, kind, dates)?;
            let is_free_text = matches!(kind, "text" | "textarea" | "password");
            Some(FieldContent { id: id(*number), content, is_free_text })
        })
        .collect()
}

/// The content of one field: none if the contact hasn't the field, no text if it has it without content.
fn content(
    contact: &Contact<'_>,
    identity: &Identity,
    field: u32,
    kind: &str,
    dates: FieldDates,
) -> Option<Option<String>> {
    let number = u64::from(contact.number) | u64::from(field) << 32;
    let mut chance = Chance::of(contact.seed, Subject::ContactFields, number);
    let revision = contact.record.revision;
    // Those that every account has, as long as they are of their first type.
    let known = words::FIELDS.get(field as usize).filter(|(_, _, first)| *first == kind);
    let name = known.map_or("", |(name, _, _)| *name);
    let percent = match name {
        "firstname" | "lastname" => 70,
        "loyalty_points" | "language" => 30,
        _ => 12,
    };
    if !chance.percent(percent) {
        return None;
    }
    match chance.below(100) {
        0 => return Some(None),
        1 => return Some(Some(String::new())),
        _ => {}
    }
    Some(Some(match (name, kind) {
        ("firstname", _) => identity.given.0.to_owned(),
        ("lastname", _) => identity.family.0.to_owned(),
        ("salutation", _) => chance.pick(&["Frau", "Herr", "—"]).to_owned(),
        ("language", _) => identity.locale.language.to_owned(),
        (_, "date") => {
            let (year, month, day) =
                (1940 + chance.below(65), 1 + chance.below(12), 1 + chance.below(28));
            let time = match dates {
                FieldDates::Day => "",
                FieldDates::Instant => "T00:00:00.000-05:00",
            };
            format!("{year}-{month:02}-{day:02}{time}")
        }
        (_, "integer") => (chance.skewed(50_000) + 10 * revision).to_string(),
        (_, "select" | "radio") => chance.pick_skewed(words::STORES).to_owned(),
        (_, "textarea") => chance.pick(words::NOTES).to_owned(),
        (_, "checkbox") => if chance.percent(70) { "true" } else { "false" }.to_owned(),
        (_, "currency") => super::lexeme::money(u64::from(chance.skewed(20_000))),
        (_, "float") => format!("0.{:06}", chance.below(1_000_000)),
        _ => format!("{:012}", chance.below(1_000_000_000)),
    }))
}
