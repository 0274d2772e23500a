//! What storing the log of a run costs: a Singer tap that writes many lines beside its rows, and one that writes nothing
//! else, as fast as they are taken.

use std::{
    fmt::Write,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use chrono::Utc;
use service::{Store, run::Run};
use tokio::runtime::Runtime;

use crate::process::Serving;

/// In how many parts rows and lines take turns.
const PARTS: u32 = 50;
/// Rows and lines of a part.
const ROWS: u32 = 4_000;
const LINES: u32 = 100;
/// Lines of the run that does nothing else.
const FLOOD: u32 = 90_000;
/// How often each is run, in turns.
const ROUNDS: usize = 5;

/// What the service keeps of a log: usually all of it, and the least that can be set.
const ALL: &str = "";
const LEAST: &str = "retention = { log_lines_per_run = 100 }\n";

/// A run that has ended.
struct Ended {
    processor: Duration,
    wall: Duration,
    run: Run,
}

/// Measures it, and prints a table.
pub(crate) fn measure() {
    let rows = PARTS * ROWS;
    let lines = PARTS * LINES;
    println!("A run of {rows} rows from a Singer tap into DuckDB, medians of {ROUNDS}\n");
    println!("| the run's log | CPU s | wall s | lines stored |");
    println!("|---|--:|--:|--:|");
    let variants = [
        ("nothing from the tap".to_owned(), 0, ALL),
        (format!("{lines} lines of the tap, of which 100 are stored"), LINES, LEAST),
        (format!("{lines} lines of the tap, all stored"), LINES, ALL),
    ];
    let mut found: [Vec<Ended>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (ended, (_, lines, service)) in found.iter_mut().zip(&variants) {
            ended.push(run(ROWS, *lines, service));
        }
    }
    for (ended, (name, ..)) in found.iter_mut().zip(&variants) {
        ended.sort_by_key(|ended| ended.processor);
        let Ended { processor, wall, run } = &ended[ROUNDS / 2];
        println!(
            "| {name} | {:.2} | {:.2} | {} |",
            processor.as_secs_f64(),
            wall.as_secs_f64(),
            run.log.lines
        );
    }
    let Ended { processor, wall, run } = run(0, FLOOD / PARTS, ALL);
    let stored = run.log.lines;
    println!(
        "\n{FLOOD} lines as fast as they are taken: {stored} stored in {:.2} s, {:.0} a second, with {:.2} CPU s; {} were \
         left out and counted\n",
        wall.as_secs_f64(),
        f64::from(u32::try_from(stored).unwrap()) / wall.as_secs_f64(),
        processor.as_secs_f64(),
        u64::from(FLOOD).saturating_sub(stored),
    );
}

/// Has a service run a tap once, whose parts have so many rows and lines.
fn run(rows: u32, lines: u32, service: &str) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path(), rows, lines, service);
    let serving = Serving::start(folder.path(), &[]);
    let begun = Instant::now();
    let run = last_run(&folder.path().join("backstitch-data/control.db"));
    let wall = begun.elapsed();
    assert!(run.error.is_none(), "{:?}", run.error);
    Ended { processor: serving.all_processor_time(), wall, run }
}

fn prepare(folder: &Path, rows: u32, lines: u32, service: &str) {
    let schema = r#"{"type":"SCHEMA","stream":"orders","key_properties":["id"],"schema":{"type":"object","properties":{"id":{"type":"integer"},"text":{"type":["null","string"]},"amount":{"type":["null","number"]}}}}"#;
    for part in 0..PARTS {
        let mut messages = format!("{schema}\n");
        for row in part * rows..(part + 1) * rows {
            writeln!(
                messages,
                r#"{{"type":"RECORD","stream":"orders","record":{{"id":{row},"text":"the text of row {row}, which is not long","amount":{row}.25}}}}"#
            )
            .unwrap();
        }
        writeln!(messages, r#"{{"type":"STATE","value":{{"part":{part}}}}}"#).unwrap();
        fs::write(folder.join(format!("messages.{part}")), messages).unwrap();
        let said: String = (0..lines)
            .map(|line| format!("INFO Read page {line} of part {part}, from 2026-11-24T09:00:00Z until 2026-11-24T10:00:00Z\n"))
            .collect();
        fs::write(folder.join(format!("lines.{part}")), said).unwrap();
    }
    let tap = format!(
        "part=0\nwhile [ $part -lt {PARTS} ]; do cat messages.$part; cat lines.$part >&2; part=$((part+1)); done\n"
    );
    fs::write(folder.join("tap.sh"), tap).unwrap();
    let configuration = format!(
        "[integration.Shop]\ndestination = \"duckdb:warehouse.duckdb\"\nschedule = {{ every = \"24h\" }}\n\
         source = {{ type = \"singer\", command = [\"sh\", \"tap.sh\"] }}\n\
         [service]\nlisten = \"127.0.0.1:0\"\n{service}"
    );
    fs::write(folder.join("backstitch.toml"), configuration).unwrap();
}

/// Waits until the only run has ended.
#[expect(
    clippy::disallowed_methods,
    reason = "another process can only be looked at again and again"
)]
fn last_run(path: &Path) -> Run {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::sqlite(path, Utc::now()).await.unwrap();
        loop {
            let runs = store.run_page(None, None, None, 1).await.unwrap();
            match runs.into_iter().next() {
                Some(run) if run.ended_at.is_some() => return run,
                _ => thread::sleep(Duration::from_millis(20)),
            }
        }
    })
}
