//! `backstitch schedule`: when an integration starts, in UTC and on the clock of the schedule's zone.

use chrono::{DateTime, Utc};
use schedule::{History, Schedule};
use serde_json::{Value, json};
use service::api::shapes::PreviewView;

use super::{integrations, tables};
use crate::{
    command_line::ScheduleArguments,
    config::Integration,
    display::{self, Column},
    exit::ExitStatus,
    failure::Failure,
    remote::{self, Answer},
};

/// Runs the command.
///
/// # Errors
/// When the configuration is wrong.
pub(crate) fn execute(arguments: &ScheduleArguments) -> Result<ExitStatus, Failure> {
    if arguments.integration.asks(&arguments.server)? {
        return of_service(arguments);
    }
    let integration = arguments.integration.load()?;
    let after = arguments.after.unwrap_or_else(Utc::now);
    let count = usize::from(arguments.next);
    if arguments.json {
        display::print_json(&to_json(&integration, after, count))?;
    } else {
        display::print(&to_text(&integration, after, count))?;
    }
    Ok(ExitStatus::Done)
}

/// The next starts as a service sees them.
fn of_service(arguments: &ScheduleArguments) -> Result<ExitStatus, Failure> {
    if arguments.after.is_some() {
        return Err(Failure::configuration("A service shows the starts from now on")
            .with_hint("Leave out `--after` or `--server`"));
    }
    remote::ask(&arguments.server, async |client| {
        let found = tables::only(client, arguments.integration.name.as_deref()).await?;
        let name = display::one_line(&found.name, 60);
        let Some(schedule) = &found.schedule else {
            let text = format!("{name} has no schedule: its runs are started by hand\n");
            display::print(if arguments.json { "null\n" } else { &text })?;
            return Ok(ExitStatus::Done);
        };
        let last_start = found.last_run.as_ref().map(|run| run.begun_at);
        let body =
            json!({ "schedule": schedule, "count": arguments.next, "last_start": last_start });
        let preview: Answer<PreviewView> =
            client.post(&["schedule-previews"], body.to_string().into()).await?;
        if arguments.json {
            display::print_json(&preview.json)?;
            return Ok(ExitStatus::Done);
        }
        let mut text = format!("{name}: {}\n", integrations::words(schedule));
        for warning in &preview.view.warnings {
            text.push_str(&format!("warning: {}\n", display::one_line(warning, 200)));
        }
        let starts = preview.view.starts.iter().zip(&preview.view.local_starts);
        let row = |(start, local): (&DateTime<Utc>, &String)| {
            vec![display::instant(Some(*start)), display::one_line(local, 60)]
        };
        let rows: Vec<Vec<String>> = starts.map(row).collect();
        let zone = display::one_line(schedule.zone.as_deref().unwrap_or("UTC"), 60);
        text.push_str(&format!("By the clock of {zone}:\n"));
        text.push_str(&display::table(&[Column::Text("Start"), Column::Text("There")], &rows));
        display::print(&text)?;
        Ok(ExitStatus::Done)
    })
}

/// The next starts after an instant. A schedule that counts from the last start is taken as if one were made then.
pub(crate) fn next_starts(
    schedule: &Schedule,
    after: DateTime<Utc>,
    count: usize,
) -> Vec<DateTime<Utc>> {
    let history = History { created_at: after, last_start: Some(after) };
    schedule.starts_after(after, history).take(count).collect()
}

fn to_text(integration: &Integration, after: DateTime<Utc>, count: usize) -> String {
    let name = &integration.name;
    let Some(schedule) = &integration.schedule else {
        return format!("{name} has no schedule: it runs when `backstitch run` is called\n");
    };
    let mut text = format!("{name}: {schedule}\n");
    if schedule.counts_from_last_start() {
        let after = display::instant(Some(after));
        text.push_str(&format!("Starts are counted from the last one; here, from {after}\n"));
    }
    let zone = schedule.zone();
    let is_zoned = zone != chrono_tz::Tz::UTC;
    let rows: Vec<Vec<String>> = next_starts(schedule, after, count)
        .into_iter()
        .map(|start| {
            let mut row = vec![display::instant(Some(start)), start.format("%a").to_string()];
            if is_zoned {
                let local = start.with_timezone(&zone);
                row[1] = local.format("%a %Y-%m-%d %H:%M %Z").to_string();
            }
            row
        })
        .collect();
    let columns = [Column::Text("Start"), Column::Text(if is_zoned { zone.name() } else { "Day" })];
    text.push_str(&display::table(&columns, &rows));
    text
}

fn to_json(integration: &Integration, after: DateTime<Utc>, count: usize) -> Value {
    let schedule = integration.schedule.as_ref();
    json!({
        "integration": integration.name,
        "schedule": schedule.map(Schedule::fields),
        "zone": schedule.map(|schedule| schedule.zone().name()),
        "starts": schedule.map(|schedule| next_starts(schedule, after, count)),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    fn shown(schedule: &str, after: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backstitch.toml");
        let text = format!(
            "[integration.\"Stitch Bronto\"]\nsource = {{ type = \"bronto\", token = {{ env = \"X\" }} }}\n\
             destination = \"duckdb:w.duckdb\"\n{schedule}\n"
        );
        std::fs::write(&path, text).unwrap();
        let integration = crate::config::load(&path, None).unwrap();
        let after = after.parse().unwrap();
        assert!(
            to_json(&integration, after, 3)["starts"]
                .as_array()
                .is_none_or(|starts| starts.len() == 3)
        );
        to_text(&integration, after, 3)
    }

    #[test]
    fn shows_starts_in_utc_and_on_the_clock_of_the_zone() {
        insta::assert_snapshot!(shown("schedule = { cron = \"0 30 2 ? * *\", zone = \"Europe/Berlin\" }", "2026-10-23T12:00:00Z"), @r"
        Stitch Bronto: cron `0 30 2 ? * *` (Europe/Berlin)

         Start                  Europe/Berlin
        ──────────────────────────────────────────────────
         2026-10-24T00:30:00Z   Sat 2026-10-24 02:30 CEST
         2026-10-25T00:30:00Z   Sun 2026-10-25 02:30 CEST
         2026-10-26T01:30:00Z   Mon 2026-10-26 02:30 CET
        ");
        insta::assert_snapshot!(shown("schedule = { every = \"12h\", anchor = \"2026-11-23T13:00:00Z\" }", "2026-10-23T12:00:00Z"), @r"
        Stitch Bronto: every 12h from 2026-11-23T13:00:00Z

         Start                  Day
        ────────────────────────────
         2026-10-23T13:00:00Z   Fri
         2026-10-24T01:00:00Z   Sat
         2026-10-24T13:00:00Z   Sat
        ");
        insta::assert_snapshot!(shown("schedule = { every = \"6h\" }", "2026-10-23T12:00:00Z"), @r"
        Stitch Bronto: every 6h
        Starts are counted from the last one; here, from 2026-10-23T12:00:00Z

         Start                  Day
        ────────────────────────────
         2026-10-23T18:00:00Z   Fri
         2026-10-24T00:00:00Z   Sat
         2026-10-24T06:00:00Z   Sat
        ");
        insta::assert_snapshot!(shown("", "2026-10-23T12:00:00Z"), @"Stitch Bronto has no schedule: it runs when `backstitch run` is called");
    }
}
