//! Numbers as digits.

use std::borrow::Cow;
use std::fmt;

use super::trimmed;

/// The value of an `xs:float` text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number<'a> {
    /// A number that digits can write.
    Finite(Digits<'a>),
    /// `NaN`.
    NotANumber,
    /// `INF`.
    Infinity,
    /// `-INF`.
    NegativeInfinity,
}

/// A finite number, digit for digit as received. Its `Display` text is a JSON number with the
/// same digits.
///
/// ```
/// use bronto_client::lexical::decimal;
///
/// let price = decimal(" +089.90 ")?;
/// assert_eq!(price.to_string(), "89.90");
/// assert_eq!(price.scaled(9), Some(89_900_000_000));
/// assert_eq!(price.scaled(0), None);
/// # Ok::<(), bronto_client::lexical::NumberError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digits<'a> {
    lexeme: &'a str,
    negative: bool,
    /// Without leading zeros; empty below one.
    whole: &'a str,
    /// As received, trailing zeros included.
    fraction: &'a str,
    exponent: i32,
}

/// Why a text is no number. Never contains the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// The text isn't in the type's lexical space.
    #[error("The number is not written as one")]
    Form,
    /// The number is too large for the type.
    #[error("The number is out of range")]
    Range,
}

/// Reads an `xs:long`.
///
/// # Errors
///
/// [`NumberError::Form`] for anything but a sign and digits, [`NumberError::Range`] past 64 bits.
pub fn integer(text: &str) -> Result<i64, NumberError> {
    let text = trimmed(text);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !all_digits(digits) {
        return Err(NumberError::Form);
    }
    // A sign and digits can only fail to parse by being too many.
    text.parse().map_err(|_| NumberError::Range)
}

/// Reads an `xs:decimal`: a sign, digits and a point, no exponent.
///
/// # Errors
///
/// [`NumberError::Form`] for anything else.
pub fn decimal(text: &str) -> Result<Digits<'_>, NumberError> {
    let lexeme = trimmed(text);
    let (negative, rest) = sign(lexeme);
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return Err(NumberError::Form);
    }
    Ok(Digits { lexeme, negative, whole: whole.trim_start_matches('0'), fraction, exponent: 0 })
}

/// Reads an `xs:float` or `xs:double`: a decimal, perhaps with an exponent, or `NaN`, `INF`,
/// `-INF`. The digits are kept even where a 32-bit float could not.
///
/// # Errors
///
/// [`NumberError::Form`] for anything else, [`NumberError::Range`] for an exponent past 32 bits.
pub fn float(text: &str) -> Result<Number<'_>, NumberError> {
    let lexeme = trimmed(text);
    match lexeme {
        "NaN" => return Ok(Number::NotANumber),
        "INF" | "+INF" => return Ok(Number::Infinity),
        "-INF" => return Ok(Number::NegativeInfinity),
        _ => {}
    }
    let Some((mantissa, power)) = lexeme.split_once(['e', 'E']) else {
        return decimal(lexeme).map(Number::Finite);
    };
    // White space may surround the number, not its parts.
    if trimmed(mantissa) != mantissa || trimmed(power) != power {
        return Err(NumberError::Form);
    }
    let exponent = i32::try_from(integer(power)?).map_err(|_| NumberError::Range)?;
    let digits = decimal(mantissa)?;
    Ok(Number::Finite(Digits { lexeme, exponent, ..digits }))
}

impl<'a> Digits<'a> {
    /// The text as received, without surrounding white space.
    pub fn lexeme(&self) -> &'a str {
        self.lexeme
    }

    /// The number times 10^`scale` as an integer, exactly: none if that has a fraction or more
    /// than 38 digits.
    pub fn scaled(&self, scale: u8) -> Option<i128> {
        let fraction = self.fraction.trim_end_matches('0');
        let digits = self.whole.bytes().chain(fraction.bytes()).skip_while(|byte| *byte == b'0');
        let count = digits.clone().count();
        if count == 0 {
            return Some(0);
        }
        let shift =
            i64::from(self.exponent) + i64::from(scale) - i64::try_from(fraction.len()).ok()?;
        // Zeros at the end of the digits pay for a shift to the right.
        let ending = match fraction {
            "" => self.whole.len() - self.whole.trim_end_matches('0').len(),
            _ => 0,
        };
        let drop = usize::try_from(-shift.min(0)).ok()?;
        let append = u32::try_from(shift.max(0)).ok()?;
        if drop > ending {
            return None;
        }
        let kept = count - drop;
        if u64::try_from(kept).ok()? + u64::from(append) > 38 {
            return None;
        }
        let value =
            digits.take(kept).fold(0_i128, |value, byte| value * 10 + i128::from(byte - b'0'));
        let value = value * 10_i128.pow(append);
        Some(if self.negative { -value } else { value })
    }

    /// The number as a JSON number with the digits received: as it came where JSON allows that,
    /// else without `+`, with a digit on each side of the point and no leading zeros.
    pub fn json(&self) -> Cow<'a, str> {
        let (_, unsigned) = sign(self.lexeme);
        let plain = !self.lexeme.starts_with('+')
            && is_json_whole(unsigned)
            && !(self.fraction.is_empty() && unsigned.contains('.'));
        if plain { Cow::Borrowed(self.lexeme) } else { Cow::Owned(self.rewritten()) }
    }

    fn rewritten(&self) -> String {
        let mut text = String::with_capacity(self.lexeme.len() + 2);
        if self.negative {
            text.push('-');
        }
        text.push_str(if self.whole.is_empty() { "0" } else { self.whole });
        if !self.fraction.is_empty() {
            text.push('.');
            text.push_str(self.fraction);
        }
        if self.exponent != 0 {
            text.push('e');
            text.push_str(&self.exponent.to_string());
        }
        text
    }
}

impl fmt::Display for Digits<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.json())
    }
}

/// Whether the digits before point or exponent are `0` or don't begin with it.
fn is_json_whole(unsigned: &str) -> bool {
    let end = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
    end == 1 || (end > 1 && !unsigned.starts_with('0'))
}

/// Takes a sign off: whether it is a minus, and the rest.
fn sign(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed parse should stop the test")]

    use proptest::prelude::*;

    use super::*;

    fn finite(text: &str) -> Digits<'_> {
        match float(text).unwrap() {
            Number::Finite(digits) => digits,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn integers_are_exact_to_the_edges() {
        assert_eq!(integer(" 9223372036854775807\n"), Ok(i64::MAX));
        assert_eq!(integer("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(integer("+007"), Ok(7));
        assert_eq!(integer("9223372036854775808"), Err(NumberError::Range));
        for text in ["", "-", "1.0", "1e3", "1 2", "٣", "0x1"] {
            assert_eq!(integer(text), Err(NumberError::Form), "{text}");
        }
    }

    #[test]
    fn decimals_scale_without_loss_or_not_at_all() {
        let scaled = |text, scale| decimal(text).unwrap().scaled(scale);
        assert_eq!(scaled("78.1125", 9), Some(78_112_500_000));
        assert_eq!(scaled("-0.000000001", 9), Some(-1));
        assert_eq!(scaled("0.0000000010", 9), Some(1));
        assert_eq!(scaled("0.0000000001", 9), None);
        assert_eq!(scaled("00.50", 1), Some(5));
        assert_eq!(scaled("-0", 9), Some(0));
        let edge = "99999999999999999999999999999.999999999";
        assert_eq!(scaled(edge, 9), Some(10_i128.pow(38) - 1));
        assert_eq!(scaled("100000000000000000000000000000", 9), None);
        for text in ["", ".", "+", "1,5", "1e3", "1.2.3", "NaN", "--1", "1 .5"] {
            assert_eq!(decimal(text), Err(NumberError::Form), "{text}");
        }
    }

    #[test]
    fn floats_keep_their_digits_and_exponents() {
        assert_eq!(finite("3.1245E2").scaled(2), Some(31_245));
        assert_eq!(finite("1E-9").scaled(9), Some(1));
        assert_eq!(finite("1E-10").scaled(9), None);
        assert_eq!(finite("1500E-2").scaled(0), Some(15));
        assert_eq!(finite("1500E-3").scaled(0), None);
        assert_eq!(finite("1e29").scaled(9), None);
        assert_eq!(finite("1e28").scaled(9), Some(10_i128.pow(37)));
        assert_eq!(finite("0e999999999").scaled(9), Some(0));
        assert_eq!(finite("1e2147483647").scaled(9), None);
        assert_eq!(finite("1e-2147483648").scaled(9), None);
        assert_eq!(float("1e2147483648"), Err(NumberError::Range));
        assert_eq!(float("NaN"), Ok(Number::NotANumber));
        assert_eq!(float(" INF "), Ok(Number::Infinity));
        assert_eq!(float("-INF"), Ok(Number::NegativeInfinity));
        for text in ["nan", "inf", "Infinity", "e5", "1e", "1e+", "1e1.0", "1 e5", "1e 5"] {
            assert_eq!(float(text), Err(NumberError::Form), "{text}");
        }
    }

    #[test]
    fn json_keeps_every_digit() {
        for (text, json) in [
            ("89.90", "89.90"),
            ("-0.0", "-0.0"),
            ("+5", "5"),
            ("007", "7"),
            ("00", "0"),
            (".5", "0.5"),
            ("-.50", "-0.50"),
            ("5.", "5"),
            ("05.10", "5.10"),
            ("1.50E3", "1.50E3"),
            ("+1.50E+3", "1.50e3"),
            ("1.E-3", "1e-3"),
        ] {
            assert_eq!(finite(text).json(), json, "{text}");
        }
    }

    proptest! {
        #[test]
        fn scaling_agrees_with_integers(value in any::<i64>(), scale in 0_u8..=9) {
            let unsigned = value.unsigned_abs();
            let power = 10_u64.pow(u32::from(scale));
            let sign = if value < 0 { "-" } else { "" };
            let width = usize::from(scale);
            let text = format!("{sign}{}.{:0width$}", unsigned / power, unsigned % power);
            prop_assert_eq!(decimal(&text).unwrap().scaled(scale), Some(i128::from(value)));
            let text = format!("{value}E-{scale}");
            prop_assert_eq!(finite(&text).scaled(scale), Some(i128::from(value)));
        }

        #[test]
        fn json_is_a_json_number_of_the_same_value(
            text in "[+-]?([0-9]{1,6}(\\.[0-9]{0,6})?|\\.[0-9]{1,6})([eE][+-]?[0-9]{1,2})?",
        ) {
            let digits = finite(&text);
            let json = digits.json();
            prop_assert_eq!(finite(&json).scaled(9), digits.scaled(9));
            prop_assert_eq!(finite(&json).json(), json.clone());
            let (_, unsigned) = sign(&json);
            prop_assert!(is_json_whole(unsigned) && !json.starts_with('+') && !json.contains(".e"));
        }
    }
}
