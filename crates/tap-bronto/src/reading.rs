//! From the text of an element to the value of its column, whatever the columns are made of: one reading for all.

use std::borrow::Cow;

use bronto_client::lexical;
use replication::{reject::ReasonCode, stream::NUMBER_SCALE};

/// Why a text can't become a value of its column.
pub(crate) type Unfit = (ReasonCode, &'static str);

pub(crate) const CAME_TWICE: Unfit = (ReasonCode::Undecodable, "came more than once");

/// How the text of a field is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As it is.
    Text,
    /// As a date-time, kept as its canonical text.
    DateText,
    /// As a date-time, kept as an instant.
    Timestamp,
    /// As a boolean.
    Boolean,
    /// As a 64-bit integer.
    Integer,
    /// As a number, kept as an exact decimal.
    Number(NumberSyntax),
    /// As a number, kept as a JSON number with its digits.
    Lexeme(NumberSyntax),
    /// As one more item of a list of texts.
    TextList,
}

/// The lexical space of a number in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberSyntax {
    /// `xs:long`.
    Integer,
    /// `xs:decimal`.
    Decimal,
    /// `xs:float`.
    Float,
}

/// Reads a date-time.
pub(crate) fn date_time(text: &str) -> Result<lexical::DateTime<'_>, Unfit> {
    lexical::DateTime::parse(text).map_err(|error| match error {
        lexical::DateTimeError::Form => {
            (ReasonCode::TimestampRange, "does not have the form of a date-time")
        }
        lexical::DateTimeError::Range => (ReasonCode::TimestampRange, "names no real date or time"),
        lexical::DateTimeError::Year => {
            (ReasonCode::TimestampRange, "has a year that is not between 0001 and 9999")
        }
    })
}

fn number_unfit(error: lexical::NumberError) -> Unfit {
    match error {
        lexical::NumberError::Form => (ReasonCode::WrongType, "is no number"),
        lexical::NumberError::Range => (ReasonCode::NumberRange, "is out of range"),
    }
}

/// Reads a boolean.
pub(crate) fn boolean(text: &str) -> Result<bool, Unfit> {
    lexical::boolean(text).ok_or((ReasonCode::WrongType, "is no boolean"))
}

/// Reads a 64-bit integer.
pub(crate) fn integer(text: &str) -> Result<i64, Unfit> {
    lexical::integer(text).map_err(number_unfit)
}

/// An instant in the unit in which columns hold it.
pub(crate) fn microseconds(date: lexical::DateTime<'_>) -> Result<i64, Unfit> {
    date.microseconds().ok_or((ReasonCode::TimestampRange, "is finer than a microsecond"))
}

/// Whether a text is a number in the form in which almost all come, and the same JSON number.
fn is_json_number(text: &str, syntax: NumberSyntax) -> bool {
    PlainNumber::read(text, syntax).is_some_and(|number| number.is_json)
}

/// Whether the first bytes of a slice, so many, are such a number, at most 16 bytes long: a glance at all of them, since
/// going through digits one by one costs a wrong guess where they end. What is wrongly denied is read with more care.
#[inline]
pub(crate) fn begins_with_json_number(bytes: &[u8], length: usize, syntax: NumberSyntax) -> bool {
    const HIGH_BITS: u128 = u128::from_ne_bytes([0x80; 16]);
    const LOW_BITS: u128 = !HIGH_BITS;
    let Some(text) = bytes.first_chunk::<16>().filter(|_| (1..=16).contains(&length)) else {
        return false;
    };
    let word = u128::from_le_bytes(*text);
    let inside = HIGH_BITS >> (8 * (16 - length));
    let digits = word ^ u128::from_ne_bytes([b'0'; 16]);
    let no_digits = (((digits & LOW_BITS) + u128::from_ne_bytes([0x76; 16])) | digits) & inside;
    // A byte is a point if nothing of it differs.
    let differs = word ^ u128::from_ne_bytes([b'.'; 16]);
    let points = !(((differs & LOW_BITS) + LOW_BITS) | differs) & inside;
    let is_last = points & (0x80 << (8 * (length - 1))) != 0;
    let is_number = no_digits == points
        && points & points.wrapping_sub(1) == 0
        && points & 0x80 == 0
        && !is_last
        && (points == 0 || syntax != NumberSyntax::Integer);
    is_number && (text[0] != b'0' || length == 1 || text[1] == b'.')
}

/// Reads a number as a JSON number with its digits.
pub(crate) fn lexeme(text: &str, syntax: NumberSyntax) -> Result<Cow<'_, str>, Unfit> {
    if is_json_number(text, syntax) {
        return Ok(Cow::Borrowed(text));
    }
    Ok(digits(text, syntax)?.json())
}

/// A number in the form in which almost all come: at most 18 digits, perhaps with a point between two of them.
struct PlainNumber {
    /// The digits as a whole number.
    digits: u64,
    /// How many of them are behind the point.
    scale: u32,
    /// Whether the text is a JSON number, too: it begins with a zero only in front of the point.
    is_json: bool,
}

impl PlainNumber {
    fn read(text: &str, syntax: NumberSyntax) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() > 18 {
            return None;
        }
        let (mut digits, mut point) = (0, None);
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'0'..=b'9' => digits = digits * 10 + u64::from(byte - b'0'),
                b'.' if point.is_none() && syntax != NumberSyntax::Integer => point = Some(at),
                _ => return None,
            }
        }
        let whole = point.unwrap_or(bytes.len());
        let scale = point.map_or(0, |point| bytes.len() - point - 1);
        if whole == 0 || (point.is_some() && scale == 0) {
            return None;
        }
        let is_json = whole == 1 || bytes[0] != b'0';
        Some(Self { digits, scale: u32::try_from(scale).ok()?, is_json })
    }
}

fn digits(text: &str, syntax: NumberSyntax) -> Result<lexical::Digits<'_>, Unfit> {
    match syntax {
        NumberSyntax::Integer => {
            lexical::integer(text).map_err(number_unfit)?;
            lexical::decimal(text).map_err(number_unfit)
        }
        NumberSyntax::Decimal => lexical::decimal(text).map_err(number_unfit),
        NumberSyntax::Float => match lexical::float(text).map_err(number_unfit)? {
            lexical::Number::Finite(digits) => Ok(digits),
            lexical::Number::NotANumber => Err((ReasonCode::NumberRange, "is not a number (NaN)")),
            lexical::Number::Infinity | lexical::Number::NegativeInfinity => {
                Err((ReasonCode::NumberRange, "is infinite"))
            }
        },
    }
}

/// A number in units of the last digit that columns hold.
pub(crate) fn decimal(text: &str, syntax: NumberSyntax) -> Result<i128, Unfit> {
    const UNIT: i128 = 10_i128.pow(NUMBER_SCALE.unsigned_abs() as u32);
    if let Some(number) = PlainNumber::read(text, syntax)
        && let Some(missing) =
            NUMBER_SCALE.unsigned_abs().checked_sub(u8::try_from(number.scale).unwrap_or(u8::MAX))
    {
        return Ok(i128::from(number.digits) * i128::from(10_u64.pow(missing.into())));
    }
    if syntax == NumberSyntax::Integer {
        return lexical::integer(text).map(|value| i128::from(value) * UNIT).map_err(number_unfit);
    }
    let scaled = digits(text, syntax)?.scaled(NUMBER_SCALE.unsigned_abs());
    scaled.ok_or((
        ReasonCode::NumberRange,
        "has more digits than a decimal of 38 digits, 9 of them after the point",
    ))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_glance_tells_json_numbers_from_all_else(
            text in prop_oneof!["[0-9]{1,17}", "[0-9]{0,9}\\.[0-9]{0,9}", "[0-9.]{0,5}[-+.0-9:/é\u{0}\u{ff}]{1,2}[0-9.]{0,5}"],
            follows in "[0-9.<]{20}",
            syntax in prop::sample::select(vec![NumberSyntax::Integer, NumberSyntax::Decimal, NumberSyntax::Float]),
        ) {
            let content = format!("{text}{follows}");
            let found = begins_with_json_number(content.as_bytes(), text.len(), syntax);
            prop_assert_eq!(found, text.len() <= 16 && is_json_number(&text, syntax), "{}", text);
        }

        #[test]
        fn plain_numbers_are_what_the_exact_reading_says(
            text in "[+-]?[0-9]{0,12}(\\.[0-9]{0,12})?",
            syntax in prop::sample::select(vec![NumberSyntax::Integer, NumberSyntax::Decimal, NumberSyntax::Float]),
        ) {
            if let Some(number) = PlainNumber::read(&text, syntax) {
                let exact = digits(&text, syntax).unwrap();
                prop_assert_eq!(number.is_json, exact.json() == text);
                prop_assert_eq!(
                    exact.scaled(NUMBER_SCALE.unsigned_abs()),
                    decimal(&text, syntax).ok()
                );
            }
        }
    }
}
