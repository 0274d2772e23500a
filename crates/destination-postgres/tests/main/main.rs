//! The destination against real servers, each started for one test.
#![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

mod claims;
mod contract;
mod crashes;
mod loads;
mod refusals;
mod secrets;
mod silence;
mod subject;
mod tables;
mod units;
mod values;
