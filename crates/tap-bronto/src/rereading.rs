//! The account as something whose spans can be read again, to be compared with what a destination holds.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use replication::{
    audit::Rereadable,
    source::{FAR, Source, SourceError, SourceErrorKind, Span},
    stream::{StreamName, StreamSchema},
};
use serde_json::Value;

use crate::{
    activity_id::IdScheme,
    bookmark::StreamState,
    source::BrontoSource,
    streams::{BrontoStream, SelectedStream},
    window::{self, Window},
};

/// Activities can be read for 30 days; a day is left for clocks that differ. Exactly where it ends is told by the source.
const READABLE: TimeDelta = TimeDelta::days(31);

/// Values of contacts that follow what happens to them. Whether they move `modified` is not documented.
const DRIFTING_OF_CONTACTS: [&str; 25] = [
    "numSends",
    "numOpens",
    "numClicks",
    "numBounces",
    "numConversions",
    "conversionAmount",
    "lastDeliveryDate",
    "lastOpenDate",
    "lastClickDate",
    "firstOrderDate",
    "lastOrderDate",
    "lastOrderTotal",
    "totalOrders",
    "totalRevenue",
    "averageOrderValue",
    "geoIPCity",
    "geoIPStateRegion",
    "geoIPZip",
    "geoIPCountry",
    "geoIPCountryCode",
    "primaryBrowser",
    "mobileBrowser",
    "primaryEmailClient",
    "mobileEmailClient",
    "operatingSystem",
];

/// What activities say of other objects, which can be renamed or change after them; the ids of activities leave it out
/// for the same reason.
const DRIFTING_OF_ACTIVITIES: [&str; 10] = [
    "automatorName",
    "contactStatus",
    "linkName",
    "listLabel",
    "listName",
    "messageName",
    "segmentName",
    "smsKeywordName",
    "webformName",
    "workflowName",
];

/// A stream that can be read again.
#[derive(Debug, Clone)]
pub struct RereadableStream {
    /// Its schema, without custom fields, which only the account knows.
    pub schema: StreamSchema,
    /// Columns whose values move by themselves.
    pub drifting: BTreeSet<String>,
    /// Up to where it was read; none if it never was.
    pub bookmark: Option<DateTime<Utc>>,
    /// Whether it is read whole by every run.
    pub is_whole: bool,
    /// From when on the account still gives it, about; none if it gives everything.
    pub readable_since: Option<DateTime<Utc>>,
}

impl BrontoSource {
    /// The states of these streams, where they change, with a span that is to be read beside what is new,
    /// whatever their bookmarks say. Every extraction goes on with what is left of it. Lists are read whole anyway.
    ///
    /// # Errors
    /// When a state can't be used.
    pub fn with_backfill(
        &self,
        streams: &[BrontoStream],
        states: &BTreeMap<StreamName, Value>,
        span: Span,
    ) -> Result<BTreeMap<StreamName, Value>, SourceError> {
        let mut noted = BTreeMap::new();
        for stream in streams {
            let name = stream.stream_name();
            let scheme = self.config().activity_id;
            if let Some(state) = with_backfill(*stream, states.get(&name), span, scheme)? {
                noted.insert(name, state);
            }
        }
        Ok(noted)
    }

    /// The selected streams, by their states.
    ///
    /// # Errors
    /// When a state can't be used.
    pub fn rereadable(
        &self,
        states: &BTreeMap<StreamName, Value>,
        now: DateTime<Utc>,
    ) -> Result<Vec<RereadableStream>, SourceError> {
        self.streams()
            .iter()
            .map(|selected| self.rereadable_stream(selected, states, now))
            .collect()
    }

    fn rereadable_stream(
        &self,
        selected: &SelectedStream,
        states: &BTreeMap<StreamName, Value>,
        now: DateTime<Utc>,
    ) -> Result<RereadableStream, SourceError> {
        let stream = selected.stream();
        let stored = states.get(&stream.stream_name());
        let state = StreamState::read(stream, stored, self.config().activity_id)?;
        let names: &[&str] = match stream {
            BrontoStream::Contact => &DRIFTING_OF_CONTACTS,
            BrontoStream::InboundActivity | BrontoStream::OutboundActivity => {
                &DRIFTING_OF_ACTIVITIES
            }
            BrontoStream::List => &["activeCount"],
            BrontoStream::Unsubscribe => &[],
        };
        Ok(RereadableStream {
            schema: selected.schema(self.config().numbers),
            drifting: names.iter().map(|name| (*name).to_owned()).collect(),
            bookmark: state.bookmark(),
            is_whole: stream == BrontoStream::List,
            readable_since: stream.is_activity().then(|| midnight(now - READABLE)),
        })
    }
}

/// A stream's state with a backfill; none if that changes nothing.
fn with_backfill(
    stream: BrontoStream,
    state: Option<&Value>,
    span: Span,
    scheme: IdScheme,
) -> Result<Option<Value>, SourceError> {
    if stream == BrontoStream::List {
        return Ok(None);
    }
    let mut state = StreamState::read(stream, state, scheme)?;
    let wanted = Window::new(window::floor(span.from), window::ceiling(span.before));
    let known = state.backfill();
    let covers =
        |known: &Window| known.from() <= wanted.from() && wanted.before() <= known.before();
    if known.iter().any(covers) {
        return Ok(None);
    }
    let spans = known.iter().copied().chain([wanted]).collect();
    Ok(Some(state.set_backfill(spans)))
}

impl Rereadable for BrontoSource {
    fn again(&self, stream: &StreamName, spans: &[Span]) -> Result<Box<dyn Source>, SourceError> {
        let spans = BTreeMap::from([(named(stream)?, spans.to_vec())]);
        Ok(Box::new(Self::new(self.config().clone())?.only(spans)))
    }

    fn since(
        &self,
        stream: &StreamName,
        from: DateTime<Utc>,
    ) -> Result<Box<dyn Source>, SourceError> {
        let mut config = self.config().clone();
        (config.settle_seconds, config.end_date) = (0, None);
        let spans = vec![Span { from, before: FAR }];
        let spans = BTreeMap::from([(named(stream)?, spans)]);
        Ok(Box::new(Self::new(config)?.only(spans)))
    }
}

fn midnight(at: DateTime<Utc>) -> DateTime<Utc> {
    at.date_naive().and_time(NaiveTime::MIN).and_utc()
}

fn named(stream: &StreamName) -> Result<BrontoStream, SourceError> {
    BrontoStream::named(stream.as_str()).ok_or_else(|| {
        SourceError::new(
            SourceErrorKind::Bug,
            format!("`{stream}` is no stream of Bronto"),
            "This is a bug in this program; report it",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drifts_are_columns_that_are_no_keys() {
        for (stream, names) in [
            (BrontoStream::Contact, &DRIFTING_OF_CONTACTS[..]),
            (BrontoStream::InboundActivity, &DRIFTING_OF_ACTIVITIES),
        ] {
            for name in names {
                assert!(stream.columns().iter().any(|column| column.name == *name), "{name}");
                assert!(!stream.is_automatic(name), "{name}");
            }
        }
        for name in DRIFTING_OF_ACTIVITIES {
            assert!(!crate::activity_id::LOSSLESS_FIELDS.contains(&name), "{name}");
        }
    }
}
