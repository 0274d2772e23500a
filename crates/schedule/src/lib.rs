//! When an integration runs: Stitch's three kinds of schedule, and what a scheduler makes of them.
//!
//! Everything here is a pure function of its arguments: nothing reads a clock, so months of schedules can be computed in
//! a moment and a test says what time it is. The kinds, and where their starts come from:
//!
//! | kind | written | starts |
//! |---|---|---|
//! | Replication Frequency | `every` | the last start, plus multiples of the frequency |
//! | Anchor Scheduling | `every`, `anchor` | the anchor, plus and minus multiples of the frequency, whatever has run |
//! | Advanced Scheduling | `cron` | the times of a Quartz expression |
//!
//! Stitch's schedules are in UTC. Beyond Stitch, an anchored or a cron schedule may name a time zone; what becomes of
//! times that a change of the clock leaves out or repeats is decided in [`zone`](mod@crate::zone), once for both kinds.
//!
//! [`Schedule`] says when starts are, [`Situation::decide`] what a scheduler has to do at an instant: start a slot, and
//! write down which passed without a start.

mod cron;
mod decision;
mod error;
mod frequency;
mod schedule;
pub mod zone;

pub use cron::{CronError, CronExpression, CronField, Problem};
pub use decision::{Decision, GRACE, LastRun, Passed, Situation, Why};
pub use error::ScheduleError;
pub use frequency::Frequency;
pub use schedule::{History, Schedule, ScheduleFields};
