//! How much memory loading takes as a table grows, and what 100 rows cost when it is large. The messages of one account
//! are sent again and again, under other ids.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, PipeWriter, Write, pipe},
    path::Path,
    thread,
};

use postgres_cluster::Cluster;

use crate::{Step, beside, contenders::load, measure::measure, messages::Messages, report};

/// Loads contacts into both destinations until there are so many rows.
pub(crate) fn measure_both(cluster: &Cluster, messages: &Messages, folder: &Path, rows: u32) {
    let [(_, everything), _, (_, few)] = &messages.files;
    let rounds = rows.div_ceil(contacts_in(everything));
    let duckdb = format!("duckdb:{}", folder.join("growth.duckdb").display());
    let changed = rounds.div_ceil(5);
    for (step, file, rounds, text) in [
        (format!("{rows} contacts"), everything, 0..rounds, ""),
        (format!("a fifth of {rows} changed"), everything, 0..changed, "changed "),
        (format!("100 rows into {rows}"), few, 0..1, ""),
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
        report("`backstitch load`, PostgreSQL", &step, &done);
        let done = Step { cost: send(&duckdb), server: None };
        report("`backstitch load`, DuckDB", &step, &done);
    }
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
