//! How many rows may be rejected before a run ends: a count, or a share of what was received.

use std::{fmt, str::FromStr};

/// A share says little about a few rows, so within a run it is judged from this many on. At its end it always is.
const ROWS_THAT_TELL: u64 = 1_000;

/// How many rows may be rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectLimit {
    /// This many.
    Count(u64),
    /// So many of the rows received.
    Share(Share),
}

/// A share of rows, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u32);

/// The text is no percentage from 0 to 100 with at most four decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("A share is a percentage such as `1%` or `0.25%`")]
pub struct NoShare;

/// Millionths in one per cent, and the decimals that they allow for.
const PER_CENT: u32 = 10_000;
const DECIMALS: usize = 4;

impl RejectLimit {
    /// Whether more were rejected than may be, of those `received` (rejects included).
    pub(crate) fn is_exceeded(self, rejected: u64, received: u64, is_over: bool) -> bool {
        match self {
            Self::Count(limit) => rejected > limit,
            Self::Share(Share(millionths)) => {
                (is_over || received >= ROWS_THAT_TELL)
                    && u128::from(rejected) * 1_000_000
                        > u128::from(received) * u128::from(millionths)
            }
        }
    }
}

impl fmt::Display for RejectLimit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(formatter),
            Self::Share(share) => share.fmt(formatter),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:04}", self.0 % PER_CENT);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        write!(formatter, "{}{point}{fraction}%", self.0 / PER_CENT)
    }
}

impl FromStr for Share {
    type Err = NoShare;

    fn from_str(text: &str) -> Result<Self, NoShare> {
        let number = text.trim().strip_suffix('%').ok_or(NoShare)?.trim_end();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let fits = !whole.is_empty() && fraction.len() <= DECIMALS;
        if !fits || !is_number(whole) || !is_number(fraction) {
            return Err(NoShare);
        }
        let millionths = format!("{whole}{fraction:0<DECIMALS$}").parse().map_err(|_| NoShare)?;
        if millionths <= 100 * PER_CENT { Ok(Self(millionths)) } else { Err(NoShare) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_and_read_as_they_are_written() {
        for text in ["0%", "1%", "0.25%", "12.5%", "0.0001%", "100%"] {
            assert_eq!(text.parse::<Share>().map(|share| share.to_string()), Ok(text.to_owned()));
        }
        for text in ["1", "%", ".5%", "-1%", "1.00001%", "100.1%", "1e1%", "٣%", "9999999999%"] {
            assert_eq!(text.parse::<Share>(), Err(NoShare), "{text}");
        }
    }

    #[test]
    fn a_share_is_exceeded_by_more_than_itself_and_not_by_a_few_rows_at_the_start() {
        let one_per_cent = RejectLimit::Share(Share(PER_CENT));
        assert!(!one_per_cent.is_exceeded(10, 1_000, false));
        assert!(one_per_cent.is_exceeded(11, 1_000, false));
        assert!(!one_per_cent.is_exceeded(1, 1, false));
        assert!(one_per_cent.is_exceeded(1, 1, true));
        assert!(!RejectLimit::Count(2).is_exceeded(2, 2, true));
        assert!(RejectLimit::Count(2).is_exceeded(3, 1_000_000, false));
    }
}
