//! End to end: the real program against a real simulated server, into a real DuckDB file and a real PostgreSQL server,
//! judged by what the server says is true.

#![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

mod account;
mod audit;
mod backfill;
mod children;
mod claims;
mod contents;
mod custom_fields;
mod demo;
mod failures;
mod files;
mod foreign_taps;
mod foreign_targets;
mod kills;
mod lists;
mod methods;
mod outages;
mod peers;
mod programs;
mod proxy;
mod refresh;
mod rejects;
mod remote;
mod remote_outages;
mod remote_tasks;
mod replication;
mod secrets;
mod selection;
mod served;
mod serving;
mod serving_api;
mod serving_files;
mod serving_kills;
mod serving_leases;
mod serving_outages;
mod serving_replays;
mod serving_secrets;
mod serving_singer;
mod serving_tls;
mod singer_streams;
mod state;
mod truth;
mod warehouse;
