//! The distances between starts that Stitch offers.

use std::fmt;

use chrono::TimeDelta;

/// A distance between starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Frequency {
    /// 30 minutes.
    HalfHour,
    /// 1 hour.
    Hour,
    /// 3 hours. Stitch's page offers it though its API refuses it; here both take it.
    ThreeHours,
    /// 6 hours.
    SixHours,
    /// 12 hours.
    TwelveHours,
    /// 24 hours.
    Day,
}

impl Frequency {
    /// All of them, the shortest first.
    pub const ALL: [Self; 6] = [
        Self::HalfHour,
        Self::Hour,
        Self::ThreeHours,
        Self::SixHours,
        Self::TwelveHours,
        Self::Day,
    ];

    /// As it is written: `30m`, `1h`, `3h`, `6h`, `12h` or `24h`.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::HalfHour => "30m",
            Self::Hour => "1h",
            Self::ThreeHours => "3h",
            Self::SixHours => "6h",
            Self::TwelveHours => "12h",
            Self::Day => "24h",
        }
    }

    /// The number of minutes, as Stitch's API writes it.
    #[must_use]
    pub const fn minutes(self) -> u32 {
        match self {
            Self::HalfHour => 30,
            Self::Hour => 60,
            Self::ThreeHours => 180,
            Self::SixHours => 360,
            Self::TwelveHours => 720,
            Self::Day => 1440,
        }
    }

    /// The frequency that is written so, if it is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|frequency| frequency.text() == text)
    }

    /// The frequency of so many minutes, if Stitch has one.
    #[must_use]
    pub fn from_minutes(minutes: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|frequency| frequency.minutes() == minutes)
    }

    /// The distance.
    #[must_use]
    pub fn length(self) -> TimeDelta {
        TimeDelta::minutes(i64::from(self.minutes()))
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}
