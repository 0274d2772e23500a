//! Reading rejects again: the XML of single objects, by the very decoder that reads pages, and rows that the loader has
//! rendered. Nothing is asked of the account; what it told of custom fields stands in the state of contacts.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::{
    array::{RecordBatch, RecordBatchOptions, UInt64Array},
    compute::{concat_batches, take_record_batch},
    error::ArrowError,
};
use bronto_client::{Function, RowDefect, decode};
use replication::{
    reject::{ReasonCode, StoredReject},
    replay::{Decoded, RejectDecoder},
    singer_source::read_rendered,
    source::{SourceError, SourceErrorKind},
    stream::{StreamName, StreamSchema},
};
use serde_json::Value;

use crate::{
    activity_id::{IdScheme, lossless_id},
    bookmark::StreamState,
    config::TapConfig,
    custom_fields::{self, CustomColumns, KnownFields},
    page::{PageReject, PageSink},
    rows::{BuiltRows, id_array},
    streams::{BrontoStream, RowForm, SelectedStream},
};

/// Reads rejects of Bronto's streams.
#[derive(Debug)]
pub struct BrontoRejects {
    streams: HashMap<StreamName, StreamRejects>,
}

#[derive(Debug)]
struct StreamRejects {
    stream: BrontoStream,
    scheme: IdScheme,
    schema: Arc<StreamSchema>,
    sink: PageSink,
}

impl BrontoRejects {
    /// A decoder of the streams that are selected, in the columns that are selected.
    ///
    /// # Errors
    /// When a state can't be understood, or ids of activities would be made by another scheme than before.
    pub fn new(
        config: &TapConfig,
        states: &BTreeMap<StreamName, Value>,
    ) -> Result<Self, SourceError> {
        let open = |selected: &SelectedStream| {
            let name = selected.stream().stream_name();
            let state =
                StreamState::read(selected.stream(), states.get(&name), config.activity_id)?;
            Ok((name, StreamRejects::open(config, selected, &state)?))
        };
        let streams = config.selection.iter().map(open).collect::<Result<_, SourceError>>()?;
        Ok(Self { streams })
    }
}

impl RejectDecoder for BrontoRejects {
    fn decode(
        &mut self,
        stream: &StreamName,
        rejects: &[&StoredReject],
    ) -> Result<Decoded, String> {
        let stream = self.streams.get_mut(stream).ok_or_else(|| {
            format!(
                "`{stream}` is not among the tables of the integration; add it, and replay again"
            )
        })?;
        stream.decode(rejects).map_err(|error| {
            format!("The rejects of `{}` could not be made rows: {error}", stream.schema.table())
        })
    }
}

impl StreamRejects {
    fn open(
        config: &TapConfig,
        selected: &SelectedStream,
        state: &StreamState,
    ) -> Result<Self, SourceError> {
        let stream = selected.stream();
        let known = KnownFields::read(state.kept(custom_fields::FIELDS))?;
        let custom = selected.custom_fields().choose(known.all(), &known).map_err(|unknown| {
            SourceError::new(
                SourceErrorKind::Configuration,
                unknown.to_string(),
                "Correct the name in the selection of columns, or remove it",
            )
        })?;
        let custom = Arc::new(CustomColumns::new(custom));
        let mut schema = selected.schema(config.numbers);
        custom.extend(&mut schema, config.numbers);
        let form = RowForm::Columns(config.numbers);
        let sink = PageSink::new(selected, &custom, config.activity_id, form);
        Ok(Self { stream, scheme: config.activity_id, schema: Arc::new(schema), sink })
    }

    fn decode(&mut self, rejects: &[&StoredReject]) -> Result<Decoded, ArrowError> {
        let mut faults = BTreeMap::new();
        // Where the objects and the rendered rows stood among the rejects.
        let (mut objects, mut numbers) = (Vec::new(), Vec::new());
        let (mut rendered, mut texts) = (Vec::new(), Vec::new());
        for (position, reject) in rejects.iter().enumerate() {
            if reject.record.trim_start().starts_with('{') {
                rendered.push(position);
                texts.push(reject.record.as_str());
                continue;
            }
            match self.object(reject) {
                Ok(()) => {
                    objects.push(position);
                    numbers.push(reject.occurrence());
                }
                Err(fault) => {
                    faults.insert(position, fault);
                }
            }
        }
        let objects_batch = self.take(&numbers)?;
        let rendered_rows = read_rendered(&self.schema, &texts);
        let mut order = objects;
        for (index, position) in rendered.into_iter().enumerate() {
            match rendered_rows.faults.get(&index) {
                Some(fault) => drop(faults.insert(position, fault.clone())),
                None => order.push(position),
            }
        }
        let batches = [&objects_batch, &rendered_rows.rows];
        let joined = concat_batches(&objects_batch.schema(), batches)?;
        let mut places: Vec<u64> = (0..order.len() as u64).collect();
        places.sort_by_key(|&place| usize::try_from(place).ok().and_then(|place| order.get(place)));
        let rows = take_record_batch(&joined, &UInt64Array::from(places))?;
        Ok(Decoded { schema: Arc::clone(&self.schema), rows, faults })
    }

    /// Reads one object into the sink.
    fn object(&mut self, reject: &StoredReject) -> Result<(), (ReasonCode, String)> {
        let not_utf8 = RowDefect::NotUtf8.to_string();
        if reject.reason == not_utf8 {
            // The bytes that stood there were never known as text.
            return Err((ReasonCode::Undecodable, not_utf8));
        }
        let function = function(self.stream);
        let name = function.name();
        let body = format!(
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><s:Body>\
             <b:{name}Response xmlns:b=\"http://api.bronto.com/v4\">{}</b:{name}Response>\
             </s:Body></s:Envelope>",
            reject.record
        );
        let kept = self.sink.kept();
        let answer = decode::rows(function, self.stream.object(), body.as_bytes(), &mut self.sink);
        let rejected = self.sink.last_reject();
        match (answer, self.sink.kept() - kept, rejected) {
            (Ok(decode::Answer::Response(_)), 1, None) => Ok(()),
            (Ok(decode::Answer::Response(_)), 0, Some(PageReject { code, reason, .. })) => {
                Err((code, reason))
            }
            _ => {
                self.sink.back_to(kept);
                Err((ReasonCode::Undecodable, "The record is not the XML of one object".to_owned()))
            }
        }
    }

    /// The objects in the sink as rows; activities get the ids of their numbers.
    fn take(&mut self, numbers: &[u32]) -> Result<RecordBatch, ArrowError> {
        let page = self.sink.take();
        let BuiltRows::Columns(mut arrays) = page.built else {
            unreachable!("the sink was made for columns");
        };
        if self.stream.is_activity() {
            let ids = page.marks.iter().zip(numbers).map(|(mark, number)| match self.scheme {
                IdScheme::Lossless => lossless_id(&mark.key, *number),
                IdScheme::Compatible => mark.key,
            });
            arrays.insert(0, id_array(&ids.collect::<Vec<_>>()));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
        RecordBatch::try_new_with_options(self.schema.arrow(), arrays, &options)
    }
}

fn function(stream: BrontoStream) -> Function {
    match stream {
        BrontoStream::Contact => Function::ReadContacts,
        BrontoStream::InboundActivity => Function::ReadRecentInboundActivities,
        BrontoStream::OutboundActivity => Function::ReadRecentOutboundActivities,
        BrontoStream::List => Function::ReadLists,
        BrontoStream::Unsubscribe => Function::ReadUnsubscribes,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use arrow::array::AsArray;
    use chrono::DateTime;
    use replication::row;

    use super::*;

    fn reject(id: &str, reason: &str, record: &str) -> StoredReject {
        StoredReject {
            id: id.to_owned(),
            stream: StreamName::from("inbound_activity"),
            reason_code: "undecodable".to_owned(),
            reason: reason.to_owned(),
            record: record.to_owned(),
            sequence: 7,
            table_version: 0,
            extracted_at: DateTime::default(),
            replayed_at: None,
        }
    }

    #[test]
    fn objects_and_rendered_rows_are_read_in_their_order_and_what_is_lost_stays_lost() {
        let mut decoder =
            BrontoRejects::new(&TapConfig::new("token".into()), &BTreeMap::new()).unwrap();
        let good = "<return><createdDate>2026-03-04T14:05:09.000-05:00</createdDate><activityType>open</activityType>\
                    <contactId xsi:nil=\"true\"/><linkUrl>a &amp; \u{fffd}</linkUrl></return>";
        let rejects = [
            reject("a", "", good),
            reject(
                "b",
                "",
                r#"{"id":"x","createdDate":"2026-03-04T19:05:09Z","activityType":"click"}"#,
            ),
            reject("c-3", "", good),
            reject("d", &RowDefect::NotUtf8.to_string(), good),
            reject("e", "", "<return><createdDate>soon</createdDate></return>"),
            reject("f", "", "<return><createdDate>"),
            reject("g", "", "</return><return/>"),
            reject("h", "", "{\"id\":null}"),
            reject("i", "", good),
        ];
        let stream = StreamName::from("inbound_activity");
        let decoded = decoder.decode(&stream, &rejects.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(decoded.faults.keys().copied().collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
        let types = decoded.rows.column_by_name("activityType").unwrap().as_string::<i32>();
        let types: Vec<_> = types.iter().flatten().collect();
        assert_eq!(types, ["open", "click", "open", "open"]);
        let ids = decoded.rows.column_by_name("id").unwrap().as_string::<i32>();
        assert_eq!(ids.value(0), ids.value(3));
        assert_eq!(ids.value(1), "x");
        assert_ne!(ids.value(0), ids.value(2), "the third of its kind");
        let shown = row::render(&decoded.schema, &decoded.rows, 0);
        assert!(
            shown.contains("\"linkUrl\":\"a & \u{fffd}\"") && !shown.contains("contactId"),
            "{shown}"
        );

        let other = StreamName::from("orders");
        assert!(decoder.decode(&other, &[]).unwrap_err().contains("not among the tables"));
    }
}
