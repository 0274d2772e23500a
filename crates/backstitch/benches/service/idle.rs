//! What the service takes while it has nothing to do.

use std::{thread, time::Duration};

use crate::process::Serving;

/// How long it is watched.
const WATCH: Duration = Duration::from_secs(20);

/// Watches a service that has just started.
#[expect(clippy::disallowed_methods, reason = "what is measured is that nothing happens")]
pub(crate) fn measure(serving: &Serving) {
    // What the start leaves to be done is done then.
    thread::sleep(Duration::from_secs(2));
    let before = serving.processor_time();
    thread::sleep(WATCH);
    let processor = serving.processor_time() - before;
    println!("Start to ready: {:.0} ms", serving.start.as_secs_f64() * 1_000.0);
    println!("Idle: {:.2} % of a core", processor.as_secs_f64() / WATCH.as_secs_f64() * 100.0);
    memory("Idle memory", serving);
    println!();
}

/// The memory after the reads.
pub(crate) fn after(serving: &Serving) {
    memory("Memory after the reads", serving);
}

fn memory(what: &str, serving: &Serving) {
    let (all, own) = serving.memory();
    println!("{what}: {all} MiB resident, of which {own} MiB are its own and the rest are files");
}
