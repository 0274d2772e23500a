//! A DuckDB file that can't be written for a while: its disk is full, or somebody reads it.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use duckdb::{AccessMode, Config, Connection};

use crate::{
    account,
    programs::{Running, Workplace},
    truth,
    warehouse::Warehouse,
};

/// The program with a limit to the size of files, in blocks of 512 bytes: to those who write, such a limit is a disk
/// that is full, and no right is needed to set it.
fn with_little_room(workplace: &Workplace, blocks: u64) -> Command {
    let program = env!("CARGO_BIN_EXE_backstitch");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" run --json");
    workplace.command_of(Path::new("/bin/sh"), &["-c", &script, program])
}

#[test]
fn a_full_disk_ends_the_run_with_a_clear_message_and_costs_nothing() {
    let (account, warehouse) = (account::start_sized(300), Warehouse::duckdb());
    let workplace = Workplace::new(&account, &warehouse, "");
    let mut failures = 0;
    for round in 0..12u64 {
        let ended = Running::start(with_little_room(&workplace, 256 + 1_024 * round)).wait();
        if ended.code() == Some(0) {
            break;
        }
        failures += 1;
        let ended = ended.expect(5);
        assert!(ended.stderr.contains("space"), "{}", ended.stderr);
        assert!(ended.failure().contains("hint: "), "{}", ended.stderr);
    }
    assert!(failures > 1, "the disk was never full");
    workplace.run(&["run"]).expect(0);
    truth::assert_equal(&account, &warehouse);
    account::change(&account);
    // The second time there is a file already, which is as large as the disk lets it be.
    let size = std::fs::metadata(warehouse.file()).unwrap().len();
    Running::start(with_little_room(&workplace, size / 512)).wait();
    workplace.run(&["run"]).expect(0);
    truth::assert_equal(&account, &warehouse);
}

/// A process that reads the file, and keeps it open until its standard input ends.
struct Reader(Child);

impl Reader {
    fn start(file: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "files::reads_a_file", "--ignored", "--nocapture"])
            .env("READ_FILE", file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let reads =
            output.lines().map_while(Result::ok).any(|line| line.contains("the file is open"));
        assert!(reads, "the reader could not open the file");
        Self(process)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// Started by another test.
#[test]
#[ignore = "a part of another test, which starts it in a process of its own"]
fn reads_a_file() {
    let Ok(path) = std::env::var("READ_FILE") else { return };
    let config = Config::default().access_mode(AccessMode::ReadOnly).unwrap();
    let connection = Connection::open_with_flags(path, config).unwrap();
    println!("the file is open");
    std::io::stdout().flush().unwrap();
    std::io::stdin().lines().for_each(drop);
    drop(connection);
}

#[test]
fn a_file_that_somebody_reads_is_waited_for() {
    let (account, warehouse) = (account::start_sized(60), Warehouse::duckdb());
    let workplace = Workplace::new(&account, &warehouse, "");
    workplace.run(&["run"]).expect(0);
    account::change(&account);
    let reader = Reader::start(&warehouse.file());
    let mut running = Running::start(workplace.command(&["run"]));
    running.wait_for("is locked by");
    drop(reader);
    running.wait().expect(0);
    truth::assert_equal(&account, &warehouse);
}
