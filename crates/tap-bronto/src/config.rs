//! What can be set: in code field by field, in a JSON file, or in the environment (which wins).

mod reading;
mod settings;

use std::{fmt, time::Duration};

pub use bronto_client::Resolver;
use bronto_client::{Backoff, ClientConfig, Endpoint, RootCertificate};
use chrono::{DateTime, Utc};
use secrecy::SecretString;

pub use settings::{SETTINGS, Setting, Settings};

use crate::{
    activity_id::IdScheme,
    streams::{BrontoStream, NumberForm, RowForm, SelectedStream},
};

/// The smallest and largest page that can be asked for.
const PAGE_SIZES: std::ops::RangeInclusive<u32> = 10..=5_000;
/// The smallest page of activities that can be asked for.
const SMALLEST_ACTIVITY_PAGE: u32 = 1_000;
/// The most workers.
const MOST_WORKERS: usize = 16;

/// The settings of a [`BrontoSource`](crate::BrontoSource).
#[derive(Clone, Debug)]
pub struct TapConfig {
    /// The SOAP API token.
    pub token: SecretString,
    /// From when to read streams that have no bookmark. Default: one year ago, at midnight UTC. The start date in an
    /// extraction's context takes precedence.
    pub start_date: Option<DateTime<Utc>>,
    /// Up to when to read, for backfills and repeatable tests. Default: up to what has settled.
    pub end_date: Option<DateTime<Utc>>,
    /// Where requests go. Default: the live service.
    pub endpoint: Endpoint,
    /// How many sessions are open at once, over all streams. Default: 4.
    pub concurrency: usize,
    /// The longest wait for one answer. Default: 180 s.
    pub request_timeout: Duration,
    /// How often one request is tried again. Default: 5.
    pub max_retries: u32,
    /// How activities get their ids. Default: lossless.
    pub activity_id: IdScheme,
    /// How many days of activities are read again once in 24 hours, because some are recorded late. Default: 3.
    pub activity_lookback_days: u32,
    /// How long rows are given to settle: nothing younger, by the server's clock, is read. Default: 120 s.
    pub settle_seconds: u32,
    /// The page size of reads that have one, 10 to 5000; activities use at least 1000. Default: 5000.
    pub page_size: u32,
    /// What the tap calls itself to the service. Default: `tap-bronto/` and the version.
    pub user_agent: String,
    /// The streams and columns to read. Default: all.
    pub selection: Vec<SelectedStream>,
    /// How numbers are carried in batches. Default: as decimals.
    pub numbers: NumberForm,
    /// Whether contacts and activities come as finished lines of RECORD messages, see [`lines`](crate::lines), with
    /// numbers as lexemes. For a program that writes messages and needs nothing else of them. Default: no.
    pub as_lines: bool,
    /// The pauses between tries. Default: the client's. Not a setting; for tests.
    pub backoff: Backoff,
    /// Certificates to trust besides the system's. Not a setting; for tests.
    pub root_certificates: Vec<RootCertificate>,
    /// Finds the endpoint's addresses; the system does if there is none. Not a setting.
    pub resolver: Option<Resolver>,
}

/// A setting that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong; names the setting and never holds its value if that is secret.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: remedy.into() }
    }
}

/// Settings that can't be used: all of them at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl TapConfig {
    /// The defaults, with a token.
    #[must_use]
    pub fn new(token: SecretString) -> Self {
        let client = ClientConfig::new(SecretString::default());
        Self {
            token,
            start_date: None,
            end_date: None,
            endpoint: Endpoint::default(),
            concurrency: 4,
            request_timeout: client.request_timeout,
            max_retries: client.max_retries,
            activity_id: IdScheme::default(),
            activity_lookback_days: 3,
            settle_seconds: 120,
            page_size: *PAGE_SIZES.end(),
            user_agent: concat!("tap-bronto/", env!("CARGO_PKG_VERSION")).to_owned(),
            selection: BrontoStream::ALL.into_iter().map(SelectedStream::all).collect(),
            numbers: NumberForm::default(),
            as_lines: false,
            backoff: client.backoff,
            root_certificates: Vec::new(),
            resolver: None,
        }
    }

    /// How rows leave.
    pub(crate) fn row_form(&self) -> RowForm {
        if self.as_lines { RowForm::Lines } else { RowForm::Columns(self.numbers) }
    }

    /// What can't be right whoever made the settings.
    pub(crate) fn validate(&self) -> Result<(), Problem> {
        if self.selection.is_empty() {
            return Err(Problem::new("No stream is selected", "Select at least one stream"));
        }
        if !(1..=MOST_WORKERS).contains(&self.concurrency) {
            return Err(Problem::new(
                format!("`concurrency` is not between 1 and {MOST_WORKERS}"),
                "Set it to the number of sessions to have at once, such as 4",
            ));
        }
        if !PAGE_SIZES.contains(&self.page_size) {
            return Err(Problem::new(
                "`page_size` is not between 10 and 5000",
                "Leave it out for the largest pages",
            ));
        }
        if self.request_timeout.is_zero() {
            return Err(Problem::new(
                "`request_timeout_seconds` is 0",
                "Set it to some minutes, such as 180",
            ));
        }
        if self.end_date.is_some()
            && let Some(selected) =
                self.selection.iter().find(|selected| selected.is_chosen_whole())
        {
            let name = selected.stream().name();
            return Err(Problem::new(
                format!(
                    "`end_date` and `{name}` as a full table exclude each other: rows that are modified after it would go"
                ),
                format!("Leave `end_date` out, or replicate `{name}` incrementally"),
            ));
        }
        match (self.start_date, self.end_date) {
            (Some(start), Some(end)) if start >= end => Err(Problem::new(
                "`end_date` is not after `start_date`",
                "Set `end_date` to a later date, or leave it out",
            )),
            _ => Ok(()),
        }
    }

    /// The client's settings.
    pub(crate) fn client(&self) -> ClientConfig {
        ClientConfig {
            endpoint: self.endpoint.clone(),
            request_timeout: self.request_timeout,
            max_retries: self.max_retries,
            backoff: self.backoff,
            user_agent: self.user_agent.clone(),
            root_certificates: self.root_certificates.clone(),
            resolver: self.resolver.clone(),
            ..ClientConfig::new(self.token.clone())
        }
    }

    pub(crate) fn activity_page_size(&self) -> u32 {
        self.page_size.max(SMALLEST_ACTIVITY_PAGE)
    }
}
