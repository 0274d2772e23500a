//! Extraction logs: lines by level and words, and the whole as a file in Stitch's form.

use std::borrow::Cow;

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Api, Shared,
    body::{Place, Query},
    page::{self, Page},
    problem::{Fault, Problem},
};
use crate::store::{LogLevel, LogLine, NewLogLine};

/// Lines that are read at once.
const CHUNK: u32 = 1_000;
/// Lines that one request looks through for a text.
const SEARCHED: u64 = 5_000;

/// Which lines.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct LogQuery {
    /// Only lines of this level or graver: `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.
    #[serde(default)]
    level: Option<String>,
    /// Only lines that hold this text, whatever the case of its letters.
    #[serde(default)]
    search: Option<String>,
    /// Only lines after this number: `next` of the page before. A search may look through many lines without finding one; then the
    /// page is empty and has a `next`.
    #[serde(default)]
    after: Option<u64>,
    /// How many: 1 to 500, usually 50.
    #[serde(default)]
    limit: Option<u32>,
}

/// A line of a log.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LineView {
    /// Its number in the run, from 1. Numbers are left out where lines were not kept.
    pub number: u64,
    /// When it was written.
    pub logged_at: DateTime<Utc>,
    /// `main`, `tap` or `target`.
    pub location: String,
    /// `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.
    pub level: Cow<'static, str>,
    /// What it says, as it came: text from outside.
    pub body: String,
}

impl From<LogLine> for LineView {
    fn from(LogLine { number, line }: LogLine) -> Self {
        let (logged_at, level) = (line.logged_at, line.level.name().into());
        Self { number, logged_at, location: line.location, level, body: line.body }
    }
}

/// The line in the form in which it was stored, which its text shows to people. A level of a later program counts as
/// `INFO`.
impl From<LineView> for NewLogLine {
    fn from(line: LineView) -> Self {
        let LineView { number: _, logged_at, location, level, body } = line;
        Self { logged_at, location, level: LogLevel::named(&level).unwrap_or(LogLevel::Info), body }
    }
}

/// Reads the name of a level.
pub(super) fn level(name: Option<&str>) -> Result<LogLevel, Problem> {
    let Some(name) = name else { return Ok(LogLevel::Debug) };
    LogLevel::named(name).ok_or_else(|| {
        let remedy = "Take `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`";
        Problem::invalid(vec![Fault::new("?level", "`level` is no level of a log line", remedy)])
    })
}

/// Checks the number after which to go on.
pub(super) fn after(asked: Option<u64>) -> Result<u64, Problem> {
    let after = asked.unwrap_or(0);
    if i64::try_from(after).is_err() {
        let remedy = "Take the number of a line";
        return Err(Problem::invalid(vec![Fault::new("?after", "`after` is too large", remedy)]));
    }
    Ok(after)
}

pub(super) async fn list(
    State(api): State<Shared>,
    Place(run_id): Place<String>,
    Query(query): Query<LogQuery>,
) -> Result<Json<Page<LineView>>, Problem> {
    api.store.run(&run_id).await?;
    let limit = page::limit(query.limit)?;
    let level = level(query.level.as_deref())?;
    let after = after(query.after)?;
    let Some(text) = query.search.filter(|text| !text.is_empty()) else {
        let lines = api.store.log_from(&run_id, after, level, limit + 1).await?;
        let page = Page::cut(lines, limit, |line| line.number.to_string());
        return Ok(Json(page.map(LineView::from)));
    };
    let found = api.store.search_log(&run_id, after, level, &text, SEARCHED, limit).await?;
    let items = found.lines.into_iter().map(LineView::from).collect();
    Ok(Json(Page { items, next: found.next.map(|number| number.to_string()) }))
}

pub(super) async fn download(
    State(api): State<Shared>,
    Place(run_id): Place<String>,
) -> Result<Response, Problem> {
    let run = api.store.run(&run_id).await?;
    let file = format!("attachment; filename=\"{}.log\"", run.id);
    // A page at a time, as fast as it is taken.
    let chunks = stream::unfold((api, run.id, Some(0)), |(api, run_id, after)| async move {
        let (text, after) = chunk(&api, &run_id, after?).await;
        Some((text, (api, run_id, after)))
    });
    let mut response = Body::from_stream(chunks.boxed()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Ok(file) = HeaderValue::from_str(&file) {
        headers.insert(header::CONTENT_DISPOSITION, file);
    }
    Ok(response)
}

/// The lines after a number as text, and the number to go on after.
async fn chunk(
    api: &Api,
    run_id: &str,
    after: u64,
) -> (Result<Bytes, crate::StoreError>, Option<u64>) {
    match api.store.log(run_id, after, CHUNK).await {
        Ok(lines) => {
            let is_last = lines.len() < usize::try_from(CHUNK).unwrap_or(usize::MAX);
            let after = lines.last().map(|line| line.number).filter(|_| !is_last);
            let text: String = lines.iter().map(|line| format!("{}\n", line.line)).collect();
            (Ok(text.into()), after)
        }
        // The connection breaks off, so that nobody takes a part for the whole.
        Err(error) => (Err(error), None),
    }
}
