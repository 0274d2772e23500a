//! A source that plays a history from where its streams' states are.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Int64Array, ListBuilder, RecordBatch, StringArray,
    StringBuilder, TimestampMicrosecondArray,
};
use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::history::{Act, KEYS, KINDS, Kind, NOTES, Row, Shape, Step};
use crate::{
    event::{Bookmark, Event, Reading, RowBatch},
    source::{CheckStep, ExtractContext, ExtractOutcome, Source, SourceError},
    stream::{
        Column, ColumnType, Method, NUMBER_PRECISION, NUMBER_SCALE, StreamName, StreamSchema,
        WinnerRule,
    },
};

/// A place at which a source waits for the test.
#[derive(Debug)]
pub(super) struct Meeting {
    pub(super) position: usize,
    pub(super) here: Notify,
    pub(super) go_on: Notify,
}

/// The source.
#[derive(Clone)]
pub(super) struct Account {
    /// Tells the streams of one history from those of others.
    pub(super) suffix: String,
    pub(super) steps: Arc<Vec<Step>>,
    pub(super) until: usize,
    pub(super) meeting: Option<Arc<Meeting>>,
}

pub(super) fn name(kind: Kind, suffix: &str) -> String {
    let kind = match kind {
        Kind::Items => "items",
        Kind::People => "people",
        Kind::Optouts => "optouts",
        Kind::Log => "log",
    };
    format!("{kind}{suffix}")
}

/// The type of an item's value.
pub(super) fn value_type(of: usize) -> ColumnType {
    let text = || Box::new(ColumnType::Text);
    match of {
        0 => ColumnType::Integer,
        1 => ColumnType::Text,
        2 => ColumnType::Number,
        3 => ColumnType::Boolean,
        4 => ColumnType::List(text()),
        _ => ColumnType::Json,
    }
}

fn schema(kind: Kind, shape: Shape, suffix: &str) -> Arc<StreamSchema> {
    let text = |name: &str| Column::new(name, ColumnType::Text);
    let tags = || Column::new("tags", ColumnType::List(Box::new(ColumnType::Text)));
    let (columns, winner) = match kind {
        Kind::Items => {
            let value = Column::new("value", value_type(shape.of));
            let notes = (0..NOTES).filter(|note| shape.has_note(*note));
            let notes = notes.map(|note| text(&format!("note{note}")));
            ([text("key"), value].into_iter().chain(notes).collect(), WinnerRule::Sequence)
        }
        Kind::People => {
            let modified = Column::new("modified", ColumnType::Timestamp);
            (vec![text("key"), modified, text("name"), tags()], WinnerRule::ReplicationKey)
        }
        Kind::Optouts => {
            (vec![text("key"), text("rank")], WinnerRule::Greatest(vec!["rank".to_owned()]))
        }
        Kind::Log => {
            let number = Column::new("number", ColumnType::Integer);
            let tags = shape.has_note(0).then(tags);
            (std::iter::once(number).chain(tags).collect(), WinnerRule::Sequence)
        }
    };
    Arc::new(StreamSchema {
        stream: StreamName::new(name(kind, suffix)),
        columns,
        key: if kind == Kind::Log { Vec::new() } else { vec!["key".to_owned()] },
        replication_key: (kind == Kind::People).then(|| "modified".to_owned()),
        method: Method::Incremental,
        winner,
    })
}

fn batch(kind: Kind, schema: &StreamSchema, rows: &[Row]) -> RecordBatch {
    let numbers = || rows.iter().map(|row| row.number);
    let texts = |prefix: &str| -> ArrayRef {
        Arc::new(numbers().map(|of| Some(format!("{prefix}{of}"))).collect::<StringArray>())
    };
    let array = |column: &Column| -> ArrayRef {
        match (&column.column_type, column.name.as_str()) {
            (_, "key") => Arc::new(
                rows.iter().map(|row| row.key.map(|key| KEYS[key])).collect::<StringArray>(),
            ),
            (ColumnType::Integer, _) => {
                Arc::new(numbers().map(|of| i64::try_from(of).ok()).collect::<Int64Array>())
            }
            (ColumnType::Boolean, _) => {
                Arc::new(numbers().map(|of| Some(of % 2 == 1)).collect::<BooleanArray>())
            }
            (ColumnType::Number, _) => {
                let tenths = 10_i128.pow(u32::from(NUMBER_SCALE.unsigned_abs()) - 1);
                let numbers: Decimal128Array =
                    numbers().map(|of| Some(i128::from(of * 10 + 5) * tenths)).collect();
                let numbers = numbers.with_precision_and_scale(NUMBER_PRECISION, NUMBER_SCALE);
                Arc::new(numbers.expect("the declared precision is valid"))
            }
            (ColumnType::Timestamp, _) => {
                let at = numbers().map(|of| i64::try_from(of).ok().map(|of| of * 1_000_001));
                Arc::new(at.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            (ColumnType::List(_), _) => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                for number in numbers() {
                    for tag in tags(number) {
                        lists.values().append_value(tag);
                    }
                    lists.append(true);
                }
                Arc::new(lists.finish())
            }
            (ColumnType::Json, _) => Arc::new(
                numbers().map(|of| Some(format!("{{\"n\":{of}}}"))).collect::<StringArray>(),
            ),
            (_, "rank") => texts("r"),
            (_, "name") => texts("n"),
            (_, "value") => texts("t"),
            _ => texts("note "),
        }
    };
    let columns = schema.columns.iter().map(array).collect();
    let batch = RecordBatch::try_new(schema.arrow(), columns);
    batch.unwrap_or_else(|error| panic!("rows of {kind:?} don't fit their schema: {error}"))
}

/// The items of the list that is made of a number.
pub(super) fn tags(number: u64) -> Vec<String> {
    (0..number % 4).map(|place| format!("t{number} {place}")).collect()
}

impl Account {
    fn event(
        &self,
        kind: Kind,
        shape: Shape,
        rows: &[Row],
        first_sequence: i64,
        context: &ExtractContext,
        version: Option<i64>,
    ) -> Event {
        let schema = schema(kind, shape, &self.suffix);
        Event::Batch(RowBatch {
            rows: batch(kind, &schema, rows),
            schema,
            version,
            first_sequence,
            table_version: 0,
            extracted_at: context.clock.now(),
            extracted_each: None,
            rejects: Vec::new(),
            reading: Reading { read: rows.len() as u64, ..Reading::default() },
        })
    }

    async fn play(
        &self,
        position: usize,
        context: &ExtractContext,
        versions: &mut [Option<i64>],
    ) -> Result<(), SourceError> {
        let Step { kind, act } = &self.steps[position];
        let stream = || StreamName::new(name(*kind, &self.suffix));
        let reserve = |rows: &[Row]| context.sequence.reserve(context.clock.now(), rows.len());
        let (events, open) = (&context.events, &mut versions[*kind as usize]);
        match act {
            Act::Rows { shape, rows, waiting } => {
                events.send(Event::Schema(schema(*kind, *shape, &self.suffix))).await?;
                let version = open.filter(|_| *waiting);
                let first = reserve(rows);
                events.send(self.event(*kind, *shape, rows, first, context, version)).await?;
            }
            Act::Crossed { shape, first, last } => {
                events.send(Event::Schema(schema(*kind, *shape, &self.suffix))).await?;
                let (earlier, later) = (reserve(first), reserve(last));
                events.send(self.event(*kind, *shape, last, later, context, None)).await?;
                events.send(self.event(*kind, *shape, first, earlier, context, None)).await?;
            }
            Act::Begin => {
                let version = i64::try_from(position).unwrap_or_default() + 1;
                *open = Some(version);
                let plain = Shape { of: 0, notes: 0 };
                events.send(Event::Schema(schema(*kind, plain, &self.suffix))).await?;
                events.send(Event::BeginVersion { stream: stream(), version }).await?;
            }
            Act::Activate => {
                let version = open.take().expect("a version that is activated was begun");
                events
                    .send(Event::ActivateVersion { stream: stream(), version, since: None })
                    .await?;
            }
            Act::Bookmark => {
                // Rows without a key are told by their sequence: what no state covers comes again, and is taken back first.
                let state = json!({ "position": position + 1, "covered": context.sequence.last() });
                let bookmark = Bookmark { stream: Some(stream()), state, display: None };
                events.send(Event::Bookmark(bookmark)).await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Source for Account {
    fn fingerprint(&self) -> String {
        "model".to_owned()
    }

    async fn check(&self) -> Vec<CheckStep> {
        Vec::new()
    }

    async fn extract(
        self: Box<Self>,
        context: ExtractContext,
    ) -> Result<ExtractOutcome, SourceError> {
        let state = |kind: Kind, of: &str| {
            let state = context.state.get(&StreamName::new(name(kind, &self.suffix)));
            state.and_then(|state| state[of].as_i64()).unwrap_or_default()
        };
        let from = KINDS.map(|kind| usize::try_from(state(kind, "position")).unwrap_or_default());
        let events = &context.events;
        let plain = Shape { of: 0, notes: 0 };
        events.send(Event::Schema(schema(Kind::Log, plain, &self.suffix))).await?;
        let stream = StreamName::new(name(Kind::Log, &self.suffix));
        let after_sequence = state(Kind::Log, "covered");
        events.send(Event::Retract { stream, after_sequence }).await?;
        let mut versions = [None; KINDS.len()];
        for position in 0..self.until {
            if let Some(meeting) = self.meeting.as_ref().filter(|at| at.position == position) {
                meeting.here.notify_one();
                meeting.go_on.notified().await;
            }
            if position >= from[self.steps[position].kind as usize] {
                self.play(position, &context, &mut versions).await?;
            }
        }
        Ok(ExtractOutcome::default())
    }
}

/// A value as it must stand in one of the columns of its name; nothing where there are no items.
pub(super) fn expected((of, number): (usize, u64)) -> Vec<Value> {
    match value_type(of) {
        // Where the first values were numbers, integers are numbers too.
        ColumnType::Integer => vec![json!(number), json!(number.to_string())],
        ColumnType::Boolean => vec![json!(number % 2 == 1)],
        ColumnType::Number => vec![json!(format!("{number}.5"))],
        ColumnType::List(_) => vec![json!(tags(number))],
        ColumnType::Json => vec![json!(format!("{{\"n\":{number}}}"))],
        _ => vec![json!(format!("t{number}"))],
    }
}
