//! The one thing that is read from JSON here: a string at the top of what cargo prints. A parser would be the largest
//! dependency of this program.

/// The value of the first member called `key` whose value is a string, in JSON without blanks around colons.
pub(crate) fn string_value(json: &str, key: &str) -> Option<String> {
    let (_, after) = json.split_once(&format!("\"{key}\":\""))?;
    let mut value = String::new();
    let mut characters = after.chars();
    loop {
        match characters.next()? {
            '"' => return Some(value),
            '\\' => match characters.next()? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                // Other letters, as in `\u0041`, do not occur in paths as cargo prints them.
                escaped @ ('"' | '\\' | '/') => value.push(escaped),
                _ => return None,
            },
            character => value.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_at_its_own_quote() {
        let json = r#"{"version":1,"target_directory":"C:\\a \"b\"","root":"/x"}"#;
        assert_eq!(string_value(json, "target_directory").as_deref(), Some(r#"C:\a "b""#));
    }

    #[test]
    fn a_missing_or_broken_value_is_none() {
        assert_eq!(string_value(r#"{"a":"b"}"#, "c"), None);
        assert_eq!(string_value(r#"{"a":"b"#, "a"), None);
        assert_eq!(string_value(r#"{"a":"\u0041"}"#, "a"), None);
    }
}
