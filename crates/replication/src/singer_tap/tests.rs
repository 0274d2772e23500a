//! Taps that are shell scripts: real processes, real pipes.

#![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

use std::{fs, sync::Arc, time::Duration};

use chrono::DateTime;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::{
    clock::FixedClock,
    event::{self, Event},
    progress::ProgressBoard,
    sequence::SequenceClock,
};

const SCHEMA: &str = r#"echo '{"type":"SCHEMA","stream":"s","schema":{"properties":{"id":{"type":"integer"}}},"key_properties":["id"]}'"#;
const RECORD: &str = r#"echo '{"type":"RECORD","stream":"s","record":{"id":1}}'"#;
const STATE: &str = r#"echo '{"type":"STATE","value":{"at":1}}'"#;

fn settings(script: &str) -> TapSettings {
    TapSettings {
        command: ["sh", "-c", script, "tap"].map(str::to_owned).to_vec(),
        folder: PathBuf::new(),
        config: r#"{"password":"hunter2"}"#.into(),
        secrets: vec!["hunter2".into()],
        catalog: None,
        fingerprint: "singer:test".to_owned(),
    }
}

/// What came of a run of the script: one word per event, and its end.
struct Ran {
    events: Vec<String>,
    result: Result<ExtractOutcome, SourceError>,
}

impl Ran {
    fn failure(&self) -> (SourceErrorKind, String) {
        let error = self.result.as_ref().unwrap_err();
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        (error.kind, format!("{error}{cause}"))
    }
}

async fn run(script: &str, state: Option<Value>) -> Ran {
    run_until(script, state, |_| false).await
}

/// Asks the tap to stop when an event is the one.
async fn run_until(script: &str, state: Option<Value>, is_enough: fn(&Event) -> bool) -> Ran {
    let (sender, mut receiver) = event::channel(1 << 20);
    let stop = CancellationToken::new();
    let context = ExtractContext {
        state: std::collections::BTreeMap::new(),
        singer_state: state,
        start_date: None,
        sequence: Arc::new(SequenceClock::new(0)),
        events: sender,
        stop: stop.clone(),
        progress: Arc::new(ProgressBoard::default()),
        clock: Arc::new(FixedClock::new(DateTime::from_timestamp_nanos(1_000_000))),
    };
    let extraction = tokio::spawn(Box::new(SingerTap::new(settings(script))).extract(context));
    let mut events = Vec::new();
    while let Some(event) = receiver.receive().await {
        if is_enough(&event) {
            stop.cancel();
        }
        events.push(match event {
            Event::Schema(_) => "schema".to_owned(),
            Event::Batch(batch) => format!("{} rows", batch.rows.num_rows()),
            Event::Bookmarks(bookmarks) => {
                format!("state {}", bookmarks.last().unwrap().state)
            }
            // How the tap described the stream.
            Event::Bookmark(_) => continue,
            other => format!("{other:?}"),
        });
    }
    Ran { events, result: extraction.await.unwrap() }
}

#[tokio::test]
async fn a_tap_that_ends_well_has_said_everything() {
    let ran = run(&format!("{SCHEMA}; {RECORD}; {STATE}; echo 'INFO done' >&2"), None).await;
    assert_eq!(ran.events, ["schema", "1 rows", r#"state {"at":1}"#]);
    assert!(!ran.result.unwrap().interrupted);
}

#[tokio::test]
async fn it_gets_its_configuration_and_state_as_files_that_are_gone_afterwards() {
    let script = format!(
        r#"[ "$1" = --config ] && [ "$(cat "$2")" = '{{"password":"hunter2"}}' ] && [ "$3" = --state ] || exit 9
           [ "$(stat -c %a "$2")" = 600 ] || exit 8
           {SCHEMA}; echo "{{\"type\":\"STATE\",\"value\":{{\"seen\":$(cat "$4"),\"at\":\"$2\"}}}}""#
    );
    let ran = run(&script, Some(json!({"at": 7}))).await;
    ran.result.unwrap();
    let state: Value = serde_json::from_str(ran.events[1].strip_prefix("state ").unwrap()).unwrap();
    assert_eq!(state["seen"], json!({"at": 7}));
    let config = Path::new(state["at"].as_str().unwrap());
    assert!(!config.exists() && !config.parent().unwrap().exists());
}

#[tokio::test]
async fn a_tap_that_dies_costs_what_it_had_not_finished_and_is_quoted() {
    let script = format!(
        "{SCHEMA}; {RECORD}; {STATE}; printf '{{\"type\":\"REC'; echo 'no hunter2 there' >&2; exit 1"
    );
    let ran = run(&script, None).await;
    assert_eq!(ran.events, ["schema", "1 rows", r#"state {"at":1}"#]);
    let (kind, message) = ran.failure();
    assert_eq!(kind, SourceErrorKind::Unavailable);
    assert_eq!(
        message,
        "The tap `sh` ended with exit code 1: Its log ended with: no [secret] there"
    );

    let killed = run(&format!("{SCHEMA}; {RECORD}; kill -9 $$"), None).await;
    assert_eq!(killed.failure().1, "The tap `sh` was killed by signal 9");
    let (kind, message) = run("echo 'usage: tap' >&2; exit 2", None).await.failure();
    assert_eq!(kind, SourceErrorKind::Configuration);
    assert!(message.contains("usage: tap"), "{message}");
}

#[tokio::test]
async fn a_table_version_is_not_activated_by_a_death() {
    let script = |end: &str| {
        format!(
            r#"{SCHEMA}
            echo '{{"type":"ACTIVATE_VERSION","stream":"s","version":1}}'
            echo '{{"type":"ACTIVATE_VERSION","stream":"s","version":2}}'
            echo '{{"type":"RECORD","stream":"s","record":{{"id":1}},"version":2}}'
            {end}"#
        )
    };
    let is_activated = |ran: &Ran| ran.events.iter().any(|event| event.starts_with("Activate"));
    let whole = run(&script("exit 0"), None).await;
    assert!(is_activated(&whole), "{:?}", whole.events);
    let broken = run(&script("exit 1"), None).await;
    assert!(broken.result.is_err() && !is_activated(&broken), "{:?}", broken.events);
}

#[tokio::test]
async fn asked_to_stop_it_ends_with_all_that_it_started() {
    // What it starts doesn't listen to the signal that asks, and holds its output open.
    let script = format!(
        r#"{SCHEMA}; (trap '' TERM; exec sleep 300) & echo "{{\"type\":\"STATE\",\"value\":{{\"child\":$!}}}}"
           trap 'exit 0' TERM; wait"#
    );
    let stop = |event: &Event| matches!(event, Event::Bookmarks(_));
    let ran = timeout(Duration::from_secs(60), run_until(&script, None, stop)).await.unwrap();
    assert!(ran.result.unwrap().interrupted, "its exit code doesn't make it complete");
    let last = ran.events.last().unwrap();
    let child = last.trim_start_matches("state {\"child\":").trim_end_matches('}');
    let child = Pid::from_raw(child.parse().unwrap()).unwrap();
    // Killed, it may still wait for somebody to collect it.
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.as_raw_nonzero()));
    let is_gone = test_kill_process(child).is_err() || stat.is_ok_and(|stat| stat.contains(") Z"));
    assert!(is_gone, "what the tap had started goes on");
}

#[tokio::test]
async fn a_tap_whose_child_still_writes_is_not_complete() {
    let script = format!("{SCHEMA}; {RECORD}; {STATE}; (exec sleep 300) & exit 0");
    let ran = timeout(Duration::from_secs(60), run(&script, None)).await.unwrap();
    assert_eq!(ran.events, ["schema", "1 rows", r#"state {"at":1}"#]);
    let (kind, message) = ran.failure();
    assert_eq!(kind, SourceErrorKind::Unavailable);
    let expected = "The tap `sh` ended with exit code 0, but what it had started still held its output open and was killed";
    assert_eq!(message, expected);
}

#[tokio::test]
async fn a_tap_whose_child_has_left_its_group_is_not_waited_for() {
    let script = format!(
        r#"{SCHEMA}; {RECORD}; {STATE}; trap 'exit 0' USR1
           setsid sh -c "echo \$\$ >&2; kill -USR1 $$; exec sleep 300" & wait"#
    );
    let ran = timeout(Duration::from_secs(60), run(&script, None)).await.unwrap();
    assert_eq!(ran.events, ["schema", "1 rows", r#"state {"at":1}"#]);
    let (kind, message) = ran.failure();
    assert_eq!(kind, SourceErrorKind::Unavailable);
    let expected = "The tap `sh` ended with exit code 0, but what it had started still held its output open and has left its \
                    process group, so that it runs on: end it yourself";
    let log = message.strip_prefix(expected).unwrap_or_else(|| panic!("{message}"));
    let escaped = log.rsplit(' ').next().unwrap().parse().unwrap();
    kill_process(Pid::from_raw(escaped).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_catalog_without_end_is_told_as_such() {
    let tap = SingerTap::new(settings("exec cat /dev/zero"));
    let steps = timeout(Duration::from_secs(60), tap.check()).await.unwrap();
    let failure = steps[0].result.as_ref().unwrap_err();
    assert_eq!(failure.message, "The tap `sh` prints more than 64 MiB with `--discover`");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let mut settings = settings("");
    settings.command = vec!["./no-such-tap".to_owned()];
    let steps = SingerTap::new(settings).check().await;
    let failure = steps[0].result.as_ref().unwrap_err();
    assert!(failure.message.starts_with("The tap `no-such-tap` can't be started"), "{failure:?}");
    assert!(failure.remedy.contains("Install it"), "{failure:?}");
}

#[tokio::test]
async fn a_discovery_counts_the_streams() {
    let steps = SingerTap::new(settings(r#"[ "$3" = --discover ] && echo '{"streams":[{},{}]}'"#));
    let steps = steps.check().await;
    assert_eq!(steps[0].result.as_ref().unwrap(), "`sh` offers 2 streams");
}
