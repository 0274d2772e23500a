//! `backstitch state`: shows how far each stream is, and moves it, after a preview of what that means.

use chrono::{DateTime, Utc};
use replication::{
    claim::ClaimRequest,
    destination::{Destination, DestinationError, DestinationErrorKind, StateRow},
    edit,
    ledger::LoadRecord,
    row,
    run::RunOptions,
};
use serde_json::{Value, json};

use super::{
    refresh,
    state_edit::{self, Change, Edits, Move},
    tasks,
};
use crate::{
    command_line::StateArguments,
    connect,
    display::{self, Column},
    exit::ExitStatus,
    failure::Failure,
    pipeline, telemetry,
};

/// Runs the command.
///
/// # Errors
/// When the destination can't be read, or the edit is refused.
pub(crate) fn execute(arguments: &StateArguments) -> Result<ExitStatus, Failure> {
    let edits = Edits::read(arguments)?;
    if arguments.schema.asks(&arguments.server)? {
        return tasks::bookmarks(arguments, &edits);
    }
    let target = connect::target(&arguments.schema)?;
    telemetry::start(None)?;
    if edits.is_empty() && !arguments.remove_tap_state {
        return pipeline::block_on(async {
            let destination = connect::existing(&target)?;
            show(arguments, &read_states(destination.as_ref()).await?)
        });
    }
    if arguments.schema.destination.is_some() {
        return Err(Failure::configuration(
            "Bookmarks can only be edited through their integration",
        )
        .with_hint("Name it, with `--config` if need be: the edit claims its schema"));
    }
    let chosen = &arguments.schema.integration;
    let integration = chosen.load()?;
    pipeline::block_on(async {
        let existing = connect::existing(&target)?;
        let shown = read_states(existing.as_ref()).await?;
        let loads = existing.loads(usize::MAX).await.map_err(|error| Failure::from(&error))?;
        drop(existing);
        let preview = preview(&edits, &shown, &loads)?;
        let tap_state = arguments.remove_tap_state.then(|| tap_state(&shown)).transpose()?;
        if arguments.yes {
            let options = RunOptions::new(&integration.name);
            let request = refresh::request(&options, connect::source(&integration)?.fingerprint());
            let destination = connect::destination(&target)?;
            write(destination.as_ref(), &request, &edits, tap_state.as_ref()).await?;
        }
        report(arguments, &preview, tap_state.as_ref())
    })
}

/// The state that a Singer tap keeps.
///
/// # Errors
/// When there is none.
pub(crate) fn tap_state(states: &[StateRow]) -> Result<Value, Failure> {
    kept_by_tap(states).cloned().ok_or_else(|| {
        Failure::configuration("There is no state of a Singer tap")
            .with_hint("`backstitch state` shows what there is")
    })
}

/// The state of a Singer tap, if there is one.
pub(crate) fn kept_by_tap(states: &[StateRow]) -> Option<&Value> {
    let claim = states.iter().find(|state| state.stream.is_empty())?;
    claim.state.as_ref()?.get("singer_state").filter(|state| !state.is_null())
}

async fn read_states(destination: &dyn Destination) -> Result<Vec<StateRow>, Failure> {
    destination.states().await.map_err(|error| Failure::from(&error))
}

/// Writes the edit, made anew from what is stored now that nobody else can change it.
async fn write(
    destination: &dyn Destination,
    request: &ClaimRequest,
    edits: &Edits,
    tap_state: Option<&Value>,
) -> Result<(), Failure> {
    let now = Utc::now();
    let stored = read_states(destination).await?;
    let expected = edits.apply(&state_edit::states(&stored), now)?;
    let decide = |claim: &replication::claim::Claim| -> Result<edit::StateEdit, DestinationError> {
        let is_current = expected
            .iter()
            .all(|change| claim.states.get(&change.stream.as_str().into()) == Some(&change.before));
        let is_shown = |shown| claim.memory.singer_state.as_ref() == Some(shown);
        if !is_current || !tap_state.is_none_or(is_shown) {
            return Err(edit::changed_meanwhile());
        }
        Ok(state_edit::edit(expected, tap_state.is_some()))
    };
    edit::edit_states(destination, request, now, decide).await.map_err(|error| {
        let failure = Failure::from(&error);
        match error.kind {
            DestinationErrorKind::Claim(replication::claim::Refusal::Held { .. }) => failure
                .with_hint("Wait until that run ends, or stop it; bookmarks move while it lives"),
            _ => failure,
        }
    })
}

/// What edits of stored states mean, by the ledger.
///
/// # Errors
/// When an edit makes no sense.
pub(crate) fn preview(
    edits: &Edits,
    stored: &[StateRow],
    loads: &[LoadRecord],
) -> Result<Vec<Preview>, Failure> {
    let changes = edits.apply(&state_edit::states(stored), Utc::now())?;
    Ok(changes.into_iter().map(|change| Preview::of(change, loads)).collect())
}

/// What a change means.
pub(crate) struct Preview {
    pub(crate) change: Change,
    /// At most so many rows are read again, by the ledger.
    pub(crate) rows: u64,
}

impl Preview {
    /// Batches whose greatest replication key lies at or after the new bookmark hold every row that is read again, and
    /// others beside them.
    fn of(change: Change, loads: &[LoadRecord]) -> Self {
        let is_again = |load: &&LoadRecord| {
            let key = load.max_replication_key.as_deref().and_then(instant);
            let new = match change.change {
                Move::To(new) => Some(new),
                Move::Removed => None,
            };
            load.stream == change.stream
                && load.table == change.stream
                && new.is_none_or(|new| key.is_none_or(|key| key >= new))
        };
        let rows = loads.iter().filter(is_again).map(|load| load.counts.received).sum();
        let is_back = change.skipped().is_none();
        Self { change, rows: if is_back { rows } else { 0 } }
    }

    pub(crate) fn sentence(&self) -> String {
        let stream = &self.change.stream;
        let rows = display::count(self.rows);
        match (self.change.change, self.change.skipped()) {
            (Move::Removed, _) => format!(
                "`{stream}` has no bookmark any more: the next run reads it from the start date; at most {rows} rows have \
                 been received so far"
            ),
            (Move::To(new), Some(old)) => format!(
                "`{stream}` moves FORWARD from {} to {}: what lies between and hasn't been read will never be",
                row::instant_text(old),
                row::instant_text(new)
            ),
            (Move::To(new), None) => format!(
                "`{stream}` moves back to {}: the next run reads at most {rows} of its rows again, and changes only those \
                 that differ",
                row::instant_text(new)
            ),
        }
    }

    fn json(&self) -> Value {
        json!({
            "stream": self.change.stream,
            "from": self.change.from(),
            "to": self.change.to(),
            "rows_again_at_most": self.rows,
            "skips": self.change.skipped().is_some(),
        })
    }
}

/// What it means that the state of a Singer tap goes.
pub(crate) fn without_tap_state(state: &Value) -> String {
    format!(
        "The tap's own state goes: {}\nThe next run starts the tap without one. Rows with a key change only where they \
         differ; rows of tables WITHOUT a key come a second time",
        display::one_line(&state.to_string(), 4_000)
    )
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|instant| instant.to_utc())
}

fn report(
    arguments: &StateArguments,
    preview: &[Preview],
    tap_state: Option<&Value>,
) -> Result<ExitStatus, Failure> {
    if arguments.schema.json {
        let changes: Vec<Value> = preview.iter().map(Preview::json).collect();
        display::print_json(&json!({
            "edited": arguments.yes,
            "changes": changes,
            "removed_tap_state": tap_state,
        }))?;
        return Ok(ExitStatus::Done);
    }
    let mut text = String::new();
    for change in preview {
        text.push_str(&change.sentence());
        text.push('\n');
    }
    if let Some(state) = tap_state {
        text.push_str(&without_tap_state(state));
        text.push('\n');
    }
    text.push_str(if arguments.yes {
        "Done\n"
    } else {
        "Nothing is changed yet; repeat the command with `--yes`\n"
    });
    display::print(&text)?;
    Ok(ExitStatus::Done)
}

fn show(arguments: &StateArguments, states: &[StateRow]) -> Result<ExitStatus, Failure> {
    let streams: Vec<&StateRow> = states.iter().filter(|state| !state.stream.is_empty()).collect();
    let singer = kept_by_tap(states);
    if arguments.schema.json {
        let streams: serde_json::Map<String, Value> = streams
            .iter()
            .map(|row| (row.stream.clone(), row.state.clone().unwrap_or_default()))
            .collect();
        display::print_json(&json!({ "streams": streams, "singer_state": singer }))?;
        return Ok(ExitStatus::Done);
    }
    if streams.is_empty() && singer.is_none() {
        display::print("There is no bookmark yet\n")?;
        return Ok(ExitStatus::Done);
    }
    let columns = [
        Column::Text("Stream"),
        Column::Text("Bookmark"),
        Column::Text("State"),
        Column::Text("Updated"),
    ];
    let row = |row: &&StateRow| {
        let state = row.state.clone().unwrap_or_default();
        let bookmark = state.get("last_record").and_then(Value::as_str).unwrap_or_default();
        vec![
            row.stream.clone(),
            bookmark.to_owned(),
            display::one_line(&state.to_string(), 160),
            display::instant(row.updated_at),
        ]
    };
    let mut text = String::new();
    if !streams.is_empty() {
        text.push_str(&display::table(&columns, &streams.iter().map(row).collect::<Vec<_>>()));
    }
    if let Some(singer) = singer {
        text.push_str(&format!(
            "\nThe tap's own state: {}\n",
            display::one_line(&singer.to_string(), 4_000)
        ));
    }
    display::print(&text)?;
    Ok(ExitStatus::Done)
}
