//! How much memory loading takes as a table grows, and what 100 rows cost when it is large. The messages of one account
//! are sent again and again, under other ids.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, BufWriter, PipeWriter, Write, pipe},
    path::Path,
    thread,
};

use postgres_cluster::Cluster;

use crate::{
    beside,
    contenders::load,
    measure::measure,
    messages::Messages,
    results::{Results, Step, who},
};

/// Loads contacts into both destinations until there are so many rows.
pub(crate) fn measure_both(
    cluster: &Cluster,
    messages: &Messages,
    folder: &Path,
    rows: u32,
    results: &mut Results,
) {
    let [(_, everything), _, (_, few)] = &messages.files;
    let rounds = rows.div_ceil(contacts_in(everything));
    let file = folder.join(format!("{rows}.duckdb"));
    let duckdb = format!("duckdb:{}", file.display());
    let changed = rounds.div_ceil(5);
    for (step, file, rounds, text) in [
        (inserts(rows), everything, 0..rounds, ""),
        (changes(rows), everything, 0..changed, "changed "),
        (increment(rows), few, 0..1, ""),
    ] {
        let send = |destination: &str| {
            let mut command = load(destination, file);
            let (reader, writer) = pipe().unwrap();
            command.stdin(reader).env("PGPASSWORD", cluster.password());
            let (file, rounds) = (file.clone(), rounds.clone());
            let sender = thread::spawn(move || repeat(&file, rounds, text, writer));
            let cost = measure(command);
            sender.join().unwrap();
            cost
        };
        let done = beside(cluster, || send(&cluster.url()));
        results.add(who::OURS_POSTGRES, &step, done);
        results.add(who::OURS_DUCKDB, &step, Step { cost: send(&duckdb), server: None });
    }
    fs::remove_file(file).unwrap();
}

/// What the steps are called.
pub(crate) fn inserts(rows: u32) -> String {
    format!("{rows} contacts")
}

pub(crate) fn changes(rows: u32) -> String {
    format!("a fifth of {rows} changed")
}

pub(crate) fn increment(rows: u32) -> String {
    format!("100 rows into {rows}")
}

const CONTACT: &str = "{\"type\":\"RECORD\",\"stream\":\"contact\"";
const SCHEMA: &str = "{\"type\":\"SCHEMA\",\"stream\":\"contact\"";
const ID: &str = "\"id\":\"";
const SOURCE: &str = "\"source\":\"";

fn contacts_in(file: &Path) -> u32 {
    let lines = BufReader::new(File::open(file).unwrap()).lines();
    let contacts = lines.filter(|line| line.as_ref().unwrap().starts_with(CONTACT)).count();
    u32::try_from(contacts).unwrap().max(1)
}

/// Writes the contacts of a file once for every round, each time under other ids, with `text` in front of a column.
fn repeat(file: &Path, rounds: std::ops::Range<u32>, text: &str, writer: PipeWriter) {
    let mut writer = BufWriter::new(writer);
    for round in rounds.clone() {
        for line in BufReader::new(File::open(file).unwrap()).lines() {
            let line = line.unwrap();
            let is_contact = line.starts_with(CONTACT);
            if is_contact {
                let line = line.replacen(ID, &format!("{ID}{round}-"), 1);
                let line = line.replacen(SOURCE, &format!("{SOURCE}{text}"), 1);
                writeln!(writer, "{line}").unwrap();
            } else if line.starts_with(SCHEMA) && round == rounds.start {
                writeln!(writer, "{line}").unwrap();
            }
        }
    }
    writer.flush().unwrap();
}
