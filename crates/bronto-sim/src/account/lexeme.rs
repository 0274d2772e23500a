//! Numbers as the API writes them. Money is kept in whole cents and never becomes a float.

use crate::settings::FloatForm;

/// An `xs:decimal` with two digits: `89.90`.
pub(crate) fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// An `xs:decimal` with four digits: `78.1125`.
pub(crate) fn ten_thousandths(number: u64) -> String {
    format!("{}.{:04}", number / 10_000, number % 10_000)
}

/// An `xs:float`: at least one digit after the point, no trailing zeros, as Java prints it.
pub(crate) fn float(cents: u64, form: FloatForm, number: u32) -> String {
    match form {
        FloatForm::Special => match number % 50 {
            7 => "NaN".to_owned(),
            17 => "INF".to_owned(),
            27 => "-INF".to_owned(),
            _ => plain_float(cents),
        },
        FloatForm::Java if cents >= 1_000_000_000 => exponent_float(cents),
        FloatForm::Java | FloatForm::Plain => plain_float(cents),
    }
}

fn plain_float(cents: u64) -> String {
    let text = money(cents);
    match text.strip_suffix('0') {
        Some(shorter) => shorter.to_owned(),
        None => text,
    }
}

/// Java writes ten million and more with an exponent: `1.2345678E7`.
fn exponent_float(cents: u64) -> String {
    let digits = cents.to_string();
    let exponent = digits.len() - 3;
    let fraction = digits[1..].trim_end_matches('0');
    let fraction = if fraction.is_empty() { "0" } else { fraction };
    format!("{}.{fraction}E{exponent}", &digits[..1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_keeps_its_zeros_and_floats_drop_them() {
        assert_eq!(money(8_990), "89.90");
        assert_eq!(money(5), "0.05");
        assert_eq!(ten_thousandths(781_125), "78.1125");
        for (cents, text) in [(0, "0.0"), (8_990, "89.9"), (31_245, "312.45"), (100, "1.0")] {
            assert_eq!(float(cents, FloatForm::Plain, 0), text);
        }
    }

    #[test]
    fn java_changes_to_exponents_at_ten_million() {
        assert_eq!(float(999_999_999, FloatForm::Java, 0), "9999999.99");
        assert_eq!(float(1_000_000_000, FloatForm::Java, 0), "1.0E7");
        assert_eq!(float(1_234_567_890, FloatForm::Java, 0), "1.23456789E7");
    }
}
