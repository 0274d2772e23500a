//! When an integration runs by itself. The service acts on it; here it is read, judged and shown.

use std::fmt;

use chrono::{DateTime, Utc};

use super::{
    cron,
    document::{ConfigError, Section},
};

/// The frequencies, as Stitch offers them.
const FREQUENCIES: [&str; 6] = ["30m", "1h", "3h", "6h", "12h", "24h"];

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// At a fixed distance.
    Every {
        /// One of [`FREQUENCIES`].
        frequency: &'static str,
        /// A point of the grid.
        anchor: Option<DateTime<Utc>>,
    },
    /// By a cron expression in Stitch's dialect, in UTC.
    Cron(String),
}

impl Schedule {
    /// Reads the section `schedule`.
    ///
    /// # Errors
    /// When the schedule is none that Stitch would take.
    pub(super) fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let schedule = match (section.take("every"), section.take("anchor"), section.take("cron")) {
            (Some(every), anchor, None) => {
                let text = every.text()?;
                let frequency =
                    FREQUENCIES.into_iter().find(|known| *known == text).ok_or_else(|| {
                        let known = FREQUENCIES.map(|known| format!("`{known}`")).join(", ");
                        every.error(
                            format!("`{text}` is no frequency"),
                            format!("Take one of {known}"),
                        )
                    })?;
                let anchor = anchor.map(|anchor| anchor.instant()).transpose()?;
                Self::Every { frequency, anchor }
            }
            (None, None, Some(expression)) => {
                let text = expression.text()?;
                cron::parse(text, Utc::now()).map_err(|error| {
                    let cause = std::error::Error::source(&error)
                        .map_or_else(String::new, |cause| format!(": {cause}"));
                    expression.error(
                        format!("{error}{cause}"),
                        "Write it like `0 0 9 ? * MON-FRI`; times are UTC",
                    )
                })?;
                Self::Cron(text.to_owned())
            }
            _ => {
                return Err(section.error(
                    "A schedule needs either `every` (and perhaps `anchor`) or `cron`",
                    "Write it like `{ every = \"6h\" }` or `{ cron = \"0 0 9 ? * MON-FRI\" }`",
                ));
            }
        };
        section.finish()?;
        Ok(schedule)
    }

    /// What the user should know though the schedule is valid.
    pub(super) fn warning(&self) -> Option<String> {
        match self {
            Self::Every { frequency: "30m", anchor: Some(_) } => {
                Some("An `anchor` has no effect on a schedule of less than an hour".to_owned())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every { frequency, anchor: None } => write!(formatter, "every {frequency}"),
            Self::Every { frequency, anchor: Some(anchor) } => {
                write!(formatter, "every {frequency} from {}", anchor.format("%Y-%m-%dT%H:%M:%SZ"))
            }
            Self::Cron(expression) => write!(formatter, "cron `{expression}` (UTC)"),
        }
    }
}
