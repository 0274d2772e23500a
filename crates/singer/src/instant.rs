//! Times as the protocol writes them, exact to the microsecond.
//!
//! A `date-time` is RFC 3339 with an offset, and an instant on the time line: microseconds since
//! 1970-01-01T00:00:00Z. Reading one never guesses and never rounds. A time without an offset names
//! no instant, digits beyond microseconds can't be stored and a leap second has no place on the
//! line, so each of these is an error that the caller can report.

use chrono::{DateTime, Datelike, Timelike, Utc};

/// Why a text is no instant that can be kept exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InstantError {
    /// The text isn't a date and time with an offset.
    #[error("The text is not an RFC 3339 date-time with an offset")]
    Unparsable,
    /// The fraction has digits other than zero beyond the sixth.
    #[error("The date-time is finer than a microsecond")]
    FinerThanMicroseconds,
    /// The second is 60.
    #[error("The date-time is a leap second")]
    LeapSecond,
}

const SECONDS_PER_DAY: i64 = 86_400;
const MICROSECONDS_PER_SECOND: i64 = 1_000_000;

/// Reads an RFC 3339 date-time as microseconds since the epoch.
///
/// `T` and `Z` may be lower case and a space may stand for the `T`, as the RFC allows.
///
/// # Errors
/// [`InstantError`], without the text, if it isn't exactly such an instant.
///
/// ```
/// use singer::instant::{self, InstantError};
///
/// assert_eq!(instant::parse("1970-01-01T01:00:00.5+01:00"), Ok(500_000));
/// assert_eq!(instant::parse("1970-01-01T00:00:00"), Err(InstantError::Unparsable));
/// ```
pub fn parse(text: &str) -> Result<i64, InstantError> {
    let mut scanner = Scanner(text.as_bytes());
    let parsed = scanner.date_time().ok_or(InstantError::Unparsable)?;
    if parsed.is_leap_second {
        return Err(InstantError::LeapSecond);
    }
    if parsed.is_finer {
        return Err(InstantError::FinerThanMicroseconds);
    }
    Ok(parsed.seconds * MICROSECONDS_PER_SECOND + parsed.microseconds)
}

/// Appends `time` as `YYYY-MM-DDTHH:MM:SS.ffffffZ`, without quotes.
///
/// This is the one form that every reader of the protocol understands. Years outside 0000 to 9999
/// don't exist in RFC 3339; they come out with a sign.
pub fn push(buffer: &mut Vec<u8>, time: DateTime<Utc>) {
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    // A leap second is held as 59 seconds and more than 10^9 nanoseconds; it has no other form here.
    let micros = (time.nanosecond() / 1000).min(999_999);
    let year = u32::try_from(time.year()).ok().filter(|year| *year <= 9999);
    for (at, pair) in [
        (0, year.unwrap_or_default() / 100),
        (2, year.unwrap_or_default() % 100),
        (5, time.month()),
        (8, time.day()),
        (11, time.hour()),
        (14, time.minute()),
        (17, time.second()),
        (20, micros / 10_000),
        (22, micros / 100 % 100),
        (24, micros % 100),
    ] {
        let pair = u8::try_from(pair).expect("a pair of digits is below 100");
        text[at] = b'0' + pair / 10;
        text[at + 1] = b'0' + pair % 10;
    }
    if year.is_some() {
        buffer.extend_from_slice(&text);
    } else {
        buffer.extend_from_slice(format!("{:+05}", time.year()).as_bytes());
        buffer.extend_from_slice(&text[4..]);
    }
}

struct ParsedInstant {
    seconds: i64,
    microseconds: i64,
    is_finer: bool,
    is_leap_second: bool,
}

/// Reads a date-time from left to right. `None` always means: not one.
struct Scanner<'text>(&'text [u8]);

impl Scanner<'_> {
    fn date_time(&mut self) -> Option<ParsedInstant> {
        let year = self.number(4)?;
        self.one_of(b"-")?;
        let month = self.number(2)?;
        self.one_of(b"-")?;
        let day = self.number(2)?;
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        self.one_of(b"Tt ")?;
        let hour = self.number(2)?;
        self.one_of(b":")?;
        let minute = self.number(2)?;
        self.one_of(b":")?;
        let second = self.number(2)?;
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let (microseconds, is_finer) = self.fraction()?;
        let offset_seconds = self.offset_seconds()?;
        if !self.0.is_empty() {
            return None;
        }
        let seconds = days_since_epoch(year, month, day) * SECONDS_PER_DAY
            + hour * 3600
            + minute * 60
            + second
            - offset_seconds;
        Some(ParsedInstant { seconds, microseconds, is_finer, is_leap_second: second == 60 })
    }

    /// The microseconds of an optional fraction, and whether it says more than these.
    fn fraction(&mut self) -> Option<(i64, bool)> {
        let Some(rest) = self.0.strip_prefix(b".") else {
            return Some((0, false));
        };
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = rest.split_at(length);
        self.0 = rest;
        if digits.is_empty() {
            return None;
        }
        let microseconds = digits
            .iter()
            .chain(std::iter::repeat(&b'0'))
            .take(6)
            .fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        let is_finer = digits.iter().skip(6).any(|digit| *digit != b'0');
        Some((microseconds, is_finer))
    }

    fn offset_seconds(&mut self) -> Option<i64> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(0),
        };
        let hours = self.number(2)?;
        self.one_of(b":")?;
        let minutes = self.number(2)?;
        (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
    }

    fn number(&mut self, width: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(width)?;
        self.0 = rest;
        digits.iter().try_fold(0, |value, byte| {
            byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0'))
        })
    }

    fn one_of(&mut self, allowed: &[u8]) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        allowed.contains(byte).then_some(*byte)
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar, for years from 0.
///
/// Counts years from March so that the leap day is the last day of a year, and adds 400 years so
/// that no intermediate value is negative.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    const DAYS_TO_EPOCH: i64 = 719_468 + 146_097;
    let (year, month) = if month > 2 { (year + 400, month - 3) } else { (year + 399, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - DAYS_TO_EPOCH
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pushed(time: DateTime<Utc>) -> String {
        let mut buffer = Vec::new();
        push(&mut buffer, time);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn m10_times_are_written_in_utc_with_microseconds() {
        let time = DateTime::from_timestamp(1_767_323_045, 7_890_000).unwrap();
        assert_eq!(pushed(time), "2026-01-02T03:04:05.007890Z");
        assert_eq!(
            pushed(DateTime::from_timestamp(-62_135_596_800, 0).unwrap()),
            "0001-01-01T00:00:00.000000Z"
        );
    }

    #[test]
    fn m09_a_time_needs_an_offset() {
        for text in [
            "2017-01-01T00:00:00",
            "2017-01-01 00:00:00",
            "2017-01-01",
            "2017-1-1T00:00:00Z",
            "2017-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2017-00-10T00:00:00Z",
            "2017-01-01T24:00:00Z",
            "2017-01-01T00:00:61Z",
            "2017-01-01T00:00:00.Z",
            "2017-01-01T00:00:00+0100",
            "2017-01-01T00:00:00+24:00",
            "2017-01-01T00:00:00Z ",
            "10000-01-01T00:00:00Z",
            "２017-01-01T00:00:00Z",
            "",
        ] {
            assert_eq!(parse(text), Err(InstantError::Unparsable), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_not_rounded() {
        assert_eq!(parse("2020-01-01T00:00:00.1234567Z"), Err(InstantError::FinerThanMicroseconds));
        assert_eq!(parse("2020-01-01T00:00:00.123456000Z"), Ok(1_577_836_800_123_456));
        assert_eq!(parse("2016-12-31T23:59:60Z"), Err(InstantError::LeapSecond));
    }

    #[test]
    fn edges_of_the_calendar() {
        assert_eq!(parse("0000-01-01T00:00:00Z"), Ok(-62_167_219_200_000_000));
        assert_eq!(parse("0001-01-01T00:00:00+14:00"), Ok(-62_135_647_200_000_000));
        assert_eq!(parse("9999-12-31t23:59:59.999999z"), Ok(253_402_300_799_999_999));
        assert_eq!(parse("2000-02-29 12:00:00-00:00"), Ok(951_825_600_000_000));
    }

    proptest! {
        #[test]
        fn agrees_with_chrono(
            microseconds in -62_135_596_800_000_000_i64..253_402_300_799_999_999,
            offset_minutes in -1439_i32..=1439,
        ) {
            let time = DateTime::from_timestamp_micros(microseconds).unwrap();
            prop_assert_eq!(parse(&pushed(time)), Ok(microseconds));
            let offset = chrono::FixedOffset::east_opt(offset_minutes * 60).unwrap();
            let local = time.with_timezone(&offset);
            if (0..=9999).contains(&local.year()) {
                prop_assert_eq!(parse(&local.to_rfc3339()), Ok(microseconds));
            }
        }

        #[test]
        fn never_panics(text in "[0-9TZtz:. +-]{0,40}|\\PC*") {
            if let Ok(microseconds) = parse(&text) {
                prop_assert_eq!(DateTime::parse_from_rfc3339(&text).unwrap().timestamp_micros(), microseconds);
            }
        }
    }
}
