//! What `serve` and `work` are made of: the service, with the sources and destinations that this program knows.
//!
//! The crate `service` schedules runs and keeps their ledger, and knows nothing of Bronto or databases; here is what it asks
//! for. `host` judges settings and keeps secrets; `execute` does a run; `run_log` and `mirror` bring its lines and loads
//! into the control store, and never hold it up.

mod audit;
mod declare;
mod execute;
mod guard;
mod host;
mod housekeeping;
mod kept;
mod keys;
mod listen;
mod live;
mod mirror;
mod replay;
mod rewind;
mod run_log;
mod service;

pub(crate) use keys::{KEY_FILE_VARIABLE, KeyRing, new_key};
pub(crate) use run_log::{RunLogLayer, RunLogs, RunTitle};
pub(crate) use service::{Role, Service, look_at_store, open_store, short_name};
