//! Reading the account and writing it as messages.

use std::{collections::BTreeMap, io, sync::Arc};

use replication::{
    clock::SystemClock,
    event::{self, EventReceiver},
    progress::ProgressBoard,
    sequence::SequenceClock,
    source::{ExtractContext, ExtractOutcome, Source, SourceError, SourceErrorKind},
    stream::StreamName,
};
use serde_json::Value;
use singer::State;
use tap_bronto::{BrontoSource, TapConfig};
use tokio::task::JoinHandle;

use super::{
    exit::{Exit, Failure},
    metrics,
    output::Output,
    signals::Signals,
};

/// How many bytes of rows may wait to be written.
const CHANNEL_BYTES: usize = 8 << 20;

/// Reads everything that is new since `state`, up to a signal.
pub(crate) async fn run(config: TapConfig, state: State) -> Result<Exit, Failure> {
    refuse_sliding_start(&config)?;
    let signals = Signals::listen()?;
    let source = BrontoSource::new(config)?;
    let (events, mut receiver) = event::channel(CHANNEL_BYTES);
    let context = ExtractContext {
        state: bookmarks(&state),
        singer_state: None,
        start_date: None,
        sequence: Arc::new(SequenceClock::new(0)),
        events,
        stop: signals.stop(),
        progress: Arc::new(ProgressBoard::default()),
        clock: Arc::new(SystemClock),
    };
    let mut output = Output::new(io::stdout().lock(), source.streams().to_vec(), state);
    let extraction: Extraction = tokio::spawn(Box::new(source).extract(context));
    let written = write(&mut receiver, &mut output).await;
    drop(receiver);
    let outcome = extraction.await.unwrap_or_else(|error| {
        let bug =
            SourceError::new(SourceErrorKind::Bug, "Reading ended unexpectedly", "Report this bug");
        Err(bug.caused_by(error))
    });
    written?;
    let ended = conclude(outcome, &signals);
    output.finish(matches!(ended, Ok(Exit::Done)))?;
    ended
}

/// A target takes the rows of a full table for all that there is. By the default start date they would be a year's, and
/// rows would go from the target as they become older.
fn refuse_sliding_start(config: &TapConfig) -> Result<(), Failure> {
    match config.selection.iter().find(|selected| selected.is_chosen_whole()) {
        Some(selected) if config.start_date.is_none() => Err(Failure::new(
            Exit::Usage,
            format!(
                "`{}` as a full table needs `start_date`: a target removes the rows from before it",
                selected.stream().name()
            ),
            "Set `start_date` to where the table is to begin, or replicate incrementally",
        )),
        _ => Ok(()),
    }
}

type Extraction = JoinHandle<Result<ExtractOutcome, SourceError>>;

/// Writes events as they come, and counters once a minute.
async fn write<W: io::Write>(
    receiver: &mut EventReceiver,
    output: &mut Output<W>,
) -> io::Result<()> {
    let mut minute = tokio::time::interval(metrics::INTERVAL);
    minute.tick().await;
    loop {
        tokio::select! {
            event = receiver.receive() => match event {
                Some(event) => output.take(event)?,
                None => return Ok(()),
            },
            _ = minute.tick() => output.metrics.write_counters(),
        }
    }
}

/// How the run ends.
fn conclude(
    outcome: Result<ExtractOutcome, SourceError>,
    signals: &Signals,
) -> Result<Exit, Failure> {
    let outcome = outcome?;
    let failures = outcome
        .failed
        .into_iter()
        .map(|(stream, error)| Failure::from(error).within(stream.as_str()));
    match Failure::all(failures) {
        Some(failure) => Err(failure),
        None if outcome.interrupted => Err(Failure::new(
            signals.exit(),
            "The run was interrupted before everything was read",
            "Run again with the last state: it goes on from there",
        )),
        None => Ok(Exit::Done),
    }
}

/// The state of each stream, as the core has it.
fn bookmarks(state: &State) -> BTreeMap<StreamName, Value> {
    let of = |name: &str| state.bookmark(name).map(|bookmark| Value::Object(bookmark.clone()));
    state.streams().filter_map(|name| Some((StreamName::new(name), of(name)?))).collect()
}
