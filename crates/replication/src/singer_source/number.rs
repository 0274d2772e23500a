//! Numbers by their digits. A column holds a fixed number of decimals; what has more is refused, never rounded.

/// Why a number doesn't fit a column. Never holds the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberFault {
    /// It has digits beyond the column's last decimal.
    TooFine,
    /// It has more than 38 digits.
    TooLarge,
    /// The text is no number.
    NotANumber,
}

/// The most digits that a decimal can have.
const MAX_DIGITS: u32 = 38;
/// As many digits as always fit 64 bits.
const FAST_DIGITS: usize = 18;

/// A JSON number times ten to the power of `scale`, exactly.
pub(super) fn scaled(lexeme: &str, scale: u8) -> Result<i128, NumberFault> {
    if let Some(number) = short(lexeme, scale) {
        return Ok(number);
    }
    let (digits, is_negative) = match lexeme.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (lexeme, false),
    };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, power(exponent)),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (unscaled, trailing_zeros) = significant(whole.bytes().chain(fraction.bytes()))?;
    if unscaled == 0 {
        return Ok(0);
    }
    let fraction_digits = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    let shift =
        exponent.saturating_add(i64::from(scale) + trailing_zeros).saturating_sub(fraction_digits);
    let shift = u32::try_from(shift)
        .map_err(|_| if shift < 0 { NumberFault::TooFine } else { NumberFault::TooLarge })?;
    let scaled = 10_i128.checked_pow(shift).and_then(|factor| unscaled.checked_mul(factor));
    match scaled {
        Some(number) if number < 10_i128.pow(MAX_DIGITS) => {
            Ok(if is_negative { -number } else { number })
        }
        _ => Err(NumberFault::TooLarge),
    }
}

/// A number written as a string, as `singer.decimal` has it.
pub(super) fn scaled_text(text: &str, scale: u8) -> Result<i128, NumberFault> {
    let text = text.trim_ascii();
    let lexeme = text.strip_prefix('+').unwrap_or(text);
    if singer::json::is_number(lexeme) {
        scaled(lexeme, scale)
    } else {
        Err(NumberFault::NotANumber)
    }
}

/// A whole number of 64 bits. `1.0` and `1e3` are whole; JSON doesn't tell them from `1` and `1000`.
pub(super) fn integer(lexeme: &str) -> Result<i64, NumberFault> {
    match lexeme.parse() {
        Ok(number) => Ok(number),
        Err(_) => scaled(lexeme, 0)?.try_into().map_err(|_| NumberFault::TooLarge),
    }
}

/// The usual case: few digits and no exponent.
fn short(lexeme: &str, scale: u8) -> Option<i128> {
    let (digits, is_negative) = match lexeme.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (lexeme, false),
    };
    if digits.len() > FAST_DIGITS {
        return None;
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let missing = u32::from(scale).checked_sub(u32::try_from(fraction.len()).ok()?)?;
    let mut number = 0_i64;
    for byte in whole.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(byte - b'0');
    }
    let number = i128::from(number).checked_mul(10_i128.checked_pow(missing)?)?;
    Some(if is_negative { -number } else { number })
}

/// The value of digits up to the last that isn't zero, and how many zeros follow it.
fn significant(digits: impl Iterator<Item = u8>) -> Result<(i128, i64), NumberFault> {
    let mut number = 0_i128;
    let mut zeros = 0_u32;
    for digit in digits {
        if digit == b'0' {
            zeros = zeros.saturating_add(u32::from(number != 0));
            continue;
        }
        number = 10_i128
            .checked_pow(zeros.saturating_add(1))
            .and_then(|factor| number.checked_mul(factor))
            .and_then(|number| number.checked_add(i128::from(digit - b'0')))
            .ok_or(NumberFault::TooLarge)?;
        zeros = 0;
    }
    Ok((number, i64::from(zeros)))
}

/// An exponent; one beyond 64 bits is as good as the greatest.
fn power(exponent: &str) -> i64 {
    exponent.parse().unwrap_or(if exponent.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NINES: &str = "99999999999999999999999999999.999999999";

    #[test]
    fn keeps_every_digit() {
        for (lexeme, expected) in [
            ("0", 0),
            ("-0.0", 0),
            ("1", 1_000_000_000),
            ("-1.5", -1_500_000_000),
            ("0.000000001", 1),
            ("0.10000000000000000000000", 100_000_000),
            ("1.5e3", 1_500_000_000_000),
            ("15000e-4", 1_500_000_000),
            ("1e28", 10_i128.pow(37)),
            ("0e999999999999999999999999", 0),
            ("12345678901234567890.123456789", 12_345_678_901_234_567_890_123_456_789),
            (NINES, 10_i128.pow(38) - 1),
        ] {
            assert_eq!(scaled(lexeme, 9), Ok(expected), "{lexeme}");
            assert_eq!(
                scaled(&format!("-{lexeme}").replace("--", ""), 9).map(i128::abs),
                Ok(expected.abs()),
                "{lexeme}"
            );
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        for lexeme in ["0.0000000001", "1e-10", "1.0000000001", "5e-9999999999999999999999"] {
            assert_eq!(scaled(lexeme, 9), Err(NumberFault::TooFine), "{lexeme}");
        }
        for lexeme in [
            "1e29",
            "100000000000000000000000000000",
            "1e400",
            "1e99999999999999999999",
            &"9".repeat(400),
        ] {
            assert_eq!(scaled(lexeme, 9), Err(NumberFault::TooLarge), "{lexeme}");
        }
    }

    #[test]
    fn integers_have_64_bits() {
        assert_eq!(integer("9223372036854775807"), Ok(i64::MAX));
        assert_eq!(integer("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(integer("9223372036854775808"), Err(NumberFault::TooLarge));
        assert_eq!(integer("1e3"), Ok(1000));
        assert_eq!(integer("7.00"), Ok(7));
        assert_eq!(integer("7.5"), Err(NumberFault::TooFine));
    }

    #[test]
    fn texts_are_checked() {
        assert_eq!(scaled_text(" +1.50 ", 9), Ok(1_500_000_000));
        for text in ["", "NaN", "Infinity", "1,5", "0x1", "1_000", "--1"] {
            assert_eq!(scaled_text(text, 9), Err(NumberFault::NotANumber), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_was_written(number in -(10_i128.pow(38) - 1)..10_i128.pow(38), zeros in 0_usize..30) {
            let text = format!("{}{}", crate::row::decimal_text(number), "");
            let padded = if text.contains('.') { format!("{text}{}", "0".repeat(zeros)) } else { text.clone() };
            prop_assert_eq!(scaled(&text, 9), Ok(number));
            prop_assert_eq!(scaled(&padded, 9), Ok(number));
            prop_assert_eq!(scaled(&format!("{number}e-9"), 9), Ok(number));
        }
    }
}
