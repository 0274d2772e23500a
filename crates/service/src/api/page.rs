//! Lists in pages: each ends with the place at which the next begins, which says nothing to anybody but this program.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::problem::{Fault, Problem};

/// The most that a page has.
const LARGEST: u32 = 500;
/// What a page has if nothing is said.
const USUAL: u32 = 50;

/// A page of a list.
#[derive(Debug, Serialize, Deserialize)]
pub struct Page<T> {
    /// What is in it.
    pub items: Vec<T>,
    /// The cursor of the next, if there is one.
    pub next: Option<String>,
}

/// How many a page is to have.
pub(crate) fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    limit_to(LARGEST, asked.unwrap_or(USUAL))
}

/// How many a page of small things is to have, of which more go in one.
pub(crate) fn limit_to(largest: u32, asked: u32) -> Result<u32, Problem> {
    match asked {
        limit if (1..=largest).contains(&limit) => Ok(limit),
        _ => {
            let detail = format!("`limit` must be 1 to {largest}");
            Err(Problem::invalid(vec![Fault::new("?limit", detail, "Ask for less at once")]))
        }
    }
}

impl<T> Page<T> {
    /// A page from what was found, where one more than `limit` was looked for.
    pub(crate) fn cut(mut found: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| has_more).map(cursor);
        Self { items: found, next }
    }

    /// The page with something else in it.
    pub(crate) fn map<U>(self, change: impl Fn(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(change).collect(), next: self.next }
    }
}

/// A cursor at an instant and an id.
pub(crate) fn cursor(instant: DateTime<Utc>, id: &str) -> String {
    numbered_cursor(instant.timestamp_millis(), id)
}

/// What [`cursor`] wrote.
pub(crate) fn read_cursor(text: &str) -> Result<(DateTime<Utc>, String), Problem> {
    let (milliseconds, id) = read_numbered_cursor(text)?;
    let instant = DateTime::from_timestamp_millis(milliseconds).ok_or_else(no_cursor)?;
    Ok((instant, id))
}

/// A cursor at a number and an id.
pub(crate) fn numbered_cursor(number: i64, id: &str) -> String {
    format!("{number}-{}", hex::encode(id))
}

/// What [`numbered_cursor`] wrote.
pub(crate) fn read_numbered_cursor(text: &str) -> Result<(i64, String), Problem> {
    // The number may be negative; hexadecimal digits have no dash.
    let parts = text.rsplit_once('-').and_then(|(number, id)| {
        Some((number.parse().ok()?, String::from_utf8(hex::decode(id).ok()?).ok()?))
    });
    parts.ok_or_else(no_cursor)
}

/// The problem with a cursor that nobody gave.
pub(crate) fn no_cursor() -> Problem {
    let remedy = "Take it as it stands in `next` of the page before";
    Problem::invalid(vec![Fault::new("?cursor", "`cursor` is none that was given", remedy)])
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is() {
        let instant = DateTime::from_timestamp_millis(1_780_000_000_123).unwrap();
        let (read, id) = read_cursor(&cursor(instant, "a-ü")).unwrap();
        assert_eq!((read, id.as_str()), (instant, "a-ü"));
        for text in ["", "-", "1-zz", "x-00", "9223372036854775807-00", "1-ff"] {
            assert!(read_cursor(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_page_has_a_next_where_more_was_found() {
        let page = Page::cut(vec![1, 2, 3], 2, ToString::to_string);
        assert_eq!((page.items, page.next.as_deref()), (vec![1, 2], Some("2")));
        assert_eq!(Page::cut(vec![1, 2], 2, ToString::to_string).next, None);
    }
}
