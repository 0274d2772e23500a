//! Integrations of a service as people read them. Names, settings and messages come from outside.

use schedule::Schedule;
use service::api::shapes::{
    CheckView, IntegrationView, RunView, ScheduleBody, SchemaEventView, SlotView,
};

use super::runs;
use crate::display::{self, Column};

/// The longest name in a table.
const LONGEST: usize = 60;
/// The longest message.
const MESSAGE: usize = 2_000;

/// All of them, one a line.
pub(super) fn list(integrations: &[IntegrationView]) -> String {
    if integrations.is_empty() {
        return "There is no integration yet; `backstitch integrations create` makes one\n"
            .to_owned();
    }
    let columns = [
        Column::Text("Integration"),
        Column::Text("Schema"),
        Column::Text("Status"),
        Column::Text("Next start"),
        Column::Text("Last run"),
        Column::Text("Begun"),
    ];
    let row = |found: &IntegrationView| {
        let last = found.last_run.as_ref();
        vec![
            display::one_line(&found.name, LONGEST),
            display::one_line(&found.schema_name, LONGEST),
            display::one_line(&found.status.label, LONGEST),
            display::instant(found.status.expected_start),
            last.map(runs::state).unwrap_or_default(),
            display::instant(last.map(|run| run.begun_at)),
        ]
    };
    display::table(&columns, &integrations.iter().map(row).collect::<Vec<_>>())
}

/// What became of slots, one record a line.
pub(super) fn slots(slots: &[SlotView]) -> String {
    if slots.is_empty() {
        return "No slot of its schedule has come yet\n".to_owned();
    }
    let columns = [
        Column::Text("Slot"),
        Column::Text("Outcome"),
        Column::Figure("Slots"),
        Column::Text("Since"),
        Column::Whole("Run"),
    ];
    let row = |found: &SlotView| {
        let since = Some(found.first_slot).filter(|first| *first != found.slot);
        vec![
            display::instant(Some(found.slot)),
            display::one_line(&found.outcome, LONGEST),
            display::count(found.count),
            display::instant(since),
            found.run_id.clone().unwrap_or_default(),
        ]
    };
    display::table(&columns, &slots.iter().map(row).collect::<Vec<_>>())
}

/// How tables changed, one change a line.
pub(super) fn schema_events(events: &[SchemaEventView]) -> String {
    if events.is_empty() {
        return "No table has changed\n".to_owned();
    }
    let columns = [
        Column::Text("When"),
        Column::Text("Table"),
        Column::Text("Column"),
        Column::Text("Change"),
    ];
    let row = |event: &SchemaEventView| {
        vec![
            display::instant(Some(event.happened_at)),
            display::one_line(&event.table, LONGEST),
            display::one_line(&event.column, LONGEST),
            display::one_line(&format!("{}: {}", event.change, event.detail), MESSAGE),
        ]
    };
    display::table(&columns, &events.iter().map(row).collect::<Vec<_>>())
}

/// One in a line: what it is called, and its state.
pub(super) fn line(found: &IntegrationView) -> String {
    let name = display::one_line(&found.name, LONGEST);
    let next = found.status.expected_start;
    let next = next
        .map_or_else(String::new, |next| format!("; next start {}", display::instant(Some(next))));
    format!("{name}: {}: {}{next}\n", found.status.label, found.status.explanation)
}

/// One, whole.
pub(super) fn whole(found: &IntegrationView) -> String {
    let name = display::one_line(&found.name, LONGEST);
    let schema = display::one_line(&found.schema_name, LONGEST);
    let mut text = format!("{name}, into schema `{schema}`\n");
    let mut put = |title: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {title:<12} {value}\n"));
        }
    };
    let status = &found.status;
    put("Status", display::one_line(&format!("{}: {}", status.label, status.explanation), MESSAGE));
    put("Next start", display::instant(status.expected_start));
    put(
        "Schedule",
        match (&found.schedule, &found.schedule_fault) {
            (_, Some(fault)) => display::one_line(&format!("can't be read: {fault}"), MESSAGE),
            (Some(schedule), None) => words(schedule),
            (None, None) => "none: runs are started by hand".to_owned(),
        },
    );
    put("Start date", display::instant(Some(found.start_date)));
    if found.reset_requested_at.is_some() {
        put("Reset", "the next run reads all tables again from the start date".to_owned());
    }
    if let Some(paused) = &found.paused {
        put("Paused", format!("since {}, by {}", display::instant(Some(paused.since)), paused.by));
    }
    put("Deleted", display::instant(found.deleted_at));
    put(
        "Made",
        if found.origin == "file" {
            "in a file on the host, which is where it is changed".to_owned()
        } else {
            display::instant(Some(found.created_at))
        },
    );
    put("Id", found.id.clone());
    if let Some(run) = &found.last_run {
        put("Last run", last_run(run));
        if let Some(error) = &run.error {
            put("", display::one_line(&error.message, MESSAGE));
            put("", display::one_line(&error.remedy, MESSAGE));
        }
    }
    for warning in &found.warnings {
        put("Warning", display::one_line(warning, MESSAGE));
    }
    text.push_str("  Settings\n");
    // JSON writes control characters out; what turns text around is left.
    for line in format!("{:#}", serde_json::json!(found.settings)).lines() {
        text.push_str(&format!("    {}\n", display::one_line(line, MESSAGE)));
    }
    text
}

fn last_run(run: &RunView) -> String {
    let begun = display::instant(Some(run.begun_at));
    let took =
        display::duration(run.ended_at.map(|ended| ended - run.claimed_at.unwrap_or(run.begun_at)));
    let took = if took.is_empty() { took } else { format!(" in {took}") };
    format!("{}{took}, begun {begun}, {}", runs::state(run), run.id)
}

/// A schedule in words.
pub(in crate::commands) fn words(schedule: &ScheduleBody) -> String {
    match Schedule::parse(&schedule.clone().into()) {
        Ok(schedule) => display::one_line(&schedule.to_string(), MESSAGE),
        // A later version of the service may know more.
        Err(_) => display::one_line(&serde_json::json!(schedule).to_string(), MESSAGE),
    }
}

/// What a check found.
pub(super) fn check(found: &CheckView) -> String {
    let mut text = format!("Into schema `{}`\n", display::one_line(&found.schema_name, LONGEST));
    for warning in &found.warnings {
        text.push_str(&format!("warning: {}\n", display::one_line(warning, MESSAGE)));
    }
    for step in &found.steps {
        let mark = if step.is_ok { '✓' } else { '✗' };
        let (side, name) =
            (display::one_line(&step.side, LONGEST), display::one_line(&step.name, LONGEST));
        text.push_str(&format!(
            "  {mark} {side}, {name}: {}\n",
            display::one_line(&step.message, MESSAGE)
        ));
        if let Some(remedy) = &step.remedy {
            text.push_str(&format!("    hint: {}\n", display::one_line(remedy, MESSAGE)));
        }
    }
    text.push_str(if found.is_ok { "All is well\n" } else { "It would not work\n" });
    text
}

/// What a reset means, a line each.
pub(super) fn consequences(consequences: &[String]) -> String {
    consequences.iter().map(|text| format!("  - {}\n", display::one_line(text, MESSAGE))).collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;

    fn integration() -> IntegrationView {
        let at = DateTime::from_timestamp(1_795_438_800, 0);
        let integration = json!({
            "id": "019f0000-0000-7000-8000-000000000001", "name": "Shop\u{1b}[31m\u{202e}", "schema_name": "shop",
            "origin": "api", "settings": { "source": { "type": "bronto" }, "destination": "duckdb:\u{2066}\n.duckdb" },
            "schedule": { "every": "6h", "catch_up": false }, "schedule_fault": null, "start_date": at,
            "reset_requested_at": null, "version": 3, "created_at": at, "updated_at": at, "paused": null,
            "deleted_at": null,
            "status": { "label": "Pending", "reason": "next_start",
                "explanation": "It waits for the next start of its schedule", "expected_start": at, "since": null },
            "last_run": null, "warnings": ["Look\r\nhere"],
        });
        serde_json::from_value(integration).expect("it has every field")
    }

    #[test]
    fn integrations_are_shown_and_nothing_in_them_is_obeyed() {
        insta::assert_snapshot!(list(&[integration()]));
        insta::assert_snapshot!(whole(&integration()));
        insta::assert_snapshot!(line(&integration()), @r"Shop\u{1b}[31m\u{202e}: Pending: It waits for the next start of its schedule; next start 2026-11-23T13:00:00Z");
    }
}
