//! Lists.

use crate::account::ids::{IdKind, ObjectId};
use crate::account::words;
use crate::chance::{Chance, Subject};
use crate::row::{Row, Sink};

/// What is kept of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListRecord {
    /// How often the list was renamed.
    pub(crate) revision: u32,
    /// A removed list is no longer read.
    pub(crate) removed: bool,
}

/// The name of a list in one of its revisions.
pub(crate) fn name(number: u32, revision: u32) -> String {
    let count = u32::try_from(words::LIST_NAMES.len()).expect("a short table");
    let mut name = words::LIST_NAMES[(number % count) as usize].0.to_owned();
    if number >= count {
        name = format!("{name}_{}", number / count + 1);
    }
    if revision > 0 {
        name = format!("{name} (v{})", revision + 1);
    }
    name
}

/// The label of a list; some have an empty one.
pub(crate) fn label(number: u32) -> &'static str {
    words::LIST_NAMES[number as usize % words::LIST_NAMES.len()].1
}

/// Writes the fields of a list, in schema order.
pub(crate) fn write<S: Sink>(row: &mut Row<'_, S>, seed: u64, number: u32, record: &ListRecord) {
    let mut chance = Chance::of(seed, Subject::List, u64::from(number));
    row.key("id", ObjectId::new(IdKind::List, number).as_str());
    row.text("name", &name(number, record.revision));
    row.text("label", label(number));
    // The first list counts more than 32 bits with a sign can hold.
    let most = if number == 0 { u32::MAX } else { 250_000 };
    let active = u64::from(most / 8 * 7) * u64::from(number == 0)
        + u64::from(chance.skewed(most / 8))
        + u64::from(record.revision);
    row.number("activeCount", &active.to_string());
    let status = match number {
        number if number % 9 == 8 => "deleted",
        number if number % 13 == 12 => "tmp",
        _ => "active",
    };
    row.text("status", status);
    if !chance.percent(10) {
        row.text("visibility", if chance.percent(60) { "public" } else { "private" });
    }
}
