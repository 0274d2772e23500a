//! How often the service is asked. These figures are exact; ordinary tests hold the tap to them too.

use bronto_sim::SimConfig;
use serde_json::{Value, json};

use crate::account::{Account, Run, head, row};

const STREAMS: [(&str, &str); 4] = [
    ("contact", "readContacts"),
    ("inbound_activity", "readRecentInboundActivities"),
    ("outbound_activity", "readRecentOutboundActivities"),
    ("unsubscribe", "readUnsubscribes"),
];

pub(crate) fn print() {
    println!("### Requests, with one worker and pages of 5000\n");
    head(&["what", "rows", "requests", "at most"]);
    let rows = 100_000;
    let busy = Account::of(
        SimConfig {
            contacts: rows,
            inbound: rows,
            outbound: rows,
            days: 28,
            ..SimConfig::default()
        },
        &[],
    );
    for (stream, function) in &STREAMS[..3] {
        let run = busy.tap(&[stream], 28, &settings());
        let most = if *stream == "contact" { rows / 2_500 * 2 } else { rows / 5_000 * 115 / 100 };
        line(&format!("busy account, `{stream}`"), &run, function, most);
    }
    let idle = Account::of(
        SimConfig { contacts: 0, inbound: 0, outbound: 0, unsubscribes: 0, ..SimConfig::default() },
        &[],
    );
    for (stream, function) in STREAMS {
        let run = idle.tap(&[stream], 365, &settings());
        line(&format!("idle year, `{stream}`"), &run, function, 40);
    }
    for (stream, function) in &STREAMS[1..3] {
        let account = Account::of(
            SimConfig { inbound: 20_000, outbound: 20_000, ..SimConfig::default() },
            &[],
        );
        account.tap(&[stream], 28, &settings());
        for (what, pause) in
            [("600 s later", 600), ("600 s after that", 600), ("a day later", 86_400)]
        {
            account.keep_state();
            account.server.advance_seconds(pause);
            let run = account.tap(&[stream], 28, &settings());
            line(&format!("nothing new, {what}, `{stream}`"), &run, function, 5);
        }
    }
    println!();
}

fn settings() -> Value {
    json!({"concurrency": 1, "settle_seconds": 0})
}

fn line(what: &str, run: &Run, function: &str, most: u32) {
    let requests = run.requests_of(function);
    row(&[what.to_owned(), run.records.to_string(), format!("**{requests}**"), most.to_string()]);
}
