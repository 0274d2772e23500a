//! What was measured, printed as it comes in, and the bars that it is held against.

use crate::measure::Cost;

/// Who loads, as the tables name them.
pub(crate) mod who {
    pub(crate) const OURS_POSTGRES: &str = "`backstitch load`, PostgreSQL";
    pub(crate) const NATIVE_POSTGRES: &str = "native path, PostgreSQL";
    pub(crate) const CSV_FLOOR: &str = "`psql`: csv and SQL";
    pub(crate) const BINARY_FLOOR: &str = "`psql`: binary and SQL";
    pub(crate) const PIPELINEWISE: &str = "pipelinewise-target-postgres";
    pub(crate) const MELTANO: &str = "meltanolabs-target-postgres";
    pub(crate) const OURS_DUCKDB: &str = "`backstitch load`, DuckDB";
    pub(crate) const NATIVE_DUCKDB: &str = "native path, DuckDB";
    pub(crate) const READ_JSON: &str = "DuckDB: `read_json` and a merge";
    pub(crate) const KEYLESS_COPY: &str = "DuckDB: `copy` of CSV, no key";
    pub(crate) const TARGET_DUCKDB: &str = "target-duckdb";
    pub(crate) const DLT: &str = "dlt, DuckDB";
    pub(crate) const OUR_CHAIN: &str = "`backstitch run`, PostgreSQL";
    pub(crate) const THEIR_CHAIN: &str =
        "Python tap-bronto, piped into pipelinewise-target-postgres";
}

/// What is loaded, as the tables name it.
pub(crate) mod step {
    pub(crate) const EVERYTHING: &str = "everything";
    pub(crate) const CHANGES: &str = "changes";
    pub(crate) const FEW: &str = "100 rows";
}

/// One step of a contender.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) cost: Cost,
    /// The processor seconds of the server, where there is one.
    pub(crate) server: Option<f64>,
}

impl Step {
    /// The processor seconds of client and server.
    pub(crate) fn total(&self) -> f64 {
        self.cost.processor + self.server.unwrap_or(0.0)
    }
}

/// The steps of one table.
pub(crate) struct Results(Vec<(String, String, Step)>);

impl Results {
    /// Begins a table.
    pub(crate) fn begin(title: &str) -> Self {
        println!("\n{title}\n");
        println!("| what | step | wall s | client CPU s | server CPU s | peak MiB |");
        println!("|---|---|--:|--:|--:|--:|");
        Self(Vec::new())
    }

    /// Adds a row to it.
    pub(crate) fn add(&mut self, what: &str, step: &str, done: Step) {
        let server = done.server.map_or_else(|| "–".to_owned(), |server| format!("{server:.2}"));
        let Cost { wall, processor, peak_mib } = done.cost;
        let peak = if peak_mib > 0.0 { format!("{peak_mib:.0}") } else { "–".to_owned() };
        println!("| {what} | {step} | {wall:.2} | {processor:.2} | {server} | {peak} |");
        self.0.push((what.to_owned(), step.to_owned(), done));
    }

    /// What was measured, if it was.
    pub(crate) fn find(&self, what: &str, step: &str) -> Option<&Step> {
        let found = self.0.iter().find(|(other, of, _)| other == what && of == step);
        found.map(|(_, _, done)| done)
    }
}

/// On which side of a bar a figure has to be.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

/// Prints the head of a table of bars.
pub(crate) fn head_of_bars() {
    println!("\n| figure | must reach | measured | |");
    println!("|---|--:|--:|---|");
}

/// Prints a bar and whether it was reached, if it was measured.
pub(crate) fn hold(figure: &str, bar: Bar, measured: Option<f64>) {
    let Some(measured) = measured else { return };
    let (sign, limit, is_reached) = match bar {
        Bar::AtMost(limit) => ("≤", limit, measured <= limit),
        Bar::AtLeast(limit) => ("≥", limit, measured >= limit),
    };
    let verdict = if is_reached { "reached" } else { "**not reached**" };
    let digits = if measured < 10.0 { 2 } else { 0 };
    println!("| {figure} | {sign} {limit} | {measured:.digits$} | {verdict} |");
}
