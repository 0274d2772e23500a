//! `run --backfill`: a span that is read again, or for the first time, beside what is new.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};
use replication::{
    claim::Claim,
    destination::{Destination, DestinationError, DestinationErrorKind},
    edit::{self, StateEdit},
    run::RunOptions,
    source::{Source, Span},
};
use tap_bronto::{BrontoSource, BrontoStream};

use super::refresh;
use crate::{command_line::RunArguments, config::Integration, connect, failure::Failure};

/// How a span is written; part of messages.
const EXAMPLE: &str =
    "write it like `2025-01-01..2025-04-01`; instants such as `2025-01-01T06:00:00Z` will do too";

/// Reads `FROM..TO`: days, which begin at midnight UTC, or instants. The end is not part of the span.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse_span(text: &str) -> Result<Span, String> {
    let (from, before) = text.split_once("..").ok_or(EXAMPLE)?;
    let span = Span { from: parse_bound(from)?, before: parse_bound(before)? };
    if span.from >= span.before {
        return Err("its end must lie after its beginning".to_owned());
    }
    Ok(span)
}

fn parse_bound(text: &str) -> Result<DateTime<Utc>, String> {
    let day = || text.parse::<NaiveDate>().map(|day| day.and_time(NaiveTime::MIN).and_utc());
    let parsed = DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).or_else(|_| day());
    parsed
        .ok()
        .filter(|at| (1970..9999).contains(&at.year()))
        .ok_or_else(|| format!("`{}` is no day; {EXAMPLE}", crate::display::one_line(text, 40)))
}

/// A backfill that was asked for.
#[derive(Debug)]
pub(crate) struct Backfill {
    source: BrontoSource,
    streams: Vec<BrontoStream>,
    span: Span,
}

impl Backfill {
    /// Reads the arguments.
    ///
    /// # Errors
    /// As [`Backfill::new`].
    pub(super) fn of(
        arguments: &RunArguments,
        integration: &Integration,
    ) -> Result<Option<Self>, Failure> {
        let backfill = |span| Self::new(span, &arguments.table, integration);
        arguments.backfill.map(backfill).transpose()
    }

    /// One of a span of some tables, or of all that can be read so.
    ///
    /// # Errors
    /// When the source can't read a span again, a table isn't one of the integration's, or there is nothing to read.
    pub(crate) fn new(
        span: Span,
        tables: &[String],
        integration: &Integration,
    ) -> Result<Self, Failure> {
        let source = connect::rereadable(integration)?;
        if span.from >= Utc::now() {
            return Err(Failure::configuration("The backfill lies in the future"));
        }
        let whole = BrontoStream::List.name();
        if tables.iter().any(|table| table == whole) {
            return Err(Failure::configuration(format!("`{whole}` can't be backfilled"))
                .with_hint("Every run reads it whole"));
        }
        let tables = refresh::named_or_all(tables, integration)?;
        let streams = tables.iter().filter_map(|table| BrontoStream::named(table)).collect();
        Ok(Self { source, streams, span })
    }

    /// Writes it down, as an edit of its own: from then on every run goes on with it until it is complete.
    ///
    /// # Errors
    /// When the schema can't be claimed, or the destination fails.
    pub(crate) async fn note(
        &self,
        destination: &dyn Destination,
        options: &RunOptions,
    ) -> Result<(), Failure> {
        let request = refresh::request(options, self.source.fingerprint());
        let decide = |claim: &Claim| {
            let states = self.source.with_backfill(&self.streams, &claim.states, self.span);
            let states = states.map_err(|error| {
                let kind = DestinationErrorKind::Configuration;
                DestinationError::new(kind, error.message, error.remedy)
            })?;
            Ok(StateEdit { states, ..StateEdit::default() })
        };
        edit::edit_states(destination, &request, Utc::now(), decide)
            .await
            .map_err(|error| Failure::from(&error))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_of_days_or_instants() {
        let text = |span: Span| format!("{} {}", span.from.to_rfc3339(), span.before.to_rfc3339());
        assert_eq!(
            text(parse_span("2025-01-01..2025-02-01T06:00:00+02:00").unwrap()),
            "2025-01-01T00:00:00+00:00 2025-02-01T04:00:00+00:00"
        );
        for wrong in ["", "2025-01-01", "..", "2025-02-01..2025-01-01", "2025-02-30..2025-04-01"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }
}
