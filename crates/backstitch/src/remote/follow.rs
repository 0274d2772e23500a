//! A run's log, followed until the run ends, over as many connections as it takes.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use service::api::shapes::{LineView, RunView};
use tokio::time::{sleep, timeout};

use super::{
    Answer, Client, RemoteError,
    events::{Event, Events},
};
use crate::failure::Failure;

/// How long a stream may be silent; the service sends a sign of life every 15 seconds.
const SILENCE: Duration = Duration::from_secs(50);
/// How often in a row it is tried to get further.
const TRIES: u32 = 20;
/// The pause before the first further try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What is heard of a run.
#[derive(Debug)]
pub(crate) enum Followed {
    /// A line of its log.
    Line(Answer<LineView>),
    /// It has ended; nothing comes after.
    End(Box<Answer<RunView>>),
}

/// Follows a run's log from its first line, as long as `told` wants more. Where the connection breaks, it goes on after the
/// last line that was told.
///
/// # Errors
/// When the service refuses, or can't be reached for minutes; or those of `told`.
pub(crate) async fn follow(
    client: &Client,
    run_id: &str,
    level: Option<&str>,
    mut told: impl FnMut(Followed) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let query: Vec<(&str, String)> =
        level.map(|level| ("level", level.to_owned())).into_iter().collect();
    let path = ["runs", run_id, "log", "follow"];
    let mut last: Option<String> = None;
    let (mut failures, mut pause) = (0, FIRST_PAUSE);
    loop {
        let before = last.clone();
        let (broke, may_go_on) = match client.stream(&path, &query, last.as_deref()).await {
            Err(error) => {
                let may_go_on = error.is_retriable();
                (error, may_go_on)
            }
            Ok(mut response) => {
                let mut events = Events::default();
                let broke = loop {
                    let piece = match timeout(SILENCE, response.chunk()).await {
                        Err(_) => break client.timed_out(SILENCE),
                        Ok(Err(error)) => break client.failure(error, SILENCE),
                        // The service ends a stream after a while, and when it stops itself.
                        Ok(Ok(None)) => break client.foreign("the log ends before the run"),
                        Ok(Ok(Some(piece))) => piece,
                    };
                    let too_long = |_| client.foreign("an event without end");
                    for event in events.take(&piece).map_err(too_long)? {
                        let is_end = event.name == "end";
                        let wants_more = match heard(client, &event)? {
                            Some(heard) => told(heard)?,
                            None => true,
                        };
                        if is_end || !wants_more {
                            return Ok(());
                        }
                        last = event.id;
                    }
                };
                // Whatever ended it, the log was being sent.
                (broke, true)
            }
        };
        if last != before {
            (failures, pause) = (0, FIRST_PAUSE);
        }
        failures += 1;
        if failures > TRIES || !may_go_on {
            return Err(broke.into());
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What an event says; nothing, if it is one that this version doesn't know.
fn heard(client: &Client, event: &Event) -> Result<Option<Followed>, RemoteError> {
    Ok(match event.name.as_str() {
        "line" => Some(Followed::Line(read(client, &event.data)?)),
        "end" => Some(Followed::End(Box::new(read(client, &event.data)?))),
        _ => None,
    })
}

fn read<T: DeserializeOwned>(client: &Client, text: &str) -> Result<Answer<T>, RemoteError> {
    let json: Value =
        serde_json::from_str(text).map_err(|_| client.foreign("an event that is no JSON"))?;
    client.understood(json)
}
