//! The connection check, and failures of the account as a whole.

use std::collections::BTreeMap;

use bronto_sim::{SimConfig, TokenGrant};
use replication::source::{Source, SourceErrorKind};
use tap_bronto::{BrontoSource, TapConfig};

use crate::account::Account;

async fn check(config: TapConfig) -> Vec<(String, Result<String, String>)> {
    let source = BrontoSource::new(config).unwrap();
    let steps = source.check().await;
    steps
        .into_iter()
        .map(|step| {
            (
                step.name,
                step.result.map_err(|failure| format!("{} | {}", failure.message, failure.remedy)),
            )
        })
        .collect()
}

#[tokio::test]
async fn a_good_account_passes_every_step() {
    let account = Account::start(&[]).await;
    let steps = check(account.config()).await;
    assert!(steps.iter().all(|(_, result)| result.is_ok()), "{steps:?}");
    let names: Vec<_> = steps.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "reach 127.0.0.1",
            "log in",
            "read contact",
            "read inbound_activity",
            "read outbound_activity",
            "read list",
            "read unsubscribe",
        ]
    );
    assert!(steps[3].1.as_ref().unwrap().contains("can't be read"), "{steps:?}");
}

#[tokio::test]
async fn a_bad_token_fails_the_login_and_is_not_shown() {
    let account = Account::start(&[]).await;
    let config = TapConfig { token: "0BADC0DE-SECRET".into(), ..account.config() };
    let steps = check(config.clone()).await;
    let (name, result) = steps.last().unwrap();
    assert_eq!(name, "log in");
    let message = result.as_ref().unwrap_err();
    assert!(message.contains("102") && !message.contains("SECRET"), "{message}");
    let error = account.run_with(config, &BTreeMap::new(), usize::MAX).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Refused);
}

#[tokio::test]
async fn a_token_without_read_permission_is_named_by_its_stream() {
    let config =
        SimConfig { tokens: vec![TokenGrant::without_read("write-only")], ..SimConfig::default() };
    let account = Account::of(config, &[]).await;
    let config = TapConfig { token: "write-only".into(), ..account.config() };
    let steps = check(config.clone()).await;
    let (name, result) = steps.last().unwrap();
    assert_eq!(name, "read contact");
    assert!(result.as_ref().unwrap_err().contains("Read"), "{result:?}");
    let run = account.run_with(config, &BTreeMap::new(), usize::MAX).await.unwrap();
    assert_eq!(run.failed.len(), 5);
    assert!(run.failed.iter().all(|(_, error)| error.kind == SourceErrorKind::Refused));
}

#[tokio::test]
async fn nobody_there_fails_the_first_step() {
    let account = Account::start(&[]).await;
    let config = TapConfig { max_retries: 1, ..account.config() };
    account.server.shutdown().await;
    let steps = check(config).await;
    assert_eq!(
        (steps.len(), steps[0].0.as_str(), steps[0].1.is_err()),
        (1, "reach 127.0.0.1", true)
    );
}

#[tokio::test]
async fn fingerprints_tell_accounts_apart_and_hide_the_token() {
    let account = Account::start(&[]).await;
    let fingerprint = |token: &str| {
        let config = TapConfig { token: token.to_owned().into(), ..account.config() };
        BrontoSource::new(config).unwrap().fingerprint()
    };
    assert_eq!(fingerprint("one"), fingerprint("one"));
    assert_ne!(fingerprint("one"), fingerprint("two"));
    assert!(fingerprint("one").starts_with("bronto:127.0.0.1:"));
    assert_eq!(fingerprint("one").len(), "bronto:127.0.0.1:".len() + 12);
}
