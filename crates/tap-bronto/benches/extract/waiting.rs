//! Wall time when every request takes a tenth of a second, with one worker and with four.

use bronto_sim::SimConfig;
use serde_json::json;

use crate::account::{Account, head, row};

pub(crate) fn print() {
    println!("### Wall time at 100 ms per request\n");
    head(&["workers", "rows", "requests", "wall s", "times faster", "must reach"]);
    let rows = 100_000;
    let mut first = None;
    for workers in [1, 4] {
        let config = SimConfig {
            contacts: rows,
            inbound: rows,
            outbound: rows,
            days: 28,
            ..SimConfig::default()
        };
        let account = Account::of(config, &[("latency_ms", "100")]);
        let settings = json!({"concurrency": workers, "settle_seconds": 0});
        let streams = ["contact", "inbound_activity", "outbound_activity", "unsubscribe", "list"];
        let run = account.tap(&streams, 28, &settings);
        let wall = run.cost.wall.as_secs_f64();
        let alone = *first.get_or_insert(wall);
        row(&[
            workers.to_string(),
            run.records.to_string(),
            run.all_requests().to_string(),
            format!("{wall:.2}"),
            format!("**{:.2}**", alone / wall),
            if workers == 1 { "–" } else { "3" }.to_owned(),
        ]);
    }
    println!();
}
