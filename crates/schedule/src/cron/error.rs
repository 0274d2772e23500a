//! Why a cron expression is refused: the field, the part of it, and what to write instead.

use super::field::CronField;

/// Why a cron expression is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Longer than any expression needs to be.
    #[error("The cron expression is longer than {} characters", super::LONGEST)]
    Length,
    /// Not six or seven fields.
    #[error("A cron expression has six fields, or seven with a year; this one has {0}")]
    FieldCount(usize),
    /// The first field is not `0`.
    #[error("The first field of a cron expression, the seconds, must be `0`")]
    Seconds,
    /// Both day fields name days, or neither does.
    #[error(
        "Exactly one of the day fields of a cron expression, day-of-month and day-of-week, must be `?`"
    )]
    Days,
    /// A field is wrong.
    #[error("In the {field} field of the cron expression, {problem}")]
    Field {
        /// The field.
        field: CronField,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// What is wrong with a field. The texts are parts of the expression, shortened and safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// An item that isn't there, as in `1,,2`.
    #[error("an item of the list is empty")]
    Empty,
    /// Neither a number nor a name.
    #[error("`{0}` is not understood")]
    Unknown(String),
    /// A number that the field doesn't reach.
    #[error("`{0}` is out of range")]
    Range(String),
    /// A step of zero, or wider than the field.
    #[error("`{0}` is no step")]
    Step(String),
    /// Something that stands alone, beside something else.
    #[error("`{0}` can't be combined with anything else")]
    NotAlone(String),
    /// Years that run backwards.
    #[error("`{0}` runs backwards")]
    Backwards(String),
}

impl CronError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Length => "Write ranges and steps instead of long lists".to_owned(),
            Self::FieldCount(1) => {
                "Write seconds, minutes, hours, day-of-month, month and day-of-week, as in `0 0 9 ? * MON-FRI`; \
                 there are no nicknames"
                    .to_owned()
            }
            Self::FieldCount(5) => {
                "Begin with `0` for the seconds, and write `?` in one day field, as in `0 0 9 ? * MON-FRI`".to_owned()
            }
            Self::FieldCount(_) => {
                "Write seconds, minutes, hours, day-of-month, month and day-of-week, as in `0 0 9 ? * MON-FRI`"
                    .to_owned()
            }
            Self::Seconds => "Runs start on whole minutes: write `0`".to_owned(),
            Self::Days => {
                "Write `?` for the one that doesn't matter, as in `0 0 9 ? * MON-FRI` or `0 0 9 1 * ?`".to_owned()
            }
            Self::Field { field, problem: Problem::NotAlone(_) } => format!(
                "`*`, `?`, `L`, `W` and `#` stand alone, not in lists or ranges; the field takes {}",
                field.takes()
            ),
            Self::Field { field, problem: Problem::Step(_) } => {
                format!("A step is a number from 1 to {}", field.widest_step())
            }
            Self::Field { problem: Problem::Backwards(_), .. } => {
                "Write the earlier year first".to_owned()
            }
            Self::Field { field, .. } => format!("It takes {}", field.takes()),
        }
    }
}
