//! Reading rejects of Singer streams again, by the description that the tap gave last.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::Arc,
};

use serde_json::Value;

use super::{own_state, stream::SingerStream, version::Versions};
use crate::{
    reject::StoredReject,
    replay::{Decoded, RejectDecoder},
    stream::{StreamName, StreamSchema},
};

/// Reads rejects of Singer streams.
#[derive(Debug)]
pub struct SingerRejects {
    states: BTreeMap<StreamName, Value>,
    streams: HashMap<StreamName, SingerStream>,
}

impl SingerRejects {
    /// A decoder of the streams that have these states.
    #[must_use]
    pub fn new(states: &BTreeMap<StreamName, Value>) -> Self {
        Self { states: states.clone(), streams: HashMap::new() }
    }
}

/// Reads rows again that the loader has rendered ([`crate::row::render`]), whatever source they came from.
#[must_use]
pub fn read_rendered(schema: &Arc<StreamSchema>, records: &[&str]) -> Decoded {
    SingerStream::of_columns(schema).decode(records.iter().copied())
}

fn open(name: &StreamName, state: Option<&Value>) -> Result<SingerStream, String> {
    let message = state.and_then(|state| own_state::description(name, state));
    let message = message.ok_or_else(|| {
        format!("No description of `{name}` is stored; load it once with this version first")
    })?;
    SingerStream::new(message, Versions::new(None))
        .map(SingerStream::that_takes_columns)
        .map_err(|error| format!("`{name}` can't be loaded as it is described: {error}"))
}

impl RejectDecoder for SingerRejects {
    fn decode(
        &mut self,
        stream: &StreamName,
        rejects: &[&StoredReject],
    ) -> Result<Decoded, String> {
        let open = match self.streams.entry(stream.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(open(stream, self.states.get(stream))?),
        };
        let decoded = open.decode(rejects.iter().map(|reject| reject.record.as_str()));
        for field in open.take_unknown() {
            tracing::warn!(stream = %stream, "Field `{field}` of `{stream}` is not in the schema and is left out");
        }
        Ok(decoded)
    }
}
