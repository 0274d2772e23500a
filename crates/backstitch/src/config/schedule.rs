//! The section `schedule`: its fields are read here, and judged by the crate of that name.

use schedule::{Schedule, ScheduleError, ScheduleFields};

use super::document::{ConfigError, Entry, Section};

/// Reads the section.
///
/// # Errors
/// When the schedule is none that Stitch would take. The place is that of the field which is wrong.
pub(super) fn read_schedule(mut section: Section<'_>) -> Result<Schedule, ConfigError> {
    let [every, anchor, cron, zone] =
        ["every", "anchor", "cron", "zone"].map(|name| section.take(name));
    let catch_up = section.take("catch_up");
    let text = |entry: &Option<Entry<'_>>| {
        entry.as_ref().map(|entry| entry.text().map(str::to_owned)).transpose()
    };
    let fields = ScheduleFields {
        every: text(&every)?,
        anchor: anchor.as_ref().map(Entry::date_time_text).transpose()?,
        cron: text(&cron)?,
        zone: text(&zone)?,
        catch_up: catch_up.map(|entry| entry.truth()).transpose()?.unwrap_or_default(),
    };
    let schedule = Schedule::parse(&fields).map_err(|error: ScheduleError| {
        let entries = [&every, &anchor, &cron, &zone];
        let wrong = entries.into_iter().flatten().find(|entry| Some(entry.name()) == error.field());
        let (message, remedy) = (error.to_string(), error.remedy());
        match wrong {
            Some(entry) => entry.error(message, remedy),
            None => section.error(message, remedy),
        }
    })?;
    section.finish()?;
    Ok(schedule)
}
