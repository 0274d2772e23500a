//! Logs of runs that are alive, followed as server-sent events.
//!
//! Each line is an event `line` with its number as id, so that a browser which lost the connection goes on where it was;
//! the last is an event `end` with the run. The store is asked again and again, since others may write into it.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use tokio::{select, sync::OwnedSemaphorePermit, time::sleep};
use utoipa::ToSchema;

use super::{
    Shared,
    authentication::Caller,
    body::{Place, Query},
    logs::{LineView, after, level},
    problem::{Kind, Problem},
    shares::Share,
    view,
};
use crate::store::LogLevel;

const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");

/// How often the store is asked.
const PAUSE: Duration = Duration::from_millis(500);
/// Lines that are read at once.
const CHUNK: u32 = 500;
/// How long a stream lasts; then the browser asks for the rest.
const LONGEST: TimeDelta = TimeDelta::hours(1);

/// From where, and what.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct FollowQuery {
    /// Only lines of this level or graver.
    #[serde(default)]
    level: Option<String>,
    /// Only lines after this number; the header `Last-Event-ID` counts before it.
    #[serde(default)]
    after: Option<u64>,
}

/// A stream's state.
struct Follower {
    api: Shared,
    run_id: String,
    level: LogLevel,
    after: u64,
    /// What was read and not sent yet.
    ready: VecDeque<Event>,
    until: DateTime<Utc>,
    is_over: bool,
    _permit: (OwnedSemaphorePermit, Share),
}

pub(super) async fn follow(
    State(api): State<Shared>,
    caller: Caller,
    Place(run_id): Place<String>,
    headers: HeaderMap,
    Query(query): Query<FollowQuery>,
) -> Result<Response, Problem> {
    api.store.run(&run_id).await?;
    let level = level(query.level.as_deref())?;
    let sent = headers.get(LAST_EVENT).and_then(|id| id.to_str().ok()?.parse().ok());
    let after = after(sent.or(query.after))?;
    let too_many = |detail| Problem::new(Kind::TooMany, detail).retry_after(30);
    let share = api.followers_of_one.take(&caller.user.id);
    let share = share.ok_or_else(|| too_many("You are following too many logs at once"))?;
    let permit = Arc::clone(&api.followers).try_acquire_owned();
    let permit = permit.map_err(|_| too_many("Too many logs are being followed"))?;
    let until = api.now() + LONGEST;
    let ready = VecDeque::new();
    let _permit = (permit, share);
    let follower = Follower { api, run_id, level, after, ready, until, is_over: false, _permit };
    let mut response = Sse::new(events(follower))
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
        .into_response();
    // Proxies that collect answers before they send them are asked not to.
    let buffering = HeaderName::from_static("x-accel-buffering");
    response.headers_mut().insert(buffering, HeaderValue::from_static("no"));
    Ok(response)
}

fn events(follower: Follower) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    })
    .boxed()
}

impl Follower {
    /// The next event; none when the stream is over.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.is_over || self.api.now() >= self.until {
                return None;
            }
            if let Err(error) = self.read().await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "A log can't be followed any further");
                return None;
            }
            if self.ready.is_empty() {
                select! {
                    () = self.api.stop.cancelled() => return None,
                    () = sleep(PAUSE) => {}
                }
            }
        }
    }

    /// Reads what is new. The run is looked at first: what it wrote until it ended is there then.
    async fn read(&mut self) -> Result<(), crate::StoreError> {
        let run = self.api.store.run(&self.run_id).await?;
        let lines = self.api.store.log_from(&self.run_id, self.after, self.level, CHUNK).await?;
        let is_all = lines.len() < usize::try_from(CHUNK).unwrap_or(usize::MAX);
        for line in lines {
            self.after = line.number;
            let line = LineView::from(line);
            let event = Event::default().id(line.number.to_string()).event("line");
            self.ready.extend(event.json_data(line));
        }
        if is_all && run.ended_at.is_some() {
            let end = view::run(run, self.api.now());
            self.ready.extend(Event::default().event("end").json_data(end));
            self.is_over = true;
        }
        Ok(())
    }
}
