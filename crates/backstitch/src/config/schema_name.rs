//! The name of the schema that an integration fills: derived from the integration's name as Stitch does it, or given.

use std::fmt;

/// The longest name; Stitch's rule is "under 50 characters".
const MAX_LENGTH: usize = 49;

/// Prefixes that belong to system columns and tables.
const RESERVED_PREFIXES: [&str; 2] = ["_sdc", "_rjm"];

/// A schema name that every destination accepts: lower-case letters, digits, `_` and `$`, not starting with a digit
/// or `$`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SchemaName(String);

/// Why a text is no schema name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SchemaNameError {
    /// Nothing is left of it.
    #[error("The schema's name is empty")]
    Empty,
    /// It is too long.
    #[error("The schema name `{0}` is longer than {MAX_LENGTH} characters")]
    TooLong(String),
    /// It starts with something else than a letter or `_`.
    #[error("The schema name `{0}` must start with a letter or `_`")]
    Start(String),
    /// It holds a character that isn't allowed.
    #[error("The schema name `{0}` may hold only lower-case letters, digits, `_` and `$`")]
    Character(String),
    /// It starts like a system table.
    #[error("The schema name `{0}` starts with `_sdc` or `_rjm`, which are reserved")]
    Reserved(String),
}

impl SchemaName {
    /// Takes a given name as it is.
    ///
    /// # Errors
    /// See [`SchemaNameError`].
    pub(crate) fn parse(name: &str) -> Result<Self, SchemaNameError> {
        let allowed =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$';
        let Some(first) = name.chars().next() else { return Err(SchemaNameError::Empty) };
        if !name.chars().all(allowed) {
            return Err(SchemaNameError::Character(name.to_owned()));
        }
        if !first.is_ascii_lowercase() && first != '_' {
            return Err(SchemaNameError::Start(name.to_owned()));
        }
        if name.len() > MAX_LENGTH {
            return Err(SchemaNameError::TooLong(name.to_owned()));
        }
        if RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(SchemaNameError::Reserved(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }

    /// Derives the name from an integration's: lower case; spaces and `-` become `_`; other characters that aren't
    /// allowed are left out.
    ///
    /// # Errors
    /// When nothing usable is left, for example of `####`.
    pub(crate) fn derive(integration: &str) -> Result<Self, SchemaNameError> {
        let name: String = integration
            .trim()
            .to_lowercase()
            .chars()
            .map(|c| if c == '-' || c.is_whitespace() { '_' } else { c })
            .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '$'))
            .collect();
        Self::parse(&name)
    }

    /// The name as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    #[test]
    fn derives_names_as_stitch_does() {
        let derive = |name| SchemaName::derive(name).unwrap().0;
        assert_eq!(derive("Stitch Bronto"), "stitch_bronto");
        assert_eq!(derive("Recurly Stitch"), "recurly_stitch");
        assert_eq!(derive("Shop-EU (v2.1)"), "shop_eu_v21");
        assert_eq!(SchemaName::derive("####"), Err(SchemaNameError::Empty));
        assert_eq!(
            SchemaName::derive("2nd shop"),
            Err(SchemaNameError::Start("2nd_shop".to_owned()))
        );
    }

    #[test]
    fn takes_given_names_only_as_they_are() {
        assert!(SchemaName::parse("_a$1").is_ok());
        assert!(SchemaName::parse(&"a".repeat(49)).is_ok());
        assert!(matches!(SchemaName::parse(&"a".repeat(50)), Err(SchemaNameError::TooLong(_))));
        assert!(matches!(SchemaName::parse("Bronto"), Err(SchemaNameError::Character(_))));
        assert!(matches!(SchemaName::parse("a\"b"), Err(SchemaNameError::Character(_))));
        assert!(matches!(SchemaName::parse("$a"), Err(SchemaNameError::Start(_))));
        assert!(matches!(SchemaName::parse("_sdc_x"), Err(SchemaNameError::Reserved(_))));
    }
}
