//! The commands, one module each. A command reads its arguments and the configuration, calls the engine, and shows what
//! came out; what it shows is its only own work.

pub(crate) mod accounts;
pub(crate) mod audit;
mod audit_report;
pub(crate) mod backfill;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod integrations;
pub(crate) mod key;
mod ledger;
pub(crate) mod load;
pub(crate) mod loads;
pub(crate) mod logs;
pub(crate) mod refresh;
pub(crate) mod rejects;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schedule;
pub(crate) mod serve;
pub(crate) mod state;
pub(crate) mod state_edit;
pub(crate) mod status;
mod tables;
pub(crate) mod target;
mod tasks;
pub(crate) mod usage;
pub(crate) mod user;
