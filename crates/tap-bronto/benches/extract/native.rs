//! The native path in a process of its own: an account's stream to Arrow batches, which are dropped.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    sync::Arc,
};

use process_cost::Cost;
use replication::{
    clock::SystemClock,
    event,
    progress::ProgressBoard,
    sequence::SequenceClock,
    source::{ExtractContext, Source},
};
use tap_bronto::{BrontoSource, BrontoStream, SelectedStream, TapConfig};
use tokio_util::sync::CancellationToken;

use crate::account::Account;

/// What this program is started with to be that process.
pub(crate) const ARGUMENT: &str = "native";

/// Measures such a process.
pub(crate) fn measure(account: &Account, stream: BrontoStream, days: u64) -> Cost {
    let start = account.server.now() - chrono::Days::new(days);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([ARGUMENT, &account.server.endpoint(), stream.name(), &start.to_rfc3339()]);
    process_cost::measure(command.stdin(Stdio::null())).unwrap()
}

/// Is such a process.
pub(crate) fn extract(arguments: &[String]) {
    let [endpoint, stream, start] = arguments else { panic!("endpoint, stream and start") };
    let config = TapConfig {
        endpoint: endpoint.parse().unwrap(),
        start_date: Some(start.parse().unwrap()),
        selection: vec![SelectedStream::all(BrontoStream::named(stream).unwrap())],
        ..TapConfig::new(bronto_sim::DEFAULT_TOKEN.into())
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (sender, mut receiver) = event::channel(64 << 20);
        let context = ExtractContext {
            state: BTreeMap::new(),
            singer_state: None,
            start_date: None,
            sequence: Arc::new(SequenceClock::new(0)),
            events: sender,
            stop: CancellationToken::new(),
            progress: Arc::new(ProgressBoard::default()),
            clock: Arc::new(SystemClock),
        };
        let source = BrontoSource::new(config).unwrap();
        let extraction = tokio::spawn(Box::new(source).extract(context));
        while receiver.receive().await.is_some() {}
        let outcome = extraction.await.unwrap().unwrap();
        assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
    });
}
