//! The Singer source: any tap's messages, from standard input or a child's output, as events.
//!
//! | module | does |
//! |---|---|
//! | `line` | cuts the input into lines of bounded length |
//! | `extraction` | decides what each message means and when rows and states are sent |
//! | `stream` | gathers one stream's rows and rejects into batches |
//! | `layout` | turns a JSON Schema into columns, once per schema |
//! | `straight` | reads a line that is as most are straight into columns |
//! | `record`, `column`, `number` | read a record's text into columns, and find what is wrong with it |
//! | `retraction` | knows which rows without a key a stored state covers |
//! | `own_state` | holds what is stored of a stream itself |
//! | `replay` | reads rejects again |
//! | `items` | reads the objects of an array |
//! | `version` | keeps the order of table versions |
//! | `not_a_number` | lets `NaN` cost one row instead of the run |
//!
//! A value that doesn't fit its column makes its row a reject, whole and with its reason. A line that breaks the
//! protocol ends the run, after everything before it has been sent.

use std::time::Duration;

use async_trait::async_trait;
use tokio::{io::AsyncRead, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{
    extraction::Extraction,
    line::{LineError, LineReader},
};
use crate::source::{
    CheckStep, ExtractContext, ExtractOutcome, Source, SourceError, SourceErrorKind,
};

mod column;
mod extraction;
mod items;
mod layout;
mod line;
mod not_a_number;
mod number;
mod own_state;
mod record;
mod replay;
mod retraction;
mod straight;
mod stream;
mod version;

pub use items::{ItemField, Items};
pub use replay::{SingerRejects, read_rendered};
pub(crate) use version::TABLE_VERSION;

#[cfg(test)]
mod tests;

/// How long rows and states wait for company while the input is slow.
const PATIENCE: Duration = Duration::from_secs(1);

/// A stream of Singer messages as a source.
#[derive(Debug)]
pub struct SingerSource<R> {
    input: R,
    fingerprint: String,
    patience: Duration,
    resumes: bool,
}

impl<R: AsyncRead + Unpin + Send + Sync> SingerSource<R> {
    /// Reads messages from `input` until it ends. It need not be buffered.
    ///
    /// `fingerprint` identifies the account behind the tap as far as it is known, for example a digest of the tap's
    /// configuration.
    pub fn new(input: R, fingerprint: impl Into<String>) -> Self {
        Self { input, fingerprint: fingerprint.into(), patience: PATIENCE, resumes: false }
    }

    /// The same source for a tap that goes on from the state that the destination has: rows without a key that came after
    /// that state are taken back, because the tap sends them again.
    #[must_use]
    pub fn that_resumes(mut self) -> Self {
        self.resumes = true;
        self
    }

    /// The same source, holding rows back for at most `patience` while the input is slow.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

#[async_trait]
impl<R: AsyncRead + Unpin + Send + Sync> Source for SingerSource<R> {
    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    /// There is nothing to try: what a stream holds shows only when it is read.
    async fn check(&self) -> Vec<CheckStep> {
        let result = Ok("a stream of Singer messages, read when the run starts".to_owned());
        vec![CheckStep { name: "read the input".to_owned(), result }]
    }

    async fn extract(
        self: Box<Self>,
        context: ExtractContext,
    ) -> Result<ExtractOutcome, SourceError> {
        let mut lines = LineReader::new(self.input);
        let stop = context.stop.clone();
        let mut extraction = Extraction::new(context, self.patience, self.resumes);
        match read(&mut lines, &mut extraction, &stop).await {
            Ok(Ending::Input) => extraction.finish().await,
            Ok(Ending::Stopped) => {
                extraction.flush().await?;
                Ok(ExtractOutcome { interrupted: true, ..ExtractOutcome::default() })
            }
            Err(error) => {
                // What came before the error is good. If it can't be sent, the error that is known already says more.
                if error.kind != SourceErrorKind::LoaderGone {
                    extraction.flush().await.ok();
                }
                Err(error)
            }
        }
    }
}

/// Why reading ended.
enum Ending {
    /// The input did.
    Input,
    /// We were asked to stop.
    Stopped,
}

async fn read<R: AsyncRead + Unpin>(
    lines: &mut LineReader<R>,
    extraction: &mut Extraction,
    stop: &CancellationToken,
) -> Result<Ending, SourceError> {
    loop {
        let has_more = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(Ending::Stopped),
            filled = lines.fill() => filled.map_err(|error| unreadable(error, lines.number() + 1))?,
            () = until(extraction.due_at()) => {
                extraction.flush().await?;
                continue;
            }
        };
        loop {
            let number = lines.number() + 1;
            match lines.next() {
                Ok(Some(line)) => extraction.take(line).await?,
                Ok(None) => break,
                Err(error) => return Err(unreadable(error, number)),
            }
        }
        if !has_more {
            return Ok(Ending::Input);
        }
        if extraction.due_at().is_some_and(|due| due <= Instant::now()) {
            extraction.flush().await?;
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn unreadable(error: LineError, number: u64) -> SourceError {
    let (kind, remedy) = match error {
        LineError::Input(_) => {
            (SourceErrorKind::Unavailable, "See the tap's own log for why its output broke off")
        }
        LineError::TooLong => (
            SourceErrorKind::Malformed,
            "Deselect the field that holds so much, or the stream that it belongs to",
        ),
        LineError::NotUtf8 => (
            SourceErrorKind::Malformed,
            "Make the tap write UTF-8, for example with PYTHONIOENCODING=utf-8",
        ),
    };
    SourceError::new(kind, format!("Line {number} of the Singer stream can't be read"), remedy)
        .caused_by(error)
}
