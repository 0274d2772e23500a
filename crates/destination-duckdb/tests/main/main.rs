//! Tests of the DuckDB destination on real files.
#![expect(clippy::unwrap_used, reason = "what fails unexpectedly should stop the test")]

mod contract;
mod failures;
mod merging;
mod sharing;
mod speed;
mod support;
mod units;
mod values;
mod versions;
