//! Date-times in the form in which the service writes almost all of them, from text to text.
//!
//! A contact has up to nine of them. What [`DateTime`](super::DateTime) does for any form is done here for
//! `YYYY-MM-DDTHH:MM:SS.fff` with an offset or `Z`, eight bytes at once, and the day moves by one at most, within its
//! month. Everything else is left to it.

use super::words::{first_two, is_of_form, two_digits};

/// How many bytes of a document are looked at.
const GLANCE: usize = 32;

const DATE: u64 = u64::from_le_bytes(*b"0000-00-");
const CLOCK: u64 = u64::from_le_bytes(*b"00T00:00");
const SECONDS: u64 = u64::from_le_bytes(*b":00.000-");
const ZONE: u64 = u64::from_le_bytes(*b"00:00\0\0\0");
const ZONE_BYTES: u64 = u64::from_le_bytes(*b"\xFF\xFF\xFF\xFF\xFF\0\0\0");

const MINUTES_OF_DAY: u32 = 24 * 60;

/// A date-time of the usual form, in UTC.
#[derive(Clone, Copy, Debug)]
pub struct UsualDateTime {
    /// `YYYY-MM-`
    date: u64,
    /// `DDTHH:MM`
    clock: u64,
    /// `:SS.fff`, and a byte that doesn't count.
    seconds: u64,
    /// The digits of the fraction, as numbers, the first one lowest.
    fraction: u32,
}

impl UsualDateTime {
    /// Reads the first bytes of `content`, so many, if they are a date-time of the usual form, and enough follows.
    ///
    /// ```
    /// use bronto_client::lexical::UsualDateTime;
    ///
    /// let content = b"2019-03-04T21:05:09.120-05:00</created>";
    /// let (text, length) = UsualDateTime::read(content, 29).unwrap().short_text();
    /// assert_eq!(text[..length], *b"2019-03-05T02:05:09.12Z");
    /// ```
    #[inline]
    pub fn read(content: &[u8], length: usize) -> Option<Self> {
        let bytes: &[u8; GLANCE] = content.first_chunk()?;
        let (words, _) = bytes.as_chunks::<8>();
        let [date, clock, seconds, zone] = [0, 1, 2, 3].map(|at| u64::from_le_bytes(words[at]));
        // The last byte is a sign, or the zone.
        let (sign, zone) = match (length, bytes[23]) {
            (29, b'+') => (-1, zone & ZONE_BYTES),
            (29, b'-') => (1, zone & ZONE_BYTES),
            (24, b'Z') => (1, ZONE),
            _ => return None,
        };
        let seconds = seconds << 8 >> 8 | u64::from(b'-') << 56;
        let [of_date, of_clock] = [date ^ DATE, clock ^ CLOCK];
        let [of_seconds, of_zone] = [seconds ^ SECONDS, zone ^ ZONE];
        if !is_of_form([of_date, of_clock, of_seconds, of_zone], [DATE, CLOCK, SECONDS, ZONE]) {
            return None;
        }
        let month = first_two(of_date >> 40);
        let [day, hour, minute] = [0, 24, 48].map(|at| first_two(of_clock >> at));
        let second = first_two(of_seconds >> 8);
        let [east_hours, east_minutes] = [0, 24].map(|at| first_two(of_zone >> at));
        let has_year = of_date << 32 != 0;
        // The last days of a month are some other's affair.
        let last_day = if month == 2 { 28 } else { 30 };
        let is_real = (1..=12).contains(&month) && hour < 24 && minute < 60 && second < 60;
        let zone_minutes = east_hours * 60 + east_minutes;
        if !(has_year && is_real && east_minutes < 60 && zone_minutes <= 14 * 60) {
            return None;
        }
        // Counted from the day before.
        let local = MINUTES_OF_DAY + hour * 60 + minute;
        let minutes = local.checked_add_signed(sign * i32::try_from(zone_minutes).ok()?)?;
        let is_same_or_next = u32::from(minutes >= MINUTES_OF_DAY);
        let is_next = u32::from(minutes >= 2 * MINUTES_OF_DAY);
        let days = is_same_or_next + is_next;
        let (utc_day, of_day) = (day + days, minutes - days * MINUTES_OF_DAY);
        if !(2..=last_day + 1).contains(&utc_day) || !(1..=last_day).contains(&day) {
            return None;
        }
        let (hour, minute) = (of_day / 60, of_day % 60);
        let clock =
            CLOCK + two_digits(utc_day - 1) + (two_digits(hour) << 24) + (two_digits(minute) << 48);
        let fraction = u32::try_from(of_seconds << 8 >> 40).ok()?;
        Some(Self { date, clock, seconds, fraction })
    }

    /// The canonical text in place, and its length: that of [`DateTime::short_text`](super::DateTime::short_text).
    #[inline]
    pub fn short_text(self) -> ([u8; 32], usize) {
        let digits = (u32::BITS - self.fraction.leading_zeros()).div_ceil(8);
        // Behind the seconds, or behind the point and the digits.
        let behind = if digits == 0 { 3 } else { 4 + digits };
        let kept = self.seconds & ((1 << (8 * behind)) - 1);
        self.text(kept | u64::from(b'Z') << (8 * behind), 0, 17 + behind as usize)
    }

    /// The text with six digits of the fraction in place, and its length: that of
    /// [`DateTime::text_of_microseconds`](super::DateTime::text_of_microseconds).
    #[inline]
    pub fn text_of_microseconds(self) -> ([u8; 32], usize) {
        let seconds = self.seconds << 8 >> 8 | u64::from(b'0') << 56;
        self.text(seconds, u64::from_le_bytes(*b"00Z\0\0\0\0\0"), 27)
    }

    #[inline(always)]
    fn text(self, seconds: u64, rest: u64, length: usize) -> ([u8; 32], usize) {
        let mut text = [0; GLANCE];
        let (words, _) = text.as_chunks_mut::<8>();
        let all = [self.date, self.clock, seconds, rest];
        words.iter_mut().zip(all).for_each(|(place, word)| *place = word.to_le_bytes());
        (text, length)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed parse should stop the test")]

    use proptest::prelude::*;

    use super::super::DateTime;
    use super::*;

    fn check(text: &str) -> Result<bool, TestCaseError> {
        let content = format!("{text}</lastDeliveryDate><next>");
        let Some(usual) = UsualDateTime::read(content.as_bytes(), text.len()) else {
            return Ok(false);
        };
        let exact = DateTime::parse(text).unwrap();
        let of = |(text, length): ([u8; 32], usize)| text[..length].to_vec();
        prop_assert_eq!(of(usual.short_text()), exact.to_string().into_bytes());
        prop_assert_eq!(of(usual.text_of_microseconds()), of(exact.text_of_microseconds()));
        Ok(true)
    }

    #[test]
    fn every_minute_of_some_days_in_some_zones_is_exact() {
        let mut read = 0;
        for day in
            ["0001-01-01", "2020-02-28", "2020-02-29", "2021-02-28", "2019-12-31", "9999-12-30"]
        {
            for zone in ["Z", "+00:00", "-00:00", "-05:00", "+05:45", "-14:00", "+14:00", "+14:01"]
            {
                for minute in 0..24 * 60 {
                    let (hour, minute) = (minute / 60, minute % 60);
                    let text = format!("{day}T{hour:02}:{minute:02}:09.120{zone}");
                    read += u32::from(check(&text).unwrap());
                }
            }
        }
        assert!(read > 20_000, "{read}");
    }

    #[test]
    fn what_is_not_usual_is_left_to_others() {
        for text in [
            "2019-03-04T14:05:09-05:00",
            "2019-03-04T14:05:09.1200-05:00",
            "2019-03-04T14:05:09.120",
            "2019-03-04T14:05:09.120z",
            "2019-03-04T24:00:00.000Z",
            "2019-03-04T23:60:00.000Z",
            "2019-03-04T23:00:60.000Z",
            "2019-00-04T23:00:00.000Z",
            "2019-13-04T23:00:00.000Z",
            "2019-03-00T23:00:00.000Z",
            "2019-02-29T23:00:00.000Z",
            "0000-03-04T23:00:00.000Z",
            "2019-03-04T23:00:00.000+14:01",
            "2019-03-04T23:00:00.000+01:60",
            "2019-03-04 23:00:00.000Z",
            "2019-03-04T23:00:00,000Z",
            "2019-03-04T23:00:00.0\u{e9}Z",
        ] {
            assert!(!check(text).unwrap(), "{text}");
        }
        assert!(check("2019-03-04T23:00:00.000Z").unwrap());
        assert!(
            UsualDateTime::read(b"2019-03-04T23:00:00.000Z</a>", 24).is_none(),
            "too little follows"
        );
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_exact_reading_says(
            year in 0_u32..10_000, month in 0_u32..14, day in 0_u32..33,
            hour in 0_u32..26, minute in 0_u32..62, second in 0_u32..62, millisecond in 0_u32..1000,
            rounded in any::<bool>(), east in (0_u32..16, 0_u32..62), zone in "[-+Z]",
        ) {
            let fraction = if rounded { millisecond / 100 * 100 } else { millisecond };
            let zone = match zone.as_str() {
                "Z" => zone,
                sign => format!("{sign}{:02}:{:02}", east.0, east.1),
            };
            let text = format!(
                "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}{zone}"
            );
            check(&text)?;
        }

        #[test]
        fn no_byte_is_taken_for_another(at in 0_usize..29, byte in any::<u8>(), zone in "-05:00|[+]05:30") {
            let mut bytes = format!("2019-03-04T14:05:09.120{zone}").into_bytes();
            bytes[at] = byte;
            match String::from_utf8(bytes.clone()) {
                Ok(text) => drop(check(&text)?),
                Err(_) => {
                    bytes.extend_from_slice(b"</created>");
                    prop_assert!(UsualDateTime::read(&bytes, 29).is_none());
                }
            }
        }
    }
}
