//! A schedule as it is written, and the starts it has.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDateTime, SecondsFormat, SubsecRound, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use serde::{Deserialize, Serialize};

use crate::{CronExpression, Frequency, ScheduleError, zone};

/// How much alike two names must be (0 to 1) for one to be suggested instead of the other.
const LIKENESS: f64 = 0.6;

/// The years that are reckoned with, so that no arithmetic meets the end of the calendar.
const YEARS: std::ops::Range<i32> = 1..9_000;

/// A schedule as it is written in a configuration file, sent to the API and stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleFields {
    /// A frequency: `30m`, `1h`, `3h`, `6h`, `12h` or `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// A point of the grid: an RFC 3339 date-time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<String>,
    /// A cron expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// A name of the IANA database, for `anchor` and `cron`; UTC if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Whether the last start that was missed while the service was down is made good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub catch_up: bool,
}

/// When an integration runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    timing: Timing,
    /// Whether the last start that was missed while the service was down is made good.
    catch_up: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Timing {
    /// Counted from the last start.
    Every(Frequency),
    /// On a fixed grid.
    Anchored { frequency: Frequency, anchor: DateTime<Utc>, zone: Tz },
    /// By the calendar.
    Cron { expression: Box<CronExpression>, zone: Tz },
}

/// What a schedule has to know of an integration: a Replication Frequency counts from it, the other kinds don't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// When the integration was made.
    pub created_at: DateTime<Utc>,
    /// The slot of the last run, or the start of a manual one; none before the first. It is the slot and not the moment at
    /// which the run was really begun, or the grid would drift by a little at every start. Fractions of a second are cut.
    pub last_start: Option<DateTime<Utc>>,
}

impl Schedule {
    /// Makes a schedule of what is written.
    ///
    /// # Errors
    /// When Stitch would refuse it, or when `zone` is none or has no meaning. Whether a cron expression ever has a start
    /// is a matter of time: see [`Schedule::is_idle`].
    pub fn parse(fields: &ScheduleFields) -> Result<Self, ScheduleError> {
        let zone = fields.zone.as_deref().map(parse_zone).transpose()?;
        let timing = match (&fields.every, &fields.anchor, &fields.cron) {
            (Some(_), _, Some(_)) => return Err(ScheduleError::Both),
            (None, _, None) => return Err(ScheduleError::Nothing),
            (None, Some(_), Some(_)) => return Err(ScheduleError::AnchorWithCron),
            (None, None, Some(text)) => Timing::Cron {
                expression: Box::new(CronExpression::parse(text)?),
                zone: zone.unwrap_or(Tz::UTC),
            },
            (Some(text), anchor, None) => {
                let frequency = Frequency::parse(text)
                    .ok_or_else(|| ScheduleError::Frequency(text.chars().take(24).collect()))?;
                match (anchor, zone) {
                    (None, None) => Timing::Every(frequency),
                    (None, Some(_)) => return Err(ScheduleError::ZoneWithoutAnchor),
                    (Some(anchor), zone) => Timing::Anchored {
                        frequency,
                        anchor: parse_anchor(anchor)?,
                        zone: zone.unwrap_or(Tz::UTC),
                    },
                }
            }
        };
        Ok(Self { timing, catch_up: fields.catch_up })
    }

    /// Whether it has no start after `now`: its years have passed, or it names days that never come.
    #[must_use]
    pub fn is_idle(&self, now: DateTime<Utc>) -> bool {
        let history = History { created_at: now, last_start: Some(now) };
        self.next_after(now, &history).is_none()
    }

    /// The schedule as it is stored: parsing it gives the same schedule.
    #[must_use]
    pub fn fields(&self) -> ScheduleFields {
        let mut fields = ScheduleFields { catch_up: self.catch_up, ..ScheduleFields::default() };
        let named = |zone: Tz| (zone != Tz::UTC).then(|| zone.name().to_owned());
        match &self.timing {
            Timing::Every(frequency) => fields.every = Some(frequency.text().to_owned()),
            Timing::Anchored { frequency, anchor, zone } => {
                fields.every = Some(frequency.text().to_owned());
                fields.anchor = Some(anchor_text(*anchor));
                fields.zone = named(*zone);
            }
            Timing::Cron { expression, zone } => {
                fields.cron = Some(expression.to_string());
                fields.zone = named(*zone);
            }
        }
        fields
    }

    /// Whether the last start that was missed while the service was down is made good.
    #[must_use]
    pub fn catches_up(&self) -> bool {
        self.catch_up
    }

    /// The zone whose clock it goes by; UTC where it names none.
    #[must_use]
    pub fn zone(&self) -> Tz {
        match self.timing {
            Timing::Every(_) => Tz::UTC,
            Timing::Anchored { zone, .. } | Timing::Cron { zone, .. } => zone,
        }
    }

    /// Whether starts are counted from the last start, so that a manual one moves those that follow.
    #[must_use]
    pub fn counts_from_last_start(&self) -> bool {
        matches!(
            self.timing,
            Timing::Every(_) | Timing::Anchored { frequency: Frequency::HalfHour, .. }
        )
    }

    /// What the user should know though the schedule is valid.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        match self.timing {
            Timing::Anchored { frequency: Frequency::HalfHour, .. } => {
                Some("An `anchor` has no effect on a schedule of less than an hour")
            }
            Timing::Anchored { frequency: Frequency::Hour, zone, .. } if zone != Tz::UTC => {
                Some("A `zone` has no effect on a schedule of every hour")
            }
            _ => None,
        }
    }

    /// The first slot after an instant. None for a cron expression whose years have passed, and for instants of other
    /// millennia than the first nine.
    #[must_use]
    pub fn next_after(&self, instant: DateTime<Utc>, history: &History) -> Option<DateTime<Utc>> {
        if !YEARS.contains(&instant.year()) {
            return None;
        }
        match &self.timing {
            Timing::Every(frequency) => next_counted(*frequency, instant, history),
            Timing::Anchored { frequency: Frequency::HalfHour, .. } => {
                next_counted(Frequency::HalfHour, instant, history)
            }
            Timing::Anchored { frequency, anchor, zone } => {
                next_on_grid(*frequency, *anchor, *zone, instant)
            }
            Timing::Cron { expression, zone } => expression.next_after(instant, *zone),
        }
    }

    /// The slots after an instant, one after the other. There may be no end to them.
    pub fn starts_after(
        &self,
        instant: DateTime<Utc>,
        history: History,
    ) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        let first = self.next_after(instant, &history);
        std::iter::successors(first, move |start| self.next_after(*start, &history))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.timing {
            Timing::Every(frequency) => write!(formatter, "every {frequency}"),
            Timing::Anchored { frequency, anchor, zone } => {
                write!(formatter, "every {frequency} from {}", anchor_text(*anchor))?;
                if *zone == Tz::UTC { Ok(()) } else { write!(formatter, " ({zone})") }
            }
            Timing::Cron { expression, zone } => write!(formatter, "cron `{expression}` ({zone})"),
        }
    }
}

/// The first slot of a frequency. The first of all is due when the integration is made: Stitch begins within half an
/// hour, we at once.
fn next_counted(
    frequency: Frequency,
    instant: DateTime<Utc>,
    history: &History,
) -> Option<DateTime<Utc>> {
    let created_at = history.created_at.trunc_subsecs(0);
    if history.last_start.is_none() && created_at > instant {
        return Some(created_at);
    }
    let base = history.last_start.map_or(created_at, |start| start.trunc_subsecs(0));
    let next = next_step(base.naive_utc(), frequency, instant.naive_utc())?.and_utc();
    // A base that lies ahead, because the clock was set back, is itself no slot: it has run.
    if next > base { Some(next) } else { base.checked_add_signed(frequency.length()) }
}

/// The first slot of a grid that goes on for ever in both directions.
///
/// In a zone the grid is one of wall-clock times, so that a run at 13:00 stays at 13:00 all year. A grid of hours stays
/// one of instants: on a wall clock it would miss the hour that is repeated.
fn next_on_grid(
    frequency: Frequency,
    anchor: DateTime<Utc>,
    zone: Tz,
    instant: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    if zone == Tz::UTC || frequency <= Frequency::Hour {
        return next_step(anchor.naive_utc(), frequency, instant.naive_utc())
            .map(|next| next.and_utc());
    }
    let anchor = zone::wall_clock(zone, anchor);
    let mut due = zone::wall_clock(zone, instant);
    loop {
        due = next_step(anchor, frequency, due)?;
        let start = zone::start(zone, due);
        if start > instant {
            return Some(start);
        }
    }
}

/// The first `base + k × frequency` after a time, for any whole `k`; none beyond the end of time. Both are taken in whole
/// seconds, of which all slots are.
fn next_step(
    base: NaiveDateTime,
    frequency: Frequency,
    after: NaiveDateTime,
) -> Option<NaiveDateTime> {
    let (base, after) = (base.and_utc().timestamp(), after.and_utc().timestamp());
    let length = frequency.length().num_seconds();
    let steps = (after - base).div_euclid(length) + 1;
    DateTime::from_timestamp(base + steps * length, 0).map(|next| next.naive_utc())
}

fn parse_anchor(text: &str) -> Result<DateTime<Utc>, ScheduleError> {
    let anchor = DateTime::parse_from_rfc3339(text).map_err(|_| ScheduleError::Anchor)?.to_utc();
    let is_whole = anchor.timestamp_subsec_nanos() == 0;
    // The years of a cron expression, so that no arithmetic meets the end of time.
    let is_near = (0..4_102_444_800).contains(&anchor.timestamp());
    if is_whole && is_near { Ok(anchor) } else { Err(ScheduleError::AnchorRange) }
}

fn anchor_text(anchor: DateTime<Utc>) -> String {
    anchor.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn parse_zone(text: &str) -> Result<Tz, ScheduleError> {
    text.parse().map_err(|_| {
        let name: String = text.chars().take(40).flat_map(char::escape_debug).collect();
        let likeness = |zone: &Tz| {
            strsim::normalized_damerau_levenshtein(
                &name.to_lowercase(),
                &zone.name().to_lowercase(),
            )
        };
        let nearest = TZ_VARIANTS
            .iter()
            .map(|zone| (likeness(zone), zone.name()))
            .filter(|(likeness, _)| *likeness >= LIKENESS)
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, zone)| zone);
        ScheduleError::Zone { name, nearest }
    })
}
