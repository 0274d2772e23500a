//! Exact reading of the schema's simple types.
//!
//! Nothing passes through a float and nothing is rounded: a date-time keeps every fraction digit,
//! a number every digit. Surrounding white space is dropped, as the schema says; anything else
//! that isn't in a type's lexical space is an error, never a guess.

mod date_time;
mod number;
mod usual;
mod words;

pub use date_time::{DateTime, DateTimeError, utc_text};
pub use number::{Digits, Number, NumberError, decimal, float, integer};
pub use usual::UsualDateTime;

/// Reads an `xs:boolean`: `true`, `false`, `1` or `0`.
///
/// ```
/// use bronto_client::lexical::boolean;
///
/// assert_eq!(boolean(" true\n"), Some(true));
/// assert_eq!(boolean("0"), Some(false));
/// assert_eq!(boolean("TRUE"), None);
/// ```
pub fn boolean(text: &str) -> Option<bool> {
    match trimmed(text) {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// The text without the white space that XML Schema collapses.
fn trimmed(text: &str) -> &str {
    // There hardly ever is any, and to see that takes two comparisons.
    let is_plain = |byte: Option<&u8>| byte.is_none_or(|byte| *byte > b' ');
    if is_plain(text.as_bytes().first()) && is_plain(text.as_bytes().last()) {
        return text;
    }
    text.trim_matches([' ', '\t', '\n', '\r'])
}
