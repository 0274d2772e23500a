//! The names of custom fields' columns.

use std::collections::HashSet;

use crate::streams::BrontoStream;

/// Names that begin so belong to loaders.
const RESERVED_PREFIXES: [&str; 2] = ["_sdc_", "__sdc_"];
/// The longest name in bytes: what PostgreSQL takes with room for the suffixes of loaders.
const MOST_BYTES: usize = 59;
/// How many characters of an id make a suffix, unless they aren't enough.
const ID_END: usize = 8;

/// The names that are taken, without regard to case: not every destination tells upper from lower case.
#[derive(Debug)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// The names of a contact's own columns, and these.
    pub(super) fn of<'a>(columns: impl IntoIterator<Item = &'a str>) -> Self {
        let own = BrontoStream::Contact.columns();
        let own = own.iter().map(|column| column.name.to_lowercase());
        Self(own.chain(columns.into_iter().map(str::to_lowercase)).collect())
    }

    /// Takes a name for the column of a field: its own, if it can be a column's, else one with the end of its id.
    pub(super) fn take(&mut self, name: &str, id: &str) -> String {
        let is_name = !name.trim().is_empty() && !name.contains(char::is_control);
        let base = if is_name { name } else { "field" };
        if is_name && base.len() <= MOST_BYTES && self.is_free(base) {
            return self.keep(base.to_owned());
        }
        let end = id.char_indices().rev().nth(ID_END - 1).map_or(id, |(at, _)| &id[at..]);
        let numbered = (2_u64..).map(|number| format!("{id}_{number}"));
        let suffixes = [end.to_owned(), id.to_owned()].into_iter().chain(numbered);
        let names = suffixes.map(|suffix| with_suffix(base, &suffix));
        let free = names.into_iter().find(|name| self.is_free(name));
        self.keep(free.expect("there are more numbers than names"))
    }

    fn is_free(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        !self.0.contains(&name) && !RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    }

    fn keep(&mut self, name: String) -> String {
        self.0.insert(name.to_lowercase());
        name
    }
}

/// `name_suffix`, short enough for any destination. A reserved beginning is set off.
fn with_suffix(name: &str, suffix: &str) -> String {
    let lower = name.to_lowercase();
    let name = if RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        format!("field{name}")
    } else {
        name.to_owned()
    };
    let room = MOST_BYTES.saturating_sub(suffix.len() + 1).max(1);
    let cut = name.floor_char_boundary(room.min(name.len()));
    format!("{}_{suffix}", &name[..cut])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0bbc03e80000000000000000000000000a1001";

    #[test]
    fn a_name_is_kept_where_it_can_be() {
        let mut names = Names::of(["Points"]);
        let mut take = |name: &str| names.take(name, ID);
        assert_eq!(take("firstname"), "firstname");
        assert_eq!(take("größe, \"cm\""), "größe, \"cm\"");
        assert_eq!(take("Email"), "Email_000a1001", "a contact has `email`");
        assert_eq!(take("points"), "points_000a1001", "another field has `Points`");
        assert_eq!(take("POINTS"), format!("POINTS_{ID}"));
        assert_eq!(take("points"), format!("points_{ID}_2"));
        assert_eq!(take("_SDC_sequence"), "field_SDC_sequence_000a1001");
        assert_eq!(take("  "), "field_000a1001");
        assert_eq!(take("a\nb"), format!("field_{ID}"));
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let mut names = Names::of([]);
        let long = "é".repeat(40);
        assert_eq!(names.take(&long, ID), format!("{}_000a1001", "é".repeat(25)));
        assert_eq!(names.take(&"x".repeat(59), ID), "x".repeat(59));
    }

    proptest! {
        #[test]
        fn names_are_unique_without_regard_to_case_and_fit(
            fields in prop::collection::vec(("(_sdc_|__SDC_)?[aAbBéÉ]{0,3}|.{0,70}", "[0-9a-c]{0,12}"), 1..40)
        ) {
            let mut names = Names::of([]);
            let mut seen = HashSet::new();
            for (name, id) in &fields {
                let taken = names.take(name, id);
                prop_assert!(seen.insert(taken.to_lowercase()), "{}", taken);
                prop_assert!(!taken.is_empty() && taken.len() <= MOST_BYTES);
                prop_assert!(!taken.to_lowercase().starts_with("_sdc_"));
            }
        }
    }
}
