//! Processor time against the Python tap, compression off and on.

use bronto_sim::SimConfig;
use chrono::Utc;
use serde_json::json;

use crate::account::{Account, head, row};

/// How many rows the Python tap reads.
const FEW: u32 = 4_000;
const MANY: u32 = 100_000;
const DAYS: u64 = 28;

pub(crate) fn print() {
    println!("### Processor time against the Python tap 1.0.2\n");
    head(&[
        "what",
        "compression",
        "rows",
        "CPU s",
        "rows per CPU s",
        "the Python tap: rows",
        "CPU s",
        "rows per CPU s",
        "times faster",
        "must reach",
    ]);
    for compression in ["off", "on"] {
        for (what, streams) in [
            ("contacts", &["contact"][..]),
            ("activities", &["inbound_activity", "outbound_activity"]),
        ] {
            let ours = account(MANY, compression).tap(streams, DAYS, &json!({"settle_seconds": 0}));
            let theirs = crate::python::tap(&account(FEW, compression), streams, DAYS);
            row(&[
                what.to_owned(),
                compression.to_owned(),
                ours.records.to_string(),
                format!("{:.2}", ours.seconds()),
                format!("{:.0}", ours.rate()),
                theirs.records.to_string(),
                format!("{:.2}", theirs.seconds()),
                format!("{:.0}", theirs.rate()),
                format!("**{:.0}**", ours.rate() / theirs.rate()),
                "60".to_owned(),
            ]);
        }
    }
    println!();
}

/// An account whose clock is the machine's: the Python tap reads up to that.
fn account(rows: u32, compression: &str) -> Account {
    let config = SimConfig {
        now: Utc::now(),
        days: u32::try_from(DAYS).unwrap(),
        contacts: rows,
        inbound: rows / 2,
        outbound: rows / 2,
        ..SimConfig::default()
    };
    Account::of(config, &[("compression", compression)])
}
