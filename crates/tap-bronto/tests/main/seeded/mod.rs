//! A search for rows that get lost, come twice or change on their way.
//!
//! A seed draws an account, the behaviours of the server, settings, and runs that are stopped, killed and disturbed. The
//! runs go into tables as a destination would keep them, and are compared with the account: whenever a bookmark moves,
//! and at the end, when all has settled.
//!
//! `BACKSTITCH_SOAK_CASES` plays that many cases, and `BACKSTITCH_SOAK_SEED` is the first one's seed.

mod behaviours;
mod case;
mod chance;
mod due;
mod outside;
mod play;
mod replica;
mod truth;

use std::{
    any::Any,
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use case::Case;
use play::Tally;

/// Cases that once failed.
const REGRESSIONS: [u64; 0] = [];
/// How many cases are played unless told otherwise.
const CASES: u64 = 150;
const FIRST_SEED: u64 = 1_000;
const THREADS: usize = 2;
/// How long one case may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a batch of cases has to meet at the server.
const FAULTS: [&str; 15] = [
    "101",
    "103",
    "104",
    "107",
    "108",
    "113",
    "116",
    "1201",
    "empty",
    "html",
    "http500",
    "http503",
    "redirect",
    "reset",
    "truncated",
];
const ENDINGS: [&str; 4] = ["failed", "killed", "stopped", "whole"];

#[test]
fn rows_are_the_accounts_whatever_happens() {
    let from_environment = |name: &str| env::var(name).ok().map(|text| text.parse().unwrap());
    let cases = from_environment("BACKSTITCH_SOAK_CASES").unwrap_or(CASES);
    let first = from_environment("BACKSTITCH_SOAK_SEED").unwrap_or(FIRST_SEED);
    let seeds: Vec<u64> = REGRESSIONS.into_iter().chain(first..first + cases).collect();
    let (tally, failures) = play_all(&seeds);
    println!("{}", report(&tally));
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
    if cases >= CASES {
        let unmet = unmet(&tally);
        assert!(unmet.is_empty(), "never met: {unmet:?}");
    }
}

fn play_all(seeds: &[u64]) -> (Tally, Vec<String>) {
    let next = AtomicUsize::new(0);
    let results = Mutex::new((Tally::default(), Vec::new()));
    let work = || {
        while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let played = play_one(seed);
            let (tally, failures) = &mut *results.lock().unwrap();
            match played {
                Ok(met) => tally.add(met),
                Err(failure) => failures.push(failure),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    results.into_inner().unwrap()
}

/// Plays the case of a seed; a failure says all there is to know about it.
fn play_one(seed: u64) -> Result<Tally, String> {
    let case = Case::draw(seed);
    let played = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let game = async { tokio::time::timeout(PATIENCE, play::play(&case)).await };
        runtime.block_on(game).expect("a case ends in time")
    }));
    played.map_err(|panic| format!("seed {seed}: {}\n{case:#?}\n", message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

/// What the batch met, as lines.
fn report(tally: &Tally) -> String {
    let mut lines = vec![format!(
        "{} requests, {} gaps, {} rejects",
        tally.requests, tally.gaps, tally.rejects
    )];
    lines.extend(tally.endings.iter().map(|(ending, n)| format!("{n:>6} runs {ending}")));
    lines.extend(tally.faults.iter().map(|(fault, n)| format!("{n:>6} answers {fault}")));
    lines.extend(tally.cuts.iter().map(|(event, n)| format!("{n:>6} runs cut at {event}")));
    lines.extend(tally.forms.iter().map(|(form, n)| format!("{n:>6} rows as {form}")));
    let changes = tally.changes.iter();
    lines.extend(changes.map(|((what, when), n)| format!("{n:>6} changes of {what} {when}")));
    let drawn = tally.drawn.iter();
    lines.extend(drawn.map(|((name, part), n)| format!("{n:>6} times {name}={part}")));
    lines.join("\n")
}

/// What no case of the batch met.
fn unmet(tally: &Tally) -> Vec<String> {
    let all = bronto_sim::behaviours();
    let parts =
        all.iter().flat_map(|one| behaviours::parts(one).into_iter().map(|part| (one.name, part)));
    let drawn = parts
        .filter(|key| !tally.drawn.contains_key(key))
        .map(|(name, part)| format!("{name}={part}"));
    let faults = FAULTS.iter().filter(|fault| !tally.faults.contains_key(**fault));
    let endings = ENDINGS.iter().filter(|ending| !tally.endings.contains_key(**ending));
    let forms = ["columns", "lines"].into_iter().filter(|form| !tally.forms.contains_key(form));
    let forms = forms.map(|form| format!("rows as {form}"));
    let cuts = ["rows", "a bookmark"].into_iter().filter(|event| !tally.cuts.contains_key(event));
    let whens = ["during a run", "after a run"];
    let changes = ["contacts", "activities", "unsubscribes", "lists", "time"]
        .into_iter()
        .flat_map(|what| whens.map(|when| (what, when)))
        .filter(|key| !tally.changes.contains_key(key))
        .map(|(what, when)| format!("changes of {what} {when}"));
    let words = faults.chain(endings).map(|word| (*word).to_owned());
    let cuts = cuts.map(|event| format!("cut at {event}"));
    drawn.chain(words).chain(forms).chain(cuts).chain(changes).collect()
}
