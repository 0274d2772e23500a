//! Why a schedule is refused.

use crate::{CronError, Frequency};

/// Why a schedule is refused. All of it is the fault of who wrote it; trying again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Neither `every` nor `cron`.
    #[error("A schedule needs either `every` (and perhaps `anchor`) or `cron`")]
    Nothing,
    /// Both `every` and `cron`.
    #[error("A schedule has either `every` or `cron`, not both")]
    Both,
    /// No frequency that Stitch has.
    #[error("`{0}` is no frequency")]
    Frequency(String),
    /// No date-time.
    #[error("`anchor` must be an RFC 3339 date-time")]
    Anchor,
    /// A date-time that makes no sense as an anchor.
    #[error("`anchor` must be a whole second of the years 1970 to 2099")]
    AnchorRange,
    /// An anchor beside a cron expression.
    #[error("A schedule with `cron` has no `anchor`")]
    AnchorWithCron,
    /// A zone that the IANA database doesn't have.
    #[error("`{name}` is no time zone of the IANA database")]
    Zone {
        /// What was written.
        name: String,
        /// The nearest name that there is.
        nearest: Option<&'static str>,
    },
    /// A zone where no hour of the day is meant.
    #[error(
        "`zone` has no meaning for a frequency without an anchor, which counts from the last start"
    )]
    ZoneWithoutAnchor,
    /// The expression is wrong.
    #[error(transparent)]
    Cron(#[from] CronError),
}

impl ScheduleError {
    /// The field that is wrong: `every`, `anchor`, `cron` or `zone`; none where the fields don't go together.
    #[must_use]
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::Both => None,
            Self::Frequency(_) => Some("every"),
            Self::Anchor | Self::AnchorRange | Self::AnchorWithCron => Some("anchor"),
            Self::Zone { .. } | Self::ZoneWithoutAnchor => Some("zone"),
            Self::Cron(_) => Some("cron"),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Nothing | Self::Both => {
                "Write it like `{ every = \"6h\" }` or `{ cron = \"0 0 9 ? * MON-FRI\" }`"
                    .to_owned()
            }
            Self::Frequency(_) => {
                let known = Frequency::ALL.map(|known| format!("`{known}`")).join(", ");
                format!("Take one of {known}")
            }
            Self::Anchor | Self::AnchorRange => {
                "Write it like `\"2026-11-23T13:00:00Z\"`".to_owned()
            }
            Self::AnchorWithCron => {
                "Leave `anchor` out; the expression says by itself when starts are".to_owned()
            }
            Self::Zone { nearest: Some(nearest), .. } => format!("Did you mean `{nearest}`?"),
            Self::Zone { nearest: None, .. } => "Write it like `Europe/Berlin`".to_owned(),
            Self::ZoneWithoutAnchor => "Leave `zone` out, or give an `anchor`".to_owned(),
            Self::Cron(error) => error.remedy(),
        }
    }
}
