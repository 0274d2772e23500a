//! The messages to load: what the tap writes about a simulated account, as it is and after two changes.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bronto_sim::{ClockMode, Mutation, Server, SimConfig};
use serde_json::{Value, json};

use crate::{
    Sizes,
    measure::{account_token, select, workspace_program},
    results::step::{CHANGES, EVERYTHING, FEW},
};

/// The streams that are loaded.
pub(crate) const STREAMS: [&str; 2] = ["contact", "inbound_activity"];

/// Files of Singer messages.
pub(crate) struct Messages {
    /// In order: everything, the changes, 100 more.
    pub(crate) files: [(&'static str, PathBuf); 3],
}

impl Messages {
    /// Has the tap write them.
    pub(crate) fn make(sizes: Sizes, folder: &Path) -> Self {
        let account = Server::start_blocking(&SimConfig {
            clock: ClockMode::Frozen,
            contacts: sizes.contacts,
            inbound: sizes.activities,
            outbound: 0,
            unsubscribes: 0,
            lists: 50,
            ..SimConfig::default()
        })
        .unwrap();
        let tap = workspace_program("tap-bronto");
        let config = folder.join("tap.json");
        let settings = json!({
            "token": account_token(),
            "endpoint": account.endpoint(),
            "start_date": "2015-01-01T00:00:00Z",
            "settle_seconds": 0,
        });
        fs::write(&config, settings.to_string()).unwrap();
        let discovered =
            Command::new(&tap).arg("--discover").arg("--config").arg(&config).output().unwrap();
        let catalog: Value = serde_json::from_slice(&discovered.stdout).unwrap();
        let selected = folder.join("catalog.json");
        fs::write(&selected, select(&catalog, &STREAMS).to_string()).unwrap();
        let state = folder.join("state.json");
        fs::write(&state, "{}").unwrap();
        let read = |name: &str| {
            let path = folder.join(name);
            let status = Command::new(&tap)
                .arg("--config")
                .arg(&config)
                .arg("--catalog")
                .arg(&selected)
                .arg("--state")
                .arg(&state)
                .stdout(File::create(&path).unwrap())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert!(status.success(), "the tap ended with {status}");
            let text = fs::read_to_string(&path).unwrap();
            let last = text.lines().rfind(|line| line.starts_with("{\"type\":\"STATE\"")).unwrap();
            let message: Value = serde_json::from_str(last).unwrap();
            fs::write(&state, message["value"].to_string()).unwrap();
            path
        };
        let change = |contacts: u32| {
            let mutation = Mutation { contacts, advance_seconds: 60, ..Mutation::default() };
            account.mutate(&mutation);
            account.advance_seconds(60);
        };
        let everything = read("everything.jsonl");
        change(sizes.changes);
        let changes = read("changes.jsonl");
        change(100);
        let few = read("few.jsonl");
        Self { files: [(EVERYTHING, everything), (CHANGES, changes), (FEW, few)] }
    }

    /// The size of the first file.
    pub(crate) fn megabytes(&self) -> u64 {
        fs::metadata(&self.files[0].1).unwrap().len() / 1_000_000
    }
}
