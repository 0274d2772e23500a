//! One stream of the input: its columns, the rows that wait to be sent, and the rows that can't be.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions},
    compute::filter_record_batch,
    datatypes::SchemaRef,
};
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use singer::SchemaMessage;

use super::{
    column::Column,
    layout::Layout,
    not_a_number,
    own_state::OwnState,
    record::{self, Fault, UnknownFields},
    retraction::Coverage,
    straight,
    version::Versions,
};
use crate::{
    event::{Bookmark, Reading, RowBatch},
    reject::{Occurrence, ReasonCode, RejectedRow},
    replay::Decoded,
    sequence::SequenceClock,
    stream::{Method, StreamName, StreamSchema, WinnerRule},
};

/// A record that can't be read straight counts as much as so many that can.
const STRAY: u32 = 8;
/// Beyond this count it isn't tried any more: reading twice costs more than it saves.
const MAX_STRAYS: u32 = 1_000;

/// Why a stream can't be loaded as it is described.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error(transparent)]
    Schema(#[from] singer::SchemaError),
    #[error("The stream has no name")]
    Nameless,
    #[error("The name of the stream holds the character U+0000")]
    UnusableName,
    #[error("The key field `{0}` is not a field of the schema")]
    MissingKey(String),
    #[error("The key field `{0}` can hold other values than plain ones of one type")]
    UnusableKey(String),
}

/// A stream as its last SCHEMA message describes it.
#[derive(Debug)]
pub(super) struct SingerStream {
    message: SchemaMessage,
    schema: Arc<StreamSchema>,
    arrow: SchemaRef,
    layout: Layout,
    keys: Vec<usize>,
    columns: Vec<Column>,
    waiting: Buffered,
    unknown: UnknownFields,
    /// For texts that aren't written as they are.
    scratch: String,
    /// How many records, lately, could not be read straight.
    strays: u32,
    pub(super) versions: Versions,
    /// How far its rows are covered by states, where that has to be known.
    pub(super) coverage: Option<Coverage>,
    pub(super) own: OwnState,
}

/// The rows that were not sent yet, besides their values.
#[derive(Debug, Default)]
struct Buffered {
    /// Records that came, counted as they come and not from what was made of them.
    read: u64,
    /// Rows in the columns, given up ones included.
    rows: usize,
    /// The rows that were given up, by position.
    given_up: Vec<usize>,
    /// When each of the rows was read from the source, in microseconds.
    extracted: Vec<i64>,
    rejects: Vec<Rejected>,
    bytes: u64,
    /// The version that the rows wait in.
    version: Option<i64>,
    /// When the first of them was received, and when it had been read from the source.
    since: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// A row that can't be loaded.
#[derive(Debug)]
struct Rejected {
    /// How many good rows came before it.
    position: usize,
    fault: Fault,
    record: String,
    extracted_at: DateTime<Utc>,
    version: i64,
}

/// What comes with a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) received_at: DateTime<Utc>,
    /// When the tap read the row, if it said so.
    pub(super) time_extracted: Option<DateTime<Utc>>,
    /// The version that the tap gave the row.
    pub(super) version: Option<i64>,
    /// How many bytes of input it took.
    pub(super) bytes: usize,
}

impl Arrival {
    /// When the row was read from the source, as far as that is known.
    fn extracted_at(&self) -> DateTime<Utc> {
        self.time_extracted.unwrap_or(self.received_at)
    }
}

impl SingerStream {
    /// A stream with this description.
    pub(super) fn new(message: SchemaMessage, versions: Versions) -> Result<Self, StreamError> {
        if message.stream.is_empty() {
            return Err(StreamError::Nameless);
        }
        if message.stream.contains('\0') {
            return Err(StreamError::UnusableName);
        }
        let properties = singer::StreamSchema::read(&message.schema)?.properties;
        let layout = Layout::of(&properties);
        let position =
            |name: &String| layout.columns.iter().position(|column| column.name == *name);
        let mut keys = Vec::new();
        for name in message.keys() {
            if !properties.contains_key(name) {
                return Err(StreamError::MissingKey(name.clone()));
            }
            match position(name) {
                Some(index) if layout.columns[index].kind.can_be_key() => keys.push(index),
                _ => return Err(StreamError::UnusableKey(name.clone())),
            }
        }
        let replication_key =
            message.bookmark_properties.first().filter(|name| position(name).is_some());
        let schema = StreamSchema {
            stream: StreamName::new(message.stream.as_str()),
            columns: layout.stream_columns(),
            key: message.keys().to_vec(),
            replication_key: replication_key.cloned(),
            method: Method::Incremental,
            winner: WinnerRule::Sequence,
        };
        let columns = layout.columns.iter().map(|column| Column::new(&column.kind, 0, 0)).collect();
        let arrow = schema.arrow();
        let schema = Arc::new(schema);
        Ok(Self {
            message,
            schema,
            arrow,
            layout,
            keys,
            columns,
            waiting: Buffered::default(),
            unknown: UnknownFields::default(),
            scratch: String::new(),
            strays: 0,
            versions,
            coverage: None,
            own: OwnState::default(),
        })
    }

    /// A stream of rows as the loader renders them: a field for each column.
    pub(super) fn of_columns(schema: &Arc<StreamSchema>) -> Self {
        let layout = Layout::of_columns(&schema.columns);
        let keys = schema.key.iter().filter_map(|name| schema.position(name)).collect();
        let columns = layout.columns.iter().map(|column| Column::new(&column.kind, 0, 0)).collect();
        let message = SchemaMessage {
            stream: schema.stream.to_string(),
            schema: serde_json::Value::Null,
            key_properties: None,
            bookmark_properties: Vec::new(),
        };
        Self {
            message,
            schema: Arc::clone(schema),
            arrow: schema.arrow(),
            layout,
            keys,
            columns,
            waiting: Buffered::default(),
            unknown: UnknownFields::default(),
            scratch: String::new(),
            strays: 0,
            versions: Versions::default(),
            coverage: None,
            own: OwnState::default(),
        }
    }

    /// The same stream, whose records may also name the columns that their fields become: rejects that the loader made
    /// do.
    pub(super) fn that_takes_columns(mut self) -> Self {
        self.layout.take_columns();
        self
    }

    /// Reads records by themselves.
    pub(super) fn decode<'r>(&mut self, records: impl Iterator<Item = &'r str>) -> Decoded {
        let (mut faults, mut is_good) = (BTreeMap::new(), Vec::new());
        for (position, text) in records.enumerate() {
            let read = read_json(text).and_then(|record| self.read(record, position));
            is_good.push(read.is_ok());
            if let Err(Fault { code, reason }) = read {
                faults.insert(position, (code, reason));
            }
        }
        let rows = self.take_rows(is_good.len(), &is_good);
        Decoded { schema: Arc::clone(&self.schema), rows, faults }
    }

    /// Reads a record into the columns, all of which have one row more afterwards.
    fn read(&mut self, record: &RawValue, row: usize) -> Result<(), Fault> {
        let (layout, columns) = (&self.layout, &mut self.columns);
        let read =
            record::read(record, &layout.fields, &layout.columns, columns, row, &mut self.unknown);
        columns.iter_mut().for_each(|column| column.pad(row + 1));
        read.and_then(|()| self.check_keys())
    }

    /// The rows in the columns as a batch, without those that are no good.
    fn take_rows(&mut self, count: usize, is_good: &[bool]) -> RecordBatch {
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(Column::take).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.arrow), arrays, &options)
            .expect("every column has a value for every row, in the schema's types");
        if is_good.iter().all(|is_good| *is_good) {
            return batch;
        }
        filter_record_batch(&batch, &BooleanArray::from(is_good.to_vec()))
            .expect("the filter has one flag for every row of its batch")
    }

    /// What is to be stored about the stream itself.
    pub(super) fn own_state(&mut self, version: Option<i64>, covered: Option<i64>) -> Bookmark {
        let state = self.own.set(version, covered, &self.message);
        Bookmark { stream: Some(self.schema.stream.clone()), state, display: None }
    }

    /// The same with nothing changed but the description, if that is news.
    pub(super) fn description_news(&mut self) -> Option<Bookmark> {
        let state = self.own.describe(&self.message)?;
        Some(Bookmark { stream: Some(self.schema.stream.clone()), state, display: None })
    }

    /// The stream's name.
    pub(super) fn name(&self) -> &StreamName {
        &self.schema.stream
    }

    /// The schema as destinations see it.
    pub(super) fn schema(&self) -> &Arc<StreamSchema> {
        &self.schema
    }

    /// Whether the message describes the stream as it is already.
    pub(super) fn is_described_by(&self, message: &SchemaMessage) -> bool {
        self.message == *message
    }

    /// Fields of the schema that are left out because the loader has columns of these names itself.
    pub(super) fn left_out(&self) -> &[String] {
        &self.layout.left_out
    }

    /// Fields that records had and the schema hasn't, each once.
    pub(super) fn take_unknown(&mut self) -> Vec<String> {
        self.unknown.take_fresh()
    }

    /// Whether rows that were not sent yet wait in another version than this.
    pub(super) fn must_send_before(&self, version: Option<i64>) -> bool {
        self.waiting.since.is_some() && self.waiting.version != version
    }

    /// Takes a record, which waits in `version`. Returns a batch that has to be sent first, if any.
    pub(super) fn take(
        &mut self,
        record: &RawValue,
        arrival: Arrival,
        version: Option<i64>,
        sequence: &SequenceClock,
    ) -> Option<RowBatch> {
        let row = self.waiting.rows;
        self.waiting.add(arrival, version);
        match self.read(record, row) {
            Ok(()) => None,
            Err(fault) => {
                self.waiting.given_up.push(row);
                self.keep_out(fault, record.get(), arrival, version, sequence)
            }
        }
    }

    /// Reads the rest of a line that is a RECORD message of this stream. Returns false if that can't be done straight;
    /// nothing was taken then, and the line has to be read with care.
    pub(super) fn take_straight(
        &mut self,
        line: straight::Reader<'_>,
        received_at: DateTime<Utc>,
        bytes: usize,
    ) -> bool {
        if self.strays > MAX_STRAYS || self.must_send_before(None) {
            return false;
        }
        let row = self.waiting.rows;
        let (columns, unknown, scratch) = (&mut self.columns, &mut self.unknown, &mut self.scratch);
        let mut into = straight::Row { columns, row, unknown, filled: 0, scratch };
        let read = line.finish(&self.layout.fields, &mut into);
        if into.filled < self.columns.len() || read.is_none() {
            self.columns.iter_mut().for_each(|column| column.pad(row + 1));
        }
        let active = self.versions.active();
        let read = read.filter(|read| read.version.is_none() || read.version == active);
        let Some(read) = read.filter(|_| self.check_keys().is_ok()) else {
            self.waiting.skip_row();
            self.strays += STRAY;
            return false;
        };
        self.strays = self.strays.saturating_sub(1);
        let time_extracted = read.time_extracted.and_then(DateTime::from_timestamp_micros);
        let arrival = Arrival { received_at, time_extracted, version: read.version, bytes };
        self.waiting.add(arrival, None);
        true
    }

    /// Takes a record that can't even be read. Returns a batch that has to be sent first, if any.
    pub(super) fn reject(
        &mut self,
        fault: Fault,
        record: &str,
        arrival: Arrival,
        version: Option<i64>,
        sequence: &SequenceClock,
    ) -> Option<RowBatch> {
        self.waiting.read += 1;
        self.keep_out(fault, record, arrival, version, sequence)
    }

    /// Keeps a record out of the table.
    ///
    /// A reject has the sequence of the good row after it: it outranks what came before it and yields to what comes
    /// after, should it ever be loaded. Of two that come in a row, the second therefore starts a batch, where there is
    /// room for any number of sequences before the first good row.
    fn keep_out(
        &mut self,
        fault: Fault,
        record: &str,
        arrival: Arrival,
        version: Option<i64>,
        sequence: &SequenceClock,
    ) -> Option<RowBatch> {
        let position = self.waiting.good_rows();
        let is_second =
            self.waiting.rejects.last().is_some_and(|reject| reject.position == position);
        let full = if is_second && position > 0 {
            // This record goes with the next batch.
            self.waiting.read -= 1;
            let full = self.send(sequence);
            self.waiting.read += 1;
            full
        } else {
            None
        };
        self.waiting.open(arrival, version);
        self.waiting.rejects.push(Rejected {
            position: self.waiting.good_rows(),
            fault,
            record: record.to_owned(),
            extracted_at: arrival.extracted_at(),
            version: arrival.version.or(self.versions.active()).unwrap_or_default(),
        });
        full
    }

    /// Takes everything out that was not sent yet, as one batch.
    pub(super) fn send(&mut self, sequence: &SequenceClock) -> Option<RowBatch> {
        let Buffered { read, rows, given_up, extracted, rejects, bytes, version, since } =
            std::mem::take(&mut self.waiting);
        let Some((received_at, extracted_at)) = since else {
            // What was reached of a line that could not be read straight, and that no row came of.
            self.columns.iter_mut().for_each(|column| drop(column.take()));
            return None;
        };
        let mut is_good = vec![true; rows];
        for row in given_up {
            is_good[row] = false;
        }
        let batch = self.take_rows(rows, &is_good);
        let mut extracted_each = extracted;
        let mut flags = is_good.iter();
        extracted_each.retain(|_| flags.next().is_none_or(|is_good| *is_good));
        let leading = rejects.iter().take_while(|reject| reject.position == 0).count();
        let first = sequence.reserve(received_at, leading + batch.num_rows() + 1);
        let first_sequence = first.saturating_add(signed(leading));
        let rejects = rejects.into_iter().enumerate().map(|(index, reject)| {
            let offset = if reject.position == 0 { index } else { leading + reject.position };
            reject.into_row(self.name(), first.saturating_add(signed(offset)))
        });
        let rejects = rejects.collect();
        if let Some(coverage) = &mut self.coverage {
            coverage.sent(first_sequence.saturating_add(signed(batch.num_rows())));
        }
        Some(RowBatch {
            schema: Arc::clone(&self.schema),
            version,
            rows: batch,
            first_sequence,
            table_version: self.versions.active().unwrap_or_default(),
            extracted_at,
            extracted_each: Some(extracted_each.into()),
            rejects,
            reading: Reading { read, bytes, ..Reading::default() },
        })
    }

    /// Every key column has a value in the last row.
    fn check_keys(&self) -> Result<(), Fault> {
        match self.keys.iter().find(|&&key| self.columns[key].last_is_null()) {
            None => Ok(()),
            Some(&key) => Err(Fault {
                code: ReasonCode::MissingKey,
                reason: format!(
                    "The key field `{}` is missing or null",
                    self.layout.columns[key].name
                ),
            }),
        }
    }
}

impl Buffered {
    fn open(&mut self, arrival: Arrival, version: Option<i64>) {
        self.version = version;
        self.since.get_or_insert((arrival.received_at, arrival.extracted_at()));
    }

    /// Adds a record whose values are the next row of the columns.
    fn add(&mut self, arrival: Arrival, version: Option<i64>) {
        self.open(arrival, version);
        self.read += 1;
        self.rows += 1;
        self.extracted.push(arrival.extracted_at().timestamp_micros());
        self.bytes += arrival.bytes as u64;
    }

    /// The next row of the columns is none.
    fn skip_row(&mut self) {
        self.given_up.push(self.rows);
        self.rows += 1;
        self.extracted.push(0);
    }

    fn good_rows(&self) -> usize {
        self.rows - self.given_up.len()
    }
}

impl Rejected {
    fn into_row(self, stream: &StreamName, sequence: i64) -> RejectedRow {
        RejectedRow {
            stream: stream.clone(),
            code: self.fault.code,
            reason: self.fault.reason,
            record: self.record,
            key_digest: None,
            sequence,
            table_version: self.version,
            extracted_at: self.extracted_at,
            occurrence: Occurrence::Uncounted,
            replays: None,
        }
    }
}

fn read_json(text: &str) -> Result<&RawValue, Fault> {
    serde_json::from_str(text).map_err(|_| match not_a_number::masked(text) {
        Some(_) => not_a_number::fault(),
        None => Fault {
            code: ReasonCode::Undecodable,
            reason: "The record is not the text of a JSON value".to_owned(),
        },
    })
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
