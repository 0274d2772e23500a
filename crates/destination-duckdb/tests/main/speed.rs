//! How fast it is: run by hand, `cargo test --release -p destination-duckdb -- --ignored --nocapture rows_per_second`.

use std::{sync::Arc, time::Instant};

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use replication::{
    destination::Destination,
    stream::{
        Column, ColumnType, Method, NUMBER_PRECISION, NUMBER_SCALE, StreamSchema, WinnerRule,
    },
};

use crate::support::{Warehouse, claimed, commit, load, stamped};

const UNIT: usize = 50_000;

/// 46 columns like those of a contact: mostly sparse text, some numbers, a list.
fn schema() -> Arc<StreamSchema> {
    let mut columns = vec![
        Column::new("id", ColumnType::Text),
        Column::new("modified", ColumnType::Timestamp),
        Column::new("listIds", ColumnType::List(Box::new(ColumnType::Text))),
        Column::new("deleted", ColumnType::Boolean),
    ];
    columns.extend((0..28).map(|number| Column::new(format!("text{number}"), ColumnType::Text)));
    columns
        .extend((0..14).map(|number| Column::new(format!("number{number}"), ColumnType::Number)));
    Arc::new(StreamSchema {
        stream: "contact".into(),
        columns,
        key: vec!["id".to_owned()],
        replication_key: Some("modified".to_owned()),
        method: Method::Incremental,
        winner: WinnerRule::ReplicationKey,
    })
}

fn rows(schema: &StreamSchema, unit: usize, round: usize) -> RecordBatch {
    let row = |position: usize| unit * UNIT + position;
    let changed = |position: usize| round * usize::from(position.is_multiple_of(5));
    let mut lists = ListBuilder::new(StringBuilder::new());
    for position in 0..UNIT {
        lists.append_option(
            (position % 3 != 0)
                .then(|| [Some(format!("list{}", position % 40)), Some("all".to_owned())]),
        );
    }
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(
            (0..UNIT)
                .map(|at| Some(format!("{:036x}", row(at) as u128 * 0x9e37_79b9_7f4a_7c15)))
                .collect::<StringArray>(),
        ),
        Arc::new(
            (0..UNIT)
                .map(|at| Some(1_600_000_000_000_000 + (row(at) + changed(at)) as i64))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        ),
        Arc::new(lists.finish()),
        Arc::new((0..UNIT).map(|at| Some(at % 50 == 0)).collect::<BooleanArray>()),
    ];
    for number in 0..28 {
        let text = |at: usize| match number % 4 {
            0 => Some(format!("value {} {}", row(at), changed(at))),
            1 => Some(format!("kind {}", at % 17)),
            2 => at.is_multiple_of(8).then(|| format!("rare {at}")),
            _ => None,
        };
        columns.push(Arc::new((0..UNIT).map(text).collect::<StringArray>()));
    }
    for number in 0..14 {
        let values =
            (0..UNIT).map(|at| (number % 2 == 0).then_some((at % 1_000) as i128 * 1_000_000_000));
        let values = values
            .collect::<Decimal128Array>()
            .with_precision_and_scale(NUMBER_PRECISION, NUMBER_SCALE);
        columns.push(Arc::new(values.unwrap()));
    }
    RecordBatch::try_new(schema.arrow(), columns).unwrap()
}

/// Processor time of this process, in seconds.
fn processor_seconds() -> f64 {
    let status = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = status.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Memory of this process in MiB, by the name of its line in `/proc/self/status`.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    found.trim_start_matches(':').trim().split(' ').next().unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test]
#[ignore = "a measurement"]
async fn rows_per_second() {
    let units: usize = std::env::var("UNITS").map_or(4, |units| units.parse().unwrap());
    let threads = std::env::var("THREADS").ok().map(|threads| threads.parse().unwrap());
    let memory_limit = std::env::var("MEMORY").ok();
    let warehouse = Warehouse::new();
    let schema = schema();
    let config = destination_duckdb::DuckDbConfig { threads, memory_limit, ..warehouse.config() };
    let destination = crate::support::open(config);
    let claim = claimed(&destination).await;
    for (round, name) in ["load", "nothing new", "a fifth changed"].into_iter().enumerate() {
        let (mut wall, mut processor) = (0.0, 0.0);
        for unit in 0..units {
            let batch = stamped(
                &schema,
                &rows(&schema, unit, round),
                ((round * units + unit) * UNIT) as i64,
                0,
            );
            let unit_load = load(&schema, None, vec![batch]);
            let (begun, used) = (Instant::now(), processor_seconds());
            commit(&destination, &claim, &unit_load, &format!("{round} {unit}")).await.unwrap();
            wall += begun.elapsed().as_secs_f64();
            processor += processor_seconds() - used;
        }
        let count = (units * UNIT) as f64;
        println!(
            "{name}: {count} rows, wall {wall:.2} s, processor {processor:.2} s, {:.0} rows per processor second, {} MiB now, {} MiB at most",
            count / processor,
            memory("VmRSS"),
            memory("VmHWM"),
        );
    }
    let (begun, used) = (Instant::now(), processor_seconds());
    destination.close().await;
    println!(
        "close: wall {:.2} s, processor {:.2} s",
        begun.elapsed().as_secs_f64(),
        processor_seconds() - used
    );
    assert_eq!(destination.count("contact").await.unwrap(), Some((units * UNIT) as u64));
}
