//! What holds for every configuration that the tap can be given.
//!
//! Reading it never panics. What is accepted lies within the documented limits; what is refused comes with a message and
//! a remedy for each setting.

use tap_bronto::config::Settings;

/// Checks all that holds for a configuration. Panics where it doesn't.
pub(crate) fn holds(text: &str) {
    let mut settings = Settings::default();
    if let Err(error) = settings.add_json(text) {
        assert_eq!(error.problems.len(), 1);
        return;
    }
    settings.add_environment([("TAP_BRONTO_STREAMS".to_owned(), text.to_owned())]);
    drop(settings.clone().into_config());
    let mut settings = Settings::default();
    assert!(settings.add_json(text).is_ok(), "the same text reads the same way");
    match settings.into_config() {
        Ok(config) => {
            assert!((1..=16).contains(&config.concurrency));
            assert!((10..=5_000).contains(&config.page_size));
            assert!(config.max_retries <= 100 && config.settle_seconds <= 86_400);
            assert!((1..=86_400).contains(&config.request_timeout.as_secs()));
            assert!(config.activity_lookback_days <= 30);
            assert!(config.start_date.zip(config.end_date).is_none_or(|(start, end)| start < end));
        }
        Err(error) => {
            assert!(!error.problems.is_empty());
            let told = |problem: &tap_bronto::config::Problem| {
                !problem.message.is_empty() && !problem.remedy.is_empty()
            };
            assert!(error.problems.iter().all(told));
        }
    }
}
