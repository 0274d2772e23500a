//! The columns of a stream that only the account can tell: custom fields of contacts.

use std::sync::Arc;

use bronto_client::Session;
use chrono::{DateTime, Utc};
use replication::{
    event::{Bookmark, Event},
    source::{SourceError, SourceErrorKind},
};

use super::{Extraction, OpenError};
use crate::{
    bookmark::StreamState,
    custom_fields::{self, CustomColumns, KnownFields, ReadFailure},
    failure::Halt,
    streams::SelectedStream,
};

/// The custom fields to read, with their columns.
#[derive(Debug, Default)]
pub(super) struct Custom {
    pub(super) columns: Arc<CustomColumns>,
    /// How many bytes it took to learn of them.
    pub(super) bytes: u64,
    /// The server's clock when the account was asked. Fields that were added later are not among these.
    pub(super) asked_at: Option<DateTime<Utc>>,
}

/// Asks the account for its custom fields, if any can be selected. What is newly fixed about them is sent as a state at
/// once, so that it is stored no later than the first row that relies on it.
pub(super) async fn custom(
    extraction: &Extraction,
    selected: &SelectedStream,
    session: &mut Session,
    state: &mut StreamState,
) -> Result<Custom, OpenError> {
    if selected.custom_fields().is_none() {
        return Ok(Custom::default());
    }
    let mut known = KnownFields::read(state.kept(custom_fields::FIELDS))
        .map_err(|error| OpenError::Halt(error.into()))?;
    let page_size = extraction.config.page_size;
    let is_resumed = state.bookmark().is_some();
    let survey = tokio::select! {
        biased;
        () = extraction.out_of_time() => return Err(OpenError::Halt(Halt::Interrupted)),
        survey = custom_fields::survey(session, page_size, &mut known, is_resumed) => survey,
    };
    let survey = survey.map_err(|failure| match failure {
        ReadFailure::Client(error) => OpenError::Login(error),
        ReadFailure::Source(error) => OpenError::Halt(Halt::Failed(error)),
    })?;
    let chosen = selected.custom_fields().choose(survey.fields, &known).map_err(|unknown| {
        OpenError::Refused(SourceError::new(
            SourceErrorKind::Configuration,
            unknown.to_string(),
            "Correct the name in the selection of columns, or remove it; `tap-bronto --discover` lists them all",
        ))
    })?;
    if survey.is_news {
        let bookmark = Bookmark {
            stream: Some(selected.stream().stream_name()),
            state: state.keep(custom_fields::FIELDS, known.to_json()),
            display: None,
        };
        let sent = extraction.context.events.send(Event::Bookmark(bookmark)).await;
        sent.map_err(|gone| OpenError::Halt(gone.into()))?;
    }
    Ok(Custom {
        columns: Arc::new(CustomColumns::new(chosen)),
        bytes: survey.bytes,
        asked_at: survey.begun_at,
    })
}
