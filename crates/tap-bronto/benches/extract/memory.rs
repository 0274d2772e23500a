//! Peak memory as the account grows.

use bronto_sim::{Mutation, SimConfig};
use serde_json::json;

use crate::account::{Account, Run, head, row};

const SMALL: u32 = 100_000;
const LARGE: u32 = 1_000_000;

pub(crate) fn print() {
    println!("### Peak memory of `tap-bronto`, contacts with all fields\n");
    head(&["what", "contacts", "peak MiB", "of the small one", "at most"]);
    let small = read(SMALL, false, &json!({}));
    let line = |what: &str, run: &Run, contacts: u32| {
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
    line("over a year", &small, SMALL);
    line("over a year", &read(LARGE, false, &json!({})), LARGE);
    line("all within one second", &read(SMALL, true, &json!({})), SMALL);
    line("all within one second", &read(LARGE, true, &json!({})), LARGE);
    println!();
}

fn read(contacts: u32, at_once: bool, settings: &serde_json::Value) -> Run {
    let account = Account::of(SimConfig { contacts, ..SimConfig::default() }, &[]);
    if at_once {
        // About one in five of the changes adds a contact, the others change one.
        account.server.mutate(&Mutation { contacts, ..Mutation::default() });
        account.server.advance_seconds(600);
    }
    account.tap(&["contact"], 366, settings)
}
