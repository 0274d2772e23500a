//! Random histories against a model that is too simple to be wrong: schemas that change, rows, versions, bookmarks, and
//! runs that are cut off at any step, while the clock jumps. At the end the table equals the model and the books balance.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringArray};
use async_trait::async_trait;
use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use super::{
    Subject,
    faults::{Fault, faulty},
    script::{INTEGRATION, instant},
};
use crate::{
    clock::FixedClock,
    event::{Bookmark, Event, Reading, RowBatch},
    run::{RunContext, RunOptions, replicate},
    source::{CheckStep, ExtractContext, ExtractOutcome, Source, SourceError},
    stream::{
        Column, ColumnType, Method, NUMBER_PRECISION, NUMBER_SCALE, StreamName, StreamSchema,
        WinnerRule,
    },
};

const STREAM: &str = "items";
const KEYS: [&str; 6] = ["a", "b", "A", "é", "e\u{301}", ""];
const TYPES: [ColumnType; 4] =
    [ColumnType::Integer, ColumnType::Text, ColumnType::Number, ColumnType::Boolean];

/// Numbers that are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// A row: its key, none for one that can't be loaded; the type and the number that its value is made of.
#[derive(Debug, Clone, Copy)]
struct Row {
    key: Option<usize>,
    of: usize,
    number: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Rows(Vec<Row>),
    /// Replaces the table.
    Version(Vec<Vec<Row>>),
    Bookmark,
}

/// What the source has, from the beginning: reading it again gives the same.
fn history(dice: &mut Dice) -> Vec<Step> {
    let rows = |of: usize, dice: &mut Dice| -> Vec<Row> {
        (0..=dice.roll(5))
            .map(|_| Row {
                key: (dice.roll(12) > 0)
                    .then(|| usize::try_from(dice.roll(KEYS.len() as u64)).unwrap_or_default()),
                of,
                number: dice.roll(4),
            })
            .collect()
    };
    let mut of = 0;
    let mut steps = Vec::new();
    for _ in 0..12 + dice.roll(12) {
        if dice.roll(3) == 0 {
            of = usize::try_from(dice.roll(TYPES.len() as u64)).unwrap_or_default();
        }
        steps.push(match dice.roll(8) {
            0 => Step::Version((0..=dice.roll(2)).map(|_| rows(of, dice)).collect()),
            1..=3 => Step::Bookmark,
            _ => Step::Rows(rows(of, dice)),
        });
    }
    steps.push(Step::Bookmark);
    steps
}

/// What the table must hold: key, type and value.
fn model(history: &[Step]) -> BTreeMap<&'static str, (usize, u64)> {
    let mut table = BTreeMap::new();
    let put = |table: &mut BTreeMap<_, _>, rows: &[Row]| {
        for row in rows {
            if let Some(key) = row.key {
                table.insert(KEYS[key], (row.of, row.number));
            }
        }
    };
    for step in history {
        match step {
            Step::Rows(rows) => put(&mut table, rows),
            Step::Version(batches) => {
                table.clear();
                batches.iter().for_each(|rows| put(&mut table, rows));
            }
            Step::Bookmark => {}
        }
    }
    table
}

fn schema(of: usize) -> Arc<StreamSchema> {
    Arc::new(StreamSchema {
        stream: StreamName::from(STREAM),
        columns: vec![
            Column::new("key", ColumnType::Text),
            Column::new("value", TYPES[of].clone()),
        ],
        key: vec!["key".to_owned()],
        replication_key: None,
        method: Method::Incremental,
        winner: WinnerRule::Sequence,
    })
}

fn batch(rows: &[Row], context: &ExtractContext, version: Option<i64>) -> Event {
    let schema = schema(rows[0].of);
    let numbers = || rows.iter().map(|row| row.number);
    let value: ArrayRef = match TYPES[rows[0].of] {
        ColumnType::Integer => {
            Arc::new(numbers().map(|of| Some(of as i64)).collect::<Int64Array>())
        }
        ColumnType::Boolean => {
            Arc::new(numbers().map(|of| Some(of % 2 == 1)).collect::<BooleanArray>())
        }
        ColumnType::Number => {
            let tenths = 10_i128.pow(u32::from(NUMBER_SCALE.unsigned_abs()) - 1);
            let numbers: Decimal128Array =
                numbers().map(|of| Some(i128::from(of * 10 + 5) * tenths)).collect();
            let numbers = numbers.with_precision_and_scale(NUMBER_PRECISION, NUMBER_SCALE);
            Arc::new(numbers.expect("the declared precision is valid"))
        }
        _ => Arc::new(numbers().map(|of| Some(format!("t{of}"))).collect::<StringArray>()),
    };
    let keys: StringArray = rows.iter().map(|row| row.key.map(|key| KEYS[key])).collect();
    let rows = RecordBatch::try_new(schema.arrow(), vec![Arc::new(keys), value]);
    let rows = rows.expect("the columns fit the schema");
    let count = rows.num_rows();
    Event::Batch(RowBatch {
        schema,
        version,
        first_sequence: context.sequence.reserve(context.clock.now(), count),
        rows,
        table_version: 0,
        extracted_at: context.clock.now(),
        extracted_each: None,
        rejects: Vec::new(),
        reading: Reading { read: count as u64, ..Reading::default() },
    })
}

/// A value as it must stand in one of the columns of its name.
fn expected((of, number): (usize, u64)) -> Vec<Value> {
    match TYPES[of] {
        // Where the first values were numbers, integers are numbers too.
        ColumnType::Integer => vec![json!(number), json!(number.to_string())],
        ColumnType::Boolean => vec![json!(number % 2 == 1)],
        ColumnType::Number => vec![json!(format!("{number}.5"))],
        _ => vec![json!(format!("t{number}"))],
    }
}

struct History {
    steps: Vec<Step>,
    until: usize,
}

#[async_trait]
impl Source for History {
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
        let stored = context.state.get(&StreamName::from(STREAM)).and_then(Value::as_u64);
        let from = usize::try_from(stored.unwrap_or_default()).unwrap_or_default();
        let events = &context.events;
        for position in from..self.until {
            match &self.steps[position] {
                Step::Rows(rows) => {
                    events.send(Event::Schema(schema(rows[0].of))).await?;
                    events.send(batch(rows, &context, None)).await?;
                }
                Step::Version(batches) => {
                    let version = i64::try_from(position).unwrap_or_default() + 1;
                    let stream = || StreamName::from(STREAM);
                    events.send(Event::Schema(schema(batches[0][0].of))).await?;
                    events.send(Event::BeginVersion { stream: stream(), version }).await?;
                    for rows in batches {
                        events.send(batch(rows, &context, Some(version))).await?;
                    }
                    events.send(Event::ActivateVersion { stream: stream(), version }).await?;
                }
                Step::Bookmark => {
                    let bookmark = Bookmark {
                        stream: Some(StreamName::from(STREAM)),
                        state: json!(position + 1),
                        display: None,
                    };
                    events.send(Event::Bookmark(bookmark)).await?;
                }
            }
        }
        Ok(ExtractOutcome::default())
    }
}

/// Random histories, cut off and taken up again at random, end in what the model says.
pub async fn equals_a_model_whatever_happens(subject: &dyn Subject) {
    // A schema belongs to one source, so all histories are one: each goes on where the one before it ended.
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut all = Vec::new();
    let mut cut_off = 0;
    for round in 0..6 {
        let before = all.len();
        all.extend(history(&mut dice));
        for attempt in 0.. {
            let is_last = attempt == 3;
            let more = 1 + roll_below(&mut dice, all.len() - before);
            let until = if is_last { all.len() } else { before + more };
            let fault = match dice.roll(4) {
                _ if is_last => Fault::None,
                0 if round % 2 == 0 => Fault::ReplyLost,
                0 => Fault::CommitLost,
                _ => Fault::Dies(1 + dice.roll(24) as u32),
            };
            let mut options = RunOptions::new(INTEGRATION);
            options.limits.rows = 1 + roll_below(&mut dice, 20);
            options.allow_empty = true;
            // The run before may have died with its claim.
            options.take_over = true;
            let jump = TimeDelta::seconds(dice.roll(2_000_000) as i64 - 1_000_000);
            let clock = Arc::new(FixedClock::new(instant("2026-03-01T12:00:00Z") + jump));
            let context = RunContext { clock, ..RunContext::default() };
            let source = Box::new(History { steps: all.clone(), until });
            let destination = faulty(subject, fault);
            match replicate(source, destination, options, context).await {
                Ok(report) => {
                    assert!(report.settled.is_none_or(|settled| settled.balances()));
                }
                Err(failure) => {
                    assert!(matches!(fault, Fault::Dies(_)), "round {round}: {failure:?}");
                    cut_off += 1;
                }
            }
            if is_last {
                break;
            }
        }
        equals(subject, &model(&all), round).await;
    }
    assert!(cut_off > 4, "runs were cut off: {cut_off}");
}

fn roll_below(dice: &mut Dice, sides: usize) -> usize {
    usize::try_from(dice.roll(sides as u64)).unwrap_or_default()
}

async fn equals(subject: &dyn Subject, model: &BTreeMap<&str, (usize, u64)>, round: usize) {
    let destination = subject.destination();
    let rows = subject.rows(STREAM).await.unwrap_or_default();
    assert_eq!(rows.len(), model.len(), "round {round}: {rows:?} are not {model:?}");
    let is_value = |name: &str| name == "value" || name.starts_with("value__");
    for row in &rows {
        let key = row["key"].as_str().unwrap_or("no text");
        let values: Map<String, Value> = row
            .iter()
            .filter(|(name, value)| is_value(name) && !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let found: Vec<&Value> = values.values().collect();
        let expected = expected(model[key]);
        assert!(
            found.len() == 1 && expected.contains(found[0]),
            "round {round}: `{key}` holds {values:?} and not {expected:?}"
        );
    }
    let mut in_ledger = 0;
    for load in destination.loads(100_000).await.expect("the ledger can be read") {
        let counts = load.counts;
        assert_eq!(
            counts.received,
            counts.inserted
                + counts.updated
                + counts.unchanged
                + counts.superseded
                + counts.rejected,
            "round {round}: {load:?}"
        );
        in_ledger += i128::from(counts.inserted) - i128::from(counts.deleted);
    }
    assert_eq!(in_ledger, rows.len() as i128, "round {round}: the ledger accounts for the rows");
}
