//! PostgreSQL's binary form of `numeric`: digits to the base 10,000, the place of the first, a sign, and how many
//! decimal digits to show after the point. Made from scaled integers without a detour, so every digit is kept; trailing
//! zeros are not shown.

use replication::stream::NUMBER_SCALE;

/// Decimal digits per digit of the base.
const BASE_DIGITS: usize = 4;
const BASE: u128 = 10_000;
/// Digits of the base before the point: enough for any 128-bit integer divided by the scale.
const WHOLE: usize = 8;
/// Digits of the base after the point: enough for the scale.
const FRACTION: usize = 3;
/// One in the unit of the integers.
const ONE: u128 = 10u128.pow(NUMBER_SCALE.unsigned_abs() as u32);
/// What the fraction is multiplied by to fill its last digit.
const FILL: u128 = 10u128.pow((FRACTION * BASE_DIGITS) as u32 - NUMBER_SCALE.unsigned_abs() as u32);

const POSITIVE: u16 = 0;
const NEGATIVE: u16 = 0x4000;

/// Appends the binary form of `unscaled` × 10^-[`NUMBER_SCALE`].
pub(crate) fn encode(unscaled: i128, out: &mut Vec<u8>) {
    let magnitude = unscaled.unsigned_abs();
    let fraction = magnitude % ONE;
    let mut digits = [0u16; WHOLE + FRACTION];
    let (whole_digits, fraction_digits) = digits.split_at_mut(WHOLE);
    split(magnitude / ONE, whole_digits);
    split(fraction * FILL, fraction_digits);

    let first = digits.iter().position(|digit| *digit != 0);
    let last = digits.iter().rposition(|digit| *digit != 0);
    let (Some(first), Some(last)) = (first, last) else {
        return put(&[], 0, POSITIVE, 0, out);
    };
    let sign = if unscaled < 0 { NEGATIVE } else { POSITIVE };
    put(&digits[first..=last], WHOLE as i16 - 1 - first as i16, sign, shown_digits(fraction), out);
}

/// Writes a number's digits to the base into `digits`, the last one last.
fn split(mut number: u128, digits: &mut [u16]) {
    for digit in digits.iter_mut().rev() {
        // Most numbers fit 64 bits, whose division is many times as fast.
        if let Ok(small) = u64::try_from(number) {
            *digit = (small % BASE as u64) as u16;
            number = u128::from(small / BASE as u64);
        } else {
            *digit = (number % BASE) as u16;
            number /= BASE;
        }
    }
}

/// How many digits after the point are needed for a fraction in units of 10^-[`NUMBER_SCALE`].
fn shown_digits(fraction: u128) -> u16 {
    let mut fraction = fraction as u64;
    let mut shown = u16::from(NUMBER_SCALE.unsigned_abs());
    while shown > 0 && fraction.is_multiple_of(10) {
        fraction /= 10;
        shown -= 1;
    }
    shown
}

fn put(digits: &[u16], weight: i16, sign: u16, shown: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&(digits.len() as u16).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&shown.to_be_bytes());
    for digit in digits {
        out.extend_from_slice(&digit.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use replication::row::decimal_text;

    use super::*;

    /// Reads the binary form back, as the server does.
    fn text(encoded: &[u8]) -> String {
        let fields: Vec<i32> = encoded
            .chunks(2)
            .map(|pair| i32::from(i16::from_be_bytes([pair[0], pair[1]])))
            .collect();
        let [count, weight, sign, shown] = fields[..4] else { panic!("a header of four") };
        let digits = &fields[4..];
        assert_eq!(digits.len(), usize::try_from(count).unwrap_or_default());
        assert!(
            digits.first() != Some(&0) && digits.last() != Some(&0),
            "no digit is idle: {digits:?}"
        );
        let digit = |place: i32| {
            usize::try_from(weight - place).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0)
        };
        let whole: String =
            (0..=weight.max(0)).rev().map(|place| format!("{:04}", digit(place))).collect();
        let fraction: String = (1..=3).map(|place| format!("{:04}", digit(-place))).collect();
        let (fraction, rest) = fraction.split_at(usize::try_from(shown).unwrap_or_default());
        assert!(rest.bytes().all(|byte| byte == b'0'), "no digit is hidden: {rest}");
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let sign = if sign == i32::from(NEGATIVE) { "-" } else { "" };
        if fraction.is_empty() {
            format!("{sign}{whole}")
        } else {
            format!("{sign}{whole}.{fraction}")
        }
    }

    fn encoded(unscaled: i128) -> Vec<u8> {
        let mut out = Vec::new();
        encode(unscaled, &mut out);
        out
    }

    #[test]
    fn the_edges_are_exact() {
        for unscaled in [
            0,
            1,
            -1,
            999_999_999,
            1_000_000_000,
            10_000_000_000_000,
            -10_000_000_000_000_500_000_000,
            i128::MAX,
            i128::MIN,
        ] {
            assert_eq!(text(&encoded(unscaled)), decimal_text(unscaled));
        }
    }

    proptest! {
        #[test]
        fn every_number_is_exact(unscaled: i128, shift in 0u32..127) {
            let unscaled = unscaled >> shift;
            prop_assert_eq!(text(&encoded(unscaled)), decimal_text(unscaled));
        }
    }
}
