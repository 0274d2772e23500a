//! The account as a source: all streams at a time, each read by one or more workers with a session of their own.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use bronto_client::Client;
use replication::{
    source::{
        CheckStep, ExtractContext, ExtractOutcome, Source, SourceError, SourceErrorKind, Span,
    },
    stream::StreamName,
};
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::{Digest, Sha256};
use singer::Catalog;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::{
    bookmark::StreamState,
    catalog, check,
    config::TapConfig,
    custom_fields::{self, KnownFields, ReadFailure},
    failure::{Halt, is_about_the_account, source_error},
    reader::{Extraction, OpenError, Round, StreamReader},
    scope::Scope,
    streams::{BrontoStream, SelectedStream},
};

/// A Bronto account.
///
/// Every stream is read by workers of its own, at most [`TapConfig::concurrency`] in all at a time. A stream that fails
/// doesn't stop the others, unless the account as a whole can't be used.
#[derive(Clone, Debug)]
pub struct BrontoSource {
    config: TapConfig,
    client: Client,
    scope: Scope,
}

impl BrontoSource {
    /// Makes the source. Nothing is sent yet.
    ///
    /// # Errors
    /// [`SourceErrorKind::Configuration`] when the settings can't work together.
    pub fn new(config: TapConfig) -> Result<Self, SourceError> {
        config.validate().map_err(|problem| {
            SourceError::new(SourceErrorKind::Configuration, problem.message, problem.remedy)
        })?;
        let client = Client::new(config.client()).map_err(|error| source_error(&error))?;
        Ok(Self { config, client, scope: Scope::default() })
    }

    /// The same source, which reads only these spans, and sends no bookmark that moves. Streams that aren't named are
    /// not read; lists come whole, and as rows of the live table.
    #[must_use]
    pub fn only(mut self, spans: BTreeMap<BrontoStream, Vec<Span>>) -> Self {
        self.config.selection.retain(|selected| spans.contains_key(&selected.stream()));
        self.scope = Scope::Only(spans);
        self
    }

    pub(crate) fn config(&self) -> &TapConfig {
        &self.config
    }

    /// The streams that are read, in order.
    #[must_use]
    pub fn streams(&self) -> &[SelectedStream] {
        &self.config.selection
    }
}

impl BrontoSource {
    /// What can be selected: the streams with their columns, and the custom fields that the account has now. Their
    /// columns have the names that the state of contacts fixed, if there is one.
    ///
    /// # Errors
    /// When the account can't be asked.
    pub async fn discover(&self, contacts: Option<&Value>) -> Result<Catalog, SourceError> {
        let kept = contacts.and_then(|state| state.get(custom_fields::FIELDS));
        let mut known = KnownFields::read(kept)?;
        let mut session = self.client.session().await.map_err(|error| source_error(&error))?;
        let page_size = self.config.page_size;
        let survey = custom_fields::survey(&mut session, page_size, &mut known, false).await;
        let survey = survey.map_err(|failure| match failure {
            ReadFailure::Client(error) => source_error(&error),
            ReadFailure::Source(error) => error,
        })?;
        Ok(catalog::discover(&survey.fields))
    }
}

#[async_trait]
impl Source for BrontoSource {
    /// `bronto:`, the endpoint's host, and the first 12 hexadecimal digits of a digest of the token. A replaced token
    /// is another fingerprint; the API offers nothing else by which to know an account.
    fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(b"backstitch bronto token\0");
        digest.update(self.config.token.expose_secret());
        let digest = hex::encode(digest.finalize());
        format!("bronto:{}:{}", self.config.endpoint.host(), &digest[..12])
    }

    async fn check(&self) -> Vec<CheckStep> {
        check::run(&self.client, &self.config).await
    }

    async fn extract(
        self: Box<Self>,
        context: ExtractContext,
    ) -> Result<ExtractOutcome, SourceError> {
        let Self { config, client, scope } = *self;
        let mut workers = Vec::with_capacity(config.selection.len());
        for selected in &config.selection {
            let stored = context.state.get(&selected.stream().stream_name());
            workers.push((
                selected.clone(),
                StreamState::read(selected.stream(), stored, config.activity_id)?,
            ));
        }
        let extraction = Arc::new(Extraction::new(config, context, client, scope));
        let mut running = JoinSet::new();
        for (selected, state) in workers {
            let extraction = Arc::clone(&extraction);
            let reading = async move {
                let name = selected.stream().stream_name();
                (name, read_stream(extraction, &selected, state).await)
            };
            running.spawn(reading.in_current_span());
        }
        gather(running, &extraction).await
    }
}

/// How a worker ended early.
enum Ended {
    Halt(Halt),
    /// Nothing more can be read by any stream.
    Account(SourceError),
}

async fn read_stream(
    extraction: Arc<Extraction>,
    selected: &SelectedStream,
    mut state: StreamState,
) -> Result<(), Ended> {
    let mut round = Round::First;
    loop {
        let opened = StreamReader::open(Arc::clone(&extraction), selected, state, round).await;
        let reader = opened.map_err(|error| match error {
            OpenError::Login(error) if is_about_the_account(&error) => {
                Ended::Account(source_error(&error))
            }
            OpenError::Login(error) => Ended::Halt(Halt::Failed(source_error(&error))),
            OpenError::Refused(error) => Ended::Account(error),
            OpenError::Halt(halt) => Ended::Halt(halt),
        })?;
        match Box::pin(reader.read()).await.map_err(Ended::Halt)? {
            Some(unfinished) => (state, round) = (unfinished, Round::Further),
            None => return Ok(()),
        }
    }
}

/// Waits for all workers; tells them to give up when one of them finds that nothing more can be read.
async fn gather(
    mut running: JoinSet<(StreamName, Result<(), Ended>)>,
    extraction: &Extraction,
) -> Result<ExtractOutcome, SourceError> {
    let mut outcome = ExtractOutcome::default();
    let mut fatal = None;
    while let Some(ended) = running.join_next().await {
        let (name, error) = match ended {
            Ok((_, Ok(()))) => continue,
            Ok((_, Err(Ended::Halt(Halt::Interrupted)))) => {
                outcome.interrupted = true;
                continue;
            }
            Ok((
                name,
                Err(Ended::Halt(
                    Halt::Failed(error) | Halt::CursorLost(error) | Halt::StartTooOld(error),
                )),
            )) => (name, error),
            Ok((_, Err(Ended::Account(error)))) => {
                extraction.give_up.cancel();
                fatal.get_or_insert(error);
                continue;
            }
            Err(error) => {
                extraction.give_up.cancel();
                let bug = "This is a bug in this program; report it";
                let panic =
                    SourceError::new(SourceErrorKind::Bug, "A worker ended unexpectedly", bug);
                fatal.get_or_insert(panic.caused_by(error));
                continue;
            }
        };
        if error.kind == SourceErrorKind::LoaderGone {
            extraction.give_up.cancel();
            fatal.get_or_insert(error);
        } else {
            tracing::error!("Reading {name} failed: {}", chain(&error));
            outcome.failed.push((name, error));
        }
    }
    match fatal {
        Some(error) => Err(error),
        None => Ok(outcome),
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
