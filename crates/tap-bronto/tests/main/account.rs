//! A simulated account, and runs of the source against it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bronto_client::{Backoff, lexical};
use bronto_sim::{ClockMode, CustomField, FieldChange, RunningServer, Server, SimConfig, Table};
use chrono::{DateTime, Utc};
use replication::{
    clock::SystemClock,
    event::{self, Event, Gap, Reading, RowBatch},
    progress::ProgressBoard,
    reject::RejectedRow,
    row,
    sequence::SequenceClock,
    source::{ExtractContext, ExtractOutcome, Source, SourceError},
    stream::{ColumnType, StreamName},
};
use serde_json::{Map, Value};
use tap_bronto::{BrontoSource, NumberForm, TapConfig};
use tokio_util::sync::CancellationToken;

/// The five tables with their streams' names.
pub(crate) const TABLES: [(&str, Table); 5] = [
    ("contact", Table::Contact),
    ("inbound_activity", Table::InboundActivity),
    ("outbound_activity", Table::OutboundActivity),
    ("list", Table::List),
    ("unsubscribe", Table::Unsubscribe),
];

/// A server with an account whose newest rows have settled.
pub(crate) struct Account {
    pub(crate) server: RunningServer,
    /// The custom fields with which it began.
    pub(crate) first_fields: Vec<CustomField>,
    token: String,
}

/// What a run did.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// Rows in the order of their events, by stream.
    pub(crate) rows: Vec<(String, Map<String, Value>)>,
    pub(crate) rejects: Vec<RejectedRow>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) readings: BTreeMap<String, Reading>,
    pub(crate) states: BTreeMap<StreamName, Value>,
    pub(crate) bookmarks: usize,
    pub(crate) activated: usize,
    pub(crate) sequences: Vec<i64>,
    pub(crate) interrupted: bool,
    pub(crate) failed: Vec<(String, SourceError)>,
}

impl Account {
    /// A small account, with behaviours that differ from the defaults.
    pub(crate) async fn start(behaviours: &[(&str, &str)]) -> Self {
        Self::of(SimConfig::default(), behaviours).await
    }

    pub(crate) async fn of(config: SimConfig, behaviours: &[(&str, &str)]) -> Self {
        Self::with_clock(ClockMode::Frozen, config, behaviours).await
    }

    pub(crate) async fn with_clock(
        clock: ClockMode,
        config: SimConfig,
        behaviours: &[(&str, &str)],
    ) -> Self {
        let mut config = SimConfig { clock, ..config };
        for (name, value) in behaviours {
            config = config.with_behaviour(*name, *value);
        }
        let token = config.token().to_owned();
        let server = Server::start(config).await.unwrap();
        server.advance_seconds(600);
        Self { first_fields: server.custom_fields(), server, token }
    }

    /// Adds a custom field and renames another, whose column was fixed before.
    pub(crate) fn change_custom_fields(&self) {
        let fields = self.server.custom_fields();
        let count = fields.len();
        let kind = ["integer", "checkbox", "date", "textarea"][count % 4].to_owned();
        let (name, to) = (fields[count / 2].name.clone(), format!("renamed_{count}"));
        let is_first = self.first_fields.iter().any(|field| field.id == fields[count / 2].id);
        assert!(is_first, "its column has the name that it began with");
        let add = FieldChange::Add { name: format!("added_{count}"), kind };
        self.server.change_fields(&[add, FieldChange::Rename { name, to }]).unwrap();
    }

    /// Settings for the account, patient with none but the shortest pauses.
    pub(crate) fn config(&self) -> TapConfig {
        let backoff =
            Backoff { first: Duration::from_millis(1), factor: 2, cap: Duration::from_millis(20) };
        TapConfig {
            endpoint: self.server.endpoint().parse().unwrap(),
            start_date: Some(at("2025-11-01T00:00:00Z")),
            numbers: NumberForm::Lexeme,
            backoff,
            ..TapConfig::new(self.token.clone().into())
        }
    }

    /// One run that nothing stops.
    pub(crate) async fn run(&self, states: &BTreeMap<StreamName, Value>) -> Run {
        let run = self.run_with(self.config(), states, usize::MAX).await.unwrap();
        assert!(run.failed.is_empty(), "{:?}", run.failed);
        run
    }

    /// One run, dead after so many events: whatever came after the last of them is lost.
    pub(crate) async fn run_with(
        &self,
        config: TapConfig,
        states: &BTreeMap<StreamName, Value>,
        events: usize,
    ) -> Result<Run, SourceError> {
        self.run_source(BrontoSource::new(config)?, states, events).await
    }

    /// The same with a source that was made already.
    pub(crate) async fn run_source(
        &self,
        source: BrontoSource,
        states: &BTreeMap<StreamName, Value>,
        events: usize,
    ) -> Result<Run, SourceError> {
        let mut run = Run { states: states.clone(), ..Run::default() };
        let mut left = events;
        let outcome = self
            .drive_source(source, states, |event| {
                run.take(event);
                left -= 1;
                if left == 0 { Next::Kill } else { Next::GoOn }
            })
            .await;
        match outcome {
            Ok(ExtractOutcome { failed, interrupted }) => {
                run.failed =
                    failed.into_iter().map(|(name, error)| (name.to_string(), error)).collect();
                run.interrupted = interrupted;
            }
            Err(_) if left == 0 => {}
            Err(error) => return Err(error),
        }
        Ok(run)
    }

    /// Extracts, handing each event to `watch`, which decides how it goes on.
    pub(crate) async fn drive(
        &self,
        config: TapConfig,
        states: &BTreeMap<StreamName, Value>,
        watch: impl FnMut(Event) -> Next,
    ) -> Result<ExtractOutcome, SourceError> {
        self.drive_source(BrontoSource::new(config)?, states, watch).await
    }

    /// The same with a source that was made already.
    async fn drive_source(
        &self,
        source: BrontoSource,
        states: &BTreeMap<StreamName, Value>,
        mut watch: impl FnMut(Event) -> Next,
    ) -> Result<ExtractOutcome, SourceError> {
        let (sender, mut receiver) = event::channel(64 << 20);
        let stop = CancellationToken::new();
        let context = ExtractContext {
            state: states.clone(),
            singer_state: None,
            start_date: None,
            sequence: Arc::new(SequenceClock::new(0)),
            events: sender,
            stop: stop.clone(),
            progress: Arc::new(ProgressBoard::default()),
            clock: Arc::new(SystemClock),
        };
        let extraction = tokio::spawn(Box::new(source).extract(context));
        while let Some(event) = receiver.receive().await {
            match watch(event) {
                Next::GoOn => {}
                Next::Stop => stop.cancel(),
                Next::Kill => break,
            }
        }
        drop(receiver);
        extraction.await.unwrap()
    }
}

/// How an extraction goes on after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    GoOn,
    /// It is asked to stop.
    Stop,
    /// Nobody listens any more: whatever else was under way is lost.
    Kill,
}

/// The rows of a batch, after a look at its books: `read = emitted + out_of_window + repeated`.
pub(crate) fn rows_of(batch: &RowBatch) -> Vec<Map<String, Value>> {
    let RowBatch { schema, rows, rejects, reading, .. } = batch;
    let emitted = (rows.num_rows() + rejects.len()) as u64;
    assert_eq!(
        reading.read,
        emitted + reading.out_of_window + reading.repeated,
        "{}: {reading:?}",
        schema.stream
    );
    if let Some(lines) = tap_bronto::lines::in_batch(rows) {
        let lines = str::from_utf8(lines).unwrap();
        assert_eq!(lines.lines().count(), rows.num_rows());
        return lines.split_inclusive('\n').map(|line| row_of(batch, line)).collect();
    }
    assert_eq!(rows.schema(), schema.arrow(), "batches follow their schema");
    let texts = (0..rows.num_rows()).map(|row| row::render(schema, rows, row));
    texts.map(|text| serde_json::from_str(&text).unwrap()).collect()
}

/// The row of a line that the program would write, as it would be read from a batch of columns.
fn row_of(batch: &RowBatch, line: &str) -> Map<String, Value> {
    let RowBatch { schema, .. } = batch;
    assert!(line.ends_with("}\n"), "a line is whole");
    let mut message: Map<String, Value> = serde_json::from_str(line).unwrap();
    assert_eq!(message["type"], "RECORD");
    assert_eq!(message["stream"], schema.stream.as_str());
    let extracted_at = at(message["time_extracted"].as_str().unwrap());
    assert_eq!(extracted_at.timestamp_micros(), batch.extracted_at.timestamp_micros());
    let Some(Value::Object(mut row)) = message.remove("record") else { panic!("{line}") };
    let columns: Vec<_> = schema.columns.iter().map(|column| &column.name).collect();
    assert_eq!(row.keys().collect::<Vec<_>>(), columns, "lines follow their schema");
    row.retain(|_, value| !value.is_null());
    for column in schema.columns.iter().filter(|one| one.column_type == ColumnType::Timestamp) {
        if let Some(date) = row.get_mut(&column.name) {
            *date = lexical::utc_text(at(date.as_str().unwrap())).into();
        }
    }
    row
}

impl Run {
    fn take(&mut self, event: Event) {
        match event {
            Event::Batch(batch) => {
                let stream = batch.schema.stream.to_string();
                self.sequences.extend(
                    (0_i64..).take(batch.rows.num_rows()).map(|row| batch.first_sequence + row),
                );
                let rows = rows_of(&batch);
                self.rows.extend(rows.into_iter().map(|row| (stream.clone(), row)));
                self.rejects.extend(batch.rejects);
                self.readings.entry(stream).or_default().add(&batch.reading);
            }
            Event::Bookmark(bookmark) => {
                self.bookmarks += 1;
                self.states.insert(bookmark.stream.unwrap(), bookmark.state);
            }
            Event::Gap(gap) => self.gaps.push(gap),
            Event::ActivateVersion { .. } => self.activated += 1,
            Event::Bookmarks(_)
            | Event::Retract { .. }
            | Event::Schema(_)
            | Event::BeginVersion { .. } => {}
        }
    }

    /// All requests of the run.
    pub(crate) fn requests(&self) -> u64 {
        self.readings.values().map(|reading| reading.requests).sum()
    }
}

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}
