//! Custom fields: their definitions, and what contacts have in them.

use crate::account::contact::{Contact, Identity};
use crate::account::ids::{IdKind, ObjectId};
use crate::account::words;
use crate::chance::{Chance, Subject};

/// How many custom fields the account has.
pub(crate) fn count() -> u32 {
    u32::try_from(words::FIELDS.len()).expect("a short table")
}

/// A custom field's definition.
pub(crate) struct Definition {
    pub(crate) id: ObjectId,
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) visibility: &'static str,
    /// The choices of a field that has any.
    pub(crate) options: &'static [&'static str],
}

/// The definition of the field with this number.
pub(crate) fn definition(number: u32) -> Option<Definition> {
    let (name, label, kind) = *words::FIELDS.get(number as usize)?;
    Some(Definition {
        id: ObjectId::new(IdKind::Field, number),
        name,
        label,
        kind,
        visibility: if number.is_multiple_of(3) { "private" } else { "public" },
        options: match name {
            "preferred_store" => words::STORES,
            "salutation" => &["Frau", "Herr", "—"],
            "language" => &["en", "de", "fr"],
            _ => &[],
        },
    })
}

/// What a contact has in the wanted fields; most contacts have few.
pub(crate) fn contents(
    contact: &Contact<'_>,
    identity: &Identity,
    wanted: &[u32],
) -> Vec<(ObjectId, Option<String>)> {
    wanted
        .iter()
        .filter_map(|field| {
            let content = content(contact, identity, *field)?;
            Some((ObjectId::new(IdKind::Field, *field), content))
        })
        .collect()
}

/// The content of one field: none if the contact hasn't the field, no text if it has it without content.
fn content(contact: &Contact<'_>, identity: &Identity, field: u32) -> Option<Option<String>> {
    let number = u64::from(contact.number) | u64::from(field) << 32;
    let mut chance = Chance::of(contact.seed, Subject::ContactFields, number);
    let revision = contact.record.revision;
    let (name, _, _) = *words::FIELDS.get(field as usize)?;
    let percent = match name {
        "firstname" | "lastname" => 70,
        "loyalty_points" | "language" => 30,
        _ => 12,
    };
    if !chance.percent(percent) {
        return None;
    }
    if chance.below(100) == 0 {
        return Some(None);
    }
    Some(Some(match name {
        "firstname" => identity.given.0.to_owned(),
        "lastname" => identity.family.0.to_owned(),
        "birthday" => format!(
            "{}-{:02}-{:02}",
            1940 + chance.below(65),
            1 + chance.below(12),
            1 + chance.below(28)
        ),
        "loyalty_points" => (chance.skewed(50_000) + 10 * revision).to_string(),
        "preferred_store" => chance.pick_skewed(words::STORES).to_owned(),
        "notes" => chance.pick(words::NOTES).to_owned(),
        "opt_in" => if chance.percent(70) { "true" } else { "false" }.to_owned(),
        "salutation" => chance.pick(&["Frau", "Herr", "—"]).to_owned(),
        "store_credit" => super::lexeme::money(u64::from(chance.skewed(20_000))),
        "affinity" => format!("0.{:06}", chance.below(1_000_000)),
        "language" => identity.locale.language.to_owned(),
        _ => format!("{:012}", chance.below(1_000_000_000)),
    }))
}
