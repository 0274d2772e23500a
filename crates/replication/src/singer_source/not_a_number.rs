//! `NaN` and infinities. JSON doesn't have them, but the JSON writer of Python's standard library does, so taps send
//! them. One such value must cost one row, not the run.

use super::record::Fault;
use crate::reject::ReasonCode;

/// Why a record that holds one is rejected.
pub(super) fn fault() -> Fault {
    Fault {
        code: ReasonCode::NumberRange,
        reason: "The record holds NaN or an infinity, which JSON doesn't have".to_owned(),
    }
}

/// A copy of a line in which every bare `NaN`, `Infinity` and `-Infinity` is a number of the same length, so that
/// places in the copy are places in the line; none if the line has none.
pub(super) fn masked(line: &str) -> Option<String> {
    let mut masked = String::with_capacity(line.len());
    let mut rest = line;
    let mut is_masked = false;
    while let Some(position) = rest.find(['"', 'N', 'I']) {
        let (before, from) = rest.split_at(position);
        masked.push_str(before);
        let (length, replacement) = if from.starts_with("NaN") {
            (3, Some("0.0"))
        } else if from.starts_with("Infinity") {
            (8, Some("0.000000"))
        } else if from.starts_with('"') {
            (string_length(from), None)
        } else {
            (1, None)
        };
        let (token, after) = from.split_at(length);
        masked.push_str(replacement.unwrap_or(token));
        is_masked |= replacement.is_some();
        rest = after;
    }
    masked.push_str(rest);
    is_masked.then_some(masked)
}

/// The length of the JSON string at the start of a text, quotes included; all of it if it doesn't end.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (position, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return position + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_tokens_but_not_text() {
        let line = r#"{"NaN":NaN,"é":[-Infinity,Infinity],"s":"a\"NaN Infinity\\"}"#;
        let expected = r#"{"NaN":0.0,"é":[-0.000000,0.000000],"s":"a\"NaN Infinity\\"}"#;
        assert_eq!(masked(line).as_deref(), Some(expected));
        assert_eq!(masked(r#"{"s":"NaN"}"#), None);
        assert_eq!(masked(r#"{"s":"unfinished NaN"#), None);
        assert_eq!(masked("Name"), None);
    }
}
