//! Processor time against the Python tap on the same account, compression off and on.

use bronto_sim::SimConfig;
use chrono::Utc;
use serde_json::json;

use crate::account::{Account, head, row};

const ROWS: u32 = 100_000;
const DAYS: u64 = 28;

/// Fields of contacts that the Python tap has in its schema, or not even there, and never asks for.
const NEVER_FETCHED: [&str; 23] = [
    "averageOrderValue",
    "consentDate",
    "consentIp",
    "firstOrderDate",
    "geoIPCity",
    "geoIPCountry",
    "geoIPCountryCode",
    "geoIPStateRegion",
    "geoIPZip",
    "lastClickDate",
    "lastDeliveryDate",
    "lastOpenDate",
    "lastOrderDate",
    "lastOrderTotal",
    "lastUnsubscribeDate",
    "mobileBrowser",
    "mobileEmailClient",
    "operatingSystem",
    "primaryBrowser",
    "primaryEmailClient",
    "segmentIds",
    "totalOrders",
    "totalRevenue",
];

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
        for (what, streams, without) in [
            ("contacts, all fields", &["contact"][..], &[][..]),
            ("contacts, the fields that the Python tap fetches", &["contact"], &NEVER_FETCHED),
            ("activities", &["inbound_activity", "outbound_activity"], &[]),
        ] {
            let account = account(compression);
            let settings = json!({"settle_seconds": 0});
            let ours = account.tap_without(without, streams, DAYS, &settings);
            let theirs = crate::python::tap(&account, streams, DAYS);
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
fn account(compression: &str) -> Account {
    let config = SimConfig {
        now: Utc::now(),
        days: u32::try_from(DAYS).unwrap(),
        contacts: ROWS,
        inbound: ROWS / 2,
        outbound: ROWS / 2,
        ..SimConfig::default()
    };
    Account::of(config, &[("compression", compression)])
}
