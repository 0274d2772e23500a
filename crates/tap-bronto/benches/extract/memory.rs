//! Peak memory as the account grows.

use bronto_sim::{Mutation, SimConfig};
use serde_json::json;

use crate::account::{Account, Run, head, row};

/// Fields of an account that has many of its own.
const MANY: u32 = 200;
const SMALL: u32 = 100_000;
const LARGE: u32 = 1_000_000;

pub(crate) fn print() {
    println!("### Peak memory of `tap-bronto`, contacts with all fields\n");
    head(&["what", "contacts", "peak MiB", "of the small one", "at most"]);
    let line = |what: &str, small: &Run, run: &Run, contacts: u32| {
        let share = run.cost.peak_bytes * 100 / small.cost.peak_bytes;
        assert!(run.records >= contacts.into(), "{what}: {} rows", run.records);
        row(&[
            what.to_owned(),
            contacts.to_string(),
            format!("**{}**", run.peak_mib()),
            format!("{share} %"),
            "96 MiB, 125 %".to_owned(),
        ]);
    };
    let small = read(SMALL, false);
    line("over a year", &small, &small, SMALL);
    line("over a year", &small, &read(LARGE, false), LARGE);
    line("all within one second", &small, &read(SMALL, true), SMALL);
    line("all within one second", &small, &read(LARGE, true), LARGE);
    for workers in [1, 4] {
        let what = format!("with {MANY} custom fields, {workers} at once");
        let small = read_wide(SMALL, workers);
        line(&what, &small, &small, SMALL);
        line(&what, &small, &read_wide(LARGE, workers), LARGE);
    }
    println!();
}

fn read(contacts: u32, at_once: bool) -> Run {
    let account = Account::of(SimConfig { contacts, ..SimConfig::default() }, &[]);
    if at_once {
        // About one in five of the changes adds a contact, the others change one.
        account.server.mutate(&Mutation { contacts, ..Mutation::default() });
        account.server.advance_seconds(600);
    }
    account.tap(&["contact"], 366, &json!({}))
}

fn read_wide(contacts: u32, workers: u32) -> Run {
    let config = SimConfig { contacts, fields: MANY, ..SimConfig::default() };
    let settings = json!({"concurrency": workers});
    Account::of(config, &[]).tap_with_custom_fields(&["contact"], 366, &settings)
}
