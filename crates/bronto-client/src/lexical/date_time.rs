//! Instants as the service writes them, without loss.

use std::cmp::Ordering;
use std::fmt;

use chrono::{Timelike, Utc};

use super::trimmed;
use super::words::{first_two, is_of_form};

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// From 0000-03-01.
const DAYS_TO_1970: i64 = 719_468;

/// An `xs:dateTime` as an instant: whole seconds since 1970 in UTC, and the digits of the
/// fraction, however many there are. Compares as an instant.
///
/// Years 0001 to 9999 are understood, before and after the change to UTC. A date-time without a
/// zone is taken as UTC and says so.
///
/// ```
/// use bronto_client::lexical::DateTime;
///
/// let instant = DateTime::parse("2019-03-04T14:05:09.120-05:00")?;
/// assert_eq!(instant.to_string(), "2019-03-04T19:05:09.12Z");
/// assert_eq!(instant.microseconds(), Some(1_551_726_309_120_000));
/// assert!(DateTime::parse("2019-03-04 14:05:09").is_err());
/// # Ok::<(), bronto_client::lexical::DateTimeError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DateTime<'a> {
    seconds: i64,
    fraction: &'a str,
    zone_missing: bool,
    /// Date and time of day as they came, where the day is the same in UTC.
    same_day: Option<&'a [u8; 19]>,
}

/// Why a text is no [`DateTime`]. Never contains the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DateTimeError {
    /// The text doesn't have the form `YYYY-MM-DDTHH:MM:SS[.fraction][zone]`.
    #[error("The date-time does not have the form `YYYY-MM-DDTHH:MM:SS`")]
    Form,
    /// A part is outside its range, such as month 13 or 30 February.
    #[error("The date-time names no real date or time")]
    Range,
    /// The year is not between 0001 and 9999.
    #[error("The date-time's year is not between 0001 and 9999")]
    Year,
}

impl<'a> DateTime<'a> {
    /// Reads an `xs:dateTime`.
    ///
    /// # Errors
    ///
    /// [`DateTimeError`] for everything outside the type's lexical space, and for years that
    /// don't have four digits.
    pub fn parse(text: &'a str) -> Result<Self, DateTimeError> {
        let text = trimmed(text);
        let bytes = text.as_bytes();
        let clock: &[u8; 19] = bytes.first_chunk().ok_or(DateTimeError::Form)?;
        let [year, month, day, hour, minute, second] = numbers(clock).ok_or(DateTimeError::Form)?;
        // `clock` is ASCII up to here, so 19 is a character boundary.
        let (fraction, zone) = split_fraction(&text[19..])?;
        if hour > 24 || minute > 59 || second > 59 {
            return Err(DateTimeError::Range);
        }
        if hour == 24 && (minute, second, fraction) != (0, 0, "") {
            return Err(DateTimeError::Range);
        }
        let offset_minutes = offset(zone)?;
        if year == 0 {
            return Err(DateTimeError::Year);
        }
        let of_day = i64::from(hour * 3600 + minute * 60 + second);
        let days = days_since_1970(year, month, day).ok_or(DateTimeError::Range)?;
        let local = days * SECONDS_PER_DAY + of_day;
        let seconds = local - i64::from(offset_minutes.unwrap_or(0)) * 60;
        if !(FIRST_SECOND..=LAST_SECOND).contains(&seconds) {
            return Err(DateTimeError::Year);
        }
        let is_same_day = hour < 24 && seconds.div_euclid(SECONDS_PER_DAY) == days;
        let same_day = is_same_day.then_some(clock);
        Ok(Self { seconds, fraction, zone_missing: offset_minutes.is_none(), same_day })
    }

    /// What instants are compared by: digits without trailing zeros compare like the fractions
    /// they stand for.
    fn instant(&self) -> (i64, &'a str) {
        (self.seconds, self.fraction)
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// The digits of the fraction, without trailing zeros; empty for a whole second.
    pub fn fraction(self) -> &'a str {
        self.fraction
    }

    /// Whether the text named no zone, so that UTC was assumed.
    pub fn zone_missing(self) -> bool {
        self.zone_missing
    }

    /// Microseconds since 1970, or none if that would lose digits.
    pub fn microseconds(self) -> Option<i64> {
        let fraction = scaled_fraction(self.fraction, 6)?;
        // Seconds of years up to 9999 times a million fit by far.
        Some(self.seconds * MICROS_PER_SECOND + fraction)
    }

    /// Nanoseconds since 1970, or none if that would lose digits or doesn't fit (outside the
    /// years 1678 to 2261).
    pub fn nanoseconds(self) -> Option<i64> {
        let fraction = scaled_fraction(self.fraction, 9)?;
        self.seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(fraction)
    }

    /// The instant, or none if it has digits finer than nanoseconds.
    pub fn to_utc(self) -> Option<chrono::DateTime<Utc>> {
        let nanoseconds = u32::try_from(scaled_fraction(self.fraction, 9)?).ok()?;
        chrono::DateTime::from_timestamp(self.seconds, nanoseconds)
    }

    /// Appends the canonical text: UTC with `Z`, the fraction without trailing zeros. Each
    /// instant has exactly one.
    pub fn write(self, out: &mut String) {
        let clock = self.clock();
        out.push_str(std::str::from_utf8(&clock).expect("digits and separators are ASCII"));
        if !self.fraction.is_empty() {
            out.push('.');
            out.push_str(self.fraction);
        }
        out.push('Z');
    }

    /// The canonical text in place, and its length, unless it has more than eleven digits of the fraction.
    #[inline]
    pub fn short_text(self) -> Option<([u8; 32], usize)> {
        let mut text = [0; 32];
        text[..19].copy_from_slice(&self.clock());
        let mut end = 19;
        if !self.fraction.is_empty() {
            text[19] = b'.';
            end = 20 + self.fraction.len();
            let digits = text[..31].get_mut(20..end)?;
            digits.iter_mut().zip(self.fraction.bytes()).for_each(|(place, digit)| *place = digit);
        }
        text[end] = b'Z';
        Some((text, end + 1))
    }

    /// A text like the canonical one in place, and its length, but with six digits of the fraction, whatever it has.
    #[inline]
    pub fn text_of_microseconds(self) -> ([u8; 32], usize) {
        let mut text = *b"0000-00-00T00:00:00.000000Z     ";
        text[..19].copy_from_slice(&self.clock());
        text[20..26]
            .iter_mut()
            .zip(self.fraction.bytes())
            .for_each(|(place, digit)| *place = digit);
        (text, 27)
    }

    /// Appends the bytes of the canonical text.
    pub fn write_bytes(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.clock());
        if !self.fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(self.fraction.as_bytes());
        }
        out.push(b'Z');
    }

    /// Date and time of day in UTC, to the second.
    fn clock(self) -> [u8; 19] {
        let (days, of_day) = (self.days(), self.second_of_day());
        let mut text = self.same_day.copied().unwrap_or_else(|| {
            // Four digits suffice: the years were checked.
            let (year, month, day) = civil(days);
            let mut text = *b"0000-00-00T00:00:00";
            for (at, pair) in [(0, year / 100), (2, year % 100), (5, month), (8, day)] {
                put_pair(&mut text, at, u32::try_from(pair).unwrap_or_default());
            }
            text
        });
        put_pair(&mut text, 11, of_day / 3600);
        put_pair(&mut text, 14, of_day / 60 % 60);
        // Offsets are whole minutes.
        if self.same_day.is_none() {
            put_pair(&mut text, 17, of_day % 60);
        }
        text
    }

    fn days(self) -> i64 {
        self.seconds.div_euclid(SECONDS_PER_DAY)
    }

    fn second_of_day(self) -> u32 {
        u32::try_from(self.seconds.rem_euclid(SECONDS_PER_DAY)).unwrap_or_default()
    }
}

/// Writes a number below 100 as two digits.
#[inline]
fn put_pair(text: &mut [u8; 19], at: usize, pair: u32) {
    // What is below 100 fits.
    let pair = u8::try_from(pair).unwrap_or_default();
    text[at] = b'0' + pair / 10;
    text[at + 1] = b'0' + pair % 10;
}

impl PartialEq for DateTime<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.instant() == other.instant()
    }
}

impl Eq for DateTime<'_> {}

impl PartialOrd for DateTime<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DateTime<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.instant().cmp(&other.instant())
    }
}

impl fmt::Display for DateTime<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(32);
        self.write(&mut text);
        formatter.pad(&text)
    }
}

/// The canonical text of an instant, in the same form as [`DateTime::write`].
///
/// ```
/// use bronto_client::lexical::utc_text;
///
/// assert_eq!(utc_text(chrono::DateTime::UNIX_EPOCH), "1970-01-01T00:00:00Z");
/// ```
pub fn utc_text(instant: chrono::DateTime<Utc>) -> String {
    let mut text = instant.format("%Y-%m-%dT%H:%M:%S").to_string();
    let nanoseconds = instant.nanosecond() % 1_000_000_000;
    if nanoseconds != 0 {
        let digits = format!(".{nanoseconds:09}");
        text.push_str(digits.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// 0001-01-01T00:00:00Z.
const FIRST_SECOND: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z.
const LAST_SECOND: i64 = 253_402_300_799;

/// The numbers of a date and time of day, none if they are not in their form. Eight bytes are looked at at once: dates are
/// a quarter of what contacts have.
#[inline]
fn numbers(clock: &[u8; 19]) -> Option<[u32; 6]> {
    const FORMS: [u64; 3] = [
        u64::from_le_bytes(*b"0000-00-"),
        u64::from_le_bytes(*b"00T00:00"),
        u64::from_le_bytes(*b"00:00:00"),
    ];
    let (words, _) = clock.as_chunks::<8>();
    let texts = [&words[0], &words[1], clock.last_chunk()?];
    let [date, day, time] = [0, 1, 2].map(|at| u64::from_le_bytes(*texts[at]) ^ FORMS[at]);
    if !is_of_form([date, day, time], FORMS) {
        return None;
    }
    let year = first_two(date) * 100 + first_two(date >> 16);
    let [month, day, hour] = [first_two(date >> 40), first_two(day), first_two(day >> 24)];
    Some([year, month, day, hour, first_two(time >> 24), first_two(time >> 48)])
}

/// The value of the first two bytes, which must be digits.
fn number(pair: &[u8]) -> Result<u32, DateTimeError> {
    match *pair {
        [tens, ones, ..] if tens.is_ascii_digit() && ones.is_ascii_digit() => {
            Ok(u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
        }
        _ => Err(DateTimeError::Form),
    }
}

/// Splits what follows the seconds into fraction digits, without trailing zeros, and zone.
fn split_fraction(rest: &str) -> Result<(&str, &str), DateTimeError> {
    let Some(rest) = rest.strip_prefix('.') else {
        return Ok(("", rest));
    };
    let end = rest.bytes().take_while(u8::is_ascii_digit).count();
    if end == 0 {
        return Err(DateTimeError::Form);
    }
    let (digits, zone) = rest.split_at(end);
    let zeros = digits.bytes().rev().take_while(|digit| *digit == b'0').count();
    Ok((&digits[..end - zeros], zone))
}

/// The zone's minutes east of UTC; none if the text names no zone.
fn offset(zone: &str) -> Result<Option<i32>, DateTimeError> {
    let bytes = zone.as_bytes();
    match *bytes {
        [] => Ok(None),
        [b'Z'] => Ok(Some(0)),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (number(&bytes[1..3])?, number(&bytes[4..6])?);
            if minutes > 59 || hours * 60 + minutes > 14 * 60 {
                return Err(DateTimeError::Range);
            }
            let east = i32::try_from(hours * 60 + minutes).map_err(|_| DateTimeError::Range)?;
            Ok(Some(if sign == b'-' { -east } else { east }))
        }
        _ => Err(DateTimeError::Form),
    }
}

/// The fraction in units of 10^-`digits` seconds, or none if it has more digits.
fn scaled_fraction(fraction: &str, digits: usize) -> Option<i64> {
    let missing = digits.checked_sub(fraction.len())?;
    let value = fraction.bytes().fold(0, |value, byte| value * 10 + i64::from(byte - b'0'));
    (0..missing).try_fold(value, |value, _| value.checked_mul(10))
}

/// Days from 1970-01-01 to a date, none if there is no such date.
fn days_since_1970(year: u32, month: u32, day: u32) -> Option<i64> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Counted from 0000-03-01, so that the leap day is a year's last.
    let (years, months) =
        if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let day_of_year = (153 * months + 2) / 5 + day - 1;
    let days = years * 365 + years / 4 - years / 100 + years / 400 + day_of_year;
    Some(i64::from(days) - DAYS_TO_1970)
}

/// Year, month and day of a day counted from 1970-01-01, for years from 1 on.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01, so that the leap day is a year's last.
    let shifted = days + DAYS_TO_1970;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed parse should stop the test")]

    use chrono::Datelike;
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        DateTime::parse(text).unwrap().to_string()
    }

    #[test]
    fn every_form_of_one_instant_has_one_text() {
        for text in [
            "2019-03-04T19:05:09.12Z",
            "2019-03-04T19:05:09.120000000000Z",
            "2019-03-04T14:05:09.12-05:00",
            "2019-03-05T09:05:09.12+14:00",
            "2019-03-04T19:05:09.12",
            " \n2019-03-04T19:05:09.12+00:00\t",
        ] {
            assert_eq!(canonical(text), "2019-03-04T19:05:09.12Z", "{text}");
        }
        assert_eq!(canonical("2018-12-31T24:00:00Z"), "2019-01-01T00:00:00Z");
        assert_eq!(canonical("2020-02-29T23:00:00-02:00"), "2020-03-01T01:00:00Z");
        assert_eq!(canonical("1969-12-31T23:59:59.5Z"), "1969-12-31T23:59:59.5Z");
        assert_eq!(canonical("0001-01-01T00:00:00Z"), "0001-01-01T00:00:00Z");
        assert_eq!(canonical("9999-12-31T23:59:59.9999999999Z"), "9999-12-31T23:59:59.9999999999Z");
    }

    #[test]
    fn a_missing_zone_is_said() {
        assert!(DateTime::parse("2019-03-04T00:00:00").unwrap().zone_missing());
        assert!(!DateTime::parse("2019-03-04T00:00:00Z").unwrap().zone_missing());
    }

    #[test]
    fn fine_digits_are_kept_and_never_rounded() {
        let at = |text| DateTime::parse(text).unwrap();
        assert_eq!(at("1970-01-01T00:00:01.000001Z").microseconds(), Some(1_000_001));
        assert_eq!(at("1970-01-01T00:00:01.0000010Z").microseconds(), Some(1_000_001));
        assert_eq!(at("1970-01-01T00:00:01.0000001Z").microseconds(), None);
        assert_eq!(at("1970-01-01T00:00:01.0000001Z").nanoseconds(), Some(1_000_000_100));
        assert_eq!(at("1970-01-01T00:00:01.0000000001Z").nanoseconds(), None);
        assert_eq!(at("1970-01-01T00:00:01.0000000001Z").to_utc(), None);
        assert_eq!(at("9999-12-31T23:59:59Z").nanoseconds(), None);
        assert_eq!(at("1969-12-31T23:59:59.75Z").microseconds(), Some(-250_000));
        assert_eq!(at("1969-12-31T23:59:59.75Z").nanoseconds(), Some(-250_000_000));
    }

    #[test]
    fn instants_compare_as_instants() {
        let at = |text| DateTime::parse(text).unwrap();
        assert!(at("2019-03-04T00:00:00.5Z") > at("2019-03-04T00:00:00.49Z"));
        assert!(at("2019-03-04T00:00:00.1Z") < at("2019-03-04T00:00:00.10000001Z"));
        assert!(at("2019-03-04T00:00:00+01:00") < at("2019-03-04T00:00:00Z"));
        assert_eq!(at("2019-03-04T00:00:00"), at("2019-03-04T01:00:00.0+01:00"));
    }

    #[test]
    fn what_is_no_date_time_is_refused() {
        use DateTimeError::{Form, Range, Year};
        for (text, error) in [
            ("", Form),
            ("2019-03-04", Form),
            ("2019-03-04T00:00Z", Form),
            ("2019-03-04 00:00:00Z", Form),
            ("2019-03-04t00:00:00Z", Form),
            ("2019-03-04T00:00:00z", Form),
            ("2019-03-04T00:00:00.Z", Form),
            ("2019-03-04T00:00:00,5Z", Form),
            ("2019-03-04T00:00:00+0100", Form),
            ("2019-03-04T00:00:00+01", Form),
            ("2019-03-04T00:00:00 UTC", Form),
            ("+019-03-04T00:00:00Z", Form),
            ("12019-03-04T00:00:00Z", Form),
            ("-2019-03-04T00:00:00Z", Form),
            ("2019-03-04T00:00:0éZ", Form),
            ("2019-13-04T00:00:00Z", Range),
            ("2019-02-29T00:00:00Z", Range),
            ("2019-03-04T24:00:01Z", Range),
            ("2019-03-04T24:00:00.1Z", Range),
            ("2019-03-04T23:59:60Z", Range),
            ("2019-03-04T00:00:00+14:01", Range),
            ("0000-01-01T00:00:00Z", Year),
            ("0001-01-01T00:00:00+00:01", Year),
            ("9999-12-31T23:59:59-00:01", Year),
        ] {
            assert_eq!(DateTime::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn every_day_is_counted_as_chrono_counts() {
        for year in (1..=2500).chain(9998..=9999) {
            for (month, day) in (0..=13).flat_map(|month| (0..=32).map(move |day| (month, day))) {
                let date = chrono::NaiveDate::from_ymd_opt(year.try_into().unwrap(), month, day);
                let days = date.map(|date| i64::from(date.to_epoch_days()));
                assert_eq!(days_since_1970(year, month, day), days, "{year}-{month}-{day}");
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_chrono(
            seconds in FIRST_SECOND + 86_400..LAST_SECOND - 86_400,
            nanoseconds in 0_u32..1_000_000_000,
            offset_minutes in -840_i32..=840,
        ) {
            let instant = chrono::DateTime::from_timestamp(seconds, nanoseconds).unwrap();
            let zone = chrono::FixedOffset::east_opt(offset_minutes * 60).unwrap();
            let text = instant.with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S%.9f%:z").to_string();
            let parsed = DateTime::parse(&text).unwrap();
            prop_assert_eq!(parsed.to_utc(), Some(instant));
            prop_assert_eq!(parsed.to_string(), utc_text(instant));
            prop_assert_eq!(canonical(&parsed.to_string()), parsed.to_string());
            let date = instant.date_naive();
            let civil_date = civil(i64::from(date.to_epoch_days()));
            let expected = (i64::from(date.year()), i64::from(date.month()), i64::from(date.day()));
            prop_assert_eq!(civil_date, expected);
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            if let Ok(instant) = DateTime::parse(&text) {
                prop_assert_eq!(canonical(&text), instant.to_string());
            }
        }
    }
}
