//! Scripted sources: runs whose events a test writes down.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        ArrayRef, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
        TimestampMicrosecondArray,
    },
    datatypes::Field,
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::{
    clock::FixedClock,
    destination::Destination,
    event::{Bookmark, Event, Reading, RowBatch},
    reject::RejectedRow,
    run::{RunContext, RunFailure, RunOptions, RunReport, replicate},
    source::{CheckStep, ExtractContext, ExtractOutcome, Source, SourceError},
    stream::{Column, ColumnType, Method, StreamName, StreamSchema, WinnerRule},
};

/// The integration of all scripted runs.
pub(super) const INTEGRATION: &str = "Contract";

/// A step of a script.
pub(super) enum Step {
    /// A row batch as a test writes it: the sequence is reserved when the step is played, as a source would.
    Rows(Rows),
    /// Any event as it is.
    Event(Event),
}

/// Rows of the `people` schema.
#[derive(Clone)]
pub(super) struct Rows {
    pub(super) schema: Arc<StreamSchema>,
    pub(super) batch: RecordBatch,
    pub(super) version: Option<i64>,
    /// The sequence, if the test sets it instead of the clock.
    pub(super) sequence: Option<i64>,
    pub(super) rejects: Vec<RejectedRow>,
}

impl Rows {
    pub(super) fn new(schema: &Arc<StreamSchema>, batch: RecordBatch) -> Self {
        Self {
            schema: Arc::clone(schema),
            batch,
            version: None,
            sequence: None,
            rejects: Vec::new(),
        }
    }
}

pub(super) struct ScriptedSource {
    steps: Vec<Step>,
    fingerprint: String,
}

#[async_trait]
impl Source for ScriptedSource {
    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    async fn check(&self) -> Vec<CheckStep> {
        Vec::new()
    }

    async fn extract(
        self: Box<Self>,
        context: ExtractContext,
    ) -> Result<ExtractOutcome, SourceError> {
        for step in self.steps {
            let event = match step {
                Step::Event(event) => event,
                Step::Rows(rows) => {
                    let count = rows.batch.num_rows();
                    let now = context.clock.now();
                    let reading =
                        Reading { read: (count + rows.rejects.len()) as u64, ..Reading::default() };
                    Event::Batch(RowBatch {
                        schema: rows.schema,
                        version: rows.version,
                        rows: rows.batch,
                        first_sequence: rows
                            .sequence
                            .unwrap_or_else(|| context.sequence.reserve(now, count)),
                        table_version: 0,
                        extracted_at: now,
                        extracted_each: None,
                        rejects: rows.rejects,
                        reading,
                    })
                }
            };
            context.events.send(event).await?;
        }
        Ok(ExtractOutcome::default())
    }
}

/// A run that a test describes.
pub(super) struct Script {
    steps: Vec<Step>,
    pub(super) now: DateTime<Utc>,
    pub(super) options: RunOptions,
    pub(super) fingerprint: String,
}

impl Script {
    pub(super) fn new() -> Self {
        Self {
            steps: Vec::new(),
            now: instant("2026-03-01T12:00:00Z"),
            options: RunOptions::new(INTEGRATION),
            fingerprint: "contract:1".to_owned(),
        }
    }

    pub(super) fn at(mut self, now: &str) -> Self {
        self.now = instant(now);
        self
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut RunOptions)) -> Self {
        change(&mut self.options);
        self
    }

    pub(super) fn event(mut self, event: Event) -> Self {
        self.steps.push(Step::Event(event));
        self
    }

    pub(super) fn schema(self, schema: &Arc<StreamSchema>) -> Self {
        self.event(Event::Schema(Arc::clone(schema)))
    }

    pub(super) fn rows(mut self, rows: Rows) -> Self {
        self.steps.push(Step::Rows(rows));
        self
    }

    pub(super) fn bookmark(self, stream: &str, last_record: &str) -> Self {
        self.event(Event::Bookmark(Bookmark {
            stream: Some(StreamName::from(stream)),
            state: json!({ "field": "modified", "last_record": last_record }),
            display: Some(last_record.to_owned()),
        }))
    }

    /// The source alone, for somebody who runs it by other means.
    pub(super) fn source(self) -> Box<dyn Source> {
        Box::new(ScriptedSource { steps: self.steps, fingerprint: self.fingerprint })
    }

    pub(super) async fn run(
        self,
        destination: Arc<dyn Destination>,
    ) -> Result<RunReport, RunFailure> {
        let source = ScriptedSource { steps: self.steps, fingerprint: self.fingerprint };
        let context =
            RunContext { clock: Arc::new(FixedClock::new(self.now)), ..RunContext::default() };
        replicate(Box::new(source), destination, self.options, context).await
    }

    /// Runs and expects success.
    pub(super) async fn succeed(self, destination: Arc<dyn Destination>) -> RunReport {
        self.run(destination).await.unwrap_or_else(|failure| panic!("the run failed: {failure:?}"))
    }
}

pub(super) fn instant(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).expect("tests write valid instants")
}

/// A stream with a key, a replication key, a text and a list.
pub(super) fn people(winner: WinnerRule) -> Arc<StreamSchema> {
    Arc::new(StreamSchema {
        stream: StreamName::from("people"),
        columns: vec![
            Column::new("id", ColumnType::Text),
            Column::new("modified", ColumnType::Timestamp),
            Column::new("fullName", ColumnType::Text),
            Column::new("listIds", ColumnType::List(Box::new(ColumnType::Text))),
            Column::new("nothing", ColumnType::Number),
        ],
        key: vec!["id".to_owned()],
        replication_key: Some("modified".to_owned()),
        method: Method::Incremental,
        winner,
    })
}

/// One person, as tests write them: id, modified, name, lists.
pub(super) type Person<'a> = (&'a str, &'a str, &'a str, &'a [&'a str]);

pub(super) fn persons(schema: &Arc<StreamSchema>, people: &[Person<'_>]) -> Rows {
    let mut lists = ListBuilder::new(StringBuilder::new()).with_field(Field::new(
        "item",
        ColumnType::Text.arrow(),
        true,
    ));
    for (_, _, _, items) in people {
        for item in *items {
            lists.values().append_value(item);
        }
        lists.append(true);
    }
    let modified: Vec<i64> =
        people.iter().map(|person| instant(person.1).timestamp_micros()).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(people.iter().map(|person| Some(person.0)).collect::<StringArray>()),
        Arc::new(TimestampMicrosecondArray::from(modified).with_timezone("UTC")),
        Arc::new(people.iter().map(|person| Some(person.2)).collect::<StringArray>()),
        Arc::new(lists.finish()),
        arrow::array::new_null_array(&ColumnType::Number.arrow(), people.len()),
    ];
    Rows::new(
        schema,
        RecordBatch::try_new(schema.arrow(), columns).expect("the columns fit the schema"),
    )
}

/// A stream without a key, of one integer column.
pub(super) fn events() -> Arc<StreamSchema> {
    Arc::new(StreamSchema {
        stream: StreamName::from("events"),
        columns: vec![Column::new("number", ColumnType::Integer)],
        key: Vec::new(),
        replication_key: None,
        method: Method::Incremental,
        winner: WinnerRule::Sequence,
    })
}

pub(super) fn numbers(schema: &Arc<StreamSchema>, numbers: &[i64]) -> Rows {
    let column: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
    Rows::new(
        schema,
        RecordBatch::try_new(schema.arrow(), vec![column]).expect("the column fits the schema"),
    )
}

/// A stream of texts only.
pub(super) fn texts(
    stream: &str,
    columns: &[&str],
    key: &[&str],
    method: Method,
    winner: WinnerRule,
) -> Arc<StreamSchema> {
    Arc::new(StreamSchema {
        stream: StreamName::from(stream),
        columns: columns.iter().map(|&name| Column::new(name, ColumnType::Text)).collect(),
        key: key.iter().map(|&name| name.to_owned()).collect(),
        replication_key: None,
        method,
        winner,
    })
}

/// Rows of a stream of texts.
pub(super) fn text_rows(schema: &Arc<StreamSchema>, rows: &[&[Option<&str>]]) -> Rows {
    let columns: Vec<ArrayRef> = (0..schema.columns.len())
        .map(|column| {
            Arc::new(rows.iter().map(|row| row[column]).collect::<StringArray>()) as ArrayRef
        })
        .collect();
    Rows::new(
        schema,
        RecordBatch::try_new(schema.arrow(), columns).expect("the columns fit the schema"),
    )
}

/// A table's rows by one text column.
pub(super) fn by(
    column: &str,
    rows: Option<Vec<Map<String, Value>>>,
) -> BTreeMap<String, Map<String, Value>> {
    let rows = rows.expect("the table exists");
    let count = rows.len();
    let map: BTreeMap<_, _> = rows
        .into_iter()
        .map(|row| {
            (
                row.get(column)
                    .map(|value| value.to_string().trim_matches('"').to_owned())
                    .unwrap_or_default(),
                row,
            )
        })
        .collect();
    assert_eq!(map.len(), count, "`{column}` is unique");
    map
}
