//! `backstitch demo`: a whole replication without an account. A simulated Bronto answers in this process, and everything
//! after it is real.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bronto_sim::{ClockMode, RunningServer, Server, SimConfig};
use chrono::{Days, NaiveTime};
use destination_duckdb::{DuckDb, DuckDbConfig};
use replication::{
    claim::Refusal,
    destination::{Destination, RejectReason, RejectRecord},
    run::RunOptions,
};
use serde_json::{Value, json};
use tap_bronto::BrontoStream;

use super::{rejects, run};
use crate::{
    command_line::DemoArguments,
    connect,
    display::{self, Column},
    exit::ExitStatus,
    failure::Failure,
    pipeline::{self, Outcome},
    progress_bars,
    report::{self, Subject},
    telemetry,
};

/// The file that the demo fills.
const FILE: &str = "backstitch-demo.duckdb";
/// The schema that it fills.
const SCHEMA: &str = "stitch_bronto";
/// How far back the simulated account goes.
const DAYS: u32 = 365;
/// How many rejects are read for the table of reasons.
const REJECT_LIMIT: usize = 100_000;

/// What the demo asks of the file in the end: a join of three tables, as somebody would who has just replicated them.
const QUESTION: &str = "\
select coalesce(nullif(list.label, ''), list.name) as list,
       count(distinct contact.id) as contacts,
       count(*) filter (where inbound_activity.\"activityType\" = 'open') as opens,
       count(*) filter (where inbound_activity.\"activityType\" = 'click') as clicks
from stitch_bronto.inbound_activity
join stitch_bronto.contact on contact.id = inbound_activity.\"contactId\"
join stitch_bronto.list on list.id = inbound_activity.\"listId\"
group by all
order by opens desc, list
limit 5";

/// Runs the command.
///
/// # Errors
/// When the file can't be written, or holds something else.
pub(crate) fn execute(arguments: &DemoArguments) -> Result<ExitStatus, Failure> {
    let path = arguments.dir.join(FILE);
    let result = replicate(arguments, &path);
    match &result {
        Ok(demo) if arguments.json => display::print_json(&demo.to_json())?,
        Ok(demo) => display::print(&demo.to_text())?,
        Err(failure) if arguments.json => display::print_json(&report::stillborn(failure))?,
        Err(_) => {}
    }
    result?.outcome.end()
}

/// A query's result: the names of its columns, and its rows.
type Answer = (Vec<String>, Vec<Vec<Option<String>>>);

/// What the demo has to show.
#[derive(Debug)]
struct Demo {
    subject: Subject,
    path: PathBuf,
    outcome: Outcome,
    counts: Vec<(String, u64)>,
    reasons: Vec<RejectReason>,
    rejects: Vec<RejectRecord>,
    answer: Answer,
}

fn replicate(arguments: &DemoArguments, path: &Path) -> Result<Demo, Failure> {
    fs::create_dir_all(&arguments.dir).map_err(|error| {
        Failure::new(
            ExitStatus::Destination,
            format!("Folder `{}` can't be created", arguments.dir.display()),
        )
        .with_hint("Choose another folder with `--dir`")
        .caused_by(&error)
    })?;
    let screen = progress_bars::screen(true);
    telemetry::start_without_source(screen.as_ref())?;
    let subject = Subject {
        // The size is part of the name, so that a demo of another size is refused instead of mixed in.
        integration: format!("Demo of {} contacts", arguments.rows),
        destination: format!("duckdb:{}", path.display()),
        schema: SCHEMA.to_owned(),
    };
    pipeline::block_on(async {
        let account = Server::start(account(arguments.rows)).await.map_err(|error| {
            Failure::new(ExitStatus::Unexpected, "The simulated account can't be started")
                .caused_by(&error)
        })?;
        let file =
            DuckDb::new(DuckDbConfig::new(path, SCHEMA)).map_err(|error| Failure::from(&error))?;
        let destination = Arc::new(file);
        let source = connect::simulated(&account)?;
        let options = options(&subject, &account);
        let outcome =
            pipeline::run(source, Arc::clone(&destination) as _, options, None, screen).await?;
        account.shutdown().await;
        let (counts, reasons, rejects, answer) = look(&destination, &outcome).await?;
        let outcome = explain(outcome, path);
        Ok(Demo { subject, path: path.to_owned(), outcome, counts, reasons, rejects, answer })
    })
}

/// The account that `backstitch demo --rows` replicates. Everything in it grows with the number of contacts, and the same
/// number gives the same account, so that the demo's outcome can be compared with what the account holds.
#[must_use]
pub fn account(contacts: u32) -> SimConfig {
    SimConfig {
        clock: ClockMode::Frozen,
        days: DAYS,
        contacts,
        lists: (contacts / 400).clamp(10, 200),
        unsubscribes: contacts.div_ceil(8),
        inbound: contacts.saturating_mul(2),
        outbound: contacts.saturating_mul(2),
        ..SimConfig::default()
    }
}

fn options(subject: &Subject, account: &RunningServer) -> RunOptions {
    let midnight = account.now().date_naive().and_time(NaiveTime::MIN).and_utc();
    let mut options = RunOptions::new(&subject.integration);
    options.start_date = midnight.checked_sub_days(Days::new(u64::from(DAYS) + 1));
    options
}

/// What a demo's file holds: its tables with their rows, why rows were rejected, those rows, and an answer.
type Held = (Vec<(String, u64)>, Vec<RejectReason>, Vec<RejectRecord>, Answer);

/// Reads back what the file holds now. After a run that failed there is nothing to look at.
async fn look(destination: &DuckDb, outcome: &Outcome) -> Result<Held, Failure> {
    if outcome.failure.is_some() || outcome.signal.is_some() {
        return Ok(Default::default());
    }
    let mut counts = Vec::new();
    for stream in BrontoStream::ALL {
        let rows = destination.count(stream.name()).await.map_err(|error| Failure::from(&error))?;
        counts.push((stream.name().to_owned(), rows.unwrap_or_default()));
    }
    let reasons = destination.reject_reasons(None).await.map_err(|error| Failure::from(&error))?;
    let rejects =
        destination.rejects(None, REJECT_LIMIT).await.map_err(|error| Failure::from(&error))?;
    let answer = destination.query_text(QUESTION).await.map_err(|error| Failure::from(&error))?;
    destination.close().await;
    Ok((counts, reasons, rejects, answer))
}

/// Says what a refused claim means here.
fn explain(mut outcome: Outcome, path: &Path) -> Outcome {
    if matches!(outcome.refusal, Some(Refusal::OtherIntegration { .. })) {
        let message = format!("`{}` holds something else than a demo of this size", path.display());
        let hint = "Remove the file, or choose another folder with `--dir`";
        outcome.failure = Some(Failure::new(ExitStatus::Claimed, message).with_hint(hint));
    }
    outcome
}

impl Demo {
    fn to_json(&self) -> Value {
        let (columns, rows) = &self.answer;
        let answer = rows
            .iter()
            .map(|row| columns.iter().cloned().zip(row.iter().map(|cell| json!(cell))).collect());
        let mut report = self.subject.report(&self.outcome);
        report["rows"] =
            self.counts.iter().map(|(table, rows)| (table.clone(), json!(rows))).collect();
        report["rejects"] = self.rejects.iter().map(report::reject_json).collect();
        report["join"] = answer.collect::<Vec<Value>>().into();
        report
    }

    fn to_text(&self) -> String {
        if self.outcome.failure.is_some() || self.outcome.signal.is_some() {
            return report::summary(&self.outcome.report);
        }
        let mut text = self.headline();
        text.push_str(&self.tables());
        if !self.outcome.report.gaps.is_empty() {
            text.push_str("\nActivities reach back 30 days, because Bronto returns no older ones; `_sdc_loads` records the gap\n");
        }
        if !self.rejects.is_empty() {
            text.push_str("\nNothing is dropped in silence: rows that can't be in their table are in `_sdc_rejected`, whole\n");
            text.push_str(&rejects::by_reason(&self.reasons));
        }
        text.push_str("\nA join of three tables, asked of the file: whose lists are read\n");
        text.push_str(&self.join());
        text.push_str(&self.next_steps());
        text
    }

    fn headline(&self) -> String {
        let seconds = report::seconds(&self.outcome.report);
        let place = self.path.display();
        if run::changes(&self.outcome) == 0 {
            return format!(
                "Nothing new in the simulated account since the last demo; `{place}` is as it was, checked in {seconds:.1} s\n"
            );
        }
        format!(
            "Replicated a simulated Bronto account into `{place}`, schema `{SCHEMA}`, in {seconds:.1} s\n"
        )
    }

    fn tables(&self) -> String {
        let columns = [
            Column::Text("Table"),
            Column::Figure("Rows"),
            Column::Figure("New"),
            Column::Rare("Changed"),
            Column::Rare("Rejected"),
            Column::Text("Bookmark"),
        ];
        let row = |(name, rows): &(String, u64)| {
            let report = self.outcome.report.tables.iter().find(|table| table.table == *name);
            let counts = report.map(|table| table.counts).unwrap_or_default();
            vec![
                name.clone(),
                display::count(*rows),
                display::count(counts.inserted),
                display::count(counts.updated),
                display::count(counts.rejected),
                report.and_then(|table| table.bookmark.clone()).unwrap_or_default(),
            ]
        };
        display::table(&columns, &self.counts.iter().map(row).collect::<Vec<_>>())
    }

    fn join(&self) -> String {
        let columns = [
            Column::Text("List"),
            Column::Figure("Contacts"),
            Column::Figure("Opens"),
            Column::Figure("Clicks"),
        ];
        let cell = |cell: &Option<String>| {
            let text = cell.as_deref().unwrap_or_default();
            text.parse().map_or_else(|_| display::one_line(text, 60), display::count)
        };
        let rows: Vec<Vec<String>> =
            self.answer.1.iter().map(|row| row.iter().map(cell).collect()).collect();
        display::table(&columns, &rows)
    }

    fn next_steps(&self) -> String {
        let place = self.path.display();
        format!(
            "
What next
  Look around      duckdb {place} \"from {SCHEMA}.contact limit 5\"
  See the ledger   backstitch loads --destination duckdb:{place} --schema {SCHEMA}
  Run it again     backstitch demo --dir {folder}    (nothing is new, so nothing changes)
  Your account     write `backstitch.toml`, then `backstitch check` and `backstitch run`:

    [integration.\"Stitch Bronto\"]
    source = {{ type = \"bronto\", token = {{ env = \"BRONTO_TOKEN\" }} }}
    destination = \"duckdb:warehouse.duckdb\"
",
            folder = self.path.parent().unwrap_or(Path::new(".")).display(),
        )
    }
}
