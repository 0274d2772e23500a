//! The service around replication: what Stitch wraps around a tap, for one's own machines.
//!
//! [`Store`] remembers integrations, the ledger of their runs, logs, loads and accounts, in SQLite or PostgreSQL.
//! [`Scheduler`] turns due slots into runs and hands these to a [`Dispatch`], which has them worked on; it reads no clock
//! but is told what time it is; [`worker::LocalWorkers`] works on runs in this process. [`Status`] puts an integration's state into Stitch's words.
//! [`api`] is all of it over HTTP; what the service can't know, it asks its [`Host`](host::Host).

pub mod api;
pub mod host;
pub mod integration;
pub mod kept;
mod name;
pub mod run;
mod scheduler;
mod status;
pub mod store;
pub mod task;
pub mod worker;

pub use scheduler::{Dispatch, Scheduler, SchedulerLimits, Tick};
pub use status::{Paused, PendingReason, Status, status};
pub use store::{Store, StoreError};
