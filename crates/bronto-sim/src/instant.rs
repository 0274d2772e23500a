//! Points in time as the account keeps them, and the many ways in which the API may write them.
//!
//! Bronto's documentation doesn't say which offset or fraction it returns, so both are behaviours. The
//! account keeps nanoseconds; what the fraction behaviour cuts off doesn't exist for anyone: filters,
//! responses and the truth all see the same cut instant.

use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

const NANOS: i64 = 1_000_000_000;

/// A point in time, in nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UtcInstant(i64);

impl UtcInstant {
    pub(crate) const MIN: Self = Self(i64::MIN);
    pub(crate) const MAX: Self = Self(i64::MAX);

    pub(crate) fn nanos(self) -> i64 {
        self.0
    }

    /// The instant this many nanoseconds later (earlier if negative).
    pub(crate) fn plus_nanos(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// The instant this many seconds later (earlier if negative).
    pub(crate) fn plus_seconds(self, seconds: i64) -> Self {
        self.plus_nanos(seconds.saturating_mul(NANOS))
    }

    /// Nanoseconds from `earlier` to this instant.
    pub(crate) fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The same instant without its fraction of a second.
    pub(crate) fn whole_second(self) -> Self {
        Self(self.0 - self.0.rem_euclid(NANOS))
    }

    pub(crate) fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(self.0)
    }

    /// Reads an `xs:dateTime`: any offset, `Z` or none (taken as UTC), 0 to 9 fraction digits.
    ///
    /// Instants beyond the range of nanoseconds (1677 to 2262) become the nearest end of it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let utc = match DateTime::parse_from_rfc3339(text) {
            Ok(instant) => instant.with_timezone(&Utc),
            Err(_) => NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()?.and_utc(),
        };
        Some(utc.into())
    }
}

impl From<DateTime<Utc>> for UtcInstant {
    fn from(instant: DateTime<Utc>) -> Self {
        let clamped = if instant.year() < 1970 { i64::MIN } else { i64::MAX };
        Self(instant.timestamp_nanos_opt().unwrap_or(clamped))
    }
}

/// How many digits of a second the account keeps and returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Fraction {
    /// Whole seconds, written without a fraction.
    None,
    /// Whole seconds, written with `.000`.
    Zeros,
    /// Three digits, always written.
    #[default]
    Millis,
    /// Three digits, trailing zeros left out.
    Trimmed,
    /// Six digits.
    Micros,
    /// Nine digits.
    Nanos,
}

impl Fraction {
    /// Cuts off what this behaviour doesn't keep.
    pub(crate) fn cut(self, instant: UtcInstant) -> UtcInstant {
        let unit = match self {
            Self::None | Self::Zeros => NANOS,
            Self::Millis | Self::Trimmed => 1_000_000,
            Self::Micros => 1_000,
            Self::Nanos => 1,
        };
        UtcInstant(instant.0 - instant.0.rem_euclid(unit))
    }

    fn digits(self) -> usize {
        match self {
            Self::None => 0,
            Self::Zeros | Self::Millis | Self::Trimmed => 3,
            Self::Micros => 6,
            Self::Nanos => 9,
        }
    }
}

/// The offset with which dates are returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReturnedZone {
    /// UTC, written `Z`.
    Z,
    /// UTC, written without any offset.
    Absent,
    /// The wall clock of a zone with its numeric offset, daylight saving included.
    Zone(Tz),
}

impl Default for ReturnedZone {
    fn default() -> Self {
        Self::Zone(Tz::America__New_York)
    }
}

/// How the server writes dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct DateForm {
    pub(crate) zone: ReturnedZone,
    pub(crate) fraction: Fraction,
}

impl DateForm {
    /// Appends the date as the server would write it.
    pub(crate) fn write(self, instant: UtcInstant, out: &mut Vec<u8>) {
        let instant = self.fraction.cut(instant);
        let utc = instant.to_utc().naive_utc();
        let offset_seconds = match self.zone {
            ReturnedZone::Z | ReturnedZone::Absent => 0,
            ReturnedZone::Zone(zone) => zone.offset_from_utc_datetime(&utc).fix().local_minus_utc(),
        };
        let local = utc + chrono::TimeDelta::seconds(i64::from(offset_seconds));
        write_civil(local, out);
        let trimmed = self.fraction == Fraction::Trimmed;
        write_fraction(local.nanosecond(), self.fraction.digits(), trimmed, out);
        match self.zone {
            ReturnedZone::Absent => {}
            ReturnedZone::Z => out.push(b'Z'),
            ReturnedZone::Zone(_) => write_offset(offset_seconds, out),
        }
    }
}

/// Appends the one canonical text of an instant: UTC, `Z`, no trailing zeros in the fraction.
pub(crate) fn write_canonical(instant: UtcInstant, out: &mut Vec<u8>) {
    let utc = instant.to_utc().naive_utc();
    write_civil(utc, out);
    write_fraction(utc.nanosecond(), 9, true, out);
    out.push(b'Z');
}

/// The canonical text of an instant.
pub(crate) fn canonical(instant: UtcInstant) -> String {
    let mut out = Vec::with_capacity(30);
    write_canonical(instant, &mut out);
    String::from_utf8(out).expect("digits and punctuation only")
}

fn write_civil(civil: NaiveDateTime, out: &mut Vec<u8>) {
    let year = u32::try_from(civil.year()).unwrap_or(0);
    write_two(year / 100, out);
    write_two(year % 100, out);
    for (separator, part) in [
        (b'-', civil.month()),
        (b'-', civil.day()),
        (b'T', civil.hour()),
        (b':', civil.minute()),
        (b':', civil.second()),
    ] {
        out.push(separator);
        write_two(part, out);
    }
}

fn write_two(number: u32, out: &mut Vec<u8>) {
    let digit = |value: u32| b'0' + u8::try_from(value % 10).expect("one digit");
    out.push(digit(number / 10));
    out.push(digit(number));
}

fn write_fraction(nanosecond: u32, digits: usize, trimmed: bool, out: &mut Vec<u8>) {
    if digits == 0 || (trimmed && nanosecond == 0) {
        return;
    }
    let text = format!("{nanosecond:09}");
    let kept = &text[..digits];
    let kept = if trimmed { kept.trim_end_matches('0') } else { kept };
    if !kept.is_empty() {
        out.push(b'.');
        out.extend_from_slice(kept.as_bytes());
    }
}

fn write_offset(seconds: i32, out: &mut Vec<u8>) {
    out.push(if seconds < 0 { b'-' } else { b'+' });
    let minutes = seconds.unsigned_abs() / 60;
    write_two(minutes / 60, out);
    out.push(b':');
    write_two(minutes % 60, out);
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    fn written(text: &str, zone: ReturnedZone, fraction: Fraction) -> String {
        let mut out = Vec::new();
        DateForm { zone, fraction }.write(UtcInstant::parse(text).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_form_of_the_same_instant_is_read_alike() {
        let expected = UtcInstant::parse("2019-03-04T19:05:09Z").unwrap();
        for text in [
            "2019-03-04T14:05:09-05:00",
            "2019-03-04T19:05:09.000Z",
            "2019-03-04T19:05:09",
            " 2019-03-05T00:35:09+05:30 ",
        ] {
            assert_eq!(UtcInstant::parse(text), Some(expected), "{text}");
        }
        assert_eq!(UtcInstant::parse("yesterday"), None);
    }

    #[test]
    fn zones_follow_daylight_saving() {
        let zone = ReturnedZone::Zone(Tz::America__New_York);
        assert_eq!(
            written("2026-11-01T05:30:00.25Z", zone, Fraction::Millis),
            "2026-11-01T01:30:00.250-04:00"
        );
        assert_eq!(
            written("2026-11-01T06:30:00.25Z", zone, Fraction::None),
            "2026-11-01T01:30:00-05:00"
        );
    }

    #[test]
    fn fractions_are_cut_never_rounded() {
        let text = "2026-01-02T03:04:05.999999999Z";
        let z = ReturnedZone::Z;
        assert_eq!(written(text, z, Fraction::None), "2026-01-02T03:04:05Z");
        assert_eq!(written(text, z, Fraction::Zeros), "2026-01-02T03:04:05.000Z");
        assert_eq!(written(text, z, Fraction::Micros), "2026-01-02T03:04:05.999999Z");
        assert_eq!(
            written("2026-01-02T03:04:05.5Z", z, Fraction::Trimmed),
            "2026-01-02T03:04:05.5Z"
        );
        assert_eq!(
            written(text, ReturnedZone::Absent, Fraction::Nanos),
            "2026-01-02T03:04:05.999999999"
        );
    }

    #[test]
    fn the_canonical_text_has_no_trailing_zeros() {
        let text = |input| canonical(UtcInstant::parse(input).unwrap());
        assert_eq!(text("2019-03-04T14:05:09.000-05:00"), "2019-03-04T19:05:09Z");
        assert_eq!(text("2019-03-04T14:05:09.120Z"), "2019-03-04T14:05:09.12Z");
    }
}
